//! The health check that a liveness probe asks over HTTP: whether the gRPC service on the socket answers
//! `Version`. It says nothing about Azure, which a restart would not mend.
//!
//! Flags, path and answers are the Go provider's, so that its DaemonSet's probes work as they are.

use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio_util::task::AbortOnDropHandle;

use crate::excerpt::causes;
use crate::generated::v1alpha1::VersionRequest;
use crate::generated::v1alpha1::csi_driver_provider_client::CsiDriverProviderClient;
use crate::port;
use crate::service::CONTRACT;
use crate::settings::HealthzSettings;
use crate::socket;

/// What a check needs to know.
#[derive(Clone, Debug)]
struct Check {
    socket: PathBuf,
    timeout: Duration,
}

impl HealthzSettings {
    /// Serves the health check of this socket for as long as the returned value lives; nothing where the
    /// port is 0.
    pub fn start(&self, socket: &Path) -> Option<AbortOnDropHandle<()>> {
        let check = Check {
            socket: socket.to_owned(),
            timeout: self.healthz_timeout,
        };
        let app = Router::new()
            .route(&self.healthz_path, get(answer))
            .with_state(check);
        port::serve(self.healthz_port, "the health check is", app)
    }
}

async fn answer(State(check): State<Check>) -> (StatusCode, String) {
    match tokio::time::timeout(check.timeout, check.version()).await {
        Ok(Ok(())) => (StatusCode::OK, "ok".to_owned()),
        Ok(Err(problem)) => (StatusCode::SERVICE_UNAVAILABLE, problem),
        Err(_) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!(
                "the socket did not answer within {} ms",
                check.timeout.as_millis()
            ),
        ),
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
