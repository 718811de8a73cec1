//! What is said when a vault, or one object in it, is the cause.

use super::denial::of_denial;
use super::ids::named;
use super::rejected::of_rejected_token;
use super::transport::{Server, of_transport};
use super::{Explanation, OUTAGE, Reason, of_full, token};
use crate::azure::limiter::Limit;
use crate::azure::vault::VaultError;
use crate::azure::vault::refusal::VaultRefusal;
use crate::class::asked::Asked;
use crate::class::plan::Fetch;
use crate::mount::{ObjectFailure, ObjectProblem};
use crate::rendering::RenderError;
use crate::text::excerpt::{Excerpt, causes};

/// What helps when a vault throttles.
const FEWER_REQUESTS: &str = "nothing now, the kubelet tries again by itself; if it lasts, set \
                              --cache-ttl, or spread objects over vaults";

/// Why one object cannot be had.
pub(super) fn of_object(asked: &Asked, failure: &ObjectFailure) -> Explanation {
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
                    "correct objectName or objectVersion, or enable a version: az keyvault {} list-versions --vault-name {vault} --name {}",
                    failure.fetch.kind.azure_name(),
                    failure.fetch.name.as_str()
                ),
            }
        }
        ObjectProblem::Secret(error @ RenderError::Encoding(_)) => unusable(
            error,
            "correct objectEncoding in the SecretProviderClass, or the secret's value in the vault",
        ),
        ObjectProblem::Secret(error @ RenderError::ContentType { .. }) => unusable(
            error,
            "set its content type to what it is, application/x-pem-file or application/x-pkcs12, or import the \
             certificate again",
        ),
        ObjectProblem::Secret(error) => unusable(
            error,
            "import the certificate again, with an empty password, or take the stored file as it is with \
             objectFormat: pfx",
        ),
        ObjectProblem::Full(full) => of_full(*full),
        ObjectProblem::Key(error) => unusable(
            error,
            "use a key of type RSA or EC, or take it out of objects",
        ),
    }
}

