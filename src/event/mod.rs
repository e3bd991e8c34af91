//! What a CloudTrail record says, as far as counting needs it: [`Event`] borrows a dozen fields out of a decompressed
//! object. Knows nothing of files on disk, windows, baselines or insights, and keeps nothing between two records.
//!
//! Fields and their history: the CloudTrail user guide, "CloudTrail record contents" (versions 1.0 to 1.11).

use std::fmt;

mod door;
mod gzip;
mod json;
mod object;
mod parse;
mod record;
// The one module that may: see its head.
#[allow(unsafe_code)]
mod scan;
mod time;
mod walk;

pub use door::{Engine, Limits, Outcome, Problem, Reader};
pub use object::{Kind, ObjectName};

/// A whole minute, counted from 1970-01-01T00:00Z; stands for the bucket `[m, m + 1)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Minute(pub i64);

/// Minutes in a UTC day.
pub const MINUTES_PER_DAY: i64 = 1_440;

impl Minute {
    /// The minute that holds a second counted from 1970-01-01T00:00:00Z.
    pub fn of_second(second: i64) -> Minute {
        Minute(second.div_euclid(60))
    }

    /// Reads a time of RFC 3339.
    pub fn parse(text: &str) -> Option<Minute> {
        chrono::DateTime::parse_from_rfc3339(text).ok().map(|time| Minute::of_second(time.timestamp()))
    }

    /// Days since 1970-01-01 (UTC).
    pub fn day(self) -> i64 {
        self.0.div_euclid(MINUTES_PER_DAY)
    }

    /// Hours since 1970-01-01T00:00Z.
    pub fn hour(self) -> i64 {
        self.0.div_euclid(60)
    }

    /// Minute of the UTC day, in `0..1440`.
    pub fn of_day(self) -> i64 {
        self.0.rem_euclid(MINUTES_PER_DAY)
    }
}

impl fmt::Display for Minute {
    /// `2026-03-04T14:07:00Z`, as CloudTrail prints times. Years outside 0..=9999 keep chrono's signed form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match chrono::DateTime::from_timestamp(self.0.saturating_mul(60), 0) {
            Some(time) => write!(f, "{}", time.format("%Y-%m-%dT%H:%M:%SZ")),
            None => write!(f, "minute {}", self.0),
        }
    }
}

/// The event category of a record that can be scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Category {
    /// Control-plane calls.
    Management,
    /// Data-plane calls (S3 objects, Lambda invocations, ...), logged only where a selector asks for them.
    Data,
}

impl Category {
    /// `Data`, or else `Management`.
    pub fn parse(name: &str) -> Category {
        if name == Category::Data.as_str() { Category::Data } else { Category::Management }
    }

    /// As CloudTrail spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Category::Management => "Management",
            Category::Data => "Data",
        }
    }
}

/// One record, borrowed from the object's text. Absent strings are empty; see each field for the fallback used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub event_time_s: i64,
    /// `recipientAccountId`; else `userIdentity.accountId`; else the account in the object's key; else empty.
    pub account_id: &'a str,
    /// `awsRegion`.
    pub region: &'a str,
    /// `ec2.amazonaws.com`
    pub event_source: &'a str,
    /// `RunInstances`
    pub event_name: &'a str,
    /// `readOnly`; where absent, from the verb of the event name.
    pub read_only: bool,
    /// `eventCategory`; where absent, from `managementEvent`; else from source and name.
    pub category: Category,
    /// `errorCode`; empty when the call succeeded. A console sign-in that failed counts as `Failure`.
    pub error_code: &'a str,
    /// Who called: the ARN without its session; else `invokedBy`, `principalId`, `accountId`, or the identity's type.
    pub principal: &'a str,
    /// The role session name, empty where there is none.
    pub session: &'a str,
    /// `userIdentity.accessKeyId`
    pub access_key_id: &'a str,
    /// `sourceIPAddress`: an address, a DNS name, or `AWS Internal`.
    pub source_ip: &'a str,
    /// `userAgent`
    pub user_agent: &'a str,
    /// Data events only: ARN of the container acted on (the bucket rather than the object).
    pub resource_arn: &'a str,
    /// `eventID`; empty before version 1.01.
    pub event_id: &'a str,
    /// For an addendum with reason `UPDATED_DATA`: the `originalEventID` it repeats. Else empty.
    pub addendum_of: &'a str,
}
