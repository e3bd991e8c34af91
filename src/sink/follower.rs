//! The loop of a sink: lines of `insights.jsonl` in order to its target, again and again until they are taken, and early
//! words as they come. Knows no target by name, and no detection.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use serde::Deserialize;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::aws::{Aws, Service};
use super::filter::Filter;
use super::journal::{Journal, State};
use super::mail::Post;
use super::people::{People, Target};
use super::records::{Line, Records, note_open};
use super::request::{Answer, Http};
use super::words::Words;
use super::{Progress, Sink};
use crate::insight::trail::TrailRecord;
use crate::source::live::{backoff, now_s};

/// Wait after a request that was not taken, doubled each time up to the most, and anywhere between half of it and all.
const RETRY: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// A request that the receiver calls wrong is tried so often; then it is kept in a file, and the next one is sent.
const REFUSALS_MAX: u32 = 3;

/// Between those: what starts, or is replaced, says strange things for a while.
const REFUSED_WAIT: Duration = Duration::from_secs(5);

/// Early words that wait; with more of them, the oldest news is no news.
pub const EARLY_MAX: usize = 256;

/// So many lines are taken together for people, to make one message of what belongs to one incident.
const TOGETHER_MAX: usize = 100;

/// How often it is looked whether time alone has brought something to tell.
const TICK: Duration = Duration::from_secs(20);

/// Incidents for people in an hour, where nothing else is asked for.
const PER_HOUR: u32 = 20;

enum Outlet {
    Records(Records),
    People(People),
}

/// Follows a file of lines.
pub struct Follower {
    name: String,
    filter: Filter,
    words: Words,
    outlet: Outlet,
    journal: Journal,
    progress: Arc<Progress>,
    /// Early words that were sent as records: only what becomes of these is sent.
    early_sent: HashSet<String>,
}

/// A line of `provisional.jsonl` that is no record.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Settled {
    #[serde(rename = "sharedEventID")]
    shared_event_id: String,
    outcome: String,
    #[serde(rename = "finalSharedEventID")]
    final_shared_event_id: Option<String>,
}

/// What each sink is called: by its name, or its kind. What was sent is remembered by it, so several of a kind need names:
/// a number would be another sink's once one is taken out.
pub fn names(sinks: &[Sink]) -> Result<Vec<String>, String> {
    let mut names: Vec<String> = Vec::new();
    for (place, sink) in sinks.iter().enumerate() {
        let kind = sink.kind().map_err(|error| format!("sink {}: {error}", place + 1))?;
        let name = sink.name.clone().unwrap_or_else(|| kind.to_owned());
        if let Some(file) = &sink.file
            && sinks[..place].iter().any(|other| other.file.as_ref().is_some_and(|other| other.path == file.path))
        {
            return Err(format!("two sinks write {}: each needs a file of its own", file.path.display()));
        }
        if names.contains(&name) {
            return Err(format!("two sinks are called {name}: give each its own, as in name = \"{name}-soc\""));
        }
        names.push(name);
    }
    Ok(names)
}

/// One follower for each sink, each where it was before. `insights`: the file, which is safe up to `end`.
pub fn open(sinks: Vec<Sink>, insights: &Path, end: u64) -> anyhow::Result<Vec<Follower>> {
    if sinks.is_empty() {
        return Ok(Vec::new());
    }
    let http = Http::new()?;
    let mut followers: Vec<Follower> = Vec::new();
    let names = names(&sinks).map_err(anyhow::Error::msg)?;
    for (place, (sink, name)) in sinks.into_iter().zip(names).enumerate() {
        let at_fault = |error: String| anyhow!("sink {}: {error}", place + 1);
        sink.check().map_err(at_fault)?;
        let words = Words::new(&sink).map_err(at_fault)?;
        let filter = Filter::new(&sink).map_err(at_fault)?;
        let outlet = outlet(sink, &http).map_err(at_fault)?;
        let journal = Journal::open(insights, &name, end).with_context(|| format!("sink {name}"))?;
        let progress = Arc::new(Progress::default());
        progress.at(journal.state.position);
        followers.push(Follower { name, filter, words, outlet, journal, progress, early_sent: HashSet::new() });
    }
    Ok(followers)
}

