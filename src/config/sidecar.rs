//! [`Sidecar`]: what `highwater.toml` says of `highwater watch` beside the settings: its own table, its sources and its
//! sinks. Knows how they are written, and what is wrong with them; not what becomes of them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::de::{self, DeserializeOwned};
use serde::{Deserialize, Deserializer};
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::{ConfigError, TABLES, found, line_of, parse_table, read_text};
use crate::sink::Sink;
use crate::source::{Source, listing};
use crate::watch::MEMORY_MIN;

/// The tables of a file that only the sidecar reads.
#[derive(Debug, Default, PartialEq)]
pub struct Sidecar {
    pub watch: Watch,
    pub sources: Vec<Source>,
    pub sinks: Vec<Sink>,
}

/// What the sidecar does; flags of `highwater watch` come before it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Watch {
    /// The directory in which the sidecar keeps what it knows.
    pub state: Option<PathBuf>,
    /// s3://BUCKET/PREFIX where the state is kept too: then the directory may be lost.
    pub mirror: Option<String>,
    /// A ceiling of the sidecar's memory, such as 256MiB or 1GiB: what was not called for longest is forgotten.
    #[serde(deserialize_with = "memory")]
    #[schemars(with = "Option<String>")]
    pub memory: Option<u64>,
    /// A file that gets each insight too.
    pub insights: Option<PathBuf>,
    /// Where health and metrics are served, such as 127.0.0.1:9465.
    pub status: Option<SocketAddr>,
    /// Only these accounts.
    pub accounts: Vec<String>,
    /// Only these Regions.
    pub regions: Vec<String>,
    /// Scores data events too.
    pub data_events: bool,
}

impl Sidecar {
    /// Reads a file, or [`super::FILE_NAME`] if there is one.
    pub fn read(file: Option<&Path>) -> Result<Sidecar, ConfigError> {
        match found(file) {
            Some(path) => Sidecar::parse(&read_text(path)?, &path.display().to_string()),
            None => Ok(Sidecar::default()),
        }
    }

    /// `name` is what messages call the text.
    pub fn parse(text: &str, name: &str) -> Result<Sidecar, ConfigError> {
        let mut table = parse_table(text, name)?.into_inner();
        let [watch, sources, sinks] = TABLES;
        let sidecar = Sidecar {
            watch: part(&mut table, watch, text, name)?,
            sources: part(&mut table, sources, text, name)?,
            sinks: part(&mut table, sinks, text, name)?,
        };
        if let Some(mirror) = &sidecar.watch.mirror
            && listing::place(mirror).is_none()
        {
            let reason = format!("{mirror}: not like s3://BUCKET/PREFIX");
            return Err(ConfigError::Value { place: name.to_owned(), name: "mirror".to_owned(), reason });
        }
        let checks = sidecar.sources.iter().map(Source::check).map(|check| (sources, check));
        let checks = checks.enumerate().chain(sidecar.sinks.iter().map(|sink| (sinks, sink.check())).enumerate());
        for (place, (table, check)) in checks {
            let number = place + 1;
            check.map_err(|reason| ConfigError::Value {
                place: name.to_owned(),
                name: format!("{table} number {number}"),
                reason,
            })?;
        }
        crate::sink::names(&sidecar.sinks).map_err(|reason| ConfigError::Value {
            place: name.to_owned(),
            name: sinks.to_owned(),
            reason,
        })?;
        Ok(sidecar)
    }
}

fn part<T: DeserializeOwned + Default>(
    table: &mut DeTable<'_>,
    key: &str,
    text: &str,
    file: &str,
) -> Result<T, ConfigError> {
    let Some((_, value)) = table.remove_entry(key) else { return Ok(T::default()) };
    let begin = value.span().start;
    T::deserialize(deserializer(value)).map_err(|error| ConfigError::Value {
        place: line_of(text, file, error.span().map_or(begin, |span| span.start)),
        name: key.to_owned(),
        reason: with_hint(error.message()),
    })
}

fn deserializer(value: Spanned<DeValue<'_>>) -> ValueDeserializer<'_> {
    ValueDeserializer::from(value)
}

fn memory<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    parse_memory(&String::deserialize(deserializer)?).map(Some).map_err(de::Error::custom)
}

/// `256MiB`, `1GiB`.
pub fn parse_memory(text: &str) -> Result<u64, String> {
    let size = |unit: &str, shift: u32| {
        let number: u64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
        number.checked_mul(1 << shift)
    };
    match size("MiB", 20).or_else(|| size("GiB", 30)) {
        Some(bytes) if bytes >= MEMORY_MIN => Ok(bytes),
        Some(_) => Err(format!("{text}: too little; at least {}MiB", MEMORY_MIN >> 20)),
        None => Err(format!("{text}: not a size like 256MiB or 1GiB")),
    }
}

/// A misspelt name is told with the one that was meant: serde lists names between backticks, the wrong one first.
fn with_hint(message: &str) -> String {
    let names: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let Some((wrong, known)) = names.split_first().filter(|_| message.starts_with("unknown ")) else {
        return message.to_owned();
    };
    let near =
        known.iter().map(|name| (strsim::osa_distance(&wrong.to_lowercase().replace('-', "_"), name), name)).min();
    match near.filter(|(edits, name)| *edits <= name.len() / 3) {
        Some((_, name)) => format!("{wrong} is unknown; did you mean {name}?"),
        None => format!("{wrong} is unknown; there are {}", known.join(", ")),
    }
}
