//! The program as a user meets it: exit statuses, streams, files, and what bad input does.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use highwater::train::simulate::{self, simulate};
use serde_json::Value;

use crate::support::{files, highwater, path, status};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn trail(root: &Path) {
    let options = simulate::Options {
        seed: 31,
        days: 12,
        apis: 12,
        scale: 0.1,
        regions: 1,
        delivery_minutes: 60,
        ..simulate::Options::default()
    };
    simulate(&options, root).expect("a trail");
}

fn json(file: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(file).expect("a file")).expect("JSON")
}

#[test]
fn a_scan_names_the_files_it_wrote_and_they_are_there() {
    let work = folder();
    let (trail_root, out) = (work.path().join("trail"), work.path().join("out"));
    trail(&trail_root);
    assert!(trail_root.join("truth.json").exists(), "what simulate says beside the trail is no record");
    let output = highwater(&["scan", path(&trail_root), "-o", path(&out)], b"");
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(status(&output), 0, "{words}");
    for name in ["insights.jsonl", "rejects.jsonl", "summary.json", "rates/", "charts/", "report.html"] {
        assert!(words.contains(name), "{name} is not named in: {words}");
        assert!(out.join(name).exists(), "{name}");
    }
    let summary = json(&out.join("summary.json"));
    let records = &summary["records"];
    let sum: u64 = ["scored", "duplicate", "filtered", "late", "malformed", "open"]
        .iter()
        .map(|part| records[part].as_u64().expect("a count"))
        .sum();
    assert_eq!(records["read"], sum, "the counters balance");
    assert!(summary["accounts"][0]["firstDelivery"].is_string() && summary["timings"]["totalSeconds"].is_number());
    let lines = fs::read_to_string(out.join("insights.jsonl")).expect("insights");
    let starts = lines.matches("\"state\":\"Start\"").count();
    assert!(starts > 0);
    let pictures = files(&out.join("charts"));
    assert_eq!(pictures.len(), starts);
    assert!(pictures.iter().all(|picture| fs::read(picture).expect("a picture").starts_with(b"\x89PNG")));

    let all = trail_root.join("AWSLogs");
    let refused = highwater(&["scan", path(&all), "-o", path(&out)], b"");
    assert_eq!(status(&refused), 1);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--force"));
    assert_eq!(fs::read_to_string(out.join("insights.jsonl")).expect("untouched"), lines);
    fs::write(out.join("notes.txt"), "mine").expect("a file of the user's");
    let forced = highwater(&["scan", path(&all), "-o", path(&out), "--force", "--no-charts", "-q"], b"");
    assert_eq!((status(&forced), forced.stderr.len()), (0, 0));
    assert_eq!(fs::read_to_string(out.join("insights.jsonl")).expect("again"), lines);
    assert!(out.join("notes.txt").exists() && !out.join("charts").exists());

    let report = highwater(&["report", path(&out)], b"");
    assert_eq!(status(&report), 0, "{}", String::from_utf8_lossy(&report.stderr));
    assert_eq!(files(&out.join("charts")).len(), starts);
}

#[test]
fn standard_input_and_strict_lines_on_standard_output() {
    let work = folder();
    trail(work.path());
    // One object: all files of the trail as members of one gzip stream.
    let whole: Vec<u8> = files(&work.path().join("AWSLogs")).iter().flat_map(|f| fs::read(f).expect("read")).collect();
    let output = highwater(&["scan", "-", "--strict"], &whole);
    assert_eq!(status(&output), 0, "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let first: Value = serde_json::from_str(text.lines().next().expect("a line")).expect("a record");
    let keys: Vec<&String> = first.as_object().expect("an object").keys().collect();
    // serde_json sorts the keys it reads; the order of writing is a golden test of its own.
    assert_eq!(keys.len(), 9, "{keys:?}");
    assert!(first.get("highwater").is_none());

    let found = highwater(&["scan", "-", "--fail-on-insight", "-q"], &whole);
    assert_eq!(status(&found), 3);
    let nobody = highwater(&["scan", "-", "--account", "000000000000", "--fail-on-insight"], &whole);
    assert_eq!((status(&nobody), nobody.stdout.len()), (0, 0));
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("filtered"));
}

