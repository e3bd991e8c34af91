//! Verdicts and incidents as CSV and JSON lines. Knows columns and how numbers are written; no files.

use std::io::{self, Write};

use chrono::{DateTime, Timelike};
use serde_json::Value;

use super::incident::Incident;
use super::series::Scored;
use super::table::Table;

/// Digits that an expectation has; the value itself is written in full.
const DIGITS: usize = 6;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Csv,
    /// One object a line.
    Json,
}

/// The columns after the keys.
const ROW_COLUMNS: [&str; 7] = ["timestamp", "value", "expected", "lower", "upper", "score", "flag"];
const INCIDENT_COLUMNS: [&str; 7] = ["start", "end", "peak_score", "observed", "expected", "direction", "sentence"];

/// One line for each row of the table, in its order, with the key columns in front.
pub fn write_rows(table: &Table, scored: &Scored, format: Format, out: impl Write) -> io::Result<()> {
    let mut lines = Lines::new(&table.key_names, &ROW_COLUMNS, format, out)?;
    for (reading, verdict) in table.rows.iter().zip(&scored.verdicts) {
        let bound = |bound: fn((f64, f64)) -> f64| verdict.band.map_or(f64::NAN, bound);
        lines.write(
            &table.series[reading.series as usize],
            [
                Cell::Text(&time(reading.time_s)),
                Cell::Number(reading.value, usize::MAX),
                Cell::Number(verdict.expected.unwrap_or(f64::NAN), DIGITS),
                Cell::Number(bound(|(lower, _)| lower), DIGITS),
                Cell::Number(bound(|(_, upper)| upper), DIGITS),
                Cell::Number(verdict.score, DIGITS),
                Cell::Number(f64::from(u8::from(verdict.flag)), 1),
            ],
        )?;
    }
    lines.finish()
}

/// One line for each incident, with the key columns in front.
pub fn write_incidents(table: &Table, incidents: &[Incident], format: Format, out: impl Write) -> io::Result<()> {
    let mut lines = Lines::new(&table.key_names, &INCIDENT_COLUMNS, format, out)?;
    for incident in incidents {
        lines.write(
            &table.series[incident.series as usize],
            [
                Cell::Text(&time(incident.start_s)),
                Cell::Text(&time(incident.end_s)),
                Cell::Number(incident.peak_score, DIGITS),
                Cell::Number(incident.observed, usize::MAX),
                Cell::Number(incident.expected, DIGITS),
                Cell::Text(incident.direction.as_str()),
                Cell::Text(&incident.sentence()),
            ],
        )?;
    }
    lines.finish()
}

enum Cell<'a> {
    Text(&'a str),
    /// With so many digits; NaN is left empty.
    Number(f64, usize),
}

/// Writes lines of the same columns.
enum Lines<'a, W: Write> {
    Csv(Box<csv::Writer<W>>),
    Json { names: Vec<&'a str>, out: W },
}

impl<'a, W: Write> Lines<'a, W> {
    fn new(key_names: &'a [String], columns: &[&'a str], format: Format, out: W) -> io::Result<Lines<'a, W>> {
        let names: Vec<&str> = key_names.iter().map(String::as_str).chain(columns.iter().copied()).collect();
        match format {
            Format::Csv => {
                let mut writer = csv::Writer::from_writer(out);
                writer.write_record(&names)?;
                Ok(Lines::Csv(Box::new(writer)))
            }
            Format::Json => Ok(Lines::Json { names, out }),
        }
    }

    fn write(&mut self, keys: &[String], cells: [Cell<'_>; 7]) -> io::Result<()> {
        match self {
            Lines::Csv(writer) => {
                for key in keys {
                    writer.write_field(key)?;
                }
                for cell in cells {
                    match cell {
                        Cell::Text(text) => writer.write_field(text)?,
                        Cell::Number(value, digits) => writer.write_field(number(value, digits))?,
                    }
                }
                writer.write_record(None::<&[u8]>)?;
            }
            Lines::Json { names, out } => {
                let cells = cells.into_iter().map(|cell| match cell {
                    Cell::Text(text) => Value::from(text).to_string(),
                    Cell::Number(value, _) if value.is_nan() => "null".to_owned(),
                    Cell::Number(value, digits) => number(value, digits),
                });
                let values = keys.iter().map(|key| Value::from(key.as_str()).to_string()).chain(cells);
                let pairs: Vec<String> =
                    names.iter().zip(values).map(|(name, value)| format!("{}:{value}", Value::from(*name))).collect();
                writeln!(out, "{{{}}}", pairs.join(","))?;
            }
        }
        Ok(())
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Lines::Csv(mut writer) => writer.flush(),
            Lines::Json { mut out, .. } => out.flush(),
        }
    }
}

/// With at most so many significant digits, never an exponent below 1e15; empty where it is not finite.
pub(super) fn number(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return String::new();
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    if digits == usize::MAX {
        return if value.abs() < 1e15 { value.to_string() } else { format!("{value:e}") };
    }
    let magnitude = value.abs().log10().floor();
    let decimals = digits as f64 - 1.0 - magnitude;
    if magnitude >= 15.0 || decimals > 300.0 {
        return format!("{value:.*e}", digits.saturating_sub(1));
    }
    // The shortest text of the nearest number with so many digits: much faster than printing so many digits exactly.
    let scale = 10f64.powf(decimals.abs());
    let rounded = if decimals >= 0.0 { (value * scale).round() / scale } else { (value / scale).round() * scale };
    rounded.to_string()
}

/// `2026-03-04T14:07:00Z`
pub(super) fn time(second: i64) -> String {
    let Some(time) = DateTime::from_timestamp(second, 0) else { return second.to_string() };
    let (hour, minute, second) = (time.hour(), time.minute(), time.second());
    format!("{}T{hour:02}:{minute:02}:{second:02}Z", time.date_naive())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_exact_enough() {
        for (value, digits, text) in [
            (0.0, 6, "0"),
            (-0.5, 6, "-0.5"),
            (1234.5678, 6, "1234.57"),
            (123_456_789.0, 6, "123457000"),
            (0.000_123_456_789, 6, "0.000123457"),
            (9.9999999, 6, "10"),
            (f64::NAN, 6, ""),
            (1e300, 6, "1.00000e300"),
            (1e-300, 2, "1.0e-300"),
            (104.0, usize::MAX, "104"),
            (0.1, usize::MAX, "0.1"),
            (1e18, usize::MAX, "1e18"),
        ] {
            assert_eq!(number(value, digits), text);
        }
        assert_eq!(time(1_530_626_400), "2018-07-03T14:00:00Z");
    }
}
