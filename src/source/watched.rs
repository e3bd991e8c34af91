//! [`Source`]: where the sidecar's deliveries come from, as flags and the configuration file say it. Knows what is
//! wrong with one, and nothing of how it is read.

use std::net::SocketAddr;
use std::path::PathBuf;

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};

use super::listing;
use crate::event::Minute;
use crate::secret::Secret;

/// Where deliveries come from.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A queue that announces objects in S3.
    Sqs(Sqs),
    /// A bucket without a queue, listed twice a minute.
    S3(S3),
    /// A directory that grows.
    Dir(Dir),
    /// Requests to an address of ours.
    Http(Http),
    /// JSON lines.
    #[serde(skip)]
    Stdin,
}

#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sqs {
    /// Of the queue.
    pub url: String,
    /// Where the URL does not tell it.
    pub region: Option<String>,
    /// ARN of a role to assume, for the queue and for buckets.
    pub role: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct S3 {
    /// s3://BUCKET/PREFIX; the prefix is what stands before AWSLogs.
    pub url: String,
    /// ARN of a role to assume.
    pub role: Option<String>,
    /// Objects delivered from this day on, such as 2026-11-01; by default two days before what is open, or before now.
    #[serde(default, deserialize_with = "day")]
    #[schemars(with = "Option<String>")]
    pub since: Option<Minute>,
}

#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dir {
    pub path: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Address and port; takes JSON lines at /records, Firehose at /firehose.
    pub listen: SocketAddr,
    /// What senders must know, as `Authorization: Bearer` or `X-Amz-Firehose-Access-Key`.
    pub key: Option<Secret>,
    /// PEM file with our certificate and those between it and the root; read again when it changes.
    pub certificate: Option<PathBuf>,
    /// PEM file with the certificate's private key.
    pub private_key: Option<PathBuf>,
    /// Speaks plain HTTP where others can listen: only behind a proxy that ends TLS.
    #[serde(default)]
    pub plaintext: bool,
}

fn day<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Minute>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let date: NaiveDate = text.parse().map_err(|_| de::Error::custom(format!("{text}: not a day like 2026-11-01")))?;
    Ok(Some(Minute::of_second(date.and_time(chrono::NaiveTime::MIN).and_utc().timestamp())))
}

impl Source {
    /// As logs and metrics call it.
    pub fn name(&self) -> String {
        match self {
            Source::Sqs(sqs) => sqs.url.clone(),
            Source::S3(s3) => s3.url.clone(),
            Source::Dir(dir) => dir.path.display().to_string(),
            Source::Http(http) => format!("http {}", http.listen),
            Source::Stdin => "stdin".to_owned(),
        }
    }

    /// What its parts do not tell one by one.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Source::Sqs(Sqs { url, role, .. }) => {
                if !url.starts_with("https://") && !url.starts_with("http://") {
                    return Err(format!(
                        "{url}: not the URL of a queue, like https://sqs.REGION.amazonaws.com/ACCOUNT/NAME"
                    ));
                }
                check_role(role.as_deref())
            }
            Source::S3(S3 { url, role, .. }) => {
                listing::trail(url)?;
                check_role(role.as_deref())
            }
            Source::Http(http) => http.check(),
            Source::Dir(_) | Source::Stdin => Ok(()),
        }
    }
}

impl Http {
    fn check(&self) -> Result<(), String> {
        let address = self.listen;
        if self.certificate.is_some() != self.private_key.is_some() {
            return Err(format!(
                "{address}: a certificate and its private key belong together; one of them is missing"
            ));
        }
        if address.ip().is_loopback() {
            return Ok(());
        }
        if self.key.is_none() {
            return Err(format!(
                "{address} can be reached from elsewhere: it needs a key that senders must know (HIGHWATER_PUSH_KEY, or key in the file)"
            ));
        }
        if self.certificate.is_none() && !self.plaintext {
            return Err(format!(
                "{address} can be reached from elsewhere: it needs a certificate and its private key, or plaintext behind a proxy that ends TLS"
            ));
        }
        Ok(())
    }
}

fn check_role(role: Option<&str>) -> Result<(), String> {
    match role {
        Some(role) if !(role.starts_with("arn:") && role.contains(":role/")) => {
            Err(format!("{role}: not the ARN of a role, like arn:aws:iam::ACCOUNT:role/NAME"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_can_reach_needs_a_key_and_tls() {
        let http = |listen: &str| Http {
            listen: listen.parse().expect("an address"),
            key: None,
            certificate: None,
            private_key: None,
            plaintext: false,
        };
        assert_eq!(http("127.0.0.1:80").check(), Ok(()));
        assert_eq!(http("[::1]:80").check(), Ok(()));
        let open = http("0.0.0.0:80");
        assert!(open.check().is_err_and(|reason| reason.contains("key")));
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        std::fs::write(&path, "hush").expect("written");
        let key = Some(Secret::read(&format!("file:{}", path.display())).expect("a key"));
        let keyed = Http { key, ..open };
        assert!(keyed.check().is_err_and(|reason| reason.contains("certificate")));
        assert_eq!(Http { plaintext: true, ..keyed.clone() }.check(), Ok(()));
        let half = Http { certificate: Some("c.pem".into()), ..keyed.clone() };
        assert!(half.check().is_err_and(|reason| reason.contains("private key")));
        assert_eq!(Http { private_key: Some("k.pem".into()), ..half }.check(), Ok(()));
    }
}
