//! [`Asked`], who asked which vault, as logs and messages tell it.

use crate::class::assertion::Claims;
use crate::class::cloud::VaultName;
use crate::class::identity::{Identity, IdentityName};
use crate::class::plan::Plan;

/// Who asked which vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The vault's name.
    pub vault: String,
    /// The vault's host.
    pub host: String,
    pub tenant: String,
    pub identity: IdentityName,
    /// Whether the class decides the tenant of its tokens.
    pub chooses_tenant: bool,
    /// What the pod's token says, for a workload identity.
    pub claims: Option<Claims>,
}

impl Asked {
    /// The plan's identity asks this vault.
    pub fn by(plan: &Plan, vault: &VaultName) -> Self {
        Self {
            vault: vault.as_str().to_owned(),
            host: plan.cloud.vault_host(vault),
            tenant: plan.tenant.as_str().to_owned(),
            identity: plan.identity.name(),
            chooses_tenant: plan.identity.chooses_tenant(),
            claims: match &plan.identity {
                Identity::Workload { assertion, .. } | Identity::Binding { assertion, .. } => {
                    Claims::of(assertion)
                }
                _ => None,
            },
        }
    }
}
