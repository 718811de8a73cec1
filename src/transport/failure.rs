//! [`TransportError`], what goes wrong between a request and a successful answer to it, and the words for it.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;

use crate::os::open_files;
use crate::text::excerpt::one_line;
use crate::transport::names::DnsError;
use crate::transport::{MAX_BODY, MAX_HEADERS, in_chain, trust};

/// What went wrong between a request and a successful answer to it.
#[derive(Clone, Debug, Error)]
pub enum TransportError {
    /// The host has no address.
    #[error("{host} has no address: {problem}")]
    Dns {
        /// The host that was asked for.
        host: String,
        /// Whether nobody could say, rather than that there is none.
        temporary: bool,
        /// The resolver's own words.
        problem: String,
    },
    /// The server's certificate does not prove that it is the host.
    #[error("the TLS certificate of {host} is not accepted: {problem}")]
    Certificate {
        /// The host that was asked for.
        host: String,
        /// What is wrong with it.
        problem: String,
    },
    /// There is no connection, and so nothing was sent.
    #[error("no connection to {host}: {problem}")]
    Connect {
        /// The host that was asked for.
        host: String,
        /// The last cause in the chain.
        problem: String,
        /// The whole chain.
        source: Arc<dyn StdError + Send + Sync>,
    },
    /// This process has as many files open as it may, connections among them.
    #[error(
        "no connection to {host}: the provider has no file descriptor left (it may open {limit} files, connections \
         included)"
    )]
    OutOfFiles {
        /// The host that was asked for.
        host: String,
        /// The most that it may open.
        limit: usize,
    },
    /// The connection ended before the answer did.
    #[error("the connection to {host} broke: {problem}")]
    Interrupted {
        /// The host that was asked for.
        host: String,
        /// The last cause in the chain.
        problem: String,
        /// The whole chain.
        source: Arc<dyn StdError + Send + Sync>,
    },
    /// No answer in time.
    #[error("{}", too_long(host, *phase, after.as_secs()))]
    Timeout {
        /// The host that was asked for.
        host: String,
        /// What it was expected to do.
        phase: Phase,
        /// The time it had.
        after: Duration,
    },
    /// An answer that no Azure service gives.
    #[error("{host} answered with more than {MAX_BODY} bytes")]
    TooLarge {
        /// The host that was asked for.
        host: String,
    },
    /// An answer with headers that no Azure service gives.
    #[error(
        "{host} answered with more than {MAX_HEADERS} bytes of headers, or with malformed ones"
    )]
    Headers {
        /// The host that was asked for.
        host: String,
    },
    /// A request that cannot be sent.
    #[error("the header {name} of a request to {host} cannot be sent")]
    Header {
        host: String,
        /// The header's name.
        name: String,
    },
    /// A 401 that is no challenge of the vault's.
    #[error("{host} answered 401 without the challenge that Key Vault gives")]
    Challenge {
        /// The host of the vault.
        host: String,
    },
    /// A request that would carry a vault's token to another host.
    #[error("{vault} points to {}, which gets no token", one_line(found, 253))]
    ForeignHost {
        /// The host of the vault.
        vault: String,
        /// The host it points to.
        found: String,
    },
    /// An answer with a status that is no success.
    #[error("{0}")]
    Refused(Refusal),
}

/// What was going on when time ran out, in the order of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The host's addresses are looked up.
    Dns,
    /// TCP.
    Connect,
    /// The proxy is asked for the way to the host.
    Proxy,
    Tls,
    Answer,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dns => "be found in DNS",
            Self::Connect => "accept a TCP connection",
            Self::Proxy => "be reached through the proxy",
            Self::Tls => "complete the TLS handshake",
            Self::Answer => "answer",
        })
    }
}

/// An answer with a status that is no success.
#[derive(Clone)]
pub struct Refusal {
    /// The host that answered.
    pub host: String,
    /// The HTTP status.
    pub status: u16,
    /// What the header `Retry-After` says, where it gives seconds.
    pub retry_after: Option<Duration>,
    /// The body: the service's error as JSON, or whatever stands in its way.
    pub body: Bytes,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} answered with HTTP status {}", self.host, self.status)
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusal")
            .field("host", &self.host)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

impl TransportError {
    /// Whether the server, or the way to it, is out of order.
    pub fn is_outage(&self) -> bool {
        self.is_transient() || matches!(self, Self::Timeout { .. })
    }

    /// There is no connection: what the resolver or the certificate says, or else the last cause.
    pub(super) fn unconnected(host: &str, error: impl StdError + Send + Sync + 'static) -> Self {
        known_failure(host, &error).unwrap_or_else(|| Self::Connect {
            host: host.to_owned(),
            problem: without_link(&one_line(&root_cause(&error).to_string(), 160)),
            source: Arc::new(error),
        })
    }

    /// This process can open no connection.
    pub(super) fn no_file(host: &str) -> Self {
        Self::OutOfFiles {
            host: host.to_owned(),
            limit: open_files::limit(),
        }
    }

    /// The connection broke while it was in use.
    pub(super) fn interrupted(host: &str, error: impl StdError + Send + Sync + 'static) -> Self {
        known_failure(host, &error).unwrap_or_else(|| Self::Interrupted {
            host: host.to_owned(),
            problem: without_link(&one_line(&root_cause(&error).to_string(), 160)),
            source: Arc::new(error),
        })
    }

    /// Whether the same request may succeed a moment later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::OutOfFiles { .. }
            | Self::Interrupted { .. }
            | Self::Dns {
                temporary: true, ..
            } => true,
            Self::Refused(refusal) => matches!(refusal.status, 408 | 429 | 500 | 502..=504),
            _ => false,
        }
    }
}

/// What went wrong, where it is the resolver's or the certificate's doing.
fn known_failure(host: &str, error: &(dyn StdError + 'static)) -> Option<TransportError> {
    let host = host.to_owned();
    if let Some(source) = in_chain::<DnsError>(error) {
        let problem = one_line(&source.to_string(), 160);
        return Some(TransportError::Dns {
            host,
            temporary: source.temporary,
            problem,
        });
    }
    let problem = trust::failure_in(error)?;
    Some(TransportError::Certificate { host, problem })
}

/// What took too long. DNS is not the host's doing.
fn too_long(host: &str, phase: Phase, seconds: u64) -> String {
    match phase {
        Phase::Dns => format!("DNS did not answer within {seconds} s where {host} is"),
        phase => format!("{host} took longer than {seconds} s to {phase}"),
    }
}

/// Some libraries add where to read on, for programmers.
fn without_link(problem: &str) -> String {
    problem
        .split(": https://")
        .next()
        .unwrap_or_default()
        .to_owned()
}

fn root_cause<'a>(error: &'a (dyn StdError + 'static)) -> &'a (dyn StdError + 'static) {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause
}
