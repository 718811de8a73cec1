//! What is said when a vault answers 403: there are as many fixes as there are ways to be denied.

use super::ids::{named, or_placeholder, who};
use super::rights::Missing;
use super::{Explanation, Reason};
use crate::azure::vault::VaultError;
use crate::azure::vault::refusal::VaultRefusal;
use crate::class::asked::Asked;
use crate::class::object::{ObjectKind, ObjectVersion};
use crate::mount::{ObjectFailure, ObjectProblem};

/// Why Key Vault itself denies something.
pub(super) fn of_denial(
    asked: &Asked,
    refusal: &VaultRefusal,
    object: Option<&ObjectFailure>,
) -> Explanation {
    let vault = &asked.vault;
    let what = object.map_or_else(|| "an object".to_owned(), named);
    let refused = format!(
        "Key Vault {vault:?} refused {:?} on {what} to {}",
        refusal.operation.permission(),
        who(asked, refusal)
    );
    let kind = object.map_or(ObjectKind::Secret, |object| object.fetch.kind);
    let missing = Missing::of(&[(kind, refusal.operation)]);
    let message = &refusal.message;
    let (reason, cause, fix) = match kind_of(refusal) {
        Denial::AccessPolicy => (
            Reason::KvAccessDenied,
            format!(
                "{refused}: its access policies do not allow it (az keyvault set-policy replaces an identity's \
                 permissions, so the fix repeats those that it has)"
            ),
            missing.set_policy(vault, object_id(refusal)),
        ),
        Denial::Role => (
            Reason::KvRbacDenied,
            format!(
                "{refused}: it has no role assignment that allows it (a new assignment can take up to ten minutes to take effect)"
            ),
            missing.assign_roles(vault, object_id(refusal)),
        ),
        Denial::Connection => (
            Reason::KvFirewallDenied,
            format!(
                "{refused}: it takes no calls from public networks, and this one did not come through its private \
                 endpoint; the usual cause is a private DNS zone that is not linked to the cluster's network: {message}"
            ),
            private_endpoint(asked),
        ),
        Denial::Firewall => (
            Reason::KvFirewallDenied,
            format!("{refused}: its firewall does not let the node in: {message}"),
            format!(
                "az keyvault network-rule add --name {vault} --subnet SUBNET-ID-OF-THE-NODES, or give the nodes a \
                 private endpoint to it"
            ),
        ),
        Denial::Disabled => (
            Reason::KvObjectDisabled,
            format!("{what} in Key Vault {vault:?} is disabled"),
            enabling(vault, kind, object),
        ),
        Denial::Other => (
            Reason::KvForbidden,
            format!("{refused}: {message}"),
            format!(
                "the vault names neither a role, an access policy nor its firewall as the cause; look for a network \
                 security perimeter, an Azure Policy, or a vault or subscription that is disabled or being recovered: az keyvault show \
                 --name {vault} --query properties, and az monitor activity-log list --resource-id \"$(az keyvault show \
                 --name {vault} --query id --output tsv)\""
            ),
        ),
    };
    Explanation { reason, cause, fix }
}

/// What mends all objects that are denied for the same reason as the first one, where that is one command for each
/// kind: whoever grants one right after the other waits after each.
pub(super) fn fix_of_all(
    asked: &Asked,
    reason: Reason,
    failures: &[ObjectFailure],
) -> Option<String> {
    let wanted = match reason {
        Reason::KvAccessDenied => Denial::AccessPolicy,
        Reason::KvRbacDenied => Denial::Role,
        _ => return None,
    };
    let denied = failures
        .iter()
        .filter_map(|failure| match &failure.problem {
            ObjectProblem::Vault(VaultError::Refused(refusal))
                if refusal.status == 403 && kind_of(refusal) == wanted =>
            {
                Some((failure.fetch.kind, &**refusal))
            }
            _ => None,
        });
    let denied: Vec<_> = denied.collect();
    let object_id = denied.first().map(|(_, refusal)| object_id(refusal))?;
    let kinds: Vec<_> = denied
        .iter()
        .map(|(kind, refusal)| (*kind, refusal.operation))
        .collect();
    let missing = Missing::of(&kinds);
    Some(match wanted {
        Denial::AccessPolicy => missing.set_policy(&asked.vault, object_id),
        _ => missing.assign_roles(&asked.vault, object_id),
    })
}

/// What denies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Denial {
    AccessPolicy,
    Role,
    Connection,
    Firewall,
    Disabled,
    Other,
}

fn kind_of(refusal: &VaultRefusal) -> Denial {
    // As vaults said it before they had inner codes, and those of an Azure Stack Hub do still.
    let has_no_permission = refusal.message.contains(" permission on key vault ");
    match refusal.inner_code.as_str() {
        "AccessDenied" => Denial::AccessPolicy,
        "" if has_no_permission => Denial::AccessPolicy,
        "ForbiddenByRbac" => Denial::Role,
        "ForbiddenByConnection" => Denial::Connection,
        "ForbiddenByFirewall" => Denial::Firewall,
        "SecretDisabled" | "KeyDisabled" | "CertificateDisabled" => Denial::Disabled,
        _ => Denial::Other,
    }
}

fn object_id(refusal: &VaultRefusal) -> &str {
    or_placeholder(&refusal.caller.object_id, "OBJECT-ID-OF-THE-IDENTITY")
}

fn enabling(vault: &str, kind: ObjectKind, object: Option<&ObjectFailure>) -> String {
    let name = object.map_or("NAME", |object| object.fetch.name.as_str());
    let of_version = match object.map(|object| &object.fetch.version) {
        Some(ObjectVersion::Exact(version)) => format!(" --version {}", version.as_str()),
        _ => String::new(),
    };
    let kind = kind.azure_name();
    format!(
        "az keyvault {kind} set-attributes --vault-name {vault} --name {name}{of_version} --enabled true"
    )
}

/// What brings the nodes to the vault by its private endpoint. The vault stays closed to the internet.
///
/// Source: "Integrate Key Vault with Azure Private Link", section "Troubleshoot", and "Azure private endpoint private
/// DNS zone values".
fn private_endpoint(asked: &Asked) -> String {
    let Asked { vault, host, .. } = asked;
    let zone = host
        .split_once(".vault.")
        .map(|(_, domain)| format!("privatelink.vaultcore.{domain}"));
    let zone = zone.as_deref().unwrap_or("ZONE");
    format!(
        "link the zone to the cluster's network: az network private-dns link vnet create --resource-group GROUP \
         --zone-name {zone} --name NAME --virtual-network NETWORK-ID-OF-THE-NODES --registration-enabled false; \
         {host} then resolves to a private address on the nodes. If the vault has no private endpoint yet (az keyvault show \
         --name {vault} --query properties.privateEndpointConnections), create one in that network"
    )
}
