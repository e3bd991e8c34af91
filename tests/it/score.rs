//! What `highwater score` promises: laws of the scorer, tables as people have them, and the command itself.

use std::fs;

use highwater::score::{
    Direction, Format, Missing, Options, Scored, Scorer, THRESHOLD, Table, Verdict, read_csv, score, write_rows,
};
use proptest::prelude::{Just, Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};

use crate::support::{Random, highwater, path, status};

const HOUR_S: i64 = 3_600;
/// A Monday, 2026-03-02T00:00:00Z.
const START_S: i64 = 1_772_409_600;

/// About `mean` at noon, a third of it at midnight, with the noise of a count.
fn seasonal(random: &mut Random, time_s: i64, mean: f64) -> f64 {
    let hour = (time_s.rem_euclid(86_400)) as f64 / 3_600.0;
    let mean = mean * (2.0 + (std::f64::consts::TAU * (hour - 6.0) / 24.0).sin()) / 3.0;
    let noise: f64 = (0..12).map(|_| random.below(1_000) as f64 / 1_000.0).sum::<f64>() - 6.0;
    (mean + noise * mean.sqrt()).max(0.0).round()
}

/// `days` of rows.
fn series(seed: u64, step_s: i64, days: i64, mean: f64) -> Vec<(i64, f64)> {
    let mut random = Random(seed);
    (0..days * 86_400 / step_s)
        .map(|row| START_S + row * step_s)
        .map(|time_s| (time_s, seasonal(&mut random, time_s, mean)))
        .collect()
}

fn table(rows: &[(i64, f64)]) -> Table {
    let lines: String = rows.iter().map(|(time_s, value)| format!("{time_s},{value}\n")).collect();
    read_csv("rows", format!("timestamp,value\n{lines}").as_bytes()).expect("a table")
}

const OPTIONS: Options = Options { threshold: THRESHOLD, missing: Missing::Unknown, threads: 1 };

fn scored(rows: &[(i64, f64)]) -> Scored {
    score(&table(rows), &OPTIONS).expect("a series")
}

fn flags(scored: &Scored) -> usize {
    scored.verdicts.iter().filter(|verdict| verdict.flag).count()
}

/// Each row against the definition written down once more, in Python.
#[test]
fn every_number_agrees_with_the_reference() {
    for (step_s, text) in [
        (3_600, include_str!("../fixtures/score/hours.csv")),
        (900, include_str!("../fixtures/score/quarters.csv")),
        (7_200, include_str!("../fixtures/score/sparse.csv")),
    ] {
        let mut scorer = Scorer::new(step_s, THRESHOLD);
        let (mut rows, mut told) = (0, 0);
        for line in text.lines().skip(1) {
            let cells: Vec<&str> = line.split(',').collect();
            let number = |column: usize| cells[column].parse::<f64>().ok();
            let verdict = scorer.row(cells[0].parse().expect("a time"), number(1));
            let ours = [
                verdict.expected,
                verdict.band.map(|(lower, _)| lower),
                verdict.band.map(|(_, upper)| upper),
                Some(verdict.score),
            ];
            for (column, ours) in ours.into_iter().enumerate() {
                let theirs = number(column + 2);
                let agree = match (ours, theirs) {
                    (Some(ours), Some(theirs)) => (ours - theirs).abs() <= 1e-6 * theirs.abs().max(1.0),
                    (ours, theirs) => ours.is_none() && theirs.is_none(),
                };
                assert!(agree, "{step_s} s, {line}: {ours:?} in column {column}");
            }
            assert_eq!([verdict.flag, verdict.fall].map(u8::from).map(|flag| flag.to_string()), cells[6..8], "{line}");
            rows += 1;
            told += usize::from(verdict.flag);
        }
        assert!(rows > 1_000 && told > 5, "{rows} rows, {told} flags");
    }
}

#[test]
fn later_rows_change_nothing_before_them() {
    let mut rows = series(1, HOUR_S, 40, 90.0);
    rows[800].1 *= 9.0;
    let all = scored(&rows);
    for length in [1, 2, 100, 799, 801, 900] {
        assert_eq!(scored(&rows[..length]).verdicts, all.verdicts[..length], "{length} rows");
    }
}

