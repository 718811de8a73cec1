//! The YAML of `objects`, as users write it: a map with `array`, whose elements are YAML maps written
//! as strings (the documented form), or maps as they are; or the list by itself.
//!
//! Scalars stay text: `0644`, `1e3` and `yes` arrive as they were written. Of several documents the
//! first counts, as in the Go provider. The cost of reading is bounded by one [`budget`] for the list and all of
//! its entries, since the text may come from anyone who may create a pod.

mod budget;
mod plain;

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use thiserror::Error;

use self::budget::{Budget, MAX_NODES, MAX_REPEATED, Unread};
use crate::class::property::fields::NAMES;
use crate::shares::Stop;
use crate::text::excerpt::one_line;

/// The most bytes that `objects` may have. Kubernetes allows 1.5 MiB for a whole class; a thousand
/// entries with all their fields fit in this.
pub const MAX_BYTES: usize = 1024 * 1024;
/// The most entries that `objects` may have. Each is a request to the vault, whose limit is 4,000 in ten seconds for
/// everyone.
const MAX_ENTRIES: usize = 5_000;
/// The most entries that cannot be read before the rest is left. Each costs several times what a good one does, and a
/// message names fewer.
const MAX_UNREADABLE: usize = 10;
/// The most bytes of a text that is read in well under a millisecond, if it repeats nothing.
const MAX_SMALL: usize = 4 * 1024;
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
    /// All of it, or all of it up to the end of an entry, is more than one class may cost.
    #[error(
        "{}: expected at most {MAX_NODES} values in all of objects, and at most {MAX_REPEATED} that are repeated by \
         aliases (*) and merge keys (<<), found more; write the entries out, or spread them over several classes",
        place(*index)
    )]
    TooMuch {
        /// The entry with which it is too much, counted from 0; the list itself where there is none.
        index: Option<usize>,
    },
    /// So many of the entries before these cannot be read that nobody looked at these.
    #[error(
        "objects[{first}]: {count} entries from here on have not been looked at, after {MAX_UNREADABLE} that cannot be read"
    )]
    Unseen {
        /// The first of them, counted from 0.
        first: usize,
        /// How many there are.
        count: usize,
    },
    /// Nobody waits for the entries any longer.
    #[error("objects: nobody waits for them any longer")]
    Stopped,
}

fn place(index: Option<usize>) -> String {
    index.map_or("objects".to_owned(), |index| format!("objects[{index}]"))
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

/// Whether reading the text costs so little that it may be done anywhere: it is short, and repeats nothing.
pub fn is_small(text: &str) -> bool {
    text.len() <= MAX_SMALL && !text.contains(['&', '*']) && !text.contains("<<")
}

/// The entries of `objects`, in order, each the fields of a map or what it is instead. At least one.
///
/// The last one stands for several, where it is [`YamlError::Unseen`].
pub fn entries(text: &str, stop: &Stop) -> Result<Vec<Result<Fields, YamlError>>, YamlError> {
    if text.len() > MAX_BYTES {
        return Err(YamlError::TooLong(text.len()));
    }
    match plain::entries(text) {
        Some(_) if stop.is_set() => Err(YamlError::Stopped),
        Some(entries) => Ok(entries.into_iter().map(Ok).collect()),
        None => parsed_entries(text, stop, inner_map),
    }
}

/// The same by the parser alone, which must not make a difference.
#[cfg(any(test, feature = "fuzzing"))]
pub fn entries_by_parser(
    text: &str,
    stop: &Stop,
) -> Result<Vec<Result<Fields, YamlError>>, YamlError> {
    if text.len() > MAX_BYTES {
        return Err(YamlError::TooLong(text.len()));
    }
    parsed_entries(text, stop, inner_map_by_parser)
}

/// The entries, as the parser finds them.
fn parsed_entries(
    text: &str,
    stop: &Stop,
    inner_map: fn(&str, &mut Budget) -> Result<Fields, Unread>,
) -> Result<Vec<Result<Fields, YamlError>>, YamlError> {
    let mut budget = Budget::default();
    let document = budget.read(text).map_err(|unread| match unread {
        Unread::TooMuch => YamlError::TooMuch { index: None },
        Unread::Unreadable(problem) => YamlError::Unreadable(problem),
    })?;
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
    // The Go provider answers no files here, and the driver then fails with words that help nobody.
    if list.is_empty() {
        return Err(YamlError::NoList("an empty one"));
    }
    let count = list.len();
    let mut entries = Vec::with_capacity(count);
    let mut unreadable = 0;
    for (index, entry) in list.into_iter().enumerate() {
        if stop.is_set() {
            return Err(YamlError::Stopped);
        }
        if unreadable == MAX_UNREADABLE {
            entries.push(Err(YamlError::Unseen {
                first: index,
                count: count - index,
            }));
            break;
        }
        let fields = match entry {
            Entry::Map(fields) => Ok(fields),
            Entry::Text(text) => inner_map(&text, &mut budget),
        };
        match fields {
            Ok(fields) => entries.push(Ok(fields)),
            Err(Unread::Unreadable(problem)) => {
                unreadable += 1;
                entries.push(Err(YamlError::Entry { index, problem }));
            }
            // Whatever else is wrong with the entries, this is why they cannot be read.
            Err(Unread::TooMuch) => return Err(YamlError::TooMuch { index: Some(index) }),
        }
    }
    Ok(entries)
}

/// An entry written as a string that has a YAML map in it.
fn inner_map(text: &str, budget: &mut Budget) -> Result<Fields, Unread> {
    match plain::fields(text, budget) {
        Some(fields) => Ok(fields),
        None => inner_map_by_parser(text, budget),
    }
}

fn inner_map_by_parser(text: &str, budget: &mut Budget) -> Result<Fields, Unread> {
    let found = |what: &str| {
        Unread::Unreadable(Unreadable {
            problem: what.to_owned(),
            at: None,
        })
    };
    match budget.read(text)? {
        Some(Entry::Map(fields)) => Ok(fields),
        Some(Entry::Text(_)) => Err(found("text that is no map")),
        None => Err(found("nothing")),
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
mod tests;
