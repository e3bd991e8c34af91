//! One series through time: each minute with calls is measured, judged, and learned, in this order; who called is kept
//! for as long as an insight can ask for it. Knows its own past only; names and options come with each call.

mod drops;
mod evidence;
mod incident;
mod missed;
mod recent;

use std::collections::BTreeSet;
use std::sync::Arc;

use drops::Silence;
use incident::{FREEZE_AFTER_MINUTES, Incident, merge_counts};
pub(super) use recent::Recent;
use recent::RecentCalls;
use serde::{Deserialize, Serialize};

use super::account::Seen;
use super::identity::{self, Habit};
use super::near::{NearAlarm, OpenNear};
use super::{Callers, Candidate, FORGET_MINUTES, Key, Names, OTHER_ID, Options};
use crate::baseline::{Baseline, Peers};
use crate::episode::Episode;
use crate::event::{MINUTES_PER_DAY, Minute};
use crate::insight::{BASELINE_DAYS, Insight, baseline_from};
use crate::judge::{FEATURE_COUNT, Judge, Model, Reached};
use crate::window::OpenMinute;

/// A caller's list numbers in `Callers`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Caller {
    pub(crate) coarse: u32,
    pub(crate) fine: u32,
}

/// What folding brought.
#[derive(Default)]
pub struct Findings {
    /// In the order in which they became known: by [`Insight::decided`], series and state.
    pub insights: Vec<Insight>,
    /// What came near an alarm and is over, in the order of its end and series.
    pub near: Vec<NearAlarm>,
    /// Every minute that was scored, under [`Options::keep_candidates`]: by series, then minute.
    pub candidates: Vec<Candidate>,
    pub(super) seen: Seen,
}

/// The calls of one minute.
pub(super) struct Cell {
    pub(super) minute: u32,
    pub(super) count: u32,
    pub(super) callers: Vec<(Caller, u32)>,
}

/// What a step needs and does not own.
pub(super) struct Context<'a> {
    pub(super) options: &'a Options,
    pub(super) model: &'a Model,
    pub(super) model_name: &'a Arc<str>,
    /// What the likes of the series have taught.
    pub(super) peers: Peers<'a>,
    /// What the organisation's other accounts lend while this one is young.
    pub(super) lent: Option<Reached>,
    pub(super) callers: &'a Callers,
    pub(super) names: &'a Names,
    /// A score at or above it is an alarm today.
    pub(super) threshold: f64,
    /// First minute known of the account.
    pub(super) history_start: u32,
    /// Hours in which anything was called in the account and Region.
    pub(super) active_hours: Option<&'a BTreeSet<u32>>,
    /// Minutes of an incident before it are not learned.
    pub(super) unlearned_until: u32,
}

/// A caller's calls on a day of the last week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Daily {
    pub(super) day: u32,
    pub(super) caller: Caller,
    pub(super) count: u32,
}

/// Callers of one series and day that are told apart once the day is over. Beyond it the smaller ones lose session,
/// key and address, and, if that does not help, become one.
const DAY_CALLERS_MAX: usize = 256;

/// A day is folded while it lasts, too, once the callers of the week are so many: names made for one call each would
/// take gigabytes before it is over.
const CALLERS_MAX: usize = 16_384;

/// Callers of today that are looked through for the one that calls again.
const DAY_CALLERS_SEARCHED: usize = 64;

/// Minutes whose callers are kept one by one: a start can lie this far before the alarm.
const RECENT_MINUTES: u32 = 60;

/// Of an incident nothing is kept out of the record while an account's history is younger than a week.
const FREEZE_HISTORY_MINUTES: u32 = 7 * MINUTES_PER_DAY as u32;

/// A minute is worth a score, whatever its records say, while the evidence for a ramp is above this: e to the power
/// of it to one.
const RAMP_GATE: f64 = 7.0;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Series {
    judge: Judge,
    baseline: Baseline,
    episode: Episode,
    last: u32,
    /// None while idle: one word instead of three in a million series.
    recent: Option<Box<RecentCalls>>,
    /// In the order of days. A caller of a day may stand in several of them until they are added up: how many rows there
    /// are follows from the numbers of callers, and so from the order of arrival, and must decide nothing.
    days: Vec<Daily>,
    /// So many of them, from the first, are added up.
    days_added_up: u32,
    habit: Habit,
    /// The last day whose callers had to be folded, and the day before which all were looked at.
    folded_day: u32,
    looked_day: u32,
    incident: Option<Box<Incident>>,
    near: Option<Box<OpenNear>>,
    /// Only where silence is looked for.
    silence: Option<Box<Silence>>,
}

impl Series {
    /// Something that can come to its end without another call.
    pub(super) fn is_open(&self) -> bool {
        self.incident.is_some()
            || self.near.is_some()
            || self.silence.as_ref().is_some_and(|silence| silence.drop.is_some())
    }

