//! An insight in words: a title, a sentence, and numbers as people say them. Knows no markup.

use super::{Closing, Direction, Insight, Novelty, Recurrence, State};
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

/// A mean distance in years as a frequency: "about once in 40 years for this API".
pub fn odds(years: f64) -> String {
    const CAP_YEARS: f64 = 10_000.0;
    let about = |number: f64, unit: &str| {
        // Two digits: more would claim to know.
        let scale = 10f64.powf((number.log10().floor() - 1.0).max(0.0));
        format!("about once in {} {unit}", thousands(((number / scale).round() * scale) as u64))
    };
    let (months, days) = (years * 12.0, years * 365.0);
    let often = match years {
        y if y.is_nan() => return "of unknown odds".to_owned(),
        y if y >= CAP_YEARS => "less than once in 10,000 years".to_owned(),
        y if y >= 1.5 => about(y, "years"),
        _ if months >= 1.5 => about(months, "months"),
        _ if days >= 1.5 => about(days, "days"),
        _ if days >= 0.75 => "about once a day".to_owned(),
        _ => "several times a day".to_owned(),
    };
    format!("{often} for this API")
}

/// A time of day from a minute since any midnight.
fn clock(minute: i64) -> String {
    format!("{:02}:{:02}", minute.rem_euclid(1_440) / 60, minute.rem_euclid(60))
}

/// "daily at 06:00 UTC (27 of 28 days)", "every 90 minutes (11 of 12 times)".
fn schedule(recurrence: &Recurrence) -> String {
    const DAYS: [&str; 7] = ["Thursdays", "Fridays", "Saturdays", "Sundays", "Mondays", "Tuesdays", "Wednesdays"];
    let rhythm = &recurrence.rhythm;
    let phase = i64::from(rhythm.phase_minutes);
    let (when, unit) = match rhythm.period_minutes {
        1_440 if rhythm.weekdays => (format!("on working days at {} UTC", clock(phase)), "working days"),
        1_440 => (format!("daily at {} UTC", clock(phase)), "days"),
        10_080 => (format!("weekly, {} at {} UTC", DAYS[(phase / 1_440) as usize % 7], clock(phase)), "weeks"),
        60 => (format!("hourly at {} past", phase % 60), "hours"),
        period if period % 1_440 == 0 => (format!("every {} days at {} UTC", period / 1_440, clock(phase)), "times"),
        period if period % 60 == 0 && 1_440 % period == 0 => {
            (format!("every {} hours, as at {} UTC", period / 60, clock(phase)), "times")
        }
        period => (format!("every {period} minutes"), "times"),
    };
    format!("{when} ({} of {} {unit})", rhythm.hits, rhythm.chances)
}

/// "usual job, daily at 06:00 UTC (27 of 28 days), this time 6x its size". A caller new to the API is not its job, even
/// if it comes at the same time.
pub fn recurrence(recurrence: &Recurrence, new_caller: bool) -> String {
    let rhythm = &recurrence.rhythm;
    let what = if new_caller { "a new caller at the time of a usual job" } else { "usual job" };
    let mut text = format!("{what}, {}", schedule(recurrence));
    if rhythm.shift_minutes != 0 {
        let now = i64::from(rhythm.phase_minutes) + i64::from(rhythm.shift_minutes);
        let how = if rhythm.shift_minutes < 0 { "earlier" } else { "later" };
        text += &format!(", now at {} UTC: an hour {how}, as daylight saving does", clock(now));
    }
    text += &match recurrence.ratio() {
        _ if recurrence.count == 0 => {
            let usual = u64::from(rhythm.count);
            format!(
                ", did not come this time (usually {} {})",
                thousands(usual),
                if usual == 1 { "call" } else { "calls" }
            )
        }
        Some(ratio) if !(0.67..1.5).contains(&ratio) => {
            format!(", this time {} its size", times(ratio).replace(".0x", "x"))
        }
        Some(_) => ", of its usual size".to_owned(),
        None => String::new(),
    };
    text
}

/// "session ci-42", "role deploy", "address 198.51.100.9", "key AKIA...", "agent aws-cli/2.15".
pub fn caller(attribute: Attribute, value: &str) -> String {
    const LENGTH_MAX: usize = 60;
    let short = match value.char_indices().nth(LENGTH_MAX) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    };
    match attribute {
        Attribute::UserIdentityArn => principal(value),
        Attribute::SessionName => format!("session {short}"),
        Attribute::AccessKeyId => format!("key {short}"),
        Attribute::SourceIpAddress => format!("address {short}"),
        Attribute::UserAgent => format!("agent {short}"),
        Attribute::ErrorCode => format!("error {short}"),
        Attribute::ResourceArn => format!("resource {short}"),
    }
}

