//! The bench as a process, with the provider of the same build: that it works, whatever the figures are.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// One repeat of the shortest row.
fn load(provider: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bench"))
        .arg("load")
        .arg(provider)
        .args(["--quick", "--repeats", "1", "--protocol", "h2"])
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What the same build put beside the bench; `cargo test --package bench` alone does not build it.
fn provider() -> Option<std::path::PathBuf> {
    let path = Path::new(env!("CARGO_BIN_EXE_bench")).with_file_name("provider-azure-rs");
    path.is_file().then_some(path)
}

#[test]
fn figures_come_as_tables_as_a_page_and_as_json() {
    let Some(provider) = provider() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let (page, json) = (
        folder.path().join("page.md"),
        folder.path().join("all.json"),
    );
    let written = [
        "--report",
        page.to_str().unwrap(),
        "--json",
        json.to_str().unwrap(),
    ];
    let arguments = [&["--only", "1 object, warm", "--no-goals"], &written[..]].concat();
    let output = load(&provider, &arguments);
    let (said, told) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{told}");
    assert!(said.contains("| 1 object, warm, h2 "), "{said}");
    assert!(fs::read_to_string(page).unwrap().contains(&said[..100]));
    let json: Value = serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap();
    let requests = &json["usage"][0]["repeats"][0]["requests"];
    assert_eq!(
        (&requests["vault"], &requests["entra"]),
        (&1.into(), &0.into())
    );
}

#[test]
fn a_row_that_is_not_there_and_a_provider_that_ends_are_failures() {
    for (provider, arguments, words) in [
        ("/bin/false", [].as_slice(), "the provider ended at once"),
        ("/does/not/exist", &[], "cannot run /does/not/exist"),
    ] {
        let output = load(Path::new(provider), arguments);
        assert_eq!(output.status.code(), Some(1));
        let told = text(&output.stderr);
        assert!(told.contains(words), "{told}");
    }
    if let Some(provider) = provider() {
        let output = load(&provider, &["--only", "no such row"]);
        assert!(text(&output.stderr).contains("no row and no curve is called so"));
    }
}
