//! [`Network`], the way by which providers reach the emulated Azure.
//!
//! A proxy costs time that no provider spends in production, and a Go program sends what is for IMDS to
//! 169.254.169.254 whatever its variables say. In a network of its own the bench can be all of these hosts itself.

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use azure_emulator::{Emulator, Settings};
use tempfile::NamedTempFile;

use crate::failure::{Failure, cannot};

/// Says to a bench that it is in its own network: it was started by [`Network::enter`] of another one, which it
/// has replaced.
const MARK: &str = "BENCH_IN_ITS_OWN_NETWORK";

/// Where programs look for IMDS.
const IMDS: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

/// Makes a namespace a place where Azure's hosts are this machine, by a hosts file of its own, and so is the nameserver for
/// all other names, which nobody answers unless the bench does. (Where there is no resolv.conf, that is so anyway.)
const FURNISH: &str = "ip link set lo up && ip address add 169.254.169.254/32 dev lo && mount --bind \"$1\" /etc/hosts \
    && { [ ! -e /etc/resolv.conf ] || mount --bind \"$2\" /etc/resolv.conf; }";

/// How a provider's requests come to the emulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// By the hosts' own names and addresses, which are this machine's in the bench's own network namespace.
    Own,
    /// By `HTTPS_PROXY`, and an address for IMDS in a variable.
    Proxy,
}

impl Network {
    /// A network of the bench's own where the system lets it have one: as root, or with user namespaces for
    /// everyone. This process is then replaced by itself in there, so call it before anything else. Vaults of these names
    /// are there.
    pub fn enter(vaults: impl IntoIterator<Item = String>) -> Result<Self, Failure> {
        if std::env::var_os(MARK).is_some() {
            furnish(vaults)?;
            return Ok(Self::Own);
        }
        let mut probe = unshare();
        probe.args(["sh", "-c", FURNISH, "sh", "/etc/hosts", "/etc/hosts"]);
        if !probe
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
        {
            return Ok(Self::Proxy);
        }
        let this = std::env::current_exe().map_err(cannot("find the bench's own binary"))?;
        let error = unshare()
            .arg(this)
            .args(std::env::args_os().skip(1))
            .env(MARK, "yes")
            .exec();
        Err(cannot("enter a network of its own")(error))
    }

    /// Where an emulator listens, so that this is the way.
    pub fn settings(self) -> Settings {
        match self {
            Self::Own => Settings {
                https_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 443)),
                imds_listen: SocketAddr::from((IMDS, 80)),
                ..Settings::default()
            },
            Self::Proxy => Settings::default(),
        }
    }

    /// What a provider's environment has to say, so that this is the way.
    pub fn variables(self, azure: &Emulator) -> Vec<(&'static str, String)> {
        match self {
            Self::Own => Vec::new(),
            Self::Proxy => vec![
                ("HTTPS_PROXY", azure.proxy_url().to_owned()),
                (
                    "AZURE_POD_IDENTITY_AUTHORITY_HOST",
                    azure.imds_url().to_owned(),
                ),
            ],
        }
    }

    /// For people.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Own => {
                "providers reach the emulator by Azure's own host names, in a network namespace"
            }
            Self::Proxy => {
                "providers reach the emulator through a proxy, which costs them time (as root there is a \
                 network namespace instead), and a provider in Go does not find its IMDS"
            }
        }
    }
}

/// `unshare(1)`, with namespaces for a network, for mounts, and for the user who may change them.
fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--net", "--mount"]);
    command.args(["--propagation", "private", "--"]);
    command
}

/// Does to this namespace what was tried in another one.
fn furnish(vaults: impl IntoIterator<Item = String>) -> Result<(), Failure> {
    let mut hosts = "127.0.0.1 localhost login.microsoftonline.com\n".to_owned();
    for vault in vaults {
        hosts += &["127.0.0.1 ", &vault, ".vault.azure.net\n"].concat();
    }
    let (hosts, resolver) = (file(&hosts)?, file("nameserver 127.0.0.1\n")?);
    // What is mounted stays when its own name has gone.
    let status = Command::new("sh")
        .args(["-c", FURNISH, "sh"])
        .args([hosts.path(), resolver.path()])
        .status();
    match status.map_err(cannot("run sh"))? {
        status if status.success() => Ok(()),
        status => Err(cannot("set up a network namespace")(io::Error::other(
            status.to_string(),
        ))),
    }
}

/// A file for as long as this is kept.
fn file(text: &str) -> Result<NamedTempFile, Failure> {
    let mut file = NamedTempFile::new().map_err(cannot("make a temporary file"))?;
    file.write_all(text.as_bytes())
        .map_err(cannot("write a temporary file"))?;
    Ok(file)
}
