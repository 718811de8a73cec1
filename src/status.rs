//! [`Explanation`], what the caller reads when a mount fails: a gRPC code, a reason code that stays the
//! same from release to release, the cause, and the fix.
//!
//! The only place in the tree that decides codes. The message is one line, because it is what
//! `kubectl describe pod` shows: `[REASON] cause. Fix: fix`.
//!
//! Which gRPC codes: the driver retries `UNAVAILABLE` within the same call, up to three times, and the
//! kubelet retries everything in its own time. So `UNAVAILABLE` is only used where a second call at once
//! would reach a provider that works (see docs/decisions/0004).

use std::fmt;

use thiserror::Error;
use tonic::Code;

use crate::cloud::environment_file::EnvironmentFileError;
use crate::credential::refusal::{EntraRefusal, ImdsRefusal};
use crate::credential::{TokenError, TokenService};
use crate::excerpt::{Excerpt, causes};
use crate::identity::IdentityError;
use crate::mount::{Asked, Failure, MountError, ObjectFailure, ObjectProblem};
use crate::object::{ObjectKind, ObjectVersion};
use crate::parameters::ParameterError;
use crate::plan::PlanError;
use crate::problems::Problems;
use crate::rendering::RenderError;
use crate::request::RequestError;
use crate::transport::TransportError;
use crate::vault::VaultError;
use crate::vault::refusal::{Operation, VaultRefusal};

