//! Records to a URL, one request each: signed, with an idempotency key. Early words are sent once, without a promise.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue, Request};
use ring::hmac;
use schemars::JsonSchema;
use serde::Deserialize;

use super::request::{Answer, Http};
use super::{Format, check_url};
use crate::secret::Secret;
use crate::source::live::now_s;

/// POSTs each record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Webhook {
    /// Where to.
    pub url: Option<String>,
    /// Instead of `url`: where one lies that must be kept secret.
    pub secret_url: Option<Secret>,
    /// Signs requests: X-Highwater-Signature is sha256= and the HMAC of X-Highwater-Timestamp, a dot and the body.
    pub secret: Option<Secret>,
    /// More headers, such as Authorization = "env:TOKEN".
    pub headers: BTreeMap<String, Secret>,
    /// cloudtrail, ocsf, asff or text [default: cloudtrail].
    pub format: Format,
}

impl Webhook {
    pub fn check(&self) -> Result<(), String> {
        match (&self.url, &self.secret_url) {
            (Some(url), None) => check_url("webhook.url", url)?,
            (None, Some(url)) => check_url("webhook.secret_url", url.reveal())?,
            _ => return Err("webhook: needs either url or secret_url".to_owned()),
        }
        check_headers("webhook.headers", &self.headers)
    }

    fn url(&self) -> &str {
        self.url.as_deref().or(self.secret_url.as_ref().map(Secret::reveal)).unwrap_or_default()
    }

    /// `key`: the same for each repetition.
    pub async fn send(&self, http: &Http, body: String, key: &str, kind: &str) -> Answer {
        let media = if self.format == Format::Text { "text/plain; charset=utf-8" } else { "application/json" };
        let mut request = Request::post(self.url())
            .header("content-type", media)
            .header("x-highwater-kind", kind)
            .header("idempotency-key", format!("{key}-{kind}"));
        if let Some(secret) = &self.secret {
            let second = now_s();
            request = request
                .header("x-highwater-timestamp", second)
                .header("x-highwater-signature", signature(secret.reveal(), second, &body));
        }
        for (name, value) in &self.headers {
            request = request.header(name, value.reveal());
        }
        match http.send(request, body.into_bytes()).await {
            Ok(reply) => reply.answer(),
            Err(answer) => answer,
        }
    }
}

/// Names and values that HTTP can carry. Tells no value.
pub fn check_headers(field: &str, headers: &BTreeMap<String, Secret>) -> Result<(), String> {
    for (name, value) in headers {
        HeaderName::try_from(name).map_err(|_| format!("{field}: {name:?} is no name of a header"))?;
        HeaderValue::try_from(value.reveal()).map_err(|_| format!("{field}: the value of {name} is no header's"))?;
    }
    Ok(())
}

/// `sha256=` and the HMAC of `TIMESTAMP.BODY` in hexadecimal.
fn signature(secret: &str, second: i64, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, format!("{second}.{body}").as_bytes());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_other_tools() {
        // printf '1700000000.{}' | openssl dgst -sha256 -hmac key
        let expected = "9d713ed406bb7076d4123f0dc2c39d2df5c654ed4b0cd56b52c8b4c940bd63ae";
        assert_eq!(signature("key", 1_700_000_000, "{}"), format!("sha256={expected}"));
    }
}
