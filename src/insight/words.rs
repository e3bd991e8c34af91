//! An insight in words: a title, a sentence, and numbers as people say them. Knows no markup.

use super::{Direction, Insight, State};
use crate::window::Attribute;

/// "14x", "1.8x", "2,300x"
pub fn times(ratio: f64) -> String {
    if ratio < 10.0 { format!("{ratio:.1}x") } else { format!("{}x", thousands(ratio.round() as u64)) }
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

/// A rate per minute with two or three digits that matter.
pub fn per_minute(rate: f64) -> String {
    match rate {
        r if r >= 100.0 => thousands(r.round() as u64),
        r if r >= 10.0 => format!("{r:.1}"),
        r if r >= 0.01 => format!("{r:.2}"),
        r if r > 0.0 => "less than 0.01".to_owned(),
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

/// One sentence or two: what happened, against what, and who did it.
pub fn reason(insight: &Insight) -> String {
    let api = &insight.series.api;
    let what = match &insight.series.error_code {
        Some(code) => format!("{} failed with {code}", api.event_name),
        None => format!("{} was called", api.event_name),
    };
    let (count, minutes) = (insight.insight.count, insight.insight.minutes);
    let in_minutes = if minutes == 1 { "in 1 minute".to_owned() } else { format!("in {minutes} minutes") };
    let from = match insight.state {
        State::Start => "the minutes up to its detection at",
        State::End => "the minutes up to",
    };
    let until = insight.end.unwrap_or(insight.decided).to_string();
    let usual = match insight.baseline.count {
        0 => "never in the seven days before".to_owned(),
        _ => format!("{} a minute in the seven days before", per_minute(insight.baseline.average())),
    };
    let times_said = match count {
        1 => "once".to_owned(),
        n => format!("{} times", thousands(n)),
    };
    let mut text = format!(
        "{what} {times_said} {in_minutes} ({} a minute; {from} {} UTC): {usual}",
        per_minute(insight.insight.average()),
        &until[11..16],
    );
    let (_, lower, upper) = insight.expected;
    text += &format!(
        "; between {} and {} a minute were expected at this hour.",
        per_minute(lower),
        per_minute(upper)
    );
    let excess = insight.excess();
    let caller = excess.iter().find(|(attribute, _)| *attribute == Attribute::UserIdentityArn);
    if let Some(top) = caller.and_then(|(_, values)| values.first())
        && insight.direction == Direction::Up
    {
        let extra = if insight.series.error_code.is_some() { "extra errors" } else { "extra calls" };
        text += &format!(" {} of the {extra} came from {}", percent(top.share), principal(&top.value));
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
