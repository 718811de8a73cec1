//! `provider-azure-rs doctor`, as somebody runs it whose pods do not start.

use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use azure_emulator::{
    Cloud, DEFAULT_TENANT, Effect, IDENTITY_BINDING_AUDIENCE, NewSecret, ObjectKind, Permissions,
    Target,
};
use provider_azure_rs::generated::v1alpha1::ObjectVersion;
use serde_json::Value;

use crate::support::api_server::{ApiServer, Fault};
use crate::support::class::Class;
use crate::support::http::{free_port, get_once_served};
use crate::support::provider::command;
use crate::support::workload::chat_app;
use crate::support::{CLIENT_ID, Node, OBJECT_ID, TENANT, VAULT};

const AUDIENCE: &str = "api://AzureADTokenExchange";
const HOUR: Duration = Duration::from_secs(3600);
/// In every secret of these tests.
const CANARY: &str = "canary-5d0e11";

/// What a run has come to.
struct Run {
    status: Option<i32>,
    said: String,
    json: Value,
}

impl Run {
    /// The steps of this name.
    fn steps(&self, name: &str) -> Vec<&Value> {
        let steps = self.json["steps"].as_array().unwrap();
        steps.iter().filter(|step| step["step"] == name).collect()
    }

    /// The only step of this name.
    fn step(&self, name: &str) -> &Value {
        let steps = self.steps(name);
        assert_eq!(steps.len(), 1, "{name} in {}", self.said);
        steps[0]
    }

    /// The steps and their outcomes, in their order.
    fn outcomes(&self) -> Vec<(&str, &str)> {
        let steps = self.json["steps"].as_array().unwrap();
        steps
            .iter()
            .map(|step| {
                let text = |member: &str| step[member].as_str().unwrap();
                (text("step"), text("outcome"))
            })
            .collect()
    }

    /// Fails unless this step fails for this reason with these words, and everything behind it is skipped.
    fn expect_failure(&self, name: &str, reason: &str, words: &[&str]) {
        assert_eq!(self.status, Some(1), "{}", self.said);
        assert_eq!(self.json["outcome"], "failed");
        let step = self.step(name);
        assert_eq!(step["outcome"], "failed", "{}", self.said);
        assert_eq!(step["summary"], "", "{}", self.said);
        assert_eq!(step["reason"], reason, "{}", self.said);
        let (cause, fix) = (
            &step["cause"].as_str().unwrap(),
            &step["fix"].as_str().unwrap(),
        );
        for word in words {
            assert!(
                cause.contains(word) || fix.contains(word),
                "{cause} {fix} should contain {word}"
            );
        }
        let last = self.step("answer");
        assert_eq!(last["outcome"], "skipped", "{}", self.said);
    }
}

async fn output(node: &Node, folder: &Path, class: &str, arguments: &[&str]) -> Output {
    let path = folder.join("class.yaml");
    fs::write(&path, class).unwrap();
    command(&node.azure, folder)
        .arg("doctor")
        .arg(path)
        .args(arguments)
        .output()
        .await
        .unwrap()
}

/// Runs it in both forms, which come to the same and tell no secret.
async fn doctor(node: &Node, class: &Class, arguments: &[&str]) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let manifest = class.manifest();
    let text = output(node, folder.path(), &manifest, arguments).await;
    let arguments = [arguments, &["-o", "json"]].concat();
    let json = output(node, folder.path(), &manifest, &arguments).await;
    assert_eq!(text.status.code(), json.status.code());
    let mut said = String::new();
    for bytes in [&text.stdout, &text.stderr, &json.stdout, &json.stderr] {
        said.push_str(std::str::from_utf8(bytes).unwrap());
    }
    // A token begins like this, whoever made it.
    for secret in [CANARY, "eyJ"] {
        assert!(!said.contains(secret), "{secret} is in {said}");
    }
    assert!(!said.contains('\u{1b}'), "no colours but on a terminal");
    Run {
        status: json.status.code(),
        json: serde_json::from_slice(&json.stdout).unwrap(),
        said: String::from_utf8(text.stdout).unwrap(),
    }
}

fn token_file(folder: &Path, token: &str) -> String {
    let path = folder.join("token");
    fs::write(&path, token).unwrap();
    path.display().to_string()
}

/// A class of a pod whose identity is the application `9b1d7f0e`.
fn workload() -> Class {
    Class::of_secret("S")
        .without("userAssignedIdentityID")
        .with("clientID", "9b1d7f0e")
}

