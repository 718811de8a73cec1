//! [`Problems`], everything that is wrong with one class, so that it can be put right in one go.
//!
//! Made by [`crate::class::parameters`] and [`crate::class::plan`]. A mount's answer names the first few in its one
//! line ([`crate::explain`]); `provider-azure-rs validate` shows each at its place.

use std::error::Error;
use std::fmt;

/// The most problems that are kept. Whoever may create a pod may write a class with any number of
/// them, and nobody reads more.
const MAX_KEPT: usize = 100;
/// The most problems that one line names.
const MAX_NAMED: usize = 5;
/// The most bytes of a line before it names one more.
const MAX_LINE: usize = 1200;

/// Problems in the order in which they were found. As an error it has at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems<E> {
    kept: Vec<E>,
    /// How many there were beyond [`MAX_KEPT`].
    beyond: usize,
}

impl<E> Default for Problems<E> {
    fn default() -> Self {
        Self {
            kept: Vec::new(),
            beyond: 0,
        }
    }
}

impl<E> Problems<E> {
    /// Notes one more.
    pub fn push(&mut self, problem: E) {
        self.push_with(|| problem);
    }

    /// Notes one more, which is only made if it is kept.
    pub fn push_with(&mut self, problem: impl FnOnce() -> E) {
        if self.kept.len() < MAX_KEPT {
            self.kept.push(problem());
        } else {
            self.beyond += 1;
        }
    }

    /// The value, or the note of what is wrong with it.
    pub fn keep<T>(&mut self, result: Result<T, impl Into<E>>) -> Option<T> {
        result.map_err(|problem| self.push(problem.into())).ok()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// The first one.
    pub fn first(&self) -> Option<&E> {
        self.kept.first()
    }

    /// Those that were kept.
    pub fn iter(&self) -> impl Iterator<Item = &E> {
        self.kept.iter()
    }

    /// How many more there are than were kept.
    pub fn beyond(&self) -> usize {
        self.beyond
    }
}

impl<E: fmt::Display> fmt::Display for Problems<E> {
    /// One problem as it says it; several after one another, and how many are not named.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = String::new();
        let mut named = 0;
        for problem in self.kept.iter().take(MAX_NAMED) {
            if line.len() > MAX_LINE {
                break;
            }
            if named > 0 {
                line.push_str("; also: ");
            }
            line.push_str(problem.to_string().trim_end_matches('.'));
            named += 1;
        }
        f.write_str(&line)?;
        match self.kept.len() + self.beyond - named {
            0 => Ok(()),
            unnamed => write!(f, "; and {unnamed} more"),
        }
    }
}

impl<E: Error> Error for Problems<E> {}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(count: usize, length: usize) -> Problems<String> {
        let mut problems = Problems::default();
        for number in 1..=count {
            problems.push(format!("{number}{}", "x".repeat(length)));
        }
        problems
    }

    #[test]
    fn one_is_said_as_it_is_and_several_in_a_bounded_line() {
        assert_eq!(problems(1, 0).to_string(), "1");
        assert_eq!(problems(3, 0).to_string(), "1; also: 2; also: 3");
        assert_eq!(
            problems(1000, 0).to_string(),
            "1; also: 2; also: 3; also: 4; also: 5; and 995 more"
        );
        let long = problems(1000, 700).to_string();
        assert!(long.len() < 2500 && long.ends_with("; and 998 more"));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let many = problems(1000, 0);
        assert_eq!((many.iter().count(), many.beyond()), (MAX_KEPT, 900));
    }
}