fn outlet(sink: Sink, http: &Http) -> Result<Outlet, String> {
    let http = http.clone();
    let per_hour = Some(sink.per_hour.unwrap_or(PER_HOUR));
    let people = |target, per_hour| Outlet::People(People { target, per_hour });
    let aws = |service, http| Outlet::Records(Records::Aws(Box::new(Aws::new(service, http))));
    Ok(match sink {
        Sink { webhook: Some(webhook), .. } => Outlet::Records(Records::Webhook(webhook, http)),
        Sink { file: Some(file), .. } => Outlet::Records(Records::File(file)),
        Sink { slack: Some(slack), .. } => people(Target::Slack(slack, http), per_hour),
        Sink { pagerduty: Some(pagerduty), .. } => people(Target::PagerDuty(pagerduty, http), per_hour),
        Sink { alertmanager: Some(alertmanager), .. } => people(Target::Alertmanager(alertmanager, http), None),
        Sink { mail: Some(mail), .. } => people(Target::Mail(Box::new(Post::new(&mail)?)), per_hour),
        Sink { sns: Some(sns), .. } => aws(Service::Sns(sns), http),
        Sink { sqs: Some(sqs), .. } => aws(Service::Sqs(sqs), http),
        Sink { eventbridge: Some(bridge), .. } => aws(Service::EventBridge(bridge), http),
        Sink { s3: Some(s3), .. } => aws(Service::S3(s3), http),
        Sink { security_hub: Some(hub), .. } => aws(Service::SecurityHub(hub), http),
        _ => return Err("a sink without a target".to_owned()),
    })
}

impl Follower {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn progress(&self) -> Arc<Progress> {
        self.progress.clone()
    }

