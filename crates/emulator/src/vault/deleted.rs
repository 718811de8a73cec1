//! Deletion, recovery and purging, which are the same for all three kinds of objects; a
//! certificate takes its key and its secret along.

use axum::body::Body;
use axum::http::{Response, StatusCode};
use serde_json::{Map, Value};

use super::access::ObjectKind;
use super::errors::VaultError;
use super::operation::{Operation, Verb};
use super::page::page;
use super::recovery::View;
use super::store::{Deleted, Object, Shelf, Version, deletion};
use super::{Contents, Vault, certificates, keys, secrets};
use crate::body;
use crate::state::Ask;

/// How an object of a kind is shown: the view, its name, its version.
type Show<T> = fn(&View, &str, &Version<T>) -> Value;

const SECRET: Show<super::Secret> = |view, name, version| secrets::item(view, name, version, true);
const KEY: Show<super::Key> = keys::bundle;
const CERTIFICATE: Show<super::Certificate> = certificates::bundle;

pub(crate) fn perform(
    vault: &Vault,
    ask: &Ask,
    operation: &Operation<'_>,
    view: &View,
    page_size: usize,
) -> Result<Response<Body>, VaultError> {
    let (kind, now) = (operation.kind, vault.now());
    let name = operation.name.unwrap_or_default();
    let contents = &mut *vault.contents();
    match operation.verb {
        Verb::Delete => delete(contents, kind, name, now)?,
        Verb::Recover => {
            recover(contents, kind, name)?;
            let json = match kind {
                ObjectKind::Secret => live(&contents.secrets, view, name, SECRET)?,
                ObjectKind::Key => live(&contents.keys, view, name, KEY)?,
                ObjectKind::Certificate => live(&contents.certificates, view, name, CERTIFICATE)?,
            };
            return Ok(body::json(StatusCode::OK, &json));
        }
        Verb::Purge if view.recovery.purge_protection => {
            let described = contents.described(&vault.name);
            return Err(VaultError::purge_protected(&described));
        }
        Verb::Purge => {
            match kind {
                ObjectKind::Secret => contents.secrets.purge(name)?,
                ObjectKind::Key => contents.keys.purge(name)?,
                ObjectKind::Certificate => {
                    contents.certificates.purge(name)?;
                    // They are gone already when a test purged them one by one.
                    drop(contents.keys.purge(name));
                    drop(contents.secrets.purge(name));
                }
            }
            return Ok(body::typed(
                StatusCode::NO_CONTENT,
                "application/json",
                bytes::Bytes::new(),
            ));
        }
        Verb::ListDeleted => {
            let items = match kind {
                ObjectKind::Secret => all(&contents.secrets, view, kind, SECRET),
                ObjectKind::Key => all(&contents.keys, view, kind, |view, name, version| {
                    keys::item(view, name, version, true)
                }),
                ObjectKind::Certificate => {
                    all(&contents.certificates, view, kind, |view, name, version| {
                        certificates::item(view, name, version, true)
                    })
                }
            };
            return page(ask, items, page_size);
        }
        _ => {}
    }
    let json = match kind {
        ObjectKind::Secret => shown(contents.secrets.deleted(name)?, view, kind, SECRET),
        ObjectKind::Key => shown(contents.keys.deleted(name)?, view, kind, KEY),
        ObjectKind::Certificate => shown(
            contents.certificates.deleted(name)?,
            view,
            kind,
            CERTIFICATE,
        ),
    };
    Ok(body::json(StatusCode::OK, &json))
}

pub(crate) fn delete(
    contents: &mut Contents,
    kind: ObjectKind,
    name: &str,
    now: i64,
) -> Result<(), VaultError> {
    match kind {
        ObjectKind::Secret => contents.secrets.delete(name, now),
        ObjectKind::Key => contents.keys.delete(name, now),
        ObjectKind::Certificate => {
            contents.certificates.delete(name, now)?;
            drop(contents.keys.delete(name, now));
            drop(contents.secrets.delete(name, now));
            Ok(())
        }
    }
}

pub(crate) fn recover(
    contents: &mut Contents,
    kind: ObjectKind,
    name: &str,
) -> Result<(), VaultError> {
    match kind {
        ObjectKind::Secret => contents.secrets.recover(name),
        ObjectKind::Key => contents.keys.recover(name),
        ObjectKind::Certificate => {
            contents.certificates.recover(name)?;
            drop(contents.keys.recover(name));
            drop(contents.secrets.recover(name));
            Ok(())
        }
    }
}

fn live<T>(shelf: &Shelf<T>, view: &View, name: &str, show: Show<T>) -> Result<Value, VaultError> {
    Ok(show(
        view,
        &shelf.object(name)?.name,
        shelf.get(name, None)?,
    ))
}

fn all<T>(shelf: &Shelf<T>, view: &View, kind: ObjectKind, show: Show<T>) -> Vec<Value> {
    shelf
        .all_deleted()
        .map(|deleted| shown(deleted, view, kind, show))
        .collect()
}

fn shown<T>(deleted: &Deleted<T>, view: &View, kind: ObjectKind, show: Show<T>) -> Value {
    let Deleted { object, at } = deleted;
    let Object { name, .. } = object;
    let mut json = match object.latest().map(|latest| show(view, name, latest)) {
        Some(Value::Object(json)) => json,
        _ => Map::new(),
    };
    json.extend(deletion(view, kind, name, *at));
    Value::Object(json)
}
