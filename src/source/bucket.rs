//! What a bucket is asked: its keys, and one object. Finds out the bucket's Region by S3's own answer, asks again for
//! whatever may pass, and tells that from what will not. Knows no queue, and not what is in an object.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::Object;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinSet;
use tracing::warn;

use super::aws::Buckets;
use super::live;
use super::notification::S3Object;

/// An object that is not there is asked for so often: names may be late.
const TRIES: u32 = 4;

/// Whoever does not let us in is asked for so long: most such policies are mistakes that somebody mends. What is not
/// there looks the same to whoever may not list.
const FORBIDDEN_FOR: Duration = Duration::from_secs(15 * 60);

/// Waiting between tries: this, doubled each time, at most so long.
const BACKOFF: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(20);

/// A listed object with more comes in parts of so many.
const PART_BYTES: i64 = 8 << 20;

/// Beyond it an object is no log file.
const OBJECT_BYTES_MAX: i64 = 512 << 20;

/// Refusals that speak of us or of the moment, not of the object: keys that have run out, clocks, quotas. New keys and
/// time mend them, so nothing is given up for them.
const PASSING: [&str; 19] = [
    "AccountProblem",
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidToken",
    "KMS.DependencyTimeoutException",
    "KMS.KMSInternalException",
    "KMS.KeyUnavailableException",
    "KMS.ThrottlingException",
    "RequestExpired",
    "RequestTimeout",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "SlowDown",
    "Throttling",
    "TokenRefreshRequired",
    "UnrecognizedClientException",
];

/// How often is asked for what may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// As long as it takes.
    Endless,
    /// So many times.
    Tries(u32),
}

/// What the fetches of a source share.
#[derive(Debug)]
pub struct Gate {
    /// For objects that are being had, or were had and are in nobody's hands yet; not for those that wait to be asked
    /// for again.
    room: Semaphore,
    /// Since when nothing could be read, by what one policy speaks of.
    refused: Mutex<HashMap<String, Instant>>,
    forbidden_for: Duration,
}

impl Gate {
    pub fn new(at_once: usize) -> Gate {
        Gate { room: Semaphore::new(at_once), refused: Mutex::default(), forbidden_for: FORBIDDEN_FOR }
    }

    fn refused(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.refused.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// For how long nothing of a place could be read, with a refusal now.
    fn refused_for(&self, place: &str) -> Duration {
        self.refused().entry(place.to_owned()).or_insert_with(Instant::now).elapsed()
    }

    fn let_in(&self, place: &str) {
        self.refused().remove(place);
    }
}

/// What one policy speaks of: what a bucket has of one account, or all that it has.
fn place(object: &S3Object) -> String {
    let key = &object.key;
    let account = below_logs(key).and_then(|below| {
        let parts = below.split_inclusive('/').take(if below.starts_with("o-") { 2 } else { 1 });
        let end = key.len() - below.len() + parts.map(str::len).sum::<usize>();
        key[..end].ends_with('/').then_some(&key[..end])
    });
    format!("s3://{}/{}", object.bucket, account.unwrap_or(""))
}

/// What follows `AWSLogs/`.
pub fn below_logs(key: &str) -> Option<&str> {
    let at = key
        .match_indices("AWSLogs/")
        .map(|(at, _)| at)
        .find(|at| key[..*at].is_empty() || key[..*at].ends_with('/'))?;
    Some(&key[at + "AWSLogs/".len()..])
}

/// The object's bytes, with the room that they take until they are in somebody's hands; or why it cannot be had, after
/// some tries.
pub async fn fetch<'a>(
    buckets: &Buckets,
    object: &S3Object,
    patience: Patience,
    gate: &'a Gate,
) -> Result<(Vec<u8>, SemaphorePermit<'a>), String> {
    fetch_part(buckets, object, None, patience, gate).await
}