#[tokio::test]
async fn all_is_well_with_the_nodes_identity() {
    let node = Node::start().await;
    let version = node.vault.set_secret("S", CANARY);
    let run = doctor(&node, &Class::of_secret("S"), &[]).await;
    assert_eq!(run.status, Some(0), "{}", run.said);
    assert_eq!(
        run.outcomes(),
        [
            ("class", "ok"),
            ("cloud", "ok"),
            ("vault_dns", "ok"),
            ("vault_tcp", "ok"),
            ("vault_tls", "ok"),
            ("token_service_dns", "ok"),
            ("token_service_tcp", "ok"),
            ("identity", "ok"),
            ("token", "ok"),
            ("vault", "ok"),
            ("object", "ok"),
            ("answer", "ok"),
        ]
    );
    assert_eq!(run.json["class"], "a-class");
    assert_eq!(run.json["outcome"], "ok");
    let host = format!("{VAULT}.vault.azure.net");
    let dns = &run.step("vault_dns")["details"];
    assert_eq!(dns["host"], host);
    assert_eq!(dns["addresses"][0]["kind"], "loopback");
    assert_eq!(
        dns["proxy"].as_str(),
        node.azure.proxy_url().strip_prefix("http://")
    );
    let tls = &run.step("vault_tls")["details"];
    assert!(
        tls["names"].to_string().contains("vault.azure.net"),
        "{tls}"
    );
    assert!(tls["issuer"].as_str().unwrap().len() > 3, "{tls}");
    // IMDS is asked without a proxy.
    assert_eq!(
        run.step("token_service_dns")["details"]["proxy"],
        Value::Null
    );
    let token = &run.step("token")["details"];
    assert_eq!(token["oid"], OBJECT_ID);
    assert_eq!(token["appid"], CLIENT_ID);
    assert_eq!(token["tid"], TENANT);
    assert_eq!(token["aud"], "https://vault.azure.net");
    assert_eq!(run.step("vault")["details"]["tenant"], TENANT);
    let file = &run.step("object")["details"]["files"][0];
    assert_eq!(file["path"], "S");
    assert_eq!(file["version"], version);
    assert_eq!(file["size"], CANARY.len());
    assert_eq!(file["mode"], "0644");
    assert_eq!(file["enabled"], true);
    assert!(run.said.starts_with("✓ class "), "{}", run.said);
    assert!(
        run.said
            .ends_with("class \"a-class\" mounts here: 0 failures, 0 warnings\n"),
        "{}",
        run.said
    );
}

#[tokio::test]
async fn all_is_well_with_the_pods_identity() {
    let node = Node::start().await;
    let app = chat_app(&node, "9b1d7f0e");
    node.vault.set_secret("S", CANARY);
    let folder = tempfile::tempdir().unwrap();
    let token = node
        .azure
        .service_account_token("chat", "chat", AUDIENCE, HOUR);
    let file = token_file(folder.path(), &token);
    let flags = [
        "--token-file",
        &file,
        "--namespace",
        "chat",
        "--service-account",
        "chat",
    ];
    let run = doctor(&node, &workload(), &flags).await;
    assert_eq!(run.status, Some(0), "{}", run.said);
    assert_eq!(run.step("token_service_tls")["outcome"], "ok");
    assert_eq!(
        run.step("token_service_dns")["name"],
        "login.microsoftonline.com"
    );
    let identity = &run.step("identity")["details"];
    assert_eq!(identity["kind"], "workload identity");
    assert_eq!(identity["client_id"], "9b1d7f0e");
    assert_eq!(
        identity["token"]["subject"],
        "system:serviceaccount:chat:chat"
    );
    assert_eq!(identity["token"]["audiences"][0], AUDIENCE);
    assert_eq!(run.step("token")["details"]["oid"], app.object_id());
}

#[tokio::test]
async fn a_token_for_the_clouds_own_audience_is_the_right_one() {
    let node = Node::start_in(Cloud::UsGovernment, &[]).await;
    node.vault.set_secret("S", CANARY);
    let folder = tempfile::tempdir().unwrap();
    let class = workload().with("cloudName", "AzureUSGovernmentCloud");
    for (audience, flags, warning) in [
        ("api://AzureADTokenExchangeUSGov", &[][..], None),
        (
            "https://own.example",
            &["--token-audience", "https://own.example"],
            None,
        ),
        (
            "https://own.example",
            &[],
            Some(
                "the pod's token is not for audience api://AzureADTokenExchangeUSGov or \
                 api://AzureADTokenExchange",
            ),
        ),
    ] {
        let token = node
            .azure
            .service_account_token("chat", "chat", audience, HOUR);
        let file = token_file(folder.path(), &token);
        let flags = [flags, &["--token-file", &file]].concat();
        let run = doctor(&node, &class, &flags).await;
        let warnings = &run.step("identity")["warnings"];
        assert_eq!(warnings[0].as_str(), warning, "{}", run.said);
    }
}

