//! Host names to addresses by the system's resolver, with a failure that can be told from others.

use std::io;
use std::net::{IpAddr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use thiserror::Error;

/// The system's resolver: `/etc/hosts`, then DNS.
pub(super) struct SystemResolver;

/// A resolver that knows one place, whatever name it is asked for.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// An address.
    At(IpAddr),
    /// The addresses of another name.
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

    fn resolving(self) -> Resolving {
        Box::pin(async move {
            // The port is replaced by the URL's.
            let addresses = self.addresses(0).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Place::Of(name.as_str().to_owned()).resolving()
    }
}

impl Resolve for Place {
    fn resolve(&self, _: Name) -> Resolving {
        self.clone().resolving()
    }
}
