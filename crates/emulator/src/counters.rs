//! What an emulator was asked, counted and listed, so that a test can say "one token request for
//! twenty mounts" and mean it. Never holds a body or an `Authorization` value.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::{Serialize, Serializer};

use crate::faults::Service;

/// The host that stands for IMDS among the hosts of connections, whatever address it listens on.
pub(crate) const IMDS_HOST: &str = "169.254.169.254";

/// How many requests the log keeps; older ones are dropped.
const LOG_LENGTH: usize = 2000;

/// A copy of all counters at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Connections, before any request on them.
    pub connections: ConnectionCounts,
    /// Key Vault, by vault name.
    pub vaults: BTreeMap<String, VaultCounts>,
    pub entra: EntraCounts,
    /// The AKS token proxy, which counts for Entra ID nowhere else, and the API server beside it.
    pub token_proxy: EntraCounts,
    pub imds: ImdsCounts,
    /// The most requests that were being answered at once, over all services.
    pub max_in_flight: u64,
    /// Requests being answered now.
    pub in_flight: u64,
}

impl Counts {
    /// Where the tokens of Entra ID, or of the token proxy in its place, are counted.
    pub(crate) fn tokens(&mut self, service: Service) -> &mut EntraCounts {
        match service {
            Service::TokenProxy => &mut self.token_proxy,
            _ => &mut self.entra,
        }
    }
}

/// Connections to the listeners of the services and of the proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionCounts {
    /// TCP connections accepted by the TLS, proxy, token proxy and IMDS listeners.
    pub tcp: u64,
    /// TLS handshakes completed.
    pub tls: u64,
    /// TLS handshakes completed, by the name that the client asked for.
    pub tls_by_host: BTreeMap<String, u64>,
    /// TCP connections accepted by the IMDS listener.
    pub imds: u64,
    /// Connections that are open now, by the name that TLS was asked for; those to IMDS are under
    /// `169.254.169.254`. A host whose last connection has ended is not listed.
    pub open: BTreeMap<String, u64>,
    /// The most connections that were open at once, by the same names.
    pub max_open: BTreeMap<String, u64>,
    /// `CONNECT` requests that the proxy granted.
    pub tunnels: u64,
    /// Proxy requests refused, by the host that was asked for.
    pub refused: BTreeMap<String, u64>,
}

/// What one vault was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VaultCounts {
    /// All requests.
    pub requests: u64,
    /// Requests without `Authorization`, answered with the challenge.
    pub challenges: u64,
    /// Requests whose token was refused with 401.
    pub unauthorized: u64,
    /// Requests answered 403.
    pub forbidden: u64,
    /// Requests answered 429.
    pub throttled: u64,
    /// `GET`s of one object with a good token, by `secrets/NAME`, `keys/NAME` or
    /// `certificates/NAME`, whatever was answered.
    pub gets: BTreeMap<String, u64>,
    /// `GET`s of lists with a good token, by `secrets`, `secrets/NAME/versions` and so on; each
    /// page counts.
    pub lists: BTreeMap<String, u64>,
    /// Requests with a good token that were not `GET`.
    pub writes: u64,
    /// Requests being answered now.
    pub in_flight: u64,
    /// The most requests that were being answered at once.
    pub max_in_flight: u64,
}

impl VaultCounts {
    /// All `GET`s of single objects with a good token.
    pub fn all_gets(&self) -> u64 {
        self.gets.values().sum()
    }
}

/// What Entra ID, or the token proxy, was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EntraCounts {
    /// All requests, those for metadata included.
    pub requests: u64,
    /// Token requests, by `client_id`.
    pub token_requests: BTreeMap<String, u64>,
    /// Tokens issued, by `client_id`.
    pub tokens_issued: BTreeMap<String, u64>,
    /// Requests being answered now.
    pub in_flight: u64,
    /// The most requests that were being answered at once.
    pub max_in_flight: u64,
}

