//! [`Policy`], what the platform team lets each namespace do: which vaults it may ask, as which kinds of
//! identity, and for which objects.
//!
//! Read from the file of `--policy` by [`PolicyFile`](crate::server::policy_file::PolicyFile), asked by [`crate::server::service`] when a
//! mount is planned and before anything is sent. Every parameter of a class is written by a pod's author; the
//! namespace and the service account are the kubelet's word ([`Pod`]), and those are what a rule begins with.
//!
//! What no rule allows is denied. Without a policy everything is left to Azure.

mod access;
mod identities;
mod object_names;
mod one_or_more;
mod pattern;
mod refusal;
mod rule;

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_saphyr::{Options, Spanned};
use thiserror::Error;

use crate::class::cloud::Cloud;
use crate::class::object::yaml::Unreadable;
use crate::class::parameters::Question;
use crate::class::plan::{Fetch, Plan};
use crate::class::request::Pod;
use crate::policy::access::Access;
use crate::policy::object_names::NamedObject;
pub use crate::policy::refusal::Refusal;
use crate::policy::rule::Rule;

/// The most bytes of a policy. A rule has two hundred or so.
pub const MAX_BYTES: usize = 256 * 1024;

/// Rules; what one of them allows is allowed.
#[derive(Debug)]
pub struct Policy {
    rules: Vec<Rule>,
}

/// Why a text is no policy.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PolicyError {
    /// It is not the YAML that a policy is.
    #[error("{0}")]
    Unreadable(String),
    /// A refusal names a rule, so a name means one.
    #[error(
        "line {line} column {column}: expected every rule to have a name of its own, found a second {name}"
    )]
    SameName {
        name: String,
        /// Where it stands for the second time.
        line: u64,
        column: u64,
    },
}

impl From<serde_saphyr::Error> for PolicyError {
    fn from(error: serde_saphyr::Error) -> Self {
        let problem = Unreadable::from(error);
        let text = problem.to_string();
        Self::Unreadable(match problem.at {
            // The parser names the place last, where a long sentence loses it.
            Some((line, column)) => {
                let place = format!(" at line {line}, column {column}");
                let text = text.strip_suffix(&place).unwrap_or(&text);
                format!("line {line} column {column}: {text}")
            }
            None => text,
        })
    }
}

/// The file, as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    rules: Vec<Spanned<Rule>>,
}

impl Policy {
    /// Reads a policy. An empty list of rules is one: it denies everything.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let Document { rules } = serde_saphyr::from_str_with_options(text, options())?;
        let mut names = BTreeSet::new();
        for rule in &rules {
            if !names.insert(rule.value.name()) {
                return Err(PolicyError::SameName {
                    name: rule.value.name().to_owned(),
                    line: rule.referenced.line(),
                    column: rule.referenced.column(),
                });
            }
        }
        Ok(Self {
            rules: rules.into_iter().map(|rule| rule.value).collect(),
        })
    }

    /// How many rules there are, for the log.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether the rules let this pod mount this: each object needs one that allows it, all in all, from
    /// the failover vault as from the first. A vault without its domain in a rule is one of
    /// `default_cloud`.
    pub fn check(&self, pod: &Pod, plan: &Plan, default_cloud: &Cloud) -> Result<(), Box<Refusal>> {
        plan.vaults().try_for_each(|vault| {
            let access = Access::new(pod, vault, &plan.cloud, &plan.identity, default_cloud);
            self.check_access(&access, &plan.fetches)
        })
    }

    /// The same before the objects are known: whether there is anything that this pod may get from each of the vaults.
    pub fn check_question(
        &self,
        pod: &Pod,
        question: Question<'_>,
        cloud: &Cloud,
        default_cloud: &Cloud,
    ) -> Result<(), Box<Refusal>> {
        question.vaults.into_iter().flatten().try_for_each(|vault| {
            let access = Access::new(pod, vault, cloud, question.identity, default_cloud);
            self.check_access(&access, &[])
        })
    }

    fn check_access(&self, access: &Access<'_>, fetches: &[Fetch]) -> Result<(), Box<Refusal>> {
        let open: Vec<_> = self
            .rules
            .iter()
            .filter(|rule| rule.obstacles(access).is_empty())
            .collect();
        let mut refused = fetches.iter().filter(|fetch| {
            let object = NamedObject::of(fetch);
            !open.iter().any(|rule| rule.covers(&object))
        });
        match refused.next() {
            None if !open.is_empty() => Ok(()),
            first => Err(Box::new(Refusal::new(
                access,
                &self.rules,
                first,
                refused.count(),
            ))),
        }
    }
}

/// The file is the operator's own, and still has bounds: an anchor too many would cost every mount of the
/// node.
fn options() -> Options {
    serde_saphyr::options! {
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_events: 100_000,
            max_nodes: 50_000,
            max_depth: 16,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_recorded_anchor_events: 20_000,
            max_recorded_anchor_bytes: MAX_BYTES,
            max_total_scalar_bytes: 2 * MAX_BYTES,
        },
    }
}

#[cfg(test)]
mod tests;