#[tokio::test]
async fn a_chain_that_is_not_whole_is_a_warning() {
    let node = Node::start().await;
    let read =
        |name: &str| fs::read_to_string(format!("tests/fixtures/certificates/{name}")).unwrap();
    let chain = ["p256.key", "p256.crt", "root.crt"].map(read).concat();
    let kid = format!("https://{VAULT}.vault.azure.net/keys/S/0123456789abcdef0123456789abcdef");
    let secret = NewSecret::new(chain)
        .content_type("application/x-pem-file")
        .kid(kid);
    node.vault.set_secret_with("S", secret);
    let run = doctor(&node, &Class::of_secret("S"), &[]).await;
    assert_eq!(run.status, Some(0), "{}", run.said);
    let warning = run.step("object")["warnings"][0].as_str().unwrap();
    assert!(
        warning.contains("CN=issuing, the issuer of CN=p256, is missing"),
        "{warning}"
    );
}

#[tokio::test]
async fn all_is_well_with_an_identity_binding() {
    let node = Node::start().await;
    let app = node
        .azure
        .entra()
        .application(DEFAULT_TENANT, "9b1d7f0e")
        .with_identity_binding("chat", "chat");
    node.vault.grant(&app.object_id(), Permissions::read());
    node.vault.set_secret("S", CANARY);
    let folder = tempfile::tempdir().unwrap();
    let token = node
        .azure
        .service_account_token("chat", "chat", IDENTITY_BINDING_AUDIENCE, HOUR);
    let file = token_file(folder.path(), &token);
    let url = node.azure.token_proxy_url();
    let name = node.azure.token_proxy_server_name().unwrap();
    let class = workload().with("useAzureTokenProxy", "true");
    let flags = [
        "--token-file",
        &file,
        "--token-proxy-url",
        url,
        "--sni-name",
        name,
    ];
    let run = doctor(&node, &class, &flags).await;
    assert_eq!(run.status, Some(0), "{}", run.said);
    assert_eq!(run.step("identity")["details"]["kind"], "identity binding");
    assert_eq!(run.step("token")["name"], "the AKS token proxy");
    assert_eq!(run.step("token_service_tls")["details"]["names"][0], name);

    // The token proxy's name is asked of the API server, where none answers.
    let flags = [
        "--token-file",
        &file,
        "--kubernetes-service-host",
        "127.0.0.1",
        "--kubernetes-service-port",
        "1",
    ];
    let run = doctor(&node, &class, &flags).await;
    assert_eq!(
        run.step("token_service_dns")["reason"],
        "TOKEN_PROXY_UNREACHABLE"
    );
    assert_eq!(run.step("token_service_tls")["outcome"], "skipped");
    assert_eq!(run.step("token")["outcome"], "skipped");
}