/// The bytes of an object that is known to have so many: a large one comes in parts, at once and each with tries of its
/// own, and all of them of what was listed under `etag`.
pub async fn fetch_listed(
    buckets: &Arc<Buckets>,
    object: &S3Object,
    bytes: i64,
    etag: Option<&str>,
    patience: Patience,
) -> Result<Vec<u8>, String> {
    // Whoever lists has its own measure of what is had at once.
    let gate = Arc::new(Gate::new(Semaphore::MAX_PERMITS));
    if bytes <= PART_BYTES {
        return Ok(fetch(buckets, object, patience, &gate).await?.0);
    }
    check_size(bytes)?;
    let mut asking = JoinSet::new();
    let mut parts = BTreeMap::new();
    for first in (0..bytes).step_by(PART_BYTES as usize) {
        let part = Part { first, last: (first + PART_BYTES).min(bytes) - 1, etag: etag.map(str::to_owned) };
        let (buckets, object, gate) = (buckets.clone(), object.clone(), gate.clone());
        asking.spawn(async move {
            let fetched = fetch_part(&buckets, &object, Some(&part), patience, &gate).await;
            (first, fetched.map(|(bytes, _)| bytes))
        });
    }
    while let Some(part) = asking.join_next().await {
        let (first, part) = part.map_err(|error| error.to_string())?;
        parts.insert(first, part?);
    }
    let whole: Vec<u8> = parts.into_values().flatten().collect();
    if whole.len() as i64 != bytes {
        return Err(format!("it was listed with {bytes} bytes and has {}", whole.len()));
    }
    Ok(whole)
}

/// Bytes from the first to the last, of an object that is still what it was.
struct Part {
    first: i64,
    last: i64,
    etag: Option<String>,
}

fn check_size(bytes: i64) -> Result<(), String> {
    if bytes > OBJECT_BYTES_MAX {
        return Err(format!("it has more than {} MiB", OBJECT_BYTES_MAX >> 20));
    }
    Ok(())
}

async fn fetch_part<'a>(
    buckets: &Buckets,
    object: &S3Object,
    part: Option<&Part>,
    patience: Patience,
    gate: &'a Gate,
) -> Result<(Vec<u8>, SemaphorePermit<'a>), String> {
    let (mut tries, mut refusals, mut forbidden, mut forbidden_at) = (0, 0, 0, None);
    let place = place(object);
    let mut region = object.region.clone();
    let mut moved = false;
    loop {
        let client = buckets.client(region.as_deref());
        let asked = client.get_object().bucket(&object.bucket).key(&object.key);
        let asked = asked.set_range(part.map(|part| format!("bytes={}-{}", part.first, part.last)));
        let asked = asked.set_if_match(part.and_then(|part| part.etag.clone()));
        let Ok(asking) = gate.room.acquire().await else { unreachable!("the room is never closed") };
        let error = match asked.send().await {
            Ok(answer) => {
                gate.let_in(&place);
                check_size(answer.content_length().unwrap_or(0))?;
                match answer.body.collect().await {
                    Ok(bytes) => return Ok((bytes.to_vec(), asking)),
                    Err(error) => format!("the answer broke off: {}", aws_sdk_s3::error::DisplayErrorContext(&error)),
                }
            }
            Err(error) => {
                // Once: two Regions that name each other would send us round for ever.
                if !moved && let Some(elsewhere) = elsewhere(&error, region.as_deref()) {
                    (region, moved) = (Some(elsewhere), true);
                    continue;
                }
                let status = error.raw_response().map(|response| response.status().as_u16());
                if is_forbidden(status, error.code()) && patience == Patience::Endless {
                    // Where nothing could be read for so long, the next object has no long wait of its own; and one
                    // that is refused among others that are not waits no longer than they all would.
                    let ours = forbidden_at.get_or_insert_with(Instant::now).elapsed();
                    let refused_for = ours.max(gate.refused_for(&place));
                    forbidden += 1;
                    if forbidden >= TRIES && refused_for >= gate.forbidden_for {
                        let (minutes, error) = (gate.forbidden_for.as_secs() / 60, words(&error));
                        return Err(format!("S3 did not let us read it, or {place}, for {minutes} minutes: {error}"));
                    }
                } else if is_final(status, error.code()) {
                    refusals += 1;
                    if refusals >= TRIES {
                        return Err(format!("S3 refused it {TRIES} times: {}", words(&error)));
                    }
                }
                words(&error)
            }
        };
        drop(asking);
        tries += 1;
        if patience == Patience::Tries(tries) {
            return Err(format!("it could not be had in {tries} tries: {error}"));
        }
        if tries.is_power_of_two() {
            warn!(bucket = %object.bucket, key = %object.key, %error, tries, "an object cannot be had; asking again");
        }
        tokio::time::sleep(backoff(tries)).await;
    }
}

