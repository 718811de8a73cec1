//! How much a node asks at once, who goes first, and what it does when it is told to slow down.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use azure_emulator::{Effect, Emulator, ManagedIdentity, NewSecret, Permissions, Settings, Target};
use futures::future::join_all;
use tonic::Code;

use crate::support::class::Class;
use crate::support::{Node, OBJECT_ID, VAULT, expect_status};

/// A node whose vault takes this long for each answer.
async fn slow(latency: Duration, flags: &[&str]) -> Node {
    let settings = Settings {
        latency,
        ..Settings::default()
    };
    Node::start_beside(Emulator::start(settings).await.unwrap(), flags).await
}

/// A class with so many secrets, which the vault gets.
fn class_of(node: &Node, objects: usize) -> Class {
    (0..objects).fold(Class::new(), |class, n| {
        node.vault.set_secret(&format!("S{n}"), "v");
        class.object(&format!("objectName: S{n}\nobjectType: secret"))
    })
}

#[tokio::test]
async fn a_vault_is_asked_for_so_many_objects_at_once() {
    let flags = ["--max-concurrent-requests", "7", "--shared-reads=false"];
    let node = slow(Duration::from_millis(5), &flags).await;
    let class = class_of(&node, 50);
    for result in join_all((0..4).map(|_| node.mount(&class))).await {
        assert_eq!(result.unwrap().files.len(), 50);
    }
    let counts = node.azure.counters().vault(VAULT);
    assert_eq!((counts.all_gets(), counts.max_in_flight), (200, 7));
}

#[tokio::test]
async fn a_class_with_many_objects_does_not_stand_before_one_with_one() {
    let flags = ["--max-concurrent-requests", "2"];
    let node = slow(Duration::from_millis(5), &flags).await;
    let large = class_of(&node, 500);
    let small = Class::of_secret("S0");
    node.mount(&small).await.unwrap();
    let first = async {
        // Long before the large one ends, and long after it began.
        while node.azure.counters().vault(VAULT).all_gets() < 20 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let before = node.azure.counters().vault(VAULT).all_gets();
        node.mount(&small).await.unwrap();
        node.azure.counters().vault(VAULT).all_gets() - before
    };
    let (large, meanwhile) = tokio::join!(node.mount(&large), first);
    assert_eq!(large.unwrap().files.len(), 500);
    assert!(meanwhile < 30, "{meanwhile} requests went before");
}

#[tokio::test]
async fn a_mount_that_fails_as_a_whole_asks_for_nothing_more() {
    let flags = ["--max-concurrent-requests", "4"];
    let node = slow(Duration::from_millis(5), &flags).await;
    let class = class_of(&node, 100);
    let refused = Effect::error(401);
    node.azure.faults().always(Target::vault(VAULT), refused);
    let result = node.mount(&class).await;
    expect_status(result, Code::Unauthenticated, &["[KV_TOKEN_REJECTED] "]);
    tokio::time::sleep(Duration::from_millis(100)).await;
    // Each of the four may have been tried again with the challenge in hand.
    assert!(node.azure.counters().vault(VAULT).requests <= 12);
}

#[tokio::test]
async fn a_mount_whose_caller_goes_away_asks_for_nothing_more() {
    let flags = ["--max-concurrent-requests", "2"];
    let node = slow(Duration::from_millis(20), &flags).await;
    let class = class_of(&node, 200);
    node.mount(&Class::of_secret("S0")).await.unwrap();
    let gone = tokio::time::timeout(Duration::from_millis(200), node.mount(&class)).await;
    assert!(gone.is_err());
    tokio::time::sleep(Duration::from_millis(100)).await;
    let then = node.azure.counters().vault(VAULT).all_gets();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(node.azure.counters().vault(VAULT).all_gets(), then);
    assert!(then < 100, "{then}");
    // And takes nobody's place.
    node.mount(&Class::of_secret("S0")).await.unwrap();
}

#[tokio::test]
async fn all_objects_that_fail_are_named_in_one_answer_in_their_order() {
    let node = Node::start().await;
    node.vault.set_secret("there", "v");
    node.vault
        .set_secret_with("off", NewSecret::new("v").disabled());
    let class = ["gone-1", "there", "off", "gone-2"]
        .iter()
        .fold(Class::new(), |class, name| {
            class.object(&format!("objectName: {name}\nobjectType: secret"))
        });
    let words = [
        "[KV_OBJECT_NOT_FOUND] ",
        "secret \"gone-1\"; also failed: secret \"off\" [KV_OBJECT_DISABLED], secret \"gone-2\"",
    ];
    expect_status(node.mount(&class).await, Code::NotFound, &words);
}

