//! The driver's gRPC contract as Rust, made from `proto/service.proto` by the `codegen` crate.
//!
//! `service` (the provider's side) and the command `mount` (the driver's side) are its only users. The two messages that carry secrets get a `Debug` of their own here, which names
//! sizes instead of contents.

// Generated code is read by the compiler, not by people.
#![allow(unreachable_pub, clippy::all, clippy::pedantic)]

use std::fmt;

pub(crate) mod codec;
#[rustfmt::skip]
pub mod v1alpha1;

impl fmt::Debug for v1alpha1::MountRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MountRequest")
            .field("attributes", &Length(self.attributes.len()))
            .field("secrets", &Length(self.secrets.len()))
            .field("target_path", &self.target_path)
            .field("permission", &self.permission)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for v1alpha1::File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File")
            .field("path", &self.path)
            .field("mode", &format_args!("{:04o}", self.mode))
            .field("contents", &Length(self.contents.len()))
            .finish()
    }
}

/// Stands for bytes that must not be shown.
struct Length(usize);

impl fmt::Debug for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes>", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::v1alpha1::{File, MountRequest, MountResponse};

    #[test]
    fn debug_shows_no_contents() {
        let request = MountRequest {
            attributes: "canary-attributes".into(),
            secrets: "canary-secrets".into(),
            ..MountRequest::default()
        };
        let file = File {
            path: "a".into(),
            mode: 0o644,
            contents: b"canary-contents".to_vec(),
        };
        let response = MountResponse {
            files: vec![file],
            ..MountResponse::default()
        };
        let text = format!("{request:?} {response:#?}");
        assert!(
            !text.contains("canary") && !text.contains("99, 97"),
            "{text}"
        );
    }
}
