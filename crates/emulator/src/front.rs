//! The TLS front: takes connections from its own port and from the proxy's tunnels, shows each a
//! certificate for the name that it asks for, and gives each request to whom its host stands for.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::body;
use crate::cloud::Role;
use crate::counters::{InFlight, Open};
use crate::faults::Service;
use crate::listener::{Connection, serve};
use crate::state::{Ask, State, host_of, record};
use crate::{entra, imds, vault};

/// A client that opens a connection and says nothing keeps it for no longer than this.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// The front; clones share everything.
#[derive(Clone)]
pub(crate) struct Front {
    state: Arc<State>,
    acceptor: TlsAcceptor,
}

impl Front {
    pub(crate) fn new(state: Arc<State>) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(state.ca.clone());
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        if state.settings.http2 {
            tls.alpn_protocols.insert(0, b"h2".to_vec());
        }
        Ok(Self {
            state,
            acceptor: TlsAcceptor::from(Arc::new(tls)),
        })
    }

    /// Serves one connection: TLS, then the requests in it.
    pub(crate) async fn serve<S>(self, stream: S, connection: Connection)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Some((stream, connection, _open)) = self.handshake(stream, connection).await else {
            return;
        };
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let state = self.state;
        serve(stream, http2, move |request| {
            answer(state.clone(), connection.clone(), request)
        })
        .await;
    }

    /// TLS, and the name that the client asks for. The connection counts as open until the last of what
    /// this gives is dropped.
    pub(crate) async fn handshake<S>(
        &self,
        stream: S,
        mut connection: Connection,
    ) -> Option<(TlsStream<S>, Connection, Open)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = match tokio::time::timeout(HANDSHAKE, self.acceptor.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(%error, "TLS handshake failed");
                return None;
            }
            Err(_) => return None,
        };
        let server_name = stream.get_ref().1.server_name().map(str::to_owned);
        let name = server_name.clone().unwrap_or_else(|| "(none)".to_owned());
        let open = self.state.counters.connect(&name);
        self.state.counters.count(|counts| {
            counts.connections.tls += 1;
            *counts.connections.tls_by_host.entry(name).or_default() += 1;
        });
        connection.server_name = server_name;
        Some((stream, connection, open))
    }
}

/// Answers a request that came over TLS.
async fn answer(
    state: Arc<State>,
    connection: Connection,
    request: Request<Incoming>,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let host = host_of(&parts);
    let (service, vault) = match Role::of(&host) {
        Role::Vault { name, cloud } => match state.vault_at(&name, cloud) {
            Some(vault) => (Service::Vault, Some(vault)),
            None => {
                return body::text(
                    StatusCode::MISDIRECTED_REQUEST,
                    format!("azure-emulator: there is no vault at {host}"),
                );
            }
        },
        Role::Login { .. } => (Service::Entra, None),
        Role::Imds | Role::Stranger => {
            return body::text(
                StatusCode::MISDIRECTED_REQUEST,
                format!("azure-emulator: '{host}' is none of the hosts served here"),
            );
        }
    };
    let counted = state.counters.begin(
        record(service, &parts, &connection),
        vault.as_ref().map(vault::Vault::name),
    );
    let body = match body::read(Body::new(body)).await {
        Ok(body) => body,
        Err(refusal) => return finished(&counted, refusal),
    };
    let ask = Ask::new(&parts, body, connection);
    let answer = match vault {
        Some(vault) => vault::answer(&state, &vault, &ask).await,
        None => entra::answer(&state, &ask, service).await,
    };
    finished(&counted, answer)
}

/// Answers a request for IMDS, wherever it came in.
pub(crate) async fn answer_imds(
    state: Arc<State>,
    connection: Connection,
    request: Request<Incoming>,
) -> Response<Body> {
    let (parts, _) = request.into_parts();
    let counted = state
        .counters
        .begin(record(Service::Imds, &parts, &connection), None);
    let ask = Ask::new(&parts, bytes::Bytes::new(), connection);
    let answer = imds::answer(&state, &ask).await;
    finished(&counted, answer)
}

/// Notes the status of an answer.
pub(crate) fn finished(counted: &InFlight, answer: Response<Body>) -> Response<Body> {
    counted.answered(answer.status().as_u16());
    answer
}