/// Why a call got no files.
#[derive(Debug, Error)]
pub enum CallError {
    /// The call is not one that a driver makes.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The class cannot be served.
    #[error(transparent)]
    Parameters(#[from] Problems<ParameterError>),
    /// The class's cloud is not known.
    #[error(transparent)]
    Cloud(#[from] EnvironmentFileError),
    /// The class's files cannot be in one volume.
    #[error(transparent)]
    Plan(#[from] Problems<PlanError>),
    /// Azure gave no objects.
    #[error(transparent)]
    Mount(#[from] Box<MountError>),
    /// The answer is larger than the driver takes.
    #[error("the answer is too large")]
    TooLarge {
        /// The size of all files in bytes.
        bytes: usize,
    },
    /// A bug.
    #[error("the mount panicked")]
    Panicked,
}

/// A stable word for a cause, for people to search for and for alerts to match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// The call is not one that a driver makes.
    InvalidRequest,
    /// The class has a parameter that cannot be.
    InvalidParameter,
    /// Two objects want one path.
    PathConflict,
    /// The class names no identity.
    IdentityMissing,
    /// The driver sends no token of the audience that workload identity needs.
    TokenAudienceMissing,
    /// The files are larger than the driver takes.
    AnswerTooLarge,
    /// The node does not have the identity.
    IdentityNotAssigned,
    /// The node has several identities and the class names none.
    IdentityAmbiguous,
    /// IMDS cannot be reached.
    ImdsUnreachable,
    /// IMDS answers and gives no token.
    ImdsFailed,
    /// Entra ID knows no such application in the tenant.
    EntraAppNotFound,
    /// Entra ID knows no such tenant.
    EntraTenantNotFound,
    /// No federated credential matches the pod's token.
    EntraNoFederatedCredential,
    /// The pod's token has expired, or clocks differ.
    EntraTokenExpired,
    /// Entra ID refuses for another reason.
    EntraRefused,
    /// Entra ID asks for fewer requests.
    EntraThrottled,
    /// Entra ID answers with errors of its own making.
    EntraUnavailable,
    /// Entra ID cannot be reached.
    EntraUnreachable,
    /// The vault's access policies do not allow it.
    KvAccessDenied,
    /// The vault's role assignments do not allow it.
    KvRbacDenied,
    /// The vault's firewall does not allow it.
    KvFirewallDenied,
    /// The object is disabled.
    KvObjectDisabled,
    /// The vault refuses for another reason.
    KvForbidden,
    /// The vault has no such object.
    KvObjectNotFound,
    /// The object's value cannot become the file that the class asks for.
    KvObjectUnusable,
    /// The vault does not take the token.
    KvTokenRejected,
    /// The vault asks for fewer requests.
    KvThrottled,
    /// The vault answers with errors of its own making.
    KvUnavailable,
    /// The vault's host has no address.
    KvHostNotFound,
    /// The vault cannot be reached.
    KvUnreachable,
    /// The vault answers with something that is not Key Vault's.
    KvUnexpectedAnswer,
    /// A server's certificate is not accepted.
    TlsNotTrusted,
    /// Time ran out.
    Timeout,
    /// A bug.
    Internal,
}

impl Reason {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "INVALID_REQUEST",
            Self::InvalidParameter => "INVALID_PARAMETER",
            Self::PathConflict => "PATH_CONFLICT",
            Self::IdentityMissing => "IDENTITY_MISSING",
            Self::TokenAudienceMissing => "TOKEN_AUDIENCE_MISSING",
            Self::AnswerTooLarge => "ANSWER_TOO_LARGE",
            Self::IdentityNotAssigned => "IDENTITY_NOT_ASSIGNED",
            Self::IdentityAmbiguous => "IDENTITY_AMBIGUOUS",
            Self::ImdsUnreachable => "IMDS_UNREACHABLE",
            Self::ImdsFailed => "IMDS_FAILED",
            Self::EntraAppNotFound => "ENTRA_APP_NOT_FOUND",
            Self::EntraTenantNotFound => "ENTRA_TENANT_NOT_FOUND",
            Self::EntraNoFederatedCredential => "ENTRA_NO_FEDERATED_CREDENTIAL",
            Self::EntraTokenExpired => "ENTRA_TOKEN_EXPIRED",
            Self::EntraRefused => "ENTRA_REFUSED",
            Self::EntraThrottled => "ENTRA_THROTTLED",
            Self::EntraUnavailable => "ENTRA_UNAVAILABLE",
            Self::EntraUnreachable => "ENTRA_UNREACHABLE",
            Self::KvAccessDenied => "KV_ACCESS_DENIED",
            Self::KvRbacDenied => "KV_RBAC_DENIED",
            Self::KvFirewallDenied => "KV_FIREWALL_DENIED",
            Self::KvObjectDisabled => "KV_OBJECT_DISABLED",
            Self::KvForbidden => "KV_FORBIDDEN",
            Self::KvObjectNotFound => "KV_OBJECT_NOT_FOUND",
            Self::KvObjectUnusable => "KV_OBJECT_UNUSABLE",
            Self::KvTokenRejected => "KV_TOKEN_REJECTED",
            Self::KvThrottled => "KV_THROTTLED",
            Self::KvUnavailable => "KV_UNAVAILABLE",
            Self::KvHostNotFound => "KV_HOST_NOT_FOUND",
            Self::KvUnreachable => "KV_UNREACHABLE",
            Self::KvUnexpectedAnswer => "KV_UNEXPECTED_ANSWER",
            Self::TlsNotTrusted => "TLS_NOT_TRUSTED",
            Self::Timeout => "TIMEOUT",
            Self::Internal => "INTERNAL",
        }
    }

    /// The gRPC code that goes with it.
    pub fn code(self) -> Code {
        match self {
            Self::InvalidRequest
            | Self::InvalidParameter
            | Self::PathConflict
            | Self::IdentityMissing
            | Self::TokenAudienceMissing => Code::InvalidArgument,
            // Somebody must change something in Azure or in the cluster first.
            Self::IdentityNotAssigned
            | Self::IdentityAmbiguous
            | Self::ImdsUnreachable
            | Self::EntraUnreachable
            | Self::KvObjectDisabled
            | Self::KvObjectUnusable
            | Self::KvHostNotFound
            | Self::KvUnreachable
            | Self::KvUnexpectedAnswer
            | Self::TlsNotTrusted => Code::FailedPrecondition,
            Self::EntraAppNotFound
            | Self::EntraTenantNotFound
            | Self::EntraNoFederatedCredential
            | Self::EntraTokenExpired
            | Self::EntraRefused
            | Self::KvTokenRejected => Code::Unauthenticated,
            Self::KvAccessDenied
            | Self::KvRbacDenied
            | Self::KvFirewallDenied
            | Self::KvForbidden => Code::PermissionDenied,
            Self::KvObjectNotFound => Code::NotFound,
            Self::EntraThrottled | Self::KvThrottled | Self::AnswerTooLarge => {
                Code::ResourceExhausted
            }
            // The whole mount may go well later; the kubelet sees to that.
            Self::ImdsFailed | Self::EntraUnavailable | Self::KvUnavailable => Code::Aborted,
            Self::Timeout => Code::DeadlineExceeded,
            Self::Internal => Code::Internal,
        }
    }
}

/// What the caller reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The stable word.
    pub reason: Reason,
    /// What happened, as a sentence without its full stop.
    pub cause: String,
    /// What to do about it, if possible a command that can be pasted.
    pub fix: String,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cause = self.cause.trim_end_matches('.');
        write!(f, "[{}] {cause}. Fix: {}", self.reason.as_str(), self.fix)
    }
}

/// Where a class is corrected: the driver lays the pod's own attributes over it.
const IN_THE_CLASS: &str =
    "correct it in the SecretProviderClass (or in the pod's volumeAttributes, which override it)";
const LATER: &str = "the kubelet tries again by itself";

