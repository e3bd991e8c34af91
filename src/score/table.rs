//! A table of readings: which columns hold time, value and names, and the CSV form of it. Knows how times and numbers are
//! written; not what they mean, nor where the text comes from.

use std::collections::HashMap;
use std::io::Read;

use chrono::{DateTime, Datelike, NaiveDate};
use thiserror::Error;

/// Columns that may hold the time.
const TIME_NAMES: [&str; 8] =
    ["timestamp", "timestamp_utc", "time", "time_utc", "datetime", "date", "minute_utc", "minute"];

/// Columns that may hold the value.
const VALUE_NAMES: [&str; 2] = ["value", "count"];

/// What stands for a value that is not there.
const MISSING_NAMES: [&str; 5] = ["", "nan", "na", "null", "none"];

/// Larger ones would overflow in sums.
const VALUE_MAX: f64 = 1e300;

/// Years that a time may lie in.
const YEARS: std::ops::RangeInclusive<i32> = 1900..=2200;

/// Numbers in place of times are seconds below this, milliseconds from it on.
const EPOCH_MS_MIN: u64 = 100_000_000_000;

/// Why a table cannot be read.
#[derive(Debug, Error)]
pub enum TableError {
    #[error("{file}: empty; the first line must name the columns, for instance timestamp,value")]
    Empty { file: String },
    #[error("{file}: {reason}")]
    Columns { file: String, reason: String },
    #[error("{file}, line {line}, column {column}: {reason}")]
    Cell { file: String, line: u64, column: String, reason: String },
    #[error("{file}: {source}")]
    Csv { file: String, source: csv::Error },
}

/// One row of a table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// Index into [`Table::series`].
    pub series: u32,
    /// Seconds since 1970-01-01T00:00:00Z.
    pub time_s: i64,
    /// NaN: not there.
    pub value: f64,
}

/// Rows in the order of the input.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Names of the columns that tell series apart; none in wide form.
    pub key_names: Vec<String>,
    /// For each series, one text per key column.
    pub series: Vec<Vec<String>>,
    /// See [`Reading`].
    pub rows: Vec<Reading>,
    /// Rows whose time names no zone: taken as UTC.
    pub without_zone: u64,
}

/// Where a header has what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    pub time: usize,
    pub value: usize,
    pub keys: Vec<usize>,
}

impl Columns {
    /// By name, whatever the case: the first time column, then `value` or `count`, or in a table of two columns the
    /// other one. All others are keys.
    pub fn choose(names: &[&str]) -> Result<Columns, String> {
        let named = |wanted: &[&str]| {
            wanted.iter().find_map(|wanted| names.iter().position(|name| name.trim().eq_ignore_ascii_case(wanted)))
        };
        let found = names.join(", ");
        let time = named(&TIME_NAMES)
            .ok_or_else(|| format!("no time column among {found}; name one of them {}", TIME_NAMES.join(", ")))?;
        let only_other = (names.len() == 2).then_some(1 - time.min(1));
        let value = named(&VALUE_NAMES)
            .or(only_other)
            .ok_or_else(|| format!("no value column among {found}; name one of them {}", VALUE_NAMES.join(" or ")))?;
        let keys = (0..names.len()).filter(|&column| column != time && column != value).collect();
        Ok(Columns { time, value, keys })
    }
}

/// Grows a table row by row.
#[derive(Debug, Default)]
pub struct TableBuilder {
    table: Table,
    places: HashMap<Vec<u8>, u32>,
    last: Option<(Vec<u8>, u32)>,
    name: Vec<u8>,
}

impl TableBuilder {
    pub fn new(key_names: Vec<String>) -> TableBuilder {
        TableBuilder { table: Table { key_names, ..Table::default() }, ..TableBuilder::default() }
    }