#[test]
fn a_burst_of_ten_times_the_usual_is_one_incident() {
    for step_s in [60, 300, 1_800, HOUR_S, 86_400] {
        let days = if step_s == 86_400 { 200 } else { 12 };
        let mut rows = series(2, step_s, days, 80.0);
        let burst = rows.len() * 3 / 4;
        for row in &mut rows[burst..burst + 3] {
            row.1 = row.1 * 10.0 + 100.0;
        }
        let scored = scored(&rows);
        assert!(scored.verdicts[burst].flag && !scored.verdicts[burst].fall, "step {step_s}");
        let near = |start_s: i64| (rows[burst].0..=rows[burst + 2].0).contains(&start_s);
        let hits: Vec<_> = scored.incidents.iter().filter(|incident| near(incident.start_s)).collect();
        assert_eq!(hits.len(), 1, "step {step_s}: {:?}", scored.incidents);
        assert_eq!(hits[0].direction, Direction::Up);
        assert!(hits[0].sentence().contains("times as much"), "{}", hits[0].sentence());
    }
}

#[test]
fn a_burst_at_night_counts_though_noon_is_higher() {
    let mut rows = series(3, HOUR_S, 30, 3_000.0);
    let night = 25 * 24;
    assert!(rows[night].1 < 1_300.0);
    rows[night].1 = 2_600.0;
    let scored = scored(&rows);
    assert!(rows[..night].iter().any(|row| row.1 > 2_600.0), "noon is higher");
    assert!(scored.verdicts[night].flag, "{:?}", scored.verdicts[night]);
}

#[test]
fn an_outage_is_a_fall_and_its_end_is_no_rise() {
    let mut rows = series(4, 300, 20, 400.0);
    let (first, last) = (15 * 288 + 130, 15 * 288 + 178);
    for row in &mut rows[first..last] {
        row.1 = 0.0;
    }
    let scored = scored(&rows);
    let during = &scored.verdicts[first..last];
    assert!(during.iter().any(|verdict| verdict.flag && verdict.fall));
    assert!(during.iter().all(|verdict| !verdict.flag || verdict.fall));
    assert!(scored.verdicts[last..last + 288].iter().all(|verdict| !verdict.flag || verdict.fall));
}

#[test]
fn one_low_row_of_many_in_an_hour_is_no_fall() {
    let mut rows = series(5, 60, 9, 900.0);
    let low = 8 * 1_440 + 600;
    rows[low].1 = 0.0;
    assert!(!scored(&rows).verdicts[low].flag);
}

#[test]
fn a_constant_series_never_alarms() {
    for value in [0.0, 7.0, -3.5, 1e12] {
        let rows: Vec<(i64, f64)> = (0..2_000).map(|row| (START_S + row * HOUR_S, value)).collect();
        let scored = scored(&rows);
        assert!(scored.verdicts.iter().all(|verdict| verdict.score == 0.0 && !verdict.flag), "{value}");
        let expected = |verdict: &Verdict| verdict.expected.expect("an expectation");
        assert!(
            scored.verdicts[1..].iter().all(|verdict| (expected(verdict) - value).abs() <= 1e-9 * value.abs()),
            "{value}"
        );
    }
}

#[test]
fn the_first_calls_after_long_silence_alarm_once() {
    let mut rows: Vec<(i64, f64)> = (0..1_000).map(|row| (START_S + row * HOUR_S, 0.0)).collect();
    for row in [700, 702, 705] {
        rows[row].1 = 40.0;
    }
    let scored = scored(&rows);
    assert!(scored.verdicts[700].flag);
    assert_eq!(scored.incidents.len(), 1, "{:?}", scored.incidents);
}

#[test]
fn a_gap_never_alarms() {
    let mut rows = series(6, 300, 24, 500.0);
    let before = scored(&rows).verdicts[20 * 288..].iter().filter(|verdict| verdict.flag).count();
    rows.drain(18 * 288..20 * 288 - 144);
    let after = scored(&rows);
    let tail = &after.verdicts[18 * 288..];
    assert!(tail.iter().filter(|verdict| verdict.flag).count() <= before, "{:?}", after.incidents);
    assert!(after.notes.iter().any(|note| note.contains("1 gaps")), "{:?}", after.notes);

    // As rows without a value they are silent too.
    let mut rows = series(6, 300, 24, 500.0);
    rows[18 * 288..20 * 288].iter_mut().for_each(|row| row.1 = f64::NAN);
    let empty = scored(&rows);
    assert!(empty.verdicts[18 * 288..20 * 288].iter().all(|verdict| verdict.score == 0.0 && !verdict.flag));
}

