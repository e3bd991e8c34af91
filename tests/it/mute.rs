//! `highwater mute` and `highwater feedback`: what they write, say, list and take back.

use std::path::Path;
use std::process::{Command, Output};

use highwater::insight::mute::Mutes;
use highwater::train::simulate::{Options, simulate};
use serde_json::Value;

fn highwater(folder: &Path, arguments: &[&str]) -> Output {
    let program = Path::new(env!("CARGO_BIN_EXE_highwater")).canonicalize().expect("the program");
    Command::new(program).current_dir(folder).args(arguments).output().expect("the program ends")
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn refused(output: &Output) -> String {
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

/// A directory with insights, as a sidecar keeps one.
fn state() -> (tempfile::TempDir, Vec<Value>) {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options { seed: 13, days: 16, apis: 60, scale: 0.15, delivery_minutes: 60, ..Options::default() };
    simulate(&options, &folder.path().join("trail")).expect("a trail");
    said(&highwater(folder.path(), &["scan", "trail/AWSLogs", "-q", "--no-charts", "-o", "state"]));
    let lines = std::fs::read_to_string(folder.path().join("state/insights.jsonl")).expect("insights");
    let records: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("a record")).collect();
    let starts = records.into_iter().filter(|record| record["insightDetails"]["state"] == "Start").collect();
    (folder, starts)
}

fn mutes(folder: &Path) -> Mutes {
    Mutes::parse(&std::fs::read_to_string(folder.join("state/mutes.json")).expect("the list")).expect("a list")
}

#[test]
fn feedback_is_a_rule_that_fits_its_incident_and_can_be_taken_back() {
    let (folder, starts) = state();
    let root = folder.path();
    let first = &starts[0];
    let shared = first["sharedEventID"].as_str().expect("an ID");
    let told = said(&highwater(root, &["feedback", shared, "--expected", "nightly backup", "--state", "state"]));
    assert!(told.contains(shared), "what it would have kept back names the incident itself: {told}");
    assert!(told.contains(&format!("Of the {} incidents told so far", starts.len())), "{told}");
    let all = mutes(root);
    let rule = &all.mutes[0];
    let record = serde_json::from_value(first.clone()).expect("a record");
    assert!(rule.fits(&record) && rule.reason == "nightly backup");
    let others =
        starts.iter().filter(|start| start["insightDetails"]["eventName"] != first["insightDetails"]["eventName"]);
    assert!(
        others.map(|start| serde_json::from_value(start.clone()).expect("a record")).all(|other| !rule.fits(&other))
    );
    let listed = said(&highwater(root, &["mute", "--list", "--state", "state"]));
    assert!(
        listed.contains(&rule.id) && listed.contains("nightly backup") && listed.contains("until taken back"),
        "{listed}"
    );
    said(&highwater(root, &["feedback", "--undo", &rule.id, "--state", "state"]));
    assert_eq!(mutes(root), Mutes::default());
    assert!(refused(&highwater(root, &["mute", "--undo", &rule.id, "--state", "state"])).contains("no such mute"));
    let error = refused(&highwater(root, &["feedback", "zz", "--expected", "x", "--state", "state"]));
    assert!(error.contains("name one of"), "{error}");
}

#[test]
fn a_mute_says_what_it_needs_and_the_file_names_the_state() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    let mute = |arguments: &[&str]| highwater(root, &[&["mute"], arguments].concat());
    assert!(refused(&mute(&["--list"])).contains("--state DIR"));
    std::fs::write(root.join("highwater.toml"), "[watch]\nstate = \"state\"\n").expect("written");
    assert!(refused(&mute(&["--list"])).contains("no such directory"));
    std::fs::create_dir(root.join("state")).expect("made");
    assert_eq!(said(&mute(&["--list"])), "Nothing is muted.\n");
    let api = ["--api", "ec2:RunInstances"];
    for (arguments, part) in [
        (vec!["--until", "4h", "--reason", "x"], "what to mute"),
        ([&api[..], &["--reason", "x"]].concat(), "until when"),
        ([&api[..], &["--until", "2020-01-01", "--reason", "x"]].concat(), "is over"),
        ([&api[..], &["--until", "4h"]].concat(), "why"),
        ([&api[..], &["--until", "soon", "--reason", "x"]].concat(), "neither a date"),
        (vec!["--api", "ec2:[", "--until", "4h", "--reason", "x"], "ec2:["),
    ] {
        let error = refused(&mute(&arguments));
        assert!(error.contains(part), "{arguments:?}: {error}");
    }
    let principal = ["--principal", "role/deploy", "--until", "2999-12-01", "--reason", "CHG-123"];
    let told = said(&mute(&[&api[..], &principal].concat()));
    assert!(told.contains("API ec2:RunInstances, principal role/deploy"), "{told}");
    let listed = said(&mute(&["--list"]));
    assert!(listed.contains("until 2999-12-01T00:00:00Z  CHG-123"), "{listed}");
}
