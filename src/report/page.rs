//! The report as one HTML file: header, tiles, timeline, table, one section per insight, and what was looked at.
//! Knows nothing of files or where records came from. Whatever a stranger may have written passes through `name`.
//!
//! The size is bounded, and the page says where a bound was met: see the four `_MAX` constants.

use super::section::{Parts, section};
use super::small::{sparkline, timeline};
use super::text::{clean, escape, register, shorten};
use super::{Figure, Form, ReportError, figure_svg, format};
use crate::event::Minute;
use crate::insight::trail::TrailRecord;
use crate::store::{Account, Gap, SummaryFile};

/// Pictures of a hundred busy insights, about; a browser opens that at once and mail still carries it.
const PICTURE_BYTES_MAX: usize = 8 << 20;
/// Records as JSON of about a thousand insights.
const RECORD_BYTES_MAX: usize = 8 << 20;
/// Sections of their own; further insights stand in the table only.
const SECTIONS_MAX: usize = 1_000;
/// Rows of the table; further insights are only counted.
const ROWS_MAX: usize = 5_000;
/// With more insights than this, sections start folded.
const UNFOLDED_MAX: usize = 12;

/// Font size and width of a caller in the table, which has room for its beginning and end.
const CALLER_PX: (f64, f64) = (14.0, 210.0);

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Everything the page shows. The page draws the figures itself, as many as it has room for.
#[derive(Clone, Debug)]
pub struct Page<'a> {
    pub summary: &'a SummaryFile,
    pub incidents: Vec<Incident>,
}

/// One incident, with what its pictures need.
#[derive(Clone, Debug)]
pub struct Incident {
    pub start: TrailRecord,
    /// None while it is open.
    pub end: Option<TrailRecord>,
    pub figure: Figure,
}

impl Incident {
    /// The record that knows most: the End, which averages over the whole incident.
    pub(super) fn latest(&self) -> &TrailRecord {
        self.end.as_ref().unwrap_or(&self.start)
    }

    pub(super) fn severity(&self) -> Severity {
        let records = self.end.iter().chain([&self.start]);
        let severity = records
            .filter_map(|record| record.highwater.as_ref())
            .map(|highwater| Severity::parse(&highwater.severity))
            .max();
        severity.unwrap_or(Severity::Unrated)
    }

    pub(super) fn from(&self) -> Option<Minute> {
        format::parse(&self.start.event_time)
    }

    pub(super) fn to(&self) -> Option<Minute> {
        format::parse(&self.end.as_ref()?.event_time)
    }

    pub(super) fn is_error(&self) -> bool {
        self.start.insight_details.insight_type == "ApiErrorRateInsight"
    }

    /// `calls` or `errors`
    pub(super) fn unit(&self) -> &'static str {
        if self.is_error() { "errors" } else { "calls" }
    }

    pub(super) fn falls(&self) -> bool {
        self.latest().highwater.as_ref().is_some_and(|highwater| highwater.direction == "down")
    }

    /// Insight average over baseline average.
    pub(super) fn ratio(&self) -> Option<f64> {
        let statistics = &self.latest().insight_details.insight_context.statistics;
        let baseline = statistics.baseline.average.0;
        (baseline > 0.0).then(|| statistics.insight.average.0 / baseline)
    }

    pub(super) fn top_caller(&self) -> Option<&str> {
        let context = &self.latest().insight_details.insight_context;
        let excess = self.latest().highwater.iter().flat_map(|h| &h.excess).find(|e| e.attribute == "userIdentityArn");
        let attribution = context.attributions.iter().flatten().find(|a| a.attribute == "userIdentityArn");
        let first = excess.and_then(|excess| excess.values.first()).map(|value| value.value.as_str());
        first.or_else(|| attribution.and_then(|a| a.insight.first()).map(|value| value.value.as_str()))
    }

    /// An identifier that is safe in HTML and stays the same when the page is made again.
    pub(super) fn anchor(&self) -> String {
        let safe = self.start.shared_event_id.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(64);
        format!("i-{}", safe.collect::<String>())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    Unrated,
    Info,
    Low,
    Medium,
    High,
    Critical,
}

impl Severity {
    pub const ALL: [Severity; 6] =
        [Severity::Critical, Severity::High, Severity::Medium, Severity::Low, Severity::Info, Severity::Unrated];

    fn parse(word: &str) -> Severity {
        Severity::ALL.into_iter().find(|severity| severity.word() == word).unwrap_or(Severity::Unrated)
    }

