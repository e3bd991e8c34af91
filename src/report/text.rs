//! Text from strangers: how wide it is in the bundled font, how a long name is cut to fit, how it is made safe for
//! markup. Knows nothing of charts.

use std::sync::OnceLock;

use plotters::style::{FontDesc, FontFamily, FontStyle, register_font};

use super::ReportError;

pub const FAMILY: &str = "Noto Sans";

/// plotters scales a face so that ascent plus descent give the asked size; in Noto Sans (`hhea`: 2189 + 600 of
/// 2048 units) that is this many em.
const HEIGHT_EM: f64 = 2_789.0 / 2_048.0;
/// plotters measures in whole pixels: measuring large and scaling down keeps the fraction.
const MEASURE_PX: f64 = 1_000.0;
const ELLIPSIS: char = '…';

/// Makes the bundled faces known to plotters; the first call does the work.
pub fn register() -> Result<(), ReportError> {
    static DONE: OnceLock<bool> = OnceLock::new();
    let load = || {
        register_font(FAMILY, FontStyle::Normal, notosans::REGULAR_TTF).is_ok()
            && register_font(FAMILY, FontStyle::Bold, notosans::BOLD_TTF).is_ok()
    };
    if *DONE.get_or_init(load) { Ok(()) } else { Err(ReportError::Font) }
}

/// Width in pixels of one line of text at a font size in pixels.
pub fn width(text: &str, size: f64, bold: bool) -> f64 {
    let style = if bold { FontStyle::Bold } else { FontStyle::Normal };
    let font = FontDesc::new(FontFamily::Name(FAMILY), MEASURE_PX * HEIGHT_EM, style);
    let measured = font.layout_box(text).map(|(low, high)| f64::from(high.0 - low.0));
    // Only an unregistered font fails; one em per character is then safely too wide.
    measured.map_or_else(|_| text.chars().count() as f64 * size, |width| width * size / MEASURE_PX)
}

/// The text without characters that XML forbids or that would break a line.
pub fn clean(text: &str) -> String {
    let printable = |c: char| match c {
        '\u{fffe}' | '\u{ffff}' => ' ',
        // Direction marks could turn the words around them: a name must not reorder its neighbours.
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => ' ',
        c if c.is_control() => ' ',
        c => c,
    };
    text.chars().map(printable).collect()
}

/// The text if it fits; else without an ARN's head; else cut in the middle, where names differ least.
pub fn shorten(text: &str, size: f64, bold: bool, width_max: f64) -> String {
    let text = clean(text);
    if width(&text, size, bold) <= width_max {
        return text;
    }
    let text = if text.starts_with("arn:") { text.splitn(6, ':').last().unwrap_or_default().to_owned() } else { text };
    if width(&text, size, bold) <= width_max {
        return text;
    }
    cut(&text, size, bold, width_max, |kept| kept.div_ceil(2))
}

/// The sentence if it fits; else its beginning.
pub fn begin(text: &str, size: f64, bold: bool, width_max: f64) -> String {
    let text = clean(text);
    if width(&text, size, bold) <= width_max { text } else { cut(&text, size, bold, width_max, |kept| kept) }
}

/// The most characters that fit around an ellipsis, `head(kept)` of those kept standing before it.
fn cut(text: &str, size: f64, bold: bool, width_max: f64, head: fn(usize) -> usize) -> String {
    let characters: Vec<char> = text.chars().collect();
    let keep = |kept: usize| -> String {
        let (head, tail) = (head(kept), characters.len() - (kept - head(kept)));
        characters[..head].iter().chain([&ELLIPSIS]).chain(&characters[tail..]).collect()
    };
    // Width grows with every character kept, so the longest fit is found by halving.
    let (mut fits, mut too_long) = (0, characters.len());
    while too_long - fits > 1 {
        let middle = fits.midpoint(too_long);
        if width(&keep(middle), size, bold) <= width_max { fits = middle } else { too_long = middle }
    }
    keep(fits)
}

/// Text made safe for element content and quoted attributes of HTML and SVG.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\n' | '\t' => safe.push(c),
            c if c.is_control() => safe.push(char::REPLACEMENT_CHARACTER),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_keeps_both_ends_and_fits() {
        assert!(register().is_ok());
        let arn = "arn:aws:sts::123456789012:assumed-role/BuildRole";
        assert_eq!(shorten(arn, 12.0, false, 1_000.0), arn);
        assert_eq!(shorten(arn, 12.0, false, 150.0), "assumed-role/BuildRole");
        let short = shorten(&"Ünï→code-データ-".repeat(40), 12.0, true, 150.0);
        assert!(short.contains('…') && width(&short, 12.0, true) <= 150.0);
        assert_eq!(shorten("", 12.0, false, 0.0), "");
        assert_eq!(begin("one two three", 12.0, false, 50.0), "one tw…");
    }

    #[test]
    fn nothing_breaks_out_of_markup() {
        assert_eq!(escape("<a b='\"'>&\u{0}\n"), "&lt;a b=&#39;&quot;&#39;&gt;&amp;\u{fffd}\n");
        assert_eq!(clean("a\u{202e}b\nc"), "a b c");
    }
}
