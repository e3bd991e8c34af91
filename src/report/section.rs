//! One insight on the page: headline, sentence, picture, key numbers, who caused it, and its records. Knows nothing of
//! the rest of the page.

use super::page::{Incident, badge, name};
use super::{format, terminal};
use crate::insight::trail::{Highwater, TrailRecord};

/// Rows per attribute: five of the insight and some that were usual before.
const ROWS_MAX: usize = 8;
/// What no row explains is shown from this share of the whole on.
const OTHER_SHARE_MIN: f64 = 0.005;

/// What the page had room for.
pub struct Parts {
    pub open: bool,
    /// For a wide and for a narrow screen.
    pub picture: Option<(String, String)>,
    /// `Start` and `End` with the record as JSON, safe in HTML.
    pub records: Option<Vec<(&'static str, String)>>,
}

pub fn section(incident: &Incident, parts: &Parts) -> String {
    let details = &incident.start.insight_details;
    let anchor = incident.anchor();
    let what = match &details.error_code {
        Some(code) => format!("{} <span class=\"err\">{}</span>", name(&details.event_name), name(code)),
        None => name(&details.event_name),
    };
    let kind = match (incident.is_error(), incident.falls()) {
        (false, false) => "Call rate above normal",
        (false, true) => "Call rate below normal",
        (true, false) => "Error rate above normal",
        (true, true) => "Error rate below normal",
    };
    let state = if incident.end.is_some() { "" } else { " <span class=\"badge live\">still open</span>" };
    format!(
        "<article class=\"insight s-{}\" data-id=\"{anchor}\" aria-labelledby=\"h-{anchor}\">\n<details \
         class=\"fold\"{}>\n\
         <summary>{}<h3 id=\"h-{anchor}\">{what}</h3>{state}<span class=\"where\">{} · {} · {}</span></summary>\n\
         <div class=\"body\" id=\"{anchor}\">\n<p class=\"kind\">{kind} · {} · \
         {}</p>\n{}{}{}{}{}{}</div>\n</details>\n</article>\n",
        incident.severity().word(),
        if parts.open { " open" } else { "" },
        badge(incident.severity()),
        when(incident),
        name(&incident.start.recipient_account_id),
        name(&incident.start.aws_region),
        name(&details.event_source),
        name(details.source_event_category.as_deref().unwrap_or("Management")),
        sentence(incident),
        picture(parts),
        numbers(incident),
        why(incident),
        who(incident),
        json(incident, parts),
    )
}

fn when(incident: &Incident) -> String {
    let Some(from) = incident.from() else { return name(&incident.start.event_time) };
    let Some(to) = incident.to() else { return format!("since {} UTC", format::moment(from)) };
    let till = if from.day() == to.day() { format::clock(to) } else { format::moment(to) };
    format!("{} – {till} UTC", format::moment(from))
}

fn sentence(incident: &Incident) -> String {
    let reason = incident.latest().highwater.as_ref().map(|highwater| highwater.reason.as_str()).unwrap_or_default();
    if reason.is_empty() { String::new() } else { format!("<p class=\"reason\">{}</p>\n", name(reason)) }
}

fn picture(parts: &Parts) -> String {
    match &parts.picture {
        Some((wide, narrow)) => {
            format!("<figure><div class=\"wide\">{wide}</div><div class=\"narrow\">{narrow}</div></figure>\n")
        }
        None => "<p class=\"notice\">The picture is left out here to keep this file small; it is among the charts of \
                 the result directory.</p>\n"
            .to_owned(),
    }
}

fn numbers(incident: &Incident) -> String {
    let record = incident.latest();
    let statistics = &record.insight_details.insight_context.statistics;
    let (unit, baseline) = (incident.unit(), statistics.baseline.average.0);
    let extra = record.highwater.as_ref();
    let number = |label: &str, value: String, note: String| {
        format!("<div><dt>{label}</dt><dd><b>{value}</b><span>{note}</span></dd></div>\n")
    };
    let observed = match extra {
        Some(extra) => number(
            "Observed",
            format!("{} {unit}", format::whole(extra.observed)),
            format!("{} per minute", format::rate(statistics.insight.average.0)),
        ),
        None => number("Observed", format!("{}/min", format::rate(statistics.insight.average.0)), unit.to_owned()),
    };
    let expected = |extra: &Highwater| {
        let range = (format::rate(extra.expected.lower.0), format::rate(extra.expected.upper.0));
        let range = if range.0 == range.1 { range.0 } else { format!("{} to {}", range.0, range.1) };
        number("Expected", format!("{range}/min"), format!("{} on average", format::rate(extra.expected.average.0)))
    };
    let over = statistics.baseline_duration.map(|minutes| format!("over {}", format::duration(minutes)));
    let note: Vec<String> = format::rate_in_words(baseline).into_iter().chain(over).collect();
    let ratio = match incident.ratio() {
        Some(ratio) => number("Against the baseline", format::ratio(ratio), "insight ÷ baseline".to_owned()),
        None => number("Against the baseline", "new".to_owned(), format!("no such {unit} in the baseline")),
    };
    let length = incident.from().zip(incident.to()).map(|(from, to)| to.0.saturating_sub(from.0));
    let duration = match length {
        Some(minutes) => number("Duration", format::duration(minutes), "start to end".to_owned()),
        None => number("Duration", "still open".to_owned(), "at the end of the data".to_owned()),
    };
    let odds = |extra: &Highwater| {
        let often = match extra.odds.strip_suffix(" for this API").unwrap_or(&extra.odds) {
            "" => "if this were normal traffic".to_owned(),
            often => name(often),
        };
        number("Odds", format::odds(extra.ln_odds), often)
    };
    let detected = |extra: &Highwater| {
        let (seen, from) = (format::parse(&extra.detected_time)?, incident.from()?);
        let after = format!("{} after the start", format::duration(seen.0.saturating_sub(from.0).max(0)));
        Some(number("Detected", format!("{} UTC", format::clock(seen)), after))
    };
    let window = |extra: &Highwater| {
        let minutes = i64::from(extra.window_minutes?);
        Some(number("Stood out most", format!("over {}", format::duration(minutes)), "from its own record".to_owned()))
    };
    let first = incident.start.highwater.as_ref().or(extra);
    format!(
        "<dl class=\"numbers\">\n{observed}{}{}{ratio}{duration}{}{}{}</dl>\n",
        extra.map(expected).unwrap_or_default(),
        number("Baseline average", format!("{}/min", format::rate(baseline)), note.join(", ")),
        extra.map(odds).unwrap_or_default(),
        extra.and_then(window).unwrap_or_default(),
        first.and_then(detected).unwrap_or_default(),
    )
}

/// What the numbers alone do not say: whether a job by the clock did it, who makes the difference, what is new, and
/// whether the level stayed.
fn why(incident: &Incident) -> String {
    let Some(extra) = &incident.latest().highwater else { return String::new() };
    let fact = |label: &str, words: String| format!("<div><dt>{label}</dt><dd>{words}</dd></div>\n");
    let called = |attribute: &str, value: &str| format!("<bdi>{}</bdi>", name(&terminal::caller(attribute, value)));
    let mut facts = String::new();
    if let Some(repeat) = &extra.recurrence {
        facts += &fact("Recurrence", name(&repeat.words));
    }
    // That nothing would be left without the only caller needs no words.
    if let Some(without) = extra.without.as_ref().filter(|without| without.observed > 0) {
        let (rest, all) = (format::whole(without.observed), format::whole(extra.observed));
        let caller = called(&without.attribute, &without.value);
        let unit = incident.unit();
        facts += &fact(
            "Makes the difference",
            format!("{caller}: without it {rest} of {all} {unit}, inside the expected range"),
        );
    }
    if let Some(first) = extra.new.first() {
        let new: Vec<String> = extra.new.iter().map(|new| called(&new.attribute, &new.value)).collect();
        let since = if first.ever { "since the trail begins" } else { "in seven days" };
        facts += &fact("First time", format!("{} <small>{since}</small>", new.join(", ")));
    }
    if let Some("new normal") = extra.closing.as_deref() {
        facts += &fact("Ended as", "the new normal: the level stayed".to_owned());
    }
    if facts.is_empty() { facts } else { format!("<dl class=\"why\">\n{facts}</dl>\n") }
}

/// One value of an attribute, whichever part of the record names it.
pub(super) struct Row<'a> {
    pub(super) value: &'a str,
    pub(super) insight: f64,
    pub(super) baseline: f64,
    pub(super) share: Option<f64>,
    pub(super) first_seen: bool,
}

