//! [`Pattern`], a name with `*` in it for any characters, and the kinds of names that
//! [rules](super::rule) have patterns for.
//!
//! Each kind has its alphabet, and it is a part of ASCII. A letter that only looks like another one is
//! refused in the file, and in a pod's name it matches nothing, not even `*`.

use serde::Deserialize;
use thiserror::Error;

use crate::class::object::ObjectKind;
use crate::class::plan::Fetch;
use crate::policy::access::Access;
use crate::text::excerpt::Excerpt;

/// A name, in which each `*` stands for any number of characters.
#[derive(Debug, PartialEq, Eq)]
struct Pattern(String);

/// Why a text is no pattern of its kind.
#[derive(Debug, Error)]
#[error("expected {expected}, found {}", Excerpt(found))]
pub struct PatternError {
    expected: &'static str,
    found: String,
}

impl Pattern {
    fn matches(&self, text: &str) -> bool {
        let Some((start, rest)) = self.0.split_once('*') else {
            return self.0 == text;
        };
        let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
        let Some(mut left) = text
            .strip_prefix(start)
            .and_then(|text| text.strip_suffix(end))
        else {
            return false;
        };
        // The first place for each part leaves the most for those behind it.
        middle.split('*').all(|part| {
            let found = left.split_once(part);
            left = found.map_or("", |(_, behind)| behind);
            found.is_some()
        })
    }
}

fn is_kubernetes_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte)
}

fn is_azure_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

/// Whether the text is something, and made of `*` and such bytes only.
fn is_made_of(text: &str, fits: fn(u8) -> bool) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte == b'*' || fits(byte))
}

/// Names of namespaces or service accounts. Kubernetes' names are in lower case, and compared as they are.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct KubernetesNames(Pattern);

impl TryFrom<String> for KubernetesNames {
    type Error = PatternError;

    fn try_from(found: String) -> Result<Self, PatternError> {
        if is_made_of(&found, is_kubernetes_byte) {
            Ok(Self(Pattern(found)))
        } else {
            Err(PatternError {
                expected: "a name of lower case letters, digits, hyphens and dots, such as chat or team-*",
                found,
            })
        }
    }
}

impl KubernetesNames {
    /// Whether it is one of them. What cannot be a name in Kubernetes is none.
    pub fn include(&self, name: &str) -> bool {
        !name.is_empty() && name.bytes().all(is_kubernetes_byte) && self.0.matches(name)
    }
}

/// Vaults: by name in the default cloud, or by host in any. Neither has a case.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct VaultNames {
    name: Pattern,
    domain: Option<String>,
}

impl TryFrom<String> for VaultNames {
    type Error = PatternError;

    fn try_from(found: String) -> Result<Self, PatternError> {
        let lower = found.to_ascii_lowercase();
        let (name, domain) = match lower.split_once('.') {
            Some((name, domain)) => (name, Some(domain)),
            None => (lower.as_str(), None),
        };
        // A wildcard in the domain would reach clouds that nobody has thought of.
        let is_domain = |domain: &str| {
            domain
                .split('.')
                .all(|label| !label.is_empty() && label.bytes().all(is_azure_byte))
        };
        if is_made_of(name, is_azure_byte) && domain.is_none_or(is_domain) {
            Ok(Self {
                name: Pattern(name.to_owned()),
                domain: domain.map(str::to_owned),
            })
        } else {
            Err(PatternError {
                expected: "a vault's name such as ai-chat-kv or chat-*, or its host such as \
                           ai-chat-kv.vault.azure.cn, with * in the name only",
                found,
            })
        }
    }
}

impl VaultNames {
    /// Whether the vault is one of them.
    pub fn include(&self, access: &Access<'_>) -> bool {
        let in_its_cloud = match &self.domain {
            Some(domain) => *domain == access.domain,
            None => access.in_default_cloud,
        };
        in_its_cloud && self.name.matches(&access.vault)
    }
}

/// Objects: by name, or by kind and name (`secret/NAME`) as the driver's object ids are. Names of objects
/// have no case.
///
/// Source: "Azure Key Vault keys, secrets and certificates overview", section "Object identifiers".
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct ObjectNames {
    kind: Option<ObjectKind>,
    name: Pattern,
}

