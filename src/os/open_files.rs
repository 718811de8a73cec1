//! How many files, connections among them, this process may have open, and what is closed when there are too many.
//!
//! The limit is the process's, and so is what is known here. Whatever keeps connections that nobody uses
//! [registers](register) them; whatever needs a file and gets none has the oldest of them [closed](close_idlest) and
//! [tries again](with_room).

use std::fs::File;
use std::sync::Weak;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::io::{self, Errno};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::time::Instant;

/// How often a file that cannot be opened is tried again.
const TRIES: u32 = 20;
/// How long it takes until then: until a connection that is told to close is closed.
const PAUSE: Duration = Duration::from_millis(25);

/// What keeps connections that nobody uses.
pub trait IdleConnections: Send + Sync {
    /// Since when the one is idle that has been so for longest.
    fn idle_since(&self) -> Option<Instant>;

    /// Closes that one, shortly after.
    fn close_idlest(&self);
}

/// All that keep such connections.
static KEEPERS: Mutex<Vec<Weak<dyn IdleConnections>>> = Mutex::new(Vec::new());

/// Raises the limit to the most that the process may give itself. The usual 1,024 are for programs that
/// use `select(2)`; a node with many vaults that speak HTTP/1.1 needs more.
pub fn raise_limit() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised)
}

pub fn limit() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.map_or(usize::MAX, |limit| limit.try_into().unwrap_or(usize::MAX))
}

/// Has these connections closed when files run out.
pub fn register(keeper: Weak<dyn IdleConnections>) {
    let mut keepers = KEEPERS.lock();
    keepers.retain(|keeper| keeper.strong_count() > 0);
    keepers.push(keeper);
}

/// Closes the outgoing connection that has been idle for longest. False if none is idle.
pub fn close_idlest() -> bool {
    let keepers: Vec<_> = KEEPERS.lock().iter().filter_map(Weak::upgrade).collect();
    let idle = keepers
        .iter()
        .filter_map(|keeper| Some((keeper.idle_since()?, keeper)));
    let Some((_, idlest)) = idle.min_by_key(|(since, _)| *since) else {
        return false;
    };
    idlest.close_idlest();
    true
}

/// Does what takes a file. While it fails for the lack of one, idle connections are closed and it is tried again.
pub async fn with_room<T, E, F: Future<Output = Result<T, E>>>(
    attempt: impl Fn() -> F,
    lacks_files: impl Fn(&E) -> bool,
) -> Result<T, E> {
    for _ in 0..TRIES {
        match attempt().await {
            Err(error) if lacks_files(&error) => {
                close_idlest();
                tokio::time::sleep(PAUSE).await;
            }
            result => return result,
        }
    }
    attempt().await
}

/// Whether a failure is that this process, or the machine, has no more files.
pub fn is_lack(error: &std::io::Error) -> bool {
    let lacks = [Errno::MFILE, Errno::NFILE].map(Errno::raw_os_error);
    error
        .raw_os_error()
        .is_some_and(|code| lacks.contains(&code))
}

/// Whether no file can be opened now. For failures of what does not say why, such as the C library's resolver.
pub fn are_used_up() -> bool {
    File::open("/dev/null").is_err_and(|error| is_lack(&error))
}
