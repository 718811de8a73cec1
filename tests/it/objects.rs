//! Keys, certificates, histories and encodings become files.

use std::fs;

use azure_emulator::{
    CertificatePolicy, Effect, KeyType, NewSecret, ObjectKind, Permissions, Target,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use der::Decode as _;
use spki::SubjectPublicKeyInfoRef;
use tonic::Code;

use crate::support::class::Class;
use crate::support::{Node, OBJECT_ID, VAULT, expect_status, files, versions};

/// A file among the certificates that OpenSSL made.
fn fixture(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/certificates");
    fs::read(format!("{folder}/{name}")).unwrap()
}

fn text(name: &str) -> String {
    String::from_utf8(fixture(name)).unwrap()
}

fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// A secret as the vault has it for a certificate.
fn certificate_secret(node: &Node, name: &str, content_type: &str, value: &str) {
    let kid =
        format!("https://{VAULT}.vault.azure.net/keys/{name}/0123456789abcdef0123456789abcdef");
    node.vault.set_secret_with(
        name,
        NewSecret::new(value).content_type(content_type).kid(kid),
    );
}

const PFX: &str = "application/x-pkcs12";
const PEM: &str = "application/x-pem-file";

#[tokio::test]
async fn a_key_is_its_public_half() {
    let node = Node::start().await;
    node.vault.grant(OBJECT_ID, Permissions::all());
    for kind in [
        KeyType::Rsa2048,
        KeyType::P256,
        KeyType::P384,
        KeyType::P521,
        KeyType::P256K,
    ] {
        let version = node.vault.create_key("K", kind);
        let response = node.mount(&Class::of("key", "K")).await.unwrap();
        let (path, mode, pem) = files(&response)[0];
        assert_eq!((path, mode), ("K", 0o644));
        let der = pem
            .strip_prefix("-----BEGIN PUBLIC KEY-----\n")
            .and_then(|rest| rest.strip_suffix("-----END PUBLIC KEY-----\n"))
            .unwrap();
        let der = STANDARD.decode(der.replace('\n', "")).unwrap();
        let key = node.vault.key("K", Some(&version)).unwrap();
        let member = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap()).unwrap();
        let found = SubjectPublicKeyInfoRef::from_der(&der).unwrap();
        let bytes = found.subject_public_key.as_bytes().unwrap();
        if kind == KeyType::Rsa2048 {
            assert_eq!(found.algorithm, pkcs1::ALGORITHM_ID);
            let rsa = pkcs1::RsaPublicKeyRef::try_from(bytes).unwrap();
            let numbers = (rsa.modulus.as_bytes(), rsa.public_exponent.as_bytes());
            assert_eq!(numbers, (&member("n")[..], &member("e")[..]));
        } else {
            // RFC 5480, section 2.1.1, and SEC 2 for the last.
            let curve = match kind {
                KeyType::P256 => "1.2.840.10045.3.1.7",
                KeyType::P384 => "1.3.132.0.34",
                KeyType::P521 => "1.3.132.0.35",
                _ => "1.3.132.0.10",
            };
            let (algorithm, found_curve) = found.algorithm.oids().unwrap();
            assert_eq!(algorithm.to_string(), "1.2.840.10045.2.1");
            assert_eq!(found_curve.unwrap().to_string(), curve);
            assert_eq!(bytes, [vec![4], member("x"), member("y")].concat());
        }
        assert_eq!(versions(&response), [("key/K", version.as_str())]);
    }
}

#[tokio::test]
async fn a_key_without_a_public_half_is_refused_and_nothing_else_stops() {
    let node = Node::start().await;
    node.vault.grant(OBJECT_ID, Permissions::all());
    for (jwk, words) in [
        (serde_json::json!({"kty": "oct"}), "symmetric"),
        (serde_json::json!({"kty": "OKP", "crv": "Ed25519"}), "OKP"),
        (
            serde_json::json!({"kty": "EC", "x": "AQ", "y": "AQ"}),
            "crv",
        ),
        (serde_json::json!({"kty": "RSA", "e": "AQAB"}), "n"),
        (serde_json::json!({"n": "AQAB", "e": "AQAB"}), "kty"),
    ] {
        node.vault.set_key("K", jwk.as_object().unwrap().clone());
        let words = ["[KV_OBJECT_UNUSABLE] key \"K\"", words, "Fix: "];
        expect_status(
            node.mount(&Class::of("key", "K")).await,
            Code::FailedPrecondition,
            &words,
        );
    }
}

