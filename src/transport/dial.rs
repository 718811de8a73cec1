//! [`Dialer`], the way to one server: from its name to a connection that HTTP can be spoken on. Each step
//! is a [`Phase`] that can be named when it takes too long.

use std::net::SocketAddr;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use hyper::http::uri::Authority;
use rustls::pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::os::open_files;
use crate::shares;
use crate::transport::dns::Place;
use crate::transport::names::Names;
use crate::transport::outgoing;
use crate::transport::proxy::{Proxy, WayError};
use crate::transport::stream::{ConnectError, Counted, Dialed, Progress, Stream, Tls, Unreachable};
use crate::transport::trust::Trust;
use crate::transport::{Phase, TransportError};

/// How long a lookup is waited for, with the wait for its turn. The C library's waits 5 s for a nameserver that is gone before it asks the
/// next one, and does so for every name.
///
/// Source: resolv.conf(5), option `timeout`.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(12);
/// How long it may take from an address to a connection that can be used, with every phase.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection waits for one of the others to be closed, where there are as many as there may be.
const FILE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an address is tried alone, before the next one is tried beside it.
///
/// Source: RFC 8305, "Happy Eyeballs Version 2", section 8.
const NEXT_ADDRESS: Duration = Duration::from_millis(250);

/// The way to one server.
#[derive(Debug)]
pub(super) struct Dialer {
    /// What messages call the server.
    pub(super) shown: String,
    /// Where it is.
    pub(super) place: Place,
    /// Who knows the addresses of names.
    pub(super) names: Names,
    /// What HTTP calls it: `HOST`, or `HOST:PORT` where the port is not the usual one.
    pub(super) authority: Authority,
    pub(super) port: u16,
    /// How it proves who it is; nothing for plain HTTP.
    pub(super) tls: Option<Tls>,
    /// Who stands in between.
    pub(super) proxy: Option<Proxy>,
    /// What is going on.
    pub(super) progress: Progress,
    /// Who answers in the server's place.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) canned: Option<super::canned::Canned>,
}

impl Dialer {
    /// The same way for a connection that nobody waits for: what goes on there is not what goes on here.
    pub(super) fn aside(&self) -> Self {
        Self {
            shown: self.shown.clone(),
            place: self.place.clone(),
            names: self.names.clone(),
            authority: self.authority.clone(),
            port: self.port,
            tls: self.tls.clone(),
            proxy: self.proxy.clone(),
            progress: Progress::default(),
            #[cfg(any(test, feature = "fuzzing"))]
            canned: self.canned.clone(),
        }
    }

    /// A connection to the server.
    pub(super) async fn dial(&self) -> Result<Dialed, TransportError> {
        #[cfg(any(test, feature = "fuzzing"))]
        if let Some(canned) = &self.canned {
            return Ok(canned.dialed());
        }
        let trusted = self.trusted();
        match self.dial_once().await {
            Err(error) if Self::trusts_others_than(trusted, &error) => self.dial_once().await,
            result => result,
        }
    }

    async fn dial_once(&self) -> Result<Dialed, TransportError> {
        let addresses = self.addresses().await?;
        let place = self.place_among_all().await?;
        self.in_time(async {
            let stream = self.way(self.connect(addresses).await?).await?;
            let Some(tls) = &self.tls else {
                let stream = Box::new(Counted::new(stream, place));
                let http2 = false;
                return Ok(Dialed { stream, http2 });
            };
            let stream = self.shake_hands(tls, stream).await?;
            let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let stream = Box::new(Counted::new(stream, place));
            Ok(Dialed { stream, http2 })
        })
        .await
    }

    /// What the connection is counted by among those that go out.
    async fn place_among_all(&self) -> Result<shares::Place, TransportError> {
        tokio::time::timeout(FILE_TIMEOUT, outgoing::place())
            .await
            .map_err(|_| TransportError::no_file(&self.shown))
    }

