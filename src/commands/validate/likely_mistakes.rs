//! What the provider accepts, and what is probably not meant, not needed, or not known here.

use std::collections::BTreeMap;

use crate::class::cloud::CloudChoice;
use crate::class::cloud::environment_file;
use crate::class::parameters::{go_bool, tenant};
use crate::class::plan::Fetch;
use crate::class::property::parameters::{
    CLOUD_ENV_FILE_NAME, CLOUD_NAME, OBJECTS, OLD_TENANT_ID, USE_POD_IDENTITY,
};
use crate::class::request::DRIVER_PREFIX;
use crate::commands::validate::finding::Severity;
use crate::commands::validate::findings::{Findings, Say};
use crate::commands::validate::places::Places;
use crate::text::excerpt::Excerpt;

/// How many requests a mount of a class may need before it is worth a word. Key Vault answers 4,000
/// requests in ten seconds for a vault, which forty pods of such a class use up when they start at once.
const MANY_REQUESTS: u64 = 100;

/// An Azure Stack, whose endpoints are in a file that is in the cluster.
pub fn of_cloud(
    cloud: Option<&CloudChoice>,
    given: &BTreeMap<&str, &str>,
    places: &Places<'_>,
    findings: &mut Findings,
) {
    let (subject, say) = match cloud {
        Some(CloudChoice::Stack { file }) if file.is_empty() => (
            places.parameter(CLOUD_NAME.name),
            Say {
                severity: Severity::Note,
                reason: "NOT_CHECKED",
                message: "cloudEnvFileName: the class has none, and a mount needs the provider's --cloud-env-file"
                    .to_owned(),
                why: "",
                fix: "write cloudEnvFileName, unless the provider has --cloud-env-file".to_owned(),
            },
        ),
        Some(CloudChoice::Stack { file }) if environment_file::could_be_allowed(file) => (
            places.parameter(CLOUD_ENV_FILE_NAME.name),
            Say {
                severity: Severity::Note,
                reason: "NOT_CHECKED",
                message: format!(
                    "cloudEnvFileName: {} is a file in the cluster, which has not been read",
                    Excerpt(file)
                ),
                why: "",
                fix: "let the provider's --cloud-env-dir name the folder that it is in".to_owned(),
            },
        ),
        Some(CloudChoice::Stack { file }) => (
            places.parameter(CLOUD_ENV_FILE_NAME.name),
            Say {
                severity: Severity::Error,
                reason: "INVALID_PARAMETER",
                message: format!(
                    "cloudEnvFileName: {} can be in no folder that the provider's --cloud-env-dir allows",
                    Excerpt(file)
                ),
                why: "",
                fix: "write an absolute path without . and ..".to_owned(),
            },
        ),
        Some(CloudChoice::Default | CloudChoice::Known(_))
            if given.get(CLOUD_ENV_FILE_NAME.name).is_some_and(|file| !file.trim().is_empty()) =>
        {
            (
                places.parameter_name(CLOUD_ENV_FILE_NAME.name),
                Say {
                    severity: Severity::Warning,
                    reason: "NO_EFFECT",
                    message: "cloudEnvFileName: does nothing without cloudName: AzureStackCloud".to_owned(),
                    why: "",
                    fix: "write cloudName: AzureStackCloud, or take cloudEnvFileName out".to_owned(),
                },
            )
        }
        _ => return,
    };
    findings.add(subject, say);
}

/// What is accepted, and spelled or combined in a way that should change.
pub fn of_parameters(given: &BTreeMap<&str, &str>, places: &Places<'_>, findings: &mut Findings) {
    let value = |name: &str| given.get(name).map_or("", |value| value.trim());
    let (_, counts) = tenant(|parameter| value(parameter.name));
    let old = value(OLD_TENANT_ID.name);
    if !old.is_empty() && old != counts {
        findings.add(
            places.parameter(OLD_TENANT_ID.name),
            Say {
                severity: Severity::Warning,
                reason: "NO_EFFECT",
                message: format!(
                    "tenantId: does nothing, since tenantID is {}",
                    Excerpt(counts)
                ),
                why: "",
                fix: "take tenantId out".to_owned(),
            },
        );
    } else if !old.is_empty() {
        findings.add(
            places.parameter_name(OLD_TENANT_ID.name),
            Say {
                severity: Severity::Note,
                reason: "DEPRECATED",
                message: "tenantId: an old spelling, which stays accepted here".to_owned(),
                why: "the Go provider logs that it will go",
                fix: "write tenantID".to_owned(),
            },
        );
    }
    if given.contains_key(USE_POD_IDENTITY.name)
        && go_bool(value(USE_POD_IDENTITY.name)) == Some(false)
    {
        findings.add(
            places.parameter_name(USE_POD_IDENTITY.name),
            Say {
                severity: Severity::Note,
                reason: "DEPRECATED",
                message: "usePodIdentity: does nothing any more, since pod identity was retired"
                    .to_owned(),
                why: "",
                fix: "take it out".to_owned(),
            },
        );
    }
    for name in given.keys().filter(|name| name.starts_with(DRIVER_PREFIX)) {
        findings.add(
            places.parameter_name(name),
            Say {
                severity: Severity::Warning,
                reason: "NO_EFFECT",
                message: format!(
                    "parameter {} does nothing: the driver sets it itself",
                    Excerpt(name)
                ),
                why: "",
                fix: "take it out".to_owned(),
            },
        );
    }
}

/// A class that asks for much.
pub fn of_fetches(fetches: &[(usize, Fetch)], places: &Places<'_>, findings: &mut Findings) {
    let requests: u64 = fetches
        .iter()
        // A history takes a list and one request for each version.
        .map(|(_, fetch)| fetch.history.map_or(1, |count| u64::from(count.get()) + 1))
        .sum();
    if requests > MANY_REQUESTS {
        findings.add(
            places.parameter(OBJECTS.name),
            Say {
                severity: Severity::Warning,
                reason: "MANY_OBJECTS",
                message: format!(
                    "objects: up to {requests} requests to the vault for each mount and each rotation"
                ),
                why: "a vault answers 4,000 in ten seconds, for all pods together, and the files of one mount may have \
                      4 MiB",
                fix: "spread the objects over several classes or vaults, or put several values into one secret"
                    .to_owned(),
            },
        );
    }
}
