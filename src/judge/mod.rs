//! Is this minute unusual for its series? [`Judge`] keeps what a series has done and turns a minute's counts into 22 features;
//! [`Model`] turns those into a score. Knows neither who called nor what an incident is; time comes with each call.
//!
//! Source: the project's judge reference (record ratios and a monotone additive logistic); the port is checked against
//! its vectors feature by feature. Minutes and hours are `u32` since 1970-01-01T00:00Z.

mod history;
mod model;
mod rhythm;
mod runs;
mod short;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

pub use history::SCALES;
use history::{History, HourMax, References};
pub use model::{Additive, Calibration, DEFAULT_JSON, Model, ModelError};
pub use rhythm::{RUN_GAP_MINUTES, Rhythm, Run, find as find_rhythm};
pub use short::ShortMinute;

/// Features that a series' own counts give: what [`Judge::measure`] returns.
pub const COUNT_FEATURES: usize = 22;

pub const FEATURE_COUNT: usize = COUNT_FEATURES + 10;

/// In the order of the model file: first those of the counts, then those of the forecast, then those of the callers.
pub const FEATURE_NAMES: [&str; FEATURE_COUNT] = [
    "r1", "r5", "r15", "r60", "h15", "h60", "w60", "lS1", "lS5", "lrate", "acth", "actm", "actd", "nz15", "nz60",
    "gap", "lu", "age", "z5", "z60", "sd5", "sd60", "x15", "x60", "ramp", "mix", "mixn", "newp", "newa", "newf", "top",
    "errs",
];

/// Half-life of the activity counters: a week.
const HALF_LIFE_MINUTES: f64 = 10_080.0;
const HALF_LIFE_HOURS: f64 = HALF_LIFE_MINUTES / 60.0;
const HALF_LIFE_DAYS: f64 = 7.0;

/// A minute with fewer calls in its last five minutes, or in its last hour, is never scored.
const GATE_CALLS_5: u32 = 2;
const GATE_CALLS_60: u32 = 4;
/// Nor is one that beats neither a record by this log ratio, nor its time of day by the second.
const GATE_RECORD: f64 = 0.05;
const GATE_TIME_OF_DAY: f64 = 0.25;
/// While there is evidence for a ramp, it is enough to lie above the time of day, and above the hour of the week by this.
const GATE_RAMP_WEEK: f64 = 0.1;

const HOURS_PER_DAY: u32 = 24;
const HOURS_PER_WEEK: u32 = 7 * HOURS_PER_DAY;

/// What incidents reached is remembered for three weeks. It becomes a record the second time that it comes at the same
/// hour of the week, or after this many other days on which it came at the same time of day, give or take an hour.
const WITHHELD_HOURS: u32 = 3 * HOURS_PER_WEEK;
const WITHHELD_DAYS: usize = 2;

/// Gaps between calls are told apart up to this many minutes.
const GAP_MINUTES_MAX: u32 = 20_000;

/// `0.5 ^ (steps / half_life)`
fn decay(steps: u32, half_life: f64) -> f64 {
    (-f64::from(steps) / half_life).exp2()
}

/// Sum of `decay(i)` for `i` in `0..steps`: the weight of that many units of time.
fn elapsed(steps: u32, half_life: f64) -> f64 {
    (1.0 - decay(steps, half_life)) / (1.0 - decay(1, half_life))
}

/// Whether any of these minutes, in the order of time, could be scored in a series without a past: fewer calls never are.
pub fn may_score(minutes: impl Iterator<Item = (u32, u32)>) -> bool {
    let mut recent = VecDeque::<(u32, u32)>::new();
    let mut any = false;
    for (minute, count) in minutes.filter(|(_, count)| *count > 0) {
        recent.push_back((minute, count));
        while recent.front().is_some_and(|(old, _)| old + SCALES[3] <= minute) {
            recent.pop_front();
        }
        let sum = |minutes: u32| {
            let calls = recent.iter().filter(|(old, _)| old + minutes > minute).map(|(_, count)| *count);
            calls.fold(0, u32::saturating_add)
        };
        any |= sum(SCALES[1]) >= GATE_CALLS_5 && sum(SCALES[3]) >= GATE_CALLS_60;
    }
    any
}

/// How far a series went, in short: what may stand for one that has no past.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reached {
    /// Natural logarithms of one plus the record of 14 days, by scale.
    pub ln_record: [f64; 4],
    /// Mean calls per minute; what is further back counts less, by half for each week.
    pub per_minute: f64,
}

