//! Objects in every dialect, whole and damaged, through the public face of `event`. Every text goes through all three
//! engines, which must agree; an independent reading by `serde_json::Value` says what they must agree on.

use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use highwater::event::{Category, Engine, Event, Kind, Limits, Minute, ObjectName, Outcome, Reader};
use proptest::prelude::*;
use serde_json::{Value, json};

const ENGINES: [Engine; 3] = [Engine::Best, Engine::Portable, Engine::Validating];
const NAME: &str = "111122223333_CloudTrail_eu-west-1_20260304T1405Z_AbCdEfGhIjKlMnOp.json.gz";

/// An event that owns its texts, so that it outlives its object.
#[derive(Clone, Debug, PartialEq)]
struct Owned {
    time: i64,
    read_only: bool,
    category: Category,
    texts: [String; 12],
}

const TEXTS: [&str; 12] =
    ["account", "region", "source", "name", "error", "principal", "session", "key", "ip", "agent", "resource", "id"];

impl Owned {
    fn of(event: &Event<'_>) -> Owned {
        let texts = [
            event.account_id,
            event.region,
            event.event_source,
            event.event_name,
            event.error_code,
            event.principal,
            event.session,
            event.access_key_id,
            event.source_ip,
            event.user_agent,
            event.resource_arn,
            // Told apart by the tests that have an addendum.
            if event.addendum_of.is_empty() { event.event_id } else { event.addendum_of },
        ];
        let texts = texts.map(str::to_owned);
        Owned { time: event.event_time_s, read_only: event.read_only, category: event.category, texts }
    }

    fn text(&self, name: &str) -> &str {
        &self.texts[TEXTS.iter().position(|text| *text == name).unwrap()]
    }
}

fn read_with(engine: Engine, name: &str, bytes: &[u8], limits: &Limits) -> (Vec<Owned>, Outcome) {
    let mut events = Vec::new();
    let mut reader = Reader::with_engine(engine);
    let outcome = reader.read(&ObjectName::parse(name), bytes, limits, &mut |event| events.push(Owned::of(event)));
    assert_eq!(events.len() as u64 + outcome.other_category + outcome.malformed, outcome.records, "the law of counts");
    assert!(outcome.problems.len() as u64 <= outcome.malformed);
    assert!(outcome.problems.iter().all(|problem| problem.sample.len() <= 2_048 && !problem.reason.is_empty()));
    assert!(outcome.problems.iter().all(|problem| problem.offset <= outcome.decompressed_bytes));
    (events, outcome)
}

/// Through all engines, which must agree in everything.
fn read_named(name: &str, bytes: &[u8]) -> (Vec<Owned>, Outcome) {
    let [best, portable, validating] = ENGINES.map(|engine| read_with(engine, name, bytes, &Limits::default()));
    assert_eq!(best, validating);
    assert_eq!(portable, validating);
    best
}

fn read(bytes: impl AsRef<[u8]>) -> (Vec<Owned>, Outcome) {
    read_named(NAME, bytes.as_ref())
}

/// Reads text that holds one good record and nothing else.
fn only(bytes: impl AsRef<[u8]>) -> Owned {
    let (mut events, outcome) = read(bytes);
    assert_eq!((events.len(), outcome.records), (1, 1), "{:?}", outcome.problems);
    events.remove(0)
}

/// Reads text that holds one malformed record and nothing else.
fn reason(bytes: impl AsRef<[u8]>) -> String {
    let (events, mut outcome) = read(bytes);
    assert_eq!((events.len(), outcome.records, outcome.malformed), (0, 1, 1), "{outcome:?}");
    outcome.problems.remove(0).reason
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(".").join("tests/fixtures/event").join(name)).unwrap()
}

fn record() -> Value {
    json!({
        "eventVersion": "1.08",
        "userIdentity": {"type": "IAMUser", "principalId": "AIDA1", "arn": "arn:aws:iam::111122223333:user/ann",
            "accountId": "111122223333", "accessKeyId": "AKIA1", "userName": "ann"},
        "eventTime": "2026-03-04T14:07:09Z",
        "eventSource": "ec2.amazonaws.com",
        "eventName": "RunInstances",
        "awsRegion": "eu-west-1",
        "sourceIPAddress": "198.51.100.7",
        "userAgent": "made-up-sdk/1.0",
        "requestParameters": {"eventName": "decoy", "deep": [[{"eventTime": "decoy"}], "}]"]},
        "responseElements": null,
        "eventID": "00000000-0000-4000-8000-000000000001",
        "readOnly": false,
        "eventType": "AwsApiCall",
        "managementEvent": true,
        "recipientAccountId": "444455556666",
        "eventCategory": "Management",
    })
}

