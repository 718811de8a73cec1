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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::TransportError;
    use crate::transport::proxy::WayError;
    use crate::transport::stream::ConnectError;

    fn failure(words: &str) -> ConnectError {
        DnsError(io::Error::other(words.to_owned())).into()
    }

    #[test]
    fn a_name_that_leads_nowhere_is_told_from_other_failures() {
        for (words, is_temporary) in [
            (
                "failed to lookup address information: Name or service not known",
                false,
            ),
            (
                "failed to lookup address information: Temporary failure in name resolution",
                true,
            ),
        ] {
            let error = TransportError::unconnected("h", failure(words));
            let TransportError::Dns {
                temporary, problem, ..
            } = error
            else {
                panic!("{error}");
            };
            assert_eq!((temporary, problem.as_str()), (is_temporary, words));
        }
        // The proxy's name says nothing about the server's.
        let error = TransportError::unconnected("h", WayError::Connect(failure("unknown")));
        assert!(matches!(error, TransportError::Connect { .. }), "{error}");
        assert!(
            error
                .to_string()
                .contains("the proxy cannot be reached: unknown"),
            "{error}"
        );
    }
}
