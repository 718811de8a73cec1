//! [`Finding`], something that a check has to say about a class, with its place.

use serde::Serialize;

use crate::commands::validate::placed_yaml::{Node, Position};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Kubernetes or the provider would refuse the class.
    Error,
    /// The class is accepted and does probably not do what is meant.
    Warning,
    /// Good to know.
    Note,
}

impl Severity {
    /// The word in the output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// A part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where it begins.
    pub at: Position,
    /// How many characters it has on that line.
    pub width: usize,
}

impl Place {
    /// Where a node is.
    pub fn of(node: &Node) -> Self {
        Self {
            at: node.at,
            width: node.width,
        }
    }
}

/// Something to say about a class.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What it is about.
    pub place: Place,
    /// How much it matters.
    pub severity: Severity,
    /// A stable word for it; a refusal by the provider has the word that a mount's answer has.
    pub reason: &'static str,
    /// The name of the class; empty where it is about a whole file.
    pub class: String,
    /// What it is about, such as `keyvaultName` or `objects[1].objectType`; empty where it is about the
    /// whole class.
    pub field: String,
    /// What is the matter, on one line. A refusal by the provider has the words of a mount's answer.
    pub message: String,
    /// What comes of it, where the message does not say.
    pub why: &'static str,
    /// What to do.
    pub fix: String,
}
