//! [`Access`], what one mount wants, in the form in which [rules](super::rule) compare it.

use serde::Deserialize;

use crate::class::cloud::{Cloud, VaultName};
use crate::class::identity::{Identity, IdentityId};
use crate::class::request::Pod;

/// What stands for the machine's own identity, for which a class has no ID. Where a machine has none of its
/// own and one user-assigned identity, IMDS gives that one.
pub const SYSTEM_ASSIGNED: &str = "systemAssigned";

/// The kinds of identity, by the words of the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum IdentityKind {
    /// The pod's own, by a federated credential.
    Workload,
    /// The pod's own, by an AKS identity binding.
    Binding,
    /// An application with a client secret.
    ServicePrincipal,
    /// The node's.
    Managed,
}

/// Who wants to ask which vault as whom.
#[derive(Debug)]
pub struct Access<'a> {
    /// The pod's namespace, as the kubelet tells it.
    pub namespace: &'a str,
    /// The pod's service account, as the kubelet tells it; empty where nobody does.
    pub service_account: &'a str,
    /// The vault's name, in lower case.
    pub vault: String,
    /// The rest of its host, in lower case.
    pub domain: String,
    /// Whether its cloud is the one of classes that name none.
    pub in_default_cloud: bool,
    /// Which kind of identity asks.
    pub kind: IdentityKind,
    /// The same, as messages call it.
    pub kind_in_words: &'static str,
    /// Which one of that kind, as a class writes it.
    pub identity: String,
}

impl<'a> Access<'a> {
    /// What a pod wants from a vault of this cloud.
    pub fn new(
        pod: &'a Pod,
        vault: &VaultName,
        cloud: &Cloud,
        identity: &Identity,
        default_cloud: &Cloud,
    ) -> Self {
        let host = cloud.vault_host(vault);
        // A vault's name has no dot.
        let (vault, domain) = host.split_once('.').unwrap_or((&host, ""));
        let kind = match identity {
            Identity::Workload { .. } => IdentityKind::Workload,
            Identity::Binding { .. } => IdentityKind::Binding,
            Identity::ServicePrincipal { .. } => IdentityKind::ServicePrincipal,
            Identity::Managed(_) => IdentityKind::Managed,
        };
        let name = identity.name();
        Self {
            namespace: &pod.namespace,
            service_account: &pod.service_account,
            vault: vault.to_owned(),
            domain: domain.to_owned(),
            in_default_cloud: cloud == default_cloud,
            kind,
            kind_in_words: name.kind,
            identity: as_written(&name.id),
        }
    }
}

/// As `clientID` or `userAssignedIdentityID` has it.
fn as_written(identity: &IdentityId) -> String {
    match identity {
        IdentityId::SystemAssigned => SYSTEM_ASSIGNED.to_owned(),
        IdentityId::ClientId(id) | IdentityId::ResourceId(id) => id.clone(),
        IdentityId::ObjectId(id) => format!("objectID:{id}"),
    }
}