/// The record with members replaced; `null` in `changes` removes.
fn changed(changes: Value) -> String {
    let mut record = record();
    for (key, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(record.as_object_mut().unwrap().remove(key)),
            value => record[key] = value.clone(),
        }
    }
    record.to_string()
}

#[test]
fn every_dialect_gives_the_same_two_events() {
    let (expected, _) = read(fixture("trail.json"));
    assert_eq!(expected.len(), 2);
    assert_eq!((expected[0].text("name"), expected[1].text("name")), ("RunInstances", "StopInstances"));
    assert_eq!(expected[0].text("principal"), "arn:aws:sts::111122223333:assumed-role/Builder");
    assert_eq!(expected[0].text("session"), "deploy");
    assert_eq!(expected[1].text("error"), "Client.UnauthorizedOperation");
    for name in [
        "trail_pretty.json",
        "trail_joined.json",
        "array.json",
        "lines.jsonl",
        "lookup_events.json",
        "lookup_items.jsonl",
        "eventbridge.json",
        "eventbridge.jsonl",
        "subscription.json",
        "lambda.json",
    ] {
        let plain = fixture(name);
        for (what, bytes) in [("plain", plain.clone()), ("gzip", gzip(&plain))] {
            let (events, outcome) = read(&bytes);
            assert_eq!(outcome.problems, [], "{name} {what}");
            assert_eq!(events, expected, "{name} {what}");
            assert_eq!(outcome.decompressed_bytes, plain.len() as u64);
        }
        let with_mark = [b"\xef\xbb\xbf".as_slice(), &plain].concat();
        assert_eq!(read(&with_mark).0, expected, "{name} with a byte order mark");
        let crlf = String::from_utf8(plain.clone()).unwrap().replace('\n', "\r\n");
        assert_eq!(read(&crlf).0, expected, "{name} with line ends of another world");
        let twice = [plain.as_slice(), &with_mark].concat();
        assert_eq!(read(&twice).0, [expected.clone(), expected.clone()].concat(), "{name} twice");
    }
    assert_eq!(only(fixture("record.json")), expected[0]);
}

