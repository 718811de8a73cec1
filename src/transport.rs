//! [`Transport`], the one HTTP client of the process, in the shapes that the Azure SDK's clients get it
//! in: for vaults, for Entra ID, for IMDS, and for a [`Peer`] that stands in for one of them.
//!
//! A [`Route`] is what the SDK sends its requests to; each leads to an `Origin`, of which there is one per
//! server, with its connections. Neither the SDK's client nor its retries are used, because
//! - the SDK's retry loops outlive any deadline of ours (101 s for IMDS that is not there, 82 s for a
//!   vault that answers 503) and cannot be switched off for IMDS;
//! - the SDK loses an Entra ID error whose text has a quotation mark or a line break in it;
//! - a general HTTP client opens a connection for each request of a cold burst, bounds none of them, and
//!   does not say what it waited for (docs/decisions/0012).
//!
//! [`crate::azure::vault::azure`] and [`crate::azure::credential`] find the [`TransportError`] again with [`in_chain`]
//! and read the service's own words from it.

mod address_kind;
mod api_version;
#[cfg(any(test, feature = "fuzzing"))]
mod canned;
mod challenge;
mod connections;
mod dial;
mod dns;
mod echo;
mod failure;
mod names;
mod origin;
mod outgoing;
mod peer;
mod presented;
mod probe;
mod proxy;
mod roots;
mod route;
mod server_certificate;
mod stream;
mod trust;

use std::error::Error as StdError;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::http::uri::Authority;
use parking_lot::Mutex;
use thiserror::Error;
use url::{Position, Url};

use crate::observe::metrics::{AzureService, Cache, CacheMetrics, Metrics};
use crate::shares::{Kept, Namespace, Weight};
use crate::transport::challenge::Challenges;
use crate::transport::connections::PoolLimits;
use crate::transport::dial::Dialer;
use crate::transport::dns::Place;
use crate::transport::origin::Origin;
use crate::transport::proxy::{Proxies, ProxyError};
use crate::transport::stream::{Progress, Tls, tls_name};

pub use address_kind::AddressKind;
#[cfg(any(test, feature = "fuzzing"))]
pub use canned::Canned;
#[cfg(any(test, feature = "fuzzing"))]
pub use challenge::scope_in;
pub use failure::{Phase, Refusal, TransportError};
pub use names::Names;
pub use peer::{Peer, Server};
pub use probe::{Greeting, Handshake, Probe};
pub use route::{Route, TokenHolder, client_options};
pub use server_certificate::ServerCertificate;
pub use trust::{ClientCertificate, Trust, TrustError};
#[cfg(any(test, feature = "fuzzing"))]
pub use {origin::retry_after, proxy::leads_out};

/// The most connections to one vault that does not speak HTTP/2.
pub const MAX_CONNECTIONS: usize = 80;

/// The most bytes of an answer. The largest that Key Vault gives (a certificate with its chain) has
/// tens of kilobytes.
const MAX_BODY: usize = 1024 * 1024;
/// The most bytes of an answer's headers; Key Vault's have one or two thousand.
const MAX_HEADERS: u32 = 64 * 1024;
/// The most servers whose connections are kept.
const MAX_SERVERS: usize = 1024;
/// The most HTTP/1.1 connections to a server that gives tokens: each identity needs one token in an hour.
const FOR_TOKENS: usize = 32;
/// Where IMDS is.
const IMDS: &str = "http://169.254.169.254";

/// What the operator decides about outgoing connections.
#[derive(Clone, Debug)]
pub struct TransportSettings {
    /// A file of PEM certificates to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    /// How old a connection gets before another one takes its place.
    pub max_connection_age: Duration,
    /// Another address for IMDS, such as `http://127.0.0.1:8080`.
    pub imds_endpoint: Option<Url>,
}

impl Default for TransportSettings {
    fn default() -> Self {
        Self {
            ca_file: None,
            max_connection_age: Duration::from_secs(300),
            imds_endpoint: None,
        }
    }
}

