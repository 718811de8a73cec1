//! The vault with the token, and each object by itself. What came is counted and forgotten.

use std::sync::Arc;

use futures::stream::{self, StreamExt as _};
use serde_json::json;
use time::{Duration, OffsetDateTime};
use tokio::time::Instant;

use crate::azure::vault::azure::Vault;
use crate::class::asked::Asked;
use crate::class::plan::{Fetch, Plan};
use crate::commands::doctor::report::Report;
use crate::commands::doctor::step::{Begun, Facts, Step, Subject};
use crate::commands::doctor::way::rfc3339;
use crate::commands::doctor::why;
use crate::commands::manifest::SecretObject;
use crate::explain::Explanation;
use crate::mount::{Failure, Full, MountedFile, ObjectFailure, ObjectProblem, check_paths};
use crate::server::service::Service;
use crate::shares::Payer;
use crate::text::excerpt::one_line;
use crate::transport::Greeting;

/// How far two clocks may differ. Tokens are taken up to five minutes before they are valid.
const MAX_SKEW: Duration = Duration::seconds(60);
/// How many objects are asked for at once.
const AT_ONCE: usize = 8;
/// The most characters of a content type that are shown.
const MAX_CHARS: usize = 80;

/// What came of one object.
enum Looked {
    Files(Step, Vec<MountedFile>),
    /// It fails, and others may not.
    Fails(Step),
    /// The vault fails, and every object with it.
    VaultFails(Begun, Explanation),
}

/// The objects of one class in its vault.
struct Objects<'a> {
    service: &'a Service,
    plan: &'a Plan,
    vault: &'a Arc<Vault>,
    asked: &'a Asked,
    secrets: &'a [SecretObject],
}

/// Asks the vault for everything that the class names.
pub(super) async fn examine(
    report: &mut Report,
    service: &Service,
    plan: &Plan,
    vault: &Arc<Vault>,
    asked: &Asked,
    secrets: &[SecretObject],
) {
    let step = Step::begin(Subject::Vault, &asked.host);
    let greeting = match vault.greeting().await {
        Ok(greeting) => greeting,
        Err(error) => {
            report.add(step.failed(why::whole(asked, error)));
            skip(report, plan);
            return;
        }
    };
    let facts = facts(&greeting, asked, "answers, and takes the token");
    let objects = Objects {
        service,
        plan,
        vault,
        asked,
        secrets,
    };
    let mut fetches = plan.fetches.iter();
    let mut files = Vec::new();
    let first = match fetches.next() {
        Some(first) => objects.look_at(first).await,
        None => return,
    };
    // Whether it takes the token shows with the first request.
    if let Looked::VaultFails(_, why) = first {
        // What is odd about it may be the reason.
        report.add(step.failed_with(why, facts));
        skip(report, plan);
        return;
    }
    report.add(step.works(facts));
    let others = stream::iter(fetches)
        .map(|fetch| objects.look_at(fetch))
        .buffered(AT_ONCE);
    let mut looked = std::pin::pin!(stream::iter([first]).chain(others));
    let mut index = 0;
    while let Some(looked) = looked.next().await {
        match looked {
            Looked::Files(step, of_one) => {
                files.push((index, of_one));
                report.add(step)
            }
            Looked::Fails(step) => report.add(step),
            Looked::VaultFails(step, why) => report.add(step.failed(why)),
        };
        index += 1;
    }
    if files.len() == plan.fetches.len() {
        objects.add_answer(report, &files);
    } else {
        report.skip(&[Subject::Answer]);
    }
}

/// Asks the vault for what it tells without a token.
pub(super) async fn greet(report: &mut Report, vault: &Vault, asked: &Asked) {
    let step = Step::begin(Subject::Vault, &asked.host);
    match vault.greeting().await {
        Ok(greeting) => {
            let answers = "answers; what it gives shows with a token only";
            report.add(step.works(facts(&greeting, asked, answers)))
        }
        Err(error) => report.add(step.failed(why::whole(asked, error))),
    };
}

/// What is not asked for, since the vault cannot be.
pub(super) fn skip(report: &mut Report, plan: &Plan) {
    for fetch in &*plan.fetches {
        report.add(Step::skipped(Subject::Object, name(fetch)));
    }
    report.skip(&[Subject::Answer]);
}

/// `secret OPENAI-API-KEY`
fn name(fetch: &Fetch) -> String {
    format!("{} {}", fetch.kind.as_str(), fetch.name.as_str())
}

