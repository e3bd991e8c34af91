//! What an organisation's older accounts have taught about the APIs of a young one: how far their series went in the
//! last fortnight, and their usual rate. Told once a day, of the days that are over, so that it does not matter how far
//! one advance reaches; for accounts that began on an earlier day. Knows records and rates, no verdicts.

use std::collections::BTreeMap;

use super::Key;
use super::account::Account;
use super::series::Series;
use crate::baseline::{Peers, Prior};
use crate::event::MINUTES_PER_DAY;
use crate::judge::Reached;

/// A younger account borrows, an older one lends.
const YOUNG_DAYS: u32 = 7;
const MATURE_DAYS: u32 = 14;

/// What as many accounts did at least is what the organisation does.
const LENDERS_MIN: usize = 2;

/// By API and error code, wherever they are: keys without account and Region.
#[derive(Default)]
pub(super) struct Organisation {
    /// The day it holds for, since 1970.
    pub(super) day: u32,
    pub(super) reached: BTreeMap<Key, Reached>,
}

impl Organisation {
    /// Looks at the days before `day`, the first time that it is asked to.
    pub(super) fn roll_to(&mut self, day: u32, accounts: &BTreeMap<u32, Account>, keys: &[Key], series: &[Series]) {
        if day <= self.day {
            return;
        }
        self.day = day;
        self.reached.clear();
        let is_mature = |account: &Account| account.age_days(day) >= MATURE_DAYS;
        if !accounts.values().any(|account| is_young(account, day)) || !accounts.values().any(is_mature) {
            return;
        }
        // Of an account, the Region that goes furthest.
        let mut by_account: BTreeMap<(Key, u32), Reached> = BTreeMap::new();
        for (key, series) in keys.iter().zip(series) {
            let account = &accounts[&key.account];
            if !is_mature(account) {
                continue;
            }
            let Some(reached) = series.reached(day * MINUTES_PER_DAY as u32, account.first) else { continue };
            let most = by_account.entry((key.anywhere(), key.account)).or_insert(reached);
            most.ln_record.iter_mut().zip(reached.ln_record).for_each(|(most, record)| *most = most.max(record));
            most.per_minute = most.per_minute.max(reached.per_minute);
        }
        let mut accounts = by_account.into_iter().peekable();
        while let Some(((key, _), first)) = accounts.next() {
            let mut all = vec![first];
            while let Some((_, reached)) = accounts.next_if(|((next, _), _)| *next == key) {
                all.push(reached);
            }
            if all.len() < LENDERS_MIN {
                continue;
            }
            let least = |value: &dyn Fn(&Reached) -> f64| all.iter().map(value).fold(f64::INFINITY, f64::min);
            let reached = Reached {
                ln_record: std::array::from_fn(|scale| least(&|reached| reached.ln_record[scale])),
                per_minute: least(&|reached| reached.per_minute),
            };
            self.reached.insert(key, reached);
        }
    }

    /// What a series of a young account borrows.
    pub(super) fn lends(&self, key: Key, account: &Account) -> Option<Reached> {
        if !is_young(account, self.day) {
            return None;
        }
        self.reached.get(&key.anywhere()).copied()
    }
}

/// It began on an earlier day: an account that is hours old is not known of whenever its first day is looked at.
fn is_young(account: &Account, day: u32) -> bool {
    (1..YOUNG_DAYS).contains(&account.age_days(day))
}

/// The same peers, with the rate that the organisation knows where it knows one.
pub(super) fn informed<'a>(peers: Peers<'a>, lent: Option<Reached>) -> Peers<'a> {
    match lent {
        Some(reached) if reached.per_minute > 0.0 => {
            Peers { prior: Prior { minutes: peers.prior.events / reached.per_minute, ..peers.prior }, ..peers }
        }
        _ => peers,
    }
}
