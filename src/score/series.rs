//! A table to verdicts: tells series apart, puts their rows in order, finds their step, and folds each through a
//! [`Scorer`]. Verdicts come back in the order of the table. Shares series out among threads; order of rows and number
//! of threads change nothing.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use thiserror::Error;

use super::incident::{FlaggedRow, Incident, incidents};
use super::table::{Reading, Table};
use super::{STEP_S_MAX, STEP_S_MIN, Scorer, Verdict};

/// Rows that `Missing::Zero` may add to one series: sixteen years of minutes.
const ZEROS_MAX: i64 = 8_388_608;

/// What rows that are not in the table mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Nothing is known of them.
    Unknown,
    /// Nothing happened in them, from the first row of a series to the last of the table.
    Zero,
}

#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Rows with this score and more start an incident.
    pub threshold: f64,
    pub missing: Missing,
    pub threads: usize,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Scored {
    /// One for each row of the table.
    pub verdicts: Vec<Verdict>,
    /// By start, then series.
    pub incidents: Vec<Incident>,
    /// What the reader of the results should know of the input.
    pub notes: Vec<String>,
}

/// Why a series cannot be scored.
#[derive(Debug, Error)]
pub enum SeriesError {
    #[error("{series}: rows are {step_s} s apart; sum them up to one a minute or coarser first")]
    TooFine { series: String, step_s: i64 },
    #[error("{series}: rows are {} days apart; a day is the coarsest step that can be scored", step_s / 86_400)]
    TooCoarse { series: String, step_s: i64 },
    #[error("{series}: filling the gaps with zeros would add {rows} rows; cut the series or leave gaps unknown")]
    TooLong { series: String, rows: i64 },
}

/// What one series gave: places in the table with their verdicts, incidents, and counts for the notes.
#[derive(Default)]
struct Part {
    verdicts: Vec<(usize, Verdict)>,
    incidents: Vec<Incident>,
    irregular: usize,
    doubled: usize,
    gaps: usize,
}

impl Part {
    /// Adds another series, and puts its verdicts where they belong.
    fn take(&mut self, other: Part, verdicts: &mut [Verdict]) {
        for (place, verdict) in other.verdicts {
            verdicts[place] = verdict;
        }
        self.incidents.extend(other.incidents);
        self.irregular += other.irregular;
        self.doubled += other.doubled;
        self.gaps += other.gaps;
    }
}

/// Scores all series of a table.
pub fn score(table: &Table, options: &Options) -> Result<Scored, SeriesError> {
    let mut places: Vec<Vec<usize>> = vec![Vec::new(); table.series.len()];
    let mut disorder = 0usize;
    for (place, reading) in table.rows.iter().enumerate() {
        let rows = &mut places[reading.series as usize];
        disorder += usize::from(rows.last().is_some_and(|&last| table.rows[last].time_s > reading.time_s));
        rows.push(place);
    }
    let last_s = table.rows.iter().map(|reading| reading.time_s).max().unwrap_or(0);
    let grid_s = match options.missing {
        Missing::Unknown => None,
        Missing::Zero => Some(grid(table, &places)),
    };
    let silent = Verdict { expected: None, band: None, score: 0.0, flag: false, fall: false };
    let all = Mutex::new((vec![silent; table.rows.len()], Part::default()));
    let next = AtomicUsize::new(0);
    // The place of a series that cannot be scored, and why.
    let work = || loop {
        let place = next.fetch_add(1, Ordering::Relaxed);
        let rows = places.get(place)?;
        match fold(table, rows, grid_s, last_s, options) {
            Ok(part) => {
                let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                let (verdicts, sum) = &mut *all;
                sum.take(part, verdicts);
            }
            Err(error) => return Some((place, error)),
        }
    };
    let threads = options.threads.clamp(1, places.len().max(1));
    let failed = if threads == 1 {
        work()
    } else {
        std::thread::scope(|scope| {
            let handles: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            let joined = handles.into_iter().map(|handle| handle.join().unwrap_or_else(|panic| resume_unwind(panic)));
            joined.collect::<Vec<_>>().into_iter().flatten().min_by_key(|(place, _)| *place)
        })
    };
    if let Some((_, error)) = failed {
        return Err(error);
    }
    let (verdicts, Part { mut incidents, irregular, doubled, gaps, .. }) =
        all.into_inner().unwrap_or_else(PoisonError::into_inner);
    incidents.sort_by_key(|one| (one.start_s, &table.series[one.series as usize]));
    let mut scored = Scored { verdicts, incidents, notes: Vec::new() };
    let missing = table.rows.iter().filter(|reading| !reading.value.is_finite()).count();
    let negative = table.rows.iter().filter(|reading| reading.value < 0.0).count();
    let gaps_mean = if grid_s.is_some() { "filled with zeros" } else { "taken as unknown, not as zero" };
    for (count, text) in [
        (table.without_zone as usize, "times without a zone: taken as UTC".to_owned()),
        (disorder, "rows earlier than the row before: scored in order of time".to_owned()),
        (doubled, "rows with the time of another: each scored on its own".to_owned()),
        (irregular, "rows off their series' step: scored as they are".to_owned()),
        (gaps, format!("gaps between rows: {gaps_mean}")),
        (missing, "rows without a value: not scored".to_owned()),
        (negative, "negative values: scored as they are".to_owned()),
    ] {
        if count > 0 {
            scored.notes.push(format!("{count} {text}"));
        }
    }
    Ok(scored)
}

