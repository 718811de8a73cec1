//! The bytes that mounts hold, from their requests to their answers: never more than there are, all served in the end, and no
//! namespace pays for another one's.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use azure_emulator::{Effect, NewSecret, Permissions, Target};
use futures::StreamExt as _;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use tonic::Code;

use crate::support::class::Class;
use crate::support::http::{free_port, get_once_served};
use crate::support::provider::PATIENCE;
use crate::support::{Node, OBJECT_ID, VAULT, expect_status, files};

const NAMESPACE: &str = "csi.storage.k8s.io/pod.namespace";
/// What the container may have by default, in kB.
const LIMIT: u64 = 128 * 1024;

/// A node with the least budget that there is: twice what one mount may hold.
async fn node(flags: &[&str]) -> (Node, u16) {
    let port = free_port();
    let port_flag = format!("--prometheus-port={port}");
    let mut all = vec!["--memory-budget=1", port_flag.as_str()];
    all.extend(flags);
    let node = Node::start_with(&all).await;
    node.vault.set_secret("S", "v");
    (node, port)
}

/// What the metrics say of the budget: all that there is, what is held, and how many mounts wait.
async fn load(port: u16) -> [u64; 3] {
    let page = get_once_served(port, "/metrics").await;
    let names = ["budget_bytes", "held_bytes", "waiting_mounts"];
    names.map(|name| {
        let series = format!("provider_azure_rs_memory_{name} ");
        let value = page.lines().find_map(|line| line.strip_prefix(&series));
        value.unwrap().parse().unwrap()
    })
}

/// Waits until nothing is held and nobody waits: an answer is let go of a moment after it was read.
async fn nothing_is_held(port: u16) {
    let empty = async { while load(port).await[1..] != [0, 0] {} };
    tokio::time::timeout(PATIENCE, empty).await.unwrap();
}

