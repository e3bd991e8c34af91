//! `highwater watch -`: what a pipe brings, however slowly, is counted, and a silent one keeps nobody.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

fn start(state: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_highwater"))
        .args(["watch", "-", "--status", "127.0.0.1:0", "--state"])
        .arg(state)
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts")
}

fn record(number: u32) -> String {
    format!(
        r#"{{"eventVersion":"1.11","eventTime":"2026-03-04T12:{:02}:00Z","eventSource":"ec2.amazonaws.com","eventName":"RunInstances","awsRegion":"us-east-1","readOnly":false,"eventID":"{number:036}","eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"123456789012","eventCategory":"Management","userIdentity":{{"type":"AWSService","invokedBy":"{}"}}}}"#,
        number % 60,
        "x".repeat(3_000),
    )
}

/// What became of it, if it ends in time.
fn ended(child: &mut Child) -> ExitStatus {
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(25) {
        if let Some(status) = child.try_wait().expect("waited") {
            return status;
        }
        sleep(Duration::from_millis(20));
    }
    let _ = child.kill();
    panic!("it does not end");
}

fn records(state: &Path) -> (u64, u64) {
    let text = fs::read_to_string(state.join("summary.json")).expect("a summary");
    let summary: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let number = |name: &str| summary["records"][name].as_u64().expect("a number");
    (number("read"), number("malformed"))
}

#[test]
fn one_line_of_megabytes_through_a_slow_pipe_is_read_to_its_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let all: Vec<String> = (0..900).map(record).collect();
    let text = format!(r#"{{"Records":[{}]}}"#, all.join(","));
    assert!(text.len() > 2 << 20);
    let mut child = start(folder.path());
    let mut pipe = child.stdin.take().expect("a pipe");
    for piece in text.as_bytes().chunks(text.len() / 4 + 1) {
        pipe.write_all(piece).expect("written");
        sleep(Duration::from_millis(300));
    }
    drop(pipe);
    assert!(ended(&mut child).success());
    assert_eq!(records(folder.path()), (900, 0));
}

#[test]
fn a_silent_pipe_does_not_keep_it_and_nothing_read_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    for run in 1..3 {
        let mut child = start(folder.path());
        let mut pipe = child.stdin.take().expect("a pipe");
        write!(pipe, "{}\n{{\"half", record(run)).expect("written");
        pipe.flush().expect("flushed");
        let since = Instant::now();
        while !folder.path().join("snapshot").exists() && !folder.path().join("journal-0").exists() {
            assert!(since.elapsed() < Duration::from_secs(20), "it does not begin");
            sleep(Duration::from_millis(20));
        }
        sleep(Duration::from_millis(1_500));
        let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("asked");
        assert!(killed.success());
        assert!(ended(&mut child).success());
        assert_eq!(records(folder.path()), (u64::from(run), 0), "whole lines, and half a line is none");
        drop(pipe);
    }
}
