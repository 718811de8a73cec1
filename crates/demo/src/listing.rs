//! A folder as `ls -la` shows it, made here so that it looks the same wherever the demo runs.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use time::OffsetDateTime;
use time::macros::format_description;

/// Times are in UTC.
pub fn list(folder: &Path) -> io::Result<String> {
    let mut names = vec![".".into(), "..".into()];
    for entry in fs::read_dir(folder)? {
        names.push(entry?.file_name());
    }
    names.sort();
    let rows = names
        .iter()
        .map(|name| Row::of(folder, name))
        .collect::<io::Result<Vec<_>>>()?;
    let width = |column: fn(&Row) -> &str| rows.iter().map(|row| column(row).len()).max();
    let widths = [
        width(|row| &row.links),
        width(|row| &row.owner),
        width(|row| &row.group),
        width(|row| &row.size),
    ]
    .map(Option::unwrap_or_default);
    // Blocks have 512 bytes in stat(2) and 1024 in ls(1).
    let mut text = format!(
        "total {}\n",
        rows.iter().map(|row| row.blocks).sum::<u64>() / 2
    );
    for row in &rows {
        text += &row.line(widths);
    }
    Ok(text)
}

/// One line.
struct Row {
    mode: String,
    links: String,
    owner: String,
    group: String,
    size: String,
    time: String,
    name: String,
    blocks: u64,
}

impl Row {
    fn of(folder: &Path, name: &OsStr) -> io::Result<Self> {
        let path = folder.join(name);
        let found = fs::symlink_metadata(&path)?;
        let target = if found.is_symlink() {
            format!(" -> {}", fs::read_link(&path)?.display())
        } else {
            String::new()
        };
        Ok(Self {
            mode: mode(&found),
            links: found.nlink().to_string(),
            owner: name_of("/etc/passwd", found.uid()),
            group: name_of("/etc/group", found.gid()),
            size: found.len().to_string(),
            time: time(&found),
            name: format!("{}{target}", name.display()),
            blocks: found.blocks(),
        })
    }

    fn line(&self, [links, owner, group, size]: [usize; 4]) -> String {
        format!(
            "{} {:>links$} {:owner$} {:group$} {:>size$} {} {}\n",
            self.mode, self.links, self.owner, self.group, self.size, self.time, self.name
        )
    }
}

/// Such as `drwxr-xr-x`. The provider writes no special bits and no special files.
fn mode(found: &Metadata) -> String {
    let kind = if found.is_symlink() {
        'l'
    } else if found.is_dir() {
        'd'
    } else {
        '-'
    };
    let bits = (0..9).map(|bit| {
        if found.mode() & (0o400 >> bit) == 0 {
            '-'
        } else {
            ['r', 'w', 'x'][bit % 3]
        }
    });
    std::iter::once(kind).chain(bits).collect()
}

fn time(found: &Metadata) -> String {
    let format = format_description!("[month repr:short] [day padding:space] [hour]:[minute]");
    OffsetDateTime::from_unix_timestamp(found.mtime())
        .ok()
        .and_then(|time| time.format(format).ok())
        .unwrap_or_else(|| "?".to_owned())
}

/// The name that a file such as passwd(5) has for a number, else the number.
fn name_of(file: &str, id: u32) -> String {
    let id = id.to_string();
    let known = fs::read_to_string(file).unwrap_or_default();
    known
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.get(2) == Some(&id.as_str()))
        .map_or(id.clone(), |fields| fields[0].to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_line_has_what_ls_has() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o750)).unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "12345").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("file", folder.path().join("link")).unwrap();
        let text = list(folder.path()).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("total "));
        assert!(
            lines[1].starts_with("drwxr-x--- ") && lines[1].ends_with(" ."),
            "{text}"
        );
        assert!(lines[2].ends_with(" .."), "{text}");
        assert!(lines[3].starts_with("-rw-r----- "), "{text}");
        assert!(
            lines[3].contains(" 5 ") && lines[3].ends_with(" file"),
            "{text}"
        );
        assert!(lines[4].starts_with("lrwxrwxrwx "), "{text}");
        assert!(lines[4].ends_with(" link -> file"), "{text}");
        assert_eq!(lines.len(), 5);
    }
}
