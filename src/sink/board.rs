//! Incidents as people hear of them: the records of one incident under one key, what was told of it so far, and which
//! incidents are too many for an hour. Survives restarts within the sink's journal. Knows no words and no receiver.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::Severity;
use super::filter::api;
use crate::insight::trail::TrailRecord;
use crate::insight::words;
use crate::report;

/// What nothing was heard of for so long is forgotten: an incident lasts hours, and a message that old is not read.
const FORGET_S: i64 = 7 * 86_400;

/// So many incidents are remembered, and so many members of each; of the others, how many there were.
const THREADS_MAX: usize = 1_000;
const MEMBERS_MAX: usize = 100;

/// An early word that nothing settled by then never will be: the process that would have was killed.
const PROVISIONAL_S: i64 = 2 * 86_400;

const HOUR_S: i64 = 3_600;

/// One insight of an incident: what people are told of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    #[serde(rename = "sharedEventID")]
    pub shared_event_id: String,
    #[serde(rename = "incidentID", skip_serializing_if = "Option::is_none")]
    pub incident_id: Option<String>,
    pub severity: Severity,
    /// As first told: who tells alerts apart by it must not see it change.
    pub severity_first: Severity,
    pub headline: String,
    pub api: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    pub insight_type: String,
    pub account: String,
    pub region: String,
    pub reason: String,
    /// Who made most of the extra calls; empty where nobody is known.
    pub principal: String,
    pub observed: u64,
    /// Per minute.
    pub average: f64,
    pub baseline: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    pub odds: String,
    /// Seconds since 1970.
    pub start_s: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_s: Option<i64>,
    /// May still change, or be taken back.
    pub provisional: bool,
    pub withdrawn: bool,
    /// When it was first told of. A board of before this was kept tells nothing of it once more.
    #[serde(default = "long_ago")]
    pub told_s: Option<i64>,
}

fn long_ago() -> Option<i64> {
    Some(0)
}

impl Member {
    fn of(record: &TrailRecord) -> Member {
        let details = &record.insight_details;
        let statistics = &details.insight_context.statistics;
        let extra = record.highwater.as_ref();
        let time_s = report::time_of(record).0 * 60;
        let ended = details.state == "End";
        let minutes = statistics.insight_duration.filter(|_| ended).unwrap_or(0);
        let severity = extra.and_then(|extra| Severity::parse(&extra.severity)).unwrap_or(Severity::Critical);
        let callers = extra.map_or(&[][..], |extra| &extra.excess).iter();
        let principal = callers
            .filter(|excess| excess.attribute == "userIdentityArn")
            .find_map(|excess| excess.values.first())
            .map(|top| words::principal(&top.value));
        Member {
            shared_event_id: record.shared_event_id.clone(),
            incident_id: extra.and_then(|extra| extra.incident_id.clone()),
            severity,
            severity_first: severity,
            headline: report::title(record),
            api: api(record),
            error_code: details.error_code.clone(),
            insight_type: details.insight_type.clone(),
            account: record.recipient_account_id.clone(),
            region: record.aws_region.clone(),
            reason: extra.map(|extra| extra.reason.clone()).unwrap_or_default(),
            principal: principal.unwrap_or_default(),
            observed: extra.map_or(0, |extra| extra.observed),
            average: statistics.insight.average.0,
            baseline: statistics.baseline.average.0,
            ratio: extra.and_then(|extra| extra.ratio),
            odds: extra.map(|extra| extra.odds.clone()).unwrap_or_default(),
            start_s: time_s.saturating_sub(minutes.saturating_mul(60)),
            end_s: ended.then_some(time_s),
            provisional: extra.is_some_and(|extra| extra.provisional),
            withdrawn: false,
            told_s: None,
        }
    }

    /// It has ended, and was told of for so short a time, or not at all, that who waits before he calls anybody has not
    /// called yet.
    pub fn ended_unheard(&self, within_s: i64, at_s: i64) -> bool {
        self.end_s.is_some() && !self.withdrawn && self.told_s.is_none_or(|first_s| at_s - first_s < within_s)
    }

    fn is_over(&self) -> bool {
        self.withdrawn || self.end_s.is_some()
    }
}

/// What was told, and where.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Receipt {
    pub told: bool,
    pub told_end: bool,
    /// When it was told last, in seconds since 1970.
    pub told_s: i64,
    /// The title under which it was told first.
    pub title: String,
    /// Slack's name of the message, and its channel.
    pub message: Option<(String, String)>,
    pub chart: bool,
}

