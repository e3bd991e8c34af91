//! Incidents to Prometheus Alertmanager (API v2): an alert for each insight, told apart by labels that never change, and
//! together by the label `incident`. Knows no records.

use std::collections::BTreeMap;

use http::Request;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::board::Thread;
use super::check_url;
use super::request::{Answer, Http};
use super::webhook::check_headers;
use super::words::{Message, rfc3339};
use crate::secret::Secret;

/// An open alert ends by itself so long after it was last told: long enough for a restart of Highwater. It is told
/// again every few minutes, because Alertmanager forgets with its own restart.
const ENDS_AFTER_S: i64 = 3_600;

/// Alertmanager forgets with a restart, and ends what it does not hear of again.
pub const REMIND_S: i64 = 300;

/// Alertmanager calls nobody for an alert that has ended when it comes, or before its group has waited. So each is open
/// until it is told again, for so long if it is not.
const UNHEARD_ENDS_AFTER_S: i64 = 2 * REMIND_S;

/// Posts alerts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Alertmanager {
    /// Where Alertmanager listens, such as http://alertmanager:9093.
    pub url: String,
    /// More headers, such as Authorization = "env:TOKEN".
    pub headers: BTreeMap<String, Secret>,
    /// More labels, such as team = "platform".
    pub labels: BTreeMap<String, String>,
}

impl Alertmanager {
    pub fn check(&self) -> Result<(), String> {
        check_url("alertmanager.url", &self.url)?;
        check_headers("alertmanager.headers", &self.headers)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let wrong = |name: &&String| {
            name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(plain)
        };
        match self.labels.keys().find(wrong) {
            Some(name) => Err(format!("alertmanager.labels: {name:?} is no name of a label")),
            None => Ok(()),
        }
    }

    pub async fn tell(&self, http: &Http, thread: &Thread, message: &Message, now_s: i64) -> Answer {
        let url = format!("{}/api/v2/alerts", self.url.trim_end_matches('/'));
        let mut request = Request::post(url).header("content-type", "application/json");
        for (name, value) in &self.headers {
            request = request.header(name, value.reveal());
        }
        let body = alerts(thread, message, &self.labels, now_s).to_string();
        match http.send(request, body.into_bytes()).await {
            Ok(reply) => reply.answer(),
            Err(answer) => answer,
        }
    }
}

