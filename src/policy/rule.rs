//! [`Rule`], one entry of a [policy](super::Policy): who may ask which vaults, as whom, for what.

use std::fmt;

use serde::{Deserialize, Deserializer};
use thiserror::Error;

use crate::policy::access::Access;
use crate::policy::identities::Identities;
use crate::policy::object_names::{NamedObject, ObjectNames};
use crate::policy::one_or_more::OneOrMore;
use crate::policy::pattern::{KubernetesNames, VaultNames};
use crate::text::excerpt::Excerpt;

/// What it allows is what fits all its fields.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Rule {
    name: RuleName,
    namespaces: OneOrMore<KubernetesNames>,
    #[serde(default, deserialize_with = "some")]
    service_accounts: Option<OneOrMore<KubernetesNames>>,
    vaults: OneOrMore<VaultNames>,
    #[serde(default, deserialize_with = "some")]
    identities: Option<Identities>,
    #[serde(default, deserialize_with = "some")]
    objects: Option<ObjectNames>,
}

/// The field of a rule that does not fit. In the order of how much a rule that fits up to there has to do
/// with a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// `namespaces`
    Namespaces,
    /// `serviceAccounts`
    ServiceAccounts,
    /// `vaults`
    Vaults,
    /// `identities`
    Identities,
    /// `objects`
    Objects,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Namespaces => "namespaces",
            Self::ServiceAccounts => "serviceAccounts",
            Self::Vaults => "vaults",
            Self::Identities => "identities",
            Self::Objects => "objects",
        })
    }
}

impl Rule {
    /// What refusals call it.
    pub fn name(&self) -> &str {
        &self.name.0
    }

    /// The fields that keep it from letting the pod ask the vault as that identity; objects aside.
    pub fn obstacles(&self, access: &Access<'_>) -> Vec<Field> {
        let service_account = access.service_account;
        [
            (
                Field::Namespaces,
                any(&self.namespaces, |names| names.include(access.namespace)),
            ),
            (
                Field::ServiceAccounts,
                self.service_accounts
                    .as_ref()
                    .is_none_or(|list| any(list, |names| names.include(service_account))),
            ),
            (
                Field::Vaults,
                any(&self.vaults, |names| names.include(access)),
            ),
            (
                Field::Identities,
                self.identities
                    .as_ref()
                    .is_none_or(|identities| identities.include(access)),
            ),
        ]
        .into_iter()
        .filter(|(_, fits)| !fits)
        .map(|(field, _)| field)
        .collect()
    }

    /// Whether the object is one of its objects.
    pub fn covers(&self, object: &NamedObject) -> bool {
        self.objects
            .as_ref()
            .is_none_or(|names| names.include(object))
    }
}

fn any<T>(list: &OneOrMore<T>, fits: impl Fn(&T) -> bool) -> bool {
    list.iter().any(fits)
}

/// A field that stands there says something. With `objects:` and nothing behind it, where somebody has taken
/// out the last entry, serde would take the field for absent, and the rule for one that allows everything.
fn some<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// The name of a rule, which stands in messages as it is.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct RuleName(String);

/// Why a text is no name of a rule.
#[derive(Debug, Error)]
#[error(
    "expected a name of 1 to 63 letters, digits, hyphens, dots and underscores, found {}",
    Excerpt(.0)
)]
struct RuleNameError(String);

impl TryFrom<String> for RuleName {
    type Error = RuleNameError;

    fn try_from(name: String) -> Result<Self, RuleNameError> {
        let fits = (1..=63).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        if fits {
            Ok(Self(name))
        } else {
            Err(RuleNameError(name))
        }
    }
}
