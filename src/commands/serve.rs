//! `provider-azure-rs serve`: settings to provider to socket, then answering until SIGTERM, then
//! draining.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic_health::ServingStatus;

use crate::credential::token_proxy::TokenProxy;
use crate::generated::v1alpha1::csi_driver_provider_server::{
    CsiDriverProviderServer, SERVICE_NAME,
};
use crate::metrics::{AzureService, Metrics};
use crate::mount::Provider;
use crate::policy::file::{PolicyFile, PolicyFileError};
use crate::service::Service;
use crate::settings::{DefaultCloudError, ProviderSettings, ServeSettings};
use crate::socket::{Socket, SocketError};
use crate::transport::{Transport, TransportSetupError};
use crate::vault::Vaults;
use crate::vault::memory::Memory;
use crate::vault::values::{ValueSettingsError, Values};

/// How long the answers to mounts that did not end in time may take to get out.
const LAST_ANSWERS: Duration = Duration::from_millis(500);

/// Why there is no service to be served.
#[derive(Debug, Error)]
pub enum ServiceSetupError {
    /// There is no HTTP client.
    #[error(transparent)]
    Transport(#[from] TransportSetupError),
    /// The times of the cache go against the driver's.
    #[error(transparent)]
    Cache(#[from] ValueSettingsError),
    /// There is no default cloud.
    #[error("--cloud-name: {0}")]
    Cloud(#[from] DefaultCloudError),
    /// There is no policy, and one is wanted.
    #[error("--policy {}", path.display())]
    Policy {
        /// The file.
        path: PathBuf,
        /// Why.
        source: PolicyFileError,
    },
}

/// Why serving could not start, or ended.
#[derive(Debug, Error)]
pub enum ServeError {
    /// There is no socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// There is no service.
    #[error(transparent)]
    Service(#[from] ServiceSetupError),
    /// Signals cannot be heard.
    #[error("signals cannot be handled")]
    Signals(#[source] io::Error),
    /// The gRPC server ended.
    #[error("the gRPC server ended")]
    Server(#[from] tonic::transport::Error),
}

/// Serves until SIGTERM or SIGINT.
pub async fn run(settings: ServeSettings) -> Result<(), ServeError> {
    let stop = stop_signal().map_err(ServeError::Signals)?;
    let service = service(&settings.provider)?;
    let path = settings.endpoint();
    let socket = Socket::bind(&path)?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), endpoint = %path.display(), "serving");
    let _healthz = settings.healthz.start(&path);
    let _metrics = settings.prometheus.start(service.metrics.clone());
    serve(socket, service, stop, settings.drain_timeout).await
}

/// The driver's service, ready to be served.
pub fn service(settings: &ProviderSettings) -> Result<Service, ServiceSetupError> {
    let metrics = Metrics::default();
    let transport = Transport::new(&settings.transport(), &metrics)?;
    let token_proxy = TokenProxy::new(
        settings.identity_binding.token_proxy(),
        &transport,
        metrics.traffic(AzureService::TokenProxy),
    );
    let max_requests = settings.max_concurrent_requests;
    let vaults = Vaults::new(transport, token_proxy, max_requests, &metrics);
    let values = settings.cache.values()?;
    let values = values.map(|settings| Values::new(settings, &metrics));
    let memory = settings.cache.memory().map(Memory::new);
    Ok(Service {
        provider: Arc::new(Provider::new(
            vaults,
            values,
            memory,
            metrics.outages().clone(),
        )),
        environment_files: settings.environment_files()?,
        conventions: settings.files.conventions(),
        policy: policy(settings)?,
        closing: CancellationToken::new(),
        metrics,
        mount_timeout: settings.mount_timeout,
        max_answer_size: settings.max_answer_size,
    })
}

/// The policy, where the operator wants one.
fn policy(settings: &ProviderSettings) -> Result<Option<Arc<PolicyFile>>, ServiceSetupError> {
    let open = |path: &PathBuf| match PolicyFile::open(path) {
        Ok(policy) => Ok(Arc::new(policy)),
        Err(source) => Err(ServiceSetupError::Policy {
            path: path.clone(),
            source,
        }),
    };
    settings.policy.as_ref().map(open).transpose()
}

/// Serves on the socket until `stop`. Calls under way then have `drain_timeout` to end.
pub async fn serve(
    socket: Socket,
    service: Service,
    stop: impl Future<Output = ()>,
    drain_timeout: Duration,
) -> Result<(), ServeError> {
    let (health, health_service) = tonic_health::server::health_reporter();
    health
        .set_service_status(SERVICE_NAME, ServingStatus::Serving)
        .await;
    let closing = service.closing.clone();
    let draining = tokio::sync::Notify::new();
    let stopped = async {
        stop.await;
        tracing::info!(
            seconds = drain_timeout.as_secs(),
            "stopping; calls under way may end"
        );
        socket.retire();
        draining.notify_one();
    };
    let serving = Server::builder()
        .add_service(health_service)
        .add_service(CsiDriverProviderServer::new(service))
        .serve_with_incoming_shutdown(socket.callers(), stopped);
    let too_late = async {
        draining.notified().await;
        tokio::time::sleep(drain_timeout).await;
        closing.cancel();
        tokio::time::sleep(LAST_ANSWERS).await;
    };
    tokio::select! {
        result = serving => result?,
        () = too_late => tracing::warn!("some calls did not end in time and are cut off"),
    }
    tracing::info!("stopped");
    Ok(())
}

/// Resolves on the first SIGTERM or SIGINT after this call.
pub fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
