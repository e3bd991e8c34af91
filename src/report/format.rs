//! Numbers, durations and times as words for people. All times are UTC. Knows nothing of charts or HTML.

use chrono::{DateTime, Datelike, Timelike, Utc};

use crate::event::Minute;

const MINUTES_PER_HOUR: i64 = 60;
const MINUTES_PER_DAY: i64 = 1_440;
/// From here on a count is shortened to k or M; below, every digit tells.
const SHORT_FROM: f64 = 10_000.0;

/// `1,234,567`
pub use crate::insight::words::thousands as whole;

/// `950`, `2,500`, `12.5k`, `3M`
pub fn short(number: f64) -> String {
    let scaled = |unit: f64, suffix: &str| format!("{}{suffix}", trim(format!("{:.1}", number / unit)));
    match number {
        n if n >= 999_950_000_000.0 => scaled(1e12, "T"),
        n if n >= 999_950_000.0 => scaled(1e9, "G"),
        n if n >= 999_950.0 => scaled(1e6, "M"),
        n if n >= SHORT_FROM => scaled(1e3, "k"),
        n => whole(n.max(0.0).round() as u64),
    }
}

/// A mean per minute with three digits that tell: `0`, `<0.001`, `0.0212`, `9.6`, `1,250`.
pub fn rate(per_minute: f64) -> String {
    match per_minute {
        r if r.is_nan() || r <= 0.0 => "0".to_owned(),
        r if r < 0.001 => "<0.001".to_owned(),
        r if r < 0.1 => trim(format!("{r:.4}")),
        r if r < 1.0 => trim(format!("{r:.3}")),
        r if r < 10.0 => trim(format!("{r:.2}")),
        r if r < 100.0 => trim(format!("{r:.1}")),
        r => short(r),
    }
}

/// A small mean said the other way round: `about 1.3 an hour`. Nothing for one a minute or more.
pub fn rate_in_words(per_minute: f64) -> Option<String> {
    let about = |number: f64, of: &str| Some(format!("about {} {of}", trim(format!("{number:.1}"))));
    match per_minute {
        r if r.is_nan() || r <= 0.0 || r >= 1.0 => None,
        r if r * 60.0 >= 1.0 => about(r * 60.0, "an hour"),
        r if r * 1_440.0 >= 1.0 => about(r * 1_440.0, "a day"),
        r if r * 10_080.0 >= 0.05 => about(r * 10_080.0, "a week"),
        _ => None,
    }
}

/// `14x`, `2.4x`, `1,250x`
pub fn ratio(ratio: f64) -> String {
    match ratio {
        r if !r.is_finite() || r < 0.0 => "–".to_owned(),
        r if r < 0.1 => format!("{}×", trim(format!("{r:.2}"))),
        r if r < 10.0 => format!("{}×", trim(format!("{r:.1}"))),
        r => format!("{}×", short(r)),
    }
}

/// `37%`, `<1%`
pub fn percent(share: f64) -> String {
    let percent = (share * 100.0).clamp(0.0, 100.0);
    match percent {
        p if p > 0.0 && p < 1.0 => "<1%".to_owned(),
        p if p > 99.0 && p < 100.0 => ">99%".to_owned(),
        p => format!("{p:.0}%"),
    }
}

/// `5 min`, `3 h 10 min`, `2 days 4 h`
pub fn duration(minutes: i64) -> String {
    let (days, hours, rest) =
        (minutes / MINUTES_PER_DAY, minutes % MINUTES_PER_DAY / MINUTES_PER_HOUR, minutes % MINUTES_PER_HOUR);
    let day_word = if days == 1 { "day" } else { "days" };
    match (days, hours, rest) {
        (0, 0, rest) => format!("{rest} min"),
        (0, hours, 0) => format!("{hours} h"),
        (0, hours, rest) => format!("{hours} h {rest} min"),
        (days, 0, _) => format!("{days} {day_word}"),
        (days, hours, _) => format!("{days} {day_word} {hours} h"),
    }
}

/// A duration where only its size matters: whole days from two days on.
pub fn about(minutes: i64) -> String {
    const WHOLE_DAYS_FROM: i64 = 2 * MINUTES_PER_DAY;
    if minutes < WHOLE_DAYS_FROM { duration(minutes) } else { format!("{} days", (minutes + 720) / MINUTES_PER_DAY) }
}

fn time(minute: Minute) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(minute.0.checked_mul(60)?, 0)
}

/// `14:07`
pub fn clock(minute: Minute) -> String {
    time(minute).map_or_else(|| minute.0.to_string(), |t| format!("{:02}:{:02}", t.hour(), t.minute()))
}

/// `Wed 4 Mar`
pub fn day(minute: Minute) -> String {
    time(minute).map_or_else(|| minute.0.to_string(), |t| format!("{} {} {}", t.weekday(), t.day(), month(t)))
}

/// `4 Mar`
pub fn short_day(minute: Minute) -> String {
    time(minute).map_or_else(|| minute.0.to_string(), |t| format!("{} {}", t.day(), month(t)))
}

