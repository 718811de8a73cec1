//! What one namespace may have of what all pods of a node share: [`Places`] for work, the [`Workers`] that do it, and
//! bytes for what is [`Kept`].
//!
//! One process serves all pods of a node, and whoever may write a class in one namespace decides how much is asked of
//! it. So the namespace is what pays: not the identity, the vault or the class, of which one author has as many as
//! they like.

mod kept;
mod places;
mod workers;

use std::fmt;
use std::sync::Arc;

use crate::text::excerpt::cut;

pub use self::kept::{Kept, Weight};
pub use self::places::{Place, Places};
pub use self::workers::{Payer, Stop, Workers};

/// The most bytes of a namespace's name.
///
/// Source: "Object Names and IDs", section "RFC 1123 Label Names".
const MAX_NAME: usize = 63;

/// The namespace that pays. The empty one is for what no pod asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(Arc<str>);

impl Namespace {
    /// The namespace of this name. One that Kubernetes could not have is cut: those who write such names pay together.
    pub fn new(name: &str) -> Self {
        Self(cut(name, MAX_NAME).into())
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
