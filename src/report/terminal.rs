//! One incident for a terminal: sentence, picture, numbers, callers, and whether the stored rates agree. Knows records
//! and counts; not where they come from nor where text goes.

use super::plot::{Ink, Plot, plot};
use super::publish::time_of;
use super::recount::{Check, title};
use super::section::rows;
use super::text::clean;
use super::{Band, format};
use crate::event::Minute;
use crate::insight::trail::{Highwater, TrailRecord};
use crate::insight::words;
use crate::window::Attribute;

/// What the terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// In characters.
    pub width: usize,
    /// Else ASCII alone.
    pub unicode: bool,
    pub colour: bool,
}

/// What is told.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    pub start: &'a TrailRecord,
    pub end: Option<&'a TrailRecord>,
    /// Of the series, ascending.
    pub counts: &'a [(Minute, u64)],
    pub band: &'a [Band],
    /// What the picture shows.
    pub from: Minute,
    pub to: Minute,
    pub checks: &'a [Check],
    /// Whether baseline and forecast could be checked.
    pub complete: bool,
}

const INDENT: &str = "  ";
/// Values of one attribute that are listed.
const VALUES_MAX: usize = 5;
/// The names' column takes at most this many characters.
const NAME_MAX: usize = 56;

/// ECMA-48 colours.
#[derive(Clone, Copy)]
enum Colour {
    Bold,
    Dim,
    Red,
    Yellow,
    Cyan,
    Green,
}

