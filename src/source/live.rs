//! What live sources have in common: they hand over [`Feed`]s, in the order in which they became true, and are told
//! which deliveries are safe. Knows neither what is in an object nor what becomes of it.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// A number that the source gave a delivery, by which it is told that the delivery is safe.
pub type Ticket = u64;

/// What a source says.
#[derive(Debug)]
pub enum Feed {
    /// An object, or one push.
    Delivery { ticket: Ticket, name: String, bytes: Vec<u8> },
    /// An object that could not be had, however often it was asked for.
    Parked { ticket: Ticket, name: String, reason: String },
    /// All that there was up to this second since 1970 has been handed over.
    Drained { second: i64 },
    /// Nothing more will come.
    Ended,
}

/// A source's ends of the pipes.
pub struct Line {
    /// Its place among the sources.
    pub source: usize,
    pub feeds: mpsc::Sender<(usize, Feed)>,
    /// Tickets of deliveries that survive a kill from now on.
    pub safe: mpsc::UnboundedReceiver<Vec<Ticket>>,
    /// Stop asking for more; tickets still come until the pipe is closed.
    pub stop: CancellationToken,
}

impl Line {
    /// Waits until there is room; false once nobody listens any more.
    pub async fn say(&self, feed: Feed) -> bool {
        self.feeds.send((self.source, feed)).await.is_ok()
    }
}

/// Seconds since 1970.
pub fn now_s() -> i64 {
    chrono::Utc::now().timestamp()
}

/// Doubled with each failure up to `longest`, and anywhere between a half and the whole of it, so that many do not come
/// back at once.
pub fn backoff(failures: u32, first: Duration, longest: Duration) -> Duration {
    let most = first.saturating_mul(1 << failures.min(10)).min(longest);
    let share = f64::from(chrono::Utc::now().timestamp_subsec_micros() % 1_000) / 1_000.0;
    most.mul_f64(0.5 + share / 2.0)
}
