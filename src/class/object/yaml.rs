//! The YAML of `objects`, as users write it: a map with `array`, whose elements are YAML maps written
//! as strings (the documented form), or maps as they are; or the list by itself.
//!
//! Scalars stay text: `0644`, `1e3` and `yes` arrive as they were written. Of several documents the
//! first counts, as in the Go provider. The cost of reading is bounded, since the text may come from
//! anyone who may create a pod.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Options;
use serde_saphyr::granit_parser::{Event, Parser};
use thiserror::Error;

use crate::class::property::fields::NAMES;
use crate::text::excerpt::one_line;

/// The most bytes that `objects` may have. Kubernetes allows 1.5 MiB for a whole class; a thousand
/// entries with all their fields fit in this.
const MAX_BYTES: usize = 1024 * 1024;
/// The most entries that `objects` may have. Each is a request to the vault, whose limit is 4,000 in ten seconds for
/// everyone.
const MAX_ENTRIES: usize = 5_000;
/// The most characters of the parser's own words in a message.
const MAX_PROBLEM_CHARS: usize = 200;

/// The fields of one entry: trimmed text by name, `null` counting as absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(BTreeMap<String, String>);

impl Fields {
    /// The field's text; empty where it is absent.
    pub fn get(&self, field: &str) -> &str {
        self.0.get(field).map_or("", String::as_str)
    }

    /// The names of all fields that the entry has, known or not.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl FromIterator<(String, String)> for Fields {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(fields: I) -> Self {
        Self(
            fields
                .into_iter()
                .map(|(name, text)| (name, text.trim().to_owned()))
                .collect(),
        )
    }
}

/// Why the text is not a list of entries.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum YamlError {
    /// More than [`MAX_BYTES`].
    #[error("objects: expected at most {MAX_BYTES} bytes, found {0}")]
    TooLong(usize),
    /// More than [`MAX_ENTRIES`].
    #[error("objects: expected at most {MAX_ENTRIES} entries, found {0}")]
    TooMany(usize),
    /// The outer YAML cannot be read.
    #[error("objects: expected YAML such as array: [...], found {0}")]
    Unreadable(Unreadable),
    /// The outer YAML can be read and has no list in it.
    #[error("objects: expected a list under the key array, found {0}")]
    NoList(&'static str),
    /// One entry is not a map.
    #[error(
        "objects[{index}]: expected a YAML map with objectName and objectType, found {problem}"
    )]
    Entry {
        /// Which, counted from 0.
        index: usize,
        /// What it is instead.
        problem: Unreadable,
    },
}

/// What the parser says about a text that it cannot read.
#[derive(Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// In words, on one line.
    problem: String,
    /// Line and column in the text, counted from 1, where there is a place to name.
    pub at: Option<(usize, usize)>,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

impl From<serde_saphyr::Error> for Unreadable {
    fn from(error: serde_saphyr::Error) -> Self {
        let error = error.without_snippet();
        let place = |location: serde_saphyr::Location| {
            let line = usize::try_from(location.line()).ok()?;
            let column = usize::try_from(location.column()).ok()?;
            (line > 0).then_some((line, column))
        };
        Self {
            // In the words that the library has for those who write YAML, not for programmers.
            problem: one_line(
                &error.render_with_formatter(&serde_saphyr::UserMessageFormatter),
                MAX_PROBLEM_CHARS,
            ),
            at: error.location().and_then(place),
        }
    }
}

