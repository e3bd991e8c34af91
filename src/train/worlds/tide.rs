//! Service traffic as rates, minute by minute: the shape of days and weeks, trends, a level that wanders with a long
//! memory, and what can lie on top: crowds, release windows, regimes. Knows nothing of counts and callers.

use super::background::{Change, WARM_DAYS};
use super::calendar::{Calendar, DAY, day_shape, week_shape};
use crate::train::draw::Draw;

/// The level wanders in steps of this many minutes.
const STEP: u32 = 10;

/// Calls per minute over the whole trail with about this mean.
pub(super) fn rates(calendar: &Calendar, base: f64, growth: bool, draw: &mut Draw) -> Vec<f64> {
    let shape = day_shape(draw);
    // Some traffic follows another part of the world.
    let turn = if draw.chance(0.3) { draw.below(DAY.into()) as usize } else { 0 };
    let (week, quiet) = week_shape(draw);
    // A trend of the log level per day; over four weeks up to a factor of three, or what is left of one.
    let trend = if growth { draw.between(0.015, 0.04) } else { 0.0 } * if draw.chance(0.7) { 1.0 } else { -1.0 };
    // An Ornstein-Uhlenbeck process of the log level: half-lives from hours to days are the long memory of services.
    let deviation = if draw.chance(0.75) { draw.log_between(0.03, 0.6) } else { 0.0 };
    let half_life = draw.log_between(120.0, 7_200.0);
    let keep = libm::exp(-core::f64::consts::LN_2 * f64::from(STEP) / half_life);
    let fresh = deviation * (1.0 - keep * keep).sqrt();
    let daily = if draw.chance(0.4) { draw.log_between(0.02, 0.3) } else { 0.0 };
    // Clients that wake up on the hour, or on every fifth minute.
    let chime = draw.chance(0.2).then(|| (*draw.pick(&[5, 15, 30, 60]), draw.log_between(1.5, 6.0)));
    let mut level = deviation * draw.normal();
    let (mut today, mut mood) = (u32::MAX, 1.0);
    let mut factor = 1.0;
    (0..calendar.minutes())
        .map(|minute| {
            let local = calendar.local(minute);
            if minute % STEP == 0 {
                level = keep * level + fresh * draw.normal();
                if local.day != today {
                    today = local.day;
                    mood = draw.log_normal(1.0, daily);
                }
                let day = if calendar.is_quiet(today) { quiet } else { week[calendar.weekday(today) as usize] };
                let days = f64::from(minute) / f64::from(DAY);
                factor = base * day * mood * libm::exp(level - deviation * deviation / 2.0 + trend * days);
            }
            let chime =
                chime.filter(|(every, _)| local.minute.is_multiple_of(*every)).map_or(1.0, |(_, factor)| factor);
            factor * shape[(local.minute + turn) % shape.len()] * chime
        })
        .collect()
}

/// Crowds rise at once and fade over minutes to hours. Returns those that outgrow what the trail has shown before.
pub(super) fn crowds(rates: &mut [f64], draw: &mut Draw) -> Vec<Change> {
    let per_day = draw.log_between(0.3, 10.0) / 7.0;
    let (median, sigma) = (draw.between(0.3, 2.0), draw.between(0.2, 0.8));
    let fade = draw.log_between(4.0, 120.0);
    let mut unseen = Vec::new();
    let (mut at, mut largest) = (0.0_f64, 0.0_f64);
    loop {
        at += draw.exponential() / per_day * f64::from(DAY);
        let start = at as usize;
        if start >= rates.len() {
            return unseen;
        }
        let height = draw.log_normal(median, sigma).min(8.0);
        let fade = fade * draw.gamma(3.0) + 1.0;
        let length = ((4.0 * fade) as usize).min(rates.len() - start);
        let mut climb = 0.0;
        for (minute, rate) in rates[start..start + length].iter_mut().enumerate() {
            climb = f64::min(climb + 0.34, 1.0);
            *rate *= 1.0 + climb * height * libm::exp(-(minute as f64) / fade);
        }
        if start >= (WARM_DAYS * DAY) as usize && height > 1.3 * largest {
            unseen.push(Change { kind: "crowd", start: start as u32, end: (start + length) as u32 });
        }
        largest = largest.max(height);
    }
}

/// Releases with several times the traffic, every few days from the first week on: they recur, so nobody need be told.
pub(super) fn releases(rates: &mut [f64], calendar: &Calendar, draw: &mut Draw) {
    let every: u32 = *draw.pick(&[1, 2, 3, 7]);
    let (hour, jitter) = (draw.between(480.0, 1_080.0), *draw.pick(&[0.0, 5.0, 20.0]));
    let (height, width) = (draw.between(1.5, 6.0), draw.log_between(10.0, 100.0));
    for day in (draw.below(u64::from(every)) as u32..calendar.days).step_by(every as usize) {
        let start = calendar.at(day, hour + jitter * draw.normal()).max(0) as usize;
        let height = height * draw.log_normal(1.0, 0.12);
        let width = (width * draw.log_normal(1.0, 0.15)) as usize;
        rates.iter_mut().skip(start).take(width).for_each(|rate| *rate *= height);
    }
}

/// Running, then not, then running again; the first run begins within the first three days.
pub(super) fn regimes(rates: &mut [f64], draw: &mut Draw) {
    let (on, off) = (draw.log_between(60.0, 4_320.0), draw.log_between(120.0, 4_320.0));
    let mut at = 0;
    let mut rest = draw.between(0.0, 4_320.0);
    while at < rates.len() {
        let silent = (rest as usize).max(1);
        rates.iter_mut().skip(at).take(silent).for_each(|rate| *rate = 0.0);
        at += silent + draw.log_normal(on, 0.5) as usize;
        rest = draw.log_normal(off, 0.5);
    }
}
