//! What is said when a vault, or one object in it, is the cause.

use super::ids::{or_placeholder, short};
use super::transport::{Server, of_transport};
use super::{Explanation, OUTAGE, Reason, of_full, token};
use crate::azure::limiter::Limit;
use crate::azure::vault::VaultError;
use crate::azure::vault::refusal::{Operation, VaultRefusal};
use crate::class::asked::Asked;
use crate::class::object::{ObjectKind, ObjectVersion};
use crate::mount::{ObjectFailure, ObjectProblem};
use crate::rendering::RenderError;
use crate::text::excerpt::causes;

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

/// `secret "X"`, with its version where one was asked for.
pub(super) fn named(failure: &ObjectFailure) -> String {
    let fetch = &failure.fetch;
    let version = match &fetch.version {
        ObjectVersion::Latest => String::new(),
        ObjectVersion::Exact(version) => format!(" version {}", version.as_str()),
    };
    format!("{} {:?}{version}", fetch.kind.as_str(), fetch.name.as_str())
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
                "Key Vault {vault:?} asks for fewer requests, again and again ({}): {message}",
                Limit::Vault
            ),
            FEWER_REQUESTS.to_owned(),
        ),
        (status, _) if status >= 500 => (
            Reason::KvUnavailable,
            format!("Key Vault {vault:?} failed with HTTP status {status}: {message}"),
            OUTAGE.to_owned(),
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
    let of_version = match object.map(|object| &object.fetch.version) {
        Some(ObjectVersion::Exact(version)) => format!(" --version {}", version.as_str()),
        _ => String::new(),
    };
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
            format!(
                "{refused}: it has no role assignment that allows it (a new one takes up to ten minutes to count)"
            ),
            format!(
                "az role assignment create --role \"{role}\" --assignee-object-id {object_id} \
                 --assignee-principal-type ServicePrincipal --scope \"$(az keyvault show --name {vault} --query id \
                 --output tsv)\""
            ),
        ),
        "ForbiddenByConnection" => (
            Reason::KvFirewallDenied,
            format!(
                "{refused}: it takes no calls from public networks: {}",
                refusal.message
            ),
            format!(
                "give the nodes a private endpoint to it, or let it be called from public networks: az keyvault update \
                 --name {vault} --public-network-access Enabled"
            ),
        ),
        "ForbiddenByFirewall" => (
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
                "az keyvault {kind} set-attributes --vault-name {vault} --name {name}{of_version} --enabled true"
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
        .or(asked.identity.client_id());
    match client_id {
        Some(id) => format!("client {} ({})", short(id), asked.identity.kind),
        None => format!("the node's {}", asked.identity.kind),
    }
}
