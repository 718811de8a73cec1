//! What Entra ID and IMDS say when they give no token.

use std::time::Duration;

use serde::Deserialize;
use thiserror::Error;

use crate::azure::retry::Again;
use crate::text::excerpt::refusal_line;
use crate::transport::Refusal;

/// The most characters of a service's own sentence in a message.
const MAX_CHARS: usize = 400;

/// Entra ID's answer to a request that it refuses.
///
/// Source: "Microsoft Entra authentication and authorization error codes".
#[derive(Clone, Debug, Error)]
#[error("HTTP status {status}: {description}")]
pub struct EntraRefusal {
    /// The HTTP status.
    pub status: u16,
    /// The number of the AADSTS code: 700016 for `AADSTS700016`.
    pub code: Option<u32>,
    /// Its sentence on one line, without trace and correlation IDs.
    pub description: String,
    /// Whether it is Entra ID's own, rather than that of a proxy or firewall in its place.
    pub is_genuine: bool,
    /// The wait that it asks for.
    pub retry_after: Option<Duration>,
}

#[derive(Deserialize)]
struct EntraBody {
    error: Option<String>,
    error_description: Option<String>,
    #[serde(default)]
    error_codes: Vec<u32>,
}

impl EntraRefusal {
    /// Reads the body, or says that it is not Entra ID's.
    pub fn read(refusal: &Refusal) -> Self {
        let body: Option<EntraBody> = serde_json::from_slice(&refusal.body).ok();
        let is_genuine = body.as_ref().is_some_and(|body| body.error.is_some());
        let (code, description) = body.map_or_else(
            || (None, not_a_services(refusal)),
            |body| {
                let text = body.error_description.or(body.error).unwrap_or_default();
                let code = body.error_codes.first().copied().or_else(|| aadsts(&text));
                // The second line on is for Microsoft's support.
                let text = text.split("Trace ID:").next().unwrap_or_default();
                (code, refusal_line(text, MAX_CHARS))
            },
        );
        Self {
            status: refusal.status,
            code,
            description,
            is_genuine,
            retry_after: refusal.retry_after,
        }
    }

    /// Whether to try again.
    pub fn again(&self) -> Again {
        again(self.status, self.retry_after)
    }
}

/// The number in `AADSTS700016: …`.
fn aadsts(text: &str) -> Option<u32> {
    let digits = text.split("AADSTS").nth(1)?;
    let end = digits
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(digits.len());
    digits[..end].parse().ok()
}

/// IMDS' answer to a request that it refuses.
///
/// Source: "How to use managed identities for Azure resources on an Azure VM to acquire an access
/// token", section "Error handling".
#[derive(Clone, Debug, Error)]
#[error("HTTP status {status}: {description}")]
pub struct ImdsRefusal {
    /// The HTTP status.
    pub status: u16,
    /// Its sentence on one line.
    pub description: String,
    /// The wait that it asks for.
    pub retry_after: Option<Duration>,
}

#[derive(Deserialize)]
struct ImdsBody {
    error: Option<String>,
    error_description: Option<String>,
}

impl ImdsRefusal {
    /// Reads the body, or says that it is not IMDS'.
    pub fn read(refusal: &Refusal) -> Self {
        let body: Option<ImdsBody> = serde_json::from_slice(&refusal.body).ok();
        let description = body.map_or_else(
            || not_a_services(refusal),
            |body| {
                refusal_line(
                    &body.error_description.or(body.error).unwrap_or_default(),
                    MAX_CHARS,
                )
            },
        );
        Self {
            status: refusal.status,
            description,
            retry_after: refusal.retry_after,
        }
    }

    /// Whether to try again. IMDS answers 404 and 410 while it is being updated.
    pub fn again(&self) -> Again {
        match self.status {
            404 | 410 => Again::Soon,
            status => again(status, self.retry_after),
        }
    }
}

/// What an HTTP status says about trying again, the same for every service of Azure.
pub fn again(status: u16, retry_after: Option<Duration>) -> Again {
    match (status, retry_after) {
        (429, _) => Again::Throttled(retry_after),
        (503, Some(retry_after)) => Again::Unavailable(retry_after),
        (408 | 500 | 502..=504, _) => Again::Soon,
        _ => Again::No,
    }
}

/// Says that an answer is not the service's own: a proxy's page, or nothing.
pub fn not_a_services(refusal: &Refusal) -> String {
    let what = match refusal.body.first() {
        _ if (300..400).contains(&refusal.status) => "a redirection, which is not followed",
        None => "an empty answer",
        Some(b'<') => "an HTML page, so a proxy or firewall may have answered instead",
        Some(_) => "an answer in a form that is not the service's",
    };
    format!("{} sent {what}", refusal.host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, body: &str) -> Refusal {
        Refusal {
            host: "h".into(),
            status,
            retry_after: None,
            body: body.to_owned().into(),
        }
    }

    #[test]
    fn entra_ids_errors_are_read_whatever_is_in_their_text() {
        let body = r#"{"error":"unauthorized_client","error_description":"AADSTS700016: Application with identifier 'x' was not found in the directory \"Contoso\".\r\nTrace ID: 1\r\nTimestamp: 2026","error_codes":[700016]}"#;
        let read = EntraRefusal::read(&refusal(400, body));
        assert_eq!(read.code, Some(700_016));
        assert_eq!(
            read.description,
            "AADSTS700016: Application with identifier 'x' was not found in the directory \"Contoso\"."
        );
        let without_codes =
            r#"{"error":"x","error_description":"AADSTS90002: Tenant 'a' not found."}"#;
        assert_eq!(
            EntraRefusal::read(&refusal(400, without_codes)).code,
            Some(90_002)
        );
        assert_eq!(
            EntraRefusal::read(&refusal(400, r#"{"error":"invalid_grant"}"#)).description,
            "invalid_grant"
        );
    }

    #[test]
    fn an_answer_that_is_not_the_services_is_said_to_be_none() {
        for (body, words) in [
            ("", "empty"),
            ("<html>canary", "HTML page"),
            ("canary", "not the service's"),
            ("[]", ""),
        ] {
            for text in [
                EntraRefusal::read(&refusal(502, body)).to_string(),
                ImdsRefusal::read(&refusal(502, body)).to_string(),
            ] {
                assert!(
                    text.contains(words) && text.contains("502") && !text.contains("canary"),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn statuses_say_whether_to_try_again() {
        let wait = Some(Duration::from_secs(7));
        for (status, retry_after, expected) in [
            (400, None, Again::No),
            (401, None, Again::No),
            (404, None, Again::No),
            (429, None, Again::Throttled(None)),
            (429, wait, Again::Throttled(wait)),
            (500, None, Again::Soon),
            (501, None, Again::No),
            (503, None, Again::Soon),
            (503, wait, Again::Unavailable(Duration::from_secs(7))),
        ] {
            assert_eq!(again(status, retry_after), expected, "{status}");
        }
        // IMDS answers these while it is being updated, and any others as all do.
        for (status, expected) in [
            (400, Again::No),
            (404, Again::Soon),
            (410, Again::Soon),
            (429, Again::Throttled(None)),
            (500, Again::Soon),
        ] {
            let read = ImdsRefusal::read(&refusal(status, ""));
            assert_eq!(read.again(), expected, "{status}");
        }
        for status in [404, 410] {
            let read = EntraRefusal::read(&refusal(status, ""));
            assert_eq!(read.again(), Again::No, "{status}");
        }
    }
}