/// The most that was held while `mounts` went on.
async fn most_held<T>(port: u16, mounts: impl Future<Output = T>) -> (T, u64) {
    let mut most = 0;
    let watching = async {
        loop {
            let [total, held, _] = load(port).await;
            assert!(held <= total, "{held} of {total} bytes are held");
            most = held.max(most);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let result = tokio::select! {
        result = mounts => result,
        () = watching => unreachable!(),
    };
    (result, most)
}

/// So many secrets of one value, each in a file of its own.
fn many(objects: usize) -> Class {
    (0..objects).fold(Class::new(), |class, n| {
        class.object(&format!(
            "objectName: S\nobjectType: secret\nobjectAlias: f{n}"
        ))
    })
}

#[tokio::test]
async fn what_nobody_reads_is_not_held_while_mounts_wait() {
    let (node, port) = node(&[]).await;
    let delay = Effect::delay(Duration::from_secs(2));
    node.azure.faults().always(Target::vault(VAULT), delay);
    let long = Class::of_secret("S").with("unknown", "x".repeat(1_400_000));
    let short = (0..140_000).fold(String::new(), |names, n| format!("{names}{n},"));
    let short = short.split(',').fold(Class::of_secret("S"), |class, n| {
        class.with(&format!("u{n}"), "")
    });
    let mounts = (0..60).map(|n| node.mount(if n % 10 == 0 { &short } else { &long }));
    let (mounted, most) = most_held(port, join_all(mounts)).await;
    for answer in mounted {
        assert_eq!(files(&answer.unwrap()), [("S", 0o644, "v")]);
    }
    println!(
        "{most} bytes held at most, peak {} kB",
        node.provider.peak_memory()
    );
    // No more than what is counted of messages at once, and the mounts.
    assert!(most < 20 << 20, "{most}");
    assert!(node.provider.peak_memory() < LIMIT);
    nothing_is_held(port).await;
}

#[tokio::test]
async fn large_values_of_many_mounts_are_served_one_after_the_other() {
    let (node, port) = node(&[]).await;
    let value = "x".repeat(25_000);
    node.vault.set_secret("S", &value);
    let class = many(80);
    // 60 MB of files, where all may hold 36 MiB.
    let (mounted, most) = most_held(port, join_all((0..30).map(|_| node.mount(&class)))).await;
    for answer in mounted {
        let answer = answer.unwrap();
        assert_eq!(answer.files.len(), 80);
        assert!(
            answer
                .files
                .iter()
                .all(|file| file.contents == value.as_bytes())
        );
    }
    assert!(most > 8 << 20, "{most}");
    println!(
        "{most} bytes held at most, peak {} kB",
        node.provider.peak_memory()
    );
    assert!(node.provider.peak_memory() < LIMIT);
    nothing_is_held(port).await;
}

#[tokio::test]
async fn large_values_are_served_while_an_older_mount_hangs_elsewhere() {
    let (node, _) = node(&["--mount-timeout=100s"]).await;
    node.vault.set_secret("S", "x".repeat(25_000));
    node.azure.vault("hanging-kv");
    let target = Target::vault("hanging-kv");
    node.azure.faults().always(target, Effect::Hang);
    let hanging = many(20).with("keyvaultName", "hanging-kv");
    let hanging = hanging.with(NAMESPACE, "other");
    let hangs = async {
        let answer = node.mount(&hanging).await;
        panic!("it hangs no longer: {answer:?}");
    };
    let large = async {
        while node.azure.counters().vault("hanging-kv").requests == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Together the large ones need more than their namespace may have.
        let class = many(100);
        let small = Class::of_secret("S");
        let mounts = (0..8).map(|n| node.mount(if n < 7 { &class } else { &small }));
        for answer in join_all(mounts).await {
            answer.unwrap();
        }
    };
    tokio::select! {
        () = large => {}
        () = hangs => {}
    }
}

#[tokio::test]
async fn more_certificates_than_an_answer_has_room_for_are_refused_at_once() {
    let (node, _) = node(&["--mount-timeout=100s"]).await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/certificates");
    let pem = fs::read_to_string(folder.join("p256.pem")).unwrap();
    // So long that it is not turned into files at once.
    let pem = format!("{pem}{}", "# padding\n".repeat(2_000));
    let kid = format!("https://{VAULT}.vault.azure.net/keys/S/0123456789abcdef0123456789abcdef");
    let secret = NewSecret::new(pem).content_type("application/x-pem-file");
    node.vault.set_secret_with("S", secret.kid(kid));
    let start = Instant::now();
    let words = ["[ANSWER_TOO_LARGE] "];
    expect_status(
        node.mount(&many(300)).await,
        Code::FailedPrecondition,
        &words,
    );
    assert!(start.elapsed() < PATIENCE);
}

#[tokio::test]
async fn short_values_leave_the_vault_as_busy_as_it_may_be() {
    let node = Node::start_with(&["--shared-reads=false"]).await;
    node.vault.set_secret("S", "v");
    let delay = Effect::delay(Duration::from_secs(3));
    node.azure.faults().always(Target::vault(VAULT), delay);
    let class = many(40);
    let mounts = join_all((0..20).map(|_| node.mount(&class)));
    // With the bytes of the longest values for each there would be some 130.
    let busy = async {
        while node.azure.counters().vault(VAULT).max_in_flight < 250 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        _ = mounts => panic!("{}", node.azure.counters().vault(VAULT).max_in_flight),
        () = busy => {}
    }
}

#[tokio::test]
async fn what_turns_out_to_be_long_is_asked_for_twice_at_most() {
    let (node, port) = node(&["--shared-reads=false"]).await;
    let (class, value) = (many(80), "x".repeat(25_000));
    node.vault.set_secret("S", &value);
    let (mounted, most) = most_held(port, join_all((0..12).map(|_| node.mount(&class)))).await;
    for answer in mounted {
        let answer = answer.unwrap();
        assert!(
            answer
                .files
                .iter()
                .all(|file| file.contents == value.as_bytes())
        );
    }
    let asked = node.azure.counters().vault(VAULT).all_gets();
    println!("{most} bytes held at most, {asked} requests for 960 values");
    assert!((960..1920).contains(&asked), "{asked}");
    assert!(node.provider.peak_memory() < LIMIT);
}

#[tokio::test]
async fn a_class_of_thousands_of_entries_is_held_once() {
    let (node, port) = node(&[]).await;
    let delay = Effect::delay(Duration::from_secs(1));
    node.azure.faults().next(1, Target::vault(VAULT), delay);
    let entries = (0..3000).map(|n| {
        format!("  - |\n    objectName: S\n    objectType: secret\n    objectAlias: f{n}\n")
    });
    let objects = format!("array:\n{}", entries.collect::<String>());
    let class = Class::new().with("objects", objects);
    let (mounted, most) = most_held(port, join_all((0..8).map(|_| node.mount(&class)))).await;
    for answer in mounted {
        assert_eq!(answer.unwrap().files.len(), 3000);
    }
    println!(
        "{most} bytes held at most, peak {} kB",
        node.provider.peak_memory()
    );
    assert!(node.provider.peak_memory() < LIMIT);
    nothing_is_held(port).await;
}

#[tokio::test]
async fn a_namespace_that_holds_all_it_may_leaves_others_theirs() {
    let (node, port) = node(&["--mount-timeout", "8s"]).await;
    let hanging = node.azure.vault("hanging-kv");
    hanging.grant(OBJECT_ID, Permissions::read());
    node.azure
        .faults()
        .always(Target::vault("hanging-kv"), Effect::Hang);
    let victim = Class::of_secret("S").with(NAMESPACE, "victim");
    node.mount(&victim).await.unwrap();
    // Each is a class of its own, of nearly a megabyte.
    let evil: Vec<_> = (0..60)
        .map(|n| {
            let comment = format!("# {n} {}\n", "x".repeat(900_000));
            let objects =
                format!("{comment}array:\n  - |\n    objectName: S\n    objectType: secret\n");
            Class::new()
                .with("objects", objects)
                .with("keyvaultName", "hanging-kv")
                .with(NAMESPACE, "evil")
        })
        .collect();
    let attack = evil
        .iter()
        .map(|class| node.mount(class))
        .collect::<FuturesUnordered<_>>()
        .collect::<Vec<_>>();
    let suffering = async {
        while node.azure.counters().vault("hanging-kv").requests < 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        for _ in 0..20 {
            node.mount(&victim).await.unwrap();
        }
    };
    let ((refused, ()), most) = most_held(port, async { tokio::join!(attack, suffering) }).await;
    for result in refused {
        expect_status(result, Code::FailedPrecondition, &["[TIMEOUT] "]);
    }
    println!(
        "{most} bytes held at most, peak {} kB",
        node.provider.peak_memory()
    );
    assert!(node.provider.peak_memory() < LIMIT);
    node.mount(&victim).await.unwrap();
}

#[tokio::test]
async fn who_finds_no_memory_is_told_so() {
    let (node, _) = node(&["--mount-timeout", "4s"]).await;
    node.azure
        .faults()
        .always(Target::vault(VAULT), Effect::Hang);
    // Their entries differ, so that each has its own.
    let classes: Vec<_> = (0..80)
        .map(|n| {
            let entries = (0..4000).map(|entry| {
                format!("  - |\n    objectName: S\n    objectType: secret\n    objectAlias: {n}/{}{entry}\n", "x".repeat(120))
            });
            Class::new().with("objects", format!("array:\n{}", entries.collect::<String>()))
        })
        .collect();
    let results = join_all(classes.iter().map(|class| node.mount(class))).await;
    let messages: Vec<_> = results
        .into_iter()
        .map(|result| {
            let status = result.unwrap_err();
            assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
            status.message().to_owned()
        })
        .collect();
    let crowded = messages
        .iter()
        .filter(|message| message.contains("there is no memory for this request, which takes"));
    assert!(crowded.count() > 0, "{messages:?}");
    assert!(
        messages
            .iter()
            .all(|message| message.starts_with("[TIMEOUT] "))
    );
    assert!(node.provider.peak_memory() < LIMIT);
}
