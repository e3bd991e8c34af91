//! What people are told of an incident: title, body, state, and who else takes part, from templates. Knows no receiver.

use chrono::{DateTime, Utc};

use super::board::{Member, Thread};
use super::template::Template;
use super::{Severity, Sink};
use crate::insight::words::{per_minute, thousands, times};

/// So many members are listed in a message; the others are counted.
const LISTED_MAX: usize = 15;

type Value = fn(&Thread, &Member) -> String;

/// What a field says.
const FIELDS: [(&str, Value); 22] = [
    ("severity", |thread, _| severity(thread).as_str().to_owned()),
    ("headline", |_, lead| lead.headline.clone()),
    ("api", |_, lead| lead.api.clone()),
    ("error", |_, lead| lead.error_code.clone().unwrap_or_default()),
    ("type", |_, lead| lead.insight_type.clone()),
    ("account", |_, lead| lead.account.clone()),
    ("region", |_, lead| lead.region.clone()),
    ("reason", |_, lead| lead.reason.clone()),
    ("principal", |_, lead| lead.principal.clone()),
    ("observed", |_, lead| thousands(lead.observed)),
    ("average", |_, lead| per_minute(lead.average)),
    ("baseline", |_, lead| per_minute(lead.baseline)),
    ("ratio", |_, lead| lead.ratio.map(times).unwrap_or_default()),
    ("odds", |_, lead| lead.odds.clone()),
    ("start", |thread, _| time(thread.start_s())),
    ("end", |thread, _| thread.end_s().map(time).unwrap_or_default()),
    ("minutes", |thread, _| minutes(thread).map(|minutes| minutes.to_string()).unwrap_or_default()),
    ("state", |thread, _| state(thread).to_owned()),
    ("status", |thread, _| status(thread)),
    ("count", |thread, _| count(thread).to_string()),
    ("sharedEventID", |_, lead| lead.shared_event_id.clone()),
    ("incidentID", |thread, lead| lead.incident_id.clone().unwrap_or_else(|| thread.key.clone())),
];

/// Beside the fields: the sink's own link.
const LINK: &str = "link";

const TITLE: &str = "[{severity}] {headline}";
const TEXT: &str = "{reason}";

pub struct Words {
    title: Template,
    text: Template,
    link: Option<Template>,
    pub are_default: bool,
}

pub struct Message {
    pub title: String,
    pub text: String,
    /// `ongoing since 14:07 UTC`, `ended 14:41 UTC, 34 min`.
    pub status: String,
    /// The insights of the incident, where there are several.
    pub list: Vec<String>,
    pub link: Option<String>,
    pub severity: Severity,
}

impl Words {
    pub fn new(sink: &Sink) -> Result<Words, String> {
        let known: Vec<&str> = FIELDS.iter().map(|(name, _)| *name).collect();
        let with_link: Vec<&str> = known.iter().copied().chain([LINK]).collect();
        let template = |field: &str, text: &str, known: &[&str]| {
            Template::parse(text, known).map_err(|error| format!("{field}: {error}"))
        };
        Ok(Words {
            title: template("title", sink.title.as_deref().unwrap_or(TITLE), &with_link)?,
            text: template("text", sink.text.as_deref().unwrap_or(TEXT), &with_link)?,
            link: sink.link.as_deref().map(|text| template("link", text, &known)).transpose()?,
            are_default: sink.title.is_none() && sink.text.is_none() && sink.link.is_none(),
        })
    }

    /// None for a thread without members, which there is not.
    pub fn message(&self, thread: &Thread) -> Option<Message> {
        let lead = thread.lead()?;
        let value = |place: usize| FIELDS.get(place).map(|(_, value)| plain(&value(thread, lead))).unwrap_or_default();
        let link = self.link.as_ref().map(|link| link.fill(|place| url_escaped(&value(place))));
        // The place after all fields is the link.
        let filled = |template: &Template| {
            template.fill(|place| if place < FIELDS.len() { value(place) } else { link.clone().unwrap_or_default() })
        };
        let (title, text) = match thread.is_digest {
            false => (filled(&self.title), filled(&self.text)),
            true => {
                let many = if thread.incidents() == 1 { "incident" } else { "incidents" };
                let title = format!("[{}] {} more {many}", severity(thread).as_str(), thread.incidents());
                (title, "More incidents within an hour than are told one by one; these are the others.".to_owned())
            }
        };
        let mut list = Vec::new();
        if thread.is_digest || count(thread) > 1 {
            list = thread.members.iter().take(LISTED_MAX).map(line).collect();
            let more = count(thread) - list.len();
            if more > 0 {
                list.push(format!("and {more} more"));
            }
        }
        Some(Message { title, text, status: status(thread), list, link, severity: severity(thread) })
    }
}

fn line(member: &Member) -> String {
    let ended = match (member.withdrawn, member.end_s) {
        (true, _) => ", withdrawn".to_owned(),
        (false, Some(end_s)) => format!(", ended {}", clock(end_s)),
        (false, None) => String::new(),
    };
    let ratio = member.ratio.map(|ratio| format!(" {} normal", times(ratio))).unwrap_or_default();
    let error = member.error_code.as_deref().map(|code| format!(" {code}")).unwrap_or_default();
    let principal = match member.principal.as_str() {
        "" => String::new(),
        name => format!(" by {name}"),
    };
    plain(&format!(
        "{}: {}{error} {}{ratio} in {} of {}{principal}, from {}{ended}",
        member.severity.as_str(),
        member.api,
        thousands(member.observed),
        member.region,
        member.account,
        clock(member.start_s),
    ))
}

