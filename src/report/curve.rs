//! Precision against recall, one line for each detector, the setting that it comes with as a dot. Is handed shares and
//! names; does not know how they were measured.

use super::pen::{Anchor, Pen, Role, finish};
use super::{ReportError, text};

/// One detector over its settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    pub name: String,
    /// Recall and precision, each in `0..=1`, in the order of the setting.
    pub points: Vec<(f64, f64)>,
    /// Which of them is the setting that the detector comes with.
    pub default: Option<usize>,
}

const WIDTH: u32 = 900;
const HEIGHT: u32 = 744;
/// Left, right, top and bottom of the square of shares, in pixels. Names stand to the right of it.
const PLOT: (f64, f64, f64, f64) = (84.0, 684.0, 122.0, 662.0);
const NAME_X: f64 = PLOT.1 + 34.0;
const NAME_SIZE: f64 = 15.0;
const NAME_STEP: f64 = 44.0;
/// Radius of the dot on a default; those behind are wider, so that dots on one place show as rings.
const DOT: f64 = 7.5;
const RING: f64 = 3.0;

/// Okabe and Ito's colours, which differ in every common colour blindness; the first is the detector in question.
const ROLES: [Role; 5] =
    [Role::CurveBlue, Role::CurveVermillion, Role::CurveGreen, Role::CurvePurple, Role::CurveOrange];

/// At most as many curves are drawn as there are colours to tell them apart.
pub const CURVES_MAX: usize = ROLES.len();

/// A picture of at most [`CURVES_MAX`] curves, 900 x 744.
pub fn curves_svg(title: &str, subtitle: &str, curves: &[Curve]) -> Result<String, ReportError> {
    text::register()?;
    let mut svg = String::new();
    let pen = Pen::new(&mut svg, WIDTH, HEIGHT);
    pen.rect((0.0, f64::from(WIDTH)), (0.0, f64::from(HEIGHT)), Role::Paper)?;
    let room = f64::from(WIDTH) - 2.0 * 28.0;
    pen.text(&text::begin(title, 22.0, true, room), (28.0, 42.0), (22.0, true), Anchor::Left, Role::Ink)?;
    pen.text(&text::begin(subtitle, 14.0, false, room), (28.0, 68.0), (14.0, false), Anchor::Left, Role::Muted)?;
    axes(&pen)?;
    let curves: Vec<(&Curve, Role)> = curves.iter().zip(ROLES).collect();
    // The first is drawn last, above the others.
    for (place, (curve, role)) in curves.iter().enumerate().rev() {
        let points: Vec<(f64, f64)> = curve.points.iter().map(|point| position(*point)).collect();
        pen.line(&points, if place == 0 { 3.5 } else { 2.0 }, *role)?;
        for point in &points {
            disc(&pen, *point, if place == 0 { 3.5 } else { 2.5 }, *role)?;
        }
        if let Some(at) = curve.default.and_then(|place| points.get(place)) {
            let radius = DOT + RING * place.saturating_sub(1) as f64;
            disc(&pen, *at, radius + 1.5, Role::Paper)?;
            disc(&pen, *at, radius, *role)?;
        }
    }
    names(&pen, &curves)?;
    pen.present()?;
    let label = format!("{title}: precision against recall of {} detectors", curves.len());
    Ok(finish(&svg, (WIDTH, HEIGHT), &label, false))
}

fn position((recall, precision): (f64, f64)) -> (f64, f64) {
    let (left, right, top, bottom) = PLOT;
    (left + recall.clamp(0.0, 1.0) * (right - left), bottom - precision.clamp(0.0, 1.0) * (bottom - top))
}

fn axes(pen: &Pen) -> Result<(), ReportError> {
    let (left, right, top, bottom) = PLOT;
    for fifth in 0..=5 {
        let share = f64::from(fifth) / 5.0;
        let (x, y) = position((share, share));
        let role = if fifth == 0 { Role::Axis } else { Role::Grid };
        pen.line(&[(left, y), (right, y)], 1.0, role)?;
        pen.line(&[(x, top), (x, bottom)], 1.0, role)?;
        let label = format!("{} %", fifth * 20);
        pen.text(&label, (left - 10.0, y + 5.0), (13.0, false), Anchor::Right, Role::Muted)?;
        pen.text(&label, (x, bottom + 22.0), (13.0, false), Anchor::Middle, Role::Muted)?;
    }
    let middle = left.midpoint(right);
    let words = "recall: share of the truths that were found";
    pen.text(words, (middle, bottom + 52.0), (14.0, false), Anchor::Middle, Role::Ink)?;
    let words = "precision: share of the incidents that were true";
    pen.text(words, (28.0, top - 18.0), (14.0, false), Anchor::Left, Role::Ink)
}

/// A name beside the plot for each curve, in the order of the curves' ends, so that eyes need not cross.
fn names(pen: &Pen, curves: &[(&Curve, Role)]) -> Result<(), ReportError> {
    let room = f64::from(WIDTH) - NAME_X - 12.0;
    for (place, (curve, role)) in curves.iter().enumerate() {
        let y = PLOT.2 + 22.0 + place as f64 * NAME_STEP;
        pen.line(&[(PLOT.1 + 10.0, y - 5.0), (NAME_X - 6.0, y - 5.0)], if place == 0 { 3.5 } else { 2.0 }, *role)?;
        let name = text::shorten(&curve.name, NAME_SIZE, place == 0, room);
        pen.text(&name, (NAME_X, y), (NAME_SIZE, place == 0), Anchor::Left, Role::Ink)?;
        if let Some((recall, precision)) = curve.default.and_then(|place| curve.points.get(place)) {
            let words = format!("{:.0} % found, {:.0} % true", recall * 100.0, precision * 100.0);
            let words = text::begin(&words, 12.5, false, room);
            pen.text(&words, (NAME_X, y + 17.0), (12.5, false), Anchor::Left, Role::Muted)?;
        }
    }
    let y = PLOT.2 + 22.0 + curves.len() as f64 * NAME_STEP + 4.0;
    disc(pen, (PLOT.1 + 19.0, y - 5.0), DOT, Role::Muted)?;
    pen.text("the setting it comes with", (NAME_X, y), (12.5, false), Anchor::Left, Role::Muted)
}

/// A filled circle, as a polygon.
fn disc(pen: &Pen, (x, y): (f64, f64), radius: f64, role: Role) -> Result<(), ReportError> {
    const CORNERS: u32 = 24;
    let corner = |index: u32| {
        let angle = std::f64::consts::TAU * f64::from(index) / f64::from(CORNERS);
        (x + radius * angle.cos(), y + radius * angle.sin())
    };
    pen.polygon(&(0..CORNERS).map(corner).collect::<Vec<_>>(), role)
}
