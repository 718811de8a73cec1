//! The parameters of a class, checked by the code that a mount runs.
//!
//! They become the call that the driver would make for a pod that lacks nothing (tokens of both
//! audiences), and [`Draft`] and [`conflicts`] say what a mount would refuse.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::class::cloud::PUBLIC_AUDIENCE;
use crate::class::identity::{IDENTITY_BINDING_AUDIENCE, IdentityError};
use crate::class::parameters::{Draft, ParameterError, Warning, tenant};
use crate::class::plan::{Fetch, conflicts};
use crate::class::property::Property;
use crate::class::property::parameters::{
    CLIENT_ID, OBJECTS, PARAMETERS, USER_ASSIGNED_IDENTITY_ID,
};
use crate::class::request::{DRIVER_PREFIX, Request, RequestError};
use crate::commands::validate::assumptions::Assumptions;
use crate::commands::validate::finding::{Place, Severity};
use crate::commands::validate::findings::{Findings, Say, one_word};
use crate::commands::validate::placed_yaml::{Content, Node};
use crate::commands::validate::places::{Places, Subject};
use crate::commands::validate::scalar_type::instead_of_text;
use crate::commands::validate::{fixes, identifiers, likely_mistakes, secret_objects};
use crate::explain::{Explanation, Reason};
use crate::text::excerpt::Excerpt;

/// Checks the parameters as a mount does, and what hangs on them.
pub fn check(
    parameters: Option<&Node>,
    places: &Places<'_>,
    secret_objects: Option<&Node>,
    assumptions: Assumptions,
    findings: &mut Findings,
) {
    let given = attributes(parameters, places, findings);
    let request = match request(&given.attributes, assumptions) {
        Ok(request) => request,
        Err(error) => {
            findings.add(
                places.parameter("parameters"),
                Say {
                    severity: Severity::Error,
                    reason: Reason::InvalidRequest.as_str(),
                    message: error.to_string(),
                    why: "",
                    fix: "correct the parameters".to_owned(),
                },
            );
            return;
        }
    };
    let draft = Draft::read(&request);
    let mut refused = given.refused.clone();
    for problem in draft.problems.iter() {
        let subject = places.of_parameter(problem);
        // What is no text has been refused already.
        let parameter = subject.field.split(['[', '.']).next().unwrap_or_default();
        if !given.refused.contains(parameter) {
            refused.extend(
                PARAMETERS
                    .iter()
                    .map(|known| known.name)
                    .find(|name| *name == parameter),
            );
            refusal(findings, subject, problem, assumptions);
        }
    }
    findings.leave_out(draft.problems.beyond());
    for warning in &draft.warnings {
        findings.add(
            places.of_warning(warning),
            Say {
                severity: Severity::Warning,
                reason: match warning {
                    Warning::UnknownParameter { .. } => "UNKNOWN_PARAMETER",
                    Warning::UnknownField { .. } => "UNKNOWN_FIELD",
                },
                message: warning.to_string(),
                why: "",
                fix: fixes::of_warning(warning),
            },
        );
    }
    likely_mistakes::of_cloud(draft.cloud.as_ref(), &given.attributes, places, findings);
    likely_mistakes::of_parameters(&given.attributes, places, findings);
    given.identifiers(&refused, places, findings);

    let complete = draft.objects.iter().all(Option::is_some);
    let fetches: Vec<_> = draft
        .objects
        .into_iter()
        .enumerate()
        .filter_map(|(index, object)| {
            let fetch = Fetch::new(object?, assumptions.conventions, assumptions.default_mode);
            Some((index, fetch))
        })
        .collect();
    let indexed: Vec<_> = fetches
        .iter()
        .map(|(index, fetch)| (*index, fetch))
        .collect();
    let problems = conflicts(&indexed);
    for problem in problems.iter() {
        let explanation = Explanation::of_plan(problem);
        findings.add(
            places.of_plan(problem),
            Say {
                severity: Severity::Error,
                reason: explanation.reason.as_str(),
                message: explanation.cause,
                why: "",
                fix: fixes::of_plan(problem),
            },
        );
    }
    findings.leave_out(problems.beyond());
    likely_mistakes::of_fetches(&fetches, places, findings);
    if let Some(secret_objects) = secret_objects {
        // The file of an entry that is refused is not known.
        let fetches = complete
            .then_some(&fetches[..])
            .filter(|all| !all.is_empty());
        secret_objects::check(secret_objects, fetches, places, findings);
    }
}

/// What a class says, as far as it is text.
struct Given<'a> {
    attributes: BTreeMap<&'a str, &'a str>,
    /// The parameters whose value is no text at all.
    refused: BTreeSet<&'a str>,
}

