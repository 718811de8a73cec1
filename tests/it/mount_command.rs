//! `provider-azure-rs mount`, as a developer runs it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Output;

use azure_emulator::{DEFAULT_TENANT, ObjectKind, Permissions};

use crate::support::provider::command;
use crate::support::{Node, VAULT};

const MANIFEST: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/examples/openai/secretproviderclass-azure-rs.yaml"
);

async fn mount(node: &Node, folder: &Path, arguments: &[&str]) -> Output {
    let target = folder.join("volume");
    command(&node.azure, folder)
        .arg("mount")
        .arg("--target")
        .arg(target)
        .args(arguments)
        .output()
        .await
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn the_example_is_mounted_with_and_without_a_running_provider() {
    let node = Node::start().await;
    let version = node.vault.set_secret("OPENAI-API-KEY", "sk-canary");
    let socket = format!("unix://{}", node.provider.socket().display());
    let upstream = MANIFEST.replace("-azure-rs.yaml", ".yaml");
    for arguments in [
        vec![MANIFEST],
        vec![MANIFEST, "--endpoint", &socket],
        vec![&upstream],
    ] {
        let folder = tempfile::tempdir().unwrap();
        let output = mount(&node, folder.path(), &arguments).await;
        assert!(output.status.success(), "{}", text(&output.stderr));
        let said = text(&output.stdout);
        for words in [
            "azure-kv-openai-secret",
            "OPENAI-API-KEY",
            "0644",
            &version,
            " 9  ",
        ] {
            assert!(said.contains(words), "{said} should contain {words}");
        }
        assert!(!said.contains("sk-canary"));
        let file = folder.path().join("volume/OPENAI-API-KEY");
        assert_eq!(
            fs::read_link(&file).unwrap(),
            Path::new("..data/OPENAI-API-KEY")
        );
        assert_eq!(fs::read(&file).unwrap(), b"sk-canary");
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o777,
            0o644
        );
    }
}

#[tokio::test]
async fn mounting_again_changes_what_has_changed_and_nothing_else() {
    let node = Node::start().await;
    let folder = tempfile::tempdir().unwrap();
    let data = || fs::read_link(folder.path().join("volume/..data")).unwrap();
    node.vault.set_secret("OPENAI-API-KEY", "before");
    assert!(text(&mount(&node, folder.path(), &[MANIFEST]).await.stdout).ends_with("written\n"));
    let first = data();
    assert!(text(&mount(&node, folder.path(), &[MANIFEST]).await.stdout).ends_with("unchanged\n"));
    assert_eq!(data(), first);
    node.vault.set_secret("OPENAI-API-KEY", "after");
    assert!(text(&mount(&node, folder.path(), &[MANIFEST]).await.stdout).ends_with("updated\n"));
    assert_ne!(data(), first);
    assert!(!folder.path().join("volume").join(first).exists());
    assert_eq!(
        fs::read(folder.path().join("volume/OPENAI-API-KEY")).unwrap(),
        b"after"
    );
    // A mount that fails leaves the files as they are.
    node.vault
        .delete(ObjectKind::Secret, "OPENAI-API-KEY")
        .unwrap();
    let output = mount(&node, folder.path(), &[MANIFEST]).await;
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(
        said.contains("error: the mount failed with NotFound: [KV_OBJECT_NOT_FOUND] "),
        "{said}"
    );
    assert_eq!(
        fs::read(folder.path().join("volume/OPENAI-API-KEY")).unwrap(),
        b"after"
    );
}

