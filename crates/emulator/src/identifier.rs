//! Identifiers as Azure writes them: GUIDs for whoever and whatever is asked about, 32 hexadecimal
//! digits for the versions of an object in a vault.

use std::fmt::Write as _;

use ring::rand::{SecureRandom, SystemRandom};

/// Fills an array from the system's generator.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // ring fails only when the operating system refuses random bytes; a constant would then make
    // every version the same, and the system has worse problems.
    if SystemRandom::new().fill(&mut bytes).is_err() {
        tracing::error!("the system gave no random bytes");
    }
    bytes
}

/// A random GUID (version 4), lower case with hyphens.
pub(crate) fn guid() -> String {
    guid_from(random())
}

/// The GUID that always belongs to `seed`, for things a caller named but gave no GUID.
pub(crate) fn guid_for(seed: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, seed.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.as_ref()[..16]);
    guid_from(bytes)
}

fn guid_from(mut bytes: [u8; 16]) -> String {
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let digits = hex(&bytes);
    format!(
        "{}-{}-{}-{}-{}",
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..]
    )
}

/// A new object version: 32 hexadecimal digits.
pub(crate) fn version() -> String {
    hex(&random::<16>())
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guids_have_azures_shape_and_repeat_only_for_a_seed() {
        let one = guid();
        assert_eq!(one.len(), 36);
        assert_eq!(
            one.char_indices()
                .filter(|(_, c)| *c == '-')
                .map(|(i, _)| i)
                .collect::<Vec<_>>(),
            [8, 13, 18, 23]
        );
        assert_ne!(one, guid());
        assert_eq!(guid_for("a"), guid_for("a"));
        assert_ne!(guid_for("a"), guid_for("b"));
        assert_eq!(version().len(), 32);
    }
}
