//! Records to AWS: SNS, SQS, EventBridge, S3, Security Hub. These are five small requests, signed here: an SDK crate for
//! each would take minutes to build and say nothing more. Credentials, Regions and endpoints come from AWS's own
//! configuration. Knows no incidents.

use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::Request;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::Write;
use tokio::sync::{Mutex, OnceCell};

use super::asff::partition;
use super::filter::api;
use super::records::Line;
use super::request::{Answer, Http, Reply, chain};
use super::words::{Words, shortened};
use super::{Format, asff};
use crate::event::Minute;
use crate::report;
use crate::source::aws;
use crate::source::sqs::region_of;
use crate::store;

/// Publishes each record to a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sns {
    /// The topic: arn:aws:sns:REGION:ACCOUNT:NAME.
    pub topic_arn: String,
    /// cloudtrail, ocsf, asff, or text, for mail to people [default: cloudtrail].
    pub format: Format,
    /// A role to assume.
    pub role: Option<String>,
}

/// Sends each record to a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sqs {
    /// The queue: https://sqs.REGION.amazonaws.com/ACCOUNT/NAME.
    pub url: String,
    /// Default: the URL's, then the environment's.
    pub region: Option<String>,
    /// cloudtrail, ocsf, asff or text [default: cloudtrail].
    pub format: Format,
    /// A role to assume.
    pub role: Option<String>,
}

/// Puts each record as an event of the detail type "AWS Insight via CloudTrail", the record being the detail.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EventBridge {
    /// Name or ARN of the bus [default: default].
    pub bus: Option<String>,
    /// The events' source [default: highwater]. EventBridge keeps names that begin with aws. for AWS itself.
    pub source: Option<String>,
    /// Default: that of the bus's ARN, then the environment's.
    pub region: Option<String>,
    /// A role to assume.
    pub role: Option<String>,
}

/// Puts each record into a bucket, under the key that CloudTrail would give it: AWSLogs/ACCOUNT/CloudTrail-Insight/...
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct S3 {
    pub bucket: String,
    /// Before AWSLogs/.
    pub prefix: String,
    /// The bucket's [default: the environment's].
    pub region: Option<String>,
    /// A role to assume.
    pub role: Option<String>,
}

/// Imports a finding for each incident, and archives it at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SecurityHub {
    /// The account that findings are kept in: Security Hub takes findings of the caller's own account alone [default:
    /// each record's].
    pub account: Option<String>,
    /// Default: the environment's.
    pub region: Option<String>,
    /// A role to assume.
    pub role: Option<String>,
}

impl Sns {
    pub fn check(&self) -> Result<(), String> {
        match arn_region(&self.topic_arn, "sns") {
            Some(_) => Ok(()),
            None => Err("sns.topic_arn: not like arn:aws:sns:REGION:ACCOUNT:NAME".to_owned()),
        }
    }
}

impl Sqs {
    pub fn check(&self) -> Result<(), String> {
        super::check_url("sqs.url", &self.url)
    }
}

impl EventBridge {
    pub fn check(&self) -> Result<(), String> {
        match self.source.as_deref() {
            Some(source) if source.is_empty() || source.starts_with("aws.") => Err(format!(
                "eventbridge.source = {source:?}: EventBridge takes no events under AWS's own names; leave it out or \
                 choose another"
            )),
            _ => Ok(()),
        }
    }
}

impl S3 {
    pub fn check(&self) -> Result<(), String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        match self.bucket.is_empty() || !self.bucket.chars().all(plain) {
            true => Err(format!("s3.bucket = {:?}: not the name of a bucket", self.bucket)),
            false => Ok(()),
        }
    }
}

impl SecurityHub {
    pub fn check(&self) -> Result<(), String> {
        match self.account.as_deref() {
            Some(account) if account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()) => {
                Err(format!("security_hub.account = {account:?}: an account has twelve digits"))
            }
            _ => Ok(()),
        }
    }
}

pub enum Service {
    Sns(Sns),
    Sqs(Sqs),
    EventBridge(EventBridge),
    S3(S3),
    SecurityHub(SecurityHub),
}

pub struct Aws {
    service: Service,
    http: Http,
    config: OnceCell<SdkConfig>,
    credentials: Mutex<Option<Credentials>>,
}

