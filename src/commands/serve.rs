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
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::Server;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::azure::credential::token_proxy::TokenProxy;
use crate::azure::vault::Vaults;
use crate::azure::vault::memory::{Memory, MemorySettingsError};
use crate::cluster::{ApiServer, ClusterSetupError, PodEvents};
use crate::generated::v1alpha1::csi_driver_provider_server::{
    CsiDriverProviderServer, SERVICE_NAME,
};
use crate::mount::Provider;
use crate::observe::metrics::{self, AzureService, Metrics};
use crate::os::clock::Clock;
use crate::os::memory_lock::{self, MemoryLockError};
use crate::server::calls::{self, Calls, MAX_MESSAGE};
use crate::server::healthz::{self, Check};
use crate::server::policy_file::{PolicyFile, PolicyFileError};
use crate::server::rotations::Rotations;
use crate::server::service::Service;
use crate::server::socket::authority::MAX_FRAME_SIZE;
use crate::server::socket::{Socket, SocketError};
use crate::settings::{DefaultCloudError, ProviderSettings, ServeSettings};
use crate::shares::{Budget, Places};
use crate::transport::{Transport, TransportSetupError};

/// How long the answers to mounts that did not end in time may take to get out.
const LAST_ANSWERS: Duration = Duration::from_millis(500);
/// The most calls at once on one connection; further ones wait at the caller's end, where nobody sees whose they are.
/// The driver has one connection for all mounts of a node, so there are more than [`MAX_MOUNTS`].
const MAX_STREAMS: u32 = 2048;
/// The most mounts that are worked on at once. A node's kubelet has 110 pods by default and 250 in large clusters; one
/// namespace has half of these.
const MAX_MOUNTS: usize = 512;
/// The bytes that a mount needs beside its files.
const FOR_ONE_CALL: usize = 16 * 1024 * 1024;
/// The most bytes of a call's headers. The driver's have a few hundred.
pub const MAX_HEADERS: u32 = 16 * 1024;
/// The most bytes of a health check, which has the name of a service.
const MAX_HEALTH_CHECK: usize = 1024;
/// How often a caller is asked whether it still reads.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// How long it may take to say so: a node that has no CPU left is not taken for one that is gone.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Why there is no service to be served.
#[derive(Debug, Error)]
pub enum ServiceSetupError {
    /// There is no HTTP client.
    #[error(transparent)]
    Transport(#[from] TransportSetupError),
    /// There is no way to the API server.
    #[error(transparent)]
    Cluster(#[from] ClusterSetupError),
    /// The times of the cache go against the driver's.
    #[error(transparent)]
    Cache(#[from] MemorySettingsError),
    /// There is no default cloud.
    #[error("--cloud-name: {0}")]
    Cloud(#[from] DefaultCloudError),
    /// There is no policy, and one is wanted.
    #[error("--policy {}", path.display())]
    Policy {
        path: PathBuf,
        source: PolicyFileError,
    },
}

/// Why serving could not start, or ended.
#[derive(Debug, Error)]
pub enum ServeError {
    /// There is no socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// Memory cannot be kept out of swap.
    #[error(transparent)]
    MemoryLock(#[from] MemoryLockError),
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
    if settings.lock_memory {
        memory_lock::lock()?;
    }
    let stop = stop_signal().map_err(ServeError::Signals)?;
    let metrics = Metrics::new(settings.prometheus.metrics());
    let mut service = service(&settings.provider, metrics)?;
    let events = pod_events(&settings, &service)?;
    let writing = events
        .clone()
        .map(|events| async move { events.write().await });
    let _writing = writing.map(|writing| AbortOnDropHandle::new(tokio::spawn(writing)));
    service.rotations = events.map(|events| Rotations::new(events, Arc::clone(&service.volumes)));
    let path = settings.endpoint.socket();
    let socket = Socket::bind(&path, settings.allowed_users())?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), endpoint = %path.display(), "serving");
    let stopping = CancellationToken::new();
    let _healthz = healthz::serve(
        settings.healthz.healthz_port,
        &settings.healthz.healthz_path,
        Check {
            socket: path,
            timeout: settings.healthz.healthz_timeout,
            stopping: stopping.clone(),
        },
    );
    let _metrics = metrics::serve(settings.prometheus.prometheus_port, service.metrics.clone());
    let stop = async {
        stop.await;
        stopping.cancel();
    };
    serve(socket, service, stop, settings.drain_timeout).await
}

/// What tells pods something, if they are told.
fn pod_events(
    settings: &ServeSettings,
    service: &Service,
) -> Result<Option<PodEvents>, ServiceSetupError> {
    let transport = service.provider.transport();
    let api = ApiServer::of_settings(transport, &settings.cluster())?;
    let node = settings.pod_events.node_name();
    Ok(api.map(|api| PodEvents::new(api, &node, &service.metrics, Clock::default())))
}

/// The driver's service, ready to be served, which counts here. It tells pods nothing.
pub fn service(
    settings: &ProviderSettings,
    metrics: Metrics,
) -> Result<Service, ServiceSetupError> {
    let transport = Transport::new(&settings.transport(), &metrics)?;
    let token_proxy = TokenProxy::new(
        settings.identity_binding.token_proxy(),
        &transport,
        metrics.traffic(AzureService::TokenProxy),
    );
    let clock = Clock::default();
    let max_requests = settings.max_concurrent_requests;
    let vaults = Vaults::new(transport, token_proxy, max_requests, clock, &metrics);
    let messages = calls::messages();
    let budget = Budget::new(
        settings.memory_budget.saturating_sub(messages.load().total),
        most_of_one_call(settings.max_answer_size),
    );
    metrics.watch([messages.clone(), budget.clone()]);
    let memory = settings.cache.memory()?;
    let memory = memory.map(|settings| Memory::new(settings, &metrics));
    Ok(Service {
        provider: Arc::new(Provider::new(
            vaults,
            settings.cache.shared_reads,
            memory,
            &metrics,
            settings.max_answer_size,
        )),
        environment_files: settings.environment_files()?,
        conventions: settings.files.conventions(),
        token_audiences: settings.token_audience.clone(),
        policy: policy(settings)?,
        closing: CancellationToken::new(),
        metrics,
        journal: Arc::default(),
        volumes: Arc::default(),
        rotations: None,
        freed_memory: Arc::default(),
        mount_timeout: settings.mount_timeout,
        places: Places::leaving_some(MAX_MOUNTS),
        messages,
        budget,
        classes: Arc::default(),
    })
}

/// The most bytes that one mount may hold: its class while it is read, or what it fetches with its files, or these and the
/// answer when it is written.
fn most_of_one_call(max_answer_size: usize) -> usize {
    max_answer_size.saturating_add(max_answer_size.max(FOR_ONE_CALL))
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
        end_watches(health).await;
        draining.notify_one();
    };
    let (mount_timeout, messages) = (service.mount_timeout, service.messages.clone());
    let freed_memory = Arc::clone(&service.freed_memory);
    let driver = CsiDriverProviderServer::new(service).max_decoding_message_size(MAX_MESSAGE);
    let serving = Server::builder()
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(calls::STREAM_WINDOW)
        // No call takes the room of another one's bytes while its own wait.
        .initial_connection_window_size(MAX_STREAMS * calls::STREAM_WINDOW)
        .max_frame_size(MAX_FRAME_SIZE)
        .http2_max_header_list_size(MAX_HEADERS)
        .http2_keepalive_interval(Some(PING_INTERVAL))
        .http2_keepalive_timeout(Some(PING_TIMEOUT))
        .add_service(health_service.max_decoding_message_size(MAX_HEALTH_CHECK))
        .add_service(Calls::new(driver, mount_timeout, messages))
        // It is the callers that end; whoever came before that is served.
        .serve_with_incoming_shutdown(socket.callers(stopped), std::future::pending());
    let too_late = async {
        draining.notified().await;
        tokio::time::sleep(drain_timeout).await;
        closing.cancel();
        tokio::time::sleep(LAST_ANSWERS).await;
    };
    tokio::select! {
        result = serving => result?,
        () = async move { freed_memory.give_back().await } => {}
        () = too_late => tracing::warn!("some calls did not end in time and are cut off"),
    }
    tracing::info!("stopped");
    Ok(())
}

/// Ends the health service's watches, which would hold the drain: they last until their caller ends them.
async fn end_watches(mut health: HealthReporter) {
    for service in ["", SERVICE_NAME] {
        health
            .set_service_status(service, ServingStatus::NotServing)
            .await;
        health.clear_service_status(service).await;
    }
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

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixStream;
    use tokio::time::Instant;

    use super::*;
    use crate::server::socket::AllowedUsers;
    use crate::settings::Settings;

    fn usual() -> Service {
        let settings = Settings::try_parse_from(["provider-azure-rs"]).unwrap();
        service(&settings.serve.provider, Metrics::default()).unwrap()
    }

    /// What HTTP/2 begins with: the preface and an empty frame of settings.
    const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

    #[tokio::test(start_paused = true)]
    async fn callers_that_are_stuck_are_hung_up_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let socket = Socket::bind(&path, AllowedUsers::default()).unwrap();
        let serving = serve(socket, usual(), std::future::pending(), Duration::ZERO);
        let calling = async {
            // One says nothing, one stops within a frame, and one stops reading its answers.
            for said in [&b""[..], &HELLO[..30], HELLO] {
                let mut stream = UnixStream::connect(&path).await.unwrap();
                let start = Instant::now();
                stream.write_all(said).await.unwrap();
                _ = stream.read_to_end(&mut Vec::new()).await;
                let took = start.elapsed();
                assert!(took > Duration::from_secs(4), "{took:?}");
                assert!(took < Duration::from_secs(60), "{took:?}");
            }
        };
        tokio::select! {
            result = serving => panic!("{result:?}"),
            () = calling => {}
        }
    }
}
