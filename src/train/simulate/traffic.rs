//! What an API's calls look like when nothing is wrong: a handful of patterns, each giving the counts of any one day.
//! Knows nothing of attacks, principals' names or files.
//!
//! A day is a pure function of the series and the day, with no state carried over. So days can be made in any order, on
//! any thread, again and again, and a trail of any length needs the memory of one day.

use crate::train::draw::{Draw, mix_all};

pub(super) const DAY_MINUTES: usize = 1_440;

/// Which days are quiet, seen from the account's office.
pub(super) struct Calendar {
    /// Weekday of day 0; 0 is Monday.
    pub(super) first_weekday: u32,
    /// Minute of the UTC day at which the office opens.
    pub(super) opening: f64,
    pub(super) seed: u64,
}

/// One weekday in this many is a public holiday.
const HOLIDAY_EVERY: f64 = 25.0;

impl Calendar {
    pub(super) fn weekday(&self, day: u32) -> u32 {
        (self.first_weekday + day) % 7
    }

    /// Weekend or public holiday.
    pub(super) fn is_quiet(&self, day: u32) -> bool {
        self.weekday(day) >= 5 || Draw::new(&[self.seed, 0x686f_6c69, u64::from(day)]).chance(1.0 / HOLIDAY_EVERY)
    }
}

/// The counts of one series on one day, minute by minute.
pub(super) struct Day {
    pub(super) calls: Vec<u32>,
    /// How many of the calls failed with the series' own error.
    pub(super) errors: Vec<u32>,
}

/// How a series behaves. Rates are calls per minute, sizes are calls.
pub(super) enum Pattern {
    /// People at work: sessions in office hours, a lunch dip, few on quiet days.
    Office { sessions: f64, length: f64, rate: f64, weekend: f64 },
    /// A scheduler: every `period` minutes, with jitter, a size that drifts by `drift` a day, and runs that are missed.
    Clockwork { period: u32, offset: u32, size: f64, spread: u32, jitter: u64, drift: f64 },
    /// Service traffic with the shape of a day and a week, overdispersed, wandering; `growth` per day.
    Tide {
        base: f64,
        shape: Vec<f64>,
        weekend: f64,
        dispersion: f64,
        wander: [f64; 3],
        growth: f64,
        step: Option<Step>,
    },
    /// CI and autoscaling: clusters with heavy-tailed sizes that fade out over minutes.
    Flock { per_day: f64, size: f64, tail: f64, fade: f64 },
    /// A few calls a week, in ones and twos.
    Crumbs { per_week: f64 },
    /// Never called.
    Silent,
    /// `count` calls every `every` minutes, almost without fail.
    Heartbeat { every: u32, offset: u32, count: u32 },
    /// A release window once a week, and next to nothing in between.
    Storm { weekday: u32, at: f64, length: f64, size: f64, trickle: f64 },
    /// Quiet traffic with small retry storms, in which every call fails.
    Retries { base: f64, per_day: f64, size: u64 },
}

/// A lasting change of level: harmless, to be reported once at most.
#[derive(Clone, Copy)]
pub(super) struct Step {
    /// Minute of the trail.
    pub(super) at: u32,
    pub(super) factor: f64,
}

