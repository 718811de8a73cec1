//! [`Transport`], the one HTTP client of the process, in the shapes that the Azure SDK's clients get it
//! in: for vaults, for Entra ID, for IMDS, and for a [`Peer`] that stands in for one of them.
//!
//! The SDK's own client is not used, and neither are its retries. Whatever goes wrong on the way, and
//! every answer that is not a success, becomes a [`TransportError`] that the SDK passes through
//! untouched, because
//! - the SDK's retry loops outlive any deadline of ours (101 s for IMDS that is not there, 82 s for a
//!   vault that answers 503) and cannot be switched off for IMDS;
//! - the SDK loses an Entra ID error whose text has a quotation mark or a line break in it.
//!
//! [`crate::vault::azure`] and [`crate::credential`] find the error again with [`in_chain`] and read the
//! service's own words from it. The exception is a vault's 401, which the SDK needs to see: it is the
//! challenge that tells whose token the vault takes. Each client of the SDK would ask for it by itself;
//! [`challenge`] asks once per vault.

mod challenge;
mod dns;
mod peer;
mod proxy;
mod trust;

use std::collections::HashMap;
use std::error::Error as StdError;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::error::ErrorKind;
use azure_core::http::headers::{AUTHORIZATION, HeaderName, HeaderValue, Headers};
use azure_core::http::request::Body;
use azure_core::http::{
    AsyncRawResponse, ClientOptions, HttpClient, Request, RetryOptions, StatusCode,
};
use bytes::{Bytes, BytesMut};
use thiserror::Error;
use url::Url;

use crate::excerpt::one_line;
use crate::transport::challenge::{Challenge, Challenges};
use crate::transport::proxy::ProxyError;

pub use peer::Peer;
pub use trust::{Trust, TrustError};

/// How long a TCP and TLS handshake may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a whole request may take, from the first byte sent to the last byte received. Key Vault's
/// slowest answers take a second or two.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// The most bytes of an answer. The largest that Key Vault gives (a certificate with its chain) has
/// tens of kilobytes.
const MAX_BODY: usize = 1024 * 1024;
/// How long an unused connection is kept: longer than the driver's two minutes between two mounts.
const IDLE_TIMEOUT: Duration = Duration::from_secs(180);
/// What the operator decides about outgoing connections.
#[derive(Clone, Debug, Default)]
pub struct TransportSettings {
    /// A file of PEM certificates to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    /// Another address for IMDS, such as `http://127.0.0.1:8080`.
    pub imds_endpoint: Option<Url>,
}

/// The HTTP client of the process. Clones share everything.
#[derive(Clone, Debug)]
pub struct Transport {
    /// By way of the proxy that `HTTPS_PROXY` and `NO_PROXY` name, if they do.
    outbound: reqwest::Client,
    /// Never by a proxy: IMDS answers for the machine that asks.
    direct: reqwest::Client,
    imds_endpoint: Option<Url>,
    challenges: Arc<Challenges>,
    trust: Trust,
}

/// Why there is no HTTP client.
#[derive(Debug, Error)]
pub enum TransportSetupError {
    /// The trusted certificates cannot be read.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// A proxy cannot be one.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// The library refuses its settings.
    #[error("the HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
    /// A peer's name cannot stand in a URL.
    #[error("{0} has a name that cannot stand in a URL")]
    Name(String),
}

impl Transport {
    /// The transport with the system's trusted certificates, those that `SSL_CERT_FILE` and
    /// `SSL_CERT_DIR` name, and the operator's.
    pub fn new(settings: &TransportSettings) -> Result<Self, TransportSetupError> {
        proxy::check()?;
        let trust = Trust::usual(settings.ca_file.as_deref())?;
        let builder = || client_builder(trust.tls()).dns_resolver(dns::SystemResolver);
        Ok(Self {
            outbound: builder().build().map_err(TransportSetupError::Client)?,
            direct: builder()
                .no_proxy()
                .build()
                .map_err(TransportSetupError::Client)?,
            imds_endpoint: settings.imds_endpoint.clone(),
            challenges: Arc::default(),
            trust,
        })
    }