    pub fn word(self) -> &'static str {
        match self {
            Severity::Unrated => "unrated",
            Severity::Info => "info",
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }

    /// A shape around (0, 0), so that colour is not the only sign.
    pub fn shape(self) -> &'static str {
        match self {
            Severity::Critical => "M0-7 7 0 0 7-7 0z",
            Severity::High => "M0-6.5 6.5 5.5h-13z",
            Severity::Medium => "M-5-5h10v10h-10z",
            Severity::Low => "M0-5a5 5 0 1 1 0 10a5 5 0 1 1 0-10z",
            Severity::Info => "M0-5a5 5 0 1 1 0 10a5 5 0 1 1 0-10zm0 3a2 2 0 1 0 0 4a2 2 0 1 0 0-4z",
            Severity::Unrated => "M-5-1.5h10v3h-10z",
        }
    }
}

/// A stranger's text, safe in HTML, on one line.
pub(super) fn name(text: &str) -> String {
    escape(&clean(text))
}

/// The symbol and word of a severity.
pub(super) fn badge(severity: Severity) -> String {
    let (word, shape) = (severity.word(), severity.shape());
    format!(
        "<span class=\"badge s-{word}\"><svg width=\"14\" height=\"14\" viewBox=\"-8 -8 16 16\" aria-hidden=\"true\">\
         <path d=\"{shape}\"/></svg>{word}</span>"
    )
}

/// The report. The same page gives the same bytes.
pub fn page_html(page: &Page) -> Result<String, ReportError> {
    register()?;
    let mut incidents: Vec<&Incident> = page.incidents.iter().collect();
    let score = |incident: &Incident| incident.latest().highwater.as_ref().map_or(f64::NEG_INFINITY, |h| h.score);
    incidents.sort_by(|a, b| {
        let by_severity = b.severity().cmp(&a.severity());
        let by_score = score(b).total_cmp(&score(a));
        by_severity.then(by_score).then_with(|| a.start.event_time.cmp(&b.start.event_time))
    });

    let mut body = header(page, &incidents);
    if incidents.is_empty() {
        body.push_str(&quiet(page));
    } else {
        let (sections, notices) = sections(&incidents)?;
        body.push_str(&timeline(&incidents, page.summary));
        body.push_str(&table(&incidents, &notices));
        body.push_str(&sections);
    }
    body.push_str(&looked_at(page.summary));
    body.push_str(&footer(page.summary));
    let title = title(page.summary);
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
         script-src 'unsafe-inline'\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title} · Highwater</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <a class=\"skip\" href=\"#insights\">Skip to the insights</a>\n{body}<script>\n{SCRIPT}</script>\n\
         </body>\n</html>\n"
    ))
}

/// The one plural rule of English that is needed here.
fn many(number: u64, one: &str, more: &str) -> String {
    format!("{} {}", format::whole(number), if number == 1 { one } else { more })
}

fn when(time: Option<&String>) -> String {
    let Some(time) = time else { return "–".to_owned() };
    format::parse(time).map_or_else(|| name(time), format::moment)
}

/// What was scanned, in words.
fn title(summary: &SummaryFile) -> String {
    match distinct(&summary.accounts, |a| &a.account) {
        0 => "CloudTrail activity".to_owned(),
        1 => format!("CloudTrail activity of account {}", name(&summary.accounts[0].account)),
        accounts => format!("CloudTrail activity of {}", many(accounts, "account", "accounts")),
    }
}

/// The first and last event of all accounts.
pub(super) fn span(summary: &SummaryFile) -> (Option<Minute>, Option<Minute>) {
    let times = |pick: fn(&Account) -> &Option<String>| {
        summary.accounts.iter().filter_map(move |account| format::parse(pick(account).as_deref()?))
    };
    (times(|account| &account.first_event).min(), times(|account| &account.last_event).max())
}

fn distinct<'a>(accounts: &'a [Account], key: fn(&'a Account) -> &'a str) -> u64 {
    let mut keys: Vec<&str> = accounts.iter().map(key).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.len() as u64
}

