//! The committed code is what the committed proto gives.

#[test]
fn the_committed_code_is_what_the_proto_gives() {
    let committed = std::fs::read_to_string(codegen::committed()).unwrap();
    let generated = codegen::generate().unwrap();
    assert!(
        committed == generated,
        "src/generated/v1alpha1.rs has drifted from proto/service.proto: \
         run `cargo run --package codegen` and commit the result"
    );
}
