//! Targets that take records one by one. Knows how a record is written for them, not where it came from.

use super::asff;
use super::aws::Aws;
use super::board::Board;
use super::file::File;
use super::journal::State;
use super::ocsf;
use super::request::{Answer, Http};
use super::webhook::Webhook;
use super::words::Words;
use super::{Format, Severity};
use crate::insight::trail::TrailRecord;
use crate::source::live::now_s;

/// So many open incidents are remembered, for their ends.
const OPEN_MAX: usize = 10_000;

pub enum Records {
    Webhook(Webhook, Http),
    File(File),
    Aws(Box<Aws>),
}

/// A record, as text and as it is understood.
pub struct Line<'a> {
    pub text: &'a str,
    pub record: &'a TrailRecord,
}

impl Line<'_> {
    pub fn written(&self, format: Format, words: &Words) -> String {
        match format {
            Format::Cloudtrail => self.text.to_owned(),
            Format::Ocsf => ocsf::finding(self.record, self.link(words).as_deref()).to_string(),
            Format::Asff => asff::finding(self.record, (None, None), self.link(words).as_deref()).to_string(),
            Format::Text => {
                let (title, text) = self.told(words);
                format!("{title}\n{text}")
            }
        }
    }

    /// Title and body for people; where a record has none, what it is.
    pub fn told(&self, words: &Words) -> (String, String) {
        match self.message(words) {
            Some(message) => {
                let link = message.link.map(|link| format!("\n{link}")).unwrap_or_default();
                (message.title, format!("{}\n{}{link}", message.status, message.text))
            }
            None => (String::new(), String::new()),
        }
    }

    pub fn link(&self, words: &Words) -> Option<String> {
        self.message(words)?.link
    }

    fn message(&self, words: &Words) -> Option<super::words::Message> {
        let mut board = Board::default();
        let now_s = now_s();
        board.take(self.record, true, None, now_s);
        words.message(board.due(None, now_s)?)
    }

    pub fn severity(&self) -> &str {
        self.record.highwater.as_ref().map_or(Severity::Medium.as_str(), |extra| &extra.severity)
    }
}

impl Records {
    pub async fn send(&self, line: &Line<'_>, words: &Words, state: &mut State) -> Answer {
        match self {
            Records::Webhook(webhook, http) => {
                webhook.send(http, line.written(webhook.format, words), &line.record.event_id, "final").await
            }
            Records::File(file) => match file.append(&line.written(file.format, words), &mut state.written) {
                Ok(()) => Answer::Taken,
                Err(error) => Answer::later(format!("{}: {error}", file.path.display())),
            },
            Records::Aws(aws) => aws.send(line, words).await,
        }
    }

    /// Early words are for whoever can tell them from final ones: by a header, in CloudTrail's own form.
    pub async fn send_early(&self, text: &str, key: &str) -> Answer {
        match self {
            Records::Webhook(webhook, http) if webhook.format == Format::Cloudtrail => {
                webhook.send(http, text.to_owned(), key, "provisional").await
            }
            _ => Answer::Taken,
        }
    }
}

/// Notes that a start was sent, or forgets it with its end.
pub fn note_open(state: &mut State, record: &TrailRecord) {
    let id = &record.shared_event_id;
    state.open.retain(|open| open != id);
    if record.insight_details.state == "Start" {
        state.open.push(id.clone());
        let too_many = state.open.len().saturating_sub(OPEN_MAX);
        state.open.drain(..too_many);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::Sink;
    use crate::sink::filter::tests::{end, record};

    #[test]
    fn records_are_written_in_every_format() {
        let (record, words) = (record(), Words::new(&Sink::default()).expect("words"));
        let text = serde_json::to_string(&record).expect("JSON");
        let line = Line { text: &text, record: &record };
        assert_eq!(line.written(Format::Cloudtrail, &words), text);
        assert!(line.written(Format::Ocsf, &words).contains("\"type_uid\":200401"));
        assert!(line.written(Format::Asff, &words).contains("\"SchemaVersion\":\"2018-10-08\""));
        assert_eq!(
            line.written(Format::Text, &words),
            "[high] RunInstances 14x above normal in us-east-1\nongoing since 14:07 UTC\n\
             RunInstances was called 49 times <in> 5 minutes & more."
        );
    }

    #[test]
    fn open_incidents_are_known_until_they_end() {
        let mut state = State::default();
        note_open(&mut state, &record());
        note_open(&mut state, &record());
        assert_eq!(state.open, [record().shared_event_id]);
        note_open(&mut state, &end());
        assert!(state.open.is_empty());
    }
}
