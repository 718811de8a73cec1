//! Answers' bodies and requests' bodies: small constructors that every service here uses.

use axum::body::Body;
use axum::http::{Response, StatusCode, header};
use bytes::Bytes;
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use serde_json::{Map, Value};

/// More than any request of the services here needs; Key Vault takes 25 KB secrets and small PFX.
const REQUEST_LIMIT: usize = 4 * 1024 * 1024;

/// The order in which Azure writes members, as in its recorded answers; others follow by name.
const ORDER: &str = "error value nextLink recoveryId deletedDate scheduledPurgeDate key \
    contentType id managed kid sid x5t cer attributes tags policy pending \
    enabled nbf exp created updated recoveryLevel recoverableDays \
    exportable kty key_size reuse_key key_ops n e crv x y \
    key_props secret_props x509_props lifetime_actions issuer \
    subject sans ekus key_usage validity_months basic_constraints trigger action name \
    csr cancellation_requested status status_details target request_id \
    error_description error_codes timestamp trace_id correlation_id error_uri \
    token_type expires_in ext_expires_in access_token \
    code message innererror";

/// JSON whose members are in Azure's order.
struct InOrder<'a>(&'a Value);

impl InOrder<'_> {
    fn place(of: &Map<String, Value>, name: &str) -> usize {
        // A secret ends with the identifier of its certificate's key, a policy with its attributes.
        if name == "kid" && of.contains_key("id") && !of.contains_key("sid")
            || name == "attributes" && of.contains_key("key_props")
        {
            return usize::MAX;
        }
        ORDER
            .split_ascii_whitespace()
            .position(|known| known == name)
            .unwrap_or(usize::MAX - 1)
    }
}

impl Serialize for InOrder<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(members) => {
                let mut names: Vec<_> = members.keys().collect();
                names.sort_by_cached_key(|name| (Self::place(members, name), *name));
                let mut map = serializer.serialize_map(Some(names.len()))?;
                for name in names {
                    map.serialize_entry(name, &Self(&members[name]))?;
                }
                map.end()
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(InOrder)),
            other => other.serialize(serializer),
        }
    }
}

/// An answer with a JSON body, labelled and with its members in the order as Azure does it.
pub(crate) fn json(status: StatusCode, body: &Value) -> Response<Body> {
    typed(
        status,
        "application/json; charset=utf-8",
        serde_json::to_vec(&InOrder(body))
            .unwrap_or_default()
            .into(),
    )
}

/// An answer with a text body.
pub(crate) fn text(status: StatusCode, body: impl Into<String>) -> Response<Body> {
    typed(status, "text/plain; charset=utf-8", body.into().into())
}

/// An answer with a body of any type.
pub(crate) fn typed(status: StatusCode, content_type: &str, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    if let Ok(value) = header::HeaderValue::from_str(content_type) {
        response.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    response
}

/// The whole body of a request, or the answer to one that is too large or broke off.
pub(crate) async fn read(body: Body) -> Result<Bytes, Response<Body>> {
    axum::body::to_bytes(body, REQUEST_LIMIT)
        .await
        .map_err(|error| text(StatusCode::PAYLOAD_TOO_LARGE, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded bodies of Key Vault and Entra ID (test suites of Azure's SDKs, shortened).
    #[test]
    fn members_are_in_the_order_of_recorded_answers() {
        for recorded in [
            r#"{"value":"v","contentType":"application/x-pkcs12","id":"i","managed":true,"attributes":{"enabled":true,"nbf":1,"exp":2,"created":3,"updated":4,"recoveryLevel":"CustomizedRecoverable+Purgeable","recoverableDays":7},"kid":"k"}"#,
            r#"{"key":{"kid":"k","kty":"EC","key_ops":["sign","verify"],"crv":"P-256","x":"x","y":"y"},"attributes":{"enabled":false,"exp":1,"created":2,"updated":3,"recoveryLevel":"Recoverable+Purgeable","recoverableDays":90}}"#,
            r#"{"recoveryId":"r","deletedDate":1,"scheduledPurgeDate":2,"key":{"kid":"k","kty":"RSA","key_ops":[],"n":"n","e":"AQAB"},"attributes":{}}"#,
            r#"{"id":"i","kid":"k","sid":"s","x5t":"x","cer":"c","attributes":{"enabled":true},"tags":{"a":"b"},"policy":{"id":"i","key_props":{"exportable":true,"kty":"RSA","key_size":2048,"reuse_key":false},"secret_props":{"contentType":"c"},"x509_props":{"subject":"CN=x","ekus":[],"key_usage":[],"validity_months":12,"basic_constraints":{"ca":false}},"lifetime_actions":[{"trigger":{"lifetime_percentage":80},"action":{"action_type":"AutoRenew"}}],"issuer":{"name":"Self"},"attributes":{"enabled":true,"created":1,"updated":2}},"pending":{"id":"p"}}"#,
            r#"{"value":[{"contentType":"c","id":"i","managed":true,"attributes":{}}],"nextLink":null}"#,
            r#"{"error":{"code":"Forbidden","message":"m","innererror":{"code":"SecretDisabled"}}}"#,
            r#"{"error":"invalid_client","error_description":"d","error_codes":[1],"timestamp":"t","trace_id":"t","correlation_id":"c","error_uri":"u"}"#,
            r#"{"token_type":"Bearer","expires_in":1,"ext_expires_in":1,"access_token":"a"}"#,
        ] {
            let value: Value = serde_json::from_str(recorded).unwrap();
            assert_eq!(serde_json::to_string(&InOrder(&value)).unwrap(), recorded);
        }
    }
}
