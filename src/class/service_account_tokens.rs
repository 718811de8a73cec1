//! [`ServiceAccountTokens`], the tokens of a pod's service account as the kubelet sends them: JSON, a map
//! of audience to `{"token": "…", "expirationTimestamp": "…"}`.
//!
//! They come with every mount where the CSIDriver object asks for them, whatever the class does. So they
//! are only read when [`crate::class::identity`] needs one, as in the Go provider: what is wrong with them is
//! nobody's business otherwise.

use serde_json::{Map, Value};
use thiserror::Error;

use crate::text::excerpt::Excerpt;
use crate::text::json::{json_problem, json_type};
use crate::text::sensitive::Sensitive;

/// The maximum number of bytes of all tokens together, and of one. Neither Kubernetes nor Entra ID documents one; a token
/// of the kubelet has 1 to 2 KB, and there is one for each audience that the CSIDriver object names.
const MAX_TOKENS: usize = 128 * 1024;
const MAX_TOKEN: usize = 16 * 1024;

/// The field that they come in.
const TOKENS: &str = "csi.storage.k8s.io/serviceAccount.tokens";

/// The tokens, not read yet.
#[derive(Debug)]
pub struct ServiceAccountTokens(Result<Sensitive, TooLong>);

/// What is too long is not kept, only how many bytes it had.
#[derive(Clone, Copy, Debug)]
struct TooLong(usize);

impl Default for ServiceAccountTokens {
    fn default() -> Self {
        Self(Ok(Sensitive::default()))
    }
}

/// Why there is no token that could be used. No token is ever shown.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum TokensError {
    /// Not what the kubelet sends.
    #[error(
        "csi.storage.k8s.io/serviceAccount.tokens: {0}; expected a JSON map of audience to {{\"token\": \"…\", \
         \"expirationTimestamp\": \"…\"}}"
    )]
    Malformed(String),
    /// Longer than tokens are.
    #[error("{TOKENS}: {whose}expected at most {max} bytes, found {found}")]
    TooLong {
        /// Whose token it is, where it is one's alone.
        whose: String,
        /// The maximum number of bytes.
        max: usize,
        /// How many there are.
        found: usize,
    },
    /// None for this audience.
    #[error(
        "the driver sent no service account token for audience {audience}{others} (it sent {found}); the CSIDriver \
         object secrets-store.csi.k8s.io needs spec.tokenRequests with audience: {audience}",
        others = or(others)
    )]
    Absent {
        /// The audience that is needed.
        audience: String,
        /// Those that would do as well.
        others: Vec<String>,
        /// The audiences that there are.
        found: String,
    },
}

impl From<String> for ServiceAccountTokens {
    fn from(json: String) -> Self {
        // Wiped, however long it is.
        let json = Sensitive::from(json);
        Self(match json.len() {
            length if length > MAX_TOKENS => Err(TooLong(length)),
            _ => Ok(json),
        })
    }
}

impl ServiceAccountTokens {
    /// The number of bytes that are kept.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, Sensitive::len)
    }

    /// The token for the first of these audiences that there is one for. It must be one word of the characters that
    /// RFC 6750 allows in a bearer token; whether it is a good one is for Entra ID to judge.
    pub fn of_audiences(&self, audiences: &[&str]) -> Result<Sensitive, TokensError> {
        let mut map = self.read()?;
        for audience in audiences {
            if let Some(entry) = map.remove(*audience).filter(|entry| !entry.is_null())
                && let Some(token) = token_of(audience, entry)?
            {
                return Ok(token);
            }
        }
        let mut names = audiences.iter().map(|audience| (*audience).to_owned());
        Err(TokensError::Absent {
            audience: names.next().unwrap_or_default(),
            others: names.collect(),
            found: found(&map),
        })
    }

    fn read(&self) -> Result<Map<String, Value>, TokensError> {
        let json = self
            .0
            .as_ref()
            .map_err(|TooLong(found)| TokensError::TooLong {
                whose: String::new(),
                max: MAX_TOKENS,
                found: *found,
            })?;
        let json = json.expose_str().unwrap_or_default().trim();
        if json.is_empty() {
            return Ok(Map::new());
        }
        match serde_json::from_str(json) {
            Ok(Value::Object(map)) => Ok(map),
            Ok(Value::Null) => Ok(Map::new()),
            Ok(other) => Err(TokensError::Malformed(format!(
                "found {}",
                json_type(&other)
            ))),
            Err(error) => Err(TokensError::Malformed(format!(
                "found {}",
                json_problem(json, &error)
            ))),
        }
    }
}

/// The token in the entry of an audience; nothing where it is empty.
fn token_of(audience: &str, entry: Value) -> Result<Option<Sensitive>, TokensError> {
    let mut entry = match entry {
        Value::Object(entry) => entry,
        other => return Err(malformed(audience, &format!("is {}", json_type(&other)))),
    };
    // Go reads the names of members in any case.
    let name = entry
        .keys()
        .find(|name| name.eq_ignore_ascii_case("token"))
        .cloned();
    let token = match name.and_then(|name| entry.remove(&name)) {
        Some(Value::String(token)) => Sensitive::from(token),
        _ => return Err(malformed(audience, "has no token")),
    };
    let token = token.expose_str().unwrap_or_default().trim();
    if token.is_empty() {
        Ok(None)
    } else if token.len() > MAX_TOKEN {
        Err(TokensError::TooLong {
            whose: format!("the entry for audience {}: ", Excerpt(audience)),
            max: MAX_TOKEN,
            found: token.len(),
        })
    } else if is_bearer_token(token) {
        Ok(Some(token.to_owned().into()))
    } else {
        Err(malformed(
            audience,
            "has a token with characters that no token has",
        ))
    }
}

