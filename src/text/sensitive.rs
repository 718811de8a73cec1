//! [`Sensitive`], the one type that holds bytes nobody may see: a secret's value on its way from Key
//! Vault to the answer, a service account token, a client secret.
//!
//! It cannot be printed (`Debug` shows its length only), has no `Display` and no `Serialize`, and its
//! memory is overwritten when it is dropped. Whoever needs the bytes says so with
//! [`Sensitive::expose`], which makes every use easy to find.

use std::fmt;

use zeroize::Zeroizing;

/// Bytes that must reach no log, no error and no disk. See the module's documentation.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Sensitive(Zeroizing<Vec<u8>>);

impl Sensitive {
    /// The bytes themselves. Each call is a place where they could leak: keep it close to the use.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, to be handed on: there is no copy of them left behind, and nobody wipes them any more.
    pub fn into_bytes(mut self) -> Vec<u8> {
        std::mem::take(&mut *self.0)
    }

    /// The bytes as text, if they are UTF-8.
    pub fn expose_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// The number of bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl From<Vec<u8>> for Sensitive {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl From<String> for Sensitive {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl fmt::Debug for Sensitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} sensitive bytes>", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_the_length_only() {
        let secret = Sensitive::from("hunter2".to_owned());
        assert_eq!(
            format!("{secret:?} {:#?}", Some(&secret))
                .matches("hunter2")
                .count(),
            0
        );
        assert!(format!("{secret:?}").contains('7'));
    }
}
