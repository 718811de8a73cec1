//! Answers that Azure really gave, one exchange a file in `azure_answers/`, as public test suites have recorded them
//! (values, names and IDs replaced): the message about each says what is true.

use std::fs;
use std::path::Path;

use azure_emulator::{Cloud, Effect, Permissions, Target};
use serde_json::{Value, json};
use tonic::Code;

use crate::support::class::Class;
use crate::support::provider::command;
use crate::support::{Node, OBJECT_ID, VAULT, expect_status, files, versions, workload};

/// The answer of a recorded exchange.
fn recorded(name: &str) -> Effect {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/azure_answers");
    let exchange = fs::read(folder.join(name).with_extension("json")).unwrap();
    let exchange: Value = serde_json::from_slice(&exchange).unwrap();
    Effect::recorded(serde_json::from_value(exchange["response"].clone()).unwrap())
}

/// A vault's error.
fn error(status: u16, code: &str, message: &str) -> Effect {
    Effect::json(
        status,
        &json!({ "error": { "code": code, "message": message } }),
    )
}

/// The message of a mount that meets this answer of the vault.
async fn said(node: &Node, class: &Class, effect: Effect) -> String {
    let fault = node.azure.faults().always(Target::vault(VAULT), effect);
    let status = node.mount(class).await.expect_err("the mount should fail");
    node.azure.faults().remove(fault);
    status.message().to_owned()
}

fn expect_words(message: &str, words: &[&str], others: &[&str]) {
    for word in words {
        assert!(message.contains(word), "{message} should contain {word}");
    }
    for word in others {
        assert!(
            !message.contains(word),
            "{message} should not contain {word}"
        );
    }
}

