//! [`AddressKind`], which networks an address is of. It tells a vault's private endpoint from its public one.

use std::net::IpAddr;

use serde::Serialize;

/// Which networks an address is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AddressKind {
    /// Of the Internet.
    Public,
    /// Of a private network (RFC 1918, RFC 4193).
    Private,
    /// Of the machine itself.
    Loopback,
    /// Of the machine's own link, such as IMDS' (RFC 3927, RFC 4291).
    LinkLocal,
}

impl AddressKind {
    /// The kind of an address.
    pub fn of(address: IpAddr) -> Self {
        let (loopback, link_local, private) = match address.to_canonical() {
            IpAddr::V4(address) => (
                address.is_loopback(),
                address.is_link_local(),
                address.is_private(),
            ),
            IpAddr::V6(address) => (
                address.is_loopback(),
                address.is_unicast_link_local(),
                address.is_unique_local(),
            ),
        };
        if loopback {
            Self::Loopback
        } else if link_local {
            Self::LinkLocal
        } else if private {
            Self::Private
        } else {
            Self::Public
        }
    }

    /// The word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
            Self::Loopback => "loopback",
            Self::LinkLocal => "link-local",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_apart() {
        for (address, expected) in [
            ("20.50.1.2", AddressKind::Public),
            ("10.1.2.3", AddressKind::Private),
            ("172.31.0.1", AddressKind::Private),
            ("172.32.0.1", AddressKind::Public),
            ("192.168.0.1", AddressKind::Private),
            ("169.254.169.254", AddressKind::LinkLocal),
            ("127.0.0.1", AddressKind::Loopback),
            ("::1", AddressKind::Loopback),
            ("fd00::1", AddressKind::Private),
            ("fe80::1", AddressKind::LinkLocal),
            ("2603:1030::1", AddressKind::Public),
            ("::ffff:10.0.0.1", AddressKind::Private),
        ] {
            assert_eq!(
                AddressKind::of(address.parse().unwrap()),
                expected,
                "{address}"
            );
        }
    }
}