#[tokio::test]
async fn each_object_is_looked_at_whatever_the_others_are() {
    let node = Node::start().await;
    node.vault.set_secret("S", CANARY);
    node.vault.set_secret_with(
        "OLD",
        NewSecret {
            expires: Some(1_600_000_000),
            content_type: Some("text/plain".into()),
            ..NewSecret::new(CANARY)
        },
    );
    node.vault.set_secret("OFF", CANARY);
    node.vault
        .set_enabled(ObjectKind::Secret, "OFF", None, false)
        .unwrap();
    for _ in 0..3 {
        node.vault.set_secret("H", CANARY);
    }
    let class = Class::of_secret("S")
        .object("objectName: NONE\nobjectType: secret")
        .object("objectName: OLD\nobjectType: secret")
        .object("objectName: OFF\nobjectType: secret")
        .object("objectName: H\nobjectType: secret\nobjectVersionHistory: 2");
    let run = doctor(&node, &class, &[]).await;
    assert_eq!(run.status, Some(1));
    assert_eq!(run.step("vault")["outcome"], "ok");
    let objects = run.steps("object");
    let shown: Vec<_> = objects
        .iter()
        .map(|step| {
            (
                step["name"].as_str().unwrap(),
                step["outcome"].as_str().unwrap(),
                step["reason"].as_str(),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("secret S", "ok", None),
            ("secret NONE", "failed", Some("KV_OBJECT_NOT_FOUND")),
            ("secret OLD", "warning", None),
            ("secret OFF", "failed", Some("KV_OBJECT_DISABLED")),
            ("secret H", "ok", None),
        ]
    );
    let old = &objects[2]["details"]["files"][0];
    assert_eq!(old["expires"], "2020-09-13T12:26:40Z");
    assert_eq!(old["content_type"], "text/plain");
    assert!(
        objects[2]["warnings"][0]
            .as_str()
            .unwrap()
            .contains("has expired")
    );
    assert_eq!(objects[4]["details"]["files"].as_array().unwrap().len(), 2);
    assert_eq!(objects[4]["details"]["files"][1]["path"], "H/1");
    assert_eq!(run.step("answer")["outcome"], "skipped");

    // A warning alone is no failure.
    let run = doctor(&node, &Class::of_secret("OLD"), &[]).await;
    assert_eq!(run.status, Some(0));
    assert_eq!(run.json["outcome"], "warning");
    assert!(run.said.contains("\n! object "), "{}", run.said);
}

#[tokio::test]
async fn what_is_not_allowed_is_said_with_its_fix() {
    let node = Node::start().await;
    node.vault.set_secret("S", CANARY);
    node.vault.revoke(OBJECT_ID);
    let run = doctor(&node, &Class::of_secret("S"), &[]).await;
    let fix = format!("az keyvault set-policy --name {VAULT} --object-id {OBJECT_ID}");
    run.expect_failure("object", "KV_ACCESS_DENIED", &["e502213f…", &fix]);
    // The vault itself is well: it knows who asks.
    assert_eq!(run.step("vault")["outcome"], "ok");
    assert!(run.said.contains("[KV_ACCESS_DENIED] "), "{}", run.said);
    assert!(run.said.contains(&format!("Fix: {fix}")), "{}", run.said);

    // A list is something else than a get.
    let only_get = Permissions::read().on_secrets(&["get"]);
    node.vault.grant(OBJECT_ID, only_get);
    let class = Class::new().object("objectName: S\nobjectType: secret\nobjectVersionHistory: 2");
    let run = doctor(&node, &class, &[]).await;
    run.expect_failure("object", "KV_ACCESS_DENIED", &["\"list\"", "get list"]);
}

#[tokio::test]
async fn a_way_that_leads_nowhere_is_followed_to_its_end() {
    let node = Node::start().await;
    let class = Class::of_secret("S").with("keyvaultName", "no-such-vault");
    let run = doctor(&node, &class, &[]).await;
    run.expect_failure("vault_tcp", "KV_UNREACHABLE", &["CONNECT", "502"]);
    // What does not need the vault is looked at all the same.
    assert_eq!(run.step("vault_tls")["outcome"], "skipped");
    assert_eq!(run.step("token")["outcome"], "ok");
    assert_eq!(run.step("vault")["outcome"], "skipped");
    assert_eq!(run.step("object")["outcome"], "skipped");
    assert!(run.said.contains("– vault "), "{}", run.said);
    assert!(
        run.said.contains("does not mount here: 1 failure, "),
        "{}",
        run.said
    );

    // Nobody is at this address, and DNS is not asked for it.
    let run = doctor(&node, &class, &["--imds-endpoint", "http://127.0.0.1:1"]).await;
    let step = run.step("token_service_tcp");
    assert_eq!(step["reason"], "IMDS_UNREACHABLE");
    assert!(step["fix"].as_str().unwrap().contains("hostNetwork"));
    assert_eq!(run.step("token")["outcome"], "skipped");
    assert!(run.steps("token_service_tls").is_empty());
}

#[tokio::test]
async fn without_a_proxy_it_is_dns_that_does_not_know_the_vault() {
    let node = Node::start().await;
    let folder = tempfile::tempdir().unwrap();
    let class = Class::of_secret("S").with("keyvaultName", "no-such-vault");
    let path = folder.path().join("class.yaml");
    fs::write(&path, class.manifest().replace("tenantId", "tenantID")).unwrap();
    let output = command(&node.azure, folder.path())
        .env_remove("HTTPS_PROXY")
        .env_remove("HTTP_PROXY")
        .args(["doctor", "-o", "json"])
        .arg(path)
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let step = &json["steps"][2];
    assert_eq!(step["step"], "vault_dns");
    // There may be no resolver where this test runs, and then nobody knows whether there is such a vault.
    let cause = step["cause"].as_str().unwrap();
    if cause.contains("Temporary failure") || cause.contains("Try again") {
        assert_eq!(step["reason"], "KV_UNREACHABLE");
    } else {
        assert_eq!(step["reason"], "KV_HOST_NOT_FOUND", "{step}");
    }
}

#[tokio::test]
async fn the_issuer_of_a_certificate_that_is_not_trusted_is_said() {
    let node = Node::start().await;
    let other = Node::start().await;
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("other.pem");
    fs::write(&ca, other.azure.ca_pem()).unwrap();
    let path = folder.path().join("class.yaml");
    fs::write(&path, Class::of_secret("S").manifest()).unwrap();
    let output = command(&node.azure, folder.path())
        .env("SSL_CERT_FILE", ca)
        .args(["doctor", "-o", "json"])
        .arg(path)
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let step = &json["steps"][4];
    assert_eq!(step["step"], "vault_tls");
    assert_eq!(step["reason"], "TLS_NOT_TRUSTED");
    let issuer = step["details"]["issuer"].as_str().unwrap();
    let cause = step["cause"].as_str().unwrap();
    assert!(cause.contains(&format!("issued by {issuer:?}")), "{cause}");
    assert!(
        step["fix"].as_str().unwrap().contains("--ca-file"),
        "{step}"
    );
}

#[tokio::test]
async fn a_pods_token_that_is_not_taken_is_shown_by_its_claims() {
    let node = Node::start().await;
    chat_app(&node, "9b1d7f0e");
    let folder = tempfile::tempdir().unwrap();
    let stranger = node
        .azure
        .service_account_token("chat", "stranger", AUDIENCE, HOUR);
    let file = token_file(folder.path(), &stranger);
    let run = doctor(&node, &workload(), &["--token-file", &file]).await;
    let words = [
        "az identity federated-credential create",
        "--subject system:serviceaccount:chat:stranger",
    ];
    run.expect_failure("token", "ENTRA_NO_FEDERATED_CREDENTIAL", &words);
    assert_eq!(run.step("identity")["outcome"], "ok");

    let elsewhere =
        node.azure
            .service_account_token("chat", "chat", "https://kubernetes.default.svc", HOUR);
    let file = token_file(folder.path(), &elsewhere);
    let run = doctor(&node, &workload(), &["--token-file", &file]).await;
    let warning = &run.step("identity")["warnings"][0];
    assert!(
        warning
            .as_str()
            .unwrap()
            .contains("not for audience api://"),
        "{warning}"
    );

    let file = token_file(folder.path(), CANARY);
    let run = doctor(&node, &workload(), &["--token-file", &file]).await;
    let warning = &run.step("identity")["warnings"][0];
    assert!(
        warning.as_str().unwrap().contains("no JSON Web Token"),
        "{warning}"
    );
    assert_eq!(run.step("token")["outcome"], "failed");
}

#[tokio::test]
async fn a_pods_token_that_has_expired_is_a_warning_and_then_a_failure() {
    let node = Node::start().await;
    node.azure
        .entra()
        .application(DEFAULT_TENANT, "9b1d7f0e")
        .with_service_account("chat", "chat");
    let folder = tempfile::tempdir().unwrap();
    let token = node
        .azure
        .service_account_token("chat", "chat", AUDIENCE, Duration::ZERO);
    // Entra ID's clock may be another one, by five minutes.
    node.azure.advance_clock(Duration::from_secs(900));
    let file = token_file(folder.path(), &token);
    let run = doctor(&node, &workload(), &["--token-file", &file]).await;
    let identity = run.step("identity");
    assert_eq!(identity["outcome"], "warning");
    assert!(
        identity["warnings"][0]
            .as_str()
            .unwrap()
            .contains("expired")
    );
    run.expect_failure("token", "ENTRA_TOKEN_EXPIRED", &["clocks"]);
}

#[tokio::test]
async fn a_vault_that_fails_is_no_objects_fault() {
    let node = Node::start().await;
    node.vault.set_secret("S", CANARY);
    let class = Class::of_secret("S").object("objectName: T\nobjectType: secret");
    node.azure
        .faults()
        .always(Target::vault(VAULT), Effect::error(500));
    let run = doctor(&node, &class, &[]).await;
    run.expect_failure("vault", "KV_UNAVAILABLE", &["500"]);
    for object in run.steps("object") {
        assert_eq!(object["outcome"], "skipped");
    }
    // It answers everyone, and takes no token.
    node.azure.faults().clear();
    node.azure
        .entra()
        .add_tenant("11111111-2222-3333-4444-555555555555");
    node.vault
        .set_tenant("11111111-2222-3333-4444-555555555555");
    let run = doctor(&node, &class, &[]).await;
    run.expect_failure("vault", "KV_TOKEN_REJECTED", &["AKV10032", "tenantID"]);
    let warning = run.step("vault")["warnings"][0].as_str().unwrap();
    assert!(warning.contains("belongs to tenant 11111111-"), "{warning}");
    assert_eq!(run.step("token")["outcome"], "ok");
}

#[tokio::test]
async fn clocks_that_differ_are_a_warning() {
    let node = Node::start().await;
    node.vault.set_secret("S", CANARY);
    let effect = Effect::Answer {
        status: 401,
        body: "{}".into(),
        content_type: "application/json".into(),
        headers: [
            (
                "date".to_owned(),
                "Tue, 01 Dec 2020 08:00:09 GMT".to_owned(),
            ),
            (
                "www-authenticate".to_owned(),
                format!(
                    "Bearer authorization=\"https://login.microsoftonline.com/{TENANT}\", \
                     resource=\"https://vault.azure.net\""
                ),
            ),
        ]
        .into(),
    };
    let unauthenticated = Target::vault(VAULT).unauthenticated();
    node.azure
        .faults()
        .always(unauthenticated.clone(), effect.clone());
    let run = doctor(&node, &Class::of_secret("S"), &[]).await;
    // Where the token is refused, the clock may be the reason.
    run.expect_failure("vault", "KV_TOKEN_REJECTED", &[]);
    let warning = run.step("vault")["warnings"][0].as_str().unwrap();
    assert!(warning.contains("ahead of the vault's"), "{warning}");
    assert!(
        run.said.contains("Warning: this machine's clock is "),
        "{}",
        run.said
    );

    node.azure.faults().clear();
    node.azure.faults().next(1, unauthenticated, effect);
    let folder = tempfile::tempdir().unwrap();
    let manifest = Class::of_secret("S").manifest();
    let output = output(&node, folder.path(), &manifest, &[]).await;
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("\n! vault "), "{said}");
    assert!(said.ends_with("0 failures, 1 warning\n"), "{said}");
}

