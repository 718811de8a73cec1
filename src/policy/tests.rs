//! Policies as text, and what they say to plans.

use serde_json::json;

use super::*;
use crate::class::cloud::CloudChoice;
use crate::class::file_mode::FileMode;
use crate::class::parameters::Parameters;
use crate::class::plan::{Conventions, HistoryCount};
use crate::class::request::Request;

const NODE: &str = "e502213f-1f15-4f03-9fb4-b546f51aafe9";

/// What is asked for, where a case says nothing else: attributes of a call.
const ASKED: [(&str, &str); 8] = [
    ("csi.storage.k8s.io/pod.name", "chat-0"),
    ("csi.storage.k8s.io/pod.namespace", "chat"),
    ("csi.storage.k8s.io/serviceAccount.name", "backend"),
    ("keyvaultName", "chat-kv"),
    ("tenantID", "t"),
    ("useVMManagedIdentity", "true"),
    ("userAssignedIdentityID", NODE),
    ("objects", "[{objectName: KEY, objectType: secret}]"),
];

fn check(policy: &str, asked: &[(&str, &str)]) -> Result<(), String> {
    let mut attributes = json!({});
    for (name, value) in ASKED.iter().chain(asked) {
        attributes[*name] = (*value).into();
    }
    let secrets = r#"{"clientid":"app","clientsecret":"s"}"#;
    let request = Request::parse(&attributes.to_string(), secrets, "420").unwrap();
    let parameters = Parameters::parse(&request).unwrap();
    let cloud = match &parameters.cloud {
        CloudChoice::Known(cloud) => cloud.clone(),
        _ => Cloud::public(),
    };
    let conventions = Conventions {
        history: HistoryCount::Documented,
        construct_pem_chain: true,
        separate_files: false,
    };
    let plan = Plan::new(
        parameters,
        cloud,
        conventions,
        FileMode::new(0o644).unwrap(),
    )
    .unwrap();
    Policy::parse(policy)
        .unwrap()
        .check(&request.pod, &plan, &Cloud::public())
        .map_err(|refusal| refusal.to_string())
}

/// A policy of one rule with these fields beside its name.
fn rule(fields: &str) -> String {
    format!("rules: [{{name: r, {fields}}}]")
}

const TWO: (&str, &str) = (
    "objects",
    "[{objectName: KEY, objectType: secret}, {objectName: tls, objectType: cert}]",
);
const NAMESPACE: &str = "csi.storage.k8s.io/pod.namespace";
const SERVICE_ACCOUNT: &str = "csi.storage.k8s.io/serviceAccount.name";
const TOKENS: (&str, &str) = (
    "csi.storage.k8s.io/serviceAccount.tokens",
    r#"{"api://AzureADTokenExchange":{"token":"a.b.c"},"api://AKSIdentityBinding":{"token":"a.b.c"}}"#,
);
const RESOURCE: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/chat";

/// Fields of a rule, what is asked for, and the fields that do not fit.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str);

