//! What the calls of one series look like when nothing is wrong: some twenty kinds, each with wide ranges, as lists of
//! [`Piece`]s; and which harmless changes a detector may remark on. Knows nothing of callers and anomalies.

use super::calendar::{Calendar, DAY};
use super::tide;
use crate::train::draw::Draw;

/// The days that a detector learns from before anything counts.
pub(super) const WARM_DAYS: u32 = 7;

/// The kinds of background.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    /// Service traffic: see `tide`.
    Seasonal,
    Growth,
    /// Requests with crowds that come at once and go slowly.
    Crowds,
    /// Service traffic with release windows of several times the calls.
    Releases,
    /// A batch system: running for hours or days, then nothing.
    Regimes,
    /// People at work.
    Human,
    /// One scheduler.
    Cron,
    /// Several on one API.
    Crons,
    /// CI and autoscaling.
    Clusters,
    /// Calls that lead to more calls.
    Cascades,
    /// A trickle, and storms in which every call fails.
    Storms,
    Poller,
    Rare,
    Silent,
    /// Large, regular in size and not in time, next to a trickle.
    Batches,
    Weekly,
    Monthly,
    /// Two of the others.
    Mixed,
    /// One of the others that changes its level for good.
    Shift,
    /// One of the others whose life begins in the middle of the trail.
    Launch,
    /// One of the others that ends there.
    Retired,
}

/// Every kind with how common it is; each account bends these.
pub(super) const MIX: [(Kind, f64); 21] = [
    (Kind::Seasonal, 12.0),
    (Kind::Growth, 2.5),
    (Kind::Crowds, 3.0),
    (Kind::Releases, 2.5),
    (Kind::Regimes, 2.5),
    (Kind::Human, 13.0),
    (Kind::Cron, 10.0),
    (Kind::Crons, 3.0),
    (Kind::Clusters, 11.0),
    (Kind::Cascades, 3.0),
    (Kind::Storms, 3.0),
    (Kind::Poller, 2.5),
    (Kind::Rare, 11.0),
    (Kind::Silent, 4.0),
    (Kind::Batches, 3.0),
    (Kind::Weekly, 4.0),
    (Kind::Monthly, 1.0),
    (Kind::Mixed, 4.0),
    (Kind::Shift, 4.0),
    (Kind::Launch, 2.0),
    (Kind::Retired, 1.5),
];

/// Calls of one minute that belong together.
#[derive(Clone, Copy)]
pub(super) struct Piece {
    pub(super) minute: u32,
    pub(super) calls: u32,
    /// How many of them fail with the series' usual error.
    pub(super) errors: u32,
    /// The session, run of a job, cluster ... within the series: one caller may have made all of it.
    pub(super) run: u32,
}

/// A harmless change over `[start, end)`, in minutes of the trail.
#[derive(Clone, Copy)]
pub(super) struct Change {
    pub(super) kind: &'static str,
    pub(super) start: u32,
    pub(super) end: u32,
}

/// The calls of one series, in no order.
pub(super) struct Background {
    pub(super) pieces: Vec<Piece>,
    pub(super) changes: Vec<Change>,
    runs: u32,
    end: u32,
}

/// What the account decides for all its series.
pub(super) struct Place<'a> {
    pub(super) calendar: &'a Calendar,
    /// The highest mean rate of service traffic, calls per minute.
    pub(super) busiest: f64,
}

/// A series of the given kind.
pub(super) fn background(kind: Kind, place: &Place<'_>, draw: &mut Draw) -> Background {
    let mut out = Background { pieces: Vec::new(), changes: Vec::new(), runs: 0, end: place.calendar.minutes() };
    out.fill(kind, place, draw);
    out
}

/// The lowest mean rate of service traffic, calls per minute.
const SLOWEST: f64 = 0.0005;
/// Calls of the largest single event of a kind: run, cluster, cascade.
const LARGEST: f64 = 2_000.0;

impl Background {
    fn run(&mut self) -> u32 {
        self.runs += 1;
        self.runs
    }

    fn add(&mut self, minute: i64, calls: u32, run: u32) {
        if calls > 0 && (0..i64::from(self.end)).contains(&minute) {
            self.pieces.push(Piece { minute: minute as u32, calls, errors: 0, run });
        }
    }

