//! What a caller gets when something is ill: a name for it, in bounded time, and afterwards a mount that works.
//! docs/faults.md lists these tests by fault.

mod answers;
mod changes;
mod clocks;
mod files;
mod hangs;
mod network;
mod process;

use std::time::{Duration, Instant};

use provider_azure_rs::generated::v1alpha1::MountResponse;
use tonic::{Code, Status};

use crate::support::expect_status;

/// The longest that a failure may take which waits for no time limit: three attempts, and a machine that is
/// busy with other tests.
const AT_ONCE: Duration = Duration::from_secs(4);

/// Fails unless the mount is refused so, within this time.
async fn expect_within(
    limit: Duration,
    mount: impl Future<Output = Result<MountResponse, Status>>,
    code: Code,
    words: &[&str],
) {
    let start = Instant::now();
    let result = mount.await;
    let took = start.elapsed();
    expect_status(result, code, words);
    assert!(took < limit, "{words:?} took {took:?}");
}
