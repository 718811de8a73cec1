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
use super::operation::{Operation, Verb};
use super::page::page;
use super::store::{Version, Wanted};
use super::{Vault, tags_into};
use crate::body;
use crate::identifier;
use crate::state::Ask;

mod issuance;
mod policy;

pub(crate) use issuance::{create, import};
pub use policy::CertificatePolicy;

/// What a version of a certificate holds.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    pub(crate) der: Vec<u8>,
    policy: Value,
    /// The signing request of one that was created here.
    request: Option<Vec<u8>>,
}

#[derive(Debug, Deserialize)]
struct CreateBody {
    policy: Value,
    #[serde(flatten)]
    wanted: Wanted,
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
    base: &str,
    name: &str,
    version: &Version<Certificate>,
    with_version: bool,
) -> Value {
    let mut id = format!("{base}/certificates/{name}");
    if with_version {
        id = format!("{id}/{}", version.id);
    }
    let mut json = json!({
        "id": id,
        "x5t": thumbprint(&version.content.der),
        "attributes": version.attributes.json(),
        "subject": "",
    });
    if let Ok((_, certificate)) = X509Certificate::from_der(&version.content.der) {
        json["subject"] = certificate.subject().to_string().into();
    }
    tags_into(&mut json, &version.tags);
    json
}

/// A certificate with everything that belongs to it.
pub(crate) fn bundle(base: &str, name: &str, version: &Version<Certificate>) -> Value {
    let Version { id, content, .. } = version;
    let mut policy = content.policy.clone();
    policy["id"] = format!("{base}/certificates/{name}/policy").into();
    let mut json = json!({
        "id": format!("{base}/certificates/{name}/{id}"),
        "kid": format!("{base}/keys/{name}/{id}"),
        "sid": format!("{base}/secrets/{name}/{id}"),
        "x5t": thumbprint(&content.der),
        "cer": STANDARD.encode(&content.der),
        "attributes": version.attributes.json(),
        "policy": policy,
        "pending": { "id": format!("{base}/certificates/{name}/pending") },
    });
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
    page_size: usize,
) -> Result<Response<Body>, VaultError> {
    let base = ask.base_url();
    let name = operation.name.unwrap_or_default();
    match operation.verb {
        Verb::Create => {
            let CreateBody { policy, wanted } = parse(ask)?;
            create(vault, name, &CertificatePolicy::from_json(&policy)?, wanted)?;
            let mut pending = pending(vault, &base, name)?;
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
            let content_type = policy
                .as_ref()
                .and_then(|policy| policy.pointer("/secret_props/contentType"))
                .and_then(Value::as_str);
            import(
                vault,
                name,
                value.as_bytes(),
                pwd.as_deref(),
                content_type,
                wanted,
            )?;
        }
        Verb::Pending => return Ok(body::json(StatusCode::OK, &pending(vault, &base, name)?)),
        _ => {}
    }
    let now = vault.now();
    let contents = &mut *vault.contents();
    let shelf = &mut contents.certificates;
    let json = match operation.verb {
        Verb::Get | Verb::Import => {
            let version = shelf.get(name, operation.version)?;
            bundle(&base, &shelf.object(name)?.name, version)
        }
        Verb::Policy => {
            let mut bundle = bundle(&base, name, shelf.get(name, None)?);
            bundle["policy"].take()
        }
        Verb::Versions => {
            let items = shelf
                .versions(name)
                .into_iter()
                .map(|version| item(&base, name, version, true))
                .collect();
            return page(ask, items, page_size);
        }
        Verb::List => {
            let items = shelf
                .objects()
                .filter_map(|object| Some(item(&base, &object.name, object.latest()?, false)))
                .collect();
            return page(ask, items, page_size);
        }
        Verb::Update => {
            let wanted: Wanted = parse(ask)?;
            let version = shelf.get_mut(name, operation.version)?;
            version.update(wanted.clone(), now);
            let id = version.id.clone();
            let json = bundle(&base, name, version);
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
    Ok(body::json(StatusCode::OK, &json))
}

/// The operation that made the newest version, which is always over.
fn pending(vault: &Vault, base: &str, name: &str) -> Result<Value, VaultError> {
    let contents = vault.contents();
    let version = contents.certificates.get(name, None)?;
    let request = version.content.request.as_ref().ok_or_else(|| VaultError {
        message: format!("Pending certificate not found: {name}"),
        ..VaultError::not_found(super::ObjectKind::Certificate, name)
    })?;
    Ok(json!({
        "id": format!("{base}/certificates/{name}/pending"),
        "issuer": { "name": "Self", "cert_transparency": false },
        "csr": STANDARD.encode(request),
        "cancellation_requested": false,
        "status": "completed",
        "target": format!("{base}/certificates/{name}"),
        "request_id": identifier::guid_for(&version.id).replace('-', ""),
    }))
}
