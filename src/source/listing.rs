//! Objects found by listing a bucket, for trails without a queue: the folders of accounts, Regions and days are looked
//! through again and again, and what is new is fetched. A key that appears late is found with the next look at its
//! whole day. Knows the layout of a trail's keys; no record.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::aws::Buckets;
use super::bucket::{Ask, Patience, backoff, fetch, list};
use super::live::{Feed, Line, now_s};
use super::notification::S3Object;
use crate::event::{Kind, MINUTES_PER_DAY, Minute, ObjectName};

/// How often the newest keys are looked for, and how often whole days are.
const EVERY: Duration = Duration::from_secs(30);
const WHOLE_EVERY: Duration = Duration::from_secs(15 * 60);

/// How often new accounts and Regions are looked for.
const FOLDERS_EVERY: Duration = Duration::from_secs(15 * 60);

/// Keys are named by the minute of delivery; a quick look goes back so far.
const QUICK_MINUTES: i64 = 60;

/// Keys may appear so many days late.
const LATE_DAYS: i64 = 2;

/// Objects fetched at once.
const FETCHES: usize = 16;

/// Folders below `AWSLogs/`: organisation, account, kind, Region.
const DEPTH: usize = 4;

pub struct Listing {
    buckets: Arc<Buckets>,
    bucket: String,
    /// Where the bucket is, as far as S3 has told.
    region: Option<String>,
    /// Empty, or ending in `/`; `AWSLogs/` follows it.
    prefix: String,
    /// Days before it are not looked at.
    since: Minute,
}

/// `s3://BUCKET/PREFIX` in two parts; the second is empty, or ends in `/`.
pub fn place(url: &str) -> Option<(String, String)> {
    let (bucket, path) = url.strip_prefix("s3://")?.split_once('/').unwrap_or((url.strip_prefix("s3://")?, ""));
    let prefix = path.trim_matches('/');
    let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
    (!bucket.is_empty()).then(|| (bucket.to_owned(), prefix))
}

/// A trail's place: what stands before `AWSLogs/`, which may be named too. Or what is wrong with it.
pub fn trail(url: &str) -> Result<(String, String), String> {
    let (bucket, prefix) = place(url).ok_or_else(|| format!("{url}: not like s3://BUCKET/PREFIX"))?;
    match prefix.rsplit_once("AWSLogs/") {
        Some((before, "")) if before.is_empty() || before.ends_with('/') => Ok((bucket, before.to_owned())),
        Some((before, below)) if before.is_empty() || before.ends_with('/') => Err(format!(
            "{url}: name the bucket and what stands before AWSLogs; instead of {below} narrow with accounts and regions"
        )),
        _ => Ok((bucket, prefix)),
    }
}

impl Listing {
    pub async fn new(
        (bucket, prefix): (String, String),
        region: Option<&str>,
        role_arn: Option<&str>,
        since: Minute,
    ) -> Listing {
        let config = super::aws::config(region, role_arn).await;
        let buckets = Arc::new(Buckets::new(config));
        Listing { buckets, bucket, region: None, prefix, since }
    }