/// The HTTP client of the process. Clones share everything.
#[derive(Clone, Debug)]
pub struct Transport(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    trust: Trust,
    names: Names,
    max_connection_age: Duration,
    proxies: Proxies,
    imds: Arc<Route>,
    /// By scheme, host and port.
    servers: Mutex<Kept<String, Arc<Origin>>>,
    servers_metrics: CacheMetrics,
    challenges: Challenges,
    metrics: Metrics,
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
    /// A server's name cannot stand in a URL.
    #[error("{0} has a name that cannot stand in a URL")]
    Name(String),
}

impl Transport {
    /// The transport with the system's trusted certificates, those that `SSL_CERT_FILE` and
    /// `SSL_CERT_DIR` name, and the operator's.
    pub fn new(
        settings: &TransportSettings,
        metrics: &Metrics,
    ) -> Result<Self, TransportSetupError> {
        let trust = Trust::usual(settings.ca_file.as_deref())?;
        // Never by a proxy: IMDS answers for the machine that asks.
        let usual_imds = Url::parse(IMDS).map_err(|_| TransportSetupError::Name(IMDS.into()))?;
        let imds = settings.imds_endpoint.as_ref().unwrap_or(&usual_imds);
        let names = Names::new(metrics);
        let dialer = dialer(imds, &trust, &names, None)?;
        let limits = PoolLimits {
            max_http1: FOR_TOKENS,
            max_age: settings.max_connection_age,
        };
        let origin = Origin::new(dialer, metrics.traffic(AzureService::Imds), limits);
        let imds = Route {
            below: imds.path().to_owned(),
            ..Route::new(Arc::new(origin))
        };
        Ok(Self(Arc::new(Shared {
            proxies: Proxies::of_environment()?,
            trust,
            names,
            max_connection_age: settings.max_connection_age,
            imds: Arc::new(imds),
            servers: Mutex::new(Kept::for_entries(MAX_SERVERS)),
            servers_metrics: metrics.cache(Cache::Servers, MAX_SERVERS),
            challenges: Challenges::new(metrics),
            metrics: metrics.clone(),
        })))
    }

    /// Who vouches for every server that is not a [`Peer`] with a CA of its own.
    pub fn trust(&self) -> &Trust {
        &self.0.trust
    }

    /// Who knows the addresses of names.
    pub fn names(&self) -> &Names {
        &self.0.names
    }

    /// How old a connection gets before another one takes its place.
    pub fn max_connection_age(&self) -> Duration {
        self.0.max_connection_age
    }

    /// The way to the vault at this host. `resource` is what its tokens are for, where that is known.
    /// The namespace pays for what the vault says to all, and for its connections.
    pub fn to_vault(
        &self,
        namespace: &Namespace,
        host: &str,
        resource: Option<&str>,
        tokens: Arc<dyn TokenHolder>,
    ) -> Result<Arc<Route>, TransportSetupError> {
        let origin = self.origin(namespace, &format!("https://{host}"), AzureService::Vault)?;
        Ok(Arc::new(Route {
            only_host: Some(host.to_owned()),
            challenge: Some(self.0.challenges.get_or_insert(namespace, host, resource)),
            tokens: Some(tokens),
            ..Route::new(origin)
        }))
    }

    /// The way to Entra ID, at this URL.
    pub fn to_entra(&self, authority: &str) -> Result<Arc<Route>, TransportSetupError> {
        let origin = self.origin(&Namespace::current(), authority, AzureService::Entra)?;
        Ok(Arc::new(Route::new(origin)))
    }

    /// The way to IMDS.
    pub fn to_imds(&self) -> Arc<Route> {
        Arc::clone(&self.0.imds)
    }

    /// The server at this URL, the same for as long as it is in use.
    fn origin(
        &self,
        namespace: &Namespace,
        url: &str,
        service: AzureService,
    ) -> Result<Arc<Origin>, TransportSetupError> {
        let key = url.to_owned();
        let mut servers = self.0.servers.lock();
        if let Some(origin) = servers.get(namespace, &key) {
            return Ok(Arc::clone(origin));
        }
        let parsed = Url::parse(url).map_err(|_| TransportSetupError::Name(url.to_owned()))?;
        let dialer = dialer(&parsed, &self.0.trust, &self.0.names, Some(&self.0.proxies))?;
        let traffic = self.0.metrics.traffic(service);
        let max_http1 = match service {
            AzureService::Vault => MAX_CONNECTIONS,
            _ => FOR_TOKENS,
        };
        let limits = PoolLimits {
            max_http1,
            max_age: self.0.max_connection_age,
        };
        let origin = Arc::new(Origin::new(dialer, traffic, limits));
        let gone = servers.put(namespace, key, Arc::clone(&origin));
        self.0.servers_metrics.evicted(gone.len());
        self.0.servers_metrics.size(servers.len(), servers.bytes());
        Ok(origin)
    }
}

