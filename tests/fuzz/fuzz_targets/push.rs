//! Bodies of Firehose's requests, plain and inflated: records or a reason, and never more than a body may have.

#![no_main]

use highwater::source::push::firehose_records;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (bool, &[u8])| {
    let (gzip, body) = input;
    match firehose_records(body, gzip) {
        Ok((_, records)) => assert!(records.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() <= 64 << 20),
        Err(reason) => assert!(!reason.is_empty()),
    }
});