    /// `keys` has one text per key column. A time that names no zone is counted.
    pub fn push<'a>(&mut self, keys: impl Iterator<Item = &'a str> + Clone, time: Time, value: f64) {
        self.name.clear();
        for key in keys.clone() {
            self.name.extend_from_slice(&(key.len() as u64).to_le_bytes());
            self.name.extend_from_slice(key.as_bytes());
        }
        // Rows of one series mostly follow each other.
        let series = match &self.last {
            Some((name, series)) if *name == self.name => *series,
            _ => {
                let series = *self.places.entry(self.name.clone()).or_insert_with(|| {
                    self.table.series.push(keys.map(str::to_owned).collect());
                    self.table.series.len() as u32 - 1
                });
                self.last = Some((self.name.clone(), series));
                series
            }
        };
        self.table.without_zone += u64::from(!time.has_zone);
        self.table.rows.push(Reading { series, time_s: time.second, value });
    }

    pub fn finish(self) -> Table {
        self.table
    }
}

/// Reads a CSV file with a header. `file` is its name in errors.
pub fn read_csv(file: &str, input: impl Read) -> Result<Table, TableError> {
    let wrong = |source| TableError::Csv { file: file.to_owned(), source };
    let mut reader = csv::ReaderBuilder::new().from_reader(input);
    let header = reader.headers().map_err(wrong)?.clone();
    if header.is_empty() || header.iter().all(|name| name.trim().is_empty()) {
        return Err(TableError::Empty { file: file.to_owned() });
    }
    let names: Vec<&str> = header.iter().collect();
    let columns = Columns::choose(&names).map_err(|reason| TableError::Columns { file: file.to_owned(), reason })?;
    let key_names = columns.keys.iter().map(|&column| names[column].trim().to_owned()).collect();
    let mut builder = TableBuilder::new(key_names);
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(wrong)? {
        let line = record.position().map_or(0, |position| position.line());
        let cell = |column: usize, reason: String| TableError::Cell {
            file: file.to_owned(),
            line,
            column: names[column].trim().to_owned(),
            reason,
        };
        let time = Time::parse(&record[columns.time]).map_err(|reason| cell(columns.time, reason))?;
        let value = parse_value(&record[columns.value]).map_err(|reason| cell(columns.value, reason))?;
        builder.push(columns.keys.iter().map(|&column| &record[column]), time, value);
    }
    Ok(builder.finish())
}

/// NaN where none is there.
fn parse_value(text: &str) -> Result<f64, String> {
    let text = text.trim();
    if MISSING_NAMES.iter().any(|name| text.eq_ignore_ascii_case(name)) {
        return Ok(f64::NAN);
    }
    let value: f64 =
        text.parse().map_err(|_| format!("{text:?} is not a number; leave it empty where there is none"))?;
    check_value(value)
}

/// Refuses what sums would lose.
pub fn check_value(value: f64) -> Result<f64, String> {
    if value.abs() > VALUE_MAX {
        return Err(format!("{value} is beyond {VALUE_MAX:e}; leave it empty or use a larger unit"));
    }
    Ok(value)
}

/// A point in time as a table gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    pub second: i64,
    pub has_zone: bool,
}

impl Time {
    /// RFC 3339, with `T` or a space, with or without seconds, fraction and zone; a date; seconds or milliseconds since
    /// 1970. Fractions are cut.
    pub fn parse(text: &str) -> Result<Time, String> {
        let text = text.trim();
        Time::of_text(text)
            .or_else(|| Time::of_number(text.parse().ok()?))
            .ok_or_else(|| format!("{text:?} is not a time like 2026-03-04T14:07:00Z, a date, or seconds since 1970"))
    }

    /// Seconds or milliseconds since 1970.
    pub fn of_number(number: i64) -> Option<Time> {
        let second = if number.unsigned_abs() >= EPOCH_MS_MIN { number.div_euclid(1_000) } else { number };
        Time::of_second(second)
    }

    /// None outside the years that a time may lie in.
    pub fn of_second(second: i64) -> Option<Time> {
        let year = DateTime::from_timestamp(second, 0)?.year();
        YEARS.contains(&year).then_some(Time { second, has_zone: true })
    }

