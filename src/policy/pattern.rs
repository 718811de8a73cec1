//! [`Pattern`], a name with `*` in it for any characters, and the kinds of names that
//! [rules](super::rule) have patterns for.
//!
//! Each kind has its alphabet, and it is a part of ASCII. A letter that only looks like another one is
//! refused in the file, and in a pod's name it matches nothing, not even `*`.

use serde::Deserialize;
use thiserror::Error;

use crate::policy::access::Access;
use crate::text::excerpt::Excerpt;

/// A name, in which each `*` stands for any number of characters.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    /// What is before the first `*`; all of it where there is none.
    start: String,
    rest: Option<Rest>,
}

/// What is behind the first `*`.
#[derive(Debug, PartialEq, Eq)]
struct Rest {
    /// What is between it and the last one.
    middle: Vec<String>,
    end: String,
}

/// Why a text is no pattern of its kind.
#[derive(Debug, Error)]
#[error("expected {expected}, found {}", Excerpt(found))]
pub struct PatternError {
    pub(super) expected: &'static str,
    pub(super) found: String,
}

impl Pattern {
    /// The pattern of this text, which is compared as it is.
    pub(super) fn new(text: &str) -> Self {
        let (start, rest) = text.split_once('*').map_or((text, None), |(start, rest)| {
            let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
            let middle = middle.split('*').filter(|part| !part.is_empty());
            let rest = Rest {
                middle: middle.map(str::to_owned).collect(),
                end: end.to_owned(),
            };
            (start, Some(rest))
        });
        Self {
            start: start.to_owned(),
            rest,
        }
    }

    /// What every name begins with that it matches.
    pub(super) fn start(&self) -> &str {
        &self.start
    }

    /// Whether it matches itself only.
    pub(super) fn is_name(&self) -> bool {
        self.rest.is_none()
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        let Some(left) = text.strip_prefix(self.start.as_str()) else {
            return false;
        };
        let Some(Rest { middle, end }) = &self.rest else {
            return left.is_empty();
        };
        let Some(mut left) = left.strip_suffix(end.as_str()) else {
            return false;
        };
        // The first place for each part leaves the most for those behind it.
        middle.iter().all(|part| {
            let found = left.split_once(part.as_str());
            left = found.map_or("", |(_, behind)| behind);
            found.is_some()
        })
    }
}

fn is_kubernetes_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte)
}

pub(super) fn is_azure_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

/// Whether the text is something, and made of `*` and such bytes only.
pub(super) fn is_made_of(text: &str, fits: fn(u8) -> bool) -> bool {
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
            Ok(Self(Pattern::new(&found)))
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
                name: Pattern::new(name),
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
                Pattern::new(pattern).matches(text),
                expected,
                "{pattern} {text}"
            );
        }
    }

    #[test]
    fn what_cannot_be_a_name_of_its_kind_is_refused() {
        let kubernetes = |text: &str| KubernetesNames::try_from(text.to_owned()).map(drop);
        let vault = |text: &str| VaultNames::try_from(text.to_owned()).map(drop);
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
        assert!(kubernetes("a.b-*").is_ok());
        assert!(vault("*").is_ok() && vault("Chat-*.Vault.Azure.CN").is_ok());
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
