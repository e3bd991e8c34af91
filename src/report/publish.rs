//! Everything for people in a result directory: a picture for each incident and the page. Reads records and rates back
//! from disk, so that a report can be made again at any time; runs the forecast over them once more for the band.

use std::collections::BTreeMap;
use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::recount::{peers, title};
use super::{Band, Figure, Form, Incident, Page, ReportError, Unit, figure_svg, page_html, png};
use crate::baseline::Baseline;
use crate::event::{MINUTES_PER_DAY, Minute};
use crate::insight::trail::TrailRecord;
use crate::insight::words::{percent, principal};
use crate::store::rates::{self, Counts, Name};
use crate::store::{self, SummaryFile};

/// The week around a burst: so much before its start, and after its end.
const DAYS_BEFORE: i64 = 5;
const DAYS_AFTER: i64 = 2;

/// The forecast of a picture learns from so many days before its start. More would hardly change the band, and a sidecar
/// that runs for years has years of them.
const DAYS_LEARNED: i64 = 56;

/// Draws `charts/` and `report.html` below `root` from its rates and from these records. Returns how many pictures.
pub fn publish(root: &Path, records: Vec<TrailRecord>, summary: &SummaryFile) -> Result<usize, ReportError> {
    let incidents = pair(records);
    let mut names: Vec<Name> = incidents.iter().map(|(start, _)| Name::of_record(start)).collect();
    names.extend(names.clone().iter().map(Name::all_calls));
    names.sort();
    names.dedup();
    let days = incidents.iter().map(|(start, end)| days_of(start, end.as_ref()));
    let days = days.reduce(|all, one| *all.start().min(one.start())..=*all.end().max(one.end()));
    let counts = days.map_or(Ok(Default::default()), |days| rates::read(&root.join("rates"), &names, days))?;
    let data_end = counts.values().filter_map(|series| series.last()).map(|(minute, _)| minute.0 + 1).max();

    let charts = root.join("charts");
    if !incidents.is_empty() {
        fs::create_dir_all(&charts).map_err(|error| write_error(&charts, error))?;
    }
    let next = AtomicUsize::new(0);
    let draw = || {
        let mut drawn = Vec::new();
        while let Some((place, (start, end))) = {
            let place = next.fetch_add(1, Ordering::Relaxed);
            incidents.get(place).map(|incident| (place, incident))
        } {
            let name = Name::of_record(start);
            let series = counts.get(&name).map_or(&[][..], Vec::as_slice);
            let all_calls = name.error_code.is_some().then(|| counts.get(&name.all_calls()).cloned()).flatten();
            let figure = figure(start, end.as_ref(), series, all_calls, data_end);
            let picture = png(&figure_svg(&figure, Form::Picture)?)?;
            // An ID is a file name only if it is one of ours or AWS's.
            let id: String = start.shared_event_id.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
            let path = charts.join(format!("{id}.png"));
            fs::write(&path, picture).map_err(|error| write_error(&path, error))?;
            drawn.push((place, figure));
        }
        Ok::<_, ReportError>(drawn)
    };
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    let mut figures: Vec<(usize, Figure)> = std::thread::scope(|scope| {
        let artists: Vec<_> = (0..threads.min(incidents.len())).map(|_| scope.spawn(draw)).collect();
        let mut figures = Vec::new();
        for artist in artists {
            figures.extend(artist.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok::<_, ReportError>(figures)
    })?;
    figures.sort_by_key(|(place, _)| *place);

    let pictures = figures.len();
    let incidents =
        incidents.into_iter().zip(figures).map(|((start, end), (_, figure))| Incident { start, end, figure }).collect();
    let page = page_html(&Page { summary, incidents })?;
    let path = root.join("report.html");
    fs::write(&path, page).map_err(|error| write_error(&path, error))?;
    Ok(pictures)
}

/// The picture of one incident of a result directory. None while the counts of its day are not there.
pub fn picture_of(root: &Path, shared_event_id: &str) -> Result<Option<Vec<u8>>, ReportError> {
    let mut records = store::read_insights(root)?;
    records.retain(|record| record.shared_event_id == shared_event_id);
    let Some((start, end)) = pair(records).pop() else { return Ok(None) };
    let day = time_of(&start).to_string();
    if !root.join(format!("rates/date={}", &day[..10.min(day.len())])).exists() {
        return Ok(None);
    }
    let name = Name::of_record(&start);
    let mut counts =
        rates::read(&root.join("rates"), &[name.clone(), name.all_calls()], days_of(&start, end.as_ref()))?;
    let all_calls = name.error_code.is_some().then(|| counts.remove(&name.all_calls())).flatten();
    let series = counts.remove(&name).unwrap_or_default();
    // A day may come to the disk in parts: without the burst itself there is nothing to show.
    let burst = time_of(&start)..=end.as_ref().map_or(time_of(&start), time_of);
    if !series.iter().any(|(minute, _)| burst.contains(minute)) {
        return Ok(None);
    }
    let data_end = series.last().map(|(minute, _)| minute.0 + 1);
    let figure = figure(&start, end.as_ref(), &series, all_calls, data_end);
    Ok(Some(png(&figure_svg(&figure, Form::Picture)?)?))
}

fn write_error(path: &Path, source: std::io::Error) -> ReportError {
    ReportError::Write { path: path.display().to_string(), source }
}

/// Starts with their ends, in the order of the starts. An end without its start stands for both.
pub fn pair(records: Vec<TrailRecord>) -> Vec<(TrailRecord, Option<TrailRecord>)> {
    let mut order = Vec::new();
    let mut pairs: BTreeMap<String, (Option<TrailRecord>, Option<TrailRecord>)> = BTreeMap::new();
    for record in records {
        let id = record.shared_event_id.clone();
        let pair = pairs.entry(id.clone()).or_insert_with(|| {
            order.push(id);
            (None, None)
        });
        if record.insight_details.state == "End" { pair.1 = Some(record) } else { pair.0 = Some(record) }
    }
    order
        .into_iter()
        .filter_map(|id| match pairs.remove(&id)? {
            (Some(start), end) => Some((start, end)),
            (None, Some(end)) => Some((end.clone(), Some(end))),
            (None, None) => None,
        })
        .collect()
}

/// The minute of a record's time; records are ours or AWS's, so a time that cannot be read is set to 1970.
pub fn time_of(record: &TrailRecord) -> Minute {
    Minute::parse(&record.event_time).unwrap_or(Minute(0))
}

/// The days that a picture needs.
fn days_of(start: &TrailRecord, end: Option<&TrailRecord>) -> RangeInclusive<i64> {
    let last = end.map_or(time_of(start), time_of).day();
    time_of(start).day() - DAYS_LEARNED..=last + DAYS_AFTER
}

fn figure(
    start_record: &TrailRecord,
    end_record: Option<&TrailRecord>,
    series: &[(Minute, u64)],
    all_calls: Option<Counts>,
    data_end: Option<i64>,
) -> Figure {
    let details = &start_record.insight_details;
    let newest = end_record.unwrap_or(start_record);
    let statistics = &newest.insight_details.insight_context.statistics;
    let baseline = statistics.baseline.average.0;
    let start = time_of(start_record);
    let end = end_record.map(time_of);
    let from = Minute(start.0 - DAYS_BEFORE * MINUTES_PER_DAY);
    let last = end.unwrap_or(start).0 + DAYS_AFTER * MINUTES_PER_DAY;
    let to = Minute(last.min(data_end.unwrap_or(last)).max(end.map_or(start.0 + 60, |end| end.0 + 10)));
    let within = |counts: &[(Minute, u64)]| -> Counts {
        counts.iter().filter(|(minute, _)| (from..to).contains(minute)).copied().collect()
    };
    let callers = callers(newest);
    let mut subtitle = format!("Account {}", start_record.recipient_account_id);
    if let Some((caller, share)) = callers.first() {
        let of = if details.error_code.is_some() { "of the extra errors" } else { "of the extra calls" };
        subtitle += &format!(" · {}: {} {of}", principal(caller), percent(*share));
    }
    Figure {
        title: title(newest),
        subtitle,
        unit: if details.error_code.is_some() { Unit::Errors } else { Unit::Calls },
        from,
        to,
        counts: within(series),
        all_calls: all_calls.map(|calls| within(&calls)),
        band: band(start_record, series, from, to, (start, end)),
        baseline_average: baseline,
        burst: (start, end),
        callers,
    }
}

/// Who made the extra calls, from our object or else from AWS's attributions.
fn callers(record: &TrailRecord) -> Vec<(String, f64)> {
    const ARN: &str = "userIdentityArn";
    if let Some(extra) = &record.highwater {
        let values = extra.excess.iter().filter(|excess| excess.attribute == ARN).flat_map(|excess| &excess.values);
        return values.map(|value| (value.value.clone(), value.share)).collect();
    }
    let context = &record.insight_details.insight_context;
    let total = context.statistics.insight.average.0.max(f64::MIN_POSITIVE);
    let attributions = context.attributions.iter().flatten().filter(|attribution| attribution.attribute == ARN);
    attributions
        .flat_map(|attribution| &attribution.insight)
        .map(|value| (value.value.clone(), (value.average.0 / total).min(1.0)))
        .collect()
}

/// The forecast of each hour as it stood before that hour. What lies above it within the burst is not learned here: a
/// picture of a burst against its own echo would explain nothing.
pub fn band(
    record: &TrailRecord,
    series: &[(Minute, u64)],
    from: Minute,
    to: Minute,
    burst: (Minute, Option<Minute>),
) -> Vec<Band> {
    let peers = peers(record);
    let mut baseline = Baseline::default();
    let mut limit = f64::INFINITY;
    let mut rest = series.iter();
    let mut peeked = rest.next();
    let mut band = Vec::new();
    for hour in from.hour()..=to.hour() {
        let first = Minute(hour * 60);
        while let Some(&(at, count)) = peeked.filter(|(at, _)| *at < first) {
            let in_burst = at >= burst.0 && burst.1.is_none_or(|end| at < end);
            baseline.learn(at, if in_burst { (count as f64).min(limit) as u64 } else { count }, peers);
            peeked = rest.next();
        }
        let forecast = baseline.predict(first, peers).forecast();
        limit = forecast.upper;
        // The same for the whole hour: a step, not a slope.
        band.extend([first, Minute(first.0 + 59)].map(|minute| Band {
            minute,
            expected: forecast.mean,
            lower: forecast.lower,
            upper: forecast.upper,
        }));
    }
    band
}
