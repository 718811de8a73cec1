//! `--policy`: which namespaces may use which vaults, identities and objects, and how its file is followed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use azure_emulator::{Emulator, Permissions, Settings};
use tempfile::TempDir;
use tonic::Code;

use crate::support::class::Class;
use crate::support::provider::{PATIENCE, command};
use crate::support::{CLIENT_ID, Node, OBJECT_ID, VAULT, expect_status, files};

/// A ConfigMap as the kubelet mounts it: the file is a link through `..data`, and a change puts another
/// folder there in one step.
struct ConfigMap {
    folder: TempDir,
    changes: usize,
}

impl ConfigMap {
    fn with(policy: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        symlink("..data/policy.yaml", folder.path().join("policy.yaml")).unwrap();
        let mut map = Self { folder, changes: 0 };
        map.change(policy);
        map
    }

    fn change(&mut self, policy: &str) {
        self.changes += 1;
        let data = format!("..{}", self.changes);
        let path = |name: &str| self.folder.path().join(name);
        fs::create_dir(path(&data)).unwrap();
        fs::write(path(&data).join("policy.yaml"), policy).unwrap();
        symlink(&data, path("..data_tmp")).unwrap();
        fs::rename(path("..data_tmp"), path("..data")).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("policy.yaml")
    }

    async fn node(&self, flags: &[&str]) -> Node {
        let file = self.file().display().to_string();
        let node = Node::start_with(&[&["--policy", &file], flags].concat()).await;
        node.vault.set_secret("OPENAI-API-KEY", "v");
        node.vault.set_secret("DB-PASSWORD", "v");
        node
    }
}

/// The example's pods may read the keys of their vault with the node's identity.
fn chat_reads_its_keys() -> String {
    format!(
        "rules:\n- name: chat-reads-its-keys\n  namespaces: [chat]\n  serviceAccounts: [chat]\n  vaults: [{VAULT}]\n  \
         identities: {{managed: [{CLIENT_ID}]}}\n  objects: [secret/*-KEY]\n"
    )
}

const CHAT_MAY_NOTHING: &str = "rules: []";
const DENIED: &[&str] = &["[POLICY_DENIED] ", "the provider's policy does not let"];

fn class() -> Class {
    Class::of_secret("OPENAI-API-KEY")
}

#[tokio::test]
async fn what_no_rule_allows_is_denied_before_any_request() {
    let map = ConfigMap::with(&chat_reads_its_keys());
    let node = map.node(&[]).await;
    // What is denied would be there.
    let other = node.azure.vault("payments-kv");
    other.grant(OBJECT_ID, Permissions::read());
    other.set_secret("OPENAI-API-KEY", "v");
    let namespace = "csi.storage.k8s.io/pod.namespace";
    let account = "csi.storage.k8s.io/serviceAccount.name";
    let does_not_fit = |field: &str| {
        format!("the nearest rule, chat-reads-its-keys, does not fit by its {field}. Fix: ")
    };
    for (class, words) in [
        (class().with(namespace, "evil"), "namespaces"),
        // Keys that only look like the kubelet's, and a name that only looks like the namespace.
        (
            class()
                .with(namespace, "evil")
                .with("csi.storage.k8s.io/Pod.Namespace", "chat")
                .with(" csi.storage.k8s.io/pod.namespace", "chat")
                .with("csi.storage.k8s.io/pod.namespace ", "chat"),
            "namespaces",
        ),
        (class().with(namespace, "ch\u{430}t"), "namespaces"),
        (class().with(namespace, "CHAT"), "namespaces"),
        (class().with(account, "default"), "serviceAccounts"),
        (class().without(account), "serviceAccounts"),
        (class().with("keyvaultName", "payments-kv"), "vaults"),
        (class().with("cloudName", "AzureChinaCloud"), "vaults"),
        (
            class().with("userAssignedIdentityID", format!("objectID:{OBJECT_ID}")),
            "identities",
        ),
        (
            class()
                .with("clientID", CLIENT_ID)
                .without("userAssignedIdentityID")
                .token("api://AzureADTokenExchange", "a.b.c"),
            "identities",
        ),
        (
            class().without("userAssignedIdentityID").secrets(&format!(
                r#"{{"clientid":"{CLIENT_ID}","clientsecret":"s"}}"#
            )),
            "identities",
        ),
        (Class::of_secret("DB-PASSWORD"), "objects"),
        (Class::of("cert", "OPENAI-API-KEY"), "objects"),
        (
            class().object("objectName: DB-PASSWORD\nobjectType: secret"),
            "objects",
        ),
    ] {
        let words = does_not_fit(words);
        expect_status(
            node.mount(&class).await,
            Code::PermissionDenied,
            &[DENIED, &[words.as_str(), "ask the platform team"]].concat(),
        );
    }
    let azure = node.azure.counters();
    assert_eq!((azure.imds().requests, azure.entra().requests), (0, 0));
    assert_eq!(azure.snapshot().connections.tcp, 0);

    let response = node
        .mount(&class().with("keyvaultName", VAULT.to_uppercase()))
        .await
        .unwrap();
    assert_eq!(files(&response), [("OPENAI-API-KEY", 0o644, "v")]);
}

