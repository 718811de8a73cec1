//! [`Identity`], who asks Key Vault: what a class's parameters, the pod's tokens and its
//! `nodePublishSecretRef` add up to.
//!
//! Made by [`crate::class::parameters`], turned into a token by [`crate::azure::credential`].

use std::collections::BTreeMap;
use std::fmt;

use thiserror::Error;
use time::OffsetDateTime;

use crate::class::assertion;
use crate::class::cloud::{Cloud, PUBLIC_AUDIENCE};
use crate::class::property::parameters::{
    CLIENT_ID, MAX_CLIENT_ID, MAX_RESOURCE_ID, USE_AZURE_TOKEN_PROXY, USE_POD_IDENTITY,
    USE_VM_MANAGED_IDENTITY, USER_ASSIGNED_IDENTITY_ID,
};
use crate::class::service_account_tokens::{ServiceAccountTokens, TokensError};
use crate::text::excerpt::Excerpt;
use crate::text::sensitive::Sensitive;

/// The audience of the token that AKS exchanges for an identity binding.
pub const IDENTITY_BINDING_AUDIENCE: &str = "api://AKSIdentityBinding";

/// The maximum number of bytes of a client secret. Those that Entra ID generates have 16 to 64 characters. Older ones,
/// which their owner could choose, may be longer.
///
/// Source: Microsoft Graph, "passwordCredential resource type", `secretText`.
pub const MAX_CLIENT_SECRET: usize = 1024;

/// The audiences of the tokens that Entra ID exchanges for a workload identity, the preferred one first.
///
/// Which of them the federated credential names cannot be told here. So the first that the driver sends a token for is
/// taken: what the operator adds, since it was added for a reason; then what the cloud expects; then the public cloud's,
/// which clusters of other clouds have used all along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audiences(Vec<String>);

impl Audiences {
    /// Those of a class of this cloud, with those that the operator adds.
    pub fn new(added: &[String], cloud: &Cloud) -> Self {
        let mut all = added.to_vec();
        for audience in [cloud.token_audience(), PUBLIC_AUDIENCE] {
            if !all.iter().any(|known| known == audience) {
                all.push(audience.to_owned());
            }
        }
        Self(all)
    }

    /// Each of them, the preferred one first.
    pub fn names(&self) -> Vec<&str> {
        self.0.iter().map(String::as_str).collect()
    }
}

impl Default for Audiences {
    /// The public cloud's.
    fn default() -> Self {
        Self::new(&[], &Cloud::public())
    }
}

/// Who asks Key Vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The pod's own: an application or user-assigned identity that trusts the pod's service account
    /// by a federated credential.
    Workload {
        /// The application's or identity's client ID.
        client_id: String,
        /// The pod's service account token for one of the [`Audiences`].
        assertion: Sensitive,
    },
    /// The pod's own by an AKS identity binding: like a workload identity, but the cluster's token proxy
    /// stands in for Entra ID.
    Binding {
        /// The identity's client ID.
        client_id: String,
        /// The pod's service account token for [`IDENTITY_BINDING_AUDIENCE`].
        assertion: Sensitive,
    },
    /// An application with a client secret, from the Secret that the pod names in
    /// `nodePublishSecretRef`.
    ServicePrincipal {
        /// The application's client ID.
        client_id: String,
        /// Its client secret.
        secret: Sensitive,
    },
    /// The node's: an identity assigned to the virtual machine (scale set), told by IMDS.
    Managed(IdentityId),
}

/// Which identity of its kind, as a class names it. Workload identities, bindings and service principals are known by
/// their client ID.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum IdentityId {
    /// The one that belongs to the machine itself.
    SystemAssigned,
    /// The one with this client ID.
    ClientId(String),
    /// The user-assigned one with this object (principal) ID.
    ObjectId(String),
    /// The user-assigned one with this resource ID in Azure Resource Manager.
    ResourceId(String),
}

