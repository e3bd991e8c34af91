//! Labelled accounts of many kinds, one a seed, for training and evaluation: [`labelled`] is the whole interface.
//! Broad where `simulate` is faithful: some twenty kinds of background, several ways in which callers share an API, and
//! anomalies over wide ranges, so that what is learned here is not the opinion of one author about accounts. Writes no
//! records or files and knows nothing of the detector.
//!
//! Equal seeds give equal accounts on every platform: numbers come from `draw` alone, from streams named by what they
//! are for. Inside: `calendar` says when an account is busy, `background` (with `tide`) what its series do, `cast` who
//! calls, `anomaly` what goes wrong; this file puts them together.

mod anomaly;
mod background;
mod calendar;
mod cast;
mod tide;

use std::collections::HashMap;

use crate::event::{Category, Event, Minute};
use crate::train::catalogue::{self, Api};
use crate::train::draw::Draw;
use crate::train::labelled::{Duty, Labelled, Truth};
use crate::window::Tally;
use anomaly::{Anomaly, Burst, Ground};
use background::{Background, Kind, MIX, Place, WARM_DAYS};
use calendar::{Calendar, DAY};
use cast::{Cast, Crew, Face};

/// What may be asked of an account beyond its seed.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Length of the trail, 14 to 60; what lies outside is moved there. Absent: 21 to 28, by the seed.
    pub days: Option<u32>,
    /// APIs in Regions, 1 to 200. Absent: 60 to 90, by the seed.
    pub series: Option<u32>,
    /// Of the bursts on APIs that have a usual caller, the share that this caller makes, 0 to 1.
    pub insiders: f64,
    /// Without them only harmless changes happen.
    pub anomalies: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options { days: None, series: None, insiders: 0.5, anomalies: true }
    }
}

/// Calls of an account's background; its busier series are thinned until it has no more.
const CALLS_MAX: u64 = 500_000;
/// First days of trails lie within two years from 2024-01-01.
const FIRST_DAY: i64 = 19_723;
const FIRST_DAYS: u64 = 731;
/// 1970-01-01 was a Thursday; 0 is Monday.
const EPOCH_WEEKDAY: i64 = 3;

const REGIONS: [&str; 4] = ["us-east-1", "eu-west-1", "us-west-2", "ap-southeast-2"];
const CODES: [&str; 9] = [
    "AccessDenied",
    "ThrottlingException",
    "NoSuchEntityException",
    "Client.UnauthorizedOperation",
    "ResourceNotFoundException",
    "Client.RequestLimitExceeded",
    "ValidationException",
    "ConditionalCheckFailedException",
    "ServiceUnavailable",
];

/// The account of a seed.
pub fn labelled(seed: u64, options: &Options) -> Labelled {
    World::new(seed, options).labelled()
}

/// One API in one Region.
struct Series {
    api: Api,
    region: &'static str,
    kind: Kind,
    background: Background,
    crew: Crew,
    /// The usual error, one that accompanies it, and one that is new to the series.
    codes: [&'static str; 3],
    bursts: Vec<Burst>,
}

struct World {
    seed: u64,
    first_day: i64,
    account_id: String,
    calendar: Calendar,
    cast: Cast,
    series: Vec<Series>,
    insiders: f64,
}

/// What streams of random numbers are for.
#[derive(Clone, Copy)]
enum Purpose {
    Account = 1,
    Series,
    Thinning,
    Errors,
    Anomalies,
    Calls,
    Culprits,
}

fn stream(seed: u64, purpose: Purpose, index: usize) -> Draw {
    Draw::new(&[seed, 0x776f_726c_6473, purpose as u64, index as u64])
}

impl World {
    fn new(seed: u64, options: &Options) -> World {
        let mut draw = stream(seed, Purpose::Account, 0);
        let usual_days = draw.whole(21, 28) as u32;
        let days = options.days.unwrap_or(usual_days).clamp(14, 60);
        let usual_series = draw.whole(60, 90) as u32;
        let count = options.series.unwrap_or(usual_series).clamp(1, 200) as usize;
        let first_day = FIRST_DAY + draw.below(FIRST_DAYS) as i64;
        let account_id = draw.whole(100_000_000_000, 999_999_999_999).to_string();
        let calendar = Calendar::new(days, (first_day + EPOCH_WEEKDAY).rem_euclid(7) as u32, &mut draw);
        let cast = Cast::new(&account_id, &mut draw);
        let place = Place { calendar: &calendar, busiest: draw.log_between(3.0, 30.0) };
        let weights = MIX.map(|(_, weight)| draw.log_normal(weight, 0.7));
        let gap = draw.chance(0.25).then(|| {
            let start = draw.below(calendar.minutes().into()) as u32;
            (start, start + draw.whole(60, 360) as u32)
        });
        let share = draw.between(0.25, 0.35);

        let mut series: Vec<Series> = choose_apis(count, &mut draw)
            .into_iter()
            .enumerate()
            .map(|(index, (api, region))| {
                let draw = &mut stream(seed, Purpose::Series, index);
                let kind = MIX[draw.weighted(&weights)].0;
                let mut background = background::background(kind, &place, draw);
                if let Some((from, until)) = gap {
                    background.pieces.retain(|piece| !(from..until).contains(&piece.minute));
                }
                let crew = Crew::new(&cast, calendar.minutes(), draw);
                let mut codes = CODES;
                draw.shuffle(&mut codes);
                let codes = [codes[0], codes[1], codes[2]];
                Series { api, region, kind, background, crew, codes, bursts: Vec::new() }
            })
            .collect();
        limit(&mut series, &mut stream(seed, Purpose::Thinning, 0));
        for (index, series) in series.iter_mut().enumerate() {
            errors(&mut series.background, &mut stream(seed, Purpose::Errors, index));
            if options.anomalies {
                let draw = &mut stream(seed, Purpose::Anomalies, index);
                series.bursts = anomaly::plan(&mut ground(series, &calendar, gap), share, draw);
            }
        }
        World { seed, first_day, account_id, calendar, cast, series, insiders: options.insiders }
    }