/// One incident, or those that were too many.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Thread {
    /// Under which it is told: the incident's ID.
    pub key: String,
    /// Of all incidents in it.
    keys: Vec<String>,
    /// Those that were too many for an hour, in one message.
    pub is_digest: bool,
    pub members: Vec<Member>,
    /// Members beyond those that are kept.
    pub more: u32,
    /// There is something to tell.
    pub changed: bool,
    /// It was told all of it, and is to be looked at once more for its chart.
    #[serde(skip)]
    chart_due: bool,
    changed_s: i64,
    pub receipt: Receipt,
}

impl Thread {
    fn new(key: String, is_digest: bool, now_s: i64) -> Thread {
        Thread {
            key,
            keys: Vec::new(),
            is_digest,
            members: Vec::new(),
            more: 0,
            changed: false,
            chart_due: false,
            changed_s: now_s,
            receipt: Receipt::default(),
        }
    }

    /// The member that speaks for all: the most severe, then the first.
    pub fn lead(&self) -> Option<&Member> {
        self.members.iter().min_by_key(|member| (member.withdrawn, std::cmp::Reverse(member.severity), member.start_s))
    }

    pub fn incidents(&self) -> usize {
        self.keys.len()
    }

    pub fn is_over(&self) -> bool {
        self.members.iter().all(Member::is_over)
    }

    pub fn is_withdrawn(&self) -> bool {
        self.members.iter().all(|member| member.withdrawn)
    }

    pub fn is_provisional(&self) -> bool {
        self.members.iter().all(|member| member.provisional || member.withdrawn)
    }

    pub fn start_s(&self) -> i64 {
        self.members.iter().map(|member| member.start_s).min().unwrap_or_default()
    }

    pub fn end_s(&self) -> Option<i64> {
        self.members.iter().filter_map(|member| member.end_s).max().filter(|_| self.is_over())
    }
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Board {
    threads: VecDeque<Thread>,
    /// When the incidents of the last hour were first told of.
    begun_s: VecDeque<i64>,
}

impl Board {
    /// Notes a record. One that is not wanted counts only where its incident is known: an end belongs to its start.
    pub fn take(&mut self, record: &TrailRecord, wanted: bool, per_hour: Option<u32>, now_s: i64) {
        let member = Member::of(record);
        if !member.provisional && member.end_s.is_none() {
            self.adopt(&member);
        }
        let key = member.incident_id.clone().unwrap_or_else(|| member.shared_event_id.clone());
        let with_member =
            |thread: &Thread| thread.members.iter().any(|known| known.shared_event_id == member.shared_event_id);
        let known = self.threads.iter().position(with_member);
        let place = match known.or_else(|| self.threads.iter().position(|thread| thread.keys.contains(&key))) {
            Some(place) if wanted || known.is_some() => place,
            None if wanted => self.begin(&key, per_hour, now_s),
            _ => return,
        };
        let thread = &mut self.threads[place];
        // A known member may turn out to belong to another incident than its early word said; a digest counts by keys.
        if !thread.keys.contains(&key) && (known.is_some() != thread.is_digest || thread.keys.is_empty()) {
            thread.keys.push(key);
        }
        match thread.members.iter().position(|known| known.shared_event_id == member.shared_event_id) {
            None if thread.members.len() < MEMBERS_MAX => thread.members.push(member),
            None if member.end_s.is_none() => thread.more = thread.more.saturating_add(1),
            None => return,
            Some(place) => {
                let known = &mut thread.members[place];
                // An early word after the final one is old, and so is a start that is read once more.
                if (member.provisional && (!known.provisional || known.withdrawn))
                    || (known.end_s.is_some() && member.end_s.is_none())
                {
                    return;
                }
                let start_s = if member.end_s.is_some() { known.start_s } else { member.start_s };
                let merged = Member { severity_first: known.severity_first, told_s: known.told_s, start_s, ..member };
                if *known == merged {
                    return;
                }
                *known = merged;
            }
        }
        (thread.changed, thread.changed_s) = (true, now_s);
    }