impl Explanation {
    /// Explains why a call got no files.
    pub fn of(error: &CallError) -> Self {
        match error {
            CallError::Request(error) => Self {
                reason: Reason::InvalidRequest,
                cause: error.to_string(),
                fix: "use the Secrets Store CSI Driver v1.3 or newer, with the CSIDriver object that its chart installs"
                    .to_owned(),
            },
            CallError::Parameters(problems) => Self {
                cause: problems.to_string(),
                ..problems.first().map_or_else(Self::of_nothing, Self::of_parameter)
            },
            CallError::Cloud(error) => Self {
                reason: Reason::InvalidParameter,
                cause: error.to_string(),
                fix: format!(
                    "{IN_THE_CLASS}, or let the provider's --cloud-env-dir name the folder that the file is in"
                ),
            },
            CallError::Plan(problems) => Self {
                cause: problems.to_string(),
                ..problems.first().map_or_else(Self::of_nothing, Self::of_plan)
            },
            CallError::Mount(error) => of_mount(error),
            CallError::TooLarge { bytes } => Self {
                reason: Reason::AnswerTooLarge,
                cause: format!("the files of this volume have {bytes} bytes, more than the driver takes in one answer"),
                fix: "start the driver with --max-call-recv-msg-size above that, and the provider with \
                      --max-answer-size likewise, or spread the objects over several classes"
                    .to_owned(),
            },
            CallError::Panicked => Self {
                reason: Reason::Internal,
                cause: "the provider has a bug that this mount met; other mounts go on".to_owned(),
                fix: "report it with the provider's log around this moment".to_owned(),
            },
        }
    }

    /// Explains why one parameter is refused.
    pub fn of_parameter(error: &ParameterError) -> Self {
        let (reason, fix) = match error {
            ParameterError::Identity(IdentityError::None) => {
                (Reason::IdentityMissing, IN_THE_CLASS.to_owned())
            }
            ParameterError::Identity(IdentityError::NoToken { audience, .. }) => (
                Reason::TokenAudienceMissing,
                format!(
                    "kubectl patch csidriver secrets-store.csi.k8s.io --type merge --patch \
                     '{{\"spec\":{{\"tokenRequests\":[{{\"audience\":\"{audience}\"}}]}}}}'"
                ),
            ),
            _ => (Reason::InvalidParameter, IN_THE_CLASS.to_owned()),
        };
        Self {
            reason,
            cause: error.to_string(),
            fix,
        }
    }

    /// Explains why two entries of a class do not go together.
    pub fn of_plan(error: &PlanError) -> Self {
        Self {
            reason: Reason::PathConflict,
            cause: error.to_string(),
            fix: IN_THE_CLASS.to_owned(),
        }
    }

    /// Explains a failure of which no cause is known, which is a bug.
    fn of_nothing() -> Self {
        Self {
            reason: Reason::Internal,
            cause: "the mount failed, and no cause is known".to_owned(),
            fix: "report it with the provider's log around this moment".to_owned(),
        }
    }
}

fn of_mount(error: &MountError) -> Explanation {
    let MountError { asked, failure } = error;
    match failure {
        Failure::Objects(failures) => of_objects(asked, failures),
        Failure::Whole(error) => of_vault(asked, error, None),
        Failure::SamePath(path) => Explanation {
            reason: Reason::PathConflict,
            cause: format!(
                "two objects both write the file {} (a certificate gives a .crt and a .key file too)",
                Excerpt(path)
            ),
            fix: format!("give one of them another objectAlias: {IN_THE_CLASS}"),
        },
        Failure::Deadline { after, waiting_for } => {
            let whom = match waiting_for {
                Some(service) => format!("a token from {service}"),
                None => format!("Key Vault {:?} ({})", asked.vault, asked.host),
            };
            Explanation {
                reason: Reason::Timeout,
                cause: format!(
                    "no answer within {:.1} s; waiting for {whom}",
                    after.as_secs_f64()
                ),
                fix: format!("check that the nodes reach it; {LATER}"),
            }
        }
    }
}

/// Several objects may fail for several reasons: the first one's is the answer's, and the others follow.
fn of_objects(asked: &Asked, failures: &[ObjectFailure]) -> Explanation {
    const MAX_NAMED: usize = 10;
    let explained: Vec<_> = failures
        .iter()
        .map(|failure| of_object(asked, failure))
        .collect();
    let Some(first) = explained.first() else {
        return Explanation {
            reason: Reason::Internal,
            cause: "objects failed, and none is known".to_owned(),
            fix: "report it with the provider's log around this moment".to_owned(),
        };
    };
    let mut cause = first.cause.clone();
    if failures.len() > 1 {
        let others: Vec<_> = failures
            .iter()
            .zip(&explained)
            .skip(1)
            .take(MAX_NAMED)
            .map(|(failure, why)| {
                if why.reason == first.reason {
                    named(failure)
                } else {
                    format!("{} [{}]", named(failure), why.reason.as_str())
                }
            })
            .collect();
        let unnamed = failures.len() - 1 - others.len();
        cause = format!(
            "{}; likewise {}",
            cause.trim_end_matches('.'),
            others.join(", ")
        );
        if unnamed > 0 {
            cause = format!("{cause} and {unnamed} more");
        }
    }
    Explanation {
        cause,
        ..first.clone()
    }
}

