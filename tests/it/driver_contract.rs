//! What the driver relies on besides `Mount`: `Version`, the health service, the socket.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use azure_emulator::{Effect, Target};
use provider_azure_rs::generated::v1alpha1::VersionRequest;
use rustix::process::Signal;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::support::class::Class;
use crate::support::http::{free_port, get, get_once_served};
use crate::support::provider::connect;
use crate::support::{Node, VAULT};

/// What the kubelet may ask.
const PROBES: [&str; 3] = ["/healthz", "/livez", "/readyz"];

#[tokio::test]
async fn the_version_is_the_contracts_and_ours() {
    let node = Node::start().await;
    let request = VersionRequest {
        version: "v1alpha1".into(),
    };
    let response = node
        .provider
        .client()
        .version(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(response.version, "v1alpha1");
    assert_eq!(response.runtime_name, "provider-azure-rs");
    assert_eq!(response.runtime_version, env!("CARGO_PKG_VERSION"));
}

#[tokio::test]
async fn health_is_served_for_the_process_and_the_service() {
    let node = Node::start().await;
    let mut client = HealthClient::new(connect(&node.provider.socket()).await);
    for service in ["", "v1alpha1.CSIDriverProvider"] {
        let request = HealthCheckRequest {
            service: service.into(),
        };
        let status = client.check(request).await.unwrap().into_inner().status;
        assert_eq!(status, i32::from(ServingStatus::Serving));
    }
    let request = HealthCheckRequest {
        service: "other".into(),
    };
    assert_eq!(
        client.check(request).await.unwrap_err().code(),
        tonic::Code::NotFound
    );
}

#[tokio::test]
async fn the_socket_is_for_its_owner_only() {
    let node = Node::start().await;
    let mode = std::fs::metadata(node.provider.socket())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn probes_are_answered_while_the_socket_is() {
    let port = free_port();
    let number = port.to_string();
    let node = Node::start_with(&["--healthz-port", &number, "--healthz-path", "/healthz"]).await;
    for path in PROBES {
        let answer = get_once_served(port, path).await;
        assert!(
            answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("ok"),
            "{path}: {answer}"
        );
    }
    assert!(
        get(port, "/other")
            .await
            .unwrap()
            .starts_with("HTTP/1.1 404")
    );
    std::fs::remove_file(node.provider.socket()).unwrap();
    for path in PROBES {
        let answer = get(port, path).await.unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 503") && answer.contains("nobody answers on the socket"),
            "{path}: {answer}"
        );
    }
}

#[tokio::test]
async fn probes_say_nothing_about_azure() {
    let port = free_port();
    let node = Node::start_with(&["--healthz-port", &port.to_string()]).await;
    node.azure
        .faults()
        .always(Target::vault(VAULT), Effect::error(503));
    node.mount(&Class::of_secret("S")).await.unwrap_err();
    for path in PROBES {
        let answer = get_once_served(port, path).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn a_provider_that_ends_is_alive_and_not_ready() {
    let port = free_port();
    let node = Node::start_with(&["--healthz-port", &port.to_string()]).await;
    get_once_served(port, "/readyz").await;
    node.vault.set_secret("S", "v");
    node.azure
        .faults()
        .always(Target::vault(VAULT), Effect::Hang);
    let mount = tokio::spawn({
        let (mut client, request) = (node.provider.client(), Class::of_secret("S").request());
        async move { client.mount(request).await }
    });
    while node.azure.counters().vault(VAULT).requests == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    node.provider.signal(Signal::TERM);
    while !get(port, "/readyz")
        .await
        .unwrap()
        .starts_with("HTTP/1.1 503")
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let answer = get(port, "/readyz").await.unwrap();
    assert!(
        answer.ends_with("stopping; mounts under way may end"),
        "{answer}"
    );
    let answer = get(port, "/livez").await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("ok, stopping"),
        "{answer}"
    );
    mount.abort();
}

#[tokio::test]
async fn the_go_providers_probe_may_have_the_path_of_another() {
    for path in ["/livez", "/readyz"] {
        let port = free_port();
        let flags = [
            format!("--healthz-port={port}"),
            format!("--healthz-path={path}"),
        ];
        let node = Node::start_with(&flags.each_ref().map(String::as_str)).await;
        for path in ["/livez", "/readyz"] {
            let answer = get_once_served(port, path).await;
            assert!(answer.starts_with("HTTP/1.1 200 OK"), "{path}: {answer}");
        }
        drop(node);
    }
}

#[tokio::test]
async fn a_ping_says_who_answers_and_fails_where_nobody_does() {
    let node = Node::start().await;
    let socket = node.provider.socket();
    let ping = || async {
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_provider-azure-rs"))
            .arg("ping")
            .env("PROVIDER_AZURE_RS_ENDPOINT", &socket)
            .output()
            .await
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            output.status.success(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let (well, said, _) = ping().await;
    let version = env!("CARGO_PKG_VERSION");
    let answers = format!("provider-azure-rs {version} answers v1alpha1\n");
    assert!(well && said.ends_with(&answers), "{said}");
    std::fs::remove_file(&socket).unwrap();
    let (well, _, said) = ping().await;
    assert!(
        !well && said.contains("no provider answers there"),
        "{said}"
    );
}
