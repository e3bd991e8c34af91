//! What a series has reached before: the largest sums of each clock hour, and from them the records of 14 days, of the
//! time of day and of the hour of the week. Two forms with one meaning: a list of hours for the many series that are
//! hardly ever called, tables for the rest. Knows no scores and no incidents.
//!
//! Source of the method: the project's judge reference; the sums are over the last 1, 5, 15 and 60 minutes.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;

use super::rhythm::{RUN_GAP_MINUTES, Run};
use super::runs::Runs;

/// Windows of the sums, in minutes.
pub const SCALES: [u32; 4] = [1, 5, 15, 60];

/// Hours until the maxima of an hour enter the record. The 60-minute sums of an hour's first minutes reach back into
/// the hour before: a burst across the hour must not become its own record.
const LAG_HOURS: [u32; 4] = [1, 1, 1, 2];

/// Days the record looks back.
const RECORD_DAYS: u32 = 14;

const HOURS_PER_DAY: u32 = 24;
const HOURS_PER_WEEK: u32 = 168;

/// Steps per e-fold of a count in its 16-bit code. 16 bits: 8 would end at 345,000 calls, and a full record alarms for
/// ever.
const CODE_STEPS: f64 = 20.0;

/// What a time-of-day record loses per day, and an hour-of-week record per week, in steps of the code.
const DAY_DECAY: u32 = 1;
const WEEK_DECAY: u32 = 2;

/// A list longer than this becomes tables, which are then smaller than the list would soon be.
const LIST_MAX: usize = 48;

/// `round(20 ln(1 + count))`.
pub fn code(count: u32) -> u16 {
    ((1.0 + f64::from(count)).ln() * CODE_STEPS + 0.5) as u16
}

/// Largest sums of one clock hour, by scale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HourMax {
    /// Since 1970-01-01T00:00Z.
    pub hour: u32,
    pub max: [u32; 4],
}

/// What a minute of some hour is compared with; natural logarithms of one plus a count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct References {
    /// The record of 14 days, by scale.
    pub record: [f64; 4],
    /// The same time of day, two hours either side: 15 and 60 minutes.
    pub time_of_day: [f64; 2],
    /// The same hour of the week and the next: 60 minutes.
    pub hour_of_week: f64,
    /// Of the 5 and the 60 minute sums: how the largest of each day were spread.
    pub spread: [Spread; 2],
}

impl References {
    /// Lets these records, by scale, count at any time of day and week.
    pub fn raise(&mut self, ln_record: [f64; 4]) {
        let [_, _, of_15, of_60] = ln_record;
        self.record.iter_mut().zip(ln_record).for_each(|(own, other)| *own = own.max(other));
        self.time_of_day.iter_mut().zip([of_15, of_60]).for_each(|(own, other)| *own = own.max(other));
        self.hour_of_week = self.hour_of_week.max(of_60);
    }
}

/// Mean and standard deviation of the logarithms of daily maxima, over the past days with calls; the latter shrunk
/// towards what most series show, so that two alike days promise nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub mean: f64,
    pub deviation: f64,
}

/// Deviation of the logarithms of daily maxima that a series is thought to have before anything is known, and how many
/// days that counts for.
const DEVIATION_PRIOR: f64 = 0.35;
const DEVIATION_PRIOR_DAYS: f64 = 4.0;

impl Spread {
    /// Codes of daily maxima; 0 is a day without calls.
    fn of(codes: &[u16]) -> Spread {
        let logs = || codes.iter().filter(|code| **code > 0).map(|code| f64::from(*code) / CODE_STEPS);
        let days = logs().count() as f64;
        let mean = if days > 0.0 { logs().sum::<f64>() / days } else { 0.0 };
        let squares: f64 = logs().map(|log| (log - mean).powi(2)).sum();
        let prior = DEVIATION_PRIOR_DAYS * DEVIATION_PRIOR * DEVIATION_PRIOR;
        Spread { mean, deviation: ((squares + prior) / (days + DEVIATION_PRIOR_DAYS)).sqrt() }
    }
}

