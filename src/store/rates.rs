//! Counts per series and minute as Parquet, by UTC day: `rates/date=2026-03-04/rates.parquet`; a day that is written in
//! parts has `rates-000001.parquet` and so on beside it, each minute of a series in one of them. Minutes without calls
//! are not there. Knows the columns; not what is unusual about a count.
//!
//! Columns: `account`, `region`, `event_source`, `event_name`, `event_category`, `error_code` (null: all calls of the
//! API, reads and writes, with or without an error), `minute` (UTC), `count`.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::ops::RangeBounds;
use std::path::{Path, PathBuf};

use chrono::{NaiveDate, NaiveTime};
use polars::prelude::{
    Column, DataFrame, DataType, IntoColumn, NamedFrom, ParquetCompression, ParquetReader, ParquetWriter, PolarsResult,
    SerReader, Series, TimeUnit,
};

use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::detector::Advance;
use crate::event::{MINUTES_PER_DAY, Minute};
use crate::insight::trail::TrailRecord;
use crate::window::{Attribute, FrameReader, Frames, SharedLists};

/// One row, in numbers of [`RatesWriter::names`].
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Row {
    name: u32,
    minute: u32,
    count: u64,
}

/// Rows that wait for the end of their day.
#[derive(Default)]
struct Day {
    /// Written already.
    parts: u32,
    rows: Vec<Row>,
}

/// Writes days once they are complete, and large ones in parts.
pub struct RatesWriter {
    root: PathBuf,
    open: BTreeMap<i64, Day>,
    /// To be written with the next flush: the day, the file's name, its rows. Which they are follows from what was added
    /// alone, so that adding it again after a kill writes the same files again.
    due: VecDeque<(i64, String, Vec<Row>)>,
    /// The API's fields and the error code (empty: all calls) of the rows that wait.
    names: SharedLists<6>,
    part_rows: usize,
}

/// A scan's days are one file each, unless they are so large that few could read them: a gigabyte in memory.
const PART_ROWS: usize = 1 << 23;

/// What lives beside others keeps few.
pub const PART_ROWS_SMALL: usize = 1 << 17;

/// Rows of a row group: polars takes some hundred bytes for each while it writes them.
const GROUP_ROWS: usize = 1 << 15;
/// A full part has so many at least.
const GROUPS_MIN: usize = 8;

/// Rows of a snapshot that are held as bytes at a time.
const FRAME_ROWS: usize = 1 << 12;

impl RatesWriter {
    /// Writes below `root`, which is made with the first day.
    pub fn new(root: PathBuf) -> RatesWriter {
        RatesWriter {
            root,
            open: BTreeMap::new(),
            due: VecDeque::new(),
            names: SharedLists::default(),
            part_rows: PART_ROWS,
        }
    }

    /// A part is due once so many rows wait.
    pub fn in_parts(self, part_rows: usize) -> RatesWriter {
        RatesWriter { part_rows, ..self }
    }

    /// Takes in closed minutes. Days that are complete are due.
    pub fn add(&mut self, advance: &Advance) {
        for of_api in advance.closed.calls.chunk_by(|a, b| a.api == b.api) {
            let [account, region, source, event, category] = advance.closed.api(of_api[0].api);
            let mut name = |code: &str| self.names.intern(&[account, region, source, event, category, code]);
            let all = name("");
            for calls in of_api.chunk_by(|a, b| a.minute == b.minute) {
                let minute = calls[0].minute;
                let mut errors: BTreeMap<&str, u64> = BTreeMap::new();
                for call in calls {
                    let code = advance.closed.caller(call.caller)[Attribute::ErrorCode as usize];
                    if !code.is_empty() {
                        *errors.entry(code).or_default() += u64::from(call.count);
                    }
                }
                let count = calls.iter().map(|call| u64::from(call.count)).sum();
                let rows = &mut self.open.entry(Minute(i64::from(minute)).day()).or_default().rows;
                rows.push(Row { name: all, minute, count });
                rows.extend(errors.into_iter().map(|(code, count)| Row { name: name(code), minute, count }));
            }
        }
        let open = self.open.split_off(&advance.frontier.day());
        for (day, rows) in std::mem::replace(&mut self.open, open) {
            self.finish_day(day, rows);
        }
        if self.waiting() >= self.part_rows {
            self.write_parts();
        }
    }

