//! Key Vault: one [`Vault`] holds secrets, keys and certificates behind an access model, and
//! answers the REST API for them. Tests fill it through the handle, clients through requests.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use serde_json::{Map, Value};

use crate::clock::Clock;
use crate::cloud::Cloud;
use crate::settings::Settings;

mod access;
mod api;
mod api_version;
mod authentication;
mod certificates;
mod deleted;
mod errors;
mod keys;
mod material;
mod operation;
mod page;
mod recovery;
mod secrets;
mod store;

pub use access::{ObjectKind, Permissions};
pub(crate) use api::answer;
pub use api_version::ApiVersion;
pub use certificates::CertificatePolicy;
pub use errors::VaultError;
pub(crate) use errors::error_for_status;
pub use material::KeyType;
pub use recovery::Recovery;
pub use secrets::NewSecret;

use access::Access;
use certificates::{Certificate, Issuer};
use keys::Key;
use secrets::Secret;
use store::{Shelf, Wanted, WantedAttributes};

/// A vault; clones share it.
#[derive(Clone, Debug)]
pub struct Vault {
    name: Arc<str>,
    clock: Arc<Clock>,
    contents: Arc<Mutex<Contents>>,
}

/// What a vault is and holds.
#[derive(Debug)]
pub(crate) struct Contents {
    tenant: String,
    cloud: Cloud,
    location: String,
    rbac: bool,
    firewall: bool,
    public_network_access: bool,
    private_endpoint: Option<String>,
    recovery: Recovery,
    latest_version: ApiVersion,
    access: Access,
    secrets: Shelf<Secret>,
    keys: Shelf<Key>,
    certificates: Shelf<Certificate>,
}

impl Vault {
    pub(crate) fn new(name: &str, settings: &Settings, clock: Arc<Clock>) -> Self {
        let contents = Contents {
            tenant: settings.tenant.clone(),
            cloud: settings.cloud,
            location: settings.location.clone(),
            rbac: false,
            firewall: false,
            public_network_access: true,
            private_endpoint: None,
            recovery: Recovery::default(),
            latest_version: ApiVersion::LATEST,
            access: Access::default(),
            secrets: Shelf::new(ObjectKind::Secret),
            keys: Shelf::new(ObjectKind::Key),
            certificates: Shelf::new(ObjectKind::Certificate),
        };
        Self {
            name: name.into(),
            clock,
            contents: Arc::new(Mutex::new(contents)),
        }
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock()
    }

    fn now(&self) -> i64 {
        self.clock.unix()
    }

    /// The vault's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The tenant whose tokens it takes.
    pub fn tenant(&self) -> String {
        self.contents().tenant.clone()
    }

    /// Moves it to another tenant.
    pub fn set_tenant(&self, tenant: &str) {
        self.contents().tenant = tenant.to_ascii_lowercase();
    }

    /// The cloud under whose domain it resolves.
    pub fn cloud(&self) -> Cloud {
        self.contents().cloud
    }

    /// Moves it to another cloud.
    pub fn set_cloud(&self, cloud: Cloud) {
        self.contents().cloud = cloud;
    }

    /// Moves it to another Azure region.
    pub fn set_location(&self, location: &str) {
        location.clone_into(&mut self.contents().location);
    }

    /// Whether refusals are worded for role assignments instead of access policies.
    pub fn set_rbac(&self, rbac: bool) {
        self.contents().rbac = rbac;
    }

    /// Whether the vault's firewall refuses every client.
    pub fn set_firewall(&self, closed: bool) {
        self.contents().firewall = closed;
    }

    /// Whether it answers clients that do not come through its private endpoint.
    pub fn set_public_network_access(&self, open: bool) {
        self.contents().public_network_access = open;
    }

    /// The resource id of the private endpoint that every client comes through, if there is one.
    pub fn set_private_endpoint(&self, id: Option<String>) {
        self.contents().private_endpoint = id;
    }

    /// How long deleted objects can be recovered.
    pub fn set_recovery(&self, recovery: Recovery) {
        self.contents().recovery = recovery;
    }

    /// The newest version of the REST API that it knows: an older one on an Azure Stack Hub.
    pub fn set_latest_api_version(&self, latest: ApiVersion) {
        self.contents().latest_version = latest;
    }

