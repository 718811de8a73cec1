//! [`serve`], HTTP on a TCP port of the pod, for those who watch over the provider: [`crate::server::healthz`] for
//! the kubelet's probes, [`crate::observe::metrics`] for Prometheus. Mounts never come this way.
//!
//! Whoever reaches the pod may connect, so what that costs is bounded by [`visitors`].

mod visitors;

use std::net::{Ipv6Addr, SocketAddr};

use axum::Router;
use tokio_util::task::AbortOnDropHandle;

use self::visitors::Visitors;

/// Serves `app` for as long as the returned value lives; nothing where the port is 0. A port that is taken
/// is said in the log, by the name of `what` is missing, and leaves the mounts alone.
pub fn serve(port: u16, what: &'static str, app: Router) -> Option<AbortOnDropHandle<()>> {
    if port == 0 {
        return None;
    }
    let serving = async move {
        let result = match listen(port).await {
            Ok(listener) => axum::serve(Visitors::new(listener), app).await,
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            tracing::error!(port, %error, "{what} not served");
        }
    };
    Some(AbortOnDropHandle::new(tokio::spawn(serving)))
}

/// Listens on all addresses, also on a node without IPv6.
async fn listen(port: u16) -> std::io::Result<tokio::net::TcpListener> {
    let address = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    match tokio::net::TcpListener::bind(address).await {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Err(error),
        Err(_) => tokio::net::TcpListener::bind(("0.0.0.0", port)).await,
        listener => listener,
    }
}
