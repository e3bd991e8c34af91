//! From data to positions: columns of a long series, whole ticks of an axis, whole times of a time axis, the band
//! between its entries. Knows nothing of drawing.

use super::{Band, format};
use crate::event::Minute;

/// The largest count of each of at most `columns_max` equal slices of `[from, to)`, one slice per minute if there is
/// room. Every count in range lies in one slice, so no spike is ever lost. Empty for an empty span.
pub fn columns(counts: &[(Minute, u64)], from: Minute, to: Minute, columns_max: usize) -> Vec<u64> {
    let minutes = to.0.saturating_sub(from.0).max(0);
    let len = minutes.min(i64::try_from(columns_max).unwrap_or(i64::MAX));
    let mut columns = vec![0; usize::try_from(len).unwrap_or(0)];
    for &(minute, count) in counts.iter().filter(|(minute, _)| (from..to).contains(minute)) {
        let index = i128::from(minute.0 - from.0) * i128::from(len) / i128::from(minutes);
        if let Some(slot) = usize::try_from(index).ok().and_then(|index| columns.get_mut(index)) {
            *slot = count.max(*slot);
        }
    }
    columns
}

/// Holes longer than this many usual steps of a band are left open: there the forecast said nothing.
const HOLE_STEPS: i64 = 3;

/// The band's runs without holes, each one closed by a copy of its last entry one step later.
pub fn runs(band: &[Band]) -> Vec<Vec<Band>> {
    let finite = |b: &&Band| b.expected.is_finite() && b.lower.is_finite() && b.upper.is_finite();
    let mut band: Vec<Band> = band.iter().filter(finite).copied().collect();
    band.sort_by_key(|entry| entry.minute);
    band.dedup_by_key(|entry| entry.minute);
    let mut steps: Vec<i64> = band.windows(2).map(|pair| pair[1].minute.0 - pair[0].minute.0).collect();
    steps.sort_unstable();
    let step = steps.get(steps.len() / 2).copied().unwrap_or(1);
    let parts = band.chunk_by(|a, b| b.minute.0 - a.minute.0 <= step.saturating_mul(HOLE_STEPS));
    parts
        .filter_map(|part| {
            let last = part.last()?;
            let end = Band { minute: Minute(last.minute.0.saturating_add(step)), ..*last };
            Some(part.iter().copied().chain([end]).collect())
        })
        .collect()
}

/// The part of a run inside `[from, to]`, its ends interpolated, thinned to at most about `points_max` entries: each
/// keeps the lowest lower and the highest upper bound of those it stands for.
pub fn clip(run: &[Band], from: Minute, to: Minute, points_max: usize) -> Vec<Band> {
    let at = |minute: Minute| {
        let next = run.partition_point(|entry| entry.minute < minute);
        let (a, b) = (run.get(next.checked_sub(1)?)?, run.get(next)?);
        let part = (minute.0 - a.minute.0) as f64 / (b.minute.0 - a.minute.0) as f64;
        let mix = |a: f64, b: f64| a + (b - a) * part;
        Some(Band {
            minute,
            expected: mix(a.expected, b.expected),
            lower: mix(a.lower, b.lower),
            upper: mix(a.upper, b.upper),
        })
    };
    let inside: Vec<Band> = run.iter().filter(|entry| entry.minute >= from && entry.minute <= to).copied().collect();
    let thinned = inside.chunks(inside.len().div_ceil(points_max.max(1)).max(1)).filter_map(|chunk| {
        let fold = |pick: fn(&Band) -> f64, best: fn(f64, f64) -> f64| chunk.iter().map(pick).reduce(best);
        Some(Band {
            minute: chunk.first()?.minute,
            expected: chunk.iter().map(|entry| entry.expected).sum::<f64>() / chunk.len() as f64,
            lower: fold(|entry| entry.lower, f64::min)?,
            upper: fold(|entry| entry.upper, f64::max)?,
        })
    });
    let mut points: Vec<Band> = at(from).into_iter().chain(thinned).chain(at(to)).collect();
    // A thinned chunk at the right edge would end the band early.
    if let (Some(last), Some(end)) = (points.last().copied(), inside.last()) {
        points.push(Band { minute: end.minute.max(last.minute), ..last });
    }
    points.dedup_by_key(|entry| entry.minute);
    points
}

