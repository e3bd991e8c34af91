//! Incidents to Slack, or a server that speaks as it does: one message for each, changed in place as it goes on, with a
//! chart in its thread once there is one. Knows no records.

use std::path::Path;
use std::time::Duration;

use http::Request;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::board::Thread;
use super::request::{Answer, Http, Reply};
use super::words::Message;
use super::{Severity, check_private_url};
use crate::secret::Secret;

/// Slack's own limits are 3,000 characters in a block and 4,000 in a message, escapes counted.
const BLOCK_CHARACTERS_MAX: usize = 2_900;
const FALLBACK_CHARACTERS_MAX: usize = 1_000;
const TITLE_CHARACTERS_MAX: usize = 1_000;

/// A longer link is left out, rather than the message.
const LINK_CHARACTERS_MAX: usize = 1_500;

/// Posts incidents to a channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Slack {
    /// The channel's ID, such as C0123456789. Goes with `token`.
    pub channel: Option<String>,
    /// A bot's token with the scope chat:write, and files:write for charts. Messages are changed in place.
    pub token: Option<Secret>,
    /// The server that `token` is for [default: https://slack.com/api].
    pub url: Option<String>,
    /// Instead of `token` and `channel`: an incoming webhook. Its messages cannot be changed: an end is another message.
    pub webhook_url: Option<Secret>,
    /// false: no charts.
    pub chart: Option<bool>,
}

const API: &str = "https://slack.com/api";

/// Errors that pass, or that somebody has to mend outside of the message.
const NOT_NOW: [&str; 30] = [
    "ratelimited",
    "rate_limited",
    "internal_error",
    "fatal_error",
    "service_unavailable",
    "request_timeout",
    "team_added_to_org",
    "accesslimited",
    "access_denied",
    "account_inactive",
    "channel_not_found",
    "ekm_access_denied",
    "enterprise_is_restricted",
    "invalid_auth",
    "is_archived",
    "missing_scope",
    "message_limit_exceeded",
    "messages_tab_disabled",
    "no_permission",
    "not_allowed_token_type",
    "not_authed",
    "not_in_channel",
    "org_login_required",
    "posting_to_general_channel_denied",
    "restricted_action_read_only_channel",
    "team_access_not_granted",
    "token_expired",
    "token_revoked",
    "two_factor_setup_required",
    "restricted_action",
];

/// Errors of a change to a message that can no longer be changed.
const GONE: [&str; 4] = ["message_not_found", "cant_update_message", "edit_window_closed", "update_failed"];

impl Slack {
    pub fn check(&self) -> Result<(), String> {
        match (&self.token, &self.channel, &self.webhook_url) {
            (Some(_), Some(channel), None) if !channel.is_empty() => {
                check_private_url("slack.url", self.url.as_deref().unwrap_or(API))
            }
            (None, None, Some(url)) => check_private_url("slack.webhook_url", url.reveal()),
            _ => Err("slack: needs token and channel, or else webhook_url".to_owned()),
        }
    }

    pub async fn tell(&self, http: &Http, thread: &mut Thread, message: &Message, state: &Path) -> Answer {
        let told = match (&self.token, &self.webhook_url) {
            // Only the chart is missing.
            _ if !thread.changed => Ok(()),
            (Some(token), _) => self.post(http, token, thread, message).await,
            (None, Some(url)) => self.hook(http, url, thread, message).await,
            // The configuration was checked.
            (None, None) => Ok(()),
        };
        if let Err(answer) = told {
            return answer;
        }
        if let Some(token) = self.token.as_ref().filter(|_| self.has_charts()) {
            // A chart is a help, no promise: the message stands without it.
            let _ = self.chart(http, token, thread, state).await;
        }
        Answer::Taken
    }

    /// An incoming webhook takes no files.
    pub fn has_charts(&self) -> bool {
        self.token.is_some() && self.chart != Some(false)
    }

    async fn post(&self, http: &Http, token: &Secret, thread: &mut Thread, message: &Message) -> Result<(), Answer> {
        let mut body = json!({
            "channel": self.channel,
            "text": fallback(message),
            "blocks": blocks(thread, message),
            "unfurl_links": false,
        });
        if let Some((channel, stamp)) = thread.receipt.message.clone() {
            body["channel"] = channel.into();
            body["ts"] = stamp.into();
            match self.call(http, token, "chat.update", &body).await {
                Ok(_) => return Ok(()),
                Err(Answer::Refused(reason)) if GONE.contains(&reason.as_str()) => {
                    thread.receipt.message = None;
                    thread.receipt.chart = false;
                    body["channel"] = json!(self.channel);
                    body.as_object_mut().map(|body| body.remove("ts"));
                }
                Err(answer) => return Err(answer),
            }
        }
        let reply = self.call(http, token, "chat.postMessage", &body).await?;
        if let Some(stamp) = reply["ts"].as_str() {
            let channel = reply["channel"].as_str().or(self.channel.as_deref()).unwrap_or_default();
            thread.receipt.message = Some((channel.to_owned(), stamp.to_owned()));
        }
        Ok(())
    }

