//! [`ApiServer`], where the API server is, whom to trust, and how to log in.
//!
//! It is never asked by way of a proxy, although client-go asks by `HTTPS_PROXY` where `NO_PROXY` does not name it: it is
//! part of the cluster, which a proxy on the way out of it can hardly reach, and the token has no business there.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::{Method, Request};
use parking_lot::Mutex;
use serde::Deserialize;
use thiserror::Error;
use url::Url;

use crate::cluster::kubeconfig::{self, Kubeconfig, KubeconfigError, Login};
use crate::cluster::source::{Source, SourceError};
use crate::os::small_file::{self, SmallFileError};
use crate::text::excerpt::one_line;
use crate::text::sensitive::Sensitive;
use crate::transport::{
    ClientCertificate, Names, Peer, Refusal, Server, Transport, TransportError,
    TransportSetupError, Trust, TrustError,
};

/// Where the kubelet puts what a pod's service account has.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// How long a request may take, with the connection that it may need.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The most characters of the API server's own words in a message.
const MAX_MESSAGE: usize = 300;

/// The API server. Clones share everything.
#[derive(Clone)]
pub struct ApiServer(Arc<Inner>);

struct Inner {
    url: Url,
    address: Option<IpAddr>,
    tls_name: String,
    /// Whom to trust; the usual certificates where nothing is said.
    authorities: Option<Source>,
    login: Login,
    usual: Trust,
    names: Names,
    max_connection_age: Duration,
    connected: Mutex<Option<Connected>>,
}

/// The connections, and what they were made with.
struct Connected {
    proofs: Proofs,
    server: Server,
}

/// What is proved to each other by a handshake, as it was read.
#[derive(PartialEq, Eq)]
struct Proofs {
    authorities: Option<Sensitive>,
    certificate: Option<(Sensitive, Sensitive)>,
}

/// What the kubelet says of the API server: the variables `KUBERNETES_SERVICE_HOST` and `KUBERNETES_SERVICE_PORT`.
#[derive(Clone, Debug)]
pub struct ServiceAddress {
    /// An address, or a name where the cluster is set up so; empty where nothing is said.
    pub host: String,
    pub port: u16,
}

/// What the operator decides about what pods are told, and what the kubelet says of the API server.
#[derive(Clone, Debug)]
pub struct ClusterSettings {
    /// Whether pods are told anything.
    pub pod_events: PodEventsChoice,
    /// A file that says where the API server is and how to log in, rather than a pod's service account.
    pub kubeconfig: Option<PathBuf>,
    /// What the kubelet says.
    pub service: ServiceAddress,
}

/// Whether pods are told of their rotation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PodEventsChoice {
    /// If there is a kubeconfig file, or a service account's token.
    #[default]
    Auto,
    /// They are, or the process does not start.
    On,
    /// They are not.
    Off,
}

/// Why there is no API server to be asked.
#[derive(Debug, Error)]
pub enum ClusterSetupError {
    /// There is neither a token nor a file.
    #[error(
        "--pod-events=true needs --kubeconfig, or a service account's token at {SERVICE_ACCOUNT}/token"
    )]
    NoToken,
    /// There is a token, and nobody says for whom.
    #[error(
        "the API server's address is not known: expected KUBERNETES_SERVICE_HOST, or --kubernetes-service-host"
    )]
    NoAddress,
    /// What is said is no address.
    #[error("KUBERNETES_SERVICE_HOST: expected an address or a name")]
    Address,
    /// The file of `--kubeconfig` cannot be read.
    #[error("--kubeconfig {}: {problem}", path.display())]
    File {
        path: PathBuf,
        problem: SmallFileError,
    },
    /// The file of `--kubeconfig` names no API server that can be asked.
    #[error("--kubeconfig {}", path.display())]
    Kubeconfig {
        path: PathBuf,
        source: KubeconfigError,
    },
}

