//! [`Parameters`], everything that a class (and the pod's `volumeAttributes`) says, typed once.
//!
//! [`crate::server::service`] makes it from a [`Request`]; nothing after it reads a string map. The names and
//! their meaning are those of the Go provider, so that its classes work as they are.

use std::mem;

use thiserror::Error;

use crate::class::cloud::{CloudChoice, CloudError, VaultName};
use crate::class::identity::{Identity, IdentityError, IdentityParameters};
use crate::class::object::yaml::{self, Fields, YamlError};
use crate::class::object::{Object, ObjectError};
use crate::class::problems::Problems;
use crate::class::property::Property;
use crate::class::property::fields::{self as fields, OBJECT_NAME};
use crate::class::property::parameters::{
    CLIENT_ID, CLOUD_ENV_FILE_NAME, CLOUD_NAME, FAILOVER_KEYVAULT_NAME, KEYVAULT_NAME, MAX_TENANT,
    NAMES, OBJECTS, OLD_TENANT_ID, TENANT_ID, USE_AZURE_TOKEN_PROXY, USE_POD_IDENTITY,
    USE_VM_MANAGED_IDENTITY, USER_ASSIGNED_IDENTITY_ID,
};
use crate::class::request::Request;
use crate::shares::{Namespace, Stop};
use crate::text::excerpt::Excerpt;

/// The most warnings about one class.
const MAX_WARNINGS: usize = 100;
/// The most of them that say what was probably meant: as many as a mount shows.
const MAX_SUGGESTIONS: usize = 10;

/// What a class asks for.
#[derive(Debug)]
pub struct Parameters {
    /// The pod's, which pays for what is kept.
    pub namespace: Namespace,
    pub vault: VaultName,
    /// The vault that is asked when that one is out of order.
    pub failover_vault: Option<VaultName>,
    /// The tenant that the vault's identities live in.
    pub tenant: TenantId,
    pub cloud: CloudChoice,
    pub identity: Identity,
    /// What is asked, in the order of the class; at least one.
    pub objects: Vec<Object>,
    /// What is accepted and probably not meant.
    pub warnings: Vec<Warning>,
}

/// A tenant of Entra ID: its UUID or one of its domain names. It becomes part of a URL's path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TenantId(String);

impl TenantId {
    /// The tenant, if the text can be one.
    pub fn new(tenant: &str) -> Option<Self> {
        let fits = (1..=MAX_TENANT).contains(&tenant.len())
            && tenant.starts_with(|first: char| first.is_ascii_alphanumeric())
            && tenant
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
        fits.then(|| Self(tenant.to_owned()))
    }

    /// The tenant as the class has it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Something that is accepted and probably not meant, such as a parameter that nobody reads.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Warning {
    /// A parameter that does nothing.
    #[error("parameter {} is unknown and does nothing{}", Excerpt(name), did_you_mean(*closest))]
    UnknownParameter {
        name: String,
        /// The parameter that was probably meant.
        closest: Option<&'static str>,
    },
    /// A field of an entry that does nothing.
    #[error("objects[{index}]: field {} is unknown and does nothing{}", Excerpt(name), did_you_mean(*closest))]
    UnknownField {
        /// Which entry, counted from 0.
        index: usize,
        name: String,
        /// The field that was probably meant.
        closest: Option<&'static str>,
    },
}

