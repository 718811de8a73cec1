//! [`serve`], HTTP on a TCP port of the pod, for those who watch over the provider: [`crate::server::healthz`] for
//! the kubelet's probes, [`crate::observe::metrics`] for Prometheus. Mounts never come this way.
//!
//! Whoever reaches the pod may connect, so what that costs is bounded by [`visitors`].

mod visitors;

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::{self, Next};
use axum::response::Response;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use self::visitors::{By, Visitors};

/// How long nobody asks again for a port that is taken, at first and at most. The provider that this one replaces may
/// have it for as long as its mounts take.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// Serves `app` for as long as the returned value lives; nothing where the port is 0. A port that is taken
/// is said in the log, by the name of `what` is missing, and asked for again until it is free. It leaves the mounts
/// alone.
pub fn serve(port: u16, what: &'static str, app: Router) -> Option<AbortOnDropHandle<()>> {
    if port == 0 {
        return None;
    }
    let serving = async move {
        let listener = listen_until_free(port, what).await;
        let app = app
            .layer(middleware::from_fn(answer))
            .into_make_service_with_connect_info::<By>();
        if let Err(error) = axum::serve(Visitors::new(listener), app).await {
            tracing::error!(port, %error, "{what} not served");
        }
    };
    Some(AbortOnDropHandle::new(tokio::spawn(serving)))
}

/// Answers a request, and says meanwhile that its connection is needed.
async fn answer(ConnectInfo(by): ConnectInfo<By>, request: Request, next: Next) -> Response {
    let _asked = by.ask();
    next.run(request).await
}

/// Listens as soon as the port is free.
async fn listen_until_free(port: u16, what: &'static str) -> TcpListener {
    let (mut pause, longest) = RETRY;
    let mut has_failed = false;
    loop {
        match listen(port).await {
            Ok(listener) => {
                if has_failed {
                    tracing::info!(port, "{what} served now");
                }
                return listener;
            }
            // Once: what is still so is no news.
            Err(error) if !has_failed => {
                tracing::error!(port, %error, "{what} not served; the port is tried again until it is free");
            }
            Err(_) => {}
        }
        has_failed = true;
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}

/// Listens on all addresses, also on a node without IPv6.
async fn listen(port: u16) -> std::io::Result<TcpListener> {
    let address = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    match TcpListener::bind(address).await {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Err(error),
        Err(_) => TcpListener::bind(("0.0.0.0", port)).await,
        listener => listener,
    }
}
