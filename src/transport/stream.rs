//! [`Stream`], a connection that bytes go through, and what is known while it is made and of what it is good for.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;

use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::Host;

use crate::os::lock::lock;
use crate::transport::Phase;
use crate::transport::address_kind::AddressKind;
use crate::transport::dns::DnsError;
use crate::transport::trust::Trust;

/// How a server proves who it is.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    /// Whom to trust.
    pub(super) trust: Trust,
    /// Whether HTTP/2 is offered, besides HTTP/1.1.
    pub(super) http2: bool,
    /// The name that its certificate must have.
    pub(super) name: ServerName<'static>,
}

/// What goes on while a connection is made; where several are, the last one's.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<Option<Phase>>);

/// A connection, and what it is good for.
pub(super) struct Dialed {
    /// The connection.
    pub(super) stream: Box<dyn Stream>,
    /// Whether TLS agreed on HTTP/2.
    pub(super) http2: bool,
}

/// What bytes go through, both ways.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Why there is no TCP connection.
#[derive(Debug, Error)]
pub(super) enum ConnectError {
    /// The name leads nowhere. Not transparent: who explains the failure looks for the resolver's error itself.
    #[error("{0}")]
    Dns(#[from] DnsError),
    /// The resolver knows the name, and no address of it.
    #[error("its name has no address")]
    NoAddress,
    /// No address takes a connection; what the first said.
    #[error(transparent)]
    Unreachable(Unreachable),
}

/// An address takes no connection.
#[derive(Debug, Error)]
#[error("{problem} ({address}{kind})", kind = kind(address))]
pub(super) struct Unreachable {
    pub(super) address: SocketAddr,
    pub(super) problem: io::Error,
}

/// What is said of an address that only a private network has.
fn kind(address: &SocketAddr) -> &'static str {
    match AddressKind::of(address.ip()) {
        AddressKind::Private => ", a private address",
        _ => "",
    }
}

/// The name that the certificate of a URL's host must have.
pub(super) fn tls_name(host: &Host<&str>) -> Option<ServerName<'static>> {
    match host {
        Host::Domain(name) => ServerName::try_from((*name).to_owned()).ok(),
        Host::Ipv4(address) => Some(IpAddr::from(*address).into()),
        Host::Ipv6(address) => Some(IpAddr::from(*address).into()),
    }
}

impl Tls {
    /// The handshake, on a connection that is there.
    pub(super) async fn shake_hands<S: Stream>(&self, stream: S) -> io::Result<TlsStream<S>> {
        TlsConnector::from(self.trust.tls(self.http2))
            .connect(self.name.clone(), stream)
            .await
    }
}

impl Progress {
    /// Something begins.
    pub(super) fn reach(&self, phase: Phase) {
        *self.lock() = Some(phase);
    }

    /// Nothing goes on any more.
    pub(super) fn end(&self) {
        *self.lock() = None;
    }

    /// What goes on now.
    pub(super) fn phase(&self) -> Option<Phase> {
        *self.lock()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Phase>> {
        lock(&self.0)
    }
}
