//! `provider-azure-rs mount`: the driver's and the kubelet's part, so that an app can be run on a
//! developer's machine with its production class.
//!
//! Reads a class from its manifest, calls a provider as the driver does, writes the answer as the
//! driver does, and says what came, never what is in it.

mod manifest;
mod volume;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use thiserror::Error;
use tokio::sync::oneshot;
use tonic::Code;

use crate::commands::mount::manifest::{Class, ManifestError};
use crate::commands::mount::volume::{Outcome, Volume, VolumeError};
use crate::commands::serve::{self, ServiceSetupError};
use crate::generated::v1alpha1::csi_driver_provider_client::CsiDriverProviderClient;
use crate::generated::v1alpha1::{MountRequest, MountResponse};
use crate::identity::WORKLOAD_IDENTITY_AUDIENCE;
use crate::private_folder::PrivateFolder;
use crate::settings::MountSettings;
use crate::socket::{self, AllowedUsers, Socket, SocketError};

/// Longer than the kubelet waits, for providers that give up late.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);

/// Why nothing was mounted.
#[derive(Debug, Error)]
pub enum MountCommandError {
    /// The manifest has no class that can be mounted.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The token file.
    #[error("--token-file {}: cannot be read", path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The folder that stands for `nodePublishSecretRef`.
    #[error("--node-publish-secret {}: cannot be read as files of text", path.display())]
    NodePublishSecret {
        /// The folder, or a file in it.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
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
        /// The socket.
        path: PathBuf,
        /// Why.
        source: tonic::transport::Error,
    },
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
    let request = request(&settings, &class)?;
    let stopped = serve::stop_signal().map_err(MountCommandError::Signals)?;
    let response = tokio::select! {
        response = ask(&settings, request) => response?,
        // Ending here, and not by the signal itself, removes what was made for the call.
        () = stopped => return Err(MountCommandError::Stopped),
    };
    if response.object_version.is_empty() {
        return Err(MountCommandError::NoObjectVersions);
    }
    let outcome = Volume::at(&settings.target)?.write(&response.files)?;
    print(&settings.target, &class, &response, outcome);
    Ok(())
}

async fn ask(
    settings: &MountSettings,
    request: MountRequest,
) -> Result<MountResponse, MountCommandError> {
    match &settings.endpoint {
        Some(path) => call(path, request).await,
        None => call_own_provider(settings, request).await,
    }
}

/// What the driver would send.
fn request(settings: &MountSettings, class: &Class) -> Result<MountRequest, MountCommandError> {
    let pod = &settings.pod;
    let mut attributes = json!(class.parameters);
    let namespace = pod
        .namespace
        .as_deref()
        .or(class.namespace.as_deref())
        .unwrap_or("default");
    attributes["csi.storage.k8s.io/pod.name"] = json!(pod.pod_name);
    attributes["csi.storage.k8s.io/pod.namespace"] = json!(namespace);
    attributes["csi.storage.k8s.io/serviceAccount.name"] = json!(pod.service_account);
    attributes["csi.storage.k8s.io/ephemeral"] = json!("true");
    if let Some(path) = &pod.token_file {
        let token =
            std::fs::read_to_string(path).map_err(|source| MountCommandError::TokenFile {
                path: path.clone(),
                source,
            })?;
        let tokens = json!({ WORKLOAD_IDENTITY_AUDIENCE: { "token": token.trim() } });
        attributes["csi.storage.k8s.io/serviceAccount.tokens"] = json!(tokens.to_string());
    }
    Ok(MountRequest {
        attributes: attributes.to_string(),
        secrets: json!(node_publish_secret(pod.node_publish_secret.as_deref())?).to_string(),
        target_path: settings.target.display().to_string(),
        permission: settings.permission.bits().to_string(),
        current_object_version: Vec::new(),
    })
}

/// The Secret's data as the kubelet gives it to the driver: by the names of the files, hidden ones left
/// out.
fn node_publish_secret(
    folder: Option<&Path>,
) -> Result<BTreeMap<String, String>, MountCommandError> {
    let Some(folder) = folder else {
        return Ok(BTreeMap::new());
    };
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| MountCommandError::NodePublishSecret { path, source }
    };
    let mut data = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(failed(folder))? {
        let path = entry.map_err(failed(folder))?.path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if path.is_file() && !name.starts_with('.') {
            data.insert(name, std::fs::read_to_string(&path).map_err(failed(&path))?);
        }
    }
    Ok(data)
}

/// Calls a provider that runs for this one call, on a socket that nobody else can reach.
async fn call_own_provider(
    settings: &MountSettings,
    request: MountRequest,
) -> Result<MountResponse, MountCommandError> {
    let folder = PrivateFolder::within(&std::env::temp_dir(), "provider-azure-rs-")
        .map_err(MountCommandError::TemporaryFolder)?;
    let path = folder.path().join("azure-rs.sock");
    let service = serve::service(&settings.provider)?;
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
