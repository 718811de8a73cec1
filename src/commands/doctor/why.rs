//! Why a mount would fail, in the words in which it would say so.

use crate::asked::Asked;
use crate::mount::{Failure, MountError};
use crate::status::{CallError, Explanation};
use crate::vault::VaultError;

/// The vault or the token fails, and with it every object.
pub(super) fn whole(asked: &Asked, error: VaultError) -> Explanation {
    failure(asked, Failure::Whole(error))
}

/// A mount fails.
pub(super) fn failure(asked: &Asked, failure: Failure) -> Explanation {
    let asked = asked.clone();
    Explanation::of(&CallError::Mount(Box::new(MountError { asked, failure })))
}
