//! What the sidecar says of itself: counters and states after the last commit, as `/metrics` shows them (OpenMetrics),
//! and whether it is alive and ready. Knows no principal and no API: labels name sources and kinds alone.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

pub use sd_notify::NotifyState;

use crate::sink::{Progress, Sent};
use crate::source::live::now_s;
use crate::store::RecordCounts;
use crate::watch::ObjectCounts;

/// The loop turns every half second; a minute without a turn is a loop that hangs.
const ALIVE_S: i64 = 60;

/// Shared between the loop, which writes, and the server, which reads.
pub struct Status {
    /// What has never worked is as old as this.
    since_s: i64,
    /// The state is open and the last commit was taken by the disk.
    ready: AtomicBool,
    turned_s: AtomicI64,
    figures: Mutex<Figures>,
    sinks: Mutex<Vec<(String, Arc<Progress>)>>,
}

/// As of the last commit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    pub records: RecordCounts,
    pub objects: ObjectCounts,
    pub series: u64,
    pub evicted: u64,
    pub closed_early: u64,
    /// Seconds since 1970; none before the first close. Shown as since the loop began.
    pub frontier_s: Option<i64>,
    /// The time up to which each source is known to have handed over everything, by name; none as above.
    pub drained_s: Vec<(String, Option<i64>)>,
    pub insights_bytes: u64,
    pub starts: u64,
    pub commits: u64,
    pub commit_failures: u64,
    pub snapshots: u64,
    /// From an object's delivery by CloudTrail to its arrival here, and from there to the disk; of the last one.
    pub delivery_lag_s: Option<i64>,
    pub commit_lag_ms: Option<u64>,
    pub lateness_minutes: i64,
}

impl Default for Status {
    fn default() -> Status {
        Status {
            since_s: now_s(),
            ready: AtomicBool::default(),
            turned_s: AtomicI64::default(),
            figures: Mutex::default(),
            sinks: Mutex::default(),
        }
    }
}

