//! What must hold for any bytes that somebody else writes: the driver, a pod's author, Azure or what answers in
//! its place, the operator. Each [target](TARGETS) takes bytes, goes the way that the provider goes with them,
//! and panics where a promise is broken.
//!
//! A fuzzer calls them (`fuzz/`, by the feature `fuzzing`), and so do this module's tests: with the inputs that
//! fuzzers found (`fuzz/corpus/`), and with texts that are nearly right. No part of a released binary.

#![expect(
    clippy::missing_panics_doc,
    reason = "to panic is how a promise is said to be broken"
)]

mod answers;
mod calls;
mod certificates;
pub mod frames;
mod operator;
#[cfg(test)]
pub mod tests;

pub use answers::{challenge, header, mount, pod_status, refusal};
pub use calls::{class, mount_request, objects, token};
pub use certificates::{pem, pfx, server_certificate};
pub use frames::authority;
pub use operator::{environment_file, kubeconfig, policy, proxy};

use crate::explain::{CallError, Explanation};
use crate::text::excerpt::causes;

/// Judges one input.
type Target = fn(&[u8]);

/// The name of each target, in the order of a mount.
pub const TARGETS: [(&str, Target); 17] = [
    ("authority", authority),
    ("mount_request", mount_request),
    ("class", class),
    ("objects", objects),
    ("token", token),
    ("mount", mount),
    ("refusal", refusal),
    ("challenge", challenge),
    ("header", header),
    ("pem", pem),
    ("pfx", pfx),
    ("server_certificate", server_certificate),
    ("policy", policy),
    ("environment_file", environment_file),
    ("proxy", proxy),
    ("kubeconfig", kubeconfig),
    ("pod_status", pod_status),
];

/// The word that marks a secret. Where it stands once in an input, and there in a secret, nobody may read it.
const CANARY: &str = "canary";
/// The most bytes of a message. What the caller gets is cut after 3000 characters; this is before that.
const MAX_MESSAGE: usize = 6000;

/// What an input has in it that no message may have.
#[derive(Clone, Copy)]
struct Secrets {
    marked: bool,
}

impl Secrets {
    /// Whether the word stands in the input once, where `is_secret` says that it is a secret's. An escape might
    /// spell it elsewhere.
    fn new(input: &[u8], is_secret: bool) -> Self {
        let is_spelled_out = !has(input, "\\u") && !has(input, "\\x");
        Self {
            marked: is_secret && is_spelled_out && count(input, CANARY.as_bytes()) == 1,
        }
    }

    const NONE: Self = Self { marked: false };

    /// A message is one line, bounded, without anything that a terminal would act on, and has no secret in it.
    fn keep_out_of(self, message: &str) {
        assert!(
            message.len() <= MAX_MESSAGE,
            "a message of {} bytes",
            message.len()
        );
        let acted_on = |c: char| {
            c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        };
        assert!(!message.contains(acted_on), "{message:?}");
        self.keep_out_of_text(message);
    }

    /// The same of what only developers read.
    fn keep_out_of_text(self, text: &str) {
        assert!(
            !(self.marked && text.contains(CANARY)),
            "a secret is in {text:?}"
        );
    }
}

/// A refusal as the caller reads it, and as the log has it.
fn refused(error: &CallError, secret: Secrets) {
    let explanation = Explanation::of(error);
    secret.keep_out_of(&explanation.to_string());
    secret.keep_out_of(&causes(error));
    secret.keep_out_of_text(&format!("{error:?}"));
}

fn count(text: &[u8], word: &[u8]) -> usize {
    text.windows(word.len())
        .filter(|window| *window == word)
        .count()
}

fn has(text: &[u8], word: &str) -> bool {
    count(text, word.as_bytes()) > 0
}

/// Whether the word is in a JSON map, and in no key of it: those are quoted. What is no map is not quoted at all.
fn is_hidden_in_map(json: &str) -> bool {
    let in_keys = match serde_json::from_str(json.trim()) {
        Ok(serde_json::Value::Object(map)) => map.keys().any(|key| key.contains(CANARY)),
        Ok(_) | Err(_) => false,
    };
    json.contains(CANARY) && !in_keys
}

/// The parts of an input between lines of `%%`.
fn parts(input: &[u8]) -> impl Iterator<Item = &[u8]> {
    const LINE: &[u8] = b"\n%%\n";
    let mut rest = Some(input);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = text.windows(LINE.len()).position(|window| window == LINE);
        rest = end.map(|end| &text[end + LINE.len()..]);
        Some(&text[..end.unwrap_or(text.len())])
    })
}

/// The first such part, which chooses, and what follows it.
fn choice_and_rest(input: &[u8]) -> (u8, &[u8]) {
    match input.split_first() {
        Some((choice, rest)) => (*choice, rest),
        None => (0, input),
    }
}