/// What one series has done so far. Idle time costs nothing: everything fades when it is next looked at.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Judge {
    /// The last minute with calls; 0: none yet.
    last: u32,
    /// Faded sums up to and with `last`: calls, minutes with calls.
    calls: f32,
    active_minutes: f32,
    /// Faded counts of hours and days with calls, before the hour and the day of `last`.
    active_hours: f32,
    active_days: f32,
    /// Minutes before this one were part of an incident and are no record. 0: none.
    frozen_until: u32,
    history: History,
    hot: Option<Box<Hot>>,
    withheld: Option<Box<Withheld>>,
}

/// What incidents reached: no record until it has come again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Withheld {
    past: Vec<HourMax>,
    /// Largest sums of the hour of the last call, so far.
    hour_max: [u32; 4],
}

/// Minutes with calls in the last hour from which on working the references out for each costs more than the room to
/// remember them.
const REMEMBERED_FROM: usize = 12;

/// What is needed only within two hours of calls.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Hot {
    /// Minutes with calls in the last hour, oldest first.
    recent: Vec<ShortMinute>,
    /// The last of them.
    newest: u32,
    /// Sums over the scales up to `last`, and where in `recent` each begins.
    sums: [u32; 4],
    begins: [u8; 4],
    /// Bit `i`: calls in minute `last - i`.
    minutes: u64,
    /// Largest sums of the hour of `last` so far, but for what an incident keeps from being a record.
    hour_max: [u32; 4],
    /// Of the hour named; they change only between hours. Kept where they are asked for often enough.
    #[serde(skip)]
    references: Option<Box<(u32, References)>>,
}

impl Hot {
    /// Moves the sums to end with `minute`, and adds its calls.
    fn slide(&mut self, minute: u32, count: u32) {
        for (scale, &minutes) in SCALES.iter().enumerate() {
            while let Some(old) = self.recent.get(self.begins[scale] as usize)
                && old.minute(self.newest) + minutes <= minute
            {
                self.sums[scale] -= old.count();
                self.begins[scale] += 1;
            }
        }
        let gone = self.begins[3];
        // A state that was tampered with must not end the process.
        self.recent.drain(..self.recent.len().min(gone.into()));
        self.begins.iter_mut().for_each(|begin| *begin = begin.saturating_sub(gone));
        if count > 0 {
            if self.recent.len() == self.recent.capacity() {
                // Most series are called few times an hour, and there are many of them.
                self.recent.reserve_exact(1 + self.recent.len() / 8);
            }
            let calls = ShortMinute::new(minute, count);
            self.recent.push(calls);
            self.newest = minute;
            self.sums.iter_mut().for_each(|sum| *sum += calls.count());
        }
    }
}

impl Judge {
    /// Takes in a minute's calls and measures it, if it is worth a score. `history_start` is the first minute that
    /// anything is known of; `lent`: records of others that count as its own. Minutes come in ascending order and each
    /// is followed by [`Judge::learn`].
    pub fn measure(
        &mut self,
        minute: u32,
        count: u32,
        history_start: u32,
        ramps: bool,
        lent: Option<Reached>,
    ) -> Option<[f64; COUNT_FEATURES]> {
        self.roll_hours(minute / 60);
        let hot = self.hot.get_or_insert_default();
        hot.slide(minute, count);
        let [s1, s5, s15, s60] = hot.sums;
        if s5 < GATE_CALLS_5 || s60 < GATE_CALLS_60 {
            return None;
        }
        let hour = minute / 60;
        let mut references = match &mut hot.references {
            Some(known) if known.0 == hour => known.1,
            _ if hot.recent.len() < REMEMBERED_FROM => self.history.references(hour),
            known => known.insert(Box::new((hour, self.history.references(hour)))).1,
        };
        if let Some(lent) = lent {
            references.raise(lent.ln_record);
        }
        let ln = [s1, s5, s15, s60].map(|sum| (1.0 + f64::from(sum)).ln());
        let r: [f64; 4] = std::array::from_fn(|scale| ln[scale] - references.record[scale]);
        let h = [ln[2] - references.time_of_day[0], ln[3] - references.time_of_day[1]];
        let w60 = ln[3] - references.hour_of_week;
        let ramps = ramps && w60 > GATE_RAMP_WEEK && h[1] > 0.0;
        if !ramps && r.iter().all(|r| *r <= GATE_RECORD) && h.iter().all(|h| *h <= GATE_TIME_OF_DAY) {
            return None;
        }
        let since = minute.saturating_sub(history_start);
        let idle = if self.last == 0 { u32::MAX } else { minute - self.last };
        let fade = if self.last == 0 { 0.0 } else { decay(idle - 1, HALF_LIFE_MINUTES) };
        let (calls, active) = (f64::from(self.calls) * fade, f64::from(self.active_minutes) * fade);
        let minutes_elapsed = elapsed(since, HALF_LIFE_MINUTES);
        let days_elapsed = elapsed((minute / 1440).saturating_sub(history_start / 1440), HALF_LIFE_DAYS);
        // Bit 63 of `before` is the call 64 minutes ago: the weights were fitted with it counted, so it is.
        let before = if idle > 64 { 0 } else { hot.minutes << (idle - 1) };
        let old = before >> 63;
        Some([
            r[0],
            r[1],
            r[2],
            r[3],
            h[0],
            h[1],
            w60,
            ln[0],
            ln[1],
            ((calls + 1.0) / (minutes_elapsed + 60.0)).ln(),
            f64::from(self.active_hours) / (minutes_elapsed / 60.0).max(1.0),
            active / minutes_elapsed.max(1.0),
            f64::from(self.active_days) / days_elapsed.max(1.0),
            f64::from((before & ((1 << 14) - 1)).count_ones()) + 1.0 + old as f64,
            f64::from((before & ((1 << 59) - 1)).count_ones()) + 1.0 + old as f64,
            (1.0 + f64::from(idle.min(GAP_MINUTES_MAX))).ln(),
            ((calls + 1.0) / (active + 1.0)).ln(),
            (1.0 + f64::from(since) / 1440.0).ln(),
            (ln[1] - references.spread[0].mean) / references.spread[0].deviation,
            (ln[3] - references.spread[1].mean) / references.spread[1].deviation,
            references.spread[0].deviation,
            references.spread[1].deviation,
        ])
    }