/// The way to the server at a URL.
#[cfg(any(test, feature = "fuzzing"))]
impl Transport {
    /// A transport that reaches nobody but who answers in the place of IMDS, and of Entra ID and the vault at
    /// these URLs.
    pub fn to_canned(
        &self,
        tokens: (&str, &Canned),
        vault: (&str, &Canned),
    ) -> Result<Self, TransportSetupError> {
        let shared = &self.0;
        let origin = |url: &str, service, canned: &Canned| {
            let parsed = Url::parse(url).map_err(|_| TransportSetupError::Name(url.to_owned()))?;
            let dialer = Dialer {
                canned: Some(canned.clone()),
                ..dialer(&parsed, &shared.trust, &shared.names, None)?
            };
            let traffic = shared.metrics.traffic(service);
            let limits = PoolLimits {
                max_http1: FOR_TOKENS,
                max_age: shared.max_connection_age,
            };
            Ok::<_, TransportSetupError>(Arc::new(Origin::new(dialer, traffic, limits)))
        };
        let mut servers = Kept::for_entries(MAX_SERVERS);
        for (service, (url, canned)) in
            [(AzureService::Entra, tokens), (AzureService::Vault, vault)]
        {
            let origin = origin(url, service, canned)?;
            servers.put(&Namespace::default(), url.to_owned(), origin);
        }
        Ok(Self(Arc::new(Shared {
            trust: shared.trust.clone(),
            names: shared.names.clone(),
            max_connection_age: shared.max_connection_age,
            proxies: Proxies::new("", "", "", ""),
            imds: Arc::new(Route::new(origin(IMDS, AzureService::Imds, tokens.1)?)),
            servers: Mutex::new(servers),
            servers_metrics: shared.metrics.cache(Cache::Servers, MAX_SERVERS),
            challenges: Challenges::new(&shared.metrics),
            metrics: shared.metrics.clone(),
        })))
    }
}

impl Weight for Arc<Origin> {
    /// All count the same.
    fn weight(&self) -> usize {
        0
    }
}

fn dialer(
    url: &Url,
    trust: &Trust,
    names: &Names,
    proxies: Option<&Proxies>,
) -> Result<Dialer, TransportSetupError> {
    let authority = &url[Position::BeforeHost..Position::AfterPort];
    let unusable = || TransportSetupError::Name(authority.to_owned());
    let host = url.host().ok_or_else(unusable)?;
    let tls = match url.scheme() {
        "https" => Some(Tls {
            trust: trust.clone(),
            http2: true,
            name: tls_name(&host).ok_or_else(unusable)?,
        }),
        _ => None,
    };
    Ok(Dialer {
        shown: host.to_string(),
        place: Place::of(&host),
        names: names.clone(),
        authority: Authority::try_from(authority).map_err(|_| unusable())?,
        port: url.port_or_known_default().ok_or_else(unusable)?,
        tls,
        proxy: proxies.and_then(|proxies| proxies.find(url, trust)),
        progress: Progress::default(),
        #[cfg(any(test, feature = "fuzzing"))]
        canned: None,
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_namespace_takes_another_ones_connections() {
        let metrics = Metrics::default();
        let transport = Transport::new(&TransportSettings::default(), &metrics).unwrap();
        let origin = |namespace: &str, host: &str| {
            let namespace = Namespace::new(namespace);
            let url = format!("https://{host}.vault.azure.net");
            transport
                .origin(&namespace, &url, AzureService::Vault)
                .unwrap()
        };
        let victims = origin("victim", "good");
        for number in 0..2 * MAX_SERVERS {
            origin("attacker", &format!("junk-{number}"));
        }
        assert!(Arc::ptr_eq(&victims, &origin("victim", "good")));
        assert_eq!(transport.0.servers.lock().len(), MAX_SERVERS);
    }
}
