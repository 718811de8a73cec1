//! Memory that is never written to swap, where the operator wants that: a node may have swap (Kubernetes'
//! `NodeSwap`), and what is on a disk stays there.

use rustix::io::Errno;
use rustix::mm::{MlockAllFlags, mlockall};
use thiserror::Error;

/// Memory cannot be kept out of swap.
#[derive(Debug, Error)]
#[error(
    "--lock-memory: the kernel refuses to lock memory ({0}); give the container the capability IPC_LOCK, or a \
     memlock limit of unlimited"
)]
pub struct MemoryLockError(Errno);

/// Keeps all memory of this process out of swap, also what it will have. A page is locked when it is first
/// touched, so the process needs no more than before.
///
/// Source: `mlockall(2)`, `MCL_ONFAULT`.
pub fn lock() -> Result<(), MemoryLockError> {
    mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT)
        .map_err(MemoryLockError)
}
