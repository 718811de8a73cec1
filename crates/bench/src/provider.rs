//! [`Provider`], a provider's binary as a process of its own, for which the emulator is Azure.

use std::fs::{self, File};
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use azure_emulator::Emulator;
use nix::sys::signal::{Signal, kill};
use tempfile::TempDir;

use crate::driver::{Driver, VersionResponse};
use crate::failure::{Failure, cannot};
use crate::network::Network;
use crate::process::Process;

/// How long a provider may take to listen.
const PATIENCE: Duration = Duration::from_secs(30);
/// The pause between two looks at the socket. What is measured is exact to this.
const LOOK: Duration = Duration::from_micros(200);

/// Where distributions keep the certificates that a production image has too.
const SYSTEM_CERTIFICATES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// A running provider. It is killed when dropped.
#[derive(Debug)]
pub struct Provider {
    process: Child,
    folder: TempDir,
}

/// A provider that has answered once.
#[derive(Debug)]
pub struct Started {
    /// From the call that makes the process to the answer.
    pub took: Duration,
    /// What it answered.
    pub version: VersionResponse,
    /// The connection it answered on.
    pub driver: Driver,
    pub provider: Provider,
}

impl Provider {
    /// Starts one and asks for its version as soon as it listens.
    pub async fn start(
        binary: &Path,
        flags: &[String],
        azure: &Emulator,
        network: Network,
    ) -> Result<Started, Failure> {
        let folder = tempfile::tempdir().map_err(cannot("make a temporary folder"))?;
        let socket = folder.path().join("provider.sock");
        let certificates = folder.path().join("ca.pem");
        fs::write(&certificates, trusted_certificates(azure))
            .map_err(cannot("write the CA's file"))?;
        let log = File::create(folder.path().join("log")).map_err(cannot("write the log"))?;
        let mut command = Command::new(binary);
        command
            .arg(format!("--endpoint=unix://{}", socket.display()))
            .args(flags)
            .args(ports(flags))
            .env_clear()
            .envs(network.variables(azure))
            .env("SSL_CERT_FILE", certificates)
            // Some write logs there.
            .env("TMPDIR", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);

        let started = Instant::now();
        let process = command
            .spawn()
            .map_err(cannot(format!("run {}", binary.display())))?;
        let mut provider = Self { process, folder };
        let stream = provider.wait_for(&socket, started)?;
        let mut driver = Driver::on(stream).await?;
        let version = driver.version().await?;
        Ok(Started {
            took: started.elapsed(),
            version,
            driver,
            provider,
        })
    }

    /// The socket, as the flag `--endpoint` names it.
    pub fn endpoint(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// One more connection to it.
    pub async fn connect(&self) -> Result<Driver, Failure> {
        let stream = UnixStream::connect(self.socket()).map_err(cannot("connect to the socket"))?;
        Driver::on(stream).await
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Asks it to end, as the kubelet does.
    pub fn terminate(&self) -> Result<(), Failure> {
        kill(self.process().into(), Signal::SIGTERM)
            .map_err(io::Error::from)
            .map_err(cannot("send SIGTERM to the provider"))
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("provider.sock")
    }

    /// The process, to look at.
    pub fn process(&self) -> Process {
        Process(self.process.id())
    }

    /// Blocks this thread, because a timer of the runtime is no finer than a millisecond.
    fn wait_for(&mut self, socket: &Path, started: Instant) -> Result<UnixStream, Failure> {
        loop {
            if let Ok(stream) = UnixStream::connect(socket) {
                return Ok(stream);
            }
            let ended = self.process.try_wait();
            let what = match ended.map_err(cannot("look after the provider"))? {
                Some(status) => format!("ended at once ({status})"),
                None if started.elapsed() > PATIENCE => "does not listen".to_owned(),
                None => {
                    std::thread::sleep(LOOK);
                    continue;
                }
            };
            let log = self.log();
            return Err(Failure::Provider { what, log });
        }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        // It has nothing to end in order: its folder goes next.
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// No ports, unless flags say which: fixed ones may be taken. The Go provider has these flags too.
fn ports(flags: &[String]) -> impl Iterator<Item = &'static str> {
    let given = |flag: &str| {
        let name = flag.trim_end_matches('0');
        flags.iter().any(|given| given.starts_with(name))
    };
    ["--healthz-port=0", "--prometheus-port=0"]
        .into_iter()
        .filter(move |flag| !given(flag))
}

/// The system's certificates, since reading them is part of starting, and the emulator's.
pub fn trusted_certificates(azure: &Emulator) -> String {
    let system = SYSTEM_CERTIFICATES
        .iter()
        .find_map(|path| fs::read_to_string(path).ok())
        .unwrap_or_default();
    format!("{system}\n{}", azure.ca_pem())
}