/// Why one object cannot be had.
fn of_object(asked: &Asked, failure: &ObjectFailure) -> Explanation {
    let vault = &asked.vault;
    let what = named(failure);
    let unusable = |problem: &(dyn std::error::Error + 'static), fix: &str| Explanation {
        reason: Reason::KvObjectUnusable,
        cause: format!(
            "{what} in Key Vault {vault:?} cannot become a file: {}",
            causes(problem)
        ),
        fix: fix.to_owned(),
    };
    match &failure.problem {
        ObjectProblem::Vault(error) => of_vault(asked, error, Some(failure)),
        ObjectProblem::NoVersion { there_are } => {
            let there_are = match there_are.as_slice() {
                [] => "it has no version that is enabled".to_owned(),
                newest => format!("the newest that are enabled are {}", newest.join(", ")),
            };
            Explanation {
                reason: Reason::KvObjectNotFound,
                cause: format!(
                    "Key Vault {vault:?} has no {what} to start a history from: {there_are}"
                ),
                fix: format!(
                    "correct objectVersion, or enable it: az keyvault {} list-versions --vault-name {vault} --name {}",
                    failure.fetch.kind.azure_name(),
                    failure.fetch.name.as_str()
                ),
            }
        }
        ObjectProblem::Secret(error @ RenderError::Encoding(_)) => unusable(
            error,
            "correct objectEncoding in the SecretProviderClass, or the secret's value in the vault",
        ),
        ObjectProblem::Secret(error) => unusable(
            error,
            "import the certificate again, with an empty password, or take the stored file as it is with \
             objectFormat: pfx",
        ),
        ObjectProblem::Key(error) => unusable(
            error,
            "use a key of type RSA or EC, or take it out of objects",
        ),
    }
}

/// `secret "X"`, with its version where one was asked for.
fn named(failure: &ObjectFailure) -> String {
    let fetch = &failure.fetch;
    let version = match &fetch.version {
        ObjectVersion::Latest => String::new(),
        ObjectVersion::Exact(version) => format!(" version {}", version.as_str()),
    };
    format!("{} {:?}{version}", fetch.kind.as_str(), fetch.name.as_str())
}

fn of_vault(asked: &Asked, error: &VaultError, object: Option<&ObjectFailure>) -> Explanation {
    match error {
        VaultError::Token(error) => of_token(asked, error),
        VaultError::Refused(refusal) => of_refusal(asked, refusal, object),
        VaultError::Transport(error) => of_transport(asked, error, Server::Vault),
        VaultError::Unreadable { missing } => Explanation {
            reason: Reason::KvUnexpectedAnswer,
            cause: format!(
                "Key Vault {:?} ({}) answered without {missing} for {}",
                asked.vault,
                asked.host,
                object.map_or_else(|| "an object".to_owned(), named)
            ),
            fix: format!(
                "check what answers for {} from the nodes: a proxy or a private endpoint may stand in between",
                asked.host
            ),
        },
        VaultError::Client { problem } => Explanation {
            reason: Reason::KvUnexpectedAnswer,
            cause: format!(
                "Key Vault {:?} ({}) cannot be used: {problem}",
                asked.vault, asked.host
            ),
            fix: format!(
                "check what answers for {} from the nodes, and that cloudName is the vault's cloud",
                asked.host
            ),
        },
    }
}

/// What the vault itself says no to.
fn of_refusal(
    asked: &Asked,
    refusal: &VaultRefusal,
    object: Option<&ObjectFailure>,
) -> Explanation {
    if refusal.status == 403 {
        return of_denial(asked, refusal, object);
    }
    let Asked {
        vault,
        host,
        tenant,
        ..
    } = asked;
    let kind = object.map_or("secret", |object| object.fetch.kind.azure_name());
    let what = object.map_or_else(|| "an object".to_owned(), named);
    let message = &refusal.message;
    let look = format!("check what answers for {host} from the nodes");
    let (reason, cause, fix) = match (refusal.status, refusal.code.as_str()) {
        (404, "") => (
            Reason::KvUnexpectedAnswer,
            format!("something that is not Key Vault answered for {host}: {message}"),
            look,
        ),
        (404, _) => (
            Reason::KvObjectNotFound,
            format!("Key Vault {vault:?} has no {what}"),
            format!(
                "correct objectName or objectVersion, or create it: az keyvault {kind} list --vault-name {vault} \
                 shows what there is, and az keyvault {kind} list-deleted --vault-name {vault} what can be recovered"
            ),
        ),
        (401, _) => (
            Reason::KvTokenRejected,
            format!(
                "Key Vault {vault:?} does not take the token of {} from tenant {tenant}: {message}",
                who(asked, refusal)
            ),
            format!(
                "set tenantID to the vault's tenant: az keyvault show --name {vault} --query properties.tenantId \
                 --output tsv"
            ),
        ),
        (429, _) => (
            Reason::KvThrottled,
            format!(
                "Key Vault {vault:?} asks for fewer requests (its limit is 4,000 in 10 s per vault and region): \
                 {message}"
            ),
            format!(
                "{LATER}; if it lasts, raise the driver's --rotation-poll-interval or spread objects over vaults"
            ),
        ),
        (status, _) if status >= 500 => (
            Reason::KvUnavailable,
            format!("Key Vault {vault:?} failed with HTTP status {status}: {message}"),
            format!("{LATER}; see https://azure.status.microsoft for an outage"),
        ),
        (status, _) => (
            Reason::KvUnexpectedAnswer,
            format!(
                "Key Vault {vault:?} answered \"get\" on {what} with HTTP status {status}: {message}"
            ),
            look,
        ),
    };
    Explanation { reason, cause, fix }
}

