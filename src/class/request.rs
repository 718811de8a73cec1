//! [`Request`], one `Mount` call as the driver sent it, typed at the door.
//!
//! The driver sends JSON inside strings: `attributes` (the class's parameters, overlaid by the pod's
//! own `volumeAttributes`, and what the driver knows about the pod), `secrets` (the pod's
//! `nodePublishSecretRef`) and `permission`. [`crate::server::service`] hands them over; afterwards nobody
//! sees JSON again, and nothing that is secret can be printed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::de::{Deserializer as _, Error as _, MapAccess, Visitor};
use serde_json::Value;
use thiserror::Error;

use crate::class::file_mode::FileMode;
use crate::class::identity::Audiences;
use crate::class::property::parameters::{NAMES, OBJECTS};
use crate::class::service_account_tokens::ServiceAccountTokens;
use crate::shares::Weight;
use crate::text::excerpt::{Excerpt, cut};
use crate::text::json::{json_problem, json_type};
use crate::text::sensitive::Sensitive;

/// What the driver puts before the keys of its own attributes.
pub const DRIVER_PREFIX: &str = "csi.storage.k8s.io/";
const POD_NAME: &str = "csi.storage.k8s.io/pod.name";
const POD_NAMESPACE: &str = "csi.storage.k8s.io/pod.namespace";
const POD_UID: &str = "csi.storage.k8s.io/pod.uid";
const SERVICE_ACCOUNT: &str = "csi.storage.k8s.io/serviceAccount.name";
/// The only one of the driver's own attributes that has no prefix: it is the volume's.
const CLASS: &str = "secretProviderClass";
const TOKENS: &str = "csi.storage.k8s.io/serviceAccount.tokens";

/// The maximum number of bytes of a name that Kubernetes gives to an object.
///
/// Source: "Object Names and IDs", section "DNS Subdomain Names".
const MAX_NAME: usize = 253;
/// Of a namespace's.
///
/// Source: the same, section "RFC 1123 Label Names".
const MAX_NAMESPACE: usize = 63;
/// Of a UID. Those of the API server have 36, and those of the kubelet's static pods 32.
const MAX_UID: usize = 128;
/// What is read of the driver's own.
const OF_THE_DRIVER: [&str; 6] = [
    POD_NAME,
    POD_NAMESPACE,
    POD_UID,
    SERVICE_ACCOUNT,
    CLASS,
    TOKENS,
];
/// The keys of a Secret that say something here.
const OF_THE_SECRET: [&str; 2] = ["clientid", "clientsecret"];
/// The most unknown parameters whose names are kept for a warning.
pub const MAX_UNKNOWN: usize = 100;

/// What a call weighs without its texts.
const FIXED: usize = 2 << 10;

/// One `Mount` call.
#[derive(Debug)]
pub struct Request {
    /// The pod that the volume is for.
    pub pod: Pod,
    /// The class's parameters and the pod's `volumeAttributes`, as far as they mean something. To be
    /// read as written by the pod's author.
    pub attributes: BTreeMap<String, String>,
    /// The parameter `objects`, which may be long: mounts of one class can have it together.
    pub objects: Arc<String>,
    /// The names of those that mean nothing, cut where they are too long to be one.
    pub unknown: Vec<String>,
    /// The pod's service account tokens.
    pub tokens: ServiceAccountTokens,
    /// Which of them prove a workload identity: what the operator and the class's cloud decide.
    pub audiences: Audiences,
    /// The data of the Secret that the pod names in `nodePublishSecretRef`, as far as it means something.
    pub node_publish_secret: BTreeMap<String, Sensitive>,
    /// The mode of files that have none of their own.
    pub default_mode: FileMode,
}

