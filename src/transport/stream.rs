//! [`Stream`], a connection that bytes go through, and what is known while it is made and of what it is good for.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use parking_lot::{Mutex, MutexGuard};
use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::Host;

use crate::os::open_files;
use crate::shares::Place;
use crate::transport::Phase;
use crate::transport::address_kind::AddressKind;
use crate::transport::names::DnsError;
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
    pub(super) stream: Box<dyn Stream>,
    /// Whether TLS agreed on HTTP/2.
    pub(super) http2: bool,
}

/// What bytes go through, both ways.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// One of the connections that go out, counted for as long as it is open.
pub(super) struct Counted<S> {
    stream: S,
    _place: Place,
}

impl<S> Counted<S> {
    /// Counted by this.
    pub(super) fn new(stream: S, place: Place) -> Self {
        Self {
            stream,
            _place: place,
        }
    }
}

impl<S: Stream> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: Stream> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

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

impl ConnectError {
    /// Whether this process, rather than the server, is why.
    pub(super) fn lacks_files(&self) -> bool {
        matches!(self, Self::Unreachable(address) if open_files::is_lack(&address.problem))
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
    pub(super) fn reach(&self, phase: Phase) {
        *self.lock() = Some(phase);
    }

    /// Something is waited for until the guard is dropped, while nothing else goes on.
    pub(super) fn wait(&self, phase: Phase) -> Waiting<'_> {
        self.lock().get_or_insert(phase);
        Waiting(self, phase)
    }

    /// Nothing goes on any more.
    pub(super) fn end(&self) {
        *self.lock() = None;
    }

    /// What goes on now.
    pub(super) fn phase(&self) -> Option<Phase> {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Phase>> {
        self.0.lock()
    }
}

/// Something that is waited for.
pub(super) struct Waiting<'a>(&'a Progress, Phase);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Self(progress, phase) = self;
        // What has begun meanwhile goes on.
        _ = progress.lock().take_if(|current| current == phase);
    }
}
