//! What goes wrong when it is told to.

use std::time::{Duration, Instant};

use azure_emulator::{Effect, Fault, ManagedIdentity, Settings, Target};
use reqwest::Method;
use serde_json::json;

use crate::support::{Answer, World, client, world, world_with};

async fn ready(settings: Settings) -> (World, String) {
    let world = world_with(settings).await.open();
    world.emulator.vault("kv1").set_secret("a", "value-of-a");
    world.emulator.vault("kv1").set_secret("b", "value-of-b");
    let token = world.token().await;
    (world, token)
}

async fn get(world: &World, token: &str, path: &str) -> Answer {
    world.ask_with(token, Method::GET, path, None).await
}

#[tokio::test]
async fn answers_in_place_of_the_vaults_own() {
    let (world, token) = ready(Settings::default()).await;
    let faults = world.emulator.faults();
    let object = || Target::vault("kv1").object("secrets/a");
    let cases: [(Effect, u16, &str); 9] = [
        (Effect::throttle(), 429, "VaultRequestTypeLimitReached"),
        (Effect::throttle_for(3), 429, "Throttled"),
        (Effect::error(503), 503, "ServiceUnavailable"),
        (Effect::BadGateway, 502, "<h1>502 Bad Gateway</h1>"),
        (Effect::json(418, &json!({ "tea": true })), 418, "tea"),
        (Effect::html(500, "<b>no</b>"), 500, "<b>no</b>"),
        (Effect::Empty, 200, ""),
        (Effect::WrongJson, 200, "hello"),
        (Effect::Oversize { bytes: 100_000 }, 200, "xxxx"),
    ];
    for (effect, status, text) in cases {
        faults.next(1, object(), effect.clone());
        let other = get(&world, &token, "/secrets/b/").await;
        assert_eq!(other.json["value"], "value-of-b", "{effect:?}");
        let hit = get(&world, &token, "/secrets/a/").await;
        assert_eq!(hit.status, status, "{effect:?}");
        assert!(hit.json.to_string().contains(text), "{effect:?}");
        assert_eq!(
            hit.headers.contains_key("retry-after"),
            effect == Effect::throttle_for(3)
        );
        let after = get(&world, &token, "/secrets/a/").await;
        assert_eq!(after.json["value"], "value-of-a", "{effect:?}");
    }
    let location = "https://elsewhere.vault.azure.net/".to_owned();
    faults.next(
        1,
        object(),
        Effect::Redirect {
            location: location.clone(),
        },
    );
    let redirect = get(&world, &token, "/secrets/a/").await;
    assert_eq!(redirect.status, 302);
    assert_eq!(redirect.headers["location"], location);
    faults.next(1, object(), Effect::Truncate);
    let cut = get(&world, &token, "/secrets/a/").await;
    assert!(cut.json.is_string(), "no longer JSON: {cut:?}");
    let url = "https://evil.test/next".to_owned();
    faults.next(
        1,
        Target::vault("kv1").object("secrets"),
        Effect::NextLink { url: url.clone() },
    );
    assert_eq!(get(&world, &token, "/secrets").await.json["nextLink"], url);
    assert_eq!(faults.list(), []);
}

#[tokio::test]
async fn a_recorded_answer_comes_word_by_word() {
    let (world, token) = ready(Settings::default()).await;
    // The form of the control API, which is that of recordings with `kind`.
    let recorded: Fault = serde_json::from_value(json!({
        "target": { "service": "vault", "vault": "kv1" },
        "effect": {
            "kind": "recorded",
            "status": 403,
            "headers": [
                ["X-Ms-Keyvault-Region", "southafricanorth"],
                ["Set-Cookie", "a=1"],
                ["Set-Cookie", "b=2"],
                ["Content-Length", "1"],
                ["Transfer-Encoding", "chunked"],
            ],
            "body": "{\"b\":1, \"a\":2}",
        },
        "times": 1,
    }))
    .unwrap();
    world.emulator.faults().add(recorded);
    let url = "https://kv1.vault.azure.net/secrets/a?api-version=7.4";
    let answer = world.client.get(url).bearer_auth(&token).send();
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 403);
    let headers = answer.headers().clone();
    assert_eq!(headers["x-ms-keyvault-region"], "southafricanorth");
    assert_eq!(headers.get_all("set-cookie").iter().count(), 2);
    for absent in ["content-type", "x-ms-keyvault-service-version"] {
        assert!(!headers.contains_key(absent), "{headers:?}");
    }
    assert_eq!(answer.text().await.unwrap(), "{\"b\":1, \"a\":2}");
}

