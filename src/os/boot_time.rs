//! When the machine was started.

use std::path::Path;

use time::OffsetDateTime;

use super::small_file;

/// Where Linux has it, also in a container.
///
/// Source: proc(5), `/proc/stat`.
const FILE: &str = "/proc/stat";
/// The most bytes of it: a line for each processor, and the counts of all interrupts.
const MAX_BYTES: usize = 1024 * 1024;

/// When the machine was started, in whole seconds.
pub fn boot_time() -> Option<OffsetDateTime> {
    let bytes = small_file::read(Path::new(FILE), MAX_BYTES).ok()?;
    read(std::str::from_utf8(&bytes).ok()?)
}

fn read(text: &str) -> Option<OffsetDateTime> {
    let seconds = text.lines().find_map(|line| line.strip_prefix("btime "))?;
    OffsetDateTime::from_unix_timestamp(seconds.trim().parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_from_the_kernels_words() {
        let text = "cpu  1 2 3\nintr 4 5\nctxt 6\nbtime 1764300000\nprocesses 7\n";
        assert_eq!(read(text).unwrap().unix_timestamp(), 1_764_300_000);
        assert_eq!(read("cpu 1\n"), None);
        assert!(boot_time().unwrap() < OffsetDateTime::now_utc());
    }
}
