//! The page that Prometheus scrapes. Port and path are the Go provider's, so that its scrape configurations
//! find it.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::routing::get;
use tokio_util::task::AbortOnDropHandle;

use crate::observe::metrics::Metrics;
use crate::observe::port;

/// What the page is written in.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves the metrics on this port for as long as the returned value lives; nothing where the port is 0.
pub fn serve(port: u16, metrics: Metrics) -> Option<AbortOnDropHandle<()>> {
    let app = Router::new()
        .route("/metrics", get(answer))
        .with_state(metrics);
    port::serve(port, "the metrics are", app)
}

async fn answer(
    State(metrics): State<Metrics>,
) -> Result<([(HeaderName, &'static str); 1], String), StatusCode> {
    let page = metrics
        .page()
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(([(header::CONTENT_TYPE, OPEN_METRICS)], page))
}
