//! Secrets become files.

use azure_emulator::{NewSecret, ObjectKind};

use crate::support::class::Class;
use crate::support::{Node, VAULT, expect_status, files, versions};

#[tokio::test]
async fn the_examples_class_becomes_its_file() {
    let node = Node::start().await;
    let value = "sk-proj-\u{e9}\n with spaces, \"quotes\" and a last newline\n";
    let version = node.vault.set_secret("OPENAI-API-KEY", value);
    let response = node
        .mount(&Class::of_secret("OPENAI-API-KEY"))
        .await
        .unwrap();
    assert_eq!(files(&response), [("OPENAI-API-KEY", 0o644, value)]);
    assert_eq!(
        versions(&response),
        [("secret/OPENAI-API-KEY", version.as_str())]
    );
    assert_eq!(response.error, None);
}

#[tokio::test]
async fn the_example_manifests_objects_are_those_of_the_document() {
    let node = Node::start().await;
    node.vault.set_secret("OPENAI-API-KEY", "v");
    let manifest = include_str!("../../examples/openai/secretproviderclass-azure-rs.yaml");
    let objects = manifest.split("objects: |\n").nth(1).unwrap();
    let class = Class::new().with("objects", objects.replace("\n      ", "\n"));
    assert_eq!(
        files(&node.mount(&class).await.unwrap()),
        [("OPENAI-API-KEY", 0o644, "v")]
    );
}