    /// Nothing was folded into it yet.
    pub(super) fn is_new(&self) -> bool {
        self.last == 0
    }

    /// The last minute with calls.
    pub(super) fn last(&self) -> u32 {
        self.last
    }

    /// About how much memory it takes, once its days are added up; of equal series, the same. Callers count with their
    /// share of the names.
    pub(super) fn bytes(&self) -> usize {
        const NAMES_PER_CALLER: usize = 16;
        let mut recent: Vec<Caller> = self.recent().map(|row| row.caller).collect();
        let rows = recent.len();
        // Not how often they take turns: that follows from the order of arrival.
        recent.sort_unstable();
        recent.dedup();
        let callers = self.days.len() + recent.len();
        size_of::<Series>()
            + self.judge.heap_bytes()
            + self.baseline.heap_bytes()
            + self.days.len() * size_of::<Daily>()
            + RecentCalls::bytes_of(rows, recent.len())
            + callers * NAMES_PER_CALLER
    }

    /// Hours before it were looked at for silence.
    fn looked_hour(&self) -> u32 {
        self.silence.as_ref().map_or(0, |silence| silence.hour)
    }

    /// Silent for so long that its next call begins a new series.
    pub(super) fn is_forgotten(&self, now: u32) -> bool {
        self.last != 0 && now.saturating_sub(self.last) > FORGET_MINUTES
    }

    /// What it lends to young accounts of its organisation, from the time before `minute`, the first of a day.
    pub(super) fn reached(&self, minute: u32, history_start: u32) -> Option<Reached> {
        (self.last != 0 && !self.is_forgotten(minute)).then(|| self.judge.reached(minute, history_start))
    }

    /// Folds in one minute.
    pub(super) fn step(&mut self, context: &Context, key: Key, cell: &Cell, out: &mut Findings) {
        let minute = cell.minute;
        self.settle(context, key, minute, out);
        if self.is_forgotten(minute) {
            *self = Series::default();
        }
        self.learn_habit(minute, context.callers);
        if self.last / MINUTES_PER_DAY as u32 != minute / MINUTES_PER_DAY as u32 {
            out.seen.active += 1;
        }
        self.age_callers(minute, context.callers);
        self.last = minute;
        self.recent.get_or_insert_default().push(minute, &cell.callers);

        let features = self.measure(context, key, cell);
        let warm = minute >= context.history_start + context.options.warmup_minutes;
        if let Some(features) = features.filter(|_| warm) {
            let score = context.model.score(&features);
            if context.options.keep_candidates {
                let series = context.names.series_key(key);
                out.candidates.push(Candidate { series, minute: Minute(i64::from(minute)), features, score });
            }
            let was_active = self.episode.is_active();
            let (episode, alarm) = self.episode.step(minute, score, context.threshold);
            self.episode = episode;
            if score >= context.model.near_line {
                let near = self.near.get_or_insert_with(|| {
                    out.seen.near_alarms += 1;
                    Box::new(OpenNear::new(minute, context.threshold))
                });
                // What became an incident says nothing about how close to the line the account lives.
                out.seen.near_alarms -= i32::from(near.add(minute, cell.count, score, alarm));
            }
            if alarm {
                if !was_active {
                    self.start(context, key, minute, score, evidence::window_minutes(&features), &mut out.insights);
                }
                // In a young history everything is new: what comes weekly has not come yet. It is learned.
                if minute >= context.history_start + FREEZE_HISTORY_MINUTES {
                    self.freeze(minute);
                }
            }
            self.count_incident(cell, alarm, score, !was_active && alarm);
        } else {
            self.count_incident(cell, false, f64::NEG_INFINITY, false);
        }
        let mut learned = u64::from(cell.count);
        if minute < context.unlearned_until && self.episode.is_active() {
            self.judge.freeze(minute + FREEZE_AFTER_MINUTES + 1);
            // As if the minute had been as expected: an hour without it would read as a quiet one.
            let expected = self.baseline.predict(Minute(i64::from(minute)), context.peers).mean();
            learned = learned.min(expected.round() as u64);
        }
        self.judge.learn(minute, cell.count);
        self.baseline.learn(Minute(i64::from(minute)), learned, context.peers);
    }

