//! How Key Vault refuses: statuses, codes and texts of the real service ("Azure Key Vault REST API
//! Error Codes"), as far as they are known from its answers.

use axum::body::Body;
use axum::http::{Response, StatusCode};
use serde_json::{Value, json};
use thiserror::Error;

use super::access::ObjectKind;
use super::api_version::ApiVersion;
use super::operation::Operation;
use crate::body;
use crate::entra::Caller;

/// Key Vault refused something; in-process calls get it as it is, requests as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{code}: {message}")]
pub struct VaultError {
    /// The HTTP status.
    pub status: u16,
    /// `error.code`.
    pub code: &'static str,
    /// `error.innererror.code`.
    pub inner: Option<&'static str>,
    /// `error.message`.
    pub message: String,
}

impl VaultError {
    pub(crate) fn bad_parameter(message: impl Into<String>) -> Self {
        Self::new(400, "BadParameter", None, message)
    }

    pub(crate) fn invalid_name(name: &str) -> Self {
        Self::bad_parameter(format!("The request URI contains an invalid name: {name}"))
    }

    pub(crate) fn not_found(kind: ObjectKind, id: &str) -> Self {
        let code = match kind {
            ObjectKind::Secret => "SecretNotFound",
            ObjectKind::Key => "KeyNotFound",
            ObjectKind::Certificate => "CertificateNotFound",
        };
        let noun = kind.noun();
        Self::new(
            404,
            code,
            None,
            format!(
                "A {noun} with (name/id) {id} was not found in this key vault. If you recently deleted \
             this {noun} you may be able to recover it using the correct recovery command. For \
             help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125182"
            ),
        )
    }

    pub(crate) fn deleted_not_found(kind: ObjectKind, name: &str) -> Self {
        Self {
            message: format!("Deleted {} not found: {name}", capitalised(kind)),
            ..Self::not_found(kind, name)
        }
    }

    pub(crate) fn deleted_but_recoverable(kind: ObjectKind, name: &str) -> Self {
        Self::new(
            409,
            "Conflict",
            Some("ObjectIsDeletedButRecoverable"),
            format!(
                "{} {name} is currently in a deleted but recoverable state, and its name cannot be \
             reused; in this state, the {} can only be recovered or purged.",
                capitalised(kind),
                kind.noun()
            ),
        )
    }

    /// Recorded of an Azure Stack Hub, with 7.1 as its latest version.
    pub(crate) fn unknown_version(asked: &str, latest: ApiVersion) -> Self {
        Self::bad_parameter(format!(
            "The specified version ({asked}) is not recognized. Consider using the latest supported \
             version ({}).",
            latest.as_str()
        ))
    }

    pub(crate) fn secret_disabled() -> Self {
        Self::new(
            403,
            "Forbidden",
            Some("SecretDisabled"),
            "Operation get is not allowed on a disabled secret.",
        )
    }

    pub(crate) fn purge_protected(vault: &str) -> Self {
        Self::new(
            403,
            "Forbidden",
            Some("ForbiddenByPolicy"),
            format!(
                "Operation \"purge\" is not allowed because purge protection is enabled for this vault. \
                 Key Vault service will automatically purge it after the retention period has \
                 passed.\r\nVault: {vault}"
            ),
        )
    }

    pub(crate) fn access_denied(operation: &Operation<'_>, caller: &Caller, vault: &str) -> Self {
        let caller = caller.described();
        Self::new(
            403,
            "Forbidden",
            Some("AccessDenied"),
            format!(
                "The user, group or application '{caller}' does \
             not have {} {} permission on key vault '{vault}'. For help resolving this issue, \
             please see https://go.microsoft.com/fwlink/?linkid=2125287",
                operation.kind.collection(),
                operation.permission()
            ),
        )
    }

    pub(crate) fn forbidden_by_rbac(
        operation: &Operation<'_>,
        caller: &Caller,
        vault: &str,
    ) -> Self {
        let caller = caller.described();
        let name = vault.split(';').next().unwrap_or(vault);
        let object = operation
            .name
            .map(|object| format!("/{}/{object}", operation.kind.collection()))
            .unwrap_or_default();
        Self::new(
            403,
            "Forbidden",
            Some("ForbiddenByRbac"),
            format!(
                "Caller is not authorized to perform action on resource.\r\nIf role assignments, deny \
             assignments or role definitions were changed recently, please observe propagation \
             time.\r\nCaller: {caller}\r\nAction: '{}'\r\n\
             Resource: '/subscriptions/00000000-0000-0000-0000-000000000000/resourcegroups/\
             azure-emulator/providers/microsoft.keyvault/vaults/{}{object}'\r\n\
             Assignment: (not found)\r\nDenyAssignmentId: null\r\nDecisionReason: null \r\n\
             Vault: {vault}\r\n",
                operation.action(),
                name.to_ascii_lowercase()
            ),
        )
    }

    pub(crate) fn forbidden_by_firewall(
        address: std::net::IpAddr,
        caller: &Caller,
        vault: &str,
    ) -> Self {
        let caller = caller.described();
        Self::new(
            403,
            "Forbidden",
            Some("ForbiddenByFirewall"),
            format!(
                "Client address is not authorized and caller is not a trusted service.\r\n\
             Client address: {address}\r\n\
             Caller: {caller}\r\nVault: {vault}"
            ),
        )
    }

    /// Recorded of a vault whose public network access is disabled, asked from another network than
    /// that of its private endpoint.
    pub(crate) fn forbidden_by_connection(caller: &Caller, vault: &str) -> Self {
        let caller = caller.described();
        Self::new(
            403,
            "Forbidden",
            Some("ForbiddenByConnection"),
            format!(
                "Public network access is disabled and request is not from a trusted service nor via \
                 an approved private link.\r\nCaller: {caller}\r\nVault: {vault}"
            ),
        )
    }

    pub(crate) fn throttled() -> Self {
        Self::new(
            429,
            "Throttled",
            None,
            "Request was not processed because too many requests were received. Reason: \
             VaultRequestTypeLimitReached",
        )
    }

    fn new(
        status: u16,
        code: &'static str,
        inner: Option<&'static str>,
        message: impl Into<String>,
    ) -> Self {
        let message = message.into();
        Self {
            status,
            code,
            inner,
            message,
        }
    }

    pub(crate) fn json(&self) -> Value {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let Some(inner) = self.inner {
            error["innererror"] = json!({ "code": inner });
        }
        json!({ "error": error })
    }

    pub(crate) fn response(&self) -> Response<Body> {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        body::json(status, &self.json())
    }
}

fn capitalised(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Secret => "Secret",
        ObjectKind::Key => "Key",
        ObjectKind::Certificate => "Certificate",
    }
}

/// The error that Key Vault gives with a status that a fault asks for.
pub(crate) fn error_for_status(status: StatusCode) -> Response<Body> {
    let (code, message) = match status.as_u16() {
        429 => return VaultError::throttled().response(),
        401 => (
            "Unauthorized",
            "AKV10000: Request is missing a Bearer or PoP token.",
        ),
        403 => ("Forbidden", "Access denied."),
        404 => ("NotFound", "The requested resource was not found."),
        408 => ("RequestTimeout", "The request timed out."),
        400..=499 => ("BadParameter", "The request was refused."),
        503 => (
            "ServiceUnavailable",
            "The service is temporarily unavailable.",
        ),
        _ => ("InternalServerError", "An unexpected error occurred."),
    };
    VaultError::new(status.as_u16(), code, None, message).response()
}
