//! What is said when an identity gets no token: Entra ID's, IMDS' and the AKS token proxy's refusals.

use super::ids::{or_placeholder, short};
use super::transport::{NO_TOKEN_PROXY, Server, of_transport};
use super::{Explanation, LATER, OUTAGE, Reason};
use crate::azure::credential::refusal::{EntraRefusal, ImdsRefusal};
use crate::azure::credential::token_proxy::TokenProxyError;
use crate::azure::credential::{TokenError, TokenService};
use crate::azure::limiter::{Limit, Overload};
use crate::class::asked::Asked;
use crate::class::cloud::PUBLIC_AUDIENCE;
use crate::class::identity::IdentityId;
use crate::text::excerpt::{Excerpt, causes};
use crate::transport::TransportError;

pub(super) fn of_token(asked: &Asked, error: &TokenError) -> Explanation {
    match error {
        TokenError::Entra(refusal) => of_entra(asked, refusal),
        TokenError::Imds(refusal) => of_imds(asked, refusal),
        TokenError::TokenProxy(refusal) => of_token_proxy(asked, refusal),
        TokenError::NoTokenProxy(error) => of_no_token_proxy(error),
        TokenError::Transport { service, source } => {
            of_transport(asked, source, Server::Tokens(*service))
        }
        TokenError::Timeout { .. } => Explanation {
            reason: Reason::Timeout,
            cause: error.to_string(),
            fix: format!("check that the nodes reach it; {LATER}"),
        },
        TokenError::Overload(overload) => of_overload(overload),
        TokenError::Client { problem } => Explanation {
            reason: Reason::Internal,
            cause: format!("a token cannot be asked for: {problem}"),
            fix: "check clientID and tenantID".to_owned(),
        },
        TokenError::Unreadable { service } => Explanation {
            reason: match service {
                TokenService::Entra => Reason::EntraUnavailable,
                TokenService::Imds => Reason::ImdsFailed,
                TokenService::TokenProxy => Reason::TokenProxyFailed,
            },
            cause: format!("{service} answered with something that is no token"),
            fix: "check what answers in its place from the nodes: a proxy may stand in between"
                .to_owned(),
        },
    }
}

/// Too much is asked of a service for this mount to wait.
fn of_overload(overload: &Overload) -> Explanation {
    let reason = match (overload.limit, overload.is_outage) {
        (Limit::Imds, false) => Reason::ImdsThrottled,
        (Limit::Imds, true) => Reason::ImdsFailed,
        (Limit::Entra | Limit::Vault, false) => Reason::EntraThrottled,
        (Limit::Entra | Limit::Vault, true) => Reason::EntraUnavailable,
    };
    Explanation {
        reason,
        cause: format!("no token can be asked for in time: {overload}"),
        fix: LATER.to_owned(),
    }
}