/// Credentials are fetched anew so long before they expire.
const FRESH: Duration = Duration::from_secs(300);

impl Aws {
    pub fn new(service: Service, http: Http) -> Aws {
        Aws { service, http, config: OnceCell::new(), credentials: Mutex::new(None) }
    }

    pub async fn send(&self, line: &Line<'_>, words: &Words) -> Answer {
        let sent = match &self.service {
            Service::Sns(sns) => self.publish(sns, line, words).await,
            Service::Sqs(sqs) => self.enqueue(sqs, line, words).await,
            Service::EventBridge(bridge) => self.put_event(bridge, line).await,
            Service::S3(s3) => self.put_object(s3, line).await,
            Service::SecurityHub(hub) => self.import(hub, line, words).await,
        };
        sent.unwrap_or_else(|answer| answer)
    }

    async fn publish(&self, sns: &Sns, line: &Line<'_>, words: &Words) -> Result<Answer, Answer> {
        let region = arn_region(&sns.topic_arn, "sns").map(str::to_owned);
        let mut form = vec![
            ("Action".to_owned(), "Publish".to_owned()),
            ("Version".to_owned(), "2010-03-31".to_owned()),
            ("TopicArn".to_owned(), sns.topic_arn.clone()),
        ];
        let message = if sns.format == Format::Text {
            let (title, text) = line.told(words);
            form.extend(subject(&title).map(|subject| ("Subject".to_owned(), subject)));
            format!("{title}\n\n{text}")
        } else {
            line.written(sns.format, words)
        };
        form.push(("Message".to_owned(), message));
        for (place, (name, value)) in attributes(line).into_iter().enumerate() {
            let entry = format!("MessageAttributes.entry.{}", place + 1);
            form.push((format!("{entry}.Name"), name.to_owned()));
            form.push((format!("{entry}.Value.DataType"), "String".to_owned()));
            form.push((format!("{entry}.Value.StringValue"), value));
        }
        if sns.topic_arn.ends_with(".fifo") {
            form.push(("MessageGroupId".to_owned(), line.record.shared_event_id.clone()));
            form.push(("MessageDeduplicationId".to_owned(), line.record.event_id.clone()));
        }
        let pairs: Vec<String> =
            form.iter().map(|(name, value)| format!("{}={}", escaped(name, false), escaped(value, false))).collect();
        let headers = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
        let place = (region.as_deref(), sns.role.as_deref());
        let reply =
            self.request("sns", place, Where::Service("/"), "POST", &headers, pairs.join("&").into_bytes()).await?;
        Ok(answer(&reply))
    }

    async fn enqueue(&self, sqs: &Sqs, line: &Line<'_>, words: &Words) -> Result<Answer, Answer> {
        let region = sqs.region.clone().or_else(|| region_of(&sqs.url));
        let attributes: serde_json::Map<String, Value> = attributes(line)
            .into_iter()
            .map(|(name, value)| (name.to_owned(), json!({ "DataType": "String", "StringValue": value })))
            .collect();
        let mut message = json!({
            "QueueUrl": sqs.url,
            "MessageBody": line.written(sqs.format, words),
            "MessageAttributes": attributes,
        });
        if sqs.url.ends_with(".fifo") {
            message["MessageGroupId"] = line.record.shared_event_id.as_str().into();
            message["MessageDeduplicationId"] = line.record.event_id.as_str().into();
        }
        let headers = [("content-type", "application/x-amz-json-1.0"), ("x-amz-target", "AmazonSQS.SendMessage")];
        let place = (region.as_deref(), sqs.role.as_deref());
        let body = message.to_string().into_bytes();
        let reply = self.request("sqs", place, Where::Url(&sqs.url), "POST", &headers, body).await?;
        Ok(answer(&reply))
    }

    async fn put_event(&self, bridge: &EventBridge, line: &Line<'_>) -> Result<Answer, Answer> {
        let bus = bridge.bus.as_deref().unwrap_or("default");
        let region = bridge.region.clone().or_else(|| arn_region(bus, "events").map(str::to_owned));
        let entry = json!({
            "Source": bridge.source.as_deref().unwrap_or("highwater"),
            "DetailType": "AWS Insight via CloudTrail",
            "Detail": line.text,
            "EventBusName": bus,
            "Time": report::time_of(line.record).0 * 60,
            "Resources": [],
        });
        let headers = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", "AWSEvents.PutEvents")];
        let body = json!({ "Entries": [entry] }).to_string().into_bytes();
        let place = (region.as_deref(), bridge.role.as_deref());
        let reply = self.request("events", place, Where::Service("/"), "POST", &headers, body).await?;
        Ok(match answer(&reply) {
            Answer::Taken => failed_entry(&reply.json(), "FailedEntryCount", "Entries"),
            answer => answer,
        })
    }

