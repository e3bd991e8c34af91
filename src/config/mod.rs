//! [`Settings`]: what decides how a trail is read and judged, from `highwater.toml` and from the environment
//! (`HIGHWATER_*`); commands lay their flags on top, with the same parsers. `sidecar` reads the tables that only
//! `highwater watch` has, `schema` describes them all. Knows no command and no model.
//!
//! A value is text wherever it stands, so that a file, a variable and a flag can never disagree about what it means.

mod schema;
mod sidecar;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use chrono::NaiveDate;
use thiserror::Error;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::detector::{CallRate, Options};
pub use schema::schema;
pub use sidecar::{Sidecar, Watch, parse_memory};

/// Looked for in the current directory where no other file is named.
pub const FILE_NAME: &str = "highwater.toml";

/// What is no setting but a table of `highwater watch`: see [`Sidecar`].
const TABLES: [&str; 3] = ["watch", "source", "sink"];

/// Before the name of a setting, in upper case, in the environment.
pub const ENVIRONMENT_PREFIX: &str = "HIGHWATER_";

#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub call_rate: CallRate,
    /// Also reports hours far below the forecast.
    pub drops: bool,
    /// Also reports jobs by the clock that did not come.
    pub missed_jobs: bool,
    /// Days since 1970 (UTC) on which silence is not reported.
    pub holidays: BTreeSet<u32>,
    /// A score at or above it is an alarm; `None`: the model's own line.
    pub threshold: Option<f64>,
    /// Instead of a threshold: false alarms per account and week.
    pub budget_per_week: Option<f64>,
    /// Directory with models to use instead of the ones that ship.
    pub model: Option<PathBuf>,
    /// Events older than their day of delivery by more than this are late. `None`: what suits the command.
    pub lateness: Option<Lateness>,
    /// Largest decompressed object.
    pub object_mib_max: usize,
    /// `None`: one for each core.
    pub threads: Option<usize>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            call_rate: CallRate::default(),
            drops: false,
            missed_jobs: false,
            holidays: BTreeSet::new(),
            threshold: None,
            budget_per_week: None,
            model: None,
            lateness: None,
            object_mib_max: 256,
            threads: None,
        }
    }
}

/// Why settings cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    #[error("{path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{place}: {reason}")]
    Syntax { place: String, reason: String },
    #[error("{place}: there is no setting {name}; {hint}")]
    Unknown { place: String, name: String, hint: String },
    #[error("{place}: {name}: {reason}")]
    Value { place: String, name: String, reason: String },
}

type Set = fn(&mut Settings, &str) -> Result<(), String>;

/// A setting.
struct Key {
    /// In a file; in the environment it is upper case.
    name: &'static str,
    /// For the schema.
    meaning: &'static str,
    /// How it is written in a file.
    written: Written,
    set: Set,
}

#[derive(Clone, Copy)]
enum Written {
    Number,
    Whole,
    Flag,
    /// As one of these.
    Choice(&'static [&'static str]),
    /// As a text of this regular expression.
    Text(&'static str),
}

const KEYS: [Key; 10] = [
    Key {
        name: "call_rate",
        meaning: "Which management calls the call rate counts: write, as AWS does, or all.",
        written: Written::Choice(&["write", "all"]),
        set: |settings, text| parse_call_rate(text).map(|value| settings.call_rate = value),
    },
    Key {
        name: "direction",
        meaning: "up, or both to report hours far below the forecast too.",
        written: Written::Choice(&["up", "both"]),
        set: |settings, text| parse_direction(text).map(|value| settings.drops = value),
    },
    Key {
        name: "missed_jobs",
        meaning: "Also reports jobs that come by the clock and did not come.",
        written: Written::Flag,
        set: |settings, text| parse_flag(text).map(|value| settings.missed_jobs = value),
    },
    Key {
        name: "holidays",
        meaning: "Dates on which silence is not reported, with commas between them.",
        written: Written::Text(r"^(\s*\d{4}-\d{2}-\d{2}\s*(,|$))*$"),
        set: |settings, text| parse_days(text).map(|value| settings.holidays = value),
    },
    Key {
        name: "threshold",
        meaning: "Score from which on a minute is an alarm.",
        written: Written::Number,
        set: |settings, text| parse_threshold(text).map(|value| settings.threshold = Some(value)),
    },
    Key {
        name: "budget",
        meaning: "Instead of a threshold: false alarms per account that are put up with, such as 3/week.",
        written: Written::Text(r"^\d+(\.\d+)?/(day|week|month)$"),
        set: |settings, text| parse_budget(text).map(|value| settings.budget_per_week = Some(value)),
    },
    Key {
        name: "model",
        meaning: "Directory with models made by `highwater train`, to use instead of the ones that ship.",
        written: Written::Text("."),
        set: |settings, text| {
            settings.model = Some(PathBuf::from(text));
            Ok(())
        },
    },
    Key {
        name: "lateness",
        meaning: "How late an event may come: see `highwater scan --help` and docs/sidecar.md.",
        written: Written::Text(r"^(\d+[mhdw]|auto)$"),
        set: |settings, text| parse_lateness(text).map(|value| settings.lateness = Some(value)),
    },
    Key {
        name: "object_max",
        meaning: "Largest decompressed object, in MiB.",
        written: Written::Whole,
        set: |settings, text| parse_mebibytes(text).map(|value| settings.object_mib_max = value),
    },
    Key {
        name: "threads",
        meaning: "Threads to use; by default one for each core.",
        written: Written::Whole,
        set: |settings, text| parse_threads(text).map(|value| settings.threads = Some(value)),
    },
];

