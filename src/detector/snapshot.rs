//! A detector's whole state as bytes and back, so that a run can stop and another go on as if nothing had happened.
//! Knows no file: writing them safely is the store's work.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::quality::FixedState;
use hashbrown::HashTable;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::series::Series;
use super::{Callers, Detector, Options, shared};
use crate::event::{Category, Minute};
use crate::insight::SeriesKey;
use crate::judge::Model;
use crate::window::{Api, Dictionary, Tally};

/// Raised with every change of what is stored.
const VERSION: u32 = 1;

/// Why a snapshot cannot be used.
#[derive(Debug, Error)]
pub enum SnapshotError {
    #[error("the snapshot is damaged or no snapshot: {0}")]
    Damaged(#[from] postcard::Error),
    #[error("the snapshot has version {0}; this program reads version {VERSION}")]
    Version(u32),
    #[error("the snapshot was made with the model {0}; the model in use is {1}")]
    Model(String, String),
    #[error("the snapshot is damaged: a series names a caller that is not there")]
    Caller,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    frontier: i64,
    model: String,
    accounts: Vec<(String, u32)>,
    active_hours: Vec<(String, String, Vec<u32>)>,
    series: Vec<([String; 4], bool, Option<String>, Series)>,
    coarse: Vec<[String; 4]>,
    fine: Vec<[String; 3]>,
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
    /// The whole state, counts still open included.
    pub fn snapshot(&self) -> Result<Vec<u8>, SnapshotError> {
        let stored = Stored {
            frontier: self.frontier.0,
            model: self.model.name.clone(),
            accounts: self.accounts.iter().map(|(account, minute)| (account.to_string(), *minute)).collect(),
            active_hours: self
                .active_hours
                .iter()
                .map(|((account, region), hours)| {
                    (account.to_string(), region.to_string(), hours.iter().copied().collect())
                })
                .collect(),
            series: self
                .keys
                .iter()
                .zip(&self.series)
                .map(|(key, series)| {
                    let api = &key.api;
                    let names = [&api.account_id, &api.region, &api.event_source, &api.event_name];
                    let error = key.error_code.as_deref().map(str::to_owned);
                    (names.map(|name| name.to_string()), api.category == Category::Data, error, series.clone())
                })
                .collect(),
            coarse: lists(&self.callers.coarse),
            fine: lists(&self.callers.fine),
            tally: self.tally.to_bytes()?,
        };
        let mut bytes = VERSION.to_le_bytes().to_vec();
        bytes.extend(postcard::to_stdvec(&stored)?);
        Ok(bytes)
    }

    /// A detector that goes on where the snapshot was taken, with the same model.
    pub fn restore(options: Options, model: Model, bytes: &[u8]) -> Result<Detector, SnapshotError> {
        let (version, rest) = bytes.split_first_chunk().ok_or(postcard::Error::DeserializeUnexpectedEnd)?;
        match u32::from_le_bytes(*version) {
            VERSION => {}
            other => return Err(SnapshotError::Version(other)),
        }
        let stored: Stored = postcard::from_bytes(rest)?;
        if stored.model != model.name {
            return Err(SnapshotError::Model(stored.model, model.name));
        }
        let mut strings = HashSet::new();
        let callers = Callers { coarse: dictionary(&stored.coarse), fine: dictionary(&stored.fine) };
        let (coarse, fine) = (callers.coarse.len() as u32, callers.fine.len() as u32);
        let mut detector = Detector::new(options, model);
        let mut all_known = true;
        for ([account, region, source, name], data, error, mut series) in stored.series {
            let api = Arc::new(Api {
                account_id: shared(&mut strings, &account),
                region: shared(&mut strings, &region),
                event_source: shared(&mut strings, &source),
                event_name: shared(&mut strings, &name),
                category: if data { Category::Data } else { Category::Management },
            });
            series.renumber(|caller| {
                all_known &= caller.coarse < coarse && caller.fine < fine;
                caller
            });
            let id = detector.keys.len() as u32;
            if series.has_incident() {
                detector.active.insert(id);
            }
            detector.keys.push(SeriesKey { api, error_code: error.map(|code| shared(&mut strings, &code)) });
            detector.series.push(series);
        }
        if !all_known {
            return Err(SnapshotError::Caller);
        }
        let hasher = FixedState::default();
        let mut index = HashTable::new();
        for (id, key) in detector.keys.iter().enumerate() {
            index.insert_unique(hasher.hash_one(key), id as u32, |&id: &u32| {
                hasher.hash_one(&detector.keys[id as usize])
            });
        }
        detector.index = index;
        detector.callers = callers;
        detector.frontier = Minute(stored.frontier);
        detector.accounts =
            stored.accounts.iter().map(|(account, minute)| (shared(&mut strings, account), *minute)).collect();
        detector.active_hours = stored
            .active_hours
            .into_iter()
            .map(|(account, region, hours)| {
                let place = (shared(&mut strings, &account), shared(&mut strings, &region));
                (place, hours.into_iter().collect::<BTreeSet<u32>>())
            })
            .collect::<BTreeMap<_, _>>();
        detector.strings = strings;
        detector.tally = Tally::from_bytes(&stored.tally)?;
        Ok(detector)
    }
}
