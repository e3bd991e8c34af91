//! Times as CloudTrail writes them, and days as its keys do. By hand, because every record has one; compared with chrono
//! in the tests. Knows no clock.

pub(super) const SECONDS_PER_DAY: i64 = 86_400;

/// Days from 1970-01-01 to a date of the Gregorian calendar; `None` where the calendar has no such day.
#[inline(always)]
pub(super) const fn days_from_civil(year: i64, month: i64, day: i64) -> Option<i64> {
    const MONTH_DAYS: [i64; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    if month < 1 || month > 12 || day < 1 {
        return None;
    }
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = MONTH_DAYS[(month - 1) as usize] + (leap && month == 2) as i64;
    if day > length { None } else { Some(days_since_1970(year, month, day)) }
}

/// Counts in years that start on 1 March, so that the leap day is the last one; 719,468 days lie between 0000-03-01
/// and 1970-01-01, and `(153 m + 2) / 5` is the number of days before the m-th month after March.
#[inline(always)]
pub(super) const fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_after_march = (month + 9) % 12;
    let day_of_year = (153 * month_after_march + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

/// `2026-03-04T14:07:00Z`, also with a fraction (dropped) and with an offset in place of `Z`.
#[inline(always)]
pub(super) fn seconds(text: &[u8]) -> Option<i64> {
    let (time, rest) = text.split_first_chunk::<19>()?;
    let two = |at: usize| -> Option<i64> {
        let (tens, ones) = (time[at].wrapping_sub(b'0'), time[at + 1].wrapping_sub(b'0'));
        (tens <= 9 && ones <= 9).then(|| i64::from(tens * 10 + ones))
    };
    let marks = [time[4], time[7], time[13], time[16]];
    if marks != *b"--::" || !matches!(time[10], b'T' | b't' | b' ') {
        return None;
    }
    let days = days_from_civil(two(0)? * 100 + two(2)?, two(5)?, two(8)?)?;
    let (hour, minute, second) = (two(11)?, two(14)?, two(17)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let local = days * SECONDS_PER_DAY + hour * 3_600 + minute * 60 + second;
    if rest == b"Z" { Some(local) } else { Some(local - offset(rest)?) }
}

/// Seconds east of Greenwich of `.123Z`, `z`, `+01:00`, `-0530` or `+11`.
fn offset(text: &[u8]) -> Option<i64> {
    let zone = match text.split_first() {
        Some((b'.', fraction)) => {
            let digits = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
            if digits == 0 {
                return None;
            }
            &fraction[digits..]
        }
        _ => text,
    };
    let (sign, digits) = match zone.split_first()? {
        (b'Z' | b'z', []) => return Some(0),
        (b'+', digits) => (1, digits),
        (b'-', digits) => (-1, digits),
        _ => return None,
    };
    let digits = match *digits {
        [a, b] => [a, b, b'0', b'0'],
        [a, b, c, d] | [a, b, b':', c, d] => [a, b, c, d],
        _ => return None,
    };
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let [a, b, c, d] = digits.map(|digit| i64::from(digit - b'0'));
    let (hours, minutes) = (a * 10 + b, c * 10 + d);
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 3_600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let good = [
            ("1970-01-01T00:00:00Z", 0),
            ("2023-07-10T12:11:15Z", 1_688_991_075),
            ("2023-07-10T12:11:15.999Z", 1_688_991_075),
            ("2023-07-10t12:11:15z", 1_688_991_075),
            ("2023-07-10 14:11:15+02:00", 1_688_991_075),
            ("2023-07-10T06:41:15-0530", 1_688_991_075),
            ("2023-07-10T23:11:15.5+11", 1_688_991_075),
            ("2024-02-29T23:59:59Z", 1_709_251_199),
            ("2000-02-29T00:00:00Z", 951_782_400),
        ];
        for (text, expected) in good {
            assert_eq!(seconds(text.as_bytes()), Some(expected), "{text}");
        }
        let bad = [
            "",
            "2023",
            "2023-07-10",
            "2023-07-10T12:11:15",
            "2023-07-10T12:11:15.Z",
            "2023-07-10T12:11:60Z",
            "2023-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2023-13-01T00:00:00Z",
            "2023-00-01T00:00:00Z",
            "2023-01-00T00:00:00Z",
            "2023-01-01T24:00:00Z",
            "2023-01-01T00:60:00Z",
            "2023-01-01T00:00:00+24:00",
            "2023-01-01T00:00:00+1:00",
            "2023-01-01T00:00:00ZZ",
            "+023-01-01T00:00:00Z",
            "2023/01/01T00:00:00Z",
            "1688991075",
            "2023-01-01T00:00:00\u{e9}",
        ];
        for text in bad {
            assert_eq!(seconds(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn days_agree_with_chrono() {
        for day in (-800_000..900_000_i32).step_by(17) {
            let date = chrono::NaiveDate::from_epoch_days(day).unwrap();
            use chrono::Datelike;
            let (year, month) = (i64::from(date.year()), i64::from(date.month()));
            assert_eq!(days_from_civil(year, month, i64::from(date.day())), Some(i64::from(day)));
        }
    }
}
