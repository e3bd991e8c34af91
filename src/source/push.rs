//! Records pushed to us over HTTP: Firehose's delivery protocol, EventBridge's API destinations, CloudWatch Logs
//! documents, and JSON lines. An answer of 200 says that what came is on the disk; whoever gets another one sends again,
//! and what comes twice counts once. Knows requests and answers; not what is in a record.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use subtle::ConstantTimeEq;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::secret::Secret;

use super::live::{Feed, Line, Ticket, now_s};

/// Firehose sends at most 64 MiB, in base64 within JSON; anything else is smaller.
const BODY_BYTES_MAX: usize = 64 << 20;

/// Requests in hand at once, and the bytes of their bodies and of what those inflate to together, in KiB; more are told
/// to come again.
const REQUESTS_MAX: usize = 64;
const BODIES_KIB_MAX: usize = 256 << 10;

/// Room for what a body inflates to is taken in such steps: nothing tells beforehand how much it will be.
const INFLATED_STEP: usize = 1 << 20;

/// A body that comes more slowly has no sender who waits for the answer.
const BODY_WITHIN: Duration = Duration::from_secs(60);

/// An answer within what senders wait for: Firehose three minutes, EventBridge five seconds.
const SAFE_WITHIN: Duration = Duration::from_secs(60);

/// After an outage, ours or one that we told of, senders have more than what just came: time waits so long for them.
const OUTAGE_OVER_AFTER: Duration = Duration::from_secs(120);

/// What requests share.
#[derive(Clone)]
pub struct Push {
    source: usize,
    feeds: mpsc::Sender<(usize, Feed)>,
    waiting: Arc<Mutex<HashMap<Ticket, oneshot::Sender<()>>>>,
    next: Arc<AtomicU64>,
    requests: Arc<Semaphore>,
    bodies_kib: Arc<Semaphore>,
    /// When we last could not take what somebody sent.
    outage: Arc<Mutex<Option<Instant>>>,
    /// What a sender must know; none: everyone who can reach us may send.
    key: Option<Secret>,
}