/// A kind of identity, and which one of that kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdentityName {
    /// The kind, as [`Identity::kind`] says it.
    pub kind: &'static str,
    pub id: IdentityId,
}

impl IdentityName {
    /// The client ID, where that is what the class names.
    pub fn client_id(&self) -> Option<&str> {
        match &self.id {
            IdentityId::ClientId(id) => Some(id),
            _ => None,
        }
    }
}

impl fmt::Display for IdentityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SystemAssigned => f.write_str("the node's own (system-assigned)"),
            Self::ClientId(id) => write!(f, "client ID {id}"),
            Self::ObjectId(id) => write!(f, "object ID {id}"),
            Self::ResourceId(id) => write!(f, "resource ID {id}"),
        }
    }
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
    /// Identity binding without a client ID.
    #[error(
        "clientID: expected the client ID of the bound identity, since useAzureTokenProxy is \"true\", found none"
    )]
    BindingNeedsClientId,
    /// `nodePublishSecretRef` has one half of a service principal.
    #[error(
        "nodePublishSecretRef: expected the keys clientid and clientsecret, found no {missing}"
    )]
    ServicePrincipal {
        /// The key that is missing or empty.
        missing: &'static str,
    },
    /// A key of `nodePublishSecretRef` has a value longer than it may be.
    #[error("nodePublishSecretRef: {key}: expected at most {max} bytes, found {found}")]
    TooLong {
        key: &'static str,
        /// The maximum number of bytes.
        max: usize,
        /// How many it has.
        found: usize,
    },
    /// The class wants the pod's own identity, and there is no token for it.
    #[error("clientID: {0}")]
    Tokens(#[from] TokensError),
    /// An ID that cannot be one.
    #[error("{field}: expected {expected}, found {found}")]
    Malformed {
        field: &'static str,
        /// What it should look like.
        expected: &'static str,
        /// What it was, quoted.
        found: String,
    },
    /// Nothing at all.
    #[error(
        "identity: expected one of clientID (workload identity), useVMManagedIdentity: \"true\" or \
         userAssignedIdentityID (managed identity), or a nodePublishSecretRef with clientid and clientsecret (service \
         principal), found none"
    )]
    None,
}

impl Identity {
    /// When what proves the identity expires, where it does: a pod's token.
    pub fn proof_end(&self) -> Option<OffsetDateTime> {
        match self {
            Self::Workload { assertion, .. } | Self::Binding { assertion, .. } => {
                assertion::expiry(assertion)
            }
            Self::ServicePrincipal { .. } | Self::Managed(_) => None,
        }
    }

    /// Whether that was before now.
    pub fn proof_has_expired(&self, now: OffsetDateTime) -> bool {
        self.proof_end().is_some_and(|end| end <= now)
    }

    /// Decides which identity the parameters mean. The order of precedence is the Go provider's:
    /// `useVMManagedIdentity`, then `clientID`, then `nodePublishSecretRef`; a
    /// `userAssignedIdentityID` alone means managed identity.
    pub fn decide(
        parameters: &IdentityParameters<'_>,
        audiences: &Audiences,
        tokens: &ServiceAccountTokens,
        node_publish_secret: &BTreeMap<String, Sensitive>,
    ) -> Result<Self, IdentityError> {
        at_most_one(parameters)?;
        if parameters.use_pod_identity {
            Err(IdentityError::PodIdentityIsRetired)
        } else if parameters.use_azure_token_proxy {
            binding(parameters.client_id, tokens)
        } else if parameters.use_vm_managed_identity {
            IdentityId::from_id(parameters.user_assigned_identity_id).map(Self::Managed)
        } else if !parameters.client_id.is_empty() {
            workload(parameters.client_id, tokens, audiences)
        } else if let Some(principal) = service_principal(node_publish_secret)? {
            Ok(principal)
        } else if !parameters.user_assigned_identity_id.is_empty() {
            IdentityId::from_id(parameters.user_assigned_identity_id).map(Self::Managed)
        } else {
            Err(IdentityError::None)
        }
    }