fn header(page: &Page, incidents: &[&Incident]) -> String {
    let summary = page.summary;
    let accounts = distinct(&summary.accounts, |a| &a.account);
    let regions = distinct(&summary.accounts, |a| &a.region);
    let (first, last) = span(summary);
    let span = match (first, last) {
        (Some(first), Some(last)) => format!("{} to {} UTC", format::moment(first), format::moment(last)),
        _ => "no events".to_owned(),
    };
    let place = many(regions, "Region", "Regions");

    let chips: String = Severity::ALL
        .into_iter()
        .map(|severity| (severity, incidents.iter().filter(|incident| incident.severity() == severity).count()))
        .filter(|(_, count)| *count > 0)
        .map(|(severity, count)| format!("<li>{} <b>{}</b></li>", badge(severity), format::whole(count as u64)))
        .collect();
    let open = incidents.iter().filter(|incident| incident.end.is_none()).count() as u64;
    let open = if open > 0 { format!("{} still open", format::whole(open)) } else { "all have ended".to_owned() };
    let insights =
        if chips.is_empty() { "nothing unusual".to_owned() } else { format!("<ul class=\"chips\">{chips}</ul>{open}") };

    let share = if summary.records.read > 0 {
        format::percent(summary.records.scored as f64 / summary.records.read as f64)
    } else {
        "–".into()
    };
    let gaps: u64 = summary.accounts.iter().map(|account| account.gap_count.max(account.gaps.len() as u64)).sum();
    let lost = summary.records.malformed + summary.records.late;
    let (complete, why) = match (gaps, summary.objects.unreadable, lost) {
        (0, 0, 0) => ("Complete".to_owned(), "no gaps, nothing late or malformed".to_owned()),
        (0, 0, _) => (
            "No gaps".to_owned(),
            format!(
                "{} late, {} malformed",
                format::whole(summary.records.late),
                format::whole(summary.records.malformed)
            ),
        ),
        (0, objects, _) => (many(objects, "bad file", "bad files"), "could not be read".to_owned()),
        (gaps, _, _) => (many(gaps, "gap", "gaps"), "stretches without a delivery, listed below".to_owned()),
    };
    let tile = |label: &str, value: &str, note: &str| {
        format!("<div class=\"tile\"><dt>{label}</dt><dd><strong>{value}</strong><span>{note}</span></dd></div>\n")
    };
    let tiles = [
        tile("Insights", &format::whole(incidents.len() as u64), &insights),
        tile(
            "Records read",
            &format::short(summary.records.read as f64),
            &format!("in {}", many(summary.objects.read, "log file", "log files")),
        ),
        tile("Scored", &share, &many(summary.records.scored, "record", "records")),
        tile("Accounts", &format::whole(accounts), &many(regions, "Region", "Regions")),
        tile("Completeness", &complete, &why),
    ]
    .concat();
    format!(
        "<header class=\"top\">\n<div class=\"brand\"><svg width=\"22\" height=\"22\" viewBox=\"0 0 22 22\" \
         aria-hidden=\"true\">\
         <path class=\"w1\" d=\"M2 15q3-4 6 0t6 0t6 0v5h-18z\"/><path class=\"w2\" d=\"M3 8h16\"/></svg>Highwater\
         <button type=\"button\" id=\"theme\" hidden>Theme: auto</button></div>\n\
         <h1>{}</h1>\n<p class=\"lead\">{place} · {span}</p>\n</header>\n<main>\n<section \
         aria-label=\"Summary\">\n<dl class=\"tiles\">\n{tiles}</dl>\n{}</section>\n",
        title(summary),
        reconciliation(summary),
    )
}

/// Where every record went, as one bar with its legend.
fn reconciliation(summary: &SummaryFile) -> String {
    let parts = [
        ("scored", summary.records.scored, "scored"),
        ("filtered", summary.records.filtered, "not of interest to a rate"),
        ("duplicate", summary.records.duplicate, "delivered twice"),
        ("late", summary.records.late, "came after their minute was closed"),
        ("malformed", summary.records.malformed, "could not be read"),
        ("open", summary.records.open, "in minutes that are not complete yet"),
    ];
    let total: u64 = parts.iter().map(|(_, count, _)| count).sum();
    if total == 0 {
        return String::new();
    }
    let shown = || parts.into_iter().filter(|(_, count, _)| *count > 0);
    let bar: String = shown()
        .map(|(class, count, _)| {
            format!("<i class=\"r-{class}\" style=\"flex-grow:{:.5}\"></i>", count as f64 / total as f64)
        })
        .collect();
    let legend: String = shown()
        .map(|(class, count, why)| {
            let why = if class == "scored" { String::new() } else { format!(" <small>{why}</small>") };
            format!("<li><i class=\"r-{class}\"></i><b>{}</b> {class}{why}</li>", format::whole(count))
        })
        .collect();
    format!(
        "<div class=\"went\" aria-hidden=\"true\">{bar}</div>\n<ul class=\"went-legend\" aria-label=\"Where every \
         record went\">{legend}</ul>\n"
    )
}

