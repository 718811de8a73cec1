//! What the log says of mounts, and how often.

use std::time::Duration;

use azure_emulator::{Effect, NewSecret, Target};
use serde_json::{Map, Value};

use crate::support::class::Class;
use crate::support::provider::PATIENCE;
use crate::support::{Node, VAULT};

/// The lines of the log that are mounts', as JSON.
fn mounts(node: &Node) -> Vec<Map<String, Value>> {
    let log = node.provider.log();
    let lines = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")));
    lines
        .filter(|line: &Map<String, Value>| line.contains_key("code"))
        .collect()
}

/// The mount's line once it is there.
async fn nth(node: &Node, n: usize) -> Map<String, Value> {
    let line = async {
        loop {
            if let Some(line) = mounts(node).get(n) {
                return line.clone();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let line = tokio::time::timeout(PATIENCE, line).await;
    line.unwrap_or_else(|_| panic!("there is no line {n} among {:#?}", mounts(node)))
}

fn expect(line: &Map<String, Value>, expected: &[(&str, &str)]) {
    for (field, value) in expected {
        assert_eq!(line[*field], *value, "{field} of {line:#?}");
    }
}

#[tokio::test]
async fn a_line_says_who_mounted_what_and_is_quiet_when_nothing_changes() {
    let node = Node::start_with(&["--log-format-json"]).await;
    node.vault.set_secret("S", "value-canary");
    let class = Class::of_secret("S");
    for _ in 0..4 {
        node.mount(&class).await.unwrap();
    }
    let first = nth(&node, 0).await;
    expect(
        &first,
        &[
            ("level", "INFO"),
            ("message", "mounted"),
            ("namespace", "chat"),
            ("pod", "chat-backend-0"),
            ("class", "azure-kv-openai-secret"),
            ("identity", "managed identity"),
            ("identity_id", "e502213f…"),
            ("vault", VAULT),
            ("code", "OK"),
        ],
    );
    let versions = first["objects"].as_str().unwrap();
    let version = versions.strip_prefix("secret/S=").unwrap();
    assert_eq!(version.len(), 32, "{versions}");
    let whole = first["milliseconds"].as_u64().unwrap();
    for phase in [
        "connect_ms",
        "token_ms",
        "limiter_ms",
        "vault_ms",
        "render_ms",
    ] {
        let took = first[phase].as_u64().unwrap();
        assert!(took <= whole + 5, "{phase}: {first:#?}");
    }
    assert!(!first.contains_key("reason") && !first.contains_key("causes"));

    // Another pod's volume is new, and a new version is news.
    node.mount(&class.clone().with("csi.storage.k8s.io/pod.uid", "other"))
        .await
        .unwrap();
    node.vault.set_secret("S", "value-canary-2");
    node.mount(&class).await.unwrap();
    node.mount(&class).await.unwrap();
    let messages: Vec<_> = mounts(&node)
        .iter()
        .map(|line| line["message"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(messages, ["mounted", "mounted", "mounted again, changed"]);
    assert!(!node.provider.log().contains("value-canary"));
}

#[tokio::test]
async fn failures_are_said_each_time_and_their_end_once() {
    let node = Node::start_with(&["--log-format-json"]).await;
    let class = Class::of_secret("S");
    for _ in 0..2 {
        node.mount(&class).await.unwrap_err();
    }
    node.vault.set_secret("S", "v");
    for _ in 0..2 {
        node.mount(&class).await.unwrap();
    }
    let recovered = nth(&node, 2).await;
    let lines = mounts(&node);
    assert_eq!(lines.len(), 3, "{lines:#?}");
    for line in &lines[..2] {
        expect(
            line,
            &[
                ("level", "WARN"),
                ("pod", "chat-backend-0"),
                ("vault", VAULT),
                ("objects", "secret/S"),
                ("code", "NotFound"),
                ("reason", "KV_OBJECT_NOT_FOUND"),
            ],
        );
        assert!(line["message"].as_str().unwrap().contains(". Fix: "));
        assert!(
            line["causes"]
                .as_str()
                .unwrap()
                .contains("the mount failed")
        );
        assert!(line.contains_key("token_ms") && !line.contains_key("render_ms"));
    }
    expect(
        &recovered,
        &[
            ("level", "INFO"),
            ("message", "mounted again after failures"),
        ],
    );
    assert_eq!(recovered["failures"], 2);
}

#[tokio::test]
async fn unchanged_mounts_are_there_at_debug() {
    let node = Node::start_with(&["--log-format-json", "--log-level=debug"]).await;
    node.vault.set_secret("S", "v");
    for _ in 0..2 {
        node.mount(&Class::of_secret("S")).await.unwrap();
    }
    let line = nth(&node, 1).await;
    expect(
        &line,
        &[("level", "DEBUG"), ("message", "mounted again, unchanged")],
    );
}

#[tokio::test]
async fn a_caller_that_leaves_has_a_line_too() {
    let node = Node::start_with(&["--log-format-json"]).await;
    node.vault.set_secret("S", "v");
    node.azure
        .faults()
        .always(Target::vault(VAULT), Effect::Hang);
    let class = Class::of_secret("S");
    let left = tokio::time::timeout(Duration::from_millis(300), node.mount(&class)).await;
    assert!(left.is_err());
    let line = nth(&node, 0).await;
    expect(
        &line,
        &[
            ("level", "WARN"),
            ("code", "Canceled"),
            ("pod", "chat-backend-0"),
        ],
    );
    node.azure.faults().clear();
    node.mount(&class).await.unwrap();
    assert_eq!(
        nth(&node, 1).await["message"],
        "mounted again after failures"
    );
}

#[tokio::test]
async fn warnings_are_said_when_they_are_new() {
    let node = Node::start().await;
    node.vault
        .set_secret_with("S", NewSecret::new("v").expires(1));
    let class = Class::of_secret("S").with("keyVaultNmae", "typo");
    for _ in 0..3 {
        node.mount(&class).await.unwrap();
    }
    let log = node.provider.log();
    for words in [
        "the class may not mean what it says",
        "has expired; it is served all the same",
    ] {
        assert_eq!(log.matches(words).count(), 1, "{words}: {log}");
    }
}

#[tokio::test]
async fn names_from_outside_stay_in_their_fields() {
    let hostile = "x\" code=\"OK\"\nINFO forged \u{1b}[31m\u{202e}";
    for flags in [&["--log-format-json"][..], &[]] {
        let node = Node::start_with(flags).await;
        node.vault.set_secret("S", "v");
        let class = Class::of_secret("S")
            .with("csi.storage.k8s.io/pod.name", hostile)
            .with("csi.storage.k8s.io/pod.namespace", hostile)
            .with("secretProviderClass", hostile.repeat(6));
        node.mount(&class).await.unwrap();
        _ = node.mount(&class.without("objects")).await;
        let log = node.provider.log();
        assert!(log.contains("forged"), "{log}");
        assert!(!log.contains(['\u{1b}', '\u{202e}']), "{log:?}");
        for line in log.lines() {
            assert!(!line.starts_with("INFO") && line.len() < 8000, "{line:?}");
        }
        if flags.is_empty() {
            assert!(!log.contains("x\" code"), "{log}");
        } else {
            assert_eq!(mounts(&node).len(), 2);
        }
    }
}

#[tokio::test]
async fn a_line_names_a_bounded_number_of_objects() {
    let node = Node::start_with(&["--log-format-json"]).await;
    let class = (0..50).fold(Class::new(), |class, n| {
        let name = format!("S{n}");
        node.vault.set_secret(&name, "v");
        class.object(&format!("objectName: {name}\nobjectType: secret"))
    });
    node.mount(&class).await.unwrap();
    let line = nth(&node, 0).await;
    let objects = line["objects"].as_str().unwrap();
    assert!(objects.ends_with(" and 30 more"), "{objects}");
    assert_eq!(objects.matches("secret/").count(), 20, "{objects}");
}

#[tokio::test]
async fn the_end_of_failures_is_said_also_where_nothing_has_changed() {
    let node = Node::start_with(&["--log-format-json"]).await;
    node.vault.set_secret("S", "v");
    let class = Class::of_secret("S");
    node.mount(&class).await.unwrap();
    let fault = node
        .azure
        .faults()
        .always(Target::vault(VAULT), Effect::error(400));
    node.mount(&class).await.unwrap_err();
    node.azure.faults().remove(fault);
    for _ in 0..2 {
        node.mount(&class).await.unwrap();
    }
    let recovered = nth(&node, 2).await;
    expect(
        &recovered,
        &[
            ("level", "INFO"),
            ("message", "mounted again after failures"),
        ],
    );
    assert_eq!(recovered["failures"], 1);
}