impl Objects<'_> {
    async fn look_at(&self, fetch: &Fetch) -> Looked {
        let step = Step::begin(Subject::Object, name(fetch));
        let time = self.service.mount_timeout;
        let deadline = Instant::now() + time;
        let payer = Payer::default();
        let getting = self
            .service
            .provider
            .files_of(self.vault, self.plan, fetch, &payer, deadline);
        let problem = match tokio::time::timeout_at(deadline, getting).await {
            Ok(Ok(files)) => {
                let facts = file_facts(fetch, &files);
                return match self.without_key(fetch, &files) {
                    Some(why) => Looked::Fails(step.failed_with(why, facts)),
                    None => Looked::Files(step.works(facts), files),
                };
            }
            Ok(Err(problem)) => problem,
            Err(_) => {
                let failure = Failure::Deadline {
                    after: time,
                    waiting_for: self.vault.waiting_for(),
                };
                return Looked::VaultFails(step, why::failure(self.asked, failure));
            }
        };
        match problem {
            ObjectProblem::Vault(error) if !error.concerns_one_object() => {
                Looked::VaultFails(step, why::whole(self.asked, error))
            }
            problem => {
                let fetch = fetch.clone();
                let failure = Failure::Objects(vec![ObjectFailure { fetch, problem }]);
                Looked::Fails(step.failed(why::failure(self.asked, failure)))
            }
        }
    }

    /// Why the driver makes no Kubernetes Secret of an object, where it is to have a key that the vault does not give.
    /// A mount does not know of `secretObjects`.
    fn without_key(&self, fetch: &Fetch, files: &[MountedFile]) -> Option<Explanation> {
        let lacking = files.iter().find(|file| file.lacks_key)?;
        let is_missing =
            |name: &str| fetch.may_write(name) && files.iter().all(|file| file.path != name);
        let wanting = self.secrets.iter().find(|secret| {
            secret.data.iter().any(|entry| {
                let name = entry.object_name.as_str();
                let is_tls_key = secret.kind == "kubernetes.io/tls" && entry.key == "tls.key";
                is_missing(name) || is_tls_key && files.iter().any(|file| file.path == name)
            })
        })?;
        let (version, secret) = (&lacking.version, &wanting.name);
        Some(Explanation::of_key_that_is_not_exportable(
            self.asked, fetch, version, secret,
        ))
    }

    /// Whether all files together are an answer that the driver takes.
    fn add_answer(&self, report: &mut Report, files: &[(usize, Vec<MountedFile>)]) {
        let step = Step::begin(Subject::Answer, "");
        if let Err(failure) = check_paths(files) {
            report.add(step.failed(why::failure(self.asked, failure)));
            return;
        }
        let all = || files.iter().flat_map(|(_, of_one)| of_one);
        let bytes: usize = all().map(MountedFile::size_in_answer).sum();
        let most = self.service.provider.max_answer_size();
        if bytes > most {
            let full = Failure::Full(Full::Bytes(most));
            report.add(step.failed(why::failure(self.asked, full)));
            return;
        }
        let count = all().count();
        report.add(step.works(Facts {
            summary: format!(
                "{count} file{}, {bytes} bytes of at most {most}",
                if count == 1 { "" } else { "s" }
            ),
            details: json!({ "files": count, "size": bytes, "max_size": most }),
            warnings: Vec::new(),
        }));
    }
}

/// What the vault says of itself.
fn facts(greeting: &Greeting, asked: &Asked, summary: &str) -> Facts {
    let skew = greeting
        .clock
        .map(|clock| clock - OffsetDateTime::now_utc());
    let mut warnings = Vec::new();
    if let Some(skew) = skew
        && skew.abs() > MAX_SKEW
    {
        warnings.push(format!(
            "this machine's clock is {} s {} the vault's: check it (timedatectl), or tokens will be refused",
            skew.abs().whole_seconds(),
            if skew.is_positive() { "behind" } else { "ahead of" }
        ));
    }
    // A tenant may also be named by one of its domains, which cannot be compared.
    let is_id = |tenant: &str| tenant.len() == 36;
    let tenant = greeting
        .tenant
        .as_deref()
        .map(|tenant| one_line(tenant, MAX_CHARS));
    if let Some(tenant) = &tenant
        && is_id(tenant)
        && is_id(&asked.tenant)
        && !tenant.eq_ignore_ascii_case(&asked.tenant)
    {
        warnings.push(format!(
            "the vault belongs to tenant {tenant}, and the class says {}",
            asked.tenant
        ));
    }
    Facts {
        summary: summary.to_owned(),
        details: json!({
            "tenant": tenant,
            "clock_skew_seconds": skew.map(Duration::whole_seconds),
        }),
        warnings,
    }
}

/// What an object would become: never what is in it.
fn file_facts(fetch: &Fetch, files: &[MountedFile]) -> Facts {
    let of_file = |file: &MountedFile| {
        let mut said = vec![
            format!("{} bytes", file.contents.len()),
            format!("version {}", file.version),
        ];
        let content_type = file.content_type.as_deref();
        said.extend(content_type.map(|kind| one_line(kind, MAX_CHARS)));
        let expires = file.attributes.expires;
        said.extend(expires.map(|expires| format!("expires {}", expires.date())));
        format!("{} ({})", file.path, said.join(", "))
    };
    let details = |file: &MountedFile| {
        json!({
            "path": file.path,
            "mode": format!("{:04o}", file.mode.bits()),
            "size": file.contents.len(),
            "version": file.version,
            "enabled": file.attributes.enabled,
            "not_before": file.attributes.not_before.and_then(rfc3339),
            "expires": file.attributes.expires.and_then(rfc3339),
            "content_type": file.content_type.as_deref().map(|kind| one_line(kind, MAX_CHARS)),
        })
    };
    let now = OffsetDateTime::now_utc();
    let mut warnings: Vec<_> = files
        .iter()
        .flat_map(|file| {
            file.oddities(now).map(|oddity| {
                format!(
                    "version {} {oddity}; it is served all the same",
                    file.version
                )
            })
        })
        .collect();
    warnings.extend(files.iter().filter_map(|file| {
        let oddity = file.chain_oddity.as_ref()?;
        let version = &file.version;
        Some(format!(
            "version {version}: the chain of the certificate is not whole: {oddity}; it is served all the same"
        ))
    }));
    // A certificate's files have one version.
    warnings.dedup();
    Facts {
        summary: files.iter().map(of_file).collect::<Vec<_>>().join(", "),
        details: json!({
            "type": fetch.kind.as_str(),
            "name": fetch.name.as_str(),
            "files": files.iter().map(details).collect::<Vec<_>>(),
        }),
        warnings,
    }
}
