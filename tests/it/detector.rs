//! What the detector says of plain traffic, one line per insight, and that an attack which comes again is told again.

use std::collections::HashMap;

use highwater::detector::{CallRate, Detector, Options};
use highwater::event::{Category, Event};
use highwater::insight::mute::Mutes;
use highwater::insight::{Insight, State};
use highwater::judge::{DEFAULT_JSON, Model};
use highwater::train::simulate::{self, simulate};
use highwater::window::Tally;
use serde_json::Value;

use crate::support::{Random, detector, minute, scan, scan_options};

const DAY: i64 = 1_440;

fn event<'a>(second: i64, name: &'a str, principal: &'a str, error_code: &'a str) -> Event<'a> {
    Event {
        event_time_s: second,
        account_id: "123456789012",
        region: "us-east-1",
        event_source: "ec2.amazonaws.com",
        event_name: name,
        read_only: false,
        category: Category::Management,
        error_code,
        principal,
        session: "",
        access_key_id: "",
        source_ip: "203.0.113.7",
        user_agent: "agent",
        resource_arn: "",
        event_id: "",
        addendum_of: "",
    }
}

/// Calls in a minute: how many, of what, by whom, with which error.
type Calls<'a> = (i64, u64, &'a str, &'a str, &'a str);

fn tally(traffic: &[Calls]) -> Tally {
    let mut tally = Tally::default();
    for &(at, count, name, principal, error) in traffic {
        for call in 0..count {
            tally.add(&event(minute(at).0 * 60 + call as i64 % 60, name, principal, error));
        }
    }
    tally
}

fn told(insights: &[Insight]) -> Vec<String> {
    let after = |m: highwater::event::Minute| m.0 - minute(0).0;
    insights
        .iter()
        .map(|insight| {
            let what = insight.series.error_code.as_deref().unwrap_or("calls");
            let name = &insight.series.api.event_name;
            match insight.state {
                State::Start => format!("{name} {what} start {}", after(insight.start)),
                State::End => format!("{name} {what} end {} {}", insight.end.map_or(0, after), insight.insight.count),
            }
        })
        .collect()
}

/// Feeds traffic in one advance and compares what is told.
fn check(traffic: &[Calls], expected: &[&str]) {
    check_with(detector(), traffic, expected);
}

fn check_with(mut detector: Detector, traffic: &[Calls], expected: &[&str]) {
    detector.merge(tally(traffic));
    assert_eq!(told(&detector.advance(highwater::event::Minute(i64::MAX), 1).insights), expected);
}

/// One call every ten minutes for days.
fn steady(days: i64) -> Vec<Calls<'static>> {
    (0..days * DAY / 10).map(|i| (i * 10, 1, "RunInstances", "usual", "")).collect()
}

#[test]
fn a_quiet_week_and_a_quiet_day_say_nothing() {
    check(&steady(10), &[]);
}

#[test]
fn a_burst_is_told_from_its_first_to_its_last_minute_with_its_calls() {
    let mut traffic = steady(10);
    traffic.extend((0..6).map(|i| (9 * DAY + 603 + i, 40, "RunInstances", "stranger", "")));
    let start = format!("RunInstances calls start {}", 9 * DAY + 603);
    // The range of minutes expected does not reach the six minutes' counts; the calm tail is not part of the total.
    let end = format!("RunInstances calls end {} 240", 9 * DAY + 609);
    check(&traffic, &[&start, &end]);
}

#[test]
fn nothing_is_told_before_a_day_of_history() {
    let mut traffic = steady(2);
    traffic.extend((0..6).map(|i| (DAY - 20 + i, 80, "RunInstances", "stranger", "")));
    check(&traffic, &[]);
}

