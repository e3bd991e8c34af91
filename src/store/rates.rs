//! Counts per series and minute as Parquet, one file per UTC day: `rates/date=2026-03-04/rates.parquet`. Minutes
//! without calls are not there. Knows the columns; not what is unusual about a count.
//!
//! Columns: `account`, `region`, `event_source`, `event_name`, `event_category`, `error_code` (null: all calls of the
//! API, reads and writes, with or without an error), `minute` (UTC), `count`.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use polars::prelude::{
    Column, DataFrame, DataType, IntoColumn, NamedFrom, ParquetCompression, ParquetReader, ParquetWriter, SerReader,
    Series, TimeUnit,
};

use super::StoreError;
use crate::detector::Advance;
use crate::event::{MINUTES_PER_DAY, Minute};
use crate::insight::trail::TrailRecord;
use crate::window::{Api, Attribute};

/// One row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    api: Api,
    error_code: Option<String>,
    minute: i64,
    count: u64,
}

/// The day, the API's fields, and the rest of a [`Row`].
type Stored = (i64, [String; 5], Option<String>, i64, u64);

/// Writes days once they are complete.
pub struct RatesWriter {
    root: PathBuf,
    open: BTreeMap<i64, Vec<Row>>,
}

impl RatesWriter {
    /// Writes below `root`, which is made with the first day.
    pub fn new(root: PathBuf) -> RatesWriter {
        RatesWriter { root, open: BTreeMap::new() }
    }

    /// Takes in closed minutes and writes the days that are complete.
    pub fn add(&mut self, advance: &Advance) -> Result<(), StoreError> {
        for calls in advance.closed.calls.chunk_by(|a, b| (a.api, a.minute) == (b.api, b.minute)) {
            let api = Api::from_fields(advance.closed.api(calls[0].api));
            let minute = i64::from(calls[0].minute);
            let mut errors: BTreeMap<&str, u64> = BTreeMap::new();
            for call in calls {
                let code = advance.closed.caller(call.caller)[Attribute::ErrorCode as usize];
                if !code.is_empty() {
                    *errors.entry(code).or_default() += u64::from(call.count);
                }
            }
            let count = calls.iter().map(|call| u64::from(call.count)).sum();
            let rows = self.open.entry(Minute(minute).day()).or_default();
            rows.push(Row { api: api.clone(), error_code: None, minute, count });
            rows.extend(errors.into_iter().map(|(code, count)| Row {
                api: api.clone(),
                error_code: Some(code.to_owned()),
                minute,
                count,
            }));
        }
        let open = self.open.split_off(&advance.frontier.day());
        for (day, rows) in std::mem::replace(&mut self.open, open) {
            self.write_day(day, rows)?;
        }
        Ok(())
    }

    /// The rows of days that are not complete, for [`RatesWriter::reopen`].
    pub fn open_bytes(&self) -> Result<Vec<u8>, postcard::Error> {
        let rows = self.open.iter().flat_map(|(day, rows)| rows.iter().map(move |row| (day, row)));
        let stored: Vec<Stored> = rows
            .map(|(day, row)| {
                (*day, row.api.fields().map(str::to_owned), row.error_code.clone(), row.minute, row.count)
            })
            .collect();
        postcard::to_stdvec(&stored)
    }

    /// Takes such rows back in.
    pub fn reopen(&mut self, bytes: &[u8]) -> Result<(), postcard::Error> {
        let stored: Vec<Stored> = postcard::from_bytes(bytes)?;
        for (day, fields, error_code, minute, count) in stored {
            let api = Api::from_fields(fields.each_ref().map(String::as_str));
            self.open.entry(day).or_default().push(Row { api, error_code, minute, count });
        }
        Ok(())
    }

    /// Writes what is left.
    pub fn finish(mut self) -> Result<(), StoreError> {
        // A trail without calls leaves an empty folder, not a missing one.
        let io = |source| StoreError::Io { path: self.root.display().to_string(), source };
        fs::create_dir_all(&self.root).map_err(io)?;
        for (day, rows) in std::mem::take(&mut self.open) {
            self.write_day(day, rows)?;
        }
        Ok(())
    }

    fn write_day(&self, day: i64, mut rows: Vec<Row>) -> Result<(), StoreError> {
        rows.sort_unstable();
        let date = Minute(day * MINUTES_PER_DAY).to_string();
        let folder = self.root.join(format!("date={}", &date[..10.min(date.len())]));
        let path = folder.join("rates.parquet");
        let io = |source| StoreError::Io { path: path.display().to_string(), source };
        let parquet = |source| StoreError::Parquet { path: path.display().to_string(), source };
        fs::create_dir_all(&folder).map_err(io)?;
        let text = |name: &str, of: fn(&Row) -> &str| -> Column {
            Series::new(name.into(), rows.iter().map(of).collect::<Vec<_>>()).into_column()
        };
        let errors: Vec<Option<&str>> = rows.iter().map(|row| row.error_code.as_deref()).collect();
        let minutes = Series::new("minute".into(), rows.iter().map(|row| row.minute * 60_000).collect::<Vec<_>>())
            .cast(&DataType::Datetime(TimeUnit::Milliseconds, None))
            .map_err(parquet)?;
        let columns = vec![
            text("account", |row| &row.api.account_id),
            text("region", |row| &row.api.region),
            text("event_source", |row| &row.api.event_source),
            text("event_name", |row| &row.api.event_name),
            text("event_category", |row| row.api.category.as_str()),
            Series::new("error_code".into(), errors).into_column(),
            minutes.into_column(),
            Series::new("count".into(), rows.iter().map(|row| row.count as i64).collect::<Vec<_>>()).into_column(),
        ];
        let mut frame = DataFrame::new(rows.len(), columns).map_err(parquet)?;
        // Under another name until complete, so that a reader never meets half a file.
        let partial = folder.join(".rates.parquet.partial");
        let file = File::create(&partial).map_err(io)?;
        ParquetWriter::new(file)
            .with_compression(ParquetCompression::Zstd(None))
            .finish(&mut frame)
            .map_err(parquet)?;
        fs::rename(&partial, &path).map_err(io)
    }
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

/// Reads the counts of some series from all days below `root`.
pub fn read(root: &Path, names: &[Name]) -> Result<HashMap<Name, Counts>, StoreError> {
    let mut counts: HashMap<Name, Counts> = names.iter().map(|name| (name.clone(), Vec::new())).collect();
    let io = |path: &Path, source| StoreError::Io { path: path.display().to_string(), source };
    let mut days: Vec<PathBuf> = fs::read_dir(root)
        .map_err(|error| io(root, error))?
        .map(|entry| entry.map(|entry| entry.path().join("rates.parquet")))
        .collect::<Result<_, _>>()
        .map_err(|error| io(root, error))?;
    days.sort();
    for path in days.iter().filter(|path| path.exists()) {
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
