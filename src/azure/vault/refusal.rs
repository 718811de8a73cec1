//! [`VaultRefusal`], what Key Vault says when it gives nothing.

use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;

use crate::azure::credential::refusal::{again, not_a_services};
use crate::azure::retry::Again;
use crate::text::excerpt::one_line;
use crate::transport::Refusal;

/// The most characters of the vault's own sentence in a message.
const MAX_CHARS: usize = 400;

/// Key Vault's answer to a request that it refuses.
///
/// Source: "Azure Key Vault REST API error codes" and the bodies that the service sends.
#[derive(Clone, Debug, Error)]
#[error("HTTP status {status}: {message}")]
pub struct VaultRefusal {
    /// What was asked.
    pub operation: Operation,
    /// The HTTP status.
    pub status: u16,
    /// The outer code, such as `Forbidden` or `SecretNotFound`; empty where the answer is not the
    /// vault's own.
    pub code: String,
    /// The inner code, such as `AccessDenied` or `ForbiddenByRbac`.
    pub inner_code: String,
    /// Its sentences on one line.
    pub message: String,
    /// Who it says was asking.
    pub caller: Caller,
    /// The wait that it asks for.
    pub retry_after: Option<Duration>,
}

/// What was asked of the vault, by the name of the permission that it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// One version of an object.
    Get,
    /// The versions of an object.
    List,
}

impl Operation {
    /// As Key Vault's permissions spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
        }
    }
}

/// Who asked, in the vault's words: it knows the object ID that a fix needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The client ID; empty where the vault does not say.
    pub client_id: String,
    /// The object ID; empty where the vault does not say.
    pub object_id: String,
}

#[derive(Deserialize)]
struct Body {
    error: ErrorBody,
}

#[derive(Deserialize)]
struct ErrorBody {
    code: Option<String>,
    message: Option<String>,
    innererror: Option<InnerError>,
}

#[derive(Deserialize)]
struct InnerError {
    code: Option<String>,
}

impl VaultRefusal {
    /// Reads the body, or says that it is not the vault's.
    pub fn read(refusal: &Refusal, operation: Operation) -> Self {
        let body: Option<Body> = serde_json::from_slice(&refusal.body).ok();
        let Some(Body { error }) = body else {
            return Self {
                operation,
                status: refusal.status,
                code: String::new(),
                inner_code: String::new(),
                message: not_a_services(refusal),
                caller: Caller::default(),
                retry_after: refusal.retry_after,
            };
        };
        let message = error.message.unwrap_or_default();
        Self {
            operation,
            status: refusal.status,
            code: word(error.code),
            inner_code: word(error.innererror.and_then(|inner| inner.code)),
            caller: Caller {
                client_id: id_after("appid=", &message),
                object_id: id_after("oid=", &message),
            },
            message: one_line(&message, MAX_CHARS),
            retry_after: refusal.retry_after,
        }
    }

    /// Whether to try again.
    pub fn again(&self) -> Again {
        again(self.status, self.retry_after)
    }
}

/// A code is one word; what is none is dropped.
fn word(code: Option<String>) -> String {
    code.filter(|code| code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric()))
        .unwrap_or_default()
}

/// The ID behind `key` in a text such as `appid=…;oid=…;iss=…`. Only what can stand in a command line as
/// it is.
fn id_after(key: &str, text: &str) -> String {
    let Some(start) = text.find(key).map(|at| at + key.len()) else {
        return String::new();
    };
    let rest = &text[start..];
    let end = rest
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '-')
        .unwrap_or(rest.len());
    rest[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, body: &str) -> VaultRefusal {
        let body = body.to_owned().into();
        VaultRefusal::read(
            &Refusal {
                host: "h".into(),
                status,
                retry_after: None,
                body,
            },
            Operation::Get,
        )
    }

    #[test]
    fn the_vaults_codes_and_its_caller_are_read() {
        let denied = read(
            403,
            r#"{"error":{"code":"Forbidden","message":"The user, group or application 'appid=e5022;oid=301f31b4-678d;iss=https://sts.windows.net/t/' does not have secrets get permission on key vault 'kv1;location=centralus'.","innererror":{"code":"AccessDenied"}}}"#,
        );
        assert_eq!(
            (denied.code.as_str(), denied.inner_code.as_str()),
            ("Forbidden", "AccessDenied")
        );
        assert_eq!(
            denied.caller,
            Caller {
                client_id: "e5022".into(),
                object_id: "301f31b4-678d".into()
            }
        );
        let rbac = read(
            403,
            r#"{"error":{"code":"Forbidden","message":"Caller is not authorized to perform action on resource.\r\nCaller: appid=a;oid=b;iss=c\r\nAction: \"x\"","innererror":{"code":"ForbiddenByRbac"}}}"#,
        );
        assert_eq!(rbac.inner_code, "ForbiddenByRbac");
        assert_eq!(rbac.caller.object_id, "b");
        assert!(!rbac.message.contains('\n'));
    }

    #[test]
    fn what_is_not_the_vaults_is_not_quoted() {
        for body in [
            "",
            "<html>canary",
            "canary",
            "{\"error\":\"canary\"}",
            "[1]",
            "{\"error\":{\"code\":\"a canary\"}}",
        ] {
            let refusal = read(502, body);
            assert_eq!(refusal.code, "");
            assert!(!refusal.to_string().contains("canary"), "{refusal}");
        }
    }

    #[test]
    fn an_id_can_stand_in_a_command_line() {
        assert_eq!(id_after("oid=", "oid=1-a'; rm -rf /"), "1-a");
        assert_eq!(id_after("oid=", "nothing"), "");
    }
}