#[test]
fn an_api_never_called_before_is_told_of_in_an_account_with_history() {
    let mut traffic = steady(10);
    traffic.extend((0..5).map(|i| (9 * DAY + i, 12, "CreateUser", "stranger", "")));
    let (start, end) =
        (format!("CreateUser calls start {}", 9 * DAY), format!("CreateUser calls end {} 60", 9 * DAY + 5));
    check(&traffic, &[&start, &end]);
}

#[test]
fn errors_are_a_series_of_their_own_per_code() {
    let mut traffic = steady(10);
    traffic.extend((0..8).map(|i| (9 * DAY + i, 15, "RunInstances", "usual", "Client.UnauthorizedOperation")));
    let mut detector = detector();
    detector.merge(tally(&traffic));
    let insights = detector.advance(highwater::event::Minute(i64::MAX), 1).insights;
    let errors: Vec<_> = insights.iter().filter(|insight| insight.series.error_code.is_some()).collect();
    assert_eq!(errors.len(), 2, "{:?}", told(&insights));
    let record = errors[1].to_record(false);
    assert_eq!(record.insight_details.insight_type, "ApiErrorRateInsight");
    let statistics = record.insight_details.insight_context.statistics;
    assert_eq!((statistics.insight.average.text(), statistics.baseline.average.text()), ("15".into(), "0".into()));
}

#[test]
fn read_calls_count_only_when_asked() {
    let burst = |detector: &mut Detector| {
        let mut tally = Tally::default();
        for at in (0..10 * DAY).step_by(10).chain((9 * DAY..9 * DAY + 8).flat_map(|m| [m; 30])) {
            tally.add(&Event { read_only: true, ..event(minute(at).0 * 60, "DescribeInstances", "usual", "") });
        }
        detector.merge(tally);
        detector.advance(highwater::event::Minute(i64::MAX), 1).insights.len()
    };
    assert_eq!(burst(&mut detector()), 0);
    let options = Options { call_rate: CallRate::All, ..Options::default() };
    assert_eq!(burst(&mut Detector::new(options, Model::from_json(DEFAULT_JSON).expect("a model"))), 2);
}

#[test]
fn a_silent_hour_is_told_only_when_asked_and_never_when_the_whole_region_is_silent() {
    let traffic = |heartbeat: bool| -> Vec<Calls<'static>> {
        let mut traffic: Vec<Calls> = (0..12 * DAY)
            .filter(|m| !(10 * DAY + 600..10 * DAY + 840).contains(m))
            .map(|m| (m, 3, "PutImage", "usual", ""))
            .collect();
        if heartbeat {
            traffic.extend((0..12 * DAY / 10).map(|i| (i * 10, 1, "RunInstances", "usual", "")));
        }
        traffic
    };
    let drops = |holidays: &[u32]| {
        let options = Options { drops: true, holidays: holidays.iter().copied().collect(), ..Options::default() };
        Detector::new(options, Model::from_json(DEFAULT_JSON).expect("a model"))
    };
    check(&traffic(true), &[]);
    check_with(drops(&[]), &traffic(false), &[]);
    let today = (minute(10 * DAY).0 / DAY) as u32;
    // It begins at ten in the morning: the day before is over everywhere but in the far west.
    check_with(drops(&[today]), &traffic(true), &[]);
    check_with(drops(&[today - 1]), &traffic(true), &["PutImage calls start 15120", "PutImage calls end 15240 0"]);
    let mut detector = drops(&[]);
    detector.merge(tally(&traffic(true)));
    let insights = detector.advance(highwater::event::Minute(i64::MAX), 1).insights;
    let lines = told(&insights);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[0], format!("PutImage calls start {}", 10 * DAY + 600));
    assert_eq!(insights[0].to_record(false).highwater.map(|extra| extra.direction), Some("down".to_owned()));
}