    /// The features of a minute worth a score.
    fn measure(&mut self, context: &Context, key: Key, cell: &Cell) -> Option<[f64; FEATURE_COUNT]> {
        let minute = cell.minute;
        let at = Minute(i64::from(minute));
        self.baseline.advance(at, context.peers);
        let ramps = self.baseline.ln_ramp_of_last_hour() > RAMP_GATE;
        let counts = self.judge.measure(minute, cell.count, context.history_start, ramps, context.lent)?;
        let predictive = self.baseline.predict(at, context.peers);
        let [_, _, sum_15, sum_60] = self.judge.sums();
        let surprise = |minutes: f64, sum: u32| (1.0 - predictive.ln_upper_tail(minutes, u64::from(sum))).ln();
        let forecast = [
            surprise(15.0, sum_15),
            surprise(60.0, sum_60),
            self.baseline.ln_ramp(at, u64::from(cell.count), context.peers),
        ];
        self.add_up_days();
        let recent: Vec<Recent> = self.recent().collect();
        let callers = identity::features(self.habit, &self.days, &recent, minute, context.callers, key.is_error_rate());
        let mut features = [0.0; FEATURE_COUNT];
        let all = counts.into_iter().chain(forecast).chain(callers);
        features.iter_mut().zip(all).for_each(|(feature, value)| *feature = value);
        Some(features)
    }

    /// Whether any of these minutes to come would be worth a score by its counts. Changes nothing.
    pub(super) fn may_alarm(
        &self,
        minutes: &[OpenMinute],
        history_start: u32,
        peers: Peers,
        lent: Option<Reached>,
    ) -> bool {
        let is_worth = |judge: &mut Judge, open: &OpenMinute, ramps: bool| {
            let worth = judge.measure(open.minute, open.count(), history_start, ramps, lent).is_some();
            judge.learn(open.minute, open.count());
            worth
        };
        // Whether there may be a ramp costs the most to know. With hardly any series it matters: then it would be worth
        // a score if there were one.
        let mut judge = self.judge.clone();
        if !minutes.iter().any(|open| is_worth(&mut judge, open, true)) {
            return false;
        }
        let (mut judge, mut baseline) = (self.judge.clone(), self.baseline.clone());
        minutes.iter().any(|open| {
            let at = Minute(i64::from(open.minute));
            baseline.advance(at, peers);
            let worth = is_worth(&mut judge, open, baseline.ln_ramp_of_last_hour() > RAMP_GATE);
            baseline.learn(at, u64::from(open.count()), peers);
            worth
        })
    }

    /// Takes the mix of callers of the last hour with calls into the habit, once it is over.
    fn learn_habit(&mut self, minute: u32, callers: &Callers) {
        let hour = self.last / 60;
        if self.last == 0 || minute / 60 <= hour || self.episode.is_active() || self.judge.is_frozen(hour * 60) {
            return;
        }
        let rows: Vec<Recent> = self.recent().filter(|row| row.minute / 60 == hour).collect();
        identity::learn_hour(&mut self.habit, &self.days, &rows, callers, hour / 24);
    }

    /// Lets time pass up to the start of minute `now`.
    pub(super) fn settle(&mut self, context: &Context, key: Key, now: u32, out: &mut Findings) {
        if let Some(near) = self.near.take_if(|near| near.is_over(now)) {
            out.near.extend(near.close(context.names.series_key(key)));
        }
        if let Some(over) = self.episode.over_from()
            && over <= now
            && let Some(mut incident) = self.incident.take()
        {
            self.close(&mut incident, over);
            out.insights.push(incident.end(context, key, over));
        }
        self.episode = self.episode.settle(now);
        if context.options.missed_jobs {
            self.look_for_missed(context, key, now, &mut out.insights);
        }
        if context.options.drops {
            self.look_for_drops(context, key, now, &mut out.insights);
        }
    }

    /// Gives back what only a busy series needs. Changes nothing of what is said later.
    pub(super) fn cool(&mut self, now: u32, callers: &Callers) {
        self.judge.cool(now);
        if self.recent.is_some() && now > self.last.saturating_add(RECENT_MINUTES) && self.incident.is_none() {
            self.learn_habit(now, callers);
            self.move_to_days(now);
            self.recent = None;
        }
        self.forget_days(now);
    }

    /// Renames callers.
    pub(super) fn renumber(&mut self, mut rename: impl FnMut(Caller) -> Caller) {
        self.recent.iter_mut().for_each(|recent| recent.renumber(&mut rename));
        self.days.iter_mut().for_each(|daily| daily.caller = rename(daily.caller));
        let incident = self.incident.iter_mut().flat_map(|incident| {
            let Incident { baseline, counted, tail, .. } = &mut **incident;
            baseline.iter_mut().chain(counted).chain(tail)
        });
        let drop = self.silence.iter_mut().filter_map(|silence| silence.drop.as_mut());
        let drop = drop.flat_map(|drop| drop.baseline.iter_mut());
        incident.chain(drop).for_each(|(caller, _)| *caller = rename(*caller));
    }

    /// Drops days that no baseline from now on can reach. Changes nothing of what is said later.
    fn forget_days(&mut self, now: u32) {
        let oldest = (now / MINUTES_PER_DAY as u32).saturating_sub(BASELINE_DAYS as u32 + 1);
        let gone = self.days.partition_point(|daily| daily.day < oldest);
        if gone > 0 {
            self.days.drain(..gone);
            self.days_added_up = self.days_added_up.saturating_sub(gone as u32);
            if self.days.is_empty() {
                self.days = Vec::new();
            }
        }
    }

