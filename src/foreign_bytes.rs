//! Property tests over every parser of foreign bytes, with inputs that are nearly right: no panic, no
//! hang, and a message that is one bounded line. (Those of certificates are in `rendering`.)
//!
//! `PROPTEST_CASES=1000000 cargo test --release foreign_bytes` runs them for longer.

use proptest::prelude::*;

use crate::credential::refusal::{EntraRefusal, ImdsRefusal};
use crate::object::yaml;
use crate::parameters::Parameters;
use crate::plan::{Conventions, HistoryCount, Plan};
use crate::request::Request;
use crate::transport::Refusal;
use crate::vault::refusal::{Operation, VaultRefusal};

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

fn one_short_line(text: &str) {
    assert!(text.len() < 4000 && !text.contains('\n'), "{text:?}");
}

proptest! {
    #[test]
    fn objects(text in yaml_text()) {
        if let Err(error) = yaml::entries(&text) {
            one_short_line(&error.to_string());
        }
    }

    #[test]
    fn calls(attributes in any::<String>(), secrets in any::<String>(), permission in any::<String>()) {
        if let Err(error) = Request::parse(&attributes, &secrets, &permission) {
            one_short_line(&error.to_string());
        }
    }

    #[test]
    fn classes(
        parameters in prop::collection::hash_map(prop::sample::select(&crate::parameters::NAMES[..]), ".{0,40}", 0..8),
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
        let secrets = serde_json::json!(secrets).to_string();
        let request = match Request::parse(&attributes.to_string(), &secrets, "420") {
            Ok(request) => request,
            Err(error) => {
                one_short_line(&error.to_string());
                return Ok(());
            }
        };
        let parameters = match Parameters::parse(&request) {
            Ok(parameters) => parameters,
            Err(error) => {
                one_short_line(&error.to_string());
                return Ok(());
            }
        };
        parameters.warnings.iter().for_each(|warning| one_short_line(&warning.to_string()));
        let conventions =
            Conventions { history: HistoryCount::Go, construct_pem_chain: true, separate_files: true };
        match Plan::new(parameters, crate::cloud::Cloud::public(), conventions, request.default_mode) {
            Ok(plan) => for fetch in &plan.fetches {
                let path = fetch.path.as_str();
                prop_assert!(!path.starts_with('/') && !path.contains("..") && !path.contains('\0'));
            },
            Err(error) => one_short_line(&error.to_string()),
        }
    }

    #[test]
    fn refusals(status in 300u16..600, body in prop_oneof![
        any::<Vec<u8>>(),
        ".*".prop_map(|text| serde_json::json!({
            "error": {"code": text, "message": text, "innererror": {"code": text}},
        }).to_string().into_bytes()),
        ".*".prop_map(|text| serde_json::json!({
            "error": text, "error_description": format!("AADSTS{text}"), "error_codes": [],
        }).to_string().into_bytes()),
    ]) {
        let refusal = Refusal { host: "h".into(), status, retry_after: None, body: body.into() };
        one_short_line(&EntraRefusal::read(&refusal).to_string());
        one_short_line(&ImdsRefusal::read(&refusal).to_string());
        one_short_line(&VaultRefusal::read(&refusal, Operation::Get).to_string());
    }
}
