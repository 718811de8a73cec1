//! [`Identity`], who asks Key Vault: what a class's parameters, the pod's tokens and its
//! `nodePublishSecretRef` add up to.
//!
//! Made by [`crate::parameters`], turned into a token by [`crate::credential`].

use std::collections::BTreeMap;

use thiserror::Error;

use crate::excerpt::Excerpt;
use crate::sensitive::Sensitive;

/// The audience of the token that Entra ID exchanges for a workload identity.
pub const WORKLOAD_IDENTITY_AUDIENCE: &str = "api://AzureADTokenExchange";

/// Who asks Key Vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The pod's own: an application or user-assigned identity that trusts the pod's service account
    /// by a federated credential.
    Workload {
        /// The application's or identity's client ID.
        client_id: String,
        /// The pod's service account token for [`WORKLOAD_IDENTITY_AUDIENCE`].
        assertion: Sensitive,
    },
    /// The node's: an identity assigned to the virtual machine (scale set), told by IMDS.
    Managed(ManagedIdentity),
}

/// Which of the node's identities.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ManagedIdentity {
    /// The one that belongs to the machine itself.
    SystemAssigned,
    /// The user-assigned one with this client ID.
    ClientId(String),
}

/// What the parameters say about identity, before it is decided which one they mean.
#[derive(Debug, Default)]
pub struct IdentityParameters<'a> {
    /// `usePodIdentity`
    pub use_pod_identity: bool,
    /// `useVMManagedIdentity`
    pub use_vm_managed_identity: bool,
    /// `useAzureTokenProxy`
    pub use_azure_token_proxy: bool,
    /// `userAssignedIdentityID`; empty where it is not set
    pub user_assigned_identity_id: &'a str,
    /// `clientID`; empty where it is not set
    pub client_id: &'a str,
}

/// Why the parameters name no identity.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum IdentityError {
    /// Pod identity was replaced by workload identity.
    #[error(
        "usePodIdentity: AAD Pod Identity was retired in September 2023 and its node agent is not asked; \
         expected clientID (workload identity) or useVMManagedIdentity: \"true\""
    )]
    PodIdentityIsRetired,
    /// Two of the switches are on.
    #[error(
        "usePodIdentity, useVMManagedIdentity, useAzureTokenProxy: expected at most one to be \"true\", found {0}"
    )]
    MoreThanOne(String),
    /// Identity binding.
    #[error("useAzureTokenProxy: identity binding is not available in this version")]
    IdentityBinding,
    /// A service principal from `nodePublishSecretRef`.
    #[error("nodePublishSecretRef: a service principal is not available in this version")]
    ServicePrincipal,
    /// The class wants workload identity, and the driver sent no token for it.
    #[error(
        "clientID: the driver sent no service account token for audience {audience} (it sent {found}); the \
         CSIDriver object secrets-store.csi.k8s.io needs spec.tokenRequests with audience: {audience}"
    )]
    NoToken {
        /// The audience that is needed.
        audience: &'static str,
        /// The audiences that there are.
        found: String,
    },
    /// An ID that cannot be one.
    #[error("{field}: expected {expected}, found {found}")]
    Malformed {
        /// The parameter.
        field: &'static str,
        /// What it should look like.
        expected: &'static str,
        /// What it was, quoted.
        found: String,
    },
    /// Nothing at all.
    #[error(
        "identity: expected one of clientID (workload identity), useVMManagedIdentity: \"true\" or \
         userAssignedIdentityID (managed identity), found none"
    )]
    None,
}

impl Identity {
    /// Decides which identity the parameters mean. The order of precedence is the Go provider's:
    /// `useVMManagedIdentity`, then `clientID`, then `nodePublishSecretRef`; a
    /// `userAssignedIdentityID` alone means managed identity.
    pub fn decide(
        parameters: &IdentityParameters<'_>,
        tokens: &BTreeMap<String, Sensitive>,
        node_publish_secret: &BTreeMap<String, Sensitive>,
    ) -> Result<Self, IdentityError> {
        at_most_one(parameters)?;
        if parameters.use_pod_identity {
            Err(IdentityError::PodIdentityIsRetired)
        } else if parameters.use_azure_token_proxy {
            Err(IdentityError::IdentityBinding)
        } else if parameters.use_vm_managed_identity {
            ManagedIdentity::from_id(parameters.user_assigned_identity_id).map(Self::Managed)
        } else if !parameters.client_id.is_empty() {
            workload(parameters.client_id, tokens)
        } else if !node_publish_secret.is_empty() {
            Err(IdentityError::ServicePrincipal)
        } else if !parameters.user_assigned_identity_id.is_empty() {
            ManagedIdentity::from_id(parameters.user_assigned_identity_id).map(Self::Managed)
        } else {
            Err(IdentityError::None)
        }
    }

    /// The kind of identity, for logs: a word that says nothing about whose it is.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Workload { .. } => "workload identity",
            Self::Managed(_) => "managed identity",
        }
    }

    /// The client ID, where the parameters name one.
    pub fn client_id(&self) -> Option<&str> {
        match self {
            Self::Workload { client_id, .. }
            | Self::Managed(ManagedIdentity::ClientId(client_id)) => Some(client_id),
            Self::Managed(ManagedIdentity::SystemAssigned) => None,
        }
    }
}

impl ManagedIdentity {
    fn from_id(id: &str) -> Result<Self, IdentityError> {
        if id.is_empty() {
            return Ok(Self::SystemAssigned);
        }
        if is_client_id(id) {
            return Ok(Self::ClientId(id.to_owned()));
        }
        Err(malformed_client_id("userAssignedIdentityID", id))
    }
}

