//! [`Cloud`], the Azure cloud that a vault lives in: where its tokens come from, and under which
//! domain its vaults answer.

pub mod environment_file;

use std::borrow::Cow;

use thiserror::Error;

use crate::class::property::{Spelling, clouds};
use crate::text::excerpt::Excerpt;

/// The endpoints of one Azure cloud.
///
/// Source: Microsoft's "Azure Key Vault security worlds and geographic boundaries" and "National
/// clouds" (Entra ID), and the names that `cloudName` has had since go-autorest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cloud {
    authority: Cow<'static, str>,
    vault_domain: Cow<'static, str>,
}

const PUBLIC: Cloud = known("https://login.microsoftonline.com", "vault.azure.net");
const US_GOVERNMENT: Cloud = known(
    "https://login.microsoftonline.us",
    "vault.usgovcloudapi.net",
);
const CHINA: Cloud = known("https://login.chinacloudapi.cn", "vault.azure.cn");

/// The audience of tokens that Entra ID exchanges in Microsoft's public cloud.
pub const PUBLIC_AUDIENCE: &str = "api://AzureADTokenExchange";
const US_GOVERNMENT_AUDIENCE: &str = "api://AzureADTokenExchangeUSGov";
const CHINA_AUDIENCE: &str = "api://AzureADTokenExchangeChina";

const fn known(authority: &'static str, vault_domain: &'static str) -> Cloud {
    Cloud {
        authority: Cow::Borrowed(authority),
        vault_domain: Cow::Borrowed(vault_domain),
    }
}

/// What `cloudName` (and `cloudEnvFileName` with it) asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloudChoice {
    /// Nothing: the operator's default.
    Default,
    /// One of Microsoft's clouds.
    Known(Cloud),
    /// An Azure Stack, whose endpoints are in the file that `cloudEnvFileName` names, or in the
    /// operator's where that is empty.
    Stack {
        /// `cloudEnvFileName`
        file: String,
    },
}

/// Why there is no such cloud.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CloudError {
    /// Not a name of a cloud.
    #[error("cloudName: expected {names}, found {0}", names = clouds::all_names())]
    Unknown(String),
    /// The cloud was closed on 2021-10-29.
    #[error(
        "cloudName: AzureGermanCloud was closed in October 2021; its successor regions (Germany West \
         Central, Germany North) belong to AzurePublicCloud"
    )]
    GermanyIsClosed,
}

impl CloudChoice {
    /// Reads `cloudName`, in any case, and `cloudEnvFileName`.
    pub fn new(name: &str, file: &str) -> Result<Self, CloudError> {
        let name = name.trim();
        if name.is_empty() {
            return Ok(Self::Default);
        }
        if name.eq_ignore_ascii_case("AzureGermanCloud") {
            return Err(CloudError::GermanyIsClosed);
        }
        match Spelling::find(clouds::SPELLINGS, name) {
            Some(clouds::PUBLIC) => Ok(Self::Known(PUBLIC)),
            Some(clouds::US_GOVERNMENT) => Ok(Self::Known(US_GOVERNMENT)),
            Some(clouds::CHINA) => Ok(Self::Known(CHINA)),
            Some(clouds::STACK) => Ok(Self::Stack {
                file: file.to_owned(),
            }),
            _ => Err(CloudError::Unknown(Excerpt(name).to_string())),
        }
    }
}

impl Cloud {
    /// Microsoft's public cloud.
    pub fn public() -> Self {
        PUBLIC
    }

    /// A cloud with endpoints of its own: an `https` URL without a path, and a domain.
    fn of_its_own(authority: String, vault_domain: String) -> Self {
        Self {
            authority: authority.into(),
            vault_domain: vault_domain.into(),
        }
    }

    /// Where Entra ID gives tokens for this cloud: an `https` URL without a trailing slash.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The audience that federated credentials have in this cloud if they name no other.
    ///
    /// Source: Microsoft's "Configure an app to trust an external identity provider", on audiences, and the defaults
    /// of the SDKs' federated credentials by cloud.
    pub fn token_audience(&self) -> &'static str {
        match self.authority.strip_prefix("https://").unwrap_or_default() {
            "login.microsoftonline.us" => US_GOVERNMENT_AUDIENCE,
            "login.chinacloudapi.cn" | "login.partner.microsoftonline.cn" => CHINA_AUDIENCE,
            _ => PUBLIC_AUDIENCE,
        }
    }

    /// What tokens for its vaults are for, such as `https://vault.azure.net`, where that is documented. A
    /// cloud with endpoints of its own may have another one, which its vaults say.
    pub fn vault_resource(&self) -> Option<String> {
        match &self.vault_domain {
            Cow::Borrowed(domain) => Some(format!("https://{domain}")),
            Cow::Owned(_) => None,
        }
    }

    /// The host of a vault. Host names are compared in lower case, and names of vaults have no case.
    pub fn vault_host(&self, vault: &VaultName) -> String {
        format!("{}.{}", vault.as_str(), self.vault_domain).to_ascii_lowercase()
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
            ("AzurePublicCloud", "kv1.vault.azure.net"),
            ("azurecloud", "kv1.vault.azure.net"),
            ("AzureUSGovernmentCloud", "kv1.vault.usgovcloudapi.net"),
            (" AzureUSGovernment ", "kv1.vault.usgovcloudapi.net"),
            ("AZURECHINACLOUD", "kv1.vault.azure.cn"),
        ] {
            let Ok(CloudChoice::Known(cloud)) = CloudChoice::new(name, "/a/file") else {
                panic!("{name} is a cloud");
            };
            assert_eq!(
                cloud.vault_host(&VaultName::new("KV1").unwrap()),
                host,
                "{name}"
            );
        }
        assert_eq!(CloudChoice::new("", "/a/file"), Ok(CloudChoice::Default));
        let stack = CloudChoice::Stack {
            file: "/a/file".into(),
        };
        assert_eq!(CloudChoice::new("AzureStackCloud", "/a/file"), Ok(stack));
        assert_eq!(
            CloudChoice::new("AzureGermanCloud", ""),
            Err(CloudError::GermanyIsClosed)
        );
        assert_eq!(
            CloudChoice::new("moon", ""),
            Err(CloudError::Unknown("\"moon\"".into()))
        );
    }

    #[test]
    fn each_cloud_has_its_audience() {
        for (cloud, audience) in [
            (PUBLIC, "api://AzureADTokenExchange"),
            (US_GOVERNMENT, "api://AzureADTokenExchangeUSGov"),
            (CHINA, "api://AzureADTokenExchangeChina"),
            (
                Cloud::of_its_own(US_GOVERNMENT.authority().to_owned(), "vault.local".into()),
                "api://AzureADTokenExchangeUSGov",
            ),
            (
                Cloud::of_its_own("https://login.local".into(), "vault.local".into()),
                "api://AzureADTokenExchange",
            ),
        ] {
            assert_eq!(cloud.token_audience(), audience, "{}", cloud.authority());
        }
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
