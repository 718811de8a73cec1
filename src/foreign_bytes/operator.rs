//! What operators write: the policy, the file of an Azure Stack's endpoints, a kubeconfig file, a proxy's URL. Those who do may
//! make mistakes, and the files may come from a template that a pod's author can influence.

use std::path::Path;

use url::Url;

use super::answers::usual_transport;
use super::{CANARY, Secrets, count, parts};
use crate::class::cloud::environment_file;
use crate::class::cloud::{Cloud, VaultName};
use crate::class::parameters::Parameters;
use crate::class::plan::{Conventions, HistoryCount, Plan};
use crate::class::request::{Pod, Request};
use crate::cluster::Kubeconfig;
use crate::policy::Policy;
use crate::transport::leads_out;

/// The policy of `--policy`; a namespace and a service account may follow it, between lines of `%%`.
pub fn policy(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let mut texts = parts(text.as_bytes()).filter_map(|part| std::str::from_utf8(part).ok());
    let rules = texts.next().unwrap_or_default();
    let policy = match Policy::parse(rules) {
        Ok(policy) => policy,
        Err(error) => return Secrets::NONE.keep_out_of(&error.to_string()),
    };
    let pod = Pod {
        name: "p".to_owned(),
        namespace: texts.next().unwrap_or("chat").to_owned(),
        service_account: texts.next().unwrap_or("app").to_owned(),
        ..Pod::default()
    };
    let plan = plan();
    match policy.check(&pod, &plan, &Cloud::public()) {
        Ok(()) => {
            let fits = |byte: u8| {
                byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte)
            };
            assert!(policy.len() > 0, "no rule allows it");
            assert!(
                !pod.namespace.is_empty() && pod.namespace.bytes().all(fits),
                "{:?} is no namespace",
                pod.namespace
            );
        }
        Err(refusal) => Secrets::NONE.keep_out_of(&refusal.to_string()),
    }
    // What a rule allows names a namespace, and this is none.
    let nobody = Pod {
        namespace: "a/b".to_owned(),
        ..pod
    };
    assert!(policy.check(&nobody, &plan, &Cloud::public()).is_err());
}

/// The file of `--kubeconfig`.
pub fn kubeconfig(input: &[u8]) {
    match Kubeconfig::parse(input, Path::new("/etc/kubernetes")) {
        Ok(read) => {
            assert!(read.server.scheme() == "https" && read.server.has_host());
            assert!(read.server.username().is_empty() && read.server.password().is_none());
            let login = &read.login;
            assert!(login.token.is_some() || login.certificate.is_some());
            let is_token = login.token.as_ref().is_some_and(|token| token.says(CANARY));
            if is_token && count(input, CANARY.as_bytes()) == 1 {
                assert!(!format!("{read:?}").contains(CANARY), "the token is shown");
            }
        }
        // Which names the clusters and users of, and quotes nothing else.
        Err(error) => Secrets::NONE.keep_out_of(&error.to_string()),
    }
}

fn plan() -> Plan {
    let attributes = serde_json::json!({
        "csi.storage.k8s.io/pod.name": "p",
        "csi.storage.k8s.io/pod.namespace": "n",
        "keyvaultName": "chat-kv",
        "tenantId": "t",
        "useVMManagedIdentity": "true",
        "objects": "array: [{objectName: a, objectType: secret}, {objectName: b, objectType: key}]",
    });
    let conventions = Conventions {
        history: HistoryCount::Go,
        construct_pem_chain: true,
        separate_files: false,
    };
    let request = Request::parse(&attributes.to_string(), "", "420");
    let planned = request.ok().and_then(|request| {
        let parameters = Parameters::parse(&request).ok()?;
        Plan::new(
            parameters,
            Cloud::public(),
            conventions,
            request.default_mode,
        )
        .ok()
    });
    planned.unwrap_or_else(|| panic!("a class that is right is refused"))
}

/// The file with the endpoints of an Azure Stack.
pub fn environment_file(input: &[u8]) {
    let cloud = match environment_file::parse(Path::new("/e/stack.json"), input) {
        Ok(cloud) => cloud,
        Err(error) => return Secrets::NONE.keep_out_of(&error.to_string()),
    };
    let authority = Url::parse(cloud.authority());
    assert!(
        authority.is_ok_and(|url| {
            url.scheme() == "https" && url.origin().ascii_serialization() == cloud.authority()
        }),
        "{}",
        cloud.authority()
    );
    let vault = VaultName::new("kv1").unwrap_or_else(|| panic!("a good name is refused"));
    let host = cloud.vault_host(&vault);
    let url = Url::parse(&format!("https://{host}"));
    assert!(
        url.is_ok_and(|url| url.host_str() == Some(host.as_str()) && url.domain().is_some()),
        "{host}"
    );
}

/// A variable such as `HTTPS_PROXY`. What is taken for a proxy is gone through: otherwise requests would go out
/// directly, and nobody would know.
pub fn proxy(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    // An empty one counts as none, and the environment cannot have a NUL in it.
    if !text.is_empty() && !text.contains('\0') {
        let goes_by_proxy = leads_out(text, usual_transport().trust());
        assert_ne!(goes_by_proxy, Some(false), "{text:?} is passed over");
    }
}
