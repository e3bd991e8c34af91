//! What a record means: the members that are needed, the rules they must keep, and the fallbacks that make an
//! [`Event`] of them. Both readers, the scanner and the validating one, end here, so that they can differ only in how
//! they find members. Deliberately knows nothing of JSON syntax beyond four small second looks at raw members.

use serde_json::value::RawValue;
use std::borrow::Cow;

use super::time::{SECONDS_PER_DAY, days_since_1970, seconds};
use super::{Category, Event, ObjectName, json};

/// A string longer than this is cut, on a character boundary. CloudTrail itself cuts user agents at 1 KB; the longest
/// ARN is 2,048 bytes; what is longer still is of no use as an attribute and would only fill memory.
pub(super) const TEXT_BYTES_MAX: usize = 8 * 1024;

/// Amazon's first public services date from 2006. A clock before that is broken.
const EVENT_TIME_S_MIN: i64 = days_since_1970(2006, 1, 1) * SECONDS_PER_DAY;
/// First second after the year 2200: far beyond use, and far from any overflow.
const EVENT_TIME_S_END: i64 = days_since_1970(2201, 1, 1) * SECONDS_PER_DAY;

/// The members that hold a string, in the record and then in its `userIdentity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Text {
    EventVersion,
    EventTime,
    EventSource,
    EventName,
    AwsRegion,
    SourceIpAddress,
    UserAgent,
    ErrorCode,
    EventId,
    EventType,
    EventCategory,
    RecipientAccountId,
    IdentityType,
    PrincipalId,
    Arn,
    AccountId,
    AccessKeyId,
    InvokedBy,
}

/// In the order of [`Text`], as problems name them.
const TEXT_NAMES: [&str; 18] = [
    "eventVersion",
    "eventTime",
    "eventSource",
    "eventName",
    "awsRegion",
    "sourceIPAddress",
    "userAgent",
    "errorCode",
    "eventID",
    "eventType",
    "eventCategory",
    "recipientAccountId",
    "userIdentity.type",
    "userIdentity.principalId",
    "userIdentity.arn",
    "userIdentity.accountId",
    "userIdentity.accessKeyId",
    "userIdentity.invokedBy",
];

impl Text {
    pub(super) fn name(self) -> &'static str {
        TEXT_NAMES[self as usize]
    }
}

/// The members that hold `true` or `false`, bare or (as `LookupEvents` prints them) as a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flag {
    ReadOnly,
    ManagementEvent,
}

impl Flag {
    pub(super) fn name(self) -> &'static str {
        match self {
            Flag::ReadOnly => "readOnly",
            Flag::ManagementEvent => "managementEvent",
        }
    }
}

/// The members kept as raw JSON, because only few records need a second look at them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Raw {
    SessionContext,
    ResponseElements,
    Resources,
    Addendum,
}

/// Where the value of a key belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    Text(Text),
    Flag(Flag),
    Raw(Raw),
    /// The object with the second half of the texts.
    Identity,
    /// A key that CloudTrail is known to write and that nobody here needs.
    Ignored,
    /// Any other key. With a backslash in it, it may be one of the above in disguise.
    Unknown,
}

/// A key that the scanner knows. Aligned so that the place of a key in its list is found by a shift.
#[repr(align(128))]
pub(super) struct Key {
    name: &'static str,
    pub slot: Slot,
    /// `"name":` as words of text, and which of their bits count.
    pattern: [u64; PATTERN_WORDS],
    mask: [u64; PATTERN_WORDS],
}

const PATTERN_WORDS: usize = 4;
const PATTERN_BYTES: usize = 8 * PATTERN_WORDS;

impl Key {
    const fn new(name: &'static str, slot: Slot) -> Key {
        assert!(name.len() + 3 <= PATTERN_BYTES, "a key is too long for its pattern");
        let (mut pattern, mut mask) = ([0; PATTERN_WORDS], [0; PATTERN_WORDS]);
        let mut i = 0;
        while i < name.len() + 3 {
            let byte = match i {
                0 => b'"',
                _ if i <= name.len() => name.as_bytes()[i - 1],
                _ if i == name.len() + 1 => b'"',
                _ => b':',
            };
            pattern[i / 8] |= (byte as u64) << (8 * (i % 8));
            mask[i / 8] |= 0xff << (8 * (i % 8));
            i += 1;
        }
        Key { name, slot, pattern, mask }
    }

