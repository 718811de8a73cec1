//! The kubelet's probes over HTTP. They are about this process and its socket and never about Azure, which a
//! restart would not mend:
//!
//! - the path of `--healthz-path` is the Go provider's: whether the gRPC service on the socket answers;
//! - `/livez` is the same, but a provider that ends is not dead, although its socket takes no more callers;
//! - `/readyz` is the same, but a provider that ends is not ready from the signal on.
//!
//! Each probe makes a connection of its own and calls `Version` on it. A connection that is kept would be
//! answered for as long as it lasts, also when the socket's file is gone or nobody else gets in; what a probe
//! should tell is what the driver would meet that comes now. One connection in ten seconds costs nothing.
//!
//! Flags, path and answers of the first are the Go provider's, so that its DaemonSet's probes work as they
//! are.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::generated::v1alpha1::VersionRequest;
use crate::generated::v1alpha1::csi_driver_provider_client::CsiDriverProviderClient;
use crate::observe::port;
use crate::server::service::CONTRACT;
use crate::server::socket;
use crate::text::excerpt::causes;

/// Whether the process and its socket are alive.
const LIVE: &str = "/livez";
/// Whether new mounts should come.
const READY: &str = "/readyz";

/// What a check needs to know.
#[derive(Debug)]
pub struct Check {
    /// The socket that is asked.
    pub socket: PathBuf,
    /// How long it may take to answer.
    pub timeout: Duration,
    /// Cancelled from the signal on that ends the process.
    pub stopping: CancellationToken,
}

/// What a probe reads.
type Answer = (StatusCode, String);

/// Serves the probes on this port for as long as the returned value lives; nothing where the port is 0. `path` is
/// the one of `--healthz-path`.
pub fn serve(port: u16, path: &str, check: Check) -> Option<AbortOnDropHandle<()>> {
    let mut app = Router::new().route(path, get(healthz));
    // Whoever gives the first one of their names has what the Go provider has there.
    if path != LIVE {
        app = app.route(LIVE, get(livez));
    }
    if path != READY {
        app = app.route(READY, get(readyz));
    }
    let app = app.with_state(Arc::new(check));
    port::serve(port, "the health check is", app)
}

async fn healthz(State(check): State<Arc<Check>>) -> Answer {
    check.answer().await
}

async fn livez(State(check): State<Arc<Check>>) -> Answer {
    if check.stopping.is_cancelled() {
        return (StatusCode::OK, "ok, stopping".to_owned());
    }
    check.answer().await
}

async fn readyz(State(check): State<Arc<Check>>) -> Answer {
    if check.stopping.is_cancelled() {
        let why = "stopping; mounts under way may end".to_owned();
        return (StatusCode::SERVICE_UNAVAILABLE, why);
    }
    check.answer().await
}

impl Check {
    async fn answer(&self) -> Answer {
        match tokio::time::timeout(self.timeout, self.version()).await {
            Ok(Ok(())) => (StatusCode::OK, "ok".to_owned()),
            Ok(Err(problem)) => (StatusCode::SERVICE_UNAVAILABLE, problem),
            Err(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                format!(
                    "the socket did not answer within {} ms",
                    self.timeout.as_millis()
                ),
            ),
        }
    }

    async fn version(&self) -> Result<(), String> {
        let channel = socket::connect(&self.socket)
            .await
            .map_err(|error| format!("nobody answers on the socket: {}", causes(&error)))?;
        let request = VersionRequest {
            version: CONTRACT.to_owned(),
        };
        match CsiDriverProviderClient::new(channel).version(request).await {
            Ok(_) => Ok(()),
            Err(status) => Err(format!("the service failed: {}", status.message())),
        }
    }
}