/// The pod that a volume is for, as the kubelet names it (`podInfoOnMount`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Pod {
    /// `metadata.name`
    pub name: String,
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.uid`; empty where the caller does not tell.
    pub uid: String,
    /// `spec.serviceAccountName`; empty where the caller does not tell.
    pub service_account: String,
    /// The name of the class that its volume has; empty where the caller does not tell.
    pub class: String,
}

/// Why a call is not one that a driver makes. Every variant names the field and what was expected.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum RequestError {
    /// The text is not JSON at all, or not a map. The text itself is never shown: it may hold tokens.
    #[error("{field}: expected a JSON map of strings, found {found}")]
    NotAMap {
        /// The field of the call.
        field: &'static str,
        /// What was there instead, without quoting it.
        found: String,
    },
    /// A value in the map is not a string.
    #[error("{field}: {key}: expected a string, found {found}")]
    NotAString {
        /// The field of the call.
        field: &'static str,
        /// The key, quoted.
        key: String,
        /// The JSON type that was there instead.
        found: &'static str,
    },
    /// `permission` is no file mode.
    #[error(
        "permission: expected a JSON number from 0 to 511 (decimal; 420 is mode 0644), found {0}"
    )]
    Permission(String),
    /// A name is longer than Kubernetes allows.
    #[error("attributes: {key}: expected at most {max} bytes, found {found}")]
    TooLong {
        key: &'static str,
        /// The maximum number of bytes.
        max: usize,
        /// How many it has.
        found: usize,
    },
    /// The driver did not say which pod the volume is for.
    #[error("attributes: {0} is missing; the CSIDriver object needs podInfoOnMount: true")]
    PodUnknown(&'static str),
}

impl Request {
    /// Types the three JSON texts of a `Mount` call.
    pub fn parse(attributes: &str, secrets: &str, permission: &str) -> Result<Self, RequestError> {
        let mut unknown = BTreeSet::new();
        let mut attributes = string_map("attributes", attributes, |name| {
            let is_known = NAMES.contains(&name) || OF_THE_DRIVER.contains(&name);
            if !is_known && !name.starts_with(DRIVER_PREFIX) {
                unknown.insert(cut(name, MAX_NAME).to_owned());
                if unknown.len() > MAX_UNKNOWN {
                    unknown.pop_last();
                }
            }
            is_known
        })?;
        let mut secrets = if secrets.trim().is_empty() {
            BTreeMap::new()
        } else {
            string_map("secrets", secrets, |name| {
                let mut of_the_secret = OF_THE_SECRET.iter();
                name == TOKENS || of_the_secret.any(|known| name.eq_ignore_ascii_case(known))
            })?
        };
        let default_mode = default_mode(permission)?;
        let pod = Pod {
            name: required(&attributes, POD_NAME, MAX_NAME)?,
            namespace: required(&attributes, POD_NAMESPACE, MAX_NAMESPACE)?,
            uid: trimmed(&attributes, POD_UID, MAX_UID)?,
            service_account: trimmed(&attributes, SERVICE_ACCOUNT, MAX_NAME)?,
            class: trimmed(&attributes, CLASS, MAX_NAME)?,
        };
        // With `serviceAccountTokenInSecrets` (Kubernetes 1.35) the tokens come with the secrets.
        let in_attributes = attributes.remove(TOKENS);
        let in_secrets = secrets.remove(TOKENS);
        let tokens = in_secrets
            .or(in_attributes)
            .map(ServiceAccountTokens::from)
            .unwrap_or_default();
        attributes.retain(|key, _| NAMES.contains(&key.as_str()));
        let objects = attributes.remove(OBJECTS.name).unwrap_or_default();
        Ok(Self {
            pod,
            attributes,
            objects: Arc::new(objects),
            unknown: unknown.into_iter().collect(),
            tokens,
            audiences: Audiences::default(),
            node_publish_secret: secrets
                .into_iter()
                .map(|(key, value)| (key, value.into()))
                .collect(),
            default_mode,
        })
    }
}

impl Weight for Request {
    /// Its texts, but for `objects`.
    fn weight(&self) -> usize {
        let attributes = self.attributes.iter();
        let secrets = self.node_publish_secret.iter();
        FIXED
            + attributes
                .map(|(key, text)| key.len() + text.len())
                .sum::<usize>()
            + secrets
                .map(|(key, value)| key.len() + value.len())
                .sum::<usize>()
            + self.unknown.iter().map(String::len).sum::<usize>()
            + self.tokens.len()
    }
}

/// A JSON map of strings, of which only those are kept whose keys are wanted: the others may be long, and many. `null`
/// stands for an empty map, and a `null` value for an absent key, as in the Go provider.
fn string_map(
    field: &'static str,
    text: &str,
    wants: impl FnMut(&str) -> bool,
) -> Result<BTreeMap<String, String>, RequestError> {
    let mut reader = WantedStrings {
        field,
        wants,
        wrong: None,
    };
    let mut json = serde_json::Deserializer::from_str(text);
    let read = json.deserialize_map(&mut reader);
    if let Ok(strings) = read.and_then(|strings| json.end().map(|()| strings)) {
        return Ok(strings);
    }
    let found = match serde_json::from_str(text) {
        Ok(Value::Null) => return Ok(BTreeMap::new()),
        Ok(other) => match reader.wrong {
            Some(wrong) => return Err(wrong),
            None => json_type(&other).to_owned(),
        },
        // Of what is no JSON nothing is quoted: it may be part of a secret.
        Err(error) => json_problem(text, &error),
    };
    Err(RequestError::NotAMap { field, found })
}

/// Reads such a map.
struct WantedStrings<W> {
    field: &'static str,
    wants: W,
    /// The first value that is no string.
    wrong: Option<RequestError>,
}

impl<'de, W: FnMut(&str) -> bool> Visitor<'de> for &mut WantedStrings<W> {
    type Value = BTreeMap<String, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut strings = BTreeMap::new();
        while let Some((key, value)) = map.next_entry::<String, Value>()? {
            match value {
                Value::String(value) if (self.wants)(&key) => _ = strings.insert(key, value),
                Value::String(_) => {}
                Value::Null => _ = strings.remove(&key),
                other if self.wrong.is_none() => {
                    self.wrong = Some(RequestError::NotAString {
                        field: self.field,
                        key: Excerpt(&key).to_string(),
                        found: json_type(&other),
                    });
                }
                _ => {}
            }
        }
        match &self.wrong {
            Some(wrong) => Err(A::Error::custom(wrong)),
            None => Ok(strings),
        }
    }
}

fn default_mode(permission: &str) -> Result<FileMode, RequestError> {
    serde_json::from_str::<u32>(permission)
        .ok()
        .and_then(FileMode::new)
        .ok_or_else(|| RequestError::Permission(Excerpt(permission).to_string()))
}

fn trimmed(
    attributes: &BTreeMap<String, String>,
    key: &'static str,
    max: usize,
) -> Result<String, RequestError> {
    let value = attributes.get(key).map_or("", |value| value.trim());
    match value.len() {
        found if found > max => Err(RequestError::TooLong { key, max, found }),
        _ => Ok(value.to_owned()),
    }
}

fn required(
    attributes: &BTreeMap<String, String>,
    key: &'static str,
    max: usize,
) -> Result<String, RequestError> {
    Some(trimmed(attributes, key, max)?)
        .filter(|value| !value.is_empty())
        .ok_or(RequestError::PodUnknown(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = r#""csi.storage.k8s.io/pod.name":"p","csi.storage.k8s.io/pod.namespace":"n""#;

    fn parse(attributes: &str, secrets: &str, permission: &str) -> Result<Request, RequestError> {
        Request::parse(attributes, secrets, permission)
    }

    #[test]
    fn a_call_is_typed() {
        let request = parse(
            &format!(r#"{{{POD},"csi.storage.k8s.io/ephemeral":"true","keyvaultName":"kv1","gone":null}}"#),
            r#"{"clientid":"c"}"#,
            "420",
        )
        .unwrap();
        assert_eq!(
            (request.pod.name.as_str(), request.pod.namespace.as_str()),
            ("p", "n")
        );
        assert_eq!(
            request.attributes,
            BTreeMap::from([("keyvaultName".into(), "kv1".into())])
        );
        assert_eq!(request.node_publish_secret["clientid"].expose(), b"c");
        assert_eq!(request.default_mode.bits(), 0o644);
    }

    #[test]
    fn the_first_names_of_many_that_mean_nothing_are_known() {
        let names: Vec<_> = (0..3 * MAX_UNKNOWN).map(|n| format!("x{n:04}")).collect();
        let unknown: Vec<_> = names
            .iter()
            .rev()
            .map(|name| format!(r#""{name}":"v""#))
            .collect();
        let request = parse(&format!("{{{POD},{}}}", unknown.join(",")), "", "420").unwrap();
        assert_eq!(request.unknown, names[..MAX_UNKNOWN]);
        assert!(request.weight() < FIXED + 1024);
    }

    #[test]
    fn what_means_nothing_is_not_kept() {
        let long = "x".repeat(1000);
        let request = parse(
            &format!(
                r#"{{{POD},"secretProviderClass":"c","keyvaultName":"kv1","other":"canary","{long}":"canary"}}"#
            ),
            r#"{"ClientID":"c","clientsecret":"s","other":"canary"}"#,
            "420",
        )
        .unwrap();
        assert_eq!(request.unknown, ["other", &long[..MAX_NAME]]);
        assert_eq!(request.attributes.len(), 1);
        let keys: Vec<_> = request.node_publish_secret.keys().collect();
        assert_eq!(keys, ["ClientID", "clientsecret"]);
    }

    #[test]
    fn names_have_the_lengths_of_kubernetes() {
        for (key, max) in [
            (POD_NAME, MAX_NAME),
            (POD_NAMESPACE, MAX_NAMESPACE),
            (POD_UID, MAX_UID),
            (SERVICE_ACCOUNT, MAX_NAME),
            (CLASS, MAX_NAME),
        ] {
            let call = |length: usize| {
                let mut call = serde_json::json!({ POD_NAME: "p", POD_NAMESPACE: "n" });
                call[key] = format!(" {} ", "x".repeat(length)).into();
                parse(&call.to_string(), "", "420")
            };
            assert!(call(max).is_ok(), "{key}");
            let found = max + 1;
            let error = RequestError::TooLong { key, max, found };
            assert_eq!(call(found).unwrap_err(), error);
        }
    }

    #[test]
    fn no_secrets_come_in_four_spellings() {
        for secrets in ["", " ", "null", "{}"] {
            assert!(
                parse(&format!("{{{POD}}}"), secrets, "420")
                    .unwrap()
                    .node_publish_secret
                    .is_empty()
            );
        }
    }

    #[test]
    fn tokens_come_from_attributes_or_secrets() {
        const AUDIENCE: &str = "api://AzureADTokenExchange";
        let tokens = Value::from(r#"{"api://AzureADTokenExchange":{"token":"a.b.c"}}"#);
        let entry = format!(r#""csi.storage.k8s.io/serviceAccount.tokens":{tokens}"#);
        for (attributes, secrets) in [
            (format!("{{{POD},{entry}}}"), "{}".to_owned()),
            (format!("{{{POD}}}"), format!("{{{entry}}}")),
        ] {
            let request = parse(&attributes, &secrets, "420").unwrap();
            assert_eq!(
                request.tokens.of_audiences(&[AUDIENCE]).unwrap().expose(),
                b"a.b.c"
            );
            assert!(request.attributes.is_empty() && request.node_publish_secret.is_empty());
        }
    }

    #[test]
    fn what_no_driver_sends_is_refused_with_the_field_named() {
        let pod = format!("{{{POD}}}");
        for (attributes, secrets, permission, message) in [
            (
                "",
                "",
                "420",
                "attributes: expected a JSON map of strings, found an empty text",
            ),
            (
                "{",
                "",
                "420",
                "attributes: expected a JSON map of strings, found text that is not JSON from line 1 column 1",
            ),
            (
                "[]",
                "",
                "420",
                "attributes: expected a JSON map of strings, found a list",
            ),
            (
                r#"{"a":1}"#,
                "",
                "420",
                r#"attributes: "a": expected a string, found a number"#,
            ),
            (
                "null",
                "",
                "420",
                "attributes: csi.storage.k8s.io/pod.name is missing",
            ),
            (
                r#"{"csi.storage.k8s.io/pod.name":"p"}"#,
                "",
                "420",
                "csi.storage.k8s.io/pod.namespace is missing",
            ),
            (
                &pod,
                "[1]",
                "420",
                "secrets: expected a JSON map of strings, found a list",
            ),
            (
                &pod,
                r#"{"a":{}}"#,
                "420",
                r#"secrets: "a": expected a string, found a map"#,
            ),
            (
                &pod,
                "{}",
                "",
                "permission: expected a JSON number from 0 to 511",
            ),
            (&pod, "{}", "512", "permission: "),
            (&pod, "{}", "-1", "permission: "),
            (&pod, "{}", "0644", "permission: "),
            (&pod, "{}", "\"420\"", "permission: "),
            (&pod, "{}", "99999999999999999999", "permission: "),
        ] {
            let error = parse(attributes, secrets, permission)
                .unwrap_err()
                .to_string();
            assert!(error.contains(message), "{error} should contain {message}");
        }
    }
}
