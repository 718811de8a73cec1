//! [`Contestant`], a provider that is measured: a binary that the bench starts, or a socket that is there.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use azure_emulator::Emulator;
use tokio::time::{Instant, sleep};

use crate::driver::Driver;
use crate::failure::{Failure, cannot};
use crate::network::Network;
use crate::process::Process;
use crate::provider::{Provider, Started};

/// How long somebody may take to start a provider by hand, and the pause between two looks.
const PATIENCE: Duration = Duration::from_secs(600);
const LOOK: Duration = Duration::from_millis(200);
/// How long a provider that has just answered for the first time is left alone, until it has done what it does
/// at its start.
const SETTLE: Duration = Duration::from_millis(300);

/// A provider, as the command line names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contestant {
    /// To be started, as often as it takes.
    Binary {
        path: PathBuf,
        /// Flags besides those that the bench gives.
        flags: Vec<String>,
    },
    /// Running already, or soon.
    Socket {
        path: PathBuf,
        /// The process behind it, if that is to be looked at.
        process: Option<u32>,
    },
}

/// A provider that listens.
#[derive(Debug)]
pub struct Running {
    /// A connection to it.
    pub driver: Driver,
    /// Such as `azure-rs 0.1.0`.
    pub name: String,
    /// Its process, where that is known.
    pub process: Option<Process>,
    /// Ends it when dropped, if the bench has started it.
    _provider: Option<Provider>,
}

impl Contestant {
    /// Whether the bench can have it in a new process as often as it likes.
    pub fn can_be_cold(&self) -> bool {
        matches!(self, Self::Binary { .. })
    }

    /// The same with one more flag, such as `--name=value`; nothing where it is not the bench that starts it, or its
    /// `--help` does not name the flag.
    pub fn with(&self, flag: &str) -> Option<Self> {
        let Self::Binary { path, flags } = self else {
            return None;
        };
        let name = flag.split('=').next()?;
        let output = Command::new(path).arg("--help").output().ok()?;
        let help =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        help.concat().contains(name).then(|| Self::Binary {
            path: path.clone(),
            flags: [&flags[..], &[flag.to_owned()]].concat(),
        })
    }

    /// Starts it, or connects to it.
    pub async fn start(&self, azure: &Emulator, network: Network) -> Result<Running, Failure> {
        match self {
            Self::Binary { path, flags } => {
                let Started {
                    version,
                    driver,
                    provider,
                    ..
                } = Provider::start(path, flags, azure, network).await?;
                sleep(SETTLE).await;
                Ok(Running {
                    driver,
                    name: version.to_string(),
                    process: Some(provider.process()),
                    _provider: Some(provider),
                })
            }
            Self::Socket { path, process } => {
                let mut driver = Driver::on(wait_for(path).await?).await?;
                Ok(Running {
                    name: driver.version().await?.to_string(),
                    driver,
                    process: process.map(Process),
                    _provider: None,
                })
            }
        }
    }
}

/// Waits until somebody listens.
async fn wait_for(path: &Path) -> Result<UnixStream, Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() > deadline => {
                return Err(cannot(format!("connect to {}", path.display()))(error));
            }
            Err(_) => sleep(LOOK).await,
        }
    }
}
