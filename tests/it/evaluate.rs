//! Judging detectors: the matching rule against the script it comes from, insights taken as records are read, sets
//! that do not depend on threads, and the command.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use highwater::baseline::Pooled;
use highwater::detector::{Detector, Options as DetectorOptions};
use highwater::event::Minute;
use highwater::judge::{DEFAULT_JSON, Model};
use highwater::train::evaluate::{self, Found, Scenario, Score, pool, score, set};
use highwater::train::fit::{Lesson, judge};
use highwater::train::labelled::Labelled;
use highwater::train::simulate::{Options, labelled};
use serde_json::Value;

fn minute(time: &str) -> Minute {
    Minute::of_second(chrono::DateTime::parse_from_rfc3339(time).unwrap().timestamp())
}

/// Incidents out of records, read as a stranger would read them.
fn from_records<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<Found> {
    let mut pairs: BTreeMap<String, BTreeMap<String, Value>> = BTreeMap::new();
    for line in lines {
        let record: Value = serde_json::from_str(line).unwrap();
        let id = record["sharedEventID"].as_str().unwrap().to_owned();
        let state = record["insightDetails"]["state"].as_str().unwrap().to_owned();
        pairs.entry(id).or_default().insert(state, record);
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let found = |pair: &BTreeMap<String, Value>| {
        let start = &pair["Start"];
        let last = pair.get("End").unwrap_or(start);
        let at = minute(start["eventTime"].as_str().unwrap());
        let details = &start["insightDetails"];
        let attributions = last["insightDetails"]["insightContext"]["attributions"].as_array().unwrap();
        let arns = attributions.iter().find(|of| of["attribute"] == "userIdentityArn");
        Found {
            account_id: text(&start["recipientAccountId"]),
            region: text(&start["awsRegion"]),
            event_source: text(&details["eventSource"]),
            event_name: text(&details["eventName"]),
            error_code: details["errorCode"].as_str().map(str::to_owned),
            start: at,
            end: minute(last["eventTime"].as_str().unwrap()).max(Minute(at.0 + 1)),
            known: start["highwater"]["detectedTime"].as_str().map_or(at, minute),
            arn: arns.and_then(|of| of["insight"][0]["value"].as_str()).map(str::to_owned),
        }
    };
    pairs.values().map(found).collect()
}

#[test]
fn the_matching_rule_is_that_of_the_reference() {
    let folder = Path::new("tests/fixtures/matching");
    let expected: Value = serde_json::from_str(&fs::read_to_string(folder.join("expected.json")).unwrap()).unwrap();
    let scores: Vec<Score> = ["one", "two"]
        .iter()
        .map(|name| {
            let account = Labelled::read(&folder.join(name)).unwrap().pop().unwrap();
            let text = fs::read_to_string(folder.join(name).join("insights.jsonl")).unwrap();
            score(&account.truths, &from_records(text.lines()), account.live_from..account.end, 1)
        })
        .collect();
    for (name, ours) in [("one", &scores[0]), ("two", &scores[1]), ("pooled", &pool(&scores))] {
        let theirs = &expected[name];
        let number = |key: &str| theirs[key].as_f64().unwrap();
        let counts = [ours.truths, ours.found, ours.false_alarms, ours.fragments, ours.ignored];
        let keys = ["truths", "found", "false_alarms", "fragments", "ignored"];
        assert_eq!(counts.map(|count| count as f64), keys.map(number), "{name}");
        for (key, value) in [
            ("precision", ours.precision),
            ("recall", ours.recall),
            ("f1", ours.f1),
            ("false_alarms_per_account_week", ours.false_alarms_per_account_week),
            ("median_delay_min", ours.start_delay_minutes.unwrap()),
            ("top_arn_right", ours.top_arn_right.unwrap()),
        ] {
            // They are printed with two to four digits.
            assert!((value - number(key)).abs() < 6e-5, "{name} {key}: {value}, not {}", number(key));
        }
        let kinds: BTreeMap<String, String> =
            ours.recall_by_kind.iter().map(|(kind, (found, all))| (kind.clone(), format!("{found}/{all}"))).collect();
        assert_eq!(serde_json::to_value(kinds).unwrap(), theirs["recall_by_kind"], "{name}");
    }
    assert!((pool(&scores).worst_f1 - expected["pooled"]["worst_f1"].as_f64().unwrap()).abs() < 6e-5);
}

#[test]
fn insights_are_taken_as_their_records_are_read() {
    let mut account = labelled(&Options { seed: 4, apis: 40, scale: 0.2, ..Options::default() }, 0).unwrap();
    let model = Model::from_json(DEFAULT_JSON).unwrap();
    let mut detector = Detector::new(DetectorOptions::default(), model);
    let closed = account.calls.close_before(account.end);
    let insights = detector.fold(&closed, Minute(i64::MAX), 1).insights;
    assert!(insights.len() >= 20);
    let lines: Vec<String> = insights.iter().map(crate::support::line).collect();
    let by_place = |mut found: Vec<Found>| {
        found.sort_by(|a, b| (a.start, &a.event_name, &a.error_code).cmp(&(b.start, &b.event_name, &b.error_code)));
        found
    };
    let read = by_place(from_records(lines.iter().map(String::as_str)));
    assert_eq!(by_place(Found::from_insights(&insights)), read);
}

#[test]
fn the_threads_leave_no_trace() {
    let model = Model::from_json(DEFAULT_JSON).unwrap();
    let mut contestants = evaluate::highwater("Highwater", &model, false);
    contestants.extend(evaluate::baselines(false));
    let judged = [1, 3].map(|threads| {
        let scenario = Scenario::new(set("cold-2d").unwrap(), [3, 1, 2]);
        let accounts = evaluate::evaluate(&scenario, &contestants, threads).unwrap();
        accounts.into_iter().map(|account| (account.name, account.scores)).collect::<Vec<_>>()
    });
    assert_eq!(judged[0], judged[1]);
    let names: Vec<&str> = judged[0].iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["simulate 3", "simulate 1", "simulate 2"]);
    for (name, scores) in &judged[0] {
        assert_eq!(scores.len(), 4);
        assert!(scores.iter().all(|score| score.truths == scores[0].truths && score.truths >= 5), "{name}");
        assert!(scores.iter().all(|score| score.account_weeks == 1.0), "{name}");
    }
}