/// One day of a series. `standing` is the share of calls that always fails.
pub(super) fn day(pattern: &Pattern, standing: f64, calendar: &Calendar, seed: u64, day: u32) -> Day {
    let mut draw = Draw::new(&[seed, 0x6461_7921, u64::from(day)]);
    let mut out = Day { calls: vec![0; DAY_MINUTES], errors: vec![0; DAY_MINUTES] };
    let quiet = calendar.is_quiet(day);
    match *pattern {
        Pattern::Office { sessions, length, rate, weekend } => {
            let busy = draw.gamma(8.0) * if quiet { weekend } else { 1.0 };
            for _ in 0..draw.poisson(sessions * busy) {
                let start = office_minute(calendar, &mut draw);
                let pace = rate * draw.gamma(2.0);
                let minutes = 1 + (draw.exponential() * length) as usize;
                for calls in out.calls.iter_mut().skip(start).take(minutes) {
                    *calls += draw.poisson(pace);
                }
            }
        }
        Pattern::Clockwork { period, offset, size, spread, jitter, drift } => {
            let size = size * libm::exp(drift * f64::from(day));
            // The first run of this day: runs are counted from the start of the trail, periods may exceed a day.
            let begin = day * DAY_MINUTES as u32;
            let mut at = begin + (offset + period - begin % period) % period;
            while at < begin + DAY_MINUTES as u32 {
                if !draw.chance(MISSED_RUN) {
                    let start = (at - begin) as usize + draw.below(jitter + 1) as usize;
                    let mean = (size / f64::from(spread)).max(0.0);
                    for calls in out.calls.iter_mut().skip(start).take(spread as usize) {
                        *calls += draw.negative_binomial(mean, 40.0);
                    }
                }
                at += period;
            }
        }
        Pattern::Tide { base, ref shape, weekend, dispersion, wander: [depth, days, phase], growth, step } => {
            let swing = 1.0 + depth * libm::cos(std::f64::consts::TAU * (f64::from(day) / days + phase));
            let level = base
                * swing
                * draw.gamma(60.0)
                * if quiet { weekend } else { 1.0 }
                * libm::exp(growth * f64::from(day));
            for (minute, (calls, shape)) in out.calls.iter_mut().zip(shape).enumerate() {
                let now = day * DAY_MINUTES as u32 + minute as u32;
                let factor = step.filter(|step| now >= step.at).map_or(1.0, |step| step.factor);
                *calls = draw.negative_binomial(level * shape * factor, dispersion);
            }
        }
        Pattern::Flock { per_day, size, tail, fade } => {
            let busy = draw.gamma(6.0) * if quiet { 0.35 } else { 1.0 };
            for _ in 0..draw.poisson(per_day * busy) {
                let start = if draw.chance(0.7) {
                    office_minute(calendar, &mut draw)
                } else {
                    draw.below(DAY_MINUTES as u64) as usize
                };
                let fade = fade * draw.gamma(3.0);
                for _ in 0..draw.pareto(size, tail, size * FLOCK_LARGEST) as u32 {
                    let minute = start + (draw.exponential() * fade) as usize;
                    if let Some(calls) = out.calls.get_mut(minute) {
                        *calls += 1;
                    }
                }
            }
        }
        Pattern::Crumbs { per_week } => {
            for _ in 0..draw.poisson(per_week / 7.0) {
                let start = office_minute(calendar, &mut draw);
                let calls = 1 + draw.poisson(0.4);
                out.calls[start] += calls;
            }
        }
        Pattern::Silent => {}
        Pattern::Heartbeat { every, offset, count } => {
            let begin = day * DAY_MINUTES as u32;
            let first = (offset + every - begin % every) % every;
            for minute in (first as usize..DAY_MINUTES).step_by(every as usize) {
                let beats = if draw.chance(MISSED_BEAT) { draw.below(2) as u32 * 2 } else { 1 };
                out.calls[minute] += beats * count;
            }
        }
        Pattern::Storm { weekday, at, length, size, trickle } => {
            if calendar.weekday(day) == weekday {
                let start = (at + draw.normal() * STORM_JITTER).clamp(0.0, DAY_MINUTES as f64 - length) as usize;
                let total = draw.negative_binomial(size, 25.0);
                for _ in 0..total {
                    // The sum of two uniforms: builds up and fades.
                    let minute = start + ((draw.unit() + draw.unit()) * 0.5 * length) as usize;
                    out.calls[minute.min(DAY_MINUTES - 1)] += 1;
                }
            }
            if !quiet {
                for _ in 0..draw.poisson(trickle * DAY_MINUTES as f64) {
                    out.calls[office_minute(calendar, &mut draw)] += 1;
                }
            }
        }
        Pattern::Retries { base, per_day, size } => {
            for calls in &mut out.calls {
                *calls = draw.poisson(base);
            }
            for _ in 0..draw.poisson(per_day) {
                let start = draw.below(DAY_MINUTES as u64 - 3) as usize;
                for _ in 0..draw.whole(2, size) {
                    let minute = start + draw.below(3) as usize;
                    out.calls[minute] += 1;
                    out.errors[minute] += 1;
                }
            }
        }
    }
    if standing > 0.0 {
        // Errors have a stream of their own: a different share must not change the calls.
        let mut draw = Draw::new(&[seed, 0x6572_7273, u64::from(day)]);
        for (calls, errors) in out.calls.iter().zip(&mut out.errors) {
            *errors = (*errors + draw.binomial(*calls, standing)).min(*calls);
        }
    }
    out
}

