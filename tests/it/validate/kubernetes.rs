//! What the API server and the driver refuse after a mount, and Azure before one: Secrets, metadata, identifiers.

use super::{PARAMETERS, class, findings, short};
use crate::support::class::Class;

/// A class whose files are of every kind, with these Secrets.
fn with_secrets(secrets: &str) -> String {
    let parameters = "  parameters:
    keyvaultName: kv1
    tenantID: 42ddc44e-97dd-4c3b-bf8a-31c785e24c67
    clientID: e502213f-1f15-4f03-9fb4-b546f51aafe9
    objects: |
      - {objectName: app, objectType: secret}
      - {objectName: app, objectType: cert, objectAlias: app.pem}
      - {objectName: signing, objectType: key}
      - {objectName: file, objectType: secret, objectFormat: pfx}
";
    class("c", &format!("{parameters}  secretObjects:\n{secrets}"))
}

#[test]
fn a_secret_that_the_api_server_and_the_driver_take_passes() {
    let long = "a".repeat(63);
    for secret in [
        "type: Opaque\n    data: [{objectName: app, key: ' OPENAI_API_KEY '}, {objectName: app, key: .k-1}]".to_owned(),
        "type: example.com/own\n    data: [{objectName: signing, key: tls.key}]".to_owned(),
        "type: kubernetes.io/tls\n    data: [{objectName: app, key: tls.crt}, {objectName: app, key: tls.key}]".to_owned(),
        "type: kubernetes.io/tls\n    data: [{objectName: app.pem, key: tls.crt}, {objectName: app, key: tls.key}]".to_owned(),
        "type: kubernetes.io/dockerconfigjson\n    data: [{objectName: app, key: .dockerconfigjson}]".to_owned(),
        "type: kubernetes.io/dockercfg\n    data: [{objectName: app, key: .dockercfg}]".to_owned(),
        "type: kubernetes.io/basic-auth\n    data: [{objectName: app, key: password}]".to_owned(),
        "type: kubernetes.io/ssh-auth\n    data: [{objectName: app, key: ssh-privatekey}]".to_owned(),
        "type: kubernetes.io/service-account-token\n    annotations: {kubernetes.io/service-account.name: chat}\n    \
         data: [{objectName: app, key: extra}]"
            .to_owned(),
        format!(
            "type: Opaque\n    labels: {{app: '', example.com/tier: {long}, secrets-store.csi.k8s.io/managed: 'true'}}\n    \
             annotations: {{Example.com/Any: 'any text, at any length'}}\n    data: [{{objectName: app, key: k}}]"
        ),
    ] {
        let found = findings(&with_secrets(&format!("  - secretName: s.1-a\n    {secret}\n")), &[]);
        assert!(found.is_empty(), "{secret}: {found:?}");
    }
    // Its name is the token's.
    let bootstrap = "  - secretName: bootstrap-token-abcdef\n    type: bootstrap.kubernetes.io/token\n    \
                     data: [{objectName: app, key: token-id}, {objectName: app, key: token-secret}]\n";
    assert!(findings(&with_secrets(bootstrap), &[]).is_empty());
}

