//! How long a vault's deleted objects can be recovered, which every object of it tells.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::api_version::ApiVersion;

/// A vault's protection of deleted objects ("Azure Key Vault soft-delete overview").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Recovery {
    /// How many days a deleted object is kept: 7 to 90.
    #[serde(deserialize_with = "days")]
    pub retention_days: u8,
    /// Whether nobody can purge it before.
    pub purge_protection: bool,
}

fn days<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    let days = u8::deserialize(deserializer)?;
    if (7..=90).contains(&days) {
        return Ok(days);
    }
    Err(D::Error::custom("retentionDays must be between 7 and 90"))
}

impl Default for Recovery {
    fn default() -> Self {
        Self {
            retention_days: 90,
            purge_protection: false,
        }
    }
}

impl Recovery {
    /// The `recoveryLevel` of the vault's objects (`DeletionRecoveryLevel` of the REST API).
    pub fn level(self) -> &'static str {
        match (self.retention_days >= 90, self.purge_protection) {
            (true, false) => "Recoverable+Purgeable",
            (true, true) => "Recoverable",
            (false, false) => "CustomizedRecoverable+Purgeable",
            (false, true) => "CustomizedRecoverable",
        }
    }
}

/// What a request's answer tells of every object.
#[derive(Clone, Debug)]
pub(crate) struct View {
    /// `https://` and the vault's host, where identifiers start.
    pub(crate) base: String,
    pub(crate) recovery: Recovery,
    pub(crate) version: ApiVersion,
}
