//! Certificates: each version is also a version of a key and of a secret, of the same name and id.

use axum::body::Body;
use axum::http::{Response, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::api::parse;
use super::errors::VaultError;
use super::material::PrivateKeyChain;
use super::operation::{Operation, Verb};
use super::page::page;
use super::recovery::View;
use super::store::{Version, Wanted};
use super::{Vault, tags_into};
use crate::body;
use crate::identifier;
use crate::state::Ask;

mod issuance;
mod policy;

pub(crate) use issuance::{complete, create, import};
pub use policy::CertificatePolicy;
pub(crate) use policy::Issuer;

/// What a version of a certificate holds.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    pub(crate) der: Vec<u8>,
    policy: Value,
    /// The signing request of one that was created here.
    request: Option<Vec<u8>>,
    /// Of one that is not issued yet: what it will be if nothing else is merged with its key.
    pending: Option<PrivateKeyChain>,
}

#[derive(Debug, Deserialize)]
struct CreateBody {
    policy: Value,
    #[serde(flatten)]
    wanted: Wanted,
}

#[derive(Debug, Deserialize)]
struct MergeBody {
    x5c: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct ImportBody {
    value: String,
    pwd: Option<String>,
    policy: Option<Value>,
    #[serde(flatten)]
    wanted: Wanted,
}

/// A certificate as lists show it.
pub(crate) fn item(
    view: &View,
    name: &str,
    version: &Version<Certificate>,
    with_version: bool,
) -> Value {
    let base = &view.base;
    let mut id = format!("{base}/certificates/{name}");
    if with_version {
        id = format!("{id}/{}", version.id);
    }
    let mut json = json!({ "id": id, "attributes": version.attributes.json(view) });
    tags_into(&mut json, &version.tags);
    if version.content.pending.is_some() {
        return json;
    }
    json["x5t"] = thumbprint(&version.content.der).into();
    if let Ok((_, certificate)) = X509Certificate::from_der(&version.content.der) {
        json["subject"] = certificate.subject().to_string().into();
    }
    json
}

/// A certificate with everything that belongs to it. What is to be issued yet has neither the
/// certificate nor the identifiers of its key and secret, as recorded.
pub(crate) fn bundle(view: &View, name: &str, version: &Version<Certificate>) -> Value {
    let base = &view.base;
    let Version { id, content, .. } = version;
    let mut policy = content.policy.clone();
    policy["id"] = format!("{base}/certificates/{name}/policy").into();
    let mut json = json!({
        "id": format!("{base}/certificates/{name}/{id}"),
        "attributes": version.attributes.json(view),
        "policy": policy,
        "pending": { "id": format!("{base}/certificates/{name}/pending") },
    });
    if content.pending.is_none() {
        json["kid"] = format!("{base}/keys/{name}/{id}").into();
        json["sid"] = format!("{base}/secrets/{name}/{id}").into();
        json["x5t"] = thumbprint(&content.der).into();
        json["cer"] = STANDARD.encode(&content.der).into();
    }
    tags_into(&mut json, &version.tags);
    json
}

fn thumbprint(der: &[u8]) -> String {
    let sha1 = &ring::digest::SHA1_FOR_LEGACY_USE_ONLY;
    URL_SAFE_NO_PAD.encode(ring::digest::digest(sha1, der))
}

pub(crate) fn perform(
    vault: &Vault,
    ask: &Ask,
    operation: &Operation<'_>,
    view: &View,
    page_size: usize,
) -> Result<Response<Body>, VaultError> {
    let name = operation.name.unwrap_or_default();
    match operation.verb {
        Verb::Create => {
            let CreateBody { policy, wanted } = parse(ask)?;
            let issuer = Issuer::from_json(&policy)?;
            let policy = CertificatePolicy::from_json(&policy)?;
            create(vault, name, &policy, issuer, wanted)?;
            let mut pending = pending(vault, view, name)?;
            // Clients expect to have to ask again.
            pending["status"] = "inProgress".into();
            return Ok(body::json(StatusCode::ACCEPTED, &pending));
        }
        Verb::Import => {
            let ImportBody {
                value,
                pwd,
                policy,
                wanted,
            } = parse(ask)?;
            let wish = |pointer: &str| policy.as_ref().and_then(|policy| policy.pointer(pointer));
            let content_type = wish("/secret_props/contentType").and_then(Value::as_str);
            let exportable = wish("/key_props/exportable").and_then(Value::as_bool);
            import(
                vault,
                name,
                value.as_bytes(),
                pwd.as_deref(),
                content_type,
                exportable.unwrap_or(true),
                wanted,
            )?;
        }
        Verb::Merge => {
            let MergeBody { x5c } = parse(ask)?;
            let chain = x5c
                .iter()
                .map(|one| STANDARD.decode(one))
                .collect::<Result<Vec<_>, _>>()
                .map_err(|_| VaultError::bad_parameter("Property x5c has an invalid value"))?;
            complete(vault, name, Some(chain))?;
        }
        Verb::Pending => return Ok(body::json(StatusCode::OK, &pending(vault, view, name)?)),
        _ => {}
    }
    let now = vault.now();
    let contents = &mut *vault.contents();
    let shelf = &mut contents.certificates;
    let json = match operation.verb {
        Verb::Get | Verb::Import | Verb::Merge => {
            let version = shelf.get(name, operation.version)?;
            let mut json = bundle(view, &shelf.object(name)?.name, version);
            // The policy belongs to the certificate, not to one of its versions.
            if let (Some(_), Value::Object(json)) = (operation.version, &mut json) {
                json.remove("policy");
                json.remove("pending");
            }
            json
        }
        Verb::Policy => {
            let mut bundle = bundle(view, name, shelf.get(name, None)?);
            bundle["policy"].take()
        }
        Verb::Versions => {
            let items = shelf
                .versions(name)
                .into_iter()
                .map(|version| item(view, name, version, true))
                .collect();
            return page(ask, items, page_size);
        }
        Verb::List => {
            let items = shelf
                .objects()
                .filter_map(|object| Some(item(view, &object.name, object.latest()?, false)))
                .collect();
            return page(ask, items, page_size);
        }
        Verb::Update => {
            let wanted: Wanted = parse(ask)?;
            let version = shelf.get_mut(name, operation.version)?;
            version.update(wanted.clone(), now);
            let id = version.id.clone();
            let json = bundle(view, name, version);
            // The key and the secret of a certificate are enabled and disabled with it.
            if let Ok(key) = contents.keys.get_mut(name, Some(&id)) {
                key.update(wanted.clone(), now);
            }
            if let Ok(secret) = contents.secrets.get_mut(name, Some(&id)) {
                secret.update(wanted, now);
            }
            json
        }
        _ => {
            return Err(VaultError::bad_parameter(
                "No such operation on certificates",
            ));
        }
    };
    let status = match operation.verb {
        Verb::Merge => StatusCode::CREATED,
        _ => StatusCode::OK,
    };
    Ok(body::json(status, &json))
}

/// The operation that made the newest version.
fn pending(vault: &Vault, view: &View, name: &str) -> Result<Value, VaultError> {
    let contents = vault.contents();
    let version = contents.certificates.get(name, None)?;
    let request = version.content.request.as_ref().ok_or_else(|| VaultError {
        message: format!("Pending certificate not found: {name}"),
        ..VaultError::not_found(super::ObjectKind::Certificate, name)
    })?;
    let base = &view.base;
    let mut json = json!({
        "id": format!("{base}/certificates/{name}/pending"),
        "issuer": version.content.policy["issuer"],
        "csr": STANDARD.encode(request),
        "cancellation_requested": false,
        "request_id": identifier::guid_for(&version.id).replace('-', ""),
    });
    if version.content.pending.is_some() {
        json["status"] = "inProgress".into();
        // "Create a certificate signing request" of Key Vault's documentation.
        json["status_details"] =
            "Pending certificate created. Please Perform Merge to complete the \
                                  request."
                .into();
    } else {
        json["status"] = "completed".into();
        json["target"] = format!("{base}/certificates/{name}").into();
    }
    Ok(json)
}