#[test]
fn a_secret_that_the_api_server_or_the_driver_refuses_is_found() {
    let tls = "type: kubernetes.io/tls\n    data: [{objectName: app, key: tls.crt}, {objectName: app, key: tls.key}]";
    let opaque = "type: Opaque\n    data: [{objectName: app, key: k}]";
    let (long63, long253) = ("a".repeat(64), "a".repeat(254));
    let huge = "a".repeat(256 * 1024);
    let name = |name: &str| format!("  - secretName: {name}\n    {opaque}\n");
    let of = |fields: &str| format!("  - secretName: s\n    {fields}\n");
    let key = |key: &str| of(&opaque.replace("key: k", &format!("key: {key}")));
    let tls_of = |from: &str, to: &str| of(&tls.replacen(from, to, 1));
    let data = |kind: &str, keys: &str| {
        of(&format!(
            "type: {kind}\n    data: [{{objectName: app, key: {keys}}}]"
        ))
    };
    let only = |kind: &str, file: &str, key: &str| {
        of(&format!(
            "type: {kind}\n    data: [{{objectName: {file}, key: {key}}}]"
        ))
    };
    let entry = |field: &str| of(&format!("{opaque}\n    {field}"));
    for (secrets, expected) in [
        // Names.
        (
            name("App"),
            "17:17 error INVALID_SECRET_OBJECT secretObjects[0].secretName",
        ),
        (
            name("a_b"),
            "17:17 error INVALID_SECRET_OBJECT secretObjects[0].secretName",
        ),
        (
            name("-a"),
            "17:17 error INVALID_SECRET_OBJECT secretObjects[0].secretName",
        ),
        (
            name("a..b"),
            "17:17 error INVALID_SECRET_OBJECT secretObjects[0].secretName",
        ),
        (
            name(&long253),
            "17:17 error INVALID_SECRET_OBJECT secretObjects[0].secretName",
        ),
        (
            name("' '"),
            "17:5 error INVALID_SECRET_OBJECT secretObjects[0].secretName",
        ),
        (
            name("12"),
            "17:17 error NOT_A_STRING secretObjects[0].secretName",
        ),
        (
            name("a") + &name("a"),
            "20:17 warning DUPLICATE secretObjects[1].secretName",
        ),
        (
            name("a") + &name("a").replace("Opaque", "example.com/own"),
            "20:17 error INVALID_SECRET_OBJECT secretObjects[1].secretName",
        ),
        // Keys.
        (
            key("a b"),
            "19:35 error INVALID_SECRET_OBJECT secretObjects[0].data[0].key",
        ),
        (
            key("a/b"),
            "19:35 error INVALID_SECRET_OBJECT secretObjects[0].data[0].key",
        ),
        (
            key("ключ"),
            "19:35 error INVALID_SECRET_OBJECT secretObjects[0].data[0].key",
        ),
        (
            key("."),
            "19:35 error INVALID_SECRET_OBJECT secretObjects[0].data[0].key",
        ),
        (
            key("..a"),
            "19:35 error INVALID_SECRET_OBJECT secretObjects[0].data[0].key",
        ),
        (
            key(&long253),
            "19:35 error INVALID_SECRET_OBJECT secretObjects[0].data[0].key",
        ),
        (
            key("true"),
            "19:35 error NOT_A_STRING secretObjects[0].data[0].key",
        ),
        (
            key("k}, {objectName: file, key: k"),
            "19:63 warning DUPLICATE secretObjects[0].data[1].key",
        ),
        // What a type demands.
        (
            tls_of(", {objectName: app, key: tls.key}", ""),
            "19:5 error INVALID_SECRET_OBJECT secretObjects[0].data",
        ),
        (
            tls_of("tls.crt", "ca.crt"),
            "19:5 error INVALID_SECRET_OBJECT secretObjects[0].data",
        ),
        (
            tls_of("tls.crt", "ca.crt"),
            "19:35 error INVALID_SECRET_OBJECT secretObjects[0].data[0].key",
        ),
        (
            data("kubernetes.io/dockerconfigjson", "config.json"),
            "19:5 error INVALID_SECRET_OBJECT secretObjects[0].data",
        ),
        (
            data("kubernetes.io/dockercfg", ".dockerconfigjson"),
            "19:5 error INVALID_SECRET_OBJECT secretObjects[0].data",
        ),
        (
            data("kubernetes.io/basic-auth", "user"),
            "19:5 error INVALID_SECRET_OBJECT secretObjects[0].data",
        ),
        (
            data("kubernetes.io/ssh-auth", "id_rsa"),
            "19:5 error INVALID_SECRET_OBJECT secretObjects[0].data",
        ),
        (
            data("kubernetes.io/service-account-token", "token"),
            "17:5 error INVALID_SECRET_OBJECT secretObjects[0].annotations",
        ),
        (
            data("bootstrap.kubernetes.io/token", "token-id"),
            "19:5 warning INVALID_SECRET_OBJECT secretObjects[0].data",
        ),
        (
            data("bootstrap.kubernetes.io/token", "token-id"),
            "17:5 warning INVALID_SECRET_OBJECT secretObjects[0].secretName",
        ),
        (
            data("opaque", "k"),
            "18:11 warning UNKNOWN_TYPE secretObjects[0].type",
        ),
        // What a file holds.
        (
            tls_of("app, key: tls.key", "app.pem, key: tls.key"),
            "19:58 error UNSUITABLE_FILE secretObjects[0].data[1].objectName",
        ),
        (
            tls_of("app, key: tls.key", "signing, key: tls.key"),
            "19:58 error UNSUITABLE_FILE secretObjects[0].data[1].objectName",
        ),
        (
            tls_of("app, key: tls.crt", "signing, key: tls.crt"),
            "19:25 error UNSUITABLE_FILE secretObjects[0].data[0].objectName",
        ),
        (
            tls_of("app, key: tls.key", "file, key: tls.key"),
            "19:58 warning UNSUITABLE_FILE secretObjects[0].data[1].objectName",
        ),
        (
            only(
                "kubernetes.io/dockerconfigjson",
                "app.pem",
                ".dockerconfigjson",
            ),
            "19:25 error UNSUITABLE_FILE secretObjects[0].data[0].objectName",
        ),
        (
            only("kubernetes.io/ssh-auth", "signing", "ssh-privatekey"),
            "19:25 warning UNSUITABLE_FILE secretObjects[0].data[0].objectName",
        ),
        // Labels and annotations.
        (
            entry("labels: {a b: c}"),
            "20:14 error INVALID_SECRET_OBJECT secretObjects[0].labels",
        ),
        (
            entry("labels: {Example.com/a: c}"),
            "20:14 error INVALID_SECRET_OBJECT secretObjects[0].labels",
        ),
        (
            entry("labels: {a/b/c: c}"),
            "20:14 error INVALID_SECRET_OBJECT secretObjects[0].labels",
        ),
        (
            entry("labels: {a: b c}"),
            "20:17 error INVALID_SECRET_OBJECT secretObjects[0].labels",
        ),
        (
            entry(&format!("labels: {{a: {long63}}}")),
            "20:17 error INVALID_SECRET_OBJECT secretObjects[0].labels",
        ),
        (
            entry("labels: {a: true}"),
            "20:17 error NOT_A_STRING secretObjects[0].labels.a",
        ),
        (
            entry("labels: [a]"),
            "20:13 error INVALID_MANIFEST secretObjects[0].labels",
        ),
        (
            entry("labels: {secrets-store.csi.k8s.io/managed: \"false\"}"),
            "20:48 warning NO_EFFECT secretObjects[0].labels",
        ),
        (
            entry("annotations: {a b: c}"),
            "20:19 error INVALID_SECRET_OBJECT secretObjects[0].annotations",
        ),
        (
            entry("annotations: {a: 1}"),
            "20:22 error NOT_A_STRING secretObjects[0].annotations.a",
        ),
        (
            entry(&format!("annotations: {{a: {huge}}}")),
            "20:18 error INVALID_SECRET_OBJECT secretObjects[0].annotations",
        ),
        // What is no Secret at all.
        (
            of("type: Opaque"),
            "17:5 error INVALID_SECRET_OBJECT secretObjects[0].data",
        ),
        (
            of("type: Opaque\n    data: {}"),
            "19:11 error INVALID_MANIFEST secretObjects[0].data",
        ),
        (
            of("type: Opaque\n    data: [k]"),
            "19:12 error INVALID_MANIFEST secretObjects[0].data[0]",
        ),
        (
            "  - text\n".to_owned(),
            "17:5 error INVALID_MANIFEST secretObjects[0]",
        ),
    ] {
        let found = findings(&with_secrets(&secrets), &[]);
        let said: Vec<_> = found.iter().map(short).collect();
        assert!(
            said.contains(&expected.to_owned()),
            "{secrets}: {expected}: {said:?}"
        );
        for finding in found {
            assert!(!finding["fix"].as_str().unwrap().is_empty(), "{finding}");
        }
    }
}

