//! [`ApiServer`], as much of a Kubernetes API server as the provider asks: statuses of volumes that a test sets, and
//! events, which it judges as `events.k8s.io/v1` does.
//!
//! The provider's own tests have it too (`src/cluster/tests.rs`), so it uses nothing else of this folder.

// Each of the two uses a part of it.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use parking_lot::{Mutex, MutexGuard};
use rcgen::{CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// How long anything in a test may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(30);
/// The token that is accepted at first.
const TOKEN: &str = "service-account-token";
/// What may be written of an event, and must be.
const FIELDS: [&str; 10] = [
    "metadata",
    "eventTime",
    "reportingController",
    "reportingInstance",
    "action",
    "reason",
    "regarding",
    "note",
    "type",
    "series",
];

/// An API server. Ended with this value.
pub struct ApiServer {
    address: SocketAddr,
    ca_pem: String,
    client: (String, String),
    state: Arc<Mutex<State>>,
    accepting: JoinHandle<()>,
}

/// What it does instead of answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing, for ever.
    Hang,
    /// It answers with this status.
    Answer(u16),
    /// It answers 429 and wants to be left alone for so many seconds.
    Throttle(u64),
    /// It does what it is asked, and answers 500.
    LoseAnswer,
}

/// A request that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub method: String,
    pub path: String,
}

/// An event, as `kubectl describe pod` reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub namespace: String,
    pub name: String,
    pub pod: String,
    pub uid: String,
    /// `Normal` or `Warning`.
    pub kind: String,
    pub reason: String,
    pub note: String,
    /// The node.
    pub instance: String,
    /// How often it was seen.
    pub count: u64,
    pub first: String,
    pub last: String,
}

