//! Who may do what in a vault: access policies, or role assignments in the same form.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The three kinds of objects in a vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ObjectKind {
    /// `/secrets`.
    Secret,
    /// `/keys`.
    Key,
    /// `/certificates`.
    Certificate,
}

impl ObjectKind {
    /// The path element: `secrets`, `keys` or `certificates`.
    pub fn collection(self) -> &'static str {
        match self {
            Self::Secret => "secrets",
            Self::Key => "keys",
            Self::Certificate => "certificates",
        }
    }

    pub(crate) fn from_collection(collection: &str) -> Option<Self> {
        match collection {
            "secrets" => Some(Self::Secret),
            "keys" => Some(Self::Key),
            "certificates" => Some(Self::Certificate),
            _ => None,
        }
    }

    /// As messages name one of them.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Key => "key",
            Self::Certificate => "certificate",
        }
    }
}

/// What an identity may do, by kind of object: Key Vault's own permission names (`get`, `list`,
/// `set`, `create`, `import`, `update`, `delete`, `recover`, `purge`), or `all`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Permissions {
    pub secrets: Vec<String>,
    pub keys: Vec<String>,
    pub certificates: Vec<String>,
}

impl Permissions {
    pub fn all() -> Self {
        Self::each(&["all"])
    }

    /// `get` and `list` on all three kinds.
    pub fn read() -> Self {
        Self::each(&["get", "list"])
    }

    /// These on secrets, in place of those that were there.
    #[must_use]
    pub fn on_secrets(mut self, permissions: &[&str]) -> Self {
        self.secrets = owned(permissions);
        self
    }

    /// These on keys, in place of those that were there.
    #[must_use]
    pub fn on_keys(mut self, permissions: &[&str]) -> Self {
        self.keys = owned(permissions);
        self
    }

    /// These on certificates, in place of those that were there.
    #[must_use]
    pub fn on_certificates(mut self, permissions: &[&str]) -> Self {
        self.certificates = owned(permissions);
        self
    }

    fn each(permissions: &[&str]) -> Self {
        Self {
            secrets: owned(permissions),
            keys: owned(permissions),
            certificates: owned(permissions),
        }
    }

    fn hold(&self, kind: ObjectKind, permission: &str) -> bool {
        let held = match kind {
            ObjectKind::Secret => &self.secrets,
            ObjectKind::Key => &self.keys,
            ObjectKind::Certificate => &self.certificates,
        };
        held.iter()
            .any(|held| held.eq_ignore_ascii_case(permission) || held.eq_ignore_ascii_case("all"))
    }
}

fn owned(permissions: &[&str]) -> Vec<String> {
    permissions.iter().map(|&one| one.to_owned()).collect()
}

/// The permissions of a vault.
#[derive(Clone, Debug, Default)]
pub(crate) struct Access {
    /// By client id or object id, lower case.
    granted: BTreeMap<String, Permissions>,
    everyone: bool,
}

impl Access {
    pub(crate) fn grant(&mut self, identity: &str, permissions: Permissions) {
        self.granted
            .insert(identity.to_ascii_lowercase(), permissions);
    }

    pub(crate) fn revoke(&mut self, identity: &str) -> bool {
        self.granted
            .remove(&identity.to_ascii_lowercase())
            .is_some()
    }

    pub(crate) fn allow_everyone(&mut self, allow: bool) {
        self.everyone = allow;
    }

    pub(crate) fn allows(&self, identities: &[&str], kind: ObjectKind, permission: &str) -> bool {
        self.everyone
            || identities
                .iter()
                .filter_map(|identity| self.granted.get(&identity.to_ascii_lowercase()))
                .any(|permissions| permissions.hold(kind, permission))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_has_access_until_it_is_granted() {
        let mut access = Access::default();
        let may = |access: &Access, kind, permission| access.allows(&["ME", "x"], kind, permission);
        assert!(!may(&access, ObjectKind::Secret, "get"));
        access.grant("me", Permissions::default().on_secrets(&["Get"]));
        assert!(may(&access, ObjectKind::Secret, "get"));
        assert!(!may(&access, ObjectKind::Secret, "list"));
        assert!(!may(&access, ObjectKind::Key, "get"));
        access.grant("X", Permissions::all());
        assert!(may(&access, ObjectKind::Certificate, "purge"));
        assert!(access.revoke("x"));
        assert!(!may(&access, ObjectKind::Certificate, "purge"));
        access.allow_everyone(true);
        assert!(access.allows(&["stranger"], ObjectKind::Key, "create"));
    }
}