    /// What is left of a day: all of it, unless parts went before.
    fn finish_day(&mut self, day: i64, Day { parts, rows }: Day) {
        let file = if parts == 0 { "rates.parquet".to_owned() } else { part_name(parts + 1) };
        if !rows.is_empty() {
            self.due.push_back((day, file, rows));
        }
    }

    fn waiting(&self) -> usize {
        self.open.values().map(|day| day.rows.len()).sum()
    }

    /// What waits is due, as further parts of days that are not complete.
    pub fn write_parts(&mut self) {
        for (day, waiting) in self.open.iter_mut().filter(|(_, waiting)| !waiting.rows.is_empty()) {
            waiting.parts += 1;
            self.due.push_back((*day, part_name(waiting.parts), std::mem::take(&mut waiting.rows)));
        }
    }

    /// Puts what is due on the disk. After an error it can be tried again.
    pub fn flush(&mut self) -> Result<(), StoreError> {
        while let Some((day, file, rows)) = self.due.front() {
            self.write_part(*day, file, rows)?;
            self.due.pop_front();
        }
        if self.waiting() == 0 {
            self.names = SharedLists::default();
        }
        Ok(())
    }

    /// Writes down the rows of days that are not complete, for a snapshot; once all that is due is on the disk.
    pub fn write_open(&self, to: &mut Frames<impl Write>) -> io::Result<()> {
        to.put(&self.names.len())?;
        (0..self.names.len() as u32).try_for_each(|name| to.put(&self.names.get(name)))?;
        to.put(&self.open.len())?;
        for (day, Day { parts, rows }) in &self.open {
            to.put(&(day, parts, rows.len().div_ceil(FRAME_ROWS)))?;
            rows.chunks(FRAME_ROWS).try_for_each(|rows| to.put(&rows))?;
        }
        Ok(())
    }

    /// Takes such rows back in.
    pub fn read_open<R: Read>(&mut self, from: &mut FrameReader<R>) -> io::Result<()> {
        let names: usize = from.take()?;
        for _ in 0..names {
            self.names.intern(&from.take::<[String; 6]>()?.each_ref().map(String::as_str));
        }
        let days: usize = from.take()?;
        for _ in 0..days {
            let (day, parts, frames): (i64, u32, usize) = from.take()?;
            let mut rows: Vec<Row> = Vec::new();
            for _ in 0..frames {
                rows.extend(from.take::<Vec<Row>>()?);
            }
            if rows.iter().any(|row| row.name as usize >= self.names.len()) {
                return Err(io::ErrorKind::InvalidData.into());
            }
            self.open.insert(day, Day { parts, rows });
        }
        Ok(())
    }

    /// Removes what was written, from this day on, beyond what was added: it will not come the same again.
    pub fn forget_from(&self, day: i64) -> Result<(), StoreError> {
        let io = |path: &Path, source| StoreError::Io { path: path.display().to_string(), source };
        let Ok(folders) = fs::read_dir(&self.root) else { return Ok(()) };
        for folder in folders.flatten().map(|entry| entry.path()) {
            let Some(of) = day_of(&folder) else { continue };
            let parts = self.open.get(&of).map_or(0, |waiting| waiting.parts);
            let known: Vec<String> = (1..=parts).map(part_name).collect();
            let files = fs::read_dir(&folder).map_err(|error| io(&folder, error))?.flatten().map(|entry| entry.path());
            for path in files.filter(|path| of >= day && is_part(path)) {
                if !known.iter().any(|known| path.ends_with(known)) {
                    fs::remove_file(&path).map_err(|error| io(&path, error))?;
                }
            }
        }
        Ok(())
    }

