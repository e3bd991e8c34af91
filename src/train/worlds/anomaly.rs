//! What goes wrong on one series: the kind, the minutes, the strength and what a detector owes it. Plans against the
//! counts that the series really has, so that whatever must be found stands out against its past week. Knows nothing of
//! callers and records.

use super::background::{Background, Kind, WARM_DAYS};
use super::calendar::{Calendar, DAY};
use crate::train::draw::Draw;
use crate::train::labelled::Duty;

/// The kinds of anomaly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Anomaly {
    Spike,
    Flash,
    /// Some calls where hardly any are made.
    QuietBurst,
    SlowRamp,
    /// As busy as by day, but at night.
    OffHours,
    BurstLong,
    /// A run of a job at several times its size.
    CronOverrun,
    /// Calls that all fail.
    ErrorFlood,
}

impl Anomaly {
    pub(super) fn label(self) -> &'static str {
        match self {
            Anomaly::Spike => "spike",
            Anomaly::Flash => "flash",
            Anomaly::QuietBurst => "quiet_burst",
            Anomaly::SlowRamp => "slow_ramp",
            Anomaly::OffHours => "off_hours",
            Anomaly::BurstLong => "burst_long",
            Anomaly::CronOverrun => "cron_overrun",
            Anomaly::ErrorFlood => "error_flood",
        }
    }
}

/// Extra calls from `start`, a minute of the trail; the first and the last element of `calls` are not zero.
pub(super) struct Burst {
    pub(super) anomaly: Anomaly,
    pub(super) start: u32,
    pub(super) calls: Vec<u32>,
    /// Why calls fail, if they do.
    pub(super) code: &'static str,
    /// Required or optional.
    pub(super) duty: Duty,
    /// A flood that can be seen in the call rate as well.
    pub(super) shows_in_calls: bool,
}

impl Burst {
    pub(super) fn end(&self) -> u32 {
        self.start + self.calls.len() as u32
    }
}

/// What is planned on.
pub(super) struct Ground<'a> {
    pub(super) kind: Kind,
    pub(super) write: bool,
    pub(super) background: &'a Background,
    pub(super) calendar: &'a Calendar,
    /// Minutes of the trail that stay without: harmless changes, holes.
    pub(super) closed: Vec<(u32, u32)>,
    /// The error that the series usually has, if any, one that may accompany it, and one that it never has.
    pub(super) codes: [&'static str; 3],
    /// Calls and usual errors by minute, with those of the bursts so far.
    pub(super) calls: Vec<u32>,
    pub(super) errors: Vec<u32>,
}

/// How far what must be found rises above the past week, over windows of some width, as a ratio.
const CLEAR: f64 = 1.3;
/// Rises of less than this are nothing.
const FAINT: f64 = 1.2;
const WEEK: u32 = 7 * DAY;
/// Calls of the largest burst.
const LARGEST: u32 = 15_000;
/// Kinds tried for one burst, and times for each.
const KINDS_TRIED: u32 = 4;
const TRIES: u32 = 12;
/// Minutes between two bursts on one series.
const APART: u32 = 720;
/// Minutes at the end of the trail that stay calm, so that an incident can end.
const CALM_END: u32 = 60;

/// At most two bursts; `share` is how many write series have one in their call rate, of all series have a flood 15%.
pub(super) fn plan(ground: &mut Ground<'_>, share: f64, draw: &mut Draw) -> Vec<Burst> {
    let mut bursts = Vec::new();
    let changing = matches!(ground.kind, Kind::Shift | Kind::Launch | Kind::Retired);
    if ground.write && !changing && draw.chance(share) {
        let count = if draw.chance(0.15) { 2 } else { 1 };
        bursts.extend((0..count).filter_map(|_| ground.burst(draw)));
    }
    if bursts.len() < 2 && draw.chance(0.15) {
        bursts.extend((0..TRIES).find_map(|_| ground.flood(draw)));
    }
    bursts
}

