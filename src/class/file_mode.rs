//! [`FileMode`], the permission bits of a file in the volume.

use std::fmt;

/// Permission bits, 0 to 0777. The driver refuses a whole mount that has a file with others
/// (`service.proto`, `File.mode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMode(u16);

impl FileMode {
    /// The mode with these bits, if they are permission bits.
    pub fn new(bits: u32) -> Option<Self> {
        u16::try_from(bits)
            .ok()
            .filter(|bits| *bits <= 0o777)
            .map(Self)
    }

    /// A mode as people write it: octal digits such as `0644`, `644` or `0`.
    pub fn from_octal(text: &str) -> Option<Self> {
        // Go reads a plus sign; `from_str_radix` would read a minus too.
        let text = text.strip_prefix('+').unwrap_or(text);
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        u32::from_str_radix(text, 8).ok().and_then(Self::new)
    }

    pub fn bits(self) -> u16 {
        self.0
    }
}

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_digits_are_a_mode() {
        for (text, bits) in [
            ("+0644", 0o644),
            ("0644", 0o644),
            ("644", 0o644),
            ("0", 0),
            ("000777", 0o777),
        ] {
            assert_eq!(
                FileMode::from_octal(text).map(FileMode::bits),
                Some(bits),
                "{text}"
            );
        }
        for text in [
            "",
            "0o644",
            "888",
            "rw-r--r--",
            "1777",
            "-644",
            "++644",
            "99999999999",
            " 644",
        ] {
            assert_eq!(FileMode::from_octal(text), None, "{text}");
        }
    }
}