impl Given<'_> {
    /// Looks at the identifiers that a mount does not refuse.
    fn identifiers(&self, refused: &BTreeSet<&str>, places: &Places<'_>, findings: &mut Findings) {
        let value = |parameter: &Property| match self.attributes.get(parameter.name) {
            Some(value) if !refused.contains(parameter.name) => value.trim(),
            _ => "",
        };
        let (spelling, tenant) = tenant(value);
        if !tenant.is_empty() {
            identifiers::of_tenant(spelling, tenant, places, findings);
        }
        let client = value(&CLIENT_ID);
        if !client.is_empty() {
            identifiers::of_client(client, places, findings);
        }
        let id = value(&USER_ASSIGNED_IDENTITY_ID);
        if !id.is_empty() {
            identifiers::of_user_assigned(id, places, findings);
        }
    }
}

fn attributes<'a>(
    parameters: Option<&'a Node>,
    places: &Places<'_>,
    findings: &mut Findings,
) -> Given<'a> {
    let mut given = Given {
        attributes: BTreeMap::new(),
        refused: BTreeSet::new(),
    };
    let Some(parameters) = parameters.filter(|parameters| !parameters.is_null()) else {
        return given;
    };
    if !matches!(parameters.content, Content::Mapping(_)) {
        findings.add(
            places.parameter("parameters"),
            Say {
                severity: Severity::Error,
                reason: "INVALID_MANIFEST",
                message: "spec.parameters: expected a map, found something else".to_owned(),
                why: "Kubernetes refuses the class",
                fix: "write the parameters below it, indented, as name: value".to_owned(),
            },
        );
    }
    for (key, value) in parameters.entries() {
        let name = key.text().unwrap_or_default();
        let found = instead_of_text(value);
        match value.text() {
            Some(text) => _ = given.attributes.insert(name, text),
            None => _ = given.refused.insert(name),
        }
        if let Some(found) = found {
            not_a_string(findings, name, value, found);
        }
    }
    given
}

fn not_a_string(findings: &mut Findings, name: &str, value: &Node, found: &'static str) {
    let fix = match value.text() {
        Some(text) => format!("put it in quotes: {}: {}", one_word(name), Excerpt(text)),
        None if name == OBJECTS.name => {
            "write objects: | (with the bar), so that what is below it is text".to_owned()
        }
        None => "write a text in quotes, or take it out".to_owned(),
    };
    let subject = Subject {
        field: name.to_owned(),
        place: Place::of(value),
    };
    findings.add(
        subject,
        Say {
            severity: Severity::Error,
            reason: "NOT_A_STRING",
            message: format!("{}: expected a string, found {found}", one_word(name)),
            why: "Kubernetes takes only strings under spec.parameters and refuses the class",
            fix,
        },
    );
}

/// The call that the driver would make: for a pod with a token of each audience.
fn request(
    attributes: &BTreeMap<&str, &str>,
    assumptions: Assumptions,
) -> Result<Request, RequestError> {
    let mut call = json!(
        attributes
            .iter()
            .filter(|(name, _)| !name.starts_with(DRIVER_PREFIX))
            .collect::<BTreeMap<_, _>>()
    );
    let tokens = json!({
        PUBLIC_AUDIENCE: { "token": "token" },
        IDENTITY_BINDING_AUDIENCE: { "token": "token" },
    });
    call["csi.storage.k8s.io/pod.name"] = json!("pod");
    call["csi.storage.k8s.io/pod.namespace"] = json!("namespace");
    call["csi.storage.k8s.io/serviceAccount.tokens"] = json!(tokens.to_string());
    let mode = assumptions.default_mode.bits().to_string();
    Request::parse(&call.to_string(), "", &mode)
}

/// What a mount would refuse.
fn refusal(
    findings: &mut Findings,
    subject: Subject,
    problem: &ParameterError,
    assumptions: Assumptions,
) {
    let explanation = Explanation::of_parameter(problem);
    // The pods decide whether there is a service principal.
    let no_identity = matches!(problem, ParameterError::Identity(IdentityError::None));
    if no_identity && assumptions.service_principal {
        return;
    }
    findings.add(
        subject,
        Say {
            severity: if no_identity {
                Severity::Warning
            } else {
                Severity::Error
            },
            reason: explanation.reason.as_str(),
            message: explanation.cause,
            why: if no_identity {
                "only pods with a nodePublishSecretRef can mount this class"
            } else {
                ""
            },
            fix: fixes::of_parameter(problem),
        },
    );
}
