//! [`Refusal`], what the pod's author reads when no rule of the [policy](super::Policy) allows a mount,
//! put into the caller's words by [`crate::explain`].

use std::cmp::Reverse;
use std::fmt;

use thiserror::Error;

use crate::class::plan::Fetch;
use crate::policy::access::Access;
use crate::policy::object_names::NamedObject;
use crate::policy::rule::{Field, Rule};
use crate::text::excerpt::Excerpt;

/// Why a mount is not allowed.
#[derive(Debug, Error)]
pub struct Refusal {
    namespace: String,
    service_account: String,
    host: String,
    kind: &'static str,
    identity: String,
    /// The first object that no rule allows, and how many more there are.
    object: Option<(String, usize)>,
    nearest: Option<Nearest>,
}

/// The rule that would have to change least.
#[derive(Debug)]
struct Nearest {
    name: String,
    obstacles: Vec<Field>,
}

impl Refusal {
    /// The refusal of an access, of this object first and of so many more.
    pub fn new(access: &Access<'_>, rules: &[Rule], first: Option<&Fetch>, more: usize) -> Self {
        Self {
            namespace: access.namespace.to_owned(),
            service_account: access.service_account.to_owned(),
            host: format!("{}.{}", access.vault, access.domain),
            kind: access.kind_in_words,
            identity: access.identity.clone(),
            object: first.map(|fetch| (fetch.id.clone(), more)),
            nearest: nearest(access, rules, first),
        }
    }
}

/// The rule with the fewest obstacles; of several the one whose first obstacle comes last, so that a rule for
/// the pod's namespace is nearer than one for its vault; then the first in the file.
fn nearest(access: &Access<'_>, rules: &[Rule], object: Option<&Fetch>) -> Option<Nearest> {
    let object = object.map(NamedObject::of);
    rules
        .iter()
        .map(|rule| {
            let mut obstacles = rule.obstacles(access);
            if object.as_ref().is_some_and(|object| !rule.covers(object)) {
                obstacles.push(Field::Objects);
            }
            Nearest {
                name: rule.name().to_owned(),
                obstacles,
            }
        })
        .min_by_key(|nearest| {
            (
                nearest.obstacles.len(),
                Reverse(nearest.obstacles.first().copied()),
            )
        })
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the provider's policy does not let namespace {}, service account {}, read ",
            Excerpt(&self.namespace),
            Excerpt(&self.service_account),
        )?;
        if let Some((object, more)) = &self.object {
            write!(f, "{} ", Excerpt(object))?;
            if *more > 0 {
                write!(f, "(and {more} more) ")?;
            }
        }
        write!(
            f,
            "from Key Vault {} with {} {}: ",
            Excerpt(&self.host),
            self.kind,
            Excerpt(&self.identity)
        )?;
        match &self.nearest {
            None => write!(f, "it has no rules"),
            Some(Nearest { name, obstacles }) => {
                write!(f, "the nearest rule, {name}, does not fit by its ")?;
                for (index, field) in obstacles.iter().enumerate() {
                    let separator = if index == 0 { "" } else { ", " };
                    write!(f, "{separator}{field}")?;
                }
                Ok(())
            }
        }
    }
}
