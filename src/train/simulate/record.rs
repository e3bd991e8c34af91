//! One event as CloudTrail writes it. The text is a pure function of the account and the [`Event`], so a second
//! delivery of an event is the same bytes without anything being kept. Knows nothing of files, delays or counts.
//!
//! Written by hand into one buffer, field by field in CloudTrail's order: a trail has a record of 1.3 kB for each call,
//! and this is where the time goes. Field names and when they appear: CloudTrail user guide, "record contents".

use std::fmt::Write as _;

use super::account::{Account, Failure, Series, error_code};
use super::attack::Burst;
use super::cast::{Kind, Principal, Session, Trade, push_hex, push_letters, push_upper};
use crate::train::catalogue::Access;
use crate::train::draw::{Draw, mix};

/// One call, before it is written.
#[derive(Clone, Copy)]
pub(super) struct Event {
    pub(super) series: u32,
    /// Minute of the trail.
    pub(super) minute: u32,
    /// Which of the series' calls of this minute (of this burst) it is.
    pub(super) ordinal: u32,
    /// Index into [`Account::bursts`] of an extra call.
    pub(super) burst: Option<u32>,
    pub(super) failed: bool,
    pub(super) addendum: Addendum,
}

/// The `addendum` of a record, if any.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Addendum {
    None,
    /// Delivered late, and said so.
    Delay,
    /// The event once more under a new id, with a field corrected.
    Updated,
}

/// Shares of records by how they tell the time of their format; the rest is 1.11.
const OLDER_VERSIONS: [(&str, u64); 3] = [("1.08", 3), ("1.09", 6), ("1.10", 9)];

impl Event {
    /// The stream of everything that is made up for this event.
    pub(super) fn draw(&self, account: &Account, purpose: u64) -> Draw {
        let seed = account.series[self.series as usize].seed;
        let burst = self.burst.map_or(0, |burst| u64::from(burst) + 1);
        Draw::new(&[seed, u64::from(self.minute) << 32 | u64::from(self.ordinal), burst << 8 | purpose])
    }
}

/// Appends the record of one event.
pub(super) fn write(out: &mut String, account: &Account, event: &Event) {
    let mut draw = event.draw(account, b'r'.into());
    let series = &account.series[event.series as usize];
    let api = &series.api;
    let (principal, session) = caller(account, event, &mut draw);
    let region = account.regions[series.region];
    let second = draw.below(60);
    let time = Clock { second: account.first_day * 86_400 + i64::from(event.minute) * 60 + second as i64 };
    let fill = Fill { account, region, time };
    let failure = failure(account, event);

    out.push_str("{\"eventVersion\":\"");
    out.push_str(event_version(api.service, api.name));
    out.push_str("\",\"userIdentity\":");
    if api.is_sign_in() {
        sign_in_identity(out, account, principal, failure.is_some(), &mut draw);
    } else {
        identity(out, account, principal, &session);
    }
    out.push_str(",\"eventTime\":\"");
    time.push(out);
    for part in ["\",\"eventSource\":\"", api.service, ".amazonaws.com\",\"eventName\":\"", api.name] {
        out.push_str(part);
    }
    for part in ["\",\"awsRegion\":\"", region, "\",\"sourceIPAddress\":\"", &session.address] {
        out.push_str(part);
    }
    for part in ["\",\"userAgent\":\"", &session.agent, "\""] {
        out.push_str(part);
    }
    if let Some(failure) = failure {
        error(out, &fill, series, principal, &session, failure, &mut draw);
    }
    out.push_str(",\"requestParameters\":");
    fill.template(out, api.request, &mut draw);
    out.push_str(",\"responseElements\":");
    match failure {
        Some(_) if api.is_sign_in() => out.push_str("{\"ConsoleLogin\":\"Failure\"}"),
        Some(_) => out.push_str("null"),
        None => fill.template(out, api.response, &mut draw),
    }
    additional(out, series, &mut draw);

    let (mut request_id, mut event_id) = (String::with_capacity(36), String::with_capacity(36));
    push_uuid(&mut request_id, &mut draw);
    push_uuid(&mut event_id, &mut draw);
    if !api.is_sign_in() {
        for part in [",\"requestID\":\"", &request_id, "\""] {
            out.push_str(part);
        }
    }
    let original = event_id.clone();
    if event.addendum == Addendum::Updated {
        event_id.clear();
        push_uuid(&mut event_id, &mut draw);
    }
    for part in [",\"eventID\":\"", &event_id, "\",\"readOnly\":", if api.is_write() { "false" } else { "true" }] {
        out.push_str(part);
    }
    resources(out, &fill, series, &mut draw);
    out.push_str(match api.is_sign_in() {
        true => ",\"eventType\":\"AwsConsoleSignIn\"",
        false => ",\"eventType\":\"AwsApiCall\"",
    });
    let (managed, category) = if api.is_data() { ("false", "Data") } else { ("true", "Management") };
    for part in [",\"managementEvent\":", managed, ",\"recipientAccountId\":\"", &account.id] {
        out.push_str(part);
    }
    for part in ["\",\"eventCategory\":\"", category, "\""] {
        out.push_str(part);
    }
    match event.addendum {
        Addendum::None => {}
        Addendum::Delay => out.push_str(",\"addendum\":{\"reason\":\"DELIVERY_DELAY\"}"),
        Addendum::Updated => {
            out.push_str(",\"addendum\":{\"reason\":\"UPDATED_DATA\",\"updatedFields\":\"responseElements\",");
            for part in ["\"originalRequestID\":\"", &request_id, "\",\"originalEventID\":\"", &original, "\"}"] {
                out.push_str(part);
            }
        }
    }
    if principal.kind != Kind::Service {
        tls(out, api.service, region, mix(series.seed).is_multiple_of(4));
    }
    // What a person does in the console says so.
    if principal.trade == Trade::People && session.agent.starts_with("Mozilla") && !api.is_sign_in() {
        out.push_str(",\"sessionCredentialFromConsole\":\"true\"");
    }
    out.push('}');
}