#[tokio::test]
async fn a_429_that_one_mount_meets_slows_every_mount_of_that_vault() {
    let node = Node::start().await;
    let class = class_of(&node, 1);
    let other_vault = node.azure.vault("other-kv");
    other_vault.grant(OBJECT_ID, Permissions::read());
    other_vault.set_secret("S0", "v");
    node.mount(&class).await.unwrap();
    let wait = Duration::from_secs(2);
    node.azure
        .faults()
        .next(1, Target::vault(VAULT), Effect::throttle_for(2));
    let start = Instant::now();
    let met = async {
        node.mount(&class).await.unwrap();
        start.elapsed()
    };
    let others = async {
        while node.azure.counters().vault(VAULT).throttled == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let untouched = Instant::now();
        node.mount(&class.clone().with("keyvaultName", "other-kv"))
            .await
            .unwrap();
        assert!(untouched.elapsed() < wait / 2);
        for result in join_all((0..10).map(|_| node.mount(&class))).await {
            result.unwrap();
        }
        start.elapsed()
    };
    let (met, others) = tokio::join!(met, others);
    assert!(met >= wait && others >= wait, "{met:?} {others:?}");
    // One before, one that was throttled, and what the eleven shared.
    let requests = node.azure.counters().vault(VAULT).requests;
    assert!((3..=6).contains(&requests), "{requests}");
}

