//! What a class may cost: an author in one namespace writes what takes processors a while, and nobody else's mount waits.

use std::fmt::Write as _;
use std::time::Duration;

use azure_emulator::NewSecret;
use base64::Engine as _;
use tonic::Code;

use crate::support::class::Class;
use crate::support::provider::PATIENCE;
use crate::support::{Node, VAULT, expect_status, files};

const NAMESPACE: &str = "csi.storage.k8s.io/pod.namespace";

/// A map with maps in it, each merged three times into the one around it.
fn nest(depth: usize) -> String {
    (0..depth).fold("x: y".to_owned(), |inside, level| {
        format!("<<: [&a{level} {{{inside}}}, *a{level}, *a{level}]")
    })
}

/// 5,000 entries of which each alone would be bearable.
fn bombs(depth: usize) -> Class {
    let entry = format!("- &e{depth} '{{{}}}'\n- *e{depth}\n", nest(depth));
    Class::new()
        .with(NAMESPACE, "evil")
        .with("objects", format!("array:\n{}", entry.repeat(2500)))
}

#[tokio::test]
async fn what_yaml_repeats_costs_nobody_else_a_mount() {
    let node = Node::start().await;
    node.vault.set_secret("S", "v");
    let (shallow, deep) = (bombs(3), bombs(8));
    let victims = async {
        for _ in 0..5 {
            let response = node.mount(&Class::of_secret("S")).await.unwrap();
            assert_eq!(files(&response), [("S", 0o644, "v")]);
        }
    };
    let (shallow, deep, ()) = tokio::join!(node.mount(&shallow), node.mount(&deep), victims);
    let words = [
        "[INVALID_PARAMETER] objects",
        "repeated by aliases (*) and merge keys (<<), found more; write the entries out",
        "Fix: correct it in the SecretProviderClass",
    ];
    expect_status(shallow, Code::InvalidArgument, &words);
    expect_status(deep, Code::InvalidArgument, &words);
}

#[tokio::test]
async fn entries_that_cannot_be_read_are_named_up_to_a_few() {
    let node = Node::start().await;
    let objects = format!("array:\n{}", "- 'objectName: ['\n".repeat(5000));
    expect_status(
        node.mount(&Class::new().with("objects", objects)).await,
        Code::InvalidArgument,
        &[
            "[INVALID_PARAMETER] objects[0]: expected a YAML map",
            "objects[4]: ",
            "; and 6 more. Fix: ",
        ],
    );
}

#[tokio::test]
async fn a_class_of_thousands_of_entries_is_served() {
    let node = Node::start().await;
    node.vault.set_secret("S", "v");
    let mut objects =
        "shared: &s {objectType: secret, filePermission: '0400'}\narray:\n".to_owned();
    for n in 0..500 {
        writeln!(objects, "- {{<<: *s, objectName: S, objectAlias: f{n}}}").unwrap();
    }
    let response = node.mount(&Class::new().with("objects", objects)).await;
    let response = response.unwrap();
    assert_eq!(response.files.len(), 500);
    assert!(response.files.iter().all(|file| file.mode == 0o400));
}

#[tokio::test]
async fn what_the_policy_denies_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("policy.yaml");
    let rules = "rules: [{name: chat-only, namespaces: [chat], vaults: ['*'], objects: ['S-*']}]";
    std::fs::write(&policy, rules).unwrap();
    let node = Node::start_with(&["--policy", policy.to_str().unwrap()]).await;
    let denied = "[POLICY_DENIED] the provider's policy does not let namespace \"evil\"";
    // What is wrong with the objects would be said, had somebody looked.
    for class in [
        bombs(8),
        Class::new()
            .with(NAMESPACE, "evil")
            .with("objects", "[".repeat(10_000)),
    ] {
        let words = [
            denied,
            "from Key Vault",
            "the nearest rule, chat-only, does not fit by its namespaces",
        ];
        expect_status(node.mount(&class).await, Code::PermissionDenied, &words);
        // Nor does it help to have something else wrong.
        let class = class.with("keyvaultName", "");
        let words = ["[INVALID_PARAMETER] keyvaultName: expected"];
        let status = node.mount(&class).await.unwrap_err();
        assert!(!status.message().contains("objects"), "{status}");
        expect_status(Err(status), Code::InvalidArgument, &words);
    }
    // A long list of a pod that may come so far is judged by each object.
    let mut class = Class::new();
    for n in 0..100 {
        class = class.object(&format!(
            "objectName: {}-{n}\nobjectType: secret",
            if n < 50 { "S" } else { "T" }
        ));
    }
    expect_status(
        node.mount(&class).await,
        Code::PermissionDenied,
        &[
            "read \"secret/T-50\" (and 49 more) from Key Vault",
            "by its objects",
        ],
    );
}

fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let contents = parts.concat();
    let length = u8::try_from(contents.len()).unwrap();
    assert!(length < 128);
    [&[tag, length], &*contents].concat()
}

/// A PFX file whose integrity check asks for so many iterations, and fails.
fn pfx(iterations: u32) -> String {
    const OCTETS: u8 = 0x04;
    const SEQUENCE: u8 = 0x30;
    // 1.2.840.113549.1.7.1 and 1.3.14.3.2.26.
    let data = der(0x06, &[&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1]]);
    let sha1 = der(0x06, &[&[0x2b, 0x0e, 3, 2, 0x1a]]);
    let contents = der(0xa0, &[&der(OCTETS, &[&der(SEQUENCE, &[])])]);
    let algorithm = der(SEQUENCE, &[&sha1, &[5, 0]]);
    let digest = der(SEQUENCE, &[&algorithm, &der(OCTETS, &[&[0; 20]])]);
    let iterations = der(0x02, &[&iterations.to_be_bytes()]);
    let mac = der(SEQUENCE, &[&digest, &der(OCTETS, &[&[7; 8]]), &iterations]);
    let info = der(SEQUENCE, &[&data, &contents]);
    let bytes = der(SEQUENCE, &[&der(0x02, &[&[3]]), &info, &mac]);
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// A class of evil's with so many entries of one certificate with this PFX file.
fn certificate(node: &Node, name: &str, pfx: &str, entries: usize) -> Class {
    let kid =
        format!("https://{VAULT}.vault.azure.net/keys/{name}/0123456789abcdef0123456789abcdef");
    let value = NewSecret::new(pfx);
    let value = value.content_type("application/x-pkcs12").kid(kid);
    node.vault.set_secret_with(name, value);
    (0..entries).fold(Class::new().with(NAMESPACE, "evil"), |class, n| {
        class.object(&format!(
            "objectName: {name}\nobjectType: secret\nobjectAlias: f{n}"
        ))
    })
}

#[tokio::test]
async fn a_certificate_that_takes_long_costs_nobody_else_a_mount_and_ends_with_its_caller() {
    let node = Node::start().await;
    node.vault.set_secret("S", "v");
    let class = certificate(&node, "LONG", &pfx(7_900_000), 200);
    let request = class.with("secretProviderClass", "long-class\n").request();
    let mut client = node.provider.client();
    let attack = tokio::spawn(async move { client.mount(request).await });
    let told = async {
        while !node.provider.log().contains("keeps a processor busy") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, told).await.unwrap();
    let log = node.provider.log();
    let line = log
        .lines()
        .find(|line| line.contains("keeps a processor busy"));
    let line = line.unwrap();
    assert!(
        line.contains("evil") && line.contains(r"long-class"),
        "{line}"
    );
    let response = node.mount(&Class::of_secret("S")).await.unwrap();
    assert_eq!(files(&response), [("S", 0o644, "v")]);
    // Somebody else's certificate is served beside it, and another one of evil's once its caller is gone.
    let other = certificate(&node, "OTHER", &pfx(1), 1);
    let words = [
        "[KV_OBJECT_UNUSABLE] secret \"OTHER\"",
        "protected by a password",
    ];
    expect_status(
        node.mount(&other.clone().with(NAMESPACE, "chat")).await,
        Code::FailedPrecondition,
        &words,
    );
    assert!(!attack.is_finished());
    attack.abort();
    expect_status(node.mount(&other).await, Code::FailedPrecondition, &words);
}

#[tokio::test]
async fn who_asks_for_too_much_derivation_reads_so() {
    let node = Node::start().await;
    let class = certificate(&node, "HOSTILE", &pfx(u32::MAX / 2), 3);
    expect_status(
        node.mount(&class).await,
        Code::FailedPrecondition,
        &[
            "[KV_OBJECT_UNUSABLE] secret \"HOSTILE\"",
            "the PFX file's iteration counts are too high: import it again with 100000 or fewer",
        ],
    );
}