/// Why the API server did not do what it was asked.
#[derive(Debug, Error)]
pub enum ClusterError {
    /// A file is not there, or has nothing in it.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A token cannot be sent.
    #[error("expected a token on one line of printable characters")]
    Token,
    /// Certificates cannot be used.
    #[error("the API server's CA or the client certificate cannot be used")]
    Trust(#[from] TrustError),
    /// There is no way to it.
    #[error(transparent)]
    Setup(#[from] TransportSetupError),
    /// There is no answer.
    #[error(transparent)]
    Transport(TransportError),
    /// No answer in time.
    #[error("the API server took longer than {} s to answer", .0.as_secs())]
    Timeout(Duration),
    /// It does not know who asks.
    #[error("the API server does not accept the token or certificate (HTTP status 401)")]
    Unauthorized,
    /// Who asks may not.
    #[error("the API server forbids it: {0}")]
    Forbidden(String),
    /// It is not there.
    #[error("the API server has no such object")]
    NotFound,
    /// There is one of that name.
    #[error("the API server has an object of that name")]
    AlreadyExists,
    /// It has too much to do.
    #[error("the API server has too much to do (HTTP status {status})")]
    Throttled {
        /// 429 or 503.
        status: u16,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// It is out of order.
    #[error("the API server answered with HTTP status {0}")]
    Broken(u16),
    /// It refuses what it was asked, and will do so again.
    #[error("the API server refuses it (HTTP status {status}): {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// Its own words.
        message: String,
    },
    /// Its answer is none.
    #[error("the API server's answer is not what its API promises")]
    Malformed,
}

impl ClusterError {
    /// Whether the same may go well later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Forbidden(_)
            | Self::NotFound
            | Self::AlreadyExists
            | Self::Refused { .. }
            | Self::Malformed => false,
            // Files are replaced, and so are tokens.
            Self::Source(_)
            | Self::Token
            | Self::Trust(_)
            | Self::Setup(_)
            | Self::Transport(_)
            | Self::Timeout(_)
            | Self::Unauthorized
            | Self::Throttled { .. }
            | Self::Broken(_) => true,
        }
    }

    /// How long the API server wants to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Throttled { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl ApiServer {
    /// The API server that the operator's settings lead to; none where pods are told nothing. Where nobody has decided, a
    /// service account that cannot be used is a warning: mounts do not depend on it.
    pub fn of_settings(
        transport: &Transport,
        settings: &ClusterSettings,
    ) -> Result<Option<Self>, ClusterSetupError> {
        if settings.pod_events == PodEventsChoice::Off {
            return Ok(None);
        }
        if let Some(path) = &settings.kubeconfig {
            return Self::from_kubeconfig(transport, path).map(Some);
        }
        let is_wanted = settings.pod_events == PodEventsChoice::On;
        match Self::in_cluster(transport, &settings.service) {
            Ok(None) if is_wanted => Err(ClusterSetupError::NoToken),
            Err(error) if !is_wanted => {
                tracing::warn!(%error, "pods are not told of their rotation");
                Ok(None)
            }
            result => result,
        }
    }

    /// The API server of the cluster that this process is a pod of, as that pod's service account. None where the pod has
    /// no token of one.
    pub fn in_cluster(
        transport: &Transport,
        service: &ServiceAddress,
    ) -> Result<Option<Self>, ClusterSetupError> {
        Self::of_service_account(transport, service, Path::new(SERVICE_ACCOUNT))
    }

    /// The same with the service account's files in this folder.
    pub(super) fn of_service_account(
        transport: &Transport,
        service: &ServiceAddress,
        folder: &Path,
    ) -> Result<Option<Self>, ClusterSetupError> {
        let token = folder.join("token");
        if !token.exists() {
            return Ok(None);
        }
        let host = service.host.trim_matches(['[', ']']);
        if host.is_empty() {
            return Err(ClusterSetupError::NoAddress);
        }
        let shown = match host.parse() {
            Ok(IpAddr::V6(address)) => format!("[{address}]"),
            _ => host.to_owned(),
        };
        let url = Url::parse(&format!("https://{shown}:{}", service.port))
            .ok()
            .filter(|url| url.path() == "/" && url.has_host() && url.username().is_empty())
            .ok_or(ClusterSetupError::Address)?;
        let kubeconfig = Kubeconfig {
            server: url,
            tls_name: None,
            authorities: Some(Source::File(folder.join("ca.crt"))),
            login: Login {
                token: Some(Source::File(token)),
                certificate: None,
            },
        };
        Ok(Some(Self::new(transport, kubeconfig)))
    }

