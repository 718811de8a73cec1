//! What Azure answers, or who stands in its place: to a mount as a whole, and header by header.

use std::cell::LazyCell;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::{HeaderValue, RETRY_AFTER};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;
use url::Url;

use super::{CANARY, Secrets, choice_and_rest, has, parts, refused};
use crate::azure::credential::refusal::{EntraRefusal, ImdsRefusal};
use crate::azure::credential::token_proxy::{TokenProxy, TokenProxySettings};
use crate::azure::credential::{TokenError, TokenService};
use crate::azure::limiter::{Limiter, Limits, Turn};
use crate::azure::vault::refusal::{Operation, VaultRefusal};
use crate::azure::vault::{VaultError, Vaults};
use crate::class::asked::Asked;
use crate::class::assertion::Claims;
use crate::class::cloud::{Cloud, environment_file};
use crate::class::identity::{IdentityId, IdentityName};
use crate::class::parameters::Parameters;
use crate::class::plan::{Conventions, HistoryCount, Plan};
use crate::class::request::Request;
use crate::cluster::PodStatus;
use crate::explain::{CallError, Explanation};
use crate::mount::{Failure, MountError, MountedFile, Occasion, Provider};
use crate::observe::metrics::Metrics;
use crate::observe::phases::Phases;
use crate::os::clock::Clock;
use crate::server::service::grpc_timeout;
use crate::shares::{Account, Payer};
use crate::transport::{
    Canned, Refusal, Transport, TransportError, TransportSettings, retry_after, scope_in,
};

/// The time of a mount, on a clock that runs as fast as nobody waits.
const MOUNT_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest pause that a server gets: two minutes and what is added by chance.
const LONGEST_PAUSE: Duration = Duration::from_secs(151);

/// What the API server says of a volume.
pub fn pod_status(input: &[u8]) {
    match PodStatus::read(input, "p", "c") {
        Ok(Some(status)) => {
            // Nothing comes out that is not in it.
            let texts = [&status.target_path]
                .into_iter()
                .chain(status.pod_uid.as_ref());
            let of_objects = status
                .objects
                .iter()
                .flat_map(|(id, version)| [id, version]);
            let bytes: usize = texts.chain(of_objects).map(String::len).sum();
            assert!(bytes <= input.len(), "{bytes} of {} bytes", input.len());
        }
        Ok(None) => {}
        Err(error) => Secrets::NONE.keep_out_of(&error.to_string()),
    }
}

/// The transport of this process. To read the system's certificates takes longer than all the rest.
pub(super) fn usual_transport() -> &'static Transport {
    static USUAL: LazyLock<Transport> = LazyLock::new(|| {
        Transport::new(&TransportSettings::default(), &Metrics::default())
            .unwrap_or_else(|error| panic!("{error}"))
    });
    &USUAL
}

/// A clock that stands still while somebody works, and no network: whoever asks for one panics.
fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap_or_else(|error| panic!("{error}"))
}

/// A mount with whatever the services answer. Between lines of `%%`: words that choose what is mounted, the
/// answers of Entra ID and IMDS, then those of the vault, one after the other, as on the wire.
pub fn mount(input: &[u8]) {
    let secret = Secrets::new(input, parts(input).skip(1).any(hides_the_canary));
    let plan = plan(parts(input).next().unwrap_or_default());
    match outcome(&plan, input) {
        Ok(files) => judge_files(&plan, &files),
        Err(error) => refused(&error, secret),
    }
}

fn outcome(plan: &Plan, input: &[u8]) -> Result<Vec<MountedFile>, CallError> {
    let mut answers = parts(input).skip(1);
    let tokens = Canned::new(answers.next().map(<[u8]>::to_vec));
    let vault = Canned::new(answers.map(<[u8]>::to_vec));
    runtime().block_on(async {
        let provider = provider(plan, &tokens, &vault);
        let occasion = Occasion {
            arrived: provider.arrive(),
            is_remount: false,
            deadline: Instant::now() + MOUNT_TIMEOUT,
        };
        let (payer, account, phases) = (Payer::default(), Account::unbounded(), Phases::default());
        let mount = provider.mount(plan, &payer, &account, occasion, &phases);
        Ok(mount.await?.0.files)
    })
}

