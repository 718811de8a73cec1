//! Nothing secret is said, whatever happens and however much is logged and counted.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::process::Stdio;
use std::time::Duration;

use azure_emulator::{Effect, Target};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tonic::Status;

use crate::support::class::Class;
use crate::support::http::{free_port, get_once_served};
use crate::support::provider::command;
use crate::support::workload::{self, chat_app};
use crate::support::{Node, VAULT};

const AUDIENCE: &str = "api://AzureADTokenExchange";
const CANARY: &str = "canary-7f3a9c";

#[tokio::test]
async fn no_log_no_message_and_no_metric_has_a_secret_or_a_token() {
    let port = free_port();
    let number = port.to_string();
    let node = Node::start_with(&[
        "--log-level",
        "trace",
        "--mount-timeout",
        "2s",
        "--compat-metrics",
        "--prometheus-port",
        &number,
    ])
    .await;
    node.vault.set_secret("S", CANARY);
    chat_app(&node, "9b1d7f0e");
    let token =
        node.azure
            .service_account_token("chat", "chat", AUDIENCE, Duration::from_secs(3600));
    let stranger =
        node.azure
            .service_account_token("chat", "stranger", AUDIENCE, Duration::from_secs(3600));
    let managed = Class::of_secret("S");
    let workload = managed
        .clone()
        .without("userAssignedIdentityID")
        .with("clientID", "9b1d7f0e");
    let secrets = format!(r#"{{"clientsecret":"{CANARY}"}}"#);
    let classes = [
        managed.clone(),
        managed.clone().secrets(&secrets),
        workload.clone().token(AUDIENCE, &token),
        workload.clone().token(AUDIENCE, &stranger),
        workload
            .clone()
            .token(AUDIENCE, &format!("{CANARY} with spaces")),
        workload.token("api://other", CANARY),
        managed.clone().with("objects", "array: [{objectName: S}]"),
    ];
    let mut said = String::new();
    let effects = [
        None,
        Some(Effect::error(500)),
        Some(Effect::WrongJson),
        Some(Effect::Truncate),
        Some(Effect::DropInBody),
        Some(Effect::Empty),
        Some(Effect::throttle()),
        Some(Effect::Hang),
    ];
    for effect in effects {
        if let Some(effect) = effect {
            node.azure.faults().always(Target::vault(VAULT), effect);
        }
        for class in &classes {
            if let Err(status) = node.mount(class).await {
                writeln!(said, "{status:?}").unwrap();
            }
        }
        node.azure.faults().clear();
    }
    said.push_str(&node.provider.log());
    assert!(said.contains("TRACE"), "the log is at trace level");
    let page = get_once_served(port, "/metrics").await;
    for metric in [
        "grpc_request_count{",
        "class_last_success_timestamp_seconds{",
    ] {
        assert!(page.contains(metric), "{page}");
    }
    said.push_str(&page);
    // A token's parts: what all tokens start with is no secret, but nothing should quote one at all.
    for secret in [
        CANARY,
        "Bearer ey",
        token.as_str(),
        stranger.as_str(),
        &token[token.len() - 20..],
    ] {
        if let Some(at) = said.find(secret) {
            let from = said[..at].rfind('\n').map_or(0, |line| line + 1);
            panic!(
                "{secret:?} is in the line {:?}",
                said[from..].lines().next()
            );
        }
    }
    // Access tokens of the emulator are JSON Web Tokens, which begin like this.
    let header = token.split('.').next().unwrap();
    assert!(!said.contains(header), "a token's header is in the log");
}

/// How often a text is in a process's memory. None where this user may not look.
fn copies_in_memory(id: u32, text: &str) -> Option<usize> {
    let maps = fs::read_to_string(format!("/proc/{id}/maps")).ok()?;
    let memory = fs::File::open(format!("/proc/{id}/mem")).ok()?;
    let mut copies = 0;
    for map in maps.lines().filter(|map| map.contains(" rw-p ")) {
        let (start, end) = map.split(' ').next()?.split_once('-')?;
        let start = u64::from_str_radix(start, 16).ok()?;
        let length = u64::from_str_radix(end, 16).ok()? - start;
        let mut bytes = vec![0; usize::try_from(length).ok()?];
        if memory.read_exact_at(&mut bytes, start).is_ok() {
            let found = bytes.windows(text.len());
            copies += found.filter(|found| *found == text.as_bytes()).count();
        }
    }
    Some(copies)
}

#[tokio::test]
async fn memory_forgets_values_and_is_dumped_by_nobody() {
    let node = Node::start().await;
    let class = (0..40).fold(Class::new(), |class, n| {
        // Each is told apart from what the kernel or the driver's side may have of it.
        node.vault.set_secret(
            &format!("S{n}"),
            format!("{CANARY}-{n:02}-{}", "x".repeat(n * 30)),
        );
        class.object(&format!("objectName: S{n}\nobjectType: secret"))
    });
    for _ in 0..3 {
        node.mount(&class).await.unwrap();
    }
    let id = node.provider.id();
    let limits = fs::read_to_string(format!("/proc/{id}/limits")).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file"));
    let core = core.unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!(core[4..6], ["0", "0"]);
    let Some(copies) = copies_in_memory(id, CANARY) else {
        // The kernel lets root alone look, which is as it should be.
        return;
    };
    // What is left is in the buffers of the two connections that are open, for the next bytes.
    println!("{copies} of 120 copies are left");
    assert!(copies <= 12, "{copies} of 120 values are still in memory");
}

#[tokio::test]
async fn memory_is_kept_out_of_swap_where_that_is_wanted() {
    let node = Node::start().await;
    let folder = tempfile::tempdir().unwrap();
    let endpoint = format!("unix://{}/s", folder.path().display());
    let mut provider = command(&node.azure, folder.path());
    provider.args(["--lock-memory", "--healthz-port=0", "--prometheus-port=0"]);
    provider.args(["--endpoint", &endpoint]).kill_on_drop(true);
    let mut provider = provider.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(provider.stderr.take().unwrap()).lines();
    let said = lines.next_line().await.unwrap().unwrap_or_default();
    if said.contains("serving") {
        let status =
            fs::read_to_string(format!("/proc/{}/status", provider.id().unwrap())).unwrap();
        let locked = status.lines().find_map(|line| line.strip_prefix("VmLck:"));
        assert_ne!(locked.map(str::trim), Some("0 kB"));
    } else {
        // Not for everyone, and then it says what is missing.
        assert!(said.contains("IPC_LOCK"), "{said}");
        assert!(!provider.wait().await.unwrap().success());
    }
}

#[tokio::test]
async fn what_a_proxy_shows_of_a_request_is_not_said() {
    const SECRET: &str = "aB1~+cD2/eF3=";
    let node = Node::start_with(&["--log-level", "trace", "--mount-timeout", "5s"]).await;
    node.vault.set_secret("S", "v");
    let managed = Class::of_secret("S");
    let workload = workload::class(&node);
    let principal = managed
        .clone()
        .without("userAssignedIdentityID")
        .secrets(&format!(
            r#"{{"clientid":"a-client-id","clientsecret":"{SECRET}"}}"#
        ));
    let encoded = "aB1%7E%2BcD2%2FeF3%3D";
    for status in [400, 401, 403, 404, 407, 409, 429, 500, 502, 503] {
        let echo = || Effect::Echo { status };
        for (class, target) in [
            (&managed, Target::vault(VAULT)),
            (&workload, Target::entra()),
            (&workload, Target::vault(VAULT)),
            (&principal, Target::entra()),
        ] {
            let fault = node.azure.faults().always(target, echo());
            // A token that is known needs no Entra ID.
            let message = node.mount(class).await.err();
            node.azure.faults().remove(fault);
            let message = message.as_ref().map_or("", Status::message);
            for secret in ["eyJ", SECRET, encoded, "aB1~", "eF3"] {
                assert!(!message.contains(secret), "{status}: {message}");
            }
        }
    }
    // The rest of it is quoted.
    let effect = Effect::Echo { status: 400 };
    node.azure.faults().always(Target::vault(VAULT), effect);
    let message = node.mount(&managed).await.unwrap_err();
    let words = "Bad request. Authorization: Bearer …; body:";
    assert!(message.message().contains(words), "{message}");
    let log = node.provider.log();
    assert!(log.contains(words));
    for secret in ["eyJ", SECRET, encoded] {
        assert!(!log.contains(secret));
    }
}
