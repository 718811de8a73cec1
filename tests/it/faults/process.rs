//! What happens to the process itself: no more files, no more disk, an end at any moment.

use std::process::Stdio;
use std::time::{Duration, Instant};

use azure_emulator::{Effect, Target};
use futures::future::join_all;
use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};
use tokio::net::UnixStream;

use crate::support::class::Class;
use crate::support::provider::{PATIENCE, Provider};
use crate::support::{Node, VAULT, files};

#[tokio::test]
async fn a_process_without_files_to_open_recovers() {
    let node = Node::start().await;
    node.vault.set_secret("S", "v");
    let class = Class::of_secret("S");
    node.mount(&class).await.unwrap();
    // Enough for itself, some callers, and no more.
    let pid = Pid::from_raw(node.provider.id().cast_signed());
    let few = Rlimit {
        current: Some(24),
        maximum: Some(24),
    };
    let socket = node.provider.socket();
    prlimit(pid, Resource::Nofile, few).unwrap();
    let mut callers = Vec::new();
    for _ in 0..100 {
        callers.push(UnixStream::connect(&socket).await.unwrap());
    }
    // The kernel has taken them; the provider cannot, and says so.
    let said = async {
        while !node.provider.log().contains("cannot accept a caller") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, said).await.unwrap();
    // With all those still there, whoever waits gets an answer: files, or a reason.
    let start = Instant::now();
    if let Err(status) = node.mount(&class).await {
        assert!(status.message().starts_with('['), "{status:?}");
    }
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
    drop(callers);
    let recovered = async {
        while node.mount(&class).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, recovered).await.unwrap();
    let channel = crate::support::provider::connect(&socket).await;
    drop(channel);
    node.mount(&class).await.unwrap();
}

#[tokio::test]
async fn a_full_disk_under_the_log_changes_no_mount() {
    let node = Node::start().await;
    node.vault.set_secret("S", "v");
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let mut provider = Provider::start_by(&node.azure, &[], |command, _| {
        command.stderr(Stdio::from(full));
    })
    .await;
    for _ in 0..3 {
        let response = provider
            .mount(Class::of_secret("S").request())
            .await
            .unwrap();
        assert_eq!(files(&response), [("S", 0o644, "v")]);
    }
    let status = provider.mount(Class::of_secret("none").request()).await;
    assert!(
        status
            .unwrap_err()
            .message()
            .starts_with("[KV_OBJECT_NOT_FOUND]")
    );
    provider.signal(Signal::TERM);
    assert!(provider.ended().await.success());
}

#[tokio::test]
async fn a_hundred_mounts_are_answered_by_a_provider_that_is_told_to_stop() {
    let mut node = Node::start_with(&["--shared-reads=false"]).await;
    let names = ["a", "b", "c"];
    let class = names.iter().fold(Class::new(), |class, name| {
        node.vault.set_secret(name, "v");
        class.object(&format!("objectName: {name}\nobjectType: secret"))
    });
    let slow = Effect::delay(Duration::from_millis(500));
    node.azure.faults().always(Target::vault(VAULT), slow);
    let mounts: Vec<_> = (0..100)
        .map(|_| {
            let (mut client, request) = (node.provider.client(), class.request());
            tokio::spawn(async move { client.mount(request).await })
        })
        .collect();
    let under_way = async {
        while node.azure.counters().vault(VAULT).requests < 100 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, under_way).await.unwrap();
    // Some have one object, some have all, some have not begun.
    node.provider.signal(Signal::TERM);
    for answer in join_all(mounts).await {
        let response = answer.unwrap().unwrap().into_inner();
        assert_eq!(files(&response), names.map(|name| (name, 0o644, "v")));
    }
    assert!(node.provider.ended().await.success());
}

#[tokio::test]
async fn a_provider_that_was_killed_is_replaced_on_the_same_socket() {
    let node = Node::start().await;
    node.vault.set_secret("S", "v");
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("azure-rs.sock");
    let mut killed = Provider::start_at(&node.azure, &socket).await;
    let mut client = killed.client();
    killed.signal(Signal::KILL);
    assert!(!killed.ended().await.success());
    assert!(socket.exists(), "nobody has cleaned up");
    let _next = Provider::start_at(&node.azure, &socket).await;
    // By the connection that the driver had, as soon as it notices.
    let again = async {
        loop {
            match client.mount(Class::of_secret("S").request()).await {
                Ok(response) => return response.into_inner(),
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    let response = tokio::time::timeout(PATIENCE, again).await.unwrap();
    assert_eq!(files(&response), [("S", 0o644, "v")]);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