    async fn put_object(&self, s3: &S3, line: &Line<'_>) -> Result<Answer, Answer> {
        let body = format!("{{\"Records\":[{}]}}", line.text);
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        let packed = gzip.write_all(body.as_bytes()).and_then(|()| gzip.finish());
        let packed = packed.map_err(|error| Answer::Refused(format!("packing the record: {error}")))?;
        let config = self.config(s3.role.as_deref()).await;
        let key = escaped(&key(s3, line), true);
        // Dots in a bucket's name do not go with the certificates of names for each bucket; nor do stand-ins have those.
        let by_path = endpoint(config, "s3").is_some() || s3.bucket.contains('.');
        let path = if by_path { format!("/{}/{key}", s3.bucket) } else { format!("/{key}") };
        let target = if by_path { Where::Service(&path) } else { Where::Bucket(&s3.bucket, &path) };
        // Not said to be gzip-encoded: whoever reads the file expects what its name says.
        let headers = [("content-type", "application/x-gzip")];
        let place = (s3.region.as_deref(), s3.role.as_deref());
        let reply = self.request("s3", place, target, "PUT", &headers, packed).await?;
        Ok(answer(&reply))
    }

    async fn import(&self, hub: &SecurityHub, line: &Line<'_>, words: &Words) -> Result<Answer, Answer> {
        let config = self.config(hub.role.as_deref()).await;
        let region = hub.region.clone().or_else(|| config.region().map(ToString::to_string));
        let link = line.link(words);
        let finding = asff::finding(line.record, (hub.account.as_deref(), region.as_deref()), link.as_deref());
        let headers = [("content-type", "application/json")];
        let body = json!({ "Findings": [finding] }).to_string().into_bytes();
        let place = (region.as_deref(), hub.role.as_deref());
        let target = Where::Service("/findings/import");
        let reply = self.request("securityhub", place, target, "POST", &headers, body).await?;
        Ok(match answer(&reply) {
            Answer::Taken => failed_entry(&reply.json(), "FailedCount", "FailedFindings"),
            answer => answer,
        })
    }

    async fn config(&self, role: Option<&str>) -> &SdkConfig {
        self.config.get_or_init(|| aws::config(None, role)).await
    }

    /// The same credentials until shortly before they expire.
    async fn credentials(&self, config: &SdkConfig) -> Result<Credentials, Answer> {
        let mut kept = self.credentials.lock().await;
        let is_fresh =
            |credentials: &Credentials| credentials.expiry().is_none_or(|expiry| expiry > SystemTime::now() + FRESH);
        if let Some(credentials) = kept.as_ref().filter(|credentials| is_fresh(credentials)) {
            return Ok(credentials.clone());
        }
        let provider = config.credentials_provider().ok_or_else(|| Answer::later("there are no AWS credentials"))?;
        let credentials = provider.provide_credentials().await;
        let credentials =
            credentials.map_err(|error| Answer::later(format!("there are no AWS credentials: {}", chain(&error))))?;
        // Those without an expiry may be changed under us, in a file or by a role: they are cheap to read again.
        if credentials.expiry().is_some() {
            *kept = Some(credentials.clone());
        }
        Ok(credentials)
    }

