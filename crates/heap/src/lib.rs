//! Gives freed memory back to the system, which glibc does only at the end of an arena: the one call of this workspace that
//! is unsafe to Rust, so that everything else forbids such calls.

/// Gives back the pages of the heap that hold nothing. It takes milliseconds, and the heap is locked meanwhile. Does nothing
/// with another C library than glibc.
///
/// Source: `malloc_trim(3)`.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it may be called at any time, by any thread (`malloc_trim(3)`, "Attributes": MT-Safe), and touches no memory that
    // is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pages of the process that are in RAM.
    fn resident() -> u64 {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse().unwrap()
    }

    #[test]
    fn what_lies_between_what_is_kept_goes_back() {
        let mut blocks: Vec<_> = (0..40_000)
            .map(|n| vec![u8::try_from(n % 200).unwrap(); 1000])
            .collect();
        // One in twenty stays, so that no end of an arena is free.
        let mut number = 0;
        blocks.retain(|_| {
            number += 1;
            number % 20 == 0
        });
        let before = resident();
        give_back();
        let after = resident();
        assert!(after < before * 3 / 4, "{before} pages, then {after}");
        assert_eq!(blocks.len(), 2000);
    }
}
