//! [`Detector`]: events in, insights out; the only place where window, baseline, judge, episode and insight meet.
//! Counting may come in any order; [`Detector::advance`] then folds the minutes that are complete, series by series.
//! Has no clock, no files and no threads of its own but those that share out series within one call.
//!
//! The promise kept here: what has been advanced in many steps is what would have been found in one.

mod account;
mod evict;
mod identity;
mod incidents;
mod names;
mod near;
mod organisation;
mod peek;
mod series;
mod snapshot;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use foldhash::quality::FixedState;
use hashbrown::HashTable;

pub(crate) use crate::baseline::FORGET_MINUTES;
use crate::baseline::Pooled;
use crate::episode::QUIET_MINUTES;
use crate::event::{Category, MINUTES_PER_DAY, Minute};
use crate::insight::mute::{Mute, Mutes};
use crate::insight::{Insight, SeriesKey};
use crate::judge::{FEATURE_COUNT, Model};
use crate::window::{Attribute, Calls, Closed, Open, Shelf, Tally};
use account::{Account, Seen};
use incidents::Incidents;
pub(crate) use names::{Callers, Key, Names, OTHER_ID};
pub use near::{NearAlarm, NearRecord};
use organisation::{Organisation, informed};
pub use series::Findings;
use series::{Caller, Cell, Context, Series};
pub use snapshot::SnapshotError;

/// Which management calls the call rate counts. Data events are always counted whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum CallRate {
    /// As AWS does.
    #[default]
    Write,
    /// Read calls too.
    All,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    pub call_rate: CallRate,
    /// Also report hours that fall far below the forecast.
    pub drops: bool,
    /// Also report jobs by the clock that do not come.
    pub missed_jobs: bool,
    /// Days since 1970 (UTC) on which silence is no news, nor is it in the half day after, while the day lasts elsewhere.
    pub holidays: BTreeSet<u32>,
    /// No verdict in an account before this much history.
    pub warmup_minutes: u32,
    /// Keep what was measured in [`Advance::candidates`], for fitting the judge.
    pub keep_candidates: bool,
    /// A score at or above it is an alarm; `None`: the model's own line, raised for accounts that would alarm too often.
    pub threshold: Option<f64>,
    /// Instead of a line: so many false alarms per account and week. The line follows from the model's calibration and
    /// from what the account has shown.
    pub budget_per_week: Option<f64>,
}

impl Default for Options {
    fn default() -> Self {
        // A day shows each hour once; how much more a longer history says, the judge has learned.
        Options {
            call_rate: CallRate::Write,
            drops: false,
            missed_jobs: false,
            holidays: BTreeSet::new(),
            warmup_minutes: MINUTES_PER_DAY as u32,
            threshold: None,
            budget_per_week: None,
            keep_candidates: false,
        }
    }
}

impl Options {
    /// Silence is told of, so every series is looked at, and where the trail has gaps must be known.
    fn looks_for_silence(&self) -> bool {
        self.drops || self.missed_jobs
    }

    /// Whether silence in this hour since 1970 is no news.
    pub(crate) fn is_holiday(&self, hour: u32) -> bool {
        const ELSEWHERE_HOURS: u32 = 12;
        [hour, hour.saturating_sub(ELSEWHERE_HOURS)].iter().any(|hour| self.holidays.contains(&(hour / 24)))
    }
}

/// What one advance brought.
pub struct Advance {
    /// Everything before it is closed.
    pub frontier: Minute,
    /// In the order in which they became known: by [`Insight::decided`], series and state.
    pub insights: Vec<Insight>,
    /// What came near an alarm and is over, in the order of its end and series.
    pub near: Vec<NearAlarm>,
    /// Every minute that was scored, under [`Options::keep_candidates`]: by series, then minute.
    pub candidates: Vec<Candidate>,
    /// The minutes that were closed.
    pub closed: Closed,
    /// Events counted in them.
    pub events: u64,
}

/// A minute that was scored.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    pub series: SeriesKey,
    pub minute: Minute,
    /// In the order of [`crate::judge::FEATURE_NAMES`].
    pub features: [f64; FEATURE_COUNT],
    pub score: f64,
}

