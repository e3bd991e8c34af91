//! Objects announced by an SQS queue: long polls, fetches what the messages name, keeps messages hidden while it is not
//! safe, and deletes them once it is. A failing queue or bucket is asked again for as long as it takes; an object that
//! is not there, or not ours to read, is given up after some tries and parked with the reason. Knows no record.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message, QueueAttributeName,
};
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::aws::{self, Buckets};
use super::bucket::{Gate, Patience, backoff, fetch, words};
use super::live::{Feed, Line, Ticket, now_s};
use super::notification::objects;

/// Seconds that SQS waits for a message, at most; messages in one answer, at most.
const WAIT_S: i32 = 20;
const BATCH: usize = 10;

/// A message stays hidden for so long at a time, and is hidden again when a third of it has passed. Short, so that what
/// a killed process had in hand soon shows again.
const HIDDEN_S: i32 = 30;
const HEARTBEAT: Duration = Duration::from_secs(5);

/// The queue is asked at most so often how many messages others have in hand.
const COUNTED: Duration = Duration::from_secs(5);

/// Objects that are being fetched or were not taken in yet, and messages in hand beyond which no more are asked for.
const FETCHES: usize = 16;
const MESSAGES_MAX: usize = 512;

/// Longest wait for the last deletions when the sidecar ends.
const LAST_WORDS: Duration = Duration::from_secs(5);

pub struct Sqs {
    client: Client,
    buckets: Arc<Buckets>,
    url: String,
}

/// A message in hand.
struct Held {
    receipt: String,
    hidden_at: Instant,
    /// Objects not handed over yet, and not safe yet.
    undelivered: usize,
    unsafe_tickets: usize,
}

impl Sqs {
    /// `region`: where the URL does not tell it; `role_arn`: to take on for queue and buckets.
    pub async fn new(url: String, region: Option<String>, role_arn: Option<&str>) -> Sqs {
        let region = region.or_else(|| region_of(&url));
        let config = aws::config(region.as_deref(), role_arn).await;
        let mut client = aws_sdk_sqs::config::Builder::from(&config);
        // The SDK asks the Region's own address, whatever the URL says: wrong for an endpoint within a VPC, and for
        // whoever stands in for SQS.
        let stood_in = config.endpoint_url().is_some() || std::env::var_os("AWS_ENDPOINT_URL_SQS").is_some();
        if !stood_in && let Some(origin) = own_origin(&url) {
            client = client.endpoint_url(origin);
        }
        Sqs { client: Client::from_conf(client.build()), buckets: Arc::new(Buckets::new(config)), url }
    }