    /// The position behind `"name":` if that is what stands at `at`, without a space in it.
    #[inline(always)]
    pub(super) fn behind(&self, text: &[u8], at: usize) -> Option<usize> {
        let (words, _) = text.get(at..at + PATTERN_BYTES)?.as_chunks::<8>();
        let mut differ = 0;
        for (word, (pattern, mask)) in words.iter().zip(self.pattern.iter().zip(&self.mask)) {
            differ |= (u64::from_le_bytes(*word) ^ pattern) & mask;
        }
        (differ == 0).then_some(at + self.name.len() + 3)
    }
}

/// The place of a key in one of the two lists below.
#[inline]
pub(super) fn place(keys: &[Key], key: &[u8]) -> Option<usize> {
    // Two bytes tell almost all keys of one length apart, for less than a comparison of the whole.
    let marks = |key: &[u8]| (key.last().copied(), key.get(5).copied());
    keys.iter().position(|known| {
        let name = known.name.as_bytes();
        name.len() == key.len() && marks(name) == marks(key) && name == key
    })
}

/// What to do with a key of one of the two lists below.
pub(super) fn slot(keys: &[Key], key: &[u8]) -> Slot {
    place(keys, key).map_or(Slot::Unknown, |place| keys[place].slot)
}

/// The keys of the record itself.
pub(super) static RECORD_KEYS: [Key; 28] = [
    Key::new("eventVersion", Slot::Text(Text::EventVersion)),
    Key::new("userIdentity", Slot::Identity),
    Key::new("eventTime", Slot::Text(Text::EventTime)),
    Key::new("eventSource", Slot::Text(Text::EventSource)),
    Key::new("eventName", Slot::Text(Text::EventName)),
    Key::new("awsRegion", Slot::Text(Text::AwsRegion)),
    Key::new("sourceIPAddress", Slot::Text(Text::SourceIpAddress)),
    Key::new("userAgent", Slot::Text(Text::UserAgent)),
    Key::new("errorCode", Slot::Text(Text::ErrorCode)),
    Key::new("errorMessage", Slot::Ignored),
    Key::new("requestParameters", Slot::Ignored),
    Key::new("responseElements", Slot::Raw(Raw::ResponseElements)),
    Key::new("additionalEventData", Slot::Ignored),
    Key::new("requestID", Slot::Ignored),
    Key::new("eventID", Slot::Text(Text::EventId)),
    Key::new("readOnly", Slot::Flag(Flag::ReadOnly)),
    Key::new("resources", Slot::Raw(Raw::Resources)),
    Key::new("eventType", Slot::Text(Text::EventType)),
    Key::new("apiVersion", Slot::Ignored),
    Key::new("managementEvent", Slot::Flag(Flag::ManagementEvent)),
    Key::new("recipientAccountId", Slot::Text(Text::RecipientAccountId)),
    Key::new("sharedEventID", Slot::Ignored),
    Key::new("vpcEndpointId", Slot::Ignored),
    Key::new("serviceEventDetails", Slot::Ignored),
    Key::new("eventCategory", Slot::Text(Text::EventCategory)),
    Key::new("tlsDetails", Slot::Ignored),
    Key::new("sessionCredentialFromConsole", Slot::Ignored),
    Key::new("addendum", Slot::Raw(Raw::Addendum)),
];

/// The keys of `userIdentity`.
pub(super) static IDENTITY_KEYS: [Key; 8] = [
    Key::new("type", Slot::Text(Text::IdentityType)),
    Key::new("principalId", Slot::Text(Text::PrincipalId)),
    Key::new("arn", Slot::Text(Text::Arn)),
    Key::new("accountId", Slot::Text(Text::AccountId)),
    Key::new("accessKeyId", Slot::Text(Text::AccessKeyId)),
    Key::new("userName", Slot::Ignored),
    Key::new("sessionContext", Slot::Raw(Raw::SessionContext)),
    Key::new("invokedBy", Slot::Text(Text::InvokedBy)),
];

/// The members of one record as found. `S` is `&str` where the text could be borrowed and `Cow<str>` where it may have
/// been unescaped. A JSON `null` is kept as `None` (texts, flags) or as the text `null` (raw members).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fields<'t, S> {
    text: [Option<S>; TEXT_NAMES.len()],
    flag: [Option<bool>; 2],
    raw: [Option<&'t str>; 4],
}

impl<'t, S> Fields<'t, S> {
    pub(super) const EMPTY: Fields<'t, S> = Fields { text: [const { None }; _], flag: [None; _], raw: [None; _] };

