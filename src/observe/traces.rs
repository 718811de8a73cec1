//! [`Trace`], a mount and its parts as spans of OpenTelemetry: only in a program that is built with the feature
//! `otlp`. Without it all of this is nothing, and costs nothing.
//!
//! Spans are no lines of the log: they have a target of their own, which only goes to the [`Exporter`].

#[cfg(feature = "otlp")]
mod exporter;

use tracing::Span;

#[cfg(feature = "otlp")]
pub use exporter::Exporter;

/// Where spans would go.
#[cfg(not(feature = "otlp"))]
#[derive(Debug)]
pub struct Exporter;

#[cfg(not(feature = "otlp"))]
impl Exporter {
    pub fn none() -> Self {
        Self
    }
}

/// The target of all spans.
pub const TARGET: &str = "provider_azure_rs::traces";

/// Something that takes time, and is a span where those are exported.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    #[cfg(feature = "otlp")]
    span: Option<Span>,
}

impl Trace {
    #[cfg(feature = "otlp")]
    fn new(span: impl FnOnce() -> Span) -> Self {
        Self { span: Some(span()) }
    }

    #[cfg(not(feature = "otlp"))]
    fn new(_: impl FnOnce() -> Span) -> Self {
        Self {}
    }

    /// A mount, from the call to the answer. Most of what there is to say of it is said later.
    pub fn mount() -> Self {
        Self::new(|| {
            tracing::info_span!(
                target: TARGET,
                parent: None,
                "mount",
                otel.kind = "server",
                otel.status_code = tracing::field::Empty,
                k8s.namespace.name = tracing::field::Empty,
                k8s.pod.name = tracing::field::Empty,
                class = tracing::field::Empty,
                identity = tracing::field::Empty,
                vault = tracing::field::Empty,
                code = tracing::field::Empty,
                reason = tracing::field::Empty,
            )
        })
    }

    /// Until a mount has a token and a connection.
    pub fn sign_in() -> Self {
        Self::new(|| tracing::info_span!(target: TARGET, "sign_in"))
    }

    /// Until a mount has a token.
    pub fn token() -> Self {
        Self::new(|| tracing::info_span!(target: TARGET, "token"))
    }

    /// Until a mount has its objects.
    pub fn objects() -> Self {
        Self::new(|| tracing::info_span!(target: TARGET, "objects"))
    }

    /// A request to a server. Neither its path nor its headers: they name objects and have tokens.
    pub fn request(server: &str, method: &str) -> Self {
        Self::new(|| {
            tracing::info_span!(
                target: TARGET,
                "request",
                otel.kind = "client",
                otel.status_code = tracing::field::Empty,
                server.address = server,
                http.request.method = method,
                http.response.status_code = tracing::field::Empty,
            )
        })
    }

    /// Says more of it, which it was made to have.
    #[cfg(feature = "otlp")]
    pub fn record(&self, field: &'static str, value: impl tracing::Value) {
        if let Some(span) = &self.span {
            span.record(field, value);
        }
    }

    /// Says more of it, which it was made to have.
    #[cfg(not(feature = "otlp"))]
    #[allow(clippy::unused_self)]
    pub fn record(&self, _: &'static str, _: impl tracing::Value) {}

    /// A future that is this, and what is traced in it a part of this.
    #[cfg(feature = "otlp")]
    pub fn around<F: Future>(&self, future: F) -> tracing::instrument::Instrumented<F> {
        tracing::Instrument::instrument(future, self.span.clone().unwrap_or_else(Span::none))
    }

    /// A future that is this, and what is traced in it a part of this.
    #[cfg(not(feature = "otlp"))]
    #[allow(clippy::unused_self)]
    pub fn around<F: Future>(&self, future: F) -> F {
        future
    }

    /// The id of the trace that it belongs to, where that is exported.
    #[cfg(feature = "otlp")]
    pub fn id(&self) -> Option<String> {
        use opentelemetry::trace::TraceContextExt as _;
        use tracing_opentelemetry::OpenTelemetrySpanExt as _;

        let context = self.span.as_ref()?.context();
        let span = context.span();
        let span = span.span_context();
        span.is_sampled().then(|| span.trace_id().to_string())
    }
}

/// A future that will run as a task of its own, and belongs to what is traced now all the same.
#[cfg(feature = "otlp")]
pub fn here<F: Future>(future: F) -> tracing::instrument::Instrumented<F> {
    tracing::Instrument::in_current_span(future)
}

/// A future that will run as a task of its own, and belongs to what is traced now all the same.
#[cfg(not(feature = "otlp"))]
pub fn here<F: Future>(future: F) -> F {
    future
}
