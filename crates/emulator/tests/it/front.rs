//! Listeners, host names, the proxy, and the control API.

use std::time::{Duration, Instant};

use azure_emulator::{CaFiles, Cloud, Emulator, Settings, Validity};
use reqwest::Version;

use crate::support::{API, VAULT, builder, client, world, world_with};

#[tokio::test]
async fn only_the_hosts_that_exist_are_reached_through_the_proxy() {
    let world = world().await;
    world.emulator.vault("gov").set_cloud(Cloud::UsGovernment);
    for (url, reached) in [
        (VAULT, true),
        ("https://KV1.vault.azure.net", true),
        ("https://kv1.vault.localhost", true),
        ("https://gov.vault.usgovcloudapi.net", true),
        ("https://gov.vault.localhost", true),
        ("https://gov.vault.azure.net", false),
        ("https://kv2.vault.azure.net", false),
        ("https://login.microsoftonline.com", true),
        ("https://login.partner.microsoftonline.cn", true),
        ("https://example.com", false),
        ("https://169.254.169.254", false),
    ] {
        let answer = world.client.get(url).send().await;
        assert_eq!(answer.is_ok(), reached, "{url}: {answer:?}");
    }
    let plain = world.fetch("http://example.com/", &[]).await;
    assert_eq!(plain.status, 403);
    let counts = world.emulator.counters().snapshot().connections;
    // One client uses one connection for `kv1` in either spelling.
    assert_eq!(counts.tunnels, 6);
    assert_eq!(counts.refused.values().sum::<u64>(), 5);
    assert_eq!(counts.tls_by_host["kv1.vault.azure.net"], 1);

    assert!(world.emulator.remove_vault("kv1"));
    assert!(client(&world.emulator).get(VAULT).send().await.is_err());
}

#[tokio::test]
async fn certificates_may_have_expired_or_not_be_valid_yet() {
    for (certificates, words) in [
        (Validity::Past, "Expired"),
        (Validity::Future, "NotValidYet"),
    ] {
        let world = world_with(Settings {
            certificates,
            ..Settings::default()
        })
        .await;
        let error = world.client.get(VAULT).send().await.unwrap_err();
        assert!(format!("{error:?}").contains(words), "{error:?}");
    }
}

#[tokio::test]
async fn without_the_proxy_by_address_and_name() {
    let world = world().await.open();
    world.emulator.vault("kv1").set_secret("a", "x");
    let address = world.emulator.https_addr();
    let direct = builder(&world.emulator)
        .resolve("kv1.vault.localhost", address)
        .build()
        .unwrap();
    let url = format!("{}/secrets/a?{API}", world.emulator.vault_url("kv1"));
    let token = world.token().await;
    let answer = direct.get(url).bearer_auth(token).send().await.unwrap();
    let json: serde_json::Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    let base = world.emulator.vault_url("kv1");
    let id = json["id"].as_str().unwrap();
    assert!(id.starts_with(&format!("{base}/secrets/a/")), "{id}");
    let stranger = builder(&world.emulator)
        .resolve("nobody.vault.localhost", address)
        .build()
        .unwrap();
    let port = address.port();
    let answer = stranger
        .get(format!("https://nobody.vault.localhost:{port}/"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 421);
}

#[tokio::test]
async fn http2_is_offered_unless_it_is_switched_off() {
    for (http2, version) in [(true, Version::HTTP_2), (false, Version::HTTP_11)] {
        let world = world_with(Settings {
            http2,
            ..Settings::default()
        })
        .await;
        let answer = world.client.get(VAULT).send().await.unwrap();
        assert_eq!(answer.version(), version);
    }
}

#[tokio::test]
async fn connections_are_counted_by_host() {
    const HOST: &str = "kv1.vault.azure.net";
    // HTTP/2 carries all requests at once on one connection; HTTP/1.1 needs one for each.
    for (http2, connections) in [(true, 1), (false, 4)] {
        let world = world_with(Settings {
            http2,
            latency: Duration::from_millis(300),
            ..Settings::default()
        })
        .await;
        // The first request finds out which protocol it is, so that the next ones share.
        world.client.get(VAULT).send().await.unwrap();
        let gets = (0..4).map(|_| world.client.get(VAULT).send());
        for answer in futures::future::join_all(gets).await {
            answer.unwrap();
        }
        let counters = world.emulator.counters();
        assert_eq!(counters.connections(HOST), connections, "HTTP/2: {http2}");
        assert_eq!(counters.most_connections(HOST), connections);
        assert_eq!(counters.vault("kv1").max_in_flight, 4);
        assert_eq!(counters.connections("login.microsoftonline.com"), 0);
        assert!(counters.requests().iter().all(|request| {
            request.ended.unwrap() >= request.began + Duration::from_millis(300)
        }));
        drop(world.client);
        let deadline = Instant::now() + Duration::from_secs(5);
        while !world
            .emulator
            .counters()
            .snapshot()
            .connections
            .open
            .is_empty()
        {
            assert!(Instant::now() < deadline, "still open (HTTP/2: {http2})");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn starting_is_cheap_and_stopping_is_quick() {
    let start = Instant::now();
    let emulator = Emulator::start(Settings::default()).await.unwrap();
    let started = start.elapsed();
    // A machine that is busy with other tests may take many times the usual few milliseconds.
    assert!(started < Duration::from_millis(500), "{started:?}");
    println!("started in {started:?}");
    emulator.vault("kv1");
    let client = client(&emulator);
    client.get(VAULT).send().await.unwrap();
    let start = Instant::now();
    emulator.stop().await;
    assert!(start.elapsed() < Duration::from_secs(2));
    assert!(client.get(VAULT).send().await.is_err());
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let world = world().await;
    let taken = world.emulator.https_addr();
    let error = Emulator::start(Settings {
        https_listen: taken,
        ..Settings::default()
    })
    .await
    .unwrap_err();
    assert!(error.to_string().contains(&taken.to_string()), "{error}");
}

#[tokio::test]
async fn a_ca_that_is_kept_serves_the_next_run_too() {
    let folder = tempfile::tempdir().unwrap();
    let settings = || Settings {
        ca: Some(CaFiles {
            certificate: folder.path().join("ca.pem"),
            key: folder.path().join("ca.key"),
        }),
        ..Settings::default()
    };
    let first = world_with(settings()).await;
    let trusting_the_first = builder(&first.emulator);
    let second = world_with(settings()).await;
    assert_eq!(first.emulator.ca_pem(), second.emulator.ca_pem());
    let client = trusting_the_first
        .proxy(reqwest::Proxy::all(second.emulator.proxy_url()).unwrap())
        .build()
        .unwrap();
    assert_eq!(client.get(VAULT).send().await.unwrap().status(), 401);
}
