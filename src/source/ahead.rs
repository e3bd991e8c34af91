//! Buckets as input of a scan: lists what a trail has of some days, accounts and Regions, and fetches objects ahead of
//! whoever reads them, in the same order: some at once, and never more bytes than a bound. Knows names and sizes; not
//! what is in an object.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::{fmt, io};

use tokio::runtime::Runtime;
use tokio::task::{JoinHandle, JoinSet};

use super::aws::{self, Buckets};
use super::bucket::{Ask, Patience, below_logs, fetch_listed, list};
use super::notification::S3Object;
use super::{ENDINGS, SourceError};
use crate::event::{MINUTES_PER_DAY, Minute, ObjectName};

/// Objects on their way or waiting to be read, and the bytes they may have together: a reader takes milliseconds for
/// what takes S3 tens of them, and one object may have many MiB.
const AHEAD_MAX: usize = 64;
const AHEAD_BYTES_MAX: i64 = 256 << 20;

/// Prefixes listed at once.
const LISTS: usize = 16;

/// How often is asked for an object before it counts as unreadable: some two minutes.
const PATIENCE: Patience = Patience::Tries(10);

/// Somebody waits for a list, and sees at once why there is none.
const LIST_PATIENCE: Patience = Patience::Tries(1);

/// Which part of a trail is listed, as its keys tell it. What a key does not tell is not left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Days of delivery since 1970, both included.
    pub first_day: Option<i64>,
    pub last_day: Option<i64>,
    /// Empty: all.
    pub accounts: Vec<String>,
    pub regions: Vec<String>,
    pub role_arn: Option<String>,
}

impl Part {
    /// Whether something below a folder, which ends in `/`, may be asked for.
    fn may_hold(&self, folder: &str) -> bool {
        let mut parts = below_logs(folder).unwrap_or("").split_terminator('/').peekable();
        parts.next_if(|part| part.starts_with("o-"));
        let account = parts.next();
        let (_kind, region) = (parts.next(), parts.next());
        let date: Vec<i64> = parts.map_while(|part| part.parse().ok()).take(3).collect();
        account.is_none_or(|account| named(&self.accounts, account))
            && region.is_none_or(|region| named(&self.regions, region))
            && self.may_hold_date(&date)
    }

    /// A year, a year and a month, or a whole date: by its first and its last day.
    fn may_hold_date(&self, date: &[i64]) -> bool {
        let day = |year: i64, month: i64, day: i64| -> Option<i64> {
            let date =
                chrono::NaiveDate::from_ymd_opt(year.try_into().ok()?, month.try_into().ok()?, day.try_into().ok()?)?;
            Some(date.signed_duration_since(chrono::NaiveDate::default()).num_days())
        };
        let span = match *date {
            [year] => day(year, 1, 1).zip(day(year, 12, 31)),
            [year, month] => day(year, month, 1).map(|first| (first, first + 30)),
            [year, month, number] => day(year, month, number).map(|only| (only, only)),
            _ => None,
        };
        // What is no date is looked through.
        span.is_none_or(|(first, last)| {
            self.first_day.is_none_or(|from| last >= from) && self.last_day.is_none_or(|to| first <= to)
        })
    }

    fn holds(&self, key: &str) -> bool {
        let name = ObjectName::parse(key);
        let day = name.delivered.map(Minute::day);
        (name.account.is_empty() || named(&self.accounts, name.account))
            && (name.region.is_empty() || named(&self.regions, name.region))
            && day.is_none_or(|day| {
                self.first_day.is_none_or(|from| day >= from) && self.last_day.is_none_or(|to| day <= to)
            })
    }

    /// Whether a folder's own folders tell enough apart to be listed one by one.
    fn divides(&self, folder: &str) -> bool {
        let dated = self.first_day.is_some() || self.last_day.is_some();
        let Some(below) = below_logs(folder) else { return folder.is_empty() || !folder.contains("AWSLogs/") };
        let depth = below.split_terminator('/').filter(|part| !part.starts_with("o-")).count();
        // Account, kind, Region; then year, month and day.
        depth < if dated { 6 } else { 3 }
    }
}

fn named(list: &[String], name: &str) -> bool {
    list.is_empty() || list.iter().any(|item| item == name)
}

/// A key in a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    object: S3Object,
    bytes: i64,
    etag: Option<String>,
}

impl Key {
    /// As messages show it.
    pub fn name(&self) -> String {
        format!("s3://{}/{}", self.object.bucket, self.object.key)
    }
}

/// Objects in the order in which they will be read.
pub struct Ahead {
    runtime: Runtime,
    buckets: Arc<Buckets>,
    keys: Vec<Key>,
    flying: Mutex<Flying>,
}

#[derive(Default)]
struct Flying {
    /// By place.
    fetches: HashMap<usize, JoinHandle<Result<Vec<u8>, String>>>,
    /// All before it were begun.
    begun: usize,
    bytes: i64,
}