fn quiet(page: &Page) -> String {
    let summary = page.summary;
    let read = if summary.records.read == 0 {
        "No records were read. Check that the path or bucket holds CloudTrail log files (<code>.json.gz</code>)."
            .to_owned()
    } else {
        format!(
            "Highwater looked at {} of {} in {} and found no call or error rate that left its normal range.",
            many(summary.records.scored, "record", "records"),
            many(distinct(&summary.accounts, |a| &a.account), "account", "accounts"),
            many(distinct(&summary.accounts, |a| &a.region), "Region", "Regions"),
        )
    };
    format!("<section class=\"quiet\" id=\"insights\">\n<h2>Calm water</h2>\n<p>{read}</p>\n</section>\n")
}

/// The sections, and sentences about what the bounds left out.
fn sections(incidents: &[&Incident]) -> Result<(String, Vec<String>), ReportError> {
    let (mut pictures, mut records) = (PICTURE_BYTES_MAX, RECORD_BYTES_MAX);
    let (mut html, mut no_picture, mut no_record) = (String::new(), 0u64, 0u64);
    html.push_str(
        "<section class=\"each\" aria-labelledby=\"each\">\n<div class=\"bar\"><h2 id=\"each\">Each insight</h2>\
         <span class=\"controls\" hidden><button type=\"button\" id=\"unfold\">Open all</button> \
         <button type=\"button\" id=\"fold\">Close all</button></span></div>\n",
    );
    for incident in incidents.iter().take(SECTIONS_MAX) {
        // Once one picture or record found no room, those of lesser insights are not even made.
        let picture = if no_picture == 0 { Some(draw(&incident.figure)?) } else { None };
        let picture = picture.filter(|(wide, narrow)| wide.len() + narrow.len() <= pictures);
        pictures -= picture.as_ref().map_or(0, |(wide, narrow)| wide.len() + narrow.len());
        no_picture += u64::from(picture.is_none());
        let json = if no_record == 0 { Some(json(incident)?) } else { None };
        let size = |json: &[(&str, String)]| json.iter().map(|(_, text)| text.len()).sum::<usize>();
        let json = json.filter(|json| size(json) <= records);
        records -= json.as_deref().map_or(0, size);
        no_record += u64::from(json.is_none());
        html.push_str(&section(incident, &Parts { open: incidents.len() <= UNFOLDED_MAX, picture, records: json }));
    }
    html.push_str("</section>\n");
    let mut notices = Vec::new();
    let mut notice = |left: u64, what: &str| {
        if left > 0 {
            notices.push(format!("{} {what}", format::whole(left)));
        }
    };
    notice(no_picture, "of the less severe insights are shown without their picture");
    notice(no_record, "are shown without their record");
    notice(incidents.len().saturating_sub(SECTIONS_MAX) as u64, "stand only in the table");
    notice(incidents.len().saturating_sub(ROWS_MAX) as u64, "are left out of the table too");
    Ok((html, notices))
}

/// The wide and the narrow picture.
fn draw(figure: &Figure) -> Result<(String, String), ReportError> {
    Ok((figure_svg(figure, Form::Page)?, figure_svg(figure, Form::Phone)?))
}

/// The records as text, ready for HTML. Direction marks appear as JSON escapes: same value, nothing hidden.
fn json(incident: &Incident) -> Result<Vec<(&'static str, String)>, ReportError> {
    let mark = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let text = |record: &TrailRecord| -> Result<String, ReportError> {
        let json = serde_json::to_string_pretty(record)?;
        let plain: String =
            json.chars().map(|c| if mark(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() }).collect();
        // Inside an element a quote needs no escape, and a record is full of them.
        Ok(escape(&plain).replace("&quot;", "\""))
    };
    let start = ("Start", text(&incident.start)?);
    let end = incident.end.as_ref().map(|end| Ok::<_, ReportError>(("End", text(end)?))).transpose()?;
    Ok([Some(start), end].into_iter().flatten().collect())
}

fn options<'a>(values: impl Iterator<Item = &'a str>) -> String {
    let mut values: Vec<&str> = values.collect();
    values.sort_unstable();
    values.dedup();
    values.into_iter().map(|value| format!("<option value=\"{0}\">{0}</option>", name(value))).collect()
}