#[tokio::test]
async fn nothing_secret_is_said_at_any_level_and_no_file_is_written() {
    let node = Node::start().await;
    node.vault.set_secret("S", CANARY);
    let app = node
        .azure
        .entra()
        .application(DEFAULT_TENANT, "9b1d7f0e")
        .with_service_account("chat", "chat")
        .with_secret(&format!("{CANARY}-secret"));
    node.vault.grant(&app.object_id(), Permissions::read());
    let pod = tempfile::tempdir().unwrap();
    let token = node
        .azure
        .service_account_token("chat", "chat", AUDIENCE, HOUR);
    let token = token_file(pod.path(), &token);
    let secret = pod.path().join("secret");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("clientid"), "9b1d7f0e").unwrap();
    fs::write(secret.join("clientsecret"), format!("{CANARY}-secret")).unwrap();
    let secret = secret.display().to_string();
    let managed = Class::of_secret("S");
    let principal = managed.clone().without("userAssignedIdentityID");
    for effect in [
        None,
        Some(Effect::WrongJson),
        Some(Effect::Truncate),
        Some(Effect::error(403)),
    ] {
        let expected = i32::from(effect.is_some());
        if let Some(effect) = effect {
            node.azure.faults().always(Target::vault(VAULT), effect);
        }
        for (class, flags) in [
            (&managed, vec![]),
            (&workload(), vec!["--token-file", &token]),
            (&principal, vec!["--node-publish-secret", &secret]),
        ] {
            let flags = [&["--log-level", "trace"], &flags[..]].concat();
            // Looks for secrets and tokens.
            let run = doctor(&node, class, &flags).await;
            assert_eq!(run.status, Some(expected), "{}", run.said);
        }
        node.azure.faults().clear();
    }

    let folder = tempfile::tempdir().unwrap();
    let class = folder.path().join("class.yaml");
    fs::write(&class, managed.manifest()).unwrap();
    let output = command(&node.azure, folder.path())
        .current_dir(folder.path())
        .env("TMPDIR", folder.path())
        .args(["doctor", "--log-level", "trace"])
        .arg(class)
        .output()
        .await
        .unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("TRACE"));
    let files = fs::read_dir(folder.path()).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["ca.pem", "class.yaml"]);
}