#[tokio::test]
async fn a_certificate_is_its_own_certificate() {
    let node = Node::start().await;
    node.vault.grant(OBJECT_ID, Permissions::all());
    let version = node
        .vault
        .import_certificate("C", &fixture("rsa-aes256.pfx"), None)
        .unwrap();
    let response = node.mount(&Class::of("cert", "C")).await.unwrap();
    assert_eq!(files(&response), [("C", 0o644, text("rsa.crt").as_str())]);
    assert_eq!(versions(&response), [("cert/C", version.as_str())]);
}

#[tokio::test]
async fn a_certificates_secret_is_its_key_and_its_chain() {
    let node = Node::start().await;
    // What OpenSSL makes in all its ways gives the one PEM text that the fixtures have.
    for (stored, expected) in [
        ("rsa-3des.pfx", "rsa.pem"),
        ("rsa-aes256.pfx", "rsa.pem"),
        ("rsa-rc2-40.pfx", "rsa.pem"),
        ("p256-nomac.pfx", "p256.pem"),
        ("p384-aes256.pfx", "p384.pem"),
        ("p521-3des.pfx", "p521.pem"),
        ("p256k-aes256.pfx", "p256k.pem"),
        ("null-3des.pfx", "p256.pem"),
        ("null-aes.pfx", "p256.pem"),
    ] {
        certificate_secret(&node, "C", PFX, &base64(&fixture(stored)));
        let response = node.mount(&Class::of("secret", "C")).await.unwrap();
        assert_eq!(
            files(&response),
            [("C", 0o644, text(expected).as_str())],
            "{stored}"
        );
    }
}

#[tokio::test]
async fn a_certificate_that_the_vault_made_comes_as_pem_whatever_it_stores() {
    let node = Node::start().await;
    for pem in [true, false] {
        let policy = CertificatePolicy {
            pem,
            ..CertificatePolicy::default()
        };
        node.vault.create_certificate("C", &policy).unwrap();
        let response = node.mount(&Class::of("secret", "C")).await.unwrap();
        let contents = files(&response)[0].2;
        assert!(
            contents.starts_with("-----BEGIN PRIVATE KEY-----\n"),
            "{pem}"
        );
        assert!(contents.ends_with("-----END CERTIFICATE-----\n"), "{pem}");
    }
}

#[tokio::test]
async fn a_pem_certificate_in_order_stays_byte_by_byte_and_another_is_put_in_order() {
    let node = Node::start().await;
    let stored = text("p256.pem");
    certificate_secret(&node, "C", PEM, &stored);
    assert_eq!(
        files(&node.mount(&Class::of("secret", "C")).await.unwrap())[0].2,
        stored
    );
    // The chain first, upside down, and the key last.
    let mut blocks: Vec<_> = stored
        .split_inclusive("-----\n")
        .collect::<Vec<_>>()
        .chunks(2)
        .map(<[&str]>::concat)
        .collect();
    blocks.reverse();
    certificate_secret(&node, "C", PEM, &blocks.concat());
    assert_eq!(
        files(&node.mount(&Class::of("secret", "C")).await.unwrap())[0].2,
        stored
    );
}

#[tokio::test]
async fn the_operator_may_keep_the_stored_order_and_split_the_files() {
    let node = Node::start_with(&[
        "--construct-pem-chain=false",
        "--write-cert-and-key-in-separate-files",
    ])
    .await;
    certificate_secret(&node, "C", PFX, &base64(&fixture("p256-aes256.pfx")));
    let response = node.mount(&Class::of("secret", "C")).await.unwrap();
    let came = files(&response);
    assert_eq!(
        came.iter().map(|(path, ..)| *path).collect::<Vec<_>>(),
        ["C.crt", "C.key", "C"]
    );
    assert_eq!(format!("{}{}", came[1].2, came[0].2), came[2].2);
    assert_eq!(
        versions(&response)
            .iter()
            .filter(|(id, _)| *id == "secret/C")
            .count(),
        3
    );
    // Only certificates are split.
    node.vault.set_secret("S", "v");
    assert_eq!(
        files(&node.mount(&Class::of("secret", "S")).await.unwrap()),
        [("S", 0o644, "v")]
    );
    let class =
        Class::of("secret", "C").object("objectName: S\nobjectType: secret\nobjectAlias: C.key");
    let words = ["[PATH_CONFLICT] ", "\"C.key\""];
    expect_status(node.mount(&class).await, Code::InvalidArgument, &words);
}

