//! `provider-azure-rs mount`: the driver's and the kubelet's part, so that an app can be run on a
//! developer's machine with its production class.
//!
//! Reads a class from its manifest, calls a provider as the driver does, writes the answer as the
//! driver does, and says what came, never what is in it.

mod volume;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::oneshot;
use tonic::Code;

use crate::commands::driver_call::{self, DriverCallError, WithoutToken};
use crate::commands::manifest::{Class, ManifestError};
use crate::commands::mount::volume::{Outcome, Volume, VolumeError};
use crate::commands::serve::{self, ServiceSetupError};
use crate::explain::Explanation;
use crate::generated::v1alpha1::csi_driver_provider_client::CsiDriverProviderClient;
use crate::generated::v1alpha1::{MountRequest, MountResponse};
use crate::observe::metrics::Metrics;
use crate::os::private_folder::PrivateFolder;
use crate::server::service::Service;
use crate::server::socket::{self, AllowedUsers, Socket, SocketError};
use crate::settings::MountSettings;

/// Longer than the kubelet waits, for providers that give up late.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);

/// Why nothing was mounted.
#[derive(Debug, Error)]
pub enum MountCommandError {
    /// The manifest has no class that can be mounted.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// What stands for the pod cannot be read.
    #[error(transparent)]
    Call(#[from] DriverCallError),
    /// A provider inside this process could not be started.
    #[error(transparent)]
    Service(#[from] ServiceSetupError),
    /// A provider inside this process has no socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// There is no folder for the socket of a provider inside this process.
    #[error("no temporary folder can be made")]
    TemporaryFolder(#[source] io::Error),
    /// Signals cannot be heard.
    #[error("signals cannot be handled")]
    Signals(#[source] io::Error),
    /// Ctrl-C.
    #[error("stopped by a signal; nothing was written")]
    Stopped,
    /// No provider answers at the socket.
    #[error("no provider answers at {}", path.display())]
    NoProvider {
        path: PathBuf,
        source: tonic::transport::Error,
    },
    /// The pod's token is missing, and no driver sends one here.
    #[error("{0}")]
    NoToken(Explanation),
    /// The provider refused: what the pod's events would show.
    #[error("the mount failed with {code:?}: {message}")]
    Refused {
        /// The gRPC code.
        code: Code,
        /// The provider's message.
        message: String,
    },
    /// An answer that the driver would refuse.
    #[error("the provider's answer has no object versions, which the driver does not accept")]
    NoObjectVersions,
    /// The answer could not be written.
    #[error(transparent)]
    Volume(#[from] VolumeError),
}

/// Mounts one class.
pub async fn run(settings: MountSettings) -> Result<(), MountCommandError> {
    let class = Class::read(&settings.class, settings.class_name.as_deref())?;
    let request = driver_call::request(
        &class,
        &settings.pod,
        &settings.target,
        settings.permission.bits(),
    )?;
    let callee = Callee::new(&settings)?;
    if let Some(without) = WithoutToken::of(&request, callee.service()) {
        return Err(MountCommandError::NoToken(without.why));
    }
    let stopped = serve::stop_signal().map_err(MountCommandError::Signals)?;
    let response = tokio::select! {
        response = callee.answer(request) => response?,
        // Ending here, and not by the signal itself, removes what was made for the call.
        () = stopped => return Err(MountCommandError::Stopped),
    };
    if response.object_version.is_empty() {
        return Err(MountCommandError::NoObjectVersions);
    }
    let outcome = Volume::new(&settings.target)?.write(&response.files)?;
    print(&settings.target, &class, &response, outcome);
    Ok(())
}

/// The provider that is called.
enum Callee {
    /// One that runs, at its socket.
    Running(PathBuf),
    /// One that runs for this call.
    Own(Box<Service>),
}

impl Callee {
    fn new(settings: &MountSettings) -> Result<Self, MountCommandError> {
        if let Some(path) = &settings.endpoint {
            return Ok(Self::Running(path.clone()));
        }
        let service = serve::service(&settings.provider, Metrics::default())?;
        Ok(Self::Own(Box::new(service)))
    }

    fn service(&self) -> Option<&Service> {
        match self {
            Self::Running(_) => None,
            Self::Own(service) => Some(service),
        }
    }

    async fn answer(self, request: MountRequest) -> Result<MountResponse, MountCommandError> {
        match self {
            Self::Running(path) => call(&path, request).await,
            Self::Own(service) => call_own_provider(*service, request).await,
        }
    }
}

/// Calls a provider that runs for this one call, on a socket that nobody else can reach.
async fn call_own_provider(
    service: Service,
    request: MountRequest,
) -> Result<MountResponse, MountCommandError> {
    let folder = PrivateFolder::new(&std::env::temp_dir(), "provider-azure-rs-")
        .map_err(MountCommandError::TemporaryFolder)?;
    let path = folder.path().join("azure-rs.sock");
    let socket = Socket::bind(&path, AllowedUsers::default())?;
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = serve::serve(
        socket,
        service,
        async { _ = stopped.await },
        Duration::from_secs(1),
    );
    let calling = async {
        let response = call(&path, request).await;
        drop(stop);
        response
    };
    let (_, response) = tokio::join!(serving, calling);
    response
}

async fn call(path: &Path, request: MountRequest) -> Result<MountResponse, MountCommandError> {
    let channel = socket::connect(path)
        .await
        .map_err(|source| MountCommandError::NoProvider {
            path: path.to_owned(),
            source,
        })?;
    let mut client = CsiDriverProviderClient::new(channel)
        // Whether the driver would take so much is its flag's matter.
        .max_decoding_message_size(usize::MAX);
    let mut request = tonic::Request::new(request);
    request.set_timeout(CALL_TIMEOUT);
    match client.mount(request).await {
        Ok(response) => Ok(response.into_inner()),
        Err(status) => Err(MountCommandError::Refused {
            code: status.code(),
            message: status.message().to_owned(),
        }),
    }
}

/// Prints what came: never what is in it.
fn print(target: &Path, class: &Class, response: &MountResponse, outcome: Outcome) {
    let path_width = response
        .files
        .iter()
        .map(|file| file.path.len())
        .max()
        .unwrap_or(0)
        .max(4);
    println!(
        "class {} (provider {}) in {}:",
        class.name,
        class.provider,
        target.display()
    );
    println!("{:path_width$}  {:>8}  MODE  VERSION", "PATH", "SIZE");
    for (file, version) in response.files.iter().zip(&response.object_version) {
        println!(
            "{:path_width$}  {:>8}  {:04o}  {}",
            file.path,
            file.contents.len(),
            file.mode,
            version.version
        );
    }
    println!("{outcome}");
}
