//! Settings, wherever they stand, and the two commands that help to choose them: `tune` and `diff-config`.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use highwater::config::{ConfigError, Lateness, Settings, Sidecar, schema};
use highwater::detector::CallRate;
use highwater::train::simulate::{Options, simulate};
use serde_json::Value;

fn read(text: &str) -> Result<Settings, ConfigError> {
    let mut settings = Settings::default();
    settings.read_toml(text, "highwater.toml").map(|()| settings)
}

fn wrong(text: &str) -> String {
    read(text).expect_err(text).to_string()
}

/// The program in `folder`, with these variables.
fn highwater(folder: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    Command::new(Path::new(env!("CARGO_BIN_EXE_highwater")).canonicalize().expect("the program"))
        .current_dir(folder)
        .envs(variables.iter().copied())
        .args(arguments)
        .output()
        .expect("the program ends")
}

fn trail() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options { seed: 13, days: 16, apis: 60, scale: 0.15, delivery_minutes: 60, ..Options::default() };
    simulate(&options, &folder.path().join("trail")).expect("a trail");
    folder
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn json(output: &Output) -> Value {
    serde_json::from_str(&stdout(output)).expect("JSON")
}

/// Insights that a scan prints, and the threshold they name.
fn scan(folder: &Path, variables: &[(&str, &str)], flags: &[&str]) -> Vec<(String, f64)> {
    let arguments = [&["scan", "trail/AWSLogs", "-q"], flags].concat();
    stdout(&highwater(folder, variables, &arguments))
        .lines()
        .map(|line| {
            let record: Value = serde_json::from_str(line).expect("a record");
            (record["eventID"].to_string(), record["highwater"]["threshold"].as_f64().expect("a threshold"))
        })
        .collect()
}

#[test]
fn every_setting_can_stand_in_a_file() {
    let text = "call_rate = \"all\"\ndirection = \"both\"\nholidays = \"2026-12-25, 1970-01-02\"\nthreshold = 1.5\nlateness = \"2d\"\nobject_max = 64\nthreads = 3\n";
    let settings = read(text).expect("settings");
    let expected = Settings {
        call_rate: CallRate::All,
        drops: true,
        threshold: Some(1.5),
        lateness: Some(Lateness::Minutes(2_880)),
        object_mib_max: 64,
        threads: Some(3),
        missed_jobs: false,
        holidays: [1, 20_812].into(),
        budget_per_week: None,
        model: None,
    };
    assert_eq!(settings, expected);
    assert_eq!(read("# nothing\n").expect("no settings"), Settings::default());
    assert_eq!(read("threshold = -2").expect("a whole number").threshold, Some(-2.0));
}

#[test]
fn an_unknown_setting_is_named_with_its_line_and_the_nearest_right_one() {
    let error = wrong("threads = 2\n\n# a note\ntreshold = 1\n");
    assert_eq!(error, "highwater.toml:4: there is no setting treshold; did you mean threshold?");
    assert!(wrong("call-rate = \"all\"").ends_with("did you mean call_rate?"));
    let error = wrong("colour = \"blue\"");
    assert!(
        error.contains("highwater.toml:1")
            && error.contains("there are call_rate, direction, missed_jobs, holidays, threshold"),
        "{error}"
    );
    let error = wrong("[detector]\nthreshold = 1\n");
    assert!(error.starts_with("highwater.toml:1: there is no setting detector"), "{error}");
}