/// `Wed 4 Mar 2026`
pub fn full_day(minute: Minute) -> String {
    time(minute).map_or_else(|| minute.0.to_string(), |t| format!("{} {}", day(minute), t.year()))
}

/// `4 Mar 2026`
pub fn full_date(minute: Minute) -> String {
    time(minute).map_or_else(|| minute.0.to_string(), |t| format!("{} {}", short_day(minute), t.year()))
}

/// `4 Mar 2026 14:07`
pub fn moment(minute: Minute) -> String {
    format!("{} {}", full_date(minute), clock(minute))
}

/// `25 Feb – 4 Mar 2026`, from the first minute to the last (inclusive).
pub fn days_between(first: Minute, last: Minute) -> String {
    let (Some(a), Some(b)) = (time(first), time(last)) else { return String::new() };
    if a.date_naive() == b.date_naive() {
        return full_day(first);
    }
    let year = if a.year() == b.year() { String::new() } else { format!(" {}", a.year()) };
    format!("{}{year} – {} {}", short_day(first), short_day(last), b.year())
}

fn month(time: DateTime<Utc>) -> &'static str {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    MONTHS[time.month0() as usize]
}

/// `2026-03-04T14:07:00Z` back to its minute.
pub fn parse(time: &str) -> Option<Minute> {
    DateTime::parse_from_rfc3339(time).ok().map(|t| Minute(t.timestamp().div_euclid(60)))
}

/// A probability's natural logarithm as words: `1 in 4 million`.
pub fn odds(ln_odds: f64) -> String {
    const NAMES: [(f64, &str); 5] =
        [(12.0, " trillion"), (9.0, " billion"), (6.0, " million"), (3.0, " thousand"), (0.0, "")];
    if ln_odds.is_nan() {
        return "unknown".to_owned();
    }
    let exponent = -ln_odds / std::f64::consts::LN_10;
    if exponent == f64::INFINITY {
        return "practically never".to_owned();
    }
    if exponent >= 15.0 {
        return format!("1 in 10{}", superscript(exponent.floor() as u64));
    }
    let (power, name) = NAMES.into_iter().find(|(power, _)| exponent >= *power).unwrap_or((0.0, ""));
    let number = 10f64.powf((exponent - power).max(0.0));
    let digits = if number < 10.0 && power > 0.0 { 1 } else { 0 };
    format!("1 in {}{name}", trim(format!("{number:.digits$}")))
}

fn superscript(number: u64) -> String {
    const DIGITS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    number.to_string().bytes().map(|digit| DIGITS[usize::from(digit - b'0')]).collect()
}

fn trim(text: String) -> String {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_words() {
        let shorts = [0.0, 950.0, 2_500.0, 9_999.4, 12_500.0, 999_949.0, 999_950.0, 3e6, 1e15].map(short);
        assert_eq!(shorts, ["0", "950", "2,500", "9,999", "12.5k", "999.9k", "1M", "3M", "1000T"]);
        let rates = [0.0, 0.000_088, 0.021_231_8, 0.5, 9.6, 85.42, 1_250.0, f64::NAN].map(rate);
        assert_eq!(rates, ["0", "<0.001", "0.0212", "0.5", "9.6", "85.4", "1,250", "0"]);
        assert_eq!(rate_in_words(0.021_231_811).as_deref(), Some("about 1.3 an hour"));
        assert_eq!(rate_in_words(0.000_088_2).as_deref(), Some("about 0.9 a week"));
        assert_eq!([0.0, 0.004, 0.37, 0.999, 1.0].map(percent), ["0%", "<1%", "37%", ">99%", "100%"]);
        assert_eq!([5, 60, 190, 1_440, 3_120].map(duration), ["5 min", "1 h", "3 h 10 min", "1 day", "2 days 4 h"]);
        assert_eq!(whole(u64::MAX), "18,446,744,073,709,551,615");
    }

    #[test]
    fn odds_in_words() {
        let ln = |probability: f64| odds(probability.ln());
        assert_eq!(ln(1.0 / 250.0), "1 in 250");
        assert_eq!(ln(1.0 / 12_345.0), "1 in 12 thousand");
        assert_eq!(ln(2.5e-10), "1 in 4 billion");
        assert_eq!(odds(-3_914.0), "1 in 10¹⁶⁹⁹");
        assert_eq!([0.0, f64::NEG_INFINITY, f64::NAN].map(odds), ["1 in 1", "practically never", "unknown"]);
    }

    #[test]
    fn times_in_words() {
        let minute = parse("2026-03-04T14:07:00Z").unwrap_or(Minute(0));
        assert_eq!((clock(minute), full_day(minute)), ("14:07".to_owned(), "Wed 4 Mar 2026".to_owned()));
        assert_eq!(days_between(Minute(minute.0 - 7 * 1_440), minute), "25 Feb – 4 Mar 2026");
        assert_eq!(moment(minute), "4 Mar 2026 14:07");
        assert_eq!(clock(Minute(i64::MAX)), i64::MAX.to_string());
        assert_eq!(parse("yesterday"), None);
    }
}
