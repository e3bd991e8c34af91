//! The sidecar's HTTP server: health, metrics and version, and, where asked for, pushes. Loopback unless told
//! otherwise. Knows routes; what they say comes from `status` and `source`.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, bail};
use axum::Router;
use axum::http::{StatusCode, header};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::source::push::{Push, routes};
use crate::status::Status;

/// Binds the address; pushes from elsewhere than this machine need a key.
pub async fn bind(address: SocketAddr, has_key: bool, takes_pushes: bool) -> anyhow::Result<TcpListener> {
    if takes_pushes && !has_key && !address.ip().is_loopback() {
        bail!(
            "--listen {address} can be reached from elsewhere: set HIGHWATER_PUSH_KEY to a secret that senders must know"
        );
    }
    TcpListener::bind(address).await.with_context(|| format!("listening on {address}"))
}

/// Serves until told to stop; requests that have begun are answered.
pub async fn serve(listener: TcpListener, status: Arc<Status>, push: Option<Push>, stop: CancellationToken) {
    let mut router = Router::new()
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/version", get(|| async { concat!(env!("CARGO_PKG_VERSION"), "\n") }))
        .with_state(status);
    if let Some(push) = push {
        router = router.merge(routes(push));
    }
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = served.await {
        tracing::error!(%error, "the HTTP server ended");
    }
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
