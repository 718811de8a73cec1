//! Host names to addresses by the system's resolver, with a failure that can be told from others.

use std::io;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use thiserror::Error;

/// The system's resolver: `/etc/hosts`, then DNS.
pub(super) struct SystemResolver;

/// The resolver gave no address.
#[derive(Debug, Error)]
#[error(transparent)]
pub(super) struct DnsError(io::Error);

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // The port is replaced by the URL's.
            let addresses: Vec<_> = tokio::net::lookup_host((name.as_str(), 0))
                .await
                .map_err(DnsError)?
                .collect();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}
