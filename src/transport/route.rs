//! [`Route`], an [`Origin`] in the shape that the Azure SDK's clients send their requests to.
//!
//! Whatever goes wrong on the way, and every answer that is not a success, becomes a [`TransportError`]
//! that the SDK passes through untouched. The exception is a vault's 401, which the SDK needs to see: it
//! is the challenge that tells whose token the vault takes.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use azure_core::error::ErrorKind;
use azure_core::http::headers::{AUTHORIZATION, Headers, WWW_AUTHENTICATE};
use azure_core::http::request::Body;
use azure_core::http::{
    AsyncRawResponse, ClientOptions, HttpClient, Request, RetryOptions, StatusCode,
};
use bytes::Bytes;
use hyper::Method;
use hyper::header::{HeaderName, HeaderValue, InvalidHeaderValue};
use parking_lot::Mutex;
use tracing::Level;
use url::{Position, Url};

use crate::observe::metrics::Traffic;
use crate::transport::api_version::MAX_CHANGES;
use crate::transport::challenge::Challenge;
use crate::transport::echo::without_secrets;
use crate::transport::origin::{Answer, Origin, bounded};
use crate::transport::{Phase, TransportError};

/// The way to one server, for clients that think that they talk to the server they are made for.
#[derive(Debug)]
pub struct Route {
    pub(super) origin: Arc<Origin>,
    /// The host that requests are for, where those to any other are refused. Each request to a vault
    /// carries the token, and the pages of a list are followed to wherever the vault says.
    pub(super) only_host: Option<String>,
    /// The path that those of requests are joined below, where another server stands in.
    pub(super) below: String,
    /// What a vault says to a request without a token.
    pub(super) challenge: Option<Arc<Challenge>>,
    /// Who is told which tokens a vault does not take.
    pub(super) tokens: Option<Arc<dyn TokenHolder>>,
    /// The header of the last token. Usually the next request has the same: then it is neither copied nor checked again.
    pub(super) authorization: Mutex<Option<HeaderValue>>,
}

/// The target of the lines in which the SDK logs requests and answers.
const LOGGING: &str = "typespec_client_core::http::policies::logging";

/// The longest header of a token that is kept. Entra ID's tokens have 1.5 to 2.5 KB.
const MAX_KEPT: usize = 4096;

/// Who has the tokens of an identity for one vault.
#[async_trait]
pub trait TokenHolder: fmt::Debug + Send + Sync {
    /// The vault does not take this token for the scope. Asks for another one, where it may, and says whether there is
    /// one.
    async fn rejected(&self, scope: &str, token: &str) -> bool;

    /// The vault takes this token.
    fn accepted(&self, token: &str);

    /// Whether the vault has rejected this token, and there is another one.
    fn is_replaced(&self, scope: &str, token: &str) -> bool;
}

impl Route {
    /// A server that is asked what it is asked.
    pub(super) fn new(origin: Arc<Origin>) -> Self {
        Self {
            origin,
            only_host: None,
            below: String::new(),
            challenge: None,
            tokens: None,
            authorization: Mutex::default(),
        }
    }

    /// For clients of the SDK, which send each request once: trying again is decided elsewhere.
    pub fn client_options(self: &Arc<Self>) -> ClientOptions {
        let client: Arc<dyn HttpClient> = Arc::<Self>::clone(self);
        client_options(client)
    }

    /// Where what is sent this way is counted.
    pub fn traffic(&self) -> &Arc<Traffic> {
        self.origin.traffic()
    }

    /// What goes on while a connection to the server is made.
    pub fn connecting(&self) -> Option<Phase> {
        self.origin.connecting()
    }

    /// Connects before the first request, and says whether the connection takes many requests at once.
    pub async fn warm_up(&self) -> Result<bool, TransportError> {
        self.origin.warm_up().await
    }

    /// The scope that a vault's tokens are for; asks the vault unless it is known.
    pub async fn scope(&self) -> Result<String, TransportError> {
        match &self.challenge {
            Some(challenge) => Ok(challenge.learn(&self.origin).await?.scope.clone()),
            None => Ok(String::new()),
        }
    }

    /// The same where it is known without asking.
    pub fn known_scope(&self) -> Option<&str> {
        Some(&self.challenge.as_ref()?.known()?.scope)
    }