/// The scales whose spread is told.
const SPREAD_SCALES: [usize; 2] = [1, 3];

/// The same in twelve bytes, for hours that fit: lists are what a million quiet series are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SmallHourMax {
    /// From the lowest bit: the hour (21 bits reach into 2209), its first minute with calls (6; [`NO_CALLS`]: none, its
    /// sums only reach back), and half the minutes from there to its last one (5).
    place: u32,
    max: [u16; 4],
}

const HOUR_BITS: u32 = 21;
const MINUTE_BITS: u32 = 6;
const NO_CALLS: u32 = (1 << MINUTE_BITS) - 1;

impl SmallHourMax {
    fn new(hour: u32, first: u32, span: u32) -> SmallHourMax {
        let place = hour & ((1 << HOUR_BITS) - 1) | first << HOUR_BITS | span.div_ceil(2) << (HOUR_BITS + MINUTE_BITS);
        SmallHourMax { place, max: [0; 4] }
    }

    /// False if they do not fit.
    fn set_max(&mut self, max: [u32; 4]) -> bool {
        let [Ok(a), Ok(b), Ok(c), Ok(d)] = max.map(u16::try_from) else { return false };
        self.max = [a, b, c, d];
        true
    }

    fn hour(self) -> u32 {
        self.place & ((1 << HOUR_BITS) - 1)
    }

    /// First minute with calls, and (to two minutes) how many lie between it and the last.
    fn calls(self) -> Option<(u32, u32)> {
        let first = self.place >> HOUR_BITS & NO_CALLS;
        (first != NO_CALLS).then(|| (self.hour() * 60 + first, self.place >> (HOUR_BITS + MINUTE_BITS) << 1))
    }

    fn full(self) -> HourMax {
        HourMax { hour: self.hour(), max: self.max.map(u32::from) }
    }
}

/// See the head of this file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum History {
    List(Vec<SmallHourMax>),
    Tables(Box<Tables>),
}

impl Default for History {
    fn default() -> Self {
        History::List(Vec::new())
    }
}

impl History {
    pub fn heap_bytes(&self) -> usize {
        match self {
            History::List(list) => list.len() * size_of::<SmallHourMax>(),
            History::Tables(_) => size_of::<Tables>(),
        }
    }

    /// Notes a minute with `count` calls, with which the last 60 minutes hold `sum_60`. `frozen`: the minute will be
    /// missing from its hour's maxima. Minutes come in ascending order.
    pub fn note(&mut self, minute: u32, count: u32, sum_60: u32, frozen: bool) {
        let hour = minute / 60;
        if let History::List(list) = self {
            match list.last_mut() {
                // A list has no place for the size of a run that is no record.
                _ if frozen => self.make_tables(),
                Some(last) if last.hour() == hour => {
                    let first = last.calls().map_or(minute, |(first, _)| first);
                    *last = SmallHourMax { max: last.max, ..SmallHourMax::new(hour, first % 60, minute - first) };
                }
                _ => self.add(SmallHourMax::new(hour, minute % 60, 0)),
            }
        }
        if let History::Tables(tables) = self {
            tables.runs.note(minute, count, sum_60);
        }
    }

    /// Adds a finished hour. Hours come in ascending order; hours without calls need not come at all.
    pub fn push(&mut self, hour: HourMax) {
        if hour.max == [0; 4] {
            return;
        }
        if let History::List(list) = self
            && list.last().is_none_or(|last| last.hour() != hour.hour)
        {
            self.add(SmallHourMax::new(hour.hour, NO_CALLS, 0));
        }
        if let History::List(list) = self
            && list.last_mut().is_some_and(|last| last.set_max(hour.max))
        {
            return;
        }
        self.make_tables();
        if let History::Tables(tables) = self {
            tables.push(hour);
        }
    }

    /// Puts an hour at the end of a list that has room, or makes tables of it.
    fn add(&mut self, hour: SmallHourMax) {
        match self {
            History::List(list) if list.len() < LIST_MAX => {
                if list.len() == list.capacity() {
                    list.reserve_exact(2 + list.len() / 8);
                }
                list.push(hour);
            }
            _ => self.make_tables(),
        }
    }

