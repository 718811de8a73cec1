//! Answers' bodies and requests' bodies: small constructors that every service here uses.

use axum::body::Body;
use axum::http::{Response, StatusCode, header};
use bytes::Bytes;
use serde_json::Value;

/// More than any request of the services here needs; Key Vault takes 25 KB secrets and small PFX.
const REQUEST_LIMIT: usize = 4 * 1024 * 1024;

/// An answer with a JSON body, labelled as Azure labels it.
pub(crate) fn json(status: StatusCode, body: &Value) -> Response<Body> {
    typed(
        status,
        "application/json; charset=utf-8",
        body.to_string().into(),
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