    /// Runs until told to stop and the last ticket is safe.
    pub async fn run(self, mut line: Line) {
        self.look_at_queue().await;
        let mut state = State::default();
        let gate = Arc::new(Gate::new(FETCHES));
        let mut tasks: JoinSet<u64> = JoinSet::new();
        let (mut told, mut failures) = (i64::MIN, 0u32);
        let mut counted: Option<Instant> = None;
        // What a killed process, or an answer that was lost, had in hand shows again only after a while.
        let hidden = Duration::from_secs(HIDDEN_S as u64 + 1);
        let mut all_show_from = Instant::now() + hidden;
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        let mut receive = Box::pin(self.receive(Duration::ZERO));
        loop {
            let asking = state.held.len() < MESSAGES_MAX;
            tokio::select! {
                () = line.stop.cancelled() => break,
                safe = line.safe.recv() => match safe {
                    Some(tickets) => {
                        let receipts = state.settle(&tickets);
                        state.deleting.spawn(self.delete(receipts));
                    }
                    None => break,
                },
                Some(done) = tasks.join_next() => {
                    if let Ok(number) = done
                        && let Some(held) = state.held.get_mut(&number)
                    {
                        held.undelivered -= 1;
                    }
                }
                Some(_) = state.deleting.join_next() => {}
                _ = heartbeat.tick() => self.hide(state.held.values_mut()).await,
                received = &mut receive, if asking => {
                    let wait = match received {
                        Ok(messages) => {
                            failures = 0;
                            // A long poll asks every server: fewer than were asked for are all there are. What is
                            // hidden from us may be in the hands of a process that was killed.
                            let (few, second) = (messages.len() < BATCH, now_s() - 1);
                            for message in messages {
                                self.take(message, &mut state, &line, &gate, &mut tasks);
                            }
                            if few && Instant::now() >= all_show_from && counted.is_none_or(|at| at.elapsed() >= COUNTED) {
                                counted = Some(Instant::now());
                                if self.others_hold_none(state.held.len()).await {
                                    state.found_empty(second);
                                }
                            }
                            Duration::ZERO
                        }
                        Err(error) => {
                            failures += 1;
                            all_show_from = Instant::now() + hidden;
                            warn!(queue = %self.url, %error, "the queue does not answer; asking again");
                            backoff(failures)
                        }
                    };
                    receive = Box::pin(self.receive(wait));
                }
            }
            if let Some(second) = state.handed_over() {
                // Where there is no room for it, the next turn will do: what is in hand must be kept hidden meanwhile.
                let sent =
                    if second > told { line.feeds.try_send((line.source, Feed::Drained { second })) } else { Ok(()) };
                match sent {
                    Ok(()) => (told, state.empty) = (told.max(second), None),
                    Err(TrySendError::Full(_)) => {}
                    Err(TrySendError::Closed(_)) => break,
                }
            }
        }
        tasks.shutdown().await;
        let last = async {
            while let Some(tickets) = line.safe.recv().await {
                let receipts = state.settle(&tickets);
                state.deleting.spawn(self.delete(receipts));
            }
            while state.deleting.join_next().await.is_some() {}
        };
        let _ = tokio::time::timeout(LAST_WORDS, last).await;
        // Others need not wait until these show again.
        self.show(state.held.values()).await;
    }

    /// Whether the queue has nothing but what we have in hand. A queue that we may not ask is taken at its word.
    async fn others_hold_none(&self, held: usize) -> bool {
        let (shown, hidden) = (
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        );
        let asked = self.client.get_queue_attributes().queue_url(&self.url);
        match asked.attribute_names(shown.clone()).attribute_names(hidden.clone()).send().await {
            Ok(answer) => {
                let count = |name| -> Option<usize> { answer.attributes()?.get(name)?.parse().ok() };
                count(&shown).unwrap_or(0) == 0 && count(&hidden).unwrap_or(0) <= held
            }
            Err(error) => error.raw_response().is_some_and(|response| response.status().as_u16() == 403),
        }
    }

    /// Hints at what a queue should have; a queue that cannot be looked at may still be read.
    async fn look_at_queue(&self) {
        let asked = self.client.get_queue_attributes().queue_url(&self.url).attribute_names(QueueAttributeName::All);
        match asked.send().await {
            Ok(answer) => {
                let has = |name| answer.attributes().is_some_and(|attributes| attributes.contains_key(&name));
                if !has(QueueAttributeName::RedrivePolicy) {
                    info!(queue = %self.url, "the queue has no dead-letter queue: messages that nobody can read stay until they expire");
                }
            }
            Err(error) => {
                let error = words(&error);
                warn!(queue = %self.url, %error, "the queue's attributes cannot be read");
            }
        }
    }

    async fn receive(&self, wait: Duration) -> Result<Vec<Message>, String> {
        tokio::time::sleep(wait).await;
        let asked = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(BATCH as i32)
            .wait_time_seconds(WAIT_S)
            .visibility_timeout(HIDDEN_S);
        asked.send().await.map(|answer| answer.messages.unwrap_or_default()).map_err(|error| words(&error))
    }

