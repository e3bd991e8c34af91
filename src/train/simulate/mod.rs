//! Labelled trails: writes what CloudTrail would have delivered for accounts that do not exist, with attacks whose
//! place and time are known. [`simulate`] writes them to files; [`labelled`] gives the same calls as counts, for those
//! who need many worlds quickly. Knows nothing of the detector that will be judged with it: patterns, rates and attacks
//! were chosen from what accounts do, not from what is easy or hard to find.
//!
//! Equal [`Options`] give equal bytes, on any platform and with any number of threads: every number is drawn from a
//! stream named by what it is for (see `draw`), never from a shared one. The text of the records depends on nothing
//! else; the compressed bytes also on the version of libdeflate.
//!
//! Inside: `account` (series and cast) from `catalogue`, `cast` and `traffic`; `attack` plans on top of it; `deliver`
//! turns counts into files with `record`, `count` into a tally; `truth` writes the answer.

mod account;
mod attack;
mod cast;
mod count;
mod deliver;
mod record;
mod traffic;
mod truth;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::event::Minute;
use crate::train::draw::Draw;
use crate::train::labelled::Labelled;
use crate::window::Tally;

use account::{Account, REGIONS};
use record::{Addendum, Event};
use traffic::DAY_MINUTES;
use truth::Truth;

/// What to simulate. Start from [`Options::default`] or [`Options::sample`].
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Another seed is another world: other accounts, APIs, rates and attacks.
    pub seed: u64,
    /// Length of the trail, 1 to [`DAYS_MAX`]. Attacks come after the eighth day.
    pub days: u32,
    /// First day, days since 1970-01-01 (UTC); see [`day_number`].
    pub first_day: i64,
    /// 1 to [`ACCOUNTS_MAX`].
    pub accounts: u32,
    /// Regions of each account, 1 to 8; the first is us-east-1.
    pub regions: u32,
    /// APIs of each account, 5 to 320; a few of them are used in two regions and so make two series.
    pub apis: u32,
    /// Multiplies the background; attacks grow with it, because they have to rise above it.
    pub scale: f64,
    /// Sets the scale instead, so that the uncompressed text of all files has about this size.
    pub target_bytes: Option<u64>,
    /// Attacks per account and week, counted as series under attack; 0 for none.
    pub anomalies_per_week: f64,
    /// Share of bursts made by the API's usual caller with its usual agent, 0 to 1.
    pub insiders: f64,
    /// Runs each attack again, identically, this many days later.
    pub repeat_after_days: Option<u32>,
    /// Share of events delivered 20 to 120 minutes late.
    pub late_share: f64,
    /// Share of events delivered twice.
    pub duplicate_share: f64,
    /// Minutes between two log files of a region; must divide a day. CloudTrail's is 5.
    pub delivery_minutes: u32,
    /// Writes the key layout of an organisation's trail.
    pub organisation: bool,
    /// Writes into a directory that is not empty. Nothing in it is deleted.
    pub force: bool,
    /// Threads that write files; does not change the result.
    pub threads: usize,
}

/// A year is more than any baseline looks back.
pub const DAYS_MAX: u32 = 400;
/// The last four digits of an account number tell accounts apart.
pub const ACCOUNTS_MAX: u32 = 10_000;
/// Fewer would leave out the fixed ones (sign-in, role sessions, ...); more than the catalogue can give by access.
const APIS: std::ops::RangeInclusive<u32> = 5..=320;
/// Records that are written to learn how long those of a series are, when a target size is asked for.
const PROBE_RECORDS: u32 = 24;
/// Days that are counted to guess it: two weeks have every weekday twice.
const PROBE_DAYS: u32 = 14;

