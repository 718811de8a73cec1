//! `spec.secretObjects`, by which the driver copies files of the volume into Kubernetes Secrets.
//!
//! The driver does that after the mount, and says in an event of the pod alone what it cannot do, and in its own log
//! what the API server refuses.
//!
//! Source: the driver's `pkg/util/secretutil` and `controllers/secretproviderclasspodstatus_controller.go`, versions
//! 1.5 and 1.6; `ValidateSecret` in `pkg/apis/core/validation/validation.go` of Kubernetes 1.34.

mod contents;
mod near_file;

use std::collections::{BTreeMap, BTreeSet};

use crate::class::plan::Fetch;
use crate::class::property::Property;
use crate::class::property::secret_objects::{
    ANNOTATIONS, DATA, DATA_NAMES, KEY, LABELS, NAMES, OBJECT_NAME, SECRET_NAME, SECRET_TYPES,
    SecretType, TYPE,
};
use crate::commands::validate::finding::{Place, Severity};
use crate::commands::validate::findings::{Findings, Say, not_a_string, unknown_field};
use crate::commands::validate::metadata::Owner;
use crate::commands::validate::names::{DATA_KEY, SUBDOMAIN};
use crate::commands::validate::placed_yaml::{Content, Node};
use crate::commands::validate::places::{Places, Subject};
use crate::rendering::Encoding;
use crate::text::excerpt::Excerpt;

/// The most data entries that are looked at. A hostile class may have any number.
const MAX_DATA: usize = 500;
/// The label that the driver sets itself.
const MANAGED: &str = "secrets-store.csi.k8s.io/managed";

const INVALID: &str = "INVALID_SECRET_OBJECT";
const BY_API_SERVER: &str = "the API server refuses the Secret";
const BY_DRIVER: &str = "the driver makes no Secret of it";

/// Checks all Secrets of a class. Without `fetches` it is not known which files there will be.
pub fn check(
    secrets: &Node,
    fetches: Option<&[(usize, Fetch)]>,
    places: &Places<'_>,
    findings: &mut Findings,
) {
    let mut check = Check {
        fetches,
        places,
        findings,
        looked_at: 0,
        known: BTreeMap::new(),
    };
    check.list(secrets, "secretObjects", "write - before each Secret");
    for (index, secret) in secrets.elements().iter().enumerate().take(MAX_DATA) {
        check.secret(&format!("secretObjects[{index}]"), secret);
    }
}

/// The Secrets of one class, while they are checked.
struct Check<'a> {
    fetches: Option<&'a [(usize, Fetch)]>,
    places: &'a Places<'a>,
    findings: &'a mut Findings,
    looked_at: usize,
    /// The entry and the type of each Secret so far, by its name.
    known: BTreeMap<&'a str, (String, &'a str)>,
}

impl<'a> Check<'a> {
    fn add(&mut self, field: String, node: &Node, say: Say) {
        let place = Place::of(node);
        self.findings.add(Subject { field, place }, say);
    }

    /// Says of something at a node what Kubernetes or the driver makes no Secret of.
    fn refuse(
        &mut self,
        field: String,
        node: &Node,
        message: String,
        why: &'static str,
        fix: String,
    ) {
        let say = Say {
            severity: Severity::Error,
            reason: INVALID,
            message,
            why,
            fix,
        };
        self.add(field, node, say);
    }

    /// Says so where something is no list.
    fn list(&mut self, node: &Node, field: &str, fix: &str) {
        if !node.is_null() && !matches!(node.content, Content::Sequence(_)) {
            self.other_than(node, field, "a list", fix);
        }
    }

    fn other_than(&mut self, node: &Node, field: &str, expected: &str, fix: &str) {
        let say = Say {
            severity: Severity::Error,
            reason: "INVALID_MANIFEST",
            message: format!("{field}: expected {expected}, found something else"),
            why: "Kubernetes refuses the class",
            fix: fix.to_owned(),
        };
        self.add(field.to_owned(), node, say);
    }

