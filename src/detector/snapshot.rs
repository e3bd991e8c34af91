//! A detector's whole state as bytes and back, so that a run can stop and another go on as if nothing had happened.
//! Knows no file: writing them safely is the store's work.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::account::Account;
use super::incidents::Incidents;
use super::series::Series;
use super::{Callers, Detector, Key, Options};
use crate::event::Minute;
use crate::judge::{Model, Reached};
use crate::window::{Dictionary, Tally};

/// Raised with every change of what is stored.
const VERSION: u32 = 8;

/// Why a snapshot cannot be used.
#[derive(Debug, Error)]
pub enum SnapshotError {
    #[error("the snapshot is damaged or no snapshot: {0}")]
    Damaged(#[from] postcard::Error),
    #[error("the snapshot has version {0}; this program reads version {VERSION}")]
    Version(u32),
    #[error("the snapshot was made with the models {0}; in use are {1}")]
    Model(String, String),
    #[error("the snapshot is damaged: a series names a caller that is not there")]
    Caller,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    frontier: i64,
    model: String,
    accounts: Vec<(String, Account)>,
    organisation: (u32, Vec<([String; 5], String, Reached)>),
    active_hours: Vec<(String, String, Vec<u32>)>,
    series: Vec<([String; 5], String, Series)>,
    coarse: Vec<[String; 4]>,
    fine: Vec<[String; 3]>,
    incidents: Incidents,
    tally: Vec<u8>,
}

fn lists<const N: usize>(dictionary: &Dictionary<N>) -> Vec<[String; N]> {
    (0..dictionary.len() as u32).map(|id| dictionary.get(id).map(str::to_owned)).collect()
}

fn dictionary<const N: usize>(lists: &[[String; N]]) -> Dictionary<N> {
    let mut dictionary = Dictionary::default();
    for list in lists {
        dictionary.intern(&list.each_ref().map(String::as_str));
    }
    dictionary
}

impl Detector {
    /// Names and versions of all that was learned in training.
    fn models(&self) -> String {
        [&self.model.name, &self.pooled.priors.name, &self.pooled.seasons.name].map(String::as_str).join(", ")
    }

    /// The whole state, counts still open included.
    pub fn snapshot(&self) -> Result<Vec<u8>, SnapshotError> {
        let texts = |key: &Key| {
            let error_code = self.names.get(key.error_code).to_owned();
            (self.names.api(*key).map(str::to_owned), error_code)
        };
        let stored = Stored {
            frontier: self.frontier.0,
            model: self.models(),
            accounts: self
                .accounts
                .iter()
                .map(|(account, known)| (self.names.get(*account).to_owned(), *known))
                .collect(),
            organisation: (
                self.organisation.day,
                self.organisation
                    .reached
                    .iter()
                    .map(|(key, reached)| {
                        let (api, error_code) = texts(key);
                        (api, error_code, *reached)
                    })
                    .collect(),
            ),
            active_hours: self
                .active_hours
                .iter()
                .map(|((account, region), hours)| {
                    let [account, region] = [account, region].map(|name| self.names.get(*name).to_owned());
                    (account, region, hours.iter().copied().collect())
                })
                .collect(),
            series: self
                .keys
                .iter()
                .zip(&self.series)
                .map(|(key, series)| {
                    let (api, error_code) = texts(key);
                    (api, error_code, series.clone())
                })
                .collect(),
            coarse: lists(&self.callers.coarse),
            fine: lists(&self.callers.fine),
            incidents: self.incidents.clone(),
            tally: self.tally.to_bytes()?,
        };
        let mut bytes = VERSION.to_le_bytes().to_vec();
        bytes.extend(postcard::to_stdvec(&stored)?);
        Ok(bytes)
    }

    /// A detector that goes on where the snapshot was taken, with the same model and the shipped forecast.
    pub fn restore(options: Options, model: Model, bytes: &[u8]) -> Result<Detector, SnapshotError> {
        Detector::new(options, model).restored(bytes)
    }

    /// This detector, still without counts, as it goes on where the snapshot was taken; with the same models.
    pub fn restored(self, bytes: &[u8]) -> Result<Detector, SnapshotError> {
        let (version, rest) = bytes.split_first_chunk().ok_or(postcard::Error::DeserializeUnexpectedEnd)?;
        match u32::from_le_bytes(*version) {
            VERSION => {}
            other => return Err(SnapshotError::Version(other)),
        }
        let stored: Stored = postcard::from_bytes(rest)?;
        let mut callers = Callers { fine: dictionary(&stored.fine), ..Callers::new() };
        stored.coarse.iter().for_each(|list| _ = callers.intern_coarse(&list.each_ref().map(String::as_str)));
        let (coarse, fine) = (callers.coarse.len() as u32, callers.fine.len() as u32);
        let mut detector = self;
        if stored.model != detector.models() {
            return Err(SnapshotError::Model(stored.model, detector.models()));
        }
        let mut all_known = true;
        for (api, error_code, mut series) in stored.series {
            series.renumber(|caller| {
                all_known &= caller.coarse < coarse && caller.fine < fine;
                caller
            });
            let key = detector.names.key(api.each_ref().map(String::as_str), &error_code);
            detector.keys.push(key);
            detector.series.push(series);
        }
        if !all_known {
            return Err(SnapshotError::Caller);
        }
        detector.rebuild_index();
        detector.callers = callers;
        detector.frontier = Minute(stored.frontier);
        for (account, known) in &stored.accounts {
            let account = detector.names.intern(account);
            detector.accounts.insert(account, *known);
        }
        detector.organisation.day = stored.organisation.0;
        for (api, error_code, reached) in &stored.organisation.1 {
            let key = detector.names.key(api.each_ref().map(String::as_str), error_code);
            detector.organisation.reached.insert(key, *reached);
        }
        for (account, region, hours) in stored.active_hours {
            let place = (detector.names.intern(&account), detector.names.intern(&region));
            detector.active_hours.insert(place, hours.into_iter().collect());
        }
        detector.incidents = stored.incidents;
        detector.tally = Tally::from_bytes(&stored.tally)?;
        Ok(detector)
    }
}
