//! How Entra ID refuses: status, OAuth error, AADSTS code and text, as seen in answers of the real
//! service ("Microsoft Entra authentication and authorization error codes").

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::json;
use time::OffsetDateTime;
use time::macros::format_description;

use crate::clock::Clock;
use crate::{body, identifier};

const FEDERATION: &str =
    "https://learn.microsoft.com/entra/workload-id/workload-identity-federation";

/// The header with the name that Entra ID gave a request.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    status: StatusCode,
    error: &'static str,
    code: u32,
    text: String,
}

impl Refusal {
    fn bad(error: &'static str, code: u32, text: impl Into<String>) -> Self {
        let status = StatusCode::BAD_REQUEST;
        let text = text.into();
        Self {
            status,
            error,
            code,
            text,
        }
    }

    fn client(code: u32, text: impl Into<String>) -> Self {
        let status = StatusCode::UNAUTHORIZED;
        let (error, text) = ("invalid_client", text.into());
        Self {
            status,
            error,
            code,
            text,
        }
    }

    #[cfg(test)]
    pub(crate) fn code(&self) -> u32 {
        self.code
    }

    pub(crate) fn tenant_not_found(tenant: &str) -> Self {
        Self::bad(
            "invalid_tenant",
            90_002,
            format!(
                "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID and are \
             signing into the correct cloud. Check with your subscription administrator, this may \
             happen if there are no active subscriptions for the tenant."
            ),
        )
    }

    pub(crate) fn malformed_tenant(tenant: &str) -> Self {
        Self::bad(
            "invalid_request",
            900_023,
            format!(
                "Specified tenant identifier '{tenant}' is neither a valid DNS name, nor a valid \
             external domain."
            ),
        )
    }

    pub(crate) fn application_not_found(client: &str, tenant: &str) -> Self {
        Self::bad(
            "unauthorized_client",
            700_016,
            format!(
                "Application with identifier '{client}' was not found in the directory '{tenant}'. \
             This can happen if the application has not been installed by the administrator of \
             the tenant or consented to by any user in the tenant. You may have sent your \
             authentication request to the wrong tenant."
            ),
        )
    }

    pub(crate) fn wrong_secret(client: &str) -> Self {
        Self::client(
            7_000_215,
            format!(
                "Invalid client secret provided. Ensure the secret being sent in the request is the \
             client secret value, not the client secret ID, for a secret added to app '{client}'."
            ),
        )
    }

    pub(crate) fn expired_secret(client: &str) -> Self {
        Self::client(
            7_000_222,
            format!(
                "The provided client secret keys for app '{client}' are expired. Visit the Azure \
             portal to create new keys for your app: https://aka.ms/NewClientSecret, or consider \
             using certificate credentials for added security: https://aka.ms/certCreds."
            ),
        )
    }

    pub(crate) fn no_credential() -> Self {
        Self::client(
            7_000_216,
            "'client_assertion', 'client_secret' or 'request' is required for the \
             'client_credentials' grant type.",
        )
    }

    pub(crate) fn missing_parameter(name: &str) -> Self {
        Self::bad(
            "invalid_request",
            900_144,
            format!("The request body must contain the following parameter: '{name}'."),
        )
    }

    pub(crate) fn unsupported_grant(grant: &str) -> Self {
        Self::bad(
            "unsupported_grant_type",
            70_003,
            format!("The app requested an unsupported grant type '{grant}'."),
        )
    }

    pub(crate) fn wrong_assertion_type(kind: &str) -> Self {
        Self::bad(
            "invalid_request",
            50_027,
            format!(
                "The client assertion type '{kind}' is not supported. Expected \
             urn:ietf:params:oauth:client-assertion-type:jwt-bearer."
            ),
        )
    }

    pub(crate) fn invalid_scope(scope: &str) -> Self {
        Self::bad(
            "invalid_scope",
            1_002_012,
            format!(
                "The provided value for scope {scope} is not valid. Client credential flows must have \
             a scope value with /.default suffixed to the resource identifier (application ID URI)."
            ),
        )
    }

    pub(crate) fn unknown_resource(resource: &str, tenant: &str) -> Self {
        Self::bad(
            "invalid_resource",
            500_011,
            format!(
                "The resource principal named {resource} was not found in the tenant named {tenant}. \
             This can happen if the application has not been installed by the administrator of \
             the tenant or consented to by any user in the tenant. You might have sent your \
             authentication request to the wrong tenant."
            ),
        )
    }

    pub(crate) fn malformed_assertion() -> Self {
        Self::bad(
            "invalid_request",
            50_027,
            "JWT token is invalid or malformed.",
        )
    }

