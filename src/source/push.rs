//! Records pushed to us over HTTP: Firehose's delivery protocol, EventBridge's API destinations, CloudWatch Logs
//! documents, and JSON lines. An answer of 200 says that what came is on the disk; whoever gets another one sends again,
//! and what comes twice counts once. Knows requests and answers; not what is in a record.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use subtle::ConstantTimeEq;
use tokio::sync::{Mutex, Semaphore, mpsc, oneshot};

use crate::secret::Secret;

use super::live::{Feed, Line, Ticket, now_s};

/// Firehose sends at most 64 MiB, in base64 within JSON; anything else is smaller.
const BODY_BYTES_MAX: usize = 64 << 20;

/// Requests that wait for the disk at once; more are told to come again.
const WAITING_MAX: usize = 64;

/// An answer within what senders wait for: Firehose three minutes, EventBridge five seconds.
const SAFE_WITHIN: Duration = Duration::from_secs(60);

/// What requests share.
#[derive(Clone)]
pub struct Push {
    source: usize,
    feeds: mpsc::Sender<(usize, Feed)>,
    waiting: Arc<Mutex<HashMap<Ticket, oneshot::Sender<()>>>>,
    next: Arc<AtomicU64>,
    room: Arc<Semaphore>,
    /// What a sender must know; none: everyone who can reach us may send.
    key: Option<Secret>,
}

/// The requests' side, and the task that tells them when they are safe.
pub fn push(line: Line, key: Option<Secret>) -> (Push, impl Future<Output = ()> + Send + 'static) {
    let Line { source, feeds, mut safe, stop } = line;
    let push = Push {
        source,
        feeds: feeds.clone(),
        waiting: Arc::default(),
        next: Arc::default(),
        room: Arc::new(Semaphore::new(WAITING_MAX)),
        key,
    };
    let waiting = push.waiting.clone();
    let task = async move {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                tickets = safe.recv() => {
                    let Some(tickets) = tickets else { return };
                    let mut waiting = waiting.lock().await;
                    for ticket in tickets {
                        // Whoever sent it may have gone.
                        waiting.remove(&ticket).map(|answer| answer.send(()));
                    }
                }
                // Whoever pushes decides when; what was pushed before now is with us.
                _ = tick.tick(), if !stop.is_cancelled() => {
                    let second = now_s();
                    if feeds.send((source, Feed::Drained { second })).await.is_err() {
                        return;
                    }
                }
            }
        }
    };
    (push, task)
}

/// `POST /records` and `POST /firehose`.
pub fn routes(push: Push) -> Router {
    Router::new()
        .route("/records", post(records))
        .route("/firehose", post(firehose))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(push)
}

/// Why a request is not taken.
enum Refusal {
    Key,
    Busy,
    Unsafe,
    Body(String),
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Refusal::Key => StatusCode::UNAUTHORIZED,
            Refusal::Busy => StatusCode::TOO_MANY_REQUESTS,
            Refusal::Unsafe => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Body(_) => StatusCode::BAD_REQUEST,
        }
    }

    fn words(&self) -> String {
        match self {
            Refusal::Key => {
                "the key is missing or wrong: send it as X-Amz-Firehose-Access-Key or as Authorization: Bearer"
                    .to_owned()
            }
            Refusal::Busy => "too much is waiting for the disk; send it again".to_owned(),
            Refusal::Unsafe => "it is not on the disk yet; send it again".to_owned(),
            Refusal::Body(reason) => reason.clone(),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status(), [(header::RETRY_AFTER, "1")], self.words() + "\n").into_response()
    }
}

impl Push {
    fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let Some(key) = &self.key else { return Ok(()) };
        let given = headers.get("x-amz-firehose-access-key").map(|value| value.as_bytes()).or_else(|| {
            let value = headers.get(header::AUTHORIZATION)?.as_bytes();
            value.strip_prefix(b"Bearer ")
        });
        // As long for a wrong key as for the right one.
        let right = given.is_some_and(|given| bool::from(given.ct_eq(key.reveal().as_bytes())));
        if right { Ok(()) } else { Err(Refusal::Key) }
    }

    /// Hands objects over and waits until they are safe.
    async fn take(&self, objects: Vec<(String, Vec<u8>)>) -> Result<(), Refusal> {
        let Ok(_room) = self.room.try_acquire() else { return Err(Refusal::Busy) };
        let mut answers = Vec::new();
        for (name, bytes) in objects {
            let ticket = self.next.fetch_add(1, Ordering::Relaxed);
            let (answer, safe) = oneshot::channel();
            self.waiting.lock().await.insert(ticket, answer);
            answers.push(safe);
            if self.feeds.send((self.source, Feed::Delivery { ticket, name, bytes })).await.is_err() {
                return Err(Refusal::Unsafe);
            }
        }
        let all = async {
            for safe in answers {
                safe.await.map_err(|_| Refusal::Unsafe)?;
            }
            Ok(())
        };
        tokio::time::timeout(SAFE_WITHIN, all).await.unwrap_or(Err(Refusal::Unsafe))
    }
}