    fn labelled(mut self) -> Labelled {
        let mut out = Record { calls: Vec::new(), truths: Vec::new(), faces: HashMap::new(), list: Vec::new() };
        for index in 0..self.series.len() {
            let by_day = self.usual(index, &mut out);
            let series = &self.series[index];
            for change in &series.background.changes {
                if change.start >= WARM_DAYS * DAY {
                    out.truths.push(Truth {
                        error_code: None,
                        kind: change.kind.to_owned(),
                        duty: Duty::Benign,
                        ..self.truth(series, change.start, change.end)
                    });
                }
            }
            let mut draw = stream(self.seed, Purpose::Culprits, index);
            for burst in std::mem::take(&mut self.series[index].bursts) {
                self.extra(index, &burst, &by_day, &mut out, &mut draw);
            }
        }
        out.truths.sort_by_key(|truth| truth.start);
        Labelled {
            name: format!("worlds {}", self.seed),
            live_from: self.minute(WARM_DAYS * DAY),
            end: self.minute(self.calendar.minutes()),
            calls: self.tally(out.calls, &out.list),
            truths: out.truths,
        }
    }

    fn minute(&self, of_trail: u32) -> Minute {
        Minute(self.first_day * i64::from(DAY) + i64::from(of_trail))
    }

    /// A truth about a series in its call rate, still without kind and culprit.
    fn truth(&self, series: &Series, start: u32, end: u32) -> Truth {
        Truth {
            account_id: self.account_id.clone(),
            region: series.region.to_owned(),
            event_source: format!("{}.amazonaws.com", series.api.service),
            event_name: series.api.name.to_owned(),
            error_code: None,
            kind: String::new(),
            start: self.minute(start),
            end: self.minute(end),
            duty: Duty::Required,
            insider: false,
            arn: None,
        }
    }

    /// Writes down the background of a series; returns the calls of each member of the cast, day by day.
    fn usual(&self, index: usize, out: &mut Record) -> Vec<Vec<u32>> {
        let series = &self.series[index];
        let mut draw = stream(self.seed, Purpose::Calls, index);
        let mut by_day = vec![vec![0; self.calendar.days as usize]; self.cast.residents];
        for piece in &series.background.pieces {
            for call in 0..piece.calls {
                let (who, seat) = series.crew.caller(piece.minute, piece.run, &mut draw);
                by_day[who][(piece.minute / DAY) as usize] += 1;
                let face = self.cast.face(who, piece.minute, seat, draw.next() >> 8);
                // One error in ten is of the second code.
                let code = (call < piece.errors).then(|| series.codes[usize::from(draw.chance(0.1))]);
                out.call(index, piece.minute, face, code);
            }
        }
        by_day
    }