    /// What logs and messages tell of it: nothing that proves it.
    pub fn name(&self) -> IdentityName {
        IdentityName {
            kind: self.kind(),
            id: match self {
                Self::Workload { client_id, .. }
                | Self::Binding { client_id, .. }
                | Self::ServicePrincipal { client_id, .. } => {
                    IdentityId::ClientId(client_id.clone())
                }
                Self::Managed(id) => id.clone(),
            },
        }
    }

    /// The kind of identity, for logs: a word that says nothing about whose it is.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Workload { .. } => "workload identity",
            Self::Binding { .. } => "identity binding",
            Self::ServicePrincipal { .. } => "service principal",
            Self::Managed(_) => "managed identity",
        }
    }

    /// Whether it gets tokens of any tenant that knows its application, so that the class decides which. A managed
    /// identity, which an identity binding is for too, gets those of its own tenant.
    pub fn chooses_tenant(&self) -> bool {
        matches!(self, Self::Workload { .. } | Self::ServicePrincipal { .. })
    }

    /// The client ID, where the parameters name one.
    pub fn client_id(&self) -> Option<&str> {
        match self {
            Self::Workload { client_id, .. }
            | Self::Binding { client_id, .. }
            | Self::ServicePrincipal { client_id, .. }
            | Self::Managed(IdentityId::ClientId(client_id)) => Some(client_id),
            Self::Managed(_) => None,
        }
    }
}

impl IdentityId {
    /// As the class has it; nothing for the node's own, which has none.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::SystemAssigned => None,
            Self::ClientId(id) | Self::ObjectId(id) | Self::ResourceId(id) => Some(id),
        }
    }

    /// What `userAssignedIdentityID` names: a client ID, a resource ID, or an object ID behind
    /// `objectID:`, which cannot be told from a client ID by its form.
    fn from_id(id: &str) -> Result<Self, IdentityError> {
        if id.is_empty() {
            return Ok(Self::SystemAssigned);
        }
        let object_id = id
            .split_once(':')
            .filter(|(kind, _)| kind.eq_ignore_ascii_case("objectID"));
        if let Some((_, id)) = object_id
            && !id.is_empty()
            && is_client_id(id)
        {
            return Ok(Self::ObjectId(id.to_owned()));
        }
        if is_resource_id(id) {
            return Ok(Self::ResourceId(id.to_owned()));
        }
        if is_client_id(id) {
            return Ok(Self::ClientId(id.to_owned()));
        }
        Err(IdentityError::Malformed {
            field: USER_ASSIGNED_IDENTITY_ID.name,
            expected: USER_ASSIGNED_IDENTITY_ID.expected,
            found: Excerpt(id).to_string(),
        })
    }
}

/// `/subscriptions/…/providers/Microsoft.ManagedIdentity/userAssignedIdentities/NAME`, of the characters
/// that names in Azure Resource Manager are made of.
fn is_resource_id(id: &str) -> bool {
    id.len() <= MAX_RESOURCE_ID
        && id
            .get(..15)
            .is_some_and(|start| start.eq_ignore_ascii_case("/subscriptions/"))
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"/-_.()".contains(&byte))
}

fn workload(
    client_id: &str,
    tokens: &ServiceAccountTokens,
    audiences: &Audiences,
) -> Result<Identity, IdentityError> {
    let (client_id, assertion) = with_token(client_id, tokens, &audiences.names())?;
    Ok(Identity::Workload {
        client_id,
        assertion,
    })
}

fn binding(client_id: &str, tokens: &ServiceAccountTokens) -> Result<Identity, IdentityError> {
    if client_id.is_empty() {
        return Err(IdentityError::BindingNeedsClientId);
    }
    let (client_id, assertion) = with_token(client_id, tokens, &[IDENTITY_BINDING_AUDIENCE])?;
    Ok(Identity::Binding {
        client_id,
        assertion,
    })
}