    /// Who vouches for every server that is not a [`Peer`] with a CA of its own.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// For the clients of one vault. Requests to any other host are refused, since each carries the
    /// token: the pages of a list are followed to wherever the vault says.
    pub fn for_vault(&self, host: &str) -> ClientOptions {
        let challenge = self.challenges.of(host);
        Shape {
            only_host: Some(host.to_owned()),
            challenge: Some(challenge),
            ..Shape::of(&self.outbound)
        }
        .into_options()
    }

    /// For credentials that ask Entra ID.
    pub fn for_entra(&self) -> ClientOptions {
        Shape::of(&self.outbound).into_options()
    }

    /// For credentials that ask IMDS.
    pub fn for_imds(&self) -> ClientOptions {
        Shape {
            substitute: self.imds_endpoint.clone().map(Substitute::at),
            ..Shape::of(&self.direct)
        }
        .into_options()
    }
}

/// What all clients have in common.
fn client_builder(tls: rustls::ClientConfig) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .tcp_nodelay(true)
}

/// The options of an SDK client that sends its requests this way, and only once.
pub fn client_options(client: Arc<dyn HttpClient>) -> ClientOptions {
    ClientOptions {
        retry: RetryOptions::none(),
        transport: Some(azure_core::http::Transport::new(client)),
        ..ClientOptions::default()
    }
}

/// The error of type `E` that another error was made of.
pub fn in_chain<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// What went wrong between a request and a successful answer to it.
#[derive(Clone, Debug, Error)]
pub enum TransportError {
    /// The host has no address.
    #[error("{host} has no address: {problem}")]
    Dns {
        /// The host that was asked for.
        host: String,
        /// Whether nobody could say, rather than that there is none.
        temporary: bool,
        /// The resolver's own words.
        problem: String,
    },
    /// The server's certificate does not prove that it is the host.
    #[error("the TLS certificate of {host} is not accepted: {problem}")]
    Certificate {
        /// The host that was asked for.
        host: String,
        /// What is wrong with it.
        problem: String,
    },
    /// There is no connection, and so nothing was sent.
    #[error("no connection to {host}: {problem}")]
    Connect {
        /// The host that was asked for.
        host: String,
        /// The last cause in the chain.
        problem: String,
        /// The whole chain.
        source: Arc<dyn StdError + Send + Sync>,
    },
    /// The connection ended before the answer did.
    #[error("the connection to {host} broke: {problem}")]
    Interrupted {
        /// The host that was asked for.
        host: String,
        /// The last cause in the chain.
        problem: String,
        /// The whole chain.
        source: Arc<dyn StdError + Send + Sync>,
    },
    /// No answer in time.
    #[error("{host} took longer than {} s to {phase}", after.as_secs())]
    Timeout {
        /// The host that was asked for.
        host: String,
        /// What it was expected to do.
        phase: Phase,
        /// The time it had.
        after: Duration,
    },
    /// An answer that no Azure service gives.
    #[error("{host} answered with more than {MAX_BODY} bytes")]
    TooLarge {
        /// The host that was asked for.
        host: String,
    },
    /// A request that cannot be sent.
    #[error("the header {name} of a request to {host} cannot be sent")]
    Header {
        /// The host.
        host: String,
        /// The header's name.
        name: String,
    },
    /// A 401 that is no challenge of the vault's.
    #[error("{host} answered 401 without the challenge that Key Vault gives")]
    Challenge {
        /// The host of the vault.
        host: String,
    },
    /// A request that would carry a vault's token to another host.
    #[error("{vault} points to {found}, which gets no token")]
    ForeignHost {
        /// The host of the vault.
        vault: String,
        /// The host it points to.
        found: String,
    },
    /// An answer with a status that is no success.
    #[error("{0}")]
    Refused(Refusal),
}

/// What a server was expected to do when its time ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// TCP and TLS.
    Connect,
    /// The answer.
    Answer,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "accept a connection",
            Self::Answer => "answer",
        })
    }
}

/// An answer with a status that is no success.
#[derive(Clone)]
pub struct Refusal {
    /// The host that answered.
    pub host: String,
    /// The HTTP status.
    pub status: u16,
    /// What the header `Retry-After` says, where it gives seconds.
    pub retry_after: Option<Duration>,
    /// The body: the service's error as JSON, or whatever stands in its way.
    pub body: Bytes,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} answered with HTTP status {}", self.host, self.status)
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusal")
            .field("host", &self.host)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