/// Records in any form that a file may have: JSON lines, `{"Records": [..]}`, an event of EventBridge, a document of
/// CloudWatch Logs; plain or gzip.
async fn records(State(push): State<Push>, headers: HeaderMap, body: Bytes) -> Result<&'static str, Refusal> {
    push.check(&headers)?;
    push.take(vec![("push".to_owned(), body.to_vec())]).await?;
    Ok("safe\n")
}

/// A request of Firehose's HTTP endpoint delivery.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FirehoseRequest {
    request_id: String,
    records: Vec<FirehoseRecord>,
}

#[derive(Deserialize)]
struct FirehoseRecord {
    /// Base64; of JSON, or of gzip with a CloudWatch Logs document.
    data: String,
}

async fn firehose(State(push): State<Push>, headers: HeaderMap, body: Bytes) -> Response {
    let answered = take_firehose(&push, &headers, &body).await;
    let given = headers.get("x-amz-firehose-request-id").and_then(|value| value.to_str().ok());
    let (status, request_id, error) = match answered {
        Ok(request_id) => (StatusCode::OK, request_id, None),
        Err(refusal) => (refusal.status(), given.unwrap_or("").to_owned(), Some(refusal.words())),
    };
    let mut answer = serde_json::json!({"requestId": request_id, "timestamp": now_s() * 1_000});
    if let Some(error) = error {
        answer["errorMessage"] = error.into();
    }
    (status, [(header::CONTENT_TYPE, "application/json")], answer.to_string()).into_response()
}

async fn take_firehose(push: &Push, headers: &HeaderMap, body: &[u8]) -> Result<String, Refusal> {
    push.check(headers)?;
    let gzip = headers.get(header::CONTENT_ENCODING).is_some_and(|value| value == "gzip");
    let (request_id, objects) = firehose_records(body, gzip).map_err(Refusal::Body)?;
    push.take(objects).await?;
    Ok(request_id)
}

/// What a record is called, and its bytes.
type Record = (String, Vec<u8>);

/// A request's ID and its records; or what is wrong with it.
pub fn firehose_records(body: &[u8], gzip: bool) -> Result<(String, Vec<Record>), String> {
    let inflated = if gzip { Some(inflated(body)?) } else { None };
    let request: FirehoseRequest = serde_json::from_slice(inflated.as_deref().unwrap_or(body))
        .map_err(|error| format!("not a Firehose request: {error}"))?;
    let mut records = Vec::with_capacity(request.records.len());
    for (place, record) in request.records.iter().enumerate() {
        let bytes = STANDARD.decode(&record.data).map_err(|error| format!("record {place} is not base64: {error}"))?;
        records.push((format!("firehose {} record {place}", request.request_id), bytes));
    }
    Ok((request.request_id, records))
}

fn inflated(body: &[u8]) -> Result<Vec<u8>, String> {
    use std::io::Read;
    let mut text = Vec::new();
    let mut inflater = flate2::read::MultiGzDecoder::new(body).take(BODY_BYTES_MAX as u64 + 1);
    inflater.read_to_end(&mut text).map_err(|error| format!("the body is not gzip: {error}"))?;
    if text.len() > BODY_BYTES_MAX {
        return Err(format!("the body inflates to more than {} MiB", BODY_BYTES_MAX >> 20));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn gzipped(text: &[u8]) -> Vec<u8> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text).and_then(|()| gzip.finish()).expect("gzip")
    }

    proptest! {
        #[test]
        fn no_body_panics(body in proptest::collection::vec(any::<u8>(), 0..400), gzip: bool) {
            let _ = firehose_records(&body, gzip);
            let _ = firehose_records(&gzipped(&body), true);
        }

        #[test]
        fn what_firehose_sends_is_read_back(
            id in "[a-z0-9-]{0,40}",
            data in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 0..8),
            gzip: bool,
            cut in any::<proptest::sample::Index>(),
        ) {
            let records: Vec<_> = data.iter().map(|bytes| serde_json::json!({"data": STANDARD.encode(bytes)})).collect();
            let text = serde_json::json!({"requestId": id, "timestamp": 1, "records": records}).to_string();
            let body = if gzip { gzipped(text.as_bytes()) } else { text.into_bytes() };
            let (read_id, read) = firehose_records(&body, gzip).expect("a request");
            prop_assert_eq!(read_id, id);
            prop_assert_eq!(read.into_iter().map(|(_, bytes)| bytes).collect::<Vec<_>>(), data);
            // Half a request is none: the sender sends it again.
            prop_assert!(firehose_records(&body[..cut.index(body.len())], gzip).is_err());
        }
    }
}
