//! The machine's name.

use std::path::Path;

use super::small_file;

/// Where Linux has it.
///
/// Source: proc(5), `/proc/sys/kernel/hostname`.
const FILE: &str = "/proc/sys/kernel/hostname";
/// The most bytes of it, with a line's end.
///
/// Source: gethostname(2), `HOST_NAME_MAX`.
const MAX_BYTES: usize = 65;

/// The machine's name, which is a pod's own where it has no part in the machine's network.
pub fn host_name() -> Option<String> {
    let bytes = small_file::read(Path::new(FILE), MAX_BYTES).ok()?;
    let name = String::from_utf8(bytes).ok()?.trim().to_owned();
    Some(name).filter(|name| !name.is_empty())
}