/// The rows of one attribute: the excess first, then what only CloudTrail's own lists name.
pub(super) fn rows<'a>(record: &'a TrailRecord, attribute: &str) -> Vec<Row<'a>> {
    let excess = record.highwater.iter().flat_map(|highwater| &highwater.excess).filter(|e| e.attribute == attribute);
    let mut rows: Vec<Row<'a>> = excess
        .flat_map(|excess| &excess.values)
        .map(|value| Row {
            value: &value.value,
            insight: value.average.0,
            baseline: value.baseline_average.0,
            share: Some(value.share),
            first_seen: value.first_seen,
        })
        .collect();
    let named = record.insight_details.insight_context.attributions.iter().flatten();
    for attribution in named.filter(|attribution| attribution.attribute == attribute) {
        let lists = [(&attribution.insight, true), (&attribution.baseline, false)];
        for (entry, in_insight) in
            lists.into_iter().flat_map(|(list, which)| list.iter().map(move |entry| (entry, which)))
        {
            // What the excess tells of a value is exact: a second mention adds nothing.
            match rows.iter_mut().find(|row| row.value == entry.value) {
                Some(row) if row.share.is_some() => {}
                Some(row) if in_insight => row.insight = entry.average.0,
                Some(row) => row.baseline = entry.average.0,
                None => {
                    let (insight, baseline) = if in_insight { (entry.average.0, 0.0) } else { (0.0, entry.average.0) };
                    rows.push(Row { value: &entry.value, insight, baseline, share: None, first_seen: false });
                }
            }
        }
    }
    rows.truncate(ROWS_MAX);
    rows
}

