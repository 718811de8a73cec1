//! What is said when a vault does not take a token: by its own code (`AKV10032` and others) and by the kind of identity.

use super::ids::who;
use super::{Explanation, LATER, Reason};
use crate::azure::vault::refusal::{Tenants, VaultRefusal};
use crate::class::asked::Asked;

/// Why Key Vault itself answers 401.
pub(super) fn of_rejected_token(asked: &Asked, refusal: &VaultRefusal) -> Explanation {
    let vault = &asked.vault;
    let who = who(asked, refusal);
    let message = &refusal.message;
    let rejected = format!("Key Vault {vault:?} does not take the token of {who}");
    let look = "run provider-azure-rs doctor with the class: its step token shows whose token it is, its audience and its \
                expiry, and its step vault compares the clocks";
    let (cause, fix) = match refusal.akv {
        Some(10_032) => return of_another_tenant(asked, &refusal.tenants, &rejected, message),
        Some(10_022) => (
            format!("{rejected}, which is for another audience: {message}"),
            format!(
                "set cloudName to the cloud of the vault (az cloud show --query name); if it is, {look}"
            ),
        ),
        Some(10_046) => (
            format!(
                "Key Vault {vault:?} does not yet know the key that signed the token of {who}, even when asked again; this \
                 is a passing fault of the service: {message}"
            ),
            format!("none needed: {LATER}; if it lasts, ask Microsoft's support"),
        ),
        Some(10_000) => (
            format!("the token of {who} did not reach Key Vault {vault:?}: {message}"),
            format!(
                "check what stands between the nodes and {}: a proxy that inspects TLS may remove the \
                 Authorization header",
                asked.host
            ),
        ),
        _ => (format!("{rejected}: {message}"), look.to_owned()),
    };
    Explanation {
        reason: Reason::KvTokenRejected,
        cause,
        fix,
    }
}

/// The token is from a tenant that is not the vault's. Only where an application signs in does the class decide the
/// tenant; a managed identity belongs to one.
fn of_another_tenant(
    asked: &Asked,
    tenants: &Tenants,
    rejected: &str,
    message: &str,
) -> Explanation {
    let vault = &asked.vault;
    let show = format!("az keyvault show --name {vault} --query properties.tenantId --output tsv");
    let known = !tenants.expected.is_empty() && !tenants.found.is_empty();
    let cause = if known {
        let Tenants { expected, found } = tenants;
        format!(
            "{rejected}, which is from tenant {found}: the vault belongs to tenant {expected} (AKV10032)"
        )
    } else {
        format!("{rejected}, which is from another tenant than the vault's: {message}")
    };
    let (named, of_tenant) = if known {
        let expected = &tenants.expected;
        (format!(", {expected}"), format!("of tenant {expected}"))
    } else {
        (String::new(), "from the vault's tenant".to_owned())
    };
    let fix = if asked.chooses_tenant {
        format!(
            "set tenantID to the vault's tenant{named}; the identity must exist in that tenant too: {show}"
        )
    } else {
        format!(
            "use an identity {of_tenant}: a {} gives tokens of its own tenant only, whatever tenantID says; or \
             move the objects to a vault of the identity's tenant ({show})",
            asked.identity.kind
        )
    };
    Explanation {
        reason: Reason::KvTokenRejected,
        cause,
        fix,
    }
}