impl fmt::Debug for Ahead {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "{} objects", self.keys.len())
    }
}

/// A bucket and a prefix.
fn place(url: &str) -> Option<(&str, &str)> {
    let path = url.strip_prefix("s3://")?;
    let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
    (!bucket.is_empty()).then_some((bucket, prefix))
}

impl Ahead {
    /// Lists buckets and prefixes. Objects follow in the order of delivery and name; what is no log by its ending is
    /// counted.
    pub fn list(urls: &[&str], part: &Part) -> Result<(Ahead, u64), SourceError> {
        let failed = |path: &str, reason: String| SourceError::List { path: path.to_owned(), reason };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.map_err(|error| failed("a bucket", error.to_string()))?;
        let config = runtime.block_on(aws::config(None, part.role_arn.as_deref()));
        let buckets = Arc::new(Buckets::new(config));
        let (mut keys, mut other_files) = (Vec::new(), 0);
        for url in urls {
            let (bucket, prefix) = place(url).ok_or_else(|| failed(url, "not like s3://BUCKET/PREFIX".to_owned()))?;
            let listed = runtime.block_on(list_all(&buckets, bucket, prefix, part));
            let (found, others) = listed.map_err(|reason| failed(url, reason))?;
            if found.is_empty() {
                let reason = "there is no log file, or none of these days, accounts and Regions".to_owned();
                return Err(failed(url, reason));
            }
            keys.extend(found);
            other_files += others;
        }
        keys.sort_by_cached_key(|key: &Key| (ObjectName::parse(&key.object.key).delivered, key.name()));
        keys.dedup_by(|a, b| a.name() == b.name());
        Ok((Ahead { runtime, buckets, keys, flying: Mutex::default() }, other_files))
    }

    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// The object at a place. Those that follow are begun, as far as there is room: who reads slowly is not outrun.
    pub fn read(&self, place: usize, buffer: &mut Vec<u8>) -> io::Result<()> {
        let missing = || io::Error::other("it was not listed");
        let bytes = self.keys.get(place).ok_or_else(missing)?.bytes;
        let fetch = {
            let mut flying = self.flying.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            // What is asked for now is begun whatever the room: somebody waits for it.
            let ours = flying.fetches.remove(&place).unwrap_or_else(|| {
                flying.bytes += bytes;
                self.begin(place)
            });
            flying.begun = flying.begun.max(place + 1);
            while flying.fetches.len() < AHEAD_MAX
                && let Some(next) = self.keys.get(flying.begun)
                && flying.bytes + next.bytes <= AHEAD_BYTES_MAX
            {
                let begun = flying.begun;
                flying.bytes += next.bytes;
                flying.fetches.insert(begun, self.begin(begun));
                flying.begun += 1;
            }
            ours
        };
        let fetched = self.runtime.block_on(fetch);
        self.flying.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).bytes -= bytes;
        *buffer = fetched.map_err(io::Error::other)?.map_err(io::Error::other)?;
        Ok(())
    }

    fn begin(&self, place: usize) -> JoinHandle<Result<Vec<u8>, String>> {
        let (buckets, key) = (self.buckets.clone(), self.keys[place].clone());
        self.runtime
            .spawn(async move { fetch_listed(&buckets, &key.object, key.bytes, key.etag.as_deref(), PATIENCE).await })
    }
}

/// What is right below a prefix that tells nothing apart, or its folders one by one.
async fn list_all(buckets: &Arc<Buckets>, bucket: &str, prefix: &str, part: &Part) -> Result<(Vec<Key>, u64), String> {
    // Named by the user: one object, whatever it is called, or a folder.
    let mut region = None;
    let named = Ask { bucket, prefix, one_level: true, after: None };
    let (objects, _) = list(buckets, &mut region, named, LIST_PATIENCE).await?;
    let one = objects.iter().find(|object| !prefix.is_empty() && object.key() == Some(prefix));
    if let Some(one) = one.filter(|_| !prefix.ends_with('/')) {
        let object = S3Object { bucket: bucket.to_owned(), key: prefix.to_owned(), region };
        return Ok((vec![Key { object, bytes: one.size().unwrap_or(0), etag: one.e_tag().map(str::to_owned) }], 0));
    }
    let root = if prefix.is_empty() || prefix.ends_with('/') { prefix.to_owned() } else { format!("{prefix}/") };
    let (mut waiting, mut asking) = (vec![root], JoinSet::new());
    let (mut keys, mut other_files) = (Vec::new(), 0);
    loop {
        while asking.len() < LISTS
            && let Some(prefix) = waiting.pop()
        {
            let (buckets, bucket, mut region) = (buckets.clone(), bucket.to_owned(), region.clone());
            let one_level = part.divides(&prefix);
            asking.spawn(async move {
                let ask = Ask { bucket: &bucket, prefix: &prefix, one_level, after: None };
                list(&buckets, &mut region, ask, LIST_PATIENCE).await.map_err(|reason| format!("{prefix}: {reason}"))
            });
        }
        let Some(listed) = asking.join_next().await else { break };
        let (objects, folders) = listed.map_err(|error| error.to_string())??;
        waiting.extend(folders.into_iter().filter(|folder| part.may_hold(folder)));
        for object in objects {
            let Some(key) = object.key.filter(|key| !key.ends_with('/')) else { continue };
            if !ENDINGS.iter().any(|ending| key.ends_with(ending)) {
                other_files += 1;
            } else if part.holds(&key) {
                let (object_bytes, object_etag) = (object.size.unwrap_or(0).max(0), object.e_tag);
                let object = S3Object { bucket: bucket.to_owned(), key, region: region.clone() };
                keys.push(Key { object, bytes: object_bytes, etag: object_etag });
            }
        }
    }
    Ok((keys, other_files))
}

