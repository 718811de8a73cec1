//! Start, stop, and everything that can be wrong before a provider serves.

use std::time::{Duration, Instant};

use azure_emulator::{Effect, Emulator, Settings, Target};
use rustix::process::Signal;
use tonic::Code;

use crate::support::class::Class;
use crate::support::provider::command;
use crate::support::{Node, VAULT, expect_status, files};

#[tokio::test]
async fn mounts_under_way_end_after_sigterm() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut node = Node::start().await;
        node.vault.set_secret("S", "v");
        node.azure.faults().always(
            Target::vault(VAULT),
            Effect::delay(Duration::from_millis(500)),
        );
        let mount = tokio::spawn({
            let (mut client, request) = (node.provider.client(), Class::of_secret("S").request());
            async move { client.mount(request).await }
        });
        while node.azure.counters().vault(VAULT).requests == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        node.provider.signal(signal);
        let response = mount.await.unwrap().unwrap().into_inner();
        assert_eq!(files(&response), [("S", 0o644, "v")]);
        assert!(node.provider.ended().await.success());
        assert!(!node.provider.socket().exists());
    }
}

#[tokio::test]
async fn draining_is_bounded() {
    let mut node = Node::start_with(&["--drain-timeout", "300ms"]).await;
    node.vault.set_secret("S", "v");
    node.azure
        .faults()
        .always(Target::vault(VAULT), Effect::Hang);
    // Several, so that their answers take a moment to get out.
    let mounts = (0..10).map(|_| {
        let (mut client, request) = (node.provider.client(), Class::of_secret("S").request());
        tokio::spawn(async move { client.mount(request).await })
    });
    let mounts: Vec<_> = mounts.collect();
    while node.azure.counters().vault(VAULT).requests == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let start = Instant::now();
    node.provider.signal(Signal::TERM);
    assert!(node.provider.ended().await.success());
    assert!(start.elapsed() < Duration::from_secs(5));
    for mount in mounts {
        let answer = mount.await.unwrap().map(tonic::Response::into_inner);
        expect_status(answer, Code::Unavailable, &["[SHUTTING_DOWN] "]);
    }
    assert!(node.provider.log().contains("SHUTTING_DOWN"));
}

#[tokio::test]
async fn a_second_provider_takes_the_socket_over() {
    let mut node = Node::start().await;
    node.vault.set_secret("S", "v");
    let folder = tempfile::tempdir().unwrap();
    let mut second = command(&node.azure, folder.path());
    second
        .arg("--endpoint")
        .arg(node.provider.socket())
        .args(["--healthz-port=0", "--prometheus-port=0"])
        .kill_on_drop(true);
    let _second = second.spawn().unwrap();
    // The first keeps its caller until it is told to stop, and does not take the second's file along.
    while node.provider.log().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    node.mount(&Class::of_secret("S")).await.unwrap();
    node.provider.signal(Signal::TERM);
    assert!(node.provider.ended().await.success());
    let channel = crate::support::provider::connect(&node.provider.socket()).await;
    let mut client =
        provider_azure_rs::generated::v1alpha1::csi_driver_provider_client::CsiDriverProviderClient::new(channel);
    client.mount(Class::of_secret("S").request()).await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_served_is_said_in_one_line() {
    let azure = Emulator::start(Settings::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("file"), "precious").unwrap();
    let socket = path("a.sock");
    for (arguments, words) in [
        (
            vec!["--endpoint".into(), path("file")],
            "expected a socket or nothing",
        ),
        (
            vec!["--endpoint".into(), path("none/a.sock")],
            "a socket cannot be made there: No such file",
        ),
        (
            vec!["--endpoint".into(), path(&"x".repeat(200))],
            "at most 107 bytes",
        ),
        (
            vec!["--endpoint".into(), "tcp://1.2.3.4:5".into()],
            "expected unix:///PATH",
        ),
        (
            vec![
                "--endpoint".into(),
                socket.clone(),
                "--ca-file".into(),
                path("none"),
            ],
            "--ca-file",
        ),
        (
            vec![
                "--endpoint".into(),
                socket.clone(),
                "--ca-file".into(),
                path("file"),
            ],
            "expected PEM certificates",
        ),
        (
            vec!["--mount-timeout".into(), "soon".into()],
            "expected a duration such as",
        ),
        (vec!["--no-such-flag".into()], "unexpected argument"),
    ] {
        let output = command(&azure, folder.path())
            .args(&arguments)
            .output()
            .await
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{arguments:?}");
        assert!(
            text.contains("error: ") && text.contains(words),
            "{arguments:?}: {text}"
        );
    }
    let output = command(&azure, folder.path())
        .arg("--endpoint")
        .arg(&socket)
        .env("HTTPS_PROXY", "http://user:canary@[::bad")
        .output()
        .await
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && text.contains("error: HTTPS_PROXY: expected the URL"),
        "{text}"
    );
    assert!(!text.contains("canary"), "{text}");
    assert_eq!(std::fs::read(path("file")).unwrap(), b"precious");
}