    /// Of an early word whose process ended before it could say what became of it: the final start is of the same
    /// series, and may have found another minute, and so another ID.
    fn adopt(&mut self, start: &Member) {
        let members = self.threads.iter().flat_map(|thread| thread.members.iter());
        if members.into_iter().any(|known| known.shared_event_id == start.shared_event_id) {
            return;
        }
        let mut members = self.threads.iter_mut().flat_map(|thread| thread.members.iter_mut());
        let early = members.find(|early| {
            early.provisional
                && !early.withdrawn
                && (early.start_s - start.start_s).abs() <= HOUR_S
                && (&early.api, &early.account, &early.region) == (&start.api, &start.account, &start.region)
                && (&early.insight_type, &early.error_code) == (&start.insight_type, &start.error_code)
        });
        if let Some(early) = early {
            start.shared_event_id.clone_into(&mut early.shared_event_id);
        }
    }

    /// A new thread, or the digest of what is too much for this hour.
    fn begin(&mut self, key: &str, per_hour: Option<u32>, now_s: i64) -> usize {
        self.forget(now_s);
        if !self.has_room(per_hour, now_s) {
            if let Some(place) = self.threads.iter().position(|thread| thread.is_digest && !thread.receipt.told) {
                return place;
            }
            self.threads.push_back(Thread::new(format!("digest-{key}"), true, now_s));
        } else {
            self.begun_s.push_back(now_s);
            self.threads.push_back(Thread::new(key.to_owned(), false, now_s));
        }
        self.threads.len() - 1
    }

    fn has_room(&self, per_hour: Option<u32>, now_s: i64) -> bool {
        let within = self.begun_s.iter().filter(|second| now_s - **second < HOUR_S).count();
        per_hour.is_none_or(|most| within < most as usize)
    }

    fn forget(&mut self, now_s: i64) {
        self.begun_s.retain(|second| now_s - *second < HOUR_S);
        self.threads.retain(|thread| thread.changed || now_s - thread.changed_s < FORGET_S);
        while self.threads.len() >= THREADS_MAX {
            let place = self.threads.iter().position(|thread| !thread.changed).unwrap_or(0);
            self.threads.remove(place);
        }
    }

    /// What became of an early word: another ID for it, or nothing was there.
    pub fn settle(&mut self, shared_event_id: &str, other_id: Option<&str>, withdrawn: bool, now_s: i64) {
        for thread in &mut self.threads {
            for member in &mut thread.members {
                if member.shared_event_id != shared_event_id || !member.provisional || member.withdrawn {
                    continue;
                }
                if let Some(other) = other_id {
                    other.clone_into(&mut member.shared_event_id);
                }
                if withdrawn {
                    member.withdrawn = true;
                    (thread.changed, thread.changed_s) = (true, now_s);
                }
            }
        }
    }

    /// Early words that a killed process left behind are taken back.
    pub fn expire(&mut self, now_s: i64) {
        for thread in self.threads.iter_mut().filter(|thread| now_s - thread.changed_s > PROVISIONAL_S) {
            for member in thread.members.iter_mut().filter(|member| member.provisional && !member.withdrawn) {
                member.withdrawn = true;
                (thread.changed, thread.changed_s) = (true, now_s);
            }
        }
    }

    /// Open incidents that were told so long ago are told again, for receivers that forget; and those that ended before
    /// anybody can have heard of them.
    pub fn remind(&mut self, every_s: i64, now_s: i64) {
        for thread in &mut self.threads {
            let receipt = &thread.receipt;
            let is_open = !receipt.told_end || thread.members.iter().any(|m| m.ended_unheard(every_s, receipt.told_s));
            thread.changed |= receipt.told && is_open && now_s - receipt.told_s >= every_s;
        }
    }

    /// Incidents that were told without a chart, and have ended, are looked at again: the counts of a day come to the
    /// disk when it is over.
    pub fn await_charts(&mut self, every_s: i64, until_s: i64, now_s: i64) {
        for thread in &mut self.threads {
            let receipt = &thread.receipt;
            let waits = receipt.told_end && !receipt.chart && now_s - thread.changed_s < until_s;
            thread.chart_due |= waits && !thread.is_digest && now_s - receipt.told_s >= every_s;
        }
    }

    /// The first that there is something to tell of.
    pub fn due(&mut self, per_hour: Option<u32>, now_s: i64) -> Option<&mut Thread> {
        let room = self.has_room(per_hour, now_s);
        let is_due = |thread: &Thread| thread.changed && (!thread.is_digest || thread.receipt.told || room);
        self.threads.iter_mut().find(|thread| is_due(thread) || thread.chart_due)
    }