/// Two accounts that run a job at noon on Sundays, for as long as anyone knows, and a third one that begins on a Monday
/// and runs it too.
fn organisation(others: u32) -> Tally {
    let mut tally = Tally::default();
    for account in 0..=others {
        let account_id = format!("00000000000{account}");
        for m in (if account == 0 { 21 * DAY } else { 0 })..28 * DAY {
            let (day, time) = (m / DAY, m % DAY);
            let job = if day % 7 == 6 && (720..725).contains(&time) { 40 } else { 0 };
            for call in 0..job + u64::from(m % 10 == 0) {
                let name = if call < job { "RunInstances" } else { "PutImage" };
                let event = event(minute(m).0 * 60 + call as i64, name, "usual", "");
                tally.add(&Event { account_id: &account_id, ..event });
            }
        }
    }
    tally
}

#[test]
fn a_young_account_borrows_what_two_older_ones_agree_on_however_far_an_advance_reaches() {
    let end = minute(28 * DAY);
    let young =
        |insights: &[Insight]| insights.iter().filter(|found| &*found.series.api.account_id == "000000000000").count();
    for (others, expected) in [(0, 2), (1, 2), (2, 0)] {
        let mut whole = detector();
        whole.merge(organisation(others));
        let insights = whole.advance(end, 1).insights;
        assert_eq!(young(&insights), expected, "with {others} older accounts");
        let (mut parts, mut told) = (detector(), Vec::new());
        parts.merge(organisation(others));
        for m in (minute(20 * DAY).0..end.0).step_by(431).chain([end.0]) {
            told.extend(parts.advance(highwater::event::Minute(m), 2).insights);
            let model = Model::from_json(DEFAULT_JSON).expect("a model");
            parts =
                Detector::restore(Options::default(), model, &parts.snapshot().expect("a snapshot")).expect("restored");
        }
        assert_eq!(told, insights);
    }
}

#[test]
fn what_one_caller_does_within_minutes_is_one_incident() {
    const MALLORY: &str = "arn:aws:iam::123456789012:user/mallory";
    const TRENT: &str = "arn:aws:iam::123456789012:user/trent";
    let at = 8 * DAY;
    let bursts = |name: &'static str, begin: i64, principal: &'static str| {
        (begin..begin + 5).map(move |minute| (minute, 40, name, principal, "")).collect::<Vec<Calls>>()
    };
    let traffic = [
        steady(8),
        bursts("CreateKeyPair", at, MALLORY),
        bursts("CreateImage", at + 9, MALLORY),
        // Each joins the one before it.
        bursts("CreateVolume", at + 20, MALLORY),
        bursts("CreateVpc", at + 2, TRENT),
        // An hour later it is another one.
        bursts("CreateSubnet", at + 80, MALLORY),
    ]
    .concat();
    let mut detector = detector();
    detector.merge(tally(&traffic));
    let insights = detector.advance(highwater::event::Minute(i64::MAX), 1).insights;
    let incident = |name: &str| {
        let mut all: Vec<_> =
            insights.iter().filter(|insight| &*insight.series.api.event_name == name).map(|i| i.incident).collect();
        assert_eq!(all.len(), 2, "{name}: a start and an end");
        all.dedup();
        assert_eq!(all.len(), 1, "{name}: both of one incident");
        all[0].expect("an incident")
    };
    let first = incident("CreateKeyPair");
    assert_eq!([incident("CreateImage"), incident("CreateVolume")], [first, first]);
    assert!(![first, incident("CreateSubnet")].contains(&incident("CreateVpc")));
    assert_ne!(incident("CreateSubnet"), first);
}