/// Whole values from 0 up to at most `max`, about `ticks` of them, and the top of an axis with a little air.
pub fn count_ticks(max: f64, ticks: usize) -> (Vec<f64>, f64) {
    /// Room above the highest value, for its label.
    const AIR: f64 = 1.14;
    let max = if max.is_finite() { max.max(1.0) } else { 1.0 };
    let raw = max / ticks.max(1) as f64;
    let power = 10f64.powf(raw.log10().floor());
    // 2.5 only where it is a whole number.
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|digit| digit * power);
    let step = steps.filter(|step| step.fract() == 0.0).find(|step| *step >= raw).unwrap_or(raw.ceil()).max(1.0);
    let top = max * AIR;
    let values = (0..).map(|index| f64::from(index) * step).take_while(|value| *value <= top).take(100).collect();
    (values, top)
}

/// Time steps that people read as whole, in minutes; longer ones double the last.
const TIME_STEPS: [i64; 14] = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1_440, 2_880, 10_080];

/// A labelled instant.
pub struct TimeTick {
    pub minute: Minute,
    pub label: String,
    /// The label is a date already.
    pub dated: bool,
}

/// Whole instants of `[from, to]`, at most `ticks_max` of them. Clock times, or dates where a step is a day or more.
pub fn time_ticks(from: Minute, to: Minute, ticks_max: usize) -> Vec<TimeTick> {
    let span = to.0.saturating_sub(from.0).max(1);
    let fits = |step: i64| span / step < i64::try_from(ticks_max.max(1)).unwrap_or(i64::MAX);
    let longer = std::iter::successors(Some(20_160i64), |step| step.checked_mul(2));
    let step = TIME_STEPS.into_iter().chain(longer).find(|step| fits(*step)).unwrap_or(span);
    let dated = step >= 1_440;
    let first = from.0.div_euclid(step) * step;
    let instants = (0..=ticks_max as i64 + 1).map(|index| Minute(first.saturating_add(index.saturating_mul(step))));
    instants
        .filter(|minute| (from..=to).contains(minute))
        .map(|minute| TimeTick {
            minute,
            label: if dated { format::day(minute) } else { format::clock(minute) },
            dated,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn band(minute: i64, upper: f64) -> Band {
        Band { minute: Minute(minute), expected: upper / 2.0, lower: 0.0, upper }
    }

    #[test]
    fn count_ticks_are_whole_and_few() {
        for max in [0.0, 0.3, 1.0, 3.0, 9.0, 23.0, 87.0, 154.0, 4_200.0, 1e6, 1.8e19, f64::INFINITY, f64::NAN] {
            let (ticks, top) = count_ticks(max, 4);
            assert!(ticks.iter().all(|tick| tick.fract() == 0.0 && *tick <= top), "{max}: {ticks:?}");
            assert!((2..=6).contains(&ticks.len()), "{max}: {ticks:?}");
        }
        assert_eq!(count_ticks(87.0, 4).0, [0.0, 25.0, 50.0, 75.0]);
        assert_eq!(count_ticks(9.0, 4).0, [0.0, 5.0, 10.0]);
    }

    #[test]
    fn time_ticks_are_whole() {
        let ticks = time_ticks(Minute(847), Minute(942), 10);
        let labels: Vec<&str> = ticks.iter().map(|tick| tick.label.as_str()).collect();
        assert_eq!(labels, ["14:10", "14:20", "14:30", "14:40", "14:50", "15:00", "15:10", "15:20", "15:30", "15:40"]);
        assert!(time_ticks(Minute(0), Minute(10 * 366 * 1_440), 10).len() <= 11);
    }

    #[test]
    fn a_hole_in_the_band_stays_open() {
        let runs = runs(&[band(0, 4.0), band(60, 6.0), band(120, 6.0), band(600, 8.0), band(660, f64::NAN)]);
        assert_eq!(runs.iter().map(Vec::len).collect::<Vec<_>>(), [4, 2]);
        assert_eq!(runs[0][3], band(180, 6.0));
    }

    #[test]
    fn a_clipped_band_reaches_both_edges_and_keeps_its_extremes() {
        let run: Vec<Band> = (0..1_000).map(|minute| band(minute, if minute == 501 { 90.0 } else { 10.0 })).collect();
        let clipped = clip(&run, Minute(100), Minute(900), 40);
        assert_eq!(clipped.first().map(|entry| entry.minute), Some(Minute(100)));
        assert_eq!(clipped.last().map(|entry| entry.minute), Some(Minute(900)));
        assert_eq!(clipped.iter().map(|entry| entry.upper).fold(0.0, f64::max), 90.0);
        assert!(clipped.len() <= 44);
        let coarse = clip(&[band(0, 10.0), band(100, 20.0)], Minute(25), Minute(50), 40);
        assert_eq!(coarse.iter().map(|entry| entry.upper).collect::<Vec<_>>(), [12.5, 15.0]);
    }
}