    fn make_tables(&mut self) {
        let History::List(list) = self else { return };
        let mut tables = Box::<Tables>::default();
        // The hour not yet finished is still to come, with its maxima.
        list.iter().map(|old| old.full()).filter(|old| old.max != [0; 4]).for_each(|old| tables.push(old));
        tables.runs = Runs::of(&list_runs(list));
        *self = History::Tables(tables);
    }

    /// What the minutes of `hour` are compared with.
    pub fn references(&self, hour: u32) -> References {
        match self {
            History::List(list) => list_references(list.iter().map(|small| small.full()), hour),
            History::Tables(tables) => tables.references(hour),
        }
    }

    /// The last runs, in order of time; the last may go on. A list sees but one run in an hour, and of the hour not
    /// finished no size.
    pub fn runs(&self) -> Vec<Run> {
        match self {
            History::List(list) => list_runs(list),
            History::Tables(tables) => tables.runs.list(),
        }
    }
}

fn list_runs(list: &[SmallHourMax]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for entry in list {
        let Some((first, span)) = entry.calls() else { continue };
        let count = u32::from(entry.max[3]);
        match runs.last_mut() {
            Some(run) if first <= run.start + run.minutes - 1 + RUN_GAP_MINUTES => {
                run.minutes = first + span + 1 - run.start;
                run.count = run.count.max(count);
            }
            _ => runs.push(Run { start: first, minutes: span + 1, count }),
        }
    }
    runs
}

fn day_of(hour: u32) -> u32 {
    hour / HOURS_PER_DAY
}

/// The clock hours whose time-of-day records count at `hour`: two either side.
fn near_hours(hour: u32) -> [u32; 5] {
    [22, 23, 0, 1, 2].map(|shift| (hour + shift) % HOURS_PER_DAY)
}

fn list_references(list: impl Iterator<Item = HourMax>, hour: u32) -> References {
    let today = day_of(hour);
    let mut record = [0.0f64; 4];
    let mut time_of_day = [0u16; 2];
    let mut hour_of_week = 0u16;
    let near = near_hours(hour);
    let mut daily = [[0u16; RECORD_DAYS as usize]; 2];
    for entry in list {
        for (scale, best) in record.iter_mut().enumerate() {
            let day = day_of(entry.hour + LAG_HOURS[scale] - 1);
            if entry.hour + LAG_HOURS[scale] > hour || day + RECORD_DAYS < today {
                continue;
            }
            *best = best.max(record_ln(entry.max[scale], day == today));
            if let Some(place) = SPREAD_SCALES.iter().position(|spread| *spread == scale)
                && day < today
            {
                let max = &mut daily[place][(today - day - 1) as usize];
                *max = (*max).max(code(entry.max[scale]));
            }
        }
        if entry.hour >= hour {
            continue;
        }
        let age = hour - 1 - entry.hour;
        if near.contains(&(entry.hour % HOURS_PER_DAY)) {
            let lost = age / HOURS_PER_DAY * DAY_DECAY;
            for (best, max) in time_of_day.iter_mut().zip(&entry.max[2..]) {
                *best = (*best).max(u32::from(code(*max)).saturating_sub(lost) as u16);
            }
        }
        if [hour, hour + 1].map(|h| h % HOURS_PER_WEEK).contains(&(entry.hour % HOURS_PER_WEEK)) {
            let lost = age / HOURS_PER_WEEK * WEEK_DECAY;
            hour_of_week = hour_of_week.max(u32::from(code(entry.max[3])).saturating_sub(lost) as u16);
        }
    }
    References {
        record,
        time_of_day: time_of_day.map(|code| f64::from(code) / CODE_STEPS),
        hour_of_week: f64::from(hour_of_week) / CODE_STEPS,
        spread: daily.map(|codes| Spread::of(&codes)),
    }
}

/// Today's records are exact; those of past days have passed through the code.
fn record_ln(count: u32, today: bool) -> f64 {
    if today { (1.0 + f64::from(count)).ln() } else { f64::from(code(count)) / CODE_STEPS }
}