/// The number of files, or the reason why there are none.
#[cfg(test)]
pub fn mount_in_short(input: &[u8]) -> String {
    let plan = plan(parts(input).next().unwrap_or_default());
    match outcome(&plan, input) {
        Ok(files) => files.len().to_string(),
        Err(error) => Explanation::of(&error).reason.as_str().to_owned(),
    }
}

/// Whether an answer has the word where no message quotes from. Not where the length of its body is in doubt.
fn hides_the_canary(answer: &[u8]) -> bool {
    let Some(status) = answer.strip_prefix(b"HTTP/1.1 ").and_then(<[u8]>::first) else {
        return false;
    };
    let ends = (0..answer.len())
        .filter(|&at| answer[at] == b'\n')
        .find_map(|at| {
            let rest = &answer[at + 1..];
            rest.strip_prefix(b"\n")
                .or_else(|| rest.strip_prefix(b"\r\n"))
        });
    let Some(body) = ends else { return false };
    let head = answer[..answer.len() - body.len()].to_ascii_lowercase();
    let in_doubt = ["content-length", "transfer-encoding"];
    b"2345".contains(status) && !in_doubt.iter().any(|name| has(&head, name)) && is_hidden(body)
}

/// Whether the word stands in a value, in a token, or in a body that is not in a service's form.
fn is_hidden(body: &[u8]) -> bool {
    if !has(body, CANARY) {
        return false;
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(mut members)) => {
            for name in ["value", "access_token"] {
                if members.get(name).is_some_and(Value::is_string) {
                    members.remove(name);
                }
            }
            !Value::Object(members).to_string().contains(CANARY)
        }
        Ok(_) => true,
        // Who reads an error only looks at what it knows (`error`, `error_description`), and passes over what is wrong
        // elsewhere.
        Err(_) => !has(body, "\"error"),
    }
}

fn plan(choice: &[u8]) -> Plan {
    let chosen = |word| has(choice, word);
    let kind = match () {
        () if chosen("key") => "key",
        () if chosen("cert") => "cert",
        () => "secret",
    };
    let history = if chosen("history") { 3 } else { 0 };
    let format = if chosen("pfx") { "pfx" } else { "pem" };
    let version = if chosen("version") { "1" } else { "" };
    let mut objects = format!(
        "array:\n- {{objectName: a, objectType: {kind}, objectVersion: '{version}', objectVersionHistory: {history}"
    );
    if kind == "secret" {
        objects.push_str(", objectFormat: ");
        objects.push_str(format);
    }
    objects.push_str("}\n");
    if chosen("two") {
        objects.push_str("- {objectName: b, objectType: secret, objectAlias: a.crt}\n");
    }
    let mut attributes = serde_json::json!({
        "csi.storage.k8s.io/pod.name": "p",
        "csi.storage.k8s.io/pod.namespace": "n",
        "csi.storage.k8s.io/serviceAccount.tokens": r#"{"api://AzureADTokenExchange":{"token":"e30.e30.e30"}}"#,
        "keyvaultName": "kv1",
        "tenantId": "t",
        "objects": objects,
    });
    if chosen("managed") {
        attributes["useVMManagedIdentity"] = "true".into();
    } else {
        attributes["clientID"] = "e502213f-1f15-4f03-9fb4-b546f51aafe9".into();
    }
    let cloud = if chosen("stack") {
        let endpoints =
            br#"{"activeDirectoryEndpoint":"https://login.test","keyVaultDNSSuffix":"vault.test"}"#;
        environment_file::parse(Path::new("/"), endpoints).ok()
    } else {
        Some(Cloud::public())
    };
    let conventions = Conventions {
        history: HistoryCount::Go,
        construct_pem_chain: true,
        separate_files: chosen("separate"),
    };
    let request = Request::parse(&attributes.to_string(), "", "420");
    let planned = request.ok().and_then(|request| {
        let parameters = Parameters::parse(&request).ok()?;
        Plan::new(parameters, cloud?, conventions, request.default_mode).ok()
    });
    planned.unwrap_or_else(|| panic!("a class that is right is refused"))
}