    /// Runs until told to stop.
    pub async fn run(mut self, line: Line) {
        let mut folders: Vec<String> = Vec::new();
        let (mut folders_at, mut whole_at) = (None::<Instant>, None::<Instant>);
        // By day since 1970: what was handed over.
        let mut known: BTreeMap<i64, HashSet<String>> = BTreeMap::new();
        let (mut ticket, mut failures) = (0, 0);
        let due = |at: Option<Instant>, every: Duration| at.is_none_or(|at| at.elapsed() >= every);
        while !line.stop.is_cancelled() {
            let second = now_s();
            let whole = due(whole_at, WHOLE_EVERY);
            let looked = async {
                if due(folders_at, FOLDERS_EVERY) {
                    folders = self.folders().await?;
                    folders_at = Some(Instant::now());
                    info!(bucket = %self.bucket, folders = folders.len(), "accounts and Regions of the trail");
                }
                self.look(&folders, whole.then(|| self.first_day(whole_at.is_none(), second)), second).await
            };
            let wait = match looked.await {
                Ok(keys) => {
                    failures = 0;
                    if whole {
                        whole_at = Some(Instant::now());
                    }
                    let day = |key: &str| ObjectName::parse(key).delivered.map_or(0, Minute::day);
                    let fresh = keys.into_iter().filter(|key| known.entry(day(key)).or_default().insert(key.clone()));
                    let fresh: BTreeSet<String> = fresh.collect();
                    if !self.hand_over(fresh, &line, &mut ticket).await {
                        return;
                    }
                    // Later looks do not reach further back.
                    known = known.split_off(&self.first_day(false, second));
                    if !line.say(Feed::Drained { second }).await {
                        return;
                    }
                    EVERY
                }
                Err(error) => {
                    failures += 1;
                    warn!(bucket = %self.bucket, %error, "the bucket cannot be listed; trying again");
                    backoff(failures)
                }
            };
            tokio::select! {
                () = line.stop.cancelled() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// The first day of a look at whole days: all that was asked for at first, then what may still get late keys.
    fn first_day(&self, first: bool, second: i64) -> i64 {
        let since = self.since.day().max(0);
        if first { since } else { since.max(Minute::of_second(second).day() - LATE_DAYS) }
    }

    /// Fetches objects, some at once, and hands them over; false once nobody listens.
    async fn hand_over(&self, keys: BTreeSet<String>, line: &Line, ticket: &mut u64) -> bool {
        let mut keys = keys.into_iter();
        let mut fetches = JoinSet::new();
        let room = Arc::new(Semaphore::new(FETCHES));
        loop {
            while fetches.len() < FETCHES
                && !line.stop.is_cancelled()
                && let Some(key) = keys.next()
            {
                let (buckets, bucket, region) = (self.buckets.clone(), self.bucket.clone(), self.region.clone());
                let room = room.clone();
                fetches.spawn(async move {
                    let object = S3Object { bucket, key, region };
                    let fetched = fetch(&buckets, &object, Patience::Endless, &room).await;
                    (object, fetched)
                });
            }
            let Some(fetched) = fetches.join_next().await else { return true };
            let Ok((object, fetched)) = fetched else { continue };
            *ticket += 1;
            let feed = match fetched {
                Ok(bytes) => Feed::Delivery { ticket: *ticket, name: object.key, bytes },
                Err(reason) => {
                    let name = format!("s3://{}/{}", object.bucket, object.key);
                    Feed::Parked { ticket: *ticket, name, reason }
                }
            };
            if !line.say(feed).await {
                return false;
            }
        }
    }

    /// The folders that hold years: `AWSLogs/[o-ID/]ACCOUNT/CloudTrail/REGION/`.
    async fn folders(&mut self) -> Result<Vec<String>, String> {
        let mut level = vec![format!("{}AWSLogs/", self.prefix)];
        let mut found = Vec::new();
        for _ in 0..DEPTH {
            let mut next = Vec::new();
            for folder in &level {
                for below in self.below(folder).await? {
                    let name = below.trim_end_matches('/').rsplit('/').next().unwrap_or("");
                    let parent = folder.trim_end_matches('/').rsplit('/').next().unwrap_or("");
                    let is_account = name.len() == 12 && name.bytes().all(|byte| byte.is_ascii_digit());
                    match (parent, name) {
                        ("CloudTrail", _) => found.push(below),
                        (_, "CloudTrail") => next.push(below),
                        ("AWSLogs", name) if is_account || name.starts_with("o-") => next.push(below),
                        (parent, _) if parent.starts_with("o-") && is_account => next.push(below),
                        _ => {}
                    }
                }
            }
            level = next;
        }
        found.sort();
        Ok(found)
    }

    async fn below(&mut self, folder: &str) -> Result<Vec<String>, String> {
        let ask = Ask { bucket: &self.bucket, prefix: folder, one_level: true, after: None };
        Ok(list(&self.buckets, &mut self.region, ask).await?.1)
    }

    /// Keys: of whole days from one on, or of the last hour.
    async fn look(&mut self, folders: &[String], whole_from: Option<i64>, second: i64) -> Result<Vec<String>, String> {
        let now = Minute::of_second(second);
        let first_day = whole_from.unwrap_or(Minute(now.0 - QUICK_MINUTES).day());
        let mut keys = Vec::new();
        for folder in folders {
            for day in first_day..=now.day() {
                let date = Minute(day * MINUTES_PER_DAY).to_string();
                let days = format!("{folder}{}/", date[..10].replace('-', "/"));
                // ACCOUNT_CloudTrail_REGION_20260304T1405Z_...: in the order of time.
                let from = Minute(now.0 - QUICK_MINUTES).to_string();
                let mut parts = folder.trim_end_matches('/').rsplit('/');
                let (region, account) = (parts.next().unwrap_or(""), parts.nth(1).unwrap_or(""));
                let stamp: String = from[..16].chars().filter(|letter| !matches!(letter, '-' | ':')).collect();
                let after = whole_from.is_none().then(|| format!("{days}{account}_CloudTrail_{region}_{stamp}"));
                let ask = Ask { bucket: &self.bucket, prefix: &days, one_level: false, after: after.as_deref() };
                let (objects, _) = list(&self.buckets, &mut self.region, ask).await?;
                keys.extend(objects.into_iter().filter_map(|object| object.key));
            }
        }
        keys.retain(|key| ObjectName::parse(key).kind == Kind::CloudTrail && key.ends_with(".gz"));
        Ok(keys)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_bucket_and_prefix() {
        let parsed = |url| trail(url).map(|(bucket, prefix)| format!("{bucket} {prefix}")).ok();
        for (url, expected) in [
            ("s3://b", Some("b ")),
            ("s3://b/", Some("b ")),
            ("s3://b/AWSLogs/123456789012/", None),
            ("s3://b/AWSLogs/", Some("b ")),
            ("s3://b/myAWSLogs/x/AWSLogs/", Some("b myAWSLogs/x/")),
            ("s3://b/logs/", Some("b logs/")),
            ("s3://b/logs/AWSLogs", Some("b logs/")),
            ("s3://b/myAWSLogs", Some("b myAWSLogs/")),
            ("s3:///x", None),
            ("/b", None),
        ] {
            assert_eq!(parsed(url).as_deref(), expected, "{url}");
        }
        assert_eq!(place("s3://b/AWSLogs/x"), Some(("b".to_owned(), "AWSLogs/x/".to_owned())));
    }
}