    /// The API server that a kubeconfig file's current context names.
    pub fn from_kubeconfig(transport: &Transport, path: &Path) -> Result<Self, ClusterSetupError> {
        let bytes = small_file::read(path, kubeconfig::MAX_BYTES).map_err(|problem| {
            ClusterSetupError::File {
                path: path.to_owned(),
                problem,
            }
        })?;
        // It may have a token in it.
        let bytes = Sensitive::from(bytes);
        let folder = path.parent().unwrap_or(Path::new(""));
        let kubeconfig = Kubeconfig::parse(bytes.expose(), folder).map_err(|source| {
            ClusterSetupError::Kubeconfig {
                path: path.to_owned(),
                source,
            }
        })?;
        Ok(Self::new(transport, kubeconfig))
    }

    fn new(transport: &Transport, kubeconfig: Kubeconfig) -> Self {
        let host = kubeconfig.server.host_str().unwrap_or_default();
        let host = host.trim_matches(['[', ']']).to_owned();
        Self(Arc::new(Inner {
            address: host.parse().ok(),
            tls_name: kubeconfig.tls_name.unwrap_or(host),
            url: kubeconfig.server,
            authorities: kubeconfig.authorities,
            login: kubeconfig.login,
            usual: transport.trust().clone(),
            names: transport.names().clone(),
            max_connection_age: transport.max_connection_age(),
            connected: Mutex::default(),
        }))
    }

    /// Where it is, for the log.
    pub fn url(&self) -> &Url {
        &self.0.url
    }

    /// Gets what is at a path of its API.
    pub(super) async fn get(&self, path: &str) -> Result<Bytes, ClusterError> {
        self.ask(Method::GET, path, None).await
    }

    /// Makes an object of this JSON.
    pub(super) async fn create(&self, path: &str, object: Bytes) -> Result<(), ClusterError> {
        self.post(path, object).await.map(drop)
    }

    /// The answer to an object of this JSON.
    pub(super) async fn post(&self, path: &str, object: Bytes) -> Result<Bytes, ClusterError> {
        let body = Some(("application/json", object));
        self.ask(Method::POST, path, body).await
    }

    /// Changes an object by this JSON Merge Patch (RFC 7396).
    pub(super) async fn patch(&self, path: &str, changes: Bytes) -> Result<(), ClusterError> {
        let body = Some(("application/merge-patch+json", changes));
        self.ask(Method::PATCH, path, body).await.map(drop)
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<(&'static str, Bytes)>,
    ) -> Result<Bytes, ClusterError> {
        let server = self.server()?;
        let below = self.0.url.path().trim_end_matches('/');
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{below}{path}"))
            .header(ACCEPT, "application/json")
            .header(
                USER_AGENT,
                concat!("provider-azure-rs/", env!("CARGO_PKG_VERSION")),
            );
        if let Some(token) = self.token()? {
            request = request.header(AUTHORIZATION, token);
        }
        let body = body.map(|(kind, body)| {
            request = std::mem::take(&mut request).header(CONTENT_TYPE, kind);
            body
        });
        // Paths are made of names that need no escapes.
        let request = request
            .body(body.unwrap_or_default())
            .map_err(|_| ClusterError::Malformed)?;
        match tokio::time::timeout(REQUEST_TIMEOUT, server.ask(request)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(TransportError::Refused(refusal))) => Err(refused(&refusal)),
            Ok(Err(error)) => Err(ClusterError::Transport(error)),
            Err(_) => Err(ClusterError::Timeout(REQUEST_TIMEOUT)),
        }
    }