impl EntraCounts {
    /// Token requests of all clients.
    pub fn all_token_requests(&self) -> u64 {
        self.token_requests.values().sum()
    }
}

/// What IMDS was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImdsCounts {
    /// All requests, however they came.
    pub requests: u64,
    /// Those that came through the forward proxy; a production client bypasses proxies for IMDS.
    pub via_proxy: u64,
    /// Tokens issued, by the identity's `client_id`.
    pub tokens_issued: BTreeMap<String, u64>,
    /// Requests being answered now.
    pub in_flight: u64,
    /// The most requests that were being answered at once.
    pub max_in_flight: u64,
}

/// One line of the log of recent requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestRecord {
    /// Who was asked.
    pub service: Service,
    /// The HTTP method.
    pub method: String,
    /// The host, without a port.
    pub host: String,
    /// Path and query.
    pub path: String,
    /// The status answered; absent while it is being answered and when the connection ended first.
    pub status: Option<u16>,
    /// Whether the request came through the forward proxy.
    pub via_proxy: bool,
    /// The name that TLS was asked for by SNI.
    pub server_name: Option<String>,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub protocol: String,
    /// When it came in, since the emulator's start; in JSON in milliseconds. The clock that tests move
    /// does not count here.
    #[serde(serialize_with = "milliseconds")]
    pub began: Duration,
    /// When it was answered or broken off; absent before.
    #[serde(serialize_with = "milliseconds_if_any")]
    pub ended: Option<Duration>,
}

fn milliseconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64() * 1e3)
}

#[expect(clippy::ref_option, reason = "serde hands the field over by reference")]
fn milliseconds_if_any<S: Serializer>(
    time: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => milliseconds(time, serializer),
        None => serializer.serialize_none(),
    }
}

#[derive(Debug, Default)]
struct Book {
    counts: Counts,
    /// The number of the first record in `log` since the start.
    first: u64,
    log: VecDeque<RequestRecord>,
}

impl Book {
    /// The record of this number, unless the log has dropped it.
    fn record(&mut self, number: u64) -> Option<&mut RequestRecord> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.log.get_mut(index)
    }
}

/// An emulator's counters; clones share them.
#[derive(Clone, Debug)]
pub struct Counters {
    started: Instant,
    book: Arc<Mutex<Book>>,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            book: Arc::default(),
        }
    }
}

impl Counters {
    /// All counters now.
    pub fn snapshot(&self) -> Counts {
        self.book.lock().counts.clone()
    }

    /// The counters of one vault; all zero when it was never asked.
    pub fn vault(&self, name: &str) -> VaultCounts {
        let book = self.book.lock();
        book.counts.vaults.get(name).cloned().unwrap_or_default()
    }

    /// The counters of Entra ID.
    pub fn entra(&self) -> EntraCounts {
        self.book.lock().counts.entra.clone()
    }

    /// The counters of the AKS token proxy.
    pub fn token_proxy(&self) -> EntraCounts {
        self.book.lock().counts.token_proxy.clone()
    }

    /// The counters of IMDS.
    pub fn imds(&self) -> ImdsCounts {
        self.book.lock().counts.imds.clone()
    }

    /// How many connections were opened to a host: TLS handshakes completed under this name, or, for
    /// `169.254.169.254`, connections that IMDS accepted.
    pub fn connections(&self, host: &str) -> u64 {
        let book = self.book.lock();
        let connections = &book.counts.connections;
        if host == IMDS_HOST {
            return connections.imds;
        }
        let host = host.to_ascii_lowercase();
        connections.tls_by_host.get(&host).copied().unwrap_or(0)
    }

    /// The most connections to a host that were open at once.
    pub fn most_connections(&self, host: &str) -> u64 {
        let book = self.book.lock();
        let most = &book.counts.connections.max_open;
        most.get(&host.to_ascii_lowercase()).copied().unwrap_or(0)
    }

