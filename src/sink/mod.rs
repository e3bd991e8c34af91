//! Where insights go. Every sink follows the same file, `insights.jsonl` of the state directory, from its own place in
//! it; so a dead sink keeps nobody waiting, and nothing is lost with a restart. [`Sink`] is one entry of the
//! configuration. Knows records as they are written, no detection.

mod alertmanager;
mod asff;
mod aws;
mod board;
mod copy;
mod file;
mod filter;
mod follower;

mod journal;
mod mail;
mod ocsf;
mod pagerduty;
mod people;
mod progress;
mod records;
mod request;
mod slack;
mod template;
mod webhook;
mod words;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use alertmanager::Alertmanager;
pub use aws::{EventBridge, S3, SecurityHub, Sns, Sqs};
pub use copy::Copy;
pub use file::File;
pub use follower::{EARLY_MAX, Follower, names, open};
pub use mail::{Mail, Tls};
pub use pagerduty::PagerDuty;
pub use progress::{Progress, Sent};
pub use slack::Slack;
pub use webhook::Webhook;

/// From the least severe.
pub const SEVERITIES: [&str; 5] = ["info", "low", "medium", "high", "critical"];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Info,
    Low,
    Medium,
    High,
    Critical,
}

impl Severity {
    const ALL: [Severity; 5] = [Severity::Info, Severity::Low, Severity::Medium, Severity::High, Severity::Critical];

    pub fn parse(text: &str) -> Option<Severity> {
        let place = SEVERITIES.iter().position(|name| *name == text)?;
        Some(Severity::ALL[place])
    }

    pub fn as_str(self) -> &'static str {
        SEVERITIES[self as usize]
    }
}

/// How a record is written for machines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// The record itself, as CloudTrail Insights writes it, with the object `highwater`.
    #[default]
    Cloudtrail,
    /// An OCSF 1.8 Detection Finding (class 2004).
    Ocsf,
    /// A finding in the AWS Security Finding Format.
    Asff,
    /// The words of `title` and `text`, for people.
    Text,
}

/// One place that insights are sent to: the options below, and exactly one of the tables from `webhook` on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sink {
    /// What logs, metrics and files in the state directory call it: letters, digits, dots and dashes. Default: the
    /// kind of its target, for one of a kind. What was sent is remembered by this name.
    pub name: Option<String>,
    /// Sends only what is at least as severe: info, low, medium, high or critical.
    pub severity: Option<Severity>,
    /// Sends only insights of these accounts; * stands for any digits.
    pub accounts: Vec<String>,
    /// Sends only insights of these Regions; eu-* stands for all that begin so.
    pub regions: Vec<String>,
    /// Sends only insights of these APIs, such as ec2:RunInstances or iam:*.
    pub apis: Vec<String>,
    /// Also sends what a mute or an expected run keeps from people.
    pub muted: bool,
    /// Messages for people (slack, pagerduty, mail): at most so many incidents an hour, the others together in one
    /// message [default: 20].
    #[schemars(range(min = 1))]
    pub per_hour: Option<u32>,
    /// The first line of a message for people, with fields such as {severity} or {api}.
    pub title: Option<String>,
    /// The body of a message for people, with the same fields.
    pub text: Option<String>,
    /// Where more is shown, such as https://highwater.example/incident/{sharedEventID}.
    pub link: Option<String>,
    /// A POST of JSON for each record.
    pub webhook: Option<Webhook>,
    /// A file that gets a line for each record.
    pub file: Option<File>,
    /// A message for each incident, kept up to date.
    pub slack: Option<Slack>,
    /// An alert for each incident, resolved at its end.
    pub pagerduty: Option<PagerDuty>,
    /// Alerts for Prometheus Alertmanager, resolved at their end.
    pub alertmanager: Option<Alertmanager>,
    /// A mail when an incident starts, and one when it ends.
    pub mail: Option<Mail>,
    /// A message to a topic for each record.
    pub sns: Option<Sns>,
    /// A message to a queue for each record.
    pub sqs: Option<Sqs>,
    /// An event for each record.
    pub eventbridge: Option<EventBridge>,
    /// An object for each record, named as CloudTrail names its own.
    pub s3: Option<S3>,
    /// A finding for each record.
    pub security_hub: Option<SecurityHub>,
}

