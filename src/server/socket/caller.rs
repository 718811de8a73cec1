//! [`Caller`], one connection: its bytes, for as long as it behaves.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::transport::server::Connected;

use crate::server::socket::authority::{AnyAuthority, PREFACE};
use crate::server::socket::seats::Seat;

/// How long the bytes that a client of HTTP/2 begins with may take. From then on the server's own pings find out who is gone.
const PREFACE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection of somebody who may call.
#[derive(Debug)]
pub struct Caller {
    stream: UnixStream,
    authority: AnyAuthority,
    seat: Arc<Seat>,
    hung_up: Pin<Box<WaitForCancellationFutureOwned>>,
    /// What is missing of the preface, and until when it may.
    preface: Option<(usize, Pin<Box<Sleep>>)>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Caller {
    /// The caller at the other end of this stream.
    pub(super) fn new(
        stream: UnixStream,
        seat: Arc<Seat>,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Self {
        let timeout = Box::pin(tokio::time::sleep(PREFACE_TIMEOUT));
        Self {
            stream,
            authority: AnyAuthority::default(),
            hung_up: Box::pin(seat.hang_up.clone().cancelled_owned()),
            seat,
            preface: Some((PREFACE, timeout)),
            _permit: permit,
        }
    }

    /// Fails once the connection is to be closed.
    fn poll_stay(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if self.hung_up.as_mut().poll(context).is_ready() {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        if let Some((_, timeout)) = &mut self.preface
            && timeout.as_mut().poll(context).is_ready()
        {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(())
    }

    fn hear(&mut self, bytes: usize) {
        self.seat.hear();
        self.preface = self.preface.take().and_then(|(missing, timeout)| {
            let missing = missing.checked_sub(bytes).filter(|missing| *missing > 0)?;
            Some((missing, timeout))
        });
    }
}

impl Connected for Caller {
    type ConnectInfo = Arc<Seat>;

    fn connect_info(&self) -> Arc<Seat> {
        Arc::clone(&self.seat)
    }
}

impl AsyncRead for Caller {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let caller = self.get_mut();
        caller.poll_stay(context)?;
        let before = buffer.filled().len();
        let stream = Pin::new(&mut caller.stream);
        let polled = caller.authority.poll_read(stream, context, buffer);
        let bytes = buffer.filled().len() - before;
        if bytes > 0 {
            caller.hear(bytes);
        }
        polled
    }
}

impl AsyncWrite for Caller {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_stay(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_stay(context)?;
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