    fn fill(&mut self, kind: Kind, place: &Place<'_>, draw: &mut Draw) {
        let calendar = place.calendar;
        match kind {
            Kind::Seasonal | Kind::Growth | Kind::Crowds | Kind::Releases | Kind::Regimes => {
                self.flow(kind, place, draw)
            }
            Kind::Human => self.human(calendar, draw),
            Kind::Cron => self.cron(calendar, draw),
            Kind::Crons => (0..draw.whole(2, 4)).for_each(|_| self.cron(calendar, draw)),
            Kind::Clusters => self.clusters(calendar, draw),
            Kind::Cascades => self.cascades(draw),
            Kind::Storms => self.storms(draw),
            Kind::Poller => self.poller(draw),
            Kind::Rare => self.rare(calendar, draw),
            Kind::Silent => {}
            Kind::Batches => self.batches(draw),
            Kind::Weekly => self.weekly(draw),
            Kind::Monthly => self.monthly(calendar, draw),
            Kind::Mixed => {
                const PARTS: [Kind; 7] =
                    [Kind::Seasonal, Kind::Human, Kind::Cron, Kind::Clusters, Kind::Rare, Kind::Weekly, Kind::Poller];
                for _ in 0..2 {
                    let part = *draw.pick(&PARTS);
                    self.fill(part, place, draw);
                }
            }
            Kind::Shift | Kind::Launch | Kind::Retired => {
                const INNER: [Kind; 6] =
                    [Kind::Seasonal, Kind::Seasonal, Kind::Human, Kind::Cron, Kind::Clusters, Kind::Poller];
                let inner = *draw.pick(&INNER);
                self.fill(inner, place, draw);
                self.change(kind, draw);
            }
        }
    }

    /// Changes the level for good from a minute in the middle of the trail on.
    fn change(&mut self, kind: Kind, draw: &mut Draw) {
        let at = draw.whole(u64::from((WARM_DAYS + 1) * DAY), u64::from(self.end - 3 * DAY)) as u32;
        let label = match kind {
            Kind::Launch => {
                self.pieces.retain(|piece| piece.minute >= at);
                "launch"
            }
            Kind::Retired => {
                self.pieces.retain(|piece| piece.minute < at);
                "retired"
            }
            _ => {
                let factor = if draw.chance(0.7) { draw.log_between(1.3, 4.0) } else { draw.log_between(0.2, 0.8) };
                for piece in self.pieces.iter_mut().filter(|piece| piece.minute >= at) {
                    piece.calls = if factor < 1.0 {
                        draw.binomial(piece.calls, factor)
                    } else {
                        piece.calls + draw.poisson(f64::from(piece.calls) * (factor - 1.0))
                    };
                }
                self.pieces.retain(|piece| piece.calls > 0);
                "benign_shift"
            }
        };
        // What lives rarely changes when it is next seen.
        let seen = self.pieces.iter().map(|piece| piece.minute).filter(|minute| *minute >= at).min();
        let start = if kind == Kind::Retired { at } else { seen.unwrap_or(at) };
        self.changes.push(Change { kind: label, start, end: (start + DAY).min(self.end) });
    }

    /// Keeps each call with this probability.
    pub(super) fn thin(&mut self, share: f64, draw: &mut Draw) {
        for piece in &mut self.pieces {
            piece.errors = piece.errors.min(draw.binomial(piece.errors, share));
            piece.calls = piece.errors.max(draw.binomial(piece.calls, share));
        }
        self.pieces.retain(|piece| piece.calls > 0);
    }

    /// Rates per minute first, then counts.
    fn flow(&mut self, kind: Kind, place: &Place<'_>, draw: &mut Draw) {
        // Log-uniform but bent towards the low end: most series are sparse.
        let place_in_range = libm::pow(draw.unit(), 1.8);
        let base = SLOWEST * libm::pow(place.busiest / SLOWEST, place_in_range);
        let mut rates = tide::rates(place.calendar, base, kind == Kind::Growth, draw);
        match kind {
            Kind::Crowds => self.changes.extend(tide::crowds(&mut rates, draw)),
            Kind::Releases => tide::releases(&mut rates, place.calendar, draw),
            Kind::Regimes => tide::regimes(&mut rates, draw),
            _ => {}
        }
        let shape = draw.chance(0.8).then(|| draw.log_between(3.0, 80.0));
        // One caller's turn, where callers take turns.
        let turn = draw.log_between(5.0, 720.0) as u32;
        for (minute, rate) in (0..).zip(rates) {
            let calls = match shape {
                // At such rates the two laws differ by nothing.
                Some(shape) if rate > 0.002 => draw.negative_binomial(rate, shape),
                _ => draw.poisson(rate),
            };
            self.add(minute, calls, minute as u32 / turn);
        }
        self.runs = self.end / turn + 1;
    }

