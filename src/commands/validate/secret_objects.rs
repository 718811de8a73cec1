//! `spec.secretObjects`, by which the driver copies files of the volume into Kubernetes Secrets.
//!
//! The driver does that after the mount, and says in an event of the pod alone what it cannot do.
//!
//! Source: the driver's `pkg/util/secretutil` and `controllers/secretproviderclasspodstatus_controller.go`.

use crate::class::parameters::closest_of;
use crate::class::plan::Fetch;
use crate::class::property::secret_objects::{DATA_NAMES, NAMES};
use crate::commands::validate::finding::{Place, Severity};
use crate::commands::validate::findings::{Findings, Say, unknown_field};
use crate::commands::validate::placed_yaml::{Content, Node};
use crate::commands::validate::places::{Places, Subject};
use crate::rendering::Encoding;
use crate::text::excerpt::Excerpt;

/// The most data entries that are looked at. A hostile class may have any number.
const MAX_DATA: usize = 500;
/// The most paths that a name is compared with to find the one that was meant.
const MAX_COMPARED: usize = 200;

/// Checks all Secrets of a class. Without `fetches` it is not known which files there will be.
pub fn check(
    secrets: &Node,
    fetches: Option<&[(usize, Fetch)]>,
    places: &Places<'_>,
    findings: &mut Findings,
) {
    if !secrets.is_null() && !matches!(secrets.content, Content::Sequence(_)) {
        findings.add(
            Subject {
                field: "secretObjects".to_owned(),
                place: Place::of(secrets),
            },
            Say {
                severity: Severity::Error,
                reason: "INVALID_MANIFEST",
                message: "secretObjects: expected a list, found something else".to_owned(),
                why: "Kubernetes refuses the class",
                fix: "write - before each Secret".to_owned(),
            },
        );
    }
    let mut looked_at = 0;
    for (index, secret) in secrets.elements().iter().enumerate().take(MAX_DATA) {
        let parent = format!("secretObjects[{index}]");
        known_fields(findings, &parent, secret, NAMES);
        for field in ["secretName", "type"] {
            required(findings, &parent, secret, field);
        }
        let data = secret.get("data");
        if data.is_none_or(|data| data.elements().is_empty()) {
            missing(findings, &parent, secret, "data");
        }
        for (index, entry) in data.map_or(&[][..], Node::elements).iter().enumerate() {
            looked_at += 1;
            if looked_at > MAX_DATA {
                return;
            }
            let parent = format!("{parent}.data[{index}]");
            known_fields(findings, &parent, entry, DATA_NAMES);
            required(findings, &parent, entry, "key");
            if required(findings, &parent, entry, "objectName")
                && let (Some(name), Some(fetches)) = (entry.get("objectName"), fetches)
            {
                file(findings, &parent, name, fetches, places);
            }
        }
    }
}

fn known_fields(findings: &mut Findings, parent: &str, map: &Node, known: &[&'static str]) {
    for (key, _) in map.entries() {
        let name = key.text().unwrap_or_default();
        if !known.contains(&name) {
            unknown_field(findings, parent, key, name, known);
        }
    }
}

/// Whether a field is there.
fn required(findings: &mut Findings, parent: &str, map: &Node, field: &str) -> bool {
    let found = map
        .get(field)
        .and_then(Node::text)
        .is_some_and(|text| !text.is_empty());
    if !found {
        missing(findings, parent, map, field);
    }
    found
}

fn missing(findings: &mut Findings, parent: &str, map: &Node, field: &str) {
    findings.add(
        Subject {
            field: format!("{parent}.{field}"),
            place: map
                .entry(field)
                .map_or(Place::of(map), |(key, _)| Place::of(key)),
        },
        Say {
            severity: Severity::Warning,
            reason: "INVALID_SECRET_OBJECT",
            message: format!("{parent}: {field}: expected a value, found nothing"),
            why: "the driver makes no Secret of it",
            fix: format!("write {field}"),
        },
    );
}

/// Whether the name is that of a file of the class.
fn file(
    findings: &mut Findings,
    parent: &str,
    node: &Node,
    fetches: &[(usize, Fetch)],
    places: &Places<'_>,
) {
    let name = node.text().unwrap_or_default().trim();
    let subject = Subject {
        field: format!("{parent}.objectName"),
        place: Place::of(node),
    };
    let Some((index, fetch)) = fetches.iter().find(|(_, fetch)| fetch.may_write(name)) else {
        findings.add(
            subject,
            Say {
                severity: Severity::Warning,
                reason: "NO_SUCH_FILE",
                message: format!(
                    "{parent}: objectName: no file of this class is {}",
                    Excerpt(name)
                ),
                why: "the driver makes no Secret of it",
                fix: advice(name, fetches),
            },
        );
        return;
    };
    if fetch.rendering.encoding == Encoding::Base64 {
        let alike = places.field(*index, "objectEncoding");
        findings.add(
            subject,
            Say {
                severity: Severity::Note,
                reason: "BASE64_IN_SECRET",
                message: format!(
                    "{parent}: the Secret gets the bytes that line {} decodes with objectEncoding: base64",
                    alike.place.at.line
                ),
                why: "Kubernetes encodes a Secret's data by itself; the vault's value does not need to be base64 for it",
                fix: "if the vault's value is plain text, take objectEncoding out".to_owned(),
            },
        );
    }
}

/// Which file was probably meant.
fn advice(name: &str, fetches: &[(usize, Fetch)]) -> String {
    let certificate_part = name
        .strip_suffix(".crt")
        .or_else(|| name.strip_suffix(".key"))
        .is_some_and(|whole| fetches.iter().any(|(_, fetch)| fetch.may_write(whole)));
    if certificate_part {
        return "start the provider (and this check) with --write-cert-and-key-in-separate-files, or name the whole file"
            .to_owned();
    }
    let of_object = fetches
        .iter()
        .find(|(_, fetch)| fetch.name.as_str() == name || fetch.path.as_str() == name);
    if let Some((index, fetch)) = of_object {
        let file = Excerpt(&fetch.first_path()).to_string();
        return match fetch.history {
            Some(_) => format!(
                "write objectName: {file}, the newest version of objects[{index}], which has an objectVersionHistory"
            ),
            None => format!("write objectName: {file}, the objectAlias of objects[{index}]"),
        };
    }
    let paths: Vec<_> = fetches
        .iter()
        .take(MAX_COMPARED)
        .map(|(_, fetch)| fetch.first_path())
        .collect();
    match closest_of(name, paths.iter().map(String::as_str)) {
        Some(path) => format!("write objectName: {}", Excerpt(path)),
        None => "write the objectAlias, or else the objectName, of an entry of objects".to_owned(),
    }
}
