//! Lists in pages, linked by `nextLink`.

use std::fmt::Write as _;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::errors::VaultError;
use crate::body;
use crate::state::Ask;

/// One page of a list, from where the request's `$skiptoken` left off.
pub(crate) fn page(
    ask: &Ask,
    items: Vec<Value>,
    page_size: usize,
) -> Result<Response<Body>, VaultError> {
    let number = |name: &str| match ask.query.get(name) {
        None => Ok(None),
        Some(text) => text
            .parse::<usize>()
            .map(Some)
            .map_err(|_| VaultError::bad_parameter(format!("Invalid {name}: {text}"))),
    };
    // A page of nothing would link to itself for ever.
    let page_size = page_size.max(1);
    let size = match number("maxresults")? {
        Some(wanted @ 1..=25) => wanted.min(page_size),
        Some(wanted) => {
            return Err(VaultError::bad_parameter(format!(
                "maxresults must be between 1 and 25, not {wanted}"
            )));
        }
        None => page_size,
    };
    let skip = match ask.query.get("$skiptoken") {
        None => 0,
        Some(token) => SkipToken::read(token)
            .ok_or_else(|| VaultError::bad_parameter(format!("Invalid $skiptoken: {token}")))?,
    };
    let rest = skip.saturating_add(size);
    let next = (rest < items.len()).then(|| next_link(ask, rest));
    let page: Vec<Value> = items.into_iter().skip(skip).take(size).collect();
    Ok(body::json(
        StatusCode::OK,
        &json!({ "value": page, "nextLink": next }),
    ))
}

/// The link to the rest, in the form of recorded ones: with the port, with a token that tells
/// nothing, and with `maxresults` only if the request had it.
fn next_link(ask: &Ask, skip: usize) -> String {
    let base = ask.base_url();
    let port = if ask.port_suffix().is_empty() {
        ":443"
    } else {
        ""
    };
    let version = ask.query.get("api-version").map_or("", String::as_str);
    let mut link = format!(
        "{base}{port}{}?api-version={version}&$skiptoken={}",
        ask.path,
        SkipToken::write(skip, &ask.path)
    );
    if let Some(wanted) = ask.query.get("maxresults") {
        let _ = write!(link, "&maxresults={wanted}");
    }
    link
}

/// Where a list goes on: JSON in base64, around a continuation marker of Azure Storage in base64.
#[derive(Debug, Serialize, Deserialize)]
struct SkipToken {
    #[serde(rename = "NextMarker")]
    marker: String,
    #[serde(rename = "TargetLocation")]
    target: u8,
}

impl SkipToken {
    fn write(skip: usize, path: &str) -> String {
        let place = format!("{skip:06}!{path}!000028!9999-12-31T23:59:59.9999999Z!");
        let place = STANDARD.encode(place).replace('=', "-");
        let token = Self {
            marker: format!("2!{}!{place}", place.len()),
            target: 0,
        };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).unwrap_or_default())
    }

    fn read(text: &str) -> Option<usize> {
        let token: Self = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let place = token.marker.splitn(3, '!').nth(2)?.replace('-', "=");
        let place = String::from_utf8(STANDARD.decode(place).ok()?).ok()?;
        place.split('!').next()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_opaque_and_read_back() {
        for skip in [1, 25, 1_000_000] {
            let token = SkipToken::write(skip, "/secrets/a/versions");
            // As recorded ones begin: {"NextMarker":"2!
            assert!(token.starts_with("eyJOZXh0TWFya2VyIjoiMi"), "{token}");
            assert_eq!(SkipToken::read(&token), Some(skip));
        }
        for nonsense in ["", "4", "e30", "!", "eyJOZXh0TWFya2VyIjoiMiEx"] {
            assert_eq!(SkipToken::read(nonsense), None, "{nonsense}");
        }
    }
}
