//! One SecretProviderClass: whether it is this provider's, and what Kubernetes refuses in it before the
//! driver is ever called. Its parameters are [`parameters`]' matter.

use crate::commands::PROVIDERS;
use crate::commands::validate::assumptions::Assumptions;
use crate::commands::validate::finding::{Finding, Place, Severity};
use crate::commands::validate::findings::{Findings, Say, unknown_field};
use crate::commands::validate::placed_yaml::{Node, Text};
use crate::commands::validate::places::{Places, Subject};
use crate::commands::validate::{metadata, parameters};
use crate::text::excerpt::Excerpt;

/// The group of the API that the kind belongs to.
pub const GROUP: &str = "secrets-store.csi.x-k8s.io";

/// The maximum number of bytes that etcd takes by default (its `--max-request-bytes`).
const MAX_CLASS: usize = 3 << 19;
/// The maximum number of bytes of an object's annotations, one of which `kubectl apply` makes of the whole class.
const MAX_APPLIED: usize = 256 << 10;
/// The most nodes of a class that are measured. By aliases, a small file may have any number.
const MAX_MEASURED: usize = 1_000_000;

/// The fields of `spec`.
const SPEC: [&str; 3] = ["provider", "parameters", "secretObjects"];

/// What came of one class.
pub struct CheckedClass {
    /// Whether it is one of this provider.
    pub ours: bool,
    /// How many bytes its parameters have, wherever in the file their text is.
    pub bytes: usize,
    /// What there is to say.
    pub findings: Vec<Finding>,
}

/// Checks a class that stands in `file`.
pub fn check(file: &Text<'_>, node: &Node, assumptions: Assumptions) -> CheckedClass {
    let name = node
        .get("metadata")
        .and_then(|metadata| metadata.get("name")?.text());
    let mut findings = Findings::new(name.unwrap_or_default());
    let ours = spec(file, node, assumptions, &mut findings);
    let parameters = node.get("spec").and_then(|spec| spec.get("parameters"));
    CheckedClass {
        ours,
        bytes: parameters
            .map_or(&[][..], Node::entries)
            .iter()
            .filter_map(|(_, value)| value.text().map(str::len))
            .sum(),
        findings: findings.into_list(Place::of(node)),
    }
}

/// Checks the `spec`; whether it is one of this provider.
fn spec(file: &Text<'_>, class: &Node, assumptions: Assumptions, findings: &mut Findings) -> bool {
    let here = Place::of(class);
    let invalid = |message: String, fix: &str| Say {
        severity: Severity::Error,
        reason: "INVALID_MANIFEST",
        message,
        why: "Kubernetes or the driver refuses the class",
        fix: fix.to_owned(),
    };
    let of = |field: &str, node: Option<&Node>| Subject {
        field: field.to_owned(),
        place: node.map_or(here, Place::of),
    };
    let spec = class.get("spec");
    let provider = spec.and_then(|spec| spec.get("provider"));
    let provider_name = provider.and_then(Node::text).unwrap_or_default();
    if !provider_name.is_empty() && !PROVIDERS.contains(&provider_name) {
        findings.add(
            of("spec.provider", provider),
            Say {
                severity: Severity::Note,
                reason: "OTHER_PROVIDER",
                message: format!(
                    "spec.provider: {} is another provider, and its class has not been checked",
                    Excerpt(provider_name)
                ),
                why: "",
                fix:
                    "if it is meant for this provider, write provider: azure-rs or provider: azure"
                        .to_owned(),
            },
        );
        return false;
    }
    api_version(class, findings, here);
    if class
        .get("metadata")
        .and_then(|metadata| metadata.get("name"))
        .is_none()
    {
        let fix = "write metadata.name, as the pods' volumes have it in secretProviderClass";
        let message = "metadata.name: expected the name of the class, found nothing".to_owned();
        findings.add(
            of("metadata.name", class.get("metadata")),
            invalid(message, fix),
        );
    }
    if let Some(metadata) = class.get("metadata") {
        metadata::of_class(metadata, findings);
    }
    size(class, findings, here);
    if provider_name.is_empty() {
        let message = "spec.provider: expected azure-rs or azure, found nothing".to_owned();
        let fix = "write provider: azure-rs under spec";
        findings.add(of("spec.provider", spec), invalid(message, fix));
    }
    for (key, _) in spec.map_or(&[][..], Node::entries) {
        let name = key.text().unwrap_or_default();
        if !SPEC.contains(&name) {
            unknown_field(findings, "spec", key, name, &SPEC);
        }
    }
    let parameters = spec.and_then(|spec| spec.entry("parameters"));
    let places = Places::new(
        file,
        parameters.map_or_else(|| spec.map_or(here, Place::of), |(key, _)| Place::of(key)),
        parameters.map(|(_, parameters)| parameters),
    );
    let secret_objects = spec.and_then(|spec| spec.get("secretObjects"));
    parameters::check(
        parameters.map(|(_, all)| all),
        &places,
        secret_objects,
        assumptions,
        findings,
    );
    true
}

fn api_version(class: &Node, findings: &mut Findings, here: Place) {
    let node = class.get("apiVersion");
    let version = node.and_then(Node::text).unwrap_or_default();
    let severity = match version.strip_prefix(GROUP) {
        Some("/v1") => return,
        Some("/v1alpha1") => Severity::Warning,
        _ => Severity::Error,
    };
    findings.add(
        Subject {
            field: "apiVersion".to_owned(),
            place: node.map_or(here, Place::of),
        },
        Say {
            severity,
            reason: "INVALID_MANIFEST",
            message: format!(
                "apiVersion: expected {GROUP}/v1, found {}",
                Excerpt(version)
            ),
            why: "the API server does not know another version, or will not for long",
            fix: format!("write apiVersion: {GROUP}/v1"),
        },
    );
}

/// A class that Kubernetes cannot keep. It is measured by its texts alone, so that what is refused is too large in
/// every notation.
fn size(class: &Node, findings: &mut Findings, here: Place) {
    let mut bytes = 0;
    let mut nodes = vec![class];
    for _ in 0..MAX_MEASURED {
        let Some(node) = nodes.pop() else { break };
        bytes += node.text().map_or(0, str::len);
        nodes.extend(node.elements().iter().map(|element| &**element));
        nodes.extend(
            node.entries()
                .iter()
                .flat_map(|(key, value)| [&**key, &**value]),
        );
        if bytes > MAX_CLASS {
            break;
        }
    }
    let (severity, message, why, fix) = if bytes > MAX_CLASS {
        (
            Severity::Error,
            format!("the class: expected at most {MAX_CLASS} bytes, found more"),
            "etcd takes no larger object, and the API server refuses the class",
            "spread the objects over several classes",
        )
    } else if bytes > MAX_APPLIED {
        (
            Severity::Warning,
            format!(
                "the class: its texts have {bytes} bytes, and kubectl apply takes at most {MAX_APPLIED}"
            ),
            "kubectl apply keeps the class in an annotation, whose size has a limit",
            "apply it with kubectl apply --server-side, or spread the objects over several classes",
        )
    } else {
        return;
    };
    findings.add(
        Subject {
            field: String::new(),
            place: here,
        },
        Say {
            severity,
            reason: "TOO_LARGE",
            message,
            why,
            fix: fix.to_owned(),
        },
    );
}