    fn human(&mut self, calendar: &Calendar, draw: &mut Draw) {
        let per_day = draw.log_between(0.2, 12.0);
        let (length, spread) = (draw.log_between(2.0, 20.0), draw.between(0.4, 1.0));
        let rate = draw.log_between(0.08, 2.5);
        let (noon, width) = (draw.between(690.0, 870.0), draw.between(80.0, 200.0));
        let quiet = *draw.pick(&[0.0, 0.02, 0.1, 0.3]);
        for day in 0..calendar.days + 1 {
            let share = if calendar.is_quiet(day) { quiet } else { 1.0 };
            let mood = draw.gamma(6.0);
            for _ in 0..draw.poisson(per_day * share * mood) {
                let start = calendar.at(day, noon + width * draw.normal());
                let minutes = 1 + draw.log_normal(length, spread).min(300.0) as i64;
                let pace = rate * draw.gamma(2.0);
                let run = self.run();
                for minute in start..start + minutes {
                    let calls = draw.poisson(pace);
                    self.add(minute, calls, run);
                }
            }
        }
    }

    fn cron(&mut self, calendar: &Calendar, draw: &mut Draw) {
        const PERIODS: [u32; 12] = [1, 2, 5, 10, 15, 20, 30, 60, 120, 360, 1_440, 1_440];
        let period = match draw.below(10) {
            0 => draw.log_between(2.0, 3_000.0) as u32,
            1 => 7 * DAY,
            _ => *draw.pick(&PERIODS),
        };
        let most = f64::from(period) * draw.log_between(0.1, 8.0);
        let mean = draw.log_between(1.0, 300.0).min(most).max(1.0);
        let jitter = if draw.chance(0.5) { draw.whole(0, 10).min(u64::from(period / 3)) } else { 0 };
        let width = if draw.chance(0.6) { 1 } else { draw.log_between(1.0, 40.0) as u32 }.min(period.div_ceil(2));
        let (noise, noisy) = (draw.below(3), draw.log_between(0.05, 0.6));
        let missed = if draw.chance(0.5) { draw.log_between(0.002, 0.08) } else { 0.0 };
        let drift = if draw.chance(0.35) { draw.between(-0.03, 0.03) } else { 0.0 };
        // Follows the office's clock, or UTC.
        let local = draw.chance(0.5);
        let mut at = draw.below(u64::from(period)) as u32;
        while at < self.end {
            let skip = draw.chance(missed);
            let delay = draw.whole(0, jitter) as i64;
            let mean = mean * libm::exp(drift * f64::from(at / DAY));
            let size = match noise {
                0 => f64::from(draw.negative_binomial(mean, 1.0 / (noisy * noisy))),
                1 => draw.log_normal(mean, noisy).round(),
                _ => mean.round(),
            };
            if !skip {
                let start = i64::from(at) + delay - if local { calendar.shift(at) } else { 0 };
                self.spread(start, size.min(LARGEST) as u32, width, draw);
            }
            at += period;
        }
    }

    /// One run of so many calls over the next `width` minutes.
    fn spread(&mut self, start: i64, calls: u32, width: u32, draw: &mut Draw) {
        let run = self.run();
        let mut minutes = vec![0; width as usize];
        if width == 1 {
            minutes[0] = calls;
        } else {
            (0..calls).for_each(|_| minutes[draw.below(u64::from(width)) as usize] += 1);
        }
        for (minute, calls) in (start..).zip(minutes) {
            self.add(minute, calls, run);
        }
    }

    fn clusters(&mut self, calendar: &Calendar, draw: &mut Draw) {
        let per_day = draw.log_between(1.0, 60.0);
        let (median, sigma) = (draw.log_between(2.0, 18.0), draw.between(0.3, 1.3));
        let tail = draw.chance(0.3).then(|| draw.between(1.1, 2.5));
        let span = draw.log_between(1.0, 60.0);
        let (busy, quiet) = (draw.chance(0.7), draw.log_between(0.1, 1.2));
        for day in 0..calendar.days + 1 {
            let share = if busy && calendar.is_quiet(day) { quiet } else { 1.0 };
            let mood = draw.gamma(8.0);
            for _ in 0..draw.poisson(per_day * share * mood) {
                let noon =
                    if busy && draw.chance(0.75) { 840.0 + 190.0 * draw.normal() } else { draw.between(0.0, 1_440.0) };
                let start = calendar.at(day, noon);
                let size = match tail {
                    Some(alpha) => draw.pareto(median * 0.6, alpha, median * 60.0),
                    None => draw.log_normal(median, sigma),
                };
                let size = size.min(LARGEST) as u32;
                let span = (span * draw.gamma(2.0)).min(120.0) as u32 + 1;
                self.spread(start, size, span, draw);
            }
        }
    }

