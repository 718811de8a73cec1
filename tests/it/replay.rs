//! Answers that Azure gave, served word by word, and what a user reads of each.
//!
//! The files of `azure_answers/` are exchanges from the public test suites of Azure's SDKs and tools, with
//! names, addresses and identifiers replaced. Each has a row below; a file without one fails the test.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use azure_emulator::{Effect, RecordedAnswer, Target};
use provider_azure_rs::generated::v1alpha1::MountResponse;
use serde::Deserialize;
use tonic::Status;

use crate::support::class::Class;
use crate::support::{Node, workload};

/// The vault of the recordings.
const VAULT: &str = "kv-recorded";

/// One exchange, as its file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recording {
    /// What it is, for people.
    #[serde(rename = "kind")]
    _kind: String,
    service: String,
    request: Request,
    response: RecordedAnswer,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    #[serde(rename = "method")]
    _method: String,
    path: String,
}

/// What a mount is to give.
enum Outcome {
    /// Files in their order, each with this in it.
    Files(&'static [(&'static str, &'static str)]),
    /// A refusal with this reason code, with these words in its message and without those.
    Refusal {
        reason: &'static str,
        words: &'static [&'static str],
        not: &'static [&'static str],
    },
}

/// Whose token the vault sees.
#[derive(Clone, Copy)]
enum Identity {
    /// The node's, whose tenant the class does not choose.
    Managed,
    /// The pod's own.
    Workload,
}

use Identity::{Managed, Workload};
use Outcome::{Files, Refusal};

/// File, identity, outcome. A recording of Entra ID is for the pod's identity.
const CASES: &[(&str, Identity, Outcome)] = &[
    (
        "400-stackhub-version.json",
        Managed,
        Refusal {
            reason: "KV_BAD_PARAMETER",
            words: &[
                "this provider's version of its API",
                "(7.1)",
                "cloudName: AzureStackCloud",
            ],
            not: &["proxy", "an object"],
        },
    ),
    (
        "401-akv10022.json",
        Managed,
        Refusal {
            reason: "KV_TOKEN_REJECTED",
            words: &["for another audience", "found: spn:cfa8b339"],
            not: &["tenantID"],
        },
    ),
    (
        "401-akv10046.json",
        Managed,
        Refusal {
            reason: "KV_TOKEN_REJECTED",
            words: &[
                "AKV10046",
                "this is a passing fault of the service",
                "the kubelet tries again",
            ],
            not: &["tenantID"],
        },
    ),
    (
        "403-connection.json",
        Managed,
        Refusal {
            reason: "KV_FIREWALL_DENIED",
            words: &["somesecret", "a private DNS zone that is not linked"],
            not: &[
                "xms_",
                "MC_rg",
                "/subscriptions/0",
                "--public-network-access",
            ],
        },
    ),
    (
        "429.json",
        Managed,
        Refusal {
            reason: "KV_THROTTLED",
            words: &["VaultRequestTypeLimitReached", "--cache-ttl"],
            not: &[],
        },
    ),
    (
        "cert-pending-no-cer.json",
        Managed,
        Refusal {
            reason: "KV_CERTIFICATE_PENDING",
            words: &[
                "cert \"myCertificate\"",
                "has not been issued yet",
                "az keyvault certificate pending show",
                "az keyvault certificate pending merge",
            ],
            not: &["proxy", "endpoint"],
        },
    ),
    (
        "cert-pending-version-no-cer.json",
        Managed,
        Refusal {
            reason: "KV_CERTIFICATE_PENDING",
            words: &[
                "1576316779",
                "has not been issued yet",
                "az keyvault certificate pending show",
            ],
            not: &["proxy", "endpoint"],
        },
    ),
    (
        "entra-7002137.json",
        Workload,
        Refusal {
            reason: "ENTRA_NO_FEDERATED_CREDENTIAL",
            words: &["AADSTS7002137", "az identity federated-credential create"],
            not: &["look the AADSTS code up", "Trace ID"],
        },
    ),
    (
        "entra-7002138.json",
        Workload,
        Refusal {
            reason: "ENTRA_NO_FEDERATED_CREDENTIAL",
            words: &[
                "AADSTS7002138",
                "correct the case of the subject",
                "az identity federated-credential update",
            ],
            not: &[
                "federated-credential create",
                "look the AADSTS code up",
                "Trace ID",
            ],
        },
    ),
    (
        "entra-90002-invalid_tenant.json",
        Workload,
        Refusal {
            reason: "ENTRA_TENANT_NOT_FOUND",
            words: &["tenantID"],
            not: &["Trace ID", "Correlation ID"],
        },
    ),
    (
        "key-disabled-200.json",
        Managed,
        Files(&[("UpdateProperties", "-----BEGIN PUBLIC KEY-----")]),
    ),
    (
        "secret-pfx-nonexportable.json",
        Managed,
        Files(&[("1903327845", "-----BEGIN CERTIFICATE-----")]),
    ),
    (
        "secret-privatelink-2026.json",
        Managed,
        Files(&[("rbacv2-test-001", "value-replaced")]),
    ),
    (
        "secret-versions-empty.json",
        Managed,
        Refusal {
            reason: "KV_OBJECT_NOT_FOUND",
            words: &["has no secret \"91945129\". Fix:", "list-deleted"],
            not: &["enabled"],
        },
    ),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/azure_answers")
}

