//! `provider-azure-rs validate`: says, without a cluster and without Azure, what is wrong with
//! a SecretProviderClass.
//!
//! [`input`] reads the files, [`manifest`] finds the classes in them, [`class`] looks at each as
//! Kubernetes does, [`parameters`] runs what a mount runs before it touches the network, and [`report`]
//! writes what came of it, each finding with its place ([`places`], by the YAML of [`placed_yaml`]).

mod assumptions;
mod class;
mod finding;
mod findings;
mod fixes;
mod identifiers;
mod input;
mod likely_mistakes;
mod manifest;
mod metadata;
mod names;
mod parameters;
mod placed_yaml;
mod places;
mod report;
mod scalar_type;
mod schema;
mod secret_objects;

use std::io::{self, Write as _};
use std::process::ExitCode;

use crate::commands::validate::assumptions::Assumptions;
use crate::commands::validate::finding::{Finding, Severity};
use crate::commands::validate::input::Input;
use crate::commands::validate::placed_yaml::{Origin, Text};
use crate::settings::{OutputForm, ValidateSettings};
use crate::text::excerpt::causes;

/// The status for an input that could not be read. It is also clap's for a wrong command line.
const UNREADABLE: u8 = 2;

/// Checks all files. The status is 0 where nothing is wrong, 1 where a class has errors (or warnings,
/// with `--strict`), and 2 where something could not be read.
pub fn run(settings: &ValidateSettings) -> ExitCode {
    if settings.print_schema {
        print(&schema::text());
        return ExitCode::SUCCESS;
    }
    let assumptions = Assumptions {
        conventions: settings.files.conventions(),
        default_mode: settings.default_permission,
        service_principal: settings.service_principal,
    };
    let mut checked = Checked::default();
    for path in input::expand(&settings.paths) {
        match path.and_then(|path| input::read(&path)) {
            Ok(input) => checked.file(&input, assumptions),
            Err(error) => {
                checked.unreadable = true;
                eprintln!("error: {}", causes(&error));
            }
        }
    }
    let (errors, warnings) = (
        count(&checked.findings, Severity::Error),
        count(&checked.findings, Severity::Warning),
    );
    let output = match settings.output {
        OutputForm::Text => {
            let summary = report::summary(checked.classes, errors, warnings);
            format!("{}{summary}\n", checked.text)
        }
        OutputForm::Json => report::json(&checked.findings),
    };
    print(&output);
    if checked.unreadable {
        ExitCode::from(UNREADABLE)
    } else if errors > 0 || (settings.strict && warnings > 0) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// What came of all files so far.
#[derive(Default)]
struct Checked {
    classes: usize,
    findings: Vec<(String, Finding)>,
    /// The findings for people, made while their file's text is there.
    text: String,
    unreadable: bool,
}

impl Checked {
    fn file(&mut self, input: &Input, assumptions: Assumptions) {
        let text = Text::new(&input.text, Origin::FILE);
        let of_file = manifest::check(&text, assumptions);
        self.classes += of_file.classes;
        for finding in of_file.findings {
            self.text += &report::text(&input.name, &text, &finding);
            self.text.push('\n');
            self.findings.push((input.name.clone(), finding));
        }
    }
}

fn count(findings: &[(String, Finding)], severity: Severity) -> usize {
    findings
        .iter()
        .filter(|(_, finding)| finding.severity == severity)
        .count()
}

/// Writes to standard output. Whoever closes it early has read enough.
fn print(text: &str) {
    _ = io::stdout().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::class::cloud::{Cloud, CloudChoice};
    use crate::class::file_mode::FileMode;
    use crate::class::identity::IdentityError;
    use crate::class::parameters::{ParameterError, Parameters};
    use crate::class::plan::{Conventions, HistoryCount, Plan};
    use crate::class::property::parameters::NAMES;
    use crate::class::request::Request;
    use crate::foreign_bytes::tests::yaml_text;
    use crate::server::environment_files::EnvironmentFiles;

    fn assumptions() -> Assumptions {
        Assumptions {
            conventions: Conventions {
                history: HistoryCount::Documented,
                construct_pem_chain: true,
                separate_files: false,
            },
            default_mode: FileMode::new(0o400).unwrap(),
            service_principal: false,
        }
    }

    /// Whether a mount goes as far as the network, for a pod with all tokens.
    fn mounts(parameters: &serde_json::Value) -> bool {
        let mut call = parameters.clone();
        call["csi.storage.k8s.io/pod.name"] = json!("p");
        call["csi.storage.k8s.io/pod.namespace"] = json!("n");
        call["csi.storage.k8s.io/serviceAccount.tokens"] = json!(
            r#"{"api://AzureADTokenExchange":{"token":"t"},"api://AKSIdentityBinding":{"token":"t"}}"#
        );
        let request = Request::parse(&call.to_string(), "", "256").unwrap();
        let parameters = match Parameters::parse(&request) {
            Ok(parameters) => parameters,
            // The pod may bring a service principal.
            Err(problems) => {
                return problems
                    .iter()
                    .all(|problem| *problem == ParameterError::Identity(IdentityError::None));
            }
        };
        let cloud = match &parameters.cloud {
            // Its file is in the cluster.
            CloudChoice::Stack { .. } => Cloud::public(),
            choice => EnvironmentFiles {
                default: Cloud::public(),
                folders: Vec::new(),
                operators_file: None,
            }
            .resolve(choice.clone())
            .unwrap(),
        };
        Plan::new(
            parameters,
            cloud,
            assumptions().conventions,
            assumptions().default_mode,
        )
        .is_ok()
    }

    fn value() -> impl Strategy<Value = String> {
        prop_oneof![
            Just("true".to_owned()),
            Just("AzureStackCloud".to_owned()),
            Just("a/b".to_owned()),
            "[a-z]{0,4}",
            ".{0,40}",
        ]
    }

    proptest! {
        #[test]
        fn a_check_says_what_a_mount_says(
            others in prop::collection::hash_map(prop::sample::select(NAMES), value(), 0..3),
            objects in yaml_text(),
        ) {
            let mut parameters = json!({
                "keyvaultName": "kv1",
                "tenantID": "t",
                "clientID": "c",
                "objects": objects,
            });
            for (name, value) in others {
                parameters[name] = value.into();
            }
            let manifest = json!({
                "apiVersion": "secrets-store.csi.x-k8s.io/v1",
                "kind": "SecretProviderClass",
                "metadata": { "name": "c" },
                "spec": { "provider": "azure", "parameters": parameters },
            });
            let manifest = manifest.to_string();
            let text = Text::new(&manifest, Origin::FILE);
            let checked = manifest::check(&text, assumptions());
            let errors: Vec<_> = checked
                .findings
                .iter()
                .filter(|finding| finding.severity == Severity::Error)
                // A mount says so when it looks for the file.
                .filter(|finding| finding.field != "cloudEnvFileName")
                .collect();
            prop_assert_eq!(errors.is_empty(), mounts(&parameters), "{:?} {}", errors, manifest);
            for finding in &checked.findings {
                let shown = report::text("f", &text, finding);
                prop_assert!(shown.len() < 8000, "{}", shown);
            }
        }

        #[test]
        fn any_text_may_be_a_manifest(text in yaml_text(), block in yaml_text()) {
            let block = block.replace('\n', "\n      ");
            let class = format!(
                "kind: SecretProviderClass\nspec:\n  provider: azure\n  parameters:\n    {text}\n    objects: |\n      {block}"
            );
            for manifest in [text, class] {
                let text = Text::new(&manifest, Origin::FILE);
                for finding in manifest::check(&text, assumptions()).findings {
                    report::text("f", &text, &finding);
                }
            }
        }
    }
}
