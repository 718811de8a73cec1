//! Identity bindings: the token proxy of an AKS cluster in place of Entra ID.

use std::net::SocketAddr;
use std::time::Duration;

use azure_emulator::{
    API_SERVER, DEFAULT_TENANT, Effect, Emulator, IDENTITY_BINDING_AUDIENCE, Permissions, Settings,
    TOKEN_EXCHANGE_AUDIENCE, Target,
};
use futures::future::join_all;
use tokio::net::{TcpListener, TcpStream};
use tonic::Code;

use crate::support::class::Class;
use crate::support::provider::PATIENCE;
use crate::support::{Node, TENANT, expect_status, files};

const APP: &str = "9b1d7f0e-0000-4000-8000-000000000001";
const HOUR: Duration = Duration::from_secs(3600);

/// How the provider of a test is told of the token proxy.
enum Told {
    /// Its URL and its name.
    Name,
    /// The API server's address and port, as the kubelet tells them.
    ApiServer,
    /// The same with another port than the token proxy's.
    ApiServerAt(u16),
}

/// A node of an AKS cluster with an application that the service account `chat`/`chat` is bound to.
async fn node(told: &Told, more: &[&str]) -> Node {
    node_of(Settings::default(), told, more).await
}

async fn node_of(settings: Settings, told: &Told, more: &[&str]) -> Node {
    let azure = Emulator::start(settings).await.unwrap();
    let flags = match told {
        Told::Name => vec![
            format!("--token-proxy-url={}", azure.token_proxy_url()),
            format!("--sni-name={}", azure.token_proxy_server_name().unwrap()),
        ],
        Told::ApiServer => in_cluster(&azure, azure.token_proxy_addr().port()),
        Told::ApiServerAt(port) => in_cluster(&azure, *port),
    };
    let flags: Vec<_> = flags
        .iter()
        .map(String::as_str)
        .chain(more.iter().copied())
        .collect();
    let node = Node::start_beside(azure, &flags).await;
    let app = node
        .azure
        .entra()
        .application(DEFAULT_TENANT, APP)
        .with_identity_binding("chat", "chat");
    node.vault.grant(&app.object_id(), Permissions::read());
    node.vault.set_secret("S", "v");
    node
}

/// What holds in every cluster, but for the ports.
fn in_cluster(azure: &Emulator, api_server_port: u16) -> Vec<String> {
    let address = azure.token_proxy_addr();
    vec![
        format!("--token-proxy-url=https://{API_SERVER}:{}", address.port()),
        format!("--kubernetes-service-host={}", address.ip()),
        format!("--kubernetes-service-port={api_server_port}"),
    ]
}

fn class() -> Class {
    Class::of_secret("S")
        .without("userAssignedIdentityID")
        .with("useAzureTokenProxy", "true")
        .with("clientID", APP)
}

/// A class that uses an identity binding, mounted by a pod of the service account `chat`/`name`.
fn of_pod(node: &Node, name: &str) -> Class {
    let token = node
        .azure
        .service_account_token("chat", name, IDENTITY_BINDING_AUDIENCE, HOUR);
    class().token(IDENTITY_BINDING_AUDIENCE, &token)
}

/// The paths that the token proxy was asked for, as which server and host.
fn asked(node: &Node) -> Vec<(String, String, String)> {
    let name = node.azure.token_proxy_server_name().unwrap();
    let requests = node.azure.counters().requests();
    requests
        .into_iter()
        .filter(|request| request.server_name.as_deref() == Some(name))
        .map(|request| (request.method, request.host, request.path))
        .collect()
}

#[tokio::test]
async fn a_pod_gets_its_files_by_the_named_token_proxy() {
    let node = node(&Told::Name, &[]).await;
    let class = of_pod(&node, "chat");
    for _ in 0..3 {
        let mounted = node.mount(&class).await.unwrap();
        assert_eq!(files(&mounted), [("S", 0o644, "v")]);
    }
    // One token for all, asked for as Entra ID would be, and the URL's host is the request's.
    let path = format!("/{TENANT}/oauth2/v2.0/token");
    let expected = ("POST".to_owned(), "127.0.0.1".to_owned(), path);
    assert_eq!(asked(&node), [expected]);
    let counts = node.azure.counters().snapshot();
    assert_eq!((counts.entra.requests, counts.imds.requests), (0, 0));
    assert!(!counts.connections.tls_by_host.contains_key(API_SERVER));
    // The vault is asked through the proxy, and nobody else.
    assert_eq!(counts.connections.tunnels, 1);
    assert!(counts.connections.refused.is_empty(), "{counts:?}");
}