/// The greatest common divisor of all distances within series.
fn grid(table: &Table, places: &[Vec<usize>]) -> i64 {
    fn gcd(a: i64, b: i64) -> i64 {
        if b == 0 { a } else { gcd(b, a % b) }
    }
    let mut step = 0;
    for rows in places {
        if let Some((&first, others)) = rows.split_first() {
            let start = table.rows[first].time_s;
            step = others.iter().fold(step, |step, &place| gcd(step, (table.rows[place].time_s - start).abs()));
        }
    }
    step
}

fn fold(
    table: &Table,
    places: &[usize],
    grid_s: Option<i64>,
    last_s: i64,
    options: &Options,
) -> Result<Part, SeriesError> {
    let mut places = places.to_vec();
    let order = |a: &usize, b: &usize| {
        let (a, b) = (&table.rows[*a], &table.rows[*b]);
        a.time_s.cmp(&b.time_s).then(a.value.total_cmp(&b.value))
    };
    if !places.is_sorted_by(|a, b| order(a, b).is_le()) {
        places.sort_by(order);
    }
    let mut part = Part::default();
    let Some(&first) = places.first() else { return Ok(part) };
    let name = || {
        let keys = &table.series[table.rows[first].series as usize];
        if keys.is_empty() { "the series".to_owned() } else { format!("series {}", keys.join(" ")) }
    };
    let mut apart: Vec<i64> =
        places.windows(2).map(|pair| table.rows[pair[1]].time_s - table.rows[pair[0]].time_s).collect();
    part.doubled = apart.iter().filter(|&&apart| apart == 0).count();
    apart.retain(|&apart| apart > 0);
    let step_s = match grid_s {
        Some(step) => step,
        None if apart.is_empty() => 0,
        None => {
            let middle = apart.len() / 2;
            *apart.select_nth_unstable(middle).1
        }
    };
    // One row, or many of one time, have no step, and nothing to be compared with either.
    if step_s > 0 {
        if step_s < STEP_S_MIN {
            return Err(SeriesError::TooFine { series: name(), step_s });
        }
        if step_s > STEP_S_MAX {
            return Err(SeriesError::TooCoarse { series: name(), step_s });
        }
        part.irregular = apart.iter().filter(|&&apart| apart % step_s != 0).count();
        part.gaps = apart.iter().filter(|&&apart| apart >= 2 * step_s).count();
    }
    let fill_s = grid_s.filter(|&step| step > 0);
    if let Some(step) = fill_s {
        let rows = (last_s - table.rows[first].time_s) / step;
        if rows > ZEROS_MAX {
            return Err(SeriesError::TooLong { series: name(), rows });
        }
    }
    let mut scorer = Scorer::new(step_s, options.threshold);
    let mut flagged: Vec<FlaggedRow> = Vec::new();
    let mut row = 0;
    let mut verdict_on = |reading: Reading| {
        let verdict = scorer.row(reading.time_s, Some(reading.value));
        if verdict.flag {
            flagged.push(FlaggedRow { row, reading, verdict });
        }
        row += 1;
        verdict
    };
    part.verdicts.reserve_exact(places.len());
    // The first time that is not there yet.
    let mut next_s = table.rows[first].time_s;
    for &place in &places {
        let reading = table.rows[place];
        if let Some(step) = fill_s {
            while next_s < reading.time_s {
                verdict_on(Reading { time_s: next_s, value: 0.0, ..reading });
                next_s += step;
            }
            next_s = reading.time_s + step;
        }
        part.verdicts.push((place, verdict_on(reading)));
    }
    if let Some(step) = fill_s {
        while next_s <= last_s {
            verdict_on(Reading { series: table.rows[first].series, time_s: next_s, value: 0.0 });
            next_s += step;
        }
    }
    part.incidents = incidents(&flagged);
    Ok(part)
}
