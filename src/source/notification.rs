//! Which objects a queue's message names, in every form in which S3 and CloudTrail announce them: S3 to SQS, either
//! through SNS (wrapped or raw), CloudTrail's own topic, S3 through EventBridge. Knows no queue and no network.

use serde::Deserialize;
use serde_json::Value;

/// An object in S3.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct S3Object {
    pub bucket: String,
    pub key: String,
    /// Of the bucket, where the message tells it.
    pub region: Option<String>,
}

/// Envelopes within envelopes that are opened.
const DEPTH_MAX: usize = 4;

/// The objects that a message announces; none for S3's test message. And the first reason why not all of it is known.
pub fn objects(body: &str) -> (Vec<S3Object>, Option<String>) {
    let mut found = Vec::new();
    let read = serde_json::from_str(body)
        .map_err(|error| format!("the message is not JSON: {error}"))
        .and_then(|value: Value| of_value(&value, DEPTH_MAX, &mut found));
    (found, read.err())
}

fn of_value(value: &Value, depth: usize, found: &mut Vec<S3Object>) -> Result<(), String> {
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    if value.get("Event").and_then(Value::as_str) == Some("s3:TestEvent") {
        return Ok(());
    }
    // SNS, not raw: the message is text within the text.
    if let Some(inner) = value.get("Message").and_then(Value::as_str).filter(|_| value.get("TopicArn").is_some()) {
        if depth == 0 {
            return Err("envelopes within envelopes, and no end of them".to_owned());
        }
        // What CloudTrail says when a trail is first set up is a sentence.
        let Ok(inner) = serde_json::from_str::<Value>(inner) else {
            return if inner.starts_with("CloudTrail validation message") {
                Ok(())
            } else {
                Err("the SNS message within is not JSON".to_owned())
            };
        };
        return of_value(&inner, depth - 1, found);
    }
    if let Some(records) = value.get("Records").and_then(Value::as_array) {
        return take_known(records.iter().map(of_record), found);
    }
    if let Some(bucket) = text(value, "s3Bucket") {
        // CloudTrail's own topic. The keys are as they are.
        let keys = value.get("s3ObjectKey").and_then(Value::as_array).ok_or("s3ObjectKey is missing")?;
        let object = |key: &Value| {
            let key = key.as_str().ok_or("an s3ObjectKey is no text")?;
            Ok(Some(S3Object { bucket: bucket.clone(), key: key.to_owned(), region: None }))
        };
        return take_known(keys.iter().map(object), found);
    }
    if value.get("detail-type").is_some() {
        return take_known(std::iter::once(of_event(value)), found);
    }
    Err("the message announces no object in any form that is known".to_owned())
}

/// One that is not as it should be takes nothing from the others.
fn take_known(
    all: impl Iterator<Item = Result<Option<S3Object>, String>>,
    found: &mut Vec<S3Object>,
) -> Result<(), String> {
    let mut first = Ok(());
    for object in all {
        match object {
            Ok(object) => found.extend(object),
            Err(reason) => first = first.and(Err(reason)),
        }
    }
    first
}

