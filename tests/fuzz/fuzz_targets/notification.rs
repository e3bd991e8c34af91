//! Messages of queues: any bytes name objects or are refused with a reason, and whatever is named has the same name in
//! an envelope of SNS.

#![no_main]

use highwater::source::notification::objects;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &str| {
    match objects(body) {
        Ok(found) => {
            let wrapped = serde_json::json!({"TopicArn": "t", "Message": body}).to_string();
            // Envelopes within envelopes come to an end.
            if let Ok(again) = objects(&wrapped) {
                assert_eq!(found, again);
            }
        }
        Err(reason) => assert!(!reason.is_empty()),
    }
});
