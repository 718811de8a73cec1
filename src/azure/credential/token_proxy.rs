//! [`TokenProxy`], the server of an AKS cluster that gives tokens to identity bindings in place of Entra
//! ID.
//!
//! It is asked what Entra ID would be asked, at the API server's address, under a name that only TLS
//! knows. Unless the operator says the name, it is computed from the API server's certificate. Nobody is
//! contacted before the first mount that needs it, so that the provider runs anywhere else too.
//!
//! The Go provider asks by way of `HTTPS_PROXY`, where that is set and `NO_PROXY` does not name the API
//! server. This one never does: the server is part of the cluster, which a proxy on the way out of it can
//! hardly reach, and the pod's token has no business there.
//!
//! It also asks DNS for the API server, which a pod on the host's network only gets an answer to with
//! `dnsPolicy: ClusterFirstWithHostNet`. The kubelet tells every pod the address, so DNS is asked only where
//! it tells a name instead: AKS can make it the API server's public one, which is not where the token
//! proxy is.
//!
//! Source: the Go provider v1.8.2, `internal/identitybinding`, and the Azure SDK for Go, `azidentity`,
//! which it takes the client from.

pub mod server_name;

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::error::ErrorKind;
use azure_core::http::{AsyncRawResponse, ClientOptions, HttpClient, Request};
use parking_lot::{Mutex, MutexGuard};
use thiserror::Error;
use tokio::time::Instant;
use url::Url;

use crate::observe::metrics::Traffic;
use crate::text::excerpt::{causes, one_line};
use crate::transport::{
    Names, Peer, Phase, Route, Transport, TransportError, Trust, client_options,
};

/// The API server's name in every cluster. It is the token proxy's host too, unless the operator says
/// otherwise.
pub const API_SERVER: &str = "kubernetes.default.svc.cluster.local";
/// The cluster's CA, as the kubelet gives it to every pod.
const CLUSTER_CA: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";

/// What the operator decides about the token proxy, and what the kubelet says about the API server.
#[derive(Clone, Debug)]
pub struct TokenProxySettings {
    /// Where the token proxy is: an `https` URL, without query and fragment.
    pub url: Url,
    /// Its name for TLS; computed where it is not given.
    pub server_name: Option<String>,
    /// The only certificates to trust, in PEM. Where no file is named, those of the pod's service account,
    /// and where there are none, the usual ones.
    pub ca_file: Option<PathBuf>,
    /// The API server's address, where it is known without DNS.
    pub api_server_address: Option<IpAddr>,
    pub api_server_port: u16,
}

/// Why the token proxy cannot be asked at all.
#[derive(Clone, Debug, Error)]
pub enum TokenProxyError {
    /// The certificates to trust.
    #[error("the certificates in {path} cannot be used: {problem}")]
    Ca {
        path: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The API server does not show its certificate.
    #[error("the API server does not tell the cluster's ID")]
    ApiServer(#[source] TransportError),
    /// The API server is not one of AKS.
    #[error(
        "the API server's certificate does not tell the cluster's ID: it has no name \
         hcp-kubernetes.ID.svc.cluster.local"
    )]
    NoClusterId,
    /// There is no client for it.
    #[error("there is no client for it: {problem}")]
    Client { problem: String },
}

/// The token proxy of the cluster.
pub struct TokenProxy {
    settings: TokenProxySettings,
    /// Who is trusted where the cluster has no CA.
    usual: Trust,
    names: Names,
    max_connection_age: Duration,
    /// Locked for as long as the API server is asked, so that one caller asks for all.
    server_name: tokio::sync::Mutex<Discovery>,
    client: Mutex<Option<Client>>,
    traffic: Arc<Traffic>,
}

/// What is known of the token proxy's name.
enum Discovery {
    /// Nobody asked yet.
    Unknown,
    /// The name, for good.
    Known(String),
    /// Nobody knows, as of then.
    Failed(Instant, TokenProxyError),
}

/// The HTTP client, and which certificates it trusts.
struct Client {
    ca: Option<Vec<u8>>,
    route: Arc<Route>,
}

impl TokenProxy {
    /// A token proxy that nobody has talked to yet.
    pub fn new(settings: TokenProxySettings, transport: &Transport, traffic: Arc<Traffic>) -> Self {
        let server_name = match &settings.server_name {
            Some(name) => Discovery::Known(name.clone()),
            None => Discovery::Unknown,
        };
        Self {
            usual: transport.trust().clone(),
            names: transport.names().clone(),
            max_connection_age: transport.max_connection_age(),
            server_name: tokio::sync::Mutex::new(server_name),
            client: Mutex::new(None),
            traffic,
            settings,
        }
    }

    /// For credentials that ask the token proxy.
    pub fn client_options(self: &Arc<Self>) -> ClientOptions {
        let client: Arc<dyn HttpClient> = Arc::<Self>::clone(self);
        client_options(client)
    }

    /// Where what it is asked is counted.
    pub fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    /// What goes on while it is connected to.
    pub fn connecting(&self) -> Option<Phase> {
        self.last_client().as_ref()?.route.connecting()
    }