#[derive(Deserialize)]
struct S3Part {
    bucket: Named,
    object: Keyed,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Keyed {
    key: String,
}

/// One record of S3's own notification; none if it tells of something else than a new object.
fn of_record(record: &Value) -> Result<Option<S3Object>, String> {
    let name = record.get("eventName").and_then(Value::as_str).unwrap_or("");
    if !name.trim_start_matches("s3:").starts_with("ObjectCreated") {
        return Ok(None);
    }
    let part = record.get("s3").ok_or("a record has no s3")?;
    let part = S3Part::deserialize(part).map_err(|error| format!("a record's s3 is not what it should be: {error}"))?;
    let region = record.get("awsRegion").and_then(Value::as_str).filter(|region| !region.is_empty());
    Ok(Some(S3Object {
        bucket: part.bucket.name,
        key: form_decoded(&part.object.key),
        region: region.map(str::to_owned),
    }))
}

/// S3 through EventBridge. The key is as it is.
fn of_event(event: &Value) -> Result<Option<S3Object>, String> {
    if event.get("detail-type").and_then(Value::as_str) != Some("Object Created") {
        return Ok(None);
    }
    let detail = event.get("detail").ok_or("the event has no detail")?;
    let part =
        S3Part::deserialize(detail).map_err(|error| format!("the event's detail is not what it should be: {error}"))?;
    let region = event.get("region").and_then(Value::as_str).filter(|region| !region.is_empty());
    Ok(Some(S3Object { bucket: part.bucket.name, key: part.object.key, region: region.map(str::to_owned) }))
}

/// `+` is a space, `%41` is `A`; what is no valid escape stays as it is.
fn form_decoded(text: &str) -> String {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let (bytes, mut out, mut at) = (text.as_bytes(), Vec::with_capacity(text.len()), 0);
    while let Some(byte) = bytes.get(at) {
        let escaped = match byte {
            b'%' => digit(bytes.get(at + 1)).zip(digit(bytes.get(at + 2))),
            _ => None,
        };
        match (byte, escaped) {
            (_, Some((high, low))) => {
                out.push((high * 16 + low) as u8);
                at += 2;
            }
            (b'+', _) => out.push(b' '),
            _ => out.push(*byte),
        }
        at += 1;
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn all(body: &str) -> Result<Vec<S3Object>, String> {
        let (found, reason) = objects(body);
        reason.map_or(Ok(found), Err)
    }

    #[test]
    fn one_bad_record_takes_nothing_from_the_others() {
        let mut message = s3();
        let records = message["Records"].as_array_mut().expect("records");
        records.insert(0, json!({"eventName": "ObjectCreated:Put", "s3": {"bucket": 7}}));
        records.insert(0, json!({"eventName": "ObjectCreated:Put"}));
        let (found, reason) = objects(&message.to_string());
        assert_eq!(found.iter().map(|object| object.key.as_str()).collect::<Vec<_>>(), [KEY]);
        assert_eq!(reason.as_deref(), Some("a record has no s3"));
    }

    const KEY: &str = "AWSLogs/123456789012/CloudTrail/us-east-1/2026/03/04/a b+c.json.gz";

    fn s3() -> Value {
        json!({"Records": [{"eventVersion": "2.6", "eventSource": "aws:s3", "awsRegion": "eu-west-1",
            "eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "b"},
            "object": {"key": "AWSLogs/123456789012/CloudTrail/us-east-1/2026/03/04/a+b%2Bc.json.gz", "size": 3}}}]})
    }

    fn wrapped(message: &Value) -> Value {
        json!({"Type": "Notification", "TopicArn": "arn:aws:sns:us-east-1:1:t", "Message": message.to_string()})
    }

    #[test]
    fn every_form_names_the_same_object() {
        let event = json!({"version": "0", "detail-type": "Object Created", "source": "aws.s3", "region": "eu-west-1",
            "detail": {"bucket": {"name": "b"}, "object": {"key": KEY}, "reason": "PutObject"}});
        let own = json!({"s3Bucket": "b", "s3ObjectKey": [KEY]});
        for body in [s3(), wrapped(&s3()), wrapped(&wrapped(&s3())), event, wrapped(&own), own] {
            let found = all(&body.to_string()).expect("objects");
            assert_eq!(found.len(), 1, "{body}");
            assert_eq!((&*found[0].bucket, &*found[0].key), ("b", KEY), "{body}");
        }
        assert_eq!(all(&s3().to_string()).expect("objects")[0].region.as_deref(), Some("eu-west-1"));
    }

    #[test]
    fn what_announces_nothing_new_is_no_error_and_the_rest_is() {
        let test = json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"});
        let removed = json!({"Records": [{"eventName": "ObjectRemoved:Delete"}]});
        let setup = json!({"TopicArn": "t", "Message": "CloudTrail validation message."});
        for body in [wrapped(&test), test, removed, setup, json!({"detail-type": "Object Deleted"})] {
            assert_eq!(all(&body.to_string()), Ok(Vec::new()), "{body}");
        }
        let mut deep = s3();
        for _ in 0..DEPTH_MAX + 1 {
            deep = wrapped(&deep);
        }
        let half = json!({"Records": [{"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "b"}}}]});
        for body in [deep, half, json!([]), json!({"s3Bucket": "b"}), json!({"s3Bucket": "b", "s3ObjectKey": [1]})] {
            assert!(all(&body.to_string()).is_err(), "{body}");
        }
        assert!(all("{").is_err());
    }

    #[test]
    fn escapes_that_are_none_stay() {
        assert_eq!(form_decoded("a%2"), "a%2");
        assert_eq!(form_decoded("%zz+%C3%A9"), "%zz é");
        assert_eq!(form_decoded("%ff"), "%ff");
    }

    /// As S3 writes keys: a space is `+`, and what is no plain letter is escaped.
    fn form_encoded(text: &str) -> String {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.' | b'*');
        let encode = |byte| match byte {
            b' ' => "+".to_owned(),
            byte if plain(byte) => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        };
        text.bytes().map(encode).collect()
    }

    /// Any JSON, in the words that messages use.
    fn any_json() -> impl Strategy<Value = Value> {
        let word = prop_oneof![
            Just("Records"),
            Just("Message"),
            Just("TopicArn"),
            Just("Event"),
            Just("s3"),
            Just("s3Bucket"),
            Just("s3ObjectKey"),
            Just("detail-type"),
            Just("detail"),
            Just("bucket"),
            Just("object"),
            Just("key"),
            Just("name"),
            Just("eventName"),
            Just("ObjectCreated:Put"),
            Just("Object Created"),
            Just("s3:TestEvent"),
            Just("{\"Records\":[]}"),
            Just(""),
        ];
        let leaf =
            prop_oneof![Just(Value::Null), any::<i64>().prop_map(Value::from), word.clone().prop_map(Value::from)];
        leaf.prop_recursive(5, 40, 5, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::vec((word.clone(), inner), 0..6)
                    .prop_map(|pairs| pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_message_panics(value in any_json(), text in any::<String>()) {
            let _ = all(&value.to_string());
            let _ = all(&wrapped(&value).to_string());
            let _ = all(&text);
            let _ = form_decoded(&text);
        }

        #[test]
        fn every_key_comes_back_in_every_form(key in any::<String>(), bucket in "[a-z0-9.-]{3,20}") {
            let record = |key: &str| json!({"eventName": "ObjectCreated:Put", "awsRegion": "cn-north-1",
                "s3": {"bucket": {"name": &bucket}, "object": {"key": key}}});
            let plain = json!({"Records": [record(&form_encoded(&key)), {"eventName": "ObjectRemoved:Delete"}]});
            let own = json!({"s3Bucket": &bucket, "s3ObjectKey": [&key]});
            let event = json!({"detail-type": "Object Created", "region": "us-gov-west-1",
                "detail": {"bucket": {"name": &bucket}, "object": {"key": &key}}});
            for body in [wrapped(&plain), wrapped(&own), wrapped(&event), plain, own, event] {
                let found = all(&body.to_string());
                let names = found.expect("objects").into_iter().map(|object| (object.bucket, object.key));
                prop_assert_eq!(names.collect::<Vec<_>>(), vec![(bucket.clone(), key.clone())]);
            }
        }
    }
}