/// The file that was named, or the usual one if it is there.
pub fn found(file: Option<&Path>) -> Option<&Path> {
    file.or(Some(Path::new(FILE_NAME)).filter(|path| path.exists()))
}

fn read_text(path: &Path) -> Result<String, ConfigError> {
    fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })
}

/// `FILE:LINE`.
fn line_of(text: &str, name: &str, offset: usize) -> String {
    let before = &text.as_bytes()[..offset.min(text.len())];
    format!("{name}:{}", before.iter().filter(|byte| **byte == b'\n').count() + 1)
}

fn parse_table<'t>(text: &'t str, name: &str) -> Result<Spanned<DeTable<'t>>, ConfigError> {
    DeTable::parse(text).map_err(|error| ConfigError::Syntax {
        place: line_of(text, name, error.span().map_or(0, |span| span.start)),
        reason: error.message().to_owned(),
    })
}

impl Settings {
    /// Defaults, then the file, then the environment: what comes later wins. `file`: `None` looks for [`FILE_NAME`] and
    /// is content without it.
    pub fn read(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Settings, ConfigError> {
        let mut settings = Settings::default();
        if let Some(path) = found(file) {
            settings.read_toml(&read_text(path)?, &path.display().to_string())?;
        }
        settings.read_environment(environment)?;
        Ok(settings)
    }

    /// Lays the settings of a TOML text over these; `name` is what messages call it.
    pub fn read_toml(&mut self, text: &str, name: &str) -> Result<(), ConfigError> {
        let table = parse_table(text, name)?;
        let place = |offset: usize| line_of(text, name, offset);
        let mut keys: Vec<_> = table.get_ref().iter().collect();
        keys.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in keys {
            let (place, name) = (place(key.span().start), key.get_ref().to_string());
            if TABLES.contains(&&*name) {
                continue;
            }
            let set = setter(&name).ok_or_else(|| unknown(place.clone(), &name, str::to_owned))?;
            let text = match value.get_ref() {
                DeValue::String(text) => text.to_string(),
                DeValue::Integer(number) if number.radix() == 10 => number.as_str().to_owned(),
                DeValue::Float(number) => number.as_str().to_owned(),
                DeValue::Boolean(flag) => flag.to_string(),
                other => {
                    let reason = format!("a {} is no value for it", other.type_str());
                    return Err(ConfigError::Value { place, name, reason });
                }
            };
            set(self, &text).map_err(|reason| ConfigError::Value { place, name, reason })?;
        }
        Ok(())
    }

    /// Lays the variables over these settings. Others than ours may begin with the prefix: a variable that is no setting
    /// is an error only where it looks like a misspelt one.
    fn read_environment(&mut self, variables: impl Iterator<Item = (String, String)>) -> Result<(), ConfigError> {
        let mut variables: Vec<(String, String)> = variables.collect();
        variables.sort();
        for (variable, value) in variables {
            let Some(name) = variable.strip_prefix(ENVIRONMENT_PREFIX).map(str::to_ascii_lowercase) else { continue };
            let place = "the environment".to_owned();
            match setter(&name) {
                Some(set) => {
                    set(self, &value).map_err(|reason| ConfigError::Value { place, name: variable, reason })?;
                }
                None if nearest(&name).is_some() => {
                    let spelt = |key: &str| format!("{ENVIRONMENT_PREFIX}{}", key.to_ascii_uppercase());
                    return Err(unknown(place, &variable, spelt));
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Those that the detector takes.
    pub fn detector(&self) -> Options {
        let &Settings { call_rate, drops, missed_jobs, threshold, budget_per_week, .. } = self;
        let holidays = self.holidays.clone();
        Options { call_rate, drops, missed_jobs, holidays, threshold, budget_per_week, ..Options::default() }
    }
}

fn setter(name: &str) -> Option<Set> {
    KEYS.iter().find(|key| key.name == name).map(|key| key.set)
}

/// `spelt` writes a setting's name as it stands in that place.
fn unknown(place: String, name: &str, spelt: impl Fn(&str) -> String) -> ConfigError {
    let key = name.strip_prefix(ENVIRONMENT_PREFIX).unwrap_or(name).to_ascii_lowercase();
    let hint = match nearest(&key) {
        Some(key) => format!("did you mean {}?", spelt(key)),
        None => {
            let names: Vec<String> = KEYS.iter().map(|key| spelt(key.name)).collect();
            format!("there are {}", names.join(", "))
        }
    };
    ConfigError::Unknown { place, name: name.to_owned(), hint }
}

/// The setting that is spelt almost so: a third of its letters may be wrong.
fn nearest(name: &str) -> Option<&'static str> {
    let plain = name.replace('-', "_");
    let names = KEYS.iter().map(|key| key.name).chain(TABLES);
    names
        .map(|name| (strsim::osa_distance(&plain, name), name))
        .min()
        .filter(|(edits, key)| *edits <= key.len() / 3)
        .map(|(_, key)| key)
}

/// Alerts a week: `3/week`, `1/day`, `10/month`.
pub fn parse_budget(text: &str) -> Result<f64, String> {
    let wrong = || format!("{text}: not a number of alerts in a time, like 3/week, 1/day or 10/month");
    let (number, unit) = text.split_once('/').ok_or_else(wrong)?;
    let days = match unit {
        "day" => 1.0,
        "week" => 7.0,
        "month" => 30.0,
        _ => return Err(wrong()),
    };
    match number.parse::<f64>() {
        Ok(number) if number.is_finite() && number >= 0.0 => Ok(number * 7.0 / days),
        _ => Err(wrong()),
    }
}

/// `write` or `all`.
pub fn parse_call_rate(text: &str) -> Result<CallRate, String> {
    match text {
        "write" => Ok(CallRate::Write),
        "all" => Ok(CallRate::All),
        _ => Err(format!("{text}: neither write nor all")),
    }
}

/// `up`, or `both`: drops too.
pub fn parse_direction(text: &str) -> Result<bool, String> {
    match text {
        "up" => Ok(false),
        "both" => Ok(true),
        _ => Err(format!("{text}: neither up nor both")),
    }
}

/// `true` or `false`.
pub fn parse_flag(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| format!("{text}: neither true nor false"))
}

/// Dates separated by commas: `2026-12-25, 2026-12-26`; days since 1970.
pub fn parse_days(text: &str) -> Result<BTreeSet<u32>, String> {
    let day = |part: &str| {
        let date: Option<NaiveDate> = part.trim().parse().ok();
        let day = date.and_then(|date| u32::try_from(date.to_epoch_days()).ok());
        day.ok_or_else(|| format!("{}: not a date like 2026-12-25", part.trim()))
    };
    text.split(',').filter(|part| !part.trim().is_empty()).map(day).collect()
}

pub fn parse_threshold(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(threshold) if threshold.is_finite() => Ok(threshold),
        _ => Err(format!("{text}: not a number like -0.3")),
    }
}

/// How late an event may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lateness {
    Minutes(i64),
    /// Learned by the sidecar from what it observes; elsewhere what suits the command.
    Auto,
}

impl Lateness {
    /// In minutes, where it was given.
    pub fn minutes(self) -> Option<i64> {
        match self {
            Lateness::Minutes(minutes) => Some(minutes),
            Lateness::Auto => None,
        }
    }
}

/// A length of time, or `auto`.
pub fn parse_lateness(text: &str) -> Result<Lateness, String> {
    match text {
        "auto" => Ok(Lateness::Auto),
        text => parse_minutes(text).map(Lateness::Minutes),
    }
}

/// `90d`, `12h`, `30m`, `2w`, in minutes.
pub fn parse_minutes(text: &str) -> Result<i64, String> {
    let wrong = || format!("{text}: not a length of time like 90d, 12h, 30m or 2w");
    let (number, unit) = text.split_at_checked(text.len().wrapping_sub(1)).ok_or_else(wrong)?;
    let unit = match unit {
        "m" => 1,
        "h" => 60,
        "d" => 1_440,
        "w" => 10_080,
        _ => return Err(wrong()),
    };
    let number: u32 = number.parse().map_err(|_| wrong())?;
    Ok(i64::from(number) * unit)
}

/// A number of MiB whose bytes a machine can count.
pub fn parse_mebibytes(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(mebibytes) if (1..=usize::MAX >> 20).contains(&mebibytes) => Ok(mebibytes),
        _ => Err(format!("{text}: not a number of MiB like 256")),
    }
}

pub fn parse_threads(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(threads @ 1..=1_024) => Ok(threads),
        _ => Err(format!("{text}: not a number of threads like 4")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_setting_is_named() {
        assert_eq!(nearest("treshold"), Some("threshold"));
        assert_eq!(nearest("mdoel"), Some("model"));
        assert_eq!(nearest("call-rate"), Some("call_rate"));
        assert_eq!(nearest("result"), None);
    }

    #[test]
    fn lengths_of_time() {
        assert_eq!(parse_minutes("90d"), Ok(90 * 1440));
        assert_eq!(parse_minutes("30m"), Ok(30));
        assert!(["", "d", "3", "3y", "-3d", "3é", "999999999999d"].iter().all(|text| parse_minutes(text).is_err()));
    }
}
