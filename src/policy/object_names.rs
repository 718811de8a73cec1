//! [`ObjectNames`], which objects a [rule](super::rule) lets a pod read: thousands of names and
//! [patterns](super::pattern), each asked about thousands of objects.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde::Deserialize;

use crate::class::object::ObjectKind;
use crate::class::plan::Fetch;
use crate::policy::one_or_more::OneOrMore;
use crate::policy::pattern::{Pattern, PatternError, is_azure_byte, is_made_of};

/// An object in the form in which names of objects are compared, which have no case.
///
/// Source: "Azure Key Vault keys, secrets and certificates overview", section "Object identifiers".
#[derive(Debug)]
pub struct NamedObject {
    kind: ObjectKind,
    name: String,
}

impl NamedObject {
    /// The one that is fetched.
    pub fn of(fetch: &Fetch) -> Self {
        Self {
            kind: fetch.kind,
            name: fetch.name.as_str().to_ascii_lowercase(),
        }
    }
}

/// Objects: by name, or by kind and name (`secret/NAME`) as the driver's object ids are.
#[derive(Debug, Deserialize)]
#[serde(from = "OneOrMore<ObjectPattern>")]
pub struct ObjectNames {
    of_any_kind: Names,
    of_kind: HashMap<ObjectKind, Names>,
}

/// Names and patterns, so that few of them have to be looked at for one name.
#[derive(Debug, Default)]
struct Names {
    whole: HashSet<String>,
    /// By what they start with.
    patterns: BTreeMap<String, Vec<Pattern>>,
    /// How long what they start with is.
    starts: BTreeSet<usize>,
}

impl Names {
    fn add(&mut self, pattern: Pattern) {
        let start = pattern.start().to_owned();
        if pattern.is_name() {
            self.whole.insert(start);
        } else {
            self.starts.insert(start.len());
            self.patterns.entry(start).or_default().push(pattern);
        }
    }

    fn include(&self, name: &str) -> bool {
        self.whole.contains(name)
            || self.starts.iter().any(|length| {
                let start = name.get(..*length);
                let patterns = start.and_then(|start| self.patterns.get(start));
                patterns
                    .is_some_and(|patterns| patterns.iter().any(|pattern| pattern.matches(name)))
            })
    }
}

impl From<OneOrMore<ObjectPattern>> for ObjectNames {
    fn from(list: OneOrMore<ObjectPattern>) -> Self {
        let mut names = Self {
            of_any_kind: Names::default(),
            of_kind: HashMap::new(),
        };
        for ObjectPattern { kind, name } in list {
            match kind {
                Some(kind) => names.of_kind.entry(kind).or_default().add(name),
                None => names.of_any_kind.add(name),
            }
        }
        names
    }
}

impl ObjectNames {
    /// Whether the object is one of them.
    pub fn include(&self, object: &NamedObject) -> bool {
        let of_kind = self.of_kind.get(&object.kind);
        self.of_any_kind.include(&object.name)
            || of_kind.is_some_and(|names| names.include(&object.name))
    }
}

/// One of them.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct ObjectPattern {
    kind: Option<ObjectKind>,
    name: Pattern,
}

impl TryFrom<String> for ObjectPattern {
    type Error = PatternError;

    fn try_from(found: String) -> Result<Self, PatternError> {
        let kinds = [ObjectKind::Secret, ObjectKind::Key, ObjectKind::Certificate];
        let parts = match found.split_once('/') {
            Some((word, name)) => kinds
                .into_iter()
                .find(|kind| kind.as_str() == word)
                .map(|kind| (Some(kind), name)),
            None => Some((None, found.as_str())),
        };
        match parts.filter(|(_, name)| is_made_of(name, is_azure_byte)) {
            Some((kind, name)) => Ok(Self {
                kind,
                name: Pattern::new(&name.to_ascii_lowercase()),
            }),
            None => Err(PatternError {
                expected: "an object's name such as OPENAI-*, or secret/, key/ or cert/ and a name",
                found,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_an_objects_name_is_refused() {
        let object = |text: &str| ObjectPattern::try_from(text.to_owned()).map(drop);
        for text in [
            "",
            "secret/",
            "secrets/a",
            "a/b",
            "Secret/a",
            "a_b",
            "secret/a/b",
            "а",
        ] {
            assert!(object(text).is_err(), "{text}");
        }
        assert!(object("*").is_ok() && object("cert/TLS-*").is_ok());
    }

    /// What is found by where patterns start is what each of them says by itself.
    #[test]
    fn names_are_found_as_each_pattern_would_find_them() {
        let parts = ["", "a", "b", "ab", "*", "a*", "*b", "-"];
        let texts = parts.iter().flat_map(|start| {
            let ends = parts.iter().map(move |end| format!("{start}{end}"));
            ends.filter(|text| !text.is_empty())
        });
        let texts: Vec<_> = texts.collect();
        let plain: Vec<_> = texts.iter().filter(|text| !text.contains('*')).collect();
        for pair in texts.windows(2) {
            let mut names = Names::default();
            for text in pair {
                names.add(Pattern::new(text));
            }
            for name in &plain {
                let expected = pair.iter().any(|text| Pattern::new(text).matches(name));
                assert_eq!(names.include(name), expected, "{pair:?} {name}");
            }
        }
    }

    #[test]
    fn a_kind_is_that_kind_and_none_is_any() {
        let list = ["secret/a", "key/b-*", "C"].map(|text| text.to_owned().try_into().unwrap());
        let list: OneOrMore<ObjectPattern> = Vec::from(list).try_into().unwrap();
        let names = ObjectNames::from(list);
        for (kind, name, expected) in [
            (ObjectKind::Secret, "a", true),
            (ObjectKind::Key, "a", false),
            (ObjectKind::Key, "b-1", true),
            (ObjectKind::Secret, "b-1", false),
            (ObjectKind::Certificate, "c", true),
        ] {
            let name = name.to_owned();
            assert_eq!(names.include(&NamedObject { kind, name }), expected);
        }
    }
}