    #[inline(always)]
    pub(super) fn set_text(&mut self, slot: Text, value: Option<S>) {
        self.text[slot as usize] = value;
    }

    #[inline(always)]
    pub(super) fn set_flag(&mut self, slot: Flag, value: Option<bool>) {
        self.flag[slot as usize] = value;
    }

    #[inline(always)]
    pub(super) fn set_raw(&mut self, slot: Raw, value: &'t str) {
        self.raw[slot as usize] = Some(value);
    }

    /// A second `userIdentity` replaces the first one wholly.
    #[inline(always)]
    pub(super) fn clear_identity(&mut self) {
        for text in &mut self.text[Text::IdentityType as usize..] {
            *text = None;
        }
        self.raw[Raw::SessionContext as usize] = None;
    }

    fn raw(&self, slot: Raw) -> Option<&'t str> {
        self.raw[slot as usize].filter(|raw| *raw != "null")
    }
}

impl<'t> Fields<'t, Cow<'t, str>> {
    pub(super) fn borrowed(&self) -> Fields<'_, &str> {
        Fields { text: self.text.each_ref().map(|text| text.as_deref()), flag: self.flag, raw: self.raw }
    }
}

/// What became of a well-formed record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It was handed over.
    Event,
    /// An insight, a network event, a summary: nothing that can be counted as a call.
    OtherCategory,
}

/// Why a record is malformed.
pub(super) type Reason = Cow<'static, str>;

/// Makes an event of the fields and hands it to `give`, or says why it cannot be one.
#[inline]
pub(super) fn interpret(
    fields: &Fields<'_, &str>,
    name: &ObjectName<'_>,
    give: &mut impl FnMut(&Event<'_>),
) -> Result<Verdict, Reason> {
    let text = |slot: Text| -> &str { fields.text[slot as usize].map_or("", cut) };
    let (event_type, category) = (text(Text::EventType), text(Text::EventCategory));
    if matches!(event_type, "AwsCloudTrailInsight" | "AwsAggregatedEvent" | "AwsVpceEvents") {
        return Ok(Verdict::OtherCategory);
    }
    let management = fields.flag[Flag::ManagementEvent as usize];
    let category = match (category, management) {
        ("Management", _) | ("", Some(true)) => Category::Management,
        ("Data", _) | ("", Some(false)) => Category::Data,
        ("", None) if is_old_data_event(text(Text::EventSource), text(Text::EventName)) => Category::Data,
        ("", None) => Category::Management,
        _ => return Ok(Verdict::OtherCategory),
    };

    check_version(fields.text[Text::EventVersion as usize], event_type)?;
    let Some(time) = fields.text[Text::EventTime as usize] else {
        return Err("eventTime is missing".into());
    };
    let event_time_s = seconds(time.as_bytes()).ok_or("eventTime is not a time like 2026-03-04T14:07:00Z")?;
    if !(EVENT_TIME_S_MIN..EVENT_TIME_S_END).contains(&event_time_s) {
        return Err("eventTime lies outside the years 2006 to 2200".into());
    }
    let (event_source, event_name) = (text(Text::EventSource), text(Text::EventName));
    if event_source.is_empty() {
        return Err("eventSource is missing or empty".into());
    }
    if event_name.is_empty() {
        return Err("eventName is missing or empty".into());
    }

    let mut error_code = text(Text::ErrorCode);
    if event_name == "ConsoleLogin" && error_code.is_empty() && console_login_failed(fields)? {
        error_code = "Failure";
    }
    let issuer = if text(Text::Arn).is_empty() { session_issuer(fields)? } else { String::new() };
    let (principal, session) = principal(&text, &issuer);
    let resource = match fields.raw(Raw::Resources) {
        Some(resources) if category == Category::Data => container_acted_on(resources)?,
        _ => Cow::Borrowed(""),
    };
    let addendum_of = match fields.raw(Raw::Addendum) {
        Some(addendum) => repeated_event(addendum)?,
        None => String::new(),
    };

    give(&Event {
        event_time_s,
        account_id: first_told([text(Text::RecipientAccountId), text(Text::AccountId), name.account]),
        region: first_told([text(Text::AwsRegion), name.region]),
        event_source,
        event_name,
        read_only: fields.flag[Flag::ReadOnly as usize].unwrap_or_else(|| is_read_verb(event_name)),
        category,
        error_code,
        principal,
        session,
        access_key_id: text(Text::AccessKeyId),
        source_ip: text(Text::SourceIpAddress),
        user_agent: text(Text::UserAgent),
        resource_arn: cut(&resource),
        event_id: text(Text::EventId),
        addendum_of: cut(&addendum_of),
    });
    Ok(Verdict::Event)
}

/// The first text that is not empty.
#[inline(always)]
fn first_told<const N: usize>(texts: [&str; N]) -> &str {
    texts.into_iter().find(|text| !text.is_empty()).unwrap_or("")
}

#[inline(always)]
fn cut(text: &str) -> &str {
    if text.len() <= TEXT_BYTES_MAX { text } else { &text[..text.floor_char_boundary(TEXT_BYTES_MAX)] }
}

/// `eventType` came with version 1.02 and is documented as always present since; a record without it is damaged.
/// Versions compare part by part as numbers: 1.10 is later than 1.09. A record without a version is let through.
fn check_version(version: Option<&str>, event_type: &str) -> Result<(), Reason> {
    let Some(version) = version else { return Ok(()) };
    let (major, minor) = match version {
        "1.08" => (1, 8),
        "1.11" => (1, 11),
        _ => {
            let mut parts = version.split('.').map(|part| part.parse::<u32>().ok());
            match (parts.next().flatten(), parts.next()) {
                (Some(major), None) => (major, 0),
                (Some(major), Some(Some(minor))) => (major, minor),
                _ => return Err(format!("eventVersion {:?} is not a version", cut(version)).into()),
            }
        }
    };
    if major != 1 {
        return Err(format!("eventVersion {version} is none of CloudTrail's (1.x)").into());
    }
    if minor >= 2 && event_type.is_empty() {
        return Err(format!("eventVersion {version} without an eventType").into());
    }
    Ok(())
}

/// Who called, and under which session name.
#[inline(always)]
fn principal<'a>(text: &impl Fn(Text) -> &'a str, issuer: &'a str) -> (&'a str, &'a str) {
    let arn = text(Text::Arn);
    if !arn.is_empty() {
        return without_session(arn);
    }
    // Role credentials have `AROA...:session` as their principal ID.
    let id = text(Text::PrincipalId);
    let (id, session) = match id.split_once(':') {
        Some(halves) if text(Text::IdentityType) == "AssumedRole" => halves,
        _ => (id, ""),
    };
    let principal = first_told([issuer, text(Text::InvokedBy), id, text(Text::AccountId), text(Text::IdentityType)]);
    (principal, session)
}