/// Other audiences, behind the first.
fn or(others: &[String]) -> String {
    let others: Vec<_> = others.iter().map(String::as_str).collect();
    match &others[..] {
        [] => String::new(),
        others => format!(" or {}", others.join(" or ")),
    }
}

fn malformed(audience: &str, problem: &str) -> TokensError {
    TokensError::Malformed(format!(
        "the entry for audience {} {problem}",
        Excerpt(audience)
    ))
}

fn is_bearer_token(token: &str) -> bool {
    token
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte))
}

fn found(map: &Map<String, Value>) -> String {
    if map.is_empty() {
        return "none".to_owned();
    }
    let names: Vec<_> = map
        .keys()
        .take(5)
        .map(|audience| Excerpt(audience).to_string())
        .collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUDIENCE: &str = "api://AzureADTokenExchange";

    fn token(json: &str) -> Result<Sensitive, TokensError> {
        ServiceAccountTokens::from(json.to_owned()).of_audiences(&[AUDIENCE])
    }

    #[test]
    fn the_token_of_the_audience_is_found() {
        for json in [
            r#"{"api://AzureADTokenExchange":{"token":"a.b.c","expirationTimestamp":"2026-01-01T00:00:00Z"}}"#,
            r#"{"api://AzureADTokenExchange":{"token":" a.b.c\n","expirationTimestamp":5,"more":[]}}"#,
            r#"{"api://AzureADTokenExchange":{"Token":"a.b.c"},"other":"canary"}"#,
        ] {
            assert_eq!(token(json).unwrap().expose(), b"a.b.c", "{json}");
        }
    }

    #[test]
    fn a_missing_token_names_the_audience_and_the_setting() {
        for (json, found) in [
            ("", "it sent none"),
            (" null ", "it sent none"),
            ("{}", "it sent none"),
            (
                r#"{"api://other":{"token":"canary"}}"#,
                "it sent \"api://other\"",
            ),
            (
                r#"{"api://azureadtokenexchange":{"token":"canary"}}"#,
                "it sent \"api://azureadtokenexchange\"",
            ),
            (r#"{"api://AzureADTokenExchange":null}"#, "it sent none"),
            (
                r#"{"api://AzureADTokenExchange":{"token":""}}"#,
                "it sent none",
            ),
        ] {
            let error = token(json).unwrap_err().to_string();
            for words in [found, AUDIENCE, "spec.tokenRequests"] {
                assert!(
                    error.contains(words) && !error.contains("canary"),
                    "{error} should contain {words}"
                );
            }
        }
    }

    #[test]
    fn the_first_audience_that_was_sent_is_taken() {
        let json = r#"{"b":{"token":"of-b"},"c":{"token":"of-c"},"a":{"token":""}}"#;
        let of = |audiences: &[&str]| {
            ServiceAccountTokens::from(json.to_owned()).of_audiences(audiences)
        };
        for (audiences, token) in [
            (&["a", "c", "b"][..], "of-c"),
            (&["b", "c"], "of-b"),
            (&["x", "b"], "of-b"),
        ] {
            assert_eq!(of(audiences).unwrap().expose_str(), Some(token));
        }
        let error = of(&["x", "y"]).unwrap_err().to_string();
        for words in [
            "for audience x or y (it sent ",
            "spec.tokenRequests with audience: x",
        ] {
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn what_is_too_long_is_refused_by_its_length_and_not_kept() {
        let of = |length: usize, space: usize| {
            let (token, space) = ("c".repeat(length), " ".repeat(space));
            format!("{{\"{AUDIENCE}\":{{\"token\":\"{token}\"}}{space}}}")
        };
        let frame = of(0, 0).len();
        assert_eq!(token(&of(MAX_TOKEN, 0)).unwrap().len(), MAX_TOKEN);
        let most = of(1, MAX_TOKENS - frame - 1);
        assert_eq!(most.len(), MAX_TOKENS);
        assert_eq!(token(&most).unwrap().expose(), b"c");
        for (json, words) in [
            (
                of(MAX_TOKEN + 1, 0),
                "the entry for audience \"api://AzureADTokenExchange\": expected at most 16384 bytes, found 16385",
            ),
            (
                of(1, MAX_TOKENS - frame),
                ".tokens: expected at most 131072 bytes, found 131073",
            ),
        ] {
            let error = token(&json).unwrap_err().to_string();
            assert!(error.contains(words) && !error.contains("ccc"), "{error}");
        }
        let tokens = ServiceAccountTokens::from("c".repeat(1 << 20));
        assert!(matches!(tokens.0, Err(TooLong(_))));
    }

    #[test]
    fn a_malformed_token_is_refused_and_not_shown() {
        for json in [
            "canary",
            "[\"canary\"]",
            "{\"canary\"",
            r#"{"api://AzureADTokenExchange":"canary"}"#,
            r#"{"api://AzureADTokenExchange":{"token":5}}"#,
            r#"{"api://AzureADTokenExchange":{}}"#,
            r#"{"api://AzureADTokenExchange":{"token":"canary with spaces"}}"#,
            r#"{"api://AzureADTokenExchange":{"token":"can\u0000ary"}}"#,
        ] {
            let error = token(json).unwrap_err().to_string();
            assert!(
                error.starts_with("csi.storage.k8s.io/serviceAccount.tokens: "),
                "{error}"
            );
            assert!(!error.contains("canary"), "{error}");
        }
    }
}
