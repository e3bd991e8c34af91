//! The record writer against the numbers that AWS publishes: the CloudTrail user guide's example Insights events. Only
//! figures are taken from there; names and IDs are ours.

use std::sync::Arc;

use highwater::event::{Category, Minute};
use highwater::insight::trail::Average;
use highwater::insight::{Attributed, Direction, Evidence, Insight, Rate, SeriesKey, State, baseline_from};
use highwater::window::{Api, Attribute};

fn at(time: &str) -> Minute {
    Minute(chrono::DateTime::parse_from_rfc3339(time).expect("a time").timestamp() / 60)
}

fn insight(state: State, start: &str, minutes: i64, count: u64, baseline_count: u64) -> Insight {
    let start = at(start);
    let caller = vec![("arn:aws:sts::888888888888:assumed-role/Admin".to_owned(), count)];
    Insight {
        series: SeriesKey {
            api: Arc::new(Api {
                account_id: "888888888888".into(),
                region: "us-east-1".into(),
                event_source: "cloudtrail.amazonaws.com".into(),
                event_name: "DescribeQuery".into(),
                category: Category::Management,
            }),
            error_code: Some("QueryIdNotFoundException".into()),
        },
        state,
        direction: Direction::Up,
        start,
        end: (state == State::End).then_some(Minute(start.0 + minutes)),
        decided: Minute(start.0 + 5),
        insight: Rate { count, minutes },
        baseline: Rate { count: baseline_count, minutes: start.0 - baseline_from(start).0 },
        attributed: vec![
            Attributed { attribute: Attribute::UserIdentityArn, insight: caller.clone(), baseline: Vec::new() },
            Attributed { attribute: Attribute::SessionName, insight: caller.clone(), baseline: Vec::new() },
            Attributed { attribute: Attribute::UserAgent, insight: caller, baseline: Vec::new() },
        ],
        attribution_exact: true,
        expected: (0.0, 0.0, 0.0),
        ln_odds: -30.0,
        evidence: Evidence::default(),
        score: 3.0,
        threshold: -0.3,
        model: "judge-17/1".into(),
        incident: None,
    }
}

/// 2024: six errors in one minute; Start over five minutes, End over one; no baseline at all.
#[test]
fn the_published_pair_of_2024() {
    let start = insight(State::Start, "2024-12-11T16:52:00Z", 5, 6, 0).to_record(true);
    let end = insight(State::End, "2024-12-11T16:52:00Z", 1, 6, 0).to_record(true);
    let expected = format!(
        concat!(
            r#"{{"eventVersion":"1.09","eventTime":"2024-12-11T16:52:00Z","awsRegion":"us-east-1","eventID":"{}","#,
            r#""eventType":"AwsCloudTrailInsight","recipientAccountId":"888888888888","sharedEventID":"{}","#,
            r#""insightDetails":{{"state":"Start","eventSource":"cloudtrail.amazonaws.com","#,
            r#""eventName":"DescribeQuery","insightType":"ApiErrorRateInsight","#,
            r#""errorCode":"QueryIdNotFoundException","sourceEventCategory":"Management","#,
            r#""insightContext":{{"statistics":{{"baseline":{{"average":0}},"insight":{{"average":1.2}},"#,
            r#""insightDuration":5,"baselineDuration":11092}},"attributions":["#,
            r#"{{"attribute":"userIdentityArn","insight":[{{"value":"#,
            r#""arn:aws:sts::888888888888:assumed-role/Admin","average":1.2}}],"baseline":[]}},"#,
            r#"{{"attribute":"userAgent","insight":[{{"value":"#,
            r#""arn:aws:sts::888888888888:assumed-role/Admin","average":1.2}}],"baseline":[]}}]}}}},"#,
            r#""eventCategory":"Insight"}}"#
        ),
        start.event_id, start.shared_event_id
    );
    assert_eq!(serde_json::to_string(&start).expect("json"), expected);

    assert_eq!(end.shared_event_id, start.shared_event_id);
    assert_ne!(end.event_id, start.event_id);
    assert_eq!(end.event_time, "2024-12-11T16:53:00Z");
    let statistics = end.insight_details.insight_context.statistics;
    assert_eq!(statistics.insight.average.text(), "6");
    assert_eq!(statistics.insight_duration, Some(1));
    assert_eq!(statistics.baseline_duration, Some(11_092));
}

/// 2020: one single call in the baseline.
#[test]
fn the_published_baseline_of_2020() {
    let record = insight(State::Start, "2020-07-21T20:56:00Z", 5, 3, 1).to_record(true);
    let statistics = record.insight_details.insight_context.statistics;
    assert_eq!(statistics.baseline_duration, Some(11_336));
    assert_eq!(statistics.baseline.average.text(), "0.0000882145");
    assert_eq!(statistics.insight.average.text(), "0.6");
}

/// 2019: averages over exactly a week, without durations; such records are still read.
#[test]
fn the_published_averages_of_2019() {
    for (count, text) in [(17_702, "1.7561507937"), (861_036, "85.4202380952")] {
        assert_eq!(Average(count as f64 / 10_080.0).text(), text);
    }
    assert_eq!(Average(501.0 / 10.0).text(), "50.1");
    assert_eq!(Average(400.0 / 8.0).text(), "50");
}

#[test]
fn averages_never_print_an_exponent_or_a_sign_of_nothing() {
    for (value, text) in [(0.0, "0"), (-0.0, "0"), (1e-11, "0"), (1e-10, "0.0000000001"), (1e15, "1000000000000000")] {
        assert_eq!(Average(value).text(), text);
        assert_eq!(serde_json::to_string(&Average(value)).expect("json"), text);
    }
}

#[test]
fn strict_leaves_out_what_aws_does_not_have_and_nothing_else() {
    let insight = insight(State::End, "2024-12-11T16:52:00Z", 1, 6, 0);
    let strict = serde_json::to_value(insight.to_record(true)).expect("json");
    let mut full = serde_json::to_value(insight.to_record(false)).expect("json");
    assert!(full.as_object_mut().and_then(|full| full.remove("highwater")).is_some());
    assert_eq!(strict, full);
}

#[test]
fn at_most_five_values_largest_first_and_names_break_ties() {
    let mut insight = insight(State::End, "2024-12-11T16:52:00Z", 1, 6, 0);
    insight.attributed[0].insight =
        [("b", 3), ("a", 3), ("f", 1), ("c", 9), ("e", 2), ("d", 2)].map(|(v, n)| (v.to_owned(), n)).to_vec();
    let record = insight.to_record(true);
    let attributions = record.insight_details.insight_context.attributions.expect("attributions");
    let values: Vec<&str> = attributions[0].insight.iter().map(|value| value.value.as_str()).collect();
    assert_eq!(values, ["c", "a", "b", "d", "e"]);
}