fn with_token(
    client_id: &str,
    tokens: &ServiceAccountTokens,
    audiences: &[&str],
) -> Result<(String, Sensitive), IdentityError> {
    if !is_client_id(client_id) {
        return Err(IdentityError::Malformed {
            field: CLIENT_ID.name,
            expected: CLIENT_ID.expected,
            found: Excerpt(client_id).to_string(),
        });
    }
    Ok((client_id.to_owned(), tokens.of_audiences(audiences)?))
}

/// The application in a pod's Secret. The keys' case does not matter; other keys are nobody's business.
fn service_principal(
    secret: &BTreeMap<String, Sensitive>,
) -> Result<Option<Identity>, IdentityError> {
    let value = |name: &str| {
        let (_, value) = secret
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(value).filter(|value| value.len() > 0)
    };
    let (client_id, client_secret) = match (value("clientid"), value("clientsecret")) {
        (None, None) => return Ok(None),
        (None, Some(_)) => {
            return Err(IdentityError::ServicePrincipal {
                missing: "clientid",
            });
        }
        (Some(_), None) => {
            return Err(IdentityError::ServicePrincipal {
                missing: "clientsecret",
            });
        }
        (Some(client_id), Some(client_secret)) => (client_id, client_secret),
    };
    let bounded = |key, max, found| match found {
        found if found > max => Err(IdentityError::TooLong { key, max, found }),
        _ => Ok(()),
    };
    bounded("clientsecret", MAX_CLIENT_SECRET, client_secret.len())?;
    bounded(
        "clientid",
        MAX_CLIENT_ID,
        client_id.expose().trim_ascii().len(),
    )?;
    // The value is not quoted: whoever mixes the two keys up has put the secret here.
    let client_id = client_id
        .expose_str()
        .map(str::trim)
        .filter(|id| !id.is_empty() && is_client_id(id));
    match client_id {
        Some(id) => Ok(Some(Identity::ServicePrincipal {
            client_id: id.to_owned(),
            secret: client_secret.clone(),
        })),
        None => Err(IdentityError::Malformed {
            field: "nodePublishSecretRef: clientid",
            expected: CLIENT_ID.expected,
            found: "something else".to_owned(),
        }),
    }
}

