//! `provider-azure-rs doctor`: finds out, on a node or in the provider's pod, why a class does not mount.
//!
//! It goes the way of a mount with what a mount goes it with, and looks at each step: the class, the [`way`] to the
//! vault and to whoever gives tokens, the [`identity`], its [`token`], and the [`objects`]. It goes on where a mount
//! ends, writes no file, and says of secrets and tokens only that they are there.

mod identity;
mod objects;
mod report;
mod rotations;
mod running;
mod step;
mod token;
mod way;
mod why;

use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use thiserror::Error;

use crate::class::asked::Asked;
use crate::class::identity::Audiences;
use crate::class::parameters::Parameters;
use crate::class::plan::Plan;
use crate::class::request::Request;
use crate::commands::doctor::report::Report;
use crate::commands::doctor::step::{Facts, Outcome, Step, Subject};
use crate::commands::driver_call::{self, DriverCallError, WithoutToken};
use crate::commands::manifest::{Class, ManifestError, SecretObject};
use crate::commands::serve::{self, ServiceSetupError};
use crate::explain::Explanation;
use crate::generated::v1alpha1::MountRequest;
use crate::observe::metrics::Metrics;
use crate::server::service::Service;
use crate::settings::{DoctorSettings, OutputForm};
use crate::text::excerpt::causes;

/// The status for a class or a flag that cannot be used. It is also clap's for a wrong command line.
const UNUSABLE: u8 = 2;
/// The driver's own default for files; what it is makes no difference here.
const PERMISSION: u16 = 0o644;