#[tokio::test]
async fn connections_that_break_and_requests_that_hang() {
    for http2 in [true, false] {
        let (world, token) = ready(Settings {
            http2,
            ..Settings::default()
        })
        .await;
        let faults = world.emulator.faults();
        let ask = |effect: Effect| {
            let patience = if effect == Effect::Hang { 400 } else { 10_000 };
            faults.next(1, Target::vault("kv1"), effect);
            client(&world.emulator)
                .get("https://kv1.vault.azure.net/secrets/a/?api-version=7.4")
                .bearer_auth(&token)
                .timeout(Duration::from_millis(patience))
                .send()
        };
        let dropped = ask(Effect::Drop).await.unwrap_err();
        assert!(!dropped.is_timeout(), "{dropped:?}");
        let half = ask(Effect::DropInBody).await.unwrap();
        assert_eq!(half.status(), 200);
        assert!(!half.text().await.unwrap_err().is_timeout());
        assert!(ask(Effect::Hang).await.unwrap_err().is_timeout());
        // The client of the request that hung has left, so it is no longer being answered.
        let deadline = Instant::now() + Duration::from_secs(5);
        while world.emulator.counters().vault("kv1").in_flight > 0 {
            assert!(
                Instant::now() < deadline,
                "still in flight (HTTP/2: {http2})"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn delays_add_up_with_the_latency() {
    let (world, token) = ready(Settings {
        latency: Duration::from_millis(60),
        ..Settings::default()
    })
    .await;
    let by = Effect::delay(Duration::from_millis(60));
    world.emulator.faults().next(1, Target::vault("kv1"), by);
    let start = Instant::now();
    assert_eq!(get(&world, &token, "/secrets/a/").await.status, 200);
    assert!(start.elapsed() >= Duration::from_millis(120));
}

#[tokio::test]
async fn a_slow_body_is_whole_in_the_end() {
    for http2 in [true, false] {
        let (world, token) = ready(Settings {
            http2,
            ..Settings::default()
        })
        .await;
        let takes = Duration::from_millis(300);
        let slow = Effect::slow_body(takes);
        world.emulator.faults().next(1, Target::vault("kv1"), slow);
        let start = Instant::now();
        let answer = get(&world, &token, "/secrets/a/").await;
        assert!(answer.json["value"].is_string(), "{answer:?}");
        assert!(start.elapsed() >= takes);
    }
}

#[tokio::test]
async fn concurrency_is_counted() {
    let (world, token) = ready(Settings::default()).await;
    world.emulator.counters().reset();
    let by = Effect::delay(Duration::from_secs(1));
    world.emulator.faults().always(Target::vault("kv1"), by);
    let gets = (0..5).map(|_| get(&world, &token, "/secrets/a/"));
    for answer in futures::future::join_all(gets).await {
        assert_eq!(answer.status, 200);
    }
    let counts = world.emulator.counters().vault("kv1");
    assert_eq!(
        (counts.all_gets(), counts.max_in_flight, counts.in_flight),
        (5, 5, 0)
    );
}

#[tokio::test]
async fn entra_and_imds_have_faults_of_their_own() {
    let world = world().await;
    world
        .emulator
        .imds()
        .assign(ManagedIdentity::user_assigned("mi", "object"));
    let faults = world.emulator.faults();
    let imds = "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&\
                resource=https://vault.azure.net&client_id=mi";
    for status in [429, 410, 500] {
        faults.next(1, Target::imds().client("mi"), Effect::error(status));
        let answer = world.fetch(imds, &[("metadata", "true")]).await;
        assert_eq!(answer.status, status);
        assert!(answer.json["error"].is_string());
    }
    assert_eq!(world.fetch(imds, &[("metadata", "true")]).await.status, 200);

    let someone_else = Target::entra().client("someone-else");
    faults.always(someone_else, Effect::error(503));
    world.token().await;
    let tenant = Target::entra().tenant(crate::support::TENANT);
    faults.next(1, tenant, Effect::throttle());
    let url = format!(
        "https://login.microsoftonline.com/{}/oauth2/v2.0/token",
        crate::support::TENANT
    );
    let throttled = world.post_form(&url, &[]).await;
    assert_eq!(throttled.status, 429);
    assert_eq!(throttled.json["error_codes"][0], 90_055);
}

#[tokio::test]
async fn the_challenge_can_be_met_too() {
    let (world, _) = ready(Settings::default()).await;
    let target = Target::vault("kv1").unauthenticated();
    world.emulator.faults().next(1, target, Effect::error(500));
    let url = "https://kv1.vault.azure.net/secrets/a/";
    assert_eq!(world.fetch(url, &[]).await.status, 500);
    assert_eq!(world.fetch(url, &[]).await.status, 401);
}
