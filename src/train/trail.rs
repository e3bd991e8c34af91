//! [`Labelled::read`]: a trail on disk with its truth, as [`super::simulate`] writes it. Reads with the program's own
//! reader, so that what it gives is what a scan would count. Knows nothing of how the trail was made.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

use crate::event::{Category, Limits, MINUTES_PER_DAY, Minute, ObjectName, Reader};
use crate::source::{self, SourceError};
use crate::window::Tally;

use super::labelled::{Duty, Labelled, Truth, without_session};

/// Why a labelled trail cannot be read.
#[derive(Debug, Error)]
pub enum TrailError {
    #[error("{path}: {source}; a labelled trail has truth.json beside its objects, as `highwater simulate` writes it")]
    Open { path: PathBuf, source: std::io::Error },
    #[error("{path} is not a truth as `highwater simulate` writes it: {reason}")]
    Truth { path: PathBuf, reason: String },
    #[error("{path} lost an account while it was learned from")]
    Changed { path: PathBuf },
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("{object} cannot be read: {source}")]
    Object { object: String, source: std::io::Error },
}

/// `truth.json`: one account, or several under `accounts`.
#[derive(Deserialize)]
#[serde(untagged)]
enum TruthFile {
    Several { accounts: Vec<AccountTruth> },
    One(AccountTruth),
}

#[derive(Deserialize)]
struct AccountTruth {
    account: String,
    days: i64,
    warmup_days: i64,
    first: String,
    truth: Vec<Row>,
}

/// One attack or harmless change.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    account: String,
    region: String,
    event_source: String,
    event_name: String,
    kind: String,
    start: String,
    end: String,
    error_code: Option<String>,
    arn: Option<String>,
    #[serde(default)]
    optional: bool,
    #[serde(default)]
    insider: bool,
    #[serde(default)]
    benign: bool,
}

impl Labelled {
    /// The accounts of a trail: `truth.json` in `folder`, objects anywhere below it. Management events only, as a scan
    /// counts unless told otherwise; malformed records are passed over; accounts without a truth are left out.
    pub fn read(folder: &Path) -> Result<Vec<Labelled>, TrailError> {
        let path = folder.join("truth.json");
        let text = fs::read_to_string(&path).map_err(|source| TrailError::Open { path: path.clone(), source })?;
        let truth_error = |reason: String| TrailError::Truth { path: path.clone(), reason };
        let accounts = match serde_json::from_str(&text).map_err(|error| truth_error(error.to_string()))? {
            TruthFile::Several { accounts } => accounts,
            TruthFile::One(account) => vec![account],
        };
        let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
        for account in &accounts {
            tallies.insert(account.account.clone(), Tally::default());
        }
        count(folder, &mut tallies)?;
        let several = accounts.len() > 1;
        let mut list = Vec::new();
        for account in accounts {
            let first = time(&account.first).map_err(truth_error)?;
            let name = folder.display().to_string();
            list.push(Labelled {
                name: if several { format!("{name} {}", account.account) } else { name },
                live_from: Minute(first.0 + account.warmup_days * MINUTES_PER_DAY),
                end: Minute(first.0 + account.days * MINUTES_PER_DAY),
                calls: tallies.remove(&account.account).unwrap_or_default(),
                truths: account.truth.into_iter().map(Row::truth).collect::<Result<_, _>>().map_err(truth_error)?,
            });
        }
        Ok(list)
    }
}

/// Adds all events below `folder` to the tallies of their accounts.
fn count(folder: &Path, tallies: &mut BTreeMap<String, Tally>) -> Result<(), TrailError> {
    let found = source::find(&[folder.to_string_lossy().into_owned()])?;
    let (mut reader, mut buffer) = (Reader::new(), Vec::new());
    for object in &found.objects {
        let file = object.name.rsplit('/').next().unwrap_or_default();
        if file.starts_with("truth") {
            continue;
        }
        object.read(&mut buffer).map_err(|source| TrailError::Object { object: object.name.clone(), source })?;
        reader.read(&ObjectName::parse(&object.name), &buffer, &Limits::default(), &mut |event| {
            if event.category == Category::Management
                && let Some(tally) = tallies.get_mut(event.account_id)
            {
                tally.add(event);
            }
        });
    }
    Ok(())
}

impl Row {
    fn truth(self) -> Result<Truth, String> {
        let duty = match (self.benign, self.optional) {
            (true, _) => Duty::Benign,
            (false, true) => Duty::Optional,
            (false, false) => Duty::Required,
        };
        Ok(Truth {
            start: time(&self.start)?,
            end: time(&self.end)?,
            account_id: self.account,
            region: self.region,
            event_source: self.event_source,
            event_name: self.event_name,
            error_code: self.error_code,
            kind: self.kind,
            duty,
            insider: self.insider,
            arn: self.arn.map(|arn| without_session(&arn).to_owned()),
        })
    }
}

/// The minute of a time like `2026-03-04T14:07:00Z`.
fn time(text: &str) -> Result<Minute, String> {
    let time = chrono::DateTime::parse_from_rfc3339(text).map_err(|_| format!("{text:?} is not a time"))?;
    Ok(Minute::of_second(time.timestamp()))
}
