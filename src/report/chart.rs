//! Lays out and draws one incident: the burst close up, the whole data around it in a strip below, and the callers.
//! Positions come from `scale`, shapes from `pen`, words from `format`; nothing here knows SVG or a colour.

use super::pen::{Anchor, Pen, Role, finish};
use super::scale::{self, columns};
use super::text::{begin, register, shorten, width};
use super::{Band, FIGURE_MINUTES_MAX, Figure, Form, ReportError, Unit, format};
use crate::event::Minute;

/// At least and at most so many minutes before the burst, which show what normal looked like, and after it, which show
/// that it is over.
const LEAD_MINUTES: (i64, i64) = (60, 720);
const TAIL_MINUTES: (i64, i64) = (30, 360);
/// Bars at least this wide get a gap of one pixel, so that single minutes can be told apart.
const GAP_FROM_PX: f64 = 3.5;
/// The band has a point about every so many pixels.
const BAND_POINT_PX: f64 = 3.0;
/// A line of all calls this many times above the errors would flatten them: it then gets a scale of its own.
const SHARED_SCALE_MAX: f64 = 4.0;
/// plotters cuts what lies outside its sheet: a sheet whose height follows from its content starts this high.
const HEIGHT_MAX_PX: f64 = 1_000.0;
/// A count that is not zero is never drawn lower than this.
const BAR_MIN_PX: f64 = 1.5;

/// Sizes of one form of the figure, in pixels.
struct Plan {
    width: f64,
    margin: f64,
    titled: bool,
    font: f64,
    small: f64,
    main_height: f64,
    strip_height: f64,
    /// Right of the main panel, for the baseline's label; 0 puts it in the legend.
    tag_width: f64,
    /// Right of the strip, for the callers; 0 leaves them out.
    callers_width: f64,
    /// Height of the sheet, or as much as is needed.
    height: Option<f64>,
}

impl Plan {
    fn of(form: Form) -> Plan {
        match form {
            Form::Picture => Plan {
                width: 1_200.0,
                margin: 36.0,
                titled: true,
                font: 14.0,
                small: 12.5,
                main_height: 250.0,
                strip_height: 74.0,
                tag_width: 96.0,
                callers_width: 350.0,
                height: Some(600.0),
            },
            Form::Page => Plan {
                width: 1_060.0,
                margin: 1.0,
                titled: false,
                font: 13.0,
                small: 12.0,
                main_height: 220.0,
                strip_height: 64.0,
                tag_width: 92.0,
                callers_width: 0.0,
                height: None,
            },
            Form::Phone => Plan {
                width: 360.0,
                margin: 2.0,
                titled: false,
                font: 12.5,
                small: 11.5,
                main_height: 180.0,
                strip_height: 56.0,
                tag_width: 0.0,
                callers_width: 0.0,
                height: None,
            },
        }
    }
}

/// A rectangle with a time axis below and a count axis at its left.
#[derive(Clone, Copy)]
struct Panel {
    x: (f64, f64),
    y: (f64, f64),
    from: Minute,
    to: Minute,
    top: f64,
}

impl Panel {
    fn px(&self, minute: Minute) -> f64 {
        let part = (minute.0 - self.from.0) as f64 / (self.to.0 - self.from.0) as f64;
        self.x.0 + part.clamp(0.0, 1.0) * (self.x.1 - self.x.0)
    }

    fn py(&self, value: f64) -> f64 {
        self.y.1 - (value / self.top).clamp(0.0, 1.0) * (self.y.1 - self.y.0)
    }

    fn columns(&self, counts: &[(Minute, u64)]) -> Vec<u64> {
        columns(counts, self.from, self.to, (self.x.1 - self.x.0) as usize)
    }
}

/// The figure as SVG text. The same figure gives the same bytes.
pub fn figure_svg(figure: &Figure, form: Form) -> Result<String, ReportError> {
    register()?;
    let span = figure.to.0.checked_sub(figure.from.0).filter(|span| (1..=FIGURE_MINUTES_MAX).contains(span));
    if span.is_none() {
        return Err(ReportError::Span { from: figure.from, to: figure.to });
    }
    let plan = Plan::of(form);
    // The height of a form without a title follows from its legend, so the drawing happens before it is known.
    let sheet = Sheet { figure, plan: &plan, burst: burst_within(figure) };
    let mut svg = String::new();
    let pen = Pen::new(&mut svg, plan.width as u32, plan.height.unwrap_or(HEIGHT_MAX_PX) as u32);
    if let Some(height) = plan.height {
        pen.rect((0.0, plan.width), (0.0, height), Role::Paper)?;
    }
    let used = sheet.draw(&pen)?;
    pen.present()?;
    let height = plan.height.unwrap_or(used);
    Ok(finish(&svg, (plan.width as u32, height.ceil() as u32), &sheet.in_words(), form != Form::Picture))
}

