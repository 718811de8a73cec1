//! [`Node`], what a Kubernetes node would be: a folder, a provider that serves on a socket in it, and
//! the commands that are run beside it.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use crate::azure::{Azure, SECRET, sha256};
use crate::failure::{Failure, Result, cannot};

/// The provider's binary, as it is called on a command line.
const NAME: &str = "provider-azure-rs";

/// How long a provider may take to listen. It takes milliseconds; a machine may be busy.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// How long a process without calls under way may take to end.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// The binary that was asked for, else the one that the same build put beside this program.
pub fn binary(asked: Option<PathBuf>) -> Result<PathBuf> {
    let this = std::env::current_exe().map_err(cannot("find this program's own folder"))?;
    let path = asked.unwrap_or_else(|| this.with_file_name(NAME));
    // Commands run in another folder than this process.
    let found = path.canonicalize().ok().filter(|path| path.is_file());
    found.ok_or_else(|| Failure::NoProvider(path.display().to_string()))
}

/// The node. When dropped it ends its processes and removes its folder, without waiting;
/// [`Node::close`] waits.
pub struct Node {
    binary: PathBuf,
    /// What its programs take for Azure.
    pub azure: Azure,
    // Processes are dropped, and so ended, before the folder in which they write.
    command: Option<Child>,
    provider: Option<Child>,
    folder: TempDir,
}

/// What an app sees. Two moments are compared by all of it.
#[derive(Debug)]
pub struct Volume {
    /// Where `..data` points to.
    pub data: String,
    /// Where the name that the app opens points to.
    pub link: String,
    /// The file's mode, in octal.
    pub mode: String,
    /// SHA-256 of the file.
    pub digest: String,
    #[expect(dead_code, reason = "is compared as `Debug` shows it")]
    written: SystemTime,
}

impl Volume {
    fn read(folder: &Path) -> io::Result<Self> {
        let link = |name| fs::read_link(folder.join(name)).map(|to| to.display().to_string());
        let file = folder.join(SECRET);
        let found = fs::metadata(&file)?;
        Ok(Self {
            data: link("..data")?,
            link: link(SECRET)?,
            mode: format!("{:04o}", found.permissions().mode() & 0o7777),
            digest: sha256(fs::read(file)?),
            written: found.modified()?,
        })
    }
}

/// What a command said.
pub struct Said {
    pub status: ExitStatus,
    pub output: String,
    pub complaint: String,
}

impl Node {
    /// A folder for nobody else, in the system's temporary one.
    pub fn new(binary: PathBuf, azure: Azure) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("azure-rs-demo-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
            .map_err(cannot("make a temporary folder"))?;
        fs::write(folder.path().join("ca.pem"), azure.emulator.ca_pem())
            .map_err(cannot("write the CA's file"))?;
        Ok(Self {
            binary,
            azure,
            command: None,
            provider: None,
            folder,
        })
    }

    /// Where everything is: `$DEMO` of command lines.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn volume(&self) -> Result<Volume> {
        Volume::read(&self.folder().join("volume")).map_err(cannot("look into $DEMO/volume"))
    }

    /// What the provider has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder().join("provider.log")).unwrap_or_default()
    }

    /// Starts the provider by a command line. Gives the time until it listens.
    pub async fn start_provider(&mut self, line: &str) -> Result<Duration> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder().join("provider.log"));
        let log = log.map_err(cannot("write the provider's log"))?;
        let started = Instant::now();
        let provider = self.spawn(line, Stdio::null(), log.into())?;
        let socket = self.folder().join("azure-rs.sock");
        let listening = async {
            while UnixStream::connect(&socket).await.is_err() {
                sleep(Duration::from_millis(2)).await;
            }
        };
        let what = tokio::select! {
            () = listening => return Ok(started.elapsed()),
            status = self.provider.insert(provider).wait() => {
                format!("ended at once ({})", status.map_err(cannot("look after the provider"))?)
            }
            () = sleep(START_PATIENCE) => "does not listen".to_owned(),
        };
        Err(Failure::Provider(what))
    }

    /// Ends the provider as Kubernetes does. Gives its exit status, if it was running.
    pub async fn stop_provider(&mut self) -> Result<Option<ExitStatus>> {
        end(&mut self.provider)
            .await
            .map_err(cannot("end the provider"))
    }

    /// Runs a command line.
    pub async fn run(&mut self, line: &str) -> Result<Said> {
        // It stays here until it has ended, so that `close` can wait for it wherever this function is left.
        let command = self.spawn(line, Stdio::piped(), Stdio::piped())?;
        let command = self.command.insert(command);
        let (Some(mut stdout), Some(mut stderr)) = (command.stdout.take(), command.stderr.take())
        else {
            unreachable!("both are piped, and nobody else takes them");
        };
        let (mut output, mut complaint) = (String::new(), String::new());
        let (_, _, status) = tokio::try_join!(
            stdout.read_to_string(&mut output),
            stderr.read_to_string(&mut complaint),
            command.wait()
        )
        .map_err(cannot("read what the command says"))?;
        self.command = None;
        Ok(Said {
            status,
            output,
            complaint,
        })
    }

    /// Ends what still runs, waits for it, and removes the folder.
    pub async fn close(mut self) -> Result {
        end(&mut self.command)
            .await
            .map_err(cannot("end the command"))?;
        self.stop_provider().await?;
        self.folder
            .close()
            .map_err(cannot("remove the temporary folder"))
    }

    fn spawn(&self, line: &str, output: Stdio, complaint: Stdio) -> Result<Child> {
        let expand = |text: &str| text.replace("$DEMO", &self.folder().to_string_lossy());
        let (name, arguments) = line.split_once(' ').unwrap_or((line, ""));
        let program = if name == NAME {
            &*self.binary
        } else {
            Path::new(name)
        };
        let mut command = Command::new(program);
        // Nothing else of the user's environment, such as a proxy. Listings look the same wherever the demo runs.
        command.env_clear().envs([("LC_ALL", "C"), ("TZ", "UTC")]);
        command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        for (name, value) in self.azure.variables() {
            command.env(name, expand(&value));
        }
        command
            .args(arguments.split(' ').map(expand))
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(complaint)
            // Ctrl-C reaches the demo alone, which then ends the others in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(cannot(format!("run {}", program.display())))
    }
}

/// Ends a process, if there is one: SIGTERM, and SIGKILL if that is not enough.
async fn end(process: &mut Option<Child>) -> io::Result<Option<ExitStatus>> {
    let Some(child) = process else {
        return Ok(None);
    };
    // There is an id as long as nobody has waited for the process, so it can be no other's.
    if let Some(pid) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
        kill_process(pid, Signal::TERM)?;
    }
    if timeout(STOP_PATIENCE, child.wait()).await.is_err() {
        child.start_kill()?;
    }
    let status = child.wait().await?;
    *process = None;
    Ok(Some(status))
}