/// Principals are no labels: there is no end of them.
fn alerts(thread: &Thread, message: &Message, labels: &BTreeMap<String, String>, now_s: i64) -> Value {
    let alert = |member: &super::board::Member| {
        let end_s = match member.end_s {
            _ if member.ended_unheard(REMIND_S, now_s) => now_s + UNHEARD_ENDS_AFTER_S,
            Some(end_s) => end_s.min(now_s),
            None if member.withdrawn => now_s,
            None => now_s + ENDS_AFTER_S,
        };
        let mut alert = json!({
            "labels": {
                "alertname": member.insight_type,
                "account": member.account,
                "region": member.region,
                "api": member.api,
                "severity": member.severity_first.as_str(),
                "incident": thread.key,
            },
            "annotations": {
                "summary": if thread.members.len() == 1 { &message.title } else { &member.headline },
                "description": if thread.members.len() == 1 { &message.text } else { &member.reason },
                "principal": member.principal,
                "sharedEventID": member.shared_event_id,
            },
            "startsAt": rfc3339(member.start_s),
            // One that ended within its first minute still has a length.
            "endsAt": rfc3339(end_s.max(member.start_s + 1)),
        });
        if let Some(code) = &member.error_code {
            alert["labels"]["error"] = code.as_str().into();
        }
        for (name, value) in labels {
            alert["labels"][name] = value.as_str().into();
        }
        if let Some(link) = &message.link {
            alert["generatorURL"] = link.as_str().into();
        }
        alert
    };
    thread.members.iter().map(alert).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::Sink;
    use crate::sink::board::Board;
    use crate::sink::filter::tests::{end, record};
    use crate::sink::words::{Words, tests::thread};

    fn told(records: &[crate::insight::trail::TrailRecord]) -> Value {
        let thread = thread(records);
        let message = Words::new(&Sink::default()).expect("words").message(&thread).expect("a message");
        let labels = BTreeMap::from([("team".to_owned(), "platform".to_owned())]);
        alerts(&thread, &message, &labels, 1_772_636_000)
    }

    #[test]
    fn an_alert_keeps_its_labels_until_it_ends() {
        let expected = json!([{
            "labels": { "alertname": "ApiCallRateInsight", "account": "123456789012", "region": "us-east-1",
                "api": "ec2:RunInstances", "severity": "high", "team": "platform",
                "incident": "0f0e0a5b-1111-5c1b-8f0e-0a5b8f0e0a5b" },
            "annotations": { "summary": "[high] RunInstances 14x above normal in us-east-1",
                "description": "RunInstances was called 49 times <in> 5 minutes & more.",
                "principal": "role deploy", "sharedEventID": "0f0e0a5b-1111-5c1b-8f0e-0a5b8f0e0a5b" },
            "startsAt": "2026-03-04T14:07:00Z",
            "endsAt": "2026-03-04T15:53:20Z",
        }]);
        assert_eq!(told(&[record()]), expected);
        let mut worse = end();
        worse.highwater.as_mut().expect("ours").severity = "critical".to_owned();
        // Told for the first time only now, it is open for once.
        let ended = told(&[record(), worse]);
        assert_eq!(ended[0]["labels"], expected[0]["labels"]);
        assert_eq!(ended[0]["endsAt"], "2026-03-04T15:03:20Z");
    }

    #[test]
    fn what_ended_while_nobody_heard_is_open_until_it_is_told_again() {
        const FIRST_S: i64 = 1_772_636_000;
        let mut board = Board::default();
        let tell = |board: &mut Board, now_s: i64| -> Option<String> {
            board.remind(REMIND_S, now_s);
            let thread = board.due(None, now_s)?;
            let message = Words::new(&Sink::default()).expect("words").message(thread).expect("a message");
            let ends = alerts(thread, &message, &BTreeMap::new(), now_s)[0]["endsAt"].as_str().map(str::to_owned);
            let key = thread.key.clone();
            board.done(&key, now_s);
            ends
        };
        board.take(&record(), true, None, FIRST_S);
        board.take(&end(), true, None, FIRST_S);
        assert_eq!(tell(&mut board, FIRST_S).as_deref(), Some("2026-03-04T15:03:20Z"));
        assert_eq!(tell(&mut board, FIRST_S + REMIND_S - 1), None);
        assert_eq!(tell(&mut board, FIRST_S + REMIND_S).as_deref(), Some("2026-03-04T14:41:00Z"));
        assert_eq!(tell(&mut board, FIRST_S + 9 * REMIND_S), None, "that was all");

        // Nor is it told once more by a board that was kept before it was noted when.
        let text = serde_json::to_string(&board).expect("JSON").replace("\"toldS\":1772636000", "\"other\":0");
        let mut old: Board = serde_json::from_str(&text).expect("a board");
        assert_eq!(tell(&mut old, FIRST_S + 9 * REMIND_S), None);

        // The same where the end comes so soon after the start that the group still waits.
        let mut board = Board::default();
        board.take(&record(), true, None, FIRST_S);
        assert_eq!(tell(&mut board, FIRST_S).as_deref(), Some("2026-03-04T15:53:20Z"));
        board.take(&end(), true, None, FIRST_S + 9);
        assert_eq!(tell(&mut board, FIRST_S + 9).as_deref(), Some("2026-03-04T15:03:29Z"));
        assert_eq!(tell(&mut board, FIRST_S + 9 + REMIND_S).as_deref(), Some("2026-03-04T14:41:00Z"));

        // Who was told long enough is told of the end at once.
        let mut board = Board::default();
        board.take(&record(), true, None, FIRST_S);
        tell(&mut board, FIRST_S);
        board.take(&end(), true, None, FIRST_S + REMIND_S);
        assert_eq!(tell(&mut board, FIRST_S + REMIND_S).as_deref(), Some("2026-03-04T14:41:00Z"));
        assert_eq!(tell(&mut board, FIRST_S + 9 * REMIND_S), None);
    }

    #[test]
    fn labels_have_names() {
        let check = |name: &str| {
            let labels = BTreeMap::from([(name.to_owned(), "x".to_owned())]);
            Alertmanager { url: "http://a:9093".to_owned(), labels, ..Alertmanager::default() }.check()
        };
        assert!(check("team").is_ok() && check("1team").is_err() && check("te am").is_err() && check("").is_err());
    }
}