#[test]
fn what_is_not_learned_is_as_unusual_the_next_time() {
    let bursts = |day: i64| (0..30).map(move |minute| (day * DAY + 600 + minute, 60, "PutImage", "mallory", ""));
    let usual = (0..20 * DAY).step_by(3).map(|at| (at, 2, "PutImage", "alice", ""));
    // Four hours of it: longer than any incident is kept out of the record.
    let long = (0..240).map(|minute| (10 * DAY + 600 + minute, 60, "PutImage", "mallory", ""));
    let traffic: Vec<Calls> = usual.chain(long).chain(bursts(12)).chain(bursts(14)).collect();
    let starts = |mutes: &str| {
        let mut detector = detector();
        detector.mute(&Mutes::parse(mutes).expect("mutes"));
        detector.merge(tally(&traffic));
        let insights = detector.advance(highwater::event::Minute(i64::MAX), 1).insights;
        let starts = insights.iter().filter(|insight| insight.state == State::Start);
        starts.map(|insight| (insight.score, insight.expected.0, insight.expected.2)).collect::<Vec<_>>()
    };
    let learned = starts(r#"{"mutes":[]}"#);
    let unlearned = starts(r#"{"mutes":[{"id":"m","made":"","reason":"","api":"ec2:PutImage","unlearned":true}]}"#);
    assert_eq!(unlearned.len(), 3, "{unlearned:?}");
    for ((unlearned, learned), place) in unlearned.iter().zip(&learned).zip(0..) {
        // Until the first has come they are the same.
        assert!(if place == 0 { unlearned == learned } else { unlearned.0 > learned.0 }, "{unlearned:?} {learned:?}");
        assert!(place == 0 || (unlearned.1 < learned.1 && unlearned.2 < learned.2), "{unlearned:?} {learned:?}");
    }
    let elsewhere = starts(r#"{"mutes":[{"id":"m","made":"","reason":"","api":"s3:*","unlearned":true}]}"#);
    assert_eq!(learned, elsewhere);
}

#[test]
fn events_with_one_id_count_once_and_an_addendum_not_at_all() {
    let mut tally = Tally::default();
    let id = "11111111-2222-4333-8444-555555555555";
    let second = minute(0).0 * 60;
    let first = Event { event_id: id, ..event(second, "RunInstances", "usual", "") };
    tally.add(&first);
    tally.add(&first);
    tally.add(&Event { event_id: "other", addendum_of: id, principal: "corrected", ..first.clone() });
    // A correction whose original was never delivered stands for it, once.
    let lost = Event { event_id: "a", addendum_of: "lost", ..first.clone() };
    tally.add(&lost);
    tally.add(&Event { event_id: "b", ..lost });
    // Events without an ID cannot be told from repeated calls.
    tally.add(&event(second, "RunInstances", "usual", ""));
    tally.add(&event(second, "RunInstances", "usual", ""));
    let closed = tally.close_before(highwater::event::Minute(i64::MAX));
    assert_eq!(closed.calls.iter().map(|calls| calls.count).sum::<u32>(), 4);
    assert_eq!(closed.duplicates, 3);
    assert!(closed.calls.iter().all(|calls| closed.caller(calls.caller)[0] == "usual"));
}

#[test]
fn tallies_commute() {
    let mut random = Random(3);
    let traffic: Vec<Calls> = (0..400)
        .map(|_| {
            let name = ["RunInstances", "CreateUser", "PutImage"][random.below(3) as usize];
            (random.below(3_000) as i64, 1 + random.below(4), name, ["a", "b", "c"][random.below(3) as usize], "")
        })
        .collect();
    let describe = |closed: highwater::window::Closed| {
        let mut rows: Vec<_> = closed
            .calls
            .iter()
            .map(|calls| {
                let api = closed.api(calls.api).map(str::to_owned);
                let caller = closed.caller(calls.caller).map(str::to_owned);
                (api, calls.minute, caller, calls.count)
            })
            .collect();
        rows.sort();
        rows
    };
    let (left, right) = traffic.split_at(170);
    let (mut ab, mut ba) = (tally(left), tally(right));
    ab.merge(tally(right));
    ba.merge(tally(left));
    let end = highwater::event::Minute(i64::MAX);
    let whole = describe(tally(&traffic).close_before(end));
    assert_eq!(describe(ab.close_before(end)), whole);
    // Closing in steps gives the same rows.
    let mut steps = Vec::new();
    for at in [500, 777, 2_000] {
        steps.extend(describe(ba.close_before(minute(at))));
    }
    steps.extend(describe(ba.close_before(end)));
    steps.sort();
    assert_eq!(steps, whole);
}

/// An attack must not hide its own repetition: two days later it is found again in at least 80 of 100 cases.
#[test]
fn an_attack_that_comes_again_is_told_again() {
    let (mut found, mut again) = (0, 0);
    for seed in 21..27 {
        let folder = tempfile::tempdir().expect("a folder");
        let options = simulate::Options {
            seed,
            days: 21,
            apis: 40,
            scale: 0.3,
            delivery_minutes: 60,
            repeat_after_days: Some(2),
            ..simulate::Options::default()
        };
        simulate(&options, folder.path()).expect("a trail");
        let (lines, _) = scan(&folder.path().join("AWSLogs"), &scan_options(), &mut detector());
        let records: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).expect("a record")).collect();
        let mut spans: HashMap<&str, (&Value, i64, i64)> = HashMap::new();
        for record in &records {
            let time = seconds(&record["eventTime"]) / 60;
            let span = spans.entry(record["sharedEventID"].as_str().expect("an id")).or_insert((record, time, time));
            (span.1, span.2) = (span.1.min(time), span.2.max(time));
        }
        let truth = std::fs::read_to_string(folder.path().join("truth.json")).expect("the truth");
        let truth: Value = serde_json::from_str(&truth).expect("json");
        let rows: Vec<&Value> = truth["truth"]
            .as_array()
            .expect("rows")
            .iter()
            .filter(|row| row["benign"] != true && row["optional"] != true)
            .collect();
        let is_found = |row: &Value, shift: i64| {
            let (start, end) = (seconds(&row["start"]) / 60 + shift - 10, seconds(&row["end"]) / 60 + shift + 10);
            spans.values().any(|(record, first, last)| {
                let details = &record["insightDetails"];
                details["eventName"] == row["eventName"]
                    && details["eventSource"] == row["eventSource"]
                    && record["awsRegion"] == row["region"]
                    && details["insightType"] == row["insightType"]
                    && details["errorCode"] == row["errorCode"]
                    && *first <= end
                    && *last >= start
            })
        };
        for row in rows.iter().filter(|row| row["repeat"] != true && is_found(row, 0)) {
            let repeated = rows.iter().any(|other| {
                other["repeat"] == true
                    && other["eventName"] == row["eventName"]
                    && other["region"] == row["region"]
                    && other["errorCode"] == row["errorCode"]
                    && seconds(&other["start"]) == seconds(&row["start"]) + 2 * 86_400
            });
            if repeated {
                found += 1;
                again += u32::from(is_found(row, 2 * DAY));
            }
        }
    }
    println!("{again} of {found} attacks were found again two days later");
    assert!(found >= 40, "{found} attacks were found at all");
    assert!(again * 100 >= found * 80, "{again} of {found} found again");
}

fn seconds(time: &Value) -> i64 {
    chrono::DateTime::parse_from_rfc3339(time.as_str().expect("a time")).expect("RFC 3339").timestamp()
}

/// 120 sessions of one role, some in each minute, then somebody new: features and insights for one order of arrival.
fn of_many_sessions(newest_first: bool) -> (Vec<[f64; highwater::judge::FEATURE_COUNT]>, Vec<Insight>) {
    let sessions: Vec<String> = (0..120).map(|place| format!("session-{place}")).collect();
    let mut random = Random(7);
    let mut calls: Vec<(i64, &str, &str)> = Vec::new();
    for at in (0..3 * DAY).filter(|at| at % 2 == 0) {
        calls.extend((0..8).map(|_| (at, "role", sessions[random.below(120) as usize].as_str())));
    }
    calls.extend((0..200).map(|call| (3 * DAY - 400 + call / 40, "stranger", "new")));
    if newest_first {
        calls.reverse();
    }
    let mut tally = Tally::default();
    for (at, principal, session) in calls {
        let plain = event(minute(at).0 * 60, "RunInstances", principal, "");
        tally.add(&Event { session, ..plain });
    }
    let options = Options { keep_candidates: true, ..Options::default() };
    let mut detector = Detector::new(options, Model::from_json(DEFAULT_JSON).expect("a model"));
    detector.merge(tally);
    let advance = detector.advance(highwater::event::Minute(i64::MAX), 1);
    (advance.candidates.into_iter().map(|candidate| candidate.features).collect(), advance.insights)
}

#[test]
fn features_do_not_follow_the_order_in_which_many_callers_arrived() {
    let (features, insights) = of_many_sessions(false);
    assert!(features.len() > 5 && !insights.is_empty(), "{} {}", features.len(), insights.len());
    assert!((features, insights) == of_many_sessions(true), "they differ");
}

/// A day in which each call has a session of its own, and somebody new at its end: the same in one step as in many, and
/// said not to be exact, for the day was folded before it was over.
#[test]
fn a_session_for_each_call_is_folded_within_the_day_however_it_is_cut() {
    let run = |step_minutes: i64, newest_first: bool| {
        let mut calls: Vec<(i64, String)> = Vec::new();
        for at in 0..3 * DAY {
            let each = if at < 2 * DAY { 1 } else { 14 };
            calls.extend((0..each).map(|call| (at, format!("session-{at}-{call}"))));
        }
        calls.extend((0..400).map(|call| (3 * DAY - 50 + call / 80, "new".to_owned())));
        if newest_first {
            calls.reverse();
        }
        let mut tally = Tally::default();
        for (at, session) in &calls {
            let principal = if session == "new" { "stranger" } else { "role" };
            let plain = event(minute(*at).0 * 60, "RunInstances", principal, "");
            tally.add(&Event { session, ..plain });
        }
        let options = Options { keep_candidates: true, ..Options::default() };
        let mut detector = Detector::new(options, Model::from_json(DEFAULT_JSON).expect("a model"));
        detector.merge(tally);
        let (mut features, mut insights) = (Vec::new(), Vec::new());
        for at in (0..3 * DAY + 120).step_by(step_minutes as usize).chain([i64::from(u32::MAX)]) {
            let advance = detector.advance(minute(at), 1);
            features.extend(advance.candidates.into_iter().map(|candidate| candidate.features));
            insights.extend(advance.insights);
        }
        (features, insights)
    };
    let whole = run(3 * DAY + 120, false);
    assert!(whole.1.iter().any(|insight| insight.state == State::Start && !insight.attribution_exact));
    for (step_minutes, newest_first) in [(7, false), (60, true), (3 * DAY + 120, true)] {
        assert!(run(step_minutes, newest_first) == whole, "cut every {step_minutes} minutes");
    }
}

#[test]
fn early_words_of_one_caller_are_one_incident_though_they_come_one_by_one() {
    let mut traffic = steady(10);
    traffic.extend((0..10 * DAY / 10).map(|i| (i * 10, 1, "ListBuckets", "usual", "")));
    let mut detector = detector();
    detector.merge(tally(&traffic));
    detector.advance(minute(9 * DAY), 1);
    let api = |name: &str| ["123456789012", "us-east-1", "ec2.amazonaws.com", name, "Management"].map(str::to_owned);
    let mut incidents = Vec::new();
    for (after, name) in [(0, "RunInstances"), (4, "ListBuckets"), (40, "RunInstances")] {
        detector.merge(tally(&[(9 * DAY + 600 + after, 300, name, "stranger", "")]));
        let told = detector.peek(&[api(name)]).expect("a look");
        incidents.push(told.last().expect("an early word").incident);
        // Time goes on, and has not reached it yet.
        detector.advance(minute(9 * DAY + after), 1);
    }
    assert!(incidents[0].is_some() && incidents[0] == incidents[1], "{incidents:?}");
}
