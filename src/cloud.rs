//! [`Cloud`], the Azure cloud that a vault lives in: where its tokens come from, and under which
//! domain its vaults answer.

use thiserror::Error;

use crate::excerpt::Excerpt;

/// The endpoints of one Azure cloud.
///
/// Source: Microsoft's "Azure Key Vault security worlds and geographic boundaries" and "National
/// clouds" (Entra ID), and the names that `cloudName` has had since go-autorest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cloud {
    authority: &'static str,
    vault_domain: &'static str,
}

const PUBLIC: Cloud = Cloud {
    authority: "https://login.microsoftonline.com",
    vault_domain: "vault.azure.net",
};
const US_GOVERNMENT: Cloud = Cloud {
    authority: "https://login.microsoftonline.us",
    vault_domain: "vault.usgovcloudapi.net",
};
const CHINA: Cloud = Cloud {
    authority: "https://login.chinacloudapi.cn",
    vault_domain: "vault.azure.cn",
};

/// Why there is no such cloud.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CloudError {
    /// Not a name of a cloud.
    #[error(
        "cloudName: expected AzurePublicCloud, AzureUSGovernmentCloud or AzureChinaCloud, found {0}"
    )]
    Unknown(String),
    /// The cloud was closed on 2021-10-29.
    #[error(
        "cloudName: AzureGermanCloud was closed in October 2021; its successor regions (Germany West \
         Central, Germany North) belong to AzurePublicCloud"
    )]
    GermanyIsClosed,
}

impl Cloud {
    /// The cloud with this name, in any case; the public cloud where it is empty.
    pub fn named(name: &str) -> Result<Self, CloudError> {
        match name.trim().to_ascii_uppercase().as_str() {
            "" | "AZUREPUBLICCLOUD" | "AZUREPUBLIC" | "AZURECLOUD" => Ok(PUBLIC),
            "AZUREUSGOVERNMENTCLOUD" | "AZUREUSGOVERNMENT" => Ok(US_GOVERNMENT),
            "AZURECHINACLOUD" | "AZURECHINA" => Ok(CHINA),
            "AZUREGERMANCLOUD" => Err(CloudError::GermanyIsClosed),
            _ => Err(CloudError::Unknown(Excerpt(name).to_string())),
        }
    }

    /// Where Entra ID gives tokens for this cloud: an `https` URL without a trailing slash.
    pub fn authority(&self) -> &str {
        self.authority
    }

    /// The host of a vault.
    pub fn vault_host(&self, vault: &VaultName) -> String {
        format!("{}.{}", vault.as_str(), self.vault_domain)
    }
}

/// The name of a vault, known to be one that can stand in a host name.
///
/// Source: Key Vault's naming rules, 3 to 24 letters, digits and hyphens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VaultName(String);

impl VaultName {
    /// The vault with this name, if it can be one.
    pub fn new(name: &str) -> Option<Self> {
        let fits = (3..=24).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        fits.then(|| Self(name.to_owned()))
    }

    /// The name as the class has it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clouds_have_their_known_names() {
        for (name, host) in [
            ("", "kv1.vault.azure.net"),
            ("AzurePublicCloud", "kv1.vault.azure.net"),
            ("azurecloud", "kv1.vault.azure.net"),
            ("AzureUSGovernmentCloud", "kv1.vault.usgovcloudapi.net"),
            (" AzureUSGovernment ", "kv1.vault.usgovcloudapi.net"),
            ("AZURECHINACLOUD", "kv1.vault.azure.cn"),
        ] {
            let cloud = Cloud::named(name).unwrap();
            assert_eq!(
                cloud.vault_host(&VaultName::new("kv1").unwrap()),
                host,
                "{name}"
            );
        }
        assert_eq!(
            Cloud::named("AzureGermanCloud"),
            Err(CloudError::GermanyIsClosed)
        );
        assert_eq!(
            Cloud::named("moon"),
            Err(CloudError::Unknown("\"moon\"".into()))
        );
    }

    #[test]
    fn a_vault_name_can_stand_in_a_host_name() {
        for name in ["kv1", "ai-chat-kv-1763873634", "-A-", &"a".repeat(24)] {
            assert!(VaultName::new(name).is_some(), "{name}");
        }
        for name in [
            "",
            "kv",
            "kv1.evil.com",
            "kv1/",
            "kv_1",
            "kv 1",
            "kvé1",
            "kv1#",
            &"a".repeat(25),
        ] {
            assert!(VaultName::new(name).is_none(), "{name}");
        }
    }
}