fn provider(plan: &Plan, tokens: &Canned, vault: &Canned) -> Provider {
    thread_local! {
        static METRICS: LazyCell<Metrics> = LazyCell::new(Metrics::default);
        static NOWHERE: Url = Url::parse("https://127.0.0.1").unwrap_or_else(|error| panic!("{error}"));
    }
    let metrics = METRICS.with(|metrics| Metrics::clone(metrics));
    let vault_url = format!("https://{}", plan.cloud.vault_host(&plan.vault));
    let transport = usual_transport()
        .to_canned((plan.cloud.authority(), tokens), (&vault_url, vault))
        .unwrap_or_else(|error| panic!("{error}"));
    let settings = TokenProxySettings {
        url: NOWHERE.with(Url::clone),
        server_name: None,
        ca_file: None,
        api_server_address: None,
        api_server_port: 443,
    };
    let token_proxy = TokenProxy::new(settings, &transport, Arc::default());
    let vaults = Vaults::new(transport, token_proxy, 16, Clock::default(), &metrics);
    Provider::new(vaults, true, None, &metrics, usize::MAX)
}

fn judge_files(plan: &Plan, files: &[MountedFile]) {
    assert!(files.len() >= plan.fetches.len());
    for file in files {
        assert!(
            plan.fetches.iter().any(|fetch| fetch.may_write(&file.path)),
            "{file:?} is nobody's"
        );
        // It goes into the SecretProviderClassPodStatus, and into logs.
        assert!(file.version.len() <= 127, "{file:?}");
        Secrets::NONE.keep_out_of(&file.version);
        for other in files {
            let folder = other.path.strip_prefix(file.path.as_str());
            assert!(
                folder.is_none_or(|rest| !rest.starts_with('/')),
                "{file:?} is a folder of {other:?}"
            );
            let same = (&file.id, &file.contents) == (&other.id, &other.contents);
            assert!(file.path != other.path || same, "{file:?} and {other:?}");
        }
    }
}

/// An error's body. The first byte chooses the status.
pub fn refusal(input: &[u8]) {
    const STATUSES: [u16; 12] = [400, 401, 403, 404, 408, 410, 429, 500, 502, 503, 504, 302];
    let (choice, body) = choice_and_rest(input);
    let refusal = Refusal {
        host: "kv1.vault.azure.net".to_owned(),
        status: STATUSES[usize::from(choice) % STATUSES.len()],
        retry_after: None,
        body: Bytes::copy_from_slice(body),
    };
    let secret = Secrets::new(body, is_hidden(body));
    secret.keep_out_of_text(&format!("{refusal:?}"));
    let entra = EntraRefusal::read(&refusal);
    assert_eq!(entra.again(), EntraRefusal::read(&refusal).again());
    let of_token = |error| VaultError::Token(Box::new(error));
    for error in [
        of_token(TokenError::Entra(entra.clone())),
        of_token(TokenError::TokenProxy(entra)),
        of_token(TokenError::Imds(ImdsRefusal::read(&refusal))),
        of_token(TokenError::Transport {
            service: TokenService::Imds,
            source: TransportError::Refused(refusal.clone()),
        }),
        VaultError::Refused(Box::new(VaultRefusal::read(&refusal, Operation::Get))),
        VaultError::Refused(Box::new(VaultRefusal::read(&refusal, Operation::List))),
    ] {
        let error = CallError::Mount(Box::new(MountError {
            asked: asked(None),
            failure: Failure::Whole(error),
        }));
        refused(&error, secret);
        can_be_pasted(&Explanation::of(&error).fix);
    }
}

