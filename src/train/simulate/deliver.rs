//! From counts to log files: when each event is delivered, in which file, and the files themselves. Knows nothing of
//! why an event happened.
//!
//! One day of one region is a job of its own: it makes the events of that day and of the end of the day before, keeps
//! those that are delivered on that day, and writes their files. So nothing is carried from day to day, jobs can run on
//! any thread, and memory holds some 30 bytes for each event of a day, plus the text of one file.

use std::fs;
use std::path::{Path, PathBuf};

use libdeflater::{CompressionLvl, Compressor};

use super::account::Account;
use super::cast::push_letters;
use super::record::{self, Addendum, Event, push_digits};
use super::traffic::DAY_MINUTES;
use super::{Error, Options, Report};
use crate::train::draw::Draw;

/// Records of the largest file; CloudTrail's own limit is 50 MB before compression.
const FILE_RECORDS: usize = 4_000;
/// What CloudTrail seems to use, and a good trade between time and size.
const GZIP_LEVEL: i32 = 6;
/// Quantiles of the seconds between an event and the moment its file is closed to it. With the wait for a delivery
/// every five minutes they give a lag of about 178 s in the median, 388 s at 90 % and 534 s at 99 %, as on a real
/// trail.
const PROCESSING_S: [(f64, f64); 6] = [(0.0, 1.0), (0.6, 6.0), (0.75, 60.0), (0.9, 215.0), (0.99, 290.0), (1.0, 308.0)];
/// Late events come this many minutes after they happened.
const LATE_MINUTES: (u64, u64) = (20, 120);
/// Of the late ones, this share says so in an addendum.
const LATE_ADMITTED: f64 = 0.6;
/// Share of events that are sent again under a new id because a field was corrected.
const UPDATED_SHARE: f64 = 0.000_4;
/// A second delivery comes at most this many deliveries after the first.
const SECOND_DELIVERY: u64 = 3;
/// Minutes after which an event of the day before cannot be delivered any more, apart from second deliveries.
const LATEST_MINUTES: u32 = 135;

/// One event in one delivery.
struct Parcel {
    /// Deliveries since the start of the trail.
    slot: u32,
    event: Event,
}

/// Writes what is delivered in one region on one day, `options.days` being the day after the last.
pub(super) fn day(
    options: &Options,
    account: &Account,
    region: usize,
    day: u32,
    root: &Path,
    report: &mut Report,
) -> Result<(), Error> {
    let mut parcels = Vec::new();
    for of_day in day.saturating_sub(1)..=day.min(account.days - 1) {
        pack(options, account, region, of_day, day, &mut parcels, report);
    }
    // Stable: equal slots keep the order in which they were made.
    parcels.sort_by_key(|parcel| parcel.slot);
    let mut writer = Writer::new(options, account, region, root, report);
    for slot in parcels.chunk_by_mut(|a, b| a.slot == b.slot) {
        let number = slot[0].slot;
        let mut draw = Draw::new(&[account.seed, 0x6669_6c65, region as u64, u64::from(number)]);
        draw.shuffle(slot);
        for file in slot.chunks(FILE_RECORDS) {
            writer.file(number, file, &mut draw)?;
        }
    }
    Ok(())
}

/// Makes the events of `of_day` and keeps those that are delivered on `day`.
fn pack(
    options: &Options,
    account: &Account,
    region: usize,
    of_day: u32,
    day: u32,
    parcels: &mut Vec<Parcel>,
    report: &mut Report,
) {
    let begin = of_day * DAY_MINUTES as u32;
    // The interval comes twice: once for the wait, and times the second deliveries.
    let latest = LATEST_MINUTES + options.delivery_minutes * (SECOND_DELIVERY as u32 + 2);
    let skip = if of_day < day { (DAY_MINUTES as u32).saturating_sub(latest) } else { 0 };
    let mut post = Post { options, account, day, parcels, report, own_day: of_day == day };
    for (index, series) in account.series.iter().enumerate().filter(|(_, series)| series.region == region) {
        let made = series.day(&account.calendar, of_day);
        for (minute, (&calls, &errors)) in made.calls.iter().zip(&made.errors).enumerate().skip(skip as usize) {
            post.minute(index, begin + minute as u32, calls, errors, None);
        }
    }
    for (number, burst) in account.bursts.iter().enumerate() {
        if account.series[burst.series].region != region {
            continue;
        }
        for (offset, (&calls, &errors)) in (0..).zip(burst.calls.iter().zip(&burst.errors)) {
            let minute = burst.start + offset;
            if minute / DAY_MINUTES as u32 == of_day && minute - begin >= skip {
                post.minute(burst.series, minute, calls, errors, Some(number as u32));
            }
        }
    }
}

/// Hands events to deliveries.
struct Post<'a> {
    options: &'a Options,
    account: &'a Account,
    /// The day whose deliveries are wanted.
    day: u32,
    parcels: &'a mut Vec<Parcel>,
    report: &'a mut Report,
    /// The events happened on `day` itself: count them, once.
    own_day: bool,
}