#[tokio::test]
async fn a_class_may_come_on_standard_input() {
    let node = Node::start().await;
    node.vault.set_secret("S", CANARY);
    let folder = tempfile::tempdir().unwrap();
    let class = folder.path().join("class.yaml");
    fs::write(&class, Class::of_secret("S").manifest()).unwrap();
    let output = command(&node.azure, folder.path())
        .args(["doctor", "-"])
        .stdin(fs::File::open(class).unwrap())
        .output()
        .await
        .unwrap();
    assert!(output.status.success());
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("mounts here")
    );
}

#[tokio::test]
async fn the_pods_token_may_come_behind_the_class() {
    let node = Node::start().await;
    chat_app(&node, "9b1d7f0e");
    node.vault.set_secret("S", CANARY);
    let token = node
        .azure
        .service_account_token("chat", "chat", AUDIENCE, HOUR);
    let folder = tempfile::tempdir().unwrap();
    let request = format!("kind: TokenRequest\nstatus:\n  token: {token}\n");
    let manifest = format!("{}---\n{request}", workload().manifest());
    let said = output(&node, folder.path(), &manifest, &[]).await;
    assert!(said.status.success(), "{said:?}");
    assert!(!format!("{said:?}").contains(&token));
}

#[tokio::test]
async fn a_class_that_cannot_work_is_said_before_anything_is_sent() {
    let node = Node::start().await;
    let run = doctor(&node, &Class::of_secret("S").with("tenantId", "a/b"), &[]).await;
    run.expect_failure("class", "INVALID_PARAMETER", &["tenantID"]);
    assert_eq!(run.step("token")["outcome"], "skipped");
    let class = Class::of_secret("S").with("cloudName", "AzureStackCloud");
    let run = doctor(&node, &class, &[]).await;
    run.expect_failure("cloud", "INVALID_PARAMETER", &["cloudEnvFileName"]);
    assert_eq!(run.step("class")["outcome"], "ok");
    let class = Class::of_secret("S").object("objectName: T\nobjectType: secret\nobjectAlias: S");
    let run = doctor(&node, &class, &[]).await;
    run.expect_failure("class", "PATH_CONFLICT", &["objectAlias"]);
    assert_eq!(node.azure.counters().vault(VAULT).requests, 0);
    // One that the driver would not take.
    node.vault.set_secret("S", CANARY);
    let class = Class::of_secret("S").object("objectName: S\nobjectType: secret\nobjectAlias: T");
    let run = doctor(&node, &class, &["--max-answer-size", "150"]).await;
    assert_eq!(run.status, Some(1));
    assert_eq!(run.step("answer")["reason"], "ANSWER_TOO_LARGE");
}

