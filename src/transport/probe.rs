//! [`Probe`], the way to one server a step at a time, for `doctor`: who takes the steps that
//! [`Dialer::dial`] takes at once sees where each of them leads.

use std::net::SocketAddr;

use hyper::header::{DATE, HeaderMap, WWW_AUTHENTICATE};
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};
use url::Url;

use crate::transport::challenge::ask_without_token;
use crate::transport::dial::Dialer;
use crate::transport::dns::Place;
use crate::transport::route::Route;
use crate::transport::server_certificate::ServerCertificate;
use crate::transport::stream::Stream;
use crate::transport::{TransportError, presented};

/// The way to one server.
#[derive(Clone, Copy, Debug)]
pub struct Probe<'a>(&'a Dialer);

/// A TCP connection: to the server, or to the proxy, which has opened the way to it.
pub struct Connected {
    /// The address that took it.
    pub address: SocketAddr,
    stream: Box<dyn Stream>,
}

/// What a TLS handshake came to.
#[derive(Debug)]
pub struct Handshake {
    /// The version of TLS, such as `TLS 1.3`.
    pub version: &'static str,
    /// The version of HTTP that both sides have agreed on.
    pub http: &'static str,
    /// What the server's certificate says, if it can be read.
    pub certificate: Option<ServerCertificate>,
}

/// What a vault says to who brings no token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Greeting {
    pub clock: Option<OffsetDateTime>,
    /// The tenant that it belongs to.
    pub tenant: Option<String>,
}

impl Route {
    /// The same way, a step at a time.
    pub fn probe(&self) -> Probe<'_> {
        Probe(self.origin.dialer())
    }

    /// Asks a vault without a token, which it refuses with its challenge.
    pub async fn greeting(&self) -> Result<Greeting, TransportError> {
        let answer = ask_without_token(&self.origin).await?;
        if let Some(challenge) = &self.challenge {
            challenge.check(&answer)?;
        }
        Ok(Greeting::read(&answer.headers))
    }
}

impl<'a> Probe<'a> {
    /// What messages call the server.
    pub fn host(self) -> &'a str {
        &self.0.shown
    }

    /// The server's port.
    pub fn port(self) -> u16 {
        self.0.port
    }

    /// Whether TLS is spoken with it.
    pub fn has_tls(self) -> bool {
        self.0.tls.is_some()
    }

    /// The proxy that stands in between, as `HOST:PORT`: never the URL, which may have a password in it.
    pub fn proxy(self) -> Option<String> {
        let proxy = self.0.proxy.as_ref()?;
        Some(match &proxy.place {
            Place::At(address) => SocketAddr::from((*address, proxy.port)).to_string(),
            Place::Of(name) => format!("{name}:{}", proxy.port),
        })
    }

    /// DNS: the addresses of the server, or of the proxy; at least one.
    pub async fn addresses(self) -> Result<Vec<SocketAddr>, TransportError> {
        self.0.addresses().await
    }

    /// TCP: to one of the addresses, and on by way of the proxy.
    pub async fn connect(self, addresses: Vec<SocketAddr>) -> Result<Connected, TransportError> {
        let Self(dialer) = self;
        let connecting = async {
            let stream = dialer.connect(addresses).await?;
            let address = stream.peer_addr().map_err(|error| dialer.failure(error))?;
            let stream = dialer.way(stream).await?;
            Ok(Connected { address, stream })
        };
        dialer.in_time(connecting).await
    }

    /// TLS, where it is spoken.
    pub async fn shake_hands(
        &self,
        connected: Connected,
    ) -> Result<Option<Handshake>, TransportError> {
        let Self(dialer) = self;
        let Some(tls) = &dialer.tls else {
            return Ok(None);
        };
        let shaking = async {
            let stream = dialer.shake_hands(tls, connected.stream).await?;
            let session = stream.get_ref().1;
            let shown = session.peer_certificates().unwrap_or_default();
            Ok(Some(Handshake {
                version: match session.protocol_version() {
                    Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2",
                    _ => "TLS 1.3",
                },
                http: match session.alpn_protocol() {
                    Some(b"h2") => "HTTP/2",
                    _ => "HTTP/1.1",
                },
                certificate: shown.first().and_then(ServerCertificate::read),
            }))
        };
        dialer.in_time(shaking).await
    }

    /// What the certificate says that the server presents, although it is not accepted. A connection is made
    /// for it; nothing is sent but the beginning of a handshake.
    pub async fn presented(self) -> Option<ServerCertificate> {
        let connected = self.connect(self.addresses().await.ok()?).await.ok()?;
        let tls = self.0.tls.as_ref()?;
        let looking = async { Ok(presented::certificate(connected.stream, tls).await) };
        ServerCertificate::read(&self.0.in_time(looking).await.ok()??)
    }
}

impl Greeting {
    fn read(headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name)?.to_str().ok();
        Self {
            clock: text(DATE).and_then(clock),
            tenant: text(WWW_AUTHENTICATE).and_then(tenant),
        }
    }
}

/// The time in a header `Date` (RFC 9110, section 5.6.7).
fn clock(date: &str) -> Option<OffsetDateTime> {
    let format = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let time = PrimitiveDateTime::parse(date, format).ok()?;
    Some(time.assume_utc())
}

/// The tenant in a challenge, `Bearer authorization="https://AUTHORITY/TENANT", …`.
fn tenant(challenge: &str) -> Option<String> {
    let url = challenge
        .split_once("authorization=\"")?
        .1
        .split('"')
        .next()?;
    let url = Url::parse(url).ok()?;
    let tenant = url.path_segments()?.next()?;
    (!tenant.is_empty()).then(|| tenant.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_tells_the_time_and_the_tenant() {
        let mut headers = HeaderMap::new();
        assert_eq!(Greeting::read(&headers), Greeting::default());
        headers.insert(DATE, "Tue, 01 Dec 2026 08:00:09 GMT".parse().unwrap());
        let challenge = "Bearer authorization=\"https://login.microsoftonline.com/t1\", resource=\"https://vault.azure.net\"";
        headers.insert(WWW_AUTHENTICATE, challenge.parse().unwrap());
        let greeting = Greeting::read(&headers);
        assert_eq!(greeting.tenant.as_deref(), Some("t1"));
        let seconds = greeting.clock.map(OffsetDateTime::unix_timestamp);
        assert_eq!(seconds, Some(1_796_112_009));
        for foreign in [
            "",
            "Bearer",
            "Bearer authorization=\"x\"",
            "Bearer authorization=\"https://a\"",
        ] {
            assert_eq!(tenant(foreign), None, "{foreign}");
        }
        for foreign in ["", "yesterday", "2026-12-01T08:00:09Z"] {
            assert_eq!(clock(foreign), None, "{foreign}");
        }
    }
}