/// Why a class cannot be served. Every message names the parameter and what was expected.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ParameterError {
    /// A parameter has a value that it cannot have, or none.
    #[error("{}: expected {}, found {found}", parameter.name, parameter.expected)]
    Value {
        parameter: &'static Property,
        /// Its value, quoted.
        found: String,
    },
    /// A parameter's value is longer than it may be.
    #[error("{}: expected at most {} bytes, found {found}", parameter.name, parameter.max.unwrap_or_default())]
    TooLong {
        parameter: &'static Property,
        /// How many bytes it has.
        found: usize,
    },
    /// There is no such cloud.
    #[error(transparent)]
    Cloud(#[from] CloudError),
    /// There is no such identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// `objects` is no list.
    #[error(transparent)]
    Yaml(#[from] YamlError),
    /// An entry of `objects` cannot be.
    #[error("objects[{index}] {name}: {error}")]
    Object {
        /// Which, counted from 0.
        index: usize,
        /// Its `objectName`, quoted.
        name: String,
        /// What is wrong with it.
        error: ObjectError,
    },
}

/// A class read as far as it can be, with everything that is wrong with it.
#[derive(Debug)]
pub struct Draft {
    namespace: Namespace,
    vault: Option<VaultName>,
    failover_vault: Option<VaultName>,
    tenant: Option<TenantId>,
    /// The cloud, where there is such a cloud.
    pub cloud: Option<CloudChoice>,
    identity: Option<Identity>,
    /// The entries of `objects`; `None` where one is refused. Empty where they cannot be read.
    pub objects: Vec<Option<Object>>,
    /// What is accepted and probably not meant.
    pub warnings: Vec<Warning>,
    /// Why the class cannot be served, in the order of the parameters.
    pub problems: Problems<ParameterError>,
}

impl Draft {
    /// Reads the attributes of a call.
    pub fn read(request: &Request) -> Self {
        Self::without_objects(request).with_objects(request, &Stop::default())
    }

    /// Reads all but `objects`, which costs nothing.
    pub fn without_objects(request: &Request) -> Self {
        let mut reader = Reader {
            request,
            problems: Problems::default(),
        };
        let vault = reader.read(&KEYVAULT_NAME, VaultName::new);
        let failover_vault = reader.read(&FAILOVER_KEYVAULT_NAME, |name| match name {
            "" => Some(None),
            name => VaultName::new(name).map(Some),
        });
        let (_, tenant) = tenant(|name| reader.get(name));
        let tenant = reader.typed(&TENANT_ID, tenant, TenantId::new);
        let cloud = reader.cloud();
        let identity = reader.identity();
        Self {
            namespace: Namespace::new(&request.pod.namespace),
            vault,
            failover_vault: failover_vault.flatten(),
            tenant,
            cloud,
            identity,
            objects: Vec::new(),
            warnings: Vec::new(),
            problems: reader.problems,
        }
    }

    /// Whether `objects` may be read anywhere, because it costs little.
    pub fn is_small(request: &Request) -> bool {
        yaml::is_small(trimmed(request, &OBJECTS))
    }

    /// Who asks which vaults in which cloud; nothing where something is wrong with one of them.
    pub fn question(&self) -> Option<Question<'_>> {
        self.problems.is_empty().then_some(())?;
        Some(Question {
            vaults: [self.vault.as_ref(), self.failover_vault.as_ref()],
            cloud: self.cloud.as_ref()?,
            identity: self.identity.as_ref()?,
        })
    }

    /// Reads `objects` too, until `stop`.
    pub fn with_objects(mut self, request: &Request, stop: &Stop) -> Self {
        let mut reader = Reader {
            request,
            problems: mem::take(&mut self.problems),
        };
        let entries = yaml::entries(reader.get(&OBJECTS), stop);
        let entries = reader.problems.keep(entries).unwrap_or_default();
        self.warnings = warnings(request, &entries);
        self.objects = entries
            .into_iter()
            .enumerate()
            .map(|(index, entry)| reader.object(index, entry))
            .collect();
        self.problems = reader.problems;
        self
    }

    /// The parameters, where nothing is wrong with them.
    pub fn finish(mut self) -> Result<Parameters, Problems<ParameterError>> {
        let problems = mem::take(&mut self.problems);
        match self.complete() {
            Some(parameters) if problems.is_empty() => Ok(parameters),
            _ => Err(problems),
        }
    }

    /// The parameters, where none is missing.
    fn complete(self) -> Option<Parameters> {
        Some(Parameters {
            namespace: self.namespace,
            vault: self.vault?,
            failover_vault: self.failover_vault,
            tenant: self.tenant?,
            cloud: self.cloud?,
            identity: self.identity?,
            objects: self.objects.into_iter().collect::<Option<_>>()?,
            warnings: self.warnings,
        })
    }
}

/// What is known of a mount before its objects are.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The vault, and its failover vault.
    pub vaults: [Option<&'a VaultName>; 2],
    pub cloud: &'a CloudChoice,
    pub identity: &'a Identity,
}

/// Reads the parameters of one call and notes what cannot be.
struct Reader<'a> {
    request: &'a Request,
    problems: Problems<ParameterError>,
}

