//! `provider-azure-rs explain`, and the page that is made by it.

use std::fs;
use std::process::Command;

fn explain(arguments: &[&str]) -> (bool, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_provider-azure-rs"))
        .arg("explain")
        .args(arguments)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.success(),
        text(output.stdout),
        text(output.stderr),
    )
}

#[test]
fn a_code_is_explained_and_an_unknown_one_is_said_to_be_none() {
    let (well, said, _) = explain(&["[KV_RBAC_DENIED]"]);
    assert!(
        well && said.starts_with("KV_RBAC_DENIED (gRPC PermissionDenied)\n"),
        "{said}"
    );
    assert!(said.contains("az role assignment create"), "{said}");
    assert!(said.contains("/docs/runbooks/access-denied.md\n"), "{said}");
    let (well, _, said) = explain(&["KV_RBAC_DENID"]);
    assert!(
        !well && said.contains("did you mean KV_RBAC_DENIED?"),
        "{said}"
    );
    let (well, said, _) = explain(&[]);
    assert!(well && said.lines().count() > 40, "{said}");
}

#[test]
fn the_committed_page_is_what_the_binary_prints() {
    let (_, printed, _) = explain(&["--page"]);
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/errors.md");
    assert!(
        fs::read_to_string(page).unwrap() == printed,
        "docs/errors.md has drifted from the code: run `make generate` and commit the result"
    );
}
