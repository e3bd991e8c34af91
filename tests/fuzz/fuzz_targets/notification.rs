//! Messages of queues: any bytes name objects, or there is a reason why not, and whatever is named has the same name in
//! an envelope of SNS.

#![no_main]

use highwater::source::notification::objects;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &str| {
    let (found, reason) = objects(body);
    assert!(reason.is_none_or(|reason| !reason.is_empty()));
    let wrapped = serde_json::json!({"TopicArn": "t", "Message": body}).to_string();
    // Envelopes within envelopes come to an end.
    if let (again, None) = objects(&wrapped) {
        assert_eq!(found, again);
    }
});
