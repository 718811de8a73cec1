//! [`VaultRefusal`], what Key Vault says when it gives nothing.

use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;

use crate::azure::credential::refusal::{again, not_a_services};
use crate::azure::retry::Again;
use crate::text::excerpt::refusal_line;
use crate::transport::Refusal;

/// The most characters of the vault's own sentence in a message.
const MAX_CHARS: usize = 400;
/// The most characters of a code or an ID; a GUID has 36.
const MAX_ID: usize = 64;

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
    /// Whether it is a page for people, as proxies and firewalls send it.
    pub is_page: bool,
    /// Its sentences on one line.
    pub message: String,
    /// Why it does not take a token, by the number of its own code: 10032 for `AKV10032`.
    pub akv: Option<u32>,
    /// The tenants that it speaks of, where it takes no token of another one.
    pub tenants: Tenants,
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
    /// The permission that it takes, as access policies spell it.
    pub fn permission(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
        }
    }

    /// What messages call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list versions",
        }
    }
}

/// Whose token a vault takes and whose it got, in its own words: `Invalid issuer. Expected one of
/// https://sts.windows.net/A/, …, found https://sts.windows.net/B/.`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tenants {
    /// The vault's tenant, which it names first; empty where it does not say.
    pub expected: String,
    /// The token's tenant; empty where it does not say.
    pub found: String,
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
                is_page: refusal.body.first() == Some(&b'<'),
                message: not_a_services(refusal),
                akv: None,
                tenants: Tenants::default(),
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
            is_page: false,
            akv: akv(&message),
            tenants: Tenants {
                expected: id_after("Expected one of https://sts.windows.net/", &message),
                found: id_after("found https://sts.windows.net/", &message),
            },
            message: refusal_line(&message, MAX_CHARS),
            retry_after: refusal.retry_after,
        }
    }

    /// Whether to try again.
    pub fn again(&self) -> Again {
        // The vault does not know the key yet that signed the token, as happens while Entra ID's keys change. The next
        // request may meet a server that does.
        if self.status == 401 && self.akv == Some(10_046) {
            return Again::Once;
        }
        again(self.status, self.retry_after)
    }

    /// Whether it is Key Vault's own, rather than that of a proxy or firewall in its place. A 401 with the vault's
    /// challenge is, whatever its body says; one with another's does not come here.
    pub fn is_genuine(&self) -> bool {
        !self.code.is_empty() || self.status == 401 && !self.is_page
    }

    /// Whether it says something about the one object that was asked for, not about the vault.
    pub fn concerns_one_object(&self) -> bool {
        let by_status = matches!(self.status, 400 | 403 | 404) && self.is_genuine();
        by_status && !self.is_about_the_api()
    }

    /// Whether it says to everybody with the right to read that the object is not there, or disabled: a vault judges the
    /// right first.
    pub fn says_that_it_is_not_there(&self) -> bool {
        let is_disabled = self.status == 403
            && matches!(
                self.inner_code.as_str(),
                "SecretDisabled" | "KeyDisabled" | "CertificateDisabled"
            );
        self.is_genuine() && (self.status == 404 || is_disabled)
    }

    /// Whether the vault does not speak the version of its API that it was asked in.
    pub fn is_about_the_api(&self) -> bool {
        self.status == 400 && self.message.contains("The specified version (")
    }
}

/// The number in `AKV10032: …`.
fn akv(text: &str) -> Option<u32> {
    let digits = text.split("AKV").nth(1)?;
    let end = digits.find(|c: char| !c.is_ascii_digit());
    digits[..end.unwrap_or(digits.len())].parse().ok()
}

/// A code is one word; what is none is dropped.
fn word(code: Option<String>) -> String {
    code.filter(|code| {
        code.len() <= MAX_ID && code.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
    .unwrap_or_default()
}

/// The ID behind `key` in a text such as `appid=…;oid=…;iss=…`. Only what can stand in a command line as
/// it is; what is too long for one is none.
fn id_after(key: &str, text: &str) -> String {
    let Some(start) = text.find(key).map(|at| at + key.len()) else {
        return String::new();
    };
    let rest = &text[start..];
    let end = rest
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '-')
        .unwrap_or(rest.len());
    Some(&rest[..end])
        .filter(|id| id.len() <= MAX_ID)
        .unwrap_or_default()
        .to_owned()
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
    fn a_rejected_token_keeps_both_tenants() {
        let others = "https://sts.windows.net/f8cdef31-a31e-4b4a-93e4-5f571e91255a/, ".repeat(8);
        let text = format!(
            "AKV10032: Invalid issuer. Expected one of https://sts.windows.net/1111-a/, {others}found \
             https://sts.windows.net/2222-b/."
        );
        let body = serde_json::json!({ "error": { "code": "Unauthorized", "message": text } });
        let rejected = read(401, &body.to_string());
        assert_eq!(rejected.akv, Some(10_032));
        let tenants = Tenants {
            expected: "1111-a".into(),
            found: "2222-b".into(),
        };
        assert_eq!(rejected.tenants, tenants);
        let shown = rejected.to_string();
        assert!(
            shown.contains("1111-a") && shown.contains("2222-b") && shown.len() < 450,
            "{shown}"
        );
    }

    #[test]
    fn only_a_new_signing_key_is_worth_another_request() {
        for (text, again) in [
            ("AKV10046: Unable to resolve the key", Again::Once),
            ("AKV10032: Invalid issuer.", Again::No),
            ("no code", Again::No),
            ("AKV: x", Again::No),
        ] {
            let body = serde_json::json!({ "error": { "code": "Unauthorized", "message": text } });
            assert_eq!(read(401, &body.to_string()).again(), again, "{text}");
        }
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

    #[test]
    fn what_is_kept_has_a_length() {
        let long = "1".repeat(1_000_000);
        for (id, kept) in [(&long[..64], &long[..64]), (&long[..65], ""), (&long, "")] {
            let text = format!(
                "appid={id};oid={id}; Expected one of https://sts.windows.net/{id}/, found https://sts.windows.net/{id}/"
            );
            let body = serde_json::json!({ "error": { "code": id, "message": text, "innererror": { "code": id } } });
            let refusal = read(401, &body.to_string());
            for found in [
                &refusal.code,
                &refusal.inner_code,
                &refusal.caller.client_id,
                &refusal.caller.object_id,
                &refusal.tenants.expected,
                &refusal.tenants.found,
            ] {
                assert_eq!(found, kept);
                assert!(found.capacity() <= 64);
            }
            assert!(
                refusal.message.capacity() <= 1000,
                "{}",
                refusal.message.capacity()
            );
            assert!(refusal.message.chars().count() <= 401);
        }
    }
}