/// The burst that an extra call belongs to.
fn burst_of<'a>(account: &'a Account, event: &Event) -> Option<&'a Burst> {
    event.burst.map(|burst| &account.bursts[burst as usize])
}

/// Why the call failed, if it did.
pub(super) fn failure(account: &Account, event: &Event) -> Option<Failure> {
    let standing = account.series[event.series as usize].standing.0;
    event.failed.then(|| burst_of(account, event).map_or(standing, |burst| burst.failure))
}

/// The principal and its session: the burst's culprit, or one of the usual callers. The first use of the event's
/// stream.
pub(super) fn caller<'a>(account: &'a Account, event: &Event, draw: &mut Draw) -> (&'a Principal, Session) {
    let series = &account.series[event.series as usize];
    if let Some(burst) = burst_of(account, event) {
        let mut session = burst.session.clone();
        if series.api.is_sign_in() {
            // Stuffing comes from a rented network, not from one address.
            session.address = format!("198.51.100.{}", draw.whole(1, 254));
        }
        return (&account.cast[burst.who], session);
    }
    let mut left = draw.unit() * series.callers.iter().map(|(_, weight)| weight).sum::<f64>();
    let mut chosen = series.callers[0].0;
    for (who, weight) in &series.callers {
        chosen = *who;
        left -= weight;
        if left < 0.0 {
            break;
        }
    }
    let principal = &account.cast[chosen];
    (principal, principal.session(event.minute, draw.next() >> 8))
}

/// A service keeps its version for all records of an API.
fn event_version(service: &str, name: &str) -> &'static str {
    let hash = service.bytes().chain(name.bytes()).fold(7, |hash, byte| mix(hash ^ u64::from(byte))) % 50;
    OLDER_VERSIONS.iter().find(|(_, until)| hash < *until).map_or("1.11", |(version, _)| version)
}

