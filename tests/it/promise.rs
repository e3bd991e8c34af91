//! The promise: the same insights, byte for byte, whatever the order, grouping, duplication or threads of the input,
//! and across a stop and a restart. Seeds come from the clock in the seeded simulation; it prints the one that fails,
//! and `HIGHWATER_SEED` runs it again.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use highwater::detector::{Detector, Options};
use highwater::event::Limits;
use highwater::judge::{DEFAULT_JSON, Model};
use highwater::run;
use highwater::source::{self, Object};
use highwater::train::simulate::{self, simulate};
use serde_json::value::RawValue;

use crate::support::{Quiet, Random, detector, files, line, scan, scan_options};

/// A small trail with attacks, late, doubled and corrected deliveries.
fn trail(seed: u64, root: &Path) {
    let options = simulate::Options {
        seed,
        days: 12,
        accounts: 2,
        regions: 2,
        apis: 14,
        scale: 0.15,
        anomalies_per_week: 14.0,
        late_share: 0.03,
        duplicate_share: 0.1,
        delivery_minutes: 30,
        ..simulate::Options::default()
    };
    simulate(&options, root).expect("a trail");
}

fn records(root: &Path) -> Vec<String> {
    let mut records = Vec::new();
    for path in files(&root.join("AWSLogs")) {
        let file = fs::File::open(&path).expect("an object");
        #[derive(serde::Deserialize)]
        struct Body {
            #[serde(rename = "Records")]
            records: Vec<Box<RawValue>>,
        }
        let body: Body = serde_json::from_reader(GzDecoder::new(file)).expect("records");
        records.extend(body.records.into_iter().map(|record| record.get().to_owned()));
    }
    records
}

