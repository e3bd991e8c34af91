//! Clients of AWS, as everybody configures them: the standard chain of credentials, profiles and endpoints, and a role
//! to take on where one is named. Knows which client is for which Region; nothing of what is asked of them.

use std::collections::HashMap;
use std::sync::Mutex;

use aws_config::sts::AssumeRoleProvider;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_s3::Client as S3;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::{Builder, tls};

/// What the environment says, and a role to assume on top.
pub async fn config(region: Option<&str>, role_arn: Option<&str>) -> SdkConfig {
    let https = Builder::new().tls_provider(tls::Provider::Rustls(CryptoMode::Ring)).build_https();
    let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(https);
    if let Some(region) = region {
        loader = loader.region(Region::new(region.to_owned()));
    }
    let base = loader.load().await;
    let Some(role_arn) = role_arn else { return base };
    let role = AssumeRoleProvider::builder(role_arn).session_name("highwater").configure(&base).build().await;
    base.into_builder().credentials_provider(aws_sdk_s3::config::SharedCredentialsProvider::new(role)).build()
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
            S3::from_conf(config.force_path_style(self.config.endpoint_url().is_some()).build())
        };
        clients.entry(region.map(str::to_owned)).or_insert_with(make).clone()
    }
}