    /// Sends what comes until told to stop. `end`: how far the file is safe.
    pub async fn run(
        mut self,
        mut end: watch::Receiver<u64>,
        mut early: mpsc::Receiver<String>,
        stop: CancellationToken,
    ) {
        let (mut failures, mut refusals) = (0, 0);
        loop {
            // Before lines: what was told early is settled by them.
            while let Ok(word) = early.try_recv() {
                tokio::select! {
                    () = self.hear(&word, failures > 0) => {}
                    () = stop.cancelled() => return,
                }
            }
            let safe = *end.borrow_and_update();
            let sent = tokio::select! {
                sent = self.step(safe) => sent,
                () = stop.cancelled() => return,
            };
            let (answer, lines) = match sent {
                Ok(Some(sent)) => sent,
                Ok(None) => {
                    tokio::select! {
                        changed = end.changed() => if changed.is_err() {
                            return;
                        },
                        Some(word) = early.recv() => tokio::select! {
                            () = self.hear(&word, false) => {}
                            () = stop.cancelled() => return,
                        },
                        () = tokio::time::sleep(TICK) => {}
                        () = stop.cancelled() => return,
                    }
                    continue;
                }
                Err(error) => {
                    warn!(sink = %self.name, error = %format!("{error:#}"), "cannot go on; trying again");
                    tokio::select! {
                        () = tokio::time::sleep(RETRY_MAX) => continue,
                        () = stop.cancelled() => return,
                    }
                }
            };
            let wait = match answer {
                Answer::Taken => {
                    if failures > 0 {
                        info!(sink = %self.name, failures, "takes insights again");
                    }
                    (failures, refusals, _) = (0, 0, self.progress.recovered());
                    continue;
                }
                Answer::Refused(reason) if refusals + 1 >= REFUSALS_MAX => {
                    self.give_up(&reason, lines);
                    (failures, refusals) = (0, 0);
                    continue;
                }
                Answer::Refused(reason) => {
                    refusals += 1;
                    (reason, Some(REFUSED_WAIT))
                }
                Answer::Later(reason, wait) => (reason, wait),
            };
            failures += 1;
            self.progress.failed();
            let (reason, asked) = wait;
            warn!(sink = %self.name, %reason, failures, "an insight was not taken; sending it again");
            let wait = backoff(failures, RETRY, RETRY_MAX).max(asked.unwrap_or_default());
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Sends one request, or notes that nothing has to be sent for some lines. `None`: there is nothing to do. With the
    /// answer, the lines that it speaks of and where they end.
    async fn step(&mut self, safe: u64) -> anyhow::Result<Option<(Answer, Option<(String, u64)>)>> {
        let now_s = now_s();
        if let Outlet::People(people) = &self.outlet {
            people.tick(&mut self.journal.state.board, now_s);
            let folder = self.journal.original().parent().unwrap_or(Path::new(".")).to_owned();
            // Each line is taken in once, and the place moves only once all that these lines bring was told: until then
            // they are the queue.
            let State { position, taken, .. } = self.journal.state;
            if taken <= position {
                let (lines, after) = self.journal.lines(safe, TOGETHER_MAX)?;
                for record in lines.iter().filter_map(|line| serde_json::from_str::<TrailRecord>(line).ok()) {
                    let wanted = self.filter.passes(&record);
                    self.journal.state.board.take(&record, wanted, people.per_hour, now_s);
                }
                self.journal.state.taken = after;
            }
            let told = people.tell(&mut self.journal.state.board, &self.words, &folder, now_s).await;
            let Some(answer) = told else {
                if self.journal.state.taken <= position {
                    return Ok(None);
                }
                self.advance(self.journal.state.taken)?;
                return Ok(Some((Answer::Taken, None)));
            };
            if answer == Answer::Taken {
                self.progress.sent(1);
                self.journal.save()?;
            }
            return Ok(Some((answer, None)));
        }
        let (mut lines, after) = self.journal.lines(safe, 1)?;
        let Some(text) = lines.pop() else { return Ok(None) };
        let Ok(record) = serde_json::from_str::<TrailRecord>(&text) else {
            return Ok(Some((Answer::Refused("the line is no record".to_owned()), Some((text, after)))));
        };
        let wanted = self.filter.passes(&record) || self.journal.state.open.contains(&record.shared_event_id);
        if !wanted {
            self.advance(after)?;
            return Ok(Some((Answer::Taken, None)));
        }
        let Outlet::Records(records) = &self.outlet else { return Ok(None) };
        let line = Line { text: &text, record: &record };
        let answer = records.send(&line, &self.words, &mut self.journal.state).await;
        if answer == Answer::Taken {
            note_open(&mut self.journal.state, &record);
            self.progress.sent(1);
            self.early_sent.remove(&record.shared_event_id);
            self.advance(after)?;
        }
        Ok(Some((answer, Some((text, after)))))
    }

    fn advance(&mut self, after: u64) -> anyhow::Result<()> {
        self.journal.state.position = after;
        self.progress.at(after);
        self.journal.save()
    }

    /// Keeps what the receiver would not have, and goes on.
    fn give_up(&mut self, reason: &str, line: Option<(String, u64)>) {
        let what = match (&self.outlet, &line) {
            (Outlet::People(people), _) => people.give_up(&mut self.journal.state.board, now_s()),
            (Outlet::Records(_), Some((text, after))) => {
                self.journal.state.position = *after;
                self.progress.at(*after);
                Some(text.clone())
            }
            (Outlet::Records(_), None) => None,
        };
        let kept = self.journal.refused_path().display().to_string();
        let written = self.journal.keep_refused(reason, &what.unwrap_or_default()).and_then(|()| self.journal.save());
        warn!(sink = %self.name, %reason, %kept, "an insight was refused; it is kept, and the next one is sent");
        if let Err(error) = written {
            warn!(sink = %self.name, error = %format!("{error:#}"), "what was refused cannot be kept");
        }
        self.progress.refused();
    }

    /// An early word. Records are sent once, without a promise, and not to a receiver that is down; people's messages
    /// are kept up to date, as by final ones.
    async fn hear(&mut self, word: &str, is_down: bool) {
        let now_s = now_s();
        let record = serde_json::from_str::<TrailRecord>(word).ok();
        let settled = serde_json::from_str::<Settled>(word).ok().filter(|_| record.is_none());
        match (&self.outlet, record, settled) {
            (Outlet::People(people), Some(record), _) => {
                let wanted = self.filter.passes(&record);
                self.journal.state.board.take(&record, wanted, people.per_hour, now_s);
            }
            (Outlet::People(_), None, Some(settled)) => {
                let withdrawn = settled.outcome == "withdrawn";
                let other = settled.final_shared_event_id.as_deref();
                self.journal.state.board.settle(&settled.shared_event_id, other, withdrawn, now_s);
            }
            (Outlet::Records(_), ..) if is_down => {}
            (Outlet::Records(records), Some(record), _) if self.filter.passes(&record) => {
                if self.early_sent.len() >= EARLY_MAX {
                    self.early_sent.clear();
                }
                let answer = records.send_early(word.trim_end(), &record.event_id).await;
                self.note_early(answer);
                self.early_sent.insert(record.shared_event_id);
            }
            (Outlet::Records(records), None, Some(settled)) if self.early_sent.remove(&settled.shared_event_id) => {
                let key = format!("{}-{}", settled.shared_event_id, settled.outcome);
                let answer = records.send_early(word.trim_end(), &key).await;
                self.note_early(answer);
            }
            _ => {}
        }
    }

    fn note_early(&self, answer: Answer) {
        if let Answer::Refused(reason) | Answer::Later(reason, _) = answer {
            warn!(sink = %self.name, %reason, "an early word was not taken");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde_json::{Value, json};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::secret::Secret;
    use crate::sink::filter::tests::{end, record};
    use crate::sink::{PagerDuty, Slack, Webhook};

    /// Requests as they come: path and body.
    type Requests = Arc<Mutex<Vec<(String, Value)>>>;

    /// Answers every request as Slack would, which suits the others too.
    async fn serve(listener: TcpListener, requests: Requests) {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, requests.clone()));
        }
    }

    async fn answer(mut stream: TcpStream, requests: Requests) {
        let mut text = Vec::new();
        let mut part = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut part).await {
            text.extend_from_slice(&part[..read]);
            let Some(head) = text.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
            let begin = String::from_utf8_lossy(&text[..head]).to_lowercase();
            let length =
                begin.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
            if text.len() < head + 4 + length {
                continue;
            }
            let path = begin.split(' ').nth(1).unwrap_or_default().to_owned();
            let body = serde_json::from_slice(&text[head + 4..]).unwrap_or_default();
            requests.lock().expect("a list").push((path, body));
            let body = r#"{"ok":true,"ts":"1.2","channel":"C1"}"#;
            let answer =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
            let _ = stream.write_all(answer.as_bytes()).await;
            return;
        }
    }

