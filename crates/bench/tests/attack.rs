//! `bench attack` as a process: what it lists and what it does not know. Attacks need a release build: `make attack`.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::process::{Command, Output};

fn attack(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bench"))
        .arg("attack")
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn attacks_are_listed_with_what_they_do() {
    let output = attack(&["--list", "--only", "YAML", "--only", "PFX"]);
    assert!(output.status.success());
    let listed = String::from_utf8(output.stdout).unwrap();
    let (names, sentences): (Vec<_>, Vec<_>) =
        listed.lines().partition(|line| !line.starts_with(' '));
    assert_eq!(names.len(), sentences.len());
    assert!(names.contains(&"PFX iterations"), "{listed}");
    assert!(
        names
            .iter()
            .all(|name| name.contains("YAML") || name.contains("PFX"))
    );
}

#[test]
fn an_attack_that_is_not_there_and_a_provider_that_ends_are_failures() {
    for (arguments, words) in [
        (
            ["/bin/false", "--only", "no such"],
            "no attack is called so",
        ),
        (
            ["/bin/false", "--only", "YAML"],
            "the provider ended at once",
        ),
    ] {
        let output = attack(&arguments);
        assert_eq!(output.status.code(), Some(1));
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains(words), "{told}");
    }
}
