//! [`Peer`], a server of the cluster that TLS knows by another name than DNS, and that is never asked by
//! way of a proxy.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::http::uri::Authority;
use rustls::pki_types::{CertificateDer, ServerName};
use url::{Position, Url};

use crate::observe::metrics::Traffic;
use crate::transport::FOR_TOKENS;
use crate::transport::connections::PoolLimits;
use crate::transport::dial::Dialer;
use crate::transport::dns::Place;
use crate::transport::names::Names;
use crate::transport::origin::Origin;
use crate::transport::route::Route;
use crate::transport::stream::{Progress, Tls};
use crate::transport::{TransportError, TransportSetupError, Trust};

/// A server of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// An `https` URL: where it is, and which path requests are joined below.
    pub url: Url,
    /// Its address, where that is known without DNS.
    pub address: Option<IpAddr>,
    /// What TLS calls it, a DNS name or an address.
    pub tls_name: String,
}

/// The most HTTP/1.1 connections to a [`Server`].
const FOR_WORDS: usize = 4;

/// A server of the cluster that is asked in HTTP's own words rather than in those of Azure's SDK. Clones share everything.
#[derive(Clone, Debug)]
pub struct Server(Arc<Origin>);

impl Server {
    /// Sends a request, whose URL is a path, and reads the answer. One that is no success is a
    /// [refusal](TransportError::Refused). It has no time limit of its own.
    pub async fn ask(&self, request: Request<Bytes>) -> Result<Bytes, TransportError> {
        let make = || Ok(request.clone().map(Full::new));
        let answer = self.0.exchange(request.method().as_str(), make).await?;
        if answer.status.is_success() {
            return Ok(answer.body);
        }
        Err(TransportError::Refused(self.0.refusal(answer)))
    }
}

impl Peer {
    /// The way for requests that are meant for others, counted there. Connections are renewed at this age.
    pub fn route(
        &self,
        trust: &Trust,
        names: &Names,
        traffic: Arc<Traffic>,
        max_age: Duration,
    ) -> Result<Arc<Route>, TransportSetupError> {
        let limits = PoolLimits {
            max_http1: FOR_TOKENS,
            max_age,
        };
        let origin = Origin::new(self.dialer(trust, names)?, traffic, limits);
        Ok(Arc::new(Route {
            below: self.url.path().to_owned(),
            ..Route::new(Arc::new(origin))
        }))
    }

    /// The same server for those who ask it what it is there for.
    pub fn server(
        &self,
        trust: &Trust,
        names: &Names,
        max_age: Duration,
    ) -> Result<Server, TransportSetupError> {
        let limits = PoolLimits {
            max_http1: FOR_WORDS,
            max_age,
        };
        let dialer = self.dialer(trust, names)?;
        Ok(Server(Arc::new(Origin::new(
            dialer,
            Arc::default(),
            limits,
        ))))
    }

    /// The certificate that it shows, if that proves that it has its name. Nothing is sent but the
    /// handshake.
    pub async fn certificate(
        &self,
        trust: &Trust,
        names: &Names,
    ) -> Result<CertificateDer<'static>, TransportError> {
        let dialer = self.dialer(trust, names).map_err(|error| {
            // A name that is none leads to no connection.
            TransportError::unconnected(&self.shown(), error)
        })?;
        dialer.certificate().await
    }

    fn dialer(&self, trust: &Trust, names: &Names) -> Result<Dialer, TransportSetupError> {
        let unusable = || TransportSetupError::Name(self.shown());
        let place = match (self.address, self.url.host()) {
            (Some(address), _) => Place::At(address),
            (None, Some(host)) => Place::of(&host),
            (None, None) => return Err(unusable()),
        };
        let host = &self.url[Position::BeforeHost..Position::AfterPort];
        let tls = Tls {
            trust: trust.clone(),
            http2: true,
            name: ServerName::try_from(self.tls_name.clone()).map_err(|_| unusable())?,
        };
        Ok(Dialer {
            shown: self.shown(),
            place,
            names: names.clone(),
            authority: Authority::try_from(host).map_err(|_| unusable())?,
            port: self.url.port_or_known_default().unwrap_or(443),
            tls: Some(tls),
            proxy: None,
            progress: Progress::default(),
            #[cfg(any(test, feature = "fuzzing"))]
            canned: None,
        })
    }

    /// What messages call it.
    fn shown(&self) -> String {
        let host = &self.url[Position::BeforeHost..Position::AfterPort];
        let name = self
            .url
            .host_str()
            .map(|name| name.trim_matches(['[', ']']));
        if name == Some(&self.tls_name) {
            host.to_owned()
        } else {
            format!("{host} (in TLS {})", self.tls_name)
        }
    }
}