    /// A branching process: each call is followed by others with a mean below one.
    fn cascades(&mut self, draw: &mut Draw) {
        let (rate, children) = (draw.log_between(0.5, 100.0) / f64::from(DAY), draw.between(0.3, 0.9));
        let delay = draw.log_between(0.5, 20.0);
        let mut at = 0.0;
        loop {
            at += draw.exponential() / rate;
            if at >= f64::from(self.end) {
                return;
            }
            let run = self.run();
            let mut open = vec![at];
            let mut born = 0;
            while let Some(time) = open.pop() {
                self.add(time as i64, 1, run);
                for _ in 0..draw.poisson(children) {
                    born += 1;
                    if f64::from(born) < LARGEST {
                        open.push(time + delay * draw.exponential());
                    }
                }
            }
        }
    }

    fn storms(&mut self, draw: &mut Draw) {
        let trickle = draw.log_between(0.001, 0.5);
        for minute in 0..self.end {
            let calls = draw.poisson(trickle);
            self.add(minute.into(), calls, 0);
        }
        let (per_day, size) = (draw.log_between(0.3, 8.0), draw.log_between(3.0, 25.0));
        for _ in 0..draw.poisson(per_day * f64::from(self.end / DAY)) {
            let start = draw.below(self.end.into()) as i64;
            let calls = 1 + draw.log_normal(size, 0.5).min(LARGEST) as u32;
            let width = draw.whole(1, 6) as u32;
            let first = self.pieces.len();
            self.spread(start, calls, width, draw);
            self.pieces[first..].iter_mut().for_each(|piece| piece.errors = piece.calls);
        }
    }

    fn poller(&mut self, draw: &mut Draw) {
        let every: u32 = *draw.pick(&[1, 2, 3, 5, 10, 15, 30]);
        let count = *draw.pick(&[1, 1, 1, 1, 2, 5]);
        let wrong = draw.log_between(0.001, 0.05);
        for minute in (draw.below(u64::from(every)) as u32..self.end).step_by(every as usize) {
            let beats = if draw.chance(wrong) { 2 * draw.below(2) as u32 } else { 1 };
            self.add(minute.into(), beats * count, minute / DAY);
        }
        self.runs = self.end / DAY + 1;
    }

    fn rare(&mut self, calendar: &Calendar, draw: &mut Draw) {
        let per_week = draw.log_between(0.05, 10.0);
        let by_day = draw.chance(0.6);
        for _ in 0..draw.poisson(per_week * f64::from(calendar.days) / 7.0) {
            let day = draw.below(calendar.days.into()) as u32;
            let noon = if by_day { 800.0 + 160.0 * draw.normal() } else { draw.between(0.0, 1_440.0) };
            let calls = 1 + draw.poisson(0.3);
            let run = self.run();
            self.add(calendar.at(day, noon), calls, run);
        }
    }

    fn batches(&mut self, draw: &mut Draw) {
        let (per_day, size, width) =
            (draw.log_between(1.0, 12.0), draw.log_between(20.0, 400.0), draw.log_between(1.0, 25.0) as u32);
        let trickle = draw.log_between(0.001, 0.2);
        for minute in 0..self.end {
            let calls = draw.poisson(trickle);
            self.add(minute.into(), calls, 0);
        }
        for _ in 0..draw.poisson(per_day * f64::from(self.end / DAY)) {
            let start = draw.below(self.end.into()) as i64;
            let calls = draw.log_normal(size, 0.06) as u32;
            self.spread(start, calls, width, draw);
        }
    }

    fn weekly(&mut self, draw: &mut Draw) {
        let first = draw.below(u64::from(7 * DAY)) as u32;
        let (size, width) = (draw.log_between(15.0, 500.0), draw.log_between(5.0, 60.0) as u32);
        let (jitter, sigma) = (draw.below(11), draw.between(0.02, 0.3));
        for at in (first..self.end).step_by(7 * DAY as usize) {
            let delay = draw.whole(0, jitter) as i64;
            let calls = draw.log_normal(size, sigma) as u32;
            self.spread(i64::from(at) + delay, calls, width, draw);
        }
        if draw.chance(0.3) {
            for _ in 0..draw.poisson(f64::from(self.end / DAY) * 0.3) {
                let minute = draw.below(self.end.into()) as i64;
                let run = self.run();
                self.add(minute, 1, run);
            }
        }
    }

    fn monthly(&mut self, calendar: &Calendar, draw: &mut Draw) {
        let (hour, width) = (draw.below(DAY.into()) as u32, draw.log_between(2.0, 90.0) as u32);
        let size = draw.log_between(20.0, 500.0) as u32;
        for day in (calendar.month_start..calendar.days).step_by(30) {
            let start = day * DAY + hour;
            self.spread(start.into(), size, width, draw);
            // No trail of four weeks has shown it before.
            self.changes.push(Change { kind: "monthly", start, end: (start + width).min(self.end) });
        }
    }
}