    /// Makes the minute just measured part of the past.
    pub fn learn(&mut self, minute: u32, count: u32) {
        let idle = if self.last == 0 { 64 } else { (minute - self.last).min(64) };
        let fade = if self.last == 0 { 0.0 } else { decay(minute - self.last, HALF_LIFE_MINUTES) };
        self.calls = (f64::from(self.calls) * fade) as f32 + count as f32;
        self.active_minutes = (f64::from(self.active_minutes) * fade) as f32 + 1.0;
        self.last = minute;
        let hot = self.hot.get_or_insert_default();
        hot.minutes = if idle >= 64 { 1 } else { hot.minutes << idle | 1 };
        let sum_60 = hot.sums[3];
        self.raise_hour_max(minute);
        self.history.note(minute, count, sum_60, minute < self.frozen_until);
    }

    /// A sum that reaches back into a frozen minute is no record.
    fn raise_hour_max(&mut self, minute: u32) {
        let Some(hot) = &mut self.hot else { return };
        for (scale, minutes) in SCALES.into_iter().enumerate() {
            let free = self.frozen_until == 0 || minute + 1 >= self.frozen_until.saturating_add(minutes);
            let max = if free { &mut hot.hour_max } else { &mut self.withheld.get_or_insert_default().hour_max };
            max[scale] = max[scale].max(hot.sums[scale]);
        }
    }

    /// What this series has reached before `minute`, which begins a clock hour.
    pub fn reached(&self, minute: u32, history_start: u32) -> Reached {
        // Ending the last hour is not to be seen by the series itself: it may go on.
        let mut ended = self.clone();
        ended.commit_hours(minute / 60);
        let calls = f64::from(self.calls) * decay(minute.saturating_sub(self.last), HALF_LIFE_MINUTES);
        Reached {
            ln_record: ended.history.references(minute / 60).record,
            per_minute: calls / elapsed(minute.saturating_sub(history_start), HALF_LIFE_MINUTES).max(1.0),
        }
    }

    /// The last runs, in order of time; the last may go on.
    pub fn runs(&self) -> Vec<Run> {
        self.history.runs()
    }

    /// Whether a minute is part of an incident that is no record.
    pub fn is_frozen(&self, minute: u32) -> bool {
        minute < self.frozen_until
    }

    /// From now on, minutes before `until` are no record, nor is what this hour has reached so far.
    pub fn freeze(&mut self, until: u32) {
        self.frozen_until = until;
        if let Some(hot) = &mut self.hot {
            let withheld = self.withheld.get_or_insert_default();
            for (withheld, max) in withheld.hour_max.iter_mut().zip(std::mem::take(&mut hot.hour_max)) {
                *withheld = (*withheld).max(max);
            }
        }
    }

