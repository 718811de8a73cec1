//! [`Traffic`], what is asked of one Azure service: requests, connections, and what its limits cost.
//!
//! [`crate::transport`] counts requests and connections, [`crate::azure::limiter`] the rest. Both have the handle of
//! the service that they are for.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use hyper::StatusCode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use crate::observe::metrics::Labels;

/// A counter of seconds.
type Seconds = Counter<f64, AtomicU64>;

/// What takes less is not the limiter's wait but the machine's.
const NOTICEABLE: Duration = Duration::from_millis(1);

/// A service that this process asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AzureService {
    /// Key Vault, all vaults.
    Vault,
    /// Microsoft Entra ID.
    Entra,
    /// The Azure Instance Metadata Service of the node.
    Imds,
    /// The token proxy of the AKS cluster.
    TokenProxy,
}

impl AzureService {
    /// All of them, in their order.
    pub(super) const ALL: [Self; 4] = [Self::Vault, Self::Entra, Self::Imds, Self::TokenProxy];

    fn as_str(self) -> &'static str {
        match self {
            Self::Vault => "vault",
            Self::Entra => "entra",
            Self::Imds => "imds",
            Self::TokenProxy => "token_proxy",
        }
    }
}

/// What is asked of one service. One that is made by default is nobody's.
#[derive(Debug, Default)]
pub struct Traffic {
    requests: Requests,
    connections_opened: Counter,
    waits: Counter,
    wait_seconds: Seconds,
    refusals: Counter,
    throttled: Counter,
}

/// Requests by what came of them.
#[derive(Debug, Default)]
struct Requests {
    success: Counter,
    unauthorized: Counter,
    forbidden: Counter,
    not_found: Counter,
    too_many: Counter,
    client_error: Counter,
    server_error: Counter,
    other: Counter,
    failure: Counter,
}

/// A request waits for its limiter, for as long as this lives.
#[derive(Debug)]
#[must_use]
pub struct Waiting<'a> {
    traffic: &'a Traffic,
    since: Instant,
}

impl Traffic {
    /// The service answered.
    pub fn answered(&self, status: StatusCode) {
        let requests = &self.requests;
        let counter = match status.as_u16() {
            200..300 => &requests.success,
            401 => &requests.unauthorized,
            403 => &requests.forbidden,
            404 => &requests.not_found,
            429 => &requests.too_many,
            400..500 => &requests.client_error,
            500..600 => &requests.server_error,
            _ => &requests.other,
        };
        counter.inc();
    }

    /// A request could not be sent, or was not answered.
    pub fn failed(&self) {
        self.requests.failure.inc();
    }

    /// There is one more connection.
    pub fn connected(&self) {
        self.connections_opened.inc();
    }

    /// A request begins to wait for its limiter. How the wait ends makes no difference to what is counted.
    pub fn wait(&self) -> Waiting<'_> {
        Waiting {
            traffic: self,
            since: Instant::now(),
        }
    }

    /// The limiter refused a request.
    pub fn refused(&self) {
        self.refusals.inc();
    }

    /// The service asked for a pause.
    pub fn throttled(&self) {
        self.throttled.inc();
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let waited = self.since.elapsed();
        if waited >= NOTICEABLE {
            self.traffic.waits.inc();
            self.traffic.wait_seconds.inc_by(waited.as_secs_f64());
        }
    }
}

/// The traffic of all services, each in its place.
pub(super) fn registered(registry: &mut Registry) -> [Arc<Traffic>; AzureService::ALL.len()] {
    let requests = Family::<Labels<2>, Counter>::default();
    registry.register(
        "requests",
        "Requests to Azure by what came of them",
        requests.clone(),
    );
    let mut family = |name, help: &str| {
        let family = Family::<Labels<1>, Counter>::default();
        registry.register(name, help, family.clone());
        family
    };
    let connections_opened = family("connections_opened", "Connections to Azure that were made");
    let waits = family(
        "limiter_waits",
        "Requests that waited for their turn, for a pause to end or for their pace",
    );
    let refusals = family(
        "limiter_refusals",
        "Requests that were not sent, since their turn would have come too late",
    );
    let throttled = family("throttled", "Answers that asked for a pause");
    let wait_seconds = Family::<Labels<1>, Seconds>::default();
    registry.register(
        "limiter_wait_seconds",
        "Time that requests waited so",
        wait_seconds.clone(),
    );
    AzureService::ALL.map(|service| {
        let label = [("service", service.as_str())];
        let request = |status| {
            requests.get_or_create_owned(&[("service", service.as_str()), ("status", status)])
        };
        Arc::new(Traffic {
            requests: Requests {
                success: request("2xx"),
                unauthorized: request("401"),
                forbidden: request("403"),
                not_found: request("404"),
                too_many: request("429"),
                client_error: request("4xx"),
                server_error: request("5xx"),
                other: request("other"),
                failure: request("error"),
            },
            connections_opened: connections_opened.get_or_create_owned(&label),
            waits: waits.get_or_create_owned(&label),
            wait_seconds: wait_seconds.get_or_create_owned(&label),
            refusals: refusals.get_or_create_owned(&label),
            throttled: throttled.get_or_create_owned(&label),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::metrics::Metrics;

    #[test]
    fn each_service_and_each_status_has_its_own_count() {
        let metrics = Metrics::default();
        for service in AzureService::ALL {
            let traffic = metrics.traffic(service);
            for status in [200, 204, 302, 400, 401, 403, 404, 429, 500, 503] {
                traffic.answered(StatusCode::from_u16(status).unwrap());
            }
            traffic.failed();
        }
        let page = metrics.page().unwrap();
        for service in ["vault", "entra", "imds", "token_proxy"] {
            for (status, count) in [
                ("2xx", 2),
                ("other", 1),
                ("4xx", 1),
                ("401", 1),
                ("403", 1),
                ("404", 1),
                ("429", 1),
                ("5xx", 2),
                ("error", 1),
            ] {
                let series = format!(
                    "provider_azure_rs_requests_total{{service=\"{service}\",status=\"{status}\"}} {count}\n"
                );
                assert!(page.contains(&series), "{series}{page}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_counts_however_it_ends() {
        let traffic = Traffic::default();
        drop(traffic.wait());
        assert_eq!(traffic.waits.get(), 0);
        let waiting = async {
            let _waiting = traffic.wait();
            std::future::pending::<()>().await;
        };
        _ = tokio::time::timeout(Duration::from_secs(2), waiting).await;
        assert_eq!(traffic.waits.get(), 1);
        assert!((traffic.wait_seconds.get() - 2.0).abs() < 0.01);
    }
}
