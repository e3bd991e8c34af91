//! `highwater simulate`: the trail is repeatable, is what CloudTrail would have written, and its truth is true. Reads
//! the files as a stranger would, with a JSON parser and counts of its own.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use highwater::event::Minute;
use highwater::train::labelled::Labelled;
use highwater::train::simulate::{Error, Options, Report, day_number, labelled, simulate};
use highwater::window::Tally;
use serde_json::Value;

/// Two weeks of a small account with two attacks a day: a second or two even without optimization.
fn small() -> Options {
    Options { days: 14, apis: 30, scale: 0.05, anomalies_per_week: 14.0, delivery_minutes: 15, ..Options::default() }
}

fn run(options: &Options) -> (tempfile::TempDir, Report) {
    let directory = tempfile::tempdir().unwrap();
    let report = simulate(options, directory.path()).unwrap();
    (directory, report)
}

/// Every file below a directory, in order, by its path from there.
fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { found.push(path.strip_prefix(root).unwrap().to_owned()) }
        }
    }
    found.sort();
    found
}

fn is_log(path: &Path) -> bool {
    path.to_string_lossy().ends_with(".json.gz")
}

fn text(path: &Path) -> String {
    let packed = fs::read(path).unwrap();
    let size = u32::from_le_bytes(packed[packed.len() - 4..].try_into().unwrap()) as usize;
    let mut text = vec![0; size];
    let length = libdeflater::Decompressor::new().gzip_decompress(&packed, &mut text).unwrap();
    assert_eq!(length, size);
    String::from_utf8(text).unwrap()
}

/// All records with the log file that each came from.
fn records(root: &Path) -> Vec<(PathBuf, Value)> {
    let mut all = Vec::new();
    for path in files(root).into_iter().filter(|path| is_log(path)) {
        let mut body: Value = serde_json::from_str(&text(&root.join(&path))).unwrap();
        let Value::Array(list) = body["Records"].take() else { panic!("{path:?} has no list of records") };
        assert!(!list.is_empty(), "{path:?}");
        all.extend(list.into_iter().map(|record| (path.clone(), record)));
    }
    all
}

fn word<'a>(record: &'a Value, key: &str) -> &'a str {
    record[key].as_str().unwrap_or_default()
}

/// Minutes since 1970 of `2026-03-02T10:11:12Z`.
fn minute(time: &str) -> i64 {
    let number = |range: std::ops::Range<usize>| time[range].parse::<i64>().unwrap();
    let day = day_number(number(0..4) as i32, number(5..7) as u32, number(8..10) as u32).unwrap();
    day * 1_440 + number(11..13) * 60 + number(14..16)
}

fn is_correction(record: &Value) -> bool {
    record["addendum"]["reason"] == "UPDATED_DATA"
}

/// Account, region, source, name, error code (empty for all calls).
type Key = (String, String, String, String, String);
type Counts = BTreeMap<Key, BTreeMap<i64, i64>>;

/// Counts per minute, each event once.
fn counts(root: &Path) -> Counts {
    let mut seen = BTreeSet::new();
    let mut counts = Counts::new();
    for (_, record) in records(root) {
        if is_correction(&record) || !seen.insert(word(&record, "eventID").to_owned()) {
            continue;
        }
        let at = minute(word(&record, "eventTime"));
        let error = word(&record, "errorCode");
        for code in BTreeSet::from(["", error]) {
            let key =
                ["recipientAccountId", "awsRegion", "eventSource", "eventName"].map(|k| word(&record, k).to_owned());
            let [account, region, source, name] = key;
            *counts.entry((account, region, source, name, code.to_owned())).or_default().entry(at).or_default() += 1;
        }
    }
    counts
}

/// The key of the API's calls, whatever their error.
fn of_all_calls(key: &Key) -> Key {
    (key.0.clone(), key.1.clone(), key.2.clone(), key.3.clone(), String::new())
}

