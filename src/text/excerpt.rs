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

/// The beginning of a text, of at most so many bytes.
pub fn cut(text: &str, max_bytes: usize) -> &str {
    let mut end = max_bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
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

/// A service's own sentence about a refusal, for a message that its pod's events show: one line, without the Azure
/// resources of who asked, and with both its ends where it is over `max_chars`: what was found comes last in it.
pub fn refusal_line(text: &str, max_chars: usize) -> String {
    let line = one_line(&without_tokens(&without_resources(text)), usize::MAX);
    let length = line.chars().count();
    if length <= max_chars {
        return line;
    }
    let end = max_chars / 2;
    let start = max_chars - end;
    let place = |index| line.char_indices().nth(index).map_or(line.len(), |at| at.0);
    format!("{}…{}", &line[..place(start)], &line[place(length - end)..])
}

/// Leaves out the claims that name Azure resources of the caller, such as `xms_mirid` and `xms_az_rid`, and what
/// other resource IDs say beyond `/subscriptions/`.
///
/// Source: "Access token claims reference" of the Microsoft identity platform, for the prefix of such claims.
fn without_resources(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let mut claims = lower.match_indices("xms_").map(|(at, _)| at).peekable();
    let mut resources = lower.match_indices("/subscriptions/").peekable();
    let mut kept = String::with_capacity(text.len());
    let mut at = 0;
    loop {
        while claims.next_if(|found| *found < at).is_some() {}
        while resources.next_if(|(found, _)| *found < at).is_some() {}
        let (claim, resource) = (claims.peek(), resources.peek().map(|(found, _)| found));
        let Some(&found) = claim.into_iter().chain(resource).min() else {
            break;
        };
        kept.push_str(&text[at..found]);
        if claim == Some(&found) {
            // With the semicolon that led to it.
            if kept.ends_with(';') {
                kept.pop();
            }
        } else {
            kept.push_str("/subscriptions/…");
        }
        at = found + length_of_word(&text[found..]);
    }
    kept.push_str(&text[at..]);
    kept
}

/// Leaves out what looks like a token or a part of one, which what stands between may send back: base64url of `{"`, and
/// what is so long and so mixed that no word, name or ID is. Whoever knows the very token has left it out before.
fn without_tokens(text: &str) -> String {
    const BEGIN: &str = "eyJ";
    // Of base64 and base64url, the dots between a token's parts, and the percent signs that may stand in their place.
    let of_token = |c: char| {
        c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '=' | '+' | '/' | '%' | '~')
    };
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(of_token) {
        let (before, from) = rest.split_at(start);
        let (word, after) = from.split_at(from.find(|c| !of_token(c)).unwrap_or(from.len()));
        kept.push_str(before);
        match word.find(BEGIN) {
            _ if is_opaque(word) => kept.push('…'),
            Some(at) => {
                kept.push_str(&word[..at]);
                kept.push('…');
            }
            None => kept.push_str(word),
        }
        rest = after;
    }
    kept.push_str(rest);
    kept
}

/// Whether a word has a part as long and mixed as an encoded secret's: capitals, small letters and digits, or more
/// hexadecimal digits than a SHA-256 digest.
fn is_opaque(word: &str) -> bool {
    const MIN_MIXED: usize = 48;
    const MAX_HEX: usize = 64;
    let has = |part: &str, is: fn(&u8) -> bool| part.as_bytes().iter().any(is);
    word.split(['/', '.', '-', '%']).any(|part| {
        let is_hex = part.len() > MAX_HEX && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_mixed = has(part, u8::is_ascii_uppercase)
            && has(part, u8::is_ascii_lowercase)
            && has(part, u8::is_ascii_digit);
        is_hex || part.len() >= MIN_MIXED && is_mixed
    })
}

/// The bytes up to what ends a claim or a resource ID. Names of resource groups may have parentheses and commas, which
/// end it only where nothing of it follows.
fn length_of_word(text: &str) -> usize {
    let ends = |c: char| c.is_whitespace() || matches!(c, ';' | '\'' | '"');
    let word = &text[..text.find(ends).unwrap_or(text.len())];
    word.trim_end_matches([',', ')', '.']).len()
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
    fn a_cut_text_is_one() {
        for (text, max, expected) in [
            ("", 3, ""),
            ("abc", 3, "abc"),
            ("abc", 2, "ab"),
            ("aé", 2, "a"),
            ("é", 1, ""),
        ] {
            assert_eq!(cut(text, max), expected);
        }
    }

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
    fn a_refusal_names_no_resources_of_who_asked() {
        for (text, expected) in [
            ("plain; text", "plain; text"),
            (
                "Caller: appid=a;oid=b;iss=c/;xms_mirid=/subscriptions/s/resourcegroups/MC_rg/x;xms_az_rid=/subscriptions/s\r\nVault: v",
                "Caller: appid=a;oid=b;iss=c/ Vault: v",
            ),
            (
                "application 'appid=a;XMS_MIRID=/Subscriptions/s;oid=b' does not",
                "application 'appid=a;oid=b' does not",
            ),
            ("xms_az_rid=/subscriptions/s", ""),
            (
                "Resource: '/subscriptions/s/resourcegroups/rg/x' is",
                "Resource: '/subscriptions/…' is",
            ),
            ("größe;xms_é=ü;ß", "größe;ß"),
            (
                "a;xms_mirid=/subscriptions/s/resourcegroups/MC(prod,eu)_team/providers/x;b (/subscriptions/s/g).",
                "a;b (/subscriptions/…).",
            ),
            (
                "bad header 'Bearer eyJ0eXAi.eyJhdWQi.c2ln-_' sent",
                "bad header 'Bearer …' sent",
            ),
            (
                "at https://kv1.vault.azure.net/secrets/some-Name-1/0123456789abcdef0123456789abcdef?a=b",
                "at https://kv1.vault.azure.net/secrets/some-Name-1/0123456789abcdef0123456789abcdef?a=b",
            ),
            (
                // A token once more in base64, and in hexadecimal digits.
                "sent 'Basic QmVhcmVyIGV5SjBlWEFpT2lKS1YxUWlMQ0poYkdjaU9pSlNVekkxTmlKOS5leUpoZFdRaU9pSm8=', \
                 65794a30655841694f694a4b563151694c434a68624763694f694a53557a49314e694a39.",
                "sent 'Basic …', …",
            ),
            // The payload of one by itself.
            (
                "rest of it: hdWQiOiJodHRwczovL3ZhdWx0LmF6dXJlLm5ldCIsImlzcyI6Imh0dHBzOi8vc3RzLndpbmRvd3MubmV0L \
                 end",
                "rest of it: … end",
            ),
        ] {
            assert_eq!(refusal_line(text, 400), expected);
        }
    }

    #[test]
    fn a_long_refusal_keeps_both_its_ends() {
        let text = format!("begin {} end", "ä".repeat(500));
        let line = refusal_line(&text, 21);
        assert_eq!(line, "begin äääää…ääääää end");
        assert_eq!(refusal_line("short", 5), "short");
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