#[test]
fn missing_rows_count_as_zero_only_when_asked() {
    let mut rows = series(7, 300, 20, 300.0);
    rows.drain(15 * 288 + 120..15 * 288 + 180);
    let zero = Options { missing: Missing::Zero, ..OPTIONS };
    let filled = score(&table(&rows), &zero).expect("a series");
    assert_eq!(filled.verdicts.len(), rows.len());
    let gap_s = rows[15 * 288 + 119].0 + 300..rows[15 * 288 + 120].0;
    let falls = |scored: &Scored| {
        scored.incidents.iter().any(|one| one.direction == Direction::Down && gap_s.contains(&one.peak_s))
    };
    assert!(falls(&filled) && !falls(&scored(&rows)));
}

#[test]
fn a_rate_scores_as_the_count_does() {
    let mut rows = series(8, HOUR_S, 40, 70.0);
    rows[777].1 *= 4.0;
    let counts = scored(&rows);
    for factor in [1.0 / 3_600.0, 1e9] {
        let rates: Vec<(i64, f64)> = rows.iter().map(|&(time_s, value)| (time_s, value * factor)).collect();
        for (place, (count, rate)) in counts.verdicts.iter().zip(&scored(&rates).verdicts).enumerate() {
            assert!((count.score - rate.score).abs() < 1e-6, "row {place}: {count:?} {rate:?}");
        }
    }
}