/// A table of records that fade: where its codes begin, how many there are, and what each loses when its hour comes
/// round again. The code at an hour's place is the record as of the last time that this hour was.
#[derive(Clone, Copy)]
struct Fading {
    begin: usize,
    hours: u32,
    decay: u32,
}

const DAYS: usize = SCALES.len() * RECORD_DAYS as usize;
/// The sums over 15 and over 60 minutes.
const TIME_OF_DAY: [Fading; 2] = [
    Fading { begin: DAYS, hours: HOURS_PER_DAY, decay: DAY_DECAY },
    Fading { begin: DAYS + HOURS_PER_DAY as usize, hours: HOURS_PER_DAY, decay: DAY_DECAY },
];
const HOUR_OF_WEEK: Fading =
    Fading { begin: DAYS + 2 * HOURS_PER_DAY as usize, hours: HOURS_PER_WEEK, decay: WEEK_DECAY };
const CODES: usize = HOUR_OF_WEEK.begin + HOURS_PER_WEEK as usize;

/// The records as tables: 512 bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tables {
    /// The last hour with calls, and the largest sums of its day. Its own 60-minute maximum enters a day one hour later
    /// than the others.
    last_hour: u32,
    today: [u32; 4],
    last_60: u32,
    /// What is to be added to every code that is not zero. It is zero itself but in series with more than 300,000 calls
    /// an hour, where records of a handful of calls are none.
    base: u16,
    /// Of past days, by scale and day modulo 14; then what [`TIME_OF_DAY`] and [`HOUR_OF_WEEK`] say.
    codes: ByteArray<CODES>,
    runs: Runs,
}

const _: () = assert!(size_of::<Tables>() <= 512);

fn day_place(scale: usize, day: u32) -> usize {
    scale * RECORD_DAYS as usize + (day % RECORD_DAYS) as usize
}

impl Tables {
    fn code(&self, place: usize) -> u16 {
        match self.codes[place] {
            0 => 0,
            code => self.base + u16::from(code),
        }
    }

    fn set_code(&mut self, place: usize, code: u16) {
        let most = self.base + u16::from(u8::MAX);
        if code > most {
            let up = code - most;
            let lost = u8::try_from(up).unwrap_or(u8::MAX);
            self.codes.iter_mut().for_each(|code| *code = code.saturating_sub(lost));
            self.base += up;
        }
        self.codes[place] = code.saturating_sub(self.base) as u8;
    }

    /// Lowers the base as far as the largest code allows.
    fn lower_base(&mut self) {
        let largest = self.codes.iter().copied().max().unwrap_or(0);
        let down = self.base.min(u16::from(u8::MAX - largest));
        self.codes.iter_mut().filter(|code| **code > 0).for_each(|code| *code += down as u8);
        self.base -= down;
    }

    /// Lets the records fade from the last hour with calls up to and with `hour`.
    fn fade_to(&mut self, hour: u32) {
        let from = self.last_hour + 1;
        for Fading { begin, hours, decay } in TIME_OF_DAY.into_iter().chain([HOUR_OF_WEEK]) {
            for first in (from..=hour).take(hours as usize) {
                let lost = ((hour - first) / hours + 1).saturating_mul(decay);
                let code = &mut self.codes[begin + (first % hours) as usize];
                *code = code.saturating_sub(u8::try_from(lost).unwrap_or(u8::MAX));
            }
        }
    }

    /// What is left of a record at `hour` of the day or week, as of the last time before `now` that this hour was.
    fn left(&self, table: Fading, hour: u32, now: u32) -> u16 {
        let Fading { begin, hours, decay } = table;
        let last_before = |end: u32| end.saturating_sub((end + hours - hour % hours) % hours);
        let (ended, known) = (last_before(now - 1), last_before(self.last_hour));
        let lost = ended.saturating_sub(known) / hours * decay;
        u32::from(self.code(begin + (hour % hours) as usize)).saturating_sub(lost) as u16
    }