/// Days of delivery whose objects may hold an event that counts: from one time on, and before another. An object is
/// delivered after its events, but for clocks that differ by an hour; what it holds from before its day minus the
/// lateness is late, and counts for nothing.
pub fn days(from: Option<Minute>, to: Option<Minute>, lateness_minutes: i64) -> (Option<i64>, Option<i64>) {
    const CLOCKS_MINUTES: i64 = 60;
    let first = from.map(|from| Minute(from.0.saturating_sub(CLOCKS_MINUTES)).day());
    let last = to.map(|to| Minute(to.0.saturating_add(lateness_minutes).saturating_add(MINUTES_PER_DAY)).day());
    (first, last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn march() -> Part {
        let day = |text: &str| text.parse::<chrono::NaiveDate>().expect("a date");
        let since_1970 = |text: &str| (day(text) - chrono::NaiveDate::default()).num_days();
        Part {
            first_day: Some(since_1970("2026-03-04")),
            last_day: Some(since_1970("2026-03-31")),
            accounts: vec!["111122223333".to_owned()],
            regions: vec!["eu-west-1".to_owned()],
            role_arn: None,
        }
    }

    #[test]
    fn folders_are_left_out_by_what_they_tell() {
        let part = march();
        for (folder, expected) in [
            ("AWSLogs/", true),
            ("x/AWSLogs/111122223333/", true),
            ("AWSLogs/444455556666/", false),
            ("AWSLogs/o-1/444455556666/", false),
            ("AWSLogs/o-1/111122223333/CloudTrail/eu-west-1/", true),
            ("AWSLogs/111122223333/CloudTrail/us-east-1/", false),
            ("AWSLogs/111122223333/CloudTrail/eu-west-1/2025/", false),
            ("AWSLogs/111122223333/CloudTrail/eu-west-1/2026/", true),
            ("AWSLogs/111122223333/CloudTrail/eu-west-1/2026/02/", false),
            ("AWSLogs/111122223333/CloudTrail/eu-west-1/2026/03/", true),
            ("AWSLogs/111122223333/CloudTrail/eu-west-1/2026/03/03/", false),
            ("AWSLogs/111122223333/CloudTrail/eu-west-1/2026/03/04/", true),
            ("AWSLogs/111122223333/CloudTrail/eu-west-1/2026/13/99/", true),
            ("AWSLogs/111122223333/CloudTrail/eu-west-1/99999999999999/", true),
            ("other/2025/", true),
        ] {
            assert_eq!(part.may_hold(folder), expected, "{folder}");
        }
        assert!(Part::default().may_hold("AWSLogs/444455556666/CloudTrail/x/1999/"));
    }

    #[test]
    fn a_trail_is_divided_as_far_as_it_helps() {
        let divided = |folder| (Part::default().divides(folder), march().divides(folder));
        assert_eq!(divided(""), (true, true));
        assert_eq!(divided("AWSLogs/1/CloudTrail/"), (true, true));
        assert_eq!(divided("AWSLogs/o-1/1/CloudTrail/"), (true, true));
        assert_eq!(divided("AWSLogs/1/CloudTrail/eu-west-1/"), (false, true));
        assert_eq!(divided("AWSLogs/1/CloudTrail/eu-west-1/2026/03/"), (false, true));
        assert_eq!(divided("AWSLogs/1/CloudTrail/eu-west-1/2026/03/04/"), (false, false));
    }

    #[test]
    fn days_around_a_span_are_listed_too() {
        let minute = |day: i64| Minute(day * MINUTES_PER_DAY);
        assert_eq!(days(Some(minute(10)), Some(minute(12)), MINUTES_PER_DAY), (Some(9), Some(14)));
        assert_eq!(days(None, None, MINUTES_PER_DAY), (None, None));
        assert!(days(Some(Minute(i64::MIN)), Some(Minute(i64::MAX)), 1).0.is_some());
    }

    #[test]
    fn urls() {
        assert_eq!(place("s3://b"), Some(("b", "")));
        assert_eq!(place("s3://b/x/y"), Some(("b", "x/y")));
        assert_eq!(place("s3:///x"), None);
    }
}
