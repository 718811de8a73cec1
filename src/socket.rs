//! [`Socket`], the Unix socket that the driver calls.
//!
//! It is made in a private folder and renamed into place, so that it is never there with the wrong mode,
//! and so that a new provider takes over from an old one without a moment in between. Only root and the
//! provider's own user may call.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::Stream;
use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};
use tonic::transport::{Channel, Endpoint};

use crate::private_folder::PrivateFolder;

/// The most bytes of a socket's path: `sun_path` in unix(7), without its last NUL.
const MAX_PATH: usize = 107;

/// A channel to whoever answers on the socket at this path.
pub async fn connect(path: &Path) -> Result<Channel, tonic::transport::Error> {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    Endpoint::from_shared(format!("unix://{}", absolute.display()))?
        .connect()
        .await
}

/// A bound socket. Dropping it removes its file, unless another provider has taken its place.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    file: SocketFile,
    /// The user that this process runs as.
    owner: u32,
}

/// The socket's file: its path, and what tells it from another's at the same path.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

/// Why there is no socket.
#[derive(Debug, Error)]
pub enum SocketError {
    /// Something else is at the path.
    #[error("{}: expected a socket or nothing; another kind of file is there, and it is left alone", .0.display())]
    NotASocket(PathBuf),
    /// The path is longer than an address on a Unix socket can be.
    #[error("{}: expected a path of at most {MAX_PATH} bytes, which is all that a caller can name", .0.display())]
    TooLong(PathBuf),
    /// The path has no folder, or one that cannot be written to.
    #[error("{}: a socket cannot be made there", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Socket {
    /// Binds the path, in place of a socket that is there already.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        // It could be made, by the shorter name it has at first, but nobody could call it.
        if path.as_os_str().len() > MAX_PATH {
            return Err(SocketError::TooLong(path.to_owned()));
        }
        let failed = |source| SocketError::Io {
            path: path.to_owned(),
            source,
        };
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(SocketError::NotASocket(path.to_owned()));
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let private =
            PrivateFolder::within(folder.unwrap_or(Path::new(".")), ".").map_err(failed)?;
        bind_in(private.path(), path).map_err(failed)
    }

    /// Removes the socket's file, so that whoever comes now does not wait for a provider that is leaving.
    pub fn retire(&self) {
        self.file.remove();
    }

    /// The callers, one after the other, without those who may not call.
    pub fn callers(&self) -> impl Stream<Item = io::Result<UnixStream>> {
        futures::stream::unfold(self, |socket| async move {
            Some((Ok(socket.next().await), socket))
        })
    }

    async fn next(&self) -> UnixStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => match stream.peer_cred() {
                    Ok(peer) if peer.uid() == 0 || peer.uid() == self.owner => return stream,
                    Ok(peer) => {
                        tracing::warn!(uid = peer.uid(), "refused a caller that is not root");
                    }
                    Err(error) => {
                        tracing::warn!(%error, "refused a caller that cannot be identified");
                    }
                },
                Err(error) => {
                    // Out of file descriptors, mostly. A pause leaves those who have one time to finish.
                    tracing::error!(%error, "cannot accept a caller");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

fn bind_in(private: &Path, path: &Path) -> io::Result<Socket> {
    let fresh = private.join("s");
    let listener = UnixListener::bind(&fresh)?;
    fs::set_permissions(&fresh, Permissions::from_mode(0o600))?;
    let made = fs::symlink_metadata(&fresh)?;
    fs::rename(&fresh, path)?;
    let file = SocketFile {
        path: path.to_owned(),
        device: made.dev(),
        inode: made.ino(),
    };
    Ok(Socket {
        listener,
        file,
        owner: made.uid(),
    })
}

impl SocketFile {
    /// Removes the file, unless another provider has taken its place.
    fn remove(&self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == (self.device, self.inode));
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the socket");
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        self.remove();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_is_private_and_removed_with_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("azure-rs.sock");
        let socket = Socket::bind(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_newer_socket_takes_over_and_keeps_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("azure-rs.sock");
        let older = Socket::bind(&path).unwrap();
        let newer = Socket::bind(&path).unwrap();
        drop(older);
        UnixStream::connect(&path).await.unwrap();
        drop(newer);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn another_kind_of_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("azure-rs.sock");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(
            Socket::bind(&path),
            Err(SocketError::NotASocket(_))
        ));
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        let missing = folder.path().join("none/azure-rs.sock");
        assert!(matches!(
            Socket::bind(&missing),
            Err(SocketError::Io { .. })
        ));
    }
}
