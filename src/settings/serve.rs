//! Flags of `serve`: the socket, probes, metrics, logs.

// The comments on flags are their help texts, which have no Markdown.
#![allow(clippy::doc_markdown)]

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::values::{class_count, duration, go_bool, provider_name, socket_path, url_path};
use super::{PodEventSettings, ProviderSettings};
use crate::cluster::ClusterSettings;
use crate::observe::metrics::MetricsSettings;
use crate::server::socket::AllowedUsers;

/// Flags of `serve`.
#[derive(Args, Clone, Debug)]
pub struct ServeSettings {
    /// Where the driver calls.
    #[command(flatten)]
    pub endpoint: EndpointSettings,
    /// User that may call besides the provider's own, by number; may be given several times. Where it is any
    /// other than root, the socket's mode is 0666, and each caller is asked who it is
    #[arg(
        long,
        value_name = "UID",
        env = "PROVIDER_AZURE_RS_ALLOWED_UID",
        default_value = "0",
        value_delimiter = ','
    )]
    allowed_uid: Vec<u32>,
    /// Most time that mounts under way get to end after SIGTERM, such as 20s
    #[arg(
        long,
        value_name = "DURATION",
        env = "PROVIDER_AZURE_RS_DRAIN_TIMEOUT",
        default_value = "20s",
        value_parser = duration
    )]
    pub drain_timeout: Duration,
    /// Keep all memory out of swap, or do not start; needs the capability IPC_LOCK
    #[arg(
        long,
        value_name = "BOOL",
        env = "PROVIDER_AZURE_RS_LOCK_MEMORY",
        default_value = "false",
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = clap::ArgAction::Set,
        value_parser = go_bool
    )]
    pub lock_memory: bool,
    /// What every provider decides.
    #[command(flatten)]
    pub provider: ProviderSettings,
    /// What pods are told.
    #[command(flatten)]
    pub pod_events: PodEventSettings,
    /// The health check over HTTP.
    #[command(flatten)]
    pub healthz: HealthzSettings,
    #[command(flatten)]
    pub prometheus: PrometheusSettings,
    /// Logs.
    #[command(flatten)]
    pub logs: LogSettings,
    /// Spans.
    #[cfg(feature = "otlp")]
    #[command(flatten)]
    pub traces: TraceSettings,
}

impl ServeSettings {
    /// Which API server is asked, and told, what.
    pub fn cluster(&self) -> ClusterSettings {
        let identity_binding = &self.provider.identity_binding;
        self.pod_events.cluster(identity_binding.service_address())
    }

    /// Who may call.
    pub fn allowed_users(&self) -> AllowedUsers {
        AllowedUsers::new(self.allowed_uid.clone())
    }
}

/// Flags that say which socket a provider has: of `serve`, and of who calls it.
#[derive(Args, Clone, Debug)]
pub struct EndpointSettings {
    /// Socket that the driver calls; where it is not said, the provider's name in
    /// /var/run/secrets-store-csi-providers
    #[arg(long, value_name = "unix:///PATH", env = "PROVIDER_AZURE_RS_ENDPOINT", value_parser = socket_path)]
    endpoint: Option<PathBuf>,
    /// Name that classes have under spec.provider; azure takes over the Go provider's classes
    #[arg(
        long,
        value_name = "NAME",
        env = "PROVIDER_AZURE_RS_PROVIDER_NAME",
        default_value = "azure-rs",
        value_parser = provider_name
    )]
    provider_name: String,
}

impl EndpointSettings {
    /// The socket's path.
    pub fn socket(&self) -> PathBuf {
        self.endpoint.clone().unwrap_or_else(|| {
            PathBuf::from(format!("{PROVIDERS_FOLDER}/{}.sock", self.provider_name))
        })
    }
}

/// Where the driver looks for providers, by default.
const PROVIDERS_FOLDER: &str = "/var/run/secrets-store-csi-providers";