#[derive(Default)]
struct State {
    token: String,
    statuses: BTreeMap<String, Value>,
    /// By their paths; in the order of their making, by `order`.
    events: BTreeMap<String, Value>,
    order: Vec<String>,
    requests: Vec<Seen>,
    connections: usize,
    /// The verb that the RBAC of the cluster lacks.
    lacking: Option<&'static str>,
    /// For which method, and how many more times.
    faults: Vec<(Option<&'static str>, usize, Fault)>,
}

impl ApiServer {
    pub async fn start() -> Self {
        let ca = ca();
        let state = State {
            token: TOKEN.to_owned(),
            ..State::default()
        };
        let state = Arc::new(Mutex::new(state));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(tls(&ca)));
        let accepting = tokio::spawn(accept(listener, acceptor, Arc::clone(&state)));
        let (certificate, key) = issue(&ca, "node-1", ExtendedKeyUsagePurpose::ClientAuth);
        Self {
            address,
            ca_pem: ca.pem(),
            client: (certificate.pem(), key.serialize_pem()),
            state,
            accepting,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// A certificate that it accepts in place of a token, and its key.
    pub fn client_certificate(&self) -> (&str, &str) {
        (&self.client.0, &self.client.1)
    }

    /// The token that it accepts.
    pub fn token(&self) -> String {
        self.state().token.clone()
    }

    /// Accepts this token from now on, and no other.
    pub fn set_token(&self, token: &str) {
        token.clone_into(&mut self.state().token);
    }

    /// Writes a kubeconfig file with its CA and token.
    pub fn kubeconfig(&self, folder: &Path) -> PathBuf {
        std::fs::write(folder.join("api-server-ca.crt"), &self.ca_pem).unwrap();
        let file = folder.join("kubeconfig");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {
                "server": format!("https://{}", self.address),
                "certificate-authority": "api-server-ca.crt",
            }}],
            "users": [{"name": "u", "user": {"token": self.token()}}],
        });
        std::fs::write(&file, config.to_string()).unwrap();
        file
    }

    /// What the driver writes after the files of a volume; objects by ID and version.
    pub fn set_status(
        &self,
        (namespace, pod, uid): (&str, &str, &str),
        class: &str,
        target_path: &str,
        objects: &[(&str, &str)],
    ) {
        let objects: Vec<_> = objects
            .iter()
            .map(|(id, version)| json!({"id": id, "version": version}))
            .collect();
        let name = format!("{pod}-{namespace}-{class}");
        let status = json!({
            "apiVersion": "secrets-store.csi.x-k8s.io/v1", "kind": "SecretProviderClassPodStatus",
            "metadata": {
                "name": name, "namespace": namespace,
                "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid}],
            },
            "status": {
                "podName": pod, "secretProviderClassName": class, "mounted": true,
                "targetPath": target_path, "objects": objects,
            },
        });
        let path = format!(
            "/apis/secrets-store.csi.x-k8s.io/v1/namespaces/{namespace}/secretproviderclasspodstatuses/{name}"
        );
        self.state().statuses.insert(path, status);
    }

    /// All statuses were written years ago.
    pub fn age_statuses(&self) {
        for status in self.state().statuses.values_mut() {
            let write =
                json!({"manager": "driver", "operation": "Update", "time": "2001-01-01T00:00:00Z"});
            status["metadata"]["managedFields"] = json!([write]);
        }
    }

    /// There is no status any more.
    pub fn remove_statuses(&self) {
        self.state().statuses.clear();
    }

    /// The events that there are, in the order of their making.
    pub fn events(&self) -> Vec<Event> {
        let state = self.state();
        let events = state.order.iter().filter_map(|path| state.events.get(path));
        events.map(Event::read).collect()
    }

    /// The same once there are so many.
    pub async fn events_once_there_are(&self, count: usize) -> Vec<Event> {
        self.once(|server| server.events().len() >= count).await;
        self.events()
    }

    /// Waits until this holds.
    pub async fn once(&self, holds: impl Fn(&Self) -> bool) {
        let waiting = async {
            while !holds(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        assert!(waited.is_ok(), "{:#?}", self.events());
    }

    /// Events expire.
    pub fn forget_events(&self) {
        let mut state = self.state();
        state.events.clear();
        state.order.clear();
    }

    /// The requests that came, refused ones too.
    pub fn requests(&self) -> Vec<Seen> {
        self.state().requests.clone()
    }

    pub fn connections(&self) -> usize {
        self.state().connections
    }

    /// Does this at the next so many requests, of one method or of all.
    pub fn fail(&self, times: usize, method: Option<&'static str>, fault: Fault) {
        self.state().faults.push((method, times, fault));
    }

    /// Says, when asked for rights, that there is none for this verb.
    pub fn take_right(&self, verb: &'static str) {
        self.state().lacking = Some(verb);
    }

    /// There are no faults any more. Whoever hangs goes on to.
    pub fn mend(&self) {
        self.state().faults.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Event {
    fn read(event: &Value) -> Self {
        let text = |path: &str| event.pointer(path).and_then(Value::as_str);
        let text = |path: &str| text(path).unwrap_or_default().to_owned();
        let series = event.pointer("/series/count").and_then(Value::as_u64);
        Self {
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name"),
            pod: text("/regarding/name"),
            uid: text("/regarding/uid"),
            kind: text("/type"),
            reason: text("/reason"),
            note: text("/note"),
            instance: text("/reportingInstance"),
            count: series.unwrap_or(1),
            first: text("/eventTime"),
            last: match series {
                Some(_) => text("/series/lastObservedTime"),
                None => text("/eventTime"),
            },
        }
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, state: Arc<Mutex<State>>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
        connections.spawn(async move {
            _ = stream.set_nodelay(true);
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            state.lock().connections += 1;
            let has_certificate = stream.get_ref().1.peer_certificates().is_some();
            let service = service_fn(|request| {
                let state = Arc::clone(&state);
                async move { Ok::<_, Infallible>(answer(&state, request, has_certificate).await) }
            });
            let builder = auto::Builder::new(TokioExecutor::new());
            _ = builder
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    state: &Mutex<State>,
    request: Request<Incoming>,
    has_certificate: bool,
) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let (method, path) = (head.method.as_str(), head.uri.path().to_owned());
    let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
    let fault = {
        let mut state = state.lock();
        state.requests.push(Seen {
            method: method.to_owned(),
            path: path.clone(),
        });
        let bearer = format!("Bearer {}", state.token);
        if !has_certificate && header("authorization") != Some(&bearer) {
            return failure(401, "Unauthorized");
        }
        let mut faults = state.faults.iter_mut();
        let fault = faults.find(|(of, left, _)| *left > 0 && of.is_none_or(|of| of == method));
        fault.map(|(_, left, fault)| {
            *left -= 1;
            *fault
        })
    };
    match fault {
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Answer(status)) => return failure(status, "a fault of the test"),
        Some(Fault::Throttle(seconds)) => {
            let mut answer = failure(429, "too many requests");
            let headers = answer.headers_mut();
            headers.insert("retry-after", seconds.into());
            return answer;
        }
        Some(Fault::LoseAnswer) | None => {}
    }
    let mut state = state.lock();
    let place = path.strip_prefix("/apis/events.k8s.io/v1/namespaces/");
    let place = place.and_then(|rest| rest.split_once('/'));
    let kind = header("content-type").unwrap_or_default();
    let result = match (method, place) {
        ("GET", None) if path.contains("/secretproviderclasspodstatuses/") => {
            let found = state.statuses.get(&path).cloned();
            found.ok_or((404, "not found".to_owned()))
        }
        ("POST", Some((namespace, "events"))) if kind == "application/json" => {
            state.create(&path, namespace, &body)
        }
        ("PATCH", Some((_, name)))
            if name.starts_with("events/") && kind == "application/merge-patch+json" =>
        {
            state.patch(&path, &body)
        }
        ("POST", None) if path == "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews" => {
            Ok(state.review(&body))
        }
        // No rights on anything else.
        _ => Err((403, format!("cannot {method} {path}"))),
    };
    if fault == Some(Fault::LoseAnswer) {
        return failure(500, "a fault of the test");
    }
    match result {
        Ok(object) => response(if method == "POST" { 201 } else { 200 }, &object),
        Err((status, message)) => failure(status, &message),
    }
}

impl State {
    /// What RBAC says of a right.
    fn review(&self, body: &[u8]) -> Value {
        let review: Value = serde_json::from_slice(body).unwrap();
        let wanted = &review["spec"]["resourceAttributes"];
        let right = ["verb", "group", "resource"].map(|part| wanted[part].as_str().unwrap());
        let has = matches!(
            right,
            ["create" | "patch", "events.k8s.io", "events"]
                | [
                    "get",
                    "secrets-store.csi.x-k8s.io",
                    "secretproviderclasspodstatuses"
                ]
        );
        json!({"status": {"allowed": has && self.lacking != Some(right[0])}})
    }

    fn create(&mut self, path: &str, namespace: &str, body: &[u8]) -> Result<Value, (u16, String)> {
        let event: Value =
            serde_json::from_slice(body).map_err(|error| (400, error.to_string()))?;
        if event["metadata"]["namespace"] != namespace || event["apiVersion"] != "events.k8s.io/v1"
        {
            return Err((400, "another namespace or API".to_owned()));
        }
        judge(&event).map_err(|message| (422, message))?;
        let name = event["metadata"]["name"].as_str().unwrap_or_default();
        let path = format!("{path}/{name}");
        if self.events.contains_key(&path) {
            return Err((409, format!("events \"{name}\" already exists")));
        }
        self.order.push(path.clone());
        self.events.insert(path, event.clone());
        Ok(event)
    }

    fn patch(&mut self, path: &str, body: &[u8]) -> Result<Value, (u16, String)> {
        let changes: Value =
            serde_json::from_slice(body).map_err(|error| (400, error.to_string()))?;
        let event = self.events.get_mut(path);
        let event = event.ok_or_else(|| (404, format!("{path} not found")))?;
        let mut patched = event.clone();
        for (field, value) in changes.as_object().into_iter().flatten() {
            if field != "series" {
                return Err((422, format!("{field}: field is immutable")));
            }
            patched[field] = value.clone();
        }
        judge(&patched).map_err(|message| (422, message))?;
        event.clone_from(&patched);
        Ok(patched)
    }
}

/// Refuses what `pkg/apis/core/validation/events.go` of Kubernetes v1.34 refuses, and fields that there are not.
fn judge(event: &Value) -> Result<(), String> {
    let fields = event.as_object().ok_or("no map")?.keys();
    let unknown = fields.filter(|field| !FIELDS.contains(&field.as_str()));
    let unknown: Vec<_> = unknown
        .filter(|field| !["apiVersion", "kind"].contains(&field.as_str()))
        .collect();
    if !unknown.is_empty() {
        return Err(format!("unknown fields: {unknown:?}"));
    }
    let text = |path: &str| event.pointer(path).and_then(Value::as_str).unwrap_or("");
    for (path, max) in [
        ("/reportingController", 63),
        ("/reportingInstance", 128),
        ("/action", 128),
        ("/reason", 128),
        ("/note", 1024),
    ] {
        let length = text(path).len();
        if length == 0 || length > max {
            return Err(format!("{path}: must have 1 to {max} bytes"));
        }
    }
    if !["Normal", "Warning"].contains(&text("/type")) {
        return Err("type has invalid value".to_owned());
    }
    let name = text("/metadata/name");
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
    if name.is_empty()
        || name.len() > 253
        || !name.chars().all(fits)
        || name
            .split('.')
            .any(|part| part.is_empty() || part.starts_with('-') || part.ends_with('-'))
    {
        return Err(format!("metadata.name: {name}"));
    }
    if text("/regarding/namespace") != text("/metadata/namespace") {
        return Err("involvedObject.namespace: does not match event.namespace".to_owned());
    }
    // What `kubectl describe pod` selects events by.
    if text("/regarding/kind") != "Pod" || text("/regarding/apiVersion") != "v1" {
        return Err("regarding is no pod".to_owned());
    }
    micro_time(text("/eventTime"))?;
    if let Some(series) = event.get("series") {
        micro_time(text("/series/lastObservedTime"))?;
        if series["count"].as_u64().is_none_or(|count| count < 2) {
            return Err("series.count: should be at least 2".to_owned());
        }
    }
    Ok(())
}

/// As Go reads `2006-01-02T15:04:05.000000Z07:00`.
fn micro_time(text: &str) -> Result<(), String> {
    let shape: String = text
        .chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect();
    if shape == "0000-00-00T00:00:00.000000Z" {
        return Ok(());
    }
    Err(format!("no time with microseconds: {text:?}"))
}

fn response(status: u16, body: &Value) -> Response<Full<Bytes>> {
    let answer = Response::builder().status(status);
    let answer = answer.header("content-type", "application/json");
    answer.body(Full::from(body.to_string())).unwrap()
}

fn failure(status: u16, message: &str) -> Response<Full<Bytes>> {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "code": status,
        "reason": if status == 409 { "AlreadyExists" } else { "" },
    });
    response(status, &body)
}

fn ca() -> CertifiedIssuer<'static, KeyPair> {
    let mut parameters = CertificateParams::default();
    let name = &mut parameters.distinguished_name;
    name.push(DnType::CommonName, "kubernetes");
    parameters.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
}

fn issue(
    ca: &CertifiedIssuer<'static, KeyPair>,
    name: &str,
    usage: ExtendedKeyUsagePurpose,
) -> (rcgen::Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let names = vec![
        name.to_owned(),
        "localhost".to_owned(),
        "127.0.0.1".to_owned(),
    ];
    let mut parameters = CertificateParams::new(names).unwrap();
    parameters.extended_key_usages = vec![usage];
    let certificate = parameters.signed_by(&key, ca).unwrap();
    (certificate, key)
}

fn tls(ca: &CertifiedIssuer<'static, KeyPair>) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::clone(ca.der())).unwrap();
    let clients =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .unwrap();
    let (certificate, key) = issue(ca, "kubernetes", ExtendedKeyUsagePurpose::ServerAuth);
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients)
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    tls
}