    /// Ends the days from `ended` on before `day`.
    fn end_days(&mut self, ended: u32, day: u32) {
        if day <= ended {
            return;
        }
        self.lower_base();
        for (scale, today) in std::mem::take(&mut self.today).into_iter().enumerate() {
            self.set_code(day_place(scale, ended), code(today));
            for silent in (ended + 1..day).rev().take(RECORD_DAYS as usize) {
                self.codes[day_place(scale, silent)] = 0;
            }
        }
    }

    fn push(&mut self, entry: HourMax) {
        let [day, next_day] = [self.last_hour, self.last_hour + 1].map(day_of);
        self.end_days(day, next_day);
        self.today[3] = self.today[3].max(self.last_60);
        self.end_days(next_day, day_of(entry.hour));
        for scale in 0..3 {
            self.today[scale] = self.today[scale].max(entry.max[scale]);
        }
        self.fade_to(entry.hour);
        (self.last_hour, self.last_60) = (entry.hour, entry.max[3]);
        let [_, _, of_15, of_60] = entry.max;
        for (table, max) in TIME_OF_DAY.into_iter().chain([HOUR_OF_WEEK]).zip([of_15, of_60, of_60]) {
            let place = table.begin + (entry.hour % table.hours) as usize;
            self.set_code(place, self.code(place).max(code(max)));
        }
    }

