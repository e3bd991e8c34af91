//! Counts over time in rows of characters: bars in eighths of a cell, the expected range shaded behind them, the
//! incident underlined, a time axis. Knows counts and bounds; nothing of records.

use super::scale::{columns, time_ticks};
use super::{Band, format};
use crate::event::Minute;

const ROWS: usize = 7;
/// Time labels stand at least this many columns apart.
const LABEL_COLUMNS: usize = 12;

/// What a cell shows; colour follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    Plain,
    /// Counts of the incident.
    Burst,
    /// The expected range.
    Expected,
}

/// A row of equal ink after equal ink.
pub type Line = Vec<(Ink, String)>;

/// What to draw.
pub struct Plot<'a> {
    pub counts: &'a [(Minute, u64)],
    pub band: &'a [Band],
    pub from: Minute,
    pub to: Minute,
    /// Start, and the first minute after the end.
    pub burst: (Minute, Minute),
}

fn push(line: &mut Line, ink: Ink, text: &str) {
    match line.last_mut() {
        Some((last, known)) if *last == ink => known.push_str(text),
        _ => line.push((ink, text.to_owned())),
    }
}

/// Rows from top to bottom, none wider than `width`. Empty if there is no room, or no time.
pub fn plot(plot: &Plot, width: usize, unicode: bool) -> Vec<Line> {
    const LABEL: usize = 7;
    let (from, to) = (plot.from, plot.to);
    let bars = columns(plot.counts, from, to, width.saturating_sub(LABEL + 1));
    if bars.len() < 2 {
        return Vec::new();
    }
    let across = bars.len();
    let minute_of = |column: usize| Minute(from.0 + (to.0 - from.0) * column as i64 / across as i64);
    let upper: Vec<f64> = (0..across)
        .map(|column| {
            let after = plot.band.partition_point(|band| band.minute <= minute_of(column));
            after.checked_sub(1).map_or(0.0, |place| plot.band[place].upper)
        })
        .collect();
    let lower: Vec<f64> = (0..across)
        .map(|column| {
            let after = plot.band.partition_point(|band| band.minute <= minute_of(column));
            after.checked_sub(1).map_or(0.0, |place| plot.band[place].lower)
        })
        .collect();
    let highest = bars.iter().map(|bar| *bar as f64).chain(upper.iter().copied()).fold(1.0, f64::max);
    let top = highest;
    let in_burst = |column: usize| minute_of(column + 1) > plot.burst.0 && minute_of(column) < plot.burst.1;
    let mut rows = Vec::new();
    for row in (0..ROWS).rev() {
        let (floor, step) = (top * row as f64 / ROWS as f64, top / ROWS as f64);
        let label = match row {
            r if r + 1 == ROWS => format::short(top),
            r if r == ROWS / 2 => format::rate(top / 2.0),
            _ => String::new(),
        };
        let axis = if unicode { if label.is_empty() { "│" } else { "┤" } } else { "|" };
        let mut line = vec![(Ink::Plain, format!("{label:>LABEL$}{axis}"))];
        for column in 0..across {
            let filled = (bars[column] as f64 - floor) / step;
            let ink = if in_burst(column) { Ink::Burst } else { Ink::Plain };
            // A count is never invisible, nor is an expected range.
            let seen = row == 0 && bars[column] > 0;
            let expected = upper[column] > floor && lower[column] < floor + step;
            match bar(filled, seen, unicode) {
                Some(cell) => push(&mut line, ink, cell),
                None if expected => push(&mut line, Ink::Expected, if unicode { "░" } else { "." }),
                None => push(&mut line, Ink::Plain, " "),
            }
        }
        rows.push(line);
    }
    rows.extend(axis(from, to, across, in_burst, LABEL, unicode));
    rows
}

