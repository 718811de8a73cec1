//! Where a host is: its addresses by the system's resolver, with a failure that can be told from others.

use std::io;
use std::net::{IpAddr, SocketAddr};

use thiserror::Error;
use url::Host;

/// Where a host is.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// At an address.
    At(IpAddr),
    /// Wherever the system's resolver finds a name: `/etc/hosts`, then DNS.
    Of(String),
}

/// The resolver gave no address.
#[derive(Debug, Error)]
#[error(transparent)]
pub(super) struct DnsError(io::Error);

impl DnsError {
    /// Whether the resolver could not say (`EAI_AGAIN`), rather than that there is no address. The standard
    /// library has no code for it, only the C library's words.
    pub(super) fn is_temporary(&self) -> bool {
        let words = self.0.to_string();
        words.contains("Temporary failure") || words.contains("Try again")
    }
}

impl Place {
    /// The place of a URL's host.
    pub(super) fn of(host: &Host<&str>) -> Self {
        match host {
            Host::Ipv4(address) => Self::At((*address).into()),
            Host::Ipv6(address) => Self::At((*address).into()),
            Host::Domain(name) => Self::Of((*name).to_owned()),
        }
    }

    /// The addresses, with a port.
    pub(super) async fn addresses(&self, port: u16) -> Result<Vec<SocketAddr>, DnsError> {
        match self {
            Self::At(address) => Ok(vec![(*address, port).into()]),
            Self::Of(name) => Ok(tokio::net::lookup_host((name.as_str(), port))
                .await
                .map_err(DnsError)?
                .collect()),
        }
    }
}