/// Flags of the health checks that the kubelet's probes ask over HTTP.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Health")]
pub struct HealthzSettings {
    /// Port of the health check, and of /livez and /readyz; 0 for none
    #[arg(
        long,
        value_name = "PORT",
        env = "PROVIDER_AZURE_RS_HEALTHZ_PORT",
        default_value_t = 8989
    )]
    pub healthz_port: u16,
    /// Path of the health check
    #[arg(
        long,
        value_name = "PATH",
        env = "PROVIDER_AZURE_RS_HEALTHZ_PATH",
        default_value = "/healthz",
        value_parser = url_path
    )]
    pub healthz_path: String,
    /// Most time that the socket may take to answer a health check
    #[arg(
        long,
        value_name = "DURATION",
        env = "PROVIDER_AZURE_RS_HEALTHZ_TIMEOUT",
        default_value = "5s",
        value_parser = duration
    )]
    pub healthz_timeout: Duration,
}

/// Flags of the metrics.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Metrics")]
pub struct PrometheusSettings {
    /// Port of the metrics for Prometheus, at /metrics; 0 for none
    #[arg(
        long,
        value_name = "PORT",
        env = "PROVIDER_AZURE_RS_PROMETHEUS_PORT",
        default_value_t = 8898
    )]
    pub prometheus_port: u16,
    /// Most classes that have metrics of their own, with their namespaces and names as labels; 0 for none
    #[arg(
        long,
        value_name = "NUMBER",
        env = "PROVIDER_AZURE_RS_MAX_CLASS_METRICS",
        default_value = "500",
        value_parser = class_count
    )]
    pub max_class_metrics: usize,
    /// Serve the Go provider's metrics too: keyvault_request and grpc_request, without the names of objects and
    /// the text of errors
    #[arg(
        long,
        value_name = "BOOL",
        env = "PROVIDER_AZURE_RS_COMPAT_METRICS",
        default_value = "false",
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = clap::ArgAction::Set,
        value_parser = go_bool
    )]
    pub compat_metrics: bool,
}

impl PrometheusSettings {
    /// What the metrics need of it.
    pub fn metrics(&self) -> MetricsSettings {
        MetricsSettings {
            max_classes: self.max_class_metrics,
            compat: self.compat_metrics,
        }
    }
}
/// Flags of logs.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Logs")]
pub struct LogSettings {
    /// Least level that is logged: error, warn, info, debug or trace
    #[arg(
        long,
        value_name = "LEVEL",
        env = "PROVIDER_AZURE_RS_LOG_LEVEL",
        default_value_t = tracing::Level::INFO
    )]
    pub log_level: tracing::Level,
    /// Log lines of JSON instead of text
    #[arg(
        long,
        value_name = "BOOL",
        env = "PROVIDER_AZURE_RS_LOG_FORMAT_JSON",
        default_value = "false",
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = clap::ArgAction::Set,
        value_parser = go_bool
    )]
    pub log_format_json: bool,
}

/// Flags of spans for OpenTelemetry. Further variables are read by its SDK: OTEL_EXPORTER_OTLP_HEADERS, _TIMEOUT,
/// OTEL_TRACES_SAMPLER, OTEL_BSP_..., OTEL_RESOURCE_ATTRIBUTES.
#[cfg(feature = "otlp")]
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Traces")]
pub struct TraceSettings {
    /// Collector that gets a span for each mount and each part of it, by OTLP over gRPC without TLS, such as
    /// http://127.0.0.1:4317; none where it is not said
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    otlp_endpoint: Option<String>,
    /// The same, where it is another one than for metrics and logs
    #[arg(long, value_name = "URL", env = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")]
    otlp_traces_endpoint: Option<String>,
    /// What the collector gets to know the provider by
    #[arg(
        long,
        value_name = "NAME",
        env = "OTEL_SERVICE_NAME",
        default_value = "provider-azure-rs"
    )]
    pub otel_service_name: String,
}

#[cfg(feature = "otlp")]
impl TraceSettings {
    /// The collector, if there is one.
    pub fn endpoint(&self) -> Option<&str> {
        let endpoint = self.otlp_traces_endpoint.as_deref();
        endpoint.or(self.otlp_endpoint.as_deref())
    }
}
