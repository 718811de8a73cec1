//! Long lines in a terminal.

/// Puts words on lines of at most `width` characters. A longer word gets a line of its own.
pub fn wrap<'a>(words: impl Iterator<Item = &'a str>, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_whole_and_lines_short() {
        assert_eq!(
            wrap("one two three unbreakable".split(' '), 8),
            ["one two", "three", "unbreakable"]
        );
        assert!(wrap("".split_whitespace(), 8).is_empty());
    }
}