    /// A message of a webhook stays as it is: people hear of the start and of the end.
    async fn hook(&self, http: &Http, url: &Secret, thread: &Thread, message: &Message) -> Result<(), Answer> {
        if thread.receipt.told && thread.receipt.told_end == thread.is_over() {
            return Ok(());
        }
        let body = json!({ "text": fallback(message), "blocks": blocks(thread, message) });
        match http.post_json(url.reveal(), &body).await?.answer() {
            Answer::Taken => Ok(()),
            answer => Err(answer),
        }
    }

    async fn call(&self, http: &Http, token: &Secret, method: &str, body: &Value) -> Result<Value, Answer> {
        let request = self.request(token, method).header("content-type", "application/json; charset=utf-8");
        verdict(http.send(request, body.to_string().into_bytes()).await?)
    }

    fn request(&self, token: &Secret, method: &str) -> http::request::Builder {
        let base = self.url.as_deref().unwrap_or(API).trim_end_matches('/');
        Request::post(format!("{base}/{method}")).header("authorization", format!("Bearer {}", token.reveal()))
    }

    /// Drawn once, after the incident: while a day goes on its counts are not on the disk.
    async fn chart(&self, http: &Http, token: &Secret, thread: &mut Thread, state: &Path) -> Result<(), Answer> {
        let Some((channel, stamp)) = thread.receipt.message.clone().filter(|_| !thread.receipt.chart) else {
            return Ok(());
        };
        let Some(id) = thread.lead().filter(|lead| !lead.provisional).map(|lead| lead.shared_event_id.clone()) else {
            return Ok(());
        };
        let state = state.to_owned();
        // Reading days of counts takes a while, and other sinks have to go on.
        let drawn = tokio::task::spawn_blocking(move || crate::report::picture_of(&state, &id)).await;
        let Ok(Ok(Some(picture))) = drawn else { return Ok(()) };
        let request = self
            .request(token, "files.getUploadURLExternal")
            .header("content-type", "application/x-www-form-urlencoded");
        let form = format!("filename=chart.png&length={}", picture.len());
        let upload = verdict(http.send(request, form.into_bytes()).await?)?;
        let (Some(url), Some(file)) = (upload["upload_url"].as_str(), upload["file_id"].as_str()) else {
            return Ok(());
        };
        http.send(Request::post(url).header("content-type", "image/png"), picture).await?;
        let body = json!({
            "files": [{ "id": file, "title": "Calls per minute" }],
            "channel_id": channel,
            "thread_ts": stamp,
        });
        self.call(http, token, "files.completeUploadExternal", &body).await?;
        thread.receipt.chart = true;
        Ok(())
    }
}

/// Slack answers 200 to nearly everything, and says within what came of it.
fn verdict(reply: Reply) -> Result<Value, Answer> {
    match reply.answer() {
        Answer::Taken => {}
        answer => return Err(answer),
    }
    let body = reply.json();
    if body["ok"] == true {
        return Ok(body);
    }
    // What stands in between, such as a proxy that is being mended, says nothing of the message.
    let Some(error) = body["error"].as_str().map(str::to_owned) else {
        return Err(Answer::Later("an answer that is not Slack's".to_owned(), reply.retry_after));
    };
    let wait = reply.retry_after.or((error == "ratelimited").then_some(Duration::from_secs(30)));
    Err(if NOT_NOW.contains(&error.as_str()) { Answer::Later(error, wait) } else { Answer::Refused(error) })
}

/// For notifications and screen readers.
fn fallback(message: &Message) -> String {
    escaped(&format!("{} ({})", message.title, message.status), FALLBACK_CHARACTERS_MAX)
}

fn blocks(thread: &Thread, message: &Message) -> Value {
    let mark = match message.severity {
        _ if thread.is_over() => ":white_check_mark:",
        Severity::Critical => ":red_circle:",
        Severity::High => ":large_orange_circle:",
        Severity::Medium => ":large_yellow_circle:",
        Severity::Low | Severity::Info => ":large_blue_circle:",
    };
    // A bar or an angle bracket would end the link.
    let link = message.link.as_deref().map(|link| escaped(&link.replace('|', "%7C"), usize::MAX));
    let title = match link.filter(|link| link.chars().count() <= LINK_CHARACTERS_MAX) {
        Some(link) => format!("<{link}|{}>", escaped(&message.title.replace('|', "/"), TITLE_CHARACTERS_MAX)),
        None => escaped(&message.title, TITLE_CHARACTERS_MAX),
    };
    let section = |text: String| json!({ "type": "section", "text": { "type": "mrkdwn", "text": text } });
    let mut blocks = vec![section(format!("{mark} *{title}*\n{}", escaped(&message.status, FALLBACK_CHARACTERS_MAX)))];
    if !message.text.is_empty() {
        blocks.push(section(escaped(&message.text, BLOCK_CHARACTERS_MAX)));
    }
    if !message.list.is_empty() {
        let lines: Vec<String> = message.list.iter().map(|line| format!("• {line}")).collect();
        blocks.push(section(escaped(&lines.join("\n"), BLOCK_CHARACTERS_MAX)));
    }
    if let Some(lead) = thread.lead() {
        let place = format!("{} · {} · {}", lead.account, lead.region, lead.shared_event_id);
        let place = escaped(&place, BLOCK_CHARACTERS_MAX);
        blocks.push(json!({ "type": "context", "elements": [{ "type": "mrkdwn", "text": place }] }));
    }
    blocks.into()
}

