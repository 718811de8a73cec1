//! Why a mount would fail, in the words in which it would say so.

use crate::azure::vault::VaultError;
use crate::class::asked::Asked;
use crate::explain::{CallError, Explanation};
use crate::mount::{Failure, MountError};

/// The vault or the token fails, and with it every object.
pub(super) fn whole(asked: &Asked, error: VaultError) -> Explanation {
    failure(asked, Failure::Whole(error))
}

/// A mount fails.
pub(super) fn failure(asked: &Asked, failure: Failure) -> Explanation {
    let asked = asked.clone();
    Explanation::of(&CallError::Mount(Box::new(MountError { asked, failure })))
}
