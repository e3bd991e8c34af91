//! A stand-in for S3 and SQS on this machine, for tests: keys with a few bytes each, and messages. Lists two keys to a
//! page, refuses what it is told to, and remembers what it was asked for. Knows no trail.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use aws_config::SdkConfig;
use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};

use super::aws::{self, Buckets};

const PAGE_KEYS: usize = 2;

/// What S3 was asked for: a key, or what lies below a prefix, from a page on.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    pub key: String,
    pub prefix: String,
    pub page: usize,
}

type Refuses = Box<dyn FnMut(&Asked) -> bool + Send>;

#[derive(Default)]
struct World {
    keys: BTreeSet<String>,
    messages: VecDeque<String>,
    /// With 403, so many times.
    refused: Option<(usize, Refuses)>,
    asked: Vec<Asked>,
}

#[derive(Clone)]
pub struct StandIn {
    world: Arc<Mutex<World>>,
    address: String,
}

impl StandIn {
    pub async fn start() -> StandIn {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let stand_in = StandIn { world: Arc::default(), address };
        let app = Router::new().fallback(answer).with_state(stand_in.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        stand_in
    }

    pub async fn config(&self) -> SdkConfig {
        let keys = Credentials::new("test", "test", None, None, "test");
        let config = aws::config(Some("eu-west-1"), None).await.into_builder().endpoint_url(&self.address);
        config.credentials_provider(SharedCredentialsProvider::new(keys)).build()
    }

    pub async fn buckets(&self) -> Buckets {
        Buckets::new(self.config().await)
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("no test has failed")
    }

    pub fn put(&self, key: &str) {
        self.world().keys.insert(key.to_owned());
    }

    /// A message that announces this key.
    pub fn announce(&self, key: &str) {
        let record = serde_json::json!({"eventName": "ObjectCreated:Put", "awsRegion": "eu-west-1",
            "s3": {"bucket": {"name": "b"}, "object": {"key": key}}});
        self.world().messages.push_back(serde_json::json!({"Records": [record]}).to_string());
    }

    pub fn refuse(&self, times: usize, which: impl FnMut(&Asked) -> bool + Send + 'static) {
        self.world().refused = Some((times, Box::new(which)));
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.world().asked.clone()
    }
}

impl World {
    /// Notes what is asked for; whether it is refused.
    fn refuses(&mut self, asked: Asked) -> bool {
        self.asked.push(asked.clone());
        let Some((times, which)) = &mut self.refused else { return false };
        let refused = *times > 0 && which(&asked);
        *times -= usize::from(refused);
        refused
    }

    fn list(&self, query: &BTreeMap<String, String>, page: usize) -> String {
        let text = |name: &str| query.get(name).map_or("", String::as_str);
        let (prefix, after) = (text("prefix"), text("start-after"));
        let (mut keys, mut folders) = (Vec::new(), BTreeSet::new());
        for key in self.keys.iter().filter(|key| key.starts_with(prefix) && key.as_str() > after) {
            match key[prefix.len()..].split_once('/').filter(|_| query.contains_key("delimiter")) {
                Some((folder, _)) => {
                    folders.insert(format!("{prefix}{folder}/"));
                }
                None => keys.push(format!("<Contents><Key>{key}</Key></Contents>")),
            }
        }
        let more = keys.len() > (page + 1) * PAGE_KEYS;
        let next = format!("<IsTruncated>{more}</IsTruncated>")
            + &if more {
                format!("<NextContinuationToken>{}</NextContinuationToken>", page + 1)
            } else {
                String::new()
            };
        let keys: String = keys.into_iter().skip(page * PAGE_KEYS).take(PAGE_KEYS).collect();
        let folder = |folder| format!("<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>");
        let folders: String = folders.into_iter().map(folder).collect();
        format!("<?xml version='1.0'?><ListBucketResult>{next}{keys}{folders}</ListBucketResult>")
    }

    fn receive(&mut self) -> String {
        let messages = self.messages.drain(..self.messages.len().min(10)).map(|body| {
            let receipt = format!("{:x}", body.len());
            serde_json::json!({"Body": body, "ReceiptHandle": receipt, "MessageId": receipt})
        });
        serde_json::json!({"Messages": messages.collect::<Vec<_>>()}).to_string()
    }
}

/// Without `%2F` and the like, of ASCII.
fn plain(text: &str) -> String {
    let mut parts = text.split('%');
    let first = parts.next().unwrap_or("").to_owned();
    parts.fold(first, |text, part| {
        let letter = u8::from_str_radix(&part[..2], 16).expect("two digits");
        text + &char::from(letter).to_string() + &part[2..]
    })
}

async fn answer(
    State(stand_in): State<StandIn>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    _body: Bytes,
) -> (StatusCode, String) {
    let pairs = uri.query().unwrap_or("").split('&').filter_map(|pair| pair.split_once('='));
    let query: BTreeMap<String, String> = pairs.map(|(name, value)| (name.to_owned(), plain(value))).collect();
    let mut world = stand_in.world();
    if let Some(target) = headers.get("x-amz-target") {
        let receives = target.as_bytes().ends_with(b"ReceiveMessage");
        return (StatusCode::OK, if receives { world.receive() } else { "{}".to_owned() });
    }
    assert_eq!(method, Method::GET);
    let key = uri.path().strip_prefix("/b/").unwrap_or("").to_owned();
    let prefix = query.get("prefix").cloned().unwrap_or_default();
    let page = query.get("continuation-token").and_then(|page| page.parse().ok()).unwrap_or(0);
    let failure = |code| format!("<?xml version='1.0'?><Error><Code>{code}</Code></Error>");
    let is_there = query.contains_key("list-type") || world.keys.contains(&key);
    if world.refuses(Asked { key: key.clone(), prefix, page }) {
        (StatusCode::FORBIDDEN, failure("AccessDenied"))
    } else if query.contains_key("list-type") {
        (StatusCode::OK, world.list(&query, page))
    } else if is_there {
        (StatusCode::OK, "bytes".to_owned())
    } else {
        (StatusCode::NOT_FOUND, failure("NoSuchKey"))
    }
}
