use std::fs;

use tempfile::TempDir;

use super::*;
use crate::cluster::test_server::{self, Fault};
use crate::observe::metrics::Metrics;
use crate::text::excerpt::causes;
use crate::transport::TransportSettings;

fn transport() -> Transport {
    Transport::new(&TransportSettings::default(), &Metrics::default()).unwrap()
}

fn service(host: &str, port: u16) -> ServiceAddress {
    ServiceAddress {
        host: host.to_owned(),
        port,
    }
}

/// A pod's folder of its service account.
fn service_account(server: &test_server::ApiServer) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("token"), format!("{}\n", server.token())).unwrap();
    fs::write(folder.path().join("ca.crt"), server.ca_pem()).unwrap();
    folder
}

fn in_cluster(server: &test_server::ApiServer, folder: &TempDir) -> ApiServer {
    let address = server.address();
    let service = service(&address.ip().to_string(), address.port());
    let found = ApiServer::of_service_account(&transport(), &service, folder.path());
    found.unwrap().unwrap()
}

/// What comes of a question.
async fn asked(api: &ApiServer) -> Result<bool, ClusterError> {
    let status = api.pod_status("shop", "web-0", "kv").await?;
    Ok(status.is_some())
}

#[tokio::test]
async fn a_pod_asks_as_its_service_account_and_follows_its_files() {
    let server = test_server::ApiServer::start().await;
    let folder = service_account(&server);
    let api = in_cluster(&server, &folder);
    assert!(!asked(&api).await.unwrap());
    server.set_status(("shop", "web-0", "u-1"), "kv", "/m", &[("secret/a", "1")]);
    let status = api
        .pod_status("shop", "web-0", "kv")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(status.pod_uid.as_deref(), Some("u-1"));
    assert_eq!(status.objects["secret/a"], "1");
    // No library shows the token, nor does HTTP/2 keep it in a table.
    assert!(api.token().unwrap().unwrap().is_sensitive());
    // The API server takes another token now, and then the kubelet writes it.
    server.set_token("rotated");
    let refused = asked(&api).await.unwrap_err();
    assert!(matches!(refused, ClusterError::Unauthorized) && refused.is_transient());
    fs::write(folder.path().join("token"), "rotated").unwrap();
    assert!(asked(&api).await.unwrap());
    assert_eq!(server.connections(), 1);
    // Another CA, and again the first.
    let other = test_server::ApiServer::start().await;
    fs::write(folder.path().join("ca.crt"), other.ca_pem()).unwrap();
    let error = causes(&asked(&api).await.unwrap_err());
    assert!(
        error.contains("not signed by the trusted issuer"),
        "{error}"
    );
    fs::write(folder.path().join("ca.crt"), server.ca_pem()).unwrap();
    assert!(asked(&api).await.unwrap());
    // Files that are gone or empty are said, and never what was in them.
    fs::write(folder.path().join("token"), "ro\ntated").unwrap();
    let error = causes(&asked(&api).await.unwrap_err());
    assert!(
        error.contains("expected a token") && !error.contains("tated"),
        "{error}"
    );
    fs::remove_file(folder.path().join("token")).unwrap();
    let error = causes(&asked(&api).await.unwrap_err());
    assert!(error.contains("token: it cannot be read"), "{error}");
    assert!(!format!("{api:?}").contains("rotated"));
}

