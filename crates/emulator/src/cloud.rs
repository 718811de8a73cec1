//! The Azure clouds and the host names that they use; the front and the proxy find out from here
//! who is being asked.

use serde::{Deserialize, Serialize};

/// An Azure cloud that a vault can live in.
///
/// Whatever its cloud, a vault is also reached as `NAME.vault.localhost`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Cloud {
    /// `vault.azure.net` and `login.microsoftonline.com`.
    #[default]
    #[serde(rename = "AzurePublicCloud")]
    Public,
    /// `vault.usgovcloudapi.net` and `login.microsoftonline.us`.
    #[serde(rename = "AzureUSGovernmentCloud")]
    UsGovernment,
    /// `vault.azure.cn` and `login.chinacloudapi.cn`.
    #[serde(rename = "AzureChinaCloud")]
    China,
}

impl Cloud {
    pub(crate) const ALL: [Self; 3] = [Self::Public, Self::UsGovernment, Self::China];

    /// The domain under which this cloud's vaults are named.
    pub fn vault_domain(self) -> &'static str {
        match self {
            Self::Public => "vault.azure.net",
            Self::UsGovernment => "vault.usgovcloudapi.net",
            Self::China => "vault.azure.cn",
        }
    }

    /// Entra ID's host in this cloud.
    pub fn authority_host(self) -> &'static str {
        match self {
            Self::Public => "login.microsoftonline.com",
            Self::UsGovernment => "login.microsoftonline.us",
            Self::China => "login.chinacloudapi.cn",
        }
    }

    /// The host in the `iss` claim of this cloud's access tokens.
    pub(crate) fn issuer_host(self) -> &'static str {
        match self {
            Self::Public | Self::UsGovernment => "sts.windows.net",
            Self::China => "sts.chinacloudapi.cn",
        }
    }
}

/// Who a host name stands for, with or without a port in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A vault; `cloud` is absent under `vault.localhost`.
    Vault { name: String, cloud: Option<Cloud> },
    /// Entra ID; `cloud` is absent for `login.localhost`, which serves every cloud's tenants.
    Login { cloud: Option<Cloud> },
    /// The metadata service's address.
    Imds,
    /// Nobody here.
    Stranger,
}

impl Role {
    pub(crate) fn of(host: &str) -> Self {
        let host = without_port(host).to_ascii_lowercase();
        let vault_domains = Cloud::ALL
            .map(|cloud| (cloud.vault_domain(), Some(cloud)))
            .into_iter()
            .chain([("vault.localhost", None)]);
        for (domain, cloud) in vault_domains {
            if let Some(name) = host.strip_suffix(domain).and_then(|n| n.strip_suffix('.'))
                && !name.is_empty()
                && !name.contains('.')
            {
                let name = name.to_owned();
                return Self::Vault { name, cloud };
            }
        }
        match host.as_str() {
            "login.microsoftonline.com"
            | "login.windows.net"
            | "login.microsoft.com"
            | "sts.windows.net" => Self::Login {
                cloud: Some(Cloud::Public),
            },
            "login.microsoftonline.us" => Self::Login {
                cloud: Some(Cloud::UsGovernment),
            },
            "login.chinacloudapi.cn" | "login.partner.microsoftonline.cn" => Self::Login {
                cloud: Some(Cloud::China),
            },
            "login.localhost" => Self::Login { cloud: None },
            "169.254.169.254" => Self::Imds,
            _ => Self::Stranger,
        }
    }
}

/// The host of `host` or `host:port`.
pub(crate) fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_of_hosts() {
        let vault = |name: &str, cloud| Role::Vault {
            name: name.to_owned(),
            cloud,
        };
        let cases = [
            ("kv1.vault.azure.net", vault("kv1", Some(Cloud::Public))),
            ("KV1.Vault.Azure.Net:443", vault("kv1", Some(Cloud::Public))),
            (
                "kv1.vault.usgovcloudapi.net",
                vault("kv1", Some(Cloud::UsGovernment)),
            ),
            ("kv1.vault.azure.cn:8443", vault("kv1", Some(Cloud::China))),
            ("kv1.vault.localhost:8443", vault("kv1", None)),
            ("a.b.vault.azure.net", Role::Stranger),
            ("vault.azure.net", Role::Stranger),
            (".vault.azure.net", Role::Stranger),
            ("kv1.evilvault.azure.net", Role::Stranger),
            ("login.localhost:1", Role::Login { cloud: None }),
            (
                "login.partner.microsoftonline.cn",
                Role::Login {
                    cloud: Some(Cloud::China),
                },
            ),
            ("169.254.169.254", Role::Imds),
            ("example.com", Role::Stranger),
            ("[::1]:443", Role::Stranger),
        ];
        for (host, role) in cases {
            assert_eq!(Role::of(host), role, "{host}");
        }
    }
}
