//! What a fault does to one request: instead of the service's answer, or to it on its way out.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use futures::stream;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::body;
use crate::faults::Service;
use crate::listener::Connection;

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    tag = "kind",
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    deny_unknown_fields
)]
pub enum Effect {
    /// This answer instead of the service's own.
    Answer {
        /// The HTTP status.
        status: u16,
        #[serde(default)]
        body: String,
        /// The body's `Content-Type`; JSON when it is not given.
        #[serde(default = "json_type")]
        content_type: String,
        /// Further headers.
        #[serde(default)]
        headers: BTreeMap<String, String>,
    },
    /// A recorded answer instead of the service's own: nothing is added to it, changed or put in order.
    Recorded(RecordedAnswer),
    /// The service's own error for this status, worded as it words it.
    Error {
        /// The HTTP status.
        status: u16,
    },
    /// 429 as the service words it.
    Throttle {
        /// `Retry-After` in seconds; Key Vault and Entra ID mostly send none.
        #[serde(default)]
        retry_after: Option<u64>,
    },
    /// A reverse proxy's 502 page in HTML.
    BadGateway,
    /// Waits, then goes on as usual; adds to other delays.
    Delay { milliseconds: u64 },
    /// Never answers.
    Hang,
    /// Closes the connection without an answer.
    Drop,
    /// Sends half of the body that its `Content-Length` promises, then closes the connection.
    DropInBody,
    /// The service's own answer, whose body takes so long to come, byte by byte.
    SlowBody { milliseconds: u64 },
    /// An error that shows the request's `Authorization` header and body, as a proxy in front of the service may.
    Echo {
        /// The HTTP status.
        status: u16,
    },
    /// 200 with no body.
    Empty,
    /// 200 with JSON that has none of the members that a client looks for.
    WrongJson,
    /// The service's own answer with its body cut in half, its length telling nothing.
    Truncate,
    /// 200 with valid JSON of this size, whose `value` and `access_token` fill it.
    Oversize {
        /// The body's size.
        bytes: usize,
    },
    /// 302 to another place.
    Redirect {
        /// `Location`.
        location: String,
    },
    /// The service's own list with a `nextLink` to another host.
    NextLink {
        /// The whole link.
        url: String,
    },
}

/// An answer as it was recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedAnswer {
    /// The HTTP status.
    pub status: u16,
    /// Names and values in their order; a name may come more than once. What belongs to the recorded
    /// connection (`Content-Length`, `Transfer-Encoding`, `Connection`) is left to this one.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    #[serde(default)]
    pub body: String,
}

/// Marks an answer to which its service adds no header of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verbatim;

impl RecordedAnswer {
    fn response(&self) -> Response<Body> {
        let mut answer = Response::new(Body::from(self.body.clone()));
        *answer.status_mut() = status_code(self.status);
        answer.extensions_mut().insert(Verbatim);
        for (name, value) in &self.headers {
            let (Ok(name), Ok(value)) = (
                HeaderName::from_bytes(name.as_bytes()),
                HeaderValue::from_str(value),
            ) else {
                continue;
            };
            let of_connection = [
                header::CONTENT_LENGTH,
                header::TRANSFER_ENCODING,
                header::CONNECTION,
            ];
            if !of_connection.contains(&name) {
                answer.headers_mut().append(name, value);
            }
        }
        answer
    }
}

fn json_type() -> String {
    "application/json".to_owned()
}

impl Effect {
    /// 429 without `Retry-After`.
    pub fn throttle() -> Self {
        Self::Throttle { retry_after: None }
    }

    /// 429 with `Retry-After`.
    pub fn throttle_for(seconds: u64) -> Self {
        Self::Throttle {
            retry_after: Some(seconds),
        }
    }

    /// The service's own error for this status.
    pub fn error(status: u16) -> Self {
        Self::Error { status }
    }

    /// A recorded answer, word by word.
    pub fn recorded(answer: RecordedAnswer) -> Self {
        Self::Recorded(answer)
    }