impl Status {
    /// The loop went round: the service manager hears of it too, if there is one.
    pub fn turn(&self) {
        let now = now_s();
        if self.turned_s.swap(now, Ordering::Relaxed) != now {
            tell_manager(NotifyState::Watchdog);
        }
    }

    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed) && self.is_alive()
    }

    pub fn is_alive(&self) -> bool {
        now_s() - self.turned_s.load(Ordering::Relaxed) < ALIVE_S
    }

    pub fn update(&self, change: impl FnOnce(&mut Figures)) {
        change(&mut self.figures.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
    }

    pub fn figures(&self) -> Figures {
        self.figures.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    /// A sink that tells from now on how far it is.
    pub fn add_sink(&self, name: &str, progress: Arc<Progress>) {
        self.sinks.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push((name.to_owned(), progress));
    }

    /// The text of `/metrics`.
    pub fn open_metrics(&self) -> String {
        let figures = self.figures();
        let mut text = String::new();
        let mut family = |name: &str, kind: &str, help: &str, samples: &[(String, f64)]| {
            if samples.is_empty() {
                return;
            }
            let suffix = if kind == "counter" { "_total" } else { "" };
            let _ = writeln!(text, "# TYPE highwater_{name} {kind}\n# HELP highwater_{name} {help}");
            for (labels, value) in samples {
                let _ = writeln!(text, "highwater_{name}{suffix}{labels} {value}");
            }
        };
        let one = |value: f64| [(String::new(), value)];
        let labelled = |label: &str, values: &[(&str, u64)]| -> Vec<(String, f64)> {
            values.iter().map(|(name, value)| (format!("{{{label}=\"{name}\"}}"), *value as f64)).collect()
        };
        let records = figures.records;
        family("records_read", "counter", "Records found in objects and pushes.", &one(records.read as f64));
        family(
            "records",
            "counter",
            "What became of them; with the open ones these add up to those read.",
            &labelled(
                "fate",
                &[
                    ("scored", records.scored),
                    ("duplicate", records.duplicate),
                    ("filtered", records.filtered),
                    ("late", records.late),
                    ("malformed", records.malformed),
                ],
            ),
        );
        family("records_open", "gauge", "Records in minutes that may still grow.", &one(records.open as f64));
        let objects = figures.objects;
        family(
            "objects",
            "counter",
            "Objects and pushes.",
            &labelled(
                "fate",
                &[
                    ("read", objects.read),
                    ("duplicate", objects.duplicate),
                    ("passed_over", objects.passed_over),
                    ("parked", objects.parked),
                ],
            ),
        );
        family("received_bytes", "counter", "Bytes of the objects read, as stored.", &one(objects.stored_bytes as f64));
        family("insights_started", "counter", "Incidents told since this process began.", &one(figures.starts as f64));
        family("series", "gauge", "Series remembered.", &one(figures.series as f64));
        family(
            "series_evicted",
            "counter",
            "Series forgotten for want of memory; they begin anew with their next call.",
            &one(figures.evicted as f64),
        );
        family(
            "closed_early",
            "counter",
            "Commits that closed minutes before their time for want of memory: what comes for these is late.",
            &one(figures.closed_early as f64),
        );
        let now = now_s();
        // A source that never worked, as where a queue's name is wrong, must not look like one that has nothing.
        let age = |second: Option<i64>| (now - second.unwrap_or(self.since_s)).max(0) as f64;
        let optional = |value: Option<f64>| -> Vec<(String, f64)> {
            value.map(|value| (String::new(), value)).into_iter().collect()
        };
        family(
            "frontier_age_seconds",
            "gauge",
            "How far behind now the last closed minute is; before the first, how long ago this began.",
            &one(age(figures.frontier_s)),
        );
        let drained: Vec<(String, f64)> = figures
            .drained_s
            .iter()
            .map(|(source, second)| (format!("{{source=\"{}\"}}", escaped(source)), age(*second)))
            .collect();
        family(
            "source_drained_age_seconds",
            "gauge",
            "How long ago a source was last known to hold nothing more; if never, how long ago this began.",
            &drained,
        );
        family(
            "lateness_seconds",
            "gauge",
            "How late an event may come under the clock: as set, or as learned.",
            &one(figures.lateness_minutes as f64 * 60.0),
        );
        family(
            "delivery_lag_seconds",
            "gauge",
            "From delivery by CloudTrail to arrival here, of the last object.",
            &optional(figures.delivery_lag_s.map(|lag| lag as f64)),
        );
        family(
            "commit_lag_seconds",
            "gauge",
            "From arrival to the disk, of the oldest object in the last commit.",
            &optional(figures.commit_lag_ms.map(|lag| lag as f64 / 1e3)),
        );
        family("commits", "counter", "Commits since this process began.", &one(figures.commits as f64));
        family(
            "commit_failures",
            "counter",
            "Commits that the disk did not take.",
            &one(figures.commit_failures as f64),
        );
        family("snapshots", "counter", "Snapshots since this process began.", &one(figures.snapshots as f64));
        family("insights_bytes", "gauge", "Size of insights.jsonl.", &one(figures.insights_bytes as f64));
        let sinks = self.sinks.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let sinks: Vec<_> = sinks.iter().map(|(name, progress)| (name.as_str(), progress.figures())).collect();
        let of_sinks = |figure: fn(&Sent) -> u64| -> Vec<(String, f64)> {
            let named = |name: &str| format!("{{sink=\"{}\"}}", escaped(name));
            sinks.iter().map(|(name, sent)| (named(name), figure(sent) as f64)).collect()
        };
        let end = figures.insights_bytes;
        let behind: Vec<(String, f64)> = of_sinks(|sent| sent.position_bytes)
            .into_iter()
            .map(|(labels, position)| (labels, (end as f64 - position).max(0.0)))
            .collect();
        family("sink_behind_bytes", "gauge", "What of insights.jsonl a sink has still to send.", &behind);
        family("sink_sent", "counter", "Requests that a sink's receiver took.", &of_sinks(|sent| sent.sent));
        family("sink_refused", "counter", "Given up, and kept in a file.", &of_sinks(|sent| sent.refused));
        family(
            "sink_retries",
            "counter",
            "Requests that were not taken and sent again.",
            &of_sinks(|sent| sent.retries),
        );
        family("sink_failures", "gauge", "Requests not taken in a row, up to now.", &of_sinks(|sent| sent.failures));
        family("resident_memory_bytes", "gauge", "Memory in use.", &optional(resident_bytes()));
        family(
            "ready",
            "gauge",
            "1: the state is open and the last commit is on the disk.",
            &one(f64::from(u8::from(self.is_ready()))),
        );
        let version = [(format!("{{version=\"{}\"}}", env!("CARGO_PKG_VERSION")), 1.0)];
        family("build", "gauge", "The version that runs.", &version);
        text.push_str("# EOF\n");
        text
    }
}

/// Without a service manager that listens, nothing.
pub fn tell_manager(state: NotifyState) {
    let _ = sd_notify::notify(&[state]);
}

/// A label's value.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Where the system tells it.
fn resident_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()? * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_balance_and_end_as_they_should() {
        let status = Status::default();
        status.turn();
        status.update(|figures| {
            figures.records =
                RecordCounts { read: 9, scored: 4, duplicate: 1, late: 2, open: 2, ..RecordCounts::default() };
            figures.drained_s = vec![("a \"queue\"".to_owned(), Some(now_s())), ("never".to_owned(), None)];
        });
        let text = status.open_metrics();
        let value = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("the metric");
            line.trim().parse().expect("a number")
        };
        let fates: f64 = text
            .lines()
            .filter(|line| line.starts_with("highwater_records_total{"))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum();
        assert_eq!(value("highwater_records_read_total "), fates + value("highwater_records_open "));
        assert!(text.contains("source=\"a \\\"queue\\\"\""));
        assert!(text.ends_with("# EOF\n"));
        assert_eq!((status.is_alive(), status.is_ready()), (true, false));
    }

    #[test]
    fn what_never_worked_grows_old() {
        let status = Status { since_s: now_s() - 7_200, ..Status::default() };
        let value = |name: &str| -> f64 {
            let text = status.open_metrics();
            let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("the metric");
            line.trim().parse().expect("a number")
        };
        // Before the first commit, as on a state that is new.
        assert!(value("highwater_frontier_age_seconds ") >= 7_200.0);
        status.update(|figures| {
            figures.drained_s = vec![("never".to_owned(), None), ("ended".to_owned(), Some(i64::MAX))]
        });
        assert!(value("highwater_source_drained_age_seconds{source=\"never\"} ") >= 7_200.0);
        assert_eq!(value("highwater_source_drained_age_seconds{source=\"ended\"} "), 0.0);
        status.update(|figures| (figures.drained_s[0].1, figures.frontier_s) = (Some(now_s()), Some(now_s() - 1_800)));
        assert!(value("highwater_source_drained_age_seconds{source=\"never\"} ") < 60.0);
        assert!((1_800.0..1_900.0).contains(&value("highwater_frontier_age_seconds ")));
    }
}
