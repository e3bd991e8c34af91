//! What detectors are tried on: named sets of labelled accounts, each account made from a seed when its turn comes.
//! Knows nothing of detectors. A new set is one line of [`SETS`].

use std::path::PathBuf;

use crate::event::{Category, Event, MINUTES_PER_DAY, Minute};
use crate::train::labelled::Labelled;
use crate::train::simulate::{self, Options};
use crate::train::worlds;
use crate::window::Tally;

use super::Error;

/// A named kind of account.
pub struct Set {
    pub name: &'static str,
    /// What it asks of a detector.
    pub about: &'static str,
    make: fn(u64) -> Result<Labelled, Error>,
}

pub const SETS: [Set; 13] = [
    Set {
        name: "simulate",
        about: "accounts as they come: 40 % of bursts by the usual caller",
        make: |seed| made(of(seed)),
    },
    Set {
        name: "insiders",
        about: "every burst by the API's usual caller",
        make: |seed| made(Options { insiders: 1.0, ..of(seed) }),
    },
    Set {
        name: "strangers",
        about: "every burst by someone else",
        make: |seed| made(Options { insiders: 0.0, ..of(seed) }),
    },
    Set { name: "quiet", about: "eight weeks of 300 APIs after the first, and nothing to find", make: quiet },
    Set { name: "cold-1d", about: "verdicts after one day of history", make: |seed| cold(seed, 1) },
    Set { name: "cold-2d", about: "after two", make: |seed| cold(seed, 2) },
    Set { name: "cold-3d", about: "after three", make: |seed| cold(seed, 3) },
    Set { name: "cold-7d", about: "after seven, on the same days", make: |seed| cold(seed, 7) },
    Set { name: "joined", about: "after one, in an organisation whose accounts are alike", make: joined },
    Set { name: "joined-strangers", about: "after one, in one whose accounts are not", make: joined_strangers },
    Set { name: "repeat", about: "every burst again a week later", make: repeat },
    Set { name: "worlds", about: "some twenty kinds of background, anomalies over wide ranges", make: worlds },
    Set { name: "worlds-calm", about: "the same with harmless changes only", make: worlds_calm },
];

/// The set of that name.
pub fn set(name: &str) -> Option<&'static Set> {
    SETS.iter().find(|set| set.name == name)
}

/// The accounts of a set, or of trails on disk.
pub struct Scenario {
    pub name: String,
    pub(super) jobs: Vec<Job>,
}

pub(super) enum Job {
    Make(fn(u64) -> Result<Labelled, Error>, u64),
    Read(PathBuf),
}

impl Scenario {
    /// One account for each seed.
    pub fn new(set: &Set, seeds: impl IntoIterator<Item = u64>) -> Scenario {
        let jobs = seeds.into_iter().map(|seed| Job::Make(set.make, seed)).collect();
        Scenario { name: set.name.to_owned(), jobs }
    }

    /// Every account of labelled trails: see [`Labelled::read`].
    pub fn of_trails(folders: Vec<PathBuf>) -> Scenario {
        Scenario { name: "trails".to_owned(), jobs: folders.into_iter().map(Job::Read).collect() }
    }
}

impl Job {
    pub(super) fn accounts(&self) -> Result<Vec<Labelled>, Error> {
        match self {
            Job::Make(make, seed) => Ok(vec![make(*seed)?]),
            Job::Read(folder) => Ok(Labelled::read(folder)?),
        }
    }
}

fn of(seed: u64) -> Options {
    Options { seed, ..Options::default() }
}

fn made(options: Options) -> Result<Labelled, Error> {
    Ok(simulate::labelled(&options, 0)?)
}

fn quiet(seed: u64) -> Result<Labelled, Error> {
    made(Options { days: 9 * 7, apis: 300, anomalies_per_week: 0.0, ..of(seed) })
}

/// A trail that begins `history_days` before the ninth day, from which on there is something to find.
fn cold(seed: u64, history_days: i64) -> Result<Labelled, Error> {
    let mut account = made(Options { days: 15, ..of(seed) })?;
    account.live_from = Minute(account.live_from.0 + MINUTES_PER_DAY);
    account.calls.close_before(Minute(account.live_from.0 - history_days * MINUTES_PER_DAY));
    Ok(account)
}

/// The same young account after one day, in an organisation with three others that are three weeks old by then: half as
/// busy, as busy and twice as busy with the same APIs. They have nothing to find.
fn joined(seed: u64) -> Result<Labelled, Error> {
    with_others(seed, [0.5, 1.0, 2.0].map(|scale| (0, scale)))
}

/// The same with accounts that have nothing in common with it but the names of APIs.
fn joined_strangers(seed: u64) -> Result<Labelled, Error> {
    with_others(seed, [1, 2, 3].map(|index| (index, 1.0)))
}

fn with_others(seed: u64, others: [(u32, f64); 3]) -> Result<Labelled, Error> {
    let mut account = cold(seed, 1)?;
    let young = Options { days: 15, ..of(seed) };
    let first_day = young.first_day - 21;
    let days = 21 + (account.live_from.0 / MINUTES_PER_DAY - young.first_day) as u32;
    for (number, (index, scale)) in others.into_iter().enumerate() {
        let options = Options { days, first_day, scale, accounts: 4, anomalies_per_week: 0.0, ..young.clone() };
        let other = simulate::labelled(&options, index)?.calls;
        account.calls.merge(renamed(other, &format!("00000000000{number}")));
    }
    Ok(account)
}

/// The same calls in another account.
fn renamed(mut calls: Tally, account_id: &str) -> Tally {
    let closed = calls.close_before(Minute(i64::MAX));
    let mut renamed = Tally::default();
    for row in &closed.calls {
        let [_, region, event_source, event_name, category] = closed.api(row.api);
        let [principal, session, access_key_id, source_ip, user_agent, error_code, resource_arn] =
            closed.caller(row.caller);
        let event = Event {
            event_time_s: i64::from(row.minute) * 60,
            account_id,
            region,
            event_source,
            event_name,
            read_only: row.read_only,
            category: Category::parse(category),
            error_code,
            principal,
            session,
            access_key_id,
            source_ip,
            user_agent,
            resource_arn,
            event_id: "",
            addendum_of: "",
        };
        (0..row.count).for_each(|_| renamed.add(&event));
    }
    renamed
}

fn repeat(seed: u64) -> Result<Labelled, Error> {
    made(Options { days: 28, repeat_after_days: Some(7), ..of(seed) })
}

fn worlds(seed: u64) -> Result<Labelled, Error> {
    Ok(worlds::labelled(seed, &worlds::Options::default()))
}

fn worlds_calm(seed: u64) -> Result<Labelled, Error> {
    Ok(worlds::labelled(seed, &worlds::Options { anomalies: false, ..worlds::Options::default() }))
}