    fn of_text(text: &str) -> Option<Time> {
        let (year, rest) = digits(text, 4)?;
        let (month, rest) = digits(rest.strip_prefix('-')?, 2)?;
        let (day, rest) = digits(rest.strip_prefix('-')?, 2)?;
        let year = i32::try_from(year).ok().filter(|year| YEARS.contains(year))?;
        let date = NaiveDate::from_ymd_opt(year, month as u32, day as u32)?;
        let midnight = date.and_hms_opt(0, 0, 0)?.and_utc().timestamp();
        if rest.is_empty() {
            return Some(Time { second: midnight, has_zone: false });
        }
        let (hour, rest) = digits(rest.strip_prefix(['T', 't', ' '])?, 2)?;
        let (minute, mut rest) = digits(rest.strip_prefix(':')?, 2)?;
        let mut second = 0;
        if let Some(seconds) = rest.strip_prefix(':') {
            (second, rest) = digits(seconds, 2)?;
            if let Some(fraction) = rest.strip_prefix('.') {
                rest = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            }
        }
        let in_day = hour < 24 && minute < 60 && second <= 60;
        let (offset, has_zone) = match rest.trim_start() {
            "" => (0, false),
            "Z" | "z" | "UTC" => (0, true),
            zone => {
                let sign = if zone.starts_with('-') { -1 } else { 1 };
                let (hours, rest) = digits(zone.strip_prefix(['+', '-'])?, 2)?;
                let rest = rest.strip_prefix(':').unwrap_or(rest);
                let (minutes, rest) = if rest.is_empty() { (0, rest) } else { digits(rest, 2)? };
                if !rest.is_empty() || hours > 15 || minutes > 59 {
                    return None;
                }
                (sign * (hours * 3_600 + minutes * 60), true)
            }
        };
        let second = midnight + hour * 3_600 + minute * 60 + second - offset;
        in_day.then_some(Time { second, has_zone })
    }
}

/// The number in the first `count` bytes, all digits, and the rest.
fn digits(text: &str, count: usize) -> Option<(i64, &str)> {
    let (number, rest) = text.split_at_checked(count)?;
    number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse().ok())?.map(|number| (number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_people_write_them() {
        let second = 1_530_626_400; // 2018-07-03T14:00:00Z
        for (text, has_zone) in [
            ("2018-07-03T14:00:00Z", true),
            ("2018-07-03 14:00:00", false),
            ("2018-07-03 14:00", false),
            ("2018-07-03T14:00:00.250Z", true),
            ("2018-07-03T16:00:00+02:00", true),
            ("2018-07-03T09:30:00-0430", true),
            ("2018-07-03 14:00:00 UTC", true),
            (" 2018-07-03T14:00:00+00 ", true),
            ("1530626400", true),
            ("1530626400000", true),
        ] {
            assert_eq!(Time::parse(text), Ok(Time { second, has_zone }), "{text}");
        }
        assert_eq!(Time::parse("2018-07-03").map(|time| time.second), Ok(second - 14 * 3_600));
        for text in
            ["", "now", "2018-13-01", "2018-02-30", "2018-07-03T25:00:00Z", "2018-07-03T14:00:00X", "9e9", "é018-07-03"]
        {
            assert!(Time::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn columns_are_told_by_name() {
        let choose = |names: &[&str]| Columns::choose(names).map(|columns| (columns.time, columns.value, columns.keys));
        assert_eq!(choose(&["timestamp", "value"]), Ok((0, 1, vec![])));
        assert_eq!(choose(&["Requests", "Timestamp"]), Ok((1, 0, vec![])));
        assert_eq!(choose(&["series", "timestamp_utc", "value"]), Ok((1, 2, vec![0])));
        assert_eq!(choose(&["account", "region", "minute_utc", "count"]), Ok((2, 3, vec![0, 1])));
        assert!(choose(&["a", "b"]).is_err_and(|reason| reason.contains("time column among a, b")));
        assert!(choose(&["time", "a", "b"]).is_err_and(|reason| reason.contains("value column")));
    }
}