    /// The most recent requests, oldest first.
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.book.lock().log.iter().cloned().collect()
    }

    /// Everything back to zero and an empty log; requests under way stay counted as in flight, and
    /// connections as open.
    pub fn reset(&self) {
        let mut book = self.book.lock();
        let book = &mut *book;
        book.first += book.log.len() as u64;
        book.log.clear();
        let old = std::mem::take(&mut book.counts);
        let new = &mut book.counts;
        (new.in_flight, new.max_in_flight) = (old.in_flight, old.in_flight);
        (new.entra.in_flight, new.entra.max_in_flight) = (old.entra.in_flight, old.entra.in_flight);
        (new.token_proxy.in_flight, new.token_proxy.max_in_flight) =
            (old.token_proxy.in_flight, old.token_proxy.in_flight);
        (new.imds.in_flight, new.imds.max_in_flight) = (old.imds.in_flight, old.imds.in_flight);
        new.connections.max_open.clone_from(&old.connections.open);
        new.connections.open = old.connections.open;
        for (name, vault) in old.vaults {
            if vault.in_flight > 0 {
                let fresh = new.vaults.entry(name).or_default();
                (fresh.in_flight, fresh.max_in_flight) = (vault.in_flight, vault.in_flight);
            }
        }
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.book.lock().counts);
    }

    pub(crate) fn count_vault(&self, name: &str, change: impl FnOnce(&mut VaultCounts)) {
        self.count(|counts| change(counts.vaults.entry(name.to_owned()).or_default()));
    }

    /// Counts a connection to a host as open until the returned guard is dropped.
    pub(crate) fn connect(&self, host: &str) -> Open {
        let mut book = self.book.lock();
        let connections = &mut book.counts.connections;
        let open = connections.open.entry(host.to_owned()).or_default();
        *open += 1;
        let most = connections.max_open.entry(host.to_owned()).or_default();
        *most = (*most).max(*open);
        Open {
            counters: self.clone(),
            host: host.to_owned(),
        }
    }

    /// Counts a request as in flight, and logs it with its times, until the returned guard is dropped.
    pub(crate) fn begin(&self, mut record: RequestRecord, vault: Option<&str>) -> InFlight {
        record.began = self.started.elapsed();
        let mut book = self.book.lock();
        let book = &mut *book;
        for (now, most) in gauges(&mut book.counts, record.service, vault) {
            *now += 1;
            *most = (*most).max(*now);
        }
        match (record.service, vault) {
            (Service::Vault, Some(vault)) => {
                let vault = book.counts.vaults.entry(vault.to_owned()).or_default();
                vault.requests += 1;
            }
            (Service::Vault, None) => {}
            (Service::Entra | Service::TokenProxy, _) => {
                book.counts.tokens(record.service).requests += 1;
            }
            (Service::Imds, _) => {
                book.counts.imds.requests += 1;
                book.counts.imds.via_proxy += u64::from(record.via_proxy);
            }
        }
        let number = book.first + book.log.len() as u64;
        let service = record.service;
        book.log.push_back(record);
        if book.log.len() > LOG_LENGTH {
            book.log.pop_front();
            book.first += 1;
        }
        InFlight {
            counters: self.clone(),
            number,
            service,
            vault: vault.map(str::to_owned),
        }
    }
}

/// The pairs (now, most) that a request of this kind moves.
fn gauges<'a>(
    counts: &'a mut Counts,
    service: Service,
    vault: Option<&str>,
) -> Vec<(&'a mut u64, &'a mut u64)> {
    let mut gauges = vec![(&mut counts.in_flight, &mut counts.max_in_flight)];
    match (service, vault) {
        (Service::Vault, Some(vault)) => {
            let vault = counts.vaults.entry(vault.to_owned()).or_default();
            gauges.push((&mut vault.in_flight, &mut vault.max_in_flight));
        }
        (Service::Vault, None) => {}
        (Service::Entra, _) => {
            gauges.push((&mut counts.entra.in_flight, &mut counts.entra.max_in_flight));
        }
        (Service::TokenProxy, _) => {
            let tokens = &mut counts.token_proxy;
            gauges.push((&mut tokens.in_flight, &mut tokens.max_in_flight));
        }
        (Service::Imds, _) => {
            gauges.push((&mut counts.imds.in_flight, &mut counts.imds.max_in_flight));
        }
    }
    gauges
}