    /// Lets an identity, by its client id or object id, do these things and no others.
    pub fn grant(&self, identity: &str, permissions: Permissions) {
        self.contents().access.grant(identity, permissions);
    }

    /// Takes an identity's permissions away; false when it had none.
    pub fn revoke(&self, identity: &str) -> bool {
        self.contents().access.revoke(identity)
    }

    /// Lets every identity of the vault's tenant do everything.
    pub fn allow_everyone(&self) {
        self.contents().access.allow_everyone(true);
    }

    /// Only those who were granted something have access again.
    pub fn allow_only_granted(&self) {
        self.contents().access.allow_everyone(false);
    }

    /// Adds a version to a secret. Gives the version.
    pub fn set_secret(&self, name: &str, value: impl Into<String>) -> String {
        self.set_secret_with(name, NewSecret::new(value))
    }

    /// Adds a version to a secret, with everything that it can have. Gives the version.
    ///
    /// A deleted secret of this name is purged first.
    pub fn set_secret_with(&self, name: &str, new: NewSecret) -> String {
        let now = self.now();
        let wanted = Wanted {
            attributes: WantedAttributes {
                enabled: Some(new.enabled),
                nbf: new.not_before,
                exp: new.expires,
            },
            tags: Some(new.tags.clone()),
        };
        let contents = &mut *self.contents();
        replace(
            &mut contents.secrets,
            name,
            None,
            Secret::from(new),
            wanted,
            now,
        )
    }

    /// Makes a key and adds it as a version. Gives the version.
    pub fn create_key(&self, name: &str, kind: KeyType) -> String {
        self.set_key(name, material::generate_public(kind))
    }

    /// Adds a version to a key: the public members of a JSON Web Key, taken as they are, so that a
    /// test can also serve what Key Vault never would. `kid` is added. Gives the version.
    pub fn set_key(&self, name: &str, jwk: Map<String, Value>) -> String {
        let now = self.now();
        let contents = &mut *self.contents();
        let key = Key::new(jwk);
        replace(&mut contents.keys, name, None, key, Wanted::default(), now)
    }

    /// Makes a key and a self-signed certificate, and adds the version that they are to the
    /// certificate, its key and its secret. Gives the version.
    pub fn create_certificate(
        &self,
        name: &str,
        policy: &CertificatePolicy,
    ) -> Result<String, VaultError> {
        certificates::create(self, name, policy, Issuer::Own, Wanted::default())
    }

    /// The same, but a certificate that is not issued yet: it is disabled, and neither it nor its
    /// secret can be read. Gives the version.
    pub fn create_pending_certificate(
        &self,
        name: &str,
        policy: &CertificatePolicy,
    ) -> Result<String, VaultError> {
        certificates::create(self, name, policy, Issuer::Unknown, Wanted::default())
    }

    /// Issues a pending certificate, self-signed. Gives its version.
    pub fn issue_certificate(&self, name: &str) -> Result<String, VaultError> {
        certificates::complete(self, name, None)
    }

    /// Imports a certificate with its private key from PFX bytes or PEM text. Gives the version.
    pub fn import_certificate(
        &self,
        name: &str,
        value: &[u8],
        password: Option<&str>,
    ) -> Result<String, VaultError> {
        self.import_certificate_as(name, value, password, None)
    }

    /// The same with the content type that its secret is to have: `application/x-pkcs12` or
    /// `application/x-pem-file`; without one that of the import. Gives the version.
    pub fn import_certificate_as(
        &self,
        name: &str,
        value: &[u8],
        password: Option<&str>,
        content_type: Option<&str>,
    ) -> Result<String, VaultError> {
        certificates::import(
            self,
            name,
            value,
            password,
            content_type,
            true,
            Wanted::default(),
        )
    }

    /// The certificate of a version, or the newest, in DER.
    pub fn certificate_der(
        &self,
        name: &str,
        version: Option<&str>,
    ) -> Result<Vec<u8>, VaultError> {
        let contents = self.contents();
        let certificate = contents.certificates.get(name, version)?;
        Ok(certificate.content.der.clone())
    }

    /// The value of a version of a secret, or of the newest.
    pub fn secret_value(&self, name: &str, version: Option<&str>) -> Result<String, VaultError> {
        let contents = self.contents();
        Ok(contents.secrets.get(name, version)?.content.value.clone())
    }

