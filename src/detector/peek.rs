//! A look at minutes that are still open: incidents told before their time. Nothing is learned here.

use std::hash::BuildHasher;
use std::io;

use foldhash::quality::FixedState;

use super::series::Caller;
use super::{Detector, Findings, for_each_cell, informed};
use crate::insight::{Direction, Insight, State};
use crate::judge;

impl Detector {
    /// The incidents that have begun in minutes which are still open, as far as these APIs' counts go by now. Counts only
    /// grow, so what is over the line stays over it; when it began, and who did it, may change until the minutes are
    /// closed. Nothing is learned. An error is one of rows put aside.
    pub fn peek(&mut self, apis: &[[String; 5]]) -> io::Result<Vec<Insight>> {
        let apis: Vec<[String; 5]> = apis.iter().filter(|api| self.may_alarm(api)).cloned().collect();
        if apis.is_empty() {
            return Ok(Vec::new());
        }
        let closed = self.open.peek(&apis)?;
        let callers: Vec<Caller> =
            (0..closed.caller_count() as u32).map(|id| self.callers.intern(closed.caller(id))).collect();
        let mut work = self.share_out(&closed);
        work.sort_unstable_by_key(|work| (work.series, work.day));
        let mut all = Findings::default();
        for work in work.chunk_by(|a, b| a.series == b.series) {
            let key = self.keys[work[0].series as usize];
            let mut series = self.series[work[0].series as usize].clone();
            for item in work {
                let context = self.context(key, Some(item.day));
                for_each_cell(&closed.calls, &callers, &item.calls, |cell| series.step(&context, key, cell, &mut all));
            }
        }
        all.insights.retain(|insight| insight.state == State::Start && insight.direction == Direction::Up);
        all.insights.sort_by(|a, b| (a.decided, &a.series).cmp(&(b.decided, &b.series)));
        if !all.insights.is_empty() {
            self.early = self.incidents.with_early(&self.early);
            self.early.assign(&mut all.insights);
            self.early.forget(self.frontier.0);
        }
        Ok(all.insights)
    }

    /// Open rows that looks have gone through so far.
    pub fn looked_through(&self) -> u64 {
        self.open.looked_through()
    }

    /// Whether an API's open minutes, who called left aside, are worth a closer look: with thousands of events a second
    /// hardly any are. Too many rows (duplicates, reads) can only say yes too often.
    fn may_alarm(&mut self, api: &[String; 5]) -> bool {
        let api = api.each_ref().map(String::as_str);
        let key = self.names.key(api, "");
        let Some(account) = self.accounts.get(&key.account) else {
            // Nothing was closed of it yet: no verdict before it has a history.
            return self.options.warmup_minutes == 0;
        };
        let minutes = self.open.minutes_of(&api);
        let warm = account.first.saturating_add(self.options.warmup_minutes);
        if minutes.last().is_none_or(|last| last.minute < warm) {
            return false;
        }
        // Which code they failed with is not known here: two within five minutes are looked at.
        let mut failed = minutes.iter().filter(|open| open.failed() > 0).peekable();
        while let Some(open) = failed.next() {
            if open.failed() > 1 || failed.peek().is_some_and(|next| next.minute < open.minute + 5) {
                return true;
            }
        }
        let lent = self.organisation.lends(key, account);
        let peers = informed(self.pooled.peers(key.class), lent);
        let keys = &self.keys;
        let known = self.index.find(FixedState::default().hash_one(key), |&id| keys[id as usize] == key);
        match known {
            Some(&id) => self.series[id as usize].may_alarm(minutes, account.first, peers, lent),
            None => judge::may_score(minutes.iter().map(|open| (open.minute, open.count()))),
        }
    }
}
