//! Versioned objects of one kind, live and deleted: what a vault keeps of its secrets, its keys and
//! its certificates.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::access::ObjectKind;
use super::errors::VaultError;
use super::recovery::View;
use crate::identifier;

/// The attributes that every version of an object has. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) enabled: bool,
    pub(crate) not_before: Option<i64>,
    pub(crate) expires: Option<i64>,
    pub(crate) created: i64,
    pub(crate) updated: i64,
}

impl Attributes {
    pub(crate) fn json(&self, view: &View) -> Value {
        let mut json = json!({
            "enabled": self.enabled,
            "created": self.created,
            "updated": self.updated,
            "recoveryLevel": view.recovery.level(),
        });
        if view.version.tells_recoverable_days() {
            json["recoverableDays"] = view.recovery.retention_days.into();
        }
        if let Some(not_before) = self.not_before {
            json["nbf"] = not_before.into();
        }
        if let Some(expires) = self.expires {
            json["exp"] = expires.into();
        }
        json
    }
}

/// Attributes and tags as a client sets them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Wanted {
    pub(crate) attributes: WantedAttributes,
    pub(crate) tags: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct WantedAttributes {
    pub(crate) enabled: Option<bool>,
    pub(crate) nbf: Option<i64>,
    pub(crate) exp: Option<i64>,
}

/// One version of an object.
#[derive(Clone, Debug)]
pub(crate) struct Version<T> {
    pub(crate) id: String,
    pub(crate) attributes: Attributes,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) content: T,
}

impl<T> Version<T> {
    /// Changes what a `PATCH` may change.
    pub(crate) fn update(&mut self, wanted: Wanted, now: i64) {
        let WantedAttributes { enabled, nbf, exp } = wanted.attributes;
        if let Some(enabled) = enabled {
            self.attributes.enabled = enabled;
        }
        self.attributes.not_before = nbf.or(self.attributes.not_before);
        self.attributes.expires = exp.or(self.attributes.expires);
        if let Some(tags) = wanted.tags {
            self.tags = tags;
        }
        self.attributes.updated = now.max(self.attributes.updated);
    }
}

/// An object: its versions, the oldest first.
#[derive(Clone, Debug)]
pub(crate) struct Object<T> {
    pub(crate) name: String,
    pub(crate) versions: Vec<Version<T>>,
}

impl<T> Object<T> {
    pub(crate) fn latest(&self) -> Option<&Version<T>> {
        self.versions.last()
    }
}

/// A deleted object and when that was.
#[derive(Clone, Debug)]
pub(crate) struct Deleted<T> {
    pub(crate) object: Object<T>,
    pub(crate) at: i64,
}

/// All objects of one kind. Names are compared without case, as Key Vault does.
#[derive(Debug)]
pub(crate) struct Shelf<T> {
    kind: ObjectKind,
    live: BTreeMap<String, Object<T>>,
    deleted: BTreeMap<String, Deleted<T>>,
}

impl<T> Shelf<T> {
    pub(crate) fn new(kind: ObjectKind) -> Self {
        Self {
            kind,
            live: BTreeMap::new(),
            deleted: BTreeMap::new(),
        }
    }

    /// Adds a version, with this id or a new one.
    ///
    /// No two versions of an object get the same second of creation: nothing else tells which is
    /// newer, and people do not rotate twice in a second while tests do.
    pub(crate) fn add(
        &mut self,
        name: &str,
        id: Option<String>,
        content: T,
        wanted: Wanted,
        now: i64,
    ) -> Result<&Version<T>, VaultError> {
        self.refuse_deleted(name)?;
        let key = name.to_ascii_lowercase();
        let object = self.live.entry(key).or_insert_with(|| Object {
            name: name.to_owned(),
            versions: Vec::new(),
        });
        let created = object
            .latest()
            .map_or(now, |latest| now.max(latest.attributes.created + 1));
        object.versions.push(Version {
            id: id.unwrap_or_else(identifier::version),
            attributes: Attributes {
                enabled: wanted.attributes.enabled.unwrap_or(true),
                not_before: wanted.attributes.nbf,
                expires: wanted.attributes.exp,
                created,
                updated: created,
            },
            tags: wanted.tags.unwrap_or_default(),
            content,
        });
        Ok(&object.versions[object.versions.len() - 1])
    }

    /// The name of a deleted object cannot be used until it is purged.
    pub(crate) fn refuse_deleted(&self, name: &str) -> Result<(), VaultError> {
        if self.deleted.contains_key(&name.to_ascii_lowercase()) {
            return Err(VaultError::deleted_but_recoverable(self.kind, name));
        }
        Ok(())
    }

    pub(crate) fn object(&self, name: &str) -> Result<&Object<T>, VaultError> {
        self.live
            .get(&name.to_ascii_lowercase())
            .ok_or_else(|| VaultError::not_found(self.kind, name))
    }

