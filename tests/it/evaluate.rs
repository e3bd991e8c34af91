//! Judging detectors: the matching rule against the script it comes from, insights taken as records are read, sets
//! that do not depend on threads, and the command.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use highwater::detector::{Detector, Options as DetectorOptions};
use highwater::event::Minute;
use highwater::judge::{DEFAULT_JSON, Model};
use highwater::train::evaluate::{self, Found, Scenario, Score, pool, score, set};
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
    let insights = detector.fold(&closed, Minute(i64::MAX), 1);
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
        let accounts = evaluate::evaluate(&scenario, &contestants, threads, &|| {}).unwrap();
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
    let scores = &evaluate::evaluate(&scenario, &contestants, 1, &|| {}).unwrap()[0].scores;
    let of_each = scores.iter().zip(&contestants).collect::<Vec<_>>();
    for pair in of_each.windows(2).filter(|pair| pair[0].1.name == pair[1].1.name) {
        assert!(pair[0].1.line < pair[1].1.line);
        assert!(pair[0].0.found >= pair[1].0.found, "{} at {}", pair[1].1.name, pair[1].1.line);
    }
}
