//! A process that may open few files, and has many vaults to ask.

use azure_emulator::Permissions;
use futures::future::join_all;
use provider_azure_rs::generated::v1alpha1::VersionRequest;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tokio::process::Command;
use tonic::Code;

use crate::support::class::Class;
use crate::support::http::{free_port, get, get_once_served};
use crate::support::provider::Provider;
use crate::support::{Node, OBJECT_ID, expect_status, files, workload};

/// Runs the same with this limit on open files, and without the right to raise it.
fn with_few_files(command: &mut Command, files: usize) {
    let inner = std::mem::replace(command, Command::new("sh"));
    let inner = inner.as_std();
    let limited = format!("ulimit -n {files} && exec \"$0\" \"$@\"");
    command.arg("-c").arg(limited).arg(inner.get_program());
    command.args(inner.get_args()).env_clear();
    for (name, value) in inner.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
}

/// A class of one secret for each of these vaults, which the node's identity may read.
fn classes(node: &Node, vaults: usize) -> Vec<Class> {
    let vaults = (0..vaults).map(|number| format!("team-{number}"));
    vaults
        .map(|name| {
            let vault = node.azure.vault(&name);
            vault.grant(OBJECT_ID, Permissions::read());
            vault.set_secret("S", "v");
            Class::of_secret("S").with("keyvaultName", name)
        })
        .collect()
}

#[tokio::test]
async fn two_hundred_vaults_fit_into_sixty_four_files() {
    let node = Node::start().await;
    let classes = classes(&node, 200);
    let port = free_port();
    let flags = ["--healthz-port".to_owned(), port.to_string()];
    let flags = flags.each_ref().map(String::as_str);
    let limited = Provider::start_by(&node.azure, &flags, |command, _| {
        with_few_files(command, 64);
    })
    .await;
    get_once_served(port, "/healthz").await;
    // One after the other, so that the connections that nobody uses are the many.
    for class in &classes {
        let response = limited.mount(class.request()).await.unwrap();
        assert_eq!(files(&response), [("S", 0o644, "v")]);
    }
    let answer = get(port, "/healthz").await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    // And all at once, while probes come on connections of their own.
    let mounts = join_all(classes.iter().map(|class| limited.mount(class.request())));
    let probes = async {
        for _ in 0..20 {
            let answer = get(port, "/healthz").await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        }
    };
    let (mounts, ()) = tokio::join!(mounts, probes);
    for mount in mounts {
        assert_eq!(files(&mount.unwrap()), [("S", 0o644, "v")]);
    }
    let log = limited.log();
    assert!(!log.contains("cannot accept"), "{log}");
}

/// Leaves the provider the files that it has open, this test's connection among them, and none beyond.
async fn take_files_away(provider: &Provider) {
    let request = VersionRequest {
        version: "v1alpha1".into(),
    };
    provider.client().version(request).await.unwrap();
    let id = provider.id();
    let open = std::fs::read_dir(format!("/proc/{id}/fd")).unwrap();
    let numbers = open.map(|file| file.unwrap().file_name().into_string().unwrap());
    let taken: Vec<u64> = numbers.map(|number| number.parse().unwrap()).collect();
    // The next file would get the lowest number that is free.
    let free = (0..1 << 20).find(|number| !taken.contains(number));
    let few = Rlimit {
        current: free,
        maximum: free,
    };
    prlimit(Pid::from_raw(id.cast_signed()), Resource::Nofile, few).unwrap();
}

#[tokio::test]
async fn a_connection_that_nobody_uses_makes_room_for_one_that_is_needed() {
    let node = Node::start().await;
    let classes = classes(&node, 20);
    let (used, fresh) = classes.split_at(10);
    for class in used {
        node.mount(class).await.unwrap();
    }
    take_files_away(&node.provider).await;
    for class in fresh {
        node.mount(class).await.unwrap();
    }
    // Callers are let in too, by the same means.
    let socket = node.provider.socket();
    let channels = join_all((0..5).map(|_| crate::support::provider::connect(&socket))).await;
    assert_eq!(channels.len(), 5);
    for class in used {
        node.mount(class).await.unwrap();
    }
}

#[tokio::test]
async fn that_no_file_is_left_is_what_the_message_says() {
    let node = Node::start().await;
    let class = &classes(&node, 1)[0];
    take_files_away(&node.provider).await;
    let words = ["no file descriptor left", "RLIMIT_NOFILE", "Fix: "];
    expect_status(node.mount(class).await, Code::FailedPrecondition, &words);
    // Nor is DNS to blame where the resolver could open no file.
    let direct = Provider::start_by(&node.azure, &[], |command, _| {
        command.env_remove("HTTPS_PROXY");
    })
    .await;
    take_files_away(&direct).await;
    let result = direct.mount(workload::class(&node).request()).await;
    expect_status(result, Code::FailedPrecondition, &words);
}
