//! Draws shapes in pixels through plotters and gives every shape a role instead of a colour; the roles become fixed
//! colours for a picture or CSS variables for a page. Knows nothing of time, counts or layout.

use plotters::backend::SVGBackend;
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::element::{PathElement, Polygon, Rectangle};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontFamily, FontStyle, RGBColor, ShapeStyle, TextStyle};

use super::{ReportError, text};

/// plotters has whole coordinates; two units to the pixel let hairlines sit sharply on one row of pixels.
const UNITS_PER_PIXEL: f64 = 2.0;
/// plotters divides the size of a text by this before it writes the SVG.
const PLOTTERS_FONT_SCALE: f64 = 1.24;
/// plotters' top anchor lowers the baseline by this part of the font size.
const TOP_ANCHOR_EM: f64 = 0.76;

/// What a shape means. Blue against vermillion stays apart in every common colour blindness, and lightness differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Paper,
    Ink,
    Muted,
    Grid,
    Axis,
    Window,
    Count,
    Burst,
    BurstShade,
    Band,
    BandEdge,
    Expected,
    Baseline,
    AllCalls,
    Track,
    CurveBlue,
    CurveVermillion,
    CurveGreen,
    CurvePurple,
    CurveOrange,
}

impl Role {
    const ALL: [Role; 20] = [
        Role::Paper,
        Role::Ink,
        Role::Muted,
        Role::Grid,
        Role::Axis,
        Role::Window,
        Role::Count,
        Role::Burst,
        Role::BurstShade,
        Role::Band,
        Role::BandEdge,
        Role::Expected,
        Role::Baseline,
        Role::AllCalls,
        Role::Track,
        Role::CurveBlue,
        Role::CurveVermillion,
        Role::CurveGreen,
        Role::CurvePurple,
        Role::CurveOrange,
    ];

    /// Colour on white, and the page's variable for it.
    fn colour(self) -> (&'static str, &'static str) {
        match self {
            Role::Paper => ("#FFFFFF", "--card"),
            Role::Ink => ("#16202C", "--ink"),
            Role::Muted => ("#566273", "--muted"),
            Role::Grid => ("#E6EAEF", "--grid"),
            Role::Axis => ("#A3AEBB", "--axis"),
            Role::Window => ("#F0F3F6", "--window"),
            Role::Count => ("#5B8FC6", "--count"),
            Role::Burst => ("#BF4408", "--burst"),
            Role::BurstShade => ("#FDEFE5", "--shade"),
            Role::Band => ("#DDE9F5", "--band"),
            Role::BandEdge => ("#A9C6E3", "--edge"),
            Role::Expected => ("#174A7C", "--expected"),
            Role::Baseline => ("#6D3FA0", "--baseline"),
            Role::AllCalls => ("#87919D", "--all"),
            Role::Track => ("#E9EDF1", "--track"),
            // M. Okabe and K. Ito, "Color Universal Design" (2008). Curves are not on the page.
            Role::CurveBlue => ("#0072B2", "--curve-1"),
            Role::CurveVermillion => ("#D55E00", "--curve-2"),
            Role::CurveGreen => ("#009E73", "--curve-3"),
            Role::CurvePurple => ("#CC79A7", "--curve-4"),
            Role::CurveOrange => ("#E69F00", "--curve-5"),
        }
    }

    /// A colour that stands for the role until [`Pen::finish`] puts the real one in its place.
    fn stand_in(self) -> RGBColor {
        RGBColor(0, 0, self as u8)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    Left,
    Middle,
    Right,
}

/// A sheet being drawn on. Positions are pixels from the upper left corner.
pub struct Pen<'a> {
    area: DrawingArea<SVGBackend<'a>, Shift>,
}

