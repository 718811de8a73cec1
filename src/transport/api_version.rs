//! [`ApiVersion`], the version of Key Vault's API that a vault is asked in.
//!
//! The SDK's clients ask in the newest version that they know, which Microsoft's own clouds speak. The vaults of an Azure
//! Stack Hub speak older ones, and say so: `The specified version (2025-07-01) is not recognized. Consider using the
//! latest supported version (7.1).` What a vault has said once holds for every later request to it. What the
//! provider reads of an answer is the same from 2016-10-01 on.

use std::borrow::Cow;

use hyper::StatusCode;
use parking_lot::Mutex;

use crate::transport::origin::Answer;

/// The parameter that has it.
const PARAMETER: &str = "api-version=";
/// The most times that a request is sent again in another version.
pub(super) const MAX_CHANGES: usize = 2;

/// What is known of the version that one vault speaks.
#[derive(Debug)]
pub(super) struct ApiVersion {
    /// Whether it may be another one than the clients know.
    may_differ: bool,
    agreed: Mutex<Option<String>>,
}

impl ApiVersion {
    /// Nothing yet. A vault of Microsoft's own clouds is never asked in another one.
    pub(super) fn new(may_differ: bool) -> Self {
        Self {
            may_differ,
            agreed: Mutex::default(),
        }
    }

    /// The path and query of a request in the vault's own version.
    pub(super) fn applied<'a>(&self, path: &'a str) -> Cow<'a, str> {
        let agreed = self.agreed.lock();
        let Some(agreed) = agreed.as_deref() else {
            return path.into();
        };
        let Some(place) = place(path) else {
            return path.into();
        };
        format!("{}{agreed}{}", &path[..place.start], &path[place.end..]).into()
    }

    /// Learns from an answer to this path which version the vault speaks. Whether that makes it worth sending the
    /// request again.
    pub(super) fn learns_from(&self, answer: &Answer, path: &str) -> bool {
        if !self.may_differ || answer.status != StatusCode::BAD_REQUEST {
            return false;
        }
        let latest = std::str::from_utf8(&answer.body).ok().and_then(latest);
        let Some(latest) = latest else {
            return false;
        };
        if place(path).is_some_and(|place| &path[place] == latest) {
            return false;
        }
        let mut agreed = self.agreed.lock();
        *agreed = Some(latest.to_owned());
        true
    }
}

/// Where a version is in a path and query.
fn place(path: &str) -> Option<std::ops::Range<usize>> {
    let query = path.find('?')? + 1;
    let parameter = path[query..]
        .match_indices(PARAMETER)
        .map(|(at, _)| query + at)
        .find(|at| matches!(path.as_bytes()[at - 1], b'?' | b'&'))?;
    let start = parameter + PARAMETER.len();
    let end = path[start..]
        .find('&')
        .map_or(path.len(), |end| start + end);
    Some(start..end)
}

/// The latest version that a vault says it speaks, where that can stand in a URL.
fn latest(body: &str) -> Option<&str> {
    let (_, said) = body.split_once("is not recognized")?;
    let (_, said) = said.split_once("supported version (")?;
    let (version, _) = said.split_once(')')?;
    let fits = (1..=32).contains(&version.len())
        && version
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
    fits.then_some(version)
}

#[cfg(test)]
mod tests {
    use hyper::HeaderMap;

    use super::*;

    fn answer(status: StatusCode, latest: &str) -> Answer {
        let body = format!(
            r#"{{"error":{{"code":"BadParameter","message":"The specified version (2025-07-01) is not recognized. Consider using the latest supported version ({latest})."}}}}"#
        );
        Answer {
            status,
            headers: HeaderMap::new(),
            body: body.into(),
        }
    }

    #[test]
    fn what_a_vault_says_once_holds_for_every_request() {
        let version = ApiVersion::new(true);
        let asked = "/secrets/a/?api-version=2025-07-01";
        assert_eq!(version.applied(asked), asked);
        assert!(version.learns_from(&answer(StatusCode::BAD_REQUEST, "7.1"), asked));
        for (path, expected) in [
            (asked, "/secrets/a/?api-version=7.1"),
            (
                "/keys/k?api-version=2025-07-01&maxresults=1",
                "/keys/k?api-version=7.1&maxresults=1",
            ),
            (
                "/s?$skiptoken=a=b&api-version=2",
                "/s?$skiptoken=a=b&api-version=7.1",
            ),
            ("/s?my-api-version=2", "/s?my-api-version=2"),
            ("/s?x=1", "/s?x=1"),
            ("/api-version=2", "/api-version=2"),
        ] {
            assert_eq!(version.applied(path), expected);
        }
        // What it refuses although it asked for it.
        let asked = "/secrets/a/?api-version=7.1";
        assert!(!version.learns_from(&answer(StatusCode::BAD_REQUEST, "7.1"), asked));
        assert!(version.learns_from(&answer(StatusCode::BAD_REQUEST, "2016-10-01"), asked));
    }

    #[test]
    fn nothing_is_learned_from_others() {
        let asked = "/secrets/a/?api-version=2025-07-01";
        let stack = ApiVersion::new(true);
        assert!(
            !ApiVersion::new(false).learns_from(&answer(StatusCode::BAD_REQUEST, "7.1"), asked)
        );
        assert!(!stack.learns_from(&answer(StatusCode::FORBIDDEN, "7.1"), asked));
        for version in ["", "7.1&x=1", "7.1 ", "é", &"7".repeat(33)] {
            let refused = answer(StatusCode::BAD_REQUEST, version);
            assert!(!stack.learns_from(&refused, asked), "{version}");
        }
        let other = Answer {
            body: r#"{"error":{"code":"BadParameter","message":"supported version (7.1)"}}"#.into(),
            ..answer(StatusCode::BAD_REQUEST, "")
        };
        assert!(!stack.learns_from(&other, asked));
    }
}