/// Share of scheduled runs that do not happen.
const MISSED_RUN: f64 = 0.008;
/// Share of beats that are missed or doubled.
const MISSED_BEAT: f64 = 0.012;
/// The largest cluster, in multiples of the smallest.
const FLOCK_LARGEST: f64 = 40.0;
/// Standard deviation of the start of a release window, minutes.
const STORM_JITTER: f64 = 12.0;
/// From opening to the last stragglers, minutes.
const OFFICE_SPAN: f64 = 660.0;

/// A minute of the office day, drawn by how busy it is there.
fn office_minute(calendar: &Calendar, draw: &mut Draw) -> usize {
    loop {
        let since = draw.unit() * OFFICE_SPAN;
        let busy = match since {
            s if s < 60.0 => 0.3 + 0.7 * s / 60.0,
            s if (220.0..290.0).contains(&s) => 0.35,
            s if s > 510.0 => 0.9 - 0.8 * (s - 510.0) / 150.0,
            _ => 1.0,
        };
        if draw.unit() < busy {
            return (calendar.opening + since).rem_euclid(DAY_MINUTES as f64) as usize;
        }
    }
}

/// A new pattern of the given name. `busy` APIs run on faster clocks. `scale` multiplies what it does; see [`Scaled`].
pub(super) fn pattern(name: Name, busy: bool, scale: f64, calendar: &Calendar, draw: &mut Draw) -> Pattern {
    let s = Scaled(scale);
    match name {
        Name::Office => Pattern::Office {
            sessions: s.fewer(draw.log_normal(2.5, 0.8).clamp(0.3, 14.0)),
            length: draw.between(2.0, 14.0),
            rate: s.more(draw.between(0.3, 1.6)),
            weekend: *draw.pick(&[0.0, 0.02, 0.05, 0.15]),
        },
        Name::Clockwork => {
            let (period, size) = *draw.pick(if busy { &CLOCKS[..] } else { &CLOCKS[SLOW_CLOCKS..] });
            let wanted = size * draw.between(0.6, 1.8);
            let size = s.smaller(wanted);
            let period = s.slower(period, size / wanted);
            Pattern::Clockwork {
                period,
                offset: draw.below(u64::from(period)) as u32,
                size,
                spread: if size > 30.0 { draw.whole(2, 25) as u32 } else { draw.whole(1, 2) as u32 },
                jitter: *draw.pick(&[0, 1, 3]),
                drift: if draw.chance(0.35) { draw.between(-0.012, 0.02) } else { 0.0 },
            }
        }
        Name::Tide | Name::Growth | Name::Step => {
            let step = (name == Name::Step).then(|| Step {
                at: (FIRST_STEP + draw.below(STEP_SPAN)) as u32,
                factor: if draw.chance(0.75) { draw.between(1.8, 3.2) } else { draw.between(0.2, 0.5) },
            });
            Pattern::Tide {
                base: scale * draw.log_normal(0.24, 1.1).clamp(0.015, 2.8),
                shape: tide_shape(calendar, draw),
                weekend: draw.between(0.25, 1.05),
                dispersion: *draw.pick(&[4.0, 12.0, 40.0, 150.0]),
                wander: [draw.between(0.0, 0.2), draw.between(4.0, 12.0), draw.unit()],
                growth: if name == Name::Growth { draw.between(0.012, 0.035) } else { 0.0 },
                step,
            }
        }
        Name::Flock => Pattern::Flock {
            per_day: s.fewer(draw.log_normal(11.0, 0.8).clamp(2.0, 60.0)),
            size: s.more(draw.between(2.0, 7.0)),
            tail: draw.between(1.1, 1.9),
            fade: draw.between(1.0, 7.0),
        },
        Name::Crumbs => Pattern::Crumbs { per_week: *draw.pick(&[0.4, 1.5, 5.0]) },
        Name::Silent => Pattern::Silent,
        Name::Heartbeat => {
            let every = s.slower(*draw.pick(&[1, 1, 2, 5]), 1.0);
            let count = s.more(*draw.pick(&[1.0, 1.0, 2.0])) as u32;
            Pattern::Heartbeat { every, offset: draw.below(u64::from(every)) as u32, count }
        }
        Name::Storm => Pattern::Storm {
            weekday: draw.below(5) as u32,
            at: (calendar.opening + draw.between(0.0, 480.0)).rem_euclid(1_380.0),
            length: draw.between(12.0, 50.0),
            size: draw.between(60.0, 320.0) * scale.clamp(0.3, 10.0),
            trickle: scale * draw.between(0.0, 0.01),
        },
        Name::Retries => Pattern::Retries {
            base: scale * draw.log_normal(0.08, 0.8),
            per_day: s.fewer(draw.between(0.5, 5.0)),
            size: draw.whole(4, 12),
        },
    }
}