    /// Writes what is left.
    pub fn finish(mut self) -> Result<(), StoreError> {
        // A trail without calls leaves an empty folder, not a missing one.
        let io = |source| StoreError::Io { path: self.root.display().to_string(), source };
        fs::create_dir_all(&self.root).map_err(io)?;
        for (day, rows) in std::mem::take(&mut self.open) {
            self.finish_day(day, rows);
        }
        self.flush()
    }

    /// Rows as columns.
    fn frame(&self, rows: &[Row]) -> PolarsResult<DataFrame> {
        let text = |name: &str, field: usize| -> Column {
            let values: Vec<&str> = rows.iter().map(|row| self.names.get(row.name)[field]).collect();
            Series::new(name.into(), values).into_column()
        };
        let code = |row: &Row| Some(self.names.get(row.name)[5]).filter(|code| !code.is_empty());
        let errors: Vec<Option<&str>> = rows.iter().map(code).collect();
        let minutes = rows.iter().map(|row| i64::from(row.minute) * 60_000).collect::<Vec<_>>();
        let minutes = Series::new("minute".into(), minutes).cast(&DataType::Datetime(TimeUnit::Milliseconds, None))?;
        let columns = vec![
            text("account", 0),
            text("region", 1),
            text("event_source", 2),
            text("event_name", 3),
            text("event_category", 4),
            Series::new("error_code".into(), errors).into_column(),
            minutes.into_column(),
            Series::new("count".into(), rows.iter().map(|row| row.count as i64).collect::<Vec<_>>()).into_column(),
        ];
        DataFrame::new(rows.len(), columns)
    }

    fn write_part(&self, day: i64, file: &str, rows: &[Row]) -> Result<(), StoreError> {
        let rank = self.names.ranks();
        let mut rows = rows.to_vec();
        rows.sort_unstable_by_key(|row| (rank[row.name as usize], row.minute));
        let date = Minute(day * MINUTES_PER_DAY).to_string();
        let folder = self.root.join(format!("date={}", &date[..10.min(date.len())]));
        let path = folder.join(file);
        let io = |source| StoreError::Io { path: path.display().to_string(), source };
        let parquet = |source| StoreError::Parquet { path: path.display().to_string(), source };
        fs::create_dir_all(&folder).map_err(io)?;
        // Under another name until complete, so that a reader never meets half a file.
        let partial = folder.join(format!(".{file}.partial"));
        let file = File::create(&partial).map_err(io)?;
        let writer = ParquetWriter::new(&file).with_compression(ParquetCompression::Zstd(None));
        let schema = self.frame(&[]).map_err(parquet)?.schema().clone();
        let mut writer = writer.batched(&schema).map_err(parquet)?;
        for group in rows.chunks(GROUP_ROWS.min(self.part_rows / GROUPS_MIN)) {
            self.frame(group).and_then(|frame| writer.write_batch(&frame)).map_err(parquet)?;
        }
        writer.finish().map_err(parquet)?;
        // A snapshot relies on it: it must survive a power cut too.
        file.sync_all().map_err(io)?;
        fs::rename(&partial, &path).map_err(io)?;
        File::open(&folder).and_then(|folder| folder.sync_all()).map_err(io)
    }
}

fn part_name(number: u32) -> String {
    format!("rates-{number:06}.parquet")
}

/// Counts of one series: minutes ascending.
pub type Counts = Vec<(Minute, u64)>;

/// Which series to read: the API of a record, and its error code (none: all calls).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    pub account: String,
    pub region: String,
    pub event_source: String,
    pub event_name: String,
    pub category: String,
    pub error_code: Option<String>,
}