pub struct Detector {
    options: Options,
    model: Model,
    model_name: Arc<str>,
    pooled: Cow<'static, Pooled>,
    frontier: Minute,
    open: Open,
    accounts: BTreeMap<u32, Account>,
    organisation: Organisation,
    /// Hours with any call, by account and Region: a silent hour there is a gap in the trail, not a drop. Kept only
    /// where silence is looked for.
    active_hours: BTreeMap<(u32, u32), BTreeSet<u32>>,
    keys: Vec<Key>,
    series: Vec<Series>,
    /// Numbers of series, by the hash of their key.
    index: HashTable<u32>,
    /// Series with an open incident.
    active: BTreeSet<u32>,
    callers: Callers,
    /// How many there were after the last clean-up.
    callers_after_rebuild: usize,
    /// The hour of the last clean-up.
    swept_hour: u32,
    names: Names,
    incidents: Incidents,
    /// What was told of open minutes, beside these; nothing final depends on it.
    early: Incidents,
    /// Mutes under which nothing is learned.
    unlearned: Vec<Mute>,
}

/// Minutes before it are not learned while an incident lasts.
fn unlearned_until(mutes: &[Mute], names: &Names, key: Key) -> u32 {
    if mutes.is_empty() {
        return 0;
    }
    let series = names.series_key(key);
    let until = |mute: &Mute| mute.until_minute.map_or(u32::MAX, |until| until.clamp(0, u32::MAX.into()) as u32);
    mutes.iter().filter(|mute| mute.keeps_from_learning(&series)).map(until).max().unwrap_or(0)
}

/// The calls of one series on one day.
struct Work {
    day: u32,
    series: u32,
    calls: WorkCalls,
}

enum WorkCalls {
    /// All calls of the API in this range, or only the writes among them.
    Api { range: Range<u32>, writes_only: bool },
    /// These calls, by time: those with one error code.
    Error(Box<[u32]>),
}

impl Detector {
    pub fn new(options: Options, model: Model) -> Detector {
        Detector {
            options,
            model_name: model.name.as_str().into(),
            model,
            pooled: Cow::Borrowed(Pooled::shipped()),
            frontier: Minute(0),
            open: Open::default(),
            accounts: BTreeMap::new(),
            organisation: Organisation::default(),
            active_hours: BTreeMap::new(),
            keys: Vec::new(),
            series: Vec::new(),
            index: HashTable::new(),
            active: BTreeSet::new(),
            callers: Callers::new(),
            callers_after_rebuild: 0,
            swept_hour: 0,
            names: Names::new(),
            incidents: Incidents::default(),
            early: Incidents::default(),
            unlearned: Vec::new(),
        }
    }

    /// The same with another forecast than the shipped one. Before anything is counted.
    pub fn with_forecast(self, pooled: Pooled) -> Detector {
        Detector { pooled: Cow::Owned(pooled), ..self }
    }

    /// Keeps the rows of open minutes on a shelf, such as a file, instead of in memory. Before anything is counted;
    /// [`Detector::recall`] must then go before every advance.
    pub fn put_aside_on(&mut self, shelf: Box<dyn Shelf>) {
        self.open.put_aside_on(shelf);
    }

    /// Brings back what was put aside of the minutes before `frontier`. After an error the detector is of no use.
    pub fn recall(&mut self, frontier: Minute) -> io::Result<()> {
        self.open.recall(frontier)
    }

    /// Minutes before it are closed: events in them are late.
    pub fn frontier(&self) -> Minute {
        self.frontier
    }

    /// Events merged and not closed yet.
    pub fn open_events(&self) -> u64 {
        self.open.len() as u64
    }

    /// What decides, beside the counts, what is said: options and models, in words that differ where they differ.
    pub fn settings(&self) -> String {
        format!("{:?} {:?}", self.options, self.models())
    }

    /// Name and version of the judge's model.
    pub fn model_name(&self) -> &str {
        &self.model_name
    }

    /// Series that the detector remembers.
    pub fn series_count(&self) -> usize {
        self.keys.len()
    }

    /// From now on, nothing is learned from the incidents that these keep from it.
    pub fn mute(&mut self, mutes: &Mutes) {
        self.unlearned = mutes.mutes.iter().filter(|mute| mute.unlearned).cloned().collect();
    }

