//! Requests over HTTP and HTTPS with the system's certificates, and what an answer means. Knows no receiver.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio_util::bytes::Bytes;

use crate::source::live::now_s;

/// The receiver has so long for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// More of an answer is not read.
const ANSWER_BYTES_MAX: usize = 256 << 10;

/// So much of an answer is told as the reason.
const REASON_CHARACTERS_MAX: usize = 200;

/// Nobody is left alone for longer because he asked for it.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Taken,
    /// The request is at fault.
    Refused(String),
    /// Not now; how long to wait, where the receiver says it.
    Later(String, Option<Duration>),
}

impl Answer {
    pub fn later(reason: impl Into<String>) -> Answer {
        Answer::Later(reason.into(), None)
    }
}

pub struct Reply {
    pub status: u16,
    pub body: Vec<u8>,
    pub retry_after: Option<Duration>,
}

impl Reply {
    /// What the status says. Who is not let in, or comes where nobody lives any more, is not at fault with what he
    /// brings: that waits until it is mended.
    pub fn answer(&self) -> Answer {
        match self.status {
            200..=299 => Answer::Taken,
            300..=399 | 401..=405 | 407 | 408 | 410 | 421 | 425 | 429 | 500..=599 => {
                Answer::Later(self.reason(), self.retry_after)
            }
            _ => Answer::Refused(self.reason()),
        }
    }

    /// The status and the beginning of the answer.
    pub fn reason(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let text: String =
            text.chars().take(REASON_CHARACTERS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect();
        match text.trim() {
            "" => format!("status {}", self.status),
            text => format!("status {}: {text}", self.status),
        }
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

#[derive(Clone)]
pub struct Http(Arc<Client<HttpsConnector<HttpConnector>, Full<Bytes>>>);

impl Http {
    pub fn new() -> anyhow::Result<Http> {
        let connector = HttpsConnectorBuilder::new()
            .with_native_roots()
            .context("the system's certificates")?
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Http(Arc::new(Client::builder(TokioExecutor::new()).build(connector))))
    }

    /// The answer, or why there is none. No error names the URL, which may hold a secret.
    pub async fn send(&self, request: http::request::Builder, body: Vec<u8>) -> Result<Reply, Answer> {
        let request = request
            .header("user-agent", concat!("highwater/", env!("CARGO_PKG_VERSION")))
            .body(Full::from(body))
            .map_err(|error| Answer::Refused(format!("no request can be made of it: {error}")))?;
        let exchange = async {
            let answer = self.0.request(request).await.map_err(|error| chain(&error))?;
            let status = answer.status().as_u16();
            let wait = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()).and_then(wait);
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            // What cannot be read of an answer does not change its status.
            let body = body.map_or_else(|_| Vec::new(), |body| body.to_bytes().to_vec());
            Ok(Reply { status, body, retry_after: wait })
        };
        match tokio::time::timeout(ANSWER_WITHIN, exchange).await {
            Err(_) => Err(Answer::later(format!("no answer within {} s", ANSWER_WITHIN.as_secs()))),
            Ok(Err(reason)) => Err(Answer::Later(reason, None)),
            Ok(Ok(reply)) => Ok(reply),
        }
    }

    pub async fn post_json(&self, url: &str, value: &serde_json::Value) -> Result<Reply, Answer> {
        let request = http::Request::post(url).header("content-type", "application/json; charset=utf-8");
        self.send(request, value.to_string().into_bytes()).await
    }
}

/// An error and what it came from: the first one alone says only "client error".
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text += &format!(": {more}");
        }
        source = cause.source();
    }
    text
}

/// `Retry-After`: seconds, or a date.
fn wait(text: &str) -> Option<Duration> {
    let seconds = match text.trim().parse::<u64>() {
        Ok(seconds) => seconds,
        Err(_) => {
            let date = chrono::DateTime::parse_from_rfc2822(text).ok()?;
            u64::try_from(date.timestamp() - now_s()).unwrap_or_default()
        }
    };
    Some(Duration::from_secs(seconds).min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_whose_fault_it_was() {
        let answer = |status| Reply { status, body: b"no\n".to_vec(), retry_after: None }.answer();
        assert_eq!(answer(204), Answer::Taken);
        // Moved, and gone: an address that somebody has to mend.
        for status in [301, 302, 308, 401, 403, 404, 410, 429, 500, 503] {
            assert_eq!(answer(status), Answer::later(format!("status {status}: no")), "{status}");
        }
        for status in [400, 406, 409, 413, 422] {
            assert_eq!(answer(status), Answer::Refused(format!("status {status}: no")), "{status}");
        }
    }

    #[test]
    fn waits_are_read_and_bounded() {
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        assert_eq!(wait("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("99999999"), Some(RETRY_AFTER_MAX));
        assert_eq!(wait("soon"), None);
    }
}
