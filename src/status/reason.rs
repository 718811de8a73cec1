//! [`Reason`], the stable words for causes.

use tonic::Code;

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
    /// IMDS is asked for as many tokens as it allows.
    ImdsThrottled,
    /// Entra ID knows no such application in the tenant.
    EntraAppNotFound,
    /// Entra ID knows no such tenant.
    EntraTenantNotFound,
    /// The tenant does not know Key Vault of that cloud.
    EntraResourceNotFound,
    /// No federated credential matches the pod's token.
    EntraNoFederatedCredential,
    /// The pod's token has expired, or clocks differ.
    EntraTokenExpired,
    /// The client secret is wrong or has expired.
    EntraBadClientSecret,
    /// Entra ID refuses for another reason.
    EntraRefused,
    /// Entra ID asks for fewer requests.
    EntraThrottled,
    /// Entra ID answers with errors of its own making.
    EntraUnavailable,
    /// Entra ID cannot be reached.
    EntraUnreachable,
    /// The AKS token proxy cannot be reached, or not even found.
    TokenProxyUnreachable,
    /// The AKS token proxy refuses.
    TokenProxyRefused,
    /// The AKS token proxy answers and gives no token.
    TokenProxyFailed,
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
    /// The provider is stopping.
    ShuttingDown,
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
            Self::ImdsThrottled => "IMDS_THROTTLED",
            Self::EntraAppNotFound => "ENTRA_APP_NOT_FOUND",
            Self::EntraTenantNotFound => "ENTRA_TENANT_NOT_FOUND",
            Self::EntraResourceNotFound => "ENTRA_RESOURCE_NOT_FOUND",
            Self::EntraNoFederatedCredential => "ENTRA_NO_FEDERATED_CREDENTIAL",
            Self::EntraTokenExpired => "ENTRA_TOKEN_EXPIRED",
            Self::EntraBadClientSecret => "ENTRA_BAD_CLIENT_SECRET",
            Self::EntraRefused => "ENTRA_REFUSED",
            Self::EntraThrottled => "ENTRA_THROTTLED",
            Self::EntraUnavailable => "ENTRA_UNAVAILABLE",
            Self::EntraUnreachable => "ENTRA_UNREACHABLE",
            Self::TokenProxyUnreachable => "TOKEN_PROXY_UNREACHABLE",
            Self::TokenProxyRefused => "TOKEN_PROXY_REFUSED",
            Self::TokenProxyFailed => "TOKEN_PROXY_FAILED",
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
            Self::ShuttingDown => "SHUTTING_DOWN",
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
            | Self::TokenProxyUnreachable
            | Self::KvObjectDisabled
            | Self::KvObjectUnusable
            | Self::KvHostNotFound
            | Self::KvUnreachable
            | Self::KvUnexpectedAnswer
            | Self::TlsNotTrusted => Code::FailedPrecondition,
            Self::EntraAppNotFound
            | Self::EntraTenantNotFound
            | Self::EntraResourceNotFound
            | Self::EntraNoFederatedCredential
            | Self::EntraTokenExpired
            | Self::EntraBadClientSecret
            | Self::EntraRefused
            | Self::TokenProxyRefused
            | Self::KvTokenRejected => Code::Unauthenticated,
            Self::KvAccessDenied
            | Self::KvRbacDenied
            | Self::KvFirewallDenied
            | Self::KvForbidden => Code::PermissionDenied,
            Self::KvObjectNotFound => Code::NotFound,
            Self::ImdsThrottled
            | Self::EntraThrottled
            | Self::KvThrottled
            | Self::AnswerTooLarge => Code::ResourceExhausted,
            // The whole mount may go well later; the kubelet sees to that.
            Self::ImdsFailed
            | Self::EntraUnavailable
            | Self::TokenProxyFailed
            | Self::KvUnavailable => Code::Aborted,
            Self::Timeout => Code::DeadlineExceeded,
            // A second call at once reaches the provider that takes over.
            Self::ShuttingDown => Code::Unavailable,
            Self::Internal => Code::Internal,
        }
    }
}