    /// The certificate that the server shows, if that proves that it has its name. Nothing is sent but the
    /// handshake.
    pub(super) async fn certificate(&self) -> Result<CertificateDer<'static>, TransportError> {
        let trusted = self.trusted();
        match self.certificate_once().await {
            Err(error) if Self::trusts_others_than(trusted, &error) => {
                self.certificate_once().await
            }
            result => result,
        }
    }

    async fn certificate_once(&self) -> Result<CertificateDer<'static>, TransportError> {
        let addresses = self.addresses().await?;
        let shown = self.in_time(async {
            let stream = self.way(self.connect(addresses).await?).await?;
            let Some(tls) = &self.tls else {
                return Ok(None);
            };
            let stream = self.shake_hands(tls, stream).await?;
            let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
            Ok(shown.first().map(|leaf| leaf.clone().into_owned()))
        });
        // A handshake does not succeed without one.
        let none = || self.failure(rustls::Error::NoCertificatesPresented);
        shown.await?.ok_or_else(none)
    }

    /// Which certificates are trusted now; the proxy's are the server's too.
    fn trusted(&self) -> Option<(&Trust, u64)> {
        let of_proxy = || self.proxy.as_ref()?.tls.as_ref();
        let trust = &self.tls.as_ref().or_else(of_proxy)?.trust;
        Some((trust, trust.generation()))
    }

    /// Whether what was not trusted may be trusted now, because the files of trusted certificates have changed.
    fn trusts_others_than(trusted: Option<(&Trust, u64)>, error: &TransportError) -> bool {
        matches!(error, TransportError::Certificate { .. })
            && trusted.is_some_and(|(trust, then)| trust.has_changed_since(then))
    }

    /// DNS: the addresses of the server, or of the proxy; at least one.
    pub(super) async fn addresses(&self) -> Result<Vec<SocketAddr>, TransportError> {
        let (place, port) = match &self.proxy {
            Some(proxy) => (&proxy.place, proxy.port),
            None => (&self.place, self.port),
        };
        self.within(LOOKUP_TIMEOUT, async {
            self.progress.reach(Phase::Dns);
            let lookup = || place.addresses(&self.names, port);
            // The resolver does not say why it could not open its own.
            let lacks_files = |_: &_| open_files::are_used_up();
            let addresses = match open_files::with_room(lookup, lacks_files).await {
                Err(error) if lacks_files(&error) => {
                    return Err(TransportError::no_file(&self.shown));
                }
                Ok(addresses) if addresses.is_empty() => Err(ConnectError::NoAddress),
                Ok(addresses) => Ok(addresses),
                Err(error) => Err(error.into()),
            };
            addresses.map_err(|error| self.unconnected(error))
        })
        .await
    }

    /// Waits until there are addresses, in the line of who waits for them. Who makes the connection finds them. Boxed, since it is
    /// large and nearly no request needs it.
    pub(super) fn look_up(&self) -> BoxFuture<'_, Result<(), TransportError>> {
        Box::pin(async {
            #[cfg(any(test, feature = "fuzzing"))]
            if self.canned.is_some() {
                return Ok(());
            }
            let _waiting = self.progress.wait(Phase::Dns);
            self.aside().addresses().await.map(drop)
        })
    }

    /// TCP: to the first of these addresses that takes a connection.
    pub(super) async fn connect(
        &self,
        addresses: Vec<SocketAddr>,
    ) -> Result<TcpStream, TransportError> {
        self.progress.reach(Phase::Connect);
        connect_to(addresses)
            .await
            .map_err(|error| self.unconnected(error))
    }

    /// What TLS, or plain HTTP, is spoken on: the connection itself, or the way that the proxy at its end opens.
    pub(super) async fn way(&self, stream: TcpStream) -> Result<Box<dyn Stream>, TransportError> {
        let Some(proxy) = &self.proxy else {
            return Ok(Box::new(stream));
        };
        let host = self.authority.host();
        let way = proxy.way_on(stream, host, self.port, &self.progress);
        way.await.map_err(|error| self.failure(error))
    }

    /// Does one step or several, from an address on, within the time that a connection has.
    pub(super) async fn in_time<T>(
        &self,
        connecting: impl Future<Output = Result<T, TransportError>>,
    ) -> Result<T, TransportError> {
        self.within(CONNECT_TIMEOUT, connecting).await
    }

    async fn within<T>(
        &self,
        limit: Duration,
        connecting: impl Future<Output = Result<T, TransportError>>,
    ) -> Result<T, TransportError> {
        let dialing = Dialing(&self.progress);
        let result = tokio::time::timeout(limit, connecting).await;
        let phase = self.progress.phase();
        drop(dialing);
        result.unwrap_or_else(|_| {
            Err(TransportError::Timeout {
                host: self.shown.clone(),
                phase: phase.unwrap_or(Phase::Connect),
                after: limit,
            })
        })
    }

    /// The handshake, on a connection that is there.
    pub(super) async fn shake_hands(
        &self,
        tls: &Tls,
        stream: Box<dyn Stream>,
    ) -> Result<TlsStream<Box<dyn Stream>>, TransportError> {
        self.progress.reach(Phase::Tls);
        tls.shake_hands(stream)
            .await
            .map_err(|error| self.failure(error))
    }

    /// Why there is no connection, with the name that messages call the server.
    pub(super) fn failure(
        &self,
        error: impl std::error::Error + Send + Sync + 'static,
    ) -> TransportError {
        TransportError::unconnected(&self.shown, error)
    }

    /// Why there is no TCP connection to the server, or to the proxy.
    fn unconnected(&self, error: ConnectError) -> TransportError {
        match &self.proxy {
            _ if error.lacks_files() => TransportError::no_file(&self.shown),
            Some(_) => self.failure(WayError::Connect(error)),
            None => self.failure(error),
        }
    }
}