#[tokio::test]
async fn a_pfx_file_may_stay_one() {
    let node = Node::start().await;
    let stored = fixture("p256-3des.pfx");
    certificate_secret(&node, "C", PFX, &base64(&stored));
    let entry = "objectName: C\nobjectType: secret\nobjectFormat: PFX\n";
    let response = node.mount(&Class::new().object(entry)).await.unwrap();
    assert_eq!(response.files[0].contents, base64(&stored).into_bytes());
    let class = Class::new().object(&format!("{entry}objectEncoding: base64\n"));
    assert_eq!(node.mount(&class).await.unwrap().files[0].contents, stored);
}

#[tokio::test]
async fn a_certificate_that_cannot_be_read_is_refused_and_not_shown() {
    let node = Node::start().await;
    for (content_type, value, words) in [
        (PFX, "canary".to_owned(), "base64"),
        (PFX, base64(b"canary"), "PFX"),
        (PFX, base64(&fixture("p256-password.pfx")), "password"),
        (
            "application/canary",
            "v".to_owned(),
            "expected application/x-pem-file or application/x-pkcs12",
        ),
    ] {
        certificate_secret(&node, "C", content_type, &value);
        let words = ["[KV_OBJECT_UNUSABLE] secret \"C\"", words, "Fix: "];
        let result = node.mount(&Class::of("secret", "C")).await;
        let message = result.as_ref().unwrap_err().message();
        assert!(value.len() < 4 || !message.contains(&value), "{message}");
        expect_status(result, Code::FailedPrecondition, &words);
    }
    let kid = "https://kv/keys/C/1";
    node.vault
        .set_secret_with("C", NewSecret::new("v").kid(kid));
    expect_status(
        node.mount(&Class::of("secret", "C")).await,
        Code::FailedPrecondition,
        &["content type"],
    );
}

#[tokio::test]
async fn encoded_values_are_decoded() {
    let node = Node::start().await;
    for (encoding, value, expected) in [
        ("utf-8", "caf\u{e9}", "caf\u{e9}".as_bytes()),
        ("base64", "AP8Q\r\n/w==\n", &[0, 255, 16, 255][..]),
        ("HEX", "00fF10", &[0, 255, 16]),
        ("base64", "", &[]),
    ] {
        node.vault.set_secret("S", value);
        let class = Class::new().object(&format!(
            "objectName: S\nobjectType: secret\nobjectEncoding: {encoding}"
        ));
        assert_eq!(
            node.mount(&class).await.unwrap().files[0].contents,
            expected,
            "{encoding} {value:?}"
        );
    }
    for (encoding, value) in [
        ("base64", "canary!"),
        ("base64", "AP8Q/w"),
        ("hex", "canary"),
        ("hex", "0"),
    ] {
        node.vault.set_secret("S", value);
        let class = Class::new().object(&format!(
            "objectName: S\nobjectType: secret\nobjectEncoding: {encoding}"
        ));
        let result = node.mount(&class).await;
        assert!(!result.as_ref().unwrap_err().message().contains("canary"));
        expect_status(
            result,
            Code::FailedPrecondition,
            &["[KV_OBJECT_UNUSABLE] ", "objectEncoding"],
        );
    }
}

