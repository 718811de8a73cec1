//! Which connections to a server nobody uses, for [`crate::os::open_files`], which has them closed when files run out.

use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Known, Shared};
use crate::os::open_files::IdleConnections;

impl Shared {
    fn idle_since(&self) -> Option<Instant> {
        (self.load.requests.load(Ordering::Relaxed) == 0).then_some(self.last_use)
    }
}

impl Known {
    /// The HTTP/2 connection that has been idle for longest, and its place.
    fn idlest_http2(&self) -> Option<(Instant, usize)> {
        let places = self.http2.iter().enumerate();
        places
            .filter_map(|(place, shared)| Some((shared.idle_since()?, place)))
            .min()
    }

    /// The same of HTTP/1.1.
    fn idlest_http1(&self) -> Option<(Instant, usize)> {
        let places = self.http1.iter().enumerate();
        places.map(|(place, idle)| (idle.since, place)).min()
    }
}

impl IdleConnections for Mutex<Known> {
    fn idle_since(&self) -> Option<Instant> {
        let known = self.lock();
        let found = [known.idlest_http2(), known.idlest_http1()];
        found.into_iter().flatten().map(|(since, _)| since).min()
    }

    /// Lets go of it, which ends it. Nor is it renewed.
    fn close_idlest(&self) {
        let mut known = self.lock();
        match (known.idlest_http2(), known.idlest_http1()) {
            (Some((shared, place)), idle) if idle.is_none_or(|(idle, _)| shared <= idle) => {
                let shared = known.http2.remove(place);
                shared.load.is_over.store(true, Ordering::Relaxed);
            }
            (_, Some((_, place))) => {
                let idle = known.http1.remove(place);
                idle.is_over.store(true, Ordering::Relaxed);
            }
            _ => {}
        }
    }
}