    /// The connections, new ones where others are trusted now or the certificate is another one.
    fn server(&self) -> Result<Server, ClusterError> {
        let inner = &*self.0;
        let read = |source: &Source| source.read().map(std::borrow::Cow::into_owned);
        let certificate = inner.login.certificate.as_ref();
        let proofs = Proofs {
            authorities: inner.authorities.as_ref().map(read).transpose()?,
            certificate: certificate
                .map(|(chain, key)| Ok::<_, SourceError>((read(chain)?, read(key)?)))
                .transpose()?,
        };
        let mut connected = inner.connected.lock();
        if let Some(connected) = &*connected
            && connected.proofs == proofs
        {
            return Ok(connected.server.clone());
        }
        let peer = Peer {
            url: inner.url.clone(),
            address: inner.address,
            tls_name: inner.tls_name.clone(),
        };
        let trust = proofs.trust(&inner.usual)?;
        let server = peer.server(&trust, &inner.names, inner.max_connection_age)?;
        *connected = Some(Connected {
            proofs,
            server: server.clone(),
        });
        Ok(server)
    }

    fn token(&self) -> Result<Option<HeaderValue>, ClusterError> {
        let Some(source) = &self.0.login.token else {
            return Ok(None);
        };
        let token = source.read()?;
        let token = token.expose_str().map(str::trim).unwrap_or_default();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ClusterError::Token);
        }
        let mut header =
            HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| ClusterError::Token)?;
        header.set_sensitive(true);
        Ok(Some(header))
    }
}

impl Proofs {
    fn trust(&self, usual: &Trust) -> Result<Trust, TrustError> {
        let client = self
            .certificate
            .as_ref()
            .map(|(chain, key)| ClientCertificate::from_pem(chain.expose(), key.expose()))
            .transpose()?;
        match (&self.authorities, client) {
            (Some(pem), client) => Trust::only_for(pem.expose(), client),
            (None, Some(client)) => Trust::usual_for(client),
            (None, None) => Ok(usual.clone()),
        }
    }
}

/// What the API server says of a failure.
///
/// Source: "API Concepts", kind `Status` of `meta/v1`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    message: String,
    /// The failure in one word.
    reason: String,
}

fn refused(refusal: &Refusal) -> ClusterError {
    let status = refusal.status;
    let said = || serde_json::from_slice::<Status>(&refusal.body).unwrap_or_default();
    let message = || {
        let said = said();
        match one_line(&said.message, MAX_MESSAGE) {
            text if text.is_empty() => "it does not say why".to_owned(),
            text => text,
        }
    };
    match status {
        401 => ClusterError::Unauthorized,
        403 => ClusterError::Forbidden(message()),
        404 => ClusterError::NotFound,
        409 if said().reason == "AlreadyExists" => ClusterError::AlreadyExists,
        429 | 503 => ClusterError::Throttled {
            status,
            retry_after: refusal.retry_after,
        },
        // 409 also stands for what others change just now, such as what a quota counts.
        408 | 409 | 500.. => ClusterError::Broken(status),
        _ => ClusterError::Refused {
            status,
            message: message(),
        },
    }
}

/// Whether this can be the name of an object, so that it can stand in a path as it is.
///
/// Source: "Object Names and IDs", section "DNS Subdomain Names".
pub(super) fn is_object_name(text: &str) -> bool {
    let is_alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= 253
        && text.split('.').all(|label| {
            let bytes = label.as_bytes();
            let ends = bytes.first().zip(bytes.last());
            ends.is_some_and(|(first, last)| is_alphanumeric(*first) && is_alphanumeric(*last))
                && bytes
                    .iter()
                    .all(|byte| is_alphanumeric(*byte) || *byte == b'-')
        })
}

impl fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiServer")
            .field("url", &self.0.url.as_str())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