impl<'a> Reader<'a> {
    /// A parameter's text, without the spaces around it.
    fn get(&self, parameter: &Property) -> &'a str {
        trimmed(self.request, parameter)
    }

    fn read<T>(
        &mut self,
        parameter: &'static Property,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        self.typed(parameter, self.get(parameter), parse)
    }

    /// A parameter whose text may be another's, too.
    fn typed<T>(
        &mut self,
        parameter: &'static Property,
        text: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.bounded(parameter, text)?;
        self.problems
            .keep(parse(text).ok_or_else(|| ParameterError::Value {
                parameter,
                found: Excerpt(text).to_string(),
            }))
    }

    /// The text, unless it is too long.
    fn bounded<'t>(&mut self, parameter: &'static Property, text: &'t str) -> Option<&'t str> {
        if parameter.is_too_long(text) {
            let found = text.len();
            self.problems
                .push(ParameterError::TooLong { parameter, found });
            return None;
        }
        Some(text)
    }

    fn cloud(&mut self) -> Option<CloudChoice> {
        let file = self.bounded(&CLOUD_ENV_FILE_NAME, self.get(&CLOUD_ENV_FILE_NAME))?;
        self.problems
            .keep(CloudChoice::new(self.get(&CLOUD_NAME), file))
    }

    /// Which identity is meant cannot be told before it is known which switches are on.
    fn identity(&mut self) -> Option<Identity> {
        let use_pod_identity = self.read(&USE_POD_IDENTITY, go_bool);
        let use_vm_managed_identity = self.read(&USE_VM_MANAGED_IDENTITY, go_bool);
        let use_azure_token_proxy = self.read(&USE_AZURE_TOKEN_PROXY, go_bool);
        let user_assigned = self.get(&USER_ASSIGNED_IDENTITY_ID);
        let user_assigned = self.bounded(&USER_ASSIGNED_IDENTITY_ID, user_assigned);
        let client_id = self.bounded(&CLIENT_ID, self.get(&CLIENT_ID));
        let parameters = IdentityParameters {
            use_pod_identity: use_pod_identity?,
            use_vm_managed_identity: use_vm_managed_identity?,
            use_azure_token_proxy: use_azure_token_proxy?,
            user_assigned_identity_id: user_assigned?,
            client_id: client_id?,
        };
        let request = self.request;
        self.problems.keep(Identity::decide(
            &parameters,
            &request.audiences,
            &request.tokens,
            &request.node_publish_secret,
        ))
    }

    fn object(&mut self, index: usize, entry: Result<Fields, YamlError>) -> Option<Object> {
        let fields = self.problems.keep(entry)?;
        Object::from_fields(&fields)
            .map_err(|errors| {
                for error in errors {
                    self.problems.push(ParameterError::Object {
                        index,
                        name: Excerpt(fields.get(OBJECT_NAME.name)).to_string(),
                        error,
                    });
                }
            })
            .ok()
    }
}

/// A parameter's text, without the spaces around it.
fn trimmed<'a>(request: &'a Request, parameter: &Property) -> &'a str {
    let text = if parameter.name == OBJECTS.name {
        Some(&*request.objects)
    } else {
        request.attributes.get(parameter.name)
    };
    text.map_or("", |value| value.trim())
}

/// The spelling of the tenant that counts, and what is written there: the newer one, where it has a value.
pub fn tenant<'a>(value: impl Fn(&'static Property) -> &'a str) -> (&'static Property, &'a str) {
    match (value(&TENANT_ID), value(&OLD_TENANT_ID)) {
        ("", old) if !old.is_empty() => (&OLD_TENANT_ID, old),
        (tenant, _) => (&TENANT_ID, tenant),
    }
}

impl Parameters {
    /// Types the attributes of a call.
    pub fn parse(request: &Request) -> Result<Self, Problems<ParameterError>> {
        Draft::read(request).finish()
    }
}