/// With the three characters escaped that Slack asks for, and at most so many in all: an ellipsis where some are left
/// out.
fn escaped(text: &str, characters_max: usize) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut length, mut fitting) = (0, 0);
    for c in text.chars() {
        let before = out.len();
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            c => out.push(c),
        }
        length += out[before..].chars().count();
        if length > characters_max {
            out.truncate(fitting);
            out.push('…');
            return out;
        }
        if length < characters_max {
            fitting = out.len();
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::Sink;
    use crate::sink::filter::tests::{end, record};
    use crate::sink::words::{Words, tests::thread};

    fn told(sink: &Sink, records: &[crate::insight::trail::TrailRecord]) -> Value {
        let thread = thread(records);
        blocks(&thread, &Words::new(sink).expect("words").message(&thread).expect("a message"))
    }

    #[test]
    fn a_message_is_what_slack_expects() {
        let start = told(&Sink::default(), &[record()]);
        let expected = json!([
            { "type": "section", "text": { "type": "mrkdwn",
                "text": ":large_orange_circle: *[high] RunInstances 14x above normal in us-east-1*\nongoing since 14:07 UTC" } },
            { "type": "section", "text": { "type": "mrkdwn",
                "text": "RunInstances was called 49 times &lt;in&gt; 5 minutes &amp; more." } },
            { "type": "context", "elements": [{ "type": "mrkdwn",
                "text": "123456789012 · us-east-1 · 0f0e0a5b-1111-5c1b-8f0e-0a5b8f0e0a5b" }] },
        ]);
        assert_eq!(start, expected);
        let sink = Sink { link: Some("https://h/{api}".to_owned()), title: Some("a|b".to_owned()), ..Sink::default() };
        let ended = told(&sink, &[record(), end()]);
        let text = ended[0]["text"]["text"].as_str().expect("text");
        assert_eq!(text, ":white_check_mark: *<https://h/ec2:RunInstances|a/b>*\nended 14:41 UTC, 34 min");
    }

    #[test]
    fn answers_say_whether_to_wait() {
        let verdict =
            |body: &str| verdict(Reply { status: 200, body: body.as_bytes().to_vec(), retry_after: None }).map(|_| ());
        assert_eq!(verdict(r#"{"ok":true,"ts":"1.2"}"#), Ok(()));
        assert_eq!(verdict(r#"{"ok":false,"error":"not_in_channel"}"#), Err(Answer::later("not_in_channel")));
        assert_eq!(
            verdict(r#"{"ok":false,"error":"invalid_blocks"}"#),
            Err(Answer::Refused("invalid_blocks".to_owned()))
        );
        for passing in ["<html>", "", r#"{"ok":false,"error":"restricted_action_read_only_channel"}"#] {
            assert!(matches!(verdict(passing), Err(Answer::Later(..))), "{passing}");
        }
    }

    #[test]
    fn no_block_is_longer_than_slack_takes() {
        assert_eq!(
            (escaped("a<b", 6), escaped("a<b", 5), escaped("äöü", 3)),
            ("a&lt;b".into(), "a…".into(), "äöü".into())
        );
        assert_eq!((escaped("a<b", 0), escaped("äöü", 2)), ("…".into(), "ä…".into()));
        let long = "<&>".repeat(2_000);
        for link in [long.clone(), "https://h/".to_owned()] {
            let (title, text, link) = (Some(long.clone()), Some(long.clone()), Some(link));
            let told = told(&Sink { title, text, link, ..Sink::default() }, &[record(), end()]);
            for block in told.as_array().expect("blocks").iter().filter(|block| block["type"] == "section") {
                let length = block["text"]["text"].as_str().expect("text").chars().count();
                assert!((1..=3_000).contains(&length), "{length}");
            }
        }
    }

    #[test]
    fn one_way_to_slack_is_named() {
        let secret = |text: &str| {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("secret");
            std::fs::write(&path, text).expect("written");
            Secret::read(&format!("file:{}", path.display())).expect("a secret")
        };
        let token = Slack { token: Some(secret("x")), channel: Some("C1".to_owned()), ..Slack::default() };
        let hook = Slack { webhook_url: Some(secret("https://hooks.example/T/B")), ..Slack::default() };
        assert!(token.check().is_ok() && hook.check().is_ok());
        assert!(Slack::default().check().is_err());
        assert!(Slack { webhook_url: hook.webhook_url.clone(), ..token }.check().is_err());
        let error = Slack { webhook_url: Some(secret("hush")), ..Slack::default() }.check().expect_err("no URL");
        assert!(!error.contains("hush"), "{error}");
    }
}
