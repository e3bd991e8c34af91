//! Targets that tell people of incidents: one message for each, kept up to date. Knows when there is something to tell,
//! not what is said.

use std::path::Path;

use super::alertmanager::{self, Alertmanager};
use super::board::{Board, Thread};
use super::mail::Post;
use super::pagerduty::PagerDuty;
use super::request::{Answer, Http};
use super::slack::Slack;
use super::words::Words;

pub enum Target {
    Slack(Slack, Http),
    PagerDuty(PagerDuty, Http),
    Alertmanager(Alertmanager, Http),
    Mail(Box<Post>),
}

pub struct People {
    pub target: Target,
    pub per_hour: Option<u32>,
}

/// How often, and for how long after an incident, it is looked whether its chart can be drawn.
const CHART_EVERY_S: i64 = 1_800;
const CHART_UNTIL_S: i64 = 2 * 86_400;

impl People {
    /// What has changed by the time alone.
    pub fn tick(&self, board: &mut Board, now_s: i64) {
        board.expire(now_s);
        match &self.target {
            Target::Alertmanager(..) => board.remind(alertmanager::REMIND_S, now_s),
            Target::Slack(slack, _) if slack.has_charts() => board.await_charts(CHART_EVERY_S, CHART_UNTIL_S, now_s),
            _ => {}
        }
    }

    /// Tells the first incident of which there is something to tell; `None`: nothing.
    pub async fn tell(&self, board: &mut Board, words: &Words, state: &Path, now_s: i64) -> Option<Answer> {
        let thread = board.due(self.per_hour, now_s)?;
        let key = thread.key.clone();
        let answer = self.tell_thread(thread, words, state, now_s).await;
        if answer == Answer::Taken {
            board.done(&key, now_s);
        }
        Some(answer)
    }

    /// The first incident of which there is something to tell is not told. Returns what is known of it.
    pub fn give_up(&self, board: &mut Board, now_s: i64) -> Option<String> {
        let thread = board.due(self.per_hour, now_s)?;
        let (key, text) = (thread.key.clone(), serde_json::to_string(thread).unwrap_or_default());
        board.done(&key, now_s);
        Some(text)
    }

    async fn tell_thread(&self, thread: &mut Thread, words: &Words, state: &Path, now_s: i64) -> Answer {
        let Some(message) = words.message(thread) else { return Answer::Taken };
        // What was never told, and is not so, needs no word.
        if thread.is_withdrawn() && !thread.receipt.told {
            return Answer::Taken;
        }
        match &self.target {
            Target::Slack(slack, http) => slack.tell(http, thread, &message, state).await,
            Target::PagerDuty(pagerduty, http) => pagerduty.tell(http, thread, &message).await,
            Target::Alertmanager(alertmanager, http) => alertmanager.tell(http, thread, &message, now_s).await,
            Target::Mail(post) => post.tell(thread, &message).await,
        }
    }
}