/// The spellings of Go's `strconv.ParseBool`; empty means false.
pub fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn warnings(request: &Request, entries: &[Result<Fields, YamlError>]) -> Vec<Warning> {
    let parameters = request.unknown.iter().map(|name| (None, name.as_str()));
    let fields = entries.iter().enumerate().flat_map(|(index, fields)| {
        fields
            .iter()
            .flat_map(Fields::names)
            .filter(|name| !fields::NAMES.contains(name))
            .map(move |name| (Some(index), name))
    });
    // An attacker's class may have any number of them.
    let unknown = parameters.chain(fields).take(MAX_WARNINGS).enumerate();
    unknown
        .map(|(number, (index, name))| {
            let closest = |known| {
                if number < MAX_SUGGESTIONS {
                    closest(name, known)
                } else {
                    None
                }
            };
            match index {
                None => Warning::UnknownParameter {
                    name: name.to_owned(),
                    closest: closest(NAMES),
                },
                Some(index) => Warning::UnknownField {
                    index,
                    name: name.to_owned(),
                    closest: closest(fields::NAMES),
                },
            }
        })
        .collect()
}

/// The known name that differs in case only, or by a few letters.
pub fn closest(name: &str, known: &[&'static str]) -> Option<&'static str> {
    closest_of(name, known.iter().copied())
}

/// The same of names that a class has itself.
pub fn closest_of<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // The cost grows with both lengths.
    const MAX_BYTES: usize = 64;
    if name.len() > MAX_BYTES {
        return None;
    }
    let name = name.to_lowercase();
    known
        .filter(|known| known.len() <= MAX_BYTES)
        .map(|known| {
            (
                strsim::damerau_levenshtein(&name, &known.to_lowercase()),
                known,
            )
        })
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, _)| *distance <= 3)
        .map(|(_, known)| known)
}