    pub fn delay(by: Duration) -> Self {
        Self::Delay {
            milliseconds: u64::try_from(by.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// A body that takes this long.
    pub fn slow_body(takes: Duration) -> Self {
        Self::SlowBody {
            milliseconds: u64::try_from(takes.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// A JSON answer instead of the service's own.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::Answer {
            status,
            body: body.to_string(),
            content_type: json_type(),
            headers: BTreeMap::new(),
        }
    }

    /// An HTML answer instead of the service's own.
    pub fn html(status: u16, body: impl Into<String>) -> Self {
        Self::Answer {
            status,
            body: body.into(),
            content_type: "text/html".to_owned(),
            headers: BTreeMap::new(),
        }
    }
}

/// A request, as far as effects care.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) authorization: &'a str,
    pub(crate) body: &'a [u8],
}

/// Answers a request through the effects that it meets.
pub(crate) async fn interpose(
    service: Service,
    effects: Vec<Effect>,
    asked: Asked<'_>,
    usual: impl Future<Output = Response<Body>>,
) -> Response<Body> {
    let mut usual = Some(usual);
    let mut answer = None;
    for effect in effects {
        if let Effect::Delay { milliseconds } = effect {
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            continue;
        }
        if let Some(instead) = instead(service, &effect, asked).await {
            answer = Some(instead);
            usual = None;
        } else if let Some(usual) = usual.take() {
            answer = Some(changed(&effect, usual.await, asked.connection).await);
        }
    }
    match (answer, usual) {
        (Some(answer), _) => answer,
        (None, Some(usual)) => usual.await,
        (None, None) => std::future::pending().await,
    }
}

/// The answer that replaces the service's own, for the effects that do not need it.
async fn instead(service: Service, effect: &Effect, asked: Asked<'_>) -> Option<Response<Body>> {
    let answer = match effect {
        Effect::Answer {
            status,
            body,
            content_type,
            headers,
        } => {
            let mut answer = body::typed(status_code(*status), content_type, body.clone().into());
            for (name, value) in headers {
                if let (Ok(name), Ok(value)) = (
                    HeaderName::from_bytes(name.as_bytes()),
                    HeaderValue::from_str(value),
                ) {
                    answer.headers_mut().insert(name, value);
                }
            }
            answer
        }
        Effect::Recorded(recorded) => recorded.response(),
        Effect::Error { status } => own_error(service, status_code(*status)),
        Effect::Throttle { retry_after } => {
            let mut answer = own_error(service, StatusCode::TOO_MANY_REQUESTS);
            if let Some(seconds) = retry_after {
                answer
                    .headers_mut()
                    .insert(header::RETRY_AFTER, HeaderValue::from(*seconds));
            }
            answer
        }
        Effect::BadGateway => body::typed(
            StatusCode::BAD_GATEWAY,
            "text/html",
            Bytes::from_static(
                b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n<center>\
                  <h1>502 Bad Gateway</h1></center>\r\n<hr><center>Microsoft-Azure-Application-\
                  Gateway/v2</center>\r\n</body>\r\n</html>\r\n",
            ),
        ),
        Effect::Hang => std::future::pending().await,
        Effect::Drop => {
            asked.connection.close();
            std::future::pending().await
        }
        Effect::Echo { status } => {
            let shown = format!(
                "Bad request. Authorization: {}; body: {}",
                asked.authorization,
                String::from_utf8_lossy(asked.body)
            );
            // In the form of each of the services.
            body::json(
                status_code(*status),
                &match service {
                    Service::Vault => {
                        json!({ "error": { "code": "BadRequest", "message": shown } })
                    }
                    _ => json!({ "error": "invalid_request", "error_description": shown }),
                },
            )
        }
        Effect::Empty => body::typed(StatusCode::OK, "application/json", Bytes::new()),
        Effect::WrongJson => body::json(StatusCode::OK, &json!({ "hello": ["world", 1, null] })),
        Effect::Oversize { bytes } => {
            let filler = "x".repeat(bytes / 2);
            body::json(
                StatusCode::OK,
                &json!({ "access_token": filler, "value": filler, "expires_in": 3600,
                         "token_type": "Bearer", "id": "", "attributes": { "enabled": true } }),
            )
        }
        Effect::Redirect { location } => {
            let mut answer = body::typed(StatusCode::FOUND, "text/html", Bytes::new());
            if let Ok(location) = HeaderValue::from_str(location) {
                answer.headers_mut().insert(header::LOCATION, location);
            }
            answer
        }
        Effect::Delay { .. }
        | Effect::DropInBody
        | Effect::SlowBody { .. }
        | Effect::Truncate
        | Effect::NextLink { .. } => return None,
    };
    Some(answer)
}

/// The service's own answer, changed on its way out.
async fn changed(
    effect: &Effect,
    answer: Response<Body>,
    connection: &Connection,
) -> Response<Body> {
    let (mut parts, body) = answer.into_parts();
    let Ok(whole) = body::read(body).await else {
        return Response::from_parts(parts, Body::empty());
    };
    let half = whole.slice(..whole.len() / 2);
    let body = match effect {
        Effect::DropInBody => {
            parts
                .headers
                .insert(header::CONTENT_LENGTH, HeaderValue::from(whole.len()));
            half_then_close(half, connection.clone())
        }
        Effect::SlowBody { milliseconds } => {
            parts
                .headers
                .insert(header::CONTENT_LENGTH, HeaderValue::from(whole.len()));
            byte_by_byte(whole, Duration::from_millis(*milliseconds))
        }
        Effect::Truncate => Body::from(half),
        Effect::NextLink { url } => match serde_json::from_slice::<Value>(&whole) {
            Ok(Value::Object(mut list)) => {
                list.insert("nextLink".to_owned(), Value::from(url.clone()));
                Body::from(Value::Object(list).to_string())
            }
            _ => Body::from(whole),
        },
        _ => Body::from(whole),
    };
    Response::from_parts(parts, body)
}

fn half_then_close(half: Bytes, connection: Connection) -> Body {
    Body::from_stream(stream::unfold(Some(half), move |half| {
        let connection = connection.clone();
        async move {
            if let Some(half) = half {
                return Some((Ok::<_, std::convert::Infallible>(half), None));
            }
            // The half must have left this process before the connection ends, or the client sees
            // no answer at all.
            tokio::time::sleep(Duration::from_millis(50)).await;
            connection.close();
            std::future::pending().await
        }
    }))
}

fn byte_by_byte(mut whole: Bytes, takes: Duration) -> Body {
    let pause = takes / u32::try_from(whole.len().max(1)).unwrap_or(u32::MAX);
    Body::from_stream(stream::unfold((), move |()| {
        let byte = whole.split_to(whole.len().min(1));
        async move {
            if byte.is_empty() {
                return None;
            }
            tokio::time::sleep(pause).await;
            Some((Ok::<_, std::convert::Infallible>(byte), ()))
        }
    }))
}

fn own_error(service: Service, status: StatusCode) -> Response<Body> {
    match service {
        Service::Vault => crate::vault::error_for_status(status),
        Service::Entra | Service::TokenProxy => crate::entra::error_for_status(status),
        Service::Imds => crate::imds::error_for_status(status),
    }
}

fn status_code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