impl Post<'_> {
    fn minute(&mut self, series: usize, minute: u32, calls: u32, errors: u32, burst: Option<u32>) {
        for ordinal in 0..calls {
            let failed = ordinal < errors;
            let series = series as u32;
            self.event(Event { series, minute, ordinal, burst, failed, addendum: Addendum::None });
        }
    }

    fn event(&mut self, mut event: Event) {
        let interval = self.options.delivery_minutes;
        let mut draw = event.draw(self.account, b'd'.into());
        // Where in the minute the event really lies is the record's affair; half a minute more or less is no matter.
        let mut ready = u64::from(event.minute) * 60 + draw.below(60) + quantile(&PROCESSING_S, draw.unit());
        let late = draw.chance(self.options.late_share);
        if late {
            ready += draw.whole(LATE_MINUTES.0 * 60, LATE_MINUTES.1 * 60);
            if draw.chance(LATE_ADMITTED) {
                event.addendum = Addendum::Delay;
            }
        }
        let slot = (ready / 60 / u64::from(interval)) as u32 + 1;
        let twice = draw.chance(self.options.duplicate_share);
        let again = slot + draw.whole(1, SECOND_DELIVERY) as u32;
        let updated = draw.chance(UPDATED_SHARE);
        if self.own_day {
            self.report.events += 1;
            self.report.late += u64::from(late);
            self.report.doubled += u64::from(twice);
            self.report.updated += u64::from(updated);
        }
        self.parcel(slot, event);
        if twice {
            self.parcel(again, event);
        }
        if updated {
            self.parcel(slot + 1, Event { addendum: Addendum::Updated, ..event });
        }
    }

    fn parcel(&mut self, slot: u32, event: Event) {
        if slot * self.options.delivery_minutes / DAY_MINUTES as u32 == self.day {
            self.parcels.push(Parcel { slot, event });
        }
    }
}

/// Piecewise linear inverse of a distribution, in whole units.
fn quantile(table: &[(f64, f64)], at: f64) -> u64 {
    for pair in table.windows(2) {
        let [(low, from), (high, to)] = [pair[0], pair[1]];
        if at <= high {
            return (from + (to - from) * (at - low) / (high - low)) as u64;
        }
    }
    table.last().map_or(0, |(_, last)| *last as u64)
}

/// Writes log files of one account and region.
struct Writer<'a> {
    options: &'a Options,
    account: &'a Account,
    region: usize,
    root: &'a Path,
    report: &'a mut Report,
    text: String,
    packed: Vec<u8>,
    compressor: Compressor,
    /// The directory that was made last.
    made: PathBuf,
}

impl<'a> Writer<'a> {
    fn new(options: &'a Options, account: &'a Account, region: usize, root: &'a Path, report: &'a mut Report) -> Self {
        // A level of 0 to 12 is always accepted.
        let level = CompressionLvl::new(GZIP_LEVEL).unwrap_or_default();
        Writer {
            options,
            account,
            region,
            root,
            report,
            text: String::new(),
            packed: Vec::new(),
            compressor: Compressor::new(level),
            made: PathBuf::new(),
        }
    }

    fn file(&mut self, slot: u32, parcels: &[Parcel], draw: &mut Draw) -> Result<(), Error> {
        self.text.clear();
        self.text.push_str("{\"Records\":[");
        for (index, parcel) in parcels.iter().enumerate() {
            if index > 0 {
                self.text.push(',');
            }
            record::write(&mut self.text, self.account, &parcel.event);
        }
        self.text.push_str("]}");

        self.packed.resize(self.compressor.gzip_compress_bound(self.text.len()), 0);
        // libdeflate leaves the time in the header at zero, so equal text gives equal bytes.
        let size = self
            .compressor
            .gzip_compress(self.text.as_bytes(), &mut self.packed)
            .expect("the buffer has the size that the compressor asked for");

        let path = self.path(slot, draw)?;
        fs::write(&path, &self.packed[..size]).map_err(|source| Error::Write { path, source })?;
        self.report.files += 1;
        self.report.records += parcels.len() as u64;
        self.report.raw_bytes += self.text.len() as u64;
        self.report.packed_bytes += size as u64;
        Ok(())
    }

    /// `REGION/YYYY/MM/DD/ACCOUNT_CloudTrail_REGION_YYYYMMDDTHHmmZ_UNIQUE.json.gz`, with its directory made.
    fn path(&mut self, slot: u32, draw: &mut Draw) -> Result<PathBuf, Error> {
        let minute = slot * self.options.delivery_minutes;
        let (year, month, day) = super::civil(self.account.first_day + i64::from(minute / DAY_MINUTES as u32));
        let region = self.account.regions[self.region];
        let directory = self.root.join(region).join(format!("{year:04}/{month:02}/{day:02}"));
        if self.made != directory {
            fs::create_dir_all(&directory).map_err(|source| Error::Write { path: directory.clone(), source })?;
            self.made.clone_from(&directory);
        }
        let of_day = u64::from(minute % DAY_MINUTES as u32);
        let mut name = format!("{}_CloudTrail_{region}_{year:04}{month:02}{day:02}T", self.account.id);
        push_digits(&mut name, of_day / 60, 2);
        push_digits(&mut name, of_day % 60, 2);
        name.push_str("Z_");
        push_letters(&mut name, draw, 16);
        name.push_str(".json.gz");
        Ok(directory.join(name))
    }
}