#[tokio::test]
async fn what_the_policy_denies_does_not_mount() {
    let node = Node::start().await;
    node.vault.set_secret("S", CANARY);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.yaml");
    let flags = ["--policy", file.to_str().unwrap(), "--namespace", "chat"];
    fs::write(&file, "rules: []").unwrap();
    let run = doctor(&node, &Class::of_secret("S"), &flags).await;
    run.expect_failure(
        "policy",
        "POLICY_DENIED",
        &["namespace \"chat\"", "--policy"],
    );
    assert_eq!(run.step("answer")["outcome"], "skipped");
    assert_eq!(node.azure.counters().vault(VAULT).requests, 0);
    let rule = format!("rules: [{{name: r, namespaces: [chat], vaults: [{VAULT}]}}]");
    fs::write(&file, rule).unwrap();
    let run = doctor(&node, &Class::of_secret("S"), &flags).await;
    assert_eq!(run.step("policy")["outcome"], "ok");
    assert_eq!(run.status, Some(0));
}

#[tokio::test]
async fn a_token_that_doctor_was_not_given_is_not_the_drivers_fault() {
    let node = Node::start().await;
    let class = Class::of_secret("S")
        .without("userAssignedIdentityID")
        .with("clientID", CLIENT_ID);
    let run = doctor(&node, &class, &[]).await;
    let words = ["give doctor the pod's token", "--token-file"];
    run.expect_failure("token", "TOKEN_AUDIENCE_MISSING", &words);
    // What needs no token is looked at all the same.
    for step in [
        "class",
        "cloud",
        "vault_dns",
        "vault_tcp",
        "vault_tls",
        "token_service_dns",
        "token_service_tcp",
        "token_service_tls",
        "identity",
        "vault",
    ] {
        assert_eq!(run.step(step)["outcome"], "ok", "{step}: {}", run.said);
    }
    assert_eq!(run.step("object")["outcome"], "skipped", "{}", run.said);
    // What stands in for the token is sent to nobody.
    assert_eq!(node.azure.counters().entra().requests, 0);
    assert_eq!(node.azure.counters().vault(VAULT).all_gets(), 0);
}

