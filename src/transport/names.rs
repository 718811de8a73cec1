//! [`Names`], the addresses of hosts, by the system's resolver.
//!
//! The C library's lookup is a call that blocks and cannot be ended: for a name whose nameservers do not answer it takes
//! tens of seconds. So each runs in a thread of its own, and there are as many as there are [`Places`]: some for names
//! that have an address as far as is known, and others for all the rest, of which whoever writes classes may invent as
//! many as they like. A name is looked up once, however many wait for it, and each namespace that waits does so in its
//! own line.
//!
//! While the resolver cannot say, the last addresses serve that it gave (docs/decisions/0030).

mod hosts;

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use dns_lookup::{AddrInfoHints, LookupError, LookupErrorKind, SockType, getaddrinfo};
use parking_lot::Mutex;
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::observe::metrics::Metrics;
use crate::observe::warnings::Warnings;
use crate::shares::{Kept, Namespace, Place, Places, Rank, Weight};
use crate::transport::names::hosts::Hosts;

/// The most lookups at once, and the most of them for one namespace: of names that are in the file of hosts, which end
/// at once;
const IN_HOSTS: (usize, usize) = (4, 2);
/// of names that have been found before;
const FOUND_BEFORE: (usize, usize) = (12, 4);
/// of all other names, most of them for one namespace that is alone with several new vaults.
const UNHEARD_OF: (usize, usize) = (16, 12);
/// The stack of a lookup's thread. The C library's resolver has buffers of 64 KiB at most on it.
const STACK: usize = 256 * 1024;
/// How long addresses serve without another lookup: for those who waited for the same name, in another line.
const FRESH: Duration = Duration::from_secs(1);
/// The same while the resolver cannot say.
const OUTAGE_PAUSE: Duration = Duration::from_secs(10);
/// How long a lookup is waited for where earlier addresses could serve.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long after the last lookup that went well its addresses serve while the resolver cannot say.
const MAX_AGE: Duration = Duration::from_secs(6 * 3600);
/// The bytes of names and addresses that are kept, some six hundred names.
const MAX_BYTES: usize = 512 * 1024;
/// The most addresses of a name that are kept.
const MAX_ADDRESSES: usize = 16;
/// Where names have addresses without DNS.
const HOSTS: &str = "/etc/hosts";

/// What asks the resolver, and waits for it.
type Resolve = dyn Fn(&str) -> Answer + Send + Sync;
/// What the resolver says of a name; at least one address.
type Answer = Result<Vec<IpAddr>, DnsError>;

/// The resolver gave no address.
#[derive(Clone, Debug, Error)]
#[error("{problem}")]
pub(super) struct DnsError {
    /// Whether nobody could say, rather than that there is none.
    pub(super) temporary: bool,
    problem: String,
}

/// The addresses of hosts. Clones share everything.
#[derive(Clone)]
pub struct Names(Arc<Inner>);

struct Inner {
    resolve: Arc<Resolve>,
    in_hosts: Arc<Places>,
    found_before: Arc<Places>,
    unheard_of: Arc<Places>,
    hosts: Hosts,
    state: Mutex<State>,
    warnings: Warnings,
    metrics: Metrics,
}

struct State {
    /// Lookups that are under way, or that somebody waits for.
    flights: HashMap<String, Weak<Flight>>,
    found: Kept<String, Found>,
}

/// One lookup of a name.
struct Flight {
    has_started: AtomicBool,
    landed: watch::Sender<Option<Answer>>,
}

/// What a lookup found.
struct Found {
    addresses: Vec<IpAddr>,
    at: Instant,
    /// Until when they serve without another lookup.
    fresh_until: Instant,
}

/// What there is for who comes now.
enum Find {
    Addresses(Vec<IpAddr>),
    Flight(Option<Vec<IpAddr>>, Arc<Flight>),
}

impl Weight for Found {
    /// The same for all, so that one may take another's place.
    fn weight(&self) -> usize {
        // The longest name, as a key twice, and the most addresses.
        2 * 253 + MAX_ADDRESSES * size_of::<IpAddr>() + size_of::<Self>()
    }
}