/// Agents and sessions are called as their callers please: what some receivers refuse, and others take for a new line,
/// is a space.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || ('\u{fffe}'..='\u{ffff}').contains(&c) { ' ' } else { c }).collect()
}

/// For any part of a URL.
fn url_escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b':' => out.push(char::from(byte)),
            byte => out += &format!("%{byte:02X}"),
        }
    }
    out
}

fn count(thread: &Thread) -> usize {
    thread.members.len() + thread.more as usize
}

pub fn severity(thread: &Thread) -> Severity {
    thread.members.iter().map(|member| member.severity).max().unwrap_or(Severity::Info)
}

fn state(thread: &Thread) -> &'static str {
    match thread {
        thread if thread.is_withdrawn() => "withdrawn",
        thread if thread.is_over() => "ended",
        thread if thread.is_provisional() => "provisional",
        _ => "ongoing",
    }
}

fn minutes(thread: &Thread) -> Option<i64> {
    Some((thread.end_s()? - thread.start_s()) / 60)
}

fn status(thread: &Thread) -> String {
    let start = clock(thread.start_s());
    match (state(thread), thread.end_s(), minutes(thread)) {
        ("withdrawn", ..) => "withdrawn: once all calls were counted, nothing was unusual".to_owned(),
        ("ended", Some(end_s), Some(minutes)) => format!("ended {}, {minutes} min", clock(end_s)),
        ("provisional", ..) => format!("ongoing since {start}, early word: numbers may still grow"),
        _ => format!("ongoing since {start}"),
    }
}

/// `2026-03-04 14:07 UTC`
fn time(second: i64) -> String {
    format_time(second, "%Y-%m-%d %H:%M UTC")
}

/// `14:07 UTC`
fn clock(second: i64) -> String {
    format_time(second, "%H:%M UTC")
}

/// `2026-03-04T14:07:00Z`
pub fn rfc3339(second: i64) -> String {
    format_time(second, "%Y-%m-%dT%H:%M:%SZ")
}

fn format_time(second: i64, format: &str) -> String {
    DateTime::<Utc>::from_timestamp(second, 0).unwrap_or_default().format(format).to_string()
}

/// At most so many characters, the last one an ellipsis where some are left out.
pub fn shortened(text: &str, characters_max: usize) -> String {
    match text.char_indices().nth(characters_max) {
        None => text.to_owned(),
        Some(_) => text.chars().take(characters_max.saturating_sub(1)).chain(['…']).collect(),
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::insight::trail::TrailRecord;
    use crate::sink::board::Board;
    use crate::sink::filter::tests::{end, record};

    pub const NOW_S: i64 = 1_772_633_600;

    /// A thread of these records.
    pub fn thread(records: &[TrailRecord]) -> Thread {
        let mut board = Board::default();
        records.iter().for_each(|record| board.take(record, true, None, NOW_S));
        board.due(None, NOW_S).expect("a thread").clone()
    }

    #[test]
    fn words_follow_the_incident() {
        let words = Words::new(&Sink { link: Some("https://h/{sharedEventID}".to_owned()), ..Sink::default() });
        let words = words.expect("words");
        let start = words.message(&thread(&[record()])).expect("a message");
        assert_eq!(start.title, "[high] RunInstances 14x above normal in us-east-1");
        assert_eq!(start.text, "RunInstances was called 49 times <in> 5 minutes & more.");
        assert_eq!(start.status, "ongoing since 14:07 UTC");
        assert_eq!(start.link.as_deref(), Some("https://h/0f0e0a5b-1111-5c1b-8f0e-0a5b8f0e0a5b"));
        assert!(start.list.is_empty());
        let ended = words.message(&thread(&[record(), end()])).expect("a message");
        assert_eq!(ended.status, "ended 14:41 UTC, 34 min");
    }

    #[test]
    fn what_callers_choose_breaks_neither_lines_nor_links() {
        let mut forged = record();
        let extra = forged.highwater.as_mut().expect("ours");
        extra.reason = "agent x\r\nended\u{0}\u{7f}".to_owned();
        extra.excess[0].values[0].value = "arn:aws:iam::123456789012:user/a b?|<c>\n".to_owned();
        let link = Some("https://h/?q={principal}&a={api}".to_owned());
        let words = Words::new(&Sink { link, ..Sink::default() }).expect("words");
        let message = words.message(&thread(&[forged])).expect("a message");
        assert_eq!(message.text, "agent x  ended  ");
        let link = message.link.expect("a link");
        assert!(link.ends_with("&a=ec2:RunInstances"), "{link}");
        assert!(link.contains("a%20b%3F%7C%3Cc%3E%20&"), "{link}");
    }

    #[test]
    fn every_field_says_something_and_stands_in_the_manual() {
        let names: Vec<String> = FIELDS.iter().map(|(name, _)| format!("{name}={{{name}}}")).collect();
        let mut failed = end();
        failed.insight_details.error_code = Some("AccessDenied".to_owned());
        let sink = Sink { text: Some(names.join("\n")), ..Sink::default() };
        let message = Words::new(&sink).expect("words").message(&thread(&[failed])).expect("a message");
        for line in message.text.lines() {
            assert!(line.split_once('=').is_some_and(|(_, value)| !value.is_empty()), "{line}");
        }
        let manual = include_str!("../../docs/sinks.md");
        for (name, _) in FIELDS.iter().chain(&[(LINK, FIELDS[0].1)]) {
            assert!(manual.contains(&format!("`{{{name}}}`")), "docs/sinks.md: {name}");
        }
    }

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(shortened("äöü", 3), "äöü");
        assert_eq!(shortened("äöüß", 3), "äö…");
        assert_eq!(shortened("ab", 0), "…");
    }
}