#[test]
fn order_and_threads_change_nothing() {
    let mut lines: Vec<String> = Vec::new();
    for name in ["a", "b", "c,\"quoted\""] {
        let rows = series(name.len() as u64, HOUR_S, 15, 50.0);
        let name = format!("\"{}\"", name.replace('"', "\"\""));
        lines.extend(rows.iter().map(|(time_s, value)| format!("{name},{time_s},{value}")));
    }
    let outcome = |lines: &[String], threads: usize| {
        let text = format!("series,time,count\n{}\n", lines.join("\n"));
        let table = read_csv("rows", text.as_bytes()).expect("a table");
        let scored = score(&table, &Options { threads, ..OPTIONS }).expect("series");
        let mut out = Vec::new();
        write_rows(&table, &scored, Format::Csv, &mut out).expect("rows");
        String::from_utf8(out).expect("text").lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let sorted = outcome(&lines, 1);
    assert_eq!(sorted, outcome(&lines, 3));
    let mut order: Vec<usize> = (0..lines.len()).collect();
    Random(9).shuffle(&mut order);
    let shuffled: Vec<String> = order.iter().map(|&place| lines[place].clone()).collect();
    let outcome = outcome(&shuffled, 2);
    for (row, &place) in order.iter().enumerate() {
        assert_eq!(outcome[row + 1], sorted[place + 1]);
    }
}

#[test]
fn a_lasting_change_is_told_on_its_first_days_and_then_learned() {
    let mut rows = series(10, HOUR_S, 60, 60.0);
    let shift = 30 * 24 + 9;
    rows[shift..].iter_mut().for_each(|row| row.1 *= 4.0);
    let scored = scored(&rows);
    assert!(scored.verdicts[shift].flag);
    // Its first noons are each the highest so far. Its nights may then be low for a level that has not found their depth.
    let late = |direction: Direction, hours: usize| {
        let late = |start_s: i64| start_s > rows[shift + hours].0;
        scored.incidents.iter().filter(|one| late(one.start_s) && one.direction == direction).count()
    };
    assert!(late(Direction::Up, 0) <= 4 && late(Direction::Up, 96) == 0, "{:?}", scored.incidents);
    assert!(late(Direction::Down, 0) <= 3, "{:?}", scored.incidents);
    let expected = scored.verdicts.last().and_then(|verdict| verdict.expected).expect("an expectation");
    let before = scored.verdicts[shift].expected.expect("an expectation");
    assert!(expected > 2.0 * before || rows.last().is_some_and(|row| row.1 < 2.0 * before), "{before} {expected}");
}

#[test]
fn quiet_noise_seldom_alarms() {
    let flagged: usize = (0..10).map(|seed| flags(&scored(&series(100 + seed, HOUR_S, 60, 100.0)))).sum();
    // Score 1 is once in e days for a row of the prior's tail; the noise of a count is lighter.
    assert!(flagged < 10 * 60 / 6, "{flagged} rows in 600 days");
}

#[test]
fn few_huge_and_odd_rows_pass() {
    assert!(scored(&[]).verdicts.is_empty());
    let one = scored(&[(START_S, 5.0)]);
    assert_eq!(one.verdicts, [Verdict { expected: None, band: None, score: 0.0, flag: false, fall: false }]);
    let mut rows = series(11, HOUR_S, 30, 50.0);
    for (row, value) in [(300, 1e300), (301, -1e300), (400, u64::MAX as f64), (500, -20.0), (501, 0.25)] {
        rows[row].1 = value;
    }
    let scored = scored(&rows);
    for verdict in &scored.verdicts {
        assert!(verdict.score.is_finite() && verdict.expected.is_none_or(f64::is_finite), "{verdict:?}");
    }
    assert!(scored.verdicts[300].flag);
}

#[test]
fn what_is_wrong_with_a_file_is_named() {
    for (text, wanted) in [
        ("", "x.csv: empty"),
        ("a,b\n1,2\n", "x.csv: no time column among a, b"),
        ("timestamp,a,b\n", "x.csv: no value column"),
        (
            "timestamp,value\n2026-03-02,1\nyesterday,2\n",
            "x.csv, line 3, column timestamp: \"yesterday\" is not a time",
        ),
        ("timestamp,value\n2026-03-02,many\n", "x.csv, line 2, column value: \"many\" is not a number"),
        ("timestamp,value\n2026-03-02,1e301\n", "line 2, column value"),
        ("timestamp,value\n2026-03-02,1,2\n", "x.csv: CSV error"),
    ] {
        let error = read_csv("x.csv", text.as_bytes()).expect_err(text).to_string();
        assert!(error.contains(wanted), "{error}");
    }
    let apart = |step_s: i64| score(&table(&[(0, 1.0), (step_s, 1.0), (2 * step_s, 1.0)]), &OPTIONS);
    assert!(apart(5).expect_err("too fine").to_string().contains("5 s apart"));
    assert!(apart(7 * 86_400).expect_err("too coarse").to_string().contains("7 days apart"));
    let zero = Options { missing: Missing::Zero, ..OPTIONS };
    let far = score(&table(&[(0, 1.0), (60, 1.0), (6_000_000_000, 1.0)]), &zero);
    assert!(far.expect_err("too long").to_string().contains("rows"));
}

#[test]
fn notes_say_how_odd_input_was_read() {
    let text = "Time,Count\n2026-03-02 01:00:00,3\n2026-03-02 00:00:00,NaN\n2026-03-02 01:00:00,-4\n\
                2026-03-02 02:00:00,4\n2026-03-02 03:00:00,4\n2026-03-02 05:30:00,4\n";
    let table = read_csv("rows", text.as_bytes()).expect("a table");
    let notes = score(&table, &OPTIONS).expect("a series").notes.join("; ");
    for wanted in [
        "6 times without a zone",
        "1 rows earlier",
        "1 rows with the time",
        "1 rows off",
        "1 gaps",
        "1 rows without",
        "1 neg",
    ] {
        assert!(notes.contains(wanted), "{wanted}: {notes}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(table) = read_csv("any", &text[..]) {
            let _ = score(&table, &OPTIONS);
        }
    }

    #[test]
    fn tables_of_odd_cells_are_scored_row_for_row(
        cells in prop::collection::vec((
            prop_oneof![0i64..4_000_000_000, Just(0), Just(3_600)],
            prop_oneof![any::<f64>().prop_filter("in range", |value| value.is_nan() || value.abs() <= 1e300), Just(0.0)],
            0usize..3,
        ), 0..120),
        zero in any::<bool>(),
    ) {
        let lines: String = cells.iter().map(|(time, value, key)| format!("{time},{value},k{key}\n")).collect();
        let table = read_csv("odd", format!("time,value,key\n{lines}").as_bytes()).expect("a table");
        prop_assert_eq!(table.rows.len(), cells.len());
        let missing = if zero { Missing::Zero } else { Missing::Unknown };
        if let Ok(scored) = score(&table, &Options { missing, ..OPTIONS }) {
            prop_assert_eq!(scored.verdicts.len(), cells.len());
            prop_assert!(scored.verdicts.iter().all(|verdict| verdict.score >= 0.0 && verdict.score.is_finite()));
        }
    }
}

/// CSV with a burst at row 300 of 400.
fn burst_csv() -> String {
    let mut rows = series(12, HOUR_S, 20, 50.0);
    rows[300].1 = 900.0;
    rows.iter().fold("timestamp,value\n".to_owned(), |text, (time_s, value)| format!("{text}{time_s},{value}\n"))
}

#[test]
fn the_command_reads_and_writes_what_it_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    fs::write(at("a.csv"), burst_csv()).expect("written");
    fs::write(at("b.csv"), "timestamp,value\n").expect("written");
    fs::write(at("bad.csv"), "timestamp,value\n2026-03-02,x\n").expect("written");

    let output = highwater(&["score", path(&at("a.csv"))], b"");
    assert_eq!(status(&output), 0);
    let text = String::from_utf8(output.stdout).expect("text");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "timestamp,value,expected,lower,upper,score,flag");
    assert_eq!(lines.len(), 481);
    assert!(lines[301].starts_with("2026-03-14T12:00:00Z,900,") && lines[301].ends_with(",1"), "{}", lines[301]);

    // The same from standard input, into a file, and by way of Parquet.
    assert_eq!(highwater(&["score", "-"], burst_csv().as_bytes()).stdout, text.as_bytes());
    let parquet = at("a.parquet");
    let output = highwater(&["score", path(&at("a.csv")), "-o", path(&parquet)], b"");
    assert_eq!((status(&output), output.stdout.len()), (0, 0));

    // Several inputs need a directory; one bad file does not stop the others.
    assert_eq!(status(&highwater(&["score", path(&at("a.csv")), path(&at("b.csv"))], b"")), 1);
    let incidents = at("incidents.jsonl");
    let arguments = [path(&at("a.csv")), path(&at("bad.csv")), path(&at("b.csv"))].map(str::to_owned);
    let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let out = at("out");
    arguments.insert(0, "score");
    arguments.extend(["-o", path(&out), "--incidents", path(&incidents)]);
    let output = highwater(&arguments, b"");
    assert_eq!(status(&output), 4);
    assert!(String::from_utf8_lossy(&output.stderr).contains("bad.csv, line 2, column value"));
    assert_eq!(fs::read_to_string(out.join("a.csv")).expect("rows"), text);
    assert_eq!(fs::read_to_string(out.join("b.csv")).expect("rows"), format!("{}\n", lines[0]));
    let told = fs::read_to_string(&incidents).expect("incidents");
    let incident: serde_json::Value = told
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .find(|one: &serde_json::Value| one["observed"] == 900)
        .expect("the burst");
    assert_eq!((&incident["start"], &incident["direction"]), (&"2026-03-14T12:00:00Z".into(), &"up".into()));

    assert_eq!(status(&highwater(&["score", path(&at("bad.csv"))], b"")), 1);
    assert_eq!(
        status(&highwater(&["score", path(&at("a.csv")), "-o", path(folder.path())], b"")),
        1,
        "overwrites its input"
    );
    assert_eq!(status(&highwater(&["score"], b"")), 2);
    assert_eq!(status(&highwater(&["score", "-", "--threshold", "0"], b"")), 2);
}

