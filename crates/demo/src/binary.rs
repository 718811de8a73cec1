//! Where the provider's binary is.

use std::path::PathBuf;

use crate::failure::{Failure, cannot};

/// The provider's binary, as it is called on a command line.
pub const NAME: &str = "provider-azure-rs";

/// The binary that was asked for, else the one that the same build put beside this program.
pub fn find(asked: Option<PathBuf>) -> Result<PathBuf, Failure> {
    let path = match asked {
        Some(path) => path,
        None => std::env::current_exe()
            .map_err(cannot("find this program's own folder"))?
            .with_file_name(NAME),
    };
    if !path.is_file() {
        return Err(Failure::NoProvider {
            path: path.display().to_string(),
        });
    }
    // Commands run in another folder than this process.
    std::path::absolute(path).map_err(cannot("find the current folder"))
}
