//! [`Exporter`], the way of spans to a collector: OTLP over gRPC, to an address without TLS on the node or in
//! the cluster.

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use thiserror::Error;
use tracing::Level;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::Registry;

use crate::observe::traces::TARGET;

/// Where spans go, in batches and beside the mounts. Sends what is left when it is dropped.
#[derive(Debug)]
pub struct Exporter(Option<SdkTracerProvider>);

/// Why spans cannot be exported.
#[derive(Debug, Error)]
pub enum ExporterError {
    /// TLS, which the exporter is built without.
    #[error("{0}: expected an address without TLS, such as http://127.0.0.1:4317")]
    Tls(String),
    /// Something else about the address, or a variable that cannot be.
    #[error("spans cannot be exported")]
    Build(#[from] opentelemetry_otlp::ExporterBuildError),
}

impl Exporter {
    /// Exports nothing.
    pub fn none() -> Self {
        Self(None)
    }

    /// An exporter to this collector. To be called in a runtime.
    pub fn new(endpoint: &str, service_name: String) -> Result<Self, ExporterError> {
        if !endpoint.starts_with("http://") {
            return Err(ExporterError::Tls(endpoint.to_owned()));
        }
        let exporter = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .build()?;
        let resource = Resource::builder().with_service_name(service_name).build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource)
            .build();
        Ok(Self(Some(provider)))
    }

    /// What hands spans over.
    pub fn layer(&self) -> Option<Box<dyn Layer<Registry> + Send + Sync>> {
        let tracer = self.0.as_ref()?.tracer("provider-azure-rs");
        let layer = tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false);
        let spans = Targets::new().with_target(TARGET, Level::INFO);
        Some(layer.with_filter(spans).boxed())
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.0.as_ref().map(SdkTracerProvider::shutdown) {
            tracing::warn!(%error, "the last spans could not be exported");
        }
    }
}