impl Default for Options {
    /// Three weeks of one account of medium size, from Monday 2026-03-02.
    fn default() -> Options {
        Options {
            seed: 1,
            days: 21,
            first_day: FIRST_DAY,
            accounts: 1,
            regions: 2,
            apis: 90,
            scale: 1.0,
            target_bytes: None,
            anomalies_per_week: 14.0,
            insiders: 0.4,
            repeat_after_days: None,
            late_share: 0.005,
            duplicate_share: 0.01,
            delivery_minutes: 5,
            organisation: false,
            force: false,
            threads: 1,
        }
    }
}

/// 2026-03-02, a Monday.
const FIRST_DAY: i64 = 20_514;

impl Options {
    /// A small trail to show and to read: two quiet accounts of three weeks, ten series under attack in each, 3.5 MB.
    pub fn sample() -> Options {
        Options {
            seed: 7,
            accounts: 2,
            regions: 1,
            apis: 28,
            scale: 0.04,
            anomalies_per_week: 5.5,
            delivery_minutes: 60,
            ..Options::default()
        }
    }

    fn check(&self) -> Result<(), Error> {
        let share = |value: f64| (0.0..=1.0).contains(&value);
        let checks = [
            ("days", (1..=DAYS_MAX).contains(&self.days)),
            ("first_day", (0..=1_000_000).contains(&self.first_day)),
            ("accounts", (1..=ACCOUNTS_MAX).contains(&self.accounts)),
            ("regions", (1..=REGIONS.len() as u32).contains(&self.regions)),
            ("apis", APIS.contains(&self.apis)),
            ("scale", self.scale > 0.0 && self.scale <= 10_000.0),
            ("target_bytes", self.target_bytes.is_none_or(|bytes| bytes > 0)),
            ("anomalies_per_week", (0.0..=1_000.0).contains(&self.anomalies_per_week)),
            ("insiders", share(self.insiders)),
            ("repeat_after_days", self.repeat_after_days.is_none_or(|days| (1..DAYS_MAX).contains(&days))),
            ("late_share", share(self.late_share)),
            ("duplicate_share", share(self.duplicate_share)),
            (
                "delivery_minutes",
                self.delivery_minutes > 0
                    && self.delivery_minutes <= 240
                    && (DAY_MINUTES as u32).is_multiple_of(self.delivery_minutes),
            ),
            ("threads", self.threads > 0),
        ];
        match checks.iter().find(|(_, fine)| !fine) {
            Some((name, _)) => Err(Error::Option { name }),
            None => Ok(()),
        }
    }
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// The scale that was used, as asked for or as found for the target size.
    pub scale: f64,
    /// Account numbers, in the order in which they were made.
    pub accounts: Vec<String>,
    /// Events, each once.
    pub events: u64,
    /// Records in all files: events, second deliveries and corrections.
    pub records: u64,
    /// Events delivered twice.
    pub doubled: u64,
    /// Events delivered late.
    pub late: u64,
    /// Events sent again with a correction, under a new id.
    pub updated: u64,
    /// Log files.
    pub files: u64,
    /// Before compression.
    pub raw_bytes: u64,
    /// After compression.
    pub packed_bytes: u64,
    /// Attacks that a detector has to find.
    pub required: usize,
    /// Series under attack, with the optional ones.
    pub attacks: usize,
}

/// Why a trail could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An option has a value that makes no trail.
    #[error("simulate: option {name} is out of range")]
    Option {
        /// The field of [`Options`].
        name: &'static str,
    },
    /// Something is there already, and [`Options::force`] is not set.
    #[error("{path} is not empty; simulate writes into an empty directory unless forced")]
    NotEmpty {
        /// Where the trail should have gone.
        path: PathBuf,
    },
    /// A file or directory could not be made.
    #[error("cannot write {path}")]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Writes a trail below `out_dir/AWSLogs` and the truth about it beside that.
