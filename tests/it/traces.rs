//! Spans of mounts, as a collector gets them. Only with the feature `otlp`.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use parking_lot::Mutex;
use prost::Message;
use rustix::process::Signal;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic_prost::ProstCodec;

use crate::support::class::Class;
use crate::support::http::{free_port, get_once_served};
use crate::support::{Node, VAULT};

/// As much of `opentelemetry/proto/collector/trace/v1/trace_service.proto` as is looked at.
#[derive(Clone, PartialEq, Message)]
struct Export {
    #[prost(message, repeated, tag = "1")]
    resources: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(bytes, tag = "1")]
    trace: Vec<u8>,
    #[prost(bytes, tag = "2")]
    id: Vec<u8>,
    #[prost(bytes, tag = "4")]
    parent: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<Attribute>,
    #[prost(bytes, repeated, tag = "11")]
    events: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct Attribute {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(string, optional, tag = "1")]
    text: Option<String>,
    #[prost(int64, optional, tag = "3")]
    number: Option<i64>,
}

impl Span {
    fn attribute(&self, key: &str) -> Option<String> {
        let attribute = self.attributes.iter().find(|known| known.key == key)?;
        let value = attribute.value.clone()?;
        value.text.or(value.number.map(|number| number.to_string()))
    }
}

#[derive(Clone, PartialEq, Message)]
struct Exported {}

/// A collector, and what it got.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Export>>>);

impl Collector {
    fn serve() -> (Self, String) {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
        let collector = Self::default();
        let server = tonic::transport::Server::builder().add_service(collector.clone());
        tokio::spawn(server.serve(address));
        (collector, format!("http://{address}"))
    }

    fn exports(&self) -> Vec<Export> {
        self.0.lock().clone()
    }

    fn spans(&self) -> Vec<Span> {
        let resources = self
            .exports()
            .into_iter()
            .flat_map(|export| export.resources);
        let scopes = resources.flat_map(|resource| resource.scopes);
        scopes.flat_map(|scope| scope.spans).collect()
    }
}

impl NamedService for Collector {
    const NAME: &'static str = "opentelemetry.proto.collector.trace.v1.TraceService";
}

impl Service<http::Request<Body>> for Collector {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let collector = self.clone();
        Box::pin(async move {
            let codec = ProstCodec::<Exported, Export>::default();
            Ok(Grpc::new(codec).unary(collector, request).await)
        })
    }
}

impl UnaryService<Export> for Collector {
    type Response = Exported;
    type Future = Ready<Result<tonic::Response<Exported>, tonic::Status>>;

    fn call(&mut self, request: tonic::Request<Export>) -> Self::Future {
        self.0.lock().push(request.into_inner());
        ready(Ok(tonic::Response::new(Exported {})))
    }
}

#[tokio::test]
async fn a_collector_gets_mounts_with_their_parts_and_the_metrics_name_them() {
    let (collector, endpoint) = Collector::serve();
    let port = free_port();
    let flags = [
        format!("--otlp-endpoint={endpoint}"),
        format!("--prometheus-port={port}"),
        "--log-level=trace".to_owned(),
    ];
    let mut node = Node::start_with(&flags.each_ref().map(String::as_str)).await;
    node.vault.set_secret("S", "value-canary");
    node.mount(&Class::of_secret("S")).await.unwrap();
    _ = node.mount(&Class::of_secret("gone")).await;
    let page = get_once_served(port, "/metrics").await;
    // What is left is sent at the end.
    node.provider.signal(Signal::TERM);
    assert!(node.provider.ended().await.success());

    let spans = collector.spans();
    let of_name =
        |name: &str| -> Vec<&Span> { spans.iter().filter(|span| span.name == name).collect() };
    let mounts = of_name("mount");
    assert_eq!(mounts.len(), 2, "{spans:#?}");
    for (mount, code, reason) in [
        (mounts[0], "OK", None),
        (mounts[1], "NotFound", Some("KV_OBJECT_NOT_FOUND")),
    ] {
        assert!(mount.parent.is_empty(), "{mount:?}");
        for (key, value) in [
            ("k8s.namespace.name", Some("chat")),
            ("k8s.pod.name", Some("chat-backend-0")),
            ("class", Some("azure-kv-openai-secret")),
            ("identity", Some("managed identity")),
            ("vault", Some(VAULT)),
            ("code", Some(code)),
            ("reason", reason),
        ] {
            assert_eq!(mount.attribute(key).as_deref(), value, "{key}: {mount:#?}");
        }
        let inside = |name: &str, whole: &Span| -> Vec<Span> {
            let parts = of_name(name).into_iter();
            parts
                .filter(|part| part.parent == whole.id && part.trace == whole.trace)
                .cloned()
                .collect()
        };
        let sign_in = inside("sign_in", mount);
        assert_eq!(sign_in.len(), 1, "{spans:#?}");
        assert_eq!(inside("token", &sign_in[0]).len(), 1, "{spans:#?}");
        let objects = inside("objects", mount);
        let requests = inside("request", &objects[0]);
        let status = requests
            .last()
            .unwrap()
            .attribute("http.response.status_code");
        let expected = if code == "OK" { "200" } else { "404" };
        assert_eq!(status.as_deref(), Some(expected), "{requests:#?}");
    }
    // The token was asked for by the first of them.
    let imds = spans.iter().find(|span| {
        span.name == "request" && span.attribute("server.address").as_deref() == Some("127.0.0.1")
    });
    assert_eq!(imds.unwrap().trace, mounts[0].trace);

    let trace = mounts.iter().map(|mount| {
        let hex = |byte: &u8| format!("{byte:02x}");
        mount.trace.iter().map(hex).collect::<String>()
    });
    let exemplars: Vec<_> = trace
        .map(|id| format!(" # {{trace_id=\"{id}\"}} "))
        .collect();
    let shown = |line: &&str| {
        line.starts_with("provider_azure_rs_mount_duration_seconds_bucket")
            && exemplars.iter().any(|exemplar| line.contains(exemplar))
    };
    assert!(page.lines().any(|line| shown(&line)), "{page}");

    let name = "service.name";
    let exports = collector.exports();
    let resource = exports[0].resources[0].resource.clone().unwrap();
    let service = resource.attributes.iter().find(|known| known.key == name);
    let service = service.unwrap().value.clone().unwrap().text;
    assert_eq!(service.as_deref(), Some("provider-azure-rs"));
    assert!(
        spans.iter().all(|span| span.events.is_empty()),
        "{spans:#?}"
    );
    let sent = format!("{exports:?}");
    for secret in ["value-canary", "Bearer", "eyJ", "/secrets/"] {
        assert!(!sent.contains(secret), "{secret}");
    }
    let log = node.provider.log();
    for secret in ["value-canary", "Bearer ey"] {
        assert!(!log.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn without_a_collector_nothing_is_traced() {
    let port = free_port();
    let node = Node::start_with(&[&format!("--prometheus-port={port}")]).await;
    node.vault.set_secret("S", "v");
    node.mount(&Class::of_secret("S")).await.unwrap();
    assert!(!get_once_served(port, "/metrics").await.contains("trace_id"));
}
