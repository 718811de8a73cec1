//! Texts of `objects`, and what is read of them.

use std::fmt::Write as _;

use super::*;

fn entries(text: &str) -> Result<Vec<Result<Fields, YamlError>>, YamlError> {
    super::entries(text, &Stop::default())
}

fn names(text: &str) -> Vec<String> {
    entries(text)
        .unwrap()
        .iter()
        .map(|fields| fields.as_ref().unwrap().get("objectName").to_owned())
        .collect()
}

#[test]
fn entries_come_as_strings_as_maps_and_as_a_plain_list() {
    for text in [
        "array:\n  - |\n    objectName: a\n    objectType: secret\n  - |\n    objectName: b\n",
        "array:\n  - objectName: a\n    objectType: secret\n  - objectName: b\n",
        "- objectName: a\n- |\n  objectName: b\n",
        "array: [\"objectName: a\", {objectName: b}]",
        "array:\r\n  - |\r\n    objectName: a\r\n  - |\r\n    objectName: b\r\n",
        "# a comment\narray: # another\n  - objectName: a # and one more\n  -\n  - objectName: b\n",
        "{\"array\": [\"{\\\"objectName\\\": \\\"a\\\"}\", \"objectName: b\"]}",
        "array: [{objectName: &x a}, {objectName: b, objectAlias: *x}]",
        "---\narray: [objectName: a, objectName: b]\n---\narray: [objectName: c]\n",
        "array: [objectName: a, objectName: ' b ', null]\nother: {deep: [1]}",
        "array: [{objectName: a, tags: {x: [y]}}, {objectName: b, objectAlias: null}]",
    ] {
        assert_eq!(names(text), ["a", "b"], "{text}");
    }
}

#[test]
fn scalars_stay_as_they_were_written() {
    for text in [
        "0644",
        "1e3",
        "0123",
        "yes",
        "0x10",
        "1_000",
        "1.50",
        "12345",
        "2026-01-01",
        "true",
        ".5",
    ] {
        assert_eq!(names(&format!("array: [\"objectName: {text}\"]")), [text]);
        assert_eq!(names(&format!("array:\n- objectName: {text}")), [text]);
    }
    for text in ["~", "null", "", "\"\""] {
        assert_eq!(
            names(&format!("array:\n- objectName: {text}")),
            [""],
            "{text}"
        );
    }
}

#[test]
fn what_is_no_list_of_maps_is_refused() {
    let many = format!("array: [{}]", "objectName: a,".repeat(MAX_ENTRIES + 1));
    for (text, message) in [
        ("", "found nothing"),
        ("# only a comment", "found nothing"),
        ("array:", "an empty one"),
        ("array: []", "an empty one"),
        ("array: [null]", "an empty one"),
        ("objects: []", "a map without it"),
        ("just text", "objects: "),
        ("array: {a: b}", "objects: "),
        ("array: [\n", "objects: "),
        ("\tarray: []", "objects: "),
        ("array: [5]", "objects: "),
        ("array: ['text']", "objects[0]: expected a YAML map"),
        ("array: ['a: b', '']", "objects[1]: "),
        ("array: ['a: [']", "objects[0]: "),
        ("array: [\"objectName: a\\nobjectName: b\"]", "duplicate"),
        ("array: [objectName: [a]]", "objects: "),
        (many.as_str(), "at most 5000 entries, found 5001"),
    ] {
        let error = entries(text)
            .and_then(|entries| entries.into_iter().collect::<Result<Vec<_>, _>>())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(message),
            "{text:?}: {error} should contain {message}"
        );
        assert!(!error.contains('\n') && error.len() < 400, "{error}");
    }
}

#[test]
fn hostile_text_costs_little() {
    let deep = format!("array: {}", "[".repeat(100_000));
    let long = "a".repeat(MAX_BYTES + 1);
    let wide = format!("array: [{}]", "a,".repeat(200_000));
    let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
    for level in 1..12 {
        let previous = format!("*a{},", level - 1).repeat(10);
        writeln!(bomb, "a{level}: &a{level} [{previous}]").unwrap();
    }
    bomb.push_str("array: [*a11]\n");
    for text in [deep, long, wide, bomb] {
        assert!(entries(&text).is_err());
    }
}

