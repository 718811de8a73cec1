//! [`Node`], what a Kubernetes node would be: a folder, a provider that serves on a socket in it, and
//! the commands that are run beside it.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use crate::azure::Azure;
use crate::binary::NAME;
use crate::failure::{Failure, cannot};
use crate::volume::Volume;

/// The class, as a path from the workspace's root, in which commands run.
pub const CLASS: &str = "examples/openai/secretproviderclass-azure-rs.yaml";
/// The class as it is deployed for the Go provider.
pub const DEPLOYED_CLASS: &str = "examples/openai/secretproviderclass.yaml";

/// How long a provider may take to listen. It takes milliseconds; a machine may be busy.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// How long a provider without calls under way may take to end.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// The node. When dropped it ends its processes and removes its folder, without waiting;
/// [`Node::close`] waits.
#[derive(Debug)]
pub struct Node {
    binary: PathBuf,
    environment: Vec<(&'static str, String)>,
    // Processes are dropped, and so ended, before the folder in which they write.
    command: Option<Child>,
    provider: Option<Child>,
    folder: TempDir,
}

/// What a command said.
#[derive(Debug)]
pub struct Said {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub output: String,
    /// Its standard error.
    pub complaint: String,
}

impl Node {
    /// A folder for nobody else, in the system's temporary one.
    pub fn new(binary: PathBuf) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new()
            .prefix("azure-rs-demo-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
            .map_err(cannot("make a temporary folder"))?;
        Ok(Self {
            binary,
            environment: Vec::new(),
            command: None,
            provider: None,
            folder,
        })
    }

    /// Where everything is.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The volume that the class is mounted to.
    pub fn volume(&self) -> Volume {
        Volume::at(self.folder().join("volume"))
    }

    /// From now on programs on this node reach this Azure, and see nothing of the user's environment,
    /// such as a proxy.
    pub fn connect(&mut self, azure: &Azure) -> Result<(), Failure> {
        let ca = self.folder().join("ca.pem");
        fs::write(&ca, azure.ca_pem()).map_err(cannot("write the CA's file"))?;
        self.environment = vec![("SSL_CERT_FILE", ca.display().to_string())];
        for (name, value) in azure.environment() {
            self.environment.push((name, value.to_owned()));
        }
        Ok(())
    }

    /// The command line that makes this node's programs reach the Azure that it is connected to.
    pub fn export_line(&self) -> String {
        let variables = self
            .environment
            .iter()
            .map(|(name, value)| format!(" {name}={value}"));
        format!("export{}", variables.collect::<String>())
    }

    /// The command line that starts the provider.
    pub fn serve_line(&self) -> String {
        format!("{NAME} {} &", self.serve_arguments().join(" "))
    }

    /// The command line that mounts the class.
    pub fn mount_line(&self) -> String {
        format!("{NAME} {}", self.mount_arguments().join(" "))
    }

    /// Starts the provider. Gives the time until it listens.
    pub async fn start_provider(&mut self) -> Result<Duration, Failure> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file())
            .map_err(cannot("write the provider's log"))?;
        let started = Instant::now();
        let provider = self
            .program(&self.serve_arguments())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(cannot(format!("run {}", self.binary.display())))?;
        let socket = self.socket();
        let provider = self.provider.insert(provider);
        while UnixStream::connect(&socket).await.is_err() {
            let ended = provider
                .try_wait()
                .map_err(cannot("look after the provider"))?;
            let what = match ended {
                Some(status) => format!("ended at once ({status})"),
                None if started.elapsed() > START_PATIENCE => "does not listen".to_owned(),
                None => {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    continue;
                }
            };
            return Err(Failure::Provider { what });
        }
        Ok(started.elapsed())
    }

    /// Ends the provider as Kubernetes does: SIGTERM, and SIGKILL if that is not enough. Gives its exit
    /// status, if it was running.
    pub async fn stop_provider(&mut self) -> Result<Option<ExitStatus>, Failure> {
        let Some(provider) = &mut self.provider else {
            return Ok(None);
        };
        // There is an id as long as nobody has waited for the process, so it can be no other's.
        if let Some(pid) = provider.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            kill_process(pid, Signal::TERM)
                .map_err(|error| cannot("end the provider")(error.into()))?;
        }
        let status = match tokio::time::timeout(STOP_PATIENCE, provider.wait()).await {
            Ok(status) => status,
            Err(_) => match provider.start_kill() {
                Ok(()) => provider.wait().await,
                Err(error) => Err(error),
            },
        };
        self.provider = None;
        status.map(Some).map_err(cannot("wait for the provider"))
    }

    /// Mounts the class by way of the provider.
    pub async fn mount(&mut self) -> Result<Said, Failure> {
        let command = self
            .program(&self.mount_arguments())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(cannot(format!("run {}", self.binary.display())))?;
        // It stays here until it has ended, so that `close` can wait for it wherever this function is
        // left.
        let command = self.command.insert(command);
        let (output, complaint) = (command.stdout.take(), command.stderr.take());
        let (output, complaint, status) =
            tokio::try_join!(text(output), text(complaint), command.wait())
                .map_err(cannot("read what the command says"))?;
        self.command = None;
        Ok(Said {
            status,
            output,
            complaint,
        })
    }

    /// What the provider has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// Ends what still runs, waits for it, and removes the folder.
    pub async fn close(mut self) -> Result<(), Failure> {
        if let Some(mut command) = self.command.take() {
            command.kill().await.map_err(cannot("end the command"))?;
        }
        self.stop_provider().await?;
        self.folder
            .close()
            .map_err(cannot("remove the temporary folder"))
    }

    fn program(&self, arguments: &[String]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
            .stdin(Stdio::null())
            // Ctrl-C reaches the demo alone, which then ends the others in order.
            .process_group(0)
            .kill_on_drop(true);
        command
    }

    fn serve_arguments(&self) -> Vec<String> {
        // Without the health check over HTTP and the metrics, whose ports may be taken here.
        [
            "serve",
            "--endpoint",
            &self.endpoint(),
            "--healthz-port",
            "0",
            "--prometheus-port",
            "0",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    fn mount_arguments(&self) -> Vec<String> {
        let target = self.volume().path().display().to_string();
        let endpoint = self.endpoint();
        ["mount", CLASS, "--endpoint", &endpoint, "--target", &target]
            .map(str::to_owned)
            .to_vec()
    }

    fn endpoint(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    fn socket(&self) -> PathBuf {
        self.folder().join("azure-rs.sock")
    }

    fn log_file(&self) -> PathBuf {
        self.folder().join("provider.log")
    }
}

async fn text(stream: Option<impl AsyncRead + Unpin>) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        stream.read_to_end(&mut bytes).await?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
