//! What several test modules need: made-up traffic as CloudTrail objects, a scan over them, and the program itself.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use highwater::detector::{Advance, Detector, Options};
use highwater::event::{Limits, Minute};
use highwater::insight::Insight;
use highwater::judge::{DEFAULT_JSON, Model};
use highwater::run::{self, Filter, Progress, Summary};
use highwater::source;

/// A seeded stream of numbers (SplitMix64): the same in every run.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In `0..bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for place in (1..items.len()).rev() {
            items.swap(place, self.below(place as u64 + 1) as usize);
        }
    }
}

pub struct Quiet;

impl Progress for Quiet {
    fn object(&self, _: u64, _: u64) {}
}

pub fn detector() -> Detector {
    Detector::new(Options::default(), Model::from_json(DEFAULT_JSON).expect("the shipped model"))
}

pub fn scan_options() -> run::Options {
    run::Options {
        filter: Filter::default(),
        limits: Limits::default(),
        lateness_minutes: 1_440,
        threads: 1,
        keep_open: false,
    }
}

/// The lines of `insights.jsonl` that a scan of `root` writes.
pub fn scan(root: &Path, options: &run::Options, detector: &mut Detector) -> (Vec<String>, Summary) {
    let found = source::find(&[root.to_string_lossy().into_owned()]).expect("the trail is found");
    let mut lines = Vec::new();
    let summary = run::scan(&found.objects, options, detector, &Quiet, |advance: &Advance, _| {
        lines.extend(advance.insights.iter().map(line));
        Ok(())
    })
    .expect("a scan");
    let counters = summary.counters;
    assert_eq!(
        counters.read,
        counters.scored + counters.duplicate + counters.filtered + counters.late + counters.malformed + counters.open,
        "the counters balance"
    );
    (lines, summary)
}

pub fn line(insight: &Insight) -> String {
    serde_json::to_string(&insight.to_record(false)).expect("a record")
}

/// All files below a folder, sorted.
pub fn files(root: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = walkdir::WalkDir::new(root)
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| entry.into_path())
        .collect();
    files.sort();
    files
}

/// Minutes after Monday 2026-03-02T00:00Z.
pub fn minute(after: i64) -> Minute {
    Minute(20_514 * 1_440 + after)
}

/// Runs the program.
pub fn highwater(arguments: &[&str], stdin: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_highwater"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut pipe = child.stdin.take().expect("a pipe");
    std::thread::scope(|scope| {
        // A program that fails early may not read: that is its right.
        scope.spawn(move || drop(pipe.write_all(stdin)));
        child.wait_with_output().expect("the program ends")
    })
}

pub fn status(output: &Output) -> i32 {
    output.status.code().expect("an exit status")
}

pub fn path(path: &Path) -> &str {
    path.to_str().expect("a UTF-8 path")
}