pub(super) fn of_vault(
    asked: &Asked,
    error: &VaultError,
    object: Option<&ObjectFailure>,
) -> Explanation {
    match error {
        VaultError::Token(error) => token::of_token(asked, error),
        VaultError::Refused(refusal) => of_refusal(asked, refusal, object),
        VaultError::Transport(error) => of_transport(asked, error, Server::Vault),
        VaultError::Absent => of_absent(asked, object),
        VaultError::Pending => of_pending(asked, object),
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
        VaultError::Overload(overload) if overload.is_outage => Explanation {
            reason: Reason::KvUnavailable,
            cause: format!(
                "Key Vault {:?} is out of order and asked everyone to wait, for longer than this mount can: {overload}",
                asked.vault
            ),
            fix: OUTAGE.to_owned(),
        },
        VaultError::Overload(overload) => Explanation {
            reason: Reason::KvThrottled,
            cause: format!(
                "Key Vault {:?} asked for fewer requests, and this mount has no time to wait: {overload}",
                asked.vault
            ),
            fix: FEWER_REQUESTS.to_owned(),
        },
        // Of the first no mount fails, since it has failed before; the second is tried again and again.
        VaultError::Forgotten | VaultError::LostToken => Explanation::of_nothing(),
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

/// What the vault itself says no to, and what is said in its place.
fn of_refusal(
    asked: &Asked,
    refusal: &VaultRefusal,
    object: Option<&ObjectFailure>,
) -> Explanation {
    let Asked { vault, host, .. } = asked;
    let what = object.map_or_else(|| "an object".to_owned(), named);
    let (status, message) = (refusal.status, &refusal.message);
    let operation = refusal.operation.as_str();
    let answered = || {
        let code = &refusal.code;
        let space = if code.is_empty() { "" } else { " " };
        format!(
            "Key Vault {vault:?} answered {operation:?} on {what} with HTTP status {status}{space}{code}: {message}"
        )
    };
    let (reason, cause, fix) = match status {
        429 => (
            Reason::KvThrottled,
            format!(
                "Key Vault {vault:?} asks for fewer requests, again and again ({}): {message}",
                Limit::Vault
            ),
            FEWER_REQUESTS.to_owned(),
        ),
        500.. => (
            Reason::KvUnavailable,
            format!("Key Vault {vault:?} failed with HTTP status {status}: {message}"),
            OUTAGE.to_owned(),
        ),
        _ if !refusal.is_genuine() => (
            Reason::KvUnexpectedAnswer,
            format!(
                "something that is not Key Vault answered for {host} with HTTP status {status}: {message}"
            ),
            format!(
                "check what answers for {host} from the nodes: a proxy or a firewall (HTTPS_PROXY, NO_PROXY)"
            ),
        ),
        401 => return of_rejected_token(asked, refusal),
        403 => return of_denial(asked, refusal, object),
        404 => return of_absent(asked, object),
        400 if refusal.is_about_the_api() => (
            Reason::KvBadParameter,
            format!("Key Vault {vault:?} does not speak this provider's version of its API: {message}"),
            "if the vault is an Azure Stack Hub's, set cloudName: AzureStackCloud, with which the provider uses the \
             version that the vault names; otherwise update the provider"
                .to_owned(),
        ),
        400 => (
            Reason::KvBadParameter,
            answered(),
            "correct objectName and objectVersion: a name has 1 to 127 letters, digits and hyphens, a version is 32 \
             hexadecimal digits"
                .to_owned(),
        ),
        _ => (
            Reason::KvUnexpectedAnswer,
            answered(),
            format!(
                "Key Vault itself answered: see its state with az keyvault show --name {vault} --query properties"
            ),
        ),
    };
    Explanation { reason, cause, fix }
}

/// There is no such object, or no such version of it.
fn of_absent(asked: &Asked, object: Option<&ObjectFailure>) -> Explanation {
    let vault = &asked.vault;
    let kind = object.map_or("secret", |object| object.fetch.kind.azure_name());
    let what = object.map_or_else(|| "an object".to_owned(), named);
    Explanation {
        reason: Reason::KvObjectNotFound,
        cause: format!("Key Vault {vault:?} has no {what}"),
        fix: format!(
            "correct objectName or objectVersion, or create it: az keyvault {kind} list --vault-name {vault} shows what \
             there is, and az keyvault {kind} list-deleted --vault-name {vault} what can be recovered"
        ),
    }
}

/// A certificate that has been asked for and is not there yet.
fn of_pending(asked: &Asked, object: Option<&ObjectFailure>) -> Explanation {
    let vault = &asked.vault;
    let what = object.map_or_else(|| "a certificate".to_owned(), named);
    let name = object.map_or("NAME", |object| object.fetch.name.as_str());
    Explanation {
        reason: Reason::KvCertificatePending,
        cause: format!(
            "{what} in Key Vault {vault:?} has not been issued yet: its request is still pending"
        ),
        fix: format!(
            "see what it waits for: az keyvault certificate pending show --vault-name {vault} --name {name}; if you have \
             its certificate from a CA, merge it: az keyvault certificate pending merge --vault-name {vault} --name \
             {name} --file CERTIFICATE-FILE"
        ),
    }
}

impl Explanation {
    /// Explains why no Kubernetes Secret can have the key of a certificate.
    pub fn of_key_that_is_not_exportable(
        asked: &Asked,
        fetch: &Fetch,
        version: &str,
        secret: &str,
    ) -> Self {
        let (vault, name) = (&asked.vault, fetch.name.as_str());
        Self {
            reason: Reason::KvKeyNotExportable,
            cause: format!(
                "{} {name:?} version {} in Key Vault {vault:?} has no private key, since the certificate's policy says \
                 that it may not be exported; so the driver cannot create Secret {}, for which secretObjects asks for that key",
                fetch.kind.as_str(),
                Excerpt(version),
                Excerpt(secret)
            ),
            fix: format!(
                "take the key out of secretObjects, or issue a new version under a policy with exportable: true \
                 (az keyvault certificate show --vault-name {vault} --name {name} --query policy.keyProperties)"
            ),
        }
    }
}
