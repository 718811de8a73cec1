//! What a request to a vault asks for: its path and method, read once, with the permission and the
//! role action that it needs.

use axum::http::Method;

use super::access::ObjectKind;
use super::errors::VaultError;

/// One operation of the Key Vault REST API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Operation<'a> {
    pub(crate) kind: ObjectKind,
    pub(crate) verb: Verb,
    pub(crate) name: Option<&'a str>,
    pub(crate) version: Option<&'a str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    List,
    Versions,
    /// `PUT /secrets/{name}`.
    Set,
    /// `POST /keys/{name}/create`, `POST /certificates/{name}/create`.
    Create,
    /// `PUT /keys/{name}`, `POST /certificates/{name}/import`.
    Import,
    Update,
    Delete,
    GetDeleted,
    ListDeleted,
    Recover,
    Purge,
    /// `GET /certificates/{name}/policy`.
    Policy,
    /// `GET /certificates/{name}/pending`.
    Pending,
    /// `POST /certificates/{name}/pending/merge`.
    Merge,
}

impl<'a> Operation<'a> {
    /// Reads a method and a path's decoded elements.
    pub(crate) fn of(method: &Method, segments: &[&'a str]) -> Result<Self, VaultError> {
        let operation = Self::routed(method.as_str(), segments).ok_or_else(|| {
            VaultError::bad_parameter(format!(
                "Method {method} does not allow operation '{}'",
                segments.get(2).or(segments.first()).unwrap_or(&"")
            ))
        })?;
        match operation.name {
            Some(name) if !valid_name(name) => Err(VaultError::invalid_name(name)),
            _ => Ok(operation),
        }
    }

    fn routed(method: &str, segments: &[&'a str]) -> Option<Self> {
        let (&first, rest) = segments.split_first()?;
        if let Some(collection) = first.strip_prefix("deleted") {
            let kind = ObjectKind::from_collection(collection)?;
            let (verb, name) = match (method, rest) {
                ("GET", []) => (Verb::ListDeleted, None),
                ("GET", &[name]) => (Verb::GetDeleted, Some(name)),
                ("DELETE", &[name]) => (Verb::Purge, Some(name)),
                ("POST", &[name, "recover"]) => (Verb::Recover, Some(name)),
                _ => return None,
            };
            let version = None;
            return Some(Self {
                kind,
                verb,
                name,
                version,
            });
        }
        let kind = ObjectKind::from_collection(first)?;
        let (verb, name, version) = match (method, kind, rest) {
            ("GET", _, []) => (Verb::List, None, None),
            ("GET", _, &[name]) => (Verb::Get, Some(name), None),
            ("GET", _, &[name, "versions"]) => (Verb::Versions, Some(name), None),
            ("GET", ObjectKind::Certificate, &[name, "policy"]) => (Verb::Policy, Some(name), None),
            ("GET", ObjectKind::Certificate, &[name, "pending"]) => {
                (Verb::Pending, Some(name), None)
            }
            ("GET", _, &[name, version]) => (Verb::Get, Some(name), Some(version)),
            ("PUT", ObjectKind::Secret, &[name]) => (Verb::Set, Some(name), None),
            ("PUT", ObjectKind::Key, &[name]) => (Verb::Import, Some(name), None),
            ("POST", ObjectKind::Certificate, &[name, "import"]) => {
                (Verb::Import, Some(name), None)
            }
            ("POST", ObjectKind::Key | ObjectKind::Certificate, &[name, "create"]) => {
                (Verb::Create, Some(name), None)
            }
            ("POST", ObjectKind::Certificate, &[name, "pending", "merge"]) => {
                (Verb::Merge, Some(name), None)
            }
            ("PATCH", _, &[name]) => (Verb::Update, Some(name), None),
            ("PATCH", _, &[name, version]) => (Verb::Update, Some(name), Some(version)),
            ("DELETE", _, &[name]) => (Verb::Delete, Some(name), None),
            _ => return None,
        };
        Some(Self {
            kind,
            verb,
            name,
            version,
        })
    }

    /// The permission of an access policy that it needs.
    pub(crate) fn permission(&self) -> &'static str {
        match self.verb {
            Verb::Get | Verb::GetDeleted | Verb::Policy | Verb::Pending => "get",
            Verb::List | Verb::Versions | Verb::ListDeleted => "list",
            Verb::Update if self.kind == ObjectKind::Secret => "set",
            Verb::Set => "set",
            Verb::Create | Verb::Merge => "create",
            Verb::Import => "import",
            Verb::Update => "update",
            Verb::Delete => "delete",
            Verb::Recover => "recover",
            Verb::Purge => "purge",
        }
    }

    /// The data action of a role that it needs ("Azure permissions for Security").
    pub(crate) fn action(&self) -> String {
        let own = match (self.kind, self.verb) {
            (ObjectKind::Secret, Verb::Get | Verb::GetDeleted) => "getSecret/action",
            (ObjectKind::Secret, Verb::List | Verb::Versions | Verb::ListDeleted) => {
                "readMetadata/action"
            }
            (ObjectKind::Secret, Verb::Set) => "setSecret/action",
            (_, Verb::Create | Verb::Merge) => "create/action",
            (_, Verb::Import) => "import/action",
            (ObjectKind::Secret | ObjectKind::Key, Verb::Update) => "update/action",
            (_, Verb::Update) => "update",
            (_, Verb::Delete) => "delete",
            (_, Verb::Recover) => "recover/action",
            (_, Verb::Purge) => "purge/action",
            _ => "read",
        };
        let collection = self.kind.collection();
        format!("Microsoft.KeyVault/vaults/{collection}/{own}")
    }

    /// `secrets/NAME`, or `secrets` for lists, as faults and counters name it.
    pub(crate) fn object(&self) -> String {
        let collection = self.kind.collection();
        match self.name {
            Some(name) => format!("{collection}/{name}"),
            None => collection.to_owned(),
        }
    }
}

/// Key Vault's rule for names: letters, digits and hyphens, at most 127 of them.
pub(crate) fn valid_name(name: &str) -> bool {
    (1..=127).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        use ObjectKind::{Certificate, Key, Secret};
        type Routed = Option<(ObjectKind, Verb, &'static str)>;
        let cases: [(Method, &[&str], Routed); 14] = [
            (
                Method::GET,
                &["secrets"],
                Some((Secret, Verb::List, "list")),
            ),
            (
                Method::GET,
                &["secrets", "a"],
                Some((Secret, Verb::Get, "get")),
            ),
            (
                Method::GET,
                &["secrets", "a", "versions"],
                Some((Secret, Verb::Versions, "list")),
            ),
            (
                Method::PUT,
                &["secrets", "a"],
                Some((Secret, Verb::Set, "set")),
            ),
            (
                Method::PATCH,
                &["secrets", "a", "v"],
                Some((Secret, Verb::Update, "set")),
            ),
            (
                Method::PUT,
                &["keys", "a"],
                Some((Key, Verb::Import, "import")),
            ),
            (
                Method::POST,
                &["keys", "a", "create"],
                Some((Key, Verb::Create, "create")),
            ),
            (
                Method::POST,
                &["certificates", "a", "import"],
                Some((Certificate, Verb::Import, "import")),
            ),
            (
                Method::GET,
                &["certificates", "a", "policy"],
                Some((Certificate, Verb::Policy, "get")),
            ),
            (
                Method::POST,
                &["deletedsecrets", "a", "recover"],
                Some((Secret, Verb::Recover, "recover")),
            ),
            (
                Method::DELETE,
                &["deletedkeys", "a"],
                Some((Key, Verb::Purge, "purge")),
            ),
            (Method::POST, &["secrets", "a"], None),
            (Method::GET, &["storage"], None),
            (Method::GET, &["secrets", "a", "b", "c"], None),
        ];
        for (method, segments, expected) in cases {
            let found = Operation::of(&method, segments)
                .ok()
                .map(|operation| (operation.kind, operation.verb, operation.permission()));
            assert_eq!(found, expected, "{method} {segments:?}");
        }
    }

    #[test]
    fn names() {
        let long = "a".repeat(127);
        let too_long = "a".repeat(128);
        for (name, valid) in [
            ("a", true),
            ("OPENAI-API-KEY", true),
            (long.as_str(), true),
            (&too_long, false),
            ("", false),
            ("a_b", false),
            ("a.b", false),
            ("..", false),
            ("a/b", false),
            ("é", false),
        ] {
            assert_eq!(valid_name(name), valid, "{name}");
        }
        let refused = Operation::of(&Method::GET, &["secrets", "a_b"]).unwrap_err();
        assert_eq!(refused.code, "BadParameter");
    }
}
