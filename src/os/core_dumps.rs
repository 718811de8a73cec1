//! No core dumps of this process: its memory holds tokens and, for a moment, every secret of the node.

use rustix::io;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Makes the kernel write no core dump of this process, and lets nobody but root read its memory.
///
/// Source: `prctl(2)`, `PR_SET_DUMPABLE`, and `core(5)`. The limit alone would not do where
/// `/proc/sys/kernel/core_pattern` is a pipe.
pub fn forbid() -> io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none)
}