/// Writes records anew: shuffled, some twice, in objects of any size and in three dialects, without delivery times.
fn regroup(mut records: Vec<String>, random: &mut Random, root: &Path) {
    let twice: Vec<String> = records.iter().filter(|_| random.below(20) == 0).cloned().collect();
    records.extend(twice);
    random.shuffle(&mut records);
    let mut rest = &records[..];
    let mut object = 0;
    while !rest.is_empty() {
        let (group, others) = rest.split_at((1 + random.below(3_000) as usize).min(rest.len()));
        rest = others;
        object += 1;
        let whole = format!("{{\"Records\":[{}]}}", group.join(","));
        let write = |name: String, bytes: &[u8]| fs::write(root.join(name), bytes).expect("written");
        match random.below(3) {
            0 => write(format!("{object}.jsonl"), group.join("\n").as_bytes()),
            1 => write(format!("{object}.json"), whole.as_bytes()),
            _ => {
                let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
                gzip.write_all(whole.as_bytes()).expect("compressed");
                write(format!("{object}.json.gz"), &gzip.finish().expect("compressed"));
            }
        }
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

#[test]
fn any_order_grouping_duplication_and_threads_give_the_same_bytes() {
    let calm = folder();
    trail(11, calm.path());
    let (expected, summary) = scan(&calm.path().join("AWSLogs"), &scan_options(), &mut detector());
    assert!(expected.len() >= 6, "the trail has something to find: {}", expected.len());
    assert!(summary.counters.duplicate > 0 && summary.counters.late == 0, "{:?}", summary.counters);

    for threads in [2, 3, 8] {
        let options = run::Options { threads, ..scan_options() };
        let (lines, _) = scan(&calm.path().join("AWSLogs"), &options, &mut detector());
        assert_eq!(lines, expected, "{threads} threads");
    }
    let records = records(calm.path());
    for seed in 0..3 {
        let wild = folder();
        regroup(records.clone(), &mut Random(seed), wild.path());
        let options = run::Options { threads: 1 + seed as usize, ..scan_options() };
        let (lines, again) = scan(wild.path(), &options, &mut detector());
        assert_eq!(lines, expected, "regrouped with seed {seed}");
        assert_eq!(again.counters.scored, summary.counters.scored);
    }
}

/// Scans objects up to each cut, saves, restores, and goes on.
fn scan_in_parts(objects: &[Object], cuts: &[usize]) -> Vec<String> {
    let model = || Model::from_json(DEFAULT_JSON).expect("the shipped model");
    let mut lines = Vec::new();
    let mut detector = detector();
    let bounds: Vec<usize> = [0].iter().chain(cuts).chain([&objects.len()]).copied().collect();
    for (part, bound) in bounds.windows(2).enumerate() {
        let keep_open = part + 2 < bounds.len();
        let options = run::Options { keep_open, threads: 1 + part % 2, ..scan_options() };
        let summary = run::scan(&objects[bound[0]..bound[1]], &options, &mut detector, &Quiet, |advance, _| {
            lines.extend(advance.insights.iter().map(line));
            Ok(())
        })
        .expect("a scan");
        assert_eq!(summary.counters.late, 0);
        if keep_open {
            let bytes = detector.snapshot().expect("a snapshot");
            detector = Detector::restore(Options::default(), model(), &bytes).expect("restored");
        }
    }
    lines
}

#[test]
fn parts_through_saved_snapshots_equal_one_pass() {
    let calm = folder();
    trail(12, calm.path());
    let root = calm.path().join("AWSLogs");
    let (expected, _) = scan(&root, &scan_options(), &mut detector());
    assert!(expected.len() >= 4, "{}", expected.len());
    let objects = source::find(&[root.to_string_lossy().into_owned()]).expect("found").objects;
    let total = objects.len();
    assert_eq!(scan_in_parts(&objects, &[total / 2]), expected, "halves");
    let mut random = Random(5);
    for _ in 0..3 {
        let mut cuts: Vec<usize> = (0..6).map(|_| random.below(total as u64 + 1) as usize).collect();
        cuts.sort_unstable();
        assert_eq!(scan_in_parts(&objects, &cuts), expected, "cut at {cuts:?}");
    }
}

#[test]
fn a_seeded_simulation_of_wild_deliveries_finds_what_a_calm_pass_finds() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_nanos());
    let seed: u64 = match std::env::var("HIGHWATER_SEED") {
        Ok(seed) => seed.parse().expect("HIGHWATER_SEED is a number"),
        Err(_) => now as u64 % 1_000_000,
    };
    println!("HIGHWATER_SEED={seed}");
    let calm = folder();
    trail(seed, calm.path());
    let root: PathBuf = calm.path().join("AWSLogs");
    let (expected, _) = scan(&root, &scan_options(), &mut detector());
    let mut random = Random(seed);
    let wild = folder();
    regroup(records(calm.path()), &mut random, wild.path());
    let (lines, _) = scan(wild.path(), &run::Options { threads: 2, ..scan_options() }, &mut detector());
    assert_eq!(lines, expected, "regrouped, HIGHWATER_SEED={seed}");

    let objects = source::find(&[root.to_string_lossy().into_owned()]).expect("found").objects;
    let cut = random.below(objects.len() as u64) as usize;
    assert_eq!(scan_in_parts(&objects, &[cut]), expected, "cut at {cut}, HIGHWATER_SEED={seed}");
}

#[test]
fn a_snapshot_of_another_model_version_or_with_damage_is_refused() {
    let mut detector = detector();
    let calm = folder();
    trail(13, calm.path());
    let options = run::Options { keep_open: true, limits: Limits::default(), ..scan_options() };
    scan(&calm.path().join("AWSLogs"), &options, &mut detector);
    let bytes = detector.snapshot().expect("a snapshot");
    let name = Model::from_json(DEFAULT_JSON).expect("a model").name;
    let other = DEFAULT_JSON.replace(&name, "judge-0/0");
    let error = Detector::restore(Options::default(), Model::from_json(&other).expect("a model"), &bytes);
    assert!(error.err().is_some_and(|error| error.to_string().contains("judge-0/0")));
    let model = || Model::from_json(DEFAULT_JSON).expect("a model");
    let mut random = Random(1);
    for _ in 0..300 {
        let mut bytes = bytes.clone();
        let place = random.below(bytes.len() as u64) as usize;
        match random.below(2) {
            0 => bytes.truncate(place),
            _ => bytes[place] ^= 1 << random.below(8),
        }
        // The file's checksum catches damage; here it is enough that nothing panics.
        let _ = Detector::restore(Options::default(), model(), &bytes);
    }
}
