//! Where insights go. Every sink follows the same file, `insights.jsonl` of the state directory, from its own place in
//! it; so a dead sink keeps nobody waiting, and nothing is lost with a restart. Knows records as lines, no detection.

mod copy;
pub mod webhook;

pub use copy::Copy;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::secret::Secret;

/// Where insights go.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sink {
    /// Sends only what is at least as severe: info, low, medium, high or critical.
    pub severity: Option<String>,
    /// A POST of JSON for each insight.
    pub webhook: Option<WebhookTarget>,
}

#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookTarget {
    pub url: String,
    /// Requests are signed with it.
    pub secret: Option<Secret>,
}

impl Sink {
    /// What its parts do not tell one by one.
    pub fn check(&self) -> Result<(), String> {
        Ok(())
    }
}
