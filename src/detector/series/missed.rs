//! A job by the clock that did not come. Looked for only where asked; silence in the whole Region is a gap in the trail
//! and says nothing, and a job that was given up is told of twice.

use super::incident::attribute;
use super::{Context, Series};
use crate::detector::Key;
use crate::event::Minute;
use crate::insight::{Direction, Evidence, Insight, Rate, Recurrence, State, baseline_from};
use crate::judge::{Rhythm, Run, find_rhythm};

/// A job must have come so often, and in nine of ten cases, before its absence is news: five days of a daily one, but
/// twenty times within days, where more rhythms are mere habits. Jobs of less than an hour are left to the drops.
const HITS_MIN: u32 = 5;
const HITS_WITHIN_DAYS_MIN: u32 = 20;
const PERIOD_MIN: u32 = 60;

/// Runs looked back at for the job's last one: others may have come since.
const RUNS_LOOKED_AT: usize = 4;

/// Misses in a row that are told; then the job has been given up.
const MISSES_TOLD: u32 = 2;

/// A run is missed when it is late by twice its jitter and at least this; and by an hour more where clocks may have
/// been changed.
const LATE_MINUTES: u32 = 30;
const CLOCK_SHIFT_MINUTES: u32 = 60;
const DAY_MINUTES: u32 = 1_440;
const HOUR_MINUTES: u32 = 60;

fn is_reliable(rhythm: &Rhythm) -> bool {
    let hits_min = if rhythm.period_minutes < DAY_MINUTES { HITS_WITHIN_DAYS_MIN } else { HITS_MIN };
    rhythm.period_minutes >= PERIOD_MIN && rhythm.hits >= hits_min && rhythm.hits * 10 >= rhythm.chances * 9
}

impl Series {
    /// Looks at the hours before `now` that were not looked at.
    pub(super) fn look_for_missed(&mut self, context: &Context, key: Key, now: u32, out: &mut Vec<Insight>) {
        let Some(active) = context.active_hours else { return };
        let warm = (context.history_start + context.options.warmup_minutes).div_ceil(60);
        let first = self.looked_hour().max(warm).max(self.last / 60);
        if first >= now / 60 || self.last == 0 {
            return;
        }
        // Drops, where they are asked for too, look at the same hours next and mark them.
        if !context.options.drops {
            self.silence.get_or_insert_default().hour = now / 60;
        }
        let runs = self.judge.runs();
        if runs.len() <= HITS_MIN as usize {
            return;
        }
        let known = runs.iter().rev().take(RUNS_LOOKED_AT).find_map(|run| {
            let rhythm = find_rhythm(&runs, run.start).filter(is_reliable)?;
            Some((*run, rhythm))
        });
        let Some((last, rhythm)) = known else { return };
        let clocks = if rhythm.period_minutes % DAY_MINUTES == 0 { CLOCK_SHIFT_MINUTES } else { 0 };
        let late = LATE_MINUTES.max(2 * rhythm.jitter_minutes) + clocks;
        let mut due = last.start;
        for _ in 0..MISSES_TOLD {
            due = rhythm.next_after(due);
            let decided_hour = (due + late) / HOUR_MINUTES;
            // All hours in which it could have come must have brought something from elsewhere, and be no holiday's.
            let seen = |hour: u32| active.contains(&hour) && !context.options.is_holiday(hour);
            let asked = (first..now / 60).contains(&decided_hour) && (due / 60..=decided_hour).all(seen);
            let came = |run: &Run| run.start <= due + late && run.start + run.minutes + late > due && *run != last;
            if asked && !runs.iter().any(came) {
                for state in [State::Start, State::End] {
                    out.push(self.missed(context, key, rhythm, due, decided_hour, state));
                }
            }
        }
    }

    fn missed(&self, context: &Context, key: Key, rhythm: Rhythm, due: u32, hour: u32, state: State) -> Insight {
        let start = Minute(i64::from(due));
        let minutes = i64::from(rhythm.minutes.max(1));
        let (baseline_count, baseline, exact) = self.baseline_before(due);
        let usual = f64::from(rhythm.count) / f64::from(rhythm.minutes.clamp(1, HOUR_MINUTES));
        // The rule of succession: misses so far and one, of chances so far and two.
        let odds = f64::from(rhythm.chances - rhythm.hits + 1) / f64::from(rhythm.chances + 2);
        Insight {
            series: context.names.series_key(key),
            state,
            direction: Direction::Down,
            start,
            end: (state == State::End).then_some(Minute(start.0 + minutes)),
            decided: Minute((i64::from(hour) + 1) * i64::from(HOUR_MINUTES)),
            insight: Rate { count: 0, minutes },
            baseline: Rate { count: baseline_count, minutes: start.0 - baseline_from(start).0 },
            attributed: attribute(context.callers, key, &[], &baseline),
            attribution_exact: exact,
            expected: (usual, usual, usual),
            ln_odds: odds.ln(),
            evidence: Evidence { recurrence: Some(Recurrence { rhythm, count: 0 }), ..Evidence::default() },
            // As with drops: the odds decide, and here any are worth telling.
            score: -odds.ln(),
            threshold: 0.0,
            model: context.model_name.clone(),
            incident: None,
        }
    }
}
