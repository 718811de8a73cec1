//! How messages name identities and objects.

use crate::azure::vault::refusal::VaultRefusal;
use crate::class::asked::Asked;
use crate::class::object::ObjectVersion;
use crate::mount::ObjectFailure;

/// The first part of an ID is enough to tell it from others.
pub fn short(id: &str) -> String {
    match id.char_indices().nth(8) {
        Some((end, _)) => format!("{}…", &id[..end]),
        None => id.to_owned(),
    }
}

/// The value, or what stands for it where a command needs one.
pub(super) fn or_placeholder<'a>(value: &'a str, placeholder: &'a str) -> &'a str {
    if value.is_empty() { placeholder } else { value }
}

/// `secret "X"`, with its version where one was asked for.
pub(super) fn named(failure: &ObjectFailure) -> String {
    let fetch = &failure.fetch;
    let version = match &fetch.version {
        ObjectVersion::Latest => String::new(),
        ObjectVersion::Exact(version) => format!(" version {}", version.as_str()),
    };
    format!("{} {:?}{version}", fetch.kind.as_str(), fetch.name.as_str())
}

/// Who asked, short: `client e502213f…`, or the kind of identity where there is no ID.
pub(super) fn who(asked: &Asked, refusal: &VaultRefusal) -> String {
    let client_id = Some(refusal.caller.client_id.as_str())
        .filter(|id| !id.is_empty())
        .or(asked.identity.client_id());
    match client_id {
        Some(id) => format!("client {} ({})", short(id), asked.identity.kind),
        None => format!("the node's {}", asked.identity.kind),
    }
}