#[tokio::test]
async fn a_history_has_a_file_for_each_version() {
    let node = Node::start().await;
    let made: Vec<_> = (0..5)
        .map(|n| node.vault.set_secret("S", format!("value {n}")))
        .collect();
    node.vault
        .set_enabled(ObjectKind::Secret, "S", Some(&made[3]), false)
        .unwrap();
    let history =
        |entry: &str| Class::new().object(&format!("objectName: S\nobjectType: secret\n{entry}"));
    let response = node
        .mount(&history("objectVersionHistory: 3"))
        .await
        .unwrap();
    assert_eq!(
        files(&response),
        [
            ("S/0", 0o644, "value 4"),
            ("S/1", 0o644, "value 2"),
            ("S/2", 0o644, "value 1")
        ]
    );
    assert_eq!(
        versions(&response),
        [
            ("secret/S/0", made[4].as_str()),
            ("secret/S/1", made[2].as_str()),
            ("secret/S/2", made[1].as_str())
        ]
    );
    let from = format!(
        "objectVersionHistory: 9\nobjectVersion: {}\nobjectAlias: app/old",
        made[2]
    );
    let response = node.mount(&history(&from)).await.unwrap();
    let paths: Vec<_> = files(&response)
        .into_iter()
        .map(|(path, _, value)| (path, value))
        .collect();
    assert_eq!(
        paths,
        [
            ("app/old/0", "value 2"),
            ("app/old/1", "value 1"),
            ("app/old/2", "value 0")
        ]
    );
    assert_eq!(versions(&response)[2].0, "secret/S/2");
    // One version is no history.
    for one in ["0", "1", "-1"] {
        let response = node
            .mount(&history(&format!("objectVersionHistory: {one}")))
            .await
            .unwrap();
        assert_eq!(files(&response), [("S", 0o644, "value 4")]);
    }
    for unknown in [&made[3], "0123456789abcdef0123456789abcdef"] {
        let class = history(&format!(
            "objectVersionHistory: 3\nobjectVersion: {unknown}"
        ));
        let words = [
            "[KV_OBJECT_NOT_FOUND] ",
            unknown,
            "the newest that are enabled are",
            &made[4],
        ];
        expect_status(node.mount(&class).await, Code::NotFound, &words);
    }
}

#[tokio::test]
async fn versions_of_one_second_begin_with_the_one_that_the_vault_gives() {
    const SECOND: i64 = 1_700_000_000;
    let node = Node::start().await;
    node.vault.grant(OBJECT_ID, Permissions::all());
    for name in ["A", "B", "C", "D"] {
        let made: Vec<_> = (0..4)
            .map(|n| node.vault.set_secret(name, format!("value {n}")))
            .collect();
        for (version, created) in made.iter().zip([1_600_000_000, SECOND, SECOND, SECOND]) {
            node.vault
                .set_created(ObjectKind::Secret, name, version, created)
                .unwrap();
        }
        let history = |entry: &str| {
            Class::new().object(&format!("objectName: {name}\nobjectType: secret\n{entry}"))
        };
        // Both are of the newest second, and their order stays.
        let mut others = [made[1].as_str(), &made[2]];
        others.sort_unstable();
        let all = [&made[3], others[0], others[1], &made[0]];
        for count in 2..=5 {
            let class = history(&format!("objectVersionHistory: {count}"));
            let response = node.mount(&class).await.unwrap();
            let found: Vec<_> = versions(&response).into_iter().map(|(_, id)| id).collect();
            assert_eq!(found, all[..count.min(4)]);
            assert_eq!(response.files[0].contents, b"value 3");
        }
        let class = history(&format!(
            "objectVersionHistory: 4\nobjectVersion: {}",
            others[1]
        ));
        let response = node.mount(&class).await.unwrap();
        let found: Vec<_> = versions(&response).into_iter().map(|(_, id)| id).collect();
        assert_eq!(found, all[2..]);
        // The vault refuses the newest, and says no more about the others.
        node.vault
            .set_enabled(ObjectKind::Secret, name, Some(&made[3]), false)
            .unwrap();
        let response = node
            .mount(&history("objectVersionHistory: 4"))
            .await
            .unwrap();
        let found: Vec<_> = versions(&response).into_iter().map(|(_, id)| id).collect();
        assert_eq!(found, all[1..]);
    }
}