    fn references(&self, hour: u32) -> References {
        let (today, last_day) = (day_of(hour), day_of(self.last_hour));
        let mut record = [0.0f64; 4];
        let mut daily = [[0u16; RECORD_DAYS as usize]; 2];
        let mut note = |scale: usize, day: u32, code: u16| {
            if let Some(place) = SPREAD_SCALES.iter().position(|spread| *spread == scale)
                && day < today
                && today - day <= RECORD_DAYS
            {
                let max = &mut daily[place][(today - day - 1) as usize];
                *max = (*max).max(code);
            }
        };
        for (scale, best) in record.iter_mut().enumerate() {
            for back in 1..=RECORD_DAYS {
                // Slots of days not rolled over yet still hold what is older than the record looks.
                let day = today.saturating_sub(back);
                if day < last_day && day + RECORD_DAYS >= last_day {
                    let past = self.code(day_place(scale, day));
                    *best = best.max(f64::from(past) / CODE_STEPS);
                    note(scale, day, past);
                }
            }
            if last_day + RECORD_DAYS >= today {
                *best = best.max(record_ln(self.today[scale], last_day == today));
                note(scale, last_day, code(self.today[scale]));
            }
        }
        let next_day = day_of(self.last_hour + 1);
        if self.last_hour + LAG_HOURS[3] <= hour && next_day + RECORD_DAYS >= today {
            record[3] = record[3].max(record_ln(self.last_60, next_day == today));
            note(3, next_day, code(self.last_60));
        }
        let mut time_of_day = [0.0; 2];
        for (best, table) in time_of_day.iter_mut().zip(TIME_OF_DAY) {
            for near in near_hours(hour) {
                *best = f64::max(*best, f64::from(self.left(table, near, hour)) / CODE_STEPS);
            }
        }
        let hour_of_week = [hour, hour + 1].map(|near| self.left(HOUR_OF_WEEK, near, hour));
        let hour_of_week = f64::from(hour_of_week[0].max(hour_of_week[1])) / CODE_STEPS;
        References { record, time_of_day, hour_of_week, spread: daily.map(|codes| Spread::of(&codes)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::runs::RUNS_MAX;
    use proptest::prelude::*;

    fn tables_of(hours: &[HourMax]) -> Tables {
        let mut tables = Tables::default();
        hours.iter().for_each(|hour| tables.push(*hour));
        tables
    }

    proptest! {
        /// The two forms say the same of any past, at any later hour.
        #[test]
        fn list_and_tables_agree(
            steps in prop::collection::vec((1u32..200, [0u32..5000, 0u32..5000, 0u32..5000, 0u32..5000]), 1..60),
            ahead in 1u32..1000,
            start in 480_000u32..480_200,
        ) {
            let mut hour = start;
            let hours: Vec<HourMax> = steps.into_iter().map(|(step, max)| {
                hour += step;
                HourMax { hour, max }
            }).collect();
            prop_assert_eq!(list_references(hours.iter().copied(), hour + ahead), tables_of(&hours).references(hour + ahead));
        }

        /// However large the counts; only a list can hold a handful of calls beside billions.
        #[test]
        fn tables_hold_the_largest_counts(
            steps in prop::collection::vec((1u32..40, prop::array::uniform4(10_000_000u32..)), 1..60),
            ahead in 1u32..1000,
        ) {
            let mut hour = 480_000;
            let hours: Vec<HourMax> = steps.into_iter().map(|(step, max)| {
                hour += step;
                HourMax { hour, max }
            }).collect();
            prop_assert_eq!(list_references(hours.iter().copied(), hour + ahead), tables_of(&hours).references(hour + ahead));
        }
    }

    #[test]
    fn a_handful_counts_again_when_billions_are_forgotten() {
        let mut tables = tables_of(&[HourMax { hour: 480_000, max: [u32::MAX; 4] }]);
        assert!(tables.base > 0);
        // The record of an hour of the week is the last to go.
        let weeks = u32::from(code(u32::MAX)) / WEEK_DECAY + 1;
        let first = 480_000 + weeks * HOURS_PER_WEEK;
        let hours: Vec<HourMax> = (0..200).map(|i| HourMax { hour: first + i, max: [2, 3, 4, 5] }).collect();
        hours.iter().for_each(|hour| tables.push(*hour));
        assert_eq!(tables.base, 0);
        assert_eq!(tables.references(first + 200), list_references(hours.into_iter(), first + 200));
    }

    #[test]
    fn a_long_list_becomes_tables_and_loses_nothing() {
        let hours: Vec<HourMax> =
            (0..100u32).map(|i| HourMax { hour: 480_000 + 7 * i, max: [i, 2 * i, 3 * i, 4 * i] }).collect();
        let mut history = History::default();
        hours.iter().for_each(|hour| history.push(*hour));
        assert!(matches!(history, History::Tables(_)));
        assert_eq!(history.references(480_700), list_references(hours.into_iter(), 480_700));
    }

    /// Runs as they are, from minutes with calls.
    fn runs_of(minutes: &[(u32, u32)], frozen_from: u32) -> Vec<Run> {
        let mut history = History::default();
        for (place, &(minute, count)) in minutes.iter().enumerate() {
            let sum_60 = minutes[..=place].iter().filter(|(m, _)| m + 60 > minute).map(|(_, count)| count).sum();
            history.note(minute, count, sum_60, minute >= frozen_from);
            if minutes.get(place + 1).is_none_or(|next| next.0 / 60 > minute / 60) && minute < frozen_from {
                history.push(HourMax { hour: minute / 60, max: [count, count, count, sum_60] });
            }
        }
        history.runs()
    }

    #[test]
    fn lists_and_tables_tell_the_same_runs() {
        let start = 480_000 * 60;
        let jobs = |days: u32| -> Vec<(u32, u32)> {
            (0..days).flat_map(|day| (0..9).map(move |m| (start + day * 1_440 + 357 + m * 2, 10))).collect()
        };
        let run = |day: u32| Run { start: start + day * 1_440 + 357, minutes: 17, count: 90 };
        let expected = |days: u32| (0..days).map(run).collect::<Vec<_>>();
        // Two minutes before the hour, the rest after it: a list of two hours a day, then tables.
        for days in [3, 20] {
            for (ours, theirs) in runs_of(&jobs(days), u32::MAX).iter().zip(expected(days)) {
                assert_eq!((ours.start, ours.minutes / 2), (theirs.start, theirs.minutes / 2));
                assert_eq!(ours.count, theirs.count);
            }
        }
        // What is frozen is no record, but a run.
        let frozen = runs_of(&jobs(3), start + 2 * 1_440);
        assert_eq!((frozen.len(), frozen[2]), (3, run(2)));
        assert_eq!(runs_of(&jobs(100), u32::MAX).len(), RUNS_MAX);
    }

    #[test]
    fn a_huge_count_has_a_code_of_its_own() {
        assert!(code(u32::MAX) > code(u32::MAX / 2));
    }
}