#[tokio::test]
async fn a_caller_that_goes_away_ends_its_mount() {
    let node = Node::start().await;
    node.vault.set_secret("S", "v");
    let hanging = node
        .azure
        .faults()
        .always(Target::vault(VAULT), Effect::Hang);
    let mut request = tonic::Request::new(Class::of_secret("S").request());
    request.set_timeout(Duration::from_secs(2));
    let start = Instant::now();
    let status = node.provider.client().mount(request).await.unwrap_err();
    assert!(
        matches!(
            status.code(),
            // The answer, where it comes before the caller's own clock ends the call.
            Code::FailedPrecondition | Code::DeadlineExceeded | Code::Cancelled
        ),
        "{status:?}"
    );
    assert!(start.elapsed() < Duration::from_secs(4));
    node.azure.faults().remove(hanging);
    assert_eq!(
        files(&node.mount(&Class::of_secret("S")).await.unwrap()),
        [("S", 0o644, "v")]
    );
}

#[tokio::test]
async fn the_go_providers_arguments_work_as_they_are() {
    let node = Node::start_with(&[
        "-v=5",
        "-logtostderr",
        "--log-format-json=true",
        "--healthz-port",
        "0",
        "--healthz-path=/healthz",
        "--healthz-timeout=5s",
        "-prometheus-port",
        "0",
        "--metrics-backend=Prometheus",
        "--enable-pprof=false",
        "-pprof-port",
        "6060",
        "-construct-pem-chain=true",
        "--write-cert-and-key-in-separate-files=false",
        "-cloud-name",
        "AzurePublicCloud",
    ])
    .await;
    node.vault.set_secret("S", "v");
    node.mount(&Class::of_secret("S")).await.unwrap();
    let log = node.provider.log();
    let warning = log
        .lines()
        .find(|line| line.contains("mean nothing here"))
        .unwrap();
    for flag in [
        "--logtostderr",
        "--metrics-backend",
        "--enable-pprof",
        "--pprof-port",
    ] {
        assert!(warning.contains(flag), "{warning}");
    }
    let line: serde_json::Value = serde_json::from_str(warning).unwrap();
    assert_eq!(line["level"], "WARN");
}

#[tokio::test]
async fn an_empty_variable_counts_as_none() {
    let azure = Emulator::start(Settings::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let help = command(&azure, folder.path())
        .arg("serve")
        .arg("--help")
        .output()
        .await
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let variables: Vec<_> = help
        .split("[env: ")
        .skip(1)
        .filter_map(|rest| rest.split('=').next())
        .collect();
    assert!(variables.len() > 15, "{variables:?}");
    let socket = folder.path().join("a.sock");
    let mut provider = command(&azure, folder.path());
    provider
        .envs(variables.iter().map(|name| (*name, "")))
        .kill_on_drop(true);
    let _provider = provider
        .args(["--healthz-port=0", "--prometheus-port=0"])
        .arg("--endpoint")
        .arg(&socket)
        .spawn()
        .unwrap();
    crate::support::provider::connect(&socket).await;
}
