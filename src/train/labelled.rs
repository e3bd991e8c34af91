//! [`Labelled`]: an account's calls and the truth about them, whatever world they come from: what training and
//! evaluation take in. Knows neither how calls were made up nor what a detector says of them.

use crate::event::Minute;
use crate::window::Tally;

/// One account, or several that are judged together.
pub struct Labelled {
    /// What listings call it: `simulate 3`, `worlds 17`, or the folder of a trail.
    pub name: String,
    /// Insights that start before it do not count.
    pub live_from: Minute,
    /// The minute after the last.
    pub end: Minute,
    pub calls: Tally,
    pub truths: Vec<Truth>,
}

/// What was done to one series, over `[start, end)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Truth {
    pub account_id: String,
    pub region: String,
    pub event_source: String,
    pub event_name: String,
    /// Present: it shows in this error's rate; absent: in the call rate.
    pub error_code: Option<String>,
    /// `spike`, `flash`, `error_flood` ...
    pub kind: String,
    pub start: Minute,
    pub end: Minute,
    pub duty: Duty,
    /// By the API's usual caller with its usual agent.
    pub insider: bool,
    /// Who did it, without the session.
    pub arn: Option<String>,
}

/// What a detector owes a truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// To find it.
    Required,
    /// Nothing: an insight is neither right nor wrong.
    Optional,
    /// Nothing, for any series of the API: a harmless change, reported once or not at all.
    Benign,
}

/// An ARN as attributions print it: assumed roles without their session.
pub fn without_session(arn: &str) -> &str {
    const MARK: &str = ":assumed-role/";
    let Some(role) = arn.find(MARK).map(|at| at + MARK.len()) else { return arn };
    arn[role..].find('/').map_or(arn, |slash| &arn[..role + slash])
}