#[tokio::test]
async fn who_cannot_wait_for_a_throttled_vault_is_told_at_once_and_does_not_ask() {
    let node = Node::start_with(&["--mount-timeout", "10s"]).await;
    let class = class_of(&node, 20);
    node.mount(&class).await.unwrap();
    node.azure
        .faults()
        .always(Target::vault(VAULT), Effect::throttle_for(60));
    let start = Instant::now();
    let words = [
        "[KV_THROTTLED] ",
        "Key Vault's limit of 4,000 requests in 10 s per vault and region",
        "the next request may go in ",
        "--cache-ttl",
    ];
    let result = node.mount(&class).await;
    expect_status(result, Code::FailedPrecondition, &words);
    for _ in 0..5 {
        let result = node.mount(&class).await;
        expect_status(result, Code::FailedPrecondition, &words);
    }
    // Of the first two mounts, the second's as far as they were under way when it was told.
    let requests = node.azure.counters().vault(VAULT).requests;
    assert!(requests <= 40, "{requests}");
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn imds_is_asked_for_five_tokens_at_once_and_twenty_in_a_second() {
    let node = slow(Duration::from_millis(30), &[]).await;
    node.vault.set_secret("S", "v");
    let classes: Vec<_> = (0..40)
        .map(|n| {
            let (client, object) = (format!("client-{n}"), format!("object-{n}"));
            node.azure
                .imds()
                .assign(ManagedIdentity::user_assigned(&client, &object));
            node.vault.grant(&object, Permissions::read());
            Class::of_secret("S").with("userAssignedIdentityID", client)
        })
        .collect();
    for result in join_all(classes.iter().map(|class| node.mount(class))).await {
        result.unwrap();
    }
    let imds = node.azure.counters().imds();
    assert_eq!(imds.requests, 40);
    assert!(imds.max_in_flight <= 5, "{}", imds.max_in_flight);
    let requests = node.azure.counters().requests();
    let began: Vec<_> = requests
        .iter()
        .filter(|request| request.host == "169.254.169.254" || request.path.contains("/identity/"))
        .map(|request| request.began)
        .collect();
    assert_eq!(began.len(), 40);
    assert!(began[39].saturating_sub(began[0]) > Duration::from_millis(1500));
    for (first, start) in began.iter().enumerate() {
        // What was sent in order may arrive closer together on a busy machine.
        let end = *start + Duration::from_millis(700);
        let within = began[first..].iter().filter(|began| **began < end).count();
        assert!(within <= 20, "{within} within a second of {start:?}");
    }
}

#[tokio::test]
async fn a_throttled_imds_is_not_asked_again_by_others() {
    let node = Node::start().await;
    node.vault.set_secret("S", "v");
    node.azure
        .faults()
        .next(1, Target::imds(), Effect::throttle_for(1));
    let start = Instant::now();
    let class = Class::of_secret("S");
    for result in join_all((0..20).map(|_| node.mount(&class))).await {
        result.unwrap();
    }
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_eq!(node.azure.counters().imds().requests, 2);
}

#[tokio::test]
async fn a_vault_that_throttles_again_and_again_holds_up_nothing_else() {
    let node = Node::start_with(&["--mount-timeout", "4s"]).await;
    let class = class_of(&node, 10);
    let other_vault = node.azure.vault("other-kv");
    other_vault.grant(OBJECT_ID, Permissions::read());
    other_vault.set_secret("S0", "v");
    let other = Class::of_secret("S0").with("keyvaultName", "other-kv");
    let fault = node
        .azure
        .faults()
        .always(Target::vault(VAULT), Effect::throttle());
    let throttled = async {
        let result = node.mount(&class).await;
        expect_status(result, Code::FailedPrecondition, &["[KV_THROTTLED] "]);
    };
    let meanwhile = async {
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            node.mount(&other).await.unwrap();
        }
    };
    tokio::join!(throttled, meanwhile);
    node.azure.faults().remove(fault);
    // The last pause may be longer than one mount.
    let recovered = async {
        while node.mount(&class).await.is_err() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let limit = Duration::from_secs(20);
    tokio::time::timeout(limit, recovered).await.unwrap();
}

#[tokio::test]
async fn a_vault_that_throttles_one_namespace_serves_the_others() {
    let node = Node::start().await;
    let victim = class_of(&node, 1);
    let other = ("evil-client", "evil-object");
    node.azure
        .imds()
        .assign(ManagedIdentity::user_assigned(other.0, other.1));
    // As another identity, which may read nothing, and as the victim's own.
    let namespace = "csi.storage.k8s.io/pod.namespace";
    let evil = Class::of_secret("bad").with(namespace, "evil");
    let attackers = [
        evil.clone().with("userAssignedIdentityID", other.0),
        evil.clone(),
    ];
    for retry_after in [None, Some(60)] {
        let effect = Effect::Throttle { retry_after };
        let target = || Target::vault(VAULT);
        let faults = node.azure.faults();
        faults.always(target().client(other.0), effect.clone());
        faults.always(target().object("secrets/bad"), effect);
        node.mount(&victim).await.unwrap();
        let attack = async {
            loop {
                let all = attackers.iter().cycle().take(20);
                join_all(all.map(|class| node.mount(class))).await;
            }
        };
        let mounts = async {
            let mut longest = Duration::ZERO;
            for _ in 0..40 {
                let start = Instant::now();
                node.mount(&victim).await.unwrap();
                longest = longest.max(start.elapsed());
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            longest
        };
        let longest = tokio::select! {
            () = attack => unreachable!(),
            longest = mounts => longest,
        };
        assert!(longest < Duration::from_secs(1), "{longest:?}");
        println!("the longest mount of the victim: {longest:?}");
        assert!(node.azure.counters().vault(VAULT).throttled > 0);
        faults.clear();
    }
}

#[tokio::test]
async fn mounts_at_a_vault_that_hangs_leave_another_namespace_its_place() {
    let node = Node::start_with(&["--mount-timeout", "12s"]).await;
    node.vault.set_secret("S", "v");
    let hanging = node.azure.vault("hanging-kv");
    hanging.grant(OBJECT_ID, Permissions::read());
    node.azure
        .faults()
        .always(Target::vault("hanging-kv"), Effect::Hang);
    let namespace = "csi.storage.k8s.io/pod.namespace";
    let victim = Class::of_secret("S").with(namespace, "victim");
    let evil = Class::of_secret("S")
        .with("keyvaultName", "hanging-kv")
        .with(namespace, "evil");
    node.mount(&victim).await.unwrap();
    let ended = AtomicUsize::new(0);
    // All on the driver's one connection.
    let attack = join_all((0..1500).map(|_| async {
        let status = node.mount(&evil).await.unwrap_err();
        ended.fetch_add(1, Ordering::Relaxed);
        status
    }));
    let mounts = async {
        while node.azure.counters().vault("hanging-kv").requests < 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        for _ in 0..20 {
            node.mount(&victim).await.unwrap();
        }
        // The other way they wait until the first of the others ends.
        assert_eq!(ended.load(Ordering::Relaxed), 0);
    };
    let (failures, ()) = tokio::join!(attack, mounts);
    // Those that waited for a place are told so, and neither driver nor kubelet takes them for under way.
    let waited = failures.iter().filter(|status| {
        status
            .message()
            .contains("before it was this mount's turn: as many mounts")
    });
    // The others of those that had none at first got one when the first mounts ended, moments before their own time ran out.
    assert!(waited.count() > 0);
    for status in &failures {
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert!(status.message().starts_with("[TIMEOUT] "), "{status}");
    }
}

#[tokio::test]
async fn a_namespace_that_was_throttled_is_served_soon_after_the_end() {
    let node = Node::start_with(&["--mount-timeout", "20s"]).await;
    let class = class_of(&node, 20);
    let fault = node
        .azure
        .faults()
        .always(Target::vault(VAULT), Effect::throttle());
    node.mount(&class).await.unwrap_err();
    node.azure.faults().remove(fault);
    // One pause at most, and 20 requests at the least pace.
    let start = Instant::now();
    node.mount(&class).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn one_connection_with_many_streams_takes_more_requests_than_there_may_be_connections() {
    for (http2, expected) in [(true, 200), (false, 75)] {
        let settings = Settings {
            http2,
            ..Settings::default()
        };
        let node = Node::start_beside(Emulator::start(settings).await.unwrap(), &[]).await;
        let class = class_of(&node, 200);
        node.mount(&Class::of_secret("S0")).await.unwrap();
        let vault = Target::vault(VAULT);
        node.azure.faults().always(vault, Effect::Hang);
        let under_way = async {
            while node.azure.counters().vault(VAULT).in_flight < expected {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            // None comes after those that go at once.
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        tokio::select! {
            result = node.mount(&class) => panic!("{result:?}"),
            () = under_way => {}
        }
        let counts = node.azure.counters().vault(VAULT);
        assert_eq!(counts.max_in_flight, expected);
    }
}
