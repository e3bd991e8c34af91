//! Objects found by listing a bucket, for trails without a queue: the folders of accounts, Regions and days are looked
//! through again and again, one day of all folders after another, and what is new is fetched. A key that appears late
//! is found with the next look at its whole day. Knows the layout of a trail's keys; no record.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tracing::info;

use super::aws::Buckets;
use super::bucket::{Ask, Gate, Level, Patience, fetch, list};
use super::live::{Feed, Line, now_s};
use super::notification::S3Object;
use crate::event::{Kind, MINUTES_PER_DAY, Minute, ObjectName};

/// How often the newest keys are looked for, in new accounts and Regions too; and how often whole days are.
const EVERY: Duration = Duration::from_secs(30);
const WHOLE_EVERY: Duration = Duration::from_secs(15 * 60);

/// Keys are named by the minute of delivery; a quick look goes back so far. A bucket that holds nothing more is said to
/// hold no key that is to appear later than that: time would stand still for a quarter of an hour for all the others.
const QUICK_MINUTES: i64 = 60;

/// Keys may appear so many days late.
const LATE_DAYS: i64 = 2;

/// Objects fetched at once, and prefixes listed.
const FETCHES: usize = 16;
const LISTS: usize = 16;

pub struct Listing {
    buckets: Arc<Buckets>,
    gate: Arc<Gate>,
    bucket: String,
    /// Where the bucket is, as far as S3 has told.
    region: Option<String>,
    /// Empty, or ending in `/`; `AWSLogs/` follows it.
    prefix: String,
    /// Days before it are not looked at.
    since: Minute,
    every: Duration,
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
        Listing::of(Buckets::new(config), (bucket, prefix), since)
    }

    fn of(buckets: Buckets, (bucket, prefix): (String, String), since: Minute) -> Listing {
        let (buckets, gate) = (Arc::new(buckets), Arc::new(Gate::new(FETCHES)));
        Listing { buckets, gate, bucket, region: None, prefix, since, every: EVERY }
    }

    /// Runs until told to stop.
    pub async fn run(mut self, mut line: Line) {
        // What is not safe is listed again.
        line.safe.close();
        tokio::select! {
            () = line.stop.cancelled() => {}
            () = self.look_on(&line) => {}
        }
    }

    /// Looks until nobody listens.
    async fn look_on(&mut self, line: &Line) {
        // When the last look at whole days began; where the next one begins.
        let (mut whole_at, mut whole_from) = (None::<Instant>, self.since.day().max(0));
        // By day since 1970: what was handed over, of days that the next look at whole days reaches back to.
        let mut known: BTreeMap<i64, HashSet<String>> = BTreeMap::new();
        let (mut ticket, mut told, mut folders_told) = (0, i64::MIN, None);
        loop {
            let (second, began) = (now_s(), Instant::now());
            let folders = self.folders().await;
            if folders_told.replace(folders.len()) != Some(folders.len()) {
                info!(bucket = %self.bucket, folders = folders.len(), "accounts and Regions of the trail");
            }
            let now = Minute::of_second(second);
            let late_from = whole_from.max(now.day() - LATE_DAYS);
            let after = Minute(now.0 - QUICK_MINUTES);
            let whole = whole_at.is_none_or(|at| at.elapsed() >= WHOLE_EVERY);
            let first_day = if whole { whole_from } else { late_from.max(after.day()) };
            // The past may be long: one day of it is in hand, the oldest first, and time goes on with each.
            for day in first_day..=now.day() {
                let mut keys = self.keys(&folders, day, (!whole).then_some(after)).await;
                let of_day = known.entry(day).or_default();
                keys.retain(|key| of_day.insert(key.clone()));
                if !self.hand_over(keys, line, &mut ticket).await {
                    return;
                }
                if day < late_from {
                    known.remove(&day);
                }
                let end = (day + 1) * MINUTES_PER_DAY * 60 - 1;
                if end < second && !tell_drained(line, end, &mut told).await {
                    return;
                }
            }
            if !tell_drained(line, second, &mut told).await {
                return;
            }
            if whole {
                (whole_at, whole_from) = (Some(began), late_from);
            }
            tokio::time::sleep(self.every).await;
        }
    }

    /// Fetches objects, some at once, and hands them over; false once nobody listens.
    async fn hand_over(&self, keys: Vec<String>, line: &Line, ticket: &mut u64) -> bool {
        let mut keys = keys.into_iter();
        let mut fetches = JoinSet::new();
        loop {
            while fetches.len() < FETCHES
                && let Some(key) = keys.next()
            {
                let (buckets, bucket, region) = (self.buckets.clone(), self.bucket.clone(), self.region.clone());
                let gate = self.gate.clone();
                fetches.spawn(async move {
                    let object = S3Object { bucket, key, region };
                    let fetched = fetch(&buckets, &object, Patience::Endless, &gate).await.map(|(bytes, _)| bytes);
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
    async fn folders(&mut self) -> Vec<String> {
        let is_account = |folder: &str| {
            let name = last_part(folder);
            name.len() == 12 && name.bytes().all(|byte| byte.is_ascii_digit())
        };
        let mut accounts = self.below(vec![format!("{}AWSLogs/", self.prefix)]).await;
        let organisations = accounts.extract_if(.., |folder| last_part(folder).starts_with("o-")).collect();
        accounts.extend(self.below(organisations).await);
        accounts.retain(|folder| is_account(folder));
        let mut found = self.below(accounts.iter().map(|folder| format!("{folder}CloudTrail/")).collect()).await;
        found.sort();
        found
    }

    /// The folders right below these.
    async fn below(&mut self, folders: Vec<String>) -> Vec<String> {
        let asks = folders.into_iter().map(|folder| (folder, None)).collect();
        let mut found = Vec::new();
        self.list(asks, true, |(_, folders)| found.extend(folders)).await;
        found
    }

    /// Keys of one day, all or those named by a later time.
    async fn keys(&mut self, folders: &[String], day: i64, after: Option<Minute>) -> Vec<String> {
        let date = Minute(day * MINUTES_PER_DAY).to_string()[..10].replace('-', "/");
        let asks = folders.iter().map(|folder| {
            let prefix = format!("{folder}{date}/");
            // ACCOUNT_CloudTrail_REGION_20260304T1405Z_...: in the order of time.
            let mut parts = folder.trim_end_matches('/').rsplit('/');
            let (region, account) = (parts.next().unwrap_or(""), parts.nth(1).unwrap_or(""));
            let after = after.map(|after| {
                let time = after.to_string();
                let stamp: String = time[..16].chars().filter(|letter| !matches!(letter, '-' | ':')).collect();
                format!("{prefix}{account}_CloudTrail_{region}_{stamp}")
            });
            (prefix, after)
        });
        let mut found = Vec::new();
        let is_trail = |key: &String| ObjectName::parse(key).kind == Kind::CloudTrail && key.ends_with(".gz");
        self.list(asks.collect(), false, |(objects, _)| {
            found.extend(objects.into_iter().filter_map(|object| object.key).filter(is_trail));
        })
        .await;
        found.sort();
        found
    }

    /// Lists prefixes, some at once, with the key that each begins after; however long it takes.
    async fn list(&mut self, asks: Vec<(String, Option<String>)>, one_level: bool, mut take: impl FnMut(Level)) {
        let mut asks = asks.into_iter();
        let mut asking = JoinSet::new();
        loop {
            while asking.len() < LISTS
                && let Some((prefix, after)) = asks.next()
            {
                let (buckets, bucket, mut region) = (self.buckets.clone(), self.bucket.clone(), self.region.clone());
                asking.spawn(async move {
                    let ask = Ask { bucket: &bucket, prefix: &prefix, one_level, after: after.as_deref() };
                    let listed = list(&buckets, &mut region, ask, Patience::Endless).await;
                    (listed, region)
                });
            }
            match asking.join_next().await {
                Some(Ok((Ok(level), region))) => {
                    self.region = region;
                    take(level);
                }
                Some(Ok((Err(reason), _))) => unreachable!("asked for without end: {reason}"),
                Some(Err(panic)) => std::panic::resume_unwind(panic.into_panic()),
                None => return,
            }
        }
    }
}

/// Says that all is handed over up to a second, unless more was said; false once nobody listens.
async fn tell_drained(line: &Line, second: i64, told: &mut i64) -> bool {
    if second <= *told {
        return true;
    }
    *told = second;
    line.say(Feed::Drained { second }).await
}

/// What a folder is called.
fn last_part(folder: &str) -> &str {
    folder.trim_end_matches('/').rsplit('/').next().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::source::stand_in::StandIn;

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

    const ACCOUNTS: [&str; 2] = ["111122223333", "444455556666"];

    /// `YYYY-MM-DDTHH:MM` to a key.
    fn key(account: &str, minute: Minute) -> String {
        let time = minute.to_string();
        let (date, stamp) = (time[..10].replace('-', "/"), time[..16].replace(['-', ':'], ""));
        format!("AWSLogs/{account}/CloudTrail/eu-west-1/{date}/{account}_CloudTrail_eu-west-1_{stamp}Z_x.json.gz")
    }

    /// A listing of a bucket that is stood in for, and what it says.
    async fn look(stand_in: &StandIn, since: Minute) -> (mpsc::Receiver<(usize, Feed)>, CancellationToken) {
        let mut listing = Listing::of(stand_in.buckets().await, ("b".to_owned(), String::new()), since);
        listing.every = Duration::from_millis(50);
        let (feeds, inbox) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let line = Line { source: 0, feeds, safe: mpsc::unbounded_channel().1, stop: stop.clone() };
        tokio::spawn(listing.run(line));
        (inbox, stop)
    }

    async fn next(inbox: &mut mpsc::Receiver<(usize, Feed)>) -> Feed {
        let feed = tokio::time::timeout(Duration::from_secs(60), inbox.recv()).await;
        feed.expect("in time").expect("a source that goes on").1
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_past_is_handed_over_day_by_day_and_a_page_that_fails_is_asked_for_again_alone() {
        let stand_in = StandIn::start().await;
        let today = Minute::of_second(now_s()).day();
        let since = Minute((today - 5) * MINUTES_PER_DAY);
        for day in today - 5..today {
            for account in ACCOUNTS {
                for minute in 0..5 {
                    stand_in.put(&key(account, Minute(day * MINUTES_PER_DAY + minute)));
                }
            }
        }
        // The second page, of one account and day.
        let broken = key(ACCOUNTS[1], Minute((today - 4) * MINUTES_PER_DAY));
        let broken = format!("{}/", broken.rsplit_once('/').expect("a folder").0);
        let fault_at = broken.clone();
        stand_in.refuse(2, move |asked| asked.prefix == fault_at && asked.page > 0);
        let (mut inbox, stop) = look(&stand_in, since).await;
        for day in today - 5..today {
            for _ in 0..ACCOUNTS.len() * 5 {
                let Feed::Delivery { name, .. } = next(&mut inbox).await else { panic!("not all of day {day}") };
                assert_eq!(ObjectName::parse(&name).delivered.map(Minute::day), Some(day), "{name}");
            }
            let Feed::Drained { second } = next(&mut inbox).await else { panic!("more than there is of day {day}") };
            assert_eq!(second, (day + 1) * MINUTES_PER_DAY * 60 - 1);
        }
        let Feed::Drained { second } = next(&mut inbox).await else { panic!("nothing is left") };
        assert!((now_s() - second) < 60);
        stop.cancel();
        // Old days are listed once: three pages of two keys, and of one of them a page that was refused twice.
        let asked = stand_in.asked();
        let lists = |prefix: &str| asked.iter().filter(|asked| asked.prefix == prefix).count();
        assert_eq!(lists(&broken), 3 + 2);
        assert_eq!(lists(&broken.replace(ACCOUNTS[1], ACCOUNTS[0])), 3);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_bucket_is_not_said_to_be_empty_before_new_accounts_were_looked_for() {
        let stand_in = StandIn::start().await;
        let now = Minute::of_second(now_s());
        stand_in.put(&key(ACCOUNTS[0], now));
        let (mut inbox, stop) = look(&stand_in, Minute(now.day() * MINUTES_PER_DAY)).await;
        let mut told = None;
        while told.is_none() {
            if let Feed::Drained { second } = next(&mut inbox).await {
                told = Some(second).filter(|second| *second >= now.0 * 60);
            }
        }
        // One that is just saying that it is empty may say so.
        let put_s = now_s();
        stand_in.put(&key(ACCOUNTS[1], now));
        loop {
            match next(&mut inbox).await {
                Feed::Delivery { name, .. } => break assert_eq!(name, key(ACCOUNTS[1], now)),
                Feed::Drained { second } => assert!(second <= put_s, "the new account's object was not handed over"),
                other => panic!("{other:?}"),
            }
        }
        stop.cancel();
    }
}
