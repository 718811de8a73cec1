//! What to do about a class that the provider would refuse: shorter than a mount's answer says it, since
//! the reader has the class before them.

use crate::class::cloud::CloudError;
use crate::class::identity::IdentityError;
use crate::class::object::ObjectError;
use crate::class::object::yaml::YamlError;
use crate::class::parameters::{ParameterError, Warning, closest};
use crate::class::plan::PlanError;

/// How to put a parameter right.
pub fn of_parameter(error: &ParameterError) -> String {
    match error {
        ParameterError::Vault(_) | ParameterError::FailoverVault(_) => {
            "write the vault's name, without its domain: az keyvault list --query \"[].name\""
                .to_owned()
        }
        ParameterError::Tenant(_) => {
            "write the vault's tenant: az keyvault show --name VAULT --query properties.tenantId"
                .to_owned()
        }
        ParameterError::Switch { name, .. } => {
            format!("write {name}: \"true\" or {name}: \"false\"")
        }
        ParameterError::Cloud(CloudError::GermanyIsClosed) => {
            "write cloudName: AzurePublicCloud, or leave it out".to_owned()
        }
        ParameterError::Cloud(CloudError::Unknown(found)) => match near(found, &CLOUDS) {
            Some(cloud) => format!("write cloudName: {cloud}"),
            None => "leave cloudName out for AzurePublicCloud".to_owned(),
        },
        ParameterError::Identity(error) => of_identity(error).to_owned(),
        ParameterError::Yaml(error) => of_yaml(error).to_owned(),
        ParameterError::Object { error, .. } => of_object(error),
    }
}

const CLOUDS: [&str; 4] = [
    "AzurePublicCloud",
    "AzureUSGovernmentCloud",
    "AzureChinaCloud",
    "AzureStackCloud",
];

/// How to keep two entries apart.
pub fn of_plan(error: &PlanError) -> String {
    let (PlanError::SamePath { second: index, .. } | PlanError::FileAndFolder { file: index, .. }) =
        error;
    format!("give objects[{index}] an objectAlias of its own, or take it out")
}

/// What to do about something that does nothing.
pub fn of_warning(warning: &Warning) -> String {
    let (Warning::UnknownParameter { closest, .. } | Warning::UnknownField { closest, .. }) =
        warning;
    match closest {
        Some(closest) => format!("write {closest}"),
        None => "take it out".to_owned(),
    }
}

fn of_identity(error: &IdentityError) -> &'static str {
    match error {
        IdentityError::PodIdentityIsRetired => {
            "take usePodIdentity out, and write clientID or useVMManagedIdentity: \"true\""
        }
        IdentityError::MoreThanOne(_) => "keep the one that is meant and take the others out",
        IdentityError::BindingNeedsClientId => "write clientID",
        IdentityError::ServicePrincipal { .. } | IdentityError::Tokens(_) => {
            "this is the cluster's matter and not the class's"
        }
        IdentityError::Malformed { field, .. } => match *field {
            "userAssignedIdentityID" => {
                "write the identity's client ID: az identity show --name NAME --resource-group GROUP --query clientId"
            }
            _ => "write the client ID: az ad app list --display-name NAME --query \"[].appId\"",
        },
        IdentityError::None => {
            "write clientID, userAssignedIdentityID or useVMManagedIdentity: \"true\", unless the pods have a \
             nodePublishSecretRef (--service-principal)"
        }
    }
}

fn of_yaml(error: &YamlError) -> &'static str {
    match error {
        YamlError::TooLong(_) | YamlError::TooMany(_) => "spread the objects over several classes",
        YamlError::Unreadable(_) => "correct the YAML inside objects",
        YamlError::NoList(_) => {
            "write objects: | and below it, indented, array: with an entry of objectName and objectType"
        }
        YamlError::Entry { .. } => "write - | and below it, indented, objectName: and objectType:",
    }
}

fn of_object(error: &ObjectError) -> String {
    match error {
        ObjectError::Field { field, found, .. } => {
            let known: &[&'static str] = match *field {
                "objectType" => &["secret", "key", "cert"],
                "objectFormat" => &["pem", "pfx"],
                "objectEncoding" => &["utf-8", "hex", "base64"],
                _ => &[],
            };
            let general = match *field {
                "objectName" => {
                    "write the name that it has in the vault, without the vault and the version"
                }
                "objectVersion" => {
                    "write the version's id alone, or take objectVersion out for the newest"
                }
                "objectVersionHistory" => "write a number such as objectVersionHistory: 3",
                "filePermission" => {
                    "write octal digits in quotes, such as filePermission: \"0400\""
                }
                "objectType" => {
                    "write objectType: secret (also for a certificate with its private key), key or cert"
                }
                "objectFormat" => "write objectFormat: pem or pfx",
                _ => "write objectEncoding: utf-8, hex or base64",
            };
            near(found, known).map_or_else(
                || general.to_owned(),
                |known| format!("write {field}: {known}"),
            )
        }
        ObjectError::Path { .. } => {
            "write a path below the volume in objectAlias, such as app/password".to_owned()
        }
        ObjectError::SecretsOnly { field, .. } => {
            format!("take {field} out, or write objectType: secret")
        }
    }
}

/// The value that was probably meant. A short word is near to every other, so that the first letters
/// must be the same.
fn near(found: &str, known: &[&'static str]) -> Option<&'static str> {
    let found = found.trim_matches('"');
    let first = |text: &str| text.chars().next().map(|first| first.to_ascii_lowercase());
    closest(found, known).filter(|known| first(found) == first(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_that_was_meant_is_named() {
        let advice = |field, found: &str| {
            of_object(&ObjectError::Field {
                field,
                expected: "x",
                found: found.to_owned(),
            })
        };
        for (field, found, fix) in [
            ("objectType", "\"secrets\"", "write objectType: secret"),
            ("objectType", "\"Key\"", "write objectType: key"),
            ("objectEncoding", "\"utf8\"", "write objectEncoding: utf-8"),
            (
                "objectFormat",
                "\"pkcs12\"",
                "write objectFormat: pem or pfx",
            ),
            ("objectFormat", "\"\"", "write objectFormat: pem or pfx"),
        ] {
            assert_eq!(advice(field, found), fix);
        }
        let cloud = |found: &str| {
            of_parameter(&ParameterError::Cloud(CloudError::Unknown(
                found.to_owned(),
            )))
        };
        assert_eq!(
            cloud("\"AzurePublicClowd\""),
            "write cloudName: AzurePublicCloud"
        );
        assert_eq!(
            cloud("\"moon\""),
            "leave cloudName out for AzurePublicCloud"
        );
    }
}