fn of_entra(asked: &Asked, refusal: &EntraRefusal) -> Explanation {
    let client_id = asked.identity.client_id().unwrap_or_default();
    let tenant = &asked.tenant;
    let who = if refusal.is_genuine {
        "Entra ID refused a token".to_owned()
    } else {
        format!("HTTP status {} instead of a token", refusal.status)
    };
    let refused = format!(
        "{who} to client {} ({}) in tenant {tenant}: {}",
        short(client_id),
        asked.identity.kind,
        refusal.description
    );
    let (reason, fix) = match refusal.code {
        Some(700_016) => (
            Reason::EntraAppNotFound,
            format!(
                "correct clientID or tenantID: az ad sp show --id {client_id} --query \
                 \"{{name:displayName,tenant:appOwnerOrganizationId}}\""
            ),
        ),
        Some(90_002 | 900_021 | 900_023) => (
            Reason::EntraTenantNotFound,
            format!(
                "set tenantID to the vault's tenant: az keyvault show --name {} --query properties.tenantId --output tsv",
                asked.vault
            ),
        ),
        // In general, for its issuer, audience or subject; and where there is none at all.
        Some(70_021 | 70_025 | 700_211 | 700_212 | 700_213 | 7_002_137) => (
            Reason::EntraNoFederatedCredential,
            federated_credential(asked, "create"),
        ),
        // The subject differs in case.
        Some(7_002_138) => (
            Reason::EntraNoFederatedCredential,
            format!(
                "correct the case of the subject in the existing credential instead of adding another: {}",
                federated_credential(asked, "update")
            ),
        ),
        // Federation as such, or of this issuer.
        Some(700_223 | 700_238 | 7_002_381) => (
            Reason::EntraRefused,
            format!(
                "ask the administrators of tenant {tenant}: one of their policies does not allow federated credentials from \
                 this issuer"
            ),
        ),
        // One that Entra ID has issued itself.
        Some(700_222 | 700_226 | 700_236) => (
            Reason::EntraRefused,
            "the token must be the pod's, from the cluster's issuer: check what --token-file has, or what stands in the \
             driver's place"
                .to_owned(),
        ),
        // Keys or metadata of the issuer that Entra ID cannot get, or that are old.
        Some(50_166 | 501_661 | 700_027 | 7_000_272) if asked.claims.is_some() => {
            (Reason::EntraRefused, issuer_keys(asked))
        }
        Some(500_011) => (
            Reason::EntraResourceNotFound,
            format!(
                "set cloudName to the cloud of the tenant and of vault {} (az cloud show --query name)",
                asked.vault
            ),
        ),
        Some(700_024) => (
            Reason::EntraTokenExpired,
            "check the clocks of the nodes; the kubelet renews the pod's token by itself"
                .to_owned(),
        ),
        Some(7_000_215 | 7_000_222) => (
            Reason::EntraBadClientSecret,
            format!(
                "put a new client secret into the Secret that nodePublishSecretRef names: az ad app credential reset --id \
                 {client_id} --append"
            ),
        ),
        _ if refusal.status == 429 => (Reason::EntraThrottled, LATER.to_owned()),
        _ if refusal.status >= 500 => (
            Reason::EntraUnavailable,
            OUTAGE.to_owned(),
        ),
        _ if !refusal.is_genuine => (
            Reason::EntraUnreachable,
            "check what answers in Entra ID's place from the nodes: a proxy or firewall (HTTPS_PROXY, NO_PROXY)"
                .to_owned(),
        ),
        _ => (
            Reason::EntraRefused,
            "look the AADSTS code up at https://login.microsoftonline.com/error".to_owned(),
        ),
    };
    Explanation {
        reason,
        cause: refused,
        fix,
    }
}

/// The command that makes Entra ID accept the pod's token, by a federated credential that is new or is there.
pub(super) fn federated_credential(asked: &Asked, verb: &str) -> String {
    let (issuer, subject) = match &asked.claims {
        Some(claims) => (shell_word(&claims.issuer), shell_word(&claims.subject)),
        None => (
            "ISSUER-OF-THE-CLUSTER".to_owned(),
            "system:serviceaccount:NAMESPACE:NAME".to_owned(),
        ),
    };
    let claimed = asked
        .claims
        .as_ref()
        .and_then(|claims| claims.audience.as_deref());
    let audience = shell_word(claimed.unwrap_or(PUBLIC_AUDIENCE));
    format!(
        "az identity federated-credential {verb} --name NAME --identity-name IDENTITY --resource-group GROUP --issuer \
         {issuer} --subject {subject} --audiences {audience}"
    )
}

/// Where the keys are that the cluster signs tokens with: Entra ID reads them from the internet.
fn issuer_keys(asked: &Asked) -> String {
    let issuer = asked.claims.as_ref().map(|claims| &claims.issuer);
    let issuer = issuer.map_or("ISSUER-OF-THE-CLUSTER".to_owned(), |issuer| {
        shell_word(issuer.trim_end_matches('/'))
    });
    format!(
        "check that the cluster's issuer publishes its current keys to the internet: curl \
         {issuer}/.well-known/openid-configuration, and the jwks_uri in it, which must have the keys of kubectl get \
         --raw /openid/v1/jwks; Entra ID notices new ones within the hour"
    )
}

/// What the token proxy says no to: Entra ID's words where it relays them, or its own.
fn of_token_proxy(asked: &Asked, refusal: &EntraRefusal) -> Explanation {
    let relayed = of_entra(asked, refusal);
    match (refusal.code, refusal.status) {
        (Some(_), _) if relayed.reason == Reason::EntraNoFederatedCredential => Explanation {
            fix: identity_binding(asked),
            ..relayed
        },
        (Some(_), _) => relayed,
        (None, status) => {
            let again = status == 429 || status >= 500;
            Explanation {
                reason: if again {
                    Reason::TokenProxyFailed
                } else {
                    Reason::TokenProxyRefused
                },
                cause: format!(
                    "the AKS token proxy gave no token to client {} ({}): HTTP status {status}: {}",
                    short(asked.identity.client_id().unwrap_or_default()),
                    asked.identity.kind,
                    or_placeholder(&refusal.description, "it says no more")
                ),
                fix: if again {
                    LATER.to_owned()
                } else {
                    identity_binding(asked)
                },
            }
        }
    }
}

