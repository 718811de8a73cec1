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
//! Whoever reaches the port can ask as often as it likes, so there are a few checks at once, and the others wait.
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
use tokio::sync::Semaphore;
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

/// The most connections to the socket at once.
const MAX_CHECKS: usize = 4;

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

/// A check, and how many there may be at once.
struct Probed {
    check: Check,
    places: Semaphore,
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
    let app = app.with_state(Arc::new(Probed {
        check,
        places: Semaphore::new(MAX_CHECKS),
    }));
    port::serve(port, "the health check is", app)
}

async fn healthz(State(probed): State<Arc<Probed>>) -> Answer {
    probed.answer().await
}

async fn livez(State(probed): State<Arc<Probed>>) -> Answer {
    if probed.check.stopping.is_cancelled() {
        return (StatusCode::OK, "ok, stopping".to_owned());
    }
    probed.answer().await
}

async fn readyz(State(probed): State<Arc<Probed>>) -> Answer {
    if probed.check.stopping.is_cancelled() {
        let why = "stopping; mounts under way may end".to_owned();
        return (StatusCode::SERVICE_UNAVAILABLE, why);
    }
    probed.answer().await
}

impl Probed {
    async fn answer(&self) -> Answer {
        let check = async {
            // The semaphore is never closed.
            let _place = self.places.acquire().await;
            self.check.version().await
        };
        match tokio::time::timeout(self.check.timeout, check).await {
            Ok(Ok(())) => (StatusCode::OK, "ok".to_owned()),
            Ok(Err(problem)) => (StatusCode::SERVICE_UNAVAILABLE, problem),
            Err(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                format!(
                    "the socket did not answer within {} ms",
                    self.check.timeout.as_millis()
                ),
            ),
        }
    }
}

impl Check {
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
