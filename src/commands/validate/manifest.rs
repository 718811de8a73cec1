//! Every SecretProviderClass of one file, checked, with what is wrong with the file itself.

use std::rc::Rc;

use crate::commands::validate::assumptions::Assumptions;
use crate::commands::validate::class::{self, GROUP};
use crate::commands::validate::finding::{Finding, Place, Severity};
use crate::commands::validate::placed_yaml::{Node, Problem, Text};
use crate::text::excerpt::Excerpt;

/// The most findings of one file.
const MAX_FINDINGS: usize = 1000;
/// The most bytes of parameters that are checked of one file: thousands of ordinary classes. By aliases,
/// a small file may have many large ones.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// What came of one file.
#[derive(Debug, Default)]
pub struct Checked {
    /// How many classes of this provider there are.
    pub classes: usize,
    /// What there is to say, in the order of the file.
    pub findings: Vec<Finding>,
}

/// Checks all classes in a file.
pub fn check(text: &Text<'_>, assumptions: Assumptions) -> Checked {
    let documents = text.documents();
    let mut checked = Checked::default();
    let mut bytes = 0;
    'file: for document in &documents.roots {
        let classes = classes(&document.root);
        if !classes.is_empty() {
            let duplicates = document.duplicates.iter().take(MAX_FINDINGS);
            checked
                .findings
                .extend(duplicates.map(|key| duplicate(key)));
        }
        for node in classes {
            if bytes > MAX_BYTES || checked.findings.len() > MAX_FINDINGS {
                checked.findings.push(not_checked(node));
                break 'file;
            }
            let class = class::check(text, node, assumptions);
            bytes += class.bytes;
            checked.classes += usize::from(class.ours);
            checked.findings.extend(class.findings);
        }
    }
    checked
        .findings
        .extend(documents.problem.as_ref().map(no_yaml));
    checked.findings.sort_by_key(|finding| finding.place.at);
    checked
}

/// The rest of a file that is too much.
fn not_checked(node: &Node) -> Finding {
    Finding {
        place: Place::of(node),
        severity: Severity::Error,
        reason: "MORE_FINDINGS",
        class: String::new(),
        field: String::new(),
        message: "this class and those after it in the file have not been checked".to_owned(),
        why: "there are too many findings, or too much text, in the classes before it",
        fix: "put those right, or spread the classes over several files".to_owned(),
    }
}

fn no_yaml(problem: &Problem) -> Finding {
    Finding {
        place: Place {
            at: problem.at,
            width: 1,
        },
        severity: Severity::Error,
        reason: "INVALID_MANIFEST",
        class: String::new(),
        field: String::new(),
        message: format!("expected YAML or JSON, found {}", problem.words),
        why: "from the document that this is in, the file has not been checked",
        fix: "correct the YAML; a template has to be rendered first: helm template CHART | provider-azure-rs validate -"
            .to_owned(),
    }
}

/// The classes in a document: itself, or the items of a list.
fn classes(root: &Rc<Node>) -> Vec<&Node> {
    let kind = |node: &Node| node.get("kind").and_then(Node::text).map(str::to_owned);
    match kind(root).as_deref() {
        Some("List" | "SecretProviderClassList") => root
            .get("items")
            .map_or(&[][..], Node::elements)
            .iter()
            .map(|item| &**item)
            .filter(|item| is_class(item))
            .collect(),
        _ => Some(&**root)
            .filter(|root| is_class(root))
            .into_iter()
            .collect(),
    }
}

/// Another group may have a kind of this name.
fn is_class(node: &Node) -> bool {
    let text = |key| node.get(key).and_then(Node::text);
    let group = text("apiVersion").map_or(GROUP, |version| {
        version.split_once('/').map_or("", |(group, _)| group)
    });
    text("kind") == Some("SecretProviderClass") && group == GROUP
}

fn duplicate(key: &Node) -> Finding {
    let name = key.text().unwrap_or_default();
    Finding {
        place: Place::of(key),
        severity: Severity::Error,
        reason: "INVALID_MANIFEST",
        class: String::new(),
        field: name.chars().take(100).collect(),
        message: format!("{} is there twice", Excerpt(name)),
        why: "kubectl refuses it, and other tools let either one win",
        fix: "take one of them out".to_owned(),
    }
}