/// The requests' side, and the task that tells them when they are safe. `again`: senders know us, and may have waited.
pub fn push(line: Line, key: Option<Secret>, again: bool) -> (Push, impl Future<Output = ()> + Send + 'static) {
    let Line { source, feeds, mut safe, stop } = line;
    let push = Push {
        source,
        feeds: feeds.clone(),
        waiting: Arc::default(),
        next: Arc::default(),
        requests: Arc::new(Semaphore::new(REQUESTS_MAX)),
        bodies_kib: Arc::new(Semaphore::new(BODIES_KIB_MAX)),
        outage: Arc::new(Mutex::new(again.then(Instant::now))),
        key,
    };
    let (waiting, outage) = (push.waiting.clone(), push.outage.clone());
    let task = async move {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                tickets = safe.recv() => {
                    let Some(tickets) = tickets else { return };
                    let mut waiting = locked(&waiting);
                    for ticket in tickets {
                        // Whoever sent it may have gone.
                        waiting.remove(&ticket).map(|answer| answer.send(()));
                    }
                }
                // Whoever pushes decides when; what was pushed before now is with us.
                _ = tick.tick(), if !stop.is_cancelled() => {
                    if locked(&outage).is_some_and(|at| at.elapsed() < OUTAGE_OVER_AFTER) {
                        continue;
                    }
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
        // The body was measured before it comes to a handler.
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(push.clone(), let_in))
        .with_state(push)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Whoever does not know the key, or comes when there is no room, is told so before any of the body is read.
async fn let_in(State(push): State<Push>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let id = request.headers().get("x-amz-firehose-request-id").and_then(|value| value.to_str().ok());
    let id = id.unwrap_or("").to_owned();
    match push.read(request).await {
        Ok((request, _room)) => next.run(request).await,
        Err(refusal) if path == "/firehose" => firehose_answer(&id, Err(refusal)),
        Err(refusal) => refusal.into_response(),
    }
}

/// Why a request is not taken.
enum Refusal {
    Key,
    Busy,
    Slow,
    Large,
    Unsafe,
    Body(String),
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Refusal::Key => StatusCode::UNAUTHORIZED,
            Refusal::Busy => StatusCode::TOO_MANY_REQUESTS,
            Refusal::Slow => StatusCode::REQUEST_TIMEOUT,
            Refusal::Large => StatusCode::PAYLOAD_TOO_LARGE,
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
            Refusal::Slow => format!("the body did not come within {} seconds", BODY_WITHIN.as_secs()),
            Refusal::Large => format!("the body has more than {} MiB", BODY_BYTES_MAX >> 20),
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

    /// Checks the key, finds room, and only then reads the body. The room is taken for as long as it lives.
    async fn read(&self, request: Request) -> Result<(Request, impl Sized + use<>), Refusal> {
        self.check(request.headers())?;
        let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let length: u64 = length.unwrap_or(BODY_BYTES_MAX as u64);
        if length > BODY_BYTES_MAX as u64 {
            return Err(Refusal::Large);
        }
        let request_room = self.requests.clone().try_acquire_owned().map_err(|_| self.busy())?;
        let body_room = self.room_for(length as usize)?;
        let (parts, body) = request.into_parts();
        let read = tokio::time::timeout(BODY_WITHIN, axum::body::to_bytes(body, length as usize)).await;
        let body = match read {
            Ok(Ok(body)) => body,
            Ok(Err(error)) if parts.headers.contains_key(header::CONTENT_LENGTH) => {
                return Err(Refusal::Body(format!("the body broke off: {error}")));
            }
            Ok(Err(_)) => return Err(Refusal::Large),
            Err(_) => return Err(Refusal::Slow),
        };
        Ok((Request::from_parts(parts, body.into()), (request_room, body_room)))
    }

    fn busy(&self) -> Refusal {
        *locked(&self.outage) = Some(Instant::now());
        Refusal::Busy
    }

    fn room_for(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        let kib = bytes.div_ceil(1 << 10) as u32;
        self.bodies_kib.clone().try_acquire_many_owned(kib).map_err(|_| self.busy())
    }

    /// Hands objects over and waits until they are safe.
    async fn take(&self, objects: Vec<(String, Vec<u8>)>) -> Result<(), Refusal> {
        let mut asked = Asked { push: self, tickets: Vec::new() };
        let all = async {
            let mut answers = Vec::new();
            for (name, bytes) in objects {
                let ticket = self.next.fetch_add(1, Ordering::Relaxed);
                let (answer, safe) = oneshot::channel();
                locked(&self.waiting).insert(ticket, answer);
                asked.tickets.push(ticket);
                answers.push(safe);
                let feed = Feed::Delivery { ticket, name, bytes };
                self.feeds.send((self.source, feed)).await.map_err(|_| Refusal::Unsafe)?;
            }
            for safe in answers {
                safe.await.map_err(|_| Refusal::Unsafe)?;
            }
            Ok(())
        };
        let taken = tokio::time::timeout(SAFE_WITHIN, all).await.unwrap_or(Err(Refusal::Unsafe));
        if taken.is_err() {
            *locked(&self.outage) = Some(Instant::now());
        }
        taken
    }
}

/// What a request waits for. Its sender may hang up.
struct Asked<'p> {
    push: &'p Push,
    tickets: Vec<Ticket>,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let mut waiting = locked(&self.push.waiting);
        for ticket in &self.tickets {
            waiting.remove(ticket);
        }
    }
}

/// Records in any form that a file may have: JSON lines, `{"Records": [..]}`, an event of EventBridge, a document of
/// CloudWatch Logs; plain or gzip.
async fn records(State(push): State<Push>, body: Bytes) -> Result<&'static str, Refusal> {
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
    let given = headers.get("x-amz-firehose-request-id").and_then(|value| value.to_str().ok()).unwrap_or("");
    match take_firehose(&push, &headers, &body).await {
        Ok(request_id) => firehose_answer(&request_id, Ok(())),
        Err(refusal) => firehose_answer(given, Err(refusal)),
    }
}

/// As Firehose expects it; whatever is not 200 it sends again.
fn firehose_answer(request_id: &str, taken: Result<(), Refusal>) -> Response {
    let mut answer = serde_json::json!({"requestId": request_id, "timestamp": now_s() * 1_000});
    let status = match taken {
        Ok(()) => StatusCode::OK,
        Err(refusal) => {
            answer["errorMessage"] = refusal.words().into();
            refusal.status()
        }
    };
    (status, [(header::CONTENT_TYPE, "application/json")], answer.to_string()).into_response()
}

