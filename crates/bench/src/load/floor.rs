//! [`Floor`], what the same objects cost without a provider: bare `GET`s with a token, from this process.
//!
//! A ratio to it says what is left to be gained, on any machine. A provider that opens more connections than this can
//! be quicker, where the vault limits what it takes on each.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use azure_emulator::{DEFAULT_TENANT, Emulator};
use futures::future::try_join_all;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::protocol::Protocol;
use super::work::Work;
use crate::failure::FloorError;
use crate::pod::VAULT;

/// How many connections stand in for one where there is no HTTP/2.
const HTTP1_CONNECTIONS: usize = 32;

const LOGIN: &str = "login.microsoftonline.com";
const CLIENT: &str = "f100f100-1f15-4f03-9fb4-b546f51aafe9";
const CLIENT_SECRET: &str = "floor";

type Sender1 = http1::SendRequest<Full<Bytes>>;
type Sender2 = http2::SendRequest<Full<Bytes>>;

/// Connections to the vault.
#[derive(Debug)]
enum Connections {
    One(Sender2),
    /// Each is used by one request at a time; the lock's queue is fair.
    Several(Vec<Mutex<Sender1>>),
}

/// A client with a token and open connections.
#[derive(Debug)]
pub struct Floor {
    connections: Connections,
    authorization: String,
}

impl Floor {
    /// Connects to the emulator and gets a token.
    pub async fn connect(azure: &Emulator, protocol: Protocol) -> Result<Self, FloorError> {
        azure
            .entra()
            .application(DEFAULT_TENANT, CLIENT)
            .with_secret(CLIENT_SECRET);
        let dialer = Dialer::new(azure)?;
        let authorization = format!("Bearer {}", dialer.token().await?);
        let host = format!("{VAULT}.vault.azure.net");
        let connections = match protocol {
            Protocol::Http2 => {
                let stream = dialer.dial(&host, b"h2").await?;
                let (sender, connection) =
                    http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
                tokio::spawn(connection);
                Connections::One(sender)
            }
            Protocol::Http1 => {
                let dials = (0..HTTP1_CONNECTIONS).map(|_| dialer.http1(&host));
                let senders = try_join_all(dials).await?;
                Connections::Several(senders.into_iter().map(Mutex::new).collect())
            }
        };
        Ok(Self {
            connections,
            authorization,
        })
    }

    /// Asks for everything that the work needs from the vault, in as few round trips as it allows.
    pub async fn run(&self, work: &Work) -> Result<Duration, FloorError> {
        let started = Instant::now();
        let lists: Vec<String> = match work.objects.secrets.versions() {
            1 => Vec::new(),
            _ => work
                .objects
                .names()
                .map(|name| name + "/versions")
                .collect(),
        };
        let objects: Vec<String> = work
            .objects
            .names()
            .flat_map(|name| std::iter::repeat_n(name, work.objects.secrets.versions()))
            .collect();
        try_join_all((0..work.pods).map(|pod| {
            let (lists, objects) = (&lists, &objects);
            async move {
                for _ in 0..work.times {
                    self.get_all(pod, lists).await?;
                    self.get_all(pod, objects).await?;
                }
                Ok::<_, FloorError>(())
            }
        }))
        .await?;
        Ok(started.elapsed())
    }

    async fn get_all(&self, pod: usize, secrets: &[String]) -> Result<(), FloorError> {
        let gets = secrets.iter().enumerate().map(|(number, secret)| {
            // Spread over the connections, whoever asks.
            self.get(pod * secrets.len() + number, secret)
        });
        try_join_all(gets).await.map(drop)
    }

    async fn get(&self, number: usize, secret: &str) -> Result<(), FloorError> {
        let path = format!("/secrets/{secret}?api-version=7.5");
        let host = format!("{VAULT}.vault.azure.net");
        let request = Request::builder().header(AUTHORIZATION, &self.authorization);
        let nothing = Full::default();
        match &self.connections {
            Connections::One(sender) => {
                let request = request.uri(format!("https://{host}{path}")).body(nothing)?;
                finish(sender.clone().send_request(request), path).await
            }
            Connections::Several(senders) => {
                let request = request.uri(&path).header(HOST, host).body(nothing)?;
                let mut sender = senders[number % senders.len()].lock().await;
                sender.ready().await?;
                finish(sender.send_request(request), path).await
            }
        }
        .map(drop)
    }
}

/// Waits for a good answer, and reads it.
async fn finish<A>(answer: A, path: String) -> Result<Bytes, FloorError>
where
    A: Future<Output = hyper::Result<Response<Incoming>>>,
{
    let answer = answer.await?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    if status == StatusCode::OK {
        Ok(body)
    } else {
        Err(FloorError::Refused { path, status })
    }
}

struct Dialer {
    address: SocketAddr,
    roots: Arc<RootCertStore>,
}

impl Dialer {
    fn new(azure: &Emulator) -> Result<Self, FloorError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(azure.ca_pem().as_bytes()) {
            roots.add(certificate.map_err(std::io::Error::other)?)?;
        }
        Ok(Self {
            address: azure.https_addr(),
            roots: Arc::new(roots),
        })
    }

    async fn dial(&self, host: &str, protocol: &[u8]) -> Result<TlsStream<TcpStream>, FloorError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut settings = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        settings.alpn_protocols = vec![protocol.to_vec()];
        let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let connector = TlsConnector::from(Arc::new(settings));
        Ok(connector.connect(name, stream).await?)
    }

    async fn http1(&self, host: &str) -> Result<Sender1, FloorError> {
        let stream = self.dial(host, b"http/1.1").await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }

    async fn token(&self) -> Result<String, FloorError> {
        let path = format!("/{DEFAULT_TENANT}/oauth2/v2.0/token");
        let form = format!(
            "grant_type=client_credentials&client_id={CLIENT}&client_secret={CLIENT_SECRET}\
             &scope=https://vault.azure.net/.default"
        );
        let request = Request::post(&path)
            .header(HOST, LOGIN)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::from(form))?;
        let mut sender = self.http1(LOGIN).await?;
        let body = finish(sender.send_request(request), path).await?;
        let body: Value = serde_json::from_slice(&body).map_err(std::io::Error::other)?;
        Ok(body["access_token"].as_str().unwrap_or_default().to_owned())
    }
}
