//! What nearly every class writes, read without the YAML parser: [`entries`] of the documented form, and the [`fields`]
//! of one entry, in lines of a field and a word.
//!
//! The parser takes most of the time that a mount of many objects costs by itself. Nothing here judges: what is not
//! certainly the same to the parser, and all that is wrong, is None, and the parser reads it. Tests hold that both agree.

use std::collections::BTreeMap;

use super::budget::Budget;
use super::{Fields, MAX_ENTRIES};
use crate::class::property::fields::NAMES;

/// The most characters of a line. YAML gives longer ones rules of their own.
const MAX_LINE: usize = 512;

/// All entries of a text such as
///
/// ```yaml
/// array:
///   - |
///     objectName: a
///     objectType: secret
/// ```
///
/// which costs no more than all of the parser's budget has.
pub(super) fn entries(text: &str) -> Option<Vec<Fields>> {
    let mut lines = lines(text);
    if lines.next()? != "array:" {
        return None;
    }
    let mut entries: Vec<Fields> = Vec::new();
    // How far the list is indented, and what is in the current entry.
    let (mut outside, mut inside) = (None, None);
    for line in lines {
        let content = line.trim_start_matches(' ');
        let indent = line.len() - content.len();
        if matches!(content, "- |" | "- |-") {
            let is_next = entries.last().is_none_or(|before| !before.0.is_empty());
            if !is_next || *outside.get_or_insert(indent) != indent || entries.len() == MAX_ENTRIES
            {
                return None;
            }
            entries.push(Fields::default());
            inside = None;
        } else {
            let is_inside = outside.is_some_and(|outside| indent > outside);
            if !is_inside || *inside.get_or_insert(indent) != indent {
                return None;
            }
            insert(&mut entries.last_mut()?.0, content)?;
        }
    }
    let is_whole = entries.last().is_some_and(|last| !last.0.is_empty());
    is_whole.then_some(entries)
}

/// The fields of one entry, if there is enough left of the budget. It then costs what it costs the parser.
pub(super) fn fields(text: &str, budget: &mut Budget) -> Option<Fields> {
    let mut fields = BTreeMap::new();
    let mut bytes = 0;
    for line in lines(text) {
        bytes += insert(&mut fields, line)?;
    }
    let nodes = 1 + 2 * fields.len();
    budget.spend(nodes, bytes).then_some(Fields(fields))
}

fn lines(text: &str) -> std::str::Split<'_, char> {
    text.strip_suffix('\n').unwrap_or(text).split('\n')
}

/// Adds the field of a line, and gives the bytes of its name and its value.
fn insert(fields: &mut BTreeMap<String, String>, line: &str) -> Option<usize> {
    let is_printable = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    if line.len() > MAX_LINE || !line.bytes().all(is_printable) {
        return None;
    }
    let (name, rest) = line.split_once(':')?;
    if !NAMES.contains(&name) || !(rest.is_empty() || rest.starts_with(' ')) {
        return None;
    }
    let (value, _comment) = rest.split_once(" #").unwrap_or((rest, ""));
    let value = value.trim_matches(' ');
    let quoted = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
    let (word, bytes) = match quoted('"').or_else(|| quoted('\'')) {
        Some(word) => (word, word.len()),
        // To the parser it is a `~`.
        None if value.is_empty() => ("", 1),
        None => (value, value.len()),
    };
    // The parser refuses a field that comes twice.
    let is_first = (word.is_empty() || is_word(word))
        && fields.insert(name.to_owned(), word.to_owned()).is_none();
    is_first.then_some(name.len() + bytes)
}