    /// About how much memory it takes beside itself; of equal ones, the same.
    pub fn heap_bytes(&self) -> usize {
        let hot = self.hot.as_ref().map_or(0, |hot| size_of::<Hot>() + hot.recent.len() * size_of::<ShortMinute>());
        let withheld = self
            .withheld
            .as_ref()
            .map_or(0, |withheld| size_of::<Withheld>() + withheld.past.len() * size_of::<HourMax>());
        self.history.heap_bytes() + hot + withheld
    }

    /// Sums of the last 1, 5, 15 and 60 minutes, as of the last minute measured.
    pub fn sums(&self) -> [u32; 4] {
        self.hot.as_ref().map_or([0; 4], |hot| hot.sums)
    }

    /// Minutes with calls in the last hour of calls, oldest first.
    pub fn recent(&self) -> impl DoubleEndedIterator<Item = (u32, u32)> + '_ {
        self.hot.iter().flat_map(|hot| hot.recent.iter().map(|calls| (calls.minute(hot.newest), calls.count())))
    }

    /// Gives back the memory that only a series with recent calls needs. `now`: no call before it is still to come.
    /// Changes nothing of what is said later.
    pub fn cool(&mut self, now: u32) {
        if self.hot.is_some() && now / 60 > self.last / 60 + 1 && now > self.last.saturating_add(u64::BITS) {
            self.commit_hours(now / 60);
            self.hot = None;
        }
    }

    /// Ends the hours before `hour`.
    fn roll_hours(&mut self, hour: u32) {
        let last_hour = self.last / 60;
        if self.last == 0 || hour <= last_hour {
            return;
        }
        self.commit_hours(hour);
        let fade = decay(hour - last_hour - 1, HALF_LIFE_HOURS);
        self.active_hours = ((f64::from(self.active_hours) * decay(1, HALF_LIFE_HOURS) + 1.0) * fade) as f32;
        let days = hour / 24 - last_hour / 24;
        if days > 0 {
            let fade = decay(days - 1, HALF_LIFE_DAYS);
            self.active_days = ((f64::from(self.active_days) * decay(1, HALF_LIFE_DAYS) + 1.0) * fade) as f32;
        }
    }

    /// Hands the maxima of the last hour with calls to the history, and those of the hour after it, whose first sums
    /// still reach back.
    fn commit_hours(&mut self, hour: u32) {
        let last_hour = self.last / 60;
        let Some((max, withheld)) = self.take_hour_max() else { return };
        self.hot.iter_mut().for_each(|hot| hot.slide((last_hour + 1) * 60, 0));
        self.raise_hour_max((last_hour + 1) * 60);
        let next = if hour > last_hour + 1 { self.take_hour_max() } else { None };
        self.commit_hour(last_hour, max, withheld);
        if let Some((max, withheld)) = next {
            self.commit_hour(last_hour + 1, max, withheld);
        }
    }

    /// Of a series with recent calls: the sums of its hour, and those withheld.
    fn take_hour_max(&mut self) -> Option<([u32; 4], [u32; 4])> {
        let max = std::mem::take(&mut self.hot.as_mut()?.hour_max);
        Some((max, self.withheld.as_mut().map_or([0; 4], |withheld| std::mem::take(&mut withheld.hour_max))))
    }

    /// What an incident withheld becomes a record after all once it has come again: then it is a habit, no attack.
    fn commit_hour(&mut self, hour: u32, mut max: [u32; 4], withheld: [u32; 4]) {
        if withheld != [0; 4] {
            let past = &mut self.withheld.get_or_insert_default().past;
            past.retain(|old| old.hour + WITHHELD_HOURS >= hour);
            let near = |apart: u32, period: u32| (apart + 1) % period <= 2;
            let weekly = past.iter().filter(|old| {
                let apart = hour - old.hour;
                apart >= 2 * HOURS_PER_DAY && near(apart, HOURS_PER_WEEK)
            });
            let mut days: Vec<u32> = past
                .iter()
                .map(|old| hour - old.hour)
                .filter(|apart| *apart >= HOURS_PER_DAY - 1 && near(*apart, HOURS_PER_DAY))
                .map(|apart| (apart + 1) / HOURS_PER_DAY)
                .collect();
            days.dedup();
            if weekly.count() > 0 || days.len() >= WITHHELD_DAYS {
                max.iter_mut().zip(withheld).for_each(|(max, withheld)| *max = (*max).max(withheld));
            }
            past.push(HourMax { hour, max: withheld });
        }
        self.history.push(HourMax { hour, max });
    }
}