/// Something goes on until this is dropped, also where nobody waits for the connection any more.
struct Dialing<'a>(&'a Progress);

impl Drop for Dialing<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// A TCP connection to the first of these addresses that takes one.
async fn connect_to(addresses: Vec<SocketAddr>) -> Result<TcpStream, ConnectError> {
    let attempt = async |address: SocketAddr| {
        let connecting = || TcpStream::connect(address);
        let stream = open_files::with_room(connecting, open_files::is_lack).await;
        stream.map_err(|problem| Unreachable { address, problem })
    };
    let mut waiting = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut first_failure = None;
    loop {
        match waiting.next() {
            Some(address) => attempts.push(attempt(address)),
            None if attempts.is_empty() => break,
            None => {}
        }
        tokio::select! {
            Some(result) = attempts.next() => match result {
                Ok(stream) => {
                    // Requests are small and wait for nothing.
                    _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(failure) => {
                    first_failure.get_or_insert(failure);
                }
            },
            () = tokio::time::sleep(NEXT_ADDRESS), if waiting.len() > 0 => {}
        }
    }
    Err(first_failure.map_or(ConnectError::NoAddress, ConnectError::Unreachable))
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};
    use tokio::time::{Instant, timeout};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// An address that takes no connection and refuses none, as one behind a firewall, for as long as this is kept.
    async fn silent() -> (SocketAddr, TcpListener) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        // Until those that nobody accepts are as many as may wait.
        while let Ok(connected) = timeout(SECOND, TcpStream::connect(address)).await {
            drop(connected.unwrap());
        }
        (address, listener)
    }

    /// An address that takes connections.
    async fn open() -> (SocketAddr, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        (listener.local_addr().unwrap(), listener)
    }

    /// An address that refuses connections.
    async fn closed() -> SocketAddr {
        open().await.0
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_does_not_answer_is_passed_over_soon() {
        let ((silent, _silent), (open, _open)) = (silent().await, open().await);
        for (addresses, expected) in [
            (vec![open], 0),
            (vec![silent, open], 250),
            (vec![silent, silent, open], 500),
            // What is refused is no reason to wait.
            (vec![closed().await, open], 0),
            (vec![silent, closed().await, open], 250),
        ] {
            let start = Instant::now();
            let shown = format!("{addresses:?}");
            let connecting = timeout(60 * SECOND, connect_to(addresses));
            let stream = connecting.await.unwrap().unwrap();
            assert_eq!(stream.peer_addr().unwrap(), open, "{shown}");
            assert_eq!(start.elapsed(), Duration::from_millis(expected), "{shown}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_address_is_tried_on_where_the_others_refuse() {
        let (silent, _silent) = silent().await;
        let connecting = connect_to(vec![silent, closed().await]);
        assert!(timeout(SECOND, connecting).await.is_err());
    }

    #[tokio::test]
    async fn where_no_address_takes_a_connection_the_first_failure_is_told() {
        let (first, second) = (closed().await, closed().await);
        let error = connect_to(vec![first, second]).await.unwrap_err();
        let ConnectError::Unreachable(unreachable) = &error else {
            panic!("{error}");
        };
        assert_eq!(unreachable.address, first);
        let error = connect_to(Vec::new()).await.unwrap_err();
        assert!(matches!(error, ConnectError::NoAddress));
    }
}