/// One level of a bucket's folders, or all keys below a prefix.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    pub bucket: &'a str,
    pub prefix: &'a str,
    /// Only what stands right below the prefix.
    pub one_level: bool,
    /// Keys after this one.
    pub after: Option<&'a str>,
}

/// What a prefix holds: objects, and folders where one level was asked for.
pub type Level = (Vec<Object>, Vec<String>);

/// Lists, page by page; one that fails is asked for again by itself. `region` is where the bucket is, as far as is
/// known by now.
pub async fn list(
    buckets: &Buckets,
    region: &mut Option<String>,
    ask: Ask<'_>,
    patience: Patience,
) -> Result<Level, String> {
    let (mut objects, mut folders, mut next) = (Vec::new(), Vec::new(), None);
    let (mut moved, mut tries) = (false, 0);
    loop {
        let client = buckets.client(region.as_deref());
        let asked = client.list_objects_v2().bucket(ask.bucket).prefix(ask.prefix);
        let asked = asked.set_start_after(ask.after.map(str::to_owned));
        let asked = asked.set_delimiter(ask.one_level.then(|| "/".to_owned()));
        let error = match asked.set_continuation_token(next.clone()).send().await {
            Ok(page) => {
                folders.extend(page.common_prefixes.unwrap_or_default().into_iter().filter_map(|folder| folder.prefix));
                objects.extend(page.contents.unwrap_or_default());
                next = page.next_continuation_token.filter(|token| !token.is_empty());
                if next.is_none() {
                    return Ok((objects, folders));
                }
                tries = 0;
                continue;
            }
            Err(error) => error,
        };
        if !moved && let Some(elsewhere) = elsewhere(&error, region.as_deref()) {
            (*region, moved) = (Some(elsewhere), true);
            continue;
        }
        tries += 1;
        let error = words(&error);
        if patience == Patience::Tries(tries) {
            return Err(error);
        }
        if tries.is_power_of_two() {
            warn!(bucket = %ask.bucket, prefix = %ask.prefix, %error, tries, "a bucket cannot be listed; asking again");
        }
        tokio::time::sleep(backoff(tries)).await;
    }
}

/// The Region that S3 names where it was asked in another one.
fn elsewhere<E>(error: &SdkError<E, HttpResponse>, region: Option<&str>) -> Option<String> {
    let answer = error.raw_response()?;
    let named = answer.headers().get("x-amz-bucket-region")?;
    (matches!(answer.status().as_u16(), 301 | 307 | 400) && region != Some(named)).then(|| named.to_owned())
}

/// Whether asking again changes nothing: the request itself is at fault, not the service (429 and 408 pass), nor the
/// keys that it was signed with.
pub fn is_final(status: Option<u16>, code: Option<&str>) -> bool {
    matches!(status, Some(400..=407 | 409..=428)) && code.is_none_or(|code| !PASSING.contains(&code))
}

/// Whether who asks is not let in, to the object or to the key that it is encrypted with.
fn is_forbidden(status: Option<u16>, code: Option<&str>) -> bool {
    let by_key = code.is_some_and(|code| code.starts_with("KMS."));
    (by_key || status == Some(403)) && is_final(status, code)
}

/// A service's code and message, or what kept us from reaching it.
pub fn words<E: ProvideErrorMetadata + std::error::Error + 'static, R: std::fmt::Debug>(
    error: &SdkError<E, R>,
) -> String {
    match (error.code(), error.message()) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        _ => aws_sdk_s3::error::DisplayErrorContext(error).to_string(),
    }
}

