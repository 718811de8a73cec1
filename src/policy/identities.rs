//! [`Identities`], which identities a [rule](super::rule) lets ask: kinds, and which of each.

use std::collections::BTreeMap;

use serde::Deserialize;
use thiserror::Error;

use crate::policy::access::{Access, IdentityKind, SYSTEM_ASSIGNED};
use crate::policy::one_or_more::OneOrMore;
use crate::text::excerpt::Excerpt;

/// IDs by kind.
#[derive(Debug, Deserialize)]
#[serde(try_from = "BTreeMap<IdentityKind, OneOrMore<IdentityId>>")]
pub struct Identities(BTreeMap<IdentityKind, OneOrMore<IdentityId>>);

/// Why no identity is meant.
#[derive(Debug, Error)]
#[error("expected at least one of workload, binding, servicePrincipal and managed, found none")]
pub struct NoIdentity;

impl TryFrom<BTreeMap<IdentityKind, OneOrMore<IdentityId>>> for Identities {
    type Error = NoIdentity;

    fn try_from(kinds: BTreeMap<IdentityKind, OneOrMore<IdentityId>>) -> Result<Self, NoIdentity> {
        if kinds.is_empty() {
            Err(NoIdentity)
        } else {
            Ok(Self(kinds))
        }
    }
}

impl Identities {
    /// Whether the one that asks is one of them.
    pub fn include(&self, access: &Access<'_>) -> bool {
        self.0
            .get(&access.kind)
            .is_some_and(|ids| ids.iter().any(|id| id.includes(&access.identity)))
    }
}

/// An ID as a class writes it, or `*` for all of its kind. IDs have no case.
///
/// No other wildcards: a part of a resource ID or of a UUID says nothing about whose it is.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct IdentityId(String);

/// Why a text is no ID.
#[derive(Debug, Error)]
#[error(
    "expected * or an ID as a class has it (a client ID; of a managed identity also objectID: and an object ID, a \
     resource ID such as /subscriptions/…, or {SYSTEM_ASSIGNED}), found {}",
    Excerpt(.0)
)]
pub struct IdentityIdError(String);

impl TryFrom<String> for IdentityId {
    type Error = IdentityIdError;

    fn try_from(text: String) -> Result<Self, IdentityIdError> {
        let fits = !text.is_empty()
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/()".contains(&byte));
        if fits || text == "*" {
            Ok(Self(text))
        } else {
            Err(IdentityIdError(text))
        }
    }
}

impl IdentityId {
    fn includes(&self, id: &str) -> bool {
        self.0 == "*" || self.0.eq_ignore_ascii_case(id)
    }
}