fn asked(claims: Option<Claims>) -> Asked {
    Asked {
        vault: "kv1".to_owned(),
        host: "kv1.vault.azure.net".to_owned(),
        tenant: "t".to_owned(),
        identity: IdentityName {
            kind: "workload identity",
            id: IdentityId::ClientId("e502213f-1f15-4f03-9fb4-b546f51aafe9".to_owned()),
        },
        chooses_tenant: true,
        claims,
    }
}

/// A fix is a command for an administrator's shell: what others write is no part of its syntax.
fn can_be_pasted(fix: &str) {
    let ours = "$(az keyvault show";
    let rest = fix.replace(ours, "");
    assert!(!rest.contains(['`', '\\']) && !rest.contains("$("), "{fix}");
}

/// What is said of a token with these claims that Entra ID, or the token proxy, does not take.
pub(super) fn judge_fix(claims: &Claims) {
    let refusal = Refusal {
        host: "login.microsoftonline.com".to_owned(),
        status: 401,
        retry_after: None,
        body: Bytes::from_static(br#"{"error":"x","error_description":"AADSTS700213: none"}"#),
    };
    let refusal = EntraRefusal::read(&refusal);
    for error in [
        TokenError::Entra(refusal.clone()),
        TokenError::TokenProxy(refusal),
    ] {
        let error = CallError::Mount(Box::new(MountError {
            asked: asked(Some(claims.clone())),
            failure: Failure::Whole(VaultError::Token(Box::new(error))),
        }));
        refused(&error, Secrets::NONE);
        let fix = Explanation::of(&error).fix;
        can_be_pasted(&fix);
        assert!(!fix.contains(['&', '|', '<', '>', '\n']), "{fix}");
    }
}

/// The challenge of a vault, `WWW-Authenticate`: its scope decides whose token the vault gets.
pub fn challenge(input: &[u8]) {
    const HOST: &str = "kv1.vault.azure.net";
    // As it comes from HTTP.
    let Ok(header) = HeaderValue::from_bytes(input) else {
        return;
    };
    let Ok(header) = header.to_str() else { return };
    if let Some(scope) = scope_in(header, HOST) {
        let url = Url::parse(&scope);
        let domain = url.as_ref().ok().and_then(Url::host_str);
        assert!(
            domain.is_some_and(|domain| HOST.ends_with(&format!(".{domain}"))),
            "{scope} is not for {HOST}"
        );
        assert!(
            url.is_ok_and(|url| url.scheme() == "https" && url.username().is_empty()),
            "{scope}"
        );
        assert!(
            scope.bytes().all(|byte| byte.is_ascii_graphic()),
            "{scope:?}"
        );
    }
}

/// The headers that say how long: `Retry-After` of a service, `grpc-timeout` of the driver.
pub fn header(input: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(input) else {
        return;
    };
    if let Ok(text) = value.to_str()
        && let Some(timeout) = grpc_timeout(text)
    {
        assert!(timeout <= Duration::from_secs(99_999_999 * 3600));
        assert!((2..=9).contains(&text.len()));
    }
    let headers = HeaderMap::from_iter([(RETRY_AFTER, value)]);
    if let Some(wait) = retry_after(&headers) {
        runtime().block_on(pause(wait));
    }
}

/// A wrong answer must not shut a vault for a day.
async fn pause(wait: Duration) {
    let limiter = Limiter::new(Limits::of_vault(16, 16), Arc::default());
    let turn = Turn::default();
    let now = Instant::now();
    match limiter.enter(&turn, now).await {
        Ok(permit) => permit.throttled(Some(wait)),
        Err(overload) => panic!("{overload}"),
    }
    if let Err(overload) = limiter.enter(&turn, now).await {
        assert!(overload.wait <= LONGEST_PAUSE, "{overload}");
    }
    assert!(limiter.enter(&turn, now + LONGEST_PAUSE).await.is_ok());
}