fn did_you_mean(closest: Option<&str>) -> String {
    closest
        .map(|closest| format!("; did you mean {closest}?"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBJECTS: &str = "array: [{objectName: a, objectType: secret}]";

    fn parse(attributes: &[(&str, &str)]) -> Result<Parameters, Problems<ParameterError>> {
        let defaults = [
            ("keyvaultName", "kv1"),
            ("tenantId", "t1"),
            ("objects", OBJECTS),
        ];
        let identity = attributes.iter().any(|(name, _)| name.starts_with("use"));
        let mut all = serde_json::json!({
            "csi.storage.k8s.io/pod.name": "p",
            "csi.storage.k8s.io/pod.namespace": "n",
        });
        for (name, value) in defaults.iter().chain(attributes) {
            all[name] = (*value).into();
        }
        if !identity {
            all["useVMManagedIdentity"] = "true".into();
        }
        Parameters::parse(&Request::parse(&all.to_string(), "", "420").unwrap())
    }

    #[test]
    fn both_spellings_of_the_tenant_count_and_the_newer_wins() {
        assert_eq!(parse(&[]).unwrap().tenant.as_str(), "t1");
        assert_eq!(parse(&[("tenantID", "t2")]).unwrap().tenant.as_str(), "t2");
        assert_eq!(parse(&[("tenantID", " ")]).unwrap().tenant.as_str(), "t1");
    }

    #[test]
    fn values_are_trimmed() {
        assert_eq!(
            parse(&[("keyvaultName", " kv2\n")]).unwrap().vault.as_str(),
            "kv2"
        );
    }

    #[test]
    fn switches_are_spelled_as_go_spells_them() {
        for on in ["1", "t", "T", "true", "TRUE", "True", " true "] {
            assert!(parse(&[("useVMManagedIdentity", on)]).is_ok(), "{on}");
        }
        for off in ["", "0", "f", "F", "false", "FALSE", "False"] {
            let error = parse(&[("useVMManagedIdentity", off)]).unwrap_err();
            assert_eq!(
                error.first(),
                Some(&ParameterError::Identity(IdentityError::None)),
                "{off}"
            );
        }
        for other in ["yes", "on", "tRUE", "2"] {
            let error = parse(&[("useVMManagedIdentity", other)])
                .unwrap_err()
                .to_string();
            assert!(
                error.starts_with("useVMManagedIdentity: expected \"true\" or \"false\""),
                "{error}"
            );
        }
    }

    #[test]
    fn a_bad_parameter_is_named() {
        for (name, value, message) in [
            ("keyvaultName", "", "keyvaultName: expected 3 to 24 letters"),
            ("keyvaultName", "kv1.evil.com/", "found \"kv1.evil.com/\""),
            (
                "failoverKeyvaultName",
                "a b",
                "expected nothing, or 3 to 24",
            ),
            ("tenantId", "", "tenantID: expected the tenant"),
            ("tenantId", "../common", "tenantID: "),
            ("tenantId", "a/b", "tenantID: "),
            ("cloudName", "moon", "cloudName: expected AzurePublicCloud"),
            ("cloudName", "AzureGermanCloud", "closed in October 2021"),
            ("objects", "", "objects: expected a list"),
            (
                "objects",
                "array: [{objectName: a/b, objectType: secret}]",
                "objects[0] \"a/b\": objectName: expected",
            ),
            (
                "objects",
                "array: [{objectName: a, objectType: secret}, {objectName: b}]",
                "objects[1] \"b\": objectType: expected secret, key or cert",
            ),
        ] {
            let error = parse(&[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(message), "{error} should contain {message}");
        }
    }

    #[test]
    fn a_value_has_a_length() {
        for (name, sample, max) in [
            ("keyvaultName", "k", 24),
            ("failoverKeyvaultName", "k", 24),
            ("tenantID", "t", 253),
            ("tenantId", "t", 253),
            ("userAssignedIdentityID", "/subscriptions/x", 1024),
            ("cloudEnvFileName", "/f", 4095),
        ] {
            let fill = |length: usize| format!(" {sample}{} ", "x".repeat(length - sample.len()));
            let cloud = ("cloudName", "AzureStackCloud");
            let parse = |value: &str| parse(&[(name, value), cloud, ("useVMManagedIdentity", "1")]);
            assert!(parse(&fill(max)).is_ok(), "{name}");
            let error = parse(&fill(max + 1)).unwrap_err().to_string();
            let said = match name {
                "tenantId" => "tenantID",
                name => name,
            };
            let expected = format!("{said}: expected at most {max} bytes, found {}", max + 1);
            assert_eq!(error, expected);
        }
        let error = parse(&[("clientID", &"c".repeat(129))]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "clientID: expected at most 128 bytes, found 129"
        );
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let objects = "array:\n- {objectName: a/b, objectType: x}\n- text\n- {objectName: b, objectType: secret}";
        let error = parse(&[
            ("keyvaultName", ""),
            ("tenantId", "/"),
            ("cloudName", "moon"),
            ("useVMManagedIdentity", "yes"),
            ("usePodIdentity", "no"),
            ("objects", objects),
        ])
        .unwrap_err();
        let starts: Vec<_> = error
            .iter()
            .map(|error| {
                error
                    .to_string()
                    .split(": expected")
                    .next()
                    .unwrap()
                    .to_owned()
            })
            .collect();
        assert_eq!(
            starts,
            [
                "keyvaultName",
                "tenantID",
                "cloudName",
                "usePodIdentity",
                "useVMManagedIdentity",
                "objects[0] \"a/b\": objectName",
                "objects[0] \"a/b\": objectType",
                "objects[1]",
            ]
        );
        assert!(error.to_string().ends_with("; and 3 more"), "{error}");
    }

    #[test]
    fn near_misses_are_looked_for_where_they_are_shown() {
        let names = (0..50).map(|n| format!("keyvaultnam{n:02}"));
        let names: Vec<_> = names.collect();
        let attributes: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).collect();
        let warnings = parse(&attributes).unwrap().warnings;
        assert_eq!(warnings.len(), 50);
        let has_suggestion = |warning: &&Warning| {
            let Warning::UnknownParameter { closest, .. } = warning else {
                return false;
            };
            closest.is_some()
        };
        assert_eq!(
            warnings.iter().filter(has_suggestion).count(),
            MAX_SUGGESTIONS
        );
    }

    #[test]
    fn near_misses_are_pointed_out() {
        let objects = "array: [{objectName: a, objectType: secret, objectVerson: x, tags: {}}]";
        let parameters = parse(&[
            ("keyVaultName", "x"),
            ("whatever", "x"),
            ("secretProviderClass", "c"),
            ("objects", objects),
        ]);
        let warnings: Vec<_> = parameters
            .unwrap()
            .warnings
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            warnings,
            [
                "parameter \"keyVaultName\" is unknown and does nothing; did you mean keyvaultName?",
                "parameter \"whatever\" is unknown and does nothing",
                "objects[0]: field \"objectVerson\" is unknown and does nothing; did you mean objectVersion?",
                "objects[0]: field \"tags\" is unknown and does nothing",
            ]
        );
    }
}
