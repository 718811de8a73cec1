//! The file that an `objectName` of `secretObjects` probably means, where there is none by that name.

use crate::class::parameters::closest_of;
use crate::class::plan::Fetch;
use crate::text::excerpt::Excerpt;

/// The most paths that a name is compared with to find the one that was meant.
const MAX_COMPARED: usize = 200;

/// How to name a file that there is.
pub fn advice(name: &str, fetches: &[(usize, Fetch)]) -> String {
    let certificate_part = name
        .strip_suffix(".crt")
        .or_else(|| name.strip_suffix(".key"))
        .is_some_and(|whole| fetches.iter().any(|(_, fetch)| fetch.may_write(whole)));
    if certificate_part {
        return "start the provider (and this check) with --write-cert-and-key-in-separate-files, or name the whole file"
            .to_owned();
    }
    let of_object = fetches
        .iter()
        .find(|(_, fetch)| fetch.name.as_str() == name || fetch.path.as_str() == name);
    if let Some((index, fetch)) = of_object {
        let file = Excerpt(&fetch.first_path()).to_string();
        return match fetch.history {
            Some(_) => format!(
                "write objectName: {file}, the newest version of objects[{index}], which has an objectVersionHistory"
            ),
            None => format!("write objectName: {file}, the objectAlias of objects[{index}]"),
        };
    }
    let paths: Vec<_> = fetches
        .iter()
        .take(MAX_COMPARED)
        .map(|(_, fetch)| fetch.first_path())
        .collect();
    match closest_of(name, paths.iter().map(String::as_str)) {
        Some(path) => format!("write objectName: {}", Excerpt(path)),
        None => "write the objectAlias, or else the objectName, of an entry of objects".to_owned(),
    }
}