fn table(incidents: &[&Incident], notices: &[String]) -> String {
    let severities: String = Severity::ALL
        .into_iter()
        .filter(|severity| incidents.iter().any(|incident| incident.severity() == *severity))
        .map(|s| format!("<option value=\"{}\">{}</option>", s as u8, s.word()))
        .collect();
    let accounts = options(incidents.iter().map(|incident| incident.start.recipient_account_id.as_str()));
    let rows: String =
        incidents.iter().take(ROWS_MAX).enumerate().map(|(index, i)| row(i, index < SECTIONS_MAX)).collect();
    let notice = match notices {
        [] => String::new(),
        notices => format!(
            "<p class=\"notice\">To keep this file small, {}. Their charts and records are in the result \
             directory.</p>\n",
            notices.join("; ")
        ),
    };
    format!(
        "<section aria-labelledby=\"insights\">\n<h2 id=\"insights\">All insights</h2>\n{notice}\
         <form class=\"filter\" id=\"filter\" hidden>\
         <label>Find <input type=\"search\" id=\"find\" placeholder=\"API, caller, Region, error …\"></label>\
         <label>Severity at least <select id=\"severity\"><option value=\"0\">any</option>{severities}</select></label>\
         <label>Account <select id=\"account\"><option value=\"\">any</option>{accounts}</select></label>\
         <label>Type <select id=\"type\"><option value=\"\">any</option><option>calls</option><option>errors</option>\
         </select></label>\
         <output id=\"shown\" aria-live=\"polite\"></output></form>\n\
         <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Table of insights\"><table \
         id=\"table\">\n<thead><tr>\
         <th scope=\"col\" aria-sort=\"descending\">Severity</th><th scope=\"col\">Start (UTC)</th><th \
         scope=\"col\">API</th>\
         <th scope=\"col\">Account, Region</th><th scope=\"col\" class=\"n\">Per minute</th>\
         <th scope=\"col\" class=\"n\">Baseline</th><th scope=\"col\" class=\"n\">Ratio</th>\
         <th scope=\"col\" class=\"n\">Duration</th><th scope=\"col\">Top caller</th><th class=\"p\">Picture</th></tr>\
         </thead>\n\
         <tbody>\n{rows}</tbody></table></div>\n<p id=\"none\" hidden>No insight matches. <button type=\"reset\" \
         form=\"filter\">Clear the filter</button></p>\n</section>\n"
    )
}

fn row(incident: &Incident, linked: bool) -> String {
    let record = incident.latest();
    let details = &incident.start.insight_details;
    let statistics = &record.insight_details.insight_context.statistics;
    let (severity, anchor) = (incident.severity(), incident.anchor());
    let what = match &details.error_code {
        Some(code) => format!("{} <span class=\"err\">{}</span>", name(&details.event_name), name(code)),
        None => name(&details.event_name),
    };
    let what = if linked { format!("<a href=\"#{anchor}\">{what}</a>") } else { what };
    let start = incident.from().map_or_else(
        || name(&incident.start.event_time),
        |from| format!("{}<small>{}</small>", format::full_date(from), format::clock(from)),
    );
    let minutes = incident.from().zip(incident.to()).map(|(from, to)| to.0.saturating_sub(from.0));
    let (ratio, ratio_key) = match incident.ratio() {
        Some(ratio) => (format::ratio(ratio), ratio),
        None => ("new".to_owned(), f64::MAX),
    };
    let caller = incident.top_caller().unwrap_or_default();
    let short = caller.strip_prefix("arn:").and_then(|arn| arn.splitn(5, ':').last()).unwrap_or(caller);
    format!(
        "<tr data-id=\"{anchor}\" data-severity=\"{}\" data-account=\"{account}\" data-type=\"{unit}\">\
         <td data-v=\"{}\">{}</td><td data-v=\"{}\" class=\"t\" data-l=\"Start\">{start}</td>\
         <th scope=\"row\" data-v=\"{}\">{what}<small>{}</small></th>\
         <td data-v=\"{account} {region}\" data-l=\"Where\">{account}<small>{region}</small></td>\
         <td class=\"n\" data-v=\"{observed}\" data-l=\"Per minute\">{}<small>{unit}</small></td>\
         <td class=\"n\" data-v=\"{baseline}\" data-l=\"Baseline\">{}</td>\
         <td class=\"n\" data-v=\"{ratio_key}\" data-l=\"Ratio\">{}{ratio}</td>\
         <td class=\"n\" data-v=\"{}\" data-l=\"Duration\">{}</td>\
         <td class=\"w\" data-v=\"{}\" data-l=\"Top caller\" title=\"{}\">{}</td><td class=\"p\">{}</td></tr>\n",
        severity as u8,
        severity as u8,
        badge(severity),
        name(&incident.start.event_time),
        name(&details.event_name),
        name(details.event_source.strip_suffix(".amazonaws.com").unwrap_or(&details.event_source)),
        format::rate(statistics.insight.average.0),
        format::rate(statistics.baseline.average.0),
        if incident.falls() { "<span class=\"dir\" title=\"below normal\">▼</span> " } else { "" },
        minutes.unwrap_or(i64::MAX),
        minutes.map_or_else(|| "still open".to_owned(), format::duration),
        name(short),
        name(caller),
        name(&shorten(short, CALLER_PX.0, false, CALLER_PX.1)),
        sparkline(&incident.figure),
        account = name(&incident.start.recipient_account_id),
        region = name(&incident.start.aws_region),
        unit = incident.unit(),
        observed = statistics.insight.average.0,
        baseline = statistics.baseline.average.0,
    )
}

