use super::*;

/// A file of one context.
fn parse(server: &str, cluster: &str, user: &str) -> Result<Kubeconfig, KubeconfigError> {
    let text = format!(
        "apiVersion: v1\nkind: Config\npreferences: {{}}\ncurrent-context: here\n\
         contexts:\n- name: there\n  context: {{cluster: x, user: y}}\n\
         - name: here\n  context: {{cluster: k, user: u, namespace: left-out}}\n\
         clusters:\n- name: k\n  cluster: {{server: '{server}', {cluster}}}\n\
         users:\n- name: u\n  user: {{{user}}}\n"
    );
    Kubeconfig::parse(text.as_bytes(), Path::new("/etc/k"))
}

#[test]
fn the_current_context_counts() {
    let read = parse(
        "https://api.example:6443/k8s/clusters/c-1",
        "certificate-authority: ca.crt, tls-server-name: kubernetes",
        "token: t, client-certificate: /c.crt, client-key-data: a2V5, extensions: []",
    );
    let file = |path: &str| Source::File(path.into());
    let expected = Kubeconfig {
        server: Url::parse("https://api.example:6443/k8s/clusters/c-1").unwrap(),
        tls_name: Some("kubernetes".to_owned()),
        authorities: Some(file("/etc/k/ca.crt")),
        login: Login {
            token: Some(Source::Inline("t".to_owned().into())),
            certificate: Some((file("/c.crt"), Source::Inline("key".to_owned().into()))),
        },
    };
    assert_eq!(read, Ok(expected));
    // JSON is YAML.
    let json = r#"{"current-context":"c","contexts":[{"name":"c","context":{"cluster":"k","user":"u"}}],
        "clusters":[{"name":"k","cluster":{"server":"https://a"}}],"users":[{"name":"u","user":{"tokenFile":"t"}}]}"#;
    let read = Kubeconfig::parse(json.as_bytes(), Path::new("/")).unwrap();
    assert_eq!(
        (read.authorities, read.login.token),
        (None, Some(file("/t")))
    );
}

#[test]
fn a_cluster_that_cannot_be_used_is_refused_by_its_name() {
    let good = "https://api.example";
    for (server, cluster, user, words) in [
        (
            "http://api.example",
            "",
            "token: t",
            "server of cluster \"k\": expected an https URL",
        ),
        (
            "http://127.0.0.1:8001",
            "",
            "token: t",
            "expected an https URL",
        ),
        (
            "https://user@api.example",
            "",
            "token: t",
            "expected an https URL",
        ),
        (
            "https://api.example/?a",
            "",
            "token: t",
            "expected an https URL",
        ),
        ("", "", "token: t", "expected an https URL"),
        (
            good,
            "insecure-skip-tls-verify: true",
            "token: t",
            "insecure-skip-tls-verify of cluster \"k\" is not supported",
        ),
        (
            good,
            "proxy-url: 'http://p'",
            "token: t",
            "proxy-url of cluster \"k\" is not supported",
        ),
        (
            good,
            "certificate-authority-data: '***'",
            "token: t",
            "certificate-authority-data of cluster \"k\": expected base64",
        ),
    ] {
        let error = parse(server, cluster, user).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_user_that_cannot_be_used_is_refused_by_its_name() {
    for (user, words) in [
        (
            "exec: {command: aws, apiVersion: v1}",
            "exec of user \"u\" is not supported; use tokenFile",
        ),
        (
            "auth-provider: {name: gcp}",
            "auth-provider of user \"u\" is not supported",
        ),
        (
            "username: canary, password: canary",
            "username of user \"u\" is not supported",
        ),
        (
            "password: canary",
            "password of user \"u\" is not supported",
        ),
        (
            "token: canary, as: admin",
            "as of user \"u\" is not supported",
        ),
        (
            "token: canary, as-uid: '1'",
            "as-uid of user \"u\" is not supported",
        ),
        (
            "token: canary, as-groups: [g]",
            "as-groups of user \"u\" is not supported",
        ),
        (
            "token: canary, as-user-extra: {a: [b]}",
            "as-user-extra of user \"u\" is not supported",
        ),
        (
            "client-certificate: c",
            "user \"u\" needs client-certificate and client-key, or neither",
        ),
        ("client-key-data: Y2FuYXJ5", "or neither"),
        (
            "client-key-data: canary!",
            "client-key-data of user \"u\": expected base64",
        ),
        (
            "",
            "user \"u\" has neither token, tokenFile nor client-certificate",
        ),
        (
            "token: [canary]",
            "expected a kubeconfig, found something else at line 15 column",
        ),
    ] {
        let error = parse("https://api.example", "", user)
            .unwrap_err()
            .to_string();
        assert!(error.contains(words), "{error}");
        assert!(!error.contains("canary"), "{error}");
    }
}

#[test]
fn what_is_no_kubeconfig_is_refused() {
    let context = "current-context: a\ncontexts: [{name: a, context: {cluster: k, user: u}}]\n";
    let cluster = format!("{context}clusters: [{{name: k, cluster: {{server: https://a}}}}]\n");
    let bomb = format!("a: &a [1,1,1,1]\n{}", "b: [*a,*a,*a,*a]\n".repeat(2000));
    for (text, words) in [
        ("", "current-context is missing"),
        ("1", "expected a kubeconfig"),
        ("canary: {", "expected a kubeconfig"),
        ("kind: Config", "current-context is missing"),
        ("current-context: ''", "current-context is missing"),
        ("current-context: a", "there is no context \"a\""),
        (context, "there is no cluster \"k\""),
        (&cluster, "there is no user \"u\""),
        (&bomb, "expected a kubeconfig"),
    ] {
        let error = Kubeconfig::parse(text.as_bytes(), Path::new("/")).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert!(!error.to_string().contains("canary"), "{error}");
    }
    let error = Kubeconfig::parse(&[0xff], Path::new("/")).unwrap_err();
    assert_eq!(error, KubeconfigError::NotText);
}