    /// `place`: Region and role.
    async fn request(
        &self,
        service: &str,
        place: (Option<&str>, Option<&str>),
        target: Where<'_>,
        method: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<Reply, Answer> {
        let config = self.config(place.1).await;
        let region = place.0.map(str::to_owned).or_else(|| config.region().map(ToString::to_string));
        let region = region.ok_or_else(|| {
            Answer::later(format!("no Region for {service}: set region for this sink, or AWS_REGION"))
        })?;
        let own = endpoint(config, service);
        let suffix = suffix(&region);
        let base = own.clone().unwrap_or_else(|| format!("https://{service}.{region}.{suffix}"));
        let url = match target {
            Where::Service(path) => format!("{}{path}", base.trim_end_matches('/')),
            Where::Bucket(bucket, path) => format!("https://{bucket}.s3.{region}.{suffix}{path}"),
            // A queue's URL tells the host, but for stand-ins that listen elsewhere; the queue is named within.
            Where::Url(url) => format!("{}/", own.unwrap_or_else(|| origin(url)).trim_end_matches('/')),
        };
        let identity = self.credentials(config).await?.into();
        let mut settings = SigningSettings::default();
        if service == "s3" {
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        }
        let unsigned =
            |error: &dyn std::error::Error| Answer::Refused(format!("signing the request: {}", chain(error)));
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&region)
            .name(service)
            .time(SystemTime::now())
            .settings(settings)
            .build()
            .map_err(|error| unsigned(&error))?
            .into();
        let signable = SignableRequest::new(method, &*url, headers.iter().copied(), SignableBody::Bytes(&body))
            .map_err(|error| unsigned(&error))?;
        let (signature, _) = sign(signable, &parameters).map_err(|error| unsigned(&error))?.into_parts();
        let mut request = Request::builder().method(method).uri(&url);
        for (name, value) in headers.iter().copied().chain(signature.headers()) {
            request = request.header(name, value);
        }
        self.http.send(request, body).await
    }
}

enum Where<'a> {
    /// A path at the service's endpoint.
    Service(&'a str),
    Bucket(&'a str, &'a str),
    Url(&'a str),
}

/// What failed of a request that was taken as a whole.
fn failed_entry(reply: &Value, count: &str, entries: &str) -> Answer {
    if reply[count].as_i64().unwrap_or(0) == 0 {
        return Answer::Taken;
    }
    let failed = reply[entries].as_array().into_iter().flatten().find(|entry| entry["ErrorCode"].is_string());
    let text = |field: &str| failed.and_then(|entry| entry[field].as_str()).unwrap_or_default().to_owned();
    let (code, message) = (text("ErrorCode"), text("ErrorMessage"));
    let reason = shortened(&format!("{code}: {message}"), 300);
    let passing = ["Throttl", "Internal", "Unavailable", "LimitExceeded", "AccessDenied"];
    if passing.iter().any(|part| code.contains(part)) { Answer::later(reason) } else { Answer::Refused(reason) }
}

/// Subjects are less than 100 characters of printable ASCII, of which the first is no space; without any there is none.
fn subject(title: &str) -> Option<String> {
    let plain = title.trim().chars().map(|c| if (' '..='~').contains(&c) { c } else { '?' });
    Some(plain.take(99).collect()).filter(|subject: &String| !subject.is_empty())
}

/// By which subscriptions and consumers filter without reading the message. AWS takes no empty ones.
fn attributes(line: &Line) -> Vec<(&'static str, String)> {
    let record = line.record;
    let mut attributes = vec![
        ("severity", line.severity().to_owned()),
        ("state", record.insight_details.state.clone()),
        ("api", api(record)),
        ("account", record.recipient_account_id.clone()),
        ("region", record.aws_region.clone()),
    ];
    attributes.retain(|(_, value)| !value.is_empty());
    attributes
}

/// The key that a record always has, so that a repetition replaces it.
fn key(s3: &S3, line: &Line) -> String {
    let record = line.record;
    let detected = record.highwater.as_ref().map(|extra| extra.detected_time.as_str());
    let time = detected.and_then(|time| chrono::DateTime::parse_from_rfc3339(time).ok());
    let decided = time.map_or_else(|| report::time_of(record), |time| Minute::of_second(time.timestamp()));
    let key = store::insight_key(&record.recipient_account_id, &record.aws_region, decided, record);
    match s3.prefix.trim_matches('/') {
        "" => key,
        prefix => format!("{prefix}/{key}"),
    }
}

/// As set for one service, or for all.
fn endpoint(config: &SdkConfig, service: &str) -> Option<String> {
    let name = match service {
        "events" => "EVENTBRIDGE".to_owned(),
        service => service.to_uppercase(),
    };
    let own = std::env::var(format!("AWS_ENDPOINT_URL_{name}")).ok().filter(|url| !url.is_empty());
    own.or_else(|| config.endpoint_url().map(str::to_owned))
}

/// What hosts of a Region end with.
fn suffix(region: &str) -> &'static str {
    match partition(region) {
        "aws-cn" => "amazonaws.com.cn",
        "aws-iso" => "c2s.ic.gov",
        "aws-iso-b" => "sc2s.sgov.gov",
        "aws-eusc" => "amazonaws.eu",
        _ => "amazonaws.com",
    }
}