fn looked_at(summary: &SummaryFile) -> String {
    if summary.accounts.is_empty() {
        return String::new();
    }
    let rows: String = summary.accounts.iter().map(account_row).collect();
    format!(
        "<section aria-labelledby=\"looked\">\n<h2 id=\"looked\">What was looked at</h2>\n\
         <div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Table of accounts\"><table \
         class=\"plain\">\n\
         <thead><tr><th scope=\"col\">Account</th><th scope=\"col\">Region</th><th scope=\"col\" class=\"n\">Log \
         files</th>\
         <th scope=\"col\" class=\"n\">Events</th><th scope=\"col\">First delivery</th><th scope=\"col\">Last \
         delivery</th>\
         <th scope=\"col\">Gaps</th></tr></thead>\n<tbody>\n{rows}</tbody></table></div>\n</section>\n"
    )
}

fn account_row(account: &Account) -> String {
    let gap = |gap: &Gap| {
        let length = format::parse(&gap.from).zip(format::parse(&gap.to)).map(|(from, to)| to.0.saturating_sub(from.0));
        let length = length.map(|minutes| format!(", {}", format::duration(minutes))).unwrap_or_default();
        format!("<li>{} – {}{length}</li>", when(Some(&gap.from)), when(Some(&gap.to)))
    };
    let count = account.gap_count.max(account.gaps.len() as u64);
    let gaps = match (count, account.gaps.is_empty()) {
        (0, _) => "none".to_owned(),
        (count, true) => format::whole(count),
        (count, false) => format!(
            "<details><summary>{}</summary><ul>{}</ul></details>",
            if account.gaps.len() as u64 == count {
                many(count, "gap", "gaps")
            } else {
                format!("{}, the longest", many(count, "gap", "gaps"))
            },
            account.gaps.iter().map(gap).collect::<String>(),
        ),
    };
    format!(
        "<tr><th scope=\"row\">{}</th><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
         <td class=\"t\">{}</td><td class=\"t\">{}</td><td>{gaps}</td></tr>\n",
        name(&account.account),
        name(&account.region),
        if account.objects > 0 { format::whole(account.objects) } else { "–".to_owned() },
        format::whole(account.events),
        when(account.first_delivery.as_ref()),
        when(account.last_delivery.as_ref()),
    )
}

fn footer(summary: &SummaryFile) -> String {
    let command = if summary.command.is_empty() {
        String::new()
    } else {
        format!("<p>Made by <code>{}</code></p>\n", name(&summary.command.join(" ")))
    };
    let model = if summary.model.is_empty() { String::new() } else { format!(", model {}", name(&summary.model)) };
    format!(
        "</main>\n<footer>\n<details><summary>How to read this page</summary>\n<dl class=\"words\">\n\
         <dt>Insight</dt><dd>A stretch of minutes in which one API of one account and Region was called, or failed, \
         at an unusual rate.</dd>\n\
         <dt>Expected range</dt><dd>What the forecast for these very minutes held for normal, with time of day and \
         day of the week.</dd>\n\
         <dt>Baseline average</dt><dd>The plain mean per minute of about seven days before the start, as CloudTrail \
         Insights reports it.</dd>\n\
         <dt>Share of the extra</dt><dd>How much of what exceeds the baseline came from one caller, address, agent or \
         error.</dd>\n\
         <dt>Odds</dt><dd>How often normal traffic would bring a window at least this extreme, by the forecast \
         alone.</dd>\n\
         </dl></details>\n{command}<p>Highwater {}{model}. All times are UTC.</p>\n</footer>\n",
        name(&summary.version),
    )
}