#[tokio::test]
async fn a_history_costs_a_request_more_only_where_seconds_are_equal() {
    let node = Node::start().await;
    let made: Vec<_> = (0..3).map(|_| node.vault.set_secret("S", "v")).collect();
    let class = Class::new().object("objectName: S\nobjectType: secret\nobjectVersionHistory: 2");
    node.mount(&class).await.unwrap();
    for (created, requests) in [([1, 2, 3], 3), ([1, 1, 2], 3), ([1, 2, 2], 4)] {
        for (version, created) in made.iter().zip(created) {
            node.vault
                .set_created(ObjectKind::Secret, "S", version, created)
                .unwrap();
        }
        let before = node.azure.counters().vault(VAULT);
        node.mount(&class).await.unwrap();
        let after = node.azure.counters().vault(VAULT);
        assert_eq!(after.requests - before.requests, requests, "{created:?}");
    }
}

#[tokio::test]
async fn a_history_may_have_one_file_more_as_with_the_go_provider() {
    let node = Node::start_with(&["--object-version-history", "go"]).await;
    for n in 0..5 {
        node.vault.set_secret("S", format!("value {n}"));
    }
    let class = Class::new().object("objectName: S\nobjectType: secret\nobjectVersionHistory: 2");
    let paths: Vec<_> = node
        .mount(&class)
        .await
        .unwrap()
        .files
        .into_iter()
        .map(|file| file.path)
        .collect();
    assert_eq!(paths, ["S/0", "S/1", "S/2"]);
}

#[tokio::test]
async fn a_history_crosses_the_pages_of_the_vaults_list() {
    let node = Node::start().await;
    node.vault.grant(OBJECT_ID, Permissions::all());
    for n in 0..60 {
        node.vault.set_secret("S", format!("value {n}"));
    }
    let class = Class::new().object("objectName: S\nobjectType: secret\nobjectVersionHistory: 55");
    let response = node.mount(&class).await.unwrap();
    assert_eq!(response.files.len(), 55);
    assert_eq!(files(&response)[54], ("S/54", 0o644, "value 5"));
    for (kind, name) in [("key", "K"), ("cert", "C")] {
        for _ in 0..3 {
            if kind == "key" {
                node.vault.create_key(name, KeyType::P256);
            } else {
                node.vault
                    .create_certificate(name, &CertificatePolicy::default())
                    .unwrap();
            }
        }
        let class = Class::new().object(&format!(
            "objectName: {name}\nobjectType: {kind}\nobjectVersionHistory: 2"
        ));
        let response = node.mount(&class).await.unwrap();
        let ids: Vec<_> = versions(&response).into_iter().map(|(id, _)| id).collect();
        assert_eq!(
            ids,
            [format!("{kind}/{name}/0"), format!("{kind}/{name}/1")]
        );
    }
}

#[tokio::test]
async fn a_history_that_may_not_be_listed_says_so() {
    let node = Node::start().await;
    node.vault.set_secret("S", "v");
    node.vault
        .grant(OBJECT_ID, Permissions::default().on_secrets(&["get"]));
    let class = Class::new().object("objectName: S\nobjectType: secret\nobjectVersionHistory: 2");
    let words = [
        "[KV_ACCESS_DENIED] ",
        "refused \"list\" on secret \"S\"",
        "--secret-permissions get list",
    ];
    expect_status(node.mount(&class).await, Code::PermissionDenied, &words);
}

#[tokio::test]
async fn a_list_that_goes_on_at_another_host_gets_no_token() {
    let node = Node::start().await;
    for n in 0..30 {
        node.vault.set_secret("S", format!("value {n}"));
    }
    let next = Effect::NextLink {
        url: "https://other.vault.azure.net/secrets/S/versions?api-version=7.4".into(),
    };
    node.azure.vault("other");
    node.azure
        .faults()
        .always(Target::vault(VAULT).object("secrets/S"), next);
    let class = Class::new().object("objectName: S\nobjectType: secret\nobjectVersionHistory: 28");
    let words = [
        "[KV_UNEXPECTED_ANSWER] ",
        "points to other.vault.azure.net, which gets no token",
    ];
    expect_status(node.mount(&class).await, Code::FailedPrecondition, &words);
    assert_eq!(node.azure.counters().vault("other").requests, 0);
}