/// How long until the next try.
pub fn backoff(failures: u32) -> Duration {
    live::backoff(failures, BACKOFF, BACKOFF_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::stand_in::StandIn;

    fn object(key: &str) -> S3Object {
        S3Object { bucket: "b".to_owned(), key: key.to_owned(), region: None }
    }

    #[test]
    fn a_policy_speaks_of_an_account_or_of_a_bucket() {
        for (key, expected) in [
            ("AWSLogs/1/CloudTrail/x/2026/03/04/f.gz", "AWSLogs/1/"),
            ("x/AWSLogs/o-9/1/CloudTrail/x/f.gz", "x/AWSLogs/o-9/1/"),
            ("myAWSLogs/1/f.gz", ""),
            ("AWSLogs/f.gz", ""),
            ("AWSLogs/o-9/f.gz", ""),
            ("f.gz", ""),
        ] {
            assert_eq!(place(&object(key)), format!("s3://b/{expected}"), "{key}");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_account_that_lets_nobody_in_is_waited_for_once() {
        let stand_in = StandIn::start().await;
        let buckets = stand_in.buckets().await;
        let mut gate = Gate::new(2);
        gate.forbidden_for = Duration::from_secs(4);
        stand_in.refuse(usize::MAX, |asked| asked.key.starts_with("AWSLogs/1/"));
        stand_in.put("AWSLogs/2/there");
        let tries = |key: &str| stand_in.asked().iter().filter(|asked| asked.key == key).count() as u32;
        let fetch = async |key: &str| fetch(&buckets, &object(key), Patience::Endless, &gate).await.map(drop);
        let waited = async |key: &str| {
            let began = Instant::now();
            assert!(fetch(key).await.is_err_and(|reason| reason.contains("AccessDenied")), "{key}");
            began.elapsed()
        };
        assert!(waited("AWSLogs/1/first").await >= gate.forbidden_for);
        assert!(tries("AWSLogs/1/first") > TRIES);
        // Others of it are asked for a few times; another account is none of it.
        waited("AWSLogs/1/second").await;
        assert_eq!(tries("AWSLogs/1/second"), TRIES);
        fetch("AWSLogs/2/there").await.expect("another account");
        fetch("AWSLogs/2/missing").await.expect_err("another account");
        assert_eq!(tries("AWSLogs/2/missing"), TRIES);
        // Once one of it was read, there is reason to wait again.
        stand_in.refuse(usize::MAX, |asked| asked.key.ends_with("third"));
        stand_in.put("AWSLogs/1/there");
        fetch("AWSLogs/1/there").await.expect("let in");
        assert!(waited("AWSLogs/1/third").await >= gate.forbidden_for);
        assert!(tries("AWSLogs/1/third") > TRIES);
    }

    #[test]
    fn whoever_is_not_let_in_is_told_from_what_is_not_there() {
        for (status, code, expected) in [
            (403, Some("AccessDenied"), true),
            (403, None, true),
            (400, Some("KMS.DisabledException"), true),
            (403, Some("ExpiredToken"), false),
            (404, Some("NoSuchKey"), false),
            (500, Some("InternalError"), false),
            (400, Some("KMS.ThrottlingException"), false),
            (400, Some("KMS.DependencyTimeoutException"), false),
            (503, Some("KMS.DisabledException"), false),
            (500, Some("KMS.Whatever"), false),
        ] {
            assert_eq!(is_forbidden(Some(status), code), expected, "{status} {code:?}");
        }
    }

    #[test]
    fn keys_that_ran_out_are_no_fault_of_the_object() {
        for (status, code, expected) in [
            (403, Some("AccessDenied"), true),
            (404, Some("NoSuchKey"), true),
            (404, None, true),
            (400, Some("ExpiredToken"), false),
            (403, Some("ExpiredToken"), false),
            (403, Some("RequestTimeTooSkewed"), false),
            (403, Some("InvalidAccessKeyId"), false),
            (400, Some("RequestTimeout"), false),
            (408, None, false),
            (429, None, false),
            (503, Some("SlowDown"), false),
            (500, None, false),
        ] {
            assert_eq!(is_final(Some(status), code), expected, "{status} {code:?}");
        }
        assert!(!is_final(None, None));
    }

    #[test]
    fn waits_grow_and_end_growing() {
        for failures in [1, 2, 5, 10, 1_000, u32::MAX] {
            let most = BACKOFF.saturating_mul(1 << failures.min(10)).min(BACKOFF_MAX);
            let wait = backoff(failures);
            assert!(wait >= most / 2 && wait <= most, "{failures}: {wait:?}");
        }
    }
}