impl DnsError {
    fn unknown(problem: &str) -> Self {
        Self {
            temporary: true,
            problem: problem.to_owned(),
        }
    }
}

impl From<LookupError> for DnsError {
    fn from(error: LookupError) -> Self {
        Self {
            temporary: !matches!(
                error.kind(),
                LookupErrorKind::NoName | LookupErrorKind::NoData
            ),
            problem: std::io::Error::from(error).to_string(),
        }
    }
}

/// Asks the system's resolver: the file of hosts, and DNS.
fn resolve(name: &str) -> Answer {
    let hints = AddrInfoHints {
        socktype: SockType::Stream.into(),
        ..AddrInfoHints::default()
    };
    let found = getaddrinfo(Some(name), None, Some(hints))?;
    // Other families than those of IP have addresses that are none here.
    let addresses = found.filter_map(Result::ok);
    let addresses = addresses.map(|info| info.sockaddr.ip());
    let addresses: Vec<_> = addresses.take(MAX_ADDRESSES).collect();
    if addresses.is_empty() {
        return Err(DnsError {
            temporary: false,
            problem: "its name has no address".to_owned(),
        });
    }
    Ok(addresses)
}

impl Names {
    /// Nothing looked up yet.
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self::with(resolve, HOSTS.into(), metrics)
    }

    pub(super) fn with(
        resolve: impl Fn(&str) -> Answer + Send + Sync + 'static,
        hosts: PathBuf,
        metrics: &Metrics,
    ) -> Self {
        let places = |(total, most)| Places::new(total, most);
        Self(Arc::new(Inner {
            resolve: Arc::new(resolve),
            in_hosts: places(IN_HOSTS),
            found_before: places(FOUND_BEFORE),
            unheard_of: places(UNHEARD_OF),
            hosts: Hosts::new(hosts),
            state: Mutex::new(State {
                flights: HashMap::new(),
                found: Kept::new(MAX_BYTES),
            }),
            warnings: Warnings::default(),
            metrics: metrics.clone(),
        }))
    }

    /// The addresses of a name, at least one. The namespace that asks pays.
    pub(super) async fn addresses(
        &self,
        name: &str,
        port: u16,
    ) -> Result<Vec<SocketAddr>, DnsError> {
        let addresses = self.look_up(name).await?.into_iter();
        Ok(addresses.map(|address| (address, port).into()).collect())
    }

    async fn look_up(&self, name: &str) -> Answer {
        let (known, flight) = match self.find(name) {
            Find::Addresses(addresses) => return Ok(addresses),
            Find::Flight(known, flight) => (known, flight),
        };
        let Some(known) = known else {
            return self.land(name, &flight, &self.0.unheard_of).await;
        };
        let landing = self.land(name, &flight, &self.0.found_before);
        let problem = match tokio::time::timeout(PATIENCE, landing).await {
            Ok(Err(error)) if error.temporary => error.to_string(),
            Ok(answer) => return answer,
            Err(_) => "it does not answer".to_owned(),
        };
        self.put_off(name, &problem);
        Ok(known)
    }

    /// Waits until the name's lookup ends, which begins with the first place that those have who wait for it.
    async fn land(&self, name: &str, flight: &Arc<Flight>, usual: &Arc<Places>) -> Answer {
        let places = if self.0.hosts.have(name) {
            &self.0.in_hosts
        } else {
            usual
        };
        let mut landed = flight.landed.subscribe();
        let namespace = Namespace::current();
        let place = tokio::select! {
            biased;
            _ = landed.wait_for(Option::is_some) => None,
            place = places.take(&namespace, Rank::default()) => Some(place),
        };
        if let Some(place) = place {
            self.start(name, flight, place);
            _ = landed.wait_for(Option::is_some).await;
        }
        // It is not closed while the flight is here.
        let answer = landed.borrow().clone();
        answer.unwrap_or_else(|| Err(DnsError::unknown("the lookup was given up")))
    }

    /// Addresses that are fresh; or the lookup that is under way or waited for, or a new one, and what was found lately
    /// enough.
    fn find(&self, name: &str) -> Find {
        let mut state = self.0.state.lock();
        let now = Instant::now();
        let known = state.found.get(&Namespace::current(), &name.to_owned());
        let known = known.filter(|found| now - found.at < MAX_AGE);
        let known = known.map(|found| (found.addresses.clone(), now < found.fresh_until));
        let known = match known {
            Some((addresses, true)) => return Find::Addresses(addresses),
            known => known.map(|(addresses, _)| addresses),
        };
        if let Some(flight) = state.flights.get(name).and_then(Weak::upgrade) {
            return Find::Flight(known, flight);
        }
        // Those that nobody waits for any more, and that had not begun.
        state.flights.retain(|_, flight| flight.strong_count() > 0);
        let flight = Arc::new(Flight {
            has_started: AtomicBool::new(false),
            landed: watch::Sender::new(None),
        });
        let of_name = Arc::downgrade(&flight);
        state.flights.insert(name.to_owned(), of_name);
        Find::Flight(known, flight)
    }

    /// Begins a lookup, unless another one of those who wait has. It has its place until it really ends, also where
    /// nobody waits for it any more.
    fn start(&self, name: &str, flight: &Arc<Flight>, place: Place) {
        if flight.has_started.swap(true, Ordering::Relaxed) {
            return;
        }
        let namespace = Namespace::current();
        let (names, of_thread) = (self.clone(), Arc::clone(flight));
        let name_of_thread = name.to_owned();
        let runtime = Handle::current();
        let thread = std::thread::Builder::new()
            .name("dns".to_owned())
            .stack_size(STACK);
        let spawned = thread.spawn(move || {
            // For its clock.
            let _runtime = runtime.enter();
            let asking = AssertUnwindSafe(|| (names.0.resolve)(&name_of_thread));
            let panicked = |_| Err(DnsError::unknown("the lookup panicked"));
            let answer = std::panic::catch_unwind(asking).unwrap_or_else(panicked);
            drop(place);
            names.landed(&namespace, &name_of_thread, &of_thread, answer);
        });
        if let Err(error) = spawned {
            let answer = Err(DnsError::unknown(&error.to_string()));
            self.landed(&Namespace::current(), name, flight, answer);
        }
    }

    /// A lookup has ended.
    fn landed(&self, namespace: &Namespace, name: &str, flight: &Flight, answer: Answer) {
        let mut state = self.0.state.lock();
        state.flights.remove(name);
        let name = name.to_owned();
        match &answer {
            Ok(addresses) => {
                let now = Instant::now();
                let found = Found {
                    addresses: addresses.clone(),
                    at: now,
                    fresh_until: now + FRESH,
                };
                // Whose it is it stays: who else asks for it does not take it along.
                match state.found.get_mut(namespace, &name) {
                    Some(known) => *known = found,
                    None => _ = state.found.put(namespace, name, found),
                }
            }
            Err(error) if error.temporary => {}
            // The resolver says that there is no such name.
            Err(_) => _ = state.found.remove(&name),
        }
        drop(state);
        flight.landed.send_replace(Some(answer));
    }

    /// Earlier addresses serve in the place of an answer, and for a while without another lookup.
    fn put_off(&self, name: &str, problem: &str) {
        self.0.metrics.outages().addresses.inc();
        let mut state = self.0.state.lock();
        if let Some(known) = state.found.get_mut(&Namespace::current(), &name.to_owned()) {
            known.fresh_until = Instant::now() + OUTAGE_PAUSE;
        }
        drop(state);
        let (name, problem) = (name.to_owned(), problem.to_owned());
        self.0.warnings.warn(move |left_out| {
            tracing::warn!(
                name,
                problem,
                left_out,
                "DNS does not answer: the last known addresses of this name, and of others in the next minute, are in use"
            );
        });
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
