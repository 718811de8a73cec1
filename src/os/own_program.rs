//! Whether this program is at the other end of a socket too, in another process of this machine.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use tokio::net::UnixStream;

/// Whether another process of this program is at the other end. One that this process cannot see, being in another
/// container, is none.
pub fn is_at_the_end_of(stream: &UnixStream) -> bool {
    let peer = stream.peer_cred().ok().and_then(|peer| peer.pid());
    peer.is_some_and(|pid| pid > 0 && pid.cast_unsigned() != std::process::id() && is_this(pid))
}

/// Whether a process runs the file that this one does.
fn is_this(pid: i32) -> bool {
    let file = |process: &str| {
        let file = fs::metadata(format!("/proc/{process}/exe")).ok()?;
        Some((file.dev(), file.ino()))
    };
    let own = file("self");
    own.is_some() && own == file(&pid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn neither_this_process_nor_another_program_is_another_of_this() {
        let (one, _other) = UnixStream::pair().unwrap();
        assert!(!is_at_the_end_of(&one));
        assert!(is_this(std::process::id().cast_signed()));
        let mut sleep = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let pid = sleep.id().cast_signed();
        assert!(!is_this(pid));
        sleep.kill().unwrap();
        sleep.wait().unwrap();
        assert!(!is_this(pid));
    }
}
