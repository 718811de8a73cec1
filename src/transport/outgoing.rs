//! How many connections go out at once, fair between namespaces.
//!
//! They get a quarter of the limit on open files that there was at the start, so that the socket's callers, probes and
//! the resolver have the rest. A connection belongs to the namespace that it was made for, until it is closed: servers that
//! answer nothing hold theirs for long, and anyone can name such servers.

use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use futures::FutureExt as _;

use crate::os::open_files;
use crate::shares::{Namespace, Place, Places, Rank};

/// How often a connection is closed that nobody uses while another one waits for its place.
const PAUSE: Duration = Duration::from_millis(25);

/// One for each outgoing connection.
static PLACES: LazyLock<Arc<Places>> = LazyLock::new(|| places(open_files::limit() / 4));

/// So many, of which one namespace has three quarters at most.
fn places(total: usize) -> Arc<Places> {
    Places::new(total, total - total / 4)
}

/// The place of one more connection, until this is dropped. Waits until one is closed, if it has to.
pub(super) async fn place() -> Place {
    take(&PLACES).await
}

async fn take(places: &Arc<Places>) -> Place {
    let namespace = Namespace::current();
    let mut waiting = pin!(places.take(&namespace, Rank::default()));
    loop {
        if let Some(place) = (&mut waiting).now_or_never() {
            return place;
        }
        open_files::close_idlest();
        if let Ok(place) = tokio::time::timeout(PAUSE, &mut waiting).await {
            return place;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_namespace_leaves_places_to_the_others() {
        let places = places(16);
        let take = |namespace| Namespace::new(namespace).around(take(&places));
        let mut held = Vec::new();
        for _ in 0..12 {
            held.push(take("attacker").await);
        }
        let mut next = Box::pin(take("attacker"));
        assert!(
            tokio::time::timeout(Duration::from_secs(10), &mut next)
                .await
                .is_err()
        );
        let of_victim = take("victim").await;
        held.pop();
        held.push(next.await);
        drop((held, of_victim));
        assert_eq!(places.load(), (0, 0));
    }
}
