//! [`Class`], a SecretProviderClass as its manifest has it: what `mount` and `doctor` call a provider with. A pod's token
//! may come in the same manifest, as `kubectl create token --output yaml` prints it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

use crate::commands::PROVIDERS;
use crate::text::excerpt::one_line;
use crate::text::sensitive::Sensitive;

/// What matters of a SecretProviderClass.
#[derive(Debug)]
pub(super) struct Class {
    pub(super) name: String,
    pub(super) namespace: Option<String>,
    pub(super) provider: String,
    pub(super) parameters: BTreeMap<String, String>,
    /// The Kubernetes Secrets that the driver makes of its files.
    pub(super) secret_objects: Vec<SecretObject>,
    /// Of a `TokenRequest` beside it.
    pub(super) token: Option<Sensitive>,
}

/// Why a manifest has no class that can be mounted.
#[derive(Debug, Error)]
pub enum ManifestError {
    #[error("{}: cannot be read", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{}: expected a SecretProviderClass as YAML, found {problem}", path.display())]
    Malformed {
        path: PathBuf,
        /// What the parser says.
        problem: String,
    },
    /// No class, or none of that name.
    #[error("{}: expected {wanted}, found {found}", path.display())]
    NotOne {
        path: PathBuf,
        /// What was wanted.
        wanted: String,
        /// The classes that there are.
        found: String,
    },
    /// Another provider's class.
    #[error("{}: spec.provider of {name}: expected azure-rs or azure, found {provider:?}", path.display())]
    OtherProvider {
        path: PathBuf,
        name: String,
        provider: String,
    },
}

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    metadata: Metadata,
    spec: Option<Spec>,
    status: Option<Status>,
}

#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    name: String,
    namespace: Option<String>,
}

#[derive(Default, Deserialize)]
struct Spec {
    #[serde(default)]
    provider: String,
    #[serde(default)]
    parameters: BTreeMap<String, String>,
    #[serde(rename = "secretObjects")]
    secret_objects: Option<Vec<SecretObject>>,
}

/// One entry of `secretObjects`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SecretObject {
    #[serde(rename = "secretName")]
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) data: Vec<SecretData>,
}

/// One of its `data`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct SecretData {
    pub(super) object_name: String,
    pub(super) key: String,
}

#[derive(Deserialize)]
struct Status {
    token: Option<String>,
}

impl Class {
    /// The class in a manifest: the one of this name, or the only one. The path `-` is standard input.
    pub(super) fn read(path: &Path, name: Option<&str>) -> Result<Self, ManifestError> {
        let text = if path == Path::new("-") {
            io::read_to_string(io::stdin())
        } else {
            std::fs::read_to_string(path)
        };
        let text = text.map_err(|source| ManifestError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        let options = serde_saphyr::options! { with_snippet: false };
        let documents: Vec<Document> = serde_saphyr::from_multiple_with_options(&text, options)
            .map_err(|error| ManifestError::Malformed {
                path: path.to_owned(),
                problem: one_line(&problem(&error), 300),
            })?;
        let (mut classes, mut token) = (Vec::new(), None);
        for document in documents {
            match document.kind.as_str() {
                "SecretProviderClass" => classes.push(document),
                "TokenRequest" => token = document.status.and_then(|status| status.token),
                _ => {}
            }
        }
        let names: Vec<_> = classes
            .iter()
            .map(|class| class.metadata.name.clone())
            .collect();
        classes.retain(|class| name.is_none_or(|name| class.metadata.name == name));
        let (Some(class), true) = (classes.pop(), classes.is_empty()) else {
            return Err(ManifestError::NotOne {
                path: path.to_owned(),
                wanted: name.map_or_else(
                    || "one SecretProviderClass, or --class-name".to_owned(),
                    |name| format!("one SecretProviderClass named {name}"),
                ),
                found: if names.is_empty() {
                    "none".to_owned()
                } else {
                    names.join(", ")
                },
            });
        };
        let spec = class.spec.unwrap_or_default();
        if !PROVIDERS.contains(&spec.provider.as_str()) {
            return Err(ManifestError::OtherProvider {
                path: path.to_owned(),
                name: class.metadata.name,
                provider: spec.provider,
            });
        }
        Ok(Self {
            name: class.metadata.name,
            namespace: class.metadata.namespace,
            provider: spec.provider,
            parameters: spec.parameters,
            secret_objects: spec.secret_objects.unwrap_or_default(),
            token: token.map(Sensitive::from),
        })
    }
}

/// What the parser says, without what it found: that may be a token by itself.
fn problem(error: &serde_saphyr::Error) -> String {
    let problem = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
    match error.location() {
        Some(at) => format!("{problem} (line {}, column {})", at.line(), at.column()),
        None => problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLASS: &str =
        "kind: SecretProviderClass\nmetadata: {name: a}\nspec: {provider: azure-rs}\n";

    fn read(text: &str) -> Result<Class, ManifestError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("class.yaml");
        std::fs::write(&path, text).unwrap();
        Class::read(&path, None)
    }

    #[test]
    fn a_token_may_come_with_a_class() {
        assert!(read(CLASS).unwrap().token.is_none());
        let request = "kind: TokenRequest\nspec: {audiences: [a]}\nstatus: {token: eyJhbGciOi}\n";
        for text in [
            format!("{CLASS}---\n{request}"),
            format!("{request}---\n{CLASS}"),
        ] {
            let class = read(&text).unwrap();
            assert_eq!(class.token.as_ref().unwrap().expose(), b"eyJhbGciOi");
            assert!(!format!("{class:?}").contains("eyJ"));
        }
    }

    #[test]
    fn a_token_in_the_wrong_place_is_not_shown() {
        for text in [
            format!("{CLASS}---\neyJhbGciOi\n"),
            format!("{CLASS}---\nkind: TokenRequest\nstatus: eyJhbGciOi\n"),
            format!("{CLASS}---\nkind: TokenRequest\nstatus: {{token: [eyJhbGciOi]}}\n"),
            format!("{CLASS}---\nkind: [eyJhbGciOi\n"),
            "eyJhbGciOi".to_owned(),
        ] {
            let error = read(&text).unwrap_err().to_string();
            assert!(!error.contains("eyJ"), "{error}");
            assert!(
                error.contains("expected a SecretProviderClass as YAML"),
                "{error}"
            );
        }
    }
}