/// The entries of `objects`, in order, each the fields of a map or what it is instead. At least one.
pub fn entries(text: &str) -> Result<Vec<Result<Fields, YamlError>>, YamlError> {
    if text.len() > MAX_BYTES {
        return Err(YamlError::TooLong(text.len()));
    }
    let document = first_document::<Document>(text).map_err(YamlError::Unreadable)?;
    let list = match document {
        Some(Document::List(list)) => list,
        Some(Document::NoArray) => return Err(YamlError::NoList("a map without it")),
        None => return Err(YamlError::NoList("nothing")),
    };
    // An empty element (`- ` or `- null`) is dropped, as Go's YAML library does.
    let list: Vec<_> = list.into_iter().flatten().collect();
    if list.len() > MAX_ENTRIES {
        return Err(YamlError::TooMany(list.len()));
    }
    let entries: Vec<_> = list
        .into_iter()
        .enumerate()
        .map(|(index, entry)| match entry {
            Entry::Map(fields) => Ok(fields),
            Entry::Text(text) => {
                inner_map(&text).map_err(|problem| YamlError::Entry { index, problem })
            }
        })
        .collect();
    // The Go provider answers no files here, and the driver then fails with words that help nobody.
    if entries.is_empty() {
        Err(YamlError::NoList("an empty one"))
    } else {
        Ok(entries)
    }
}

/// An entry written as a string that has a YAML map in it.
fn inner_map(text: &str) -> Result<Fields, Unreadable> {
    let found = |what: &str| Unreadable {
        problem: what.to_owned(),
        at: None,
    };
    match first_document::<Entry>(text)? {
        Some(Entry::Map(fields)) => Ok(fields),
        Some(Entry::Text(_)) => Err(found("text that is no map")),
        None => Err(found("nothing")),
    }
}

fn first_document<T: serde::de::DeserializeOwned>(text: &str) -> Result<Option<T>, Unreadable> {
    serde_saphyr::from_str_with_options(first(text), options()).map_err(Unreadable::from)
}

/// The text without any further documents, which nobody reads, as in Go's YAML library. (The library's own way to do
/// that is for readers of any encoding, and brings a decoder for each of them.)
fn first(text: &str) -> &str {
    let end = Parser::new_from_str(text)
        .map_while(Result::ok)
        .find(|(event, _)| matches!(event, Event::DocumentEnd))
        .and_then(|(_, span)| span.start.byte_offset());
    end.and_then(|end| text.get(..end)).unwrap_or(text)
}

/// Bounds for hostile text. A snippet of the source in a message would be long, and says little where
/// the YAML stands inside YAML.
fn options() -> Options {
    serde_saphyr::options! {
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_events: 250_000,
            max_nodes: 100_000,
            max_depth: 64,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_recorded_anchor_events: 50_000,
            max_recorded_anchor_bytes: MAX_BYTES,
            max_total_scalar_bytes: 2 * MAX_BYTES,
        },
    }
}

enum Document {
    /// A map with a list under the key `array`, or a list by itself.
    List(Vec<Option<Entry>>),
    /// A map without that key.
    NoArray,
}

enum Entry {
    Text(String),
    Map(Fields),
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DocumentVisitor;

