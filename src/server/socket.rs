//! [`Socket`], the Unix socket that the driver calls.
//!
//! It is made in a private folder and renamed into place, so that it is never there with the wrong mode,
//! and so that a new provider takes over from an old one without a moment in between. Who may call is
//! decided by [`AllowedUsers`]; how many connections there are, and which one makes room, by `Seats`. By which
//! authority it is called does not matter: [`authority`].

mod allowed_users;
pub mod authority;
mod caller;
mod callers;
mod seats;

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};
use tonic::transport::{Channel, Endpoint};

use crate::os::open_files;
use crate::os::private_folder::PrivateFolder;
use crate::transport::in_chain;

pub use allowed_users::AllowedUsers;
pub use seats::{Call, Seat};

/// The most bytes of a socket's path: `sun_path` in unix(7), without its last NUL.
const MAX_PATH: usize = 107;

/// A channel to whoever answers on the socket at this path.
pub async fn connect(path: &Path) -> Result<Channel, tonic::transport::Error> {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let endpoint = Endpoint::from_shared(format!("unix://{}", absolute.display()))?;
    let lacks_files = |error: &tonic::transport::Error| {
        in_chain::<io::Error>(error).is_some_and(open_files::is_lack)
    };
    open_files::with_room(|| endpoint.connect(), lacks_files).await
}

/// The process that listens on the socket at this path. None if this one cannot see it, which is so if it is in another
/// container.
pub async fn listening_process(path: &Path) -> io::Result<Option<i32>> {
    let peer = UnixStream::connect(path).await?.peer_cred()?;
    Ok(peer.pid().filter(|pid| *pid > 0))
}

/// A bound socket. Dropping it removes its file, unless another provider has taken its place.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    file: SocketFile,
    allowed: AllowedUsers,
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
    /// The kernel does not allow it: to this user, or to this SELinux type.
    #[error(
        "{}: this process may not make a socket there; expected the folder's owner (root), and on a node with SELinux a \
         container of the type spc_t (the Helm chart's seLinux.type)",
        path.display()
    )]
    Denied { path: PathBuf, source: io::Error },
    /// The path has no folder, or one that cannot be written to.
    #[error("{}: a socket cannot be made there", path.display())]
    Io { path: PathBuf, source: io::Error },
}

impl SocketError {
    fn new(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::PermissionDenied => Self::Denied { path, source },
            _ => Self::Io { path, source },
        }
    }
}

impl Socket {
    /// Binds the path, in place of a socket that is there already. These users may call, and the one that
    /// this process runs as.
    pub fn bind(path: &Path, allowed: AllowedUsers) -> Result<Self, SocketError> {
        // It could be made, by the shorter name it has at first, but nobody could call it.
        if path.as_os_str().len() > MAX_PATH {
            return Err(SocketError::TooLong(path.to_owned()));
        }
        let failed = |source| SocketError::new(path, source);
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
        let private = PrivateFolder::new(folder.unwrap_or(Path::new(".")), ".").map_err(failed)?;
        bind_in(private.path(), path, allowed).map_err(failed)
    }
}

fn bind_in(private: &Path, path: &Path, allowed: AllowedUsers) -> io::Result<Socket> {
    let fresh = private.join("s");
    let listener = UnixListener::bind(&fresh)?;
    let made = fs::symlink_metadata(&fresh)?;
    let allowed = allowed.and(made.uid());
    let permissions = Permissions::from_mode(allowed.socket_mode(made.uid()));
    fs::set_permissions(&fresh, permissions)?;
    fs::rename(&fresh, path)?;
    let file = SocketFile {
        path: path.to_owned(),
        device: made.dev(),
        inode: made.ino(),
    };
    Ok(Socket {
        listener,
        file,
        allowed,
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
    use std::pin::pin;

    use futures::StreamExt as _;
    use tokio::io::AsyncReadExt as _;

    use super::*;

    fn bind(path: &Path) -> Result<Socket, SocketError> {
        Socket::bind(path, AllowedUsers::default())
    }

    #[tokio::test]
    async fn a_socket_is_private_and_removed_with_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("azure-rs.sock");
        let socket = bind(&path).unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn what_the_kernel_denies_names_what_it_wants() {
        for (kind, expected) in [
            (io::ErrorKind::PermissionDenied, "seLinux.type"),
            (io::ErrorKind::NotFound, "a socket cannot be made there"),
        ] {
            let error = SocketError::new(Path::new("/run/x.sock"), kind.into());
            assert!(error.to_string().starts_with("/run/x.sock: "), "{error}");
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[tokio::test]
    async fn a_newer_socket_takes_over_and_keeps_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("azure-rs.sock");
        let older = bind(&path).unwrap();
        let newer = bind(&path).unwrap();
        drop(older);
        UnixStream::connect(&path).await.unwrap();
        drop(newer);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_user_who_is_not_named_is_hung_up_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("azure-rs.sock");
        let mut socket = bind(&path).unwrap();
        socket.allowed = AllowedUsers::new(vec![u32::MAX - 1]);
        let mut callers = pin!(socket.callers(std::future::pending()));
        let mut stranger = UnixStream::connect(&path).await.unwrap();
        tokio::select! {
            caller = callers.next() => panic!("{caller:?}"),
            read = stranger.read_u8() => assert!(read.is_err()),
        }
    }

    #[tokio::test]
    async fn another_kind_of_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("azure-rs.sock");
        fs::write(&path, "precious").unwrap();
        assert!(matches!(bind(&path), Err(SocketError::NotASocket(_))));
        assert_eq!(fs::read(&path).unwrap(), b"precious");
        let missing = folder.path().join("none/azure-rs.sock");
        assert!(matches!(bind(&missing), Err(SocketError::Io { .. })));
    }
}