    /// The public JSON Web Key of a version of a key, or of the newest, without `kid`.
    pub fn key(&self, name: &str, version: Option<&str>) -> Result<Map<String, Value>, VaultError> {
        let contents = self.contents();
        Ok(contents.keys.get(name, version)?.content.jwk.clone())
    }

    /// An object's versions, the oldest first; none when there is no such object.
    pub fn versions(&self, kind: ObjectKind, name: &str) -> Vec<String> {
        fn ids<T>(shelf: &Shelf<T>, name: &str) -> Vec<String> {
            shelf.object(name).map_or_else(
                |_| Vec::new(),
                |object| object.versions.iter().map(|one| one.id.clone()).collect(),
            )
        }
        let contents = self.contents();
        match kind {
            ObjectKind::Secret => ids(&contents.secrets, name),
            ObjectKind::Key => ids(&contents.keys, name),
            ObjectKind::Certificate => ids(&contents.certificates, name),
        }
    }

    /// Enables or disables a version, or the newest.
    pub fn set_enabled(
        &self,
        kind: ObjectKind,
        name: &str,
        version: Option<&str>,
        enabled: bool,
    ) -> Result<(), VaultError> {
        let wanted = Wanted {
            attributes: WantedAttributes {
                enabled: Some(enabled),
                ..WantedAttributes::default()
            },
            tags: None,
        };
        let now = self.now();
        let contents = &mut *self.contents();
        match kind {
            ObjectKind::Secret => contents.secrets.get_mut(name, version)?.update(wanted, now),
            ObjectKind::Key => contents.keys.get_mut(name, version)?.update(wanted, now),
            ObjectKind::Certificate => contents
                .certificates
                .get_mut(name, version)?
                .update(wanted, now),
        }
        Ok(())
    }

    /// Says when a version was made: a vault that is written to twice in a second has two of that second.
    pub fn set_created(
        &self,
        kind: ObjectKind,
        name: &str,
        version: &str,
        created: i64,
    ) -> Result<(), VaultError> {
        let contents = &mut *self.contents();
        let version = Some(version);
        let attributes = match kind {
            ObjectKind::Secret => &mut contents.secrets.get_mut(name, version)?.attributes,
            ObjectKind::Key => &mut contents.keys.get_mut(name, version)?.attributes,
            ObjectKind::Certificate => {
                &mut contents.certificates.get_mut(name, version)?.attributes
            }
        };
        attributes.created = created;
        Ok(())
    }

    /// Deletes an object so that it can be recovered; of a certificate, its key and secret too.
    pub fn delete(&self, kind: ObjectKind, name: &str) -> Result<(), VaultError> {
        deleted::delete(&mut self.contents(), kind, name, self.now())
    }

    /// Recovers a deleted object; of a certificate, its key and secret too.
    pub fn recover(&self, kind: ObjectKind, name: &str) -> Result<(), VaultError> {
        deleted::recover(&mut self.contents(), kind, name)
    }

    /// The names of the live objects of a kind.
    pub fn names(&self, kind: ObjectKind) -> Vec<String> {
        fn names<T>(shelf: &Shelf<T>) -> Vec<String> {
            shelf.objects().map(|object| object.name.clone()).collect()
        }
        let contents = self.contents();
        match kind {
            ObjectKind::Secret => names(&contents.secrets),
            ObjectKind::Key => names(&contents.keys),
            ObjectKind::Certificate => names(&contents.certificates),
        }
    }
}

impl Contents {
    /// `NAME;location=centralus`, as messages name a vault.
    fn described(&self, name: &str) -> String {
        format!("{name};location={}", self.location)
    }
}

/// Adds a version in process: a deleted object of the name is in nobody's way.
fn replace<T>(
    shelf: &mut Shelf<T>,
    name: &str,
    id: Option<String>,
    content: T,
    wanted: Wanted,
    now: i64,
) -> String {
    // There may be none, which is as well.
    drop(shelf.purge(name));
    shelf
        .add(name, id, content, wanted, now)
        .map_or_else(|_| String::new(), |version| version.id.clone())
}

/// Tags as JSON, absent when there are none.
fn tags_into(json: &mut Value, tags: &BTreeMap<String, String>) {
    if !tags.is_empty() {
        json["tags"] = tags.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    }
}
