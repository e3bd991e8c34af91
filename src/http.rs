//! The sidecar's HTTP server, with TLS where there is a certificate: health, metrics and version, and, where asked for,
//! pushes. Knows routes; what they say comes from `status` and `source`.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use hyper_util::rt::TokioTimer;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::source::push::{Push, routes};
use crate::status::Status;

/// Requests that have begun are answered within this when the server ends.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// A connection that says nothing for so long is closed.
const HEADERS_WITHIN: Duration = Duration::from_secs(60);

/// How often a new certificate is looked for.
const CERTIFICATE_EVERY: Duration = Duration::from_secs(30);

/// A server that has its address.
pub struct Server {
    listener: TcpListener,
    tls: Option<Tls>,
}

/// A certificate and its private key, as files.
struct Tls {
    certificate: PathBuf,
    private_key: PathBuf,
    config: RustlsConfig,
}

impl Server {
    /// Binds the address; with the files of a certificate and its private key, speaks TLS there.
    pub async fn bind(address: SocketAddr, files: Option<(PathBuf, PathBuf)>) -> anyhow::Result<Server> {
        let tls = match files {
            Some((certificate, private_key)) => {
                let config = RustlsConfig::from_pem_file(&certificate, &private_key).await;
                let named = || format!("the certificate {} with {}", certificate.display(), private_key.display());
                let config = config.with_context(named)?;
                Some(Tls { certificate, private_key, config })
            }
            None => None,
        };
        let listener = tokio::net::TcpListener::bind(address).await.and_then(tokio::net::TcpListener::into_std);
        Ok(Server { listener: listener.with_context(|| format!("listening on {address}"))?, tls })
    }

    /// Serves until told to stop; requests that have begun are answered.
    pub async fn serve(self, status: Arc<Status>, push: Option<Push>, stop: CancellationToken) {
        let mut router = Router::new()
            .route("/healthz", get(health))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics))
            .route("/version", get(|| async { concat!(env!("CARGO_PKG_VERSION"), "\n") }))
            .with_state(status);
        if let Some(push) = push {
            router = router.merge(routes(push));
        }
        let service = router.into_make_service();
        let handle = Handle::new();
        let ending = async {
            stop.cancelled().await;
            handle.graceful_shutdown(Some(LAST_ANSWERS));
            // The server ends by itself.
            std::future::pending::<()>().await;
        };
        let served = async {
            let handle = handle.clone();
            match &self.tls {
                None => {
                    let mut server = axum_server::from_tcp(self.listener)?;
                    server.http_builder().http1().timer(TokioTimer::new()).header_read_timeout(HEADERS_WITHIN);
                    server.handle(handle).serve(service).await
                }
                Some(tls) => {
                    let mut server = axum_server::from_tcp_rustls(self.listener, tls.config.clone())?;
                    server.http_builder().http1().timer(TokioTimer::new()).header_read_timeout(HEADERS_WITHIN);
                    tokio::select! {
                        served = server.handle(handle).serve(service) => served,
                        () = tls.renew() => Ok(()),
                    }
                }
            }
        };
        tokio::select! {
            served = served => if let Err(error) = served {
                error!(%error, "the HTTP server ended");
            },
            () = ending => {}
        }
    }
}

impl Tls {
    /// Reads the files again whenever one of them changes, for ever.
    async fn renew(&self) {
        let written = || [&self.certificate, &self.private_key].map(written);
        let mut known = written();
        loop {
            tokio::time::sleep(CERTIFICATE_EVERY).await;
            let now = written();
            if now == known {
                continue;
            }
            match self.config.reload_from_pem_file(&self.certificate, &self.private_key).await {
                Ok(()) => {
                    info!(certificate = %self.certificate.display(), "a new certificate");
                    known = now;
                }
                // One of the two files may be written before the other.
                Err(error) => warn!(certificate = %self.certificate.display(), %error, "keeping the old certificate"),
            }
        }
    }
}

fn written(path: &PathBuf) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

type Shared = axum::extract::State<Arc<Status>>;

async fn health(status: Shared) -> (StatusCode, &'static str) {
    if status.is_alive() { (StatusCode::OK, "alive\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "the loop hangs\n") }
}

async fn ready(status: Shared) -> (StatusCode, &'static str) {
    if status.is_ready() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "what is received cannot be put on the disk, or the state is not open yet\n")
    }
}

async fn metrics(status: Shared) -> ([(header::HeaderName, &'static str); 1], String) {
    const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, TYPE)], status.open_metrics())
}