/// Kinds of anomaly that make sense on a kind of background.
fn suited(kind: Kind) -> &'static [Anomaly] {
    use Anomaly::*;
    match kind {
        Kind::Silent => &[QuietBurst],
        Kind::Rare | Kind::Monthly => &[QuietBurst, QuietBurst, Flash, BurstLong],
        Kind::Weekly => &[QuietBurst, Flash, CronOverrun],
        Kind::Human => &[Spike, QuietBurst, Flash, OffHours, BurstLong],
        Kind::Cron | Kind::Batches => &[Spike, Flash, CronOverrun, CronOverrun, CronOverrun, BurstLong],
        Kind::Crons | Kind::Clusters | Kind::Cascades | Kind::Storms | Kind::Regimes => &[Spike, Flash, BurstLong],
        Kind::Poller => &[Spike, SlowRamp, Flash, BurstLong],
        Kind::Growth | Kind::Releases => &[Spike, SlowRamp, Flash, BurstLong],
        _ => &[Spike, SlowRamp, Flash, OffHours, BurstLong],
    }
}

impl Ground<'_> {
    fn burst(&mut self, draw: &mut Draw) -> Option<Burst> {
        let faint = draw.chance(0.12);
        (0..KINDS_TRIED).find_map(|_| {
            let anomaly = *draw.pick(suited(self.kind));
            (0..TRIES).find_map(|_| match anomaly {
                Anomaly::CronOverrun => self.overrun(draw),
                _ => self.attempt(anomaly, faint, draw),
            })
        })
    }

    fn attempt(&mut self, anomaly: Anomaly, faint: bool, draw: &mut Draw) -> Option<Burst> {
        let width = match anomaly {
            Anomaly::Flash => draw.whole(2, 3),
            Anomaly::QuietBurst => draw.whole(2, 13),
            Anomaly::SlowRamp => draw.whole(150, 360),
            Anomaly::OffHours => draw.whole(20, 60),
            Anomaly::BurstLong => draw.whole(40, 140),
            Anomaly::Spike | Anomaly::CronOverrun | Anomaly::ErrorFlood => draw.whole(5, 30),
        } as usize;
        let start = self.start(anomaly == Anomaly::OffHours, width, draw)?;
        let past = &self.calls[start - WEEK as usize..start];
        let now = mean(&self.calls[start..start + width]);
        let typical = mean(past);
        let record = |width: usize| window_max(past, width) as f64 / width as f64;
        let highest = record(width);
        let needed = match anomaly {
            Anomaly::Flash => (2.5 * highest).max(25.0 * typical).max(12.0),
            Anomaly::QuietBurst => (3.0 * highest).max(draw.between(2.5, 8.0)),
            Anomaly::SlowRamp => (2.2 * now).max(1.5 * highest - now).max(0.4),
            Anomaly::OffHours => {
                let night = self.nights(start, width);
                let usual = mean(&night);
                let needed = (0.9 * quantile(past, 0.98)).max(1.5 * nights_max(&night, width) / width as f64).max(1.2);
                if needed <= 3.0 * usual.max(0.05) {
                    return None;
                }
                needed
            }
            Anomaly::BurstLong => (draw.between(3.0, 10.0) * now).max(1.5 * highest - now).max(0.5),
            Anomaly::Spike | Anomaly::CronOverrun | Anomaly::ErrorFlood => {
                (9.0 * now.max(typical)).max(1.6 * highest).max(3.0)
            }
        };
        let mut strength = needed * spread(draw);
        if faint {
            // Anything between hardly more than the record and what is clear.
            let least = (FAINT * highest - now).max(0.25).min(strength);
            strength = draw.log_between(least, strength * 1.001);
        }
        let calls = if anomaly == Anomaly::SlowRamp {
            let shape = draw.log_between(5.0, 60.0);
            let climb = |minute: usize| ((minute + 1) as f64 / 40.0).min(1.0);
            (0..width).map(|minute| draw.negative_binomial(strength * climb(minute), shape)).collect()
        } else {
            course(width, strength, draw)
        };
        self.settle(anomaly, start, calls, faint)
    }

    /// A run of a job at four to eight times its size.
    fn overrun(&mut self, draw: &mut Draw) -> Option<Burst> {
        let pieces = &self.background.pieces;
        if pieces.is_empty() {
            return None;
        }
        let run = draw.pick(pieces).run;
        let mine = || pieces.iter().filter(|piece| piece.run == run);
        let (start, last) = (mine().map(|p| p.minute).min()?, mine().map(|p| p.minute).max()?);
        let width = (last - start + 1) as usize;
        if width > 90 || !self.is_free(start, width) {
            return None;
        }
        let factor = draw.between(4.0, 8.0);
        let mut calls = vec![0; width];
        for piece in mine() {
            calls[(piece.minute - start) as usize] += draw.poisson(f64::from(piece.calls) * (factor - 1.0));
        }
        if calls.iter().sum::<u32>() < 10 {
            return None;
        }
        self.settle(Anomaly::CronOverrun, start as usize, calls, false)
    }

    fn flood(&mut self, draw: &mut Draw) -> Option<Burst> {
        let width = draw.whole(3, 25) as usize;
        let start = self.start(false, width, draw)?;
        let week = start - WEEK as usize..start;
        let usual = draw.chance(0.6);
        let base = if usual { window_max(&self.errors[week.clone()], width) as f64 / width as f64 } else { 0.0 };
        let strength = (6.0 * base).max(draw.between(2.0, 10.0)) * spread(draw);
        let (start, calls) = trim(start, course(width, strength, draw))?;
        let total: u32 = calls.iter().sum();
        if !(6..=LARGEST).contains(&total) {
            return None;
        }
        let past = &self.calls[start - WEEK as usize..start];
        let seen = margin(past, &sum(&self.calls[start..], &calls)) >= FAINT;
        self.occupy(start, &calls);
        if usual {
            self.errors[start..].iter_mut().zip(&calls).for_each(|(errors, extra)| *errors += extra);
        }
        Some(Burst {
            anomaly: Anomaly::ErrorFlood,
            start: start as u32,
            calls,
            code: self.codes[if usual { 0 } else { 2 }],
            duty: Duty::Required,
            shows_in_calls: self.write && seen,
        })
    }

    /// Keeps the calls if they stand out as they have to.
    fn settle(&mut self, anomaly: Anomaly, start: usize, calls: Vec<u32>, faint: bool) -> Option<Burst> {
        let (start, calls) = trim(start, calls)?;
        let total: u32 = calls.iter().sum();
        if !(5..=LARGEST).contains(&total) {
            return None;
        }
        let now = sum(&self.calls[start..], &calls);
        let ratio = match anomaly {
            Anomaly::OffHours => {
                let width = calls.len();
                now.iter().map(|n| f64::from(*n)).sum::<f64>() / nights_max(&self.nights(start, width), width).max(1.0)
            }
            _ => margin(&self.calls[start - WEEK as usize..start], &now),
        };
        if ratio < if faint { FAINT } else { CLEAR } {
            return None;
        }
        self.occupy(start, &calls);
        let duty = if faint { Duty::Optional } else { Duty::Required };
        let code = self.codes[1];
        Some(Burst { anomaly, start: start as u32, calls, code, duty, shows_in_calls: false })
    }

    fn occupy(&mut self, start: usize, calls: &[u32]) {
        self.calls[start..].iter_mut().zip(calls).for_each(|(total, extra)| *total += extra);
        // Nothing is put before it any more: it stands out against the past that it had.
        self.closed.push((0, (start + calls.len()) as u32 + APART));
    }

    /// A minute of the trail to begin in.
    fn start(&self, night: bool, width: usize, draw: &mut Draw) -> Option<usize> {
        let day = draw.whole(u64::from(WARM_DAYS + 1), u64::from(self.calendar.days - 1)) as u32;
        let minute = match night {
            true => self.calendar.at(day, draw.between(20.0, 300.0)),
            false => i64::from(day * DAY) + draw.below(DAY.into()) as i64,
        };
        let start = u32::try_from(minute).ok()?;
        self.is_free(start, width).then_some(start as usize)
    }

    fn is_free(&self, start: u32, width: usize) -> bool {
        let end = start + width as u32;
        start >= (WARM_DAYS + 1) * DAY
            && end + CALM_END < self.calendar.minutes()
            && self.closed.iter().all(|(from, until)| end <= *from || *until <= start)
    }

    /// The six nights before, each from 90 minutes before to 90 minutes after the same time of day.
    fn nights(&self, start: usize, width: usize) -> Vec<u32> {
        let night = |back: usize| start - back * DAY as usize - 90..start - back * DAY as usize + width + 90;
        (1..=6).flat_map(|back| self.calls[night(back)].iter().copied()).collect()
    }
}