    /// Writes down a burst and the truth about it.
    fn extra(&mut self, index: usize, burst: &Burst, by_day: &[Vec<u32>], out: &mut Record, draw: &mut Draw) {
        let week = (burst.start / DAY - WARM_DAYS) as usize..(burst.start / DAY) as usize;
        let called = |who: usize| by_day[who][week.clone()].iter().sum::<u32>();
        let usual = (0..by_day.len()).max_by_key(|who| called(*who)).filter(|who| called(*who) > 0);
        let insider = usual.filter(|_| draw.chance(self.insiders));
        let flood = burst.anomaly == Anomaly::ErrorFlood;
        // Some surges are made by all usual callers together.
        let together = insider.is_some() && !flood && draw.chance(0.15);
        let who = match insider {
            Some(who) => who,
            None if draw.chance(0.3) => self.cast.newcomer(draw),
            None => draw.below(self.cast.residents as u64) as usize,
        };
        let stranger = insider.is_none().then(|| {
            let (agent, at_home) = (self.cast.any_agent(draw), draw.chance(0.5));
            let face = self.cast.face(who, burst.start, draw.next() >> 8, 0);
            self.cast.disguise(face, agent, at_home, draw)
        });
        let failing = match insider {
            _ if flood => 1.0,
            None if draw.chance(0.3) => draw.between(0.05, 0.5),
            _ => 0.0,
        };
        let (seat, run) = (draw.next() >> 8, draw.next() as u32);
        let mut failed = false;
        for (minute, calls) in (burst.start..).zip(&burst.calls) {
            for _ in 0..*calls {
                let any = draw.next() >> 8;
                let face = match stranger {
                    Some(face) => face,
                    None if together => {
                        let (who, seat) = self.series[index].crew.caller(minute, run, draw);
                        self.cast.face(who, minute, seat, any)
                    }
                    None => self.cast.face(who, minute, seat, any),
                };
                let code = (failing >= 1.0 || draw.chance(failing)).then_some(burst.code);
                failed |= code.is_some();
                out.call(index, minute, face, code);
            }
        }
        let truth = Truth {
            kind: burst.anomaly.label().to_owned(),
            insider: insider.is_some(),
            arn: (!together).then(|| self.cast.principal(who).to_owned()),
            ..self.truth(&self.series[index], burst.start, burst.end())
        };
        let code = Some(burst.code.to_owned());
        match (flood, failed) {
            (true, _) => {
                out.truths.push(Truth { error_code: code, duty: burst.duty, ..truth.clone() });
                if burst.shows_in_calls {
                    out.truths.push(Truth { duty: Duty::Optional, kind: "error_flood_calls".to_owned(), ..truth });
                }
            }
            (false, denied) => {
                if denied {
                    out.truths.push(Truth { error_code: code, duty: Duty::Optional, ..truth.clone() });
                }
                out.truths.push(Truth { duty: burst.duty, ..truth });
            }
        }
    }