pub fn simulate(options: &Options, out_dir: &Path) -> Result<Report, Error> {
    options.check()?;
    prepare(out_dir, options.force)?;
    let options = &Options { scale: scale(options), ..options.clone() };
    let mut report = Report { scale: options.scale, ..Report::default() };
    let mut truths = Vec::new();
    for index in 0..options.accounts {
        let mut account = Account::new(options, index, options.scale);
        attack::plan(&mut account, options);
        let before = report.events;
        write_account(options, &account, out_dir, &mut report)?;
        let truth = Truth::new(&account, options, report.events - before);
        report.required += truth.required();
        report.attacks += account.bursts.len();
        report.accounts.push(account.id);
        truths.push(truth);
    }
    truth::write(&truths, options, out_dir)?;
    Ok(report)
}

/// The management events of account `index` of the trail that [`simulate`] would write, and the truth about them: the
/// same calls by the same callers in the same minutes, without files. Delivery (late, twice, in which file) has no
/// part in it.
pub fn labelled(options: &Options, index: u32) -> Result<Labelled, Error> {
    options.check()?;
    let options = &Options { scale: scale(options), ..options.clone() };
    let mut account = Account::new(options, index, options.scale);
    attack::plan(&mut account, options);
    let mut calls = Tally::default();
    count::count(&account, &mut calls);
    let minute = |day: u32| Minute((account.first_day + i64::from(day)) * DAY_MINUTES as i64);
    Ok(Labelled {
        name: match options.accounts {
            1 => format!("simulate {}", options.seed),
            _ => format!("simulate {}/{index}", options.seed),
        },
        live_from: minute(attack::WARM_DAYS),
        end: minute(account.days),
        calls,
        truths: truth::labelled(&account),
    })
}

/// Makes the directory; refuses one that holds anything.
fn prepare(out_dir: &Path, force: bool) -> Result<(), Error> {
    let failed = |source| Error::Write { path: out_dir.to_owned(), source };
    fs::create_dir_all(out_dir).map_err(failed)?;
    let empty = fs::read_dir(out_dir).map_err(failed)?.next().is_none();
    if empty || force { Ok(()) } else { Err(Error::NotEmpty { path: out_dir.to_owned() }) }
}

/// All files of one account. Each region and day is a job; threads take them as they come.
fn write_account(options: &Options, account: &Account, out_dir: &Path, report: &mut Report) -> Result<(), Error> {
    let mut root = out_dir.join("AWSLogs");
    if options.organisation {
        root.push(organisation_id(options.seed));
    }
    let root = root.join(&account.id).join("CloudTrail");
    // One day more than the trail has: what happens before midnight is delivered after it.
    let jobs = (account.days + 1) * account.regions.len() as u32;
    let next = AtomicU32::new(0);
    let total = Mutex::new(Ok(std::mem::take(report)));
    std::thread::scope(|scope| {
        for _ in 0..options.threads.min(jobs as usize) {
            scope.spawn(|| {
                let mut mine = Report::default();
                let mut result = Ok(());
                while result.is_ok() {
                    let job = next.fetch_add(1, Ordering::Relaxed);
                    if job >= jobs {
                        break;
                    }
                    let (day, region) = (job / account.regions.len() as u32, job % account.regions.len() as u32);
                    result = deliver::day(options, account, region as usize, day, &root, &mut mine);
                }
                let mut total = total.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                match (&mut *total, result) {
                    (Ok(sum), Ok(())) => sum.add(&mine),
                    (Ok(_), Err(error)) => *total = Err(error),
                    (Err(_), _) => {}
                }
            });
        }
    });
    *report = total.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner())?;
    Ok(())
}

impl Report {
    /// Adds the counts of one worker.
    fn add(&mut self, other: &Report) {
        self.events += other.events;
        self.records += other.records;
        self.doubled += other.doubled;
        self.late += other.late;
        self.updated += other.updated;
        self.files += other.files;
        self.raw_bytes += other.raw_bytes;
        self.packed_bytes += other.packed_bytes;
    }
}

