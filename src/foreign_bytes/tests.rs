//! The targets with texts that are nearly right, and with the inputs that fuzzers found.
//!
//! `PROPTEST_CASES=1000000 cargo test --release foreign_bytes` runs them for longer.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::answers::mount_in_short;
use super::{TARGETS, class, mount, objects, policy, refusal};

/// Pieces that YAML gives a meaning to, and those that an entry is made of.
pub fn yaml_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("array:\n"),
        Just("  - |\n"),
        Just("    "),
        Just("objectName: "),
        Just("objectType: secret\n"),
        Just("objectAlias: "),
        Just("- "),
        Just("["),
        Just("]"),
        Just("{"),
        Just("}"),
        Just(": "),
        Just(","),
        Just("\n"),
        Just("\t"),
        Just("\r\n"),
        Just("&a "),
        Just("*a"),
        Just("!!binary "),
        Just("<<: *a\n"),
        Just("|"),
        Just(">-\n"),
        Just("\""),
        Just("'"),
        Just("#"),
        Just("---\n"),
        Just("...\n"),
        Just("~"),
        Just("null"),
        Just("a"),
        Just("../"),
        Just("\\0"),
        Just("\u{feff}"),
        Just("\u{85}"),
        Just("%YAML 1.1\n"),
        Just("? "),
        Just("0x1F"),
        Just("1e999"),
    ];
    prop_oneof![
        prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat()),
        any::<String>(),
    ]
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz")
        .join(name)
}

fn names(folder: &Path, suffix: &str) -> BTreeSet<String> {
    let entries =
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names
        .filter_map(|name| name.strip_suffix(suffix).map(str::to_owned))
        .collect()
}

#[test]
fn what_fuzzers_found_keeps_every_promise() {
    for (name, target) in TARGETS {
        let corpus = folder("corpus").join(name);
        let inputs = names(&corpus, "");
        assert!(!inputs.is_empty(), "{name} has no inputs to begin with");
        for input in inputs {
            let bytes = fs::read(corpus.join(&input)).unwrap();
            assert!(bytes.len() <= 8192, "{name}/{input} is large");
            // The harness names the input that broke a promise.
            println!("fuzz/corpus/{name}/{input}");
            target(&bytes);
        }
    }
}

#[test]
fn every_target_has_a_fuzzer_and_inputs() {
    let targets: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(&folder("fuzz_targets"), ".rs"), targets);
    assert_eq!(names(&folder("corpus"), ""), targets);
}

/// A target that nothing gets through would keep every promise.
#[test]
fn answers_that_are_right_are_mounted_and_others_are_understood() {
    let expected = [
        ("secret", "1"),
        ("managed", "1"),
        ("key", "1"),
        ("key-ec", "1"),
        ("certificate", "1"),
        ("certificate-pem", "PATH_CONFLICT"),
        ("certificate-pfx", "3"),
        ("content-type", "KV_OBJECT_UNUSABLE"),
        ("history", "2"),
        ("pages", "2"),
        ("foreign-page", "KV_UNEXPECTED_ANSWER"),
        ("stack", "1"),
        ("forbidden", "KV_ACCESS_DENIED"),
        ("throttled", "1"),
        ("throttled-long", "KV_UNAVAILABLE"),
        ("html", "KV_UNEXPECTED_ANSWER"),
        ("no-credential", "ENTRA_NO_FEDERATED_CREDENTIAL"),
        ("not-assigned", "IDENTITY_NOT_ASSIGNED"),
    ];
    let found = expected.map(|(input, _)| {
        let bytes = fs::read(folder("corpus/mount").join(input)).unwrap();
        (input, mount_in_short(&bytes))
    });
    assert_eq!(
        found
            .each_ref()
            .map(|(input, short)| (*input, short.as_str())),
        expected
    );
}

proptest! {
    #[test]
    fn any_text_may_be_objects(text in yaml_text()) {
        objects(text.as_bytes());
    }

    #[test]
    fn any_text_may_be_a_policy(text in yaml_text()) {
        policy(text.as_bytes());
    }

    #[test]
    fn any_texts_may_be_a_call(texts in any::<[String; 3]>()) {
        class(texts.join("\n%%\n").as_bytes());
    }

    #[test]
    fn any_parameters_may_be_a_class(
        parameters in prop::collection::hash_map(prop::sample::select(crate::class::property::parameters::NAMES), ".{0,40}", 0..8),
        objects in yaml_text(),
        tokens in any::<String>(),
        secrets in prop::collection::hash_map("(?i)clientid|clientsecret|x", ".{0,10}", 0..4),
    ) {
        let mut attributes = serde_json::json!({
            "csi.storage.k8s.io/pod.name": "p",
            "csi.storage.k8s.io/pod.namespace": "n",
            "csi.storage.k8s.io/serviceAccount.tokens": tokens,
            "keyvaultName": "kv1",
            "tenantId": "t",
            "useVMManagedIdentity": "true",
            "objects": objects,
        });
        for (name, value) in parameters {
            attributes[name] = value.into();
        }
        let secrets = serde_json::json!(secrets);
        class(format!("{attributes}\n%%\n{secrets}\n%%\n420").as_bytes());
    }

    #[test]
    fn any_bytes_may_be_an_error(choice in any::<u8>(), body in body()) {
        refusal(&[&[choice], body.as_slice()].concat());
    }

    #[test]
    fn any_bytes_may_be_an_answer(status in 100u16..600, bodies in [body(), body()]) {
        let [token, vault] = bodies;
        let token = [b"HTTP/1.1 200 OK\n\n", token.as_slice()].concat();
        let vault = [format!("HTTP/1.1 {status} X\n\n").as_bytes(), vault.as_slice()].concat();
        mount(&[b"secret".as_slice(), &token, &vault].join(b"\n%%\n".as_slice()));
    }
}

/// An error's body, or what is none.
fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<Vec<u8>>(),
        ".*".prop_map(|text| {
            let error =
                serde_json::json!({"code": text, "message": text, "innererror": {"code": text}});
            serde_json::json!({"error": error}).to_string().into_bytes()
        }),
        ".*".prop_map(|text| {
            let description = format!("AADSTS{text}");
            serde_json::json!({"error": text, "error_description": description, "error_codes": []})
                .to_string()
                .into_bytes()
        }),
        Just(br#"{"access_token":"t","expires_in":3600,"token_type":"Bearer"}"#.to_vec()),
    ]
}