    /// Whether something is a map, with fields of these names; says so where not.
    fn map(&mut self, parent: &str, map: &Node, known: &[&'static str]) -> bool {
        if !matches!(map.content, Content::Mapping(_)) {
            self.other_than(
                map,
                parent,
                "a map",
                "write its fields below it, indented, or take it out",
            );
            return false;
        }
        for (key, _) in map.entries() {
            let name = key.text().unwrap_or_default();
            if !known.contains(&name) {
                unknown_field(self.findings, parent, key, name, known);
            }
        }
        true
    }

    /// A field's text, as the driver reads it: without the spaces around it. Says so where there is none.
    fn text(
        &mut self,
        parent: &str,
        map: &'a Node,
        field: &Property,
    ) -> Option<(&'a Node, &'a str)> {
        let value = map.get(field.name).filter(|value| !value.is_null());
        if let Some(value) = value
            && not_a_string(self.findings, parent, field.name, value)
        {
            return None;
        }
        let text = value.and_then(|value| Some((value, value.text()?.trim())));
        let text = text.filter(|(_, text)| !text.is_empty());
        if text.is_none() {
            self.missing(parent, map, field);
        }
        text
    }

    fn missing(&mut self, parent: &str, map: &Node, field: &Property) {
        let name = field.name;
        let node = map.entry(name).map_or(map, |(key, _)| key);
        let message = format!("{parent}: {name}: expected a value, found nothing");
        self.refuse(
            format!("{parent}.{name}"),
            node,
            message,
            BY_DRIVER,
            format!("write {name}"),
        );
    }

    fn secret(&mut self, parent: &str, secret: &'a Node) {
        if !self.map(parent, secret, NAMES) {
            return;
        }
        let owner = Owner {
            path: parent,
            reason: INVALID,
            why: BY_API_SERVER,
        };
        let name = self.text(parent, secret, &SECRET_NAME);
        let type_name = self.text(parent, secret, &TYPE);
        if let Some((node, name)) = name {
            owner.text(self.findings, SECRET_NAME.name, node, name, SUBDOMAIN);
            self.only_once(parent, node, name, type_name.map_or("", |(_, name)| name));
        }
        if let Some(labels) = secret.get(LABELS.name) {
            owner.labels(self.findings, labels);
            self.managed(parent, labels);
        }
        if let Some(annotations) = secret.get(ANNOTATIONS.name) {
            owner.annotations(self.findings, annotations);
        }
        let secret_type = type_name.and_then(|(_, name)| SecretType::find(name));
        let keys = self.data(parent, secret, secret_type);
        match (type_name, secret_type) {
            (_, Some(secret_type)) => {
                self.demands(
                    parent,
                    secret,
                    name.map(|(_, name)| name),
                    secret_type,
                    keys.as_ref(),
                );
            }
            (Some((node, name)), None) => self.near_type(parent, node, name),
            (None, None) => {}
        }
    }

    /// Says so where a Secret before this one has its name.
    fn only_once(&mut self, parent: &str, node: &Node, name: &'a str, type_name: &'a str) {
        let Some((first, first_type)) = self.known.get(name).cloned() else {
            self.known.insert(name, (parent.to_owned(), type_name));
            return;
        };
        let message = format!(
            "{parent}: secretName: {} is the Secret of {first} too",
            Excerpt(name)
        );
        let field = format!("{parent}.secretName");
        if first_type == type_name {
            let say = Say {
                severity: Severity::Warning,
                reason: "DUPLICATE",
                message,
                why: "of the two, the Secret has the data of one alone, by the driver's version the last or the first",
                fix: format!("write all data into {first}, or another secretName"),
            };
            self.add(field, node, say);
        } else {
            let why = "they have two types, and the API server lets no Secret change its type";
            self.refuse(
                field,
                node,
                message,
                why,
                "write another secretName".to_owned(),
            );
        }
    }

    /// The driver's own label.
    fn managed(&mut self, parent: &str, labels: &Node) {
        let Some(value) = labels
            .get(MANAGED)
            .filter(|value| value.text() != Some("true"))
        else {
            return;
        };
        let say = Say {
            severity: Severity::Warning,
            reason: "NO_EFFECT",
            message: format!(
                "{parent}: labels: {MANAGED} does nothing: the driver sets it to true itself"
            ),
            why: "",
            fix: "take it out".to_owned(),
        };
        self.add(format!("{parent}.labels"), value, say);
    }

    /// Types are compared letter by letter.
    fn near_type(&mut self, parent: &str, node: &Node, name: &str) {
        let same = |known: &&SecretType| known.name.eq_ignore_ascii_case(name);
        if let Some(known) = SECRET_TYPES.iter().find(same) {
            let say = Say {
                severity: Severity::Warning,
                reason: "UNKNOWN_TYPE",
                message: format!("{parent}: type: {} is not {}", Excerpt(name), known.name),
                why: "Kubernetes compares types letter by letter, and takes this one for one of your own",
                fix: format!("write type: {}", known.name),
            };
            self.add(format!("{parent}.type"), node, say);
        }
    }

    /// Checks the entries of `data`. Their keys; `None` where they are not all known.
    fn data(
        &mut self,
        parent: &str,
        secret: &'a Node,
        secret_type: Option<&SecretType>,
    ) -> Option<BTreeSet<&'a str>> {
        let data = secret.get(DATA.name);
        if let Some(data) = data {
            self.list(data, &format!("{parent}.data"), "write - before each entry");
        }
        let Some(data) = data.filter(|data| !data.elements().is_empty()) else {
            if data
                .is_none_or(|data| data.is_null() || matches!(data.content, Content::Sequence(_)))
            {
                self.missing(parent, secret, &DATA);
            }
            return None;
        };
        let mut keys = BTreeSet::new();
        let mut all_known = true;
        for (index, entry) in data.elements().iter().enumerate() {
            self.looked_at += 1;
            if self.looked_at > MAX_DATA {
                return None;
            }
            let parent = format!("{parent}.data[{index}]");
            if !self.map(&parent, entry, DATA_NAMES) {
                all_known = false;
                continue;
            }
            let key = self.text(&parent, entry, &KEY);
            match key {
                Some((node, key)) => self.key(&parent, node, key, secret_type, &mut keys),
                None => all_known = false,
            }
            if let (Some((node, name)), Some(fetches)) =
                (self.text(&parent, entry, &OBJECT_NAME), self.fetches)
            {
                self.file(
                    &parent,
                    node,
                    name,
                    fetches,
                    secret_type.zip(key.map(|(_, key)| key)),
                );
            }
        }
        all_known.then_some(keys)
    }

