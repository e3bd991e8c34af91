//! Points in time and lengths of time as people write them on a command line.

use chrono::{DateTime, NaiveDate};

use crate::event::Minute;

/// RFC 3339 (`2026-03-04T14:07:00Z`), a UTC date (`2026-03-04`), or a length before now (`90d`).
pub(super) fn parse_time(text: &str) -> Result<Minute, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(Minute::of_second(time.timestamp()));
    }
    if let Ok(date) = text.parse::<NaiveDate>() {
        return Ok(Minute::of_second(date.and_hms_opt(0, 0, 0).map_or(0, |time| time.and_utc().timestamp())));
    }
    match parse_minutes(text) {
        Ok(minutes) => Ok(Minute(Minute::of_second(chrono::Utc::now().timestamp()).0 - minutes)),
        Err(_) => Err(format!("{text}: neither a time like 2026-03-04T14:07:00Z, a date, nor a length like 90d")),
    }
}

/// `90d`, `12h`, `30m`, `2w`, in minutes.
pub(super) fn parse_minutes(text: &str) -> Result<i64, String> {
    let wrong = || format!("{text}: not a length of time like 90d, 12h, 30m or 2w");
    let (number, unit) = text.split_at_checked(text.len().wrapping_sub(1)).ok_or_else(wrong)?;
    let unit = match unit {
        "m" => 1,
        "h" => 60,
        "d" => 1_440,
        "w" => 10_080,
        _ => return Err(wrong()),
    };
    let number: u32 = number.parse().map_err(|_| wrong())?;
    Ok(i64::from(number) * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_lengths() {
        assert_eq!(parse_minutes("90d"), Ok(90 * 1440));
        assert_eq!(parse_minutes("30m"), Ok(30));
        assert!(["", "d", "3", "3y", "-3d", "3é", "999999999999d"].iter().all(|text| parse_minutes(text).is_err()));
        assert_eq!(parse_time("2026-03-04T14:07:59Z").map(|m| m.to_string()), Ok("2026-03-04T14:07:00Z".into()));
        assert_eq!(parse_time("2026-03-04T14:07:59+02:00").map(|m| m.to_string()), Ok("2026-03-04T12:07:00Z".into()));
        assert_eq!(parse_time("2026-03-04").map(|m| m.to_string()), Ok("2026-03-04T00:00:00Z".into()));
        assert!(parse_time("yesterday").is_err());
    }
}