#[tokio::test]
async fn files_come_in_the_order_of_the_class() {
    let node = Node::start().await;
    let mut class = Class::new();
    let mut expected = Vec::new();
    for n in (0..40).rev() {
        let (name, value) = (format!("secret-{n}"), format!("value {n}"));
        node.vault.set_secret(&name, &value);
        class = class.object(&format!("objectName: {name}\nobjectType: secret"));
        expected.push((name, value));
    }
    let response = node.mount(&class).await.unwrap();
    let came: Vec<_> = response
        .files
        .iter()
        .map(|f| {
            (
                f.path.clone(),
                String::from_utf8(f.contents.clone()).unwrap(),
            )
        })
        .collect();
    assert_eq!(came, expected);
    let ids: Vec<_> = versions(&response)
        .into_iter()
        .map(|(id, _)| id.to_owned())
        .collect();
    assert_eq!(
        ids,
        expected
            .iter()
            .map(|(name, _)| format!("secret/{name}"))
            .collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn alias_permission_and_version_are_the_entrys() {
    let node = Node::start().await;
    let old = node.vault.set_secret("DB-PASSWORD", "old");
    let new = node.vault.set_secret("DB-PASSWORD", "new");
    let class = Class::new()
        .object("objectName: DB-PASSWORD\nobjectType: secret\nobjectAlias: app/db/password\nfilePermission: \"0400\"")
        .object(&format!("objectName: DB-PASSWORD\nobjectType: secret\nobjectAlias: old\nobjectVersion: {old}"))
        .object("objectName: DB-PASSWORD\nobjectType: secret\nobjectAlias: latest\nobjectVersion: latest")
        .permission("384");
    let response = node.mount(&class).await.unwrap();
    assert_eq!(
        files(&response),
        [
            ("app/db/password", 0o400, "new"),
            ("old", 0o600, "old"),
            ("latest", 0o600, "new")
        ]
    );
    let id = "secret/DB-PASSWORD";
    assert_eq!(
        versions(&response),
        [(id, new.as_str()), (id, old.as_str()), (id, new.as_str())]
    );
}

#[tokio::test]
async fn a_changed_secret_is_there_on_the_next_mount() {
    let node = Node::start().await;
    let class = Class::of_secret("S");
    node.vault.set_secret("S", "before");
    node.mount(&class).await.unwrap();
    let version = node.vault.set_secret("S", "after");
    let response = node.mount(&class).await.unwrap();
    assert_eq!(files(&response), [("S", 0o644, "after")]);
    assert_eq!(versions(&response), [("secret/S", version.as_str())]);
}

#[tokio::test]
async fn odd_values_are_served_byte_by_byte() {
    let node = Node::start().await;
    for value in ["", "\0", "\r\n", "\u{feff}bom", &"x".repeat(25_000)] {
        node.vault.set_secret("S", value);
        assert_eq!(
            files(&node.mount(&Class::of_secret("S")).await.unwrap()),
            [("S", 0o644, value)]
        );
    }
    // Expired and not yet valid secrets are served by the vault, and so by us.
    node.vault
        .set_secret_with("S", NewSecret::new("expired").expires(1));
    assert_eq!(
        files(&node.mount(&Class::of_secret("S")).await.unwrap()),
        [("S", 0o644, "expired")]
    );
}

#[tokio::test]
async fn objects_that_cannot_be_had_are_all_named() {
    let node = Node::start().await;
    node.vault.set_secret("here", "v");
    node.vault.set_secret("disabled", "v");
    node.vault
        .set_enabled(ObjectKind::Secret, "disabled", None, false)
        .unwrap();
    node.vault.set_secret("deleted", "v");
    node.vault.delete(ObjectKind::Secret, "deleted").unwrap();
    let mut class = Class::new();
    for name in ["here", "missing", "disabled", "deleted"] {
        class = class.object(&format!("objectName: {name}\nobjectType: secret"));
    }
    let words = [
        "[KV_OBJECT_NOT_FOUND] ",
        "has no secret \"missing\"",
        "secret \"disabled\" [KV_OBJECT_DISABLED]",
        "secret \"deleted\"",
        "Fix: ",
        "az keyvault secret list-deleted --vault-name ai-chat-kv-1763873634",
    ];
    expect_status(node.mount(&class).await, tonic::Code::NotFound, &words);
    let class = Class::of_secret("disabled");
    let words = [
        "[KV_OBJECT_DISABLED] ",
        "set-attributes",
        "--name disabled --enabled true",
    ];
    expect_status(
        node.mount(&class).await,
        tonic::Code::FailedPrecondition,
        &words,
    );
}

#[tokio::test]
async fn an_unknown_version_is_not_found() {
    let node = Node::start().await;
    node.vault.set_secret("S", "v");
    let version = "0123456789abcdef0123456789abcdef";
    let class = Class::new().object(&format!(
        "objectName: S\nobjectType: secret\nobjectVersion: {version}"
    ));
    let words = ["[KV_OBJECT_NOT_FOUND] ", version];
    expect_status(node.mount(&class).await, tonic::Code::NotFound, &words);
}

#[tokio::test]
async fn a_class_that_asks_for_too_much_is_refused_as_soon_as_that_shows() {
    let flags = [
        "--max-answer-size",
        "10000",
        "--max-concurrent-requests",
        "1",
    ];
    let node = Node::start_with(&flags).await;
    node.vault.set_secret("S", "x".repeat(4000));
    let class = (0..100).fold(Class::new(), |class, n| {
        let entry = format!("objectName: S\nobjectType: secret\nobjectAlias: a{n}");
        class.object(&entry)
    });
    let words = [
        "[ANSWER_TOO_LARGE] ",
        "more than 10000 bytes",
        "several classes",
    ];
    let code = tonic::Code::FailedPrecondition;
    expect_status(node.mount(&class).await, code, &words);
    // What the process keeps meanwhile is what the answer could have.
    let asked = node.azure.counters().vault(VAULT).all_gets();
    assert!(asked <= 4, "{asked} requests");
}

#[tokio::test]
async fn an_answer_that_the_driver_would_not_take_is_refused() {
    let node = Node::start_with(&["--max-answer-size", "1000"]).await;
    node.vault.set_secret("S", "x".repeat(600));
    node.mount(&Class::of_secret("S")).await.unwrap();
    let class = Class::of_secret("S").object("objectName: S\nobjectType: secret\nobjectAlias: T");
    let words = [
        "[ANSWER_TOO_LARGE] ",
        "more than 1000 bytes",
        "--max-call-recv-msg-size",
        "--max-answer-size",
    ];
    expect_status(
        node.mount(&class).await,
        tonic::Code::FailedPrecondition,
        &words,
    );
}