/// A 403: there are as many fixes as there are ways to be denied.
fn of_denial(asked: &Asked, refusal: &VaultRefusal, object: Option<&ObjectFailure>) -> Explanation {
    let vault = &asked.vault;
    let what = object.map_or_else(|| "an object".to_owned(), named);
    let name = object.map_or("NAME", |object| object.fetch.name.as_str());
    let kind = object.map_or("secret", |object| object.fetch.kind.azure_name());
    let object_id = or_placeholder(&refusal.caller.object_id, "OBJECT-ID-OF-THE-IDENTITY");
    let refused = format!(
        "Key Vault {vault:?} refused {:?} on {what} to {}",
        refusal.operation.as_str(),
        who(asked, refusal)
    );
    // A list is only asked for together with what is in it.
    let permissions = match refusal.operation {
        Operation::Get => "get",
        Operation::List => "get list",
    };
    let role = match object.map(|object| object.fetch.kind) {
        Some(ObjectKind::Key) => "Key Vault Crypto User",
        Some(ObjectKind::Certificate) => "Key Vault Certificate User",
        Some(ObjectKind::Secret) | None => "Key Vault Secrets User",
    };
    let (reason, cause, fix) = match refusal.inner_code.as_str() {
        "AccessDenied" => (
            Reason::KvAccessDenied,
            format!("{refused}: its access policies do not allow it"),
            format!(
                "az keyvault set-policy --name {vault} --object-id {object_id} --{kind}-permissions {permissions}"
            ),
        ),
        "ForbiddenByRbac" => (
            Reason::KvRbacDenied,
            format!("{refused}: it has no role assignment that allows it"),
            format!(
                "az role assignment create --role \"{role}\" --assignee-object-id {object_id} \
                 --assignee-principal-type ServicePrincipal --scope \"$(az keyvault show --name {vault} --query id \
                 --output tsv)\" (it takes up to ten minutes to count)"
            ),
        ),
        "ForbiddenByFirewall" | "ForbiddenByConnection" => (
            Reason::KvFirewallDenied,
            format!(
                "{refused}: its firewall does not let the node in: {}",
                refusal.message
            ),
            format!(
                "az keyvault network-rule add --name {vault} --subnet SUBNET-ID-OF-THE-NODES, or give the nodes a \
                 private endpoint to it"
            ),
        ),
        "SecretDisabled" | "KeyDisabled" | "CertificateDisabled" => (
            Reason::KvObjectDisabled,
            format!("{what} in Key Vault {vault:?} is disabled"),
            format!(
                "az keyvault {kind} set-attributes --vault-name {vault} --name {name} --enabled true"
            ),
        ),
        _ => (
            Reason::KvForbidden,
            format!("{refused}: {}", refusal.message),
            format!(
                "see its access policies, role assignments and network rules: az keyvault show --name {vault} --query \
                 properties"
            ),
        ),
    };
    Explanation { reason, cause, fix }
}

/// Who asked, short: `client e502213f…`, or the kind of identity where there is no ID.
fn who(asked: &Asked, refusal: &VaultRefusal) -> String {
    let client_id = Some(refusal.caller.client_id.as_str())
        .filter(|id| !id.is_empty())
        .or(asked.client_id.as_deref());
    match client_id {
        Some(id) => format!("client {} ({})", short(id), asked.identity),
        None => format!("the node's system-assigned {}", asked.identity),
    }
}

/// The first part of an ID is enough to tell it from others.
fn short(id: &str) -> String {
    match id.char_indices().nth(8) {
        Some((end, _)) => format!("{}…", &id[..end]),
        None => id.to_owned(),
    }
}