#[test]
fn documents_without_records() {
    for name in ["digest.json", "subscription_control.json"] {
        let (events, outcome) = read(fixture(name));
        assert_eq!((events.len(), outcome.records, outcome.digest), (0, 0, name == "digest.json"), "{name}");
    }
    for text in [r#"{"Records":[]}"#, r#"{"Records":null}"#, "[]", r#"{"Events":[]}"#, " [ ] \n {\"Records\" : [ ] } "]
    {
        assert_eq!(read(text).1.records, 0, "{text}");
    }
    let digest = "AWSLogs/111122223333/CloudTrail-Digest/eu-west-1/2026/03/04/x.json.gz";
    let (_, outcome) = read_named(digest, b"whatever");
    assert!(outcome.digest && outcome.records == 0);
    assert_eq!(ObjectName::parse(digest).kind, Kind::Digest);
}

#[test]
fn other_categories_are_counted_apart() {
    let (events, outcome) = read(fixture("categories.json"));
    assert_eq!((events.len(), outcome.records, outcome.other_category, outcome.malformed), (2, 5, 3, 0));
}

#[test]
fn every_version() {
    let (events, outcome) = read(fixture("versions.jsonl"));
    assert_eq!((events.len(), outcome.malformed), (12, 0), "{:?}", outcome.problems);
    for event in &events {
        assert_eq!(event.category, Category::Management);
        assert!(!event.read_only);
        assert_eq!(event.text("account"), "111122223333");
    }
    assert_eq!(events[0].text("id"), "");
}

#[test]
fn fallbacks() {
    let account = |changes: Value| only(changed(changes)).text("account").to_owned();
    assert_eq!(account(json!({})), "444455556666");
    assert_eq!(account(json!({"recipientAccountId": null})), "111122223333");
    assert_eq!(account(json!({"recipientAccountId": ""})), "111122223333");
    assert_eq!(account(json!({"recipientAccountId": null, "userIdentity": {}})), "111122223333");
    let (events, _) =
        read_named("x.json", changed(json!({"recipientAccountId": null, "userIdentity": null})).as_bytes());
    assert_eq!(events[0].text("account"), "");
    assert_eq!(only(changed(json!({"awsRegion": null}))).text("region"), "eu-west-1");

    let read_only = |changes: Value| only(changed(changes)).read_only;
    assert!(read_only(json!({"readOnly": true})) && read_only(json!({"readOnly": "true"})));
    assert!(!read_only(json!({"readOnly": "false", "eventName": "GetObject"})));
    assert!(read_only(json!({"readOnly": null, "eventName": "DescribeInstances"})));
    assert!(!read_only(json!({"readOnly": null, "eventName": "Describer"})));

    let category = |changes: Value| only(changed(changes)).category;
    assert_eq!(category(json!({"eventCategory": null, "managementEvent": false})), Category::Data);
    let old = json!({"eventCategory": null, "managementEvent": null, "eventVersion": "1.05",
        "eventSource": "s3.amazonaws.com", "eventName": "PutObject"});
    assert_eq!(category(old), Category::Data);
    assert_eq!(category(json!({"eventCategory": null, "managementEvent": null})), Category::Management);
}

#[test]
fn callers() {
    let caller = |identity: Value| {
        let event = only(changed(json!({"userIdentity": identity})));
        (event.text("principal").to_owned(), event.text("session").to_owned())
    };
    let expect = |identity: Value, principal: &str, session: &str| {
        assert_eq!(caller(identity), (principal.to_owned(), session.to_owned()));
    };
    let role = "arn:aws:sts::111122223333:assumed-role/R";
    expect(json!({"type": "AssumedRole", "arn": format!("{role}/s@x")}), role, "s@x");
    expect(
        json!({"type": "FederatedUser", "arn": "arn:aws:sts::1:federated-user/f"}),
        "arn:aws:sts::1:federated-user/f",
        "",
    );
    expect(json!({"type": "AWSService", "invokedBy": "x.amazonaws.com"}), "x.amazonaws.com", "");
    expect(json!({"type": "AssumedRole", "principalId": "AROA1:s"}), "AROA1", "s");
    let context = json!({"sessionIssuer": {"arn": "arn:aws:iam::1:role/R"}});
    expect(
        json!({"type": "AssumedRole", "principalId": "AROA1:s", "sessionContext": context}),
        "arn:aws:iam::1:role/R",
        "s",
    );
    expect(json!({"type": "AWSAccount", "principalId": "", "accountId": "ANONYMOUS"}), "ANONYMOUS", "");
    expect(json!({"type": "Unknown"}), "Unknown", "");
    expect(json!({"type": null, "arn": null, "sessionContext": null}), "", "");
}

#[test]
fn second_looks() {
    let login = |response: Value| {
        let changes = json!({"eventName": "ConsoleLogin", "responseElements": response});
        only(changed(changes)).text("error").to_owned()
    };
    assert_eq!(login(json!({"ConsoleLogin": "Failure"})), "Failure");
    assert_eq!(login(json!({"ConsoleLogin": "Success"})), "");
    assert_eq!(login(json!("Failure")), "");
    let other = changed(json!({"responseElements": {"ConsoleLogin": "Failure"}}));
    assert_eq!(only(other).text("error"), "");

    let addendum = |reason: &str| {
        let addendum = json!({"reason": reason, "updatedFields": "x", "originalEventID": "first"});
        only(changed(json!({"addendum": addendum}))).text("id").to_owned()
    };
    assert_eq!(addendum("UPDATED_DATA"), "first");
    assert_ne!(addendum("DELIVERY_DELAY"), "first");

    let resources = json!([{"type": "AWS::S3::Object", "ARN": "arn:aws:s3:::b/k"}]);
    let event = only(changed(json!({"resources": resources, "eventCategory": "Data", "managementEvent": false})));
    assert_eq!(event.text("resource"), "arn:aws:s3:::b");
    assert_eq!(only(changed(json!({"resources": resources}))).text("resource"), "", "a management event");
}

#[test]
fn malformed_records_say_what_is_wrong() {
    for (changes, expected) in [
        (json!({"eventTime": null}), "eventTime is missing"),
        (json!({"eventTime": "yesterday"}), "eventTime is not a time"),
        (json!({"eventTime": 1_772_633_229}), "eventTime is not a string"),
        (json!({"eventTime": "2005-12-31T23:59:59Z"}), "years 2006 to 2200"),
        (json!({"eventTime": "2201-01-01T00:00:00Z"}), "years 2006 to 2200"),
        (json!({"eventSource": null}), "eventSource is missing"),
        (json!({"eventSource": ""}), "eventSource is missing"),
        (json!({"eventName": null}), "eventName is missing"),
        (json!({"eventName": ["x"]}), "eventName is not a string"),
        (json!({"eventVersion": "2.1"}), "none of CloudTrail's"),
        (json!({"eventVersion": "1.10", "eventType": null}), "without an eventType"),
        (json!({"userIdentity": "ann"}), "userIdentity"),
        (json!({"userIdentity": {"arn": {}}}), "userIdentity.arn is not a string"),
        (json!({"readOnly": "maybe"}), "readOnly is neither"),
        (json!({"addendum": 7}), "addendum"),
        (json!({"resources": {}, "eventCategory": "Data"}), "resources"),
    ] {
        let text = changed(changes);
        let reason = reason(&text);
        assert!(reason.contains(expected), "{reason:?} for {text}");
    }
    let deep = changed(json!({"requestParameters": "DEEP"})).replace("\"DEEP\"", &("[".repeat(200) + &"]".repeat(200)));
    assert!(reason(deep).contains("nested deeper"));
    let surrogate = changed(json!({"userAgent": "AGENT"})).replace("AGENT", "\\ud800");
    assert!(reason(surrogate).contains("userAgent cannot be decoded"));
    let mut latin = changed(json!({"userAgent": "AGENT"})).into_bytes();
    let at = latin.windows(5).position(|window| window == b"AGENT").unwrap();
    latin[at] = 0xe9;
    assert!(reason(&latin).contains("not UTF-8"));
    for text in ["{}", "{\"a\":1}", "hello", "7", "\u{0}", "{", "[", "{\"Records\":[", "{\"Records\":7}", "[7]", "[[]]"]
    {
        assert!(!reason(text).is_empty());
    }
    for empty in ["", " \r\n\t", "\u{feff}"] {
        assert!(reason(empty).contains("empty"));
    }
    assert!(reason(gzip(b"")).contains("empty"));
}

#[test]
fn a_malformed_record_costs_no_neighbour() {
    let good = record().to_string();
    for bad in [
        good.replace("\"eventName\"", "\"eventName"),
        good.replace("\"eventName\":", "\"eventName\""),
        good.replace("false", "fals"),
        good.replace("\"}]\"],", "\"}]\","),
        good[..good.len() / 2].to_owned(),
        "null".to_owned(),
        "[1,2]".to_owned(),
        "\"x\"".to_owned(),
    ] {
        let text = format!("{{\"Records\":[{good},{bad},{good},{good}]}}");
        for engine in ENGINES {
            let (events, outcome) = read_with(engine, NAME, text.as_bytes(), &Limits::default());
            assert_eq!((events.len(), outcome.malformed), (3, 1), "{engine:?} {bad} {:?}", outcome.problems);
            assert_eq!(outcome.problems[0].offset as usize, good.len() + 13, "{bad}");
        }
    }
    // The scanner counts brackets in members nobody needs; it does not match them by kind.
    let mismatched = good.replace("\"}]\"],", "\"}]\"},");
    for (engine, malformed) in ENGINES.into_iter().zip([0, 0, 1]) {
        let text = format!("[{good},{mismatched},{good}]");
        let (_, outcome) = read_with(engine, NAME, text.as_bytes(), &Limits::default());
        assert_eq!((outcome.records, outcome.malformed), (3, malformed));
    }
    let lines = format!("{good}\n{}\n{good}\ngarbage\n{good}\n{{\"cut\":", &good[..300]);
    let (events, outcome) = read(lines);
    assert_eq!((events.len(), outcome.malformed), (3, 3), "{:?}", outcome.problems);
}

#[test]
fn long_texts_are_cut_between_characters() {
    let event = only(changed(json!({"userAgent": "é".repeat(5_000)})));
    assert_eq!(event.text("agent"), "é".repeat(4_096));
    let event = only(changed(json!({"userAgent": format!("x{}", "é".repeat(5_000))})));
    assert_eq!(event.text("agent").len(), 8_191);
}

#[test]
fn records_have_a_largest_size() {
    let limits = Limits { record_bytes_max: 2_000, ..Limits::default() };
    let (small, large) = (record().to_string(), changed(json!({"requestParameters": "x".repeat(2_000)})));
    let text = format!("{{\"Records\":[{small},{large},{small}]}}");
    for engine in ENGINES {
        let (events, outcome) = read_with(engine, NAME, text.as_bytes(), &limits);
        assert_eq!((events.len(), outcome.malformed), (2, 1));
        assert!(outcome.problems[0].reason.contains("longer than 2000"));
    }
}

#[test]
fn only_so_many_problems_keep_their_text() {
    let text = "{\"eventName\":1}\n".repeat(1_500);
    let (_, outcome) = read(text);
    assert_eq!((outcome.malformed, outcome.problems.len()), (1_500, 1_000));
}

#[test]
fn the_name_of_an_object_does_not_say_whether_it_is_compressed() {
    let plain = fixture("trail.json");
    for name in ["x.json", "x.json.gz", ""] {
        assert_eq!(read_named(name, &plain).0.len(), 2);
        assert_eq!(read_named(name, &gzip(&plain)).0.len(), 2);
    }
}

#[test]
fn compressed_members_follow_one_another() {
    let plain = fixture("trail.json");
    let member = gzip(&plain);
    let (events, outcome) = read([member.as_slice(), &member, &member].concat());
    assert_eq!((events.len(), outcome.malformed), (6, 0));
    let halves = [gzip(&plain[..700]), gzip(&plain[700..])].concat();
    assert_eq!(read(halves).0.len(), 2);
    assert_eq!(read([member.as_slice(), &[0; 512]].concat()).1.malformed, 0, "padding");
    let (events, outcome) = read([member.as_slice(), b"trash"].concat());
    assert_eq!((events.len(), outcome.malformed), (2, 1));
    assert!(outcome.problems[0].reason.contains("5 bytes"));
}

fn many_records(count: usize) -> String {
    let records: Vec<String> = (0..count)
        .map(|i| {
            let time = format!("2026-03-04T14:{:02}:{:02}Z", i / 60 % 60, i % 60);
            changed(json!({"eventID": format!("{i:08x}-{:x}", i * 7_919), "eventTime": time}))
        })
        .collect();
    format!("{{\"Records\":[{}]}}", records.join(","))
}

#[test]
fn truncated_streams_give_their_whole_records_and_one_problem() {
    let text = many_records(300);
    let whole = gzip(text.as_bytes());
    let mut counts = Vec::new();
    for cut in (0..whole.len()).step_by(whole.len() / 40).chain(whole.len() - 12..whole.len()) {
        let (events, outcome) = read(&whole[..cut]);
        assert_eq!(outcome.malformed, 1, "cut at {cut}: {:?}", outcome.problems);
        if cut > 20 {
            assert!(outcome.problems[0].reason.contains("gzip"), "{:?}", outcome.problems);
        }
        counts.push(events.len());
    }
    assert!(counts.is_sorted() && counts.last() == Some(&300) && counts[counts.len() / 2] > 100, "{counts:?}");

    let mut wrong_sum = whole.clone();
    let at = whole.len() - 6;
    wrong_sum[at] ^= 1;
    let (events, outcome) = read(&wrong_sum);
    assert_eq!((events.len(), outcome.malformed), (300, 1));
}

#[test]
fn the_promised_size_is_not_trusted() {
    let text = many_records(50);
    for promise in [0, 1, text.len() as u32 - 1, text.len() as u32 + 1, u32::MAX] {
        let mut lying = gzip(text.as_bytes());
        let at = lying.len() - 4;
        lying[at..].copy_from_slice(&promise.to_le_bytes());
        let (events, outcome) = read(&lying);
        assert_eq!((events.len(), outcome.malformed), (50, 1), "{promise}");
    }
}

#[test]
fn bombs_stop_at_the_limit() {
    let limits = Limits { object_bytes_max: 1 << 20, ..Limits::default() };
    let bomb = gzip(&vec![b' '; 64 << 20]);
    let small = many_records(10);
    let joined = [gzip(small.as_bytes()), bomb.clone()].concat();
    for (what, bytes) in [("one", bomb), ("joined", joined), ("plain", vec![b' '; (1 << 20) + 1])] {
        for engine in ENGINES {
            let (events, outcome) = read_with(engine, NAME, &bytes, &limits);
            assert_eq!((events.len(), outcome.records, outcome.malformed), (0, 1, 1), "{what}");
            assert!(outcome.problems[0].reason.contains("more than 1048576 bytes"), "{what}");
        }
    }
    let exact = small.clone() + &" ".repeat((1 << 20) - small.len());
    assert_eq!(read_with(Engine::Best, NAME, &gzip(exact.as_bytes()), &limits).0.len(), 10);
}

#[test]
fn a_lambda_envelope_cannot_unpack_without_end() {
    let text = String::from_utf8(fixture("lambda.json")).unwrap();
    let limits = Limits { object_bytes_max: 4_000, ..Limits::default() };
    let (events, outcome) = read_with(Engine::Best, NAME, format!("{text}{text}").as_bytes(), &limits);
    assert_eq!((events.len(), outcome.malformed), (2, 1), "the second one is over the limit");
    assert_eq!(read(text.replace("H4sI", "aaaa")).1.malformed, 1);
    assert_eq!(read("{\"awslogs\":{}}").1.malformed, 1);
}

#[test]
fn hostile_nesting_of_dialects_ends() {
    for unit in [
        "{\"Events\":[",
        "{\"detail\":",
        "[{\"Records\":[",
        "{\"logEvents\":[",
        "{\"eventVersion\":[",
        "{\"x\":[[\"",
        "[",
    ] {
        let text = unit.repeat(20_000);
        let (_, outcome) = read_with(Engine::Best, NAME, text.as_bytes(), &Limits::default());
        assert!(outcome.malformed > 0);
    }
}

/// Quotes and backslashes on both sides of every block border.
#[test]
fn block_borders() {
    for padding in 0..200 {
        for tail in ["", "\\", "\\\\", "\"", "\\\"", "é", "\u{1f30a}"] {
            let agent = format!("{}{tail}", "a".repeat(padding));
            let event = only(changed(json!({"userAgent": agent, "requestParameters": {"x": agent, "y": [tail]}})));
            assert_eq!(event.text("agent"), agent);
            assert_eq!(event.text("name"), "RunInstances");
        }
    }
}

/// A small deterministic source of choices; proptest supplies and reports the seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }

    fn one_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == 0
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.roll(of.len())]
    }

    fn text(&mut self) -> String {
        const PIECES: [&str; 16] = [
            "a",
            "eventName",
            "\":\"",
            "\\",
            "\"",
            "{",
            "}]",
            "[",
            "é",
            "\u{1f30a}",
            "\n",
            "\u{1}",
            "/",
            ", ",
            "0",
            "true",
        ];
        let length = if self.one_in(40) { 3_000 } else { self.roll(12) };
        (0..length).map(|_| self.pick(&PIECES)).collect()
    }

    /// A JSON string for the text, escaped in one of the many ways there are.
    fn quoted(&mut self, text: &str) -> String {
        let mut quoted = String::from("\"");
        let fancy = self.one_in(4);
        for character in text.chars() {
            match character {
                _ if fancy && self.one_in(3) => {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        quoted.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                '/' if self.one_in(2) => quoted.push_str("\\/"),
                '"' => quoted.push_str("\\\""),
                '\\' => quoted.push_str("\\\\"),
                control if control < ' ' => quoted.push_str(&format!("\\u{:04X}", control as u32)),
                other => quoted.push(other),
            }
        }
        quoted.push('"');
        quoted
    }

    fn space(&mut self, pretty: bool) -> &'static str {
        if pretty { self.pick(&["", " ", "\n\t", "\r\n          ", "  "]) } else { "" }
    }

    fn joined(&mut self, open: char, close: char, items: &[String], pretty: bool) -> String {
        let mut text = String::from(open);
        for (i, item) in items.iter().enumerate() {
            text.push_str(if i == 0 { "" } else { "," });
            text.push_str(self.space(pretty));
            text.push_str(item);
            text.push_str(self.space(pretty));
        }
        text.push(close);
        text
    }

    fn object(&mut self, members: &[(String, String)], pretty: bool) -> String {
        let items: Vec<String> = members
            .iter()
            .map(|(key, value)| format!("{}{}:{}{value}", self.quoted(key), self.space(pretty), self.space(pretty)))
            .collect();
        self.joined('{', '}', &items, pretty)
    }

    /// Any value, with decoy keys inside.
    fn value(&mut self, depth: usize, pretty: bool) -> String {
        match self.roll(if depth == 0 { 5 } else { 7 }) {
            0 => "null".to_owned(),
            1 => self.pick(&["true", "false"]).to_string(),
            2 => self.pick(&["0", "-1.5e3", "1772633229"]).to_string(),
            3 | 4 => {
                let text = self.text();
                self.quoted(&text)
            }
            5 => {
                let items: Vec<String> = (0..self.roll(4)).map(|_| self.value(depth - 1, pretty)).collect();
                self.joined('[', ']', &items, pretty)
            }
            _ => {
                let members: Vec<_> = (0..self.roll(4)).map(|_| (self.key(), self.value(depth - 1, pretty))).collect();
                self.object(&members, pretty)
            }
        }
    }

    fn key(&mut self) -> String {
        const DECOYS: [&str; 10] =
            ["eventName", "eventTime", "arn", "userIdentity", "Records", "type", "readOnly", "x", "vpcEndpointId", ""];
        if self.one_in(5) { self.text() } else { self.pick(&DECOYS).to_string() }
    }

    /// A record that is well-formed more often than not.
    fn record(&mut self) -> String {
        let pretty = self.one_in(3);
        let mut identity = Vec::new();
        for (key, values) in [
            ("type", vec!["IAMUser", "AssumedRole", "AWSService"]),
            ("principalId", vec!["AROA:x", "AIDA", ""]),
            ("arn", vec!["arn:aws:sts::1:assumed-role/R/s", "arn:aws:iam::1:user/u", ""]),
            ("accountId", vec!["111122223333"]),
            ("accessKeyId", vec!["AKIA", ""]),
            ("invokedBy", vec!["x.amazonaws.com"]),
        ] {
            if !self.one_in(3) {
                let value = self.pick(&values);
                identity.push((key.to_owned(), self.quoted(value)));
            }
        }
        if self.one_in(2) {
            let context = r#"{"sessionIssuer":{"arn":"arn:aws:iam::1:role/\u0052"},"attributes":{}}"#;
            identity.push(("sessionContext".to_owned(), context.to_owned()));
        }
        if self.one_in(3) {
            identity.push((self.key(), self.value(2, pretty)));
        }
        self.shuffle(&mut identity);
        let identity = self.object(&identity, pretty);

        let mut members = vec![("userIdentity".to_owned(), identity)];
        for (key, values) in [
            ("eventVersion", vec!["1.08", "1.05", "1.11"]),
            ("eventTime", vec!["2026-03-04T14:07:09Z", "2026-03-04T14:07:09.5+01:00"]),
            ("eventSource", vec!["ec2.amazonaws.com", "s3.amazonaws.com"]),
            ("eventName", vec!["RunInstances", "GetObject", "ConsoleLogin"]),
            ("eventType", vec!["AwsApiCall", "AwsServiceEvent"]),
            ("eventCategory", vec!["Management", "Data", "Insight"]),
            ("awsRegion", vec!["eu-west-1", ""]),
            ("eventID", vec!["1-2-3"]),
            ("recipientAccountId", vec!["444455556666"]),
            ("readOnly", vec!["true", "false"]),
        ] {
            if !self.one_in(12) {
                let value = self.pick(&values);
                members.push((key.to_owned(), self.quoted(value)));
            }
        }
        for key in ["userAgent", "sourceIPAddress", "errorCode", "errorMessage", "requestID"] {
            if !self.one_in(3) {
                let text = self.text();
                members.push((key.to_owned(), self.quoted(&text)));
            }
        }
        for key in ["requestParameters", "responseElements", "additionalEventData"] {
            members.push((key.to_owned(), self.value(4, pretty)));
        }
        if self.one_in(3) {
            members.push(("managementEvent".to_owned(), self.pick(&["true", "false", "null"]).to_string()));
        }
        if self.one_in(4) {
            let resources = r#"[{"type":"AWS::S3::Object","ARN":"arn:aws:s3:::b/k"},{"accountId":"1"}]"#;
            members.push(("resources".to_owned(), resources.to_owned()));
        }
        if self.one_in(8) {
            members.push((self.key(), self.value(2, pretty)));
        }
        self.shuffle(&mut members);
        self.object(&members, pretty)
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        if self.one_in(2) {
            for i in (1..items.len()).rev() {
                items.swap(i, self.roll(i + 1));
            }
        }
    }

    fn document(&mut self) -> String {
        let records: Vec<String> = (0..1 + self.roll(4)).map(|_| self.record()).collect();
        match self.roll(4) {
            0 => records.join("\n"),
            1 => format!("[{}]", records.join(" , ")),
            2 => format!("{{\"detail\":{},\"id\":1}}", records[0]),
            _ => format!("{{\"Records\":[{}]}}", records.join(",")),
        }
    }
}