        impl<'de> Visitor<'de> for DocumentVisitor {
            type Value = Document;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map with the key array, or a list")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
                let mut document = Document::NoArray;
                while let Some(key) = map.next_key::<String>()? {
                    if key == "array" {
                        let list = map.next_value::<Option<_>>()?;
                        document = Document::List(list.unwrap_or_default());
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(document)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Document, A::Error> {
                let mut list = Vec::new();
                while let Some(entry) = seq.next_element()? {
                    list.push(entry);
                }
                Ok(Document::List(list))
            }
        }

        deserializer.deserialize_any(DocumentVisitor)
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntryVisitor;

        impl<'de> Visitor<'de> for EntryVisitor {
            type Value = Entry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map with objectName and objectType")
            }

            fn visit_str<E>(self, text: &str) -> Result<Entry, E> {
                Ok(Entry::Text(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
                let mut fields = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    let text = if NAMES.contains(&name.as_str()) {
                        map.next_value::<Option<String>>()?.unwrap_or_default()
                    } else {
                        // An unknown field may hold anything; only its name is of interest.
                        map.next_value::<IgnoredAny>()?;
                        String::new()
                    };
                    fields.push((name, text));
                }
                Ok(Entry::Map(fields.into_iter().collect()))
            }
        }

        deserializer.deserialize_any(EntryVisitor)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn names(text: &str) -> Vec<String> {
        entries(text)
            .unwrap()
            .iter()
            .map(|fields| fields.as_ref().unwrap().get("objectName").to_owned())
            .collect()
    }

    #[test]
    fn entries_come_as_strings_as_maps_and_as_a_plain_list() {
        for text in [
            "array:\n  - |\n    objectName: a\n    objectType: secret\n  - |\n    objectName: b\n",
            "array:\n  - objectName: a\n    objectType: secret\n  - objectName: b\n",
            "- objectName: a\n- |\n  objectName: b\n",
            "array: [\"objectName: a\", {objectName: b}]",
            "array:\r\n  - |\r\n    objectName: a\r\n  - |\r\n    objectName: b\r\n",
            "# a comment\narray: # another\n  - objectName: a # and one more\n  -\n  - objectName: b\n",
            "{\"array\": [\"{\\\"objectName\\\": \\\"a\\\"}\", \"objectName: b\"]}",
            "array: [{objectName: &x a}, {objectName: b, objectAlias: *x}]",
            "---\narray: [objectName: a, objectName: b]\n---\narray: [objectName: c]\n",
            "array: [objectName: a, objectName: ' b ', null]\nother: {deep: [1]}",
            "array: [{objectName: a, tags: {x: [y]}}, {objectName: b, objectAlias: null}]",
        ] {
            assert_eq!(names(text), ["a", "b"], "{text}");
        }
    }

    #[test]
    fn scalars_stay_as_they_were_written() {
        for text in [
            "0644",
            "1e3",
            "0123",
            "yes",
            "0x10",
            "1_000",
            "1.50",
            "12345",
            "2026-01-01",
            "true",
            ".5",
        ] {
            assert_eq!(names(&format!("array: [\"objectName: {text}\"]")), [text]);
            assert_eq!(names(&format!("array:\n- objectName: {text}")), [text]);
        }
        for text in ["~", "null", "", "\"\""] {
            assert_eq!(
                names(&format!("array:\n- objectName: {text}")),
                [""],
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_list_of_maps_is_refused() {
        let many = format!("array: [{}]", "objectName: a,".repeat(MAX_ENTRIES + 1));
        for (text, message) in [
            ("", "found nothing"),
            ("# only a comment", "found nothing"),
            ("array:", "an empty one"),
            ("array: []", "an empty one"),
            ("array: [null]", "an empty one"),
            ("objects: []", "a map without it"),
            ("just text", "objects: "),
            ("array: {a: b}", "objects: "),
            ("array: [\n", "objects: "),
            ("\tarray: []", "objects: "),
            ("array: [5]", "objects: "),
            ("array: ['text']", "objects[0]: expected a YAML map"),
            ("array: ['a: b', '']", "objects[1]: "),
            ("array: ['a: [']", "objects[0]: "),
            ("array: [\"objectName: a\\nobjectName: b\"]", "duplicate"),
            ("array: [objectName: [a]]", "objects: "),
            (many.as_str(), "at most 5000 entries, found 5001"),
        ] {
            let error = entries(text)
                .and_then(|entries| entries.into_iter().collect::<Result<Vec<_>, _>>())
                .unwrap_err()
                .to_string();
            assert!(
                error.contains(message),
                "{text:?}: {error} should contain {message}"
            );
            assert!(!error.contains('\n') && error.len() < 400, "{error}");
        }
    }

    #[test]
    fn hostile_text_costs_little() {
        let deep = format!("array: {}", "[".repeat(100_000));
        let long = "a".repeat(MAX_BYTES + 1);
        let wide = format!("array: [{}]", "a,".repeat(200_000));
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..12 {
            let previous = format!("*a{},", level - 1).repeat(10);
            writeln!(bomb, "a{level}: &a{level} [{previous}]").unwrap();
        }
        bomb.push_str("array: [*a11]\n");
        for text in [deep, long, wide, bomb] {
            assert!(entries(&text).is_err());
        }
    }
}