fn who(incident: &Incident) -> String {
    let record = incident.latest();
    let mut attributes: Vec<&str> = Vec::new();
    let excess = record.highwater.iter().flat_map(|highwater| &highwater.excess).map(|e| e.attribute.as_str());
    let named = record.insight_details.insight_context.attributions.iter().flatten().map(|a| a.attribute.as_str());
    for attribute in excess.chain(named) {
        if !attributes.contains(&attribute) {
            attributes.push(attribute);
        }
    }
    let blocks: String = attributes.into_iter().map(|attribute| block(record, attribute)).collect();
    if blocks.is_empty() {
        return String::new();
    }
    let folded = record.highwater.as_ref().is_some_and(|highwater| !highwater.attribution_exact);
    let note = if folded { " Small callers were folded together: the shares are lower bounds." } else { "" };
    format!(
        "<h4>Who caused the extra {}</h4>\n<p class=\"key\"><span><i class=\"k-now\"></i>during the insight</span> \
         <span><i class=\"k-before\"></i>before, in the baseline</span> <span>per minute; % is the share of the extra \
         {}.{note}</span></p>\n<div class=\"who\">\n{blocks}</div>\n",
        incident.unit(),
        incident.unit(),
    )
}

fn block(record: &TrailRecord, attribute: &str) -> String {
    let rows = rows(record, attribute);
    if rows.is_empty() {
        return String::new();
    }
    let heading = match attribute {
        "userIdentityArn" => "Caller",
        "sessionName" => "Role session",
        "accessKeyId" => "Access key",
        "sourceIPAddress" => "Source address",
        "userAgent" => "User agent",
        "errorCode" => "Error code",
        "resourceArn" => "Resource",
        other => other,
    };
    let statistics = &record.insight_details.insight_context.statistics;
    let rest = |total: f64, part: f64| if total - part > total * OTHER_SHARE_MIN { total - part } else { 0.0 };
    let other = Row {
        value: "all others",
        insight: rest(statistics.insight.average.0, rows.iter().map(|row| row.insight).sum()),
        baseline: rest(statistics.baseline.average.0, rows.iter().map(|row| row.baseline).sum()),
        share: None,
        first_seen: false,
    };
    let has_other = other.insight > 0.0 || other.baseline > 0.0;
    let rows: Vec<Row> = rows.into_iter().chain(has_other.then_some(other)).collect();
    let highest = rows.iter().map(|row| row.insight.max(row.baseline)).fold(f64::MIN_POSITIVE, f64::max);
    let items: String = rows.iter().map(|row| item(row, attribute, highest)).collect();
    format!("<section class=\"attribute\"><h5>{}</h5>\n<ul>\n{items}</ul></section>\n", name(heading))
}

fn item(row: &Row, attribute: &str, highest: f64) -> String {
    let value = match (attribute, row.value) {
        ("errorCode", "null") => "<i>no error</i>".to_owned(),
        (_, "") => "<i>none</i>".to_owned(),
        (_, "all others" | "(other)") => "<i>all others</i>".to_owned(),
        (_, value) => format!("<bdi>{}</bdi>", name(value)),
    };
    let part = |average: f64| if average.is_finite() { (average / highest * 100.0).clamp(0.0, 100.0) } else { 0.0 };
    let share = row.share.map(|share| format!("<b>{}</b>", format::percent(share))).unwrap_or_default();
    let first = if row.first_seen { "<span class=\"badge first\">first seen</span>" } else { "" };
    let bar = |class: &str, average: f64, words: &str| {
        format!(
            "<span class=\"b {class}\"><i style=\"width:{:.2}%\"></i></span><span class=\"v\"><span \
             class=\"sr\">{words} \
             </span>{}</span>",
            part(average),
            format::rate(average),
        )
    };
    format!(
        "<li><span class=\"l\">{value}{first}</span>{share}<span class=\"bars\">{}{}</span></li>\n",
        bar("now", row.insight, "during the insight"),
        bar("before", row.baseline, "before"),
    )
}

fn json(incident: &Incident, parts: &Parts) -> String {
    let Some(records) = &parts.records else {
        let id = name(&incident.start.shared_event_id);
        return format!(
            "<p class=\"notice\">The record is left out here; look for sharedEventID <code>{id}</code>.</p>\n"
        );
    };
    let record = |(state, text): &(&str, String)| {
        format!(
            "<details class=\"record\"><summary>{state} record (JSON)</summary>\
             <button type=\"button\" class=\"copy\" hidden>Copy</button><pre tabindex=\"0\"><code>{text}</code></pre>\
             </details>\n"
        )
    };
    records.iter().map(record).collect()
}