/// `arn:aws:sts::111122223333:assumed-role/Role/session` is the role and its session; any other ARN stays whole.
#[inline(always)]
fn without_session(arn: &str) -> (&str, &str) {
    const MARK: &str = ":assumed-role/";
    if arn.starts_with("arn:aws:iam::") {
        return (arn, "");
    }
    // The resource part starts at the fifth colon; looking only there keeps a user called so from being cut.
    let mut colons = arn.bytes().enumerate().filter(|(_, byte)| *byte == b':');
    let Some((resource, _)) = colons.nth(4) else { return (arn, "") };
    let Some(role) = arn[resource..].strip_prefix(MARK) else { return (arn, "") };
    // Session names are short: a plain loop beats a search routine.
    match role.bytes().position(|byte| byte == b'/') {
        Some(slash) => (&arn[..resource + MARK.len() + slash], &role[slash + 1..]),
        None => (arn, ""),
    }
}

/// Verbs that only look. Used for records without `readOnly` (mostly old ones). A verb that AWS uses both ways (`Test`
/// starts a failover, `Verify` registers an address, `Discover` registers an endpoint) is left out: taking a read for
/// a write adds one quiet series, taking a write for a read would lose it from the write-only analysis.
const READ_VERBS: [&str; 19] = [
    "Get",
    "List",
    "Describe",
    "Head",
    "Lookup",
    "Search",
    "BatchGet",
    "BatchDescribe",
    "BatchCheck",
    "Check",
    "Query",
    "Scan",
    "Select",
    "Validate",
    "Simulate",
    "Estimate",
    "Preview",
    "Filter",
    "View",
];

/// `GetObject` and `Scan`, but not `Getaway` or `Checkout...`: a verb ends where the next capital or digit starts.
fn is_read_verb(event_name: &str) -> bool {
    READ_VERBS.iter().any(|verb| {
        event_name.strip_prefix(verb).is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_lowercase()))
    })
}