#[test]
fn cloudtrails_own_layout_can_be_written_and_is_not_read_back_as_a_trail() {
    let work = folder();
    let (trail_root, out) = (work.path().join("trail"), work.path().join("out"));
    trail(&trail_root);
    let all = trail_root.join("AWSLogs");
    let arguments = ["scan", path(&all), "-o", path(&out), "--format", "cloudtrail-s3", "--no-charts", "-q"];
    assert_eq!(status(&highwater(&arguments, b"")), 0);
    let objects = files(&out.join("AWSLogs"));
    assert!(!objects.is_empty());
    for object in &objects {
        let name = path(object);
        assert!(name.contains("/CloudTrail-Insight/us-east-1/2026/03/"), "{name}");
        let body: Value = serde_json::from_reader(flate2::read::GzDecoder::new(fs::File::open(object).expect("open")))
            .expect("a gzip file of JSON");
        assert_eq!(body["Records"][0]["eventCategory"], "Insight");
    }
    let again = highwater(&["scan", path(&out.join("AWSLogs"))], b"");
    assert_eq!(status(&again), 0);
    assert!(String::from_utf8_lossy(&again.stderr).contains("read 0 records"));
    assert_eq!(status(&highwater(&["scan", path(&all), "--format", "cloudtrail-s3"], b"")), 1);
}

const RECORD: &str = r#"{"eventVersion":"1.11","eventTime":"2026-03-04T14:07:09Z","eventType":"AwsApiCall",
    "eventSource":"ec2.amazonaws.com","eventName":"RunInstances","awsRegion":"us-east-1","readOnly":false,
    "eventID":"e1","recipientAccountId":"123456789012"}"#;

#[test]
fn bad_input_is_listed_and_the_rest_goes_on() {
    let work = folder();
    let (input, out) = (work.path().join("in"), work.path().join("out"));
    fs::create_dir(&input).expect("a folder");
    let write = |name: &str, bytes: &[u8]| fs::write(input.join(name), bytes).expect("written");
    let gzip = |bytes: &[u8]| {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(bytes).expect("compressed");
        gzip.finish().expect("compressed")
    };
    write("good.json", format!("{{\"Records\":[{RECORD}]}}").as_bytes());
    write("wrong-type.json", format!("[{RECORD}, 7]").replace("e1", "e2").as_bytes());
    write("future.json", RECORD.replace("2026-03", "2126-03").as_bytes());
    let whole = gzip(format!("[{}]", RECORD.replace("e1", "e3")).as_bytes());
    write("cut.json.gz", &whole[..whole.len() - 12]);
    write("bomb.json.gz", &gzip(&vec![b' '; 3 << 20]));
    write("empty.json", b"");
    write("none.json", b"{\"Records\":[]}");
    write("notes.txt", b"no log");
    #[cfg(unix)]
    for (name, target) in [("loop", input.as_path()), ("nowhere.json", Path::new("gone"))] {
        std::os::unix::fs::symlink(target, input.join(name)).expect("a link");
    }
    let output = highwater(&["scan", path(&input), "-o", path(&out), "--object-max", "2"], b"");
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(status(&output), 4, "{words}");
    let summary = json(&out.join("summary.json"));
    let records = &summary["records"];
    let malformed = records["malformed"].as_u64().expect("a count");
    assert_eq!(records["read"].as_u64(), Some(records["scored"].as_u64().expect("scored") + malformed), "{records}");
    let rejects = fs::read_to_string(out.join("rejects.jsonl")).expect("rejects");
    assert_eq!(rejects.lines().count() as u64, malformed, "{rejects}");
    for name in ["wrong-type.json", "future.json", "cut.json.gz", "bomb.json.gz", "empty.json", "nowhere.json"] {
        assert!(rejects.contains(name), "{name} in {rejects}");
    }
    assert!(!rejects.contains("good.json") && !rejects.contains("none.json"));
    assert_eq!(summary["objects"]["otherFilesPassedOver"], 1);
}

