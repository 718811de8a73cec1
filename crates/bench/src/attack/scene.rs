//! [`Scene`], an emulated Azure and a provider for one attack.

use std::fs;
use std::net::{Ipv6Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use azure_emulator::{Emulator, ManagedIdentity};
use futures::stream::{self, StreamExt as _};
use tempfile::TempDir;

use super::class::{ATTACKERS, SECRET};
use crate::driver::Driver;
use crate::failure::{Failure, cannot};
use crate::network::Network;
use crate::pod::{NODE, Pod};
use crate::provider::{Provider, Started};

/// How long the provider is told to give mounts when it is asked to end.
pub const DRAIN: std::time::Duration = std::time::Duration::from_secs(2);

/// Where an attack takes place.
#[derive(Debug)]
pub struct Scene {
    pub azure: Emulator,
    pub provider: Provider,
    /// The driver's connection, on which everyone mounts.
    pub driver: Driver,
    /// The port of the health check.
    pub health: u16,
    /// The port of the metrics.
    pub metrics: u16,
    /// Has what the provider's flags name.
    _folder: TempDir,
}

/// What an attack needs there to be.
pub struct Props<'a> {
    /// What there is in Azure before.
    pub prepare: &'a dyn Fn(&Emulator),
    /// The provider's flags.
    pub flags: Vec<String>,
    /// The most files that the provider may have open.
    pub open_files: Option<u32>,
    /// Has what the flags name.
    pub folder: TempDir,
}

impl Scene {
    /// Starts the emulator with everyone in it, and the provider.
    pub async fn set(props: Props<'_>, binary: &Path, network: Network) -> Result<Self, Failure> {
        let azure = Emulator::start(network.settings()).await?;
        azure
            .imds()
            .assign(ManagedIdentity::user_assigned(NODE, NODE));
        let vault = azure.vault(ATTACKERS);
        vault.allow_everyone();
        vault.set_secret(SECRET, "the attacker's value");
        (props.prepare)(&azure);

        let (folder, mut flags) = (props.folder, props.flags);
        let [health, metrics] = free_ports()?;
        flags.extend([
            format!("--healthz-port={health}"),
            format!("--prometheus-port={metrics}"),
            format!("--drain-timeout={}s", DRAIN.as_secs()),
        ]);
        let binary = match props.open_files {
            Some(most) => limited(binary, most, folder.path())?,
            None => binary.to_owned(),
        };
        let Started {
            driver, provider, ..
        } = Provider::start(&binary, &flags, &azure, network).await?;
        Ok(Self {
            azure,
            provider,
            driver,
            health,
            metrics,
            _folder: folder,
        })
    }

    /// Mounts all of these, so many at once, whatever comes of it.
    pub async fn mount_all(&self, at_once: usize, pods: impl IntoIterator<Item = Pod>) {
        stream::iter(pods)
            .for_each_concurrent(at_once, |pod| {
                let mut driver = self.driver.clone();
                async move { _ = driver.mount(&pod).await }
            })
            .await;
    }

    /// Mounts these again and again, all at once, without an end.
    pub async fn mount_forever(&self, pods: impl IntoIterator<Item = Pod>) {
        let mounting = pods.into_iter().map(|pod| {
            let mut driver = self.driver.clone();
            async move {
                loop {
                    _ = driver.mount(&pod).await;
                    tokio::task::yield_now().await;
                }
            }
        });
        futures::future::join_all(mounting).await;
    }
}

/// Two ports that are free now: at all addresses, where the provider listens. One that is free at one address may be taken
/// at another, by a connection of an earlier attack that has ended a moment ago.
fn free_ports() -> Result<[u16; 2], Failure> {
    let find = || {
        let listen = || {
            TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0))
                .or_else(|_| TcpListener::bind(("0.0.0.0", 0)))
        };
        // Both at once, so that they are not the same.
        let (one, other) = (listen()?, listen()?);
        Ok([one.local_addr()?.port(), other.local_addr()?.port()])
    };
    find().map_err(cannot("find a free port"))
}

/// The program with a limit on open files. (A limit is a process's own, and this one needs more.)
fn limited(binary: &Path, most: u32, folder: &Path) -> Result<PathBuf, Failure> {
    let path = folder.join("limited");
    let script = format!(
        "#!/bin/sh\nulimit -n {most} && exec '{}' \"$@\"\n",
        binary.display()
    );
    fs::write(&path, script)
        .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o700)))
        .map_err(cannot("write a script"))?;
    Ok(path)
}