#[test]
fn metadata_that_the_api_server_refuses_is_found() {
    let good = class("c", PARAMETERS);
    assert!(
        findings(&good, &["--strict"])
            .iter()
            .all(|finding| finding["severity"] == "note")
    );
    for (metadata, expected) in [
        ("name: My_Class", "4:9 error INVALID_MANIFEST metadata.name"),
        ("name: 12", "4:9 error NOT_A_STRING metadata.name"),
        (
            "name: c\n  namespace: a.b",
            "5:14 error INVALID_MANIFEST metadata.namespace",
        ),
        (
            "name: c\n  labels: {a: -b}",
            "5:15 error INVALID_MANIFEST metadata.labels",
        ),
        (
            "name: c\n  annotations: {a: yes}",
            "5:20 error NOT_A_STRING metadata.annotations.a",
        ),
    ] {
        let manifest = good.replacen("name: c", metadata, 1);
        let said: Vec<_> = findings(&manifest, &[]).iter().map(short).collect();
        assert!(said.contains(&expected.to_owned()), "{metadata}: {said:?}");
    }
    // What etcd does not take, and what kubectl apply does not take.
    let large = |bytes: usize| {
        let comment = format!("# {}", "a".repeat(bytes));
        good.replacen("objects: |", &format!("objects: |\n      {comment}"), 1)
    };
    for (bytes, expected) in [
        (1 << 20, "1:1 warning TOO_LARGE "),
        (3 << 19, "1:1 error TOO_LARGE "),
    ] {
        let said: Vec<_> = findings(&large(bytes), &[]).iter().map(short).collect();
        assert!(said.contains(&expected.to_owned()), "{bytes}: {said:?}");
    }
}