    /// Sends the request, unless it would only bring the vault's challenge again.
    async fn execute(&self, request: &Request) -> Result<AsyncRawResponse, TransportError> {
        let url = request.url();
        if let Some(host) = &self.only_host
            && url.host_str() != Some(host)
        {
            return Err(TransportError::ForeignHost {
                vault: host.clone(),
                found: url.host_str().unwrap_or("nowhere").to_owned(),
            });
        }
        let token = authorization(request).and_then(|header| header.strip_prefix("Bearer "));
        let Some(challenge) = &self.challenge else {
            let answer = self.exchange(request).await?;
            return self.success(request, answer);
        };
        let is_replaced = |scope: &str, token: &str| {
            let tokens = self.tokens.as_ref();
            tokens.is_some_and(|tokens| tokens.is_replaced(scope, token))
        };
        let known = challenge.known();
        let is_stale = |token: &str| known.is_some_and(|known| is_replaced(&known.scope, token));
        // Nor is a token sent again that the vault has rejected, which the SDK's client may still have.
        if token.is_none_or(is_stale) {
            let known = challenge.learn(&self.origin).await?;
            return Ok(challenged(known.header.clone(), Bytes::new()));
        }
        let answer = self.exchange(request).await?;
        let (Some(tokens), Some(token)) = (&self.tokens, token) else {
            return self.success(request, answer);
        };
        if answer.status != hyper::StatusCode::UNAUTHORIZED {
            if answer.status.is_success() {
                tokens.accepted(token);
            }
            return self.success(request, answer);
        }
        challenge.check(&answer)?;
        // Before the SDK asks for a token again. Where there is no other, the same would be sent again.
        match challenge.known() {
            // With the challenge that its token was asked for with: the SDK would act on the last one of this answer.
            // The body may be the last word about it.
            Some(known) if tokens.rejected(&known.scope, token).await => {
                let body = without_secrets(bounded(answer.body), request);
                Ok(challenged(known.header.clone(), body))
            }
            _ => self.success(request, answer),
        }
    }

    /// The answer, if it is a success.
    fn success(
        &self,
        request: &Request,
        answer: Answer,
    ) -> Result<AsyncRawResponse, TransportError> {
        if answer.status.is_success() {
            return Ok(incoming(answer));
        }
        let mut refusal = self.origin.refusal(answer);
        refusal.body = without_secrets(refusal.body, request);
        Err(TransportError::Refused(refusal))
    }

    /// Sends the request, in the version of the API that the server speaks.
    async fn exchange(&self, request: &Request) -> Result<Answer, TransportError> {
        let path = path(&self.below, request.url());
        let method = request.method().as_str();
        let Some(challenge) = &self.challenge else {
            let outgoing = || self.outgoing(request, &path);
            return self.origin.exchange(method, outgoing).await;
        };
        let mut changes = 0;
        loop {
            let path = challenge.api_version.applied(&path);
            let outgoing = || self.outgoing(request, &path);
            let answer = self.origin.exchange(method, outgoing).await?;
            if changes == MAX_CHANGES || !challenge.api_version.learns_from(&answer, &path) {
                return Ok(answer);
            }
            changes += 1;
        }
    }

    /// The same request for the other library.
    fn outgoing(
        &self,
        request: &Request,
        path: &str,
    ) -> Result<hyper::Request<http_body_util::Full<Bytes>>, TransportError> {
        let unsendable = |name: &str| TransportError::Header {
            host: self.origin.shown().to_owned(),
            name: name.to_owned(),
        };
        let body = match request.body() {
            Body::Bytes(bytes) => bytes.clone(),
            // No operation of this program streams a body.
            Body::SeekableStream(_) => Bytes::new(),
        };
        let mut outgoing = hyper::Request::new(http_body_util::Full::new(body));
        // The two libraries' methods differ in type only: GET and POST are all that is used.
        *outgoing.method_mut() =
            Method::from_bytes(request.method().as_str().as_bytes()).unwrap_or_default();
        *outgoing.uri_mut() = path.parse().map_err(|_| unsendable(":path"))?;
        for (name, value) in request.headers().iter() {
            let unsendable = || unsendable(name.as_str());
            let value = if *name == AUTHORIZATION {
                self.sensitive(value.as_str())
            } else {
                HeaderValue::from_str(value.as_str())
            };
            let value = value.map_err(|_| unsendable())?;
            let name = HeaderName::from_bytes(name.as_str().as_bytes());
            let name = name.map_err(|_| unsendable())?;
            outgoing.headers_mut().append(name, value);
        }
        Ok(outgoing)
    }