#[tokio::test]
async fn a_certificate_that_is_pending_is_not_issued_yet() {
    let node = Node::start().await;
    let newest = Class::of("cert", "web");
    let version = "2a3c31305bed4f6a9d450fb843b47d50";
    let exact = Class::new().object(&format!(
        "objectName: web\nobjectType: cert\nobjectVersion: {version}"
    ));
    for (class, answer) in [
        (&newest, "cert-pending-no-cer"),
        (&exact, "cert-pending-version-no-cer"),
    ] {
        let message = said(&node, class, recorded(answer)).await;
        expect_words(
            &message,
            &[
                "[KV_CERTIFICATE_PENDING] cert \"web\"",
                "has not been issued yet",
                "az keyvault certificate pending show --vault-name ai-chat-kv-1763873634 --name web",
                "az keyvault certificate pending merge",
            ],
            &["proxy", "endpoint"],
        );
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_one_is_not_pending() {
    let node = Node::start().await;
    let id = format!("https://{VAULT}.vault.azure.net/certificates/web/0123");
    let body = json!({ "id": id, "kid": "k", "sid": "s", "attributes": { "enabled": true } });
    let message = said(&node, &Class::of("cert", "web"), Effect::json(200, &body)).await;
    expect_words(
        &message,
        &["[KV_UNEXPECTED_ANSWER] ", "without the certificate"],
        &["pending"],
    );
}

#[tokio::test]
async fn federated_credentials_are_added_or_corrected() {
    let node = Node::start().await;
    let class = workload::class(&node);
    let subject = "--subject system:serviceaccount:chat:chat";
    let add = "az identity federated-credential create";
    let correct = "az identity federated-credential update";
    let entra = |code: u32| {
        let text = format!("AADSTS{code}: words");
        Effect::json(
            401,
            &json!({ "error": "invalid_client", "error_description": text, "error_codes": [code] }),
        )
    };
    for (effect, words, others) in [
        (
            recorded("entra-7002137"),
            vec!["[ENTRA_NO_FEDERATED_CREDENTIAL] ", add, subject],
            vec![correct, "look the AADSTS code up"],
        ),
        (
            recorded("entra-7002138"),
            vec![
                "[ENTRA_NO_FEDERATED_CREDENTIAL] ",
                "correct the case of the subject",
                correct,
                subject,
            ],
            vec![add, "look the AADSTS code up"],
        ),
        (
            entra(70_025),
            vec!["[ENTRA_NO_FEDERATED_CREDENTIAL] ", add],
            vec![],
        ),
        (
            entra(700_223),
            vec!["[ENTRA_REFUSED] ", "one of their policies"],
            vec![add],
        ),
        (
            entra(7_000_272),
            vec![
                "[ENTRA_REFUSED] ",
                "/.well-known/openid-configuration",
                "/openid/v1/jwks",
            ],
            vec![add],
        ),
        (
            entra(700_236),
            vec!["[ENTRA_REFUSED] ", "the cluster's issuer"],
            vec![add],
        ),
        (
            entra(53_003),
            vec!["[ENTRA_REFUSED] ", "look the AADSTS code up"],
            vec![add],
        ),
        (
            recorded("entra-90002-invalid_tenant"),
            vec!["[ENTRA_TENANT_NOT_FOUND] ", "set tenantID"],
            vec![],
        ),
    ] {
        let fault = node.azure.faults().always(Target::entra(), effect);
        let status = node.mount(&class).await.unwrap_err();
        node.azure.faults().remove(fault);
        expect_words(status.message(), &words, &others);
    }
}

#[tokio::test]
async fn a_token_is_rejected_for_what_is_wrong_with_it() {
    const OURS: &str = "11111111-1111-4111-8111-111111111111";
    const THEIRS: &str = "22222222-2222-4222-8222-222222222222";
    let node = Node::start().await;
    let managed = Class::of_secret("S");
    let pods = workload::class(&node);
    let others = "https://sts.windows.net/f8cdef31-a31e-4b4a-93e4-5f571e91255a/, ".repeat(5);
    let issuer = error(
        401,
        "Unauthorized",
        &format!(
            "AKV10032: Invalid issuer. Expected one of https://sts.windows.net/{OURS}/, {others}found \
             https://sts.windows.net/{THEIRS}/."
        ),
    );
    let missing = error(
        401,
        "Unauthorized",
        "AKV10000: Request is missing a Bearer or PoP token.",
    );
    let unknown = error(401, "Unauthorized", "AKV19999: Something new.");
    for (class, effect, words, none) in [
        (
            &pods,
            issuer.clone(),
            vec![
                THEIRS,
                "the vault belongs to tenant 11111111-1111",
                "Fix: set tenantID",
            ],
            vec![],
        ),
        (
            &managed,
            issuer,
            vec![
                THEIRS,
                "the vault belongs to tenant 11111111-1111",
                "Fix: use an identity of tenant 11111111-1111",
            ],
            vec!["set tenantID"],
        ),
        (
            &managed,
            recorded("401-akv10022"),
            vec![
                "for another audience",
                "found: spn:cfa8b339",
                "Fix: set cloudName",
            ],
            vec!["tenantID"],
        ),
        (
            &pods,
            recorded("401-akv10046"),
            vec![
                "this is a passing fault of the service",
                "the kubelet tries again",
            ],
            vec!["tenantID"],
        ),
        (
            &managed,
            missing,
            vec!["did not reach Key Vault", "Authorization header"],
            vec!["tenantID"],
        ),
        (
            &managed,
            unknown,
            vec!["AKV19999: Something new", "doctor"],
            vec!["tenantID"],
        ),
    ] {
        let message = said(&node, class, effect).await;
        expect_words(&message, &words, &none);
        expect_words(&message, &["[KV_TOKEN_REJECTED] "], &[]);
    }
}

#[tokio::test]
async fn a_signing_key_that_is_not_known_yet_is_worth_one_more_request() {
    let node = Node::start().await;
    node.vault.set_secret("S", "v");
    let class = Class::of_secret("S");
    node.azure
        .faults()
        .next(1, Target::vault(VAULT), recorded("401-akv10046"));
    assert_eq!(
        files(&node.mount(&class).await.unwrap()),
        [("S", 0o644, "v")]
    );
    assert_eq!(node.azure.counters().vault(VAULT).all_gets(), 2);
    let message = said(&node, &class, recorded("401-akv10046")).await;
    expect_words(&message, &["[KV_TOKEN_REJECTED] ", "AKV10046"], &[]);
    // And no more, though the client sends each attempt twice.
    assert!(node.azure.counters().vault(VAULT).all_gets() <= 6);
}

#[tokio::test]
async fn a_name_that_the_vault_refuses_is_named_alone() {
    let node = Node::start().await;
    node.vault.set_secret("a", "v");
    node.vault.set_secret("c", "v");
    let refusal = error(
        400,
        "BadParameter",
        "The request URI contains an invalid name: b_b",
    );
    let target = Target::vault(VAULT).object("secrets/b");
    node.azure.faults().always(target, refusal);
    for (entry, operation) in [
        ("objectName: b\nobjectType: secret", "\"get\""),
        (
            "objectName: b\nobjectType: secret\nobjectVersionHistory: 2",
            "\"list versions\"",
        ),
    ] {
        let class = Class::of_secret("a")
            .object(entry)
            .object("objectName: c\nobjectType: secret");
        let status = node.mount(&class).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        expect_words(
            status.message(),
            &[
                "[KV_BAD_PARAMETER] ",
                operation,
                "on secret \"b\"",
                "invalid name: b_b",
                "objectName",
            ],
            &[
                "proxy",
                "private endpoint",
                "also failed",
                "\"a\"",
                "\"c\"",
                "an object",
            ],
        );
    }
}

/// A class for an Azure Stack whose endpoints the emulator has.
async fn stack() -> (Node, Class, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stack.json");
    let json = json!({
        "name": "AzureStackCloud", "activeDirectoryEndpoint": "https://login.microsoftonline.us/",
        "keyVaultDNSSuffix": "vault.usgovcloudapi.net",
    });
    fs::write(&file, json.to_string()).unwrap();
    let flags = ["--cloud-env-dir", folder.path().to_str().unwrap()];
    let node = Node::start_in(Cloud::UsGovernment, &flags).await;
    node.vault.set_secret("S", "v");
    let class = Class::of_secret("S")
        .with("cloudName", "AzureStackCloud")
        .with("cloudEnvFileName", file.to_str().unwrap());
    (node, class, folder)
}

#[tokio::test]
async fn a_stack_hub_is_asked_in_the_version_that_it_speaks() {
    let (node, class, _folder) = stack().await;
    node.azure
        .faults()
        .next(1, Target::vault(VAULT), recorded("400-stackhub-version"));
    for gets in [2, 3, 4] {
        assert_eq!(
            files(&node.mount(&class).await.unwrap()),
            [("S", 0o644, "v")]
        );
        assert_eq!(node.azure.counters().vault(VAULT).all_gets(), gets);
    }
    let asked = node.azure.counters().requests();
    let asked: Vec<_> = asked
        .iter()
        .filter(|asked| asked.path.starts_with("/secrets/S"))
        .map(|asked| asked.path.ends_with("?api-version=7.1"))
        .collect();
    assert_eq!(asked, [false, true, true, true]);
    // One that takes back what it said is not asked for ever.
    let message = said(&node, &class, recorded("400-stackhub-version")).await;
    expect_words(
        &message,
        &[
            "[KV_BAD_PARAMETER] ",
            "this provider's version of its API",
            "(7.1)",
        ],
        &["proxy", "an object"],
    );
}

#[tokio::test]
async fn microsofts_own_clouds_are_asked_in_no_other_version() {
    let node = Node::start().await;
    node.vault.set_secret("S", "v");
    let class = Class::of_secret("S");
    let message = said(&node, &class, recorded("400-stackhub-version")).await;
    expect_words(
        &message,
        &["[KV_BAD_PARAMETER] ", "cloudName: AzureStackCloud"],
        &[],
    );
    assert_eq!(node.azure.counters().vault(VAULT).all_gets(), 1);
}

#[tokio::test]
async fn a_key_that_is_not_exportable_has_no_file() {
    let node = Node::start().await;
    let apart = Node::start_with(&["--write-cert-and-key-in-separate-files"]).await;
    let version = "a51e50193eb24d32b55a2c22e04f9514";
    for (node, format, paths) in [
        (&node, "pem", vec!["web"]),
        (&apart, "pem", vec!["web.crt", "web"]),
        (&apart, "pfx", vec!["web.crt", "web"]),
    ] {
        node.azure
            .faults()
            .always(Target::vault(VAULT), recorded("secret-pfx-nonexportable"));
        let class = Class::new().object(&format!(
            "objectName: web\nobjectType: secret\nobjectFormat: {format}"
        ));
        let response = node.mount(&class).await.unwrap();
        let found: Vec<_> = response
            .files
            .iter()
            .map(|file| file.path.as_str())
            .collect();
        assert_eq!(found, paths);
        assert_eq!(versions(&response)[0], ("secret/web", version));
        let words = format!("secret/web version {version} has no private key");
        assert!(node.provider.log().contains(&words), "{format}");
    }
}

#[tokio::test]
async fn doctor_knows_of_a_secret_that_is_to_have_the_key() {
    let node = Node::start().await;
    node.azure
        .faults()
        .always(Target::vault(VAULT), recorded("secret-pfx-nonexportable"));
    let manifest = Class::of_secret("web").manifest();
    let of_kind = |kind: &str, data: &str| {
        format!(
            "{manifest}  secretObjects:\n  - secretName: web-tls\n    type: {kind}\n    data: [{data}]\n"
        )
    };
    let apart = "--write-cert-and-key-in-separate-files=true";
    let whole = "{objectName: web, key: tls.key}";
    for (manifest, flags, failure) in [
        (manifest.clone(), vec![apart], false),
        (of_kind("kubernetes.io/tls", whole), vec![], true),
        (of_kind("Opaque", whole), vec![apart], false),
        (
            of_kind("Opaque", "{objectName: web.key, key: k}"),
            vec![apart],
            true,
        ),
        (
            of_kind("Opaque", "{objectName: web.crt, key: k}"),
            vec![apart],
            false,
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("class.yaml");
        fs::write(&path, &manifest).unwrap();
        let output = command(&node.azure, folder.path())
            .arg("doctor")
            .arg(path)
            .args(flags)
            .output()
            .await
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.success(), !failure, "{said}");
        let words: &[_] = if failure {
            &[
                "[KV_KEY_NOT_EXPORTABLE] secret \"web\" version",
                "Secret \"web-tls\"",
                "exportable: true",
            ]
        } else {
            &["Warning: version", "has no private key"]
        };
        expect_words(&said, words, &[]);
    }
}

#[tokio::test]
async fn an_object_without_versions_is_not_there() {
    let node = Node::start().await;
    let class =
        Class::new().object("objectName: gone\nobjectType: secret\nobjectVersionHistory: 3");
    let fault = node
        .azure
        .faults()
        .always(Target::vault(VAULT), recorded("secret-versions-empty"));
    let words = [
        "[KV_OBJECT_NOT_FOUND] ",
        "has no secret \"gone\". Fix:",
        "list-deleted",
    ];
    expect_status(node.mount(&class).await, Code::NotFound, &words);
    node.azure.faults().remove(fault);
}

#[tokio::test]
async fn a_vault_without_public_access_is_reached_by_its_private_endpoint() {
    let node = Node::start().await;
    let message = said(&node, &Class::of_secret("S"), recorded("403-connection")).await;
    let callers = ["xms_", "MC_rg", "/subscriptions/0"];
    expect_words(
        &message,
        &[
            "[KV_FIREWALL_DENIED] ",
            "a private DNS zone that is not linked",
            "az network private-dns link vnet create",
            "--zone-name privatelink.vaultcore.azure.net",
            "Public network access is disabled",
        ],
        &[&callers[..], &["--public-network-access"]].concat(),
    );
    let log = node.provider.log();
    expect_words(&log, &["KV_FIREWALL_DENIED"], &callers);
}

#[tokio::test]
async fn a_secret_without_a_version_has_its_last_change_instead() {
    let node = Node::start().await;
    let class = Class::of_secret("storage-key");
    for updated in [1_576_316_779, 1_576_400_000] {
        let body = json!({
            "value": "v", "id": format!("https://{VAULT}.vault.azure.net/secrets/storage-key"), "managed": true,
            "attributes": { "enabled": true, "created": 1_576_316_779, "updated": updated },
        });
        node.azure
            .faults()
            .next(1, Target::vault(VAULT), Effect::json(200, &body));
        let response = node.mount(&class).await.unwrap();
        assert_eq!(files(&response), [("storage-key", 0o644, "v")]);
        let version = format!("updated-{updated}");
        assert_eq!(
            versions(&response),
            [("secret/storage-key", version.as_str())]
        );
    }
}

#[tokio::test]
async fn answers_that_are_in_order_are_served() {
    let node = Node::start().await;
    for (class, answer) in [
        (Class::of("key", "UpdateProperties"), "key-disabled-200"),
        (
            Class::of_secret("rbacv2-test-001"),
            "secret-privatelink-2026",
        ),
    ] {
        node.azure
            .faults()
            .next(1, Target::vault(VAULT), recorded(answer));
        node.mount(&class).await.unwrap();
    }
    let words = "key/UpdateProperties version bc5aed53aa9d4c7a9f59b15483ced60a is disabled";
    assert!(node.provider.log().contains(words));
    let message = said(&node, &Class::of_secret("S"), recorded("429")).await;
    expect_words(
        &message,
        &["[KV_THROTTLED] ", "VaultRequestTypeLimitReached"],
        &[],
    );
}

#[tokio::test]
async fn a_proxys_page_is_not_the_vaults_refusal() {
    let node = Node::start().await;
    for status in [400, 401, 403, 404, 407, 451] {
        let page = Effect::html(status, "<html>blocked by policy</html>");
        let message = said(&node, &Class::of_secret("S"), page).await;
        expect_words(
            &message,
            &["[KV_UNEXPECTED_ANSWER] ", "HTML page", "proxy"],
            &["access policies", "role", "blocked"],
        );
    }
}

#[tokio::test]
async fn what_refuses_and_is_not_known_has_a_fix_of_its_own() {
    let node = Node::start().await;
    let body = json!({ "error": {
        "code": "Forbidden", "message": "The request was forbidden by NSP policy.", "innererror": { "code": "ForbiddenByNsp" },
    } });
    let message = said(&node, &Class::of_secret("S"), Effect::json(403, &body)).await;
    expect_words(
        &message,
        &[
            "[KV_FORBIDDEN] ",
            "forbidden by NSP policy",
            "network security perimeter",
            "az monitor activity-log",
        ],
        &["set-policy", "role assignment create"],
    );
}

#[tokio::test]
async fn all_that_is_missing_is_granted_at_once() {
    let node = Node::start().await;
    node.vault.set_secret("s", "v");
    node.vault.grant(OBJECT_ID, Permissions::default());
    let class = Class::of_secret("s")
        .object("objectName: k\nobjectType: key")
        .object("objectName: c\nobjectType: cert");
    let status = node.mount(&class).await.unwrap_err();
    expect_words(
        status.message(),
        &[
            "[KV_ACCESS_DENIED] ",
            "set-policy replaces",
            "--secret-permissions get $(az keyvault show",
            "permissions.secrets[]",
            "--key-permissions get $(",
            "--certificate-permissions get $(",
        ],
        &[],
    );
    node.vault.set_rbac(true);
    let status = node.mount(&class).await.unwrap_err();
    expect_words(
        status.message(),
        &[
            "[KV_RBAC_DENIED] ",
            "--role \"Key Vault Secrets User\"",
            "&& az role assignment create --role \"Key Vault Reader\"",
        ],
        &["Crypto User"],
    );
    node.vault
        .grant(OBJECT_ID, Permissions::default().on_secrets(&["get"]));
    let status = node.mount(&class).await.unwrap_err();
    expect_words(
        status.message(),
        &["--role \"Key Vault Reader\""],
        &["Secrets User"],
    );
}
