//! [`Note`], the text of an event.

use crate::text::excerpt::{cut, one_line};

/// The most bytes of a note.
///
/// Source: Kubernetes' `pkg/apis/core/validation/events.go`, `NoteLengthLimit`, which counts bytes.
const MAX_BYTES: usize = 1024;
/// What stands for what is left out.
const LEFT_OUT: &str = "…";

/// The text of an event: one line without control characters, of at most 1,024 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note(String);

impl Note {
    /// What happened, and what must be read to its last word, such as what to do. Where both are too long, the first is cut
    /// at its end, and only then the second.
    pub fn new(begin: &str, end: &str) -> Self {
        let (begin, end) = (one_line(begin, usize::MAX), one_line(end, usize::MAX));
        let end = shortened(&end, MAX_BYTES);
        let gap = usize::from(!begin.is_empty() && !end.is_empty());
        let begin = shortened(&begin, MAX_BYTES.saturating_sub(end.len() + gap));
        Self(match (begin.is_empty(), end.is_empty()) {
            (true, _) => end,
            (_, true) => begin,
            _ => format!("{begin} {end}"),
        })
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The text, with an ellipsis for its end where it has more bytes; nothing where not even that has room.
fn shortened(text: &str, max_bytes: usize) -> String {
    if text.len() <= max_bytes {
        return text.to_owned();
    }
    match max_bytes.checked_sub(LEFT_OUT.len()) {
        Some(room) => format!("{}{LEFT_OUT}", cut(text, room).trim_end()),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_must_be_read_survives() {
        let long = "ä".repeat(600);
        for (begin, end, expected) in [
            ("", "", String::new()),
            ("It failed.", "", "It failed.".to_owned()),
            ("", "Mend it.", "Mend it.".to_owned()),
            ("It failed.", "Mend it.", "It failed. Mend it.".to_owned()),
            ("a\nb\u{1b}[31m", "c\u{202e}d", "a b [31m c d".to_owned()),
            // 1,024 bytes less those of the end, a space and the ellipsis leave room for 506 letters.
            (&long, "Mend it.", format!("{}… Mend it.", "ä".repeat(506))),
            ("It failed.", &long, format!("{}…", "ä".repeat(510))),
            (&"x".repeat(1024), "", "x".repeat(1024)),
            (&"x".repeat(1025), "", format!("{}…", "x".repeat(1021))),
            // There is room for an ellipsis and no word.
            (
                "abcdefgh",
                &"y".repeat(1020),
                format!("… {}", "y".repeat(1020)),
            ),
            ("abcdefgh", &"y".repeat(1022), "y".repeat(1022)),
            ("abcdefgh", &"y".repeat(1024), "y".repeat(1024)),
        ] {
            assert_eq!(Note::new(begin, end).as_str(), expected);
        }
    }

    proptest! {
        #[test]
        fn a_note_is_one_bounded_line(begin in "\\PC{0,1200}|.{0,40}", end in ".{0,700}") {
            let note = Note::new(&begin, &end);
            prop_assert!(note.as_str().len() <= MAX_BYTES);
            prop_assert!(!note.as_str().contains(char::is_control));
            let end = one_line(&end, usize::MAX);
            prop_assert!(end.len() > MAX_BYTES || note.as_str().ends_with(&end));
        }
    }
}
