//! Lists in pages, linked by `nextLink`.

use axum::body::Body;
use axum::http::{Response, StatusCode};
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
    let skip = number("$skiptoken")?.unwrap_or(0);
    let rest = skip.saturating_add(size);
    let next = (rest < items.len()).then(|| next_link(ask, size, rest));
    let page: Vec<Value> = items.into_iter().skip(skip).take(size).collect();
    Ok(body::json(
        StatusCode::OK,
        &json!({ "value": page, "nextLink": next }),
    ))
}

fn next_link(ask: &Ask, size: usize, skip: usize) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair(
            "api-version",
            ask.query.get("api-version").map_or("", String::as_str),
        )
        .append_pair("$skiptoken", &skip.to_string())
        .append_pair("maxresults", &size.to_string())
        .finish();
    format!("{}{}?{query}", ask.base_url(), ask.path)
}
