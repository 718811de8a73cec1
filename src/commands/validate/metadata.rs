//! Names, labels and annotations, of a class and of the Secrets that the driver makes, as the API server judges
//! them.

use crate::commands::validate::finding::{Place, Severity};
use crate::commands::validate::findings::{Findings, Say, not_a_string};
use crate::commands::validate::names::{
    ANNOTATION_NAME, LABEL, LABEL_VALUE, QUALIFIED_NAME, Rule, SUBDOMAIN,
};
use crate::commands::validate::placed_yaml::{Content, Node};
use crate::commands::validate::places::Subject;
use crate::text::excerpt::Excerpt;

/// The maximum number of bytes of all annotations of an object.
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// Whose metadata it is, for what there is to say.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// The path of the map that it is in, such as `metadata`.
    pub path: &'a str,
    /// The reason of a refusal.
    pub reason: &'static str,
    /// Who refuses what.
    pub why: &'static str,
}

impl Owner<'_> {
    fn refuse(self, findings: &mut Findings, field: &str, node: &Node, message: &str, fix: &str) {
        findings.add(
            Subject {
                field: format!("{}.{field}", self.path),
                place: Place::of(node),
            },
            Say {
                severity: Severity::Error,
                reason: self.reason,
                message: format!("{}: {message}", self.path),
                why: self.why,
                fix: fix.to_owned(),
            },
        );
    }

    /// Checks a text by a rule, without what is around it.
    pub fn text(self, findings: &mut Findings, field: &str, node: &Node, text: &str, rule: Rule) {
        if (rule.holds)(text) {
            return;
        }
        let message = format!(
            "{field}: expected {}, found {}",
            rule.expected,
            Excerpt(text)
        );
        let fix = match near(text, rule) {
            Some(near) => format!("write {field}: {near}"),
            None => format!("write another {field}"),
        };
        self.refuse(findings, field, node, &message, &fix);
    }

    pub fn labels(self, findings: &mut Findings, labels: &Node) {
        for (key, value, text) in self.map(findings, "labels", labels) {
            self.name(findings, "labels", key, QUALIFIED_NAME);
            if !(LABEL_VALUE.holds)(text) {
                let name = Excerpt(key.text().unwrap_or_default()).to_string();
                let message = format!(
                    "labels: {name}: expected {}, found {}",
                    LABEL_VALUE.expected,
                    Excerpt(text)
                );
                let fix = "write a shorter or simpler value, or an annotation instead";
                self.refuse(findings, "labels", value, &message, fix);
            }
        }
    }

    pub fn annotations(self, findings: &mut Findings, annotations: &Node) {
        let mut bytes = 0;
        for (key, _, text) in self.map(findings, "annotations", annotations) {
            self.name(findings, "annotations", key, ANNOTATION_NAME);
            bytes += key.text().map_or(0, str::len) + text.len();
        }
        if bytes > MAX_ANNOTATIONS {
            let message = format!(
                "annotations: expected at most {MAX_ANNOTATIONS} bytes in all names and values, found {bytes}"
            );
            self.refuse(
                findings,
                "annotations",
                annotations,
                &message,
                "shorten the annotations",
            );
        }
    }

    fn name(self, findings: &mut Findings, field: &str, key: &Node, rule: Rule) {
        let name = key.text().unwrap_or_default();
        if !(rule.holds)(name) {
            let message = format!(
                "{field}: expected {}, found {}",
                rule.expected,
                Excerpt(name)
            );
            self.refuse(
                findings,
                field,
                key,
                &message,
                "write another name, or take it out",
            );
        }
    }

    /// The entries of a map of texts, after saying what is none. The API server drops what has no value.
    fn map<'n>(
        self,
        findings: &mut Findings,
        field: &str,
        map: &'n Node,
    ) -> Vec<(&'n Node, &'n Node, &'n str)> {
        if !map.is_null() && !matches!(map.content, Content::Mapping(_)) {
            let message = format!("{field}: expected a map, found something else");
            Owner {
                reason: "INVALID_MANIFEST",
                why: "the API server refuses the class",
                ..self
            }
            .refuse(
                findings,
                field,
                map,
                &message,
                "write name: value below it, indented",
            );
        }
        let mut texts = Vec::new();
        for (key, value) in map.entries().iter().filter(|(_, value)| !value.is_null()) {
            let path = format!("{}.{field}", self.path);
            let name = key.text().unwrap_or_default();
            if !not_a_string(findings, &path, name, value)
                && let Some(text) = value.text()
            {
                texts.push((&**key, &**value, text));
            }
        }
        texts
    }
}

/// Checks the `metadata` of a class.
pub fn of_class(metadata: &Node, findings: &mut Findings) {
    let owner = Owner {
        path: "metadata",
        reason: "INVALID_MANIFEST",
        why: "the API server refuses the class",
    };
    for (field, rule) in [("name", SUBDOMAIN), ("namespace", LABEL)] {
        if let Some(node) = metadata.get(field)
            && !node.is_null()
            && !not_a_string(findings, "metadata", field, node)
        {
            owner.text(findings, field, node, node.text().unwrap_or_default(), rule);
        }
    }
    if let Some(labels) = metadata.get("labels") {
        owner.labels(findings, labels);
    }
    if let Some(annotations) = metadata.get("annotations") {
        owner.annotations(findings, annotations);
    }
}

/// A text that keeps the rule, where another case or hyphens make one of it.
fn near(text: &str, rule: Rule) -> Option<String> {
    let hyphens =
        |text: &str| text.replace(|c: char| c == '_' || c == '/' || c.is_whitespace(), "-");
    let lower = text.to_lowercase();
    [hyphens(text), lower.clone(), hyphens(&lower)]
        .into_iter()
        .find(|candidate| (rule.holds)(candidate))
}