#[test]
fn parquet_gives_what_csv_gives() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let text: String =
        burst_csv().lines().skip(1).fold("name,timestamp,value\n".to_owned(), |text, line| format!("{text}é,{line}\n"));
    fs::write(at("a.csv"), text).expect("written");
    let csv = highwater(&["score", path(&at("a.csv")), "--format", "json"], b"");
    let rows = String::from_utf8(csv.stdout).expect("text");
    // A scored table has more columns than a table may have: its first three are cut out by scoring what it holds again.
    assert_eq!(status(&highwater(&["score", path(&at("a.csv")), "-o", path(&at("s.parquet"))], b"")), 0);
    let table = highwater::store::table::read(&at("s.parquet"));
    let table = table.expect("a table");
    assert_eq!(table.key_names, ["name", "expected", "lower", "upper", "score", "flag"]);
    assert_eq!(table.rows.len(), rows.lines().count());
    for (row, line) in table.rows.iter().zip(rows.lines()) {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(line["value"].as_f64(), Some(row.value));
        let keys = &table.series[row.series as usize];
        assert_eq!(line["name"].as_str(), Some(keys[0].as_str()));
        assert_eq!(line["flag"].as_f64() == Some(1.0), keys[5] == "true");
    }
    fs::write(at("no.parquet"), "not Parquet").expect("written");
    let output = highwater(&["score", path(&at("no.parquet"))], b"");
    assert_eq!(status(&output), 1);
    assert!(String::from_utf8_lossy(&output.stderr).contains("no.parquet"));
}
