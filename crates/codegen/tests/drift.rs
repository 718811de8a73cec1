//! What is committed is what would be made.

use std::fs;

#[test]
fn the_committed_code_is_what_the_proto_gives() {
    let committed = fs::read_to_string(codegen::committed()).unwrap();
    let generated = codegen::generate().unwrap();
    assert!(
        committed == generated,
        "src/generated/v1alpha1.rs has drifted from proto/service.proto: \
         run `cargo run --package codegen` and commit the result"
    );
}

#[test]
fn the_committed_reference_is_what_the_code_says() {
    for (path, page) in codegen::reference::pages().unwrap() {
        let committed = fs::read_to_string(codegen::workspace().join("docs").join(path)).unwrap();
        assert!(
            committed == page,
            "docs/{path} has drifted from the code: run `make generate` and commit the result"
        );
    }
}