#[tokio::test]
async fn what_is_no_class_has_a_status_of_its_own() {
    let node = Node::start().await;
    let folder = tempfile::tempdir().unwrap();
    let class = Class::of_secret("S").manifest();
    for (manifest, arguments, words) in [
        ("a: [", vec![], "expected a SecretProviderClass as YAML"),
        ("kind: Secret", vec![], "found none"),
        (&class, vec!["--token-file", "/none"], "--token-file /none"),
        (&class, vec!["--ca-file", "/none"], "--ca-file /none"),
        (&class, vec!["--no-such-flag"], "unexpected argument"),
    ] {
        let output = output(&node, folder.path(), manifest, &arguments).await;
        assert_eq!(output.status.code(), Some(2), "{words}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            said.starts_with("error: ") && said.contains(words),
            "{said}"
        );
        assert!(output.stdout.is_empty());
    }
}

#[tokio::test]
async fn who_tells_pods_of_their_rotations_is_said() {
    let node = Node::start().await;
    node.vault.set_secret("S", CANARY);
    let (server, folder) = (ApiServer::start().await, tempfile::tempdir().unwrap());
    let kubeconfig = format!(
        "--kubeconfig={}",
        server.kubeconfig(folder.path()).display()
    );
    let by_provider = doctor(&node, &Class::of_secret("S"), &[&kubeconfig]).await;
    let step = by_provider.step("rotations");
    assert_eq!(step["outcome"], "ok", "{step}");
    assert_eq!(step["details"]["told_by"], "provider");
    assert!(server.events().is_empty(), "doctor tells nobody");
    server.take_right("patch");
    let without_right = doctor(&node, &Class::of_secret("S"), &[&kubeconfig]).await;
    assert_eq!(without_right.status, Some(0), "{}", without_right.said);
    let step = without_right.step("rotations");
    assert_eq!(step["details"]["told_by"], Value::Null);
    let warning = step["warnings"][0].as_str().unwrap();
    assert!(
        warning.contains("may not patch events.events.k8s.io"),
        "{warning}"
    );
    server.fail(9, None, Fault::Answer(500));
    let broken = doctor(&node, &Class::of_secret("S"), &[&kubeconfig]).await;
    let warning = broken.step("rotations")["warnings"][0].as_str().unwrap();
    assert!(warning.contains("HTTP status 500"), "{warning}");
    // Nobody has to, where nothing serves and no API server is said.
    let off = doctor(
        &node,
        &Class::of_secret("S"),
        &[&kubeconfig, "--pod-events=false"],
    )
    .await;
    assert!(off.steps("rotations").is_empty(), "{}", off.said);
}

#[tokio::test]
async fn that_the_driver_tells_pods_of_their_rotations_is_said() {
    let port = free_port();
    let port_flag = format!("--prometheus-port={port}");
    let node = Node::start_with(&[&port_flag]).await;
    node.vault.set_secret("S", CANARY);
    let class = Class::of_secret("S");
    node.mount(&class).await.unwrap();
    let _page = get_once_served(port, "/metrics").await;
    let before = doctor(&node, &class, &[&port_flag]).await;
    assert_eq!(before.step("rotations")["details"]["told_by"], Value::Null);
    // As drivers up to 1.5 do when they look for a rotation.
    let mut request = class.request();
    request.current_object_version = vec![ObjectVersion {
        id: "secret/S".to_owned(),
        version: "1".to_owned(),
    }];
    node.provider.mount(request).await.unwrap();
    let after = doctor(&node, &class, &[&port_flag]).await;
    assert_eq!(
        after.step("rotations")["details"]["told_by"],
        "driver",
        "{}",
        after.said
    );
}

#[tokio::test]
async fn what_the_provider_here_has_done_for_the_class_is_said() {
    let port = free_port();
    let node = Node::start_with(&["--prometheus-port", &port.to_string()]).await;
    // The name that the manifest has.
    let class = Class::of_secret("S").with("secretProviderClass", "a-class");
    let flags = [
        format!("--prometheus-port={port}"),
        "--namespace=chat".into(),
    ];
    let flags = flags.each_ref().map(String::as_str);
    node.mount(&class).await.unwrap_err();
    node.vault.set_secret("S", "v");
    let _page = get_once_served(port, "/metrics").await;
    let run = doctor(&node, &class, &flags).await;
    let failing = run.step("provider");
    assert_eq!(failing["outcome"], "warning", "{failing}");
    assert_eq!(failing["details"]["mounts_failed"], 1.0);
    node.mount(&class).await.unwrap();
    let run = doctor(&node, &class, &flags).await;
    let mended = run.step("provider");
    assert_eq!(mended["outcome"], "ok", "{mended}");
    assert_eq!(mended["details"]["answers_from_memory"], 0.0);
    let summary = mended["summary"].as_str().unwrap();
    assert!(summary.contains("this class last came out"), "{summary}");
}
