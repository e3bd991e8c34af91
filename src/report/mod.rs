//! Pictures and pages for people: one insight as an SVG or PNG chart or for a terminal, a whole run as one HTML file,
//! detectors compared. Is handed counts, bands, shares and Insights records; does not know where they came from, how an
//! insight was judged, or where bytes go.

mod chart;
mod curve;
mod format;
mod page;
mod pen;
mod plot;
mod publish;
mod recount;
mod scale;
mod section;
mod small;
mod terminal;
mod text;

use std::sync::{Arc, OnceLock};

use resvg::usvg::{self, fontdb};
use resvg::{render, tiny_skia};

use crate::event::Minute;

pub use chart::figure_svg;
pub use curve::{CURVES_MAX, Curve, curves_svg};
pub use page::{Incident, Page, page_html};
pub use publish::{band, pair, picture_of, publish, time_of};
pub use recount::{Check, recount, title};
pub use scale::columns;
pub use terminal::{Style, Told, tell};

/// What goes wrong while drawing. None of it depends on the names inside a figure.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("a figure needs 1 to {max} minutes, not {from} to {to}", max = FIGURE_MINUTES_MAX)]
    Span { from: Minute, to: Minute },
    #[error("the bundled font cannot be read")]
    Font,
    #[error("drawing a figure: {0}")]
    Draw(String),
    #[error("reading an SVG picture: {0}")]
    Svg(#[from] usvg::Error),
    #[error("a picture of {width} x {height} pixels cannot be made")]
    Size { width: u32, height: u32 },
    #[error("writing a PNG: {0}")]
    Png(String),
    #[error("writing a record as JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("{path}: {source}")]
    Write { path: String, source: std::io::Error },
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
}

/// Ten years: far more than a trail's baseline, little enough that no position overflows.
pub const FIGURE_MINUTES_MAX: i64 = 10 * 366 * 1_440;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Calls,
    Errors,
}

/// What the forecast expected of one minute, in calls (or errors) per minute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Band {
    pub minute: Minute,
    pub expected: f64,
    pub lower: f64,
    pub upper: f64,
}

/// What a chart needs of one incident. Series are per minute and sparse: a minute that is not listed had no calls.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// `RunInstances 14x above normal in us-east-1`
    pub title: String,
    /// Account, and the top caller with its share.
    pub subtitle: String,
    pub unit: Unit,
    /// First minute of the data; the lower strip shows all of it.
    pub from: Minute,
    /// First minute after the data.
    pub to: Minute,
    pub counts: Vec<(Minute, u64)>,
    /// Error rate only: every call of the API, with or without the error.
    pub all_calls: Option<Vec<(Minute, u64)>>,
    /// In order of time. May be coarse: values between two entries are interpolated, a long hole stays a hole.
    pub band: Vec<Band>,
    /// Calls (or errors) per minute.
    pub baseline_average: f64,
    /// Start, and the first minute after the end; `None` while the incident is open.
    pub burst: (Minute, Option<Minute>),
    /// Who made the extra calls and their share of them in `0..=1`, largest first.
    pub callers: Vec<(String, f64)>,
}

/// Where a figure will be seen; decides size, colours and which words stand in the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// 1200 x 600 with title and callers, light colours, stands alone.
    Picture,
    /// For the page on a wide screen or paper: no title, colours follow the page.
    Page,
    /// The same for a phone.
    Phone,
}

/// Rasterises an SVG that [`figure_svg`] made for [`Form::Picture`]. Uses the bundled font and no other.
pub fn png(svg: &str) -> Result<Vec<u8>, ReportError> {
    let options = usvg::Options { fontdb: fonts(), font_family: text::FAMILY.to_owned(), ..usvg::Options::default() };
    let tree = usvg::Tree::from_str(svg, &options)?;
    let size = tree.size().to_int_size();
    let (width, height) = (size.width(), size.height());
    let mut pixels = tiny_skia::Pixmap::new(width, height).ok_or(ReportError::Size { width, height })?;
    render(&tree, tiny_skia::Transform::identity(), &mut pixels.as_mut());
    pixels.encode_png().map_err(|error| ReportError::Png(error.to_string()))
}

/// The bundled faces. Loaded once: a copy per picture would be a megabyte each.
fn fonts() -> Arc<fontdb::Database> {
    static FONTS: OnceLock<Arc<fontdb::Database>> = OnceLock::new();
    let load = || {
        let mut database = fontdb::Database::new();
        database.load_font_data(notosans::REGULAR_TTF.to_vec());
        database.load_font_data(notosans::BOLD_TTF.to_vec());
        Arc::new(database)
    };
    Arc::clone(FONTS.get_or_init(load))
}
