//! Vaults of other clouds than the public one.

use std::fs;

use azure_emulator::Cloud;
use tonic::Code;

use crate::support::class::Class;
use crate::support::{Node, VAULT, expect_status, files};

#[tokio::test]
async fn a_class_names_its_cloud() {
    for (name, cloud) in [
        ("AzureUSGovernmentCloud", Cloud::UsGovernment),
        ("azurechinacloud", Cloud::China),
    ] {
        let node = Node::start_in(cloud, &[]).await;
        node.vault.set_secret("S", name);
        let class = Class::of_secret("S").with("cloudName", name);
        assert_eq!(
            files(&node.mount(&class).await.unwrap()),
            [("S", 0o644, name)]
        );
    }
}

#[tokio::test]
async fn the_operator_names_the_cloud_of_classes_that_do_not() {
    let flags = ["--cloud-name", "AzureUSGovernmentCloud"];
    let node = Node::start_in(Cloud::UsGovernment, &flags).await;
    node.vault.set_secret("S", "v");
    node.mount(&Class::of_secret("S")).await.unwrap();
}

#[tokio::test]
async fn a_cloud_that_the_tenant_does_not_know_is_pointed_out() {
    let node = Node::start().await;
    let class = Class::of_secret("S").with("cloudName", "AzureUSGovernmentCloud");
    node.vault.set_cloud(Cloud::UsGovernment);
    let words = ["[ENTRA_RESOURCE_NOT_FOUND] ", "AADSTS500011", "cloudName"];
    expect_status(node.mount(&class).await, Code::Unauthenticated, &words);
}

#[tokio::test]
async fn an_azure_stack_is_described_by_a_file_that_the_operator_allows() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, domain: &str| {
        let path = folder.path().join(name);
        let authority = "https://login.microsoftonline.us/";
        let json = serde_json::json!({
            "name": "AzureStackCloud", "activeDirectoryEndpoint": authority, "keyVaultDNSSuffix": domain,
        });
        fs::write(&path, json.to_string()).unwrap();
        path.display().to_string()
    };
    let allowed = folder.path().display().to_string();
    let node = Node::start_in(Cloud::UsGovernment, &["--cloud-env-dir", &allowed]).await;
    node.vault.set_secret("S", "v");
    let stack = Class::of_secret("S").with("cloudName", "AzureStackCloud");
    let right = stack.clone().with(
        "cloudEnvFileName",
        write("right.json", "vault.usgovcloudapi.net"),
    );
    let wrong = stack.clone().with(
        "cloudEnvFileName",
        write("wrong.json", "vault.wrong.example"),
    );
    // Side by side: one class's file says nothing about another's mount.
    let (first, second, third) =
        tokio::join!(node.mount(&right), node.mount(&wrong), node.mount(&right));
    assert_eq!(files(&first.unwrap()), [("S", 0o644, "v")]);
    assert_eq!(files(&third.unwrap()), [("S", 0o644, "v")]);
    expect_status(second, Code::FailedPrecondition, &["vault.wrong.example"]);
    let words = ["[INVALID_PARAMETER] cloudEnvFileName: ", "--cloud-env-dir"];
    let outside = stack.clone().with("cloudEnvFileName", "/etc/passwd");
    expect_status(node.mount(&outside).await, Code::InvalidArgument, &words);
    expect_status(
        node.mount(&stack).await,
        Code::InvalidArgument,
        &["cloudEnvFileName: expected the path"],
    );
}

#[tokio::test]
async fn vaults_of_a_cloud_that_is_not_documented_are_asked_for_their_challenge_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stack.json");
    let json = serde_json::json!({
        "name": "AzureStackCloud", "activeDirectoryEndpoint": "https://login.microsoftonline.us/",
        "keyVaultDNSSuffix": "vault.usgovcloudapi.net",
    });
    fs::write(&file, json.to_string()).unwrap();
    let flags = ["--cloud-env-dir", folder.path().to_str().unwrap()];
    let node = Node::start_in(Cloud::UsGovernment, &flags).await;
    node.vault.set_secret("S", "v");
    let class = Class::of_secret("S")
        .with("cloudName", "AzureStackCloud")
        .with("cloudEnvFileName", file.to_str().unwrap());
    for _ in 0..2 {
        for result in futures::future::join_all((0..20).map(|_| node.mount(&class))).await {
            assert_eq!(files(&result.unwrap()), [("S", 0o644, "v")]);
        }
    }
    let counts = node.azure.counters().vault(VAULT);
    assert_eq!(counts.challenges, 1);
    assert!(counts.all_gets() <= 6, "{}", counts.all_gets());
    assert_eq!(node.azure.counters().imds().requests, 1);
}