    /// Starts fetching what a message names.
    fn take(&self, message: Message, state: &mut State, line: &Line, gate: &Arc<Gate>, tasks: &mut JoinSet<u64>) {
        let Some(receipt) = message.receipt_handle else { return };
        let number = state.next;
        state.next += 1;
        let (found, unknown) = objects(message.body.as_deref().unwrap_or(""));
        let count = found.len() + usize::from(unknown.is_some());
        let held = Held { receipt, hidden_at: Instant::now(), undelivered: count, unsafe_tickets: count };
        state.held.insert(number, held);
        if count == 0 {
            let gone = state.held.remove(&number);
            state.deleting.spawn(self.delete(gone.into_iter().map(|held| held.receipt).collect()));
            return;
        }
        if let Some(reason) = unknown {
            let name = format!("{} message {}", self.url, message.message_id.as_deref().unwrap_or("without an ID"));
            let (source, feeds, ticket) = (line.source, line.feeds.clone(), state.ticket(number));
            tasks.spawn(async move {
                let _ = feeds.send((source, Feed::Parked { ticket, name, reason })).await;
                number
            });
        }
        for object in found {
            let (source, feeds, ticket) = (line.source, line.feeds.clone(), state.ticket(number));
            let (buckets, gate) = (self.buckets.clone(), gate.clone());
            tasks.spawn(async move {
                // Its room is free again only once somebody has taken it: a full disk must not fill the memory.
                let (feed, _room) = match fetch(&buckets, &object, Patience::Endless, &gate).await {
                    Ok((bytes, room)) => (Feed::Delivery { ticket, name: object.key, bytes }, Some(room)),
                    Err(reason) => {
                        let name = format!("s3://{}/{}", object.bucket, object.key);
                        (Feed::Parked { ticket, name, reason }, None)
                    }
                };
                let _ = feeds.send((source, feed)).await;
                number
            });
        }
    }

    fn delete(&self, receipts: Vec<String>) -> impl Future<Output = ()> + Send + 'static {
        let (client, url) = (self.client.clone(), self.url.clone());
        async move {
            for part in receipts.chunks(BATCH) {
                let entries = part.iter().enumerate().filter_map(|(place, receipt)| {
                    let entry = DeleteMessageBatchRequestEntry::builder().id(place.to_string());
                    entry.receipt_handle(receipt).build().ok()
                });
                let asked = client.delete_message_batch().queue_url(&url).set_entries(Some(entries.collect()));
                // Whatever stays comes again, and is known by its bytes.
                if let Err(error) = asked.send().await {
                    let error = words(&error);
                    warn!(queue = %url, %error, "messages could not be deleted; they will come again");
                }
            }
        }
    }

    /// Keeps messages hidden that have used a third of their time.
    async fn hide(&self, held: impl Iterator<Item = &mut Held>) {
        let third = Duration::from_secs(HIDDEN_S as u64 / 3);
        let mut due: Vec<&mut Held> = held.filter(|held| held.hidden_at.elapsed() >= third).collect();
        for part in due.chunks_mut(BATCH) {
            if self.set_hidden(part.iter().map(|held| held.receipt.as_str()), HIDDEN_S).await {
                part.iter_mut().for_each(|held| held.hidden_at = Instant::now());
            }
        }
    }

    async fn show(&self, held: impl Iterator<Item = &Held>) {
        let receipts: Vec<&str> = held.map(|held| held.receipt.as_str()).collect();
        for part in receipts.chunks(BATCH) {
            let shown = self.set_hidden(part.iter().copied(), 0);
            if tokio::time::timeout(LAST_WORDS, shown).await.is_err() {
                return;
            }
        }
    }

    async fn set_hidden(&self, receipts: impl Iterator<Item = &str>, seconds: i32) -> bool {
        let entries = receipts.enumerate().filter_map(|(place, receipt)| {
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(place.to_string());
            entry.receipt_handle(receipt).visibility_timeout(seconds).build().ok()
        });
        let entries = entries.collect();
        let asked = self.client.change_message_visibility_batch().queue_url(&self.url).set_entries(Some(entries));
        match asked.send().await {
            Ok(_) => true,
            Err(error) => {
                let error = words(&error);
                warn!(queue = %self.url, %error, "messages could not be kept hidden; some may come twice");
                false
            }
        }
    }
}