/// Before versions 1.06 and 1.07 nothing in a record tells data events; only S3 objects and Lambda had any then.
fn is_old_data_event(event_source: &str, event_name: &str) -> bool {
    const OBJECT_CALLS: [&str; 26] = [
        "AbortMultipartUpload",
        "CompleteMultipartUpload",
        "CopyObject",
        "CreateMultipartUpload",
        "DeleteObject",
        "DeleteObjectTagging",
        "DeleteObjects",
        "GetObject",
        "GetObjectAcl",
        "GetObjectTagging",
        "GetObjectTorrent",
        "HeadBucket",
        "HeadObject",
        "ListMultipartUploads",
        "ListObjectVersions",
        "ListObjects",
        "ListParts",
        "OptionsObject",
        "PostObject",
        "PutObject",
        "PutObjectAcl",
        "PutObjectTagging",
        "RestoreObject",
        "SelectObjectContent",
        "UploadPart",
        "UploadPartCopy",
    ];
    match event_source {
        "s3.amazonaws.com" => OBJECT_CALLS.contains(&event_name),
        "lambda.amazonaws.com" => matches!(event_name, "Invoke" | "InvokeExecution"),
        _ => false,
    }
}

/// What is wrong with a raw member.
fn wrong(what: &str, error: serde_json::Error) -> Reason {
    format!("{what}: {}", json::message(&error)).into()
}

/// The text of a member of an object, empty where there is none or where it is no string.
fn member_text(object: &str, key: &str, what: &str) -> Result<String, Reason> {
    let raw = json::member(object, key).map_err(|error| wrong(what, error))?;
    Ok(raw.and_then(|raw| json::string(raw).ok().flatten()).unwrap_or_default().into_owned())
}

/// The sign-in page reports its failures in the response: `"responseElements":{"ConsoleLogin":"Failure"}`.
/// Some service events have a string or a list there, hence no complaint about other types.
fn console_login_failed(fields: &Fields<'_, &str>) -> Result<bool, Reason> {
    match fields.raw(Raw::ResponseElements) {
        Some(raw) if raw.starts_with('{') => Ok(member_text(raw, "ConsoleLogin", "responseElements")? == "Failure"),
        _ => Ok(false),
    }
}

/// `sessionContext.sessionIssuer.arn`, or empty.
fn session_issuer(fields: &Fields<'_, &str>) -> Result<String, Reason> {
    const WHAT: &str = "userIdentity.sessionContext";
    let Some(context) = fields.raw(Raw::SessionContext) else { return Ok(String::new()) };
    match json::member(context, "sessionIssuer").map_err(|error| wrong(WHAT, error))? {
        Some(issuer) if issuer != "null" => member_text(issuer, "arn", WHAT),
        _ => Ok(String::new()),
    }
}

/// The event that this one corrects. Records delivered late or after an outage carry an addendum too, but repeat none.
fn repeated_event(addendum: &str) -> Result<String, Reason> {
    match member_text(addendum, "reason", "addendum")?.as_str() {
        "UPDATED_DATA" => member_text(addendum, "originalEventID", "addendum"),
        _ => Ok(String::new()),
    }
}