fn identity(out: &mut String, account: &Account, principal: &Principal, session: &Session) {
    let id = &account.id;
    let (name, stem) = (&principal.name, &principal.id);
    // Writing to a String cannot fail.
    let _ = match principal.kind {
        Kind::Service => write!(out, r#"{{"type":"AWSService","invokedBy":"{name}"}}"#),
        Kind::Root => {
            root_identity(out, id, &session.key);
            Ok(())
        }
        Kind::User => write!(
            out,
            concat!(
                r#"{{"type":"IAMUser","principalId":"{}","arn":"arn:aws:iam::{}:user/{}","#,
                r#""accountId":"{}","accessKeyId":"{}","userName":"{}"}}"#
            ),
            stem, id, name, id, session.key, name
        ),
        Kind::Federated => write!(
            out,
            concat!(
                r#"{{"type":"FederatedUser","principalId":"{}:{}","arn":"arn:aws:sts::{}:federated-user/{}","#,
                r#""accountId":"{}","accessKeyId":"{}","sessionContext":{{"sessionIssuer":{{"type":"IAMUser","#,
                r#""principalId":"{}","arn":"arn:aws:iam::{}:user/federation-broker","accountId":"{}","#,
                r#""userName":"federation-broker"}},"attributes":{{"creationDate":""#
            ),
            id, name, id, name, id, session.key, stem, id, id
        ),
        Kind::Role => write!(
            out,
            concat!(
                r#"{{"type":"AssumedRole","principalId":"{}:{}","arn":"arn:aws:sts::{}:assumed-role/{}/{}","#,
                r#""accountId":"{}","accessKeyId":"{}","sessionContext":{{"sessionIssuer":{{"type":"Role","#,
                r#""principalId":"{}","arn":"arn:aws:iam::{}:role/{}{}","accountId":"{}","userName":"{}"}},"#,
                r#""attributes":{{"creationDate":""#
            ),
            stem,
            session.name,
            id,
            name,
            session.name,
            id,
            session.key,
            stem,
            id,
            role_path(name),
            name,
            id,
            name
        ),
    };
    if matches!(principal.kind, Kind::Federated | Kind::Role) {
        Clock { second: account.first_day * 86_400 + session.began * 60 + 11 }.push(out);
        for part in ["\",\"mfaAuthenticated\":\"", if principal.mfa { "true" } else { "false" }, "\"}"] {
            out.push_str(part);
        }
        if principal.trade == Trade::Fleet && session.name.starts_with("i-") {
            out.push_str(",\"ec2RoleDelivery\":\"2.0\"");
        }
        out.push_str("}}");
    }
}

fn root_identity(out: &mut String, account: &str, key: &str) {
    for part in [r#"{"type":"Root","principalId":""#, account, r#"","arn":"arn:aws:iam::"#, account, r#":root""#] {
        out.push_str(part);
    }
    for part in [r#","accountId":""#, account, r#"","accessKeyId":""#, key, r#""}"#] {
        out.push_str(part);
    }
}

/// Roles of the identity centre live under a path of their own.
fn role_path(name: &str) -> &'static str {
    if name.starts_with("AWSReservedSSO") { "aws-reserved/sso.amazonaws.com/" } else { "" }
}

