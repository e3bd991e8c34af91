//! Text against the engines: any bytes, as a trail's list of records and as they are. The scanners must agree with
//! each other, and with the validating engine wherever the text is JSON; no bytes may break the law of counts.

#![no_main]

use highwater::event::{Engine, Limits, ObjectName, Outcome, Reader};
use libfuzzer_sys::fuzz_target;

fn read(engine: Engine, bytes: &[u8]) -> (Vec<String>, Outcome) {
    let mut events = Vec::new();
    let mut reader = Reader::with_engine(engine);
    let limits = Limits { object_bytes_max: 1 << 20, record_bytes_max: 1 << 16, nesting_max: 32 };
    let outcome = reader.read(&ObjectName::default(), bytes, &limits, &mut |event| events.push(format!("{event:?}")));
    assert_eq!(events.len() as u64 + outcome.other_category + outcome.malformed, outcome.records);
    (events, outcome)
}

fn check(bytes: &[u8]) {
    let best = read(Engine::Best, bytes);
    assert_eq!(best, read(Engine::Portable, bytes));
    let validating = read(Engine::Validating, bytes);
    if serde_json::from_slice::<serde_json::Value>(bytes).is_ok() {
        assert_eq!(best, validating);
    }
}

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    check(&[b"{\"Records\":[", bytes, b"]}"].concat());
});