/// The bucket where a bucket is named; else the first resource that is not an object; else the object's bucket.
fn container_acted_on(resources: &str) -> Result<Cow<'_, str>, Reason> {
    let entries: Vec<&RawValue> = serde_json::from_str(resources).map_err(|error| wrong("resources", error))?;
    let (mut other, mut object) = (None, None);
    for entry in entries {
        // AWS writes `ARN`; copies of records made by other tools also `arn`.
        let slot_of = |key: &[u8]| match key {
            b"type" => Some(false),
            b"ARN" | b"arn" => Some(true),
            _ => None,
        };
        let (mut kind, mut arn) = (None, None);
        for (is_arn, raw) in json::members(entry.get(), slot_of).map_err(|error| wrong("resources", error))? {
            let value = json::string(raw).map_err(|reason| format!("resources: a member {reason}"))?;
            if is_arn { arn = value } else { kind = value }
        }
        match (kind.as_deref(), arn) {
            (_, None) => {}
            (Some("AWS::S3::Bucket"), Some(arn)) => return Ok(arn),
            (Some("AWS::S3::Object"), Some(arn)) => object = object.or(Some(arn)),
            (_, Some(arn)) => other = other.or(Some(arn)),
        }
    }
    let bucket = |object: Cow<'_, str>| Cow::Owned(object.split('/').next().unwrap_or("").to_owned());
    Ok(other.or_else(|| object.map(bucket)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        for (version, event_type, good) in [
            (Some("1.0"), "", true),
            (Some("1"), "", true),
            (Some("1.01"), "", true),
            (Some("1.02"), "", false),
            (Some("1.2"), "", false),
            (Some("1.10"), "", false),
            (Some("1.10"), "AwsApiCall", true),
            (Some("1.99"), "AwsApiCall", true),
            (None, "", true),
            (Some(""), "AwsApiCall", false),
            (Some("2.1"), "AwsApiCall", false),
            (Some("0.9"), "AwsApiCall", false),
            (Some("1.x"), "AwsApiCall", false),
            (Some("one"), "AwsApiCall", false),
        ] {
            assert_eq!(check_version(version, event_type).is_ok(), good, "{version:?} {event_type:?}");
        }
    }

    #[test]
    fn sessions_are_cut_off_assumed_roles_only() {
        for (arn, expected) in [
            ("arn:aws:sts::111122223333:assumed-role/R/s", ("arn:aws:sts::111122223333:assumed-role/R", "s")),
            ("arn:aws-cn:sts::111122223333:assumed-role/R/s", ("arn:aws-cn:sts::111122223333:assumed-role/R", "s")),
            ("arn:aws:sts::111122223333:assumed-role/R/a/b", ("arn:aws:sts::111122223333:assumed-role/R", "a/b")),
            ("arn:aws:sts::111122223333:assumed-role/R", ("arn:aws:sts::111122223333:assumed-role/R", "")),
            ("arn:aws:sts::111122223333:federated-user/f", ("arn:aws:sts::111122223333:federated-user/f", "")),
            (
                "arn:aws:iam::111122223333:user/:assumed-role/x/y",
                ("arn:aws:iam::111122223333:user/:assumed-role/x/y", ""),
            ),
            ("no arn at all", ("no arn at all", "")),
        ] {
            assert_eq!(without_session(arn), expected);
        }
    }

    #[test]
    fn verbs() {
        for (name, read) in [
            ("GetObject", true),
            ("Scan", true),
            ("BatchGetItem", true),
            ("List2", true),
            ("Getaway", false),
            ("CheckoutLicense", false),
            ("BatchWriteItem", false),
            ("TestFailover", false),
            ("VerifyEmailIdentity", false),
            ("RunInstances", false),
            ("", false),
        ] {
            assert_eq!(is_read_verb(name), read, "{name}");
        }
    }

    #[test]
    fn containers() {
        let bucket = r#"{"type":"AWS::S3::Bucket","ARN":"arn:aws:s3:::b"}"#;
        let object = r#"{"type":"AWS::S3::Object","ARN":"arn:aws:s3:::b/k/l"}"#;
        let table = r#"{"accountId":"1","type":"AWS::DynamoDB::Table","arn":"t\u002f1","arn":"t\/2"}"#;
        let prefix = r#"{"type":"AWS::S3::Object","ARNPrefix":"arn:aws:s3:::b/"}"#;
        for (resources, expected) in [
            (format!("[{object},{bucket}]"), "arn:aws:s3:::b"),
            (format!("[{object}]"), "arn:aws:s3:::b"),
            (format!("[{prefix},{table},{object}]"), "t/2"),
            (format!("[{prefix}]"), ""),
            ("[]".to_owned(), ""),
        ] {
            assert_eq!(container_acted_on(&resources).unwrap(), expected);
        }
        for wrong in ["{}", "[1]", "\"x\"", r#"[{"ARN":1}]"#] {
            assert!(container_acted_on(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn keys_match_their_patterns() {
        for key in RECORD_KEYS.iter().chain(&IDENTITY_KEYS) {
            let text = format!("{{\"{}\":1                                        ", key.name);
            assert_eq!(key.behind(text.as_bytes(), 1), Some(key.name.len() + 4));
            assert_eq!(key.behind(text.replace(':', " ").as_bytes(), 1), None);
            assert_eq!(key.behind(text.trim_end().as_bytes(), text.trim_end().len() - 1), None);
        }
        for (i, name) in TEXT_NAMES.iter().enumerate() {
            let keys = if name.starts_with("userIdentity.") { &IDENTITY_KEYS[..] } else { &RECORD_KEYS[..] };
            let key = name.strip_prefix("userIdentity.").unwrap_or(name);
            assert!(matches!(slot(keys, key.as_bytes()), Slot::Text(text) if text as usize == i), "{name}");
        }
    }
}
