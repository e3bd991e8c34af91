//! A detector's whole state as bytes and back, so that a run can stop and another go on as if nothing had happened.
//! Knows no file: writing them safely is the store's work.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::account::Account;
use super::incidents::Incidents;
use super::series::Series;
use super::{Detector, Key, Options};
use crate::event::Minute;
use crate::judge::{Model, Reached};
use crate::window::{FrameReader, Frames};

/// Raised with every change of what is stored.
const VERSION: u32 = 13;

/// Why a snapshot cannot be used.
#[derive(Debug, Error)]
pub enum SnapshotError {
    #[error("the snapshot is damaged or no snapshot: {0}")]
    Damaged(#[from] postcard::Error),
    #[error("the snapshot cannot be written or read: {0}")]
    Io(#[from] io::Error),
    #[error(
        "the snapshot has version {0}, this program reads version {VERSION}: go on with the version of highwater that wrote it, or begin anew"
    )]
    Version(u32),
    #[error("the snapshot was made with the models {0}; in use are {1}")]
    Model(String, String),
    #[error("the snapshot is damaged: {0}")]
    Inconsistent(&'static str),
}

/// All that is small; what is large follows it, one by one.
#[derive(Serialize, Deserialize)]
struct Head {
    frontier: i64,
    model: String,
    accounts: Vec<(String, Account)>,
    organisation: (u32, Vec<([String; 5], String, Reached)>),
    active_hours: Vec<(String, String, Vec<u32>)>,
    incidents: Incidents,
    /// When memory is given back is told by these: it must come at the same minutes after a start from here.
    swept_hour: u32,
    coarse: usize,
    fine: usize,
    series: usize,
}

impl Detector {
    /// Names and versions of all that was learned in training.
    pub(super) fn models(&self) -> String {
        [&self.model.name, &self.pooled.priors.name, &self.pooled.seasons.name].map(String::as_str).join(", ")
    }

    /// The whole state, counts still open included.
    pub fn snapshot(&self) -> Result<Vec<u8>, SnapshotError> {
        let mut bytes = Vec::new();
        self.write_snapshot(&mut bytes)?;
        Ok(bytes)
    }

    /// The same, without ever holding it as a whole.
    pub fn write_snapshot(&self, mut to: impl Write) -> Result<(), SnapshotError> {
        let texts = |key: &Key| {
            let error_code = self.names.get(key.error_code).to_owned();
            (self.names.api(*key).map(str::to_owned), error_code)
        };
        let head = Head {
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
            incidents: self.incidents.clone(),
            swept_hour: self.swept_hour,
            coarse: self.callers.coarse.len(),
            fine: self.callers.fine.len(),
            series: self.series.len(),
        };
        to.write_all(&VERSION.to_le_bytes())?;
        let mut to = Frames::to(to);
        to.put(&head)?;
        (0..head.coarse as u32).try_for_each(|id| to.put(&self.callers.coarse.get(id)))?;
        (0..head.fine as u32).try_for_each(|id| to.put(&self.callers.fine.get(id)))?;
        for (key, series) in self.keys.iter().zip(&self.series) {
            to.put(&(self.names.api(*key), self.names.get(key.error_code), series))?;
        }
        Ok(self.open.write(&mut to)?)
    }

    /// A detector that goes on where the snapshot was taken, with the same model and the shipped forecast.
    pub fn restore(options: Options, model: Model, bytes: &[u8]) -> Result<Detector, SnapshotError> {
        Detector::new(options, model).restored(bytes)
    }

    /// This detector, still without counts, as it goes on where the snapshot was taken; with the same models.
    pub fn restored(self, mut from: impl Read) -> Result<Detector, SnapshotError> {
        let mut version = [0; 4];
        from.read_exact(&mut version)?;
        match u32::from_le_bytes(version) {
            VERSION => {}
            other => return Err(SnapshotError::Version(other)),
        }
        let mut from = FrameReader::from(from);
        let head: Head = from.take()?;
        let mut detector = self;
        if head.model != detector.models() {
            return Err(SnapshotError::Model(head.model, detector.models()));
        }
        let callers = &mut detector.callers;
        for _ in 0..head.coarse {
            callers.intern_coarse(&from.take::<[String; 4]>()?.each_ref().map(String::as_str));
        }
        for _ in 0..head.fine {
            callers.fine.intern(&from.take::<[String; 3]>()?.each_ref().map(String::as_str));
        }
        let (coarse, fine) = (callers.coarse.len() as u32, callers.fine.len() as u32);
        let mut all_known = true;
        for _ in 0..head.series {
            let (api, error_code, mut series): ([String; 5], String, Series) = from.take()?;
            series.renumber(|caller| {
                all_known &= caller.coarse < coarse && caller.fine < fine;
                caller
            });
            let key = detector.names.key(api.each_ref().map(String::as_str), &error_code);
            detector.push_series(key, series);
        }
        if !all_known {
            return Err(SnapshotError::Inconsistent("a series names a caller that is not there"));
        }
        if !(0..=i64::from(u32::MAX)).contains(&head.frontier) {
            return Err(SnapshotError::Inconsistent("its frontier is no time"));
        }
        detector.rebuild_index();
        detector.frontier = Minute(head.frontier);
        detector.swept_hour = head.swept_hour;
        for (account, known) in &head.accounts {
            let account = detector.names.intern(account);
            detector.accounts.insert(account, *known);
        }
        if !detector.keys.iter().all(|key| detector.accounts.contains_key(&key.account)) {
            return Err(SnapshotError::Inconsistent("a series is in an account that is not there"));
        }
        detector.organisation.day = head.organisation.0;
        for (api, error_code, reached) in &head.organisation.1 {
            let key = detector.names.key(api.each_ref().map(String::as_str), error_code);
            detector.organisation.reached.insert(key, *reached);
        }
        for (account, region, hours) in head.active_hours {
            let place = (detector.names.intern(&account), detector.names.intern(&region));
            detector.active_hours.insert(place, hours.into_iter().collect());
        }
        detector.incidents = head.incidents;
        detector.open.read(&mut from)?;
        Ok(detector)
    }
}
