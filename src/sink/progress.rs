//! How far a sink is, for metrics: written by the sink, read by whoever shows it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Since this process began, but for the place.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes of `insights.jsonl` that are done with.
    position_bytes: AtomicU64,
    sent: AtomicU64,
    refused: AtomicU64,
    retries: AtomicU64,
    failures: AtomicU64,
}

/// A copy of the numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    pub position_bytes: u64,
    /// Requests that were taken.
    pub sent: u64,
    /// Given up, and kept in a file.
    pub refused: u64,
    /// Requests that were not taken and sent again.
    pub retries: u64,
    /// In a row, up to now.
    pub failures: u64,
}

impl Progress {
    pub fn at(&self, position_bytes: u64) {
        self.position_bytes.store(position_bytes, Ordering::Relaxed);
    }

    pub fn sent(&self, requests: u64) {
        self.sent.fetch_add(requests, Ordering::Relaxed);
    }

    /// Something went through, or was given up: no failure any more.
    pub fn recovered(&self) {
        self.failures.store(0, Ordering::Relaxed);
    }

    pub fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        self.recovered();
    }

    pub fn failed(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    pub fn figures(&self) -> Sent {
        let now = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Sent {
            position_bytes: now(&self.position_bytes),
            sent: now(&self.sent),
            refused: now(&self.refused),
            retries: now(&self.retries),
            failures: now(&self.failures),
        }
    }
}