#[tokio::test]
async fn what_cannot_be_mounted_is_said() {
    let node = Node::start().await;
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, contents: &str| {
        let path = folder.path().join(name);
        fs::write(&path, contents).unwrap();
        path.display().to_string()
    };
    let class = |name: &str, provider: &str| {
        format!(
            "kind: SecretProviderClass\nmetadata:\n  name: {name}\nspec:\n  provider: {provider}\n"
        )
    };
    let missing = folder.path().join("none.yaml").display().to_string();
    let no_yaml = write("a.yaml", "a: [");
    let no_class = write("b.yaml", "kind: Secret\n");
    let two = write(
        "c.yaml",
        &format!("{}---\n{}", class("x", "azure-rs"), class("y", "azure-rs")),
    );
    let other = write("d.yaml", &class("x", "vault"));
    let no_parameters = write("e.yaml", &class("x", "azure-rs"));
    for (arguments, words) in [
        (
            vec![missing.as_str()],
            "none.yaml: cannot be read: No such file",
        ),
        (vec![&no_yaml], "expected a SecretProviderClass as YAML"),
        (
            vec![&no_class],
            "expected one SecretProviderClass, or --class-name, found none",
        ),
        (
            vec![&two],
            "expected one SecretProviderClass, or --class-name, found x, y",
        ),
        (vec![&two, "--class-name", "z"], "named z, found x, y"),
        (vec![&other], "expected azure-rs or azure, found \"vault\""),
        (vec![&no_parameters], "[INVALID_PARAMETER] keyvaultName"),
        (
            vec![&two, "--class-name", "y"],
            "[INVALID_PARAMETER] keyvaultName",
        ),
        (
            vec![MANIFEST, "--endpoint", "unix:///none.sock"],
            "no provider answers at /none.sock",
        ),
        (vec![MANIFEST, "--token-file", &missing], "--token-file"),
    ] {
        let output = mount(&node, folder.path(), &arguments).await;
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(
            said.starts_with("error: ") && said.contains(words),
            "{said} should contain {words}"
        );
    }
    assert_eq!(node.azure.counters().vault(VAULT).requests, 0);
}

#[tokio::test]
async fn the_pods_own_proofs_come_from_files() {
    let node = Node::start().await;
    let app = node
        .azure
        .entra()
        .application(DEFAULT_TENANT, "9b1d7f0e")
        .with_secret("s3cret")
        .with_service_account("chat", "chat");
    node.vault.grant(&app.object_id(), Permissions::read());
    node.vault.set_secret("S", "v");
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, contents: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, contents).unwrap();
        path.display().to_string()
    };
    let class = |identity: &str| {
        format!(
            "kind: SecretProviderClass\nmetadata: {{name: c}}\nspec:\n  provider: azure-rs\n  parameters:\n    \
             keyvaultName: {VAULT}\n    tenantID: {DEFAULT_TENANT}\n    {identity}\n    objects: |\n      array:\n      \
             - objectName: S\n        objectType: secret\n"
        )
    };
    let workload = write("workload.yaml", &class("clientID: 9b1d7f0e"));
    let principal = write("principal.yaml", &class("cloudName: AzurePublicCloud"));
    let hour = std::time::Duration::from_secs(3600);
    let audience = "api://AzureADTokenExchange";
    let token = write(
        "token",
        &node
            .azure
            .service_account_token("chat", "chat", audience, hour),
    );
    write("secret/clientid", "9b1d7f0e");
    let secret = write("secret/clientsecret", "s3cret");
    let secret = Path::new(&secret).parent().unwrap().display().to_string();
    for arguments in [
        [&workload, "--token-file", &token],
        [&principal, "--node-publish-secret", &secret],
    ] {
        let output = mount(&node, folder.path(), &arguments).await;
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert_eq!(fs::read(folder.path().join("volume/S")).unwrap(), b"v");
    }
}

#[tokio::test]
async fn a_token_that_is_missing_at_a_desk_is_not_the_drivers_fault() {
    let node = Node::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("workload.yaml");
    let class = format!(
        "kind: SecretProviderClass\nmetadata: {{name: c}}\nspec:\n  provider: azure-rs\n  parameters:\n    \
         keyvaultName: {VAULT}\n    tenantID: {DEFAULT_TENANT}\n    clientID: 9b1d7f0e\n    objects: |\n      array:\n      \
         - objectName: S\n        objectType: secret\n"
    );
    fs::write(&path, class).unwrap();
    let output = mount(&node, folder.path(), &[path.to_str().unwrap()]).await;
    assert!(!output.status.success());
    let said = text(&output.stderr);
    for words in [
        "[TOKEN_AUDIENCE_MISSING] ",
        "audience api://AzureADTokenExchange",
        "kubectl create token default --namespace default",
        "--token-file",
    ] {
        assert!(said.contains(words), "{said} should contain {words}");
    }
    for words in ["csidriver", "the driver"] {
        assert!(!said.to_lowercase().contains(words), "{said}");
    }
}
