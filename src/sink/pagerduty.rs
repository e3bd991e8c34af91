//! Incidents to PagerDuty (Events API v2): one alert for each, resolved once all of it has ended. Knows no records.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::board::Thread;
use super::request::{Answer, Http, Reply};
use super::words::{Message, rfc3339, shortened};
use super::{Severity, check_private_url};
use crate::secret::Secret;

const EVENTS: &str = "https://events.pagerduty.com/v2/enqueue";

/// Limits of the API, in characters.
const SUMMARY_MAX: usize = 1_024;
const KEY_MAX: usize = 255;
const TEXT_MAX: usize = 4_000;

/// Triggers an alert for each incident and resolves it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PagerDuty {
    /// The integration key of a service.
    pub routing_key: Secret,
    /// Default: https://events.pagerduty.com/v2/enqueue; events.eu.pagerduty.com for accounts in Europe.
    #[serde(default)]
    pub url: Option<String>,
}

impl PagerDuty {
    pub fn check(&self) -> Result<(), String> {
        check_private_url("pagerduty.url", self.url.as_deref().unwrap_or(EVENTS))
    }

    pub async fn tell(&self, http: &Http, thread: &Thread, message: &Message) -> Answer {
        let url = self.url.as_deref().unwrap_or(EVENTS);
        let mut events = Vec::new();
        // One that ended before anybody was told still leaves its trace.
        if !thread.is_over() || !thread.receipt.told {
            events.push(trigger(thread, message));
        }
        if thread.is_over() {
            events.push(json!({ "event_action": "resolve", "dedup_key": shortened(&thread.key, KEY_MAX) }));
        }
        for mut event in events {
            event["routing_key"] = self.routing_key.reveal().into();
            match http.post_json(url, &event).await {
                Ok(reply) => match verdict(&reply) {
                    Answer::Taken => {}
                    answer => return answer,
                },
                Err(answer) => return answer,
            }
        }
        Answer::Taken
    }
}

/// A key that is wrong is called a bad request, like an event that is: that one waits until the key is mended.
fn verdict(reply: &Reply) -> Answer {
    let text = String::from_utf8_lossy(&reply.body).to_lowercase();
    match reply.answer() {
        Answer::Refused(reason) if text.contains("routing_key") || text.contains("routing key") => {
            Answer::later(reason)
        }
        answer => answer,
    }
}

fn trigger(thread: &Thread, message: &Message) -> Value {
    let lead = thread.lead();
    let severity = match message.severity {
        Severity::Critical => "critical",
        Severity::High => "error",
        Severity::Medium => "warning",
        Severity::Low | Severity::Info => "info",
    };
    let mut details = json!({
        "status": message.status,
        "reason": shortened(&message.text, TEXT_MAX),
    });
    if !message.list.is_empty() {
        details["insights"] = message.list.clone().into();
    }
    if let Some(lead) = lead {
        details["api"] = lead.api.as_str().into();
        details["principal"] = lead.principal.as_str().into();
        details["sharedEventID"] = lead.shared_event_id.as_str().into();
    }
    let mut event = json!({
        "event_action": "trigger",
        "dedup_key": shortened(&thread.key, KEY_MAX),
        "client": "Highwater",
        "payload": {
            "summary": shortened(&message.title, SUMMARY_MAX),
            "source": lead.map_or_else(String::new, |lead| format!("{}/{}", lead.account, lead.region)),
            "severity": severity,
            "timestamp": rfc3339(thread.start_s()),
            "component": lead.map(|lead| lead.api.as_str()),
            "group": lead.map(|lead| lead.account.as_str()),
            "class": lead.map(|lead| lead.insight_type.as_str()),
            "custom_details": details,
        },
    });
    if let Some(link) = &message.link {
        event["client_url"] = link.as_str().into();
        event["links"] = json!([{ "href": link, "text": "Highwater" }]);
    }
    event
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::Sink;
    use crate::sink::filter::tests::record;
    use crate::sink::words::{Words, tests::thread};

    #[test]
    fn a_wrong_key_waits_and_a_wrong_event_does_not() {
        let told = |body: &str| verdict(&Reply { status: 400, body: body.as_bytes().to_vec(), retry_after: None });
        for key in [
            "Invalid routing key",
            r#"{"status":"invalid event","errors":["Length of 'routing_key' is incorrect (should be 32 characters)"]}"#,
        ] {
            assert!(matches!(told(key), Answer::Later(..)), "{key}");
        }
        assert!(matches!(told(r#"{"errors":["'payload.summary' is missing or blank"]}"#), Answer::Refused(_)));
    }

    #[test]
    fn an_alert_is_what_pagerduty_expects() {
        let thread = thread(&[record()]);
        let sink = Sink { link: Some("https://h/1".to_owned()), ..Sink::default() };
        let message = Words::new(&sink).expect("words").message(&thread).expect("a message");
        let expected = json!({
            "event_action": "trigger",
            "dedup_key": "0f0e0a5b-1111-5c1b-8f0e-0a5b8f0e0a5b",
            "client": "Highwater",
            "client_url": "https://h/1",
            "links": [{ "href": "https://h/1", "text": "Highwater" }],
            "payload": {
                "summary": "[high] RunInstances 14x above normal in us-east-1",
                "source": "123456789012/us-east-1",
                "severity": "error",
                "timestamp": "2026-03-04T14:07:00Z",
                "component": "ec2:RunInstances",
                "group": "123456789012",
                "class": "ApiCallRateInsight",
                "custom_details": {
                    "status": "ongoing since 14:07 UTC",
                    "reason": "RunInstances was called 49 times <in> 5 minutes & more.",
                    "api": "ec2:RunInstances",
                    "principal": "role deploy",
                    "sharedEventID": "0f0e0a5b-1111-5c1b-8f0e-0a5b8f0e0a5b",
                },
            },
        });
        assert_eq!(trigger(&thread, &message), expected);
    }
}