/// The burst cut to the data: at least one minute long, its end `None` while it is open.
pub(super) fn burst_within(figure: &Figure) -> (Minute, Option<Minute>) {
    let last = Minute(figure.to.0 - 1);
    let start = figure.burst.0.clamp(figure.from, last);
    (start, figure.burst.1.map(|end| end.clamp(Minute(start.0 + 1), figure.to)))
}

/// The part of the data that the main panel shows.
pub(super) fn close_up(figure: &Figure, burst: (Minute, Option<Minute>)) -> (Minute, Minute) {
    let end = burst.1.unwrap_or(figure.to);
    let length = end.0 - burst.0.0;
    let lead = (length * 6 / 10).clamp(LEAD_MINUTES.0, LEAD_MINUTES.1);
    let tail = (length * 35 / 100).clamp(TAIL_MINUTES.0, TAIL_MINUTES.1);
    // What one side cannot show for want of data, the other side shows.
    let from = figure.from.0.max(burst.0.0 - lead - (tail - (figure.to.0 - end.0)).max(0));
    let to = figure.to.0.min(end.0 + tail + (lead - (burst.0.0 - figure.from.0)).max(0));
    (Minute(from), Minute(to))
}

struct Sheet<'a> {
    figure: &'a Figure,
    plan: &'a Plan,
    burst: (Minute, Option<Minute>),
}

type Outline = Vec<(f64, f64)>;

enum Mark {
    Bar(Role),
    Line(Role, f64),
    Band,
}

