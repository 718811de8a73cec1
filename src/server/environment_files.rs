//! [`EnvironmentFiles`], the files that tell the endpoints of an Azure Stack.
//!
//! A class names one in `cloudEnvFileName`. Since anyone who may create a pod can write any path there,
//! only files in folders that the operator names are read, and nothing of another file, not even that
//! it exists, gets into a message. The file is read for each mount: it may be a ConfigMap that changes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::class::cloud::environment_file::{
    EnvironmentFileError, MAX_BYTES, could_be_allowed, parse, shown,
};
use crate::class::cloud::{Cloud, CloudChoice};
use crate::os::small_file::{self, SmallFileError};
use crate::text::excerpt::Excerpt;

/// Where files may be read, and what counts where a class says nothing.
#[derive(Clone, Debug)]
pub struct EnvironmentFiles {
    /// The cloud of classes without `cloudName`.
    pub default: Cloud,
    /// The folders that `cloudEnvFileName` may point into.
    pub folders: Vec<PathBuf>,
    /// The file of Azure Stack classes without `cloudEnvFileName`.
    pub operators_file: Option<PathBuf>,
}

impl EnvironmentFiles {
    /// The cloud that a class asks for.
    pub fn resolve(&self, choice: CloudChoice) -> Result<Cloud, EnvironmentFileError> {
        match choice {
            CloudChoice::Default => Ok(self.default.clone()),
            CloudChoice::Known(cloud) => Ok(cloud),
            CloudChoice::Stack { file } if file.is_empty() => {
                let file = self
                    .operators_file
                    .as_deref()
                    .ok_or(EnvironmentFileError::NoFile)?;
                read(file)
            }
            CloudChoice::Stack { file } => read(&self.allowed(&file)?),
        }
    }

    /// The file behind the path, if it lies in one of the folders, by its name and by where its links
    /// lead.
    fn allowed(&self, file: &str) -> Result<PathBuf, EnvironmentFileError> {
        let refused = || EnvironmentFileError::NotAllowed(Excerpt(file).to_string());
        let path = Path::new(file);
        // By its name first, so that a path elsewhere is not even looked at.
        if !could_be_allowed(file) || !self.folders.iter().any(|folder| path.starts_with(folder)) {
            return Err(refused());
        }
        let real = fs::canonicalize(path).map_err(|error| unreadable(path, error.kind()))?;
        let inside = |folder: &PathBuf| {
            fs::canonicalize(folder).is_ok_and(|folder| real.starts_with(folder))
        };
        if self.folders.iter().any(inside) {
            Ok(real)
        } else {
            Err(refused())
        }
    }
}

fn unreadable(path: &Path, problem: io::ErrorKind) -> EnvironmentFileError {
    EnvironmentFileError::Unreadable {
        path: shown(path),
        problem,
    }
}

/// Reads a file and takes the two endpoints from it.
pub fn read(path: &Path) -> Result<Cloud, EnvironmentFileError> {
    let malformed = |expected: String| EnvironmentFileError::Malformed {
        path: shown(path),
        expected,
    };
    let bytes = small_file::read(path, MAX_BYTES).map_err(|error| match error {
        SmallFileError::Unreadable(problem) => unreadable(path, problem),
        SmallFileError::NotAFile => malformed("a file".to_owned()),
        SmallFileError::TooLarge(most) => malformed(format!("at most {most} bytes")),
    })?;
    parse(path, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::class::cloud::VaultName;

    const STACK: &str = r#"{"name":"AzureStackCloud","activeDirectoryEndpoint":"https://login.local.example/",
        "keyVaultEndpoint":"https://vault.local.example/","keyVaultDNSSuffix":"vault.local.example"}"#;

    fn files(folders: &[&Path]) -> EnvironmentFiles {
        EnvironmentFiles {
            default: Cloud::public(),
            folders: folders.iter().map(|folder| (*folder).to_owned()).collect(),
            operators_file: None,
        }
    }

    fn stack(file: &Path) -> CloudChoice {
        CloudChoice::Stack {
            file: file.display().to_string(),
        }
    }

    #[test]
    fn the_endpoints_come_from_an_allowed_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("stack.json");
        for contents in [STACK.to_owned(), format!("\u{feff}{STACK}")] {
            fs::write(&file, contents).unwrap();
            let cloud = files(&[folder.path()]).resolve(stack(&file)).unwrap();
            assert_eq!(cloud.authority(), "https://login.local.example");
            assert_eq!(
                cloud.vault_host(&VaultName::new("kv1").unwrap()),
                "kv1.vault.local.example"
            );
        }
        // As a ConfigMap is mounted: through links that stay inside.
        let link = folder.path().join("link.json");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        files(&[folder.path()]).resolve(stack(&link)).unwrap();
    }

    #[test]
    fn no_other_file_is_read_and_none_is_told_to_exist() {
        let (allowed, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let secret = other.path().join("secret");
        fs::write(&secret, STACK).unwrap();
        let link = allowed.path().join("link");
        std::os::unix::fs::symlink(&secret, &link).unwrap();
        let parent = allowed
            .path()
            .join("../")
            .join(other.path().file_name().unwrap())
            .join("secret");
        let missing = other.path().join("missing");
        for path in [
            secret,
            link,
            parent,
            missing,
            PathBuf::from("stack.json"),
            PathBuf::from("/etc/passwd"),
        ] {
            let error = files(&[allowed.path()]).resolve(stack(&path)).unwrap_err();
            assert!(
                matches!(error, EnvironmentFileError::NotAllowed(_)),
                "{path:?}: {error}"
            );
        }
        let none = CloudChoice::Stack {
            file: String::new(),
        };
        assert!(matches!(
            files(&[]).resolve(none),
            Err(EnvironmentFileError::NoFile)
        ));
    }

    #[test]
    fn a_file_that_says_something_else_is_not_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("stack.json");
        for contents in [
            "canary".to_owned(),
            "[\"canary\"]".to_owned(),
            "{}".to_owned(),
            STACK.replace("https://login", "http://login"),
            STACK
                .replace("example/\",", "example/adfs\",")
                .replacen("adfs", "canary", 1),
            STACK.replace("\"vault.local.example\"", "\"canary/x\""),
            STACK.replace("\"vault.local.example\"", "\"\""),
            STACK.replace("https://login", "https://:canary@login"),
            STACK.replace("local.example/\",", "local.example/#canary\","),
            STACK.replace("\"vault.local.example\"", "\"canary.1\""),
            " ".repeat(70_000),
        ] {
            fs::write(&file, contents).unwrap();
            let error = files(&[folder.path()])
                .resolve(stack(&file))
                .unwrap_err()
                .to_string();
            assert!(
                error.contains("stack.json\": expected") && !error.contains("canary"),
                "{error}"
            );
        }
        let error = files(&[folder.path()])
            .resolve(stack(folder.path()))
            .unwrap_err()
            .to_string();
        assert!(error.contains("expected a file"), "{error}");
    }
}
