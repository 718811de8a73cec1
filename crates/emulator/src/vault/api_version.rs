//! The versions of the REST API and which of them a vault knows.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::errors::VaultError;

/// From old to new, as the clients of azure-sdk-for-python name them; a preview comes before its release.
const VERSIONS: [&str; 22] = [
    "2015-06-01",
    "2016-10-01",
    "7.0-preview",
    "7.0",
    "7.1-preview",
    "7.1",
    "7.2-preview",
    "7.2",
    "7.3-preview",
    "7.3",
    "7.4-preview.1",
    "7.4",
    "7.5-preview.1",
    "7.5",
    "7.6-preview.1",
    "7.6-preview.2",
    "7.6",
    "2025-06-01-preview",
    "2025-07-01",
    "2026-01-01-preview",
    "2026-03-01-preview",
    "2026-04-01",
];

/// A released or previewed version of Key Vault's REST API, such as `7.4` or `2025-07-01`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ApiVersion(usize);

impl ApiVersion {
    /// The newest of the public cloud.
    pub const LATEST: Self = Self(VERSIONS.len() - 1);

    /// As it is written in `api-version`.
    pub fn as_str(self) -> &'static str {
        VERSIONS[self.0]
    }

    /// Whether its answers tell `recoverableDays`: not in those recorded with 7.0.
    pub(crate) fn tells_recoverable_days(self) -> bool {
        VERSIONS[..self.0].contains(&"7.0")
    }
}

impl FromStr for ApiVersion {
    type Err = VaultError;

    fn from_str(text: &str) -> Result<Self, VaultError> {
        VERSIONS
            .iter()
            .position(|known| known.eq_ignore_ascii_case(text))
            .map(Self)
            .ok_or_else(|| VaultError::unknown_version(text, Self::LATEST))
    }
}

impl TryFrom<String> for ApiVersion {
    type Error = VaultError;

    fn try_from(text: String) -> Result<Self, VaultError> {
        text.parse()
    }
}

impl From<ApiVersion> for String {
    fn from(version: ApiVersion) -> Self {
        version.as_str().to_owned()
    }
}

/// The version that a request names, if a vault whose latest one is `latest` knows it.
pub(crate) fn asked(text: Option<&str>, latest: ApiVersion) -> Result<ApiVersion, VaultError> {
    let text = text.filter(|text| !text.is_empty()).ok_or_else(|| {
        VaultError::bad_parameter("The request URI must contain the query parameter api-version")
    })?;
    text.parse()
        .ok()
        .filter(|version| *version <= latest)
        .ok_or_else(|| VaultError::unknown_version(text, latest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_vault_knows() {
        let hub: ApiVersion = "7.1".parse().unwrap();
        for (text, latest, known) in [
            ("7.4", ApiVersion::LATEST, true),
            ("2025-07-01", ApiVersion::LATEST, true),
            ("2016-10-01", hub, true),
            ("7.1", hub, true),
            ("7.2", hub, false),
            ("2025-07-01", hub, false),
            ("7.9", ApiVersion::LATEST, false),
            ("2099-01-01", ApiVersion::LATEST, false),
            ("", ApiVersion::LATEST, false),
        ] {
            assert_eq!(asked(Some(text), latest).is_ok(), known, "{text}");
        }
        assert_eq!(
            asked(Some("2025-07-01"), hub).unwrap_err().message,
            "The specified version (2025-07-01) is not recognized. Consider using the latest \
             supported version (7.1)."
        );
        let tells = |text: &str| text.parse::<ApiVersion>().unwrap().tells_recoverable_days();
        assert_eq!(
            ["2016-10-01", "7.0", "7.1", "7.4", "2025-07-01"].map(tells),
            [false, false, true, true, true]
        );
    }
}
