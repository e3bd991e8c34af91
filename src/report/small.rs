//! The page's small pictures, written as SVG by hand: the timeline of all insights and the sparkline of one. Positions
//! across are percentages, so that the timeline fills any width while its words keep their size.

use super::chart::{burst_within, close_up};
use super::page::{Incident, Severity, name, span};
use super::{Figure, format, scale};
use crate::event::Minute;
use crate::store::{Account, SummaryFile};

/// With this many APIs or fewer, each has a lane of its own; else each account's Region has.
const API_LANES_MAX: usize = 10;
/// Further lanes are drawn together in the last one.
const LANES_MAX: usize = 16;
const LANE_PX: u32 = 30;
const TIMELINE_TICKS: usize = 12;

const SPARK_COLUMNS: usize = 42;
const SPARK_PX: (f64, f64) = (84.0, 24.0);

/// Width of a span in a picture of `from..to`, in percent.
struct Across {
    from: Minute,
    to: Minute,
}

impl Across {
    fn at(&self, minute: Minute) -> f64 {
        let span = self.to.0.saturating_sub(self.from.0).max(1) as f64;
        (minute.0.saturating_sub(self.from.0) as f64 / span * 100.0).clamp(0.0, 100.0)
    }
}

/// All insights over the whole span, in lanes; each mark leads to its section.
pub fn timeline(incidents: &[&Incident], summary: &SummaryFile) -> String {
    let times = || incidents.iter().flat_map(|incident| [incident.from(), incident.to()]).flatten();
    let (first, last) = span(summary);
    let Some((from, to)) = times().chain(first).min().zip(times().chain(last).max()) else { return String::new() };
    let across = Across { from, to: Minute(to.0.saturating_add(1)) };

    let lanes: String = lanes(incidents).iter().map(|lane| draw_lane(lane, &across, summary)).collect();
    let ticks: String = scale::time_ticks(across.from, across.to, TIMELINE_TICKS)
        .iter()
        .enumerate()
        .map(|(index, tick)| {
            let x = across.at(tick.minute);
            let anchor = if x < 4.0 {
                "start"
            } else if x > 95.0 {
                "end"
            } else {
                "middle"
            };
            let midnight = tick.minute.of_day() == 0;
            let words = if tick.dated || midnight { format::short_day(tick.minute) } else { tick.label.clone() };
            let class = if index % 2 == 1 { " class=\"odd\"" } else { "" };
            format!(
                "<g{class}><line x1=\"{x:.2}%\" x2=\"{x:.2}%\" y2=\"5\"/><text x=\"{x:.2}%\" y=\"19\" \
            text-anchor=\"{anchor}\">{words}</text></g>"
            )
        })
        .collect();
    let key: String = Severity::ALL
        .into_iter()
        .filter(|severity| incidents.iter().any(|incident| incident.severity() == *severity))
        .map(super::page::badge)
        .collect();
    let gap =
        if lanes.contains("class=\"gap\"") { "<span class=\"badge gapkey\"><i></i>no deliveries</span>" } else { "" };
    format!(
        "<section aria-labelledby=\"when\">\n<div class=\"bar\"><h2 id=\"when\">When</h2><span \
         class=\"keys\">{key}{gap}</span></div>\n\
         <div class=\"lanes\">\n{lanes}<div class=\"lane axis\"><span class=\"lane-name\">{}, UTC</span>\
         <svg width=\"100%\" height=\"24\" aria-hidden=\"true\">{ticks}</svg></div>\n</div>\n</section>\n",
        format::days_between(from, to),
    )
}

struct Lane<'a> {
    label: String,
    note: String,
    incidents: Vec<&'a Incident>,
}

/// Groups the insights; the busiest lane first where not all can be shown, else in the order of their names.
fn lanes<'a>(incidents: &[&'a Incident]) -> Vec<Lane<'a>> {
    let place = |i: &Incident| format!("{} {}", i.start.recipient_account_id, i.start.aws_region);
    let api = |i: &Incident| (i.start.insight_details.event_name.clone(), place(i));
    let group = |by_api: bool| {
        let mut groups: std::collections::BTreeMap<(String, String), Vec<&'a Incident>> = Default::default();
        for incident in incidents {
            let key = if by_api { api(incident) } else { (place(incident), String::new()) };
            groups.entry(key).or_default().push(incident);
        }
        groups
    };
    let by_api = group(true);
    let groups = if by_api.len() <= API_LANES_MAX { by_api } else { group(false) };
    let mut lanes: Vec<Lane> =
        groups.into_iter().map(|((label, note), incidents)| Lane { label, note, incidents }).collect();
    if lanes.len() > LANES_MAX {
        lanes.sort_by_key(|lane| std::cmp::Reverse(lane.incidents.len()));
        let rest = lanes.split_off(LANES_MAX - 1);
        let label = format!("{} more", rest.len());
        let incidents = rest.into_iter().flat_map(|lane| lane.incidents).collect();
        lanes.push(Lane { label, note: String::new(), incidents });
    }
    lanes
}

