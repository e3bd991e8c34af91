//! [`Mutes`]: which insights people do not want to hear of, for a while or whenever a known run comes. A muted insight is
//! recorded like any other and says what muted it. Knows records; not where the list is kept, nor what the time is.

use std::fmt;

use glob::Pattern;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

use super::SeriesKey;
use super::trail::TrailRecord;
use crate::event::{MINUTES_PER_DAY, Minute};

/// Why a list cannot be used.
#[derive(Debug, Error)]
#[error("not a list of mutes: {0}")]
pub struct MuteError(#[from] serde_json::Error);

/// Text with `*` and `?`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Pattern);

impl Glob {
    pub fn new(text: &str) -> Result<Glob, String> {
        Pattern::new(text).map(Glob).map_err(|error| format!("{text}: {}", error.msg))
    }

    /// One that only this text fits.
    pub fn exact(text: &str) -> Glob {
        Glob(Pattern::new(&Pattern::escape(text)).unwrap_or_default())
    }

    pub fn fits(&self, text: &str) -> bool {
        self.0.matches(text)
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0.as_str())
    }
}

impl Serialize for Glob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

impl<'de> Deserialize<'de> for Glob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Glob, D::Error> {
        Glob::new(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// What is muted: insights that all given parts fit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mute {
    pub id: String,
    /// When it was made, RFC 3339.
    pub made: String,
    /// Why: a ticket, or what the run is.
    pub reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<Glob>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Glob>,
    /// `ec2:RunInstances`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<Glob>,
    /// Only errors with this code; of an expected run, `""` says only calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// The ARN of who made at least half of the extra calls, or the part of it after the account: `role/deploy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<Glob>,
    /// Incidents that begin before it, in minutes since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_minute: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Run>,
    /// The model learns nothing from the minutes of a muted incident.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unlearned: bool,
}

/// A run that is expected again and again.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Run {
    /// 1,440: daily.
    pub period_minutes: i64,
    /// It begins between this many minutes after a multiple of the period since 1970 ...
    pub phase_minutes: i64,
    /// ... and so many more.
    pub spread_minutes: i64,
    /// One that is larger, in calls per minute, is an insight all the same.
    pub average_max: f64,
}

impl Mute {
    /// Whether it keeps a record from people: one with `highwater`, and for a start; the end goes the way of its start.
    pub fn fits(&self, record: &TrailRecord) -> bool {
        let details = &record.insight_details;
        let start = Minute::parse(&record.event_time);
        let fits = |glob: &Option<Glob>, text: &str| glob.as_ref().is_none_or(|glob| glob.fits(text));
        fits(&self.account, &record.recipient_account_id)
            && fits(&self.region, &record.aws_region)
            && fits(&self.api, &api_name(&details.event_source, &details.event_name))
            && self.error_code.as_ref().is_none_or(|code| *code == *details.error_code.as_deref().unwrap_or_default())
            && self.principal.as_ref().is_none_or(|glob| {
                leading_principal(record).is_some_and(|arn| principal_names(arn).iter().any(|name| glob.fits(name)))
            })
            && self.until_minute.is_none_or(|until| start.is_some_and(|start| start.0 < until))
            && self.run.is_none_or(|run| {
                let into = |start: Minute| (start.0 - run.phase_minutes).rem_euclid(run.period_minutes.max(1));
                start.is_some_and(|start| into(start) <= run.spread_minutes)
                    && details.insight_context.statistics.insight.average.0 <= run.average_max
            })
    }

    /// Whether the model learns nothing from this series' incidents, while it lasts.
    pub fn keeps_from_learning(&self, series: &SeriesKey) -> bool {
        let api = &series.api;
        let fits = |glob: &Option<Glob>, text: &str| glob.as_ref().is_none_or(|glob| glob.fits(text));
        self.unlearned
            && fits(&self.account, &api.account_id)
            && fits(&self.region, &api.region)
            && fits(&self.api, &api_name(&api.event_source, &api.event_name))
            && self.error_code.as_ref().is_none_or(|code| *code == *series.error_code.as_deref().unwrap_or_default())
    }

    /// What it mutes, in words.
    pub fn words(&self) -> String {
        let mut parts = Vec::new();
        let mut say = |what: &str, glob: &Option<Glob>| {
            if let Some(glob) = glob {
                parts.push(format!("{what} {glob}"));
            }
        };
        say("API", &self.api);
        say("principal", &self.principal);
        say("account", &self.account);
        say("Region", &self.region);
        if let Some(code) = self.error_code.as_deref().filter(|code| !code.is_empty()) {
            parts.push(format!("error {code}"));
        }
        if let Some(run) = self.run {
            parts.push(run.words());
        }
        if self.unlearned {
            parts.push("not learned".to_owned());
        }
        parts.join(", ")
    }
}

impl Run {
    fn words(&self) -> String {
        const DAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];
        let clock =
            |minute: i64| format!("{:02}:{:02}", minute.rem_euclid(MINUTES_PER_DAY) / 60, minute.rem_euclid(60));
        let (from, to) = (clock(self.phase_minutes), clock(self.phase_minutes + self.spread_minutes));
        let every = match self.period_minutes {
            MINUTES_PER_DAY => format!("daily from {from} to {to} UTC"),
            minutes if minutes == 7 * MINUTES_PER_DAY => {
                let day = self.phase_minutes.rem_euclid(minutes) / MINUTES_PER_DAY;
                format!("on each {} from {from} to {to} UTC", DAYS[day as usize % 7])
            }
            minutes => format!("every {minutes} minutes"),
        };
        format!("{every}, up to {:.1} calls a minute", self.average_max)
    }
}

/// `ec2:RunInstances`.
pub fn api_name(event_source: &str, event_name: &str) -> String {
    format!("{}:{event_name}", event_source.strip_suffix(".amazonaws.com").unwrap_or(event_source))
}

/// Who made at least half of the extra calls.
pub fn leading_principal(record: &TrailRecord) -> Option<&str> {
    let excess = record.highwater.as_ref()?.excess.iter().find(|excess| excess.attribute == "userIdentityArn")?;
    excess.values.first().filter(|value| value.share >= 0.5).map(|value| value.value.as_str())
}

/// What a principal can be called by: its ARN, the part after the account, and of a session its role with and without
/// the session's name.
pub fn principal_names(arn: &str) -> Vec<String> {
    let mut names = vec![arn.to_owned()];
    let Some(resource) = arn.splitn(6, ':').nth(5) else { return names };
    names.push(resource.to_owned());
    if let Some(role) = resource.strip_prefix("assumed-role/") {
        names.push(format!("role/{role}"));
        if let Some((role, _)) = role.split_once('/') {
            names.push(format!("role/{role}"));
        }
    }
    names
}

/// All that is muted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutes {
    pub mutes: Vec<Mute>,
}

impl Mutes {
    pub fn parse(json: &str) -> Result<Mutes, MuteError> {
        Ok(serde_json::from_str(json)?)
    }

    pub fn to_json(&self) -> String {
        // Text, numbers and flags in a list: there is nothing in it that JSON cannot say.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// What mutes a record: the first in the list.
    pub fn find(&self, record: &TrailRecord) -> Option<&Mute> {
        self.mutes.iter().find(|mute| mute.fits(record))
    }
}