/// A higher line never gives more false alarms of a plain baseline, nor finds more.
#[test]
fn a_sweep_is_monotone_where_it_must_be() {
    let contestants = evaluate::baselines(true);
    let scenario = Scenario::new(set("simulate").unwrap(), [5]);
    let scores = &evaluate::evaluate(&scenario, &contestants, 1).unwrap()[0].scores;
    let of_each = scores.iter().zip(&contestants).collect::<Vec<_>>();
    for pair in of_each.windows(2).filter(|pair| pair[0].1.name == pair[1].1.name) {
        assert!(pair[0].1.line < pair[1].1.line);
        assert!(pair[0].0.found >= pair[1].0.found, "{} at {}", pair[1].1.name, pair[1].1.line);
    }
}

fn command(arguments: &[&str]) -> std::process::Output {
    std::process::Command::new(env!("CARGO_BIN_EXE_highwater")).args(arguments).output().unwrap()
}

#[test]
fn the_command_prints_a_table_draws_a_picture_and_names_wrong_sets() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("curves.png");
    let png = file.to_str().unwrap();
    let output = command(&["evaluate", "--sets", "cold-1d,cold-7d", "--seeds", "2..3", "--baselines", "--png", png]);
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for part in ["cold-1d: 2 accounts", "cold-7d: 2 accounts", "Highwater", "EWMA", "robust z", "found by kind"] {
        assert!(words.contains(part), "{part} is not in\n{words}");
    }
    let picture = size_of_png(&fs::read(&file).unwrap());
    assert_eq!(picture, (900, 744));
    let output = command(&["evaluate", "--sets", "simulated"]);
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && words.contains("simulated") && words.contains("strangers"), "{words}");
}

/// Width and height of a PNG, from its header.
fn size_of_png(png: &[u8]) -> (u32, u32) {
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    (number(16), number(20))
}

/// A trail on disk and the same account made in memory are judged alike.
#[test]
fn a_trail_is_judged_as_the_account_it_was_written_from() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { seed: 9, apis: 40, scale: 0.1, delivery_minutes: 60, ..Options::default() };
    highwater::train::simulate::simulate(&options, folder.path()).unwrap();
    let output = command(&["evaluate", "--trail", folder.path().to_str().unwrap(), "--ablate", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let judged: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rows = judged[0]["detectors"].as_array().unwrap();
    assert!(rows.len() > 20, "Highwater and its ablations");

    let mut account = labelled(&options, 0).unwrap();
    let mut detector = Detector::new(DetectorOptions::default(), Model::from_json(DEFAULT_JSON).unwrap());
    let closed = account.calls.close_before(Minute(i64::MAX));
    let found = Found::from_insights(&detector.fold(&closed, Minute(i64::MAX), 1).insights);
    let own = score(&account.truths, &found, account.live_from..account.end, 1);
    for (key, count) in [("truths", own.truths), ("found", own.found), ("false_alarms", own.false_alarms)] {
        assert_eq!(rows[0][key], count, "{key}");
    }
    assert!(own.found > 5);
}

/// Who trains for hours on trails of their own hears which of them went away.
#[test]
fn a_trail_that_goes_away_while_it_is_learned_from_ends_the_training_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let gone = folder.path().join("gone");
    let options = Options { seed: 9, apis: 5, scale: 0.1, ..Options::default() };
    let there = move || Ok(labelled(&options, 0).unwrap());
    let lost = move || Labelled::read(&gone).map(|mut accounts| accounts.remove(0));
    let lessons = [Lesson { make: Box::new(there), weight: 1.0 }, Lesson { make: Box::new(lost), weight: 3.0 }];
    let error = judge("any", Pooled::shipped(), &lessons, 2, &|| {}).unwrap_err().to_string();
    assert!(error.contains("gone/truth.json"), "{error}");
}
