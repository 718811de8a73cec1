//! [`Step`], one thing that was looked at, and what came of it.

use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use crate::explain::Explanation;

/// What is looked at. The words are a contract with those who read the JSON; see docs/doctor.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Subject {
    /// The class itself.
    Class,
    /// The cloud and the vault's host.
    Cloud,
    /// What the operator's policy says.
    Policy,
    /// The addresses of the vault.
    VaultDns,
    /// A connection to it.
    VaultTcp,
    /// Its certificate.
    VaultTls,
    /// The addresses of the service that gives tokens.
    TokenServiceDns,
    /// A connection to it.
    TokenServiceTcp,
    /// Its certificate.
    TokenServiceTls,
    Identity,
    Token,
    /// Whether the vault answers and takes the token.
    Vault,
    /// One entry of `objects`.
    Object,
    /// All files together.
    Answer,
    /// The provider that serves here.
    Provider,
    /// Who tells pods of their rotations.
    Rotations,
}

impl Subject {
    /// What people read.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Class => "class",
            Self::Cloud => "cloud",
            Self::Policy => "policy",
            Self::VaultDns => "vault: DNS",
            Self::VaultTcp => "vault: TCP",
            Self::VaultTls => "vault: TLS",
            Self::TokenServiceDns => "tokens: DNS",
            Self::TokenServiceTcp => "tokens: TCP",
            Self::TokenServiceTls => "tokens: TLS",
            Self::Identity => "identity",
            Self::Token => "token",
            Self::Vault => "vault",
            Self::Object => "object",
            Self::Answer => "answer",
            Self::Provider => "provider",
            Self::Rotations => "rotations",
        }
    }

    /// Whether people need the name of the step too: on the way to a server, the first line has said it.
    pub(super) fn shows_name(self) -> bool {
        !matches!(
            self,
            Self::VaultTcp
                | Self::VaultTls
                | Self::TokenServiceTcp
                | Self::TokenServiceTls
                | Self::Vault
        )
    }
}

/// How it is, from well to worst but for what was not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    /// Not looked at, since something before it failed.
    Skipped,
    Ok,
    /// It works, and may soon not.
    Warning,
    /// No mount can succeed.
    Failed,
}

/// One thing that was looked at.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) subject: Subject,
    /// Which one, where there are several: a host, an object.
    pub(super) name: String,
    pub(super) took: Duration,
    pub(super) finding: Finding,
}

/// What came of it.
#[derive(Debug)]
pub(super) enum Finding {
    Works(Facts),
    /// It does not, for the reason that a mount would give.
    Failed {
        why: Explanation,
        /// What is known all the same, and may be why.
        facts: Facts,
    },
    /// It was not looked at.
    Skipped,
}

/// What is known of something that works.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// In words, on one line.
    pub(super) summary: String,
    /// For machines: an object whose members are documented.
    pub(super) details: Value,
    /// What may soon be wrong.
    pub(super) warnings: Vec<String>,
}

/// A step that is being taken.
#[derive(Debug)]
pub(super) struct Begun {
    subject: Subject,
    name: String,
    start: Instant,
}

impl Step {
    pub(super) fn begin(subject: Subject, name: impl Into<String>) -> Begun {
        Begun {
            subject,
            name: name.into(),
            start: Instant::now(),
        }
    }

    pub(super) fn skipped(subject: Subject, name: impl Into<String>) -> Self {
        Self {
            subject,
            name: name.into(),
            took: Duration::ZERO,
            finding: Finding::Skipped,
        }
    }

    pub(super) fn outcome(&self) -> Outcome {
        match &self.finding {
            Finding::Works(facts) if facts.warnings.is_empty() => Outcome::Ok,
            Finding::Works(_) => Outcome::Warning,
            Finding::Failed { .. } => Outcome::Failed,
            Finding::Skipped => Outcome::Skipped,
        }
    }
}

impl Begun {
    pub(super) fn works(self, facts: Facts) -> Step {
        self.ends(Finding::Works(facts))
    }

    pub(super) fn failed(self, why: Explanation) -> Step {
        self.failed_with(why, Facts::default())
    }

    pub(super) fn failed_with(self, why: Explanation, facts: Facts) -> Step {
        self.ends(Finding::Failed { why, facts })
    }

    fn ends(self, finding: Finding) -> Step {
        Step {
            took: self.start.elapsed(),
            subject: self.subject,
            name: self.name,
            finding,
        }
    }
}