#[test]
fn identifiers_that_cannot_be_one_are_pointed_out() {
    let good = Class::of_secret("a");
    let resource = "/subscriptions/42ddc44e-97dd-4c3b-bf8a-31c785e24c67/resourcegroups/rg/providers/\
                    Microsoft.ManagedIdentity/userAssignedIdentities/chat";
    let guid = "e502213f-1f15-4f03-9fb4-b546f51aafe9";
    for (name, value, warned) in [
        ("tenantId", guid, false),
        ("tenantId", "contoso.onmicrosoft.com", false),
        ("tenantId", "contoso", true),
        ("tenantId", "common", true),
        ("tenantId", "42ddc44e-97dd-4c3b-bf8a-31c785e24c6", true),
        ("clientID", guid, false),
        ("clientID", "chat-backend", true),
        ("userAssignedIdentityID", guid, false),
        (
            "userAssignedIdentityID",
            "objectID:e502213f-1f15-4f03-9fb4-b546f51aafe9",
            false,
        ),
        ("userAssignedIdentityID", resource, false),
        ("userAssignedIdentityID", "chat", true),
        ("userAssignedIdentityID", "/subscriptions/s/rg/chat", true),
    ] {
        let manifest = good.clone().with(name, value).manifest();
        let found = findings(&manifest, &[]);
        let found: Vec<_> = found
            .iter()
            .filter(|finding| finding["reason"] == "INVALID_ID")
            .collect();
        assert_eq!(
            found.len(),
            usize::from(warned),
            "{name}: {value}: {found:?}"
        );
        for finding in found {
            assert_eq!(
                (&finding["severity"], &finding["field"]),
                (&"warning".into(), &name.into())
            );
            let line = usize::try_from(finding["line"].as_u64().unwrap()).unwrap();
            assert!(
                manifest.lines().nth(line - 1).unwrap().contains(value),
                "{finding}"
            );
        }
    }
    // What a mount refuses is said once.
    let found = findings(&good.with("clientID", "a b").manifest(), &[]);
    assert!(
        found
            .iter()
            .all(|finding| finding["reason"] != "INVALID_ID"),
        "{found:?}"
    );
}
