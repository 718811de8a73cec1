//! Listening sockets and the connections that they accept: what the TLS front, the proxy, IMDS and
//! the control API have in common.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// One client's connection, as far as its requests care.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) peer: SocketAddr,
    pub(crate) via_proxy: bool,
    /// What TLS was asked for by SNI.
    pub(crate) server_name: Option<String>,
    closed: CancellationToken,
}

impl Connection {
    /// Ends the connection at once, whatever is under way on it.
    pub(crate) fn close(&self) {
        self.closed.cancel();
    }
}

/// The tasks of an emulator and the signal that ends them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    /// Accepts until stopped and hands each connection over, in a task of its own.
    pub(crate) fn accept<F, Fut>(&self, listener: TcpListener, handle: F)
    where
        F: Fn(TcpStream, Connection) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let tasks = self.clone();
        self.tracker
            .spawn(self.stop.clone().run_until_cancelled_owned(async move {
                loop {
                    match listener.accept().await {
                        Ok((stream, peer)) => tasks.begin(stream, peer, &handle),
                        Err(error) => {
                            // Out of file descriptors, mostly: accepting again at once would spin.
                            tracing::warn!(%error, "cannot accept a connection");
                            tokio::time::sleep(Duration::from_millis(20)).await;
                        }
                    }
                }
            }));
    }

    fn begin<F, Fut>(&self, stream: TcpStream, peer: SocketAddr, handle: &F)
    where
        F: Fn(TcpStream, Connection) -> Fut,
        Fut: Future<Output = ()> + Send + 'static,
    {
        // Answers are small and written in two parts; without this each would wait 40 ms.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        let connection = Connection {
            peer,
            via_proxy: false,
            server_name: None,
            closed: self.stop.child_token(),
        };
        self.spawn(&connection.clone(), handle(stream, connection));
    }

    /// Runs a task of a connection until it, the connection or the emulator ends.
    pub(crate) fn spawn<Fut>(&self, connection: &Connection, task: Fut)
    where
        Fut: Future<Output = ()> + Send + 'static,
    {
        let closed = connection.closed.clone();
        self.tracker
            .spawn(async move { closed.run_until_cancelled_owned(task).await });
    }

    /// Ends listeners and connections and waits for them, but not for long.
    pub(crate) async fn stop(&self) {
        self.cancel();
        if tokio::time::timeout(Duration::from_secs(5), self.tracker.wait())
            .await
            .is_err()
        {
            tracing::warn!("connections did not end within five seconds");
        }
    }

    pub(crate) fn cancel(&self) {
        self.tracker.close();
        self.stop.cancel();
    }
}

/// Serves HTTP on a connection until the client leaves.
pub(crate) async fn serve<S, F, Fut>(stream: S, http2: bool, answer: F)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(Request<Incoming>) -> Fut,
    Fut: Future<Output = Response<Body>> + Send + 'static,
{
    let mut builder = auto::Builder::new(TokioExecutor::new());
    if !http2 {
        builder = builder.http1_only();
    }
    let service = service_fn(|request| {
        let answer = answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    if let Err(error) = builder
        .serve_connection_with_upgrades(TokioIo::new(stream), service)
        .await
    {
        tracing::debug!(%error, "a connection broke off");
    }
}

/// Binds a listener; the error names the address.
pub(crate) async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))
}