/// What `serde_json::Value`, which keeps the last of two equal keys, says about a few members.
fn check_against_tree(text: &str, event: &Owned) {
    let tree: Value = serde_json::from_str(text).unwrap();
    let member = |name: &str| {
        let text = tree[name].as_str().unwrap_or("");
        text[..text.floor_char_boundary(8_192)].to_owned()
    };
    assert_eq!(event.text("name"), member("eventName"));
    assert_eq!(event.text("source"), member("eventSource"));
    assert_eq!(event.text("agent"), member("userAgent"));
    assert_eq!(event.text("ip"), member("sourceIPAddress"));
    assert_eq!(event.text("id"), member("eventID"));
    assert_eq!(event.text("key"), tree["userIdentity"]["accessKeyId"].as_str().unwrap_or(""));
    if event.text("name") != "ConsoleLogin" {
        assert_eq!(event.text("error"), member("errorCode"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn engines_agree_on_valid_text(seed: u64) {
        let mut dice = Dice(seed);
        let record = dice.record();
        let (events, outcome) = read(format!("{{\"Records\":[{record}]}}"));
        prop_assert_eq!(outcome.records, 1);
        if let [event] = events.as_slice() {
            check_against_tree(&record, event);
        }
        let (_, outcome) = read(dice.document());
        prop_assert!(outcome.records >= 1);
    }

    /// `read_with` checks the law of counts. Where the damaged text is still JSON, the engines must agree as well.
    #[test]
    fn damaged_text_is_never_miscounted(seed: u64) {
        let mut dice = Dice(seed);
        let mut bytes = dice.document().into_bytes();
        for _ in 0..1 + dice.roll(4) {
            let at = dice.roll(bytes.len());
            match dice.roll(6) {
                0 => bytes[at] = dice.roll(256) as u8,
                1 => drop(bytes.remove(at)),
                2 => bytes.insert(at, dice.pick(b"\"\\{}[],:0 \n\x00\xff")),
                3 => bytes.truncate(at.max(1)),
                4 => bytes[at] ^= 1 << dice.roll(8),
                _ => {
                    let piece = bytes[at..(at + dice.roll(300)).min(bytes.len())].to_vec();
                    let to = dice.roll(bytes.len());
                    bytes.splice(to..to, piece);
                }
            }
            if bytes.is_empty() {
                bytes.push(b' ');
            }
        }
        let results = ENGINES.map(|engine| read_with(engine, NAME, &bytes, &Limits::default()));
        prop_assert_eq!(&results[0], &results[1]);
        if serde_json::from_slice::<Value>(&bytes).is_ok() {
            prop_assert_eq!(&results[0], &results[2]);
        }
        let mut packed = gzip(&bytes);
        let at = dice.roll(packed.len());
        packed[at] ^= 1 << dice.roll(8);
        read_with(Engine::Best, NAME, &packed, &Limits::default());
    }

    #[test]
    fn names_never_surprise(
        name in "(AWSLogs/|o-|[0-9]{12}|_|/|CloudTrail(-Digest)?|us-east-1|20[0-9]{6}T[0-9]{4}Z?|\\PC){0,12}",
    ) {
        ObjectName::parse(&name);
    }
}

/// Real records that no one here wrote; absent where only this repository is checked out.
#[test]
fn real_records() {
    let root = Path::new(".").join("../shared/data/cloudtrail");
    if !root.is_dir() {
        println!("skipped: ../shared is absent");
        return;
    }
    let (mut folders, mut files) = (vec![root], Vec::<PathBuf>::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_str().unwrap().contains(".json") {
                files.push(path);
            }
        }
    }
    let (mut count, mut delivered) = (0, 0);
    for file in &files {
        let name = file.to_str().unwrap();
        let (events, outcome) = read_named(name, &std::fs::read(file).unwrap());
        assert_eq!(outcome.malformed, u64::from(name.ends_with("bad1_01.json")), "{name}: {:?}", outcome.problems);
        assert!(events.iter().all(|event| !event.text("name").is_empty() && !event.text("account").is_empty()));
        count += events.len();
        delivered += usize::from(ObjectName::parse(name).delivered.is_some_and(|minute| minute > Minute(0)));
    }
    assert_eq!(count, 3_415);
    assert!(delivered >= 60, "{delivered}");
}
