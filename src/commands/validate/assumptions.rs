//! [`Assumptions`], what a check takes for granted that a class does not say.

use crate::class::file_mode::FileMode;
use crate::class::plan::Conventions;

/// What holds for every class.
#[derive(Clone, Copy, Debug)]
pub struct Assumptions {
    /// What the operator decides.
    pub conventions: Conventions,
    /// The mode of files without one of their own.
    pub default_mode: FileMode,
    /// Whether classes without an identity get one from their pods' `nodePublishSecretRef`.
    pub service_principal: bool,
}