/// A request being answered.
#[derive(Debug)]
pub(crate) struct InFlight {
    counters: Counters,
    number: u64,
    service: Service,
    vault: Option<String>,
}

impl InFlight {
    pub(crate) fn answered(&self, status: u16) {
        let mut book = self.counters.book.lock();
        if let Some(record) = book.record(self.number) {
            record.status = Some(status);
        }
        if let Some(vault) = &self.vault {
            let vault = book.counts.vaults.entry(vault.clone()).or_default();
            match status {
                403 => vault.forbidden += 1,
                429 => vault.throttled += 1,
                _ => {}
            }
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut book = self.counters.book.lock();
        for (now, _) in gauges(&mut book.counts, self.service, self.vault.as_deref()) {
            *now = now.saturating_sub(1);
        }
        let ended = self.counters.started.elapsed();
        if let Some(record) = book.record(self.number) {
            record.ended = Some(ended);
        }
    }
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct Open {
    counters: Counters,
    host: String,
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut book = self.counters.book.lock();
        let open = &mut book.counts.connections.open;
        if let Some(now) = open.get_mut(&self.host) {
            *now -= 1;
            if *now == 0 {
                open.remove(&self.host);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> RequestRecord {
        RequestRecord {
            service: Service::Vault,
            method: "GET".to_owned(),
            host: "kv1.vault.azure.net".to_owned(),
            path: "/secrets/a/".to_owned(),
            status: None,
            via_proxy: false,
            server_name: None,
            protocol: "HTTP/1.1".to_owned(),
            began: Duration::ZERO,
            ended: None,
        }
    }

    #[test]
    fn connections_that_are_open_survive_a_reset() {
        let counters = Counters::default();
        let (one, two) = (counters.connect("kv1"), counters.connect("kv1"));
        assert_eq!(counters.most_connections("KV1"), 2);
        drop(one);
        counters.reset();
        assert_eq!(counters.most_connections("kv1"), 1);
        drop(two);
        let connections = counters.snapshot().connections;
        assert_eq!(
            (connections.open.len(), connections.max_open["kv1"]),
            (0, 1)
        );
    }

    #[test]
    fn requests_have_times() {
        let counters = Counters::default();
        let request = counters.begin(record(), Some("kv1"));
        assert_eq!(counters.requests()[0].ended, None);
        drop(request);
        let logged = &counters.requests()[0];
        assert!(logged.ended.unwrap() >= logged.began);
    }

    #[test]
    fn requests_in_flight_survive_a_reset() {
        let counters = Counters::default();
        let one = counters.begin(record(), Some("kv1"));
        let two = counters.begin(record(), Some("kv1"));
        assert_eq!(counters.vault("kv1").max_in_flight, 2);
        drop(one);
        counters.reset();
        assert_eq!(counters.vault("kv1").in_flight, 1);
        assert_eq!(counters.vault("kv1").requests, 0);
        two.answered(429);
        assert_eq!(counters.requests(), []);
        drop(two);
        assert_eq!(counters.snapshot().in_flight, 0);
        assert_eq!(counters.vault("kv1").throttled, 1);
    }

    #[test]
    fn the_log_is_bounded_and_keeps_numbering() {
        let counters = Counters::default();
        for _ in 0..=LOG_LENGTH {
            counters.begin(record(), Some("kv1")).answered(200);
        }
        let last = counters.begin(record(), Some("kv1"));
        last.answered(404);
        let log = counters.requests();
        assert_eq!(log.len(), LOG_LENGTH);
        assert_eq!(log.last().unwrap().status, Some(404));
        assert_eq!(log[0].status, Some(200));
    }
}
