//! [`Compat`], the Go provider's two metrics beside ours, so that its dashboards go on: only with
//! `--compat-metrics`.
//!
//! Names, buckets and the keys of labels are its own. What it fills with names and with the text of errors has
//! a bounded number of words here: see `docs/metrics.md`.
//!
//! Source: `pkg/metrics` of the Go provider v1.8.2, and the page that it serves.

use std::time::Instant;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tonic::Code;

use crate::class::object::ObjectKind;
use crate::observe::metrics::spelling::spelling;
use crate::observe::metrics::{Labels, Metrics};

/// Its buckets, in seconds.
const BUCKETS: [f64; 14] = [
    0.1, 0.2, 0.3, 0.4, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 5.0, 10.0, 15.0, 30.0,
];
/// What it calls itself, twice.
const SERVICE: &str = "csi-secrets-store-provider-azure";

type Requests = Family<Labels<7>, Histogram>;

/// The Go provider's metrics.
#[derive(Clone, Debug)]
pub(super) struct Compat {
    keyvault: Requests,
    grpc: Requests,
}

impl Compat {
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let new = || Requests::new_with_constructor(|| Histogram::new(BUCKETS));
        let compat = Self {
            keyvault: new(),
            grpc: new(),
        };
        registry.register(
            "keyvault_request",
            "Distribution of how long it took to get from keyvault",
            compat.keyvault.clone(),
        );
        registry.register(
            "grpc_request",
            "Distribution of how long it took for the gRPC requests",
            compat.grpc.clone(),
        );
        compat
    }

    /// A call was answered; `message` is the reason code.
    pub(super) fn called(
        &self,
        method: &'static str,
        code: Code,
        message: &'static str,
        start: Instant,
    ) {
        let labels = [
            ("grpc_code", spelling(code)),
            ("grpc_message", message),
            ("grpc_method", method),
            ("os_type", "linux"),
            ("otel_scope_name", SERVICE),
            ("provider", "azure"),
            ("service_name", SERVICE),
        ];
        let took = start.elapsed().as_secs_f64();
        self.grpc.get_or_create(&labels).observe(took);
    }
}

/// Counts the requests for objects as the Go provider does: each with its retries, whatever came of it. Only
/// with `--compat-metrics`.
#[derive(Clone, Debug)]
pub struct ObjectRequests(Option<Requests>);

impl ObjectRequests {
    /// Counts this request for an object of this kind; `word` says a failure in a word.
    pub async fn count<T, E>(
        &self,
        kind: ObjectKind,
        request: impl Future<Output = Result<T, E>>,
        word: fn(&E) -> &'static str,
    ) -> Result<T, E> {
        let start = Instant::now();
        let result = request.await;
        if let Self(Some(requests)) = self {
            let labels = [
                ("error", result.as_ref().err().map_or("", word)),
                ("object_name", ""),
                ("object_type", kind.as_str()),
                ("os_type", "linux"),
                ("otel_scope_name", SERVICE),
                ("provider", "azure"),
                ("service_name", SERVICE),
            ];
            let took = start.elapsed().as_secs_f64();
            requests.get_or_create(&labels).observe(took);
        }
        result
    }
}

impl Metrics {
    /// Counts requests for objects.
    pub fn object_requests(&self) -> ObjectRequests {
        ObjectRequests(self.0.compat.as_ref().map(|compat| compat.keyvault.clone()))
    }

    /// A call of the driver's service that is no mount was answered.
    pub fn called(&self, method: &'static str, start: Instant) {
        if let Some(compat) = &self.0.compat {
            compat.called(method, Code::Ok, "", start);
        }
    }
}
