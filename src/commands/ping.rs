//! `provider-azure-rs ping`: whether a provider answers the driver. For the kubelet's probes, which run it in the
//! provider's container, for `helm test`, and for people on a node; the image has no other program.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;
use tonic::Status;

use crate::generated::v1alpha1::VersionRequest;
use crate::generated::v1alpha1::csi_driver_provider_client::CsiDriverProviderClient;
use crate::server::service::CONTRACT;
use crate::server::socket;
use crate::settings::PingSettings;

/// A provider answers within milliseconds, or something is wrong with it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why no provider answered.
#[derive(Debug, Error)]
pub enum PingError {
    #[error(
        "{}: no provider answers there; is its pod on this node ready, and does --provider-name fit?",
        path.display()
    )]
    NoProvider {
        path: PathBuf,
        source: Box<dyn Error + Send + Sync>,
    },
    /// Another container's provider answers.
    #[error(
        "{}: the provider of another pod has the socket; this one's does not serve there yet, or no longer",
        .0.display()
    )]
    OtherPod(PathBuf),
    /// The call failed.
    #[error("{}: the provider refused the call: {}", path.display(), status.message())]
    Refused {
        path: PathBuf,
        /// What it said.
        status: Box<Status>,
    },
    #[error("{}: no answer within {} s", .0.display(), PATIENCE.as_secs())]
    Silence(PathBuf),
}

/// Calls `Version`, and prints the answer.
pub async fn run(settings: &PingSettings) -> Result<(), PingError> {
    let path = settings.endpoint.socket();
    let calling = async {
        let none = |source: Box<dyn Error + Send + Sync>| PingError::NoProvider {
            path: path.clone(),
            source,
        };
        let channel = socket::connect(&path)
            .await
            .map_err(|error| none(error.into()))?;
        if settings.same_pod {
            let process = socket::listening_process(&path).await;
            if process.map_err(|error| none(error.into()))?.is_none() {
                return Err(PingError::OtherPod(path.clone()));
            }
        }
        let request = VersionRequest {
            version: CONTRACT.to_owned(),
        };
        let answer = CsiDriverProviderClient::new(channel).version(request).await;
        answer.map_err(|status| PingError::Refused {
            path: path.clone(),
            status: Box::new(status),
        })
    };
    let answer = tokio::time::timeout(PATIENCE, calling)
        .await
        .map_err(|_| PingError::Silence(path.clone()))??
        .into_inner();
    println!(
        "{}: {} {} answers {}",
        path.display(),
        answer.runtime_name,
        answer.runtime_version,
        answer.version
    );
    Ok(())
}