impl TransportError {
    /// Whether the same request may succeed a moment later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::Interrupted { .. }
            | Self::Dns {
                temporary: true, ..
            } => true,
            Self::Refused(refusal) => matches!(refusal.status, 408 | 429 | 500 | 502..=504),
            _ => false,
        }
    }
}

/// The transport as one kind of SDK client sees it.
#[derive(Debug)]
struct Shape {
    client: reqwest::Client,
    only_host: Option<String>,
    substitute: Option<Substitute>,
    challenge: Option<Arc<Challenge>>,
}

/// A server that gets the requests in place of the one that they are meant for.
#[derive(Clone, Debug)]
struct Substitute {
    /// Where it is. Paths are joined below this one's.
    url: Url,
    /// What else there is to say about it, where its URL's host is a name for TLS only.
    alias: Option<Alias>,
}

/// What a server is called elsewhere than in TLS.
#[derive(Clone, Debug)]
struct Alias {
    /// In the header `Host`.
    host: reqwest::header::HeaderValue,
    /// In messages.
    shown: String,
}

impl Substitute {
    fn at(url: Url) -> Self {
        Self { url, alias: None }
    }

    /// The same path and query there.
    fn moved(&self, url: &Url) -> Url {
        let mut moved = self.url.clone();
        moved.set_path(&format!(
            "{}{}",
            self.url.path().trim_end_matches('/'),
            url.path()
        ));
        moved.set_query(url.query());
        moved
    }
}

impl Shape {
    fn of(client: &reqwest::Client) -> Self {
        Self {
            client: client.clone(),
            only_host: None,
            substitute: None,
            challenge: None,
        }
    }

    fn into_options(self) -> ClientOptions {
        client_options(Arc::new(self))
    }

    /// Where the request goes.
    fn target(&self, request: &Request) -> Result<Url, TransportError> {
        let url = request.url();
        if let Some(vault) = &self.only_host
            && url.host_str() != Some(vault)
        {
            let found = url.host_str().unwrap_or("nowhere").to_owned();
            return Err(TransportError::ForeignHost {
                vault: vault.clone(),
                found,
            });
        }
        Ok(match &self.substitute {
            Some(substitute) => substitute.moved(url),
            None => url.clone(),
        })
    }

    /// Sends the request, unless it would only bring the vault's challenge again.
    async fn execute(&self, request: &Request) -> Result<AsyncRawResponse, TransportError> {
        match &self.challenge {
            Some(challenge) if request.headers().get_optional_str(&AUTHORIZATION).is_none() => {
                challenge.ask(self.exchange(request)).await
            }
            _ => self.exchange(request).await,
        }
    }

    async fn exchange(&self, request: &Request) -> Result<AsyncRawResponse, TransportError> {
        let url = self.target(request)?;
        let alias = self
            .substitute
            .as_ref()
            .and_then(|substitute| substitute.alias.as_ref());
        let host = match alias {
            Some(alias) => alias.shown.clone(),
            None => url.host_str().unwrap_or_default().to_owned(),
        };
        let body = match request.body() {
            Body::Bytes(bytes) => bytes.clone(),
            // No operation of this program streams a body.
            Body::SeekableStream(_) => Bytes::new(),
        };
        // The two libraries' methods differ in type only: GET and POST are all that is used.
        let method = reqwest::Method::from_bytes(request.method().as_str().as_bytes());
        let mut outgoing = self
            .client
            .request(method.unwrap_or_default(), url)
            .body(body);
        for (name, value) in request.headers().iter() {
            let mut value =
                reqwest::header::HeaderValue::from_str(value.as_str()).map_err(|_| {
                    TransportError::Header {
                        host: host.clone(),
                        name: name.as_str().to_owned(),
                    }
                })?;
            // What is sensitive is shown by no library, at any level.
            value.set_sensitive(*name == AUTHORIZATION);
            outgoing = outgoing.header(name.as_str(), value);
        }
        if let Some(alias) = alias {
            outgoing = outgoing.header(reqwest::header::HOST, &alias.host);
        }
        let exchange = async {
            let response = outgoing
                .send()
                .await
                .map_err(|error| failure(&host, error))?;
            let status = response.status().as_u16();
            let headers = response.headers().clone();
            Ok((status, headers, read_body(&host, response).await?))
        };
        let (status, headers, body) = tokio::time::timeout(REQUEST_TIMEOUT, exchange)
            .await
            .map_err(|_| TransportError::Timeout {
                host: host.clone(),
                phase: Phase::Answer,
                after: REQUEST_TIMEOUT,
            })??;
        if (200..300).contains(&status) || (status == 401 && self.challenge.is_some()) {
            return Ok(AsyncRawResponse::from_bytes(
                StatusCode::from(status),
                sdk_headers(&headers),
                body,
            ));
        }
        let retry_after = headers
            .get(reqwest::header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.trim().parse().ok())
            .map(Duration::from_secs);
        Err(TransportError::Refused(Refusal {
            host,
            status,
            retry_after,
            body,
        }))
    }
}