/// The most calls of `width` successive minutes in any of the six nights that [`Ground::nights`] lays end to end.
fn nights_max(nights: &[u32], width: usize) -> f64 {
    nights.chunks(width + 180).map(|night| window_max(night, width)).max().unwrap_or(0) as f64
}

/// Strengths lie above what is asked for, mostly not by much, and now and then below.
fn spread(draw: &mut Draw) -> f64 {
    let (one, other) = (draw.log_between(0.9, 2.0), draw.log_between(0.9, 2.0));
    one.min(other)
}

/// Calls by minute with a mean of `strength`: flat, fading, rising or with pauses.
fn course(width: usize, strength: f64, draw: &mut Draw) -> Vec<u32> {
    let form = draw.below(8);
    let pause = draw.whole(2, 4) as usize;
    let mut weights: Vec<f64> = (0..width)
        .map(|minute| {
            let x = (minute as f64 + 0.5) / width as f64;
            match form {
                0 => libm::exp(-2.5 * x),
                1 => 0.15 + x,
                2 if minute % pause > 0 => 0.1,
                _ => 1.0,
            }
        })
        .collect();
    let mean = weights.iter().sum::<f64>() / width as f64;
    weights.iter_mut().for_each(|weight| *weight *= strength / mean);
    let shape = draw.log_between(4.0, 60.0);
    weights.into_iter().map(|rate| draw.negative_binomial(rate, shape)).collect()
}