#[tokio::test]
async fn the_token_proxys_name_is_found_out_by_the_first_who_needs_it() {
    let node = node(&Told::ApiServer, &[]).await;
    node.mount(&Class::of_secret("S")).await.unwrap();
    let handshakes = || {
        let connections = node.azure.counters().snapshot().connections;
        connections.tls_by_host.get(API_SERVER).copied()
    };
    assert_eq!(handshakes(), None);
    // Twenty pods at once: twenty tokens, and one look at the API server's certificate.
    let classes: Vec<_> = (0..20).map(|_| of_pod(&node, "chat")).collect();
    for mounted in join_all(classes.iter().map(|class| node.mount(class))).await {
        assert_eq!(files(&mounted.unwrap()), [("S", 0o644, "v")]);
    }
    assert_eq!(handshakes(), Some(1));
    let asked = asked(&node);
    assert!(asked.iter().all(|(_, host, _)| host == API_SERVER));
    assert_eq!(asked.len(), 20);
    let counts = node.azure.counters().snapshot();
    assert_eq!(counts.entra.requests, 0);
    assert!(counts.connections.refused.is_empty(), "{counts:?}");
}

#[tokio::test]
async fn a_failed_search_is_made_again_by_the_next_mount() {
    let port = free_port();
    let node = node(&Told::ApiServerAt(port), &[]).await;
    let words = [
        "[TOKEN_PROXY_UNREACHABLE] the AKS token proxy gave no token: the API server does not tell the cluster's ID: no \
         connection to kubernetes.default.svc.cluster.local",
        "--sni-name",
        "identity binding enabled",
    ];
    expect_status(
        node.mount(&of_pod(&node, "chat")).await,
        Code::FailedPrecondition,
        &words,
    );
    // The API server comes back.
    tokio::spawn(forward(port, node.azure.token_proxy_addr()));
    let found = async {
        // Until it listens.
        while node.mount(&of_pod(&node, "chat")).await.is_err() {}
    };
    tokio::time::timeout(PATIENCE, found).await.unwrap();
}

/// Listens on a port of loopback and passes every connection on.
async fn forward(port: u16, to: SocketAddr) {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    loop {
        let (mut from, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let mut to = TcpStream::connect(to).await.unwrap();
            tokio::io::copy_bidirectional(&mut from, &mut to).await
        });
    }
}

#[tokio::test]
async fn a_cluster_that_is_not_aks_is_said_to_be_none() {
    let settings = Settings {
        cluster_id: None,
        ..Settings::default()
    };
    let node = node_of(settings, &Told::ApiServer, &[]).await;
    let words = [
        "[TOKEN_PROXY_UNREACHABLE] ",
        "it has no name hcp-kubernetes.ID.svc.cluster.local",
        "run the provider in an AKS cluster",
        "--sni-name",
    ];
    expect_status(
        node.mount(&of_pod(&node, "chat")).await,
        Code::FailedPrecondition,
        &words,
    );
}

#[tokio::test]
async fn a_token_proxy_that_is_down_is_named() {
    let url = format!("--token-proxy-url=https://127.0.0.1:{}", free_port());
    let node = Node::start_with(&[&url, "--sni-name=a0.ests.aks"]).await;
    let words = [
        "[TOKEN_PROXY_UNREACHABLE] the AKS token proxy gave no token: no connection to 127.0.0.1:",
        "(in TLS a0.ests.aks)",
        "Fix: ",
        "--sni-name",
    ];
    expect_status(
        node.mount(&of_pod(&node, "chat")).await,
        Code::FailedPrecondition,
        &words,
    );
    // Nobody else needs it.
    node.vault.set_secret("S", "v");
    node.mount(&Class::of_secret("S")).await.unwrap();
}