#[async_trait]
impl HttpClient for Shape {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        // `ErrorKind::Other` is the kind that no retry policy of the SDK acts on.
        self.execute(request)
            .await
            .map_err(|error| azure_core::Error::new(ErrorKind::Other, error))
    }
}

async fn read_body(host: &str, mut response: reqwest::Response) -> Result<Bytes, TransportError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| failure(host, error))?
    {
        if body.len() + chunk.len() > MAX_BODY {
            return Err(TransportError::TooLarge {
                host: host.to_owned(),
            });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// Names what went wrong, as finely as the library's error allows.
fn failure(host: &str, error: reqwest::Error) -> TransportError {
    let error = error.without_url();
    if let Some(known) = known_failure(host, &error) {
        return known;
    }
    let host = host.to_owned();
    if error.is_connect() && error.is_timeout() {
        return TransportError::Timeout {
            host,
            phase: Phase::Connect,
            after: CONNECT_TIMEOUT,
        };
    }
    let problem = without_link(&one_line(&root_cause(&error).to_string(), 160));
    let is_connect = error.is_connect();
    let source = Arc::new(error);
    if is_connect {
        TransportError::Connect {
            host,
            problem,
            source,
        }
    } else {
        TransportError::Interrupted {
            host,
            problem,
            source,
        }
    }
}

/// What went wrong, where it is the resolver's or the certificate's doing.
fn known_failure(host: &str, error: &(dyn StdError + 'static)) -> Option<TransportError> {
    let host = host.to_owned();
    if let Some(source) = in_chain::<dns::DnsError>(error) {
        let problem = one_line(&source.to_string(), 160);
        return Some(TransportError::Dns {
            host,
            temporary: source.is_temporary(),
            problem,
        });
    }
    let problem = trust::failure_in(error)?;
    Some(TransportError::Certificate { host, problem })
}

/// Some libraries add where to read on, for programmers.
fn without_link(problem: &str) -> String {
    problem
        .split(": https://")
        .next()
        .unwrap_or_default()
        .to_owned()
}

fn root_cause<'a>(error: &'a (dyn StdError + 'static)) -> &'a (dyn StdError + 'static) {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause
}

fn sdk_headers(headers: &reqwest::header::HeaderMap) -> Headers {
    let headers: HashMap<HeaderName, HeaderValue> = headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
        .map(|(name, value)| {
            (
                HeaderName::from(name.to_owned()),
                HeaderValue::from(value.to_owned()),
            )
        })
        .collect();
    headers.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_substitute_gets_the_path_below_its_own() {
        let asked = Url::parse("https://login.test/t/oauth2/v2.0/token?a=b").unwrap();
        for (url, expected) in [
            ("https://p", "https://p/t/oauth2/v2.0/token?a=b"),
            ("https://p:8443/", "https://p:8443/t/oauth2/v2.0/token?a=b"),
            ("https://p/x/y", "https://p/x/y/t/oauth2/v2.0/token?a=b"),
            ("https://p/x/", "https://p/x/t/oauth2/v2.0/token?a=b"),
        ] {
            let substitute = Substitute::at(Url::parse(url).unwrap());
            assert_eq!(substitute.moved(&asked).as_str(), expected);
        }
    }
}