    /// The next frontier that closes about so many rows, where more are open.
    pub fn step(&self, rows: usize) -> Option<Minute> {
        self.open.after_rows(rows)
    }

    /// Adds counts. Minutes before the frontier must not be among them.
    pub fn merge(&mut self, tally: Tally) {
        self.open.merge(tally);
    }

    /// Closes the minutes before `frontier` and says what they brought. Nothing happens for a frontier already passed.
    pub fn advance(&mut self, frontier: Minute, threads: usize) -> Advance {
        let frontier = Minute(frontier.0.clamp(self.frontier.0, i64::from(u32::MAX)));
        let closed = self.open.close_before(frontier);
        let Findings { insights, near, candidates, .. } = self.fold(&closed, frontier, threads);
        let events = closed.calls.iter().map(|calls| u64::from(calls.count)).sum();
        Advance { frontier, insights, near, candidates, closed, events }
    }

    /// What a series needs to know that it does not own. `day`: on which it is called, if it is.
    fn context(&self, key: Key, day: Option<u32>) -> Context<'_> {
        let account = &self.accounts[&key.account];
        let lent = self.organisation.lends(key, account);
        Context {
            options: &self.options,
            model: &self.model,
            model_name: &self.model_name,
            peers: informed(self.pooled.peers(key.class), lent),
            lent,
            callers: &self.callers,
            names: &self.names,
            threshold: day
                .map_or(self.model.threshold, |day| account.line(&self.model, &self.options, day, lent.is_some())),
            history_start: account.first,
            active_hours: self.active_hours.get(&(key.account, key.region)),
            unlearned_until: 0,
        }
    }

    /// Closes all that is open, and ends every incident as though nothing had followed. What comes later can go on from
    /// the minute after the last: only what is told here is over.
    pub fn finish(&mut self, threads: usize) -> Advance {
        let newest = self.open.newest().map_or(self.frontier, |newest| Minute(newest.0 + 1));
        let mut advance = self.advance(newest, threads);
        let mut all = Findings::default();
        // An hour and more: the longest that anything waits for what may follow.
        self.settle((self.frontier.0 as u32).saturating_add(QUIET_MINUTES + 1), &mut all);
        self.sort(&mut all);
        advance.insights.extend(all.insights);
        advance.near.extend(all.near);
        advance.candidates.extend(all.candidates);
        advance
    }

    /// What `advance` does with the minutes it has closed. On its own: for minutes that another detector has closed,
    /// so that several can be tried on one reading of a trail. `frontier` must not lie before the last one.
    pub fn fold(&mut self, closed: &Closed, frontier: Minute, threads: usize) -> Findings {
        let frontier = Minute(frontier.0.clamp(self.frontier.0, i64::from(u32::MAX)));
        self.frontier = frontier;
        let now = frontier.0 as u32;
        let callers: Vec<Caller> =
            (0..closed.caller_count() as u32).map(|id| self.callers.intern(closed.caller(id))).collect();
        let mut work = self.share_out(closed);

        // Day by day, so that what series know of each other is the same however far one advance reaches.
        let mut all = Findings::default();
        work.sort_unstable_by_key(|work| (work.day, work.series));
        for work in work.chunk_by(|a, b| a.day == b.day) {
            let day = work[0].day;
            self.accounts.values_mut().for_each(|account| account.roll_to(day));
            self.organisation.roll_to(day, &self.accounts, &self.keys, &self.series);
            let found =
                self.run(closed, &callers, work, now.min((day + 1).saturating_mul(MINUTES_PER_DAY as u32)), threads);
            all.insights.extend(found.insights);
            all.near.extend(found.near);
            all.candidates.extend(found.candidates);
        }
        self.settle(now, &mut all);
        self.sort(&mut all);
        self.incidents.forget(frontier.0);
        self.forget(now);
        all
    }

    /// Lets time pass for series that no call touched.
    fn settle(&mut self, now: u32, all: &mut Findings) {
        // Series that no call touched: only an open incident can have come to its end, or, where drops are looked for,
        // a silence begun.
        let waiting: Vec<u32> = if self.options.looks_for_silence() {
            (0..self.series.len() as u32).collect()
        } else {
            self.active.iter().copied().collect()
        };
        for id in waiting {
            let (series, key) = (&mut self.series[id as usize], self.keys[id as usize]);
            let account = &self.accounts[&key.account];
            let lent = self.organisation.lends(key, account);
            let context = Context {
                options: &self.options,
                model: &self.model,
                model_name: &self.model_name,
                peers: informed(self.pooled.peers(key.class), lent),
                lent,
                callers: &self.callers,
                names: &self.names,
                threshold: self.model.threshold,
                history_start: account.first,
                active_hours: self.active_hours.get(&(key.account, key.region)),
                unlearned_until: 0,
            };
            series.settle(&context, key, now, all);
            if !series.is_open() {
                self.active.remove(&id);
            }
        }
    }

    fn sort(&mut self, all: &mut Findings) {
        all.insights.sort_by(|a, b| (a.decided, &a.series, a.state).cmp(&(b.decided, &b.series, b.state)));
        self.incidents.assign(&mut all.insights);
        all.near.sort_by(|a, b| (a.end, &a.series).cmp(&(b.end, &b.series)));
        all.candidates.sort_by(|a, b| (&a.series, a.minute).cmp(&(&b.series, b.minute)));
    }

    /// Finds or makes the series of everything closed.
    fn share_out(&mut self, closed: &Closed) -> Vec<Work> {
        let day = |calls: &Calls| calls.minute / MINUTES_PER_DAY as u32;
        let mut work = Vec::new();
        let mut start = 0;
        for calls in closed.calls.chunk_by(|a, b| a.api == b.api && day(a) == day(b)) {
            let range = start..start + calls.len();
            start = range.end;
            let api = closed.api(calls[0].api);
            let key = self.names.key(api, "");
            let (first, day) = (calls[0].minute, day(&calls[0]));
            let account = self.accounts.entry(key.account).or_insert_with(|| Account::new(first));
            account.first = account.first.min(first);
            if self.options.looks_for_silence() {
                let hours = self.active_hours.entry((key.account, key.region)).or_default();
                hours.extend(calls.iter().map(|calls| calls.minute / 60));
            }
            let writes_only = self.options.call_rate == CallRate::Write && key.category == Category::Management;
            if !writes_only || calls.iter().any(|calls| !calls.read_only) {
                let series = self.series_of(key);
                let range = range.start as u32..range.end as u32;
                work.push(Work { day, series, calls: WorkCalls::Api { range, writes_only } });
            }
            let mut errors: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
            for place in range {
                let code = closed.caller(closed.calls[place].caller)[Attribute::ErrorCode as usize];
                if !code.is_empty() {
                    errors.entry(code).or_default().push(place as u32);
                }
            }
            for (code, places) in errors {
                let key = self.names.key(api, code);
                let series = self.series_of(key);
                work.push(Work { day, series, calls: WorkCalls::Error(places.into()) });
            }
        }
        work
    }

    fn series_of(&mut self, key: Key) -> u32 {
        let hasher = FixedState::default();
        let keys = &self.keys;
        if let Some(&id) = self.index.find(hasher.hash_one(key), |&id| keys[id as usize] == key) {
            return id;
        }
        let id = self.keys.len() as u32;
        self.index.insert_unique(hasher.hash_one(key), id, |&id| hasher.hash_one(keys[id as usize]));
        self.push_series(key, Series::default());
        id
    }

    /// Grows by an eighth: twice the room for hundreds of thousands of series is what all else takes.
    fn push_series(&mut self, key: Key, series: Series) {
        const STEP_MIN: usize = 64;
        if self.series.len() == self.series.capacity() {
            let step = STEP_MIN.max(self.series.len() / 8);
            self.keys.reserve_exact(step);
            self.series.reserve_exact(step);
        }
        self.keys.push(key);
        self.series.push(series);
    }

    /// Folds the closed minutes into their series, the series shared out among threads.
    fn run(&mut self, closed: &Closed, callers: &[Caller], work: &[Work], now: u32, threads: usize) -> Findings {
        let (options, model, model_name, all_callers) = (&self.options, &self.model, &self.model_name, &self.callers);
        let (accounts, active_hours, keys, names) = (&self.accounts, &self.active_hours, &self.keys, &self.names);
        let (pooled, organisation, unlearned) = (&self.pooled, &self.organisation, &self.unlearned);
        let fold = |work: &[Work], series: &mut [Series], first: u32| {
            let mut all = Findings::default();
            let (mut active, mut seen) = (Vec::new(), BTreeMap::<u32, Seen>::new());
            for item in work {
                let key = keys[item.series as usize];
                let series = &mut series[(item.series - first) as usize];
                let was_open = series.is_open();
                let account = &accounts[&key.account];
                let lent = organisation.lends(key, account);
                let context = Context {
                    options,
                    model,
                    model_name,
                    peers: informed(pooled.peers(key.class), lent),
                    lent,
                    callers: all_callers,
                    names,
                    threshold: account.line(model, options, item.day, lent.is_some()),
                    history_start: account.first,
                    active_hours: active_hours.get(&(key.account, key.region)),
                    unlearned_until: unlearned_until(unlearned, names, key),
                };
                for_each_cell(&closed.calls, callers, &item.calls, |cell| series.step(&context, key, cell, &mut all));
                series.settle(&context, key, now, &mut all);
                series.cool(now, all_callers);
                if series.is_open() || was_open {
                    active.push((item.series, series.is_open()));
                }
                seen.entry(key.account).or_default().add(std::mem::take(&mut all.seen));
            }
            (all, active, seen)
        };
        let results: Vec<_> = if threads <= 1 || work.len() < 2 * threads {
            vec![fold(work, &mut self.series, 0)]
        } else {
            std::thread::scope(|scope| {
                let mut rest = &mut self.series[..];
                let mut first = 0;
                let mut handles = Vec::new();
                for part in even_parts(work, threads) {
                    let Some(last) = part.last() else { continue };
                    let (mine, others) = rest.split_at_mut((last.series + 1 - first) as usize);
                    rest = others;
                    let (fold, start) = (&fold, first);
                    handles.push(scope.spawn(move || fold(part, mine, start)));
                    first = last.series + 1;
                }
                handles
                    .into_iter()
                    .map(|handle| handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                    .collect()
            })
        };
        let mut all = Findings::default();
        for (found, active, seen) in results {
            all.insights.extend(found.insights);
            all.near.extend(found.near);
            all.candidates.extend(found.candidates);
            for (account, seen) in seen {
                self.accounts.entry(account).or_default().add(seen);
            }
            for (id, is_active) in active {
                if is_active {
                    self.active.insert(id)
                } else {
                    self.active.remove(&id)
                };
            }
        }
        all
    }

    /// Drops series that their next call would find forgotten, and strings that nothing names any more.
    fn forget(&mut self, now: u32) {
        for hours in self.active_hours.values_mut() {
            *hours = hours.split_off(&(now / 60).saturating_sub(48));
        }
        // Once an hour: a look at every series costs little, but not nothing.
        // At the end of all input there is nobody left to remember for, nor anything to gain.
        if now / 60 == self.swept_hour || now == u32::MAX {
            return;
        }
        self.swept_hour = now / 60;
        let callers = &self.callers;
        self.series.iter_mut().for_each(|series| series.cool(now, callers));
        // A look at open minutes leaves series that were never called: they must neither stay nor count, for a replay
        // has no such looks.
        let called = self.series.iter().filter(|series| !series.is_new()).count();
        let dead = self.series.iter().filter(|series| series.is_forgotten(now)).count();
        let many_dead = dead * 4 > called;
        if many_dead || (self.series.len() - called) * 4 > called {
            let is_alive = |series: &Series| !(series.is_new() || many_dead && series.is_forgotten(now));
            let alive: Vec<bool> = self.series.iter().map(is_alive).collect();
            self.keep(&alive);
        }
        self.rebuild_callers();
    }

    /// Keeps only these series, by number.
    fn keep(&mut self, alive: &[bool]) {
        let is_alive = |place: Option<usize>| place.is_some_and(|place| alive[place]);
        let mut index = 0..;
        self.series.retain(|_| is_alive(index.next()));
        let mut index = 0..;
        self.keys.retain(|_| is_alive(index.next()));
        // A list keeps the room that it once had.
        self.series.shrink_to(self.series.len() + self.series.len() / 8);
        self.keys.shrink_to(self.keys.len() + self.keys.len() / 8);
        self.rebuild_names();
    }

    /// Keeps only the names that something names, and finds every series anew.
    fn rebuild_names(&mut self) {
        let mut names = Names::new();
        let old = &self.names;
        let mut move_over = |name: u32| names.intern(old.get(name));
        let mut rename = |key: &mut Key| {
            for name in [&mut key.account, &mut key.region, &mut key.event_source, &mut key.event_name] {
                *name = move_over(*name);
            }
            key.error_code = move_over(key.error_code);
        };
        self.keys.iter_mut().for_each(&mut rename);
        let reached = std::mem::take(&mut self.organisation.reached).into_iter();
        self.organisation.reached = reached
            .map(|(mut key, reached)| {
                rename(&mut key);
                (key, reached)
            })
            .collect();
        self.accounts = self.accounts.iter().map(|(account, minute)| (move_over(*account), *minute)).collect();
        self.active_hours = std::mem::take(&mut self.active_hours)
            .into_iter()
            .map(|((account, region), hours)| ((move_over(account), move_over(region)), hours))
            .collect();
        self.names = names;
        self.rebuild_index();
    }

    fn rebuild_index(&mut self) {
        let hasher = FixedState::default();
        let keys = &self.keys;
        self.index.clear();
        self.active.clear();
        for (id, (key, series)) in keys.iter().zip(&self.series).enumerate() {
            self.index.insert_unique(hasher.hash_one(key), id as u32, |&id| hasher.hash_one(keys[id as usize]));
            if series.is_open() {
                self.active.insert(id as u32);
            }
        }
    }

    /// Throws away callers that no series names any more, once they are the greater part.
    fn rebuild_callers(&mut self) {
        const CALLERS_KEPT_MIN: usize = 65_536;
        let known = self.callers.coarse.len() + self.callers.fine.len();
        if known < CALLERS_KEPT_MIN || known < 2 * self.callers_after_rebuild {
            return;
        }
        self.rename_callers();
    }

    fn rename_callers(&mut self) {
        let mut fresh = Callers::new();
        let old = &self.callers;
        for series in &mut self.series {
            series.renumber(|caller| Caller {
                coarse: fresh.intern_coarse(&old.coarse.get(caller.coarse)),
                fine: fresh.fine.intern(&old.fine.get(caller.fine)),
            });
        }
        self.callers_after_rebuild = fresh.coarse.len() + fresh.fine.len();
        self.callers = fresh;
    }
}

