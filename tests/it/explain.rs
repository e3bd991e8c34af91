//! Why: what a record says beyond its counts, in numbers and in words, and that `highwater explain` says the same from
//! the stored rates.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use highwater::detector::{CallRate, Detector, Options};
use highwater::event::{Category, Event, Minute};
use highwater::insight::{
    Attributed, Closing, Direction, Evidence, Insight, Rate, Recurrence, SeriesKey, State, baseline_from, return_years,
    words,
};
use highwater::judge::{DEFAULT_JSON, Model, Rhythm};
use highwater::train::simulate::{self, simulate};
use highwater::window::{Api, Attribute, Tally};
use serde_json::Value;

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
fn a_missed_job_does_not_depend_on_how_often_time_is_moved_on() {
    let traffic = daily((0..26).filter(|day| *day != 17), 10);
    let whole = insights_with(missed_jobs(), &traffic, 30);
    assert!(whole.len() >= 4, "{whole:?}");
    for step in [37, 600, 1_440] {
        let mut detector = missed_jobs();
        detector.merge(tally(&traffic, 30));
        let steps = (0..=30 * DAY).step_by(step).map(minute).chain([Minute(i64::MAX)]);
        let told: Vec<Insight> = steps
            .flat_map(|frontier| detector.advance(frontier, 1).insights)
            .filter(|insight| &*insight.series.api.event_name == "PutImage")
            .collect();
        assert_eq!(told, whole, "every {step} minutes");
    }
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

/// A burst of 118 calls in 12 minutes by a new role beside the usual one.
fn burst() -> Insight {
    let start = minute(14 * DAY + 847);
    let counts = |values: &[(&str, u64)]| values.iter().map(|(value, n)| ((*value).to_owned(), *n)).collect();
    Insight {
        series: SeriesKey {
            api: Arc::new(Api {
                account_id: "123456789012".into(),
                region: "us-east-1".into(),
                event_source: "ec2.amazonaws.com".into(),
                event_name: "RunInstances".into(),
                category: Category::Management,
            }),
            error_code: None,
        },
        state: State::End,
        direction: Direction::Up,
        start,
        end: Some(Minute(start.0 + 12)),
        decided: Minute(start.0 + 73),
        insight: Rate { count: 118, minutes: 12 },
        baseline: Rate { count: 7_000, minutes: start.0 - baseline_from(start).0 },
        attributed: vec![
            Attributed {
                attribute: Attribute::UserIdentityArn,
                insight: counts(&[(ROLE, 110), ("arn:aws:iam::123456789012:user/alice", 8)]),
                baseline: counts(&[(ROLE, 6_000), ("arn:aws:iam::123456789012:user/alice", 1_000)]),
            },
            Attributed {
                attribute: Attribute::SessionName,
                insight: counts(&[("ci-42", 104), ("ci-41", 6)]),
                baseline: counts(&[("ci-41", 6_000)]),
            },
            Attributed {
                attribute: Attribute::SourceIpAddress,
                insight: counts(&[("198.51.100.9", 104), ("10.0.0.1", 14)]),
                baseline: counts(&[("10.0.0.1", 7_000)]),
            },
        ],
        attribution_exact: true,
        expected: (0.7, 0.0, 3.0),
        // 12 minutes of 525,600: once in 40 years is one window in 1,752,000.
        ln_odds: -(1_752_000f64.ln()),
        evidence: Evidence { window_minutes: 15, closing: Some(Closing::BackToNormal), ..Evidence::default() },
        score: 4.0,
        threshold: -0.3,
        model: "judge-17/1".into(),
        incident: None,
    }
}

#[test]
fn a_reason_says_what_how_rare_who_and_how_it_ended() {
    assert_eq!(
        words::reason(&burst()),
        "RunInstances was called 118 times in 12 minutes, 14:07 to 14:19 UTC: 9.8 a minute, 15x the 0.64 of the seven \
         days before (usually 0 to 3 at this hour), about once in 40 years for this API; most unusual over 15 minutes. \
         94 % of the extra calls came from role deploy; without session ci-42 the minutes lie inside the expected \
         range. New in seven days: address 198.51.100.9. Then the rate fell back to normal."
    );
    let highwater = burst().to_record(false).highwater.expect("our object");
    assert_eq!((highwater.odds.as_str(), highwater.window_minutes), ("about once in 40 years for this API", Some(15)));
    let json = serde_json::to_value(&highwater).expect("json");
    assert_eq!(json["without"]["value"], "ci-42");
    assert_eq!(json["new"][0]["attribute"], "sourceIPAddress");
    assert_eq!(json["closing"], "back to normal");
}

#[test]
fn recurrence_in_words() {
    let rhythm = Rhythm {
        period_minutes: 1_440,
        phase_minutes: 360,
        jitter_minutes: 2,
        weekdays: false,
        count: 40,
        minutes: 8,
        hits: 27,
        chances: 28,
        shift_minutes: 0,
    };
    let said = |rhythm: Rhythm, count: u64| words::recurrence(&Recurrence { rhythm, count }, false);
    assert_eq!(said(rhythm, 240), "usual job, daily at 06:00 UTC (27 of 28 days), this time 6x its size");
    assert_eq!(said(rhythm, 44), "usual job, daily at 06:00 UTC (27 of 28 days), of its usual size");
    assert_eq!(
        said(Rhythm { shift_minutes: -60, ..rhythm }, 20),
        "usual job, daily at 06:00 UTC (27 of 28 days), now at 05:00 UTC: an hour earlier, as daylight saving does, \
         this time 0.5x its size"
    );
    let schedule = |rhythm: Rhythm| said(rhythm, 40).replace(", of its usual size", "").replace("usual job, ", "");
    let weekly = Rhythm { period_minutes: 10_080, phase_minutes: 4 * 1_440 + 90, hits: 4, chances: 4, ..rhythm };
    assert_eq!(schedule(weekly), "weekly, Mondays at 01:30 UTC (4 of 4 weeks)");
    let hourly = Rhythm { period_minutes: 60, phase_minutes: 5, hits: 47, chances: 48, ..rhythm };
    assert_eq!(schedule(hourly), "hourly at 5 past (47 of 48 hours)");
    let working = Rhythm { weekdays: true, hits: 20, chances: 20, ..rhythm };
    assert_eq!(schedule(working), "on working days at 06:00 UTC (20 of 20 working days)");
    let every = |period_minutes: u32| schedule(Rhythm { period_minutes, phase_minutes: 10, ..rhythm });
    assert_eq!(every(90), "every 90 minutes (27 of 28 times)");
    assert_eq!(every(360), "every 6 hours, as at 00:10 UTC (27 of 28 times)");
    assert_eq!(every(2_880), "every 2 days at 00:10 UTC (27 of 28 times)");
    let stranger = words::recurrence(&Recurrence { rhythm, count: 40 }, true);
    assert!(stranger.starts_with("a new caller at the time of a usual job, daily"), "{stranger}");
}

#[test]
fn odds_are_the_mean_distance_of_such_windows() {
    let said = |one_in: f64, minutes: f64| words::odds(return_years(-one_in.ln(), minutes));
    // A year has 105,120 windows of five minutes, 8,760 hours.
    assert_eq!(said(105_120.0 * 40.0, 5.0), "about once in 40 years for this API");
    assert_eq!(said(105_120.0 * 1_234.0, 5.0), "about once in 1,200 years for this API");
    assert_eq!(said(105_120.0 * 10_001.0, 5.0), "less than once in 10,000 years for this API");
    assert_eq!(said(8_760.0 / 4.0, 60.0), "about once in 3 months for this API");
    assert_eq!(said(24.0 * 9.0, 60.0), "about once in 9 days for this API");
    assert_eq!(said(24.0, 60.0), "about once a day for this API");
    assert_eq!(said(1.0, 60.0), "several times a day for this API");
    assert_eq!(words::odds(return_years(f64::NEG_INFINITY, 5.0)), "less than once in 10,000 years for this API");
}

fn highwater(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
    for name in ["LC_ALL", "LC_CTYPE", "LANG", "COLUMNS", "NO_COLOR"] {
        command.env_remove(name);
    }
    command.args(arguments).envs(environment.iter().copied()).output().expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a UTF-8 path")
}

#[test]
fn explain_recomputes_every_number_from_the_rates_and_says_when_one_differs() {
    let work = tempfile::tempdir().expect("a folder");
    let (trail, out) = (work.path().join("trail"), work.path().join("out"));
    let logs = trail.join("AWSLogs");
    let options =
        simulate::Options { seed: 31, days: 14, apis: 16, scale: 0.1, regions: 1, ..simulate::Options::default() };
    simulate(&options, &trail).expect("a trail");
    let scan = ["scan", path(&logs), "-o", path(&out), "-q", "--no-charts", "--direction", "both"];
    assert!(highwater(&scan, &[]).status.success());
    let lines = fs::read_to_string(out.join("insights.jsonl")).expect("insights");
    let ids: Vec<String> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("a record"))
        .filter(|record| record["insightDetails"]["state"] == "Start")
        .map(|record| record["sharedEventID"].as_str().expect("an ID").to_owned())
        .collect();
    assert!(ids.len() >= 3, "{} incidents", ids.len());
    for (place, id) in ids.iter().enumerate() {
        let by_row = highwater(&["explain", &(place + 1).to_string(), path(&out)], &[]);
        assert!(by_row.status.success(), "{id}: {}{}", text(&by_row.stdout), text(&by_row.stderr));
        let by_id = highwater(&["explain", &id[..13], path(&out)], &[]);
        assert_eq!(by_row.stdout, by_id.stdout);
        let json = highwater(&["explain", id, path(&out), "--json"], &[]);
        let json: Value = serde_json::from_slice(&json.stdout).expect("JSON");
        assert_eq!((&json["agrees"], &json["row"]), (&Value::Bool(true), &Value::from(place + 1)));
        assert!(json["checks"].as_array().is_some_and(|checks| checks.len() >= 7), "{}", json["checks"]);
    }

    // Plain where it must be, as wide as the terminal, never coloured in a pipe.
    let narrow = text(&highwater(&["explain", "1", path(&out)], &[("COLUMNS", "60")]).stdout);
    assert!(narrow.is_ascii() && narrow.contains("Expected range"), "{narrow}");
    assert!(narrow.lines().filter(|line| line.contains('|')).all(|line| line.chars().count() <= 60), "{narrow}");
    let unicode = text(&highwater(&["explain", "1", path(&out)], &[("LANG", "C.UTF-8")]).stdout);
    assert!(unicode.contains('█') && unicode.contains('━') && !unicode.contains('\u{1b}'), "{unicode}");

    // One call more than there was.
    let observed = lines.lines().next().and_then(|line| line.split("\"observed\":").nth(1)).expect("a count");
    let count: u64 = observed.split(',').next().and_then(|count| count.parse().ok()).expect("a number");
    let forged = lines.replacen(&format!("\"observed\":{count}"), &format!("\"observed\":{}", count + 1), 1);
    fs::write(out.join("insights.jsonl"), forged).expect("written");
    let differs = highwater(&["explain", "1", path(&out)], &[]);
    assert_eq!(differs.status.code(), Some(1));
    assert!(
        text(&differs.stdout)
            .contains(&format!("Start, observed: {} in the record, {count} from the rates", count + 1))
    );

    for (id, words) in
        [("0", "by its sharedEventID or as 1 to"), ("nothing", "none begins with"), ("", "give more of it")]
    {
        let failed = highwater(&["explain", id, path(&out)], &[]);
        // An ID may begin with a zero.
        assert!(failed.status.code() == Some(1) || id == "0", "{id:?}");
        let error = text(&failed.stderr);
        assert!(error.contains(words) || id == "0", "{id:?}: {error}");
    }
}
