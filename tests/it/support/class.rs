//! A SecretProviderClass as the driver would pass it on.

use std::fmt::Write as _;

use provider_azure_rs::generated::v1alpha1::MountRequest;
use serde_json::{Map, Value, json};

use super::{CLIENT_ID, TENANT, VAULT};

/// A class and the pod that mounts it.
#[derive(Clone)]
pub struct Class {
    attributes: Map<String, Value>,
    secrets: String,
    permission: String,
}

impl Class {
    /// The example's class, without objects yet: managed identity by `userAssignedIdentityID` alone.
    pub fn new() -> Self {
        let mut class = Self {
            attributes: Map::new(),
            secrets: "{}".to_owned(),
            permission: "420".to_owned(),
        };
        for (name, value) in [
            ("csi.storage.k8s.io/pod.name", "chat-backend-0"),
            ("csi.storage.k8s.io/pod.namespace", "chat"),
            ("csi.storage.k8s.io/pod.uid", "0b1c2d3e"),
            ("csi.storage.k8s.io/serviceAccount.name", "chat"),
            ("csi.storage.k8s.io/ephemeral", "true"),
            ("secretProviderClass", "azure-kv-openai-secret"),
            ("keyvaultName", VAULT),
            ("tenantId", TENANT),
            ("userAssignedIdentityID", CLIENT_ID),
        ] {
            class = class.with(name, value);
        }
        class
    }

    /// The example's class with one object of this type.
    pub fn of(kind: &str, name: &str) -> Self {
        Self::new().object(&format!("objectName: {name}\nobjectType: {kind}"))
    }

    /// The same with one secret.
    pub fn of_secret(name: &str) -> Self {
        Self::of("secret", name)
    }

    pub fn with(mut self, attribute: &str, value: impl Into<Value>) -> Self {
        self.attributes.insert(attribute.to_owned(), value.into());
        self
    }

    pub fn without(mut self, attribute: &str) -> Self {
        self.attributes.remove(attribute);
        self
    }

    /// One more entry of `objects`, as a YAML map in a string.
    pub fn object(self, entry: &str) -> Self {
        let known = self
            .attributes
            .get("objects")
            .and_then(Value::as_str)
            .unwrap_or("array:\n");
        let indented = entry.replace('\n', "\n    ");
        let objects = format!("{known}  - |\n    {indented}\n");
        self.with("objects", objects)
    }

    /// The pod's service account token for an audience.
    pub fn token(self, audience: &str, token: &str) -> Self {
        let tokens =
            json!({ audience: { "token": token, "expirationTimestamp": "2036-01-01T00:00:00Z" } });
        self.with(
            "csi.storage.k8s.io/serviceAccount.tokens",
            tokens.to_string(),
        )
    }

    pub fn secrets(mut self, secrets: &str) -> Self {
        secrets.clone_into(&mut self.secrets);
        self
    }

    pub fn permission(mut self, permission: &str) -> Self {
        permission.clone_into(&mut self.permission);
        self
    }

    /// The class without the pod, as a manifest with a block for each text of several lines.
    pub fn manifest(&self) -> String {
        let mut manifest =
            "apiVersion: secrets-store.csi.x-k8s.io/v1\nkind: SecretProviderClass\nmetadata:\n  \
                            name: a-class\nspec:\n  provider: azure-rs\n  parameters:\n"
                .to_owned();
        for (name, value) in &self.attributes {
            if name.contains('/') || name == "secretProviderClass" {
                continue;
            }
            match value.as_str() {
                Some(text) if text.contains('\n') => {
                    let text = text.trim_end().replace('\n', "\n      ");
                    writeln!(manifest, "    {name}: |\n      {text}").unwrap();
                }
                // JSON is YAML.
                _ => writeln!(manifest, "    {name}: {value}").unwrap(),
            }
        }
        manifest
    }

    /// Where the volume of its pod is mounted.
    fn target_path(&self) -> String {
        let uid = self.attributes.get("csi.storage.k8s.io/pod.uid");
        let uid = uid.and_then(Value::as_str).unwrap_or_default();
        format!("/var/lib/kubelet/pods/{uid}/volumes/kubernetes.io~csi/secrets/mount")
    }

    pub fn request(&self) -> MountRequest {
        MountRequest {
            attributes: Value::Object(self.attributes.clone()).to_string(),
            secrets: self.secrets.clone(),
            target_path: self.target_path(),
            permission: self.permission.clone(),
            current_object_version: Vec::new(),
        }
    }
}