#[tokio::test]
async fn a_list_that_leads_back_to_itself_is_given_up() {
    let node = Node::start().await;
    for n in 0..3 {
        node.vault.set_secret("S", format!("value {n}"));
    }
    let next = Effect::NextLink {
        url: format!("https://{VAULT}.vault.azure.net/secrets/S/versions?api-version=7.4"),
    };
    node.azure
        .faults()
        .always(Target::vault(VAULT).object("secrets/S"), next);
    let class = Class::new().object("objectName: S\nobjectType: secret\nobjectVersionHistory: 2");
    let words = ["[KV_UNEXPECTED_ANSWER] ", "an end to a list of versions"];
    expect_status(node.mount(&class).await, Code::FailedPrecondition, &words);
    assert_eq!(node.azure.counters().vault(VAULT).requests, 11);
}

#[tokio::test]
async fn a_vault_whose_scope_is_documented_is_not_asked_for_it() {
    let node = Node::start().await;
    node.vault.grant(OBJECT_ID, Permissions::all());
    node.vault.set_secret("S", "v");
    node.vault.create_key("K", KeyType::P256);
    node.vault
        .create_certificate("C", &CertificatePolicy::default())
        .unwrap();
    let mut class = Class::new();
    for n in 0..20 {
        for (kind, name) in [("secret", "S"), ("key", "K"), ("cert", "C")] {
            class = class.object(&format!(
                "objectName: {name}\nobjectType: {kind}\nobjectAlias: {kind}-{n}"
            ));
        }
    }
    assert_eq!(node.mount(&class).await.unwrap().files.len(), 60);
    let counts = node.azure.counters().vault(VAULT);
    assert_eq!(counts.challenges, 0);
    // Entries of one object share its request, of which there is a second one if the first takes long.
    let gets = counts.all_gets();
    assert!((3..=6).contains(&gets), "{gets}");
    assert_eq!(node.azure.counters().imds().requests, 1);
}

#[tokio::test]
async fn a_chain_with_a_gap_or_a_stranger_is_served_and_said_once() {
    let node = Node::start().await;
    let gap = text("p256.key") + &text("p256.crt") + &text("root.crt");
    let stranger =
        text("p256.key") + &text("p256.crt") + &text("issuing.crt") + &text("other-root.crt");
    let whole = text("p256.key") + &text("p256.crt") + &text("issuing.crt");
    certificate_secret(&node, "Gap", PEM, &gap);
    certificate_secret(&node, "Stranger", PEM, &stranger);
    certificate_secret(&node, "Whole", PEM, &whole);
    let pfx = base64(&fixture("p256-aes256.pfx"));
    certificate_secret(&node, "Pfx", PFX, &pfx);
    for name in ["Gap", "Stranger", "Whole", "Pfx"] {
        let class = Class::of_secret(name);
        for pod in ["a", "a", "b"] {
            let class = class.clone().with("csi.storage.k8s.io/pod.uid", pod);
            let response = node.mount(&class).await.unwrap();
            if name == "Gap" {
                assert_eq!(files(&response)[0].2, gap);
            }
        }
    }
    let log = node.provider.log();
    let said: Vec<_> = log
        .lines()
        .filter(|line| line.contains("not whole"))
        .collect();
    assert_eq!(said.len(), 2, "{log}");
    for (line, words) in said.iter().zip([
        "CN=issuing, the issuer of CN=p256, is missing",
        "CN=other-root signs nothing here",
    ]) {
        assert!(line.contains(words) && line.contains("WARN"), "{line}");
    }
    // Another version is said again.
    certificate_secret(&node, "Gap", PEM, &gap);
    node.mount(&Class::of_secret("Gap")).await.unwrap();
    assert_eq!(node.provider.log().matches("not whole").count(), 3);
}

#[tokio::test]
async fn what_comes_with_a_value_is_not_kept_beyond_its_bound() {
    let node = Node::start().await;
    let class = (0..300).fold(Class::new(), |class, n| {
        let secret = NewSecret::new("v").content_type("x".repeat(900_000));
        node.vault.set_secret_with(&format!("S{n}"), secret);
        class.object(&format!("objectName: S{n}\nobjectType: secret"))
    });
    node.mount(&Class::of_secret("S0")).await.unwrap();
    let before = node.provider.peak_memory();
    assert_eq!(node.mount(&class).await.unwrap().files.len(), 300);
    // All content types have 270 MB.
    let more = node.provider.peak_memory() - before;
    assert!(more < 70_000, "{more} kB");
}