    /// A version, or the newest.
    pub(crate) fn get(&self, name: &str, version: Option<&str>) -> Result<&Version<T>, VaultError> {
        let object = self.object(name)?;
        match version {
            None => object
                .latest()
                .ok_or_else(|| VaultError::not_found(self.kind, name)),
            Some(version) => object
                .versions
                .iter()
                .find(|one| one.id.eq_ignore_ascii_case(version))
                .ok_or_else(|| VaultError::not_found(self.kind, &format!("{name}/{version}"))),
        }
    }

    pub(crate) fn get_mut(
        &mut self,
        name: &str,
        version: Option<&str>,
    ) -> Result<&mut Version<T>, VaultError> {
        let id = self.get(name, version)?.id.clone();
        self.live
            .get_mut(&name.to_ascii_lowercase())
            .and_then(|object| object.versions.iter_mut().find(|one| one.id == id))
            .ok_or_else(|| VaultError::not_found(self.kind, name))
    }

    /// All live objects, by name.
    pub(crate) fn objects(&self) -> impl Iterator<Item = &Object<T>> {
        self.live.values()
    }

    /// An object's versions in the order of their ids, which is no order in time: Key Vault
    /// promises none either.
    pub(crate) fn versions(&self, name: &str) -> Vec<&Version<T>> {
        let mut versions: Vec<_> = self
            .live
            .get(&name.to_ascii_lowercase())
            .map(|object| object.versions.iter().collect())
            .unwrap_or_default();
        versions.sort_by(|one: &&Version<T>, other| one.id.cmp(&other.id));
        versions
    }

    pub(crate) fn delete(&mut self, name: &str, now: i64) -> Result<(), VaultError> {
        let key = name.to_ascii_lowercase();
        let object = self
            .live
            .remove(&key)
            .ok_or_else(|| VaultError::not_found(self.kind, name))?;
        let deleted = Deleted { object, at: now };
        self.deleted.insert(key, deleted);
        Ok(())
    }

    pub(crate) fn deleted(&self, name: &str) -> Result<&Deleted<T>, VaultError> {
        self.deleted
            .get(&name.to_ascii_lowercase())
            .ok_or_else(|| VaultError::deleted_not_found(self.kind, name))
    }

    pub(crate) fn all_deleted(&self) -> impl Iterator<Item = &Deleted<T>> {
        self.deleted.values()
    }

    pub(crate) fn recover(&mut self, name: &str) -> Result<(), VaultError> {
        let key = name.to_ascii_lowercase();
        let deleted = self
            .deleted
            .remove(&key)
            .ok_or_else(|| VaultError::deleted_not_found(self.kind, name))?;
        self.live.insert(key, deleted.object);
        Ok(())
    }

    pub(crate) fn purge(&mut self, name: &str) -> Result<(), VaultError> {
        self.deleted
            .remove(&name.to_ascii_lowercase())
            .map(drop)
            .ok_or_else(|| VaultError::deleted_not_found(self.kind, name))
    }
}

/// The members that a deleted object has besides its own.
pub(crate) fn deletion(view: &View, kind: ObjectKind, name: &str, at: i64) -> Map<String, Value> {
    let mut members = Map::new();
    members.insert(
        "recoveryId".to_owned(),
        format!("{}/deleted{}/{name}", view.base, kind.collection()).into(),
    );
    members.insert("deletedDate".to_owned(), at.into());
    members.insert(
        "scheduledPurgeDate".to_owned(),
        (at + i64::from(view.recovery.retention_days) * 86_400).into(),
    );
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_their_own_second_and_deleted_names_are_kept() {
        let mut shelf = Shelf::new(ObjectKind::Secret);
        let add = |shelf: &mut Shelf<u8>, content| {
            shelf
                .add("A", None, content, Wanted::default(), 100)
                .map(|version| (version.id.clone(), version.attributes.created))
        };
        let (first, created) = add(&mut shelf, 1).unwrap();
        assert_eq!(created, 100);
        assert_eq!(add(&mut shelf, 2).unwrap().1, 101);
        assert_eq!(shelf.get("a", None).unwrap().content, 2);
        assert_eq!(shelf.get("a", Some(&first)).unwrap().content, 1);
        assert_eq!(
            shelf.get("a", Some("0")).unwrap_err().code,
            "SecretNotFound"
        );
        shelf.delete("a", 200).unwrap();
        assert_eq!(shelf.get("a", None).unwrap_err().status, 404);
        assert_eq!(add(&mut shelf, 3).unwrap_err().status, 409);
        shelf.recover("a").unwrap();
        assert_eq!(shelf.versions("A").len(), 2);
        shelf.delete("a", 200).unwrap();
        shelf.purge("a").unwrap();
        assert!(add(&mut shelf, 3).is_ok());
    }
}