impl Style {
    fn paint(self, colour: Colour, text: &str) -> String {
        let code = match colour {
            Colour::Bold => 1,
            Colour::Dim => 2,
            Colour::Red => 31,
            Colour::Green => 32,
            Colour::Yellow => 33,
            Colour::Cyan => 36,
        };
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// Words for a terminal that knows no others.
    fn plain(self, text: &str) -> String {
        let mut text = clean(text);
        if self.unicode {
            return text;
        }
        // An exponent must not become part of its base.
        const RAISED: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
        if let Some(first) = text.find(RAISED) {
            text.insert(first, '^');
        }
        for (digit, raised) in ('0'..='9').zip(RAISED) {
            text = text.replace(raised, &digit.to_string());
        }
        text.replace('–', "-")
            .replace('×', "x")
            .replace('·', "-")
            .replace('…', "...")
            .replace(|c: char| !c.is_ascii(), "?")
    }

    /// At most so many characters, the middle left out.
    fn fit(self, text: &str, width: usize) -> String {
        let text = self.plain(text);
        let count = text.chars().count();
        if count <= width {
            return text;
        }
        let dots = if self.unicode { "…" } else { "..." };
        let keep = width.saturating_sub(dots.chars().count());
        let head: String = text.chars().take(keep.div_ceil(2)).collect();
        let tail: String = text.chars().skip(count - keep / 2).collect();
        head + dots + &tail
    }
}

/// Words in lines of at most `width` characters, each after `indent`.
fn wrap(text: &str, indent: &str, width: usize) -> String {
    let mut lines = String::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && indent.chars().count() + line.chars().count() + 1 + word.chars().count() > width {
            lines += &format!("{indent}{line}\n");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    lines + &format!("{indent}{line}\n")
}

/// The whole text.
pub fn tell(told: &Told, style: Style) -> String {
    let latest = told.end.unwrap_or(told.start);
    let mut text = head(told, latest, style);
    if let Some(extra) = &latest.highwater {
        text += &wrap(&style.plain(&extra.reason), "", style.width);
        text.push('\n');
    }
    text += &picture(told, latest, style);
    text += &numbers(told, latest, style);
    text += &callers(latest, style);
    text + &checked(told, style)
}

fn head(told: &Told, latest: &TrailRecord, style: Style) -> String {
    let severity = latest.highwater.as_ref().map_or("unrated", |extra| extra.severity.as_str());
    let colour = match severity {
        "critical" | "high" => Colour::Red,
        "medium" => Colour::Yellow,
        _ => Colour::Cyan,
    };
    let title = style.fit(&title(latest), style.width.saturating_sub(severity.len() + 2).max(20));
    let details = &told.start.insight_details;
    let from = time_of(told.start);
    let when = match told.end.map(time_of) {
        Some(to) if to.day() == from.day() => format!("{} – {} UTC", format::moment(from), format::clock(to)),
        Some(to) => format!("{} – {} UTC", format::moment(from), format::moment(to)),
        None => format!("since {} UTC, still open", format::moment(from)),
    };
    let place = format!("{when} · {} · account {}", details.event_source, told.start.recipient_account_id);
    format!(
        "{}  {}\n{}{}\n",
        style.paint(Colour::Bold, &title),
        style.paint(colour, severity),
        wrap(&style.plain(&place), "", style.width),
        style.paint(Colour::Dim, &format!("{}\n", style.plain(&told.start.shared_event_id))),
    )
}

fn picture(told: &Told, latest: &TrailRecord, style: Style) -> String {
    let from = time_of(told.start);
    let burst = (from, told.end.map_or(told.to, time_of));
    let drawing = Plot { counts: told.counts, band: told.band, from: told.from, to: told.to, burst };
    let lines = plot(&drawing, style.width.saturating_sub(INDENT.len()), style.unicode);
    if lines.is_empty() {
        return String::new();
    }
    let unit = if latest.insight_details.error_code.is_some() { "errors" } else { "calls" };
    let (shade, thick) = if style.unicode { ("░", "━") } else { (".", "=") };
    let mut text = format!("{INDENT}{unit} a minute   {shade} expected range   {thick} the incident\n");
    for line in lines {
        text += INDENT;
        for (ink, part) in line {
            text += &match ink {
                Ink::Plain => part,
                Ink::Burst => style.paint(Colour::Red, &part),
                Ink::Expected => style.paint(Colour::Cyan, &part),
            };
        }
        text = format!("{}\n", text.trim_end());
    }
    text + "\n"
}

/// Label, value, note; the columns as wide as their widest.
fn table(rows: &[(String, String, String)], style: Style) -> String {
    let width = |cells: fn(&(String, String, String)) -> &String| {
        rows.iter().map(|row| cells(row).chars().count()).max().unwrap_or(0)
    };
    let (first, second) = (width(|row| &row.0), width(|row| &row.1));
    let mut text = String::new();
    for (label, value, note) in rows {
        let padding = " ".repeat(first - label.chars().count());
        let space = " ".repeat(second - value.chars().count());
        let line = format!(
            "{INDENT}{}{padding}  {value}{space}  {}",
            style.paint(Colour::Dim, label),
            style.paint(Colour::Dim, note)
        );
        text += line.trim_end();
        text.push('\n');
    }
    text
}

fn numbers(told: &Told, latest: &TrailRecord, style: Style) -> String {
    let statistics = &latest.insight_details.insight_context.statistics;
    let unit = if latest.insight_details.error_code.is_some() { "errors" } else { "calls" };
    let mut rows: Vec<(String, String, String)> = Vec::new();
    let mut row = |label: &str, value: String, note: String| {
        rows.push((label.to_owned(), style.plain(&value), style.plain(&note)));
    };
    let average = words::per_minute(statistics.insight.average.0);
    let over = statistics.insight_duration.map_or(String::new(), |m| format!(" over {}", format::duration(m)));
    let extra = latest.highwater.as_ref();
    let observed = match extra {
        Some(extra) => format!("{} {unit}", words::thousands(extra.observed)),
        None => format!("{average} a minute"),
    };
    row("Observed", observed, format!("{average} a minute{over}"));
    if let Some(extra) = extra {
        let expected = &extra.expected;
        let (lower, upper) = (words::per_minute(expected.lower.0), words::per_minute(expected.upper.0));
        let range = if lower == upper { lower } else { format!("{lower} to {upper}") };
        row("Expected range", range, format!("a minute, {} on average", words::per_minute(expected.average.0)));
    }
    let usual = statistics.baseline.average.0;
    let over = statistics.baseline_duration.map_or(String::new(), |m| format!(" over {}", format::duration(m)));
    row("Baseline", words::per_minute(usual), format!("a minute{over}"));
    let down = extra.is_some_and(|extra| extra.direction == "down");
    let of_usual = statistics.insight.average.0 / usual;
    match usual > 0.0 {
        true if down => row("Ratio", words::percent(of_usual), "of the baseline".to_owned()),
        true => row("Ratio", words::times(of_usual), "insight to baseline".to_owned()),
        false => row("Ratio", "new".to_owned(), format!("no such {unit} in the baseline")),
    }
    if let Some(extra) = extra {
        let one_in = format!("{}, were this normal", format::odds(extra.ln_odds));
        row("Odds", extra.odds.clone(), one_in);
        row("Severity", extra.severity.clone(), String::new());
        row("Score", format!("{:.2}", extra.score), format!("threshold {:.2}", extra.threshold));
        if let Some(minutes) = extra.window_minutes {
            row("Window", format::duration(i64::from(minutes)), "stood out most from its record".to_owned());
        }
        let first = told.start.highwater.as_ref().unwrap_or(extra);
        if let Some(detected) = format::parse(&first.detected_time) {
            let after = detected.0.saturating_sub(time_of(told.start).0).max(0);
            row(
                "Known",
                format!("{} UTC", format::clock(detected)),
                format!("{} after the start", format::duration(after)),
            );
        }
        if let Some(closing) = &extra.closing {
            row("Ended as", closing.clone(), String::new());
        }
    }
    let mut text = table(&rows, style) + "\n";
    if let Some(extra) = extra {
        text += &context(extra, unit, style);
    }
    text
}

/// Recurrence, what would be left without one caller, and what is new.
fn context(extra: &Highwater, unit: &str, style: Style) -> String {
    let mut lines = Vec::new();
    if let Some(repeat) = &extra.recurrence {
        lines.push(("Recurrence", repeat.words.clone()));
    }
    // That nothing would be left without the only caller needs no words.
    if let Some(without) = extra.without.as_ref().filter(|without| without.observed > 0) {
        let caller = caller(&without.attribute, &without.value);
        let rest = words::thousands(without.observed);
        lines.push((
            "Without",
            format!("{caller}: {rest} of {} {unit}, inside the expected range", words::thousands(extra.observed)),
        ));
    }
    if !extra.new.is_empty() {
        let new: Vec<String> = extra.new.iter().map(|new| caller(&new.attribute, &new.value)).collect();
        let since = if extra.new[0].ever { "since the trail begins" } else { "in seven days" };
        lines.push(("New", format!("{} ({since})", new.join(", "))));
    }
    if lines.is_empty() {
        return String::new();
    }
    let label = lines.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, words) in lines {
        let indent = " ".repeat(INDENT.len() + label + 2);
        let wrapped = wrap(&style.plain(&words), &indent, style.width);
        let labelled = format!("{INDENT}{}{}  ", style.paint(Colour::Dim, name), " ".repeat(label - name.len()));
        text += &(labelled + wrapped.trim_start());
    }
    text + "\n"
}

/// `session ci-42`, from a record's name of the attribute.
pub(super) fn caller(attribute: &str, value: &str) -> String {
    let known = Attribute::ALL.into_iter().find(|known| known.as_str() == attribute);
    known.map_or_else(|| value.to_owned(), |attribute| words::caller(attribute, value))
}

fn callers(record: &TrailRecord, style: Style) -> String {
    const ATTRIBUTES: [(&str, &str); 7] = [
        ("userIdentityArn", "Caller"),
        ("sessionName", "Session"),
        ("accessKeyId", "Access key"),
        ("sourceIPAddress", "Address"),
        ("userAgent", "Agent"),
        ("errorCode", "Error code"),
        ("resourceArn", "Resource"),
    ];
    let numbers_width = 40;
    let width = NAME_MAX.min(style.width.saturating_sub(numbers_width)).max(16);
    let mut text = String::new();
    for (attribute, heading) in ATTRIBUTES {
        let rows = rows(record, attribute);
        if rows.is_empty() || rows.iter().all(|row| row.value == "null") {
            continue;
        }
        if text.is_empty() {
            let line = format!("{:width$}  {:>9} {:>9} {:>7}", "", "a minute", "before", "share", width = width);
            text += &format!("{INDENT}{}\n", style.paint(Colour::Dim, &line));
        }
        text += &format!("{INDENT}{}\n", style.paint(Colour::Bold, heading));
        for row in rows.iter().take(VALUES_MAX) {
            let value = match attribute {
                "userIdentityArn" => words::principal(row.value),
                _ if row.value == "null" => "none".to_owned(),
                _ => row.value.to_owned(),
            };
            let share = row.share.map_or(String::new(), format::percent);
            let (now, before) = (words::per_minute(row.insight), words::per_minute(row.baseline));
            let new = if row.first_seen { format!("  {}", style.paint(Colour::Yellow, "new")) } else { String::new() };
            let value = style.fit(&value, width - INDENT.len());
            let line =
                format!("{INDENT}{INDENT}{value:0$}  {now:>9} {before:>9} {share:>7}{new}", width - INDENT.len());
            text += line.trim_end();
            text.push('\n');
        }
    }
    if record.highwater.as_ref().is_some_and(|extra| !extra.attribution_exact) {
        text += &format!("{INDENT}small callers were folded together: the shares are lower bounds\n");
    }
    if text.is_empty() { text } else { text + "\n" }
}

fn checked(told: &Told, style: Style) -> String {
    let wrong: Vec<&Check> = told.checks.iter().filter(|check| !check.agrees).collect();
    let partly = if told.complete { "" } else { "; baseline and forecast go back beyond these rates" };
    if wrong.is_empty() {
        let count = told.checks.len();
        let text = format!("{count} numbers of the record were recomputed from the rates and agree{partly}.");
        return style.paint(Colour::Green, wrap(&text, "", style.width).trim_end()) + "\n";
    }
    let mut text = style.paint(Colour::Red, "The record differs from the rates:") + "\n";
    for check in wrong {
        text += &wrap(&check.words(), INDENT, style.width);
    }
    text
}
