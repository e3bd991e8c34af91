//! The judge against features computed from their definitions (`tests/fixtures/judge/make.py`), and, where it lies
//! beside the checkout, against the vectors of the prototype that the weights were fitted with.

use highwater::judge::{COUNT_FEATURES, FEATURE_COUNT, FEATURE_NAMES, Judge, Model};
use serde_json::Value;

/// A Monday 00:00 UTC, as a minute. The definitions count minutes from there.
const START: u32 = 20_514 * 1_440;

/// Streams `counts` and returns what the judge measured at each minute.
fn measured(counts: &[(u32, u32)]) -> Vec<(u32, Option<[f64; COUNT_FEATURES]>)> {
    let mut judge = Judge::default();
    let next = counts.iter().skip(1).map(|(minute, _)| *minute).chain([u32::MAX - START]);
    counts
        .iter()
        .zip(next)
        .map(|(&(minute, count), next)| {
            let features = judge.measure(START + minute, count, START, false, None);
            judge.learn(START + minute, count);
            // Giving memory back whenever it is allowed must change nothing.
            judge.cool(START + next);
            (minute, features)
        })
        .collect()
}

/// The prototype's weights. What it did not know weighs nothing.
fn reference_model() -> Model {
    Model::from_json(include_str!("../fixtures/judge/model.json")).expect("the fixture")
}

fn padded(counts: [f64; COUNT_FEATURES]) -> [f64; FEATURE_COUNT] {
    std::array::from_fn(|place| counts.get(place).copied().unwrap_or(0.0))
}

fn counts_of(case: &Value) -> Vec<(u32, u32)> {
    let number = |value: &Value| value.as_u64().expect("a count") as u32;
    match &case["counts"] {
        Value::Array(pairs) => pairs.iter().map(|pair| (number(&pair[0]), number(&pair[1]))).collect(),
        run => (number(&run["from"])..)
            .zip(run["run"].as_array().expect("a run").iter().map(number))
            .filter(|(_, count)| *count > 0)
            .collect(),
    }
}

#[test]
fn features_and_scores_are_those_of_their_definitions() {
    let model = reference_model();
    let cases: Vec<Value> = serde_json::from_str(include_str!("../fixtures/judge/features.json")).expect("the fixture");
    let mut candidates = 0;
    for case in &cases {
        let ours: std::collections::HashMap<_, _> = measured(&counts_of(case)).into_iter().collect();
        for row in case["rows"].as_array().expect("rows") {
            let minute = row[0].as_u64().expect("a minute") as u32;
            let place = format!("{} at minute {minute}", case["series"]);
            let Some(features) = ours[&minute] else {
                assert_eq!(row[1], false, "{place} is a candidate");
                continue;
            };
            assert_eq!(row[1], true, "{place} is no candidate");
            candidates += 1;
            for ((name, ours), theirs) in FEATURE_NAMES.iter().zip(features).zip(row[3].as_array().expect("features")) {
                let theirs = theirs.as_f64().expect("a feature");
                assert!((ours - theirs).abs() < 1e-5, "{place}: {name} is {ours}, not {theirs}");
            }
            let score = row[2].as_f64().expect("a score");
            // The activity counters are kept in 32 bits, and the model is steep in places.
            assert!(
                (model.score(&padded(features)) - score).abs() < 1e-3,
                "{place}: {} {score}",
                model.score(&padded(features))
            );
        }
    }
    assert!(candidates > 100, "only {candidates} candidates");
}

#[test]
fn features_are_those_of_the_prototype() {
    let path = "../shared/reference/prototype/vectors.json";
    let Ok(text) = std::fs::read_to_string(path) else {
        println!("skipped: ../shared is absent");
        return;
    };
    let vectors: Value = serde_json::from_str(&text).expect("vectors");
    let names: Vec<&str> = vectors["names"].as_array().expect("names").iter().filter_map(Value::as_str).collect();
    let mut compared = 0;
    for case in vectors["cases"].as_array().expect("cases") {
        let ours: std::collections::HashMap<_, _> = measured(&counts_of(case)).into_iter().collect();
        let minutes = case["minutes"].as_array().expect("minutes");
        for (minute, theirs) in minutes.iter().zip(case["features"].as_array().expect("features")) {
            let minute = minute.as_u64().expect("a minute") as u32;
            // The prototype also lets a minute through for its 180-minute record, which is no feature.
            let Some(features) = ours[&minute] else { continue };
            for (name, ours) in FEATURE_NAMES.iter().zip(features) {
                let Some(place) = names.iter().position(|n| n == name) else { continue };
                let theirs = theirs[place].as_f64().expect("a feature");
                assert!((ours - theirs).abs() < 2e-4, "{}, minute {minute}: {name} {ours} {theirs}", case["series"]);
            }
            compared += 1;
        }
    }
    assert!(compared >= 15, "{compared}");
}