impl TryFrom<String> for ObjectNames {
    type Error = PatternError;

    fn try_from(found: String) -> Result<Self, PatternError> {
        let kinds = [ObjectKind::Secret, ObjectKind::Key, ObjectKind::Certificate];
        let parts = match found.split_once('/') {
            Some((word, name)) => kinds
                .into_iter()
                .find(|kind| kind.as_str() == word)
                .map(|kind| (Some(kind), name)),
            None => Some((None, found.as_str())),
        };
        match parts.filter(|(_, name)| is_made_of(name, is_azure_byte)) {
            Some((kind, name)) => Ok(Self {
                kind,
                name: Pattern(name.to_ascii_lowercase()),
            }),
            None => Err(PatternError {
                expected: "an object's name such as OPENAI-*, or secret/, key/ or cert/ and a name",
                found,
            }),
        }
    }
}

impl ObjectNames {
    /// Whether the object is one of them.
    pub fn include(&self, fetch: &Fetch) -> bool {
        self.kind.is_none_or(|kind| kind == fetch.kind)
            && self.name.matches(&fetch.name.as_str().to_ascii_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_any_characters() {
        for (pattern, text, expected) in [
            ("chat", "chat", true),
            ("chat", "chat-2", false),
            ("chat", "a-chat", false),
            ("chat", "", false),
            ("*", "", true),
            ("*", "anything", true),
            ("team-*", "team-", true),
            ("team-*", "team-a", true),
            ("team-*", "a-team-a", false),
            ("*-prod", "chat-prod", true),
            ("*-prod", "chat-prod-2", false),
            ("a*c", "ac", true),
            ("a*c", "abbc", true),
            ("a*a", "a", false),
            ("ab*ba", "aba", false),
            ("ab*ba", "abba", true),
            ("*b*", "abc", true),
            ("*b*", "ac", false),
            ("a*b*c*d", "a-b-c-d", true),
            ("a*b*c*d", "a-c-b-d", false),
            ("a**b", "ab", true),
            ("*aab*", "aaab", true),
            ("a*bc*c", "abc", false),
        ] {
            assert_eq!(
                Pattern(pattern.to_owned()).matches(text),
                expected,
                "{pattern} {text}"
            );
        }
    }

    #[test]
    fn what_cannot_be_a_name_of_its_kind_is_refused() {
        let kubernetes = |text: &str| KubernetesNames::try_from(text.to_owned()).map(drop);
        let vault = |text: &str| VaultNames::try_from(text.to_owned()).map(drop);
        let object = |text: &str| ObjectNames::try_from(text.to_owned()).map(drop);
        // The last one has a Cyrillic letter.
        for text in ["", "Chat", "a b", "a/b", "!chat", "a?", "[a]", "сhat"] {
            assert!(kubernetes(text).is_err(), "{text}");
        }
        for text in [
            "",
            "a b",
            "kv.",
            ".vault.azure.net",
            "kv.*",
            "kv.vault.*.net",
            "kv/x",
            "https://kv",
            "kv..net",
            "кv",
        ] {
            assert!(vault(text).is_err(), "{text}");
        }
        for text in [
            "",
            "secret/",
            "secrets/a",
            "a/b",
            "Secret/a",
            "a_b",
            "secret/a/b",
            "а",
        ] {
            assert!(object(text).is_err(), "{text}");
        }
        assert!(kubernetes("a.b-*").is_ok());
        assert!(vault("*").is_ok() && vault("Chat-*.Vault.Azure.CN").is_ok());
        assert!(object("*").is_ok() && object("cert/TLS-*").is_ok());
    }

    #[test]
    fn what_cannot_be_in_kubernetes_is_not_even_anything() {
        let any = KubernetesNames::try_from("*".to_owned()).unwrap();
        assert!(any.include("chat"));
        for name in ["", "Chat", "chat\u{200b}", "сhat", "a/b", "a b", "chat\0"] {
            assert!(!any.include(name), "{name:?}");
        }
    }
}
