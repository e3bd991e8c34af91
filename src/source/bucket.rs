//! What a bucket is asked: its keys, and one object. Finds out the bucket's Region by S3's own answer, asks again for
//! whatever may pass, and tells that from what will not. Knows no queue, and not what is in an object.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::Object;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::warn;

use super::aws::Buckets;
use super::live;
use super::notification::S3Object;

/// An object that is not there is asked for so often: names may be late.
const TRIES: u32 = 4;

/// Whoever does not let us in is asked for so long: most such policies are mistakes that somebody mends.
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
const PASSING: [&str; 16] = [
    "AccountProblem",
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidToken",
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

/// The object's bytes; or why it cannot be had, after some tries. Only what is being had takes `room`, not what waits.
pub async fn fetch(
    buckets: &Buckets,
    object: &S3Object,
    patience: Patience,
    room: &Semaphore,
) -> Result<Vec<u8>, String> {
    fetch_part(buckets, object, None, patience, room).await
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
    let room = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
    if bytes <= PART_BYTES {
        return fetch(buckets, object, patience, &room).await;
    }
    check_size(bytes)?;
    let mut asking = JoinSet::new();
    let mut parts = BTreeMap::new();
    for first in (0..bytes).step_by(PART_BYTES as usize) {
        let part = Part { first, last: (first + PART_BYTES).min(bytes) - 1, etag: etag.map(str::to_owned) };
        let (buckets, object, room) = (buckets.clone(), object.clone(), room.clone());
        asking.spawn(async move { (first, fetch_part(&buckets, &object, Some(&part), patience, &room).await) });
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

async fn fetch_part(
    buckets: &Buckets,
    object: &S3Object,
    part: Option<&Part>,
    patience: Patience,
    room: &Semaphore,
) -> Result<Vec<u8>, String> {
    let (mut tries, mut refusals, mut forbidden_at) = (0, 0, None);
    let mut region = object.region.clone();
    let mut moved = false;
    loop {
        let client = buckets.client(region.as_deref());
        let asked = client.get_object().bucket(&object.bucket).key(&object.key);
        let asked = asked.set_range(part.map(|part| format!("bytes={}-{}", part.first, part.last)));
        let asked = asked.set_if_match(part.and_then(|part| part.etag.clone()));
        // Never closed.
        let asking = room.acquire().await;
        let error = match asked.send().await {
            Ok(answer) => {
                check_size(answer.content_length().unwrap_or(0))?;
                match answer.body.collect().await {
                    Ok(bytes) => return Ok(bytes.to_vec()),
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
                    if forbidden_at.get_or_insert_with(Instant::now).elapsed() >= FORBIDDEN_FOR {
                        let minutes = FORBIDDEN_FOR.as_secs() / 60;
                        return Err(format!("S3 did not let us read it for {minutes} minutes: {}", words(&error)));
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

/// Lists; `region` is where the bucket is, as far as is known by now.
pub async fn list(buckets: &Buckets, region: &mut Option<String>, ask: Ask<'_>) -> Result<Level, String> {
    let mut moved = false;
    'again: loop {
        let client = buckets.client(region.as_deref());
        let asked = client.list_objects_v2().bucket(ask.bucket).prefix(ask.prefix);
        let asked = asked.set_start_after(ask.after.map(str::to_owned));
        let asked = asked.set_delimiter(ask.one_level.then(|| "/".to_owned()));
        let mut pages = asked.into_paginator().send();
        let (mut objects, mut folders) = (Vec::new(), Vec::new());
        while let Some(page) = pages.next().await {
            let page = match page {
                Ok(page) => page,
                Err(error) => {
                    if !moved && let Some(elsewhere) = elsewhere(&error, region.as_deref()) {
                        (*region, moved) = (Some(elsewhere), true);
                        continue 'again;
                    }
                    return Err(words(&error));
                }
            };
            folders.extend(page.common_prefixes.unwrap_or_default().into_iter().filter_map(|folder| folder.prefix));
            objects.extend(page.contents.unwrap_or_default());
        }
        return Ok((objects, folders));
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
    by_key || (status == Some(403) && is_final(status, code))
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

    #[test]
    fn whoever_is_not_let_in_is_told_from_what_is_not_there() {
        for (status, code, expected) in [
            (403, Some("AccessDenied"), true),
            (403, None, true),
            (400, Some("KMS.DisabledException"), true),
            (403, Some("ExpiredToken"), false),
            (404, Some("NoSuchKey"), false),
            (500, Some("InternalError"), false),
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