    /// The way to it now. The kubelet replaces the cluster's CA when it is rotated, so
    /// the file is read each time; a token is asked for once in an hour and pod.
    pub async fn route(&self) -> Result<Arc<Route>, TokenProxyError> {
        let ca = self.ca()?;
        if let Some(client) = &*self.last_client()
            && client.ca == ca
        {
            return Ok(Arc::clone(&client.route));
        }
        let trust = match &ca {
            Some(pem) => Trust::only(pem).map_err(|error| self.unusable_ca(&causes(&error)))?,
            None => self.usual.clone(),
        };
        let peer = Peer {
            url: self.settings.url.clone(),
            // The URL's host may be the API server, whose address is known better than by DNS.
            address: (self.settings.url.host_str() == Some(API_SERVER))
                .then_some(self.settings.api_server_address)
                .flatten(),
            tls_name: self.server_name(&trust).await?,
        };
        let route = peer
            .route(
                &trust,
                &self.names,
                Arc::clone(&self.traffic),
                self.max_connection_age,
            )
            .map_err(|error| TokenProxyError::Client {
                problem: causes(&error),
            })?;
        let client = Client {
            ca,
            route: Arc::clone(&route),
        };
        *self.last_client() = Some(client);
        Ok(route)
    }

    fn last_client(&self) -> MutexGuard<'_, Option<Client>> {
        self.client.lock()
    }

    /// The certificates to trust instead of the usual ones. Read in place: the file is small and in
    /// memory, as all of a pod's projected files are.
    fn ca(&self) -> Result<Option<Vec<u8>>, TokenProxyError> {
        match std::fs::read(self.ca_path()) {
            Ok(pem) => Ok(Some(pem)),
            Err(error)
                if error.kind() == std::io::ErrorKind::NotFound
                    && self.settings.ca_file.is_none() =>
            {
                Ok(None)
            }
            Err(error) => Err(self.unusable_ca(&error.to_string())),
        }
    }

    fn ca_path(&self) -> &Path {
        self.settings
            .ca_file
            .as_deref()
            .unwrap_or(Path::new(CLUSTER_CA))
    }

    fn unusable_ca(&self, problem: &str) -> TokenProxyError {
        TokenProxyError::Ca {
            path: self.ca_path().display().to_string(),
            problem: one_line(problem, 160),
        }
    }

    /// The token proxy's name for TLS. Whoever comes while the API server is being asked waits for its
    /// answer and shares it; whoever comes after a failure asks again.
    async fn server_name(&self, trust: &Trust) -> Result<String, TokenProxyError> {
        let arrival = Instant::now();
        let mut discovery = self.server_name.lock().await;
        match &*discovery {
            Discovery::Known(name) => return Ok(name.clone()),
            Discovery::Failed(then, error) if *then > arrival => return Err(error.clone()),
            Discovery::Failed(..) | Discovery::Unknown => {}
        }
        let result = self.discover(trust).await;
        *discovery = match &result {
            Ok(name) => {
                tracing::info!(name, "found the name of the AKS token proxy");
                Discovery::Known(name.clone())
            }
            Err(error) => Discovery::Failed(Instant::now(), error.clone()),
        };
        result
    }

    /// Asks the API server for its certificate. Where it is does not depend on the token proxy's URL: it
    /// knows the cluster also where the proxy is somewhere else.
    async fn discover(&self, trust: &Trust) -> Result<String, TokenProxyError> {
        let mut url = Url::parse(&format!("https://{API_SERVER}")).map_err(|error| {
            TokenProxyError::Client {
                problem: error.to_string(),
            }
        })?;
        // Only a URL without a host has no port.
        _ = url.set_port(Some(self.settings.api_server_port));
        let api_server = Peer {
            url,
            address: self.settings.api_server_address,
            tls_name: API_SERVER.to_owned(),
        };
        let certificate = api_server
            .certificate(trust, &self.names)
            .await
            .map_err(TokenProxyError::ApiServer)?;
        server_name::of_certificate(&certificate).ok_or(TokenProxyError::NoClusterId)
    }
}

impl TokenProxyError {
    /// Whether the same may go well a moment later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::ApiServer(error) if error.is_transient())
    }
}

impl fmt::Debug for TokenProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenProxy")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl HttpClient for TokenProxy {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        // `ErrorKind::Other` is the kind that no retry policy of the SDK acts on.
        let route = self
            .route()
            .await
            .map_err(|error| azure_core::Error::new(ErrorKind::Other, error))?;
        route.execute_request(request).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::metrics::Metrics;
    use crate::transport::TransportSettings;

    /// A token proxy beside an API server on this port of loopback.
    fn beside(port: u16) -> TokenProxy {
        let settings = TokenProxySettings {
            url: Url::parse("https://127.0.0.1").unwrap(),
            server_name: None,
            ca_file: None,
            api_server_address: Some(IpAddr::from([127, 0, 0, 1])),
            api_server_port: port,
        };
        let metrics = Metrics::default();
        let transport = Transport::new(&TransportSettings::default(), &metrics).unwrap();
        TokenProxy::new(settings, &transport, Arc::default())
    }

    #[tokio::test]
    async fn many_who_wait_share_a_failure_and_the_next_asks_again() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = beside(listener.local_addr().unwrap().port());
        let asked = std::sync::atomic::AtomicUsize::new(0);
        let accepting = async {
            loop {
                // Closed before TLS has begun.
                drop(listener.accept().await);
                asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        };
        let mounts = async {
            for round in 1..=2 {
                let trust = proxy.usual.clone();
                let names = (0..20).map(|_| proxy.server_name(&trust));
                for result in futures::future::join_all(names).await {
                    let error = result.unwrap_err();
                    assert!(matches!(error, TokenProxyError::ApiServer(_)), "{error}");
                    assert!(error.is_transient());
                }
                assert_eq!(asked.load(std::sync::atomic::Ordering::Relaxed), round);
            }
        };
        tokio::select! {
            () = mounts => {}
            () = accepting => {}
        }
    }

    #[test]
    fn a_ca_file_that_the_operator_names_must_be_there() {
        let mut proxy = beside(443);
        proxy.settings.ca_file = Some("/nowhere/ca.crt".into());
        let error = proxy.ca().unwrap_err().to_string();
        assert!(error.contains("/nowhere/ca.crt"), "{error}");
    }
}