fn at_most_one(parameters: &IdentityParameters<'_>) -> Result<(), IdentityError> {
    let switches = [
        (&USE_POD_IDENTITY, parameters.use_pod_identity),
        (&USE_VM_MANAGED_IDENTITY, parameters.use_vm_managed_identity),
        (&USE_AZURE_TOKEN_PROXY, parameters.use_azure_token_proxy),
    ];
    let on: Vec<_> = switches
        .iter()
        .filter(|(_, on)| *on)
        .map(|(switch, _)| switch.name)
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
    id.len() <= MAX_CLIENT_ID
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> ServiceAccountTokens {
        format!(r#"{{"{PUBLIC_AUDIENCE}":{{"token":"a.b.c"}}}}"#).into()
    }

    fn decide(parameters: &IdentityParameters<'_>) -> Result<Identity, IdentityError> {
        Identity::decide(
            parameters,
            &Audiences::default(),
            &tokens(),
            &BTreeMap::new(),
        )
    }

    #[test]
    fn a_user_assigned_id_alone_means_managed_identity() {
        let parameters = IdentityParameters {
            user_assigned_identity_id: "e502213f",
            ..Default::default()
        };
        let expected = Identity::Managed(IdentityId::ClientId("e502213f".into()));
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
            Ok(Identity::Managed(IdentityId::ClientId("u".into())))
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
            Ok(Identity::Managed(IdentityId::SystemAssigned))
        );
    }

    #[test]
    fn what_names_no_identity_is_refused() {
        let default = IdentityParameters::default;
        for (parameters, message) in [
            (default(), "expected one of clientID"),
            (
                IdentityParameters {
                    use_azure_token_proxy: true,
                    ..default()
                },
                "clientID: expected the client ID of the bound identity",
            ),
            (
                IdentityParameters {
                    use_azure_token_proxy: true,
                    client_id: "c",
                    ..default()
                },
                "no service account token for audience api://AKSIdentityBinding",
            ),
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
    fn an_identity_of_the_node_has_three_kinds_of_names() {
        let resource = "/subscriptions/s/resourceGroups/g(1)/providers/Microsoft.ManagedIdentity/userAssignedIdentities/n_1";
        for (id, expected) in [
            ("", IdentityId::SystemAssigned),
            (
                "e502213f-1f15",
                IdentityId::ClientId("e502213f-1f15".into()),
            ),
            ("objectID:301f31b4", IdentityId::ObjectId("301f31b4".into())),
            ("OBJECTID:301f31b4", IdentityId::ObjectId("301f31b4".into())),
            (resource, IdentityId::ResourceId(resource.into())),
        ] {
            assert_eq!(IdentityId::from_id(id), Ok(expected), "{id}");
        }
        let longest = format!("/subscriptions/{}", "s".repeat(MAX_RESOURCE_ID - 15));
        assert!(IdentityId::from_id(&longest).is_ok());
        assert!(IdentityId::from_id(&format!("{longest}s")).is_err());
        for id in [
            "objectID:",
            "objectID:a b",
            "clientID:x",
            "/subscriptions/x?y",
            "a&resource=b",
        ] {
            assert!(IdentityId::from_id(id).is_err(), "{id}");
        }
    }

    #[test]
    fn a_service_principal_comes_from_the_pods_secret() {
        let secret = |pairs: &[(&str, &str)]| -> BTreeMap<String, Sensitive> {
            pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned().into()))
                .collect()
        };
        let decide = |pairs: &[(&str, &str)]| {
            let parameters = IdentityParameters {
                user_assigned_identity_id: "u",
                ..Default::default()
            };
            Identity::decide(
                &parameters,
                &Audiences::default(),
                &tokens(),
                &secret(pairs),
            )
        };
        let expected = Identity::ServicePrincipal {
            client_id: "c".into(),
            secret: " s ".to_owned().into(),
        };
        for pairs in [
            [("clientid", "c"), ("clientsecret", " s ")],
            [("ClientID", "c\n"), ("CLIENTSECRET", " s ")],
        ] {
            assert_eq!(decide(&pairs), Ok(expected.clone()));
        }
        // What says nothing about a service principal leaves the managed identity as it is.
        assert!(matches!(
            decide(&[("other", "x")]),
            Ok(Identity::Managed(_))
        ));
        let (longest, id) = ("s".repeat(1024), "c".repeat(128));
        assert!(decide(&[("clientid", &id), ("clientsecret", &longest)]).is_ok());
        let (longer, longer_id) = (format!("{longest}s"), format!("{id}c"));
        for (pairs, message) in [
            (
                vec![("clientid", "c"), ("clientsecret", &longer)],
                "nodePublishSecretRef: clientsecret: expected at most 1024 bytes, found 1025",
            ),
            (
                vec![("clientid", &longer_id), ("clientsecret", "s")],
                "nodePublishSecretRef: clientid: expected at most 128 bytes, found 129",
            ),
            (vec![("clientid", "c")], "found no clientsecret"),
            (
                vec![("clientsecret", "s"), ("clientid", "")],
                "found no clientid",
            ),
            (
                vec![("clientsecret", "c"), ("clientid", "canary secret")],
                "expected a client ID",
            ),
        ] {
            let error = decide(&pairs).unwrap_err().to_string();
            assert!(
                error.contains(message) && !error.contains("canary"),
                "{error}"
            );
        }
    }
}