/// Why there is nothing to look at.
#[derive(Debug, Error)]
enum DoctorError {
    /// The manifest has no class.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// What stands for the pod cannot be read.
    #[error(transparent)]
    Call(#[from] DriverCallError),
    /// The flags make no provider.
    #[error(transparent)]
    Service(#[from] ServiceSetupError),
}

/// Looks at one class. The status is 0 where nothing failed, 1 where something did, and 2 where there is no class to
/// look at.
pub async fn run(settings: &DoctorSettings) -> ExitCode {
    match examine(settings).await {
        Ok(Outcome::Failed) => ExitCode::FAILURE,
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", causes(&error));
            ExitCode::from(UNUSABLE)
        }
    }
}

async fn examine(settings: &DoctorSettings) -> Result<Outcome, DoctorError> {
    let class = Class::read(&settings.class, settings.class_name.as_deref())?;
    // Nothing is written, so there is no target.
    let call = driver_call::request(&class, &settings.pod, Path::new("/"), PERMISSION)?;
    let service = serve::service(&settings.provider, Metrics::default())?;
    let colours = settings.output == OutputForm::Text
        && settings.no_color.is_none()
        && io::stdout().is_terminal();
    let mut report = Report::new(settings.output, colours, &class.name, &class.provider);
    let without_token = WithoutToken::of(&call, Some(&service));
    let call = without_token
        .as_ref()
        .map_or(&call, |without| &without.call);
    match plan(&mut report, &class, call, &service) {
        Some(plan) => {
            let secrets = &class.secret_objects;
            examine_plan(
                &mut report,
                &service,
                &plan,
                secrets,
                without_token.as_ref(),
            )
            .await;
        }
        None => report.skip(&[
            Subject::VaultDns,
            Subject::VaultTcp,
            Subject::VaultTls,
            Subject::TokenServiceDns,
            Subject::TokenServiceTcp,
            Subject::TokenServiceTls,
            Subject::Identity,
            Subject::Token,
            Subject::Vault,
            Subject::Answer,
        ]),
    }
    let namespace = driver_call::namespace(&class, &settings.pod);
    let running = running::examine(
        &mut report,
        settings.prometheus_port,
        namespace,
        &class.name,
    )
    .await;
    let transport = service.provider.transport();
    let cluster = settings.cluster();
    rotations::examine(&mut report, running.as_ref(), transport, &cluster).await;
    report.end();
    Ok(report.outcome())
}

/// Everything that a mount does before it uses the network: the class and its cloud.
fn plan(
    report: &mut Report,
    class: &Class,
    call: &MountRequest,
    service: &Service,
) -> Option<Plan> {
    let step = Step::begin(Subject::Class, "");
    let (request, parameters) = match driver_call::parse(call, Some(service)) {
        Ok(parsed) => parsed,
        Err(error) => {
            report.add(step.failed(Explanation::of(&error)));
            report.skip(&[Subject::Cloud]);
            return None;
        }
    };
    let facts = class_facts(class, &request, &parameters);
    let cloud_step = Step::begin(Subject::Cloud, "");
    let cloud = match service.environment_files.resolve(parameters.cloud.clone()) {
        Ok(cloud) => cloud,
        Err(error) => {
            report.add(step.works(facts));
            report.add(cloud_step.failed(Explanation::of(&error.into())));
            return None;
        }
    };
    match Plan::new(parameters, cloud, service.conventions, request.default_mode) {
        Ok(plan) => {
            report.add(step.works(facts));
            report.add(cloud_step.works(cloud_facts(&plan)));
            is_allowed(report, &request, &plan, service).then_some(plan)
        }
        Err(problems) => {
            report.add(step.failed(Explanation::of(&problems.into())));
            report.skip(&[Subject::Cloud]);
            None
        }
    }
}

/// Whether the operator's policy allows it, where there is one. As in a mount, nothing is sent otherwise.
fn is_allowed(report: &mut Report, request: &Request, plan: &Plan, service: &Service) -> bool {
    let Some(policy) = &service.policy else {
        return true;
    };
    let step = Step::begin(Subject::Policy, "");
    let default_cloud = &service.environment_files.default;
    if let Err(refusal) = policy.current().check(&request.pod, plan, default_cloud) {
        report.add(step.failed(Explanation::of(&refusal.into())));
        return false;
    }
    report.add(step.works(Facts {
        summary: "one of its rules allows this".to_owned(),
        ..Facts::default()
    }));
    true
}

fn class_facts(class: &Class, request: &Request, parameters: &Parameters) -> Facts {
    let objects = parameters.objects.len();
    let pod = &request.pod;
    Facts {
        summary: format!(
            "{:?} of provider {}: {objects} object{}, for service account {}/{}",
            class.name,
            class.provider,
            if objects == 1 { "" } else { "s" },
            pod.namespace,
            pod.service_account
        ),
        details: json!({
            "objects": objects,
            "namespace": pod.namespace,
            "service_account": pod.service_account,
        }),
        warnings: parameters
            .warnings
            .iter()
            .map(ToString::to_string)
            .collect(),
    }
}

fn cloud_facts(plan: &Plan) -> Facts {
    let host = plan.cloud.vault_host(&plan.vault);
    let (authority, tenant) = (plan.cloud.authority(), plan.tenant.as_str());
    Facts {
        summary: format!("vault at {host}, tokens of tenant {tenant} from {authority}"),
        details: json!({
            "vault": plan.vault.as_str(),
            "host": host,
            "authority": authority,
            "tenant": tenant,
        }),
        warnings: Vec::new(),
    }
}

/// Everything that a mount does over the network. Without the pod's token, everything that needs none.
async fn examine_plan(
    report: &mut Report,
    service: &Service,
    plan: &Plan,
    secrets: &[SecretObject],
    without_token: Option<&WithoutToken>,
) {
    let asked = Asked::by(plan, &plan.vault);
    let vault = match service.provider.vault(plan) {
        Ok(vault) => vault,
        // What the SDK does not take.
        Err(error) => {
            report.add(Step::begin(Subject::Identity, "").failed(why::whole(&asked, error)));
            report.skip(&[Subject::Token, Subject::Vault]);
            objects::skip(report, plan);
            return;
        }
    };
    let vault_is_there = way::to_vault(report, &vault, &asked).await;
    let service_is_there = way::to_token_service(report, &vault, &asked).await;
    let step = Step::begin(Subject::Identity, "");
    if let Some(without) = without_token {
        report.add(step.works(identity::without_token(&plan.identity)));
        let token = Step::begin(Subject::Token, vault.credential().service().to_string());
        report.add(token.failed(token::missing(without)));
        if vault_is_there {
            objects::greet(report, &vault, &asked).await;
        } else {
            report.skip(&[Subject::Vault]);
        }
        objects::skip(report, plan);
        return;
    }
    report.add(step.works(identity::facts(
        &plan.identity,
        &Audiences::new(&service.token_audiences, &plan.cloud),
    )));
    let has_token = if service_is_there {
        token::examine(report, &vault, &asked).await
    } else {
        report.skip(&[Subject::Token]);
        false
    };
    if vault_is_there && has_token {
        objects::examine(report, service, plan, &vault, &asked, secrets).await;
    } else {
        report.skip(&[Subject::Vault]);
        objects::skip(report, plan);
    }
}
