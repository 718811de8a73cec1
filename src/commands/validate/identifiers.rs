//! Identifiers that cannot be one.
//!
//! A mount takes them, since tests and tools of the field write others and Entra ID is the judge
//! (docs/decisions/0009). On Azure, nobody gets a token by one of them.

use crate::class::property::Property;
use crate::class::property::parameters::{CLIENT_ID, USER_ASSIGNED_IDENTITY_ID};
use crate::commands::validate::finding::Severity;
use crate::commands::validate::findings::{Findings, Say};
use crate::commands::validate::places::Places;
use crate::text::excerpt::Excerpt;

/// Says so where the tenant, which this parameter has, is neither an ID nor a domain.
pub fn of_tenant(
    parameter: &'static Property,
    tenant: &str,
    places: &Places<'_>,
    findings: &mut Findings,
) {
    let expected =
        "a tenant's ID, such as 42ddc44e-97dd-4c3b-bf8a-31c785e24c67, or one of its domains";
    if !is_guid(tenant) && !is_domain(tenant) {
        cannot_be(parameter, tenant, expected, places, findings);
    }
}

/// Says so where `clientID` is no client ID.
pub fn of_client(client: &str, places: &Places<'_>, findings: &mut Findings) {
    if !is_guid(client) {
        cannot_be(&CLIENT_ID, client, CLIENT_ID.expected, places, findings);
    }
}

/// Says so where `userAssignedIdentityID` is no ID of an identity.
pub fn of_user_assigned(id: &str, places: &Places<'_>, findings: &mut Findings) {
    let guid = match id.split_once(':') {
        Some((kind, id)) if kind.eq_ignore_ascii_case("objectID") => id,
        _ => id,
    };
    if !is_guid(guid) && !is_identity_resource(id) {
        let expected = USER_ASSIGNED_IDENTITY_ID.expected;
        cannot_be(&USER_ASSIGNED_IDENTITY_ID, id, expected, places, findings);
    }
}

fn cannot_be(
    parameter: &'static Property,
    found: &str,
    expected: &str,
    places: &Places<'_>,
    findings: &mut Findings,
) {
    findings.add(
        places.parameter(parameter.name),
        Say {
            severity: Severity::Warning,
            reason: "INVALID_ID",
            message: format!(
                "{}: expected {expected}, found {}",
                parameter.name,
                Excerpt(found)
            ),
            why: "Azure knows no such ID, and a mount that asks for a token by it fails",
            fix: parameter.fix.to_owned(),
        },
    );
}

fn is_guid(text: &str) -> bool {
    let mut groups = text.split('-');
    let fits = [8, 4, 4, 4, 12].iter().all(|length| {
        groups.next().is_some_and(|group| {
            group.len() == *length && group.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    });
    fits && groups.next().is_none()
}

/// A domain name of two or more labels, the last of which is no number.
fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let numeric = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    text.len() <= 253
        && text.split('.').all(label)
        && text
            .rsplit_once('.')
            .is_some_and(|(_, last)| !numeric(last))
}

/// `/subscriptions/ID/resourceGroups/GROUP/providers/Microsoft.ManagedIdentity/userAssignedIdentities/NAME`, in any
/// case.
fn is_identity_resource(id: &str) -> bool {
    let parts: Vec<_> = id.split('/').collect();
    let [
        "",
        subscriptions,
        subscription,
        groups,
        group,
        providers,
        provider,
        kind,
        name,
    ] = parts[..]
    else {
        return false;
    };
    let words = [
        (subscriptions, "subscriptions"),
        (groups, "resourceGroups"),
        (providers, "providers"),
        (provider, "Microsoft.ManagedIdentity"),
        (kind, "userAssignedIdentities"),
    ];
    words
        .iter()
        .all(|(found, word)| found.eq_ignore_ascii_case(word))
        && is_guid(subscription)
        && !group.is_empty()
        && !name.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUID: &str = "42ddc44e-97dd-4c3b-bf8a-31c785e24c67";

    #[test]
    fn ids_and_domains_are_told_from_other_texts() {
        let upper = GUID.to_uppercase();
        for id in [GUID, &upper, "00000000-0000-0000-0000-000000000001"] {
            assert!(is_guid(id), "{id}");
        }
        for id in [
            "",
            "c",
            "42ddc44e97dd4c3bbf8a31c785e24c67",
            "42ddc44e-97dd-4c3b-bf8a-31c785e24c6",
            "42ddc44e-97dd-4c3b-bf8a-31c785e24c67-",
            "42ddc44e-97dd-4c3b-bf8a-31c785e24c6g",
            "{42ddc44e-97dd-4c3b-bf8a-31c785e24c67}",
        ] {
            assert!(!is_guid(id), "{id}");
        }
        for domain in [
            "contoso.onmicrosoft.com",
            "contoso.com",
            "xn--e1afmkfd.xn--p1ai",
            "a.b.c",
        ] {
            assert!(is_domain(domain), "{domain}");
        }
        for domain in [
            "", "common", "contoso", "a..b", ".a", "a.", "-a.b", "10.0.0.1", "a_b.c",
        ] {
            assert!(!is_domain(domain), "{domain}");
        }
    }

    #[test]
    fn a_resource_id_is_that_of_an_identity() {
        let id = format!(
            "/subscriptions/{GUID}/resourceGroups/ai-chat-rg/providers/Microsoft.ManagedIdentity/\
             userAssignedIdentities/chat"
        );
        for id in [id.clone(), id.to_lowercase()] {
            assert!(is_identity_resource(&id), "{id}");
        }
        for (from, to) in [
            (GUID, "sub"),
            ("ai-chat-rg", ""),
            ("/chat", ""),
            ("/chat", "/chat/x"),
            ("userAssignedIdentities", "identities"),
            ("ManagedIdentity", "Compute"),
            ("/subscriptions", "subscriptions"),
        ] {
            let id = id.replacen(from, to, 1);
            assert!(!is_identity_resource(&id), "{id}");
        }
    }
}
