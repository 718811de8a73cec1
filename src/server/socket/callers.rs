//! The callers of a [`Socket`], one after the other, until it is retired.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use futures::Stream;
use tokio::net::UnixStream;

use crate::observe::warnings::Warnings;
use crate::os::{open_files, own_program};
use crate::server::socket::Socket;
use crate::server::socket::caller::Caller;
use crate::server::socket::seats::Seats;

/// How long nobody must have come, after the socket's file is gone, until nobody will: whoever found the
/// file before that is in the kernel's queue.
const LAST_CALLERS: Duration = Duration::from_millis(50);

/// The most callers that wait for a seat, so that who has one for itself is found behind them. Others wait in the
/// kernel's queue.
const MAX_WAITING: usize = 256;
/// How long nobody is let in after the kernel has failed to, without and with an idle connection that could be closed.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(10)];

/// What is known between two callers.
struct Reception<'a> {
    socket: &'a Socket,
    seats: Seats,
    /// For [`own_program`]'s callers.
    pings: Seats,
    /// Those who have no seat yet.
    waiting: VecDeque<UnixStream>,
    max_waiting: usize,
    refusals: Warnings,
    failures: Warnings,
}

impl Socket {
    /// The callers, without those who may not call. When `stop` ends, the socket's file is removed, and the
    /// last to come are those who had found it.
    pub fn callers<'a>(
        &'a self,
        stop: impl Future<Output = ()> + 'a,
    ) -> impl Stream<Item = io::Result<Caller>> + 'a {
        let open_files = open_files::limit();
        let reception = Reception {
            socket: self,
            seats: Seats::new(open_files),
            pings: Seats::of_pings(open_files),
            waiting: VecDeque::new(),
            max_waiting: MAX_WAITING.min(open_files / 16).max(1),
            refusals: Warnings::default(),
            failures: Warnings::default(),
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
            tokio::select! {
                stream = self.accept(), if self.waiting.len() < self.max_waiting => {
                    if own_program::is_at_the_end_of(&stream)
                        && let Some((seat, permit)) = self.pings.try_take()
                    {
                        return Caller::new(stream, seat, permit);
                    }
                    self.waiting.push_back(stream);
                }
                (seat, permit) = self.seats.take(), if !self.waiting.is_empty() => {
                    if let Some(stream) = self.waiting.pop_front() {
                        return Caller::new(stream, seat, permit);
                    }
                }
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
                    let has_closed = open_files::is_lack(&error) && open_files::close_idlest();
                    self.failures.warn(move |left_out| {
                        let limit = open_files::limit();
                        tracing::error!(%error, limit, left_out, "cannot accept a caller");
                    });
                    if !has_closed {
                        self.seats.free_a_file();
                    }
                    tokio::time::sleep(PAUSES[usize::from(has_closed)]).await;
                }
            }
        }
    }

    fn may_call(&self, stream: &UnixStream) -> bool {
        let allowed = &self.socket.allowed;
        match stream.peer_cred() {
            Ok(peer) if allowed.allows(peer.uid()) => return true,
            Ok(peer) => {
                let (uid, allowed) = (peer.uid(), allowed.to_string());
                self.refusals.warn(move |left_out| {
                    tracing::warn!(uid, allowed, left_out, "refused a caller that may not call");
                });
            }
            Err(error) => self.refusals.warn(move |left_out| {
                tracing::warn!(%error, left_out, "refused a caller that cannot be identified");
            }),
        }
        false
    }
}