fn recording(file: &str) -> Recording {
    let json = fs::read(folder().join(file)).unwrap();
    serde_json::from_slice(&json).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The class whose mount asks what was asked in the recording.
fn class(node: &Node, identity: Identity, recording: &Recording) -> (Class, Target) {
    let class = match identity {
        Managed => Class::new(),
        Workload => workload::class(node).without("objects"),
    };
    let class = class.with("keyvaultName", VAULT);
    if recording.service == "entra" {
        let class = class.object("objectName: S\nobjectType: secret");
        return (class, Target::entra());
    }
    let path = recording.request.path.split('?').next().unwrap();
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
    let (collection, name) = (parts[0], parts[1]);
    let kind = match collection {
        "secrets" => "secret",
        "keys" => "key",
        "certificates" => "cert",
        other => panic!("no objects are {other}"),
    };
    let version = match parts.get(2) {
        None => String::new(),
        Some(&"versions") => "\nobjectVersionHistory: 2".to_owned(),
        Some(version) => format!("\nobjectVersion: {version}"),
    };
    let object = format!("objectName: \"{name}\"\nobjectType: {kind}{version}");
    let target = Target::vault(VAULT).object(format!("{collection}/{name}"));
    (class.object(&object), target)
}

/// What is wrong with a mount's answer; nothing if it is the outcome.
fn problems(answer: &Result<MountResponse, Status>, outcome: &Outcome) -> Vec<String> {
    let (answer, message) = match answer {
        Ok(answer) => (Some(answer), ""),
        Err(status) => (None, status.message()),
    };
    let mut problems = Vec::new();
    match (answer, outcome) {
        (Some(answer), Files(expected)) => {
            let found: Vec<_> = answer.files.iter().map(|file| file.path.as_str()).collect();
            let paths: Vec<_> = expected.iter().map(|(path, _)| *path).collect();
            if found != paths {
                problems.push(format!("the files {found:?}"));
            }
            for (file, (path, text)) in answer.files.iter().zip(*expected) {
                let contents = String::from_utf8_lossy(&file.contents);
                if !contents.contains(text) {
                    problems.push(format!("{path} without {text:?}"));
                }
            }
        }
        (None, Refusal { reason, words, not }) => {
            if !message.starts_with(&format!("[{reason}] ")) || message.contains('\n') {
                problems.push(format!("not one line of {reason}"));
            }
            let missing = words.iter().filter(|word| !message.contains(**word));
            problems.extend(missing.map(|word| format!("no {word:?}")));
            let wrong = not.iter().filter(|word| message.contains(**word));
            problems.extend(wrong.map(|word| format!("{word:?}")));
        }
        (Some(_), Refusal { reason, .. }) => problems.push(format!("files, not {reason}")),
        (None, Files(_)) => problems.push("no files".to_owned()),
    }
    if !problems.is_empty() {
        problems.push(format!("in {message:?}"));
    }
    problems
}

#[tokio::test]
async fn each_is_told_as_what_it_is() {
    let mut report = String::new();
    for (file, identity, outcome) in CASES {
        let recording = recording(file);
        let node = Node::start().await;
        node.azure.vault(VAULT).allow_everyone();
        let (class, target) = class(&node, *identity, &recording);
        let effect = Effect::recorded(recording.response);
        node.azure.faults().always(target, effect);
        let answer = node.mount(&class).await;
        let problems = problems(&answer, outcome);
        if !problems.is_empty() {
            writeln!(report, "{file}: {}", problems.join(", ")).unwrap();
        }
    }
    assert!(report.is_empty(), "\n{report}");
}

#[test]
fn every_recording_has_a_row() {
    let files: BTreeSet<_> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let rows: BTreeSet<_> = CASES.iter().map(|(file, ..)| (*file).to_owned()).collect();
    assert_eq!(files, rows);
}