    /// It was told, or given up.
    pub fn done(&mut self, key: &str, now_s: i64) {
        if let Some(thread) = self.threads.iter_mut().find(|thread| thread.key == key) {
            if thread.is_digest && !thread.receipt.told {
                self.begun_s.push_back(now_s);
            }
            (thread.changed, thread.chart_due) = (false, false);
            (thread.receipt.told, thread.receipt.told_s) = (true, now_s);
            thread.receipt.told_end = thread.is_over();
            thread.members.iter_mut().for_each(|member| _ = member.told_s.get_or_insert(now_s));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::filter::tests::{end, record};

    const NOW_S: i64 = 1_772_633_600;

    fn told(board: &mut Board, per_hour: Option<u32>, now_s: i64) -> Vec<(String, usize, bool)> {
        let mut told = Vec::new();
        while let Some(thread) = board.due(per_hour, now_s) {
            let key = thread.key.clone();
            told.push((key.clone(), thread.members.len(), thread.is_over()));
            board.done(&key, now_s);
        }
        told
    }

    fn other(mut record: TrailRecord, id: &str, incident: Option<&str>) -> TrailRecord {
        record.shared_event_id = id.to_owned();
        record.highwater.as_mut().expect("ours").incident_id = incident.map(str::to_owned);
        record
    }

    #[test]
    fn one_incident_is_one_thread_until_all_of_it_has_ended() {
        let mut board = Board::default();
        let (one, two) = (other(record(), "1", Some("i")), other(record(), "2", Some("i")));
        board.take(&one, true, None, NOW_S);
        board.take(&two, true, None, NOW_S);
        assert_eq!(told(&mut board, None, NOW_S), [("i".to_owned(), 2, false)]);
        board.take(&one, true, None, NOW_S);
        assert_eq!(told(&mut board, None, NOW_S), [], "nothing new");
        board.take(&other(end(), "1", Some("i")), false, None, NOW_S);
        assert_eq!(told(&mut board, None, NOW_S), [("i".to_owned(), 2, false)], "an end is never filtered away");
        board.take(&other(end(), "2", Some("i")), true, None, NOW_S);
        assert_eq!(told(&mut board, None, NOW_S), [("i".to_owned(), 2, true)]);
        let thread = &board.threads[0];
        assert_eq!((thread.start_s(), thread.end_s()), (1_772_633_220, Some(1_772_635_260)));
        // Lines that are read once more after a kill say nothing new.
        board.take(&one, true, None, NOW_S);
        assert_eq!(told(&mut board, None, NOW_S), []);
        board.take(&other(record(), "3", None), false, None, NOW_S);
        assert_eq!(told(&mut board, None, NOW_S), [], "not wanted");
    }

    #[test]
    fn an_early_word_becomes_final_under_the_same_key() {
        let mut early = record();
        early.highwater.as_mut().expect("ours").provisional = true;
        let mut board = Board::default();
        board.take(&early, true, None, NOW_S);
        let thread = board.due(None, NOW_S).expect("a thread");
        assert!(thread.is_provisional() && !thread.is_over());
        let key = thread.key.clone();
        board.done(&key, NOW_S);
        // It began earlier, and belongs to an incident that nobody knew of.
        board.settle(&early.shared_event_id, Some("moved"), false, NOW_S);
        board.take(&other(record(), "moved", Some("i")), true, None, NOW_S);
        assert_eq!(told(&mut board, None, NOW_S), [(key.clone(), 1, false)]);
        board.take(&other(early.clone(), "moved", None), true, None, NOW_S);
        assert!(!board.threads[0].is_provisional(), "late news of what is final");
        board.take(&other(early.clone(), "wrong", None), true, None, NOW_S);
        board.settle("wrong", None, true, NOW_S);
        assert_eq!(told(&mut board, None, NOW_S), [("wrong".to_owned(), 1, true)]);
        assert!(board.threads[1].is_withdrawn());
        board.take(&other(early, "left", None), true, None, NOW_S);
        assert_eq!(told(&mut board, None, NOW_S), [("left".to_owned(), 1, false)]);
        board.expire(NOW_S + 3 * 86_400);
        assert_eq!(told(&mut board, None, NOW_S), [("left".to_owned(), 1, true)]);
    }

    #[test]
    fn an_early_word_that_a_kill_left_behind_becomes_what_its_series_said_in_the_end() {
        let mut early = record();
        early.highwater.as_mut().expect("ours").provisional = true;
        let mut board = Board::default();
        board.take(&other(early, "early", Some("early")), true, None, NOW_S);
        assert_eq!(told(&mut board, None, NOW_S), [("early".to_owned(), 1, false)]);
        let mut elsewhere = record();
        elsewhere.aws_region = "eu-west-1".to_owned();
        board.take(&other(elsewhere, "elsewhere", Some("elsewhere")), true, None, NOW_S);
        assert_eq!(told(&mut board, None, NOW_S), [("elsewhere".to_owned(), 1, false)]);
        board.take(&other(record(), "final", Some("joined")), true, None, NOW_S);
        assert_eq!(told(&mut board, None, NOW_S), [("early".to_owned(), 1, false)]);
        // The incident that it turned out to be of is known under its thread.
        board.take(&other(record(), "second", Some("joined")), true, None, NOW_S);
        assert_eq!(told(&mut board, None, NOW_S), [("early".to_owned(), 2, false)]);
        board.expire(NOW_S + 3 * 86_400);
        assert_eq!(told(&mut board, None, NOW_S), []);
    }

    #[test]
    fn what_is_muted_after_its_early_word_is_still_closed() {
        let mut early = record();
        early.highwater.as_mut().expect("ours").provisional = true;
        let mut board = Board::default();
        board.take(&early, true, None, NOW_S);
        assert_eq!(told(&mut board, None, NOW_S).len(), 1);
        // The mute came between: filters want neither the start nor the end any more.
        board.take(&record(), false, None, NOW_S);
        assert_eq!(told(&mut board, None, NOW_S).len(), 1, "it is final, not withdrawn");
        board.take(&end(), false, None, NOW_S);
        let thread = board.due(None, NOW_S).expect("the end is told");
        assert!(thread.is_over() && !thread.is_provisional() && thread.end_s().is_some());
    }

    #[test]
    fn what_is_too_much_for_an_hour_is_told_together() {
        let mut board = Board::default();
        for id in ["1", "2", "3", "4", "5"] {
            board.take(&other(record(), id, None), true, Some(2), NOW_S);
        }
        let keys: Vec<String> = told(&mut board, Some(2), NOW_S).into_iter().map(|(key, ..)| key).collect();
        assert_eq!(keys, ["1", "2"]);
        board.take(&other(end(), "4", None), true, Some(2), NOW_S + 60);
        assert_eq!(told(&mut board, Some(2), NOW_S + 60), []);
        let later = NOW_S + HOUR_S;
        assert_eq!(told(&mut board, Some(2), later), [("digest-3".to_owned(), 3, false)]);
        assert_eq!(board.threads[2].incidents(), 3);
        for id in ["3", "5"] {
            board.take(&other(end(), id, None), true, Some(2), later);
        }
        assert_eq!(told(&mut board, Some(2), later), [("digest-3".to_owned(), 3, true)]);
        // The digest counts as one of its hour.
        for id in ["6", "7"] {
            board.take(&other(record(), id, None), true, Some(2), later);
        }
        assert_eq!(told(&mut board, Some(2), later), [("6".to_owned(), 1, false)]);
    }

    #[test]
    fn a_board_is_bounded_and_survives() {
        let mut board = Board::default();
        for number in 0..THREADS_MAX + 10 {
            board.take(&other(record(), &number.to_string(), None), true, None, NOW_S);
            told(&mut board, None, NOW_S);
        }
        assert_eq!(board.threads.len(), THREADS_MAX);
        for number in 0..MEMBERS_MAX + 10 {
            board.take(&other(record(), &format!("m{number}"), Some("wide")), true, None, NOW_S);
        }
        let text = serde_json::to_string(&board).expect("JSON");
        let mut read: Board = serde_json::from_str(&text).expect("a board");
        assert_eq!(read.threads, board.threads);
        let wide = read.due(None, NOW_S).expect("changed");
        assert_eq!((wide.members.len(), wide.more), (MEMBERS_MAX, 10));
        told(&mut read, None, NOW_S);
        read.take(&other(record(), "new", None), true, None, NOW_S + FORGET_S);
        assert_eq!(read.threads.len(), 1, "what is old is forgotten");
    }
}