#[tokio::test]
async fn names_that_kubernetes_could_not_have_are_not_asked_for() {
    let server = test_server::ApiServer::start().await;
    let folder = service_account(&server);
    let api = in_cluster(&server, &folder);
    let long = "x".repeat(250);
    for (namespace, pod, class) in [
        ("", "p", "c"),
        ("../kube-system", "p", "c"),
        ("n", "p/../../x", "c"),
        ("n", "p", "c?watch=true"),
        ("n", "p", "c%2f"),
        ("n", "p", "C"),
        ("n", "p", ""),
        ("n", "p", &long),
    ] {
        assert_eq!(api.pod_status(namespace, pod, class).await.unwrap(), None);
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn what_the_api_server_says_is_told_apart() {
    let server = test_server::ApiServer::start().await;
    let folder = service_account(&server);
    let api = in_cluster(&server, &folder);
    for (fault, is_transient, words) in [
        (Fault::Answer(403), false, "forbids it: a fault of the test"),
        (
            Fault::Answer(422),
            false,
            "refuses it (HTTP status 422): a fault",
        ),
        (Fault::Answer(500), true, "HTTP status 500"),
        (Fault::Throttle(7), true, "too much to do (HTTP status 429)"),
    ] {
        server.fail(1, None, fault);
        let error = asked(&api).await.unwrap_err();
        assert_eq!(error.is_transient(), is_transient, "{error}");
        assert!(error.to_string().contains(words), "{error}");
        let asked_for = (fault == Fault::Throttle(7)).then_some(Duration::from_secs(7));
        assert_eq!(error.retry_after(), asked_for);
    }
    drop(server);
    let error = asked(&api).await.unwrap_err();
    assert!(
        matches!(error, ClusterError::Transport(_)) && error.is_transient(),
        "{error}"
    );
}

#[tokio::test]
async fn a_kubeconfig_file_says_where_and_as_whom() {
    let server = test_server::ApiServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config");
    let (certificate, key) = server.client_certificate();
    fs::write(folder.path().join("ca.crt"), server.ca_pem()).unwrap();
    fs::write(folder.path().join("token"), server.token()).unwrap();
    fs::write(folder.path().join("client.crt"), certificate).unwrap();
    fs::write(folder.path().join("client.key"), key).unwrap();
    let base64 = |text: &str| {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(text)
    };
    let ca = format!("certificate-authority-data: {}", base64(server.ca_pem()));
    let inline = format!(
        "client-certificate-data: {}, client-key-data: {}",
        base64(certificate),
        base64(key)
    );
    let token = format!("token: {}", server.token());
    for (cluster, user) in [
        ("certificate-authority: ca.crt", &*token),
        (&ca, "tokenFile: token"),
        // The file goes before.
        (&ca, "token: wrong, tokenFile: token"),
        (&ca, &inline),
        (
            &ca,
            "client-certificate: client.crt, client-key: client.key",
        ),
        (&format!("{ca}, tls-server-name: localhost"), &token),
    ] {
        let text = kubeconfig(&format!("https://{}", server.address()), cluster, user);
        fs::write(&path, text).unwrap();
        let api = ApiServer::from_kubeconfig(&transport(), &path).unwrap();
        assert!(!asked(&api).await.unwrap(), "{cluster} {user}");
    }
    // A name that its certificate has not.
    let cluster = format!("{ca}, tls-server-name: other.example");
    let text = kubeconfig(&format!("https://{}", server.address()), &cluster, &token);
    fs::write(&path, text).unwrap();
    let api = ApiServer::from_kubeconfig(&transport(), &path).unwrap();
    let error = causes(&asked(&api).await.unwrap_err());
    assert!(error.contains("it is for another host"), "{error}");
    // A key that belongs to another certificate.
    let other = test_server::ApiServer::start().await;
    fs::write(
        folder.path().join("client.key"),
        other.client_certificate().1,
    )
    .unwrap();
    let user = "client-certificate: client.crt, client-key: client.key";
    let text = kubeconfig(&format!("https://{}", server.address()), &ca, user);
    fs::write(&path, text).unwrap();
    let api = ApiServer::from_kubeconfig(&transport(), &path).unwrap();
    let error = causes(&asked(&api).await.unwrap_err());
    assert!(error.contains("client certificate"), "{error}");
}

/// A file of one context.
fn kubeconfig(server: &str, cluster: &str, user: &str) -> String {
    format!(
        "current-context: c\n\
         contexts: [{{name: c, context: {{cluster: k, user: u, namespace: n}}}}]\n\
         clusters: [{{name: k, cluster: {{server: '{server}', {cluster}}}}}]\n\
         users: [{{name: u, user: {{{user}}}}}]\n"
    )
}

#[tokio::test]
async fn the_kubelet_says_where_the_api_server_is() {
    let folder = tempfile::tempdir().unwrap();
    let found = |host: &str| {
        let service = service(host, 6443);
        let found = ApiServer::of_service_account(&transport(), &service, folder.path());
        found.map(|api| api.map(|api| api.url().to_string()))
    };
    // No token, no API server, whatever is said of it.
    assert_eq!(found("").unwrap(), None);
    fs::write(folder.path().join("token"), "t").unwrap();
    for (host, expected) in [
        ("10.0.0.1", "https://10.0.0.1:6443/"),
        ("fd00::1", "https://[fd00::1]:6443/"),
        ("[fd00::1]", "https://[fd00::1]:6443/"),
        ("api.example", "https://api.example:6443/"),
    ] {
        assert_eq!(found(host).unwrap().as_deref(), Some(expected));
    }
    assert!(matches!(found(""), Err(ClusterSetupError::NoAddress)));
    for host in ["a/b", "user@host", "a b"] {
        assert!(
            matches!(found(host), Err(ClusterSetupError::Address)),
            "{host}"
        );
    }
}

#[tokio::test]
async fn settings_lead_to_an_api_server_or_to_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config");
    fs::write(&path, kubeconfig("https://a.example", "", "token: t")).unwrap();
    let settings = |pod_events, kubeconfig: Option<&Path>| ClusterSettings {
        pod_events,
        kubeconfig: kubeconfig.map(Path::to_owned),
        service: service("", 443),
    };
    let found = |pod_events, kubeconfig| {
        ApiServer::of_settings(&transport(), &settings(pod_events, kubeconfig))
    };
    let absent = folder.path().join("absent");
    assert!(
        found(PodEventsChoice::Off, Some(&absent))
            .unwrap()
            .is_none()
    );
    for choice in [PodEventsChoice::Auto, PodEventsChoice::On] {
        let api = found(choice, Some(&path)).unwrap().unwrap();
        assert_eq!(api.url().as_str(), "https://a.example/");
        // A file that is named has to be there.
        let error = causes(&found(choice, Some(&absent)).unwrap_err());
        assert!(
            error.contains("--kubeconfig") && error.contains("absent"),
            "{error}"
        );
    }
    // A test may itself run in a cluster.
    if !Path::new(SERVICE_ACCOUNT).join("token").exists() {
        assert!(found(PodEventsChoice::Auto, None).unwrap().is_none());
        let error = found(PodEventsChoice::On, None).unwrap_err().to_string();
        assert!(error.contains("--pod-events=true needs"), "{error}");
    }
}

#[test]
fn an_object_has_a_name_that_needs_no_escape() {
    for name in ["a", "0", "a-b.c-1", &"x".repeat(253)] {
        assert!(is_object_name(name), "{name}");
    }
    for name in [
        "",
        "-a",
        "a-",
        ".",
        "a..b",
        "a.",
        "A",
        "a_b",
        "a/b",
        "é",
        &"x".repeat(254),
    ] {
        assert!(!is_object_name(name), "{name}");
    }
}