    /// The header of a token. What is sensitive is shown by no library, at any level.
    fn sensitive(&self, value: &str) -> Result<HeaderValue, InvalidHeaderValue> {
        let mut last = self.authorization.lock();
        if let Some(same) = last.as_ref().filter(|last| *last == value) {
            return Ok(same.clone());
        }
        let mut header = HeaderValue::from_str(value)?;
        header.set_sensitive(true);
        *last = (value.len() <= MAX_KEPT).then(|| header.clone());
        Ok(header)
    }
}

#[async_trait]
impl HttpClient for Route {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        // `ErrorKind::Other` is the kind that no retry policy of the SDK acts on.
        self.execute(request)
            .await
            .map_err(|error| azure_core::Error::new(ErrorKind::Other, error))
    }
}

/// The options of an SDK client that sends its requests this way, and only once.
pub fn client_options(client: Arc<dyn HttpClient>) -> ClientOptions {
    ClientOptions {
        retry: RetryOptions::none(),
        transport: Some(azure_core::http::Transport::new(client)),
        ..ClientOptions::default()
    }
}

/// The header with the token, if there is one. `Headers::get_str` words an error also where there is none.
fn authorization(request: &Request) -> Option<&str> {
    let mut headers = request.headers().iter();
    let (_, value) = headers.find(|(name, _)| **name == AUTHORIZATION)?;
    Some(value.as_str())
}

/// What follows the host in a URL, below a path of the server's own.
fn path(below: &str, url: &Url) -> String {
    let below = below.trim_end_matches('/');
    [below, &url[Position::BeforePath..Position::AfterQuery]].concat()
}

/// A success for the SDK, with its headers only where it logs them: it acts on none, and a copy of them for each answer would
/// be a quarter of what is allocated for a read.
fn incoming(answer: Answer) -> AsyncRawResponse {
    let mut headers = Headers::new();
    if tracing::enabled!(target: LOGGING, Level::DEBUG) {
        for (name, value) in &answer.headers {
            if let Ok(value) = value.to_str() {
                headers.insert(name.as_str().to_owned(), value.to_owned());
            }
        }
    }
    let status = StatusCode::from(answer.status.as_u16());
    AsyncRawResponse::from_bytes(status, headers, answer.body)
}

/// A 401 with a challenge, as a vault would answer.
fn challenged(header: String, body: Bytes) -> AsyncRawResponse {
    let mut headers = Headers::new();
    headers.insert(WWW_AUTHENTICATE, header);
    AsyncRawResponse::from_bytes(StatusCode::Unauthorized, headers, body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::metrics::Metrics;
    use crate::transport::{Transport, TransportSettings};

    #[test]
    fn a_server_that_stands_in_gets_the_path_below_its_own() {
        let asked = Url::parse("https://login.test/t/oauth2/v2.0/token?a=b").unwrap();
        for (below, expected) in [
            ("", "/t/oauth2/v2.0/token?a=b"),
            ("/", "/t/oauth2/v2.0/token?a=b"),
            ("/x/y", "/x/y/t/oauth2/v2.0/token?a=b"),
            ("/x/", "/x/t/oauth2/v2.0/token?a=b"),
        ] {
            assert_eq!(path(below, &asked), expected);
        }
    }

    #[tokio::test]
    async fn a_token_is_sensitive_on_its_way() {
        let transport = Transport::new(&TransportSettings::default(), &Metrics::default());
        let route = transport.unwrap().to_imds();
        let url = Url::parse("https://kv.vault.azure.net/secrets/S").unwrap();
        let mut request = Request::new(url, azure_core::http::Method::Get);
        request.insert_header(AUTHORIZATION, "Bearer canary");
        request.insert_header("accept", "application/json");
        // The first, the same again, another one, and one that is not kept.
        let long = "x".repeat(MAX_KEPT);
        for token in ["canary", "canary", "other", &long, &long, "canary"] {
            let bearer = format!("Bearer {token}");
            request.insert_header(AUTHORIZATION, bearer.clone());
            let outgoing = route.outgoing(&request, "/secrets/S").unwrap();
            let headers = outgoing.headers();
            assert_eq!(headers["authorization"], bearer);
            // So that no library shows it.
            assert!(headers["authorization"].is_sensitive());
            assert!(!headers["accept"].is_sensitive());
            let kept = route.authorization.lock().clone();
            let expected = (bearer.len() <= MAX_KEPT).then_some(bearer);
            assert_eq!(kept, expected.map(|bearer| bearer.parse().unwrap()));
        }
    }
}