/// How much of a cell is full, in eighths.
fn bar(filled: f64, seen: bool, unicode: bool) -> Option<&'static str> {
    const EIGHTHS: [&str; 8] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];
    let eighths = (filled * 8.0).round().clamp(f64::from(u8::from(seen)), 8.0) as usize;
    match (eighths, unicode) {
        (0, _) => None,
        (n, true) => Some(EIGHTHS[n - 1]),
        (n, false) if n >= 4 => Some("#"),
        (_, false) => seen.then_some(":"),
    }
}

/// The axis with its ticks, the incident thick, and the times below.
fn axis(
    from: Minute,
    to: Minute,
    across: usize,
    in_burst: impl Fn(usize) -> bool,
    margin: usize,
    unicode: bool,
) -> [Line; 2] {
    let ticks = time_ticks(from, to, (across / LABEL_COLUMNS).max(2));
    let column_of = |minute: Minute| ((minute.0 - from.0) * across as i64 / (to.0 - from.0).max(1)) as usize;
    let places: Vec<usize> = ticks.iter().map(|tick| column_of(tick.minute)).collect();
    let zero = format!("{:>margin$}{}", 0, if unicode { "┼" } else { "+" });
    let mut line = vec![(Ink::Plain, zero)];
    for column in 0..across {
        let cell = match (in_burst(column), places.contains(&column), unicode) {
            (true, false, true) => "━",
            (true, true, true) => "┯",
            (false, true, true) => "┬",
            (false, false, true) => "─",
            (true, _, false) => "=",
            (false, true, false) => "+",
            (false, false, false) => "-",
        };
        push(&mut line, if in_burst(column) { Ink::Burst } else { Ink::Plain }, cell);
    }
    let mut words = String::new();
    for (tick, place) in ticks.iter().zip(places) {
        let label =
            if tick.dated || tick.minute.of_day() == 0 { format::short_day(tick.minute) } else { tick.label.clone() };
        let at = (margin + 1 + place).saturating_sub(label.chars().count() / 2);
        let free = words.chars().count();
        if (at > free || free == 0) && at + label.chars().count() <= margin + 1 + across {
            words += &format!("{:space$}{label}", "", space = at - free);
        }
    }
    [line, vec![(Ink::Plain, words)]]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(lines: &[Line]) -> Vec<String> {
        lines.iter().map(|line| line.iter().map(|(_, text)| text.as_str()).collect()).collect()
    }

    const NOON: i64 = 20_514 * 1_440 + 720;

    fn burst(counts: &[(Minute, u64)]) -> Plot<'_> {
        Plot {
            counts,
            band: &[],
            from: Minute(NOON),
            to: Minute(NOON + 120),
            burst: (Minute(NOON + 60), Minute(NOON + 66)),
        }
    }

    #[test]
    fn no_spike_is_lost_and_nothing_is_wider_than_asked() {
        let counts = [(Minute(NOON + 5), 1), (Minute(NOON + 61), 700)];
        for width in [20, 40, 79, 200] {
            for unicode in [true, false] {
                let rows = text(&plot(&burst(&counts), width, unicode));
                assert_eq!(rows.len(), ROWS + 2);
                assert!(rows.iter().all(|row| row.chars().count() <= width), "{rows:#?}");
                let full = if unicode { '█' } else { '#' };
                assert!(
                    rows[1].contains(full) && rows[ROWS - 1].contains(if unicode { '▁' } else { ':' }),
                    "{rows:#?}"
                );
                assert!(unicode || rows.iter().all(|row| row.is_ascii()), "{rows:#?}");
            }
        }
    }

    #[test]
    fn too_little_room_draws_nothing() {
        let none: [(Minute, u64); 0] = [];
        assert!(plot(&burst(&none), 8, true).is_empty());
        let nothing = Plot { to: Minute(NOON), ..burst(&none) };
        assert!(plot(&nothing, 80, true).is_empty());
        assert_eq!(plot(&burst(&none), 80, true).len(), ROWS + 2);
    }
}
