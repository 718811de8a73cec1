//! [`Visitors`], the connections to an HTTP port, of which there are a few at once.
//!
//! Probes and Prometheus take one each, for as long as a request lasts. Where more come, the one that came first makes
//! room: so whoever opens connections and leaves them takes them from itself, and a probe is answered all the same.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// The most connections to one port at once. Each health check takes one of the socket's 64 too.
const MAX_VISITORS: usize = 32;

/// Who comes to a port.
pub(super) struct Visitors {
    listener: TcpListener,
    /// In the order in which they came.
    open: VecDeque<Weak<CancellationToken>>,
}

/// One connection, until it is to be closed.
pub(super) struct Visitor {
    stream: TcpStream,
    hung_up: Pin<Box<WaitForCancellationFutureOwned>>,
    _open: Arc<CancellationToken>,
}

impl Visitors {
    /// Of this port.
    pub(super) fn new(listener: TcpListener) -> Self {
        Self {
            listener,
            open: VecDeque::new(),
        }
    }

    fn admit(&mut self, stream: TcpStream) -> Visitor {
        self.open.retain(|visitor| visitor.strong_count() > 0);
        if self.open.len() >= MAX_VISITORS
            && let Some(first) = self.open.pop_front().and_then(|first| first.upgrade())
        {
            first.cancel();
        }
        let open = Arc::new(CancellationToken::new());
        self.open.push_back(Arc::downgrade(&open));
        Visitor {
            stream,
            hung_up: Box::pin(CancellationToken::clone(&open).cancelled_owned()),
            _open: open,
        }
    }
}

impl Listener for Visitors {
    type Io = Visitor;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Visitor, SocketAddr) {
        // The trait's own, which waits where no more files can be opened.
        let (stream, address) = Listener::accept(&mut self.listener).await;
        (self.admit(stream), address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Visitor {
    /// Fails once the connection is to be closed.
    fn poll_stay(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.hung_up.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Visitor {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_stay(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Visitor {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_stay(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