#[derive(Default)]
struct State {
    held: BTreeMap<u64, Held>,
    tickets: HashMap<Ticket, u64>,
    /// Of the next message, and of the ticket before the next.
    next: u64,
    next_ticket: Ticket,
    /// When the queue had nothing but what was in hand, and the first message after that; not told yet.
    empty: Option<(i64, u64)>,
    /// Beside the rest: a slow answer must not let the others show again.
    deleting: JoinSet<()>,
}

impl State {
    fn ticket(&mut self, message: u64) -> Ticket {
        self.next_ticket += 1;
        self.tickets.insert(self.next_ticket, message);
        self.next_ticket
    }

    /// The queue has nothing now but what is in hand. Until that is handed over nothing newer is noted, or a stream of
    /// messages would never be known to be complete.
    fn found_empty(&mut self, second: i64) {
        self.empty.get_or_insert((second, self.next));
    }

    /// When the queue was found empty, once all that was in hand then is handed over: it may have been there for long,
    /// and in somebody else's hands.
    fn handed_over(&self) -> Option<i64> {
        let (second, next) = self.empty?;
        self.held.range(..next).all(|(_, held)| held.undelivered == 0).then_some(second)
    }

    /// Receipts of the messages of which all is safe now.
    fn settle(&mut self, tickets: &[Ticket]) -> Vec<String> {
        let mut receipts = Vec::new();
        for ticket in tickets {
            let Some(number) = self.tickets.remove(ticket) else { continue };
            let Some(held) = self.held.get_mut(&number) else { continue };
            held.unsafe_tickets -= 1;
            if held.unsafe_tickets == 0 {
                receipts.extend(self.held.remove(&number).map(|held| held.receipt));
            }
        }
        receipts
    }
}

/// Scheme, host and port of a queue's URL, if they are not the Region's public address.
fn own_origin(url: &str) -> Option<&str> {
    let start = url.find("://")? + "://".len();
    let origin = &url[..url[start..].find('/').map_or(url.len(), |end| start + end)];
    let public = region_of(url).is_some() && !origin.contains(".vpce.");
    (!public).then_some(origin)
}