/// Sign-ins have no key yet; a failed one has no ARN either, and hides a name that does not exist.
fn sign_in_identity(out: &mut String, account: &Account, principal: &Principal, failed: bool, draw: &mut Draw) {
    let (id, name) = (&account.id, &principal.name);
    let _ = if failed {
        let name = if draw.chance(0.6) { "HIDDEN_DUE_TO_SECURITY_REASONS" } else { draw.pick(&account.vocabulary) };
        write!(out, r#"{{"type":"IAMUser","accountId":"{id}","accessKeyId":"","userName":"{name}"}}"#)
    } else if principal.kind == Kind::Root {
        root_identity(out, id, "");
        Ok(())
    } else {
        write!(
            out,
            concat!(
                r#"{{"type":"IAMUser","principalId":"{}","arn":"arn:aws:iam::{}:user/{}","accountId":"{}","#,
                r#""userName":"{}"}}"#
            ),
            principal.id, id, name, id, name
        )
    };
}

fn error(
    out: &mut String,
    fill: &Fill<'_>,
    series: &Series,
    principal: &Principal,
    session: &Session,
    failure: Failure,
    draw: &mut Draw,
) {
    let api = &series.api;
    if api.is_sign_in() {
        out.push_str(",\"errorMessage\":\"Failed authentication\"");
        return;
    }
    for part in [",\"errorCode\":\"", error_code(failure, api.service), "\",\"errorMessage\":\""] {
        out.push_str(part);
    }
    match failure {
        Failure::Denied if api.service == "ec2" => {
            out.push_str("You are not authorized to perform this operation. Encoded authorization failure message: ");
            push_letters(out, draw, 120);
        }
        Failure::Denied => {
            let arn = principal.arn(&fill.account.id, session);
            let who = arn.as_deref().unwrap_or(&principal.name);
            let _ = write!(
                out,
                "User: {who} is not authorized to perform: {}:{} because no identity-based policy allows the action",
                api.service, api.name
            );
        }
        Failure::Throttled => out.push_str("Rate exceeded"),
        Failure::Missing => fill.template(out, "The resource %w-%d does not exist", draw),
        Failure::Invalid => fill.template(out, "Value (%x) for parameter \\\"id\\\" is invalid", draw),
    }
    out.push('"');
}

/// Fields that only some services write.
fn additional(out: &mut String, series: &Series, draw: &mut Draw) {
    match series.api.service {
        "signin" => out.push_str(concat!(
            ",\"additionalEventData\":{\"LoginTo\":\"https://console.aws.amazon.com/console/home\",",
            "\"MobileVersion\":\"No\",\"MFAUsed\":\"Yes\"}"
        )),
        "s3" => {
            let _ = write!(
                out,
                concat!(
                    ",\"additionalEventData\":{{\"SignatureVersion\":\"SigV4\",",
                    "\"CipherSuite\":\"TLS_AES_128_GCM_SHA256\",\"bytesTransferredIn\":{},",
                    "\"AuthenticationMethod\":\"AuthHeader\",\"bytesTransferredOut\":{}}}"
                ),
                draw.below(900),
                draw.below(70_000)
            );
        }
        _ => {}
    }
}

fn resources(out: &mut String, fill: &Fill<'_>, series: &Series, draw: &mut Draw) {
    let template = match (series.api.service, series.api.access) {
        ("s3", Access::DataRead | Access::DataWrite) => concat!(
            r#",{"accountId":"%a","type":"AWS::S3::Bucket","ARN":"arn:aws:s3:::%b"}"#,
            r#",{"type":"AWS::S3::Object","ARN":"arn:aws:s3:::%b/%o"}"#
        ),
        ("s3", _) => r#",{"accountId":"%a","type":"AWS::S3::Bucket","ARN":"arn:aws:s3:::%b"}"#,
        ("lambda", Access::DataWrite) => {
            r#",{"accountId":"%a","type":"AWS::Lambda::Function","ARN":"arn:aws:lambda:%r:%a:function:%w"}"#
        }
        ("kms", _) => r#",{"accountId":"%a","type":"AWS::KMS::Key","ARN":"arn:aws:kms:%r:%a:key/%u"}"#,
        ("sts", _) if series.api.name == "AssumeRole" => {
            r#",{"accountId":"%a","type":"AWS::IAM::Role","ARN":"arn:aws:iam::%a:role/%w"}"#
        }
        _ => return,
    };
    out.push_str(",\"resources\":[");
    fill.template(out, &template[1..], draw);
    out.push(']');
}

fn tls(out: &mut String, service: &str, region: &str, old: bool) {
    let (version, suite) =
        if old { ("TLSv1.2", "ECDHE-RSA-AES128-GCM-SHA256") } else { ("TLSv1.3", "TLS_AES_128_GCM_SHA256") };
    for part in [",\"tlsDetails\":{\"tlsVersion\":\"", version, "\",\"cipherSuite\":\"", suite] {
        out.push_str(part);
    }
    for part in ["\",\"clientProvidedHostHeader\":\"", service, ".", region, ".amazonaws.com\"}"] {
        out.push_str(part);
    }
}

/// 32 random hexadecimal digits in the form of a version 4 UUID.
fn push_uuid(out: &mut String, draw: &mut Draw) {
    let (high, low) = (draw.next(), draw.next());
    let digit = |nibble: u64| char::from(b"0123456789abcdef"[(nibble & 15) as usize]);
    for index in 0..32 {
        if matches!(index, 8 | 12 | 16 | 20) {
            out.push('-');
        }
        let word = if index < 16 { high >> (4 * index) } else { low >> (4 * (index - 16)) };
        out.push(match index {
            12 => '4',
            16 => digit(8 | (word & 3)),
            _ => digit(word),
        });
    }
}

/// A second, counted from 1970-01-01T00:00:00Z.
#[derive(Clone, Copy)]
pub(super) struct Clock {
    pub(super) second: i64,
}

impl Clock {
    /// `2026-03-04T14:07:31Z`. By hand: this runs several times for each record.
    pub(super) fn push(self, out: &mut String) {
        let (year, month, day) = super::civil(self.second.div_euclid(86_400));
        let of_day = self.second.rem_euclid(86_400);
        push_digits(out, year as u64, 4);
        for (mark, value) in [
            ('-', u64::from(month)),
            ('-', u64::from(day)),
            ('T', of_day as u64 / 3_600),
            (':', of_day as u64 / 60 % 60),
            (':', of_day as u64 % 60),
        ] {
            out.push(mark);
            push_digits(out, value, 2);
        }
        out.push('Z');
    }
}

/// A number with leading zeros.
pub(super) fn push_digits(out: &mut String, value: u64, width: u32) {
    (0..width).rev().for_each(|place| out.push(char::from(b'0' + (value / 10_u64.pow(place) % 10) as u8)));
}

/// Free text as people type it: other scripts, quotes, line breaks, escapes of both kinds.
const LABELS: [&str; 12] = [
    "platform",
    "data engineering",
    "rotated by the nightly job",
    "tmp, delete after 2026-06",
    "équipe réseau",
    "Bücher & Söhne \\u2013 staging",
    "決済チーム",
    "see \\\"runbook\\\" in the wiki",
    "first line\\nsecond line",
    "C:\\\\deploy\\\\current",
    "naïve café \\ud83d\\ude80",
    "owner: on-call <https://wiki.example.com/x?a=1&b=2>",
];

const KEYS: [&str; 6] = ["raw/", "curated/events/", "exports/year=2026/", "thumbnails/", "backup/daily/", "tmp/"];

/// Fills the templates of the catalogue.
pub(super) struct Fill<'a> {
    account: &'a Account,
    region: &'a str,
    time: Clock,
}

