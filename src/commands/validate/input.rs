//! The files that a check reads: those that are named, all manifests below a folder, and standard input.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// The most bytes of one file. Kubernetes takes 1.5 MiB for one object.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// A file's text and what to call it.
#[derive(Debug)]
pub struct Input {
    /// Its path, or `<stdin>`.
    pub name: String,
    pub text: String,
}

/// Why a file could not be read.
#[derive(Debug, Error)]
pub enum InputError {
    /// The file or folder.
    #[error("{name}: cannot be read")]
    Unreadable {
        /// Its path, or `<stdin>`.
        name: String,
        source: io::Error,
    },
    /// Something that no manifest is.
    #[error("{name}: expected {expected}")]
    NoManifest {
        /// Its path, or `<stdin>`.
        name: String,
        /// What a manifest is.
        expected: &'static str,
    },
}

/// The paths of a command line, with folders replaced by the manifests in them, sorted by path.
pub fn expand(paths: &[PathBuf]) -> Vec<Result<PathBuf, InputError>> {
    let mut files = Vec::new();
    for path in paths {
        if path != Path::new("-") && path.is_dir() {
            folder(path, &mut files);
        } else {
            files.push(Ok(path.clone()));
        }
    }
    files
}

/// The manifests below a folder. Hidden files and folders are none of the user's manifests (`.git`, and
/// the `..data` of a ConfigMap), and links to folders may lead in circles.
fn folder(path: &Path, files: &mut Vec<Result<PathBuf, InputError>>) {
    let unreadable = |source| InputError::Unreadable {
        name: name(path),
        source,
    };
    let entries = fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut entries = match entries {
        Ok(entries) => entries,
        Err(error) => {
            files.push(Err(unreadable(error)));
            return;
        }
    };
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        let manifest = path.extension().is_some_and(|extension| {
            ["yaml", "yml", "json"]
                .iter()
                .any(|known| extension.eq_ignore_ascii_case(known))
        });
        match entry.file_type() {
            _ if hidden => {}
            Ok(kind) if kind.is_dir() => folder(&path, files),
            Ok(_) if manifest && path.is_file() => files.push(Ok(path)),
            Ok(_) => {}
            Err(error) => files.push(Err(unreadable(error))),
        }
    }
}

/// Reads a file, or standard input where it is `-`.
pub fn read(path: &Path) -> Result<Input, InputError> {
    let name = name(path);
    let bytes = if path == Path::new("-") {
        bounded(io::stdin().lock())
    } else {
        fs::File::open(path).and_then(bounded)
    };
    let bytes = bytes.map_err(|source| InputError::Unreadable {
        name: name.clone(),
        source,
    })?;
    let no_manifest = |expected| InputError::NoManifest {
        name: name.clone(),
        expected,
    };
    if bytes.len() as u64 > MAX_BYTES {
        return Err(no_manifest("at most 16 MiB"));
    }
    // An editor on Windows may have put a mark first.
    let bytes = match bytes.strip_prefix(b"\xef\xbb\xbf") {
        Some(marked) => marked.to_vec(),
        None => bytes,
    };
    let text = String::from_utf8(bytes).map_err(|_| no_manifest("text in UTF-8"))?;
    Ok(Input { name, text })
}

fn bounded(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A path as it is shown: one harmless line.
fn name(path: &Path) -> String {
    if path == Path::new("-") {
        return "<stdin>".to_owned();
    }
    path.to_string_lossy()
        .chars()
        .map(|character| {
            if character.is_control() {
                '\u{fffd}'
            } else {
                character
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_gives_the_manifests_below_it() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("sub/.git")).unwrap();
        for file in [
            "b.yaml",
            "a.YML",
            "sub/c.json",
            "sub/d.txt",
            "sub/.git/e.yaml",
            ".f.yaml",
        ] {
            fs::write(root.join(file), "").unwrap();
        }
        std::os::unix::fs::symlink(root, root.join("sub/loop")).unwrap();
        let files: Vec<_> = expand(&[root.to_owned(), "-".into(), "none.yaml".into()])
            .into_iter()
            .map(|file| file.unwrap())
            .map(|file| file.strip_prefix(root).unwrap_or(&file).to_owned())
            .collect();
        let expected = ["a.YML", "b.yaml", "sub/c.json", "-", "none.yaml"].map(PathBuf::from);
        assert_eq!(files, expected);
    }

    #[test]
    fn what_is_no_text_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.yaml");
        fs::write(&file, b"\xff\xfe").unwrap();
        let error = read(&file).unwrap_err().to_string();
        assert!(error.ends_with("a.yaml: expected text in UTF-8"), "{error}");
        assert!(read(folder.path()).is_err());
    }
}