/// The scale asked for, or the one that gives the target size: counts grow almost, but not quite, in proportion to it
/// (a scheduler cannot run half a time), so a few rounds are needed.
fn scale(options: &Options) -> f64 {
    let Some(target) = options.target_bytes else { return options.scale };
    let mut scale = 1.0;
    for _ in 0..6 {
        let days = options.days.min(PROBE_DAYS);
        let mut bytes = 0.0;
        // One account in a crowd speaks for the others.
        let accounts = options.accounts.min(4);
        for index in 0..accounts {
            let account = Account::new(options, index, scale);
            for (index, series) in account.series.iter().enumerate() {
                let calls = |day| series.day(&account.calendar, day).calls.iter().map(|n| u64::from(*n)).sum::<u64>();
                bytes += (0..days).map(calls).sum::<u64>() as f64 * record_bytes(&account, index);
            }
        }
        let share = f64::from(days) / f64::from(options.days) * f64::from(accounts) / f64::from(options.accounts);
        let all = bytes / share * (1.0 + options.duplicate_share);
        scale = (scale * target as f64 / all.max(1.0)).clamp(0.001, 10_000.0);
    }
    scale
}

/// Mean length of a series' records with their commas.
fn record_bytes(account: &Account, series: usize) -> f64 {
    let failed = account.series[series].standing.1 >= 0.5;
    let mut text = String::new();
    for ordinal in 0..PROBE_RECORDS {
        let minute = ordinal * account.minutes() / PROBE_RECORDS;
        let addendum = Addendum::None;
        record::write(
            &mut text,
            account,
            &Event { series: series as u32, minute, ordinal, burst: None, failed, addendum },
        );
        text.push(',');
    }
    text.len() as f64 / f64::from(PROBE_RECORDS)
}

/// `o-` and ten letters or digits.
fn organisation_id(seed: u64) -> String {
    let mut draw = Draw::new(&[seed, 0x6f72_6721]);
    let mut id = String::from("o-");
    (0..10).for_each(|_| id.push(char::from(*draw.pick(b"abcdefghijklmnopqrstuvwxyz0123456789"))));
    id
}

/// Days since 1970-01-01 of a date, or nothing if there is no such date.
pub fn day_number(year: i32, month: u32, day: u32) -> Option<i64> {
    let date = chrono::NaiveDate::from_ymd_opt(year, month, day)?;
    Some(date.signed_duration_since(chrono::NaiveDate::default()).num_days())
}

/// Year, month and day of a day number; the proleptic Gregorian calendar, as in H. Hinnant, "chrono-Compatible
/// Low-Level Date Algorithms". Called several times for each record, hence by hand.
fn civil(day_number: i64) -> (i64, u32, u32) {
    let shifted = day_number + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = (of_year - (153 * from_march + 2) / 5 + 1) as u32;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 } as u32;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// 0 is Monday.
fn weekday(day_number: i64) -> u32 {
    // 1970-01-01 was a Thursday.
    (day_number + 3).rem_euclid(7) as u32
}

#[cfg(test)]
mod tests {
    use super::{FIRST_DAY, Options, civil, day_number, weekday};

    #[test]
    fn dates() {
        assert_eq!(day_number(2026, 3, 2), Some(FIRST_DAY));
        assert_eq!(weekday(FIRST_DAY), 0);
        assert_eq!(day_number(2026, 2, 30), None);
        for (date, number) in [((1970, 1, 1), 0), ((2024, 2, 29), 19_782), ((2026, 12, 31), 20_818)] {
            assert_eq!(civil(number), date);
            assert_eq!(day_number(date.0 as i32, date.1, date.2), Some(number));
        }
    }

    #[test]
    fn presets_are_in_range() {
        Options::default().check().unwrap();
        Options::sample().check().unwrap();
        assert!(Options { delivery_minutes: 7, ..Options::default() }.check().is_err());
        assert!(Options { scale: f64::NAN, ..Options::default() }.check().is_err());
    }
}