#[test]
fn the_same_object_under_two_names_counts_once() {
    let work = folder();
    let without_id = RECORD.replace(r#""eventID":"e1","#, "").replace("1.11", "1.0");
    for name in ["a.json", "b.json"] {
        fs::write(work.path().join(name), &without_id).expect("written");
    }
    let out = work.path().join("out");
    assert_eq!(status(&highwater(&["scan", path(work.path()), "-o", path(&out), "-q"], b"")), 0);
    let summary = json(&out.join("summary.json"));
    assert_eq!((&summary["records"]["scored"], &summary["objects"]["duplicate"]), (&1.into(), &1.into()));
}

#[test]
fn wrong_usage_and_missing_input_have_their_own_statuses() {
    assert_eq!(status(&highwater(&["scan"], b"")), 2);
    assert_eq!(status(&highwater(&["scan", "-", "--from", "yesterday"], b"")), 2);
    let missing = highwater(&["scan", "no/such/place"], b"");
    assert_eq!(status(&missing), 1);
    assert!(String::from_utf8_lossy(&missing.stderr).contains("no/such/place"));
    assert_eq!(status(&highwater(&["scan", "no-such-*.json"], b"")), 1);
    // A cause is told once.
    let unread = highwater(&["validate", "no-such.toml"], b"");
    let words = String::from_utf8_lossy(&unread.stderr);
    assert_eq!((status(&unread), words.matches("No such file").count()), (1, 1), "{words}");
}

#[test]
fn a_run_goes_on_from_a_saved_state_and_refuses_a_damaged_one() {
    let work = folder();
    let (trail_root, state) = (work.path().join("trail"), work.path().join("state"));
    trail(&trail_root);
    let all = trail_root.join("AWSLogs");
    let whole = highwater(&["scan", path(&all), "-q"], b"");
    let objects = files(&all);
    let (early, late) = objects.split_at(objects.len() * 3 / 4);
    let run = |objects: &[std::path::PathBuf], flags: &[&str]| {
        let mut arguments = vec!["scan", "-q"];
        arguments.extend(objects.iter().map(|object| path(object)));
        arguments.extend(flags);
        let output = highwater(&arguments, b"");
        assert_eq!(status(&output), 0, "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let mut parts = run(early, &["--save-state", path(&state)]);
    parts.extend(run(late, &["--from-state", path(&state)]));
    assert_eq!(String::from_utf8_lossy(&parts), String::from_utf8_lossy(&whole.stdout));

    let mut bytes = fs::read(&state).expect("the state");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&state, bytes).expect("damaged");
    let refused = highwater(&["scan", path(&all), "--from-state", path(&state)], b"");
    assert_eq!(status(&refused), 1);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("damaged"));
}

#[test]
fn the_tally_counts_what_the_objects_hold() {
    let lines = [RECORD.to_owned(), RECORD.replace("e1", "e2"), RECORD.replace("14:07", "14:08")].join("\n");
    let output = highwater(&["tally", "-"], lines.replace("\n    ", "").as_bytes());
    assert_eq!(status(&output), 0);
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "account,region,event_source,event_name,minute_utc,count\n\
         123456789012,us-east-1,ec2.amazonaws.com,RunInstances,2026-03-04T14:07:00Z,2\n\
         123456789012,us-east-1,ec2.amazonaws.com,RunInstances,2026-03-04T14:08:00Z,1\n"
    );
}

#[test]
fn a_reader_may_close_the_pipe_early() {
    let work = folder();
    trail(work.path());
    let command = format!(
        "'{}' scan -q '{}' | head -c 10 > /dev/null; test \"${{PIPESTATUS[0]}}\" = 0",
        env!("CARGO_BIN_EXE_highwater"),
        path(&work.path().join("AWSLogs"))
    );
    assert!(Command::new("bash").args(["-c", &command]).status().expect("bash").success());
}
