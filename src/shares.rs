//! What one namespace may have of what all pods of a node share: [`Places`] for work, in which [`Waiters`] stand
//! together, the [`Workers`] that do it, bytes of what is [`Kept`], and the [`Budget`] of those that mounts hold.
//!
//! One process serves all pods of a node, and whoever may write a class in one namespace decides how much is asked of
//! it. So the namespace is what pays: not the identity, the vault or the class, of which one author has as many as
//! they like.

mod budget;
mod kept;
mod places;
mod waiters;
mod workers;

use std::fmt;
use std::sync::Arc;

use tokio::task::futures::TaskLocalFuture;

use crate::text::excerpt::cut;

pub use self::budget::{Account, Budget, Held, Load, Shared};
pub use self::kept::{Kept, Weight};
pub use self::places::{Place, Places, Rank};
pub use self::waiters::Waiters;
pub use self::workers::{Payer, Stop, Workers};

/// The most bytes of a namespace's name.
///
/// Source: "Object Names and IDs", section "RFC 1123 Label Names".
const MAX_NAME: usize = 63;

tokio::task_local! {
    static CURRENT: Namespace;
}

/// The namespace that pays. The empty one is for what no pod asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(Arc<str>);

impl Namespace {
    /// The namespace of this name. One that Kubernetes could not have is cut: those who write such names pay together.
    pub fn new(name: &str) -> Self {
        Self(cut(name, MAX_NAME).into())
    }

    /// The namespace that what goes on here is done for. It cannot be handed down: Azure's SDK stands between a mount and
    /// its requests.
    pub fn current() -> Self {
        CURRENT.try_with(Clone::clone).unwrap_or_default()
    }

    /// What is done for this namespace.
    pub fn around<F: Future>(self, future: F) -> TaskLocalFuture<Self, F> {
        CURRENT.scope(self, future)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
