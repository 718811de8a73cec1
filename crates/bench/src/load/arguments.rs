//! [`Arguments`], the command line of `bench load`.

use std::path::PathBuf;
use std::time::Duration;

use super::contestant::Contestant;
use super::protocol::Protocol;
use crate::failure::{Failure, cannot};
use crate::network::Network;
use crate::pod::VAULT;

/// Repeats of each row, usually and in a short run.
const REPEATS: usize = 7;
const QUICK_REPEATS: usize = 3;

const AFTER_HELP: &str = "\
As root, or where users may make namespaces, everything runs in a network namespace in which the emulator has the
public cloud's own host names and addresses, so that no proxy is between. Elsewhere, and with --socket, providers
reach it through HTTPS_PROXY.";

/// What to measure, and how.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    /// The provider's binary, as it is shipped: a release build
    #[arg(
        value_name = "PROVIDER-BINARY",
        required_unless_present = "socket",
        conflicts_with = "socket"
    )]
    binary: Option<PathBuf>,
    /// Another provider's binary, measured in turn with the first
    #[arg(long, value_name = "BINARY", conflicts_with = "socket")]
    peer: Option<PathBuf>,
    /// What to call the peer, where it does not say its version [default: what it calls itself]
    #[arg(long, value_name = "NAME", requires = "peer")]
    pub peer_name: Option<String>,
    /// One more flag for the provider; may be given several times
    #[arg(
        long = "provider-flag",
        value_name = "FLAG",
        allow_hyphen_values = true
    )]
    flags: Vec<String>,
    /// One more flag for the peer; may be given several times
    #[arg(long = "peer-flag", value_name = "FLAG", allow_hyphen_values = true)]
    peer_flags: Vec<String>,
    /// Socket of a provider that runs already, or soon; the bench says how it reaches the emulator
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Process behind the socket, for its CPU time and memory
    #[arg(long, value_name = "PID", requires = "socket")]
    pid: Option<u32>,
    /// How long vault, Entra ID and IMDS take for an answer, in rows that do not say it themselves; goals count
    /// with the default only
    #[arg(long, value_name = "DURATION", default_value = "20ms", value_parser = humantime::parse_duration)]
    pub latency: Duration,
    /// Only this protocol [default: both; h2 with --socket]
    #[arg(long)]
    protocol: Option<Protocol>,
    /// How often each row is measured [default: 7; 3 with --quick]
    #[arg(long, value_name = "NUMBER")]
    repeats: Option<usize>,
    /// Only rows and curves whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// A short run: fewer repeats, no growth
    #[arg(long)]
    pub quick: bool,
    /// Measure only, and end with 0 whatever the figures are
    #[arg(long)]
    pub no_goals: bool,
    /// Write a page in Markdown, and a picture beside it
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Write everything that was measured as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

impl Arguments {
    /// Enters a network of the bench's own, if the provider is to be started there.
    pub fn enter_network(&self) -> Result<Network, Failure> {
        if self.socket.is_some() {
            Ok(Network::Proxy)
        } else {
            Network::enter([VAULT.to_owned()])
        }
    }

    /// Who is measured; the first has goals.
    pub fn contestants(&self) -> Result<Vec<Contestant>, Failure> {
        if let Some(path) = &self.socket {
            let (path, process) = (path.clone(), self.pid);
            return Ok(vec![Contestant::Socket { path, process }]);
        }
        let binaries = [(&self.binary, &self.flags), (&self.peer, &self.peer_flags)];
        binaries
            .into_iter()
            .filter_map(|(path, flags)| Some((path.as_ref()?, flags)))
            .map(|(path, flags)| {
                // A bare name would be looked up in PATH when it is run.
                let path = std::path::absolute(path).map_err(cannot("find the folder"))?;
                let flags = flags.clone();
                Ok(Contestant::Binary { path, flags })
            })
            .collect()
    }

    /// What is spoken, in this order.
    pub fn protocols(&self) -> Vec<Protocol> {
        match self.protocol {
            Some(only) => vec![only],
            // A provider that runs already keeps what it knows of its vault.
            None if self.socket.is_some() => vec![Protocol::Http2],
            None => vec![Protocol::Http2, Protocol::Http1],
        }
    }

    /// How often each row is measured.
    pub fn repeats(&self) -> usize {
        let usual = if self.quick { QUICK_REPEATS } else { REPEATS };
        self.repeats.unwrap_or(usual).max(1)
    }

    /// Whether a row or a curve is to be measured.
    pub fn want(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| name.contains(only))
    }
}