async fn take_firehose(push: &Push, headers: &HeaderMap, body: &[u8]) -> Result<String, Refusal> {
    // Taken until what was in it is safe.
    let mut room = Vec::new();
    let mut reserve = |bytes| push.room_for(bytes).map(|more| room.push(more));
    let gzip = headers.get(header::CONTENT_ENCODING).is_some_and(|value| value == "gzip");
    let text = if gzip { Some(inflated(body, &mut reserve)?) } else { None };
    let (request_id, objects) = read_firehose(text.as_deref().unwrap_or(body)).map_err(Refusal::Body)?;
    drop(text);
    push.take(objects).await?;
    Ok(request_id)
}

/// What a record is called, and its bytes.
type Record = (String, Vec<u8>);

/// A request's ID and its records; or what is wrong with it.
pub fn firehose_records(body: &[u8], gzip: bool) -> Result<(String, Vec<Record>), String> {
    match gzip {
        true => read_firehose(&inflated(body, |_| Ok(())).map_err(|refusal| refusal.words())?),
        false => read_firehose(body),
    }
}

fn read_firehose(text: &[u8]) -> Result<(String, Vec<Record>), String> {
    let request: FirehoseRequest =
        serde_json::from_slice(text).map_err(|error| format!("not a Firehose request: {error}"))?;
    let mut records = Vec::with_capacity(request.records.len());
    for (place, record) in request.records.iter().enumerate() {
        let bytes = STANDARD.decode(&record.data).map_err(|error| format!("record {place} is not base64: {error}"))?;
        records.push((format!("firehose {} record {place}", request.request_id), bytes));
    }
    Ok((request.request_id, records))
}

/// `reserve` is asked before each step that a text grows by.
fn inflated(body: &[u8], mut reserve: impl FnMut(usize) -> Result<(), Refusal>) -> Result<Vec<u8>, Refusal> {
    use std::io::Read;
    let (mut text, mut inflater) = (Vec::new(), flate2::read::MultiGzDecoder::new(body));
    loop {
        reserve(INFLATED_STEP)?;
        let step = inflater.by_ref().take(INFLATED_STEP as u64).read_to_end(&mut text);
        let length = step.map_err(|error| Refusal::Body(format!("the body is not gzip: {error}")))?;
        if text.len() > BODY_BYTES_MAX {
            return Err(Refusal::Body(format!("the body inflates to more than {} MiB", BODY_BYTES_MAX >> 20)));
        }
        if length < INFLATED_STEP {
            return Ok(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    #[tokio::test]
    async fn what_a_body_inflates_to_takes_room_until_it_is_safe() {
        let (feeds, mut inbox) = mpsc::channel(4);
        let (told, safe) = mpsc::unbounded_channel();
        let line = Line { source: 0, feeds, safe, stop: tokio_util::sync::CancellationToken::new() };
        let (push, task) = push(line, None, true);
        tokio::spawn(task);
        let data = STANDARD.encode(vec![b' '; 9 << 20]);
        let body = gzipped(serde_json::json!({"requestId": "r", "records": [{"data": data}]}).to_string().as_bytes());
        assert!(body.len() < 1 << 20, "{}", body.len());
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_ENCODING, "gzip".parse().expect("a value"));
        let (all, other) = (BODIES_KIB_MAX, push.bodies_kib.clone());
        // Twelve MiB of text, and one step more to see that it ends there.
        let rest = other.clone().try_acquire_many_owned(all as u32 - (11 << 10)).expect("room");
        assert!(matches!(take_firehose(&push, &headers, &body).await, Err(Refusal::Busy)));
        assert_eq!(other.available_permits(), 11 << 10, "what was not taken keeps no room");
        drop(rest);
        let (taking, there) = (push.clone(), headers.clone());
        let taken = tokio::spawn(async move { take_firehose(&taking, &there, &body).await.is_ok() });
        let Some((0, Feed::Delivery { ticket, bytes, .. })) = inbox.recv().await else { panic!("a record") };
        assert_eq!(bytes.len(), 9 << 20);
        assert_eq!(other.available_permits(), all - (13 << 10));
        told.send(vec![ticket]).expect("a listener");
        assert!(taken.await.expect("an answer"));
        assert_eq!(other.available_permits(), all);
    }

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