fn truth(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn attacks(truth: &Value) -> Vec<&Value> {
    truth["truth"].as_array().unwrap().iter().filter(|row| row.get("benign").is_none()).collect()
}

fn key(row: &Value) -> Key {
    let [account, region, source, name] =
        ["account", "region", "eventSource", "eventName"].map(|key| word(row, key).to_owned());
    (account, region, source, name, word(row, "errorCode").to_owned())
}

#[test]
fn equal_options_give_equal_bytes_with_any_number_of_threads() {
    let options = Options { days: 9, ..small() };
    let (first, report) = run(&options);
    let (second, again) = run(&Options { threads: 3, ..options.clone() });
    assert_eq!(report, again);
    let names = files(first.path());
    assert_eq!(names, files(second.path()));
    assert_eq!(names.iter().filter(|path| is_log(path)).count() as u64, report.files);
    for name in &names {
        assert!(fs::read(first.path().join(name)).unwrap() == fs::read(second.path().join(name)).unwrap(), "{name:?}");
    }
    let (other, _) = run(&Options { seed: 2, ..options });
    assert_ne!(names, files(other.path()));
}

/// FNV-1a over paths and uncompressed text: the same on every platform, with every compiler, and for ever. If this
/// fails because the simulator was changed on purpose, published samples and results no longer belong to their seeds:
/// say so.
#[test]
fn the_text_of_a_trail_never_changes() {
    let (directory, _) = run(&Options { days: 10, seed: 11, ..small() });
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for name in files(directory.path()) {
        let path = directory.path().join(&name);
        let body = if is_log(&name) { text(&path) } else { fs::read_to_string(&path).unwrap() };
        for byte in name.to_string_lossy().replace('\\', "/").bytes().chain(body.bytes()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    assert_eq!(hash, TEXT_OF_SEED_11, "{hash:#x}");
}

const TEXT_OF_SEED_11: u64 = 0xc3e2_a1ec_3118_c156;

#[test]
fn records_are_what_cloudtrail_writes() {
    let (directory, report) = run(&small());
    let all = records(directory.path());
    assert_eq!(all.len() as u64, report.records);
    let (mut kinds, mut categories, mut types) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut by_id: HashMap<String, Vec<(PathBuf, Value)>> = HashMap::new();
    for (path, record) in all {
        for key in ["eventVersion", "eventTime", "eventSource", "eventName", "awsRegion", "sourceIPAddress", "eventID"]
        {
            assert!(!word(&record, key).is_empty(), "{key} of {record}");
        }
        let version = word(&record, "eventVersion");
        assert!(["1.08", "1.09", "1.10", "1.11"].contains(&version), "{version}");
        for key in ["requestParameters", "responseElements"] {
            assert!(record[key].is_object() || record[key].is_null() && record.get(key).is_some(), "{key} of {record}");
        }
        assert!(record["readOnly"].is_boolean() && record["managementEvent"].is_boolean());
        assert_eq!(record["managementEvent"] == true, record["eventCategory"] == "Management");
        assert_eq!(word(&record, "eventID").len(), 36);
        let data = record["eventCategory"] == "Data";
        assert_eq!(data && word(&record, "eventSource") == "s3.amazonaws.com", {
            record["resources"].as_array().is_some_and(|list| list.iter().any(|r| r["type"] == "AWS::S3::Object"))
        });
        let identity = &record["userIdentity"];
        match word(identity, "type") {
            "AWSService" => assert!(identity.get("arn").is_none() && identity["invokedBy"].is_string()),
            "AssumedRole" | "FederatedUser" => {
                assert!(identity["sessionContext"]["attributes"]["mfaAuthenticated"].is_string());
                assert!(minute(word(&identity["sessionContext"]["attributes"], "creationDate")) > 0);
            }
            "IAMUser" | "Root" => assert!(identity["arn"].is_string() || record["eventType"] == "AwsConsoleSignIn"),
            other => panic!("{other}"),
        }
        let failed_sign_in = record["responseElements"]["ConsoleLogin"] == "Failure";
        assert_eq!(record["errorMessage"].is_string(), record["errorCode"].is_string() || failed_sign_in);
        // AWSLogs/ACCOUNT/CloudTrail/REGION/YYYY/MM/DD/ACCOUNT_CloudTrail_REGION_YYYYMMDDTHHmmZ_UNIQUE.json.gz
        let parts: Vec<&str> = path.iter().map(|part| part.to_str().unwrap()).collect();
        let (account, region) = (word(&record, "recipientAccountId"), word(&record, "awsRegion"));
        assert_eq!(parts[..4], ["AWSLogs", account, "CloudTrail", region]);
        let name: Vec<&str> = parts[7].split('_').collect();
        assert_eq!(name[..3], [account, "CloudTrail", region]);
        assert_eq!(name[3][..8], parts[4..7].concat());
        assert_eq!(name[4].len(), 16 + ".json.gz".len());
        let delivered =
            minute(&format!("{}-{}-{}T{}:{}:00Z", parts[4], parts[5], parts[6], &name[3][9..11], &name[3][11..13]));
        let lag = delivered - minute(word(&record, "eventTime"));
        assert!((0..=300).contains(&lag), "{lag} minutes");

        kinds.insert(word(identity, "type").to_owned());
        categories.insert(word(&record, "eventCategory").to_owned());
        types.insert(word(&record, "eventType").to_owned());
        by_id.entry(word(&record, "eventID").to_owned()).or_default().push((path, record));
    }
    assert!(kinds.len() >= 4, "{kinds:?}");
    assert_eq!(categories.len(), 2);
    assert_eq!(types.len(), 2);

    let mut corrections = 0;
    for copies in by_id.values() {
        assert!(copies.len() <= 2);
        if let [(one, first), (two, second)] = &copies[..] {
            assert_ne!(one, two, "a second delivery comes in a file of its own");
            assert_eq!(first.to_string(), second.to_string());
        }
        let (_, record) = &copies[0];
        if is_correction(record) {
            corrections += 1;
            let original = &by_id[word(&record["addendum"], "originalEventID")][0].1;
            assert_eq!(original["eventTime"], record["eventTime"]);
            assert_eq!(original["requestID"], record["addendum"]["originalRequestID"]);
        }
    }
    assert_eq!(corrections, report.updated);
}

#[test]
fn text_has_escapes_and_other_scripts() {
    let (directory, _) = run(&Options { days: 3, scale: 0.3, apis: 60, ..small() });
    let text: String =
        files(directory.path()).iter().filter(|p| is_log(p)).map(|p| text(&directory.path().join(p))).collect();
    for part in ["\\\"", "\\n", "\\u2013", "\\ud83d\\ude80", "決済", "\\\\deploy"] {
        assert!(text.contains(part), "{part}");
    }
    assert!(!text.contains('%'), "a template was left unfilled");
}

/// The same trail without its attacks differs by exactly what the truth says, minute for minute; and each attack that
/// has to be found stands above its past.
#[test]
fn the_truth_is_true() {
    for seed in [1, 5] {
        let options = Options { seed, days: 21, regions: 3, ..small() };
        let (attacked, report) = run(&options);
        let (calm, calm_report) = run(&Options { anomalies_per_week: 0.0, ..options.clone() });
        assert_eq!((calm_report.attacks, calm_report.required), (0, 0));
        let (attacked, calm, truth) =
            (counts(attacked.path()), counts(calm.path()), truth(&attacked.path().join("truth.json")));
        let rows = attacks(&truth);
        assert!(rows.len() >= report.required && report.required >= 15, "{report:?}");
        assert_eq!(truth["events"], report.events);

        let none = BTreeMap::new();
        let mut explained: BTreeMap<Key, BTreeSet<i64>> = BTreeMap::new();
        for row in &rows {
            let key = key(row);
            let (start, end) = (minute(word(row, "start")), minute(word(row, "end")));
            assert!(start >= minute(word(&truth, "first")) + 8 * 1_440, "{row}");
            let (now, before) = (attacked.get(&key).unwrap_or(&none), calm.get(&key).unwrap_or(&none));
            let at = |counts: &BTreeMap<i64, i64>, minute: i64| counts.get(&minute).copied().unwrap_or(0);
            let extra = |minute: i64| at(now, minute) - at(before, minute);
            assert_eq!((start..end).map(extra).sum::<i64>(), row["extra_calls"].as_i64().unwrap(), "{row}");
            if row["optional"] == false {
                assert!(extra(start) > 0 && extra(end - 1) > 0, "{row}");
                findable(now, row, start, end);
            }
            explained.entry(key).or_default().extend(start..end);
        }
        for (key, minutes) in &attacked {
            let (before, mine) = (calm.get(key).unwrap_or(&none), explained.get(key));
            for (minute, count) in minutes {
                let known = mine.is_some_and(|set| set.contains(minute))
                    // The calls of an error flood have a row of their own only where they stand out.
                    || key.4.is_empty()
                        && explained.iter().any(|(other, set)| {
                            of_all_calls(other) == *key && set.contains(minute)
                        });
                assert!(known || before.get(minute) == Some(count), "{key:?} {minute}");
            }
        }
    }
}

/// At some scale, the burst is 1.6 times what the seven days before had; off hours, twice that of the same time of day.
fn findable(counts: &BTreeMap<i64, i64>, row: &Value, start: i64, end: i64) {
    let sum = |from: i64, to: i64| counts.range(from..to).map(|(_, count)| count).sum::<i64>();
    let highest = |from: i64, to: i64, width: i64| (from..=to - width).map(|at| sum(at, at + width)).max().unwrap_or(0);
    let width = end - start;
    let past = start - 7 * 1_440;
    let ratio = if row["kind"] == "off_hours" {
        let nights = (1..=7).map(|day| start - day * 1_440);
        let night =
            nights.map(|at| highest((at - 90).max(past), (at + width + 90).min(start), width)).max().unwrap_or(0);
        sum(start, end) as f64 / night.max(1) as f64 / 2.0
    } else {
        let ratio = |w: i64| highest(start, end.max(start + w), w) as f64 / highest(past, start, w).max(1) as f64;
        [1, 5, width].into_iter().map(ratio).fold(0.0, f64::max)
    };
    assert!(ratio >= 1.59, "{ratio} {row}");
}

#[test]
fn shares_are_as_asked() {
    let options = Options { late_share: 0.05, duplicate_share: 0.27, insiders: 0.5, ..small() };
    let (directory, report) = run(&options);
    let near = |count: u64, share: f64| {
        let got = count as f64 / report.events as f64;
        // Four standard deviations.
        let slack = 4.0 * (share * (1.0 - share) / report.events as f64).sqrt();
        assert!((got - share).abs() < slack, "{got} instead of {share}");
    };
    near(report.late, 0.05);
    near(report.doubled, 0.27);
    assert_eq!(report.records, report.events + report.doubled + report.updated);

    let mut copies: HashMap<String, u32> = HashMap::new();
    let (mut late, mut admitted) = (BTreeSet::new(), 0);
    for (path, record) in records(directory.path()) {
        let id = word(&record, "eventID").to_owned();
        let name = path.file_name().unwrap().to_str().unwrap().split('_').nth(3).unwrap().to_owned();
        let hour = format!("2026-{}-{}T{}:{}:00Z", &name[4..6], &name[6..8], &name[9..11], &name[11..13]);
        let first = !copies.contains_key(&id);
        *copies.entry(id.clone()).or_default() += 1;
        admitted += u64::from(first && record["addendum"]["reason"] == "DELIVERY_DELAY");
        if first && minute(&hour) - minute(word(&record, "eventTime")) > 15 + 15 {
            late.insert(id);
        }
    }
    assert_eq!(copies.values().filter(|count| **count == 2).count() as u64, report.doubled);
    assert!(admitted > report.late / 3 && admitted < report.late, "{admitted}");
    // Those of 20 minutes may hide in the wait for the next delivery; nothing else is this late.
    assert!(late.len() as u64 > report.late * 8 / 10 && late.len() as u64 <= report.late + 10, "{}", late.len());

    let truth = truth(&directory.path().join("truth.json"));
    let single = |row: &&&Value| !["sweep", "spree", "signin_stuffing"].contains(&word(row, "kind"));
    let rows = attacks(&truth);
    let insiders = rows.iter().filter(single).filter(|row| row["insider"] == true).count();
    assert!(insiders >= 2, "{insiders}");
}

#[test]
fn insiders_are_all_or_none() {
    let truths = [0.0, 1.0].map(|insiders| {
        let (directory, _) = run(&Options { insiders, ..small() });
        truth(&directory.path().join("truth.json"))
    });
    assert!(attacks(&truths[0]).iter().all(|row| row["insider"] == false));
    assert!(attacks(&truths[1]).iter().filter(|row| row["insider"] == true).count() >= 4);
}

#[test]
fn every_kind_of_attack_occurs() {
    let (directory, _) = run(&Options { days: 21, apis: 90, regions: 1, delivery_minutes: 60, ..small() });
    let truth = truth(&directory.path().join("truth.json"));
    let kinds: BTreeSet<&str> = attacks(&truth).iter().map(|row| word(row, "kind")).collect();
    for kind in
        ["spike", "flash", "quiet_burst", "error_flood", "slow_ramp", "off_hours", "sweep", "spree", "signin_stuffing"]
    {
        assert!(kinds.contains(kind), "{kind} of {kinds:?}");
    }
}

#[test]
fn attacks_repeat_identically() {
    let (directory, _) = run(&Options { days: 21, repeat_after_days: Some(6), ..small() });
    let truth = truth(&directory.path().join("truth.json"));
    let rows = attacks(&truth);
    let (again, first): (Vec<&Value>, Vec<&Value>) = rows.iter().partition(|row| row["repeat"] == true);
    assert!(first.len() >= 5);
    let of_first = |row: &&&Value| word(row, "kind") != "flood_calls";
    assert_eq!(first.iter().filter(of_first).count(), again.iter().filter(of_first).count());
    for row in again {
        let same = |other: &&&Value| {
            key(other) == key(row)
                && other["extra_calls"] == row["extra_calls"]
                && other["arn"] == row["arn"]
                && minute(word(other, "start")) + 6 * 1_440 == minute(word(row, "start"))
        };
        assert!(word(row, "kind") == "flood_calls" || first.iter().any(|other| same(&other)), "{row}");
    }
}

#[test]
fn an_organisation_has_a_truth_for_each_account() {
    let options = Options { accounts: 3, organisation: true, days: 10, ..small() };
    let (directory, report) = run(&options);
    let all = truth(&directory.path().join("truth.json"));
    let accounts = all["accounts"].as_array().unwrap();
    assert_eq!(accounts.len(), 3);
    assert_eq!(BTreeSet::from_iter(&report.accounts).len(), 3);
    for (account, id) in accounts.iter().zip(&report.accounts) {
        assert_eq!(word(account, "account"), id);
        let own = truth(&directory.path().join(format!("truth-{id}.json")));
        assert_eq!(own, *account);
        for key in ["seed", "days", "account", "warmup_days", "first", "events", "truth"] {
            assert!(own.get(key).is_some(), "{key}");
        }
    }
    let logs: Vec<PathBuf> = files(directory.path()).into_iter().filter(|path| is_log(path)).collect();
    let organisations: BTreeSet<&str> = logs.iter().map(|path| path.iter().nth(1).unwrap().to_str().unwrap()).collect();
    assert_eq!(organisations.len(), 1);
    assert!(organisations.first().unwrap().starts_with("o-"));
}

#[test]
fn a_directory_in_use_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { days: 1, ..small() };
    fs::write(directory.path().join("notes"), "mine").unwrap();
    assert!(matches!(simulate(&options, directory.path()), Err(Error::NotEmpty { .. })));
    assert_eq!(files(directory.path()).len(), 1);
    simulate(&Options { force: true, ..options }, directory.path()).unwrap();
    assert_eq!(fs::read_to_string(directory.path().join("notes")).unwrap(), "mine");
}

#[test]
fn options_out_of_range_are_named() {
    let directory = tempfile::tempdir().unwrap();
    for (name, options) in [
        ("days", Options { days: 0, ..small() }),
        ("regions", Options { regions: 9, ..small() }),
        ("scale", Options { scale: f64::INFINITY, ..small() }),
        ("insiders", Options { insiders: 1.5, ..small() }),
        ("delivery_minutes", Options { delivery_minutes: 7, ..small() }),
    ] {
        let error = simulate(&options, directory.path()).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
    assert!(files(directory.path()).is_empty());
}

#[test]
fn sizes_are_those_of_real_trails() {
    let (directory, report) = run(&Options { days: 3, apis: 90, scale: 1.0, delivery_minutes: 5, ..small() });
    let mean = report.raw_bytes as f64 / report.records as f64;
    assert!((1_100.0..1_450.0).contains(&mean), "{mean} bytes a record");
    let ratio = report.raw_bytes as f64 / report.packed_bytes as f64;
    assert!((5.5..8.5).contains(&ratio), "{ratio}");
    let on_disk: u64 = files(directory.path())
        .iter()
        .filter(|p| is_log(p))
        .map(|p| fs::metadata(directory.path().join(p)).unwrap().len())
        .sum();
    assert_eq!(on_disk, report.packed_bytes);
}

#[test]
fn a_target_size_is_met() {
    let (_directory, report) = run(&Options { target_bytes: Some(20_000_000), ..small() });
    assert!((17_000_000..23_000_000).contains(&report.raw_bytes), "{}", report.raw_bytes);
}

/// The bound on memory, by construction: a day is made from the day and nothing else, so a longer trail begins with the
/// shorter one, byte for byte, and nothing but the plan of the attacks lives longer than a day.
#[test]
fn a_longer_trail_begins_with_the_shorter_one() {
    let three_days = |days: u32| {
        let (directory, _) = run(&Options { days, anomalies_per_week: 0.0, ..small() });
        let root = directory.path();
        let of_march = |path: &PathBuf| path.iter().nth(6).is_some_and(|day| day < "05");
        let early = files(root).into_iter().filter(|path| is_log(path) && of_march(path));
        early.map(|path| (text(&root.join(&path)), path)).collect::<Vec<(String, PathBuf)>>()
    };
    let (short, long) = (three_days(3), three_days(8));
    assert!(short.len() > 100);
    assert!(short == long);
}

/// Every caller of every API and minute, with its count: the whole content of a tally.
fn content(mut tally: Tally) -> BTreeMap<(Vec<String>, u32, Vec<String>, bool), u32> {
    let closed = tally.close_before(Minute(i64::MAX));
    let owned = |fields: &[&str]| fields.iter().map(|field| (*field).to_owned()).collect::<Vec<_>>();
    let mut content = BTreeMap::new();
    for calls in &closed.calls {
        let (api, caller) = (owned(&closed.api(calls.api)), owned(&closed.caller(calls.caller)));
        *content.entry((api, calls.minute, caller, calls.read_only)).or_default() += calls.count;
    }
    content
}

#[test]
fn counting_without_files_gives_what_a_reader_finds_in_them() {
    let options = Options { accounts: 2, regions: 3, apis: 60, days: 16, repeat_after_days: Some(3), ..small() };
    let (directory, report) = run(&options);
    let read = Labelled::read(directory.path()).unwrap();
    assert_eq!(read.len(), 2);
    let mut events = 0;
    for (index, read) in (0..).zip(read) {
        let made = labelled(&options, index).unwrap();
        assert_eq!((made.live_from, made.end), (read.live_from, read.end));
        assert_eq!(made.truths, read.truths);
        assert!(made.truths.len() > 10);
        assert!(made.truths.iter().all(|truth| truth.start >= made.live_from && truth.end <= made.end));
        let (made, read) = (content(made.calls), content(read.calls));
        events += made.values().sum::<u32>();
        assert!(made.iter().eq(&read), "{:?}", made.iter().zip(&read).find(|(a, b)| a != b));
    }
    // The rest are data events.
    assert!(u64::from(events) > report.events / 2 && u64::from(events) < report.events);
}

#[test]
fn a_trail_without_its_truth_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let error = Labelled::read(directory.path()).err().unwrap().to_string();
    assert!(error.contains("truth.json") && error.contains("highwater simulate"), "{error}");
    fs::write(directory.path().join("truth.json"), "{\"days\": 3}").unwrap();
    let error = Labelled::read(directory.path()).err().unwrap().to_string();
    assert!(error.contains("truth.json") && error.contains("not a truth"), "{error}");
}

#[test]
fn an_account_has_as_many_apis_as_asked() {
    for apis in [5, 90, 200, 201, 320] {
        let account = labelled(&Options { apis, days: 21, scale: 0.2, regions: 1, ..small() }, 0).unwrap();
        let mut calls = account.calls;
        let closed = calls.close_before(Minute(i64::MAX));
        let called = closed.calls.chunk_by(|a, b| a.api == b.api).count() as u32;
        // Some are never called, and data events are not counted.
        assert!(called <= apis && called * 10 >= apis * 7, "{called} of {apis}");
    }
}