/// The Region of `arn:aws:SERVICE:REGION:ACCOUNT:NAME`.
fn arn_region<'a>(arn: &'a str, service: &str) -> Option<&'a str> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    match parts[..] {
        ["arn", _, named, region, account, name] if named == service && !account.is_empty() && !name.is_empty() => {
            Some(region).filter(|region| !region.is_empty())
        }
        _ => None,
    }
}

/// Scheme, host and port.
fn origin(url: &str) -> String {
    let end = url.find("://").map_or(0, |at| at + 3);
    let length = url[end..].find('/').map_or(url.len(), |at| end + at);
    url[..length].to_owned()
}

/// Percent-encoded, but for what needs no escape anywhere; and slashes of a path.
fn escaped(text: &str, is_path: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            b'/' if is_path => out.push('/'),
            byte => out += &format!("%{byte:02X}"),
        }
    }
    out
}

/// Errors, by the beginnings of their codes, that AWS answers with status 400 and that are no record's fault: too much
/// at once, keys that have run out, whoever is not let in yet, what is not there yet.
const PASSING: [&str; 27] = [
    "AccessDenied",
    "AuthorizationError",
    // S3 in another Region.
    "AuthorizationHeaderMalformed",
    "ExpiredToken",
    "IncompleteSignature",
    "InternalError",
    "InternalFailure",
    "InvalidAccess",
    "InvalidClientTokenId",
    "InvalidSecurity",
    "InvalidSignature",
    "InvalidToken",
    // SNS.
    "KMS",
    // SQS.
    "Kms",
    "LimitExceeded",
    "MissingAuthenticationToken",
    "NotFound",
    "OptInRequired",
    "QueueDoesNotExist",
    "RequestExpired",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestTimeout",
    "ResourceNotFound",
    "ServiceUnavailable",
    "Throttl",
    "UnrecognizedClient",
];

/// What an answer of AWS says: its error code first, and the status where there is none.
fn answer(reply: &Reply) -> Answer {
    match reply.answer() {
        Answer::Refused(reason) if code(reply).is_some_and(|code| is_passing(&code)) => {
            Answer::Later(reason, reply.retry_after)
        }
        answer => answer,
    }
}

fn is_passing(code: &str) -> bool {
    // `com.amazonaws.sqs#QueueDoesNotExist`, `AWS.SimpleQueueService.NonExistentQueue`.
    let code = code.rsplit('#').next().unwrap_or(code);
    PASSING.iter().any(|passing| code.starts_with(passing)) || code.contains("NonExistentQueue")
}