/// Whether a text is itself, with quotes and without: nothing that begins or ends anything, and no spelling of `null`.
fn is_word(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(is_inner)
        && !text.eq_ignore_ascii_case("null")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Entry, entries as all, entries_by_parser, inner_map_by_parser};
    use super::*;
    use crate::shares::Stop;

    /// A budget with little left of it, so that much is too much.
    fn scarce() -> impl Strategy<Value = (usize, usize)> {
        (0..20_usize, 0..200_usize)
    }

    /// Lines that are a field and a word, or nearly.
    fn line() -> impl Strategy<Value = String> {
        let name = prop_oneof![
            8 => prop::sample::select(NAMES).prop_map(str::to_owned),
            1 => prop::sample::select(&["array", "tags", "objectname", "", "-", "?", "\"objectName\"", "<<", "#", "---"][..])
                .prop_map(str::to_owned),
        ];
        let colon =
            prop::sample::select(&[": ", ": ", ": ", ":", ":  ", " : ", ":\t", "", ":: "][..]);
        let word = prop_oneof![
            6 => "[0-9A-Za-z][-0-9A-Za-z_./]{0,12}",
            3 => prop::sample::select(&[
                "", "\"\"", "''", "null", "Null", "~", "yes", "true", "0644", "1e3", "0x1F", "0o17", "1_000", ".5", "-1",
                ".inf", ".nan", "2026-01-01", "<<", "\"0400\"", "'a'", "\"a", "a'", "\"null\"", "'~'", "a b", "a: b", "a:b",
                "a:", "a#b", "#", "\"a #b\"", "'it''s'", "\"\\x41\"", "[a]", "{a: b}", "[", "*a", "&a b", "!!str a", "|", ">-",
                "%a", "@a", "`a", "- a", "---", "a---", "...", "é", "\u{feff}a", "\u{85}", "a\u{7f}", "a\u{0}", "secret",
            ][..]).prop_map(str::to_owned),
            1 => "[ -~]{0,12}",
            1 => (500..530_usize).prop_map(|length| "a".repeat(length)),
        ];
        let end = prop::sample::select(
            &[
                "",
                "",
                "",
                "",
                " ",
                "  # a comment: [\"",
                " #",
                "#a",
                "\t",
                "\r",
                " \t# a",
                " # é",
            ][..],
        );
        (name, colon, word, end)
            .prop_map(|(name, colon, word, end)| [&name, colon, &word, end].concat())
    }

    /// The text of an entry: some lines with something between them.
    fn entry() -> impl Strategy<Value = String> {
        let line = (
            prop::sample::select(&["", "", "", "", "", "", " ", "# a\n", "\n", "\t"][..]),
            line(),
        )
            .prop_map(|(before, line)| before.to_owned() + &line);
        (
            prop::collection::vec(line, 0..5),
            prop::sample::select(&["", "\n", "\n", "\n\n", "\n \n", "\n..."][..]),
        )
            .prop_map(|(lines, end)| lines.join("\n") + end)
    }

    /// A list of entries in one of the forms that there are, with something odd in a few.
    fn document() -> impl Strategy<Value = String> {
        let dash = prop::sample::select(
            &[
                "- |", "- |", "- |", "- |", "- |-", "- |+", "- >", "- |2", "-", "- ", "- |  # a",
                "- null", "#",
            ][..],
        );
        let item = (
            dash,
            prop::sample::select(&[0_usize, 0, 0, 0, 0, 1]),
            prop::sample::select(&[2_usize, 2, 2, 1, 4, 0]),
            entry(),
        );
        let head = prop::sample::select(
            &[
                "array:\n",
                "array:\n",
                "array:\n",
                "array:\n",
                "array: \n",
                "",
                "array:\n\n",
                "other: 1\narray:\n",
                "---\narray:\n",
            ][..],
        );
        (head, 0..4_usize, prop::collection::vec(item, 0..4)).prop_map(|(head, indent, items)| {
            let items = items.iter().map(|(dash, more, inside, entry)| {
                let (outside, inside) = (indent + more, indent + more + inside);
                format!("{:outside$}{dash}\n", "") + &indented(inside, entry)
            });
            items.fold(head.to_owned(), |text, item| text + &item)
        })
    }

    /// Each line of a text, further to the right.
    fn indented(by: usize, text: &str) -> String {
        let lines = text.lines().map(|line| format!("{:by$}{line}\n", ""));
        lines.collect::<Vec<_>>().concat()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(ProptestConfig::default().cases * 8))]

        #[test]
        fn the_parser_reads_the_same_fields_for_the_same_budget(text in entry(), (nodes, bytes) in scarce()) {
            for (mut budget, mut parsers) in [
                (Budget::default(), Budget::default()),
                (Budget::of(nodes, bytes), Budget::of(nodes, bytes)),
            ] {
                if let Some(fields) = fields(&text, &mut budget) {
                    let parsed = parsers.read::<Entry>(&text);
                    prop_assert!(
                        matches!(&parsed, Ok(Some(Entry::Map(parsed))) if *parsed == fields),
                        "{text:?}: {fields:?}"
                    );
                    prop_assert_eq!(budget, parsers, "{:?}", text);
                }
            }
        }

        #[test]
        fn the_parser_reads_the_same_entries(text in document()) {
            let stop = Stop::default();
            prop_assert_eq!(all(&text, &stop), entries_by_parser(&text, &stop), "{}", text);
        }
    }

    #[test]
    fn what_people_write_needs_no_parser() {
        let written = "objectName: DB-PASSWORD\nobjectType: secret\nobjectVersion: \"\"\n";
        let commented = "objectName: a_b.c/d              # the name, such as \"a\"\n\
                         objectType: secret  \n\
                         objectVersion:                   # [OPTIONAL] the newest\n\
                         objectAlias: ''\n\
                         filePermission: \"0400\"\n\
                         objectVersionHistory: 5\n\
                         objectFormat: pfx\n\
                         objectEncoding: utf-8";
        for text in [written, commented, "objectName: a"] {
            let found = fields(text, &mut Budget::default());
            let parsed = inner_map_by_parser(text, &mut Budget::default());
            assert!(found.is_some(), "{text}");
            assert_eq!(found, parsed.ok(), "{text}");
        }
        for (outside, inside) in [(0, 1), (0, 2), (2, 4), (4, 6)] {
            let text = [written, commented].map(|entry| {
                let dash = format!("{:outside$}- |\n", "");
                dash + &indented(inside, entry)
            });
            let text = format!("array:\n{}", text.concat());
            for text in [&text, text.trim_end()] {
                assert_eq!(
                    entries(text).map(|entries| entries.len()),
                    Some(2),
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn what_the_parser_must_judge_is_left_to_it() {
        for text in [
            "",
            "\n",
            "objectName",
            "objectName:a",
            "objectName : a",
            " objectName: a",
            "objectName: a\n objectType: secret",
            "objectName: a\n\nobjectType: secret",
            "objectName: a\nobjectName: b",
            "objectName: null",
            "objectName: NULL",
            "objectName: ~",
            "objectName: 'it''s'",
            "objectName: \"\\x41\"",
            "objectName: \"a",
            "objectName: \"",
            "objectName: a b",
            "objectName: a:b",
            "objectName: a#b",
            "objectName: a\t# b",
            "objectName: a\r\n",
            "objectName: é",
            "objectName: -a",
            "objectName: *a",
            "objectName: |",
            "tags: a",
            "# objectName: a",
            "---\nobjectName: a",
            "objectName: a\n...\n",
        ] {
            assert_eq!(fields(text, &mut Budget::default()), None, "{text:?}");
        }
        for text in [
            "",
            "array:",
            "array:\n",
            "array:\n- |\n",
            "array:\n- |\nobjectName: a\n",
            "array:\n- |\n  objectName: a\n   objectType: secret\n",
            "array:\n- |\n  objectName: a\n objectType: secret\n",
            "array:\n- |\n  objectName: a\n- |\n",
            "array:\n- |\n- |\n  objectName: a\n",
            "array:\n- |\n  objectName: a\n - |\n  objectName: b\n",
            "array:\n  objectName: a\n",
            "array:\n- objectName: a\n",
            "array:\n- |+\n  objectName: a\n",
            "array:\n- >\n  objectName: a\n",
            "array:\n- |\n  objectName: a\nother: b\n",
            "- |\n  objectName: a\n",
        ] {
            assert_eq!(entries(text), None, "{text:?}");
        }
        let many = |count| format!("array:\n{}", "- |\n  objectName: a\n".repeat(count));
        assert_eq!(
            entries(&many(MAX_ENTRIES)).map(|entries| entries.len()),
            Some(MAX_ENTRIES)
        );
        assert_eq!(entries(&many(MAX_ENTRIES + 1)), None);
    }
}
