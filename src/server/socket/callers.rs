//! The callers of a [`Socket`], one after the other, until it is retired.

use std::io;
use std::time::Duration;

use futures::Stream;
use tokio::net::UnixStream;

use crate::os::open_files;
use crate::server::socket::Socket;
use crate::server::socket::caller::Caller;
use crate::server::socket::seats::Seats;

/// How long nobody must have come, after the socket's file is gone, until nobody will: whoever found the
/// file before that is in the kernel's queue.
const LAST_CALLERS: Duration = Duration::from_millis(50);

/// What is known between two callers.
struct Reception<'a> {
    socket: &'a Socket,
    seats: Seats,
    /// Somebody who has no seat yet.
    waiting: Option<UnixStream>,
}

impl Socket {
    /// The callers, without those who may not call. When `stop` ends, the socket's file is removed, and the
    /// last to come are those who had found it.
    pub fn callers<'a>(
        &'a self,
        stop: impl Future<Output = ()> + 'a,
    ) -> impl Stream<Item = io::Result<Caller>> + 'a {
        let reception = Reception {
            socket: self,
            seats: Seats::new(open_files::limit()),
            waiting: None,
        };
        let state = (reception, Some(Box::pin(stop)));
        futures::stream::unfold(state, |(mut reception, mut stop)| async move {
            if let Some(stopped) = &mut stop {
                tokio::select! {
                    caller = reception.next() => return Some((Ok(caller), (reception, stop))),
                    () = stopped => reception.socket.file.remove(),
                }
            }
            let caller = reception.last().await?;
            Some((Ok(caller), (reception, None)))
        })
    }
}

impl Reception<'_> {
    /// May be given up at any moment without losing a caller.
    async fn next(&mut self) -> Caller {
        loop {
            if self.waiting.is_none() {
                self.waiting = Some(self.accept().await);
            }
            let (seat, permit) = self.seats.take().await;
            if let Some(stream) = self.waiting.take() {
                return Caller::new(stream, seat, permit);
            }
        }
    }

    async fn last(&mut self) -> Option<Caller> {
        tokio::time::timeout(LAST_CALLERS, self.next()).await.ok()
    }

    async fn accept(&self) -> UnixStream {
        loop {
            match self.socket.listener.accept().await {
                Ok((stream, _)) if self.may_call(&stream) => return stream,
                Ok(_) => {}
                Err(error) => {
                    // Out of file descriptors, mostly. A pause leaves those who have one time to finish.
                    tracing::error!(%error, "cannot accept a caller");
                    self.seats.free_a_file();
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn may_call(&self, stream: &UnixStream) -> bool {
        let allowed = &self.socket.allowed;
        match stream.peer_cred() {
            Ok(peer) if allowed.allows(peer.uid()) => return true,
            Ok(peer) => {
                tracing::warn!(uid = peer.uid(), %allowed, "refused a caller that may not call");
            }
            Err(error) => tracing::warn!(%error, "refused a caller that cannot be identified"),
        }
        false
    }
}
