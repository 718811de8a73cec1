//! [`Peer`], a server of the cluster that TLS knows by another name than DNS, and that is never asked by
//! way of a proxy.
//!
//! reqwest takes the name for TLS (SNI, and the name that the certificate must have) from the URL's host
//! and has no other way to set it. So the URL gets that name, a resolver of the peer's own leads it to the
//! peer's address, and `Host` says what the URL no longer does.

use std::net::IpAddr;
use std::sync::Arc;

use azure_core::http::HttpClient;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::{Host, Position, Url};

use crate::excerpt::one_line;
use crate::transport::dns::Place;
use crate::transport::{
    Alias, CONNECT_TIMEOUT, Phase, Shape, Substitute, TransportError, TransportSetupError, Trust,
    client_builder, known_failure, root_cause,
};

/// A server of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// An `https` URL: where it is, and which path requests are joined below.
    pub url: Url,
    /// Its address, where that is known without DNS.
    pub address: Option<IpAddr>,
    /// What TLS calls it, a DNS name.
    pub tls_name: String,
}

impl Peer {
    /// A client that sends it the requests that are meant for others.
    pub fn client(&self, trust: &Trust) -> Result<Arc<dyn HttpClient>, TransportSetupError> {
        // Without HTTP/2, where `:authority` and `Host` would contradict each other.
        let client = client_builder(trust.tls_for(&[b"http/1.1"]))
            .no_proxy()
            .dns_resolver(self.place())
            .build()
            .map_err(TransportSetupError::Client)?;
        let mut url = self.url.clone();
        url.set_host(Some(&self.tls_name))
            .map_err(|_| self.no_name())?;
        let host = &self.url[Position::BeforeHost..Position::AfterPort];
        let alias = Alias {
            host: host.parse().map_err(|_| self.no_name())?,
            shown: self.shown(),
        };
        Ok(Arc::new(Shape {
            substitute: Some(Substitute {
                url,
                alias: Some(alias),
            }),
            ..Shape::of(&client)
        }))
    }

    /// The certificate that it shows, if that proves that it has its name. Nothing is sent but the
    /// handshake.
    pub async fn certificate(
        &self,
        trust: &Trust,
    ) -> Result<CertificateDer<'static>, TransportError> {
        tokio::time::timeout(CONNECT_TIMEOUT, self.handshake(trust))
            .await
            .unwrap_or_else(|_| {
                Err(TransportError::Timeout {
                    host: self.shown(),
                    phase: Phase::Connect,
                    after: CONNECT_TIMEOUT,
                })
            })
    }

    async fn handshake(&self, trust: &Trust) -> Result<CertificateDer<'static>, TransportError> {
        let port = self.url.port_or_known_default().unwrap_or(443);
        let addresses = self
            .place()
            .addresses(port)
            .await
            .map_err(|error| self.failure(error))?;
        let stream = TcpStream::connect(&addresses[..])
            .await
            .map_err(|error| self.failure(error))?;
        let name =
            ServerName::try_from(self.tls_name.clone()).map_err(|error| self.failure(error))?;
        let stream = TlsConnector::from(Arc::new(trust.tls_for(&[])))
            .connect(name, stream)
            .await
            .map_err(|error| self.failure(error))?;
        let (_, session) = stream.get_ref();
        let shown = session.peer_certificates().and_then(<[_]>::first);
        // A handshake does not succeed without one.
        let leaf = shown.ok_or_else(|| self.failure(rustls::Error::NoCertificatesPresented))?;
        Ok(leaf.clone().into_owned())
    }

    fn place(&self) -> Place {
        match (self.address, self.url.host()) {
            (Some(address), _) => Place::At(address),
            (None, Some(Host::Ipv4(address))) => Place::At(address.into()),
            (None, Some(Host::Ipv6(address))) => Place::At(address.into()),
            (None, host) => Place::Of(host.map(|host| host.to_string()).unwrap_or_default()),
        }
    }

    /// What messages call it.
    fn shown(&self) -> String {
        let host = &self.url[Position::BeforeHost..Position::AfterPort];
        if self.url.host_str() == Some(&self.tls_name) {
            host.to_owned()
        } else {
            format!("{host} (in TLS {})", self.tls_name)
        }
    }

    fn no_name(&self) -> TransportSetupError {
        TransportSetupError::Name(self.shown())
    }

    fn failure(&self, error: impl std::error::Error + Send + Sync + 'static) -> TransportError {
        let host = self.shown();
        known_failure(&host, &error).unwrap_or_else(|| TransportError::Connect {
            host,
            problem: one_line(&root_cause(&error).to_string(), 160),
            source: Arc::new(error),
        })
    }
}
