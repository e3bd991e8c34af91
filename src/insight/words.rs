//! An insight in words: a title, a sentence, and numbers as people say them. Knows no markup.

use super::{Direction, Insight, State};
use crate::window::Attribute;

/// "1.8x", "14x", and no pretence of precision over a baseline of next to nothing: "over 1,000x".
pub fn times(ratio: f64) -> String {
    match ratio {
        r if r < 9.95 => format!("{r:.1}x"),
        r if r < 1_000.0 => format!("{r:.0}x"),
        _ => "over 1,000x".to_owned(),
    }
}

/// 1234567 as "1,234,567".
pub fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate per minute with the digits that matter.
pub fn per_minute(rate: f64) -> String {
    match rate {
        r if r >= 100.0 => thousands(r.round() as u64),
        r if r.fract() == 0.0 => format!("{r}"),
        r if r >= 1.0 => format!("{r:.1}"),
        r if r >= 0.01 => format!("{r:.2}"),
        r if r > 0.0 => "under 0.01".to_owned(),
        _ => "0".to_owned(),
    }
}

/// What a title needs; a record has it as well as an [`Insight`].
pub struct Headline<'a> {
    pub event_name: &'a str,
    pub error_code: Option<&'a str>,
    pub region: &'a str,
    pub down: bool,
    /// Insight average over baseline average; none over a zero baseline.
    pub ratio: Option<f64>,
}

/// "RunInstances 14x above normal in us-east-1", "AccessDenied on GetObject 14x above normal in us-east-1",
/// "CreateUser after a week of silence in us-east-1".
pub fn title(headline: &Headline) -> String {
    let what = match headline.error_code {
        Some(code) => format!("{code} on {}", headline.event_name),
        None => headline.event_name.to_owned(),
    };
    match headline.ratio {
        _ if headline.down => format!("{what} fell below normal in {}", headline.region),
        Some(ratio) => format!("{what} {} above normal in {}", times(ratio), headline.region),
        None => format!("{what} after a week of silence in {}", headline.region),
    }
}

/// "role deploy", "user alice", or the text itself where it is no ARN of a principal.
pub fn principal(arn: &str) -> String {
    if let Some((_, role)) = arn.split_once(":assumed-role/") {
        return format!("role {role}");
    }
    match arn.rsplit_once(":user/") {
        Some((_, user)) => format!("user {user}"),
        None if arn.ends_with(":root") => "the root user".to_owned(),
        None => arn.to_owned(),
    }
}

/// So few calls in a baseline are better counted than averaged.
const FEW: u64 = 50;

/// Two sentences: what happened against what, and who did it. "RunInstances was called 118 times in 12 minutes, 14:07
/// to 14:19 UTC: 9.8 a minute, 14x the 0.70 of the seven days before (0 to 3 expected at this hour). 93 % of the extra
/// calls came from role deploy, not seen with this API before."
pub fn reason(insight: &Insight) -> String {
    let api = &insight.series.api;
    let what = match &insight.series.error_code {
        Some(code) => format!("{} failed with {code}", api.event_name),
        None => format!("{} was called", api.event_name),
    };
    let count = match insight.insight.count {
        0 => "not once".to_owned(),
        1 => "once".to_owned(),
        n => format!("{} times", thousands(n)),
    };
    let minutes = insight.insight.minutes;
    let minutes_said =
        if minutes == 1 { "1 minute".to_owned() } else { format!("{} minutes", thousands(minutes as u64)) };
    // A start is averaged over the window that ends with its detection; an end over the incident.
    let until = insight.end.unwrap_or(insight.decided).0;
    let clock = |minute: i64| format!("{:02}:{:02}", minute.rem_euclid(1_440) / 60, minute.rem_euclid(60));
    let so_far = if insight.state == State::Start { " so far" } else { "" };
    let usual = match insight.ratio() {
        None => "never in the seven days before".to_owned(),
        Some(ratio) if insight.direction == Direction::Down => {
            format!("{} of the {} of the seven days before", percent(ratio), per_minute(insight.baseline.average()))
        }
        Some(_) if insight.baseline.count == 1 => "against a single one in the seven days before".to_owned(),
        Some(_) if insight.baseline.count < FEW => {
            format!("against {} in all the seven days before", insight.baseline.count)
        }
        Some(ratio) => {
            format!("{} the {} of the seven days before", times(ratio), per_minute(insight.baseline.average()))
        }
    };
    let (_, lower, upper) = insight.expected;
    let expected = match upper {
        0.0 => "none".to_owned(),
        _ => format!("{} to {}", per_minute(lower), per_minute(upper)),
    };
    let mut text = format!(
        "{what} {count} in {minutes_said}, {} to {} UTC{so_far}: {} a minute, {usual} ({expected} expected at this hour).",
        clock(until - minutes),
        clock(until),
        per_minute(insight.insight.average()),
    );
    let excess = insight.excess();
    let callers = excess.iter().find(|(attribute, _)| *attribute == Attribute::UserIdentityArn);
    if let Some(top) = callers.and_then(|(_, values)| values.first())
        && insight.direction == Direction::Up
    {
        let extra = if insight.series.error_code.is_some() { "extra errors" } else { "extra calls" };
        let share = if top.share >= 1.0 { "All".to_owned() } else { percent(top.share) };
        text += &format!(" {share} of the {extra} came from {}", principal(&top.value));
        text += if top.usual == 0 { ", not seen with this API before." } else { "." };
    }
    text
}

/// A share as "93 %", never rounded up to all of it.
pub fn percent(share: f64) -> String {
    match share * 100.0 {
        p if p >= 100.0 => "100 %".to_owned(),
        p if p > 99.0 => "99 %".to_owned(),
        p => format!("{p:.0} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_people_say_them() {
        assert_eq!(
            [0.0, 0.004, 0.0212, 0.7, 1.0, 9.83, 42.0, 1234.4].map(per_minute).join(" "),
            "0 under 0.01 0.02 0.70 1 9.8 42 1,234"
        );
        assert_eq!([1.84, 9.96, 14.2, 2345.0].map(times).join(" "), "1.8x 10x 14x over 1,000x");
        assert_eq!([0.0, 0.934, 0.999, 1.0].map(percent).join(", "), "0 %, 93 %, 99 %, 100 %");
        assert_eq!([7, 999, 1_000, 1_234_567].map(thousands).join(" "), "7 999 1,000 1,234,567");
    }

    #[test]
    fn principals_as_people_call_them() {
        assert_eq!(principal("arn:aws:sts::123456789012:assumed-role/deploy"), "role deploy");
        assert_eq!(principal("arn:aws:iam::123456789012:user/path/alice"), "user path/alice");
        assert_eq!(principal("arn:aws:iam::123456789012:root"), "the root user");
        assert_eq!(principal("autoscaling.amazonaws.com"), "autoscaling.amazonaws.com");
    }
}