fn or_placeholder<'a>(value: &'a str, placeholder: &'a str) -> &'a str {
    if value.is_empty() { placeholder } else { value }
}

fn of_token(asked: &Asked, error: &TokenError) -> Explanation {
    match error {
        TokenError::Entra(refusal) => of_entra(asked, refusal),
        TokenError::Imds(refusal) => of_imds(asked, refusal),
        TokenError::Transport { service, source } => {
            of_transport(asked, source, Server::Tokens(*service))
        }
        TokenError::Timeout { service, after } => Explanation {
            reason: Reason::Timeout,
            cause: format!("{service} gave no token within {} s", after.as_secs()),
            fix: format!("check that the nodes reach it; {LATER}"),
        },
        TokenError::Unreadable { service } => Explanation {
            reason: match service {
                TokenService::Entra => Reason::EntraUnavailable,
                TokenService::Imds => Reason::ImdsFailed,
            },
            cause: format!("{service} answered with something that is no token"),
            fix: "check what answers in its place from the nodes: a proxy may stand in between"
                .to_owned(),
        },
    }
}

fn of_entra(asked: &Asked, refusal: &EntraRefusal) -> Explanation {
    let client_id = asked.client_id.as_deref().unwrap_or_default();
    let tenant = &asked.tenant;
    let refused = format!(
        "Entra ID refused a token to client {} ({}) in tenant {tenant}: {}",
        short(client_id),
        asked.identity,
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
        Some(70_021 | 700_211 | 700_212 | 700_213) => (
            Reason::EntraNoFederatedCredential,
            federated_credential(asked),
        ),
        Some(700_024) => (
            Reason::EntraTokenExpired,
            "check the clocks of the nodes; the kubelet renews the pod's token by itself"
                .to_owned(),
        ),
        _ if refusal.status == 429 => (Reason::EntraThrottled, LATER.to_owned()),
        _ if refusal.status >= 500 => (
            Reason::EntraUnavailable,
            format!("{LATER}; see https://azure.status.microsoft for an outage"),
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

/// The command that makes Entra ID accept the pod's token.
fn federated_credential(asked: &Asked) -> String {
    let (issuer, subject) = match &asked.claims {
        Some(claims) => (shell_word(&claims.issuer), shell_word(&claims.subject)),
        None => (
            "ISSUER-OF-THE-CLUSTER".to_owned(),
            "system:serviceaccount:NAMESPACE:NAME".to_owned(),
        ),
    };
    format!(
        "az identity federated-credential create --name NAME --identity-name IDENTITY --resource-group GROUP --issuer \
         {issuer} --subject {subject} --audiences {}",
        crate::identity::WORKLOAD_IDENTITY_AUDIENCE
    )
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
    let identity = match &asked.client_id {
        Some(id) => format!("client {}", short(id)),
        None => "the system-assigned identity".to_owned(),
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
        400 => (
            Reason::IdentityNotAssigned,
            format!("{refused}: the identity isn't assigned to this resource"),
            format!(
                "set userAssignedIdentityID to an identity that the node has (az aks show --name CLUSTER \
                 --resource-group GROUP --query identityProfile.kubeletidentity.clientId), or assign it: az vmss \
                 identity assign --name NODE-POOL-SCALE-SET --resource-group NODE-GROUP --identities \
                 RESOURCE-ID-OF-{}",
                asked.client_id.as_deref().unwrap_or("THE-IDENTITY")
            ),
        ),
        429 => (
            Reason::ImdsFailed,
            format!("{refused}: too many requests from this node"),
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

/// The server that a transport failure is about.
#[derive(Clone, Copy)]
enum Server {
    Vault,
    Tokens(TokenService),
}

fn of_transport(asked: &Asked, error: &TransportError, server: Server) -> Explanation {
    let unreachable = match server {
        Server::Vault => Reason::KvUnreachable,
        Server::Tokens(TokenService::Entra) => Reason::EntraUnreachable,
        Server::Tokens(TokenService::Imds) => Reason::ImdsUnreachable,
    };
    let vault = &asked.vault;
    let way = match server {
        Server::Vault => format!(
            "check the way from the nodes to {}:443: DNS, NetworkPolicy, firewall, HTTPS_PROXY; az keyvault show --name \
             {vault} --query properties.networkAcls",
            asked.host
        ),
        Server::Tokens(TokenService::Entra) => {
            "check the way from the nodes to Entra ID: DNS, NetworkPolicy, firewall, HTTPS_PROXY".to_owned()
        }
        Server::Tokens(TokenService::Imds) => {
            "run the provider with hostNetwork: true, or let NetworkPolicy and the node's firewall pass \
             169.254.169.254:80; on machines outside Azure use workload identity instead"
                .to_owned()
        }
    };
    let (reason, fix) = match (error, server) {
        (TransportError::Dns { host, .. }, Server::Vault) => (
            Reason::KvHostNotFound,
            format!(
                "correct keyvaultName (az keyvault list --query \"[].name\"), or make the nodes' DNS know {host} (a \
                 private endpoint needs its private DNS zone linked)"
            ),
        ),
        (TransportError::Certificate { .. }, _) => (
            Reason::TlsNotTrusted,
            "if a proxy or firewall inspects TLS, give the provider its CA with --ca-file or SSL_CERT_FILE; otherwise \
             check the node's clock and what answers for that host"
                .to_owned(),
        ),
        (TransportError::Timeout { .. }, _) => (Reason::Timeout, way),
        (TransportError::TooLarge { .. } | TransportError::ForeignHost { .. }, Server::Vault) => {
            (Reason::KvUnexpectedAnswer, format!("check what answers for {} from the nodes", asked.host))
        }
        _ => (unreachable, way),
    };
    let cause = match server {
        Server::Vault => format!("Key Vault {vault:?}: {error}"),
        Server::Tokens(service) => format!("{service} gave no token: {error}"),
    };
    Explanation { reason, cause, fix }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file_mode::FileMode;
    use crate::object::{FilePath, ObjectName};
    use crate::plan::Fetch;
    use crate::transport::Refusal;

    fn asked() -> Asked {
        Asked {
            vault: "kv1".into(),
            host: "kv1.vault.azure.net".into(),
            tenant: "t1".into(),
            identity: "managed identity",
            client_id: Some("e502213f-1f15-4f03-9fb4-b546f51aafe9".into()),
            claims: None,
        }
    }

    fn refusal(status: u16, code: &str, inner: &str, message: &str) -> VaultError {
        let body = serde_json::json!({
            "error": { "code": code, "message": message, "innererror": { "code": inner } }
        });
        let body = body.to_string().into();
        let refusal = Refusal {
            host: "kv1.vault.azure.net".into(),
            status,
            retry_after: None,
            body,
        };
        VaultError::Refused(Box::new(VaultRefusal::read(&refusal, Operation::Get)))
    }

    fn failed(name: &str, error: VaultError) -> ObjectFailure {
        let fetch = Fetch {
            kind: ObjectKind::Secret,
            name: ObjectName::new(name).unwrap(),
            version: ObjectVersion::Latest,
            history: None,
            rendering: crate::rendering::Rendering::default(),
            path: FilePath::new(name).unwrap(),
            mode: FileMode::new(0o644).unwrap(),
            id: format!("secret/{name}"),
        };
        ObjectFailure {
            fetch,
            problem: error.into(),
        }
    }

    fn explain(failure: Failure) -> Explanation {
        Explanation::of(&CallError::Mount(Box::new(MountError {
            asked: asked(),
            failure,
        })))
    }

    #[test]
    fn a_refusal_by_access_policy_says_who_asked_and_what_to_run() {
        let text = "The user, group or application 'appid=e502213f-1f15-4f03-9fb4-b546f51aafe9;oid=301f31b4-678d;\
                    iss=https://sts.windows.net/t/' does not have secrets get permission on key vault 'kv1'.";
        let error = refusal(403, "Forbidden", "AccessDenied", text);
        assert_eq!(
            explain(Failure::Objects(vec![failed("X", error)])).to_string(),
            "[KV_ACCESS_DENIED] Key Vault \"kv1\" refused \"get\" on secret \"X\" to client e502213f… (managed \
             identity): its access policies do not allow it. Fix: az keyvault set-policy --name kv1 --object-id \
             301f31b4-678d --secret-permissions get"
        );
    }

    #[test]
    fn every_refusal_of_the_vault_has_its_reason_and_code() {
        for (status, code, inner, reason, grpc) in [
            (
                403,
                "Forbidden",
                "AccessDenied",
                Reason::KvAccessDenied,
                Code::PermissionDenied,
            ),
            (
                403,
                "Forbidden",
                "ForbiddenByRbac",
                Reason::KvRbacDenied,
                Code::PermissionDenied,
            ),
            (
                403,
                "Forbidden",
                "ForbiddenByFirewall",
                Reason::KvFirewallDenied,
                Code::PermissionDenied,
            ),
            (
                403,
                "Forbidden",
                "SecretDisabled",
                Reason::KvObjectDisabled,
                Code::FailedPrecondition,
            ),
            (
                403,
                "Forbidden",
                "ForbiddenByPolicy",
                Reason::KvForbidden,
                Code::PermissionDenied,
            ),
            (
                404,
                "SecretNotFound",
                "",
                Reason::KvObjectNotFound,
                Code::NotFound,
            ),
            (
                401,
                "Unauthorized",
                "",
                Reason::KvTokenRejected,
                Code::Unauthenticated,
            ),
            (
                429,
                "Throttled",
                "",
                Reason::KvThrottled,
                Code::ResourceExhausted,
            ),
            (
                500,
                "InternalServerError",
                "",
                Reason::KvUnavailable,
                Code::Aborted,
            ),
            (
                503,
                "ServiceUnavailable",
                "",
                Reason::KvUnavailable,
                Code::Aborted,
            ),
            (
                302,
                "",
                "",
                Reason::KvUnexpectedAnswer,
                Code::FailedPrecondition,
            ),
            (
                400,
                "BadParameter",
                "",
                Reason::KvUnexpectedAnswer,
                Code::FailedPrecondition,
            ),
        ] {
            let explanation = explain(Failure::Whole(refusal(status, code, inner, "words")));
            assert_eq!(
                (explanation.reason, explanation.reason.code()),
                (reason, grpc),
                "{status} {inner}"
            );
            assert!(!explanation.fix.is_empty());
        }
    }

    #[test]
    fn every_refusal_of_an_identity_has_its_reason() {
        let entra = |status, code: u32| {
            let body = format!(
                r#"{{"error":"e","error_description":"AADSTS{code}: words","error_codes":[{code}]}}"#
            );
            let refusal = Refusal {
                host: "login".into(),
                status,
                retry_after: None,
                body: body.into(),
            };
            TokenError::Entra(EntraRefusal::read(&refusal))
        };
        let imds = |status, text: &str| {
            let body = format!(r#"{{"error":"invalid_request","error_description":"{text}"}}"#);
            let refusal = Refusal {
                host: "imds".into(),
                status,
                retry_after: None,
                body: body.into(),
            };
            TokenError::Imds(ImdsRefusal::read(&refusal))
        };
        let timeout = |service| TokenError::Timeout {
            service,
            after: std::time::Duration::from_secs(20),
        };
        for (error, reason, words) in [
            (
                entra(400, 700_016),
                Reason::EntraAppNotFound,
                "az ad sp show --id e502213f",
            ),
            (
                entra(400, 90_002),
                Reason::EntraTenantNotFound,
                "az keyvault show --name kv1",
            ),
            (
                entra(400, 70_021),
                Reason::EntraNoFederatedCredential,
                "federated-credential create",
            ),
            (
                entra(400, 700_211),
                Reason::EntraNoFederatedCredential,
                "--audiences api://AzureADTokenExchange",
            ),
            (entra(401, 700_024), Reason::EntraTokenExpired, "clocks"),
            (entra(401, 7_000_215), Reason::EntraRefused, "AADSTS7000215"),
            (entra(429, 90_055), Reason::EntraThrottled, "kubelet"),
            (entra(503, 90_033), Reason::EntraUnavailable, "kubelet"),
            (
                imds(400, "Identity not found"),
                Reason::IdentityNotAssigned,
                "the identity isn't assigned to this resource",
            ),
            (
                imds(400, "Multiple user assigned identities exist"),
                Reason::IdentityAmbiguous,
                "userAssignedIdentityID",
            ),
            (imds(500, "x"), Reason::ImdsFailed, "HTTP status 500"),
            (
                timeout(TokenService::Imds),
                Reason::Timeout,
                "IMDS gave no token within 20 s",
            ),
            (
                TokenError::Unreadable {
                    service: TokenService::Entra,
                },
                Reason::EntraUnavailable,
                "no token",
            ),
        ] {
            let explanation = explain(Failure::Whole(VaultError::Token(Box::new(error))));
            assert_eq!(explanation.reason, reason);
            assert!(
                explanation.to_string().contains(words),
                "{explanation} should contain {words}"
            );
        }
    }

    #[test]
    fn several_objects_are_named_in_one_answer() {
        let mut failures = vec![
            failed("a", refusal(404, "SecretNotFound", "", "gone")),
            failed("b", refusal(403, "Forbidden", "SecretDisabled", "off")),
        ];
        let text = explain(Failure::Objects(failures)).to_string();
        assert!(
            text.contains("has no secret \"a\"; likewise secret \"b\" [KV_OBJECT_DISABLED]. Fix:"),
            "{text}"
        );
        failures = (0..500)
            .map(|n| failed(&format!("n{n}"), refusal(404, "SecretNotFound", "", "gone")))
            .collect();
        let text = explain(Failure::Objects(failures)).to_string();
        assert!(
            text.contains("secret \"n10\" and 489 more") && text.len() < 1000,
            "{text}"
        );
    }

    #[test]
    fn a_forged_claim_does_not_become_a_command() {
        let claims = crate::assertion::Claims {
            issuer: "https://o/$(reboot)".into(),
            subject: "system:serviceaccount:n:a".into(),
        };
        let text = federated_credential(&Asked {
            claims: Some(claims),
            ..asked()
        });
        assert!(
            text.contains("--subject system:serviceaccount:n:a") && !text.contains("reboot"),
            "{text}"
        );
    }
}
