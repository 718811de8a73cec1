//! Keys: their public halves, which is all that Key Vault gives out. No operation here uses a
//! private half.

use axum::body::Body;
use axum::http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::api::parse;
use super::errors::VaultError;
use super::material::{self, KeyType};
use super::operation::{Operation, Verb};
use super::page::page;
use super::recovery::View;
use super::store::{Version, Wanted};
use super::{Vault, tags_into};
use crate::body;
use crate::state::Ask;

/// What a version of a key holds.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    pub(crate) jwk: Map<String, Value>,
    /// Whether it belongs to a certificate.
    pub(crate) managed: bool,
}

impl Key {
    pub(crate) fn new(jwk: Map<String, Value>) -> Self {
        Self {
            jwk,
            managed: false,
        }
    }
}

#[derive(Debug, Deserialize)]
struct CreateBody {
    kty: String,
    key_size: Option<u32>,
    crv: Option<String>,
    key_ops: Option<Vec<String>>,
    #[serde(flatten)]
    wanted: Wanted,
}

#[derive(Debug, Deserialize)]
struct ImportBody {
    key: Map<String, Value>,
    #[serde(flatten)]
    wanted: Wanted,
}

#[derive(Debug, Deserialize)]
struct UpdateBody {
    key_ops: Option<Vec<String>>,
    #[serde(flatten)]
    wanted: Wanted,
}

/// A key without its material, as lists show it.
pub(crate) fn item(view: &View, name: &str, version: &Version<Key>, with_version: bool) -> Value {
    let base = &view.base;
    let mut kid = format!("{base}/keys/{name}");
    if with_version {
        kid = format!("{kid}/{}", version.id);
    }
    let mut json = json!({ "kid": kid, "attributes": version.attributes.json(view) });
    if version.content.managed {
        json["managed"] = true.into();
    }
    tags_into(&mut json, &version.tags);
    json
}

/// A key with its public members.
pub(crate) fn bundle(view: &View, name: &str, version: &Version<Key>) -> Value {
    let base = &view.base;
    let mut jwk = version.content.jwk.clone();
    jwk.insert(
        "kid".to_owned(),
        format!("{base}/keys/{name}/{}", version.id).into(),
    );
    let mut json = json!({ "key": jwk, "attributes": version.attributes.json(view) });
    if version.content.managed {
        json["managed"] = true.into();
    }
    tags_into(&mut json, &version.tags);
    json
}

pub(crate) fn perform(
    vault: &Vault,
    ask: &Ask,
    operation: &Operation<'_>,
    view: &View,
    page_size: usize,
) -> Result<Response<Body>, VaultError> {
    let name = operation.name.unwrap_or_default();
    let now = vault.now();
    // Made before the vault is locked: a P-521 key takes a while in a debug build.
    let new = match operation.verb {
        Verb::Create => Some(created(parse(ask)?)?),
        Verb::Import => Some(imported(parse(ask)?)?),
        _ => None,
    };
    let contents = &mut *vault.contents();
    let shelf = &mut contents.keys;
    let json = match (operation.verb, new) {
        (_, Some((key, wanted))) => bundle(view, name, shelf.add(name, None, key, wanted, now)?),
        (Verb::Get, _) => {
            // Unlike a secret, a disabled key is given out, and so is a disabled certificate.
            let version = shelf.get(name, operation.version)?;
            bundle(view, &shelf.object(name)?.name, version)
        }
        (Verb::Versions, _) => {
            let items = shelf
                .versions(name)
                .into_iter()
                .map(|version| item(view, name, version, true))
                .collect();
            return page(ask, items, page_size);
        }
        (Verb::List, _) => {
            let items = shelf
                .objects()
                .filter_map(|object| Some(item(view, &object.name, object.latest()?, false)))
                .collect();
            return page(ask, items, page_size);
        }
        (Verb::Update, _) => {
            let UpdateBody { key_ops, wanted } = parse(ask)?;
            let version = shelf.get_mut(name, operation.version)?;
            version.update(wanted, now);
            if let Some(operations) = key_ops {
                version
                    .content
                    .jwk
                    .insert("key_ops".to_owned(), operations.into());
            }
            bundle(view, name, version)
        }
        _ => return Err(VaultError::bad_parameter("No such operation on keys")),
    };
    Ok(body::json(StatusCode::OK, &json))
}

fn created(body: CreateBody) -> Result<(Key, Wanted), VaultError> {
    let kind = KeyType::from_parameters(&body.kty, body.key_size, body.crv.as_deref())?;
    let mut jwk = material::generate_public(kind);
    // Keys of hardware security modules are made like the others, and say so.
    jwk.insert("kty".to_owned(), body.kty.into());
    if let Some(operations) = body.key_ops {
        jwk.insert("key_ops".to_owned(), operations.into());
    }
    Ok((Key::new(jwk), body.wanted))
}

/// The public members of an imported key; the private ones are not kept.
fn imported(body: ImportBody) -> Result<(Key, Wanted), VaultError> {
    let needed: &[&str] = match body.key.get("kty").and_then(Value::as_str) {
        Some("RSA" | "RSA-HSM") => &["n", "e", "d"],
        Some("EC" | "EC-HSM") => &["crv", "x", "y", "d"],
        _ => {
            return Err(VaultError::bad_parameter(
                "Property key.kty has an invalid value",
            ));
        }
    };
    if let Some(missing) = needed
        .iter()
        .find(|&&member| !body.key.get(member).is_some_and(Value::is_string))
    {
        return Err(VaultError::bad_parameter(format!(
            "Property key.{missing} has an invalid value"
        )));
    }
    let mut jwk: Map<String, Value> = body
        .key
        .into_iter()
        .filter(|(member, _)| {
            matches!(
                &member[..],
                "kty" | "n" | "e" | "crv" | "x" | "y" | "key_ops"
            )
        })
        .collect();
    let operations = material::operations(jwk.contains_key("n"));
    jwk.entry("key_ops").or_insert(operations);
    Ok((Key::new(jwk), body.wanted))
}