/// Changes of level come after a detector's warm-up, within two weeks; some lie beyond the end of the trail.
const FIRST_STEP: u64 = 9 * 1_440;
const STEP_SPAN: u64 = 14 * 1_440;

/// Periods in minutes and sizes of schedulers.
const CLOCKS: [(u32, f64); 9] =
    [(5, 1.0), (5, 3.0), (10, 4.0), (15, 6.0), (30, 12.0), (60, 20.0), (360, 60.0), (1_440, 110.0), (10_080, 260.0)];

/// The clocks from here on run a few times a day or less often: what no machine does all day.
const SLOW_CLOCKS: usize = 6;

/// Two harmonics around an afternoon peak; the second one sharpens the morning or flattens the night.
fn tide_shape(calendar: &Calendar, draw: &mut Draw) -> Vec<f64> {
    let (first, second) = (draw.between(0.2, 0.95), draw.between(-0.2, 0.25));
    let peak = calendar.opening + draw.between(180.0, 480.0);
    let turn = std::f64::consts::TAU / DAY_MINUTES as f64;
    (0..DAY_MINUTES)
        .map(|minute| {
            let angle = turn * (minute as f64 - peak);
            (1.0 + first * libm::cos(angle) + second * libm::cos(2.0 * angle)).max(0.02)
        })
        .collect()
}

/// Names of the patterns, for the mix. `Growth` and `Step` are tides with a trend.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Name {
    Office,
    Clockwork,
    Tide,
    Growth,
    Step,
    Flock,
    Crumbs,
    Silent,
    Heartbeat,
    Storm,
    Retries,
}

/// How often each pattern occurs; our guess at an account of medium size.
pub(super) const MIX: [(Name, f64); 11] = [
    (Name::Office, 20.0),
    (Name::Clockwork, 15.0),
    (Name::Tide, 16.0),
    (Name::Growth, 3.0),
    (Name::Step, 3.0),
    (Name::Flock, 12.0),
    (Name::Crumbs, 14.0),
    (Name::Silent, 6.0),
    (Name::Heartbeat, 4.0),
    (Name::Storm, 4.0),
    (Name::Retries, 3.0),
];

/// How a factor on the traffic is spent: below one things happen less often (a batch cannot be smaller than a call),
/// above one they are larger.
struct Scaled(f64);

impl Scaled {
    fn fewer(&self, often: f64) -> f64 {
        often * self.0.min(1.0)
    }

    fn more(&self, size: f64) -> f64 {
        (size * self.0.max(1.0)).max(1.0_f64.min(size))
    }

    /// A batch: a small scale is spent half on its size and half on how often it runs.
    fn smaller(&self, size: f64) -> f64 {
        if self.0 >= 1.0 { size * self.0 } else { (size * self.0.sqrt()).max(size.min(1.0)) }
    }

    /// The usual period that comes to `scale` of the work when each run does `share` of it; long periods stay.
    fn slower(&self, period: u32, share: f64) -> u32 {
        let wanted = f64::from(period) * share / self.0;
        if period > 60 || wanted <= f64::from(period) {
            return period;
        }
        let usual = [1, 2, 5, 10, 15, 30, 60, 120, 240, 360];
        usual.into_iter().find(|usual| f64::from(*usual) >= wanted).unwrap_or(720)
    }
}

/// A seed for one series of one account.
pub(super) fn series_seed(account_seed: u64, index: usize) -> u64 {
    mix_all(&[account_seed, 0x7365_7269, index as u64])
}
