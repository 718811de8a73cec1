//! Secrets: what a vault keeps for each and the operations on them.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::api::parse;
use super::errors::VaultError;
use super::operation::{Operation, Verb};
use super::page::page;
use super::recovery::View;
use super::store::{Version, Wanted};
use super::{Vault, tags_into};
use crate::body;
use crate::state::Ask;

/// A version of a secret to be added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewSecret {
    pub value: String,
    /// `contentType`.
    #[serde(default)]
    pub content_type: Option<String>,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Whether it can be read.
    #[serde(default = "enabled")]
    pub enabled: bool,
    /// `nbf`, in seconds since 1970. Key Vault gives the secret out all the same.
    #[serde(default)]
    pub not_before: Option<i64>,
    /// `exp`, in seconds since 1970. Key Vault gives the secret out all the same.
    #[serde(default)]
    pub expires: Option<i64>,
    /// A `kid`, which marks the secret of a certificate; for tests of clients that look at it.
    #[serde(default)]
    pub kid: Option<String>,
    /// Whether its identifier has no version, as with secrets of storage accounts of long ago.
    #[serde(default)]
    pub versionless: bool,
}

fn enabled() -> bool {
    true
}

impl NewSecret {
    /// An enabled secret with nothing but a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self {
            value: value.into(),
            content_type: None,
            tags: BTreeMap::new(),
            enabled: true,
            not_before: None,
            expires: None,
            kid: None,
            versionless: false,
        }
    }

    /// With this `contentType`.
    #[must_use]
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }

    /// With this tag.
    #[must_use]
    pub fn tag(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(name.into(), value.into());
        self
    }

    /// Not to be read.
    #[must_use]
    pub fn disabled(mut self) -> Self {
        self.enabled = false;
        self
    }

    /// With this `exp`.
    #[must_use]
    pub fn expires(mut self, unix: i64) -> Self {
        self.expires = Some(unix);
        self
    }

    /// With this `nbf`.
    #[must_use]
    pub fn not_before(mut self, unix: i64) -> Self {
        self.not_before = Some(unix);
        self
    }

    /// With this `kid`.
    #[must_use]
    pub fn kid(mut self, kid: impl Into<String>) -> Self {
        self.kid = Some(kid.into());
        self
    }

    /// With an identifier that has no version.
    #[must_use]
    pub fn versionless(mut self) -> Self {
        self.versionless = true;
        self
    }
}

/// What a version of a secret holds.
#[derive(Clone, Debug)]
pub(crate) struct Secret {
    pub(crate) value: String,
    pub(crate) content_type: Option<String>,
    pub(crate) kid: Kid,
    pub(crate) versionless: bool,
}

/// The `kid` of a secret.
#[derive(Clone, Debug)]
pub(crate) enum Kid {
    /// An ordinary secret has none.
    Absent,
    /// The key of the certificate whose secret this is, of the same name and version.
    OfCertificate,
    /// One that a test made up.
    Given(String),
}

impl From<NewSecret> for Secret {
    fn from(new: NewSecret) -> Self {
        Self {
            value: new.value,
            content_type: new.content_type,
            kid: new.kid.map_or(Kid::Absent, Kid::Given),
            versionless: new.versionless,
        }
    }
}

#[derive(Debug, Deserialize)]
struct SetBody {
    value: String,
    #[serde(rename = "contentType")]
    content_type: Option<String>,
    #[serde(flatten)]
    wanted: Wanted,
}

#[derive(Debug, Deserialize)]
struct UpdateBody {
    #[serde(rename = "contentType")]
    content_type: Option<String>,
    #[serde(flatten)]
    wanted: Wanted,
}

/// A secret without its value, as lists and deleted secrets show it.
pub(crate) fn item(
    view: &View,
    name: &str,
    version: &Version<Secret>,
    with_version: bool,
) -> Value {
    let base = &view.base;
    let mut id = format!("{base}/secrets/{name}");
    if with_version && !version.content.versionless {
        id = format!("{id}/{}", version.id);
    }
    let secret = &version.content;
    let mut json = json!({ "id": id, "attributes": version.attributes.json(view) });
    if let Some(content_type) = &secret.content_type {
        json["contentType"] = content_type.clone().into();
    }
    match &secret.kid {
        Kid::OfCertificate => json["managed"] = true.into(),
        Kid::Given(kid) if with_version => json["kid"] = kid.clone().into(),
        Kid::Absent | Kid::Given(_) => {}
    }
    tags_into(&mut json, &version.tags);
    json
}

/// A secret with its value.
fn bundle(view: &View, name: &str, version: &Version<Secret>) -> Value {
    let base = &view.base;
    let mut json = item(view, name, version, true);
    json["value"] = version.content.value.clone().into();
    if matches!(version.content.kid, Kid::OfCertificate) {
        json["kid"] = format!("{base}/keys/{name}/{}", version.id).into();
    }
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
    let contents = &mut *vault.contents();
    let shelf = &mut contents.secrets;
    let json = match operation.verb {
        Verb::Get => {
            let version = shelf.get(name, operation.version)?;
            if !version.attributes.enabled {
                return Err(VaultError::secret_disabled());
            }
            bundle(view, &shelf.object(name)?.name, version)
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
        Verb::Set => {
            let SetBody {
                value,
                content_type,
                wanted,
            } = parse(ask)?;
            let secret = Secret {
                value,
                content_type,
                kid: Kid::Absent,
                versionless: false,
            };
            let version = shelf.add(name, None, secret, wanted, now)?;
            bundle(view, name, version)
        }
        Verb::Update => {
            let UpdateBody {
                content_type,
                wanted,
            } = parse(ask)?;
            let version = shelf.get_mut(name, operation.version)?;
            version.update(wanted, now);
            if content_type.is_some() {
                version.content.content_type = content_type;
            }
            item(view, name, version, true)
        }
        _ => return Err(VaultError::bad_parameter("No such operation on secrets")),
    };
    Ok(body::json(StatusCode::OK, &json))
}