fn judge(cases: &[Case<'_>]) {
    for (fields, asked, expected) in cases {
        let result = check(&rule(fields), asked);
        let said = match &result {
            Ok(()) => "",
            Err(refusal) => {
                refusal
                    .split_once("the nearest rule, r, does not fit by its ")
                    .unwrap_or_else(|| panic!("{refusal}"))
                    .1
            }
        };
        assert_eq!(said, *expected, "{fields} {asked:?}");
    }
}

#[test]
fn pods_are_known_by_namespace_and_service_account() {
    judge(&[
        ("namespaces: [chat], vaults: [chat-kv]", &[], ""),
        ("namespaces: [x, ch*], vaults: ['*']", &[], ""),
        // Namespaces and service accounts are the kubelet's, and compared as they are.
        ("namespaces: [chat-2], vaults: [chat-kv]", &[], "namespaces"),
        (
            "namespaces: ['*'], vaults: ['*']",
            &[(NAMESPACE, "Chat")],
            "namespaces",
        ),
        (
            "namespaces: ['*'], vaults: ['*']",
            &[(NAMESPACE, "ch\u{430}t")],
            "namespaces",
        ),
        (
            "namespaces: [chat], serviceAccounts: [backend], vaults: [chat-kv]",
            &[],
            "",
        ),
        (
            "namespaces: [chat], serviceAccounts: ['back*'], vaults: [chat-kv]",
            &[],
            "",
        ),
        (
            "namespaces: [chat], serviceAccounts: [front], vaults: [chat-kv]",
            &[],
            "serviceAccounts",
        ),
        // Nobody's service account is no service account, not even any.
        (
            "namespaces: [chat], serviceAccounts: ['*'], vaults: [chat-kv]",
            &[(SERVICE_ACCOUNT, "")],
            "serviceAccounts",
        ),
        (
            "namespaces: [chat], vaults: [chat-kv]",
            &[(SERVICE_ACCOUNT, "")],
            "",
        ),
    ]);
}

#[test]
fn vaults_are_known_by_name_in_the_default_cloud_or_by_host() {
    judge(&[
        // Vaults have no case, and a name is a name in the default cloud.
        (
            "namespaces: [chat], vaults: [CHAT-kv]",
            &[("keyvaultName", "Chat-KV")],
            "",
        ),
        (
            "namespaces: [chat], vaults: [chat-kv2, 'hat*', '*-k']",
            &[],
            "vaults",
        ),
        (
            "namespaces: [chat], vaults: ['*']",
            &[("cloudName", "AzureChinaCloud")],
            "vaults",
        ),
        (
            "namespaces: [chat], vaults: [chat-kv.vault.azure.cn]",
            &[("cloudName", "AzureChinaCloud")],
            "",
        ),
        (
            "namespaces: [chat], vaults: [chat-kv.vault.azure.cn]",
            &[],
            "vaults",
        ),
        ("namespaces: [chat], vaults: ['*.Vault.Azure.net']", &[], ""),
        ("namespaces: [chat], vaults: ['*.azure.net']", &[], "vaults"),
    ]);
}

#[test]
fn identities_are_known_by_kind_and_id() {
    judge(&[
        (
            "namespaces: [chat], vaults: ['*'], identities: {managed: ['*']}",
            &[],
            "",
        ),
        (
            "namespaces: [chat], vaults: ['*'], identities: {workload: ['*']}",
            &[],
            "identities",
        ),
        (
            "namespaces: [chat], vaults: ['*'], identities: {managed: [E502213F-1F15-4F03-9FB4-B546F51AAFE9]}",
            &[],
            "",
        ),
        (
            "namespaces: [chat], vaults: ['*'], identities: {managed: [e502213f], workload: ['*']}",
            &[],
            "identities",
        ),
        (
            "namespaces: [chat], vaults: ['*'], identities: {managed: ['objectID:o1']}",
            &[("userAssignedIdentityID", "objectid:O1")],
            "",
        ),
        (
            "namespaces: [chat], vaults: ['*'], identities: {managed: [o1]}",
            &[("userAssignedIdentityID", "objectid:O1")],
            "identities",
        ),
        (
            "namespaces: [chat], vaults: ['*'], identities: {managed: [/subscriptions/S/resourcegroups/g/providers/\
             Microsoft.ManagedIdentity/userAssignedIdentities/chat]}",
            &[("userAssignedIdentityID", RESOURCE)],
            "",
        ),
        (
            "namespaces: [chat], vaults: ['*'], identities: {managed: [systemAssigned]}",
            &[("userAssignedIdentityID", "")],
            "",
        ),
        (
            "namespaces: [chat], vaults: ['*'], identities: {managed: [systemAssigned]}",
            &[],
            "identities",
        ),
        (
            "namespaces: [chat], vaults: ['*'], identities: {workload: [c1]}",
            &[("useVMManagedIdentity", ""), ("clientID", "c1"), TOKENS],
            "",
        ),
        (
            "namespaces: [chat], vaults: ['*'], identities: {workload: [c1], managed: ['*']}",
            &[("useVMManagedIdentity", ""), ("clientID", "c2"), TOKENS],
            "identities",
        ),
        (
            "namespaces: [chat], vaults: ['*'], identities: {workload: ['*']}",
            &[
                ("useVMManagedIdentity", ""),
                ("useAzureTokenProxy", "true"),
                ("clientID", "c1"),
                TOKENS,
            ],
            "identities",
        ),
        (
            "namespaces: [chat], vaults: ['*'], identities: {servicePrincipal: [app]}",
            &[("useVMManagedIdentity", ""), ("userAssignedIdentityID", "")],
            "",
        ),
    ]);
}

#[test]
fn objects_are_known_by_kind_and_name() {
    judge(&[
        // Objects have no case, and a certificate is not the secret that has its key.
        ("namespaces: [chat], vaults: ['*'], objects: [key]", &[], ""),
        (
            "namespaces: [chat], vaults: ['*'], objects: [secret/K*]",
            &[],
            "",
        ),
        (
            "namespaces: [chat], vaults: ['*'], objects: [cert/KEY, key/KEY]",
            &[],
            "objects",
        ),
        (
            "namespaces: [chat], vaults: ['*'], objects: [KEY, cert/tls]",
            &[TWO],
            "",
        ),
        (
            "namespaces: [chat], vaults: ['*'], objects: [KEY]",
            &[TWO],
            "objects",
        ),
        // All that does not fit is said.
        (
            "namespaces: [x], serviceAccounts: [x], vaults: [x1x], identities: {binding: ['*']}, objects: [x]",
            &[],
            "namespaces, serviceAccounts, vaults, identities, objects",
        ),
    ]);
}

#[test]
fn each_object_needs_a_rule_and_no_rule_lends_a_field_to_another() {
    let two = [(
        "objects",
        "[{objectName: KEY, objectType: secret}, {objectName: ca, objectType: secret}]",
    )];
    let shared = "rules: [{name: own, namespaces: [chat], vaults: [chat-kv], objects: [KEY]}, \
                  {name: shared, namespaces: ['*'], vaults: [chat-kv], objects: [ca]}]";
    assert_eq!(check(shared, &two), Ok(()));
    // The namespace of one rule and the vault of the other are no rule.
    let crossed = "rules: [{name: own, namespaces: [chat], vaults: [other]}, \
                   {name: others, namespaces: [pay], vaults: [chat-kv]}]";
    let refusal = check(crossed, &[]).unwrap_err();
    assert!(
        refusal.ends_with("the nearest rule, own, does not fit by its vaults"),
        "{refusal}"
    );
}

#[test]
fn a_refusal_says_who_wanted_what() {
    let objects = "[{objectName: a, objectType: secret}, {objectName: b, objectType: key}, \
                   {objectName: KEY, objectType: secret}]";
    let policy = "rules: [{name: first, namespaces: [pay], vaults: [chat-kv]}, \
                  {name: second, namespaces: [chat], vaults: [chat-kv], objects: [KEY]}, \
                  {name: third, namespaces: [chat], vaults: [pay-kv], objects: ['*']}]";
    assert_eq!(
        check(policy, &[("objects", objects)]).unwrap_err(),
        format!(
            "the provider's policy does not let namespace \"chat\", service account \"backend\", read \"secret/a\" \
             (and 1 more) from Key Vault \"chat-kv.vault.azure.net\" with managed identity \"{NODE}\": the nearest \
             rule, second, does not fit by its objects"
        )
    );
    let refusal = check("rules: []", &[]).unwrap_err();
    assert!(refusal.ends_with(": it has no rules"), "{refusal}");
}

#[test]
fn what_is_no_policy_is_refused_with_its_place() {
    let good = "- name: a\n  namespaces: [n]\n  vaults: [kv1]\n";
    for (text, message) in [
        (String::new(), ""),
        ("rules:".to_owned(), ""),
        ("- name: a".to_owned(), "line 1 column 1: "),
        ("rules: []\nrule: []\n".to_owned(), "line 2 column 1: "),
        (
            "rules:\n- name: a\n  vaults: [kv1]\n".to_owned(),
            "namespaces",
        ),
        (
            "rules:\n- namespaces: [n]\n  vaults: [kv1]\n".to_owned(),
            "name",
        ),
        (
            format!("rules:\n{good}  vault: [kv2]\n"),
            "line 5 column 3: ",
        ),
        (format!("rules:\n{good}  vault: [kv2]\n"), "vaults"),
        (
            format!("rules:\n{good}{good}"),
            "line 5 column 3: expected every rule to have a name of its own, found a second a",
        ),
        (format!("rules:\n{good}  objects:\n"), ""),
        (
            format!("rules:\n{good}  objects: []\n"),
            "at least one entry",
        ),
        (
            format!("rules:\n{good}  objects: [a_b]\n"),
            "line 5 column 13: ",
        ),
        (
            format!("rules:\n{good}  serviceAccounts: []\n"),
            "at least one entry",
        ),
        (format!("rules:\n{good}  serviceAccounts: null\n"), ""),
        (
            format!("rules:\n{good}  serviceAccounts: a\n"),
            "line 5 column 20: ",
        ),
        (format!("rules:\n{good}  identities:\n"), ""),
        (
            format!("rules:\n{good}  identities: {{}}\n"),
            "at least one of workload",
        ),
        (
            format!("rules:\n{good}  identities: [workload]\n"),
            "line 5",
        ),
        (
            format!("rules:\n{good}  identities: {{pod: ['*']}}\n"),
            "line 5",
        ),
        (
            format!("rules:\n{good}  identities: {{managed: []}}\n"),
            "at least one entry",
        ),
        (
            format!("rules:\n{good}  identities: {{managed: ['e5*']}}\n"),
            "expected * or an ID",
        ),
        (
            format!("rules:\n{good}  vaults: [kv2]\n"),
            "line 5 column 3: ",
        ),
        (
            "rules:\n- name: a b\n  namespaces: [n]\n  vaults: [kv1]\n".to_owned(),
            "line 2 column 9: ",
        ),
        (
            "rules:\n- name: a\n  namespaces: [N]\n  vaults: [kv1]\n".to_owned(),
            "line 3 column 16: ",
        ),
        ("rules: []\n---\nrules: []\n".to_owned(), ""),
        ("rules: [\n".to_owned(), "line "),
        (format!("rules: {}", "[".repeat(100_000)), "line "),
        (format!("rules: &a [{}]", "*a,".repeat(50_000)), ""),
    ] {
        let error = Policy::parse(&text).expect_err(&text).to_string();
        assert!(
            error.contains(message),
            "{text:?}: {error} should contain {message}"
        );
        assert!(!error.contains('\n') && error.len() < 400, "{error}");
    }
}

#[test]
fn the_policies_in_the_documentation_are_policies() {
    let page = include_str!("../../docs/policy.md");
    let blocks: Vec<_> = page
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split_once("```"))
        .map(|(block, _)| block)
        .filter(|block| block.starts_with("rules:"))
        .collect();
    assert!(blocks.len() >= 3, "{}", blocks.len());
    for block in blocks {
        assert!(Policy::parse(block).unwrap().len() > 0, "{block}");
    }
}