/// What makes the token proxy give the identity's token to the pod.
///
/// Source: "Set up identity bindings on Azure Kubernetes Service (AKS)".
fn identity_binding(asked: &Asked) -> String {
    let client_id = asked.identity.client_id().unwrap_or("CLIENT-ID");
    let subject = match &asked.claims {
        Some(claims) => shell_word(&claims.subject),
        None => "system:serviceaccount:NAMESPACE:NAME".to_owned(),
    };
    format!(
        "bind the identity to the cluster: az aks identity-binding create --name NAME --cluster-name CLUSTER \
         --resource-group GROUP --managed-identity-resource-id RESOURCE-ID-OF-{client_id}, and let {subject} use it by \
         a ClusterRole with verb use-managed-identity on resource {client_id} of API group cid.wi.aks.azure.com"
    )
}

fn of_no_token_proxy(error: &TokenProxyError) -> Explanation {
    let elsewhere =
        "or say the token proxy's name with --sni-name (and its URL with --token-proxy-url)";
    let (reason, fix) = match error {
        TokenProxyError::Ca { .. } => (
            Reason::TlsNotTrusted,
            "give the provider the cluster's CA with --token-proxy-ca-file, or let the kubelet mount the service account \
             token into its pod (automountServiceAccountToken), which brings the CA with it"
                .to_owned(),
        ),
        TokenProxyError::ApiServer(TransportError::Certificate { .. }) => (
            Reason::TlsNotTrusted,
            format!("give the provider the cluster's CA with --token-proxy-ca-file, {elsewhere}"),
        ),
        TokenProxyError::ApiServer(TransportError::Timeout { .. }) => {
            (Reason::Timeout, format!("{NO_TOKEN_PROXY}, {elsewhere}"))
        }
        TokenProxyError::ApiServer(_) | TokenProxyError::NoClusterId | TokenProxyError::Client { .. } => (
            Reason::TokenProxyUnreachable,
            format!("{NO_TOKEN_PROXY}, {elsewhere}"),
        ),
    };
    Explanation {
        reason,
        cause: format!("the AKS token proxy gave no token: {}", causes(error)),
        fix,
    }
}

/// A claim as a word of a command line, or a placeholder where it is no plain word. The driver's tokens
/// are the kubelet's, but a message must not turn a forged one into a command.
fn shell_word(claim: &str) -> String {
    let plain = claim.len() <= 256
        && claim
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b":/._-".contains(&byte));
    if plain {
        claim.to_owned()
    } else {
        "VALUE-FROM-THE-TOKEN".to_owned()
    }
}

fn of_imds(asked: &Asked, refusal: &ImdsRefusal) -> Explanation {
    let identity = match &asked.identity.id {
        IdentityId::ClientId(id) => format!("client {}", short(id)),
        IdentityId::ObjectId(id) | IdentityId::ResourceId(id) => {
            format!("identity {}", Excerpt(id))
        }
        IdentityId::SystemAssigned => "the system-assigned identity".to_owned(),
    };
    let assign = match asked.identity.id.as_str() {
        Some(id) => format!("RESOURCE-ID-OF-{}", shell_word(id)),
        None => "'[system]'".to_owned(),
    };
    let refused = format!(
        "IMDS gave no token for {identity} of this node: {}",
        refusal.description
    );
    let description = refusal.description.to_lowercase();
    let (reason, cause, fix) = match refusal.status {
        400 if description.contains("multiple user assigned") => (
            Reason::IdentityAmbiguous,
            refused,
            "set userAssignedIdentityID to the client ID of one of the node's identities"
                .to_owned(),
        ),
        // IMDS has no code for it, and no other request of ours is one that it would not understand.
        400 if !description.contains("header") && !description.contains("api-version") => (
            Reason::IdentityNotAssigned,
            format!("{refused}: the identity isn't assigned to this resource"),
            format!(
                "set userAssignedIdentityID to an identity that the node has (az aks show --name CLUSTER \
                 --resource-group GROUP --query identityProfile.kubeletidentity.clientId), or assign it: az vmss \
                 identity assign --name NODE-POOL-SCALE-SET --resource-group NODE-GROUP --identities {assign}"
            ),
        ),
        429 => (
            Reason::ImdsThrottled,
            format!(
                "{refused}: too many requests from this node ({})",
                Limit::Imds
            ),
            LATER.to_owned(),
        ),
        _ => (
            Reason::ImdsFailed,
            format!("{refused} (HTTP status {})", refusal.status),
            format!("{LATER}; if it lasts, check what answers for 169.254.169.254 on the node"),
        ),
    };
    Explanation { reason, cause, fix }
}
