//! Clients of AWS, as everybody configures them: the standard chain of credentials, profiles and endpoints, and a role
//! to take on where one is named. Knows which client is for which Region; nothing of what is asked of them.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::Client as S3;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder, tls};

/// A peer that is gone is not waited for: others may answer. An answer may take as long as a queue's long poll, and more.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// The answer to an upload comes only after all of it was sent: a gigabyte, over a slow line.
const UPLOADED_WITHIN: Duration = Duration::from_secs(600);

/// Where a role's partition has its services, for whoever named no Region; S3 then tells where a bucket is.
fn home(role_arn: &str) -> &'static str {
    match role_arn.split(':').nth(1) {
        Some("aws-cn") => "cn-north-1",
        Some("aws-us-gov") => "us-gov-west-1",
        _ => "us-east-1",
    }
}

/// What the environment says, and a role to assume on top.
pub async fn config(region: Option<&str>, role_arn: Option<&str>) -> SdkConfig {
    let https = Builder::new().tls_provider(tls::Provider::Rustls(CryptoMode::Ring)).build_https();
    let times = TimeoutConfig::builder().connect_timeout(CONNECT_WITHIN).read_timeout(ANSWER_WITHIN).build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(https).timeout_config(times);
    if let Some(region) = region {
        loader = loader.region(Region::new(region.to_owned()));
    }
    let mut base = loader.load().await;
    if base.region().is_none() {
        base = base.into_builder().region(Region::new(home(role_arn.unwrap_or("")))).build();
    }
    let Some(role_arn) = role_arn else { return base };
    let role = AssumeRoleProvider::builder(role_arn).session_name("highwater").configure(&base).build().await;
    base.into_builder().credentials_provider(aws_sdk_s3::config::SharedCredentialsProvider::new(role)).build()
}

/// The same, for whoever sends much.
pub fn for_uploads(config: SdkConfig) -> SdkConfig {
    let times = TimeoutConfig::builder().connect_timeout(CONNECT_WITHIN).read_timeout(UPLOADED_WITHIN).build();
    config.into_builder().timeout_config(times).build()
}

/// S3, one client for each Region.
pub struct Buckets {
    config: SdkConfig,
    clients: Mutex<HashMap<Option<String>, S3>>,
}

impl Buckets {
    pub fn new(config: SdkConfig) -> Buckets {
        Buckets { config, clients: Mutex::new(HashMap::new()) }
    }

    /// `None`: the Region of the configuration.
    pub fn client(&self, region: Option<&str>) -> S3 {
        let mut clients = self.clients.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let make = || {
            let mut config = aws_sdk_s3::config::Builder::from(&self.config);
            if let Some(region) = region {
                config = config.region(Region::new(region.to_owned()));
            }
            // Whoever stands in for S3 has no name for each bucket.
            let stands_in = self.config.endpoint_url().is_some() || std::env::var_os("AWS_ENDPOINT_URL_S3").is_some();
            S3::from_conf(config.force_path_style(stands_in).build())
        };
        clients.entry(region.map(str::to_owned)).or_insert_with(make).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::home;

    #[test]
    fn a_role_tells_its_partition() {
        for (role, region) in [
            ("arn:aws:iam::123456789012:role/r", "us-east-1"),
            ("arn:aws-us-gov:iam::123456789012:role/r", "us-gov-west-1"),
            ("arn:aws-cn:iam::123456789012:role/r", "cn-north-1"),
            ("", "us-east-1"),
        ] {
            assert_eq!(home(role), region, "{role}");
        }
    }
}