fn draw_lane(lane: &Lane, across: &Across, summary: &SummaryFile) -> String {
    let middle = LANE_PX / 2;
    let gaps: String = lane_account(lane, summary)
        .into_iter()
        .flat_map(|account| &account.gaps)
        .filter_map(|gap| Some((across.at(format::parse(&gap.from)?), across.at(format::parse(&gap.to)?))))
        .map(|(x0, x1)| {
            let width = (x1 - x0).max(0.0);
            format!("<rect class=\"gap\" x=\"{x0:.2}%\" width=\"{width:.2}%\" height=\"{LANE_PX}\"/>")
        })
        .collect();
    // The severest is drawn last and so lies on top; the caller hands them over severest first.
    let marks: String = lane.incidents.iter().rev().map(|incident| draw_mark(incident, across)).collect();
    let note = if lane.note.is_empty() { String::new() } else { format!("<small>{}</small>", name(&lane.note)) };
    format!(
        "<div class=\"lane\"><span class=\"lane-name\">{}{note}</span><svg width=\"100%\" height=\"{LANE_PX}\" \
         role=\"group\" \
         aria-label=\"{}\">{gaps}<line class=\"rail\" x2=\"100%\" y1=\"{middle}\" y2=\"{middle}\"/>{marks}</svg>\
         </div>\n",
        name(&lane.label),
        name(&lane.label),
    )
}

/// The account and Region whose deliveries the lane depends on, if it is only one.
fn lane_account<'a>(lane: &Lane, summary: &'a SummaryFile) -> Option<&'a Account> {
    let mut starts = lane.incidents.iter().map(|i| (&i.start.recipient_account_id, &i.start.aws_region));
    let first = starts.next()?;
    if starts.any(|other| other != first) {
        return None;
    }
    summary.accounts.iter().find(|account| (&account.account, &account.region) == first)
}

fn draw_mark(incident: &Incident, across: &Across) -> String {
    let Some(from) = incident.from() else { return String::new() };
    let severity = incident.severity();
    let x = across.at(from);
    let width = across.at(incident.to().unwrap_or(across.to)) - x;
    let middle = LANE_PX / 2;
    let details = &incident.start.insight_details;
    let code = details.error_code.as_deref().map(|code| format!(" {code}")).unwrap_or_default();
    let words = format!("{}: {}{code}, {} UTC", severity.word(), details.event_name, format::moment(from));
    format!(
        "<a href=\"#{anchor}\" data-id=\"{anchor}\" class=\"s-{word}\" aria-label=\"{label}\"><title>{label}</title>\
         <rect x=\"{x:.3}%\" y=\"{}\" width=\"{width:.3}%\" height=\"4\" rx=\"2\"/>\
         <svg x=\"{x:.3}%\" y=\"{middle}\" overflow=\"visible\" width=\"1\" height=\"1\"><path d=\"{}\"/></svg></a>",
        middle - 2,
        severity.shape(),
        anchor = incident.anchor(),
        word = severity.word(),
        label = name(&words),
    )
}

/// The close-up in the size of a word.
pub fn sparkline(figure: &Figure) -> String {
    let burst = burst_within(figure);
    let (from, to) = close_up(figure, burst);
    let columns = scale::columns(&figure.counts, from, to, SPARK_COLUMNS);
    let Some(highest) = columns.iter().max().filter(|highest| **highest > 0) else { return String::new() };
    let step = SPARK_PX.0 / columns.len() as f64;
    let minutes = (to.0 - from.0) as f64 / columns.len() as f64;
    let (mut outside, mut inside) = (String::new(), String::new());
    for (index, count) in columns.iter().enumerate().filter(|(_, count)| **count > 0) {
        let height = (*count as f64 / *highest as f64 * (SPARK_PX.1 - 2.0)).max(1.0);
        let first = from.0 as f64 + index as f64 * minutes;
        let during = first + minutes > burst.0.0 as f64 && burst.1.is_none_or(|end| first < end.0 as f64);
        let path = if during { &mut inside } else { &mut outside };
        let (x, bar) = (index as f64 * step, (step - 0.4).max(0.5));
        path.push_str(&format!("M{x:.1} {:.0}v-{height:.1}h{bar:.1}v{height:.1}z", SPARK_PX.1));
    }
    format!(
        "<svg class=\"spark\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" aria-hidden=\"true\">\
         <path class=\"c\" d=\"{outside}\"/><path class=\"d\" d=\"{inside}\"/></svg>",
        SPARK_PX.0, SPARK_PX.1,
    )
}
