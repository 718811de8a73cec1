//! `provider-azure-rs validate`: says, without a cluster and without Azure, what is wrong with
//! a SecretProviderClass.
//!
//! [`input`] reads the files, [`manifest`] finds the classes in them, [`class`] looks at each as
//! Kubernetes does, [`parameters`] runs what a mount runs before it touches the network, and [`report`]
//! writes what came of it, each finding with its place ([`places`], by the YAML of [`marked`]).

mod advice;
mod class;
mod finding;
mod findings;
mod input;
mod manifest;
mod marked;
mod oddities;
mod parameters;
mod places;
mod report;
mod scalar_type;
mod schema;
mod secret_objects;

use std::io::{self, Write as _};
use std::process::ExitCode;

use crate::commands::validate::class::Assumptions;
use crate::commands::validate::finding::{Finding, Severity};
use crate::commands::validate::input::Input;
use crate::commands::validate::marked::{Origin, Text};
use crate::excerpt::causes;
use crate::settings::{OutputForm, ValidateSettings};

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
