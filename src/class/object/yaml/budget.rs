//! [`Budget`], what reading one text of `objects` may cost, with all the entries that are YAML in strings.
//!
//! A limit for each entry would be one for nothing: there may be thousands of them. And a limit on nodes alone would be
//! dear: what aliases and merge keys repeat costs ten times as much as what is written out.

use std::cell::RefCell;
use std::rc::Rc;

use granit_parser::{Event, Parser};
use serde::de::DeserializeOwned;
use serde_saphyr::budget::{BudgetBreach, BudgetReport};
use serde_saphyr::{Error, Options};

use super::{MAX_BYTES, Unreadable};

/// The most values, keys and collections. [`MAX_ENTRIES`](super::MAX_ENTRIES) entries with all their fields have 90,000.
pub(super) const MAX_NODES: usize = 250_000;
/// The most that aliases and merge keys may repeat, in the parser's events: a value is one, a collection two. The
/// incumbent's parser takes 400,000; a thousand entries that share a map of nine fields have 20,000.
pub(super) const MAX_REPEATED: usize = 20_000;
/// The most bytes of all values: those of entries in strings count twice, in the list and by themselves.
const MAX_VALUE_BYTES: usize = 4 * MAX_BYTES;
/// How deep the YAML may be.
const MAX_DEPTH: usize = 64;

/// What is left of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Budget {
    nodes: usize,
    repeated: usize,
    /// What is kept of anchors to be repeated, in events.
    kept: usize,
    bytes: usize,
}

/// Why a text gives no value.
#[derive(Debug)]
pub(super) enum Unread {
    /// There is nothing left of the budget.
    TooMuch,
    /// It is not what was expected.
    Unreadable(Unreadable),
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            nodes: MAX_NODES,
            repeated: MAX_REPEATED,
            kept: MAX_REPEATED,
            bytes: MAX_VALUE_BYTES,
        }
    }
}

impl Budget {
    /// With so much left of it, and nothing that may be repeated.
    #[cfg(test)]
    pub(super) fn of(nodes: usize, bytes: usize) -> Self {
        Self {
            nodes,
            repeated: 0,
            kept: 0,
            bytes,
        }
    }

    /// Takes what a text has that is not read here; nothing, where there is not enough of it.
    pub(super) fn spend(&mut self, nodes: usize, bytes: usize) -> bool {
        let left = self
            .nodes
            .checked_sub(nodes)
            .zip(self.bytes.checked_sub(bytes));
        if let Some(left) = left {
            (self.nodes, self.bytes) = left;
        }
        left.is_some()
    }

    /// What is in the first document of the text. Nobody reads any further ones, as in Go's YAML library.
    pub(super) fn read<T: DeserializeOwned>(&mut self, text: &str) -> Result<Option<T>, Unread> {
        match self.read_whole(text) {
            // Most have no further ones, and then there is nothing to look for.
            Err(Unread::Unreadable(unreadable)) => match first(text) {
                Some(first) => self.read_whole(first),
                None => Err(Unread::Unreadable(unreadable)),
            },
            read => read,
        }
    }

    fn read_whole<T: DeserializeOwned>(&mut self, text: &str) -> Result<Option<T>, Unread> {
        let written = text.contains('*').then(|| events(text));
        let report = Rc::new(RefCell::new(BudgetReport::default()));
        let options = self.options().with_budget_report({
            let report = Rc::clone(&report);
            move |found| *report.borrow_mut() = found
        });
        let result = serde_saphyr::from_str_with_options(text, options);
        let report = report.take();
        self.nodes = self.nodes.saturating_sub(report.nodes);
        self.kept = self.kept.saturating_sub(report.recorded_anchor_events);
        self.bytes = self.bytes.saturating_sub(report.total_scalar_bytes);
        if let Some(written) = written {
            // Where it ends early, it is not known what was still to come.
            let written = if result.is_ok() { written } else { 0 };
            self.repeated = self
                .repeated
                .saturating_sub(report.events.saturating_sub(written));
        }
        result.map_err(|error| {
            if is_too_much(&error) {
                Unread::TooMuch
            } else {
                Unread::Unreadable(error.into())
            }
        })
    }

    /// Bounds for hostile text. A snippet of the source in a message would be long, and says little where
    /// the YAML stands inside YAML.
    fn options(&self) -> Options {
        serde_saphyr::options! {
            with_snippet: false,
            budget: serde_saphyr::budget! {
                max_events: 3 * self.nodes + 10,
                max_nodes: self.nodes,
                max_depth: MAX_DEPTH,
                max_aliases: self.repeated,
                max_anchors: self.nodes,
                max_merge_keys: self.repeated,
                max_recorded_anchor_events: self.kept,
                max_recorded_anchor_bytes: MAX_BYTES,
                max_total_scalar_bytes: self.bytes,
                // What is repeated is counted itself.
                enforce_alias_anchor_ratio: false,
            },
            alias_limits: serde_saphyr::alias_limits! {
                max_total_replayed_events: self.repeated,
            },
        }
    }
}

fn is_too_much(error: &Error) -> bool {
    match error {
        Error::AliasError { error, .. } | Error::WithSnippet { error, .. } => is_too_much(error),
        Error::AliasReplayLimitExceeded { .. } => true,
        Error::Budget { breach, .. } => !matches!(
            breach,
            BudgetBreach::Depth { .. }
                | BudgetBreach::Documents { .. }
                | BudgetBreach::SequenceUnbalanced
        ),
        _ => false,
    }
}

/// How many events there are in a text before anything is repeated.
fn events(text: &str) -> usize {
    Parser::new_from_str(text).map_while(Result::ok).count()
}

/// The first document, where there is something after it. (The library's own way to find it is for readers of any
/// encoding, and brings a decoder for each of them.)
fn first(text: &str) -> Option<&str> {
    let end = Parser::new_from_str(text)
        .map_while(Result::ok)
        .find(|(event, _)| matches!(event, Event::DocumentEnd))
        .and_then(|(_, span)| span.start.byte_offset())?;
    text.get(..end).filter(|first| first.len() < text.len())
}
