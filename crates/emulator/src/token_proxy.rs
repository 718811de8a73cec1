//! The token proxy of an AKS cluster, which gives tokens to identity bindings in place of Entra ID, and
//! the API server at the same address: TLS tells them apart by the name that it is asked for.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use ring::digest::{SHA256, digest};
use serde_json::json;
use tokio::net::TcpStream;

use crate::faults::Service;
use crate::front::{Front, finished};
use crate::listener::{Connection, serve};
use crate::state::{Ask, State, record};
use crate::{body, entra};

/// The name of the API server in every cluster.
pub const API_SERVER: &str = "kubernetes.default.svc.cluster.local";

/// The other names in the API server's certificate; AKS has the cluster's ID in one of them.
pub(crate) fn api_server_names(cluster_id: &str) -> [String; 3] {
    [
        "kubernetes".to_owned(),
        "kubernetes.default".to_owned(),
        format!("hcp-kubernetes.{cluster_id}.svc.cluster.local"),
    ]
}

/// The name that a cluster's token proxy answers to.
pub(crate) fn server_name(cluster_id: &str) -> String {
    let hash = digest(&SHA256, format!("identity-binding{cluster_id}").as_bytes());
    format!("a{}.ests.aks", base32hex(hash.as_ref()))
}

/// RFC 4648, section 7, in lower case and without padding.
fn base32hex(bytes: &[u8]) -> String {
    let bit = |index: usize| {
        let byte = bytes.get(index / 8).copied().unwrap_or(0);
        usize::from(byte >> (7 - index % 8) & 1)
    };
    (0..bytes.len() * 8)
        .step_by(5)
        .map(|start| (start..start + 5).fold(0, |digit, index| digit << 1 | bit(index)))
        .map(|digit| char::from(b"0123456789abcdefghijklmnopqrstuv"[digit]))
        .collect()
}

/// The listener; clones share everything.
#[derive(Clone)]
pub(crate) struct TokenProxy {
    pub(crate) state: Arc<State>,
    pub(crate) front: Front,
}

impl TokenProxy {
    /// Serves one client's connection.
    pub(crate) async fn serve(self, stream: TcpStream, connection: Connection) {
        let handshake = self.front.handshake(stream, connection).await;
        let Some((stream, connection, _open)) = handshake else {
            return;
        };
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let state = self.state;
        serve(stream, http2, move |request| {
            answer(state.clone(), connection.clone(), request)
        })
        .await;
    }
}

async fn answer(
    state: Arc<State>,
    connection: Connection,
    request: Request<Incoming>,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let counted = state
        .counters
        .begin(record(Service::TokenProxy, &parts, &connection), None);
    let own_name = state.settings.cluster_id.as_deref().map(server_name);
    if own_name.is_none() || connection.server_name != own_name {
        return finished(&counted, of_api_server(parts.uri.path()));
    }
    let body = match body::read(Body::new(body)).await {
        Ok(body) => body,
        Err(refusal) => return finished(&counted, refusal),
    };
    let ask = Ask::new(&parts, body, connection);
    finished(
        &counted,
        entra::answer(&state, &ask, Service::TokenProxy).await,
    )
}

/// What the API server says to a stranger.
fn of_api_server(path: &str) -> Response<Body> {
    body::json(
        StatusCode::FORBIDDEN,
        &json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": format!("forbidden: User \"system:anonymous\" cannot post path \"{path}\""),
            "reason": "Forbidden",
            "details": {},
            "code": 403,
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with Python's `hashlib.sha256` and `base64.b32hexencode`.
    #[test]
    fn the_name_is_made_of_the_clusters_id() {
        assert_eq!(
            server_name("my-cluster"),
            "a80ke2895huq22pe4rde7v35kvjblteulpjv1vs63lv00r3638c00.ests.aks"
        );
    }
}
