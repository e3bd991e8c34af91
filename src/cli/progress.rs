//! A progress line on a terminal: objects, MB/s, events/s, time to go. Silent where standard error is no terminal.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::run::Progress;
use crate::source::Object;

pub(super) struct Bar {
    bar: ProgressBar,
    started: Instant,
    objects: u64,
    objects_done: AtomicU64,
    text_bytes: AtomicU64,
    records: AtomicU64,
}

impl Bar {
    pub(super) fn new(objects: &[Object], quiet: bool) -> Bar {
        let bar = ProgressBar::new(objects.len() as u64);
        if quiet {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        // The template is a constant: a mistake in it shows in the first run.
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent:>3} %  {msg}  {eta} to go") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Bar {
            bar,
            started: Instant::now(),
            objects: objects.len() as u64,
            objects_done: AtomicU64::new(0),
            text_bytes: AtomicU64::new(0),
            records: AtomicU64::new(0),
        }
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Progress for Bar {
    fn object(&self, text_bytes: u64, records: u64) {
        let done = self.objects_done.fetch_add(1, Ordering::Relaxed) + 1;
        let text = self.text_bytes.fetch_add(text_bytes, Ordering::Relaxed) + text_bytes;
        let records = self.records.fetch_add(records, Ordering::Relaxed) + records;
        self.bar.inc(1);
        if !self.bar.is_hidden() && (done.is_multiple_of(16) || done == self.objects) {
            let seconds = self.started.elapsed().as_secs_f64().max(1e-3);
            self.bar.set_message(format!(
                "{done} of {} objects, {:.0} MB/s, {:.0} events/s",
                self.objects,
                text as f64 / 1e6 / seconds,
                records as f64 / seconds
            ));
        }
    }
}

/// A bar that counts steps.
pub(super) fn steps_bar(steps: u64, quiet: bool) -> ProgressBar {
    let bar = ProgressBar::new(steps);
    if quiet {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent:>3} %  {eta} to go") {
        bar.set_style(style);
    }
    bar
}
