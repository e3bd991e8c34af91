//! Insights to a URL, one request each, in order, until it takes them: signed, with an idempotency key, from a place in
//! `insights.jsonl` that survives a restart. Early words are sent once, without a promise. A receiver that is down
//! keeps nobody else waiting. Knows records as lines of JSON.

use std::fs;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use ring::hmac;
use serde::Deserialize;
use tokio::sync::{mpsc, watch};
use tokio_util::bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Wait after a request that was not taken, doubled each time up to the most, and anywhere between half of it and all.
const RETRY: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// The receiver has so long for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A request that the receiver calls wrong is tried so often; then the next line is sent.
const REFUSALS_MAX: u32 = 3;

/// Early words that wait; with more of them, the oldest news is no news.
pub const EARLY_MAX: usize = 256;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    pub url: String,
    /// Requests are signed with it.
    pub secret: Option<String>,
    /// `info`, `low`, `medium`, `high` or `critical`; what is less severe is passed over.
    pub severity_min: Option<String>,
}

/// From the least severe.
pub const SEVERITIES: [&str; 5] = ["info", "low", "medium", "high", "critical"];

/// What is read of a record.
#[derive(Deserialize)]
struct Head {
    #[serde(rename = "eventID")]
    event_id: String,
    highwater: Option<Severity>,
}

#[derive(Deserialize)]
struct Severity {
    severity: String,
}

/// Follows a file of lines.
pub struct Follower {
    webhook: Webhook,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    original: PathBuf,
    /// Where the place is kept that was reached.
    cursor: PathBuf,
    position: u64,
}

/// How a request ended.
enum Answer {
    Taken,
    /// The request is at fault.
    Refused(String),
    /// Not now.
    Later(String),
}