    /// Counts all calls, in order of time: the tally keeps hours together.
    fn tally(&self, mut calls: Vec<Call>, faces: &[Face]) -> Tally {
        calls.sort_by_key(|call| call.minute);
        let texts: Vec<_> =
            faces.iter().map(|face| (self.cast.principal(face.who as usize), self.cast.text(face))).collect();
        let sources: Vec<String> =
            self.series.iter().map(|series| format!("{}.amazonaws.com", series.api.service)).collect();
        let mut tally = Tally::default();
        for call in calls {
            let series = &self.series[call.series as usize];
            let (principal, text) = &texts[call.face as usize];
            tally.add(&Event {
                event_time_s: self.minute(call.minute).0 * 60,
                account_id: &self.account_id,
                region: series.region,
                event_source: &sources[call.series as usize],
                event_name: series.api.name,
                read_only: !series.api.is_write(),
                category: Category::Management,
                error_code: call.code.unwrap_or_default(),
                principal,
                session: &text.session,
                access_key_id: &text.key,
                source_ip: &text.address,
                user_agent: &text.agent,
                resource_arn: "",
                event_id: "",
                addendum_of: "",
            });
        }
        tally
    }
}

/// One call; `face` is an index into [`Record::list`].
struct Call {
    minute: u32,
    series: u32,
    face: u32,
    code: Option<&'static str>,
}

/// What has been written down of an account.
struct Record {
    calls: Vec<Call>,
    truths: Vec<Truth>,
    faces: HashMap<Face, u32>,
    list: Vec<Face>,
}

impl Record {
    fn call(&mut self, series: usize, minute: u32, face: Face, code: Option<&'static str>) {
        let face = *self.faces.entry(face).or_insert_with(|| {
            self.list.push(face);
            self.list.len() as u32 - 1
        });
        self.calls.push(Call { minute, series: series as u32, face, code });
    }
}

/// APIs with Regions: seven of ten are writes, and most are in the first Region.
fn choose_apis(count: usize, draw: &mut Draw) -> Vec<(Api, &'static str)> {
    let mut regions = REGIONS;
    draw.shuffle(&mut regions);
    let known = draw.whole(1, 3) as usize;
    let mut pairs: Vec<(Api, &'static str)> = Vec::new();
    for api in catalogue::apis().into_iter().filter(|api| !api.is_data() && !api.is_sign_in()) {
        if api.is_global() {
            pairs.push((api, "us-east-1"));
        } else {
            pairs.extend(regions[..known].iter().map(|region| (api, *region)));
        }
    }
    let mut keyed: Vec<(f64, (Api, &'static str))> = pairs
        .into_iter()
        .map(|pair| {
            let away = if pair.1 == regions[0] || pair.0.is_global() { 1.0 } else { 3.0 };
            (away * draw.exponential(), pair)
        })
        .collect();
    keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (writes, reads): (Vec<_>, Vec<_>) =
        keyed.into_iter().map(|(_, pair)| pair).partition(|(api, _)| api.is_write());
    let written = (count * 7).div_ceil(10);
    writes.into_iter().take(written).chain(reads.into_iter().take(count - written)).collect()
}

/// Thins busy series, any of them, until the account has no more than [`CALLS_MAX`] calls.
fn limit(series: &mut [Series], draw: &mut Draw) {
    let calls = |series: &Series| series.background.pieces.iter().map(|piece| u64::from(piece.calls)).sum::<u64>();
    let mut totals: Vec<u64> = series.iter().map(calls).collect();
    loop {
        let total: u64 = totals.iter().sum();
        if total <= CALLS_MAX {
            return;
        }
        let mean = total / totals.len() as u64;
        let busy: Vec<usize> = (0..totals.len()).filter(|index| totals[*index] >= mean).collect();
        let index = *draw.pick(&busy);
        series[index].background.thin(0.4, draw);
        totals[index] = calls(&series[index]);
    }
}

/// Calls from which a series may have a standing share of errors.
const BUSY_CALLS: u32 = 200;

/// Half of the busier series fail now and then, call by call or in clumps.
fn errors(background: &mut Background, draw: &mut Draw) {
    let calls: u32 = background.pieces.iter().map(|piece| piece.calls).sum();
    if calls < BUSY_CALLS || draw.chance(0.5) {
        return;
    }
    let share = draw.log_between(0.001, 0.1);
    // In clumps: of a few minutes or runs a larger part.
    let clump = if draw.chance(0.35) { draw.log_between(share, 0.8).max(share) } else { share };
    for piece in &mut background.pieces {
        if draw.chance(share / clump) {
            piece.errors = piece.errors.max(draw.binomial(piece.calls, clump));
        }
    }
}

/// What anomalies of a series are planned on.
fn ground<'a>(series: &'a Series, calendar: &'a Calendar, gap: Option<(u32, u32)>) -> Ground<'a> {
    let mut calls = vec![0; calendar.minutes() as usize];
    let mut errors = calls.clone();
    for piece in &series.background.pieces {
        calls[piece.minute as usize] += piece.calls;
        errors[piece.minute as usize] += piece.errors;
    }
    let changes = series.background.changes.iter().map(|change| (change.start.saturating_sub(60), change.end + 60));
    Ground {
        kind: series.kind,
        write: series.api.is_write(),
        background: &series.background,
        calendar,
        closed: changes.chain(gap).collect(),
        codes: series.codes,
        calls,
        errors,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::background::MIX;
    use super::{DAY, Options, World};

    #[test]
    fn every_kind_occurs_at_rates_from_rare_to_busy() {
        let mut backgrounds = BTreeMap::new();
        let mut anomalies = BTreeMap::new();
        let mut rates = BTreeSet::new();
        for seed in 0..40 {
            let world = World::new(seed, &Options::default());
            assert!((8..=25).contains(&world.cast.residents), "{}", world.cast.residents);
            let mut all = 0;
            for series in &world.series {
                *backgrounds.entry(series.kind).or_insert(0) += 1;
                series.bursts.iter().for_each(|burst| *anomalies.entry(burst.anomaly).or_insert(0) += 1);
                let calls: u64 = series.background.pieces.iter().map(|piece| u64::from(piece.calls)).sum();
                all += calls;
                // Calls per minute, in powers of ten.
                let rate = calls as f64 / f64::from(world.calendar.days * DAY);
                assert!(rate < 30.0, "{:?}: {rate} calls per minute", series.kind);
                rates.insert(rate.max(1e-9).log10().floor() as i32);
            }
            assert!(all <= super::CALLS_MAX, "{all} calls");
        }
        assert!(MIX.iter().all(|(kind, _)| backgrounds.get(kind).is_some_and(|count| *count >= 5)), "{backgrounds:?}");
        assert!(anomalies.len() == 8 && anomalies.values().all(|count| *count >= 5), "{anomalies:?}");
        assert!((-5..=0).all(|power| rates.contains(&power)), "{rates:?}");
    }
}