#[tokio::test]
async fn a_refusal_says_who_wanted_what() {
    let map = ConfigMap::with(&chat_reads_its_keys());
    let node = map.node(&[]).await;
    let result = node.mount(&Class::of_secret("DB-PASSWORD")).await;
    expect_status(
        result,
        Code::PermissionDenied,
        &[&format!(
            "namespace \"chat\", service account \"chat\", read \"secret/DB-PASSWORD\" from Key Vault \
             \"{VAULT}.vault.azure.net\" with managed identity \"{CLIENT_ID}\": "
        )],
    );
    assert!(node.provider.log().contains("POLICY_DENIED"));
}

#[tokio::test]
async fn the_next_mount_is_judged_by_the_file_as_it_is_then() {
    let mut map = ConfigMap::with(CHAT_MAY_NOTHING);
    // Values that are kept are no way around it.
    let node = map.node(&["--cache-ttl", "60s"]).await;
    expect_status(
        node.mount(&class()).await,
        Code::PermissionDenied,
        &[DENIED, &["it has no rules"]].concat(),
    );
    map.change(&chat_reads_its_keys());
    node.mount(&class()).await.unwrap();
    map.change(CHAT_MAY_NOTHING);
    expect_status(node.mount(&class()).await, Code::PermissionDenied, DENIED);
    assert_eq!(node.azure.counters().vault(VAULT).requests, 1);
    let log = node.provider.log();
    assert_eq!(log.matches("the policy has changed").count(), 2, "{log}");
    assert!(log.contains("rules=1") && log.contains("rules=0"), "{log}");
}

#[tokio::test]
async fn a_file_that_is_edited_in_place_is_followed_too() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.yaml");
    let (allows, denies) = (
        chat_reads_its_keys(),
        // As long as the other one, and written within the same tick of the clock.
        chat_reads_its_keys().replace("[chat]", "[tahc]"),
    );
    fs::write(&file, &allows).unwrap();
    let node = Node::start_with(&["--policy", &file.display().to_string()]).await;
    node.vault.set_secret("OPENAI-API-KEY", "v");
    for _ in 0..20 {
        node.mount(&class()).await.unwrap();
        fs::write(&file, &denies).unwrap();
        expect_status(node.mount(&class()).await, Code::PermissionDenied, DENIED);
        fs::write(&file, &allows).unwrap();
    }
}

#[tokio::test]
async fn a_file_that_breaks_leaves_the_last_good_policy_in_force() {
    let mut map = ConfigMap::with(&chat_reads_its_keys());
    let node = map.node(&[]).await;
    let evil = class().with("csi.storage.k8s.io/pod.namespace", "evil");
    let holds = async |node: &Node| {
        node.mount(&class()).await.unwrap();
        expect_status(node.mount(&evil).await, Code::PermissionDenied, DENIED);
    };
    let broken = "the policy's file is broken; the last good one stays in force";
    for (count, text) in ["rules:\n- nam: x\n", "", "rules: [", "\u{0}"]
        .into_iter()
        .enumerate()
    {
        map.change(text);
        holds(&node).await;
        // Once, and not at every mount.
        assert_eq!(node.provider.log().matches(broken).count(), count + 1);
    }
    assert!(
        node.provider
            .log()
            .contains("line 2 column 3: unknown field `nam`"),
        "{}",
        node.provider.log()
    );
    fs::remove_file(map.file()).unwrap();
    holds(&node).await;
    assert!(node.provider.log().contains("cannot be read"));
    // A folder in its place, then a good file again, with the rule for somebody else.
    fs::create_dir(map.file()).unwrap();
    holds(&node).await;
    fs::remove_dir(map.file()).unwrap();
    let moved = chat_reads_its_keys().replace("[chat]", "[evil]");
    fs::write(
        map.file(),
        moved.replace("serviceAccounts: [evil]", "serviceAccounts: [chat]"),
    )
    .unwrap();
    node.mount(&evil).await.unwrap();
    expect_status(node.mount(&class()).await, Code::PermissionDenied, DENIED);
}