    fn key(
        &mut self,
        parent: &str,
        node: &Node,
        key: &'a str,
        secret_type: Option<&SecretType>,
        keys: &mut BTreeSet<&'a str>,
    ) {
        let owner = Owner {
            path: parent,
            reason: INVALID,
            why: BY_API_SERVER,
        };
        owner.text(self.findings, KEY.name, node, key, DATA_KEY);
        let field = format!("{parent}.key");
        if !keys.insert(key) {
            let say = Say {
                severity: Severity::Warning,
                reason: "DUPLICATE",
                message: format!(
                    "{parent}: key: {} is the key of an entry before this one too",
                    Excerpt(key)
                ),
                why: "the Secret has the file of the last of them",
                fix: "write another key, or take one of them out".to_owned(),
            };
            self.add(field, node, say);
        } else if let Some(secret_type) = secret_type.filter(|known| known.no_others)
            && !secret_type.keys.concat().contains(&key)
        {
            let keys = secret_type.keys.concat().join(" and ");
            let message = format!(
                "{parent}: key: expected {keys} alone in a Secret of type {}, found {}",
                secret_type.name,
                Excerpt(key)
            );
            let fix = "take it out, or copy it into a Secret of type Opaque".to_owned();
            self.refuse(field, node, message, BY_DRIVER, fix);
        }
    }

