//! What to do about a class that the provider would refuse: shorter than a mount's answer says it, since
//! the reader has the class before them.

use crate::class::cloud::CloudError;
use crate::class::identity::IdentityError;
use crate::class::object::ObjectError;
use crate::class::object::yaml::YamlError;
use crate::class::parameters::{ParameterError, Warning, closest};
use crate::class::plan::PlanError;
use crate::class::property::Property;
use crate::class::property::fields::{OBJECT_ALIAS, OBJECT_TYPE};
use crate::class::property::parameters::{CLOUD_NAME, PARAMETERS};

/// How to put a parameter right.
pub fn of_parameter(error: &ParameterError) -> String {
    match error {
        ParameterError::Value { parameter, .. } | ParameterError::TooLong { parameter, .. } => {
            parameter.fix.to_owned()
        }
        ParameterError::Cloud(CloudError::GermanyIsClosed) => {
            "write cloudName: AzurePublicCloud, or leave it out".to_owned()
        }
        ParameterError::Cloud(CloudError::Unknown(found)) => of_value(&CLOUD_NAME, found),
        ParameterError::Identity(error) => of_identity(error).to_owned(),
        ParameterError::Yaml(error) => of_yaml(error).to_owned(),
        ParameterError::Object { error, .. } => of_object(error),
    }
}

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
        IdentityError::ServicePrincipal { .. }
        | IdentityError::TooLong { .. }
        | IdentityError::Tokens(_) => "this is the cluster's matter and not the class's",
        IdentityError::Malformed { field, .. } => PARAMETERS
            .iter()
            .find(|parameter| parameter.name == *field)
            .map_or("", |parameter| parameter.fix),
        IdentityError::None => {
            "write clientID, userAssignedIdentityID or useVMManagedIdentity: \"true\", unless the pods have a \
             nodePublishSecretRef (--service-principal)"
        }
    }
}

fn of_yaml(error: &YamlError) -> &'static str {
    match error {
        YamlError::TooLong(_) | YamlError::TooMany(_) => "spread the objects over several classes",
        YamlError::TooMuch { .. } => {
            "write the entries out, without aliases (*) and merge keys (<<), or spread them over several classes"
        }
        YamlError::Unseen { .. } => "correct the entries before these",
        YamlError::Stopped => "try again",
        YamlError::Unreadable(_) => "correct the YAML inside objects",
        YamlError::NoList(_) => {
            "write objects: | and below it, indented, array: with an entry of objectName and objectType"
        }
        YamlError::Entry { .. } => "write - | and below it, indented, objectName: and objectType:",
    }
}

fn of_object(error: &ObjectError) -> String {
    match error {
        ObjectError::Field { field, found } => of_value(field, found),
        ObjectError::TooLong { field, .. } => field.fix.to_owned(),
        ObjectError::Path { .. } => OBJECT_ALIAS.fix.to_owned(),
        ObjectError::SecretsOnly { field, .. } => {
            format!(
                "take {} out, or write {}: secret",
                field.name, OBJECT_TYPE.name
            )
        }
    }
}

/// The word that was probably meant, or else what is said of the property in general.
fn of_value(property: &Property, found: &str) -> String {
    match near(found, &property.words()) {
        Some(word) => format!("write {}: {word}", property.name),
        None => property.fix.to_owned(),
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
    use crate::class::property::fields::{OBJECT_ENCODING, OBJECT_FORMAT};

    #[test]
    fn the_value_that_was_meant_is_named() {
        let advice = |field, found: &str| {
            of_object(&ObjectError::Field {
                field,
                found: found.to_owned(),
            })
        };
        for (field, found, fix) in [
            (&OBJECT_TYPE, "\"secrets\"", "write objectType: secret"),
            (&OBJECT_TYPE, "\"Key\"", "write objectType: key"),
            (&OBJECT_ENCODING, "\"utf8\"", "write objectEncoding: utf-8"),
            (
                &OBJECT_FORMAT,
                "\"pkcs12\"",
                "write objectFormat: pem or pfx",
            ),
            (&OBJECT_FORMAT, "\"\"", "write objectFormat: pem or pfx"),
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