/// " First time in seven days that role deploy calls RunInstances; new, too: address 198.51.100.9."
fn news(new: &[Novelty], deed: &str) -> String {
    let Some(first) = new.first() else { return String::new() };
    let since = if first.ever { "since the trail begins" } else { "in seven days" };
    let others = |new: &[Novelty]| {
        // An agent's name is long, and beside a new caller or address says little more.
        let told = new.iter().filter(|new| new.attribute != Attribute::UserAgent);
        let others: Vec<String> = told.map(|new| caller(new.attribute, &new.value)).collect();
        others.join(", ")
    };
    let text = match new {
        [agent] if agent.attribute == Attribute::UserAgent => {
            format!("New {since}: {}", caller(agent.attribute, &agent.value))
        }
        [one, rest @ ..] if one.attribute == Attribute::UserIdentityArn => match others(rest) {
            none if none.is_empty() => format!("First time {since} that {} {deed}", principal(&one.value)),
            rest => format!("First time {since} that {} {deed}; new, too: {rest}", principal(&one.value)),
        },
        all => format!("New {since}: {}", others(all)),
    };
    format!(" {text}.")
}

/// Sentences in this order: what happened against what and how rare that is, whether a usual job did it, who did it, what
/// is new, and how it ended. "RunInstances was called 118 times in 12 minutes, 14:07 to 14:19 UTC: 9.8 a minute, 14x the
/// 0.70 of the seven days before (usually 0 to 3 at this hour), about once in 40 years for this API. 93 % of the extra
/// calls came from role deploy; without session ci-42 the minutes lie inside the expected range."
pub fn reason(insight: &Insight) -> String {
    let api = &insight.series.api;
    if let (Direction::Down, Some(missed)) = (insight.direction, &insight.evidence.recurrence) {
        let job = recurrence(missed, false);
        return format!("{}: {job}. That happens {}.", api.event_name, odds(insight.return_years()));
    }
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
        0.0 => "usually none at this hour".to_owned(),
        _ => format!("usually {} to {} at this hour", per_minute(lower), per_minute(upper)),
    };
    let rare = odds(insight.return_years());
    let mut text = format!(
        "{what} {count} in {minutes_said}, {} to {} UTC{so_far}: {} a minute, {usual} ({expected}), {rare}{}.",
        clock(until - minutes),
        clock(until),
        per_minute(insight.insight.average()),
        match insight.evidence.window_minutes {
            0 => String::new(),
            1 => "; most unusual in a single minute".to_owned(),
            minutes => format!("; most unusual over {minutes} minutes"),
        },
    );
    let evidence = &insight.evidence;
    if let Some(repeated) = &evidence.recurrence {
        let recurrence = recurrence(repeated, insight.has_new_caller());
        text += &format!(" {}{}.", recurrence[..1].to_uppercase(), &recurrence[1..]);
    }
    if insight.direction == Direction::Up {
        text += &who(insight);
        let deed = match &insight.series.error_code {
            Some(code) => format!("gets {code} from {}", api.event_name),
            None => format!("calls {}", api.event_name),
        };
        text += &news(&insight.novelties(), &deed);
    }
    text += match (evidence.closing, insight.direction) {
        (None, _) => "",
        (Some(Closing::NewNormal), _) => " The level stayed: it is the new normal.",
        (Some(Closing::BackToNormal), Direction::Up) => " Then the rate fell back to normal.",
        (Some(Closing::BackToNormal), Direction::Down) => " Then calls came again.",
    };
    text
}

fn who(insight: &Insight) -> String {
    let excess = insight.excess();
    let callers = excess.iter().find(|(attribute, _)| *attribute == Attribute::UserIdentityArn);
    let Some(top) = callers.and_then(|(_, values)| values.first()) else { return String::new() };
    let extra = if insight.series.error_code.is_some() { "extra errors" } else { "extra calls" };
    let share = if top.share >= 1.0 { "All".to_owned() } else { percent(top.share) };
    let mut text = format!(" {share} of the {extra} came from {}", principal(&top.value));
    // That nothing would be left without the only caller needs no words.
    if let Some(without) = insight.counterfactual().filter(|without| without.rest > 0) {
        let caller = match without.attribute == Attribute::UserIdentityArn && without.value == top.value {
            true => "it".to_owned(),
            false => caller(without.attribute, &without.value),
        };
        text += &format!("; without {caller} the minutes lie inside the expected range");
    }
    text + "."
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