impl<'a> Pen<'a> {
    pub fn new(buffer: &'a mut String, width: u32, height: u32) -> Pen<'a> {
        let size = (width * UNITS_PER_PIXEL as u32, height * UNITS_PER_PIXEL as u32);
        Pen { area: SVGBackend::with_string(buffer, size).into_drawing_area() }
    }

    pub fn rect(&self, x: (f64, f64), y: (f64, f64), role: Role) -> Result<(), ReportError> {
        let shape = Rectangle::new([units(x.0, y.0), units(x.1, y.1)], role.stand_in().filled());
        self.area.draw(&shape).map_err(draw_error)
    }

    pub fn polygon(&self, points: &[(f64, f64)], role: Role) -> Result<(), ReportError> {
        let points = thin(points);
        if points.len() < 3 {
            return Ok(());
        }
        self.area.draw(&Polygon::new(points, role.stand_in().filled())).map_err(draw_error)
    }

    pub fn line(&self, points: &[(f64, f64)], width: f64, role: Role) -> Result<(), ReportError> {
        let points = thin(points);
        if points.len() < 2 {
            return Ok(());
        }
        let stroke_width = (width * UNITS_PER_PIXEL).round() as u32;
        let style = ShapeStyle { color: role.stand_in().to_rgba(), filled: false, stroke_width };
        self.area.draw(&PathElement::new(points, style)).map_err(draw_error)
    }

    /// One line of text on a baseline. The caller has made sure that it fits.
    pub fn text(
        &self,
        words: &str,
        (x, baseline): (f64, f64),
        (size, bold): (f64, bool),
        anchor: Anchor,
        role: Role,
    ) -> Result<(), ReportError> {
        let horizontal = match anchor {
            Anchor::Left => HPos::Left,
            Anchor::Middle => HPos::Center,
            Anchor::Right => HPos::Right,
        };
        let style = if bold { FontStyle::Bold } else { FontStyle::Normal };
        let font = (FontFamily::Name(text::FAMILY), size * UNITS_PER_PIXEL * PLOTTERS_FONT_SCALE, style);
        let colour = role.stand_in();
        let style = TextStyle::from(font).color(&colour).pos(Pos::new(horizontal, VPos::Top));
        let at = units(x, baseline - TOP_ANCHOR_EM * size);
        self.area.draw_text(&text::clean(words), &style, at).map_err(draw_error)
    }

    pub fn present(self) -> Result<(), ReportError> {
        self.area.present().map_err(draw_error)
    }
}

fn units(x: f64, y: f64) -> (i32, i32) {
    ((x * UNITS_PER_PIXEL).round() as i32, (y * UNITS_PER_PIXEL).round() as i32)
}

/// Whole units, without points that lie on the straight way between their neighbours: a page holds many figures.
fn thin(points: &[(f64, f64)]) -> Vec<(i32, i32)> {
    let mut kept: Vec<(i32, i32)> = Vec::with_capacity(points.len());
    for point in points.iter().map(|&(x, y)| units(x, y)) {
        if kept.last() == Some(&point) {
            continue;
        }
        if let [.., a, b] = kept[..] {
            let (ab, bc) = ((b.0 - a.0, b.1 - a.1), (point.0 - b.0, point.1 - b.1));
            let cross = i64::from(ab.0) * i64::from(bc.1) - i64::from(ab.1) * i64::from(bc.0);
            let dot = i64::from(ab.0) * i64::from(bc.0) + i64::from(ab.1) * i64::from(bc.1);
            // Straight on: the middle point says nothing. A way back is kept.
            if cross == 0 && dot > 0 {
                kept.pop();
            }
        }
        kept.push(point);
    }
    kept
}

fn draw_error(error: impl std::fmt::Display) -> ReportError {
    ReportError::Draw(error.to_string())
}

/// Puts colours in the place of roles, states the size in pixels and adds the words for screen readers. In a text
/// plotters has escaped every quote, so that what is replaced here is markup only.
pub fn finish(svg: &str, (width, height): (u32, u32), label: &str, themed: bool) -> String {
    let mut svg = svg.replace(" opacity=\"1\"", "").replace(" \"/>\n", "\"/>\n");
    for role in Role::ALL {
        let (fixed, variable) = role.colour();
        let colour = if themed { format!("=\"var({variable})\"") } else { format!("=\"{fixed}\"") };
        let RGBColor(r, g, b) = role.stand_in();
        svg = svg.replace(&format!("=\"#{r:02X}{g:02X}{b:02X}\""), &colour);
    }
    let baseline = Role::Baseline.colour();
    for colour in [format!(" stroke=\"{}\"", baseline.0), format!(" stroke=\"var({})\"", baseline.1)] {
        svg = svg.replace(&colour, &format!("{colour} stroke-dasharray=\"10 7\""));
    }
    if themed {
        // The page gives the font, and inline SVG needs no name space.
        svg = svg.replace(&format!(" font-family=\"{}\"", text::FAMILY), "");
    }
    let body = svg.split_once('>').map_or("", |(_, body)| body);
    let units = UNITS_PER_PIXEL as u32;
    let name_space = if themed { "" } else { " xmlns=\"http://www.w3.org/2000/svg\"" };
    format!(
        "<svg{name_space} width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {} {}\" role=\"img\" \
         aria-label=\"{}\">{body}",
        width * units,
        height * units,
        text::escape(&text::clean(label)),
    )
}