/// The error code of an answer: JSON or XML.
fn code(reply: &Reply) -> Option<String> {
    let json = reply.json();
    let named = ["__type", "code", "Code"].into_iter().find_map(|name| json.get(name)?.as_str());
    named.map(str::to_owned).or_else(|| {
        let text = String::from_utf8_lossy(&reply.body);
        Some(text.split_once("<Code>")?.1.split_once("</Code>")?.0.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_code_says_whose_fault_it_was() {
        let told = |status, body: &str| answer(&Reply { status, body: body.as_bytes().to_vec(), retry_after: None });
        for body in [
            r#"{"__type":"com.amazonaws.sqs#QueueDoesNotExist"}"#,
            r#"{"__type":"com.amazonaws.sqs#KmsAccessDenied"}"#,
            r#"{"__type":"com.amazonaws.sqs#RequestThrottled"}"#,
            "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region></Error>",
            "<ErrorResponse><Error><Code>KMSDisabled</Code></Error></ErrorResponse>",
            r#"{"__type":"ThrottlingException","message":"Rate exceeded"}"#,
            r#"{"__type":"com.amazon.coral.service#AccessDeniedException"}"#,
            "<ErrorResponse><Error><Type>Sender</Type><Code>Throttling</Code></Error></ErrorResponse>",
            "<ErrorResponse><Error><Code>ExpiredToken</Code></Error></ErrorResponse>",
        ] {
            assert!(matches!(told(400, body), Answer::Later(..)), "{body}");
        }
        for body in [
            r#"{"__type":"com.amazonaws.sqs#InvalidMessageContents"}"#,
            "<ErrorResponse><Error><Code>InvalidParameter</Code></Error></ErrorResponse>",
            "",
        ] {
            assert!(matches!(told(400, body), Answer::Refused(_)), "{body}");
        }
        assert_eq!(told(200, r#"{"code":"ThrottlingException"}"#), Answer::Taken);
    }
    use crate::sink::filter::tests::record;

    #[test]
    fn keys_are_those_of_cloudtrail_and_stay() {
        let record = record();
        let line = Line { text: "{}", record: &record };
        let key = |prefix: &str| key(&S3 { prefix: prefix.to_owned(), ..S3::default() }, &line);
        let expected = "AWSLogs/123456789012/CloudTrail-Insight/us-east-1/2026/03/04/\
                        123456789012_CloudTrail-Insight_us-east-1_20260304T1412Z_9b5b2f0a6b2f5c1b.json.gz";
        assert_eq!(key(""), expected);
        assert_eq!(key("/a/b/"), format!("a/b/{expected}"));
    }

    #[test]
    fn regions_are_found_and_hosts_follow_them() {
        assert_eq!(arn_region("arn:aws:sns:eu-west-1:123456789012:topic", "sns"), Some("eu-west-1"));
        for wrong in ["", "arn:aws:sqs:eu-west-1:1:q", "arn:aws:sns::1:t", "arn:aws:sns:eu-west-1:1:"] {
            assert_eq!(arn_region(wrong, "sns"), None, "{wrong}");
        }
        assert_eq!(origin("https://sqs.us-east-1.amazonaws.com/123456789012/q"), "https://sqs.us-east-1.amazonaws.com");
        assert_eq!(origin("http://127.0.0.1:5000"), "http://127.0.0.1:5000");
        assert_eq!([suffix("cn-north-1"), suffix("us-gov-west-1")], ["amazonaws.com.cn", "amazonaws.com"]);
    }

    #[test]
    fn what_failed_within_an_answer_is_seen() {
        assert_eq!(failed_entry(&json!({ "FailedEntryCount": 0 }), "FailedEntryCount", "Entries"), Answer::Taken);
        let failed = |code: &str| {
            let entries = json!([{ "ErrorCode": code, "ErrorMessage": "m" }]);
            failed_entry(&json!({ "FailedEntryCount": 1, "Entries": entries }), "FailedEntryCount", "Entries")
        };
        assert_eq!(failed("ThrottlingException"), Answer::later("ThrottlingException: m"));
        assert_eq!(failed("MalformedDetail"), Answer::Refused("MalformedDetail: m".to_owned()));
    }

    #[test]
    fn what_aws_would_refuse_is_said_before() {
        let source = |source: &str| EventBridge { source: Some(source.to_owned()), ..EventBridge::default() }.check();
        assert!(source("aws.cloudtrail").is_err() && source("org.highwater").is_ok());
        assert!(SecurityHub { account: Some("123".to_owned()), ..SecurityHub::default() }.check().is_err());
        assert!(S3 { bucket: "a/b".to_owned(), ..S3::default() }.check().is_err());
        assert!(Sns { topic_arn: "topic".to_owned(), ..Sns::default() }.check().is_err());
    }

    #[test]
    fn subjects_and_attributes_are_such_as_aws_takes() {
        assert_eq!(subject(" [high]\tÜ "), Some("[high]??".to_owned()));
        assert_eq!((subject(" "), subject(&"x".repeat(200)).map(|subject| subject.len())), (None, Some(99)));
        let mut record = record();
        record.aws_region = String::new();
        let line = Line { text: "{}", record: &record };
        let names: Vec<&str> = attributes(&line).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["severity", "state", "api", "account"]);
    }

    #[test]
    fn text_is_escaped_for_forms_and_paths() {
        assert_eq!(escaped("a/b c+é=~", false), "a%2Fb%20c%2B%C3%A9%3D~");
        assert_eq!(escaped("a/b c", true), "a/b%20c");
    }
}
