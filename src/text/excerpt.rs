//! [`Excerpt`], foreign text quoted in a message: a parameter, a name, a line of a service's answer.
//!
//! A message ends in `kubectl describe pod`, in logs and in terminals, and what it quotes may come
//! from an attacker. An excerpt is one line, has no control characters, and has a bounded length.

use std::error::Error;
use std::fmt::{self, Write as _};

/// The most characters of a foreign text that a message shows.
const MAX_CHARS: usize = 80;

/// Shows `text` between double quotes, escaped, on one line, cut after 80 characters.
#[derive(Clone, Copy, Debug)]
pub struct Excerpt<'a>(pub &'a str);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for (count, character) in self.0.chars().enumerate() {
            if count == MAX_CHARS {
                return write!(f, "…\" ({} bytes)", self.0.len());
            }
            match character {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                // `escape_debug` keeps letters of every script and escapes what a terminal would act
                // on, bidirectional overrides included.
                other => write!(f, "{}", other.escape_debug())?,
            }
        }
        f.write_char('"')
    }
}

/// A foreign name by itself, for a field of the log or a label: without quotation marks around it, otherwise
/// escaped as an [`Excerpt`] is, and cut after so many characters.
pub fn plain(text: &str, max_chars: usize) -> String {
    let mut name: String = text
        .chars()
        .take(max_chars)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(max_chars).is_some() {
        name.push('…');
    }
    name
}

/// A service's own sentence on one line: runs of whitespace become one space, and so does what a terminal would
/// act on; what is over `max_chars` is cut.
pub fn one_line(text: &str, max_chars: usize) -> String {
    let mut line = String::new();
    for (index, word) in text
        .split(|c: char| c.is_whitespace() || c.is_control() || turns_text(c))
        .filter(|w| !w.is_empty())
        .enumerate()
    {
        if index > 0 {
            line.push(' ');
        }
        line.push_str(word);
    }
    if let Some((cut, _)) = line.char_indices().nth(max_chars) {
        line.truncate(cut);
        line.push('…');
    }
    line
}

/// The characters that change the order in which text is shown (Unicode's `Bidi_Control`).
fn turns_text(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The causes of an error on one line, outermost first. What repeats the one before it is left out.
pub fn causes(error: &(dyn Error + 'static)) -> String {
    let mut causes = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        let text = one_line(&cause.to_string(), 1000);
        if causes.last() != Some(&text) {
            causes.push(text);
        }
        next = cause.source();
    }
    causes.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_one_bounded_line() {
        for (text, shown) in [
            ("kv1", "\"kv1\""),
            ("", "\"\""),
            ("a\nb\0\"\\", "\"a\\nb\\0\\\"\\\\\""),
            ("\u{1b}[31m\u{202e}", "\"\\u{1b}[31m\\u{202e}\""),
            ("größe", "\"größe\""),
        ] {
            assert_eq!(Excerpt(text).to_string(), shown);
        }
        let long = "x".repeat(100_000);
        let shown = Excerpt(&long).to_string();
        assert!(
            shown.len() < 120 && shown.ends_with("(100000 bytes)"),
            "{shown}"
        );
    }

    #[test]
    fn a_service_text_becomes_one_line() {
        assert_eq!(
            one_line("AADSTS1: a\r\nTrace ID: 1\r\n\r\n", 100),
            "AADSTS1: a Trace ID: 1"
        );
        assert_eq!(one_line("äöüß", 2), "äö…");
        assert_eq!(one_line("a\u{202e}\u{1b}[31mb\u{2028}c", 9), "a [31mb c");
    }
}
