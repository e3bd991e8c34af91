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
                let into =
                    |start: Minute| start.0.wrapping_sub(run.phase_minutes).rem_euclid(run.period_minutes.max(1));
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
        let (from, to) = (clock(self.phase_minutes), clock(self.phase_minutes.saturating_add(self.spread_minutes)));
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

#[cfg(test)]
mod tests {
    use super::*;

    const DEPLOY: &str = "arn:aws:iam::123456789012:role/deploy";

    fn record(start: &str, average: f64, principal: (&str, f64)) -> TrailRecord {
        let value = serde_json::json!({ "value": principal.0, "average": average, "baselineAverage": 0, "share": principal.1, "firstSeen": false });
        let highwater = serde_json::json!({
            "direction": "up", "score": 1.0, "threshold": 0.0, "severity": "high", "observed": 5, "lnOdds": -20.0,
            "expected": { "average": 0, "lower": 0, "upper": 1 }, "detectedTime": start, "reason": "", "model": "",
            "excess": [{ "attribute": "userIdentityArn", "values": [value] }], "attributionExact": true,
        });
        let record = serde_json::json!({
            "eventVersion": "1.09", "eventTime": start, "awsRegion": "eu-west-1", "eventID": "e", "sharedEventID": "s",
            "eventType": "AwsCloudTrailInsight", "recipientAccountId": "123456789012", "eventCategory": "Insight",
            "insightDetails": {
                "state": "Start", "eventSource": "ec2.amazonaws.com", "eventName": "RunInstances",
                "insightType": "ApiCallRateInsight",
                "insightContext": { "statistics": { "baseline": { "average": 0 }, "insight": { "average": average } } },
            },
            "highwater": highwater,
        });
        serde_json::from_value(record).expect("a record")
    }

    fn mute(json: serde_json::Value) -> Mute {
        let mut all = serde_json::json!({ "id": "m", "made": "", "reason": "" });
        all.as_object_mut().expect("an object").extend(json.as_object().expect("an object").clone());
        serde_json::from_value(all).expect("a mute")
    }

    #[test]
    fn every_given_part_must_fit() {
        let burst = record("2026-11-23T10:00:00Z", 5.0, (DEPLOY, 0.9));
        for (fits, json) in [
            (true, serde_json::json!({})),
            (true, serde_json::json!({ "api": "ec2:RunInstances" })),
            (true, serde_json::json!({ "api": "ec2:*", "principal": "role/deploy", "account": "1234*" })),
            (true, serde_json::json!({ "principal": DEPLOY, "region": "eu-*" })),
            (false, serde_json::json!({ "api": "ec2:RunInstance" })),
            (false, serde_json::json!({ "api": "ec2:*", "principal": "role/other" })),
            (false, serde_json::json!({ "region": "us-*" })),
            (true, serde_json::json!({ "errorCode": "" })),
            (false, serde_json::json!({ "errorCode": "AccessDenied" })),
            (true, serde_json::json!({ "untilMinute": Minute::parse("2026-11-23T10:01:00Z").expect("a time").0 })),
            (false, serde_json::json!({ "untilMinute": Minute::parse("2026-11-23T10:00:00Z").expect("a time").0 })),
        ] {
            assert_eq!(mute(json.clone()).fits(&burst), fits, "{json}");
        }
        // Somebody else made most of it.
        let shared = record("2026-11-23T10:00:00Z", 5.0, (DEPLOY, 0.4));
        assert!(!mute(serde_json::json!({ "principal": "role/deploy" })).fits(&shared));
    }

    #[test]
    fn an_expected_run_comes_at_its_time_and_in_its_size() {
        let daily = mute(serde_json::json!({
            // From 23:30 to 00:30.
            "run": { "periodMinutes": 1440, "phaseMinutes": 1410, "spreadMinutes": 60, "averageMax": 10.0 },
        }));
        let fits = |start: &str, average: f64| daily.fits(&record(start, average, (DEPLOY, 1.0)));
        assert!(fits("2026-11-23T23:30:00Z", 5.0) && fits("2026-11-24T00:30:00Z", 10.0));
        assert!(!fits("2026-11-24T00:31:00Z", 5.0) && !fits("2026-11-23T23:29:00Z", 5.0));
        assert!(!fits("2026-11-23T23:30:00Z", 10.1), "several times its size");
        assert_eq!(daily.words(), "daily from 23:30 to 00:30 UTC, up to 10.0 calls a minute");
        let monday = Minute::parse("2026-11-23T03:00:00Z").expect("a time").0;
        let weekly = mute(serde_json::json!({
            "run": { "periodMinutes": 10080, "phaseMinutes": monday.rem_euclid(10_080), "spreadMinutes": 60, "averageMax": 9.0 },
        }));
        assert!(weekly.fits(&record("2026-11-30T03:30:00Z", 5.0, (DEPLOY, 1.0))));
        assert!(!weekly.fits(&record("2026-11-24T03:30:00Z", 5.0, (DEPLOY, 1.0))));
        assert!(weekly.words().starts_with("on each Monday from 03:00 to 04:00 UTC"), "{}", weekly.words());
    }

    #[test]
    fn a_list_is_read_back_and_nonsense_is_refused() {
        let all = Mutes { mutes: vec![mute(serde_json::json!({ "api": "ec2:*", "unlearned": true }))] };
        assert_eq!(Mutes::parse(&all.to_json()).expect("a list"), all);
        for text in [
            "",
            "{}",
            "[]",
            "{\"mutes\":[{}]}",
            "{\"mutes\":[{\"id\":\"m\",\"made\":\"\",\"reason\":\"\",\"api\":\"[\"}]}",
        ] {
            assert!(Mutes::parse(text).is_err(), "{text}");
        }
        // A period of nothing is nonsense, and no panic.
        let never = mute(serde_json::json!({
            "run": { "periodMinutes": 0, "phaseMinutes": i64::MAX, "spreadMinutes": -1, "averageMax": 0.0 },
        }));
        assert!(!never.fits(&record("2026-11-23T10:00:00Z", 1.0, (DEPLOY, 1.0))));
        assert!(!never.words().is_empty());
    }

    #[test]
    fn a_principal_has_several_names() {
        assert_eq!(principal_names("AIDAEXAMPLE"), ["AIDAEXAMPLE"]);
        assert_eq!(principal_names(DEPLOY), [DEPLOY, "role/deploy"]);
        let session = "arn:aws-us-gov:sts::123456789012:assumed-role/deploy/ci-42";
        assert_eq!(
            principal_names(session),
            [session, "assumed-role/deploy/ci-42", "role/deploy/ci-42", "role/deploy"]
        );
    }
}
