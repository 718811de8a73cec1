//! [`Requests`], what Azure was asked for the sake of some mounts.

use azure_emulator::Counts;
use serde::Serialize;

use crate::pod::VAULT;

/// The emulator's counters, as far as they tell how gentle a provider is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Requests {
    /// To the vault, with a token that it took.
    pub vault: u64,
    /// To the vault, answered with 401.
    pub challenges: u64,
    /// To Entra ID, those for metadata included.
    pub entra: u64,
    pub imds: u64,
    /// Connections opened, to any of them.
    pub connections: u64,
    /// The most requests to the vault that were under way at once.
    pub vault_at_once: u64,
    /// The same for IMDS.
    pub imds_at_once: u64,
}

impl From<Counts> for Requests {
    fn from(counts: Counts) -> Self {
        let vault = counts.vaults.get(VAULT).cloned().unwrap_or_default();
        let challenges = vault.challenges + vault.unauthorized;
        Self {
            vault: vault.requests - challenges,
            challenges,
            entra: counts.entra.requests,
            imds: counts.imds.requests,
            connections: counts.connections.tls + counts.connections.imds,
            vault_at_once: vault.max_in_flight,
            imds_at_once: counts.imds.max_in_flight,
        }
    }
}