    pub(crate) fn assertion_not_in_time(now: &str, from: &str, to: &str) -> Self {
        Self::client(
            700_024,
            format!(
                "Client assertion is not within its valid time range. Current time: {now}, assertion \
             valid from {from}, expiry time of assertion {to}. Review the documentation at \
             https://learn.microsoft.com/entra/identity-platform/certificate-credentials ."
            ),
        )
    }

    pub(crate) fn federation_not_matched(issuer: &str, subject: &str, audience: &str) -> Self {
        Self::bad(
            "invalid_request",
            70_021,
            format!(
                "No matching federated identity record found for presented assertion. Assertion \
             Issuer: '{issuer}'. Assertion Subject: '{subject}'. Assertion Audience: '{audience}'. \
             {FEDERATION}"
            ),
        )
    }

    pub(crate) fn issuer_not_matched(issuer: &str) -> Self {
        Self::claim_not_matched(700_211, "issuer", issuer)
    }

    pub(crate) fn audience_not_matched(audience: &str) -> Self {
        Self::claim_not_matched(700_212, "audience", audience)
    }

    pub(crate) fn subject_not_matched(subject: &str) -> Self {
        Self::claim_not_matched(700_213, "subject", subject)
    }

    fn claim_not_matched(code: u32, claim: &str, value: &str) -> Self {
        Self::client(
            code,
            format!(
                "No matching federated identity record found for presented assertion {claim} \
             '{value}'. Please check your federated identity credential Subject, Audience and \
             Issuer against the presented assertion. {FEDERATION}"
            ),
        )
    }

    /// Recorded of a service account whose federated credential has another case.
    pub(crate) fn subject_differs_in_case(subject: &str) -> Self {
        Self::client(
            7_002_138,
            format!(
                "No matching federated identity record found for presented assertion subject \
                 '{subject}'. The subject matches with case-insensitive comparison, but not with \
                 case-sensitive comparison. Check your federated identity credential Subject, \
                 Audience and Issuer against the presented assertion. {FEDERATION}"
            ),
        )
    }

    /// Recorded of subjects in the form of Entra ID's own issuers, `/eid1/c/pub/t/TENANT/a/APP/...`.
    pub(crate) fn entra_subject_not_matched(subject: &str) -> Self {
        let mut parts: Vec<&str> = subject.split('/').collect();
        if let Some(tenant) = parts.get_mut(5) {
            *tenant = "{tenantId}";
        }
        Self::client(
            7_002_137,
            format!(
                "No matching federated identity record found for presented assertion subject \
                 '{subject}'. Please make sure the federated identity credential Subject is '{}'.",
                parts.join("/")
            ),
        )
    }

    pub(crate) fn response(&self, clock: &Clock, host: &str) -> Response<Body> {
        self.response_at(clock.now(), host)
    }

    fn response_at(&self, now: OffsetDateTime, host: &str) -> Response<Body> {
        let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]Z");
        let timestamp = now.format(format).unwrap_or_default();
        let (trace, correlation) = (identifier::guid(), identifier::guid());
        let (code, text) = (self.code, &self.text);
        let mut response = body::json(
            self.status,
            &json!({
                "error": self.error,
                "error_description": format!(
                    "AADSTS{code}: {text}\r\nTrace ID: {trace}\r\nCorrelation ID: {correlation}\r\n\
                     Timestamp: {timestamp}"
                ),
                "error_codes": [code],
                "timestamp": timestamp,
                "trace_id": trace,
                "correlation_id": correlation,
                "error_uri": format!("https://{host}/error?code={code}"),
            }),
        );
        // The trace is the request's own name in Entra ID's logs.
        if let Ok(trace) = HeaderValue::from_str(&trace) {
            response.headers_mut().insert(REQUEST_ID, trace);
        }
        response
    }
}

/// The error that Entra ID gives with a status that a fault asks for.
pub(crate) fn error_for_status(status: StatusCode) -> Response<Body> {
    let (error, code, text) = match status.as_u16() {
        429 => (
            "temporarily_unavailable",
            90_055,
            "Server has terminated the request because there are too many requests from the tenant.",
        ),
        400..=499 => ("invalid_request", 900_001, "The request was refused."),
        503 => (
            "temporarily_unavailable",
            90_033,
            "A transient error has occurred. Please try again.",
        ),
        _ => (
            "server_error",
            90_033,
            "A transient error has occurred. Please try again.",
        ),
    };
    let text = text.to_owned();
    Refusal {
        status,
        error,
        code,
        text,
    }
    .response_at(OffsetDateTime::now_utc(), "login.microsoftonline.com")
}