    async fn until(requests: &Requests, count: usize) -> Vec<(String, Value)> {
        for _ in 0..500 {
            if requests.lock().expect("a list").len() >= count {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // What should not come has a moment to do so.
        tokio::time::sleep(Duration::from_millis(50)).await;
        std::mem::take(&mut requests.lock().expect("a list"))
    }

    fn line(record: &TrailRecord) -> String {
        serde_json::to_string(record).expect("JSON") + "\n"
    }

    #[tokio::test]
    async fn an_early_word_is_told_at_once_and_confirmed_in_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let insights = folder.path().join("insights.jsonl");
        std::fs::write(&insights, "").expect("written");
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "hush").expect("written");
        let secret = Secret::read(&format!("file:{}", secret.display())).expect("a secret");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let requests = Requests::default();
        tokio::spawn(serve(listener, requests.clone()));
        let slack = || Slack {
            channel: Some("C1".to_owned()),
            token: Some(secret.clone()),
            url: Some(base.clone()),
            chart: Some(false),
            ..Slack::default()
        };
        let open = || {
            let sinks = vec![Sink { slack: Some(slack()), ..Sink::default() }];
            open(sinks, &insights, 0).expect("opened").pop().expect("a follower")
        };
        let mut early = record();
        early.highwater.as_mut().expect("ours").provisional = true;

        let stop = CancellationToken::new();
        let (end_sender, _) = watch::channel(0);
        let (words, inbox) = mpsc::channel(EARLY_MAX);
        let running = tokio::spawn(open().run(end_sender.subscribe(), inbox, stop.clone()));
        words.send(line(&early)).await.expect("heard");
        let told = until(&requests, 1).await;
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].0, "/chat.postmessage");
        assert!(told[0].1["text"].as_str().is_some_and(|text| text.contains("early word")), "{}", told[0].1);

        // The final record changes the same message, after a restart too.
        stop.cancel();
        running.await.expect("ended");
        let stop = CancellationToken::new();
        let (words, inbox) = mpsc::channel(EARLY_MAX);
        let running = tokio::spawn(open().run(end_sender.subscribe(), inbox, stop.clone()));
        let settled = json!({ "sharedEventID": early.shared_event_id, "outcome": "confirmed" });
        words.send(settled.to_string()).await.expect("heard");
        std::fs::write(&insights, line(&record()) + &line(&end())).expect("written");
        let start = line(&record()).len() as u64;
        end_sender.send_replace(start);
        let told = until(&requests, 1).await;
        assert_eq!((told.len(), told[0].0.as_str(), &told[0].1["ts"]), (1, "/chat.update", &json!("1.2")));
        assert!(told[0].1["text"].as_str().is_some_and(|text| text.contains("(ongoing since 14:07 UTC)")));
        end_sender.send_replace(start + line(&end()).len() as u64);
        let told = until(&requests, 1).await;
        assert!(told[0].1["text"].as_str().is_some_and(|text| text.contains("ended 14:41 UTC, 34 min")));

        // Nothing was there after all.
        early.shared_event_id = "other".to_owned();
        words.send(line(&early)).await.expect("heard");
        words.send(json!({ "sharedEventID": "other", "outcome": "withdrawn" }).to_string()).await.expect("heard");
        let told = until(&requests, 2).await;
        // Where the sink heard both before it sent anything, there was nothing to send.
        let is_taken_back = |(_, body): &(String, Value)| body.to_string().contains("withdrawn");
        assert!(told.is_empty() || told.last().is_some_and(is_taken_back), "{told:?}");
        // The last one who could say something is gone: so is the sink.
        drop((end_sender, words));
        running.await.expect("ended");
    }

    #[tokio::test]
    async fn an_incident_of_very_many_insights_is_told_and_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let insights = folder.path().join("insights.jsonl");
        let numbered = |mut record: TrailRecord, number: usize| {
            record.shared_event_id = number.to_string();
            record.highwater.as_mut().expect("ours").incident_id = Some("wide".to_owned());
            line(&record)
        };
        let lines: String = (0..250).map(|number| numbered(record(), number)).collect();
        std::fs::write(&insights, &lines).expect("written");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "hush").expect("written");
        let duty = PagerDuty {
            routing_key: Secret::read(&format!("file:{}", secret.display())).expect("a secret"),
            url: Some(format!("http://{}", listener.local_addr().expect("an address"))),
        };
        let requests = Requests::default();
        tokio::spawn(serve(listener, requests.clone()));
        let sinks = vec![Sink { pagerduty: Some(duty), ..Sink::default() }];
        let mut follower = open(sinks, &insights, 0).expect("opened").pop().expect("a follower");
        let mut steps = 0;
        while let Some((answer, _)) = follower.step(lines.len() as u64).await.expect("a step") {
            assert_eq!(answer, Answer::Taken);
            steps += 1;
            assert!(steps < 50, "it is told again and again");
        }
        assert_eq!(follower.journal.state.position, lines.len() as u64);
        assert!(!requests.lock().expect("a list").is_empty());
    }

    #[tokio::test]
    async fn records_wait_for_a_dead_receiver_and_early_words_do_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let insights = folder.path().join("insights.jsonl");
        std::fs::write(&insights, format!("no record\n{}", line(&record()))).expect("written");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        drop(listener);
        let webhook = Webhook { url: Some(format!("http://{address}/hook")), ..Webhook::default() };
        let sinks = vec![Sink { webhook: Some(webhook), ..Sink::default() }];
        let follower = open(sinks, &insights, 0).expect("opened").pop().expect("a follower");
        let (progress, stop) = (follower.progress(), CancellationToken::new());
        let length = std::fs::metadata(&insights).expect("a file").len();
        let (end_sender, end) = watch::channel(length);
        let (words, inbox) = mpsc::channel(EARLY_MAX);
        let running = tokio::spawn(follower.run(end, inbox, stop.clone()));
        // What is no record was refused before anything was sent.
        for _ in 0..1_000 {
            if progress.figures().refused == 1 && progress.figures().failures > 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!((progress.figures().refused, progress.figures().sent), (1, 0));
        words.send(line(&record())).await.expect("heard");
        let requests = Requests::default();
        tokio::spawn(serve(TcpListener::bind(address).await.expect("the same port"), requests.clone()));
        let told = until(&requests, 1).await;
        assert_eq!(told.len(), 1, "the record, not the word");
        assert_eq!(progress.figures().position_bytes, length);
        stop.cancel();
        running.await.expect("ended");
        drop((end_sender, words));
    }

    #[test]
    fn sinks_have_names_of_their_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let insights = folder.path().join("insights.jsonl");
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "hush").expect("written");
        let routing_key = Secret::read(&format!("file:{}", secret.display())).expect("a secret");
        let duty = |name: Option<&str>| Sink {
            name: name.map(str::to_owned),
            pagerduty: Some(PagerDuty { routing_key: routing_key.clone(), url: None }),
            ..Sink::default()
        };
        let followers = open(vec![duty(None), duty(Some("night"))], &insights, 0).expect("opened");
        let names: Vec<&str> = followers.iter().map(Follower::name).collect();
        assert_eq!(names, ["pagerduty", "night"]);
        let unnamed = open(vec![duty(None), duty(None)], &insights, 0);
        assert!(unnamed.is_err_and(|error| error.to_string().contains("called pagerduty")));
        let twice = open(vec![duty(Some("a")), duty(Some("a"))], &insights, 0);
        assert!(twice.is_err_and(|error| error.to_string().contains("called a")));
        let wrong = open(vec![duty(None), Sink::default()], &insights, 0);
        assert!(wrong.is_err_and(|error| error.to_string().contains("sink 2")));
    }
}