/// Of `https://sqs.REGION.amazonaws.com/...`, also with `.cn`, `sqs-fips`, `api.aws` and a VPC endpoint's name before it;
/// and of the old `REGION.queue.amazonaws.com`.
pub fn region_of(url: &str) -> Option<String> {
    let host = url.split("://").nth(1)?.split(['/', ':']).next()?;
    let ours = ["amazonaws.com", "amazonaws.com.cn", "api.aws", "api.amazonwebservices.com.cn"];
    let name = ours.iter().find_map(|end| host.strip_suffix(end)?.strip_suffix('.'))?;
    let mut parts = name.split('.');
    if let Some(old) = name.strip_suffix("queue") {
        return Some(if old.is_empty() { "us-east-1" } else { old.trim_end_matches('.') }.to_owned());
    }
    parts.find(|part| matches!(*part, "sqs" | "sqs-fips"))?;
    parts.next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::source::stand_in::StandIn;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_nobody_takes_in_is_not_fetched() {
        let stand_in = StandIn::start().await;
        for number in 0..60 {
            let key = format!("AWSLogs/{number}.json.gz");
            stand_in.put(&key);
            stand_in.announce(&key);
        }
        let config = stand_in.config().await;
        let client = Client::new(&config);
        let sqs = Sqs { client, buckets: Arc::new(Buckets::new(config)), url: "http://127.0.0.1/1/q".to_owned() };
        let (feeds, mut inbox) = mpsc::channel(1);
        let (_safe, told_safe) = mpsc::unbounded_channel();
        let line = Line { source: 0, feeds, safe: told_safe, stop: CancellationToken::new() };
        tokio::spawn(sqs.run(line));
        // One waits in the pipe. A full disk, or a mirror that cannot be reached.
        let most = FETCHES + 1;
        let fetched = async || {
            for _ in 0..300 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                if stand_in.asked().len() >= most {
                    break;
                }
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
            stand_in.asked().len()
        };
        assert_eq!(fetched().await, most);
        let mut had = 0;
        while had < 60 {
            let feed = tokio::time::timeout(Duration::from_secs(60), inbox.recv()).await;
            had += usize::from(matches!(feed, Ok(Some((0, Feed::Delivery { .. })))));
        }
        assert_eq!(stand_in.asked().len(), 60);
    }

    #[test]
    fn a_queue_is_empty_once_what_was_in_hand_then_is_handed_over() {
        let held =
            |undelivered| Held { receipt: String::new(), hidden_at: Instant::now(), undelivered, unsafe_tickets: 1 };
        let mut state = State { held: [(0, held(0)), (1, held(2))].into(), next: 2, ..State::default() };
        assert_eq!(state.handed_over(), None);
        state.found_empty(100);
        assert_eq!(state.handed_over(), None, "the second message had only just come");
        state.held.insert(2, held(1));
        state.next = 3;
        state.found_empty(105);
        state.held.get_mut(&1).expect("in hand").undelivered = 1;
        assert_eq!(state.handed_over(), None, "one of two objects");
        state.held.get_mut(&1).expect("in hand").undelivered = 0;
        assert_eq!(state.handed_over(), Some(100), "the third came after");
        state.empty = None;
        state.found_empty(110);
        assert_eq!(state.handed_over(), None);
        state.held.remove(&2);
        assert_eq!(state.handed_over(), Some(110), "what is safe was handed over");
    }

    #[test]
    fn a_queue_tells_its_region() {
        for (url, region) in [
            ("https://sqs.us-gov-west-1.amazonaws.com/1/q", Some("us-gov-west-1")),
            ("https://sqs.cn-north-1.amazonaws.com.cn/1/q", Some("cn-north-1")),
            ("https://sqs.cn-northwest-1.api.amazonwebservices.com.cn/1/q", Some("cn-northwest-1")),
            ("https://sqs-fips.us-gov-east-1.amazonaws.com/1/q", Some("us-gov-east-1")),
            ("https://sqs.eu-west-1.api.aws/1/q", Some("eu-west-1")),
            ("https://vpce-0a-1b.sqs.eu-west-1.vpce.amazonaws.com/1/q", Some("eu-west-1")),
            ("https://eu-west-1.queue.amazonaws.com/1/q", Some("eu-west-1")),
            ("https://queue.amazonaws.com/1/q", Some("us-east-1")),
            ("https://sqs.amazonaws.com/1/q", None),
            ("http://127.0.0.1:5005/123456789012/trail", None),
            ("https://example.org/sqs.eu-west-1.amazonaws.com", None),
            ("sqs", None),
        ] {
            assert_eq!(region_of(url).as_deref(), region, "{url}");
        }
    }

    #[test]
    fn a_queue_that_is_not_at_the_public_address_is_asked_where_it_is() {
        for (url, origin) in [
            ("https://sqs.eu-west-1.amazonaws.com/1/q", None),
            ("https://queue.amazonaws.com/1/q", None),
            (
                "https://vpce-0a-1b.sqs.eu-west-1.vpce.amazonaws.com/1/q",
                Some("https://vpce-0a-1b.sqs.eu-west-1.vpce.amazonaws.com"),
            ),
            ("http://127.0.0.1:5005/123456789012/q", Some("http://127.0.0.1:5005")),
            ("http://localstack:4566", Some("http://localstack:4566")),
        ] {
            assert_eq!(own_origin(url), origin, "{url}");
        }
    }
}
