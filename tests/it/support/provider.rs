//! The provider's binary as a process, and the driver's client to it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use azure_emulator::Emulator;
use provider_azure_rs::generated::v1alpha1::csi_driver_provider_client::CsiDriverProviderClient;
use provider_azure_rs::generated::v1alpha1::{MountRequest, MountResponse};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

/// How long anything in a test may take before it counts as hanging.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A running provider. Ended with this value.
pub struct Provider {
    process: Child,
    folder: TempDir,
    socket: PathBuf,
    client: CsiDriverProviderClient<Channel>,
}

impl Provider {
    /// Starts one that trusts other certificates than Azure's.
    pub async fn start_trusting(azure: &Emulator, certificates: &str) -> Self {
        Self::start_by(azure, &[], |command, folder| {
            let file = folder.join("others.pem");
            fs::write(&file, certificates).unwrap();
            command.env("SSL_CERT_FILE", file);
        })
        .await
    }

    /// Starts one whose way out of the node is another proxy than the emulator.
    pub async fn start_behind(azure: &Emulator, proxy: &str, flags: &[&str]) -> Self {
        Self::start_by(azure, flags, |command, _| {
            command.env("HTTPS_PROXY", proxy);
        })
        .await
    }

    /// Starts one that sees the emulator as Azure, as a production node would see Azure by way of a
    /// proxy: no flag or variable is one for tests.
    pub async fn start(azure: &Emulator, flags: &[&str]) -> Self {
        Self::start_by(azure, flags, |_, _| {}).await
    }

    /// Starts one on this socket, in place of whoever serves there.
    pub async fn start_at(azure: &Emulator, socket: &Path) -> Self {
        Self::spawn(azure, &[], Some(socket), |_, _| {}).await
    }

    /// Starts one in an environment or by a command line of the test's own.
    pub async fn start_by(
        azure: &Emulator,
        flags: &[&str],
        change: impl FnOnce(&mut Command, &Path),
    ) -> Self {
        Self::spawn(azure, flags, None, change).await
    }

    async fn spawn(
        azure: &Emulator,
        flags: &[&str],
        socket: Option<&Path>,
        change: impl FnOnce(&mut Command, &Path),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let own = || folder.path().join("azure-rs.sock");
        let socket = socket.map_or_else(own, Path::to_owned);
        let before = inode(&socket);
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut command = command(azure, folder.path());
        command
            .arg("--endpoint")
            .arg(format!("unix://{}", socket.display()))
            .args(flags);
        // A fixed port is nothing for tests that run side by side.
        for port in ["--healthz-port", "--prometheus-port"] {
            if !flags.iter().any(|flag| flag.starts_with(port)) {
                command.args([port, "0"]);
            }
        }
        change(&mut command, folder.path());
        let process = command
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        if before.is_some() {
            let replaced = async {
                while inode(&socket) == before {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            };
            let replaced = tokio::time::timeout(PATIENCE, replaced).await;
            replaced.expect("the provider takes the socket over");
        }
        let client = CsiDriverProviderClient::new(connect(&socket).await);
        Self {
            process,
            folder,
            socket,
            client,
        }
    }

    pub fn socket(&self) -> PathBuf {
        self.socket.clone()
    }

    /// The driver's client.
    pub fn client(&self) -> CsiDriverProviderClient<Channel> {
        self.client.clone()
    }

    pub async fn mount(&self, request: MountRequest) -> Result<MountResponse, Status> {
        let mut request = tonic::Request::new(request);
        request.set_timeout(PATIENCE);
        self.client()
            .mount(request)
            .await
            .map(tonic::Response::into_inner)
    }

    /// Everything that it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    pub fn id(&self) -> u32 {
        self.process.id().expect("the provider runs")
    }

    /// The most memory that it has had, in kB.
    pub fn peak_memory(&self) -> u64 {
        self.status_of("VmHWM:")
    }

    /// The memory that it has now, in kB.
    pub fn memory(&self) -> u64 {
        self.status_of("VmRSS:")
    }

    fn status_of(&self, what: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let value = status.lines().find_map(|line| line.strip_prefix(what));
        value
            .unwrap()
            .trim_end_matches("kB")
            .trim()
            .parse()
            .unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        let id = self.id().cast_signed();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    /// The exit status, once it has ended.
    pub async fn ended(&mut self) -> std::process::ExitStatus {
        tokio::time::timeout(PATIENCE, self.process.wait())
            .await
            .expect("the provider ends")
            .unwrap()
    }
}

/// The provider's binary in an environment in which Azure is the emulator.
pub fn command(azure: &Emulator, folder: &Path) -> Command {
    let ca = folder.join("ca.pem");
    fs::write(&ca, azure.ca_pem()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_provider-azure-rs"));
    command
        .env_clear()
        .env("HTTPS_PROXY", azure.proxy_url())
        .env("HTTP_PROXY", azure.proxy_url())
        .env("SSL_CERT_FILE", ca)
        // A fixed port is nothing for tests that run side by side.
        .env("PROVIDER_AZURE_RS_PROMETHEUS_PORT", "0")
        .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", azure.imds_url());
    command
}

/// What tells one provider's socket from another's at the same path.
fn inode(socket: &Path) -> Option<u64> {
    Some(fs::metadata(socket).ok()?.ino())
}

/// A channel to a socket, once somebody listens on it.
pub async fn connect(socket: &Path) -> Channel {
    let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display())).unwrap();
    let connecting = async {
        loop {
            match endpoint.connect().await {
                Ok(channel) => return channel,
                Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    };
    tokio::time::timeout(PATIENCE, connecting)
        .await
        .expect("the provider listens")
}
