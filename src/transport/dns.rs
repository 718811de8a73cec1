//! [`Place`], where a host is.

use std::net::{IpAddr, SocketAddr};

use url::Host;

use crate::transport::names::{DnsError, Names};

/// Where a host is.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// At an address.
    At(IpAddr),
    /// Wherever the system's resolver finds a name: `/etc/hosts`, then DNS.
    Of(String),
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

    /// The addresses, with a port; at least one.
    pub(super) async fn addresses(
        &self,
        names: &Names,
        port: u16,
    ) -> Result<Vec<SocketAddr>, DnsError> {
        match self {
            Self::At(address) => Ok(vec![(*address, port).into()]),
            Self::Of(name) => names.addresses(name, port).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use dns_lookup::LookupError;

    use super::*;
    use crate::transport::TransportError;
    use crate::transport::proxy::WayError;
    use crate::transport::stream::ConnectError;

    fn failure(number: i32) -> ConnectError {
        DnsError::from(LookupError::new(number)).into()
    }

    #[test]
    fn a_name_that_leads_nowhere_is_told_from_other_failures() {
        // As Linux numbers them: EAI_NONAME, EAI_AGAIN.
        for (number, is_temporary, words) in [
            (
                -2,
                false,
                "failed to lookup address information: Name or service not known",
            ),
            (
                -3,
                true,
                "failed to lookup address information: Temporary failure in name resolution",
            ),
        ] {
            let error = TransportError::unconnected("h", failure(number));
            let TransportError::Dns {
                temporary, problem, ..
            } = error
            else {
                panic!("{error}");
            };
            assert_eq!((temporary, problem.as_str()), (is_temporary, words));
        }
        // The proxy's name says nothing about the server's.
        let error = TransportError::unconnected("h", WayError::Connect(failure(-2)));
        assert!(matches!(error, TransportError::Connect { .. }), "{error}");
        assert!(
            error
                .to_string()
                .contains("the proxy cannot be reached: failed to lookup"),
            "{error}"
        );
    }
}
