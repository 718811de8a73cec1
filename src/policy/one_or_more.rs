//! [`OneOrMore`], a list of a [rule](super::rule) that is never empty.

use serde::Deserialize;
use thiserror::Error;

/// A list that says something: an empty one could mean nothing or anything.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Vec<T>", bound = "T: Deserialize<'de>")]
pub struct OneOrMore<T>(Vec<T>);

/// Why a list says nothing.
#[derive(Debug, Error)]
#[error("expected a list with at least one entry, found an empty one")]
pub struct EmptyList;

impl<T> TryFrom<Vec<T>> for OneOrMore<T> {
    type Error = EmptyList;

    fn try_from(list: Vec<T>) -> Result<Self, EmptyList> {
        if list.is_empty() {
            Err(EmptyList)
        } else {
            Ok(Self(list))
        }
    }
}

impl<T> OneOrMore<T> {
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }
}

impl<T> IntoIterator for OneOrMore<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