#[test]
fn a_wrong_value_is_named_with_its_line_and_what_would_be_right() {
    for (text, line, part) in [
        ("call_rate = \"reads\"", 1, "neither write nor all"),
        ("direction = true", 1, "neither up nor both"),
        ("holidays = \"2026-12-25,Easter\"", 1, "Easter: not a date like 2026-12-25"),
        ("threads = 2\nthreshold = nan", 2, "not a number"),
        ("threshold = \"high\"", 1, "not a number like -0.3"),
        ("lateness = 3", 1, "not a length of time"),
        ("object_max = -1", 1, "MiB"),
        ("object_max = 99999999999999999999999", 1, "MiB"),
        ("threads = 0", 1, "not a number of threads"),
        ("threads = [1]", 1, "no value for it"),
        ("threads = 1\nthreads = 2", 2, "duplicate"),
        ("threads = ", 1, ""),
        ("# é\n= 1\n", 2, ""),
    ] {
        let error = wrong(text);
        assert!(error.starts_with(&format!("highwater.toml:{line}: ")), "{text}: {error}");
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn a_flag_goes_before_the_environment_before_the_file_before_the_default() {
    let folder = trail();
    let folder = folder.path();
    let line = |variables: &[(&str, &str)], flags: &[&str]| scan(folder, variables, flags)[0].1;
    let default = line(&[], &[]);
    fs::write(folder.join("highwater.toml"), "threshold = 0.25\n").expect("a file");
    fs::write(folder.join("other.toml"), "threshold = 0.75\n").expect("a file");
    assert!(default != 0.25);
    assert_eq!(line(&[], &[]), 0.25);
    assert_eq!(line(&[], &["--config", "other.toml"]), 0.75);
    assert_eq!(line(&[("HIGHWATER_THRESHOLD", "1.25")], &["--config", "other.toml"]), 1.25);
    assert_eq!(line(&[("HIGHWATER_THRESHOLD", "1.25")], &["--threshold", "-1.5"]), -1.5);

    for (variables, flags, part) in [
        (&[("HIGHWATER_TRESHOLD", "1")][..], &[][..], "did you mean HIGHWATER_THRESHOLD?"),
        (&[("HIGHWATER_THREADS", "many")][..], &[][..], "HIGHWATER_THREADS: many"),
        (&[], &["--config", "none.toml"][..], "none.toml"),
    ] {
        let output = highwater(folder, variables, &[&["scan", "trail/AWSLogs"], flags].concat());
        let words = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words}");
        assert!(words.contains(part), "{words}");
    }
    // Other programs' variables are none of our business.
    scan(folder, &[("HIGHWATER_RESULT", "elsewhere")], &[]);
}

/// What `tune` says of a threshold is what a scan with it prints.
#[test]
fn tuning_says_what_a_scan_will_do() {
    let folder = trail();
    let folder = folder.path();
    let tuned = json(&highwater(folder, &[], &["tune", "--max-alerts", "6/week", "trail/AWSLogs", "--json", "-q"]));
    let lines = tuned["thresholds"].as_array().expect("thresholds");
    let number = |line: &Value, key: &str| line[key].as_f64().expect("a number");
    let before = number(&tuned, "threshold_before");
    let chosen = number(&tuned, "threshold");
    assert!(lines.iter().any(|line| !line["lost"].as_array().expect("a list").is_empty()));
    assert!(lines.iter().any(|line| !line["gained"].as_array().expect("a list").is_empty()));
    for line in lines {
        let threshold = number(line, "threshold");
        let (lost, gained) = (line["lost"].as_array().expect("a list"), line["gained"].as_array().expect("a list"));
        if threshold == before {
            assert!(lost.is_empty() && gained.is_empty());
        }
        if threshold < chosen {
            assert!(number(line, "alerts_per_week") > 6.0, "{threshold} would do");
        }
        if threshold == chosen {
            assert!(number(line, "alerts_per_week") <= 6.0);
        }
    }
    for line in [&lines[0], &lines[4], &lines[10]] {
        let flag = number(line, "threshold").to_string();
        // The line in force follows the account; all others are taken as they are.
        let flags = ["--threshold", flag.as_str()];
        let found = scan(folder, &[], if line == &lines[4] { &[] } else { &flags });
        assert_eq!(found.len() as f64 / 2.0, number(line, "alerts"), "at {flag}: starts and ends");
    }
    // For people: the line for the file, which is then in force.
    let words = stdout(&highwater(folder, &[], &["tune", "--max-alerts", "6/week", "trail/AWSLogs", "-q"]));
    let setting = words.lines().last().expect("a line");
    assert_eq!(setting, format!("threshold = {chosen:.2}"));
    fs::write(folder.join("highwater.toml"), setting).expect("a file");
    assert_eq!(scan(folder, &[], &[])[0].1, chosen);

    let output = highwater(folder, &[], &["tune", "--max-alerts", "3", "trail/AWSLogs"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("3/week"));
}

#[test]
fn settings_are_compared_by_what_they_find() {
    let folder = trail();
    let folder = folder.path();
    fs::write(folder.join("a.toml"), "threshold = -0.5\n").expect("a file");
    fs::write(folder.join("b.toml"), "threshold = 3.0\ncall_rate = \"all\"\n").expect("a file");
    let compare = |before: &str, after: &str| {
        json(&highwater(folder, &[], &["diff-config", before, after, "trail/AWSLogs", "--json", "-q"]))
    };
    let count = |difference: &Value, key: &str| difference[key].as_array().expect("a list").len();
    let same = compare("a.toml", "a.toml");
    assert!(same["incidents_before"].as_u64() > Some(3));
    assert_eq!(["appeared", "vanished", "changed"].map(|key| count(&same, key)), [0, 0, 0]);
    let (there, back) = (compare("a.toml", "b.toml"), compare("b.toml", "a.toml"));
    assert!(count(&there, "appeared") > 0 && count(&there, "vanished") > 0, "{there}");
    assert_eq!(there["appeared"], back["vanished"]);
    assert_eq!(there["vanished"], back["appeared"]);

    let words = stdout(&highwater(folder, &[], &["diff-config", "a.toml", "b.toml", "trail/AWSLogs", "-q"]));
    assert!(words.contains("appear:") && words.contains("vanish:") && words.contains(" was called "), "{words}");
    let words = stdout(&highwater(folder, &[], &["diff-config", "a.toml", "a.toml", "trail/AWSLogs", "-q"]));
    assert!(words.contains("nothing differs"), "{words}");
}

/// A change of severity or span of the same incident is told as a change, not as two incidents.
#[test]
fn an_incident_that_starts_later_is_the_same() {
    use highwater::detector::{Detector, Options as DetectorOptions};
    use highwater::event::Minute;
    use highwater::insight::compare::{compare, incidents};
    use highwater::judge::{DEFAULT_JSON, Model};
    use highwater::train::simulate::labelled;

    let mut calls = labelled(&Options { seed: 3, apis: 60, ..Options::default() }, 0).expect("an account").calls;
    let closed = calls.close_before(Minute(i64::MAX));
    let [low, high] = [-2.0, 4.0].map(|threshold| {
        let options = DetectorOptions { threshold: Some(threshold), ..DetectorOptions::default() };
        let mut detector = Detector::new(options, Model::from_json(DEFAULT_JSON).expect("the shipped model"));
        incidents(&detector.fold(&closed, Minute(i64::MAX), 1).insights)
    });
    let changes = compare(&low, &high);
    assert!(!changes.changed.is_empty());
    for (was, now) in &changes.changed {
        assert!(!now.is_empty() && now.iter().all(|now| now.start.series == was.start.series));
        let moved = now.len() > 1 || now[0].span() != was.span() || now[0].last().severity() != was.last().severity();
        assert!(moved);
    }
    // Each incident of before is kept, changed or gone.
    let kept = compare(&low, &low);
    assert!(kept.changed.is_empty() && kept.vanished.is_empty() && kept.appeared.is_empty());
    assert!(changes.vanished.len() + changes.changed.len() <= low.len());
}

#[test]
fn what_the_sidecar_reads_is_checked_and_told_by_line() {
    let parse = |text: &str| Sidecar::parse(text, "highwater.toml");
    let text = "lateness = \"auto\"\n[watch]\nstate = \"state\"\nstatus = \"127.0.0.1:9465\"\n\
        [[source]]\nsqs = { url = \"https://sqs.eu-west-1.amazonaws.com/123456789012/trail\", role = \"arn:aws:iam::1:role/r\" }\n\
        [[source]]\n[source.s3]\nurl = \"s3://trail/prefix\"\nsince = \"2026-11-01\"\n\
        [[source]]\ndir = { path = \"/var/log/cloudtrail\" }\n";
    let sidecar = parse(text).expect("a configuration");
    assert_eq!(sidecar.sources.len(), 3);
    assert_eq!(sidecar.watch.state.as_deref(), Some(Path::new("state")));
    assert_eq!(read(text).expect("settings").lateness, Some(Lateness::Auto));
    assert_eq!(parse("threads = 3\n").expect("only settings"), Sidecar::default());
    for (text, line, part) in [
        ("[watch]\nstat = \"x\"\n", 2, "did you mean state?"),
        ("[watch]\nstaet = \"x\"\n", 2, "did you mean state?"),
        ("\n[[source]]\nsqz = { url = \"x\" }\n", 3, "did you mean sqs?"),
        ("[[source]]\nsqs = { uri = \"x\" }\n", 2, "did you mean url?"),
        ("[[source]]\nsqs = {}\n", 2, "missing field `url`"),
        ("[[source]]\nhttp = { listen = \"here\" }\n", 2, "invalid socket address"),
        ("[[source]]\nhttp = { listen = \"0.0.0.0:80\", key = \"hush\" }\n", 2, "env:NAME or file:PATH"),
        ("[[source]]\ns3 = { url = \"s3://b\", since = \"soon\" }\n", 2, "not a day like 2026-11-01"),
        ("watch = 3\n", 1, "invalid type"),
        ("[watch\n", 1, "unclosed"),
    ] {
        let error = parse(text).expect_err(text).to_string();
        assert!(error.starts_with(&format!("highwater.toml:{line}: ")) && error.contains(part), "{text:?}: {error}");
        assert!(!error.contains("hush"), "a secret in a message: {error}");
    }
    for (text, part) in [
        ("[[source]]\nsqs = { url = \"trail\" }\n", "source number 1: trail: not the URL of a queue"),
        ("[[source]]\ns3 = { url = \"s3://b\", role = \"me\" }\n", "not the ARN of a role"),
        ("[[source]]\nhttp = { listen = \"0.0.0.0:80\" }\n", "needs a key"),
    ] {
        let error = parse(text).expect_err(text).to_string();
        assert!(error.contains(part), "{text:?}: {error}");
    }
}

#[test]
fn the_schema_that_is_shipped_is_the_one_of_this_version() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/highwater.schema.json");
    let shipped: Value = serde_json::from_str(&fs::read_to_string(&path).expect("the schema")).expect("JSON");
    assert!(shipped == schema(), "make it anew: highwater schema > deploy/highwater.schema.json");
}