    /// Moves callers older than an hour to their day.
    fn age_callers(&mut self, minute: u32, callers: &Callers) {
        self.forget_days(minute);
        self.move_to_days(minute);
        // A day is folded once no minute of it can still come: the result depends on the day's calls alone.
        let over = minute.saturating_sub(RECENT_MINUTES) / MINUTES_PER_DAY as u32;
        if self.looked_day < over {
            self.looked_day = over;
            if self.days.len() > DAY_CALLERS_MAX {
                self.fold_days(over, callers);
            }
        }
        if self.days.len() > CALLERS_MAX {
            self.add_up_days();
            if self.days.len() > CALLERS_MAX {
                self.fold_days(u32::MAX, callers);
            }
        }
    }

    /// One row for each caller of a day.
    pub(super) fn add_up_days(&mut self) {
        if self.days.len() > self.days_added_up as usize {
            compact(&mut self.days);
            self.days_added_up = self.days.len() as u32;
        }
    }

    fn move_to_days(&mut self, minute: u32) {
        let Some(recent) = &mut self.recent else { return };
        let oldest = minute.saturating_sub(RECENT_MINUTES);
        for Recent { minute, caller, count } in recent.rows(self.last).take_while(|row| row.minute < oldest) {
            let day = minute / MINUTES_PER_DAY as u32;
            let today = self.days.iter_mut().rev().take_while(|daily| daily.day == day);
            match today.take(DAY_CALLERS_SEARCHED).find(|daily| daily.caller == caller) {
                Some(known) => known.count = known.count.saturating_add(count),
                None => {
                    if self.days.len() == self.days.capacity() {
                        self.days.reserve_exact(1 + self.days.len() / 8);
                    }
                    self.days.push(Daily { day, caller, count });
                    // Few callers were found again by searching; the others are added up once they have doubled.
                    if self.days.len() >= self.days_added_up as usize * 2 + DAY_CALLERS_SEARCHED {
                        compact(&mut self.days);
                        self.days_added_up = self.days.len() as u32;
                    }
                }
            }
        }
        recent.forget_before(oldest, self.last);
    }

    fn fold_days(&mut self, over: u32, callers: &Callers) {
        self.add_up_days();
        let mut folded = Vec::with_capacity(self.days.len());
        for day in self.days.chunk_by(|a, b| a.day == b.day) {
            if day[0].day >= over || day.len() <= DAY_CALLERS_MAX {
                folded.extend_from_slice(day);
                continue;
            }
            self.folded_day = self.folded_day.max(day[0].day);
            let mut rows = day.to_vec();
            for blur in [
                |caller: Caller| Caller { fine: OTHER_ID, ..caller },
                |_: Caller| Caller { coarse: OTHER_ID, fine: OTHER_ID },
            ] {
                if rows.len() <= DAY_CALLERS_MAX {
                    break;
                }
                let text =
                    |daily: &Daily| (callers.coarse.get(daily.caller.coarse), callers.fine.get(daily.caller.fine));
                rows.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| text(a).cmp(&text(b))));
                rows[DAY_CALLERS_MAX / 2..].iter_mut().for_each(|daily| daily.caller = blur(daily.caller));
                compact(&mut rows);
            }
            folded.extend(rows);
        }
        self.days_added_up = folded.len() as u32;
        self.days = folded;
    }

    fn recent(&self) -> impl Iterator<Item = Recent> + '_ {
        self.recent.iter().flat_map(|recent| recent.rows(self.last))
    }

    /// Calls in the reported baseline of an incident that starts at `start`, and who made them.
    fn baseline_before(&self, start: u32) -> (u64, Vec<(Caller, u64)>, bool) {
        let from_day = (baseline_from(Minute(i64::from(start))).0 / MINUTES_PER_DAY) as u32;
        let mut counts = Vec::new();
        let days = self.days.iter().filter(|daily| daily.day >= from_day);
        let recent = self.recent().filter(|recent| recent.minute < start);
        for (caller, count) in
            days.map(|daily| (daily.caller, daily.count)).chain(recent.map(|recent| (recent.caller, recent.count)))
        {
            counts.push((caller, u64::from(count)));
        }
        merge_counts(&mut counts);
        (counts.iter().map(|(_, count)| count).sum(), counts, self.folded_day < from_day)
    }
}

fn compact(days: &mut Vec<Daily>) {
    days.sort_unstable();
    days.dedup_by(|next, kept| {
        let same = (next.day, next.caller) == (kept.day, kept.caller);
        if same {
            kept.count = kept.count.saturating_add(next.count);
        }
        same
    });
}