impl Follower {
    /// Goes on where the last process was, or at `end`, for a receiver that is new.
    pub fn open(webhook: Webhook, original: &Path, cursor: &Path, end: u64) -> anyhow::Result<Follower> {
        let named = || cursor.display().to_string();
        let position = match fs::read_to_string(cursor) {
            Ok(text) => text.trim().parse().with_context(|| format!("{}: not a number of bytes", named()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => end,
            Err(error) => return Err(error).with_context(named),
        };
        let connector = HttpsConnectorBuilder::new()
            .with_native_roots()
            .context("the system's certificates")?
            .https_or_http()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let follower = Follower { webhook, client, original: original.to_owned(), cursor: cursor.to_owned(), position };
        follower.save()?;
        Ok(follower)
    }

    fn save(&self) -> anyhow::Result<()> {
        // A place that is lost repeats a line, which the receiver tells by its key.
        let partial = self.cursor.with_extension("partial");
        fs::write(&partial, format!("{}\n", self.position))
            .and_then(|()| fs::rename(&partial, &self.cursor))
            .with_context(|| self.cursor.display().to_string())
    }

    /// Sends what comes until told to stop. `end`: how far the file is safe.
    pub async fn run(
        mut self,
        mut end: watch::Receiver<u64>,
        mut early: mpsc::Receiver<String>,
        stop: CancellationToken,
    ) {
        let mut failures = 0;
        loop {
            let safe = *end.borrow_and_update();
            match self.next_line(safe) {
                Ok(Some((line, after))) => {
                    let answered = tokio::select! {
                        answered = self.send(&line, "final") => answered,
                        () = stop.cancelled() => return,
                    };
                    let wait = match answered {
                        Answer::Taken => None,
                        Answer::Refused(reason) if failures + 1 >= REFUSALS_MAX => {
                            warn!(url = %self.webhook.url, %reason, "an insight was refused; going on with the next");
                            None
                        }
                        Answer::Refused(reason) | Answer::Later(reason) => {
                            failures += 1;
                            warn!(url = %self.webhook.url, %reason, failures, "an insight was not taken; sending it again");
                            Some(backoff(failures))
                        }
                    };
                    match wait {
                        None => {
                            (failures, self.position) = (0, after);
                            if let Err(error) = self.save() {
                                warn!(%error, "the place that was reached cannot be kept");
                            }
                        }
                        Some(wait) => tokio::select! {
                            () = tokio::time::sleep(wait) => {}
                            () = stop.cancelled() => return,
                        },
                    }
                }
                Ok(None) => tokio::select! {
                    changed = end.changed() => if changed.is_err() {
                        return;
                    },
                    Some(line) = early.recv() => {
                        if let Answer::Refused(reason) | Answer::Later(reason) = self.send(&line, "provisional").await {
                            warn!(url = %self.webhook.url, %reason, "an early word was not taken");
                        }
                    }
                    () = stop.cancelled() => return,
                },
                Err(error) => {
                    warn!(file = %self.original.display(), %error, "the insights cannot be read; trying again");
                    tokio::time::sleep(RETRY_MAX).await;
                }
            }
        }
    }

    /// The line at the place reached, and where it ends.
    fn next_line(&self, safe: u64) -> io::Result<Option<(String, u64)>> {
        if self.position >= safe {
            return Ok(None);
        }
        let mut file = fs::File::open(&self.original)?;
        file.seek(SeekFrom::Start(self.position))?;
        let mut line = String::new();
        let read = BufReader::new(file).read_line(&mut line)? as u64;
        Ok(line.ends_with('\n').then(|| (line, self.position + read)))
    }

    async fn send(&self, line: &str, kind: &str) -> Answer {
        let head: Option<Head> = serde_json::from_str(line).ok();
        let rank = |severity: &str| SEVERITIES.iter().position(|name| *name == severity);
        let severity = head.as_ref().and_then(|head| rank(&head.highwater.as_ref()?.severity));
        let least = self.webhook.severity_min.as_deref().and_then(rank);
        if severity.zip(least).is_some_and(|(severity, least)| severity < least) {
            return Answer::Taken;
        }
        let body = line.trim_end().to_owned();
        let mut request = http::Request::post(&self.webhook.url)
            .header("content-type", "application/json")
            .header("user-agent", concat!("highwater/", env!("CARGO_PKG_VERSION")))
            .header("x-highwater-kind", kind);
        if let Some(head) = head {
            request = request.header("idempotency-key", format!("{}-{kind}", head.event_id));
        }
        if let Some(secret) = &self.webhook.secret {
            let second = now_s();
            request = request
                .header("x-highwater-timestamp", second)
                .header("x-highwater-signature", signature(secret, second, &body));
        }
        let request = match request.body(Full::from(body)) {
            Ok(request) => request,
            Err(error) => return Answer::Refused(error.to_string()),
        };
        match tokio::time::timeout(ANSWER_WITHIN, self.client.request(request)).await {
            Err(_) => Answer::Later(format!("no answer within {} s", ANSWER_WITHIN.as_secs())),
            Ok(Err(error)) => Answer::Later(format!("{error:#}")),
            Ok(Ok(answer)) => match answer.status().as_u16() {
                200..=299 => Answer::Taken,
                status @ (408 | 425 | 429 | 500..=599) => Answer::Later(format!("status {status}")),
                status => Answer::Refused(format!("status {status}")),
            },
        }
    }
}

/// Seconds since 1970.
fn now_s() -> i64 {
    chrono::Utc::now().timestamp()
}

/// `sha256=` and the HMAC of `TIMESTAMP.BODY` in hexadecimal.
fn signature(secret: &str, second: i64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, format!("{second}.{body}").as_bytes());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

fn backoff(failures: u32) -> Duration {
    let most = RETRY.saturating_mul(1 << failures.min(10)).min(RETRY_MAX);
    let share = f64::from(chrono::Utc::now().timestamp_subsec_micros() % 1_000) / 1_000.0;
    most.mul_f64(0.5 + share / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_other_tools() {
        // printf '1700000000.{}' | openssl dgst -sha256 -hmac key
        let expected = "9d713ed406bb7076d4123f0dc2c39d2df5c654ed4b0cd56b52c8b4c940bd63ae";
        assert_eq!(signature("key", 1_700_000_000, "{}"), format!("sha256={expected}"));
    }
}
