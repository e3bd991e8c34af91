//! Objects against the door: gzip damaged in any way, any dialect, and a name made of the same bytes. Nothing may
//! panic, no text may grow beyond the limit, and the law of counts holds.

#![no_main]

use highwater::event::{Limits, ObjectName, Reader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let name = String::from_utf8_lossy(&bytes[..bytes.len().min(120)]);
    let name = ObjectName::parse(&name);
    let limits = Limits { object_bytes_max: 1 << 18, record_bytes_max: 1 << 14, nesting_max: 16 };
    let mut reader = Reader::new();
    for name in [name, ObjectName::default()] {
        let mut events = 0;
        let outcome = reader.read(&name, bytes, &limits, &mut |_| events += 1);
        assert_eq!(events + outcome.other_category + outcome.malformed, outcome.records);
        assert!(outcome.decompressed_bytes <= 1 << 18);
        assert!(outcome.problems.len() as u64 <= outcome.malformed);
    }
});