impl Sink {
    /// What is wrong beyond what the types say.
    pub fn check(&self) -> Result<(), String> {
        let kind = self.kind()?;
        if let Some(name) = &self.name {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            if name.is_empty() || name.len() > 64 || name.starts_with('.') || !name.chars().all(plain) {
                return Err(format!("name = {name:?}: at most 64 letters, digits, dots, dashes and underscores"));
            }
        }
        filter::Filter::new(self)?;
        let words = words::Words::new(self)?;
        if self.per_hour == Some(0) {
            return Err("per_hour: at least 1; to send nothing, leave the sink out".to_owned());
        }
        let for_people = ["slack", "pagerduty", "mail"].contains(&kind);
        if self.per_hour.is_some() && !for_people {
            return Err(format!("per_hour is for messages to people (slack, pagerduty, mail), not for {kind}"));
        }
        if !words.are_default && matches!(kind, "eventbridge" | "s3") {
            return Err(format!("title, text and link are for people: {kind} takes the record as it is"));
        }
        match self {
            Sink { webhook: Some(webhook), .. } => webhook.check(),
            Sink { slack: Some(slack), .. } => slack.check(),
            Sink { pagerduty: Some(pagerduty), .. } => pagerduty.check(),
            Sink { alertmanager: Some(alertmanager), .. } => alertmanager.check(),
            Sink { mail: Some(mail), .. } => mail.check(),
            Sink { sns: Some(sns), .. } => sns.check(),
            Sink { sqs: Some(sqs), .. } => sqs.check(),
            Sink { eventbridge: Some(eventbridge), .. } => eventbridge.check(),
            Sink { s3: Some(s3), .. } => s3.check(),
            Sink { security_hub: Some(hub), .. } => hub.check(),
            _ => Ok(()),
        }
    }

    /// The name of its only target.
    pub fn kind(&self) -> Result<&'static str, String> {
        let all = [
            ("webhook", self.webhook.is_some()),
            ("file", self.file.is_some()),
            ("slack", self.slack.is_some()),
            ("pagerduty", self.pagerduty.is_some()),
            ("alertmanager", self.alertmanager.is_some()),
            ("mail", self.mail.is_some()),
            ("sns", self.sns.is_some()),
            ("sqs", self.sqs.is_some()),
            ("eventbridge", self.eventbridge.is_some()),
            ("s3", self.s3.is_some()),
            ("security_hub", self.security_hub.is_some()),
        ];
        let given: Vec<&str> = all.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect();
        match given[..] {
            [one] => Ok(one),
            [] => Err(format!("a sink without a target: add one of {}", all.map(|(name, _)| name).join(", "))),
            _ => Err(format!("a sink has one target, not {}: give each its own [[sink]]", given.join(" and "))),
        }
    }
}

/// `http://` or `https://`, and a host.
fn check_url(field: &str, url: &str) -> Result<(), String> {
    let parsed: Result<http::Uri, _> = url.parse();
    match parsed {
        Ok(uri) if matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some() => Ok(()),
        _ => Err(format!("{field}: not a URL that begins with https:// or http://")),
    }
}

/// One that a token goes to: in the clear only within this machine. Tells nothing of the URL, which may be secret too.
fn check_private_url(field: &str, url: &str) -> Result<(), String> {
    check_url(field, url)?;
    let uri: http::Uri = url.parse().unwrap_or_default();
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_here = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    match uri.scheme_str() == Some("https") || is_here {
        true => Ok(()),
        false => Err(format!("{field}: a secret would go there in the clear; use https://")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook() -> Sink {
        let webhook = Webhook { url: Some("https://example.com/hook".to_owned()), ..Webhook::default() };
        Sink { webhook: Some(webhook), ..Sink::default() }
    }

    #[test]
    fn a_sink_has_one_target() {
        assert_eq!(webhook().kind(), Ok("webhook"));
        assert_eq!(webhook().check(), Ok(()));
        assert!(Sink::default().check().is_err_and(|error| error.contains("security_hub")));
        let two = Sink { s3: Some(S3 { bucket: "b".to_owned(), ..S3::default() }), ..webhook() };
        assert!(two.check().is_err_and(|error| error.contains("webhook and s3")));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = [
            (Sink { name: Some("a/b".to_owned()), ..webhook() }, "a/b"),
            (Sink { name: Some("..".to_owned()), ..webhook() }, "name"),
            (Sink { title: Some("{sverity}".to_owned()), ..webhook() }, "{severity}"),
            (Sink { link: Some("{link}".to_owned()), ..webhook() }, "link"),
            (Sink { apis: vec!["iam:[".to_owned()], ..webhook() }, "iam:["),
            (Sink { per_hour: Some(3), ..webhook() }, "per_hour"),
        ];
        for (sink, named) in wrong {
            let error = sink.check().expect_err(named);
            assert!(error.contains(named), "{error}");
        }
        let url = |url: &str| {
            let webhook = Webhook { url: Some(url.to_owned()), ..Webhook::default() };
            Sink { webhook: Some(webhook), ..Sink::default() }.check()
        };
        for wrong in ["", "example.com", "ftp://example.com", "https://", "https:// x"] {
            assert!(url(wrong).is_err_and(|error| error.contains("url")), "{wrong}");
        }
    }

    #[test]
    fn secrets_do_not_travel_in_the_clear() {
        for fine in ["https://slack.com/api", "http://127.0.0.1:8080", "http://[::1]/api", "http://localhost/x"] {
            assert_eq!(check_private_url("url", fine), Ok(()), "{fine}");
        }
        assert!(check_private_url("url", "http://chat.example/hush").is_err_and(|error| !error.contains("hush")));
    }

    #[test]
    fn severities_are_in_order() {
        for (place, name) in SEVERITIES.iter().enumerate() {
            let severity = Severity::parse(name).expect("a severity");
            assert_eq!((severity as usize, severity.as_str()), (place, *name));
        }
        assert!(Severity::Critical > Severity::Info && Severity::parse("High").is_none());
    }
}
