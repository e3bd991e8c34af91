//! The strings of a detector, each once, and what stands for them: [`Key`] for a series, [`Callers`] for who called.
//! Knows no counts.

use std::sync::Arc;

use super::series::Caller;
use crate::baseline::Class;
use crate::event::Category;
use crate::insight::SeriesKey;
use crate::window::{Api, Attribute, Dictionary, OTHER};

/// A series' key, in numbers of [`Names`]: a quarter of the memory of [`SeriesKey`], which insights carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(super) account: u32,
    pub(super) region: u32,
    pub(super) event_source: u32,
    pub(super) event_name: u32,
    pub(super) category: Category,
    /// Follows from name, category and error code; looked up here once, not with each minute.
    pub(super) class: Class,
    /// [`NO_ERROR`]: call rate.
    pub(super) error_code: u32,
}

/// The empty string's number.
const NO_NAME: u32 = 0;
const NO_ERROR: u32 = NO_NAME;

impl Key {
    pub(crate) fn is_error_rate(self) -> bool {
        self.error_code != NO_ERROR
    }

    /// The same API and error, in no account and Region.
    pub(super) fn anywhere(self) -> Key {
        Key { account: NO_NAME, region: NO_NAME, ..self }
    }
}

/// The strings of keys, each once.
pub(crate) struct Names(Dictionary<1>);

impl Names {
    pub(super) fn new() -> Names {
        let mut names = Names(Dictionary::default());
        names.intern("");
        names
    }

    pub(super) fn intern(&mut self, name: &str) -> u32 {
        self.0.intern(&[name])
    }

    pub(super) fn get(&self, name: u32) -> &str {
        self.0.get(name)[0]
    }

    pub(super) fn key(&mut self, [account, region, source, name, category]: [&str; 5], error_code: &str) -> Key {
        let category = Category::parse(category);
        Key {
            account: self.intern(account),
            region: self.intern(region),
            event_source: self.intern(source),
            event_name: self.intern(name),
            category,
            class: Class::of(name, !error_code.is_empty(), category),
            error_code: self.intern(error_code),
        }
    }

    pub(super) fn api(&self, key: Key) -> [&str; 5] {
        let [account, region, source, name] =
            [key.account, key.region, key.event_source, key.event_name].map(|name| self.get(name));
        [account, region, source, name, key.category.as_str()]
    }

    /// The key as insights carry it.
    pub(crate) fn series_key(&self, key: Key) -> SeriesKey {
        let error_code = key.is_error_rate().then(|| self.get(key.error_code).into());
        SeriesKey { api: Arc::new(Api::from_fields(self.api(key))), error_code }
    }
}

/// Who called, in two parts: few values that AWS attributes, and the many that change by the hour.
pub(crate) struct Callers {
    /// `userIdentityArn`, `userAgent`, `errorCode`, `resourceArn`.
    pub(crate) coarse: Dictionary<4>,
    /// By number of the coarse list.
    parts: Vec<Parts>,
    /// Principals and agents.
    names: Dictionary<1>,
    /// `sessionName`, `accessKeyId`, `sourceIPAddress`.
    pub(crate) fine: Dictionary<3>,
}

/// Numbers of what a coarse list holds: equal numbers, equal text.
#[derive(Clone, Copy)]
pub(super) struct Parts {
    pub(super) principal: u32,
    pub(super) agent: u32,
    pub(super) failed: bool,
}

/// Number of the list that stands for all callers past a bound, in both dictionaries of [`Callers`].
pub(crate) const OTHER_ID: u32 = 0;

impl Callers {
    pub(super) fn new() -> Callers {
        let mut callers = Callers {
            coarse: Dictionary::default(),
            parts: Vec::new(),
            names: Dictionary::default(),
            fine: Dictionary::default(),
        };
        callers.intern_coarse(&[OTHER; 4]);
        callers.fine.intern(&[OTHER; 3]);
        callers
    }

    pub(super) fn intern_coarse(&mut self, list: &[&str; 4]) -> u32 {
        let id = self.coarse.intern(list);
        if id as usize == self.parts.len() {
            let [principal, agent, error, _] = list;
            self.parts.push(Parts {
                principal: self.names.intern(&[principal]),
                agent: self.names.intern(&[agent]),
                failed: !error.is_empty(),
            });
        }
        id
    }

    /// The parts of a caller that are compared over time.
    pub(super) fn parts(&self, caller: Caller) -> Parts {
        self.parts[caller.coarse as usize]
    }

    pub(super) fn intern(&mut self, fields: [&str; Attribute::ALL.len()]) -> Caller {
        let [arn, session, key, address, agent, error, resource] = fields;
        Caller {
            coarse: self.intern_coarse(&[arn, agent, error, resource]),
            fine: self.fine.intern(&[session, key, address]),
        }
    }
}