#[tokio::test]
async fn a_file_that_is_broken_at_the_start_ends_the_process() {
    let azure = Emulator::start(Settings::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.yaml");
    for (policy, words) in [
        (None, "cannot be read: entity not found"),
        (Some(String::new()), "unexpected end of file"),
        (
            Some(chat_reads_its_keys() + "  vault: [x]\n"),
            "line 8 column 3: unknown field `vault`, expected one of name, namespaces, serviceAccounts, vaults, \
             identities, objects",
        ),
        (
            Some(
                chat_reads_its_keys()
                    + "- name: chat-reads-its-keys\n  namespaces: [a]\n  vaults: [kv1]\n",
            ),
            "line 8 column 3: expected every rule to have a name of its own, found a second chat-reads-its-keys",
        ),
        (
            Some(format!(
                "{}#{}",
                chat_reads_its_keys(),
                "x".repeat(256 * 1024)
            )),
            "expected at most 262144 bytes",
        ),
    ] {
        if let Some(policy) = policy {
            fs::write(&file, policy).unwrap();
        }
        let output = command(&azure, folder.path())
            .arg("serve")
            .arg("--endpoint")
            .arg(folder.path().join("azure-rs.sock"))
            .arg("--policy")
            .arg(&file)
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(PATIENCE, output)
            .await
            .expect("the process ends")
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        let line = said.lines().last().unwrap();
        assert!(
            line.starts_with(&format!("error: --policy {}: ", file.display()))
                && line.contains(words),
            "{line:?} should contain {words:?}"
        );
        assert!(!folder.path().join("azure-rs.sock").exists());
    }
}

#[tokio::test]
async fn the_mount_command_has_it_too_and_an_empty_variable_means_none() {
    const MANIFEST: &str = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/examples/openai/secretproviderclass-azure-rs.yaml"
    );
    let map = ConfigMap::with(&chat_reads_its_keys());
    let node = Node::start().await;
    node.vault.set_secret("OPENAI-API-KEY", "v");
    let file = map.file().display().to_string();
    for (policy, namespace, words) in [
        (file.as_str(), "evil", "[POLICY_DENIED] "),
        (file.as_str(), "chat", ""),
        ("", "evil", ""),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let output = command(&node.azure, folder.path())
            .env("PROVIDER_AZURE_RS_POLICY", policy)
            .args([
                "mount",
                MANIFEST,
                "--namespace",
                namespace,
                "--service-account",
                "chat",
            ])
            .arg("--target")
            .arg(folder.path().join("volume"))
            .output();
        let output = tokio::time::timeout(Duration::from_secs(60), output)
            .await
            .unwrap()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.success(), words.is_empty(), "{said}");
        assert!(said.contains(words), "{said}");
    }
}

#[tokio::test]
async fn a_failover_vault_is_judged_as_the_first_one_is() {
    let map = ConfigMap::with(&chat_reads_its_keys());
    let node = map.node(&[]).await;
    let other = node.azure.vault("other-kv");
    other.grant(OBJECT_ID, Permissions::read());
    let class = Class::of_secret("OPENAI-API-KEY").with("failoverKeyvaultName", "other-kv");
    let words = ["[POLICY_DENIED] ", "other-kv"];
    expect_status(node.mount(&class).await, Code::PermissionDenied, &words);
    assert_eq!(node.azure.counters().imds().requests, 0);
    node.mount(&Class::of_secret("OPENAI-API-KEY"))
        .await
        .unwrap();
}
