//! Why: what a record says beyond its counts, in numbers and in words, and that `highwater explain` says the same from
//! the stored rates.

use highwater::detector::{CallRate, Detector, Options};
use highwater::event::{Category, Event, Minute};
use highwater::insight::{Closing, Insight, State};
use highwater::judge::{DEFAULT_JSON, Model};
use highwater::window::Tally;

use crate::support::{detector, minute};

const DAY: i64 = 1_440;

/// Calls of PutImage in a minute: how many, by which role, session and address.
type Calls = (i64, u64, &'static str, &'static str, &'static str);

fn event<'a>(second: i64, name: &'a str, role: &'a str, session: &'a str, address: &'a str) -> Event<'a> {
    Event {
        event_time_s: second,
        account_id: "123456789012",
        region: "us-east-1",
        event_source: "ecr.amazonaws.com",
        event_name: name,
        read_only: false,
        category: Category::Management,
        error_code: "",
        principal: role,
        session,
        access_key_id: "",
        source_ip: address,
        user_agent: "agent",
        resource_arn: "",
        event_id: "",
        addendum_of: "",
    }
}

/// Traffic of PutImage beside a heartbeat of another API, by which the trail is known to have no gaps.
fn tally(traffic: &[Calls], days: i64) -> Tally {
    let mut tally = Tally::default();
    for at in (0..days * DAY).step_by(10) {
        tally.add(&event(minute(at).0 * 60, "PutMetricData", "heart", "", ""));
    }
    for &(at, count, role, session, address) in traffic {
        for call in 0..count {
            tally.add(&event(minute(at).0 * 60 + call as i64 % 60, "PutImage", role, session, address));
        }
    }
    tally
}

fn insights_with(mut detector: Detector, traffic: &[Calls], days: i64) -> Vec<Insight> {
    detector.merge(tally(traffic, days));
    let insights = detector.advance(Minute(i64::MAX), 1).insights;
    insights.into_iter().filter(|insight| &*insight.series.api.event_name == "PutImage").collect()
}

fn insights(traffic: &[Calls], days: i64) -> Vec<Insight> {
    insights_with(detector(), traffic, days)
}

fn missed_jobs() -> Detector {
    let options = Options { missed_jobs: true, call_rate: CallRate::All, ..Options::default() };
    Detector::new(options, Model::from_json(DEFAULT_JSON).expect("a model"))
}

const ROLE: &str = "arn:aws:sts::123456789012:assumed-role/deploy";

/// A job of some minutes at 06:00, with a jitter of three minutes.
fn daily(days: impl Iterator<Item = i64>, per_minute: u64) -> Vec<Calls> {
    days.flat_map(|day| {
        (0..8).map(move |m| (day * DAY + 360 + day * 5 % 4 + m, per_minute, ROLE, "nightly", "10.0.0.1"))
    })
    .collect()
}

fn only_end(insights: &[Insight]) -> &Insight {
    assert_eq!(insights.iter().filter(|insight| insight.state == State::End).count(), 1, "{insights:#?}");
    insights.iter().find(|insight| insight.state == State::End).expect("an end")
}

#[test]
fn a_usual_job_grown_six_times_is_told_as_one() {
    let mut traffic = daily((0..29).filter(|day| *day != 9), 10);
    traffic.retain(|(at, ..)| *at < 28 * DAY);
    traffic.extend(daily(28..29, 60));
    let insights = insights(&traffic, 30);
    let end = only_end(&insights);
    let reason = end.to_record(false).highwater.expect("our object").reason;
    assert!(reason.contains("Usual job, daily at 06:02 UTC (27 of 28 days), this time 6x its size."), "{reason}");
    let recurrence = end.evidence.recurrence.expect("a rhythm");
    assert_eq!((recurrence.count, recurrence.rhythm.count), (480, 80));
}

#[test]
fn a_job_that_does_not_come_is_told_twice_and_then_given_up() {
    let traffic = daily(0..20, 10);
    assert_eq!(insights(&traffic, 30), [], "off by default");
    let insights = insights_with(missed_jobs(), &traffic, 30);
    let days: Vec<i64> = insights.iter().map(|insight| (insight.start.0 - minute(0).0) / DAY).collect();
    assert_eq!(days, [20, 20, 21, 21], "a start and an end each");
    assert_eq!(
        insights[0].to_record(false).highwater.expect("our object").reason,
        "PutImage: usual job, daily at 06:01 UTC (19 of 19 days), did not come this time (usually 80 calls). That \
         happens about once in 21 days for this API."
    );
}

#[test]
fn a_gap_in_the_trail_a_weekend_and_a_change_of_clocks_are_no_missed_jobs() {
    let with_gap = daily((0..30).filter(|day| *day != 20), 10);
    let mut detector = missed_jobs();
    let mut whole = Tally::default();
    for at in (0..30 * DAY).step_by(10).filter(|at| !(20 * DAY + 300..20 * DAY + 600).contains(at)) {
        whole.add(&event(minute(at).0 * 60, "PutMetricData", "heart", "", ""));
    }
    for &(at, count, ..) in &with_gap {
        (0..count).for_each(|_| whole.add(&event(minute(at).0 * 60, "PutImage", ROLE, "", "")));
    }
    detector.merge(whole);
    assert_eq!(detector.advance(Minute(i64::MAX), 1).insights, [], "a gap");

    // Day 0 is a Monday.
    assert_eq!(insights_with(missed_jobs(), &daily((0..40).filter(|day| day % 7 < 5), 10), 40), [], "weekends");
    for shift in [-60, 60] {
        let mut traffic = daily(0..40, 10);
        traffic.iter_mut().filter(|(at, ..)| *at >= 25 * DAY).for_each(|calls| calls.0 += shift);
        assert_eq!(insights_with(missed_jobs(), &traffic, 40), [], "clocks changed by {shift}");
    }
}

#[test]
fn without_one_session_there_would_be_nothing() {
    let mut traffic: Vec<Calls> = (0..10 * DAY / 5).map(|i| (i * 5, 2, ROLE, "usual", "10.0.0.1")).collect();
    traffic.extend((0..8).map(|m| (9 * DAY + 600 + m, 40, ROLE, "ci-42", "10.0.0.9")));
    let insights = insights(&traffic, 10);
    let end = only_end(&insights);
    let without = end.counterfactual().expect("one caller makes the difference");
    assert_eq!((without.value.as_str(), without.rest), ("ci-42", 4));
    let highwater = end.to_record(false).highwater.expect("our object");
    assert!(
        highwater.reason.contains(
            "All of the extra calls came from role deploy; without session ci-42 the minutes lie inside the expected \
             range. New in seven days: address 10.0.0.9."
        ) || highwater
            .reason
            .contains("without session ci-42 the minutes lie inside the expected range. New since the trail begins"),
        "{}",
        highwater.reason
    );
    assert_eq!(highwater.without.map(|without| without.observed), Some(4));
}

#[test]
fn no_one_alone_explains_what_two_did() {
    let mut traffic: Vec<Calls> = (0..10 * DAY / 5).map(|i| (i * 5, 2, ROLE, "usual", "10.0.0.1")).collect();
    for m in 0..8 {
        traffic.push((9 * DAY + 600 + m, 40, "one", "a", "10.0.0.8"));
        traffic.push((9 * DAY + 600 + m, 40, "two", "b", "10.0.0.9"));
    }
    assert_eq!(only_end(&insights(&traffic, 10)).counterfactual(), None);
}

#[test]
fn a_level_that_stays_is_the_new_normal_and_a_burst_is_not() {
    let usual: Vec<Calls> = (0..10 * DAY / 5).map(|i| (i * 5, 1, ROLE, "", "10.0.0.1")).collect();
    let burst = |minutes: i64| -> Vec<Calls> {
        usual.iter().copied().chain((0..minutes).map(|m| (8 * DAY + m, 30, ROLE, "", "10.0.0.1"))).collect()
    };
    let closing = |minutes: i64| {
        let insights = insights(&burst(minutes), 10);
        let end = insights.iter().find(|insight| insight.state == State::End).expect("an end");
        (end.evidence.closing, end.to_record(false).highwater.and_then(|highwater| highwater.closing))
    };
    assert_eq!(closing(2 * DAY), (Some(Closing::NewNormal), Some("new normal".to_owned())));
    assert_eq!(closing(20), (Some(Closing::BackToNormal), Some("back to normal".to_owned())));
}