    /// What a Secret of this type must have.
    fn demands(
        &mut self,
        parent: &str,
        secret: &Node,
        name: Option<&str>,
        secret_type: &SecretType,
        keys: Option<&BTreeSet<&str>>,
    ) {
        let known = secret_type.name;
        let (severity, why) = if secret_type.refused {
            (Severity::Error, BY_API_SERVER)
        } else {
            (Severity::Warning, "Kubernetes makes no use of the Secret")
        };
        let say = |message: String, fix: String| Say {
            severity,
            reason: INVALID,
            message: format!("{parent}: {message}, since type is {known}"),
            why,
            fix,
        };
        let at = |field: &Property| secret.entry(field.name).map_or(secret, |(key, _)| key);
        let missing =
            |group: &&&[&str]| keys.is_some_and(|keys| !group.iter().any(|key| keys.contains(key)));
        for group in secret_type.keys.iter().filter(missing) {
            let message = format!(
                "data: expected an entry with the key {}, found none",
                group.join(" or ")
            );
            let fix = format!("add an entry with key: {}", group[0]);
            self.add(format!("{parent}.data"), at(&DATA), say(message, fix));
        }
        if let Some(annotation) = secret_type.annotation {
            let annotations = secret.get(ANNOTATIONS.name);
            let value = annotations.and_then(|all| all.get(annotation)?.text());
            if value.is_none_or(str::is_empty) {
                let message = format!("annotations: expected {annotation}, found nothing");
                let fix = format!("add the annotation {annotation}");
                self.add(
                    format!("{parent}.annotations"),
                    at(&ANNOTATIONS),
                    say(message, fix),
                );
            }
        }
        if name.is_some_and(|name| !name.starts_with(secret_type.prefix)) {
            let message = format!(
                "secretName: expected a name that begins with {}",
                secret_type.prefix
            );
            let fix = format!("write secretName: {}ID", secret_type.prefix);
            self.add(
                format!("{parent}.secretName"),
                at(&SECRET_NAME),
                say(message, fix),
            );
        }
    }

    /// Whether the name is that of a file of the class, and whether that file can be this key of this type.
    fn file(
        &mut self,
        parent: &str,
        node: &Node,
        name: &str,
        fetches: &[(usize, Fetch)],
        destination: Option<(&SecretType, &str)>,
    ) {
        let field = format!("{parent}.objectName");
        let found = fetches
            .iter()
            .find_map(|(index, fetch)| Some((*index, fetch, fetch.suffix_of(name)?)));
        let Some((index, fetch, suffix)) = found else {
            let say = Say {
                severity: Severity::Warning,
                reason: "NO_SUCH_FILE",
                message: format!(
                    "{parent}: objectName: no file of this class is {}",
                    Excerpt(name)
                ),
                why: BY_DRIVER,
                fix: near_file::advice(name, fetches),
            };
            self.add(field, node, say);
            return;
        };
        let unsuitable = destination
            .and_then(|(secret_type, key)| contents::unsuitable(secret_type, key, fetch, suffix));
        if let Some(unsuitable) = unsuitable {
            let say = Say {
                severity: unsuitable.severity,
                reason: "UNSUITABLE_FILE",
                message: format!("{parent}: objectName: {}", unsuitable.message),
                why: unsuitable.why,
                fix: unsuitable.fix.to_owned(),
            };
            self.add(field.clone(), node, say);
        }
        if fetch.rendering.encoding == Encoding::Base64 {
            let alike = self.places.field(index, "objectEncoding");
            let say = Say {
                severity: Severity::Note,
                reason: "BASE64_IN_SECRET",
                message: format!(
                    "{parent}: the Secret gets the bytes that line {} decodes with objectEncoding: base64",
                    alike.place.at.line
                ),
                why: "Kubernetes encodes a Secret's data by itself; the vault's value does not need to be base64 for it",
                fix: "if the vault's value is plain text, take objectEncoding out".to_owned(),
            };
            self.add(field, node, say);
        }
    }
}
