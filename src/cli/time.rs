//! Points in time as people write them on a command line.

use chrono::{DateTime, NaiveDate};

use crate::config::parse_minutes;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(parse_time("2026-03-04T14:07:59Z").map(|m| m.to_string()), Ok("2026-03-04T14:07:00Z".into()));
        assert_eq!(parse_time("2026-03-04T14:07:59+02:00").map(|m| m.to_string()), Ok("2026-03-04T12:07:00Z".into()));
        assert_eq!(parse_time("2026-03-04").map(|m| m.to_string()), Ok("2026-03-04T00:00:00Z".into()));
        assert!(parse_time("yesterday").is_err());
    }
}