impl Name {
    /// The series that a record speaks of.
    pub fn of_record(record: &TrailRecord) -> Name {
        let details = &record.insight_details;
        Name {
            account: record.recipient_account_id.clone(),
            region: record.aws_region.clone(),
            event_source: details.event_source.clone(),
            event_name: details.event_name.clone(),
            category: details.source_event_category.clone().unwrap_or_else(|| "Management".to_owned()),
            error_code: details.error_code.clone(),
        }
    }

    /// All calls of the same API.
    pub fn all_calls(&self) -> Name {
        Name { error_code: None, ..self.clone() }
    }
}

/// What a folder's name says.
fn day_of(folder: &Path) -> Option<i64> {
    let date = folder.file_name()?.to_str()?.strip_prefix("date=")?.parse::<NaiveDate>().ok()?;
    Some(Minute::of_second(date.and_time(NaiveTime::MIN).and_utc().timestamp()).day())
}

/// A whole day, or a part of one.
fn is_part(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.starts_with("rates") && name.ends_with(".parquet")
}

/// Reads the counts of some series from these days below `root`.
pub fn read(root: &Path, names: &[Name], days: impl RangeBounds<i64>) -> Result<HashMap<Name, Counts>, StoreError> {
    let mut counts: HashMap<Name, Counts> = names.iter().map(|name| (name.clone(), Vec::new())).collect();
    let io = |path: &Path, source| StoreError::Io { path: path.display().to_string(), source };
    let listed = |folder: &Path| -> Result<Vec<PathBuf>, StoreError> {
        let entries = fs::read_dir(folder).map_err(|error| io(folder, error))?;
        entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()
            .map_err(|error| io(folder, error))
    };
    let mut files = Vec::new();
    for folder in listed(root)?.iter().filter(|folder| day_of(folder).is_some_and(|day| days.contains(&day))) {
        files.extend(listed(folder)?.into_iter().filter(|path| is_part(path)));
    }
    files.sort();
    for path in &files {
        let parquet = |source| StoreError::Parquet { path: path.display().to_string(), source };
        let file = File::open(path).map_err(|error| io(path, error))?;
        let frame = ParquetReader::new(file).finish().map_err(parquet)?;
        let text = |name: &str| frame.column(name).and_then(|column| column.str().cloned()).map_err(parquet);
        let number = |name: &str| {
            frame
                .column(name)
                .and_then(|column| column.cast(&DataType::Int64))
                .and_then(|column| column.i64().cloned())
                .map_err(parquet)
        };
        let [account, region, source, event, category, error] =
            ["account", "region", "event_source", "event_name", "event_category", "error_code"].map(text);
        let (account, region, source) = (account?, region?, source?);
        let (event, category, error) = (event?, category?, error?);
        let (minute, count) = (number("minute")?, number("count")?);
        // Rows are sorted by series: only the first of a run is looked up.
        let mut last: Option<(usize, Name)> = None;
        for row in 0..frame.height() {
            let same = last.as_ref().is_some_and(|(_, name)| {
                account.get(row) == Some(&name.account)
                    && region.get(row) == Some(&name.region)
                    && source.get(row) == Some(&name.event_source)
                    && event.get(row) == Some(&name.event_name)
                    && category.get(row) == Some(&name.category)
                    && error.get(row) == name.error_code.as_deref()
            });
            if !same {
                let cell = |value: Option<&str>| value.unwrap_or_default().to_owned();
                let name = Name {
                    account: cell(account.get(row)),
                    region: cell(region.get(row)),
                    event_source: cell(source.get(row)),
                    event_name: cell(event.get(row)),
                    category: cell(category.get(row)),
                    error_code: error.get(row).map(str::to_owned),
                };
                last = Some((row, name));
            }
            if let (Some((_, name)), Some(minute), Some(count)) = (&last, minute.get(row), count.get(row))
                && let Some(series) = counts.get_mut(name)
            {
                series.push((Minute(minute.div_euclid(60_000)), count.max(0) as u64));
            }
        }
    }
    counts.values_mut().for_each(|series| series.sort_unstable());
    Ok(counts)
}