#[tokio::test]
async fn a_cluster_has_its_own_ca_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.crt");
    let flag = format!("--token-proxy-ca-file={}", ca.display());
    let node = node(&Told::Name, &[&flag]).await;
    let class = of_pod(&node, "chat");
    let words = [
        "[TLS_NOT_TRUSTED] ",
        &ca.display().to_string(),
        "--token-proxy-ca-file",
    ];
    expect_status(node.mount(&class).await, Code::FailedPrecondition, &words);
    // Of another cluster: that the emulator's CA is trusted otherwise does not help.
    let other = Emulator::start(Settings::default()).await.unwrap();
    std::fs::write(&ca, other.ca_pem()).unwrap();
    let words = [
        "[TLS_NOT_TRUSTED] ",
        "it is not signed by the trusted issuer",
    ];
    expect_status(node.mount(&class).await, Code::FailedPrecondition, &words);
    // The right one counts without a restart, as when the kubelet brings a rotated one.
    std::fs::write(&ca, node.azure.ca_pem()).unwrap();
    node.mount(&class).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_a_binding_is_refused_before_anybody_is_asked() {
    let node = node(&Told::ApiServer, &[]).await;
    let token = node
        .azure
        .service_account_token("chat", "chat", TOKEN_EXCHANGE_AUDIENCE, HOUR);
    let words = [
        "[TOKEN_AUDIENCE_MISSING] ",
        IDENTITY_BINDING_AUDIENCE,
        "kubectl patch csidriver",
        r#"{"audience":"api://AKSIdentityBinding"}"#,
    ];
    for class in [class().token(TOKEN_EXCHANGE_AUDIENCE, &token), class()] {
        expect_status(node.mount(&class).await, Code::InvalidArgument, &words);
    }
    let words = ["[INVALID_PARAMETER] clientID: ", "useAzureTokenProxy"];
    expect_status(
        node.mount(&of_pod(&node, "chat").without("clientID")).await,
        Code::InvalidArgument,
        &words,
    );
    assert_eq!(node.azure.counters().snapshot().connections.tcp, 0);
}

#[tokio::test]
async fn a_pod_of_another_service_account_gets_nothing() {
    let node = node(&Told::Name, &[]).await;
    node.mount(&of_pod(&node, "chat")).await.unwrap();
    let words = [
        "[ENTRA_NO_FEDERATED_CREDENTIAL] Entra ID refused a token to client 9b1d7f0e… (identity binding)",
        "az aks identity-binding create",
        "let system:serviceaccount:chat:stranger use it",
        "use-managed-identity",
    ];
    expect_status(
        node.mount(&of_pod(&node, "stranger")).await,
        Code::Unauthenticated,
        &words,
    );
}

#[tokio::test]
async fn a_workload_identity_of_the_same_client_has_a_token_of_its_own() {
    let node = node(&Told::Name, &[]).await;
    node.mount(&of_pod(&node, "chat")).await.unwrap();
    let token = node
        .azure
        .service_account_token("chat", "chat", TOKEN_EXCHANGE_AUDIENCE, HOUR);
    let workload = class()
        .without("useAzureTokenProxy")
        .token(TOKEN_EXCHANGE_AUDIENCE, &token);
    // Entra ID knows of no federated credential: the binding's token does not help.
    let words = ["[ENTRA_NO_FEDERATED_CREDENTIAL] ", "(workload identity)"];
    expect_status(node.mount(&workload).await, Code::Unauthenticated, &words);
    node.azure
        .entra()
        .application(DEFAULT_TENANT, APP)
        .with_service_account("chat", "chat");
    node.mount(&workload).await.unwrap();
    node.mount(&of_pod(&node, "chat")).await.unwrap();
    let counters = node.azure.counters();
    assert_eq!(counters.entra().tokens_issued[APP], 1);
    assert_eq!(counters.token_proxy().tokens_issued[APP], 2);
}

#[tokio::test]
async fn the_token_proxys_own_words_are_told_from_entra_ids() {
    let node = node(&Told::Name, &["--log-level", "trace"]).await;
    let class = of_pod(&node, "chat");
    let status = serde_json::json!({ "kind": "Status", "message": "forbidden", "code": 403 });
    for (effect, code, words) in [
        (
            Effect::json(403, &status),
            Code::Unauthenticated,
            [
                "[TOKEN_PROXY_REFUSED] the AKS token proxy gave no token to client 9b1d7f0e… (identity binding)",
                "az aks identity-binding create",
            ],
        ),
        (
            Effect::html(502, "<html>"),
            Code::FailedPrecondition,
            ["[TOKEN_PROXY_FAILED] ", "HTML page"],
        ),
        (
            Effect::error(503),
            Code::FailedPrecondition,
            ["[ENTRA_UNAVAILABLE] ", "AADSTS"],
        ),
    ] {
        node.azure.faults().always(Target::token_proxy(), effect);
        expect_status(node.mount(&class).await, code, &words);
        node.azure.faults().clear();
    }
    node.mount(&class).await.unwrap();
    // Whatever is logged, no token is: every one begins like this.
    let log = node.provider.log();
    assert!(log.contains("TRACE") && !log.contains("eyJ"), "{log}");
}

/// A port that nobody listens on.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