impl Sheet<'_> {
    fn end(&self) -> Minute {
        self.burst.1.unwrap_or(self.figure.to)
    }

    fn in_words(&self) -> String {
        format!("{}. {}. {}", self.figure.title, self.figure.subtitle, self.burst_label())
    }

    fn unit(&self) -> &'static str {
        match self.figure.unit {
            Unit::Calls => "calls per minute",
            Unit::Errors => "errors per minute",
        }
    }

    /// Draws everything and returns the height used.
    fn draw(&self, pen: &Pen) -> Result<f64, ReportError> {
        let (plan, figure) = (self.plan, self.figure);
        let (left, right) = (plan.margin, plan.width - plan.margin);
        let mut y = 0.0;
        if plan.titled {
            y = self.draw_title(pen, left, right)?;
        }
        y = self.draw_legend(pen, (left, right), y + plan.font + 10.0)?;

        let (from, to) = close_up(figure, self.burst);
        let in_view = |counts: &[(Minute, u64)]| columns(counts, from, to, 1).first().copied().unwrap_or(0) as f64;
        let band: Vec<Vec<Band>> = scale::runs(&figure.band);
        let upper = |from, to| {
            band.iter().flat_map(|run| scale::clip(run, from, to, usize::MAX)).map(|b| b.upper).fold(0.0, f64::max)
        };
        let baseline = if figure.baseline_average.is_finite() { figure.baseline_average.max(0.0) } else { 0.0 };
        let own = in_view(&figure.counts).max(upper(from, to)).max(baseline).max(1.0);
        let all = figure.all_calls.as_deref().unwrap_or_default();
        let shared_scale = in_view(all) <= own * SHARED_SCALE_MAX;
        let highest = if shared_scale { own.max(in_view(all)) } else { own };

        let (ticks, top) = scale::count_ticks(highest, 4);
        let week_counts = columns(&figure.counts, figure.from, figure.to, 1).first().copied().unwrap_or(0) as f64;
        let (week_ticks, week_top) = scale::count_ticks(week_counts.max(upper(figure.from, figure.to)), 2);
        let widest =
            |ticks: &[f64]| ticks.iter().map(|t| width(&format::short(*t), plan.small, false)).fold(0.0, f64::max);
        let (all_ticks, all_top) = scale::count_ticks(in_view(all), 2);
        let axis_width = widest(&ticks).max(widest(&week_ticks)).max(widest(&all_ticks)) + 10.0;

        let label_baseline = y + plan.small + 16.0;
        let panel_top = label_baseline + 10.0;
        let mut main = Panel {
            x: (left + axis_width, right - plan.tag_width.max(8.0)),
            y: (panel_top, panel_top + plan.main_height),
            from,
            to,
            top,
        };
        let whole = main;
        self.draw_shade(pen, &whole)?;
        if !shared_scale {
            const OWN_SCALE_PX: f64 = 40.0;
            let above = Panel { y: (main.y.0, main.y.0 + OWN_SCALE_PX), top: all_top, ..main };
            main.y.0 += OWN_SCALE_PX + 34.0;
            let highest: Vec<f64> = [0.0].into_iter().chain(all_ticks.last().copied()).collect();
            self.draw_count_axis(pen, &above, &highest)?;
            self.draw_all_calls(pen, &above, all)?;
            pen.text(self.unit(), (left, main.y.0 - 9.0), (plan.small, false), Anchor::Left, Role::Muted)?;
            pen.line(&[(above.x.0, above.y.1), (above.x.1, above.y.1)], 1.0, Role::Axis)?;
        }
        self.draw_count_axis(pen, &main, &ticks)?;
        self.draw_counts(pen, &main, &band)?;
        if shared_scale {
            self.draw_all_calls(pen, &main, all)?;
        }
        self.draw_baseline(pen, &main, baseline)?;
        self.draw_peak(pen, &main)?;
        let unit = if shared_scale { self.unit() } else { "all calls per minute" };
        pen.text(unit, (left, label_baseline - 3.0), (plan.small, false), Anchor::Left, Role::Muted)?;
        let unit_end = left + width(unit, plan.small, false) + 14.0;
        self.draw_burst_label(pen, &whole, label_baseline, (unit_end, right))?;
        y = self.draw_time_axis(pen, &main, true)?;

        let strip_right = if self.has_callers() { right - plan.callers_width } else { main.x.1 };
        let heading = y + plan.font + if plan.titled { 22.0 } else { 16.0 };
        self.draw_strip_heading(pen, (left, strip_right), heading)?;
        let strip_top = heading + 18.0;
        let strip = Panel {
            x: (main.x.0, strip_right),
            y: (strip_top, strip_top + plan.strip_height),
            from: figure.from,
            to: figure.to,
            top: week_top,
        };
        self.draw_strip(pen, &strip, &week_ticks, &band, (from, to))?;
        let y = self.draw_time_axis(pen, &strip, false)?;
        if self.has_callers() {
            self.draw_callers(pen, (strip_right + 56.0, right), heading)?;
        }
        Ok(y + 6.0)
    }

    fn has_callers(&self) -> bool {
        self.plan.callers_width > 0.0 && !self.figure.callers.is_empty()
    }

    fn draw_title(&self, pen: &Pen, left: f64, right: f64) -> Result<f64, ReportError> {
        const TITLE_PX: [f64; 2] = [25.0, 20.0];
        let fits = |size: &f64| width(&self.figure.title, *size, true) <= right - left;
        let size = TITLE_PX.into_iter().find(fits).unwrap_or(TITLE_PX[1]);
        let title = begin(&self.figure.title, size, true, right - left);
        pen.text(&title, (left, 52.0), (size, true), Anchor::Left, Role::Ink)?;
        let subtitle = begin(&self.figure.subtitle, 15.0, false, right - left);
        pen.text(&subtitle, (left, 78.0), (15.0, false), Anchor::Left, Role::Muted)?;
        Ok(86.0)
    }

    /// Draws the legend in as many rows as it needs and returns the last one's baseline.
    fn draw_legend(&self, pen: &Pen, (left, right): (f64, f64), first: f64) -> Result<f64, ReportError> {
        let (figure, size) = (self.figure, self.plan.font);
        let (counts, burst) = match figure.unit {
            Unit::Calls => ("Calls per minute", "during the insight"),
            Unit::Errors => ("Errors per minute", "during the insight"),
        };
        let mut items = vec![(Mark::Bar(Role::Count), counts.to_owned()), (Mark::Bar(Role::Burst), burst.to_owned())];
        if figure.all_calls.is_some() {
            items.push((Mark::Line(Role::AllCalls, 1.5), "All calls of this API".to_owned()));
        }
        if !figure.band.is_empty() {
            items.push((Mark::Band, "Expected, with its range".to_owned()));
        }
        let baseline = match self.plan.tag_width {
            0.0 => format!("Baseline average {}/min", format::rate(figure.baseline_average)),
            _ => "Baseline average".to_owned(),
        };
        items.push((Mark::Line(Role::Baseline, 1.5), baseline));

        const SWATCH_PX: f64 = 18.0;
        const ITEM_GAP_PX: f64 = 24.0;
        let (mut x, mut y) = (left, first);
        for (mark, words) in items {
            let item_width = SWATCH_PX + 7.0 + width(&words, size, false);
            if x > left && x + item_width > right {
                (x, y) = (left, y + size + 9.0);
            }
            let middle = (y - size * 0.36).round() + 0.5;
            let (x0, x1) = (x, x + SWATCH_PX);
            match mark {
                Mark::Bar(role) => pen.rect((x0 + 2.0, x1 - 3.0), (middle - 6.0, middle + 6.0), role)?,
                Mark::Line(role, stroke) => pen.line(&[(x0, middle), (x1, middle)], stroke, role)?,
                Mark::Band => {
                    pen.rect((x0, x1), (middle - 6.0, middle + 6.0), Role::Band)?;
                    pen.line(&[(x0, middle), (x1, middle)], 1.5, Role::Expected)?;
                }
            }
            pen.text(&words, (x1 + 7.0, y), (size, false), Anchor::Left, Role::Ink)?;
            x += item_width + ITEM_GAP_PX;
        }
        Ok(y)
    }

    fn draw_shade(&self, pen: &Pen, panel: &Panel) -> Result<(), ReportError> {
        let (x0, x1) = (panel.px(self.burst.0), panel.px(self.end()));
        pen.rect((x0, x1.max(x0 + 1.0)), (panel.y.0 - 6.0, panel.y.1), Role::BurstShade)
    }

    fn draw_count_axis(&self, pen: &Pen, panel: &Panel, ticks: &[f64]) -> Result<(), ReportError> {
        for tick in ticks {
            let y = panel.py(*tick).floor() + 0.5;
            if *tick > 0.0 {
                pen.line(&[(panel.x.0, y), (panel.x.1, y)], 1.0, Role::Grid)?;
            }
            let at = (panel.x.0 - 8.0, y + self.plan.small * 0.36);
            pen.text(&format::short(*tick), at, (self.plan.small, false), Anchor::Right, Role::Muted)?;
        }
        Ok(())
    }

    /// Band, bars and expected line of a panel.
    fn draw_counts(&self, pen: &Pen, panel: &Panel, band: &[Vec<Band>]) -> Result<(), ReportError> {
        let points_max = ((panel.x.1 - panel.x.0) / BAND_POINT_PX) as usize;
        let runs: Vec<Vec<Band>> = band
            .iter()
            .map(|run| scale::clip(run, panel.from, panel.to, points_max))
            .filter(|run| run.len() > 1)
            .collect();
        for run in &runs {
            let high = run.iter().map(|b| (panel.px(b.minute), panel.py(b.upper)));
            let low = run.iter().rev().map(|b| (panel.px(b.minute), panel.py(b.lower)));
            pen.polygon(&high.chain(low).collect::<Vec<_>>(), Role::Band)?;
        }
        let (before, during) = self.bars(panel);
        pen.polygon(&before, Role::Count)?;
        pen.polygon(&during, Role::Burst)?;
        let floor = panel.y.1.floor() + 0.5;
        pen.line(&[(panel.x.0, floor), (panel.x.1, floor)], 1.0, Role::Axis)?;
        // On top of the bars, which would hide the range where they are high.
        for run in &runs {
            let line = |value: fn(&Band) -> f64| -> Vec<(f64, f64)> {
                run.iter().map(|b| (panel.px(b.minute), panel.py(value(b)))).collect()
            };
            pen.line(&line(|b| b.lower), 1.0, Role::BandEdge)?;
            pen.line(&line(|b| b.upper), 1.0, Role::BandEdge)?;
            pen.line(&line(|b| b.expected), 1.5, Role::Expected)?;
        }
        Ok(())
    }

    /// The outlines of the bars outside and inside the burst, each as one polygon along the floor of the panel.
    fn bars(&self, panel: &Panel) -> (Outline, Outline) {
        let columns = panel.columns(&self.figure.counts);
        let minutes = (panel.to.0 - panel.from.0) as f64;
        let bar = (panel.x.1 - panel.x.0) / columns.len().max(1) as f64;
        let gap = if bar >= GAP_FROM_PX { 0.5 } else { 0.0 };
        let (mut outside, mut inside) = (Vec::new(), Vec::new());
        for (index, count) in columns.iter().enumerate().filter(|(_, count)| **count > 0) {
            let first = (index as f64 * minutes / columns.len() as f64).ceil() as i64 + panel.from.0;
            let end = ((index + 1) as f64 * minutes / columns.len() as f64).ceil() as i64 + panel.from.0;
            let in_burst = end > self.burst.0.0 && first < self.end().0;
            let (x0, x1) = (panel.x.0 + index as f64 * bar + gap, panel.x.0 + (index + 1) as f64 * bar - gap);
            let y = panel.py(*count as f64).min(panel.y.1 - BAR_MIN_PX);
            let floor = panel.y.1;
            let outline = if in_burst { &mut inside } else { &mut outside };
            outline.extend([(x0, floor), (x0, y), (x1, y), (x1, floor)]);
        }
        (outside, inside)
    }

    fn draw_all_calls(&self, pen: &Pen, panel: &Panel, all: &[(Minute, u64)]) -> Result<(), ReportError> {
        if all.is_empty() {
            return Ok(());
        }
        let columns = panel.columns(all);
        let step = (panel.x.1 - panel.x.0) / columns.len().max(1) as f64;
        let corner = |(index, count): (usize, &u64)| {
            let (x, y) = (panel.x.0 + index as f64 * step, panel.py(*count as f64));
            [(x, y), (x + step, y)]
        };
        let line: Vec<(f64, f64)> = columns.iter().enumerate().flat_map(corner).collect();
        pen.line(&line, 1.0, Role::AllCalls)
    }

    fn draw_baseline(&self, pen: &Pen, panel: &Panel, baseline: f64) -> Result<(), ReportError> {
        let size = self.plan.small;
        let y = panel.py(baseline);
        pen.line(&[(panel.x.0, y), (panel.x.1, y)], 1.5, Role::Baseline)?;
        if self.plan.tag_width > 0.0 {
            let x = panel.x.1 + 10.0;
            let value = format!("{}/min", format::rate(baseline));
            let value = shorten(&value, size, true, self.plan.tag_width - 10.0);
            let middle = y.clamp(panel.y.0 + size, panel.y.1 - size * 0.8);
            pen.text("baseline avg.", (x, middle - 3.0), (size, false), Anchor::Left, Role::Baseline)?;
            pen.text(&value, (x, middle + size), (size, true), Anchor::Left, Role::Baseline)?;
        }
        Ok(())
    }

    /// The highest count, written above its bar if it lies in the burst: elsewhere it is not the news.
    fn draw_peak(&self, pen: &Pen, panel: &Panel) -> Result<(), ReportError> {
        let in_view = self.figure.counts.iter().filter(|(minute, _)| (panel.from..panel.to).contains(minute));
        // The first of equals, so that the label does not hang on the order of the input.
        let Some((minute, count)) = in_view.max_by_key(|(minute, count)| (*count, std::cmp::Reverse(*minute))) else {
            return Ok(());
        };
        if *count == 0 || *minute < self.burst.0 || *minute >= self.end() {
            return Ok(());
        }
        let words = format!(
            "peak {}",
            if *count < 1_000_000_000 { format::whole(*count) } else { format::short(*count as f64) }
        );
        // Inside the burst if it is wide enough; else beside it, where nothing is as high.
        const SPACE_PX: f64 = 6.0;
        let wide = width(&words, self.plan.small, true);
        let (x0, x1) = (panel.px(self.burst.0), panel.px(self.end()));
        let (low, high) = (x0 + SPACE_PX + wide / 2.0, x1 - SPACE_PX - wide / 2.0);
        let top = panel.py(*count as f64);
        let beside = (top + self.plan.small).min(panel.y.1 - SPACE_PX);
        let (x, y) = if low <= high {
            (f64::midpoint(panel.px(*minute), panel.px(Minute(minute.0 + 1))).clamp(low, high), top - SPACE_PX)
        } else if x1 + SPACE_PX + wide <= panel.x.1 {
            (x1 + SPACE_PX + wide / 2.0, beside)
        } else {
            (x0 - SPACE_PX - wide / 2.0, beside)
        };
        pen.text(&words, (x, y), (self.plan.small, true), Anchor::Middle, Role::Burst)
    }

    fn burst_label(&self) -> String {
        let (start, end) = self.burst;
        let Some(end) = end else {
            return format!("since {} UTC, still open", self.instant(start));
        };
        let length = format::duration(end.0 - start.0);
        let till = if start.day() == end.day() { format::clock(end) } else { self.instant(end) };
        format!("{} – {till} UTC, {length}", self.instant(start))
    }

    /// A clock time; with its day where the main panel shows more than one.
    fn instant(&self, minute: Minute) -> String {
        let (from, to) = close_up(self.figure, self.burst);
        if from.day() == to.day() {
            format::clock(minute)
        } else {
            format!("{} {}", format::short_day(minute), format::clock(minute))
        }
    }

    /// Start and end as lines through the panel, joined above it by a bar that carries their times.
    fn draw_burst_label(&self, pen: &Pen, panel: &Panel, y: f64, limits: (f64, f64)) -> Result<(), ReportError> {
        let size = self.plan.small;
        let (x0, x1) = (panel.px(self.burst.0), panel.px(self.end()));
        let top = panel.y.0 - 6.0;
        let snap = |x: f64| x.floor() + 0.5;
        pen.line(&[(snap(x0), top), (snap(x0), panel.y.1)], 1.0, Role::Burst)?;
        if self.burst.1.is_some() {
            pen.line(&[(snap(x1), top), (snap(x1), panel.y.1)], 1.0, Role::Burst)?;
        }
        pen.rect((x0, x1.max(x0 + 3.0)), (top - 1.5, top + 1.5), Role::Burst)?;
        let words = shorten(&self.burst_label(), size, true, limits.1 - limits.0);
        let half = width(&words, size, true) / 2.0;
        let x = f64::midpoint(x0, x1).min(limits.1 - half).max(limits.0 + half);
        pen.text(&words, (x, y - 3.0), (size, true), Anchor::Middle, Role::Burst)
    }

    /// Ticks and their words below a panel; a second row names the days where the first holds clock times. Returns
    /// the last row's baseline.
    fn draw_time_axis(&self, pen: &Pen, panel: &Panel, rows: bool) -> Result<f64, ReportError> {
        let size = self.plan.small;
        let floor = panel.y.1 + 0.5;
        let baseline = panel.y.1 + 8.0 + size;
        let room = width("Wed 30 Sep", size, false) + 14.0;
        let ticks = scale::time_ticks(panel.from, panel.to, ((panel.x.1 - panel.x.0) / room) as usize);
        let mut free_from = f64::MIN;
        for tick in &ticks {
            let x = panel.px(tick.minute);
            pen.line(&[(x.floor() + 0.5, floor), (x.floor() + 0.5, floor + 5.0)], 1.0, Role::Axis)?;
            // A strip has one row: its midnights carry the date.
            let words = if !rows && !tick.dated && tick.minute.of_day() == 0 {
                format::day(tick.minute)
            } else {
                tick.label.clone()
            };
            let half = width(&words, size, false) / 2.0;
            let inside = x - half >= 1.0 && x + half <= self.plan.width - 1.0;
            if inside && x - half > free_from {
                pen.text(&words, (x, baseline), (size, false), Anchor::Middle, Role::Muted)?;
                free_from = x + half + 6.0;
            }
        }
        if !rows {
            return Ok(baseline);
        }
        let second = baseline + size + 4.0;
        let mut free_from = f64::MIN;
        for day in panel.from.day()..=Minute(panel.to.0 - 1).day() {
            let midnight = Minute(day * 1_440);
            let x = panel.px(midnight.max(panel.from));
            let next = panel.px(Minute(midnight.0 + 1_440));
            let words = if free_from == f64::MIN {
                format!("{}, UTC", format::full_day(midnight))
            } else {
                format::full_day(midnight)
            };
            let wide = width(&words, size, false);
            let fits = x >= free_from && (next - x >= wide || next >= panel.x.1) && x + wide <= self.plan.width - 1.0;
            if fits {
                pen.text(&words, (x, second), (size, false), Anchor::Left, Role::Muted)?;
                free_from = x + wide + 12.0;
            }
        }
        Ok(second)
    }

    fn draw_strip_heading(&self, pen: &Pen, (left, right): (f64, f64), y: f64) -> Result<(), ReportError> {
        const WEEK_MINUTES: i64 = 7 * 1_440;
        let size = self.plan.font;
        let span = self.figure.to.0 - self.figure.from.0;
        let heading = if (span - WEEK_MINUTES).abs() < 1_440 {
            "The week around it".to_owned()
        } else {
            format!("The {} around it", format::about(span))
        };
        pen.text(&heading, (left, y), (size, true), Anchor::Left, Role::Ink)?;
        let days = format!("{}, UTC", format::days_between(self.figure.from, Minute(self.figure.to.0 - 1)));
        let used = left + width(&heading, size, true) + 14.0;
        if used + width(&days, self.plan.small, false) <= right {
            pen.text(&days, (used, y), (self.plan.small, false), Anchor::Left, Role::Muted)?;
        }
        Ok(())
    }

    fn draw_strip(
        &self,
        pen: &Pen,
        strip: &Panel,
        ticks: &[f64],
        band: &[Vec<Band>],
        shown: (Minute, Minute),
    ) -> Result<(), ReportError> {
        let (x0, x1) = (strip.px(shown.0), strip.px(shown.1));
        if shown != (strip.from, strip.to) {
            pen.rect((x0, x1.max(x0 + 1.0)), (strip.y.0, strip.y.1), Role::Window)?;
        }
        self.draw_count_axis(pen, strip, ticks)?;
        self.draw_counts(pen, strip, band)?;
        // A five-minute burst is less than a pixel wide here: a mark above it says where to look.
        const MARK_PX: f64 = 10.0;
        let (b0, b1) = (strip.px(self.burst.0), strip.px(self.end()));
        if b1 - b0 >= MARK_PX {
            return pen.rect((b0, b1), (strip.y.0 - 5.0, strip.y.0 - 2.0), Role::Burst);
        }
        let (x, y) = (f64::midpoint(b0, b1), strip.y.0 - 1.0);
        pen.polygon(&[(x - MARK_PX / 2.0, y - 8.0), (x + MARK_PX / 2.0, y - 8.0), (x, y)], Role::Burst)
    }

    fn draw_callers(&self, pen: &Pen, (left, right): (f64, f64), y: f64) -> Result<(), ReportError> {
        const CALLERS_MAX: usize = 3;
        const ROW_PX: f64 = 33.0;
        let size = self.plan.small;
        let heading = match self.figure.unit {
            Unit::Calls => "Who made the extra calls",
            Unit::Errors => "Who got the extra errors",
        };
        pen.text(heading, (left, y), (self.plan.font, true), Anchor::Left, Role::Ink)?;
        // The account in an ARN tells something only where callers of several accounts meet.
        let mut accounts: Vec<&str> =
            self.figure.callers.iter().filter_map(|(name, _)| name.split(':').nth(4)).collect();
        accounts.dedup();
        let parts = if accounts.len() > 1 { 5 } else { 6 };
        for (index, (caller, share)) in self.figure.callers.iter().take(CALLERS_MAX).enumerate() {
            let caller =
                if caller.starts_with("arn:") { caller.splitn(parts, ':').last().unwrap_or(caller) } else { caller };
            let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
            let baseline = y + 24.0 + index as f64 * ROW_PX;
            let words = shorten(caller, size, false, right - left - 56.0);
            pen.text(&words, (left, baseline), (size, false), Anchor::Left, Role::Ink)?;
            pen.text(&format::percent(share), (right, baseline), (size, true), Anchor::Right, Role::Ink)?;
            let bar = (baseline + 6.0, baseline + 11.0);
            pen.rect((left, right), bar, Role::Track)?;
            pen.rect((left, left + (right - left) * share), bar, Role::Burst)?;
        }
        Ok(())
    }
}