impl Fill<'_> {
    /// `%a` account, `%r` region, `%w` name of a resource, `%b` bucket, `%o` object key, `%d` number below 100, `%x` 17
    /// hex digits, `%u` UUID, `%k` 22 letters, `%K` 13 upper-case, `%h` time, `%m` time in milliseconds, `%p` a policy
    /// as escaped JSON, `%l` free text, `%[`...`%]` one to three times with commas.
    pub(super) fn template(&self, out: &mut String, template: &str, draw: &mut Draw) {
        let mut rest = template;
        while let Some(at) = rest.find('%') {
            out.push_str(&rest[..at]);
            let code = rest[at + 1..].chars().next().unwrap_or('%');
            rest = &rest[(at + 1 + code.len_utf8()).min(rest.len())..];
            if code == '[' {
                let end = rest.find("%]").unwrap_or(rest.len());
                let (inner, after) = rest.split_at(end);
                for turn in 0..draw.whole(1, 3) {
                    if turn > 0 {
                        out.push(',');
                    }
                    self.template(out, inner, draw);
                }
                rest = after.strip_prefix("%]").unwrap_or(after);
            } else {
                self.one(out, code, draw);
            }
        }
        out.push_str(rest);
    }

    fn one(&self, out: &mut String, code: char, draw: &mut Draw) {
        match code {
            'a' => out.push_str(&self.account.id),
            'r' => out.push_str(self.region),
            'w' => out.push_str(draw.pick::<String>(&self.account.vocabulary)),
            'b' => {
                // Few buckets: the square of a uniform leans towards the first names.
                let lean = draw.unit();
                let index = (lean * lean * self.account.vocabulary.len() as f64) as usize;
                for part in [&self.account.vocabulary[index], "-", &self.account.id[..8]] {
                    out.push_str(part);
                }
            }
            'o' => {
                out.push_str(draw.pick::<&str>(&KEYS));
                push_hex(out, draw, 12);
                out.push_str(".parquet");
            }
            'd' => push_number(out, draw.whole(1, 99)),
            'x' => push_hex(out, draw, 17),
            'u' => push_uuid(out, draw),
            'k' => push_letters(out, draw, 22),
            'K' => push_upper(out, draw, 13),
            'h' => self.time.push(out),
            'm' => push_number(out, self.time.second as u64 * 1_000),
            'l' => out.push_str(draw.pick::<&str>(&LABELS)),
            'p' => self.template(
                out,
                concat!(
                    r#"{\"Version\": \"2012-10-17\",\n \"Statement\": [{\"Effect\": \"Allow\", "#,
                    r#"\"Action\": [\"s3:GetObject\", \"s3:PutObject\"], \"Resource\": \"arn:aws:s3:::%b/*\"}]}"#
                ),
                draw,
            ),
            other => unreachable!("a template uses the unknown code %{other}"),
        }
    }
}

fn push_number(out: &mut String, value: u64) {
    let _ = write!(out, "{value}");
}

#[cfg(test)]
mod tests {
    use super::{Clock, Event, Fill};
    use crate::train::catalogue::{apis, more_apis};
    use crate::train::draw::Draw;
    use crate::train::simulate::Options;
    use crate::train::simulate::account::Account;

    #[test]
    fn every_template_gives_json() {
        let account = Account::new(&Options::default(), 0, 1.0);
        let fill = Fill { account: &account, region: "us-east-1", time: Clock { second: 1_772_000_000 } };
        let mut draw = Draw::new(&[1]);
        for api in apis().into_iter().chain(more_apis()) {
            for template in [api.request, api.response] {
                let mut text = String::new();
                fill.template(&mut text, template, &mut draw);
                assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{}: {text}", api.name);
                assert!(!text.contains('%'), "{}: {text}", api.name);
            }
        }
    }

    #[test]
    fn an_event_waiting_for_delivery_is_small() {
        assert!(size_of::<Event>() <= 24);
    }
}
