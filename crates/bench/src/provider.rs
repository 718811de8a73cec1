//! [`Provider`], a provider's binary as a process of its own, for which the emulator is Azure.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use azure_emulator::Emulator;
use tempfile::TempDir;

use crate::driver::{Driver, VersionResponse};
use crate::failure::{Failure, cannot};
use crate::machine::field;

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
    /// The process.
    pub provider: Provider,
}

impl Provider {
    /// Starts one and asks for its version as soon as it listens.
    pub async fn start(binary: &Path, azure: &Emulator) -> Result<Started, Failure> {
        let folder = tempfile::tempdir().map_err(cannot("make a temporary folder"))?;
        let socket = folder.path().join("provider.sock");
        let certificates = folder.path().join("ca.pem");
        fs::write(&certificates, trusted_certificates(azure))
            .map_err(cannot("write the CA's file"))?;
        let log = File::create(folder.path().join("log")).map_err(cannot("write the log"))?;
        let mut command = Command::new(binary);
        command
            .arg(format!("--endpoint=unix://{}", socket.display()))
            // The Go provider has these flags too; a fixed port may be taken.
            .arg("--healthz-port=0")
            .arg("--prometheus-port=0")
            .env_clear()
            .env("HTTPS_PROXY", azure.proxy_url())
            .env("AZURE_POD_IDENTITY_AUTHORITY_HOST", azure.imds_url())
            .env("SSL_CERT_FILE", certificates)
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

    /// The memory of the process that is in RAM now, in bytes: `VmRSS` of proc(5), code that is mapped
    /// from the binary included.
    pub fn resident_memory(&self) -> Result<u64, Failure> {
        let path = format!("/proc/{}/status", self.process.id());
        let status = fs::read_to_string(&path).map_err(cannot(format!("read {path}")))?;
        let kibibytes: u64 = field(&status, "VmRSS")
            .and_then(|value| value.strip_suffix(" kB")?.parse().ok())
            .ok_or_else(|| {
                cannot(format!("find VmRSS in {path}"))(ErrorKind::InvalidData.into())
            })?;
        Ok(kibibytes * 1024)
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
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
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

/// The system's certificates, since reading them is part of starting, and the emulator's.
fn trusted_certificates(azure: &Emulator) -> String {
    let system = SYSTEM_CERTIFICATES
        .iter()
        .find_map(|path| fs::read_to_string(path).ok())
        .unwrap_or_default();
    format!("{system}\n{}", azure.ca_pem())
}