fn workload(
    client_id: &str,
    tokens: &BTreeMap<String, Sensitive>,
) -> Result<Identity, IdentityError> {
    if !is_client_id(client_id) {
        return Err(malformed_client_id("clientID", client_id));
    }
    let Some(assertion) = tokens.get(WORKLOAD_IDENTITY_AUDIENCE) else {
        return Err(IdentityError::NoToken {
            audience: WORKLOAD_IDENTITY_AUDIENCE,
            found: audiences(tokens),
        });
    };
    Ok(Identity::Workload {
        client_id: client_id.to_owned(),
        assertion: assertion.clone(),
    })
}

fn at_most_one(parameters: &IdentityParameters<'_>) -> Result<(), IdentityError> {
    let switches = [
        ("usePodIdentity", parameters.use_pod_identity),
        ("useVMManagedIdentity", parameters.use_vm_managed_identity),
        ("useAzureTokenProxy", parameters.use_azure_token_proxy),
    ];
    let on: Vec<_> = switches
        .iter()
        .filter(|(_, on)| *on)
        .map(|(name, _)| *name)
        .collect();
    if on.len() > 1 {
        Err(IdentityError::MoreThanOne(on.join(" and ")))
    } else {
        Ok(())
    }
}

/// Client IDs are UUIDs, but tools and tests of the field write others; what matters here is that one
/// can stand in a form field and in a message.
fn is_client_id(id: &str) -> bool {
    id.len() <= 128
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

fn malformed_client_id(field: &'static str, found: &str) -> IdentityError {
    IdentityError::Malformed {
        field,
        expected: "a client ID such as e502213f-1f15-4f03-9fb4-b546f51aafe9",
        found: Excerpt(found).to_string(),
    }
}

fn audiences(tokens: &BTreeMap<String, Sensitive>) -> String {
    if tokens.is_empty() {
        return "none".to_owned();
    }
    let names: Vec<_> = tokens
        .keys()
        .map(|audience| Excerpt(audience).to_string())
        .collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> BTreeMap<String, Sensitive> {
        BTreeMap::from([(
            WORKLOAD_IDENTITY_AUDIENCE.to_owned(),
            "a.b.c".to_owned().into(),
        )])
    }

    fn decide(parameters: &IdentityParameters<'_>) -> Result<Identity, IdentityError> {
        Identity::decide(parameters, &tokens(), &BTreeMap::new())
    }

    #[test]
    fn a_user_assigned_id_alone_means_managed_identity() {
        let parameters = IdentityParameters {
            user_assigned_identity_id: "e502213f",
            ..Default::default()
        };
        let expected = Identity::Managed(ManagedIdentity::ClientId("e502213f".into()));
        assert_eq!(decide(&parameters), Ok(expected));
    }

    #[test]
    fn the_order_of_precedence_is_the_go_providers() {
        let all = IdentityParameters {
            use_vm_managed_identity: true,
            user_assigned_identity_id: "u",
            client_id: "c",
            ..Default::default()
        };
        assert_eq!(
            decide(&all),
            Ok(Identity::Managed(ManagedIdentity::ClientId("u".into())))
        );
        let without_switch = IdentityParameters {
            use_vm_managed_identity: false,
            ..all
        };
        assert_eq!(
            decide(&without_switch),
            Ok(Identity::Workload {
                client_id: "c".into(),
                assertion: "a.b.c".to_owned().into()
            })
        );
        let system = IdentityParameters {
            use_vm_managed_identity: true,
            ..Default::default()
        };
        assert_eq!(
            decide(&system),
            Ok(Identity::Managed(ManagedIdentity::SystemAssigned))
        );
    }

    #[test]
    fn what_names_no_identity_is_refused() {
        let default = IdentityParameters::default;
        for (parameters, message) in [
            (default(), "expected one of clientID"),
            (
                IdentityParameters {
                    use_pod_identity: true,
                    ..default()
                },
                "retired",
            ),
            (
                IdentityParameters {
                    use_pod_identity: true,
                    use_vm_managed_identity: true,
                    ..default()
                },
                "found usePodIdentity and useVMManagedIdentity",
            ),
            (
                IdentityParameters {
                    client_id: "a b",
                    ..default()
                },
                "clientID: expected a client ID",
            ),
            (
                IdentityParameters {
                    user_assigned_identity_id: "a&b=c",
                    ..default()
                },
                "userAssignedIdentityID: expected a client ID",
            ),
        ] {
            let error = decide(&parameters).unwrap_err().to_string();
            assert!(error.contains(message), "{error} should contain {message}");
        }
    }

    #[test]
    fn a_missing_token_names_the_audience_and_the_setting() {
        let parameters = IdentityParameters {
            client_id: "c",
            ..Default::default()
        };
        let other = BTreeMap::from([(
            "api://other".to_owned(),
            Sensitive::from("canary".to_owned()),
        )]);
        for (tokens, found) in [(BTreeMap::new(), "none"), (other, "\"api://other\"")] {
            let error = Identity::decide(&parameters, &tokens, &BTreeMap::new())
                .unwrap_err()
                .to_string();
            for part in [WORKLOAD_IDENTITY_AUDIENCE, "spec.tokenRequests", found] {
                assert!(error.contains(part), "{error} should contain {part}");
            }
            assert!(!error.contains("canary"));
        }
    }
}
