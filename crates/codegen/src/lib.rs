//! The generator of `src/generated`, the driver's gRPC contract (`proto/service.proto`) as Rust, and of the
//! documentation's [reference](mod@reference).
//!
//! What it makes is committed, so that building the provider needs neither `protoc` nor a build
//! script, and pages can be read where they are; this crate's tests fail when a committed file is not what would be
//! made.

pub mod reference;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Where the committed code lives.
pub fn committed() -> PathBuf {
    workspace().join("src/generated/v1alpha1.rs")
}

/// The Rust code for `proto/service.proto`.
///
/// `Debug` is left out for the messages that carry secrets and tokens: the derived one would print
/// them. `src/generated.rs` has redacted ones.
pub fn generate() -> Result<String, Box<dyn Error>> {
    let proto = workspace().join("proto");
    let descriptors = protox::compile(["service.proto"], [&proto])?;
    let out = tempfile::tempdir()?;
    tonic_prost_build::configure()
        .out_dir(out.path())
        .skip_debug(["v1alpha1.MountRequest", "v1alpha1.File"])
        .codec_path("crate::generated::codec::StrictCodec")
        .build_transport(false)
        .compile_fds(descriptors)?;
    Ok(fs::read_to_string(out.path().join("v1alpha1.rs"))?)
}