/// A map with maps in it, each merged three times into the one around it.
fn nest(depth: usize) -> String {
    (0..depth).fold("x: y".to_owned(), |inside, level| {
        let alias = format!("*a{level}");
        format!("<<: [&a{level} {{{inside}}}, {alias}, {alias}]")
    })
}

#[test]
fn what_aliases_and_merge_keys_repeat_has_one_budget_for_all_entries() {
    let bomb = format!("  - '{{{}}}'\n", nest(8));
    let plain = "  - '{objectName: &n a, objectAlias: *n, objectType: secret}'\n";
    let shared = "  - {<<: *s, objectName: a}\n";
    let all = |entries: &str, count: usize| {
        format!(
            "shared: &s {{objectType: secret, filePermission: '0400'}}\narray:\n{}",
            entries.repeat(count)
        )
    };
    for (text, refused) in [
        (all(plain, 5000), None),
        (all(shared, 2500), None),
        (all(shared, 5000), Some(None)),
        (all(&bomb, 1), Some(Some(0))),
        (all(&bomb, 5000), Some(Some(0))),
        // Each of them is little.
        (
            all(&format!("  - '{{{}}}'\n", nest(4)), 5000),
            Some(Some(0)),
        ),
    ] {
        let found = entries(&text);
        let error = match &found {
            Err(error) => Some(error),
            Ok(entries) => entries.last().and_then(|last| last.as_ref().err()),
        };
        let start = &text[..200];
        match (refused, error) {
            (None, error) => assert_eq!(error, None, "{start}"),
            (Some(None), Some(YamlError::TooMuch { index: None })) => {}
            (Some(Some(least)), Some(YamlError::TooMuch { index: Some(index) })) => {
                assert!(*index >= least && *index < 500, "{index} {start}");
            }
            (_, error) => panic!("{error:?} {start}"),
        }
    }
}

#[test]
fn long_values_that_are_repeated_are_counted_in_bytes() {
    let long = "x".repeat(500_000);
    let text = format!(
        "array:\n- &a 'objectName: {long}'\n{}",
        "- *a\n".repeat(100)
    );
    assert!(matches!(
        entries(&text),
        Err(YamlError::TooMuch { index: None })
    ));
    let few = format!("array:\n- &a 'objectName: {long}'\n- *a\n");
    assert_eq!(entries(&few).unwrap().len(), 2);
}

#[test]
fn a_class_of_all_entries_and_fields_is_read() {
    let fields: Vec<_> = NAMES.iter().map(|name| format!("{name}: x")).collect();
    let fields = fields.join(", ");
    for entry in [format!("- {{{fields}}}\n"), format!("- '{{{fields}}}'\n")] {
        let text = entry.repeat(MAX_ENTRIES);
        // They fit by their number, and hardly by their bytes.
        let entries = entries(&text[..text.len().min(MAX_BYTES) / entry.len() * entry.len()]);
        assert!(entries.unwrap().iter().all(Result::is_ok));
    }
}

#[test]
fn after_some_entries_that_cannot_be_read_nobody_looks_on() {
    let text = format!("array: [{}]", "'a: [', ".repeat(5000));
    let found = entries(&text).unwrap();
    assert_eq!(found.len(), MAX_UNREADABLE + 1);
    let last = found.last().unwrap().as_ref().unwrap_err().to_string();
    assert!(
        last.starts_with("objects[10]: 4990 entries from here on"),
        "{last}"
    );
}

#[test]
fn only_what_is_short_and_repeats_nothing_is_small() {
    for (text, small) in [
        ("array: [objectName: a]", true),
        ("array: [&a x, *a]", false),
        ("array: [{<<: {a: b}}]", false),
    ] {
        assert_eq!(is_small(text), small, "{text}");
    }
    assert!(!is_small(&"a".repeat(MAX_SMALL + 1)));
}

#[test]
fn who_is_gone_gets_nothing() {
    let stop = Stop::default();
    stop.set();
    let found = super::entries("array: [objectName: a]", &stop);
    assert_eq!(found, Err(YamlError::Stopped));
}

/// As in Go's YAML library, nobody reads on behind the first document.
#[test]
fn what_follows_the_first_document_does_not_count() {
    for rest in ["\n---\narray: [c: [", "\n...\n]", " trailing", "\n--- {"] {
        assert_eq!(
            names(&format!("{{array: [objectName: a]}}{rest}")),
            ["a"],
            "{rest}"
        );
    }
}