/// Without the zeros at both ends; none if nothing else is there.
fn trim(start: usize, mut calls: Vec<u32>) -> Option<(usize, Vec<u32>)> {
    let lead = calls.iter().position(|calls| *calls > 0)?;
    calls.drain(..lead);
    while calls.last() == Some(&0) {
        calls.pop();
    }
    Some((start + lead, calls))
}

fn sum(before: &[u32], extra: &[u32]) -> Vec<u32> {
    before.iter().zip(extra).map(|(a, b)| a + b).collect()
}

fn mean(counts: &[u32]) -> f64 {
    counts.iter().map(|count| f64::from(*count)).sum::<f64>() / counts.len().max(1) as f64
}

fn quantile(counts: &[u32], share: f64) -> f64 {
    let mut sorted = counts.to_vec();
    let at = ((sorted.len() - 1) as f64 * share) as usize;
    f64::from(*sorted.select_nth_unstable(at).1)
}

/// The largest sum of `width` successive minutes.
fn window_max(counts: &[u32], width: usize) -> u64 {
    let mut sum: u64 = counts.iter().take(width).map(|count| u64::from(*count)).sum();
    let mut max = sum;
    for (entering, leaving) in counts.iter().skip(width).zip(counts) {
        sum = sum + u64::from(*entering) - u64::from(*leaving);
        max = max.max(sum);
    }
    max
}

/// How many times the record of `past` the calls of `now` reach, at the best of a few widths up to their own.
fn margin(past: &[u32], now: &[u32]) -> f64 {
    let own = now.len();
    let widths = [5, 15, 60].into_iter().filter(|width| *width < own && *width * 8 >= own).chain([own]);
    widths.map(|width| window_max(now, width) as f64 / (window_max(past, width) as f64).max(1.0)).fold(0.0, f64::max)
}
