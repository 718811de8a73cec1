//! The forward proxy: answers in place of the public clouds' hosts and refuses every other host.
//!
//! Programs find it through `HTTPS_PROXY`. A vault that does not exist is refused as a proxy
//! refuses a name that does not resolve. Nothing is ever forwarded to a network.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::body;
use crate::cloud::Role;
use crate::front::{Front, answer_imds};
use crate::listener::{Connection, Tasks, serve};
use crate::state::State;

/// The proxy; clones share everything.
#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) state: Arc<State>,
    pub(crate) front: Front,
    pub(crate) tasks: Tasks,
}

impl Proxy {
    /// Serves one client's connection.
    pub(crate) async fn serve(self, stream: TcpStream, mut connection: Connection) {
        connection.via_proxy = true;
        serve(stream, false, move |request| {
            self.clone().answer(connection.clone(), request)
        })
        .await;
    }

    async fn answer(self, connection: Connection, request: Request<Incoming>) -> Response<Body> {
        let host = request
            .uri()
            .authority()
            .map_or_else(String::new, |authority| {
                authority.as_str().to_ascii_lowercase()
            });
        if request.method() == Method::CONNECT {
            return match self.refusal(&host) {
                None => self.tunnel(connection, request),
                Some(refusal) => self.refuse(&host, StatusCode::BAD_GATEWAY, &refusal),
            };
        }
        match Role::of(&host) {
            Role::Imds => answer_imds(self.state, connection, request).await,
            _ if host.is_empty() => self.refuse(
                "(none)",
                StatusCode::BAD_REQUEST,
                "this is a forward proxy: set HTTPS_PROXY to its address",
            ),
            _ => self.refuse(
                &host,
                StatusCode::FORBIDDEN,
                &format!("plain HTTP is served for 169.254.169.254 only, not for {host}"),
            ),
        }
    }

    /// Why a tunnel to this host is not granted.
    fn refusal(&self, host: &str) -> Option<String> {
        match Role::of(host) {
            Role::Login { .. } => None,
            Role::Vault { name, cloud } => {
                let exists = self.state.vault_at(&name, cloud).is_some();
                (!exists).then(|| format!("host not found: {host} (no such vault was created)"))
            }
            Role::Imds | Role::Stranger => Some(format!(
                "{host} is none of the hosts served here, and nothing is forwarded"
            )),
        }
    }

    fn refuse(&self, host: &str, status: StatusCode, reason: &str) -> Response<Body> {
        let name = crate::cloud::without_port(host).to_owned();
        self.state.counters.count(|counts| {
            *counts.connections.refused.entry(name).or_default() += 1;
        });
        body::text(status, format!("azure-emulator: {reason}\n"))
    }

    fn tunnel(self, connection: Connection, request: Request<Incoming>) -> Response<Body> {
        self.state
            .counters
            .count(|counts| counts.connections.tunnels += 1);
        let tasks = self.tasks.clone();
        tasks.spawn(&connection.clone(), async move {
            match hyper::upgrade::on(request).await {
                Ok(upgraded) => self.front.serve(TokioIo::new(upgraded), connection).await,
                Err(error) => tracing::debug!(%error, "a tunnel broke off before it began"),
            }
        });
        Response::new(Body::empty())
    }
}