/// Cuts work into parts of about equal numbers of calls. Every series lies in one part.
fn even_parts(work: &[Work], parts: usize) -> Vec<&[Work]> {
    let weight = |work: &Work| match &work.calls {
        WorkCalls::Api { range, .. } => (range.end - range.start) as usize + 1,
        WorkCalls::Error(places) => places.len() + 1,
    };
    let total: usize = work.iter().map(weight).sum();
    let (mut cut, mut sum, mut start) = (Vec::new(), 0, 0);
    for (place, item) in work.iter().enumerate() {
        sum += weight(item);
        if sum * parts >= total * (cut.len() + 1) {
            cut.push(&work[start..=place]);
            start = place + 1;
        }
    }
    cut
}

/// Hands over the minutes of one series' calls, in time order.
fn for_each_cell(calls: &[Calls], callers: &[Caller], work: &WorkCalls, mut visit: impl FnMut(&Cell)) {
    let mut cell = Cell { minute: 0, count: 0, callers: Vec::new() };
    let mut add = |calls: &Calls| {
        if calls.minute != cell.minute {
            if cell.count > 0 {
                visit(&cell);
            }
            cell.minute = calls.minute;
            cell.count = 0;
            cell.callers.clear();
        }
        cell.count = cell.count.saturating_add(calls.count);
        cell.callers.push((callers[calls.caller as usize], calls.count));
    };
    match work {
        WorkCalls::Api { range, writes_only } => {
            let calls = &calls[range.start as usize..range.end as usize];
            calls.iter().filter(|calls| !writes_only || !calls.read_only).for_each(&mut add);
        }
        WorkCalls::Error(places) => places.iter().for_each(|&place| add(&calls[place as usize])),
    }
    if cell.count > 0 {
        visit(&cell);
    }
}
