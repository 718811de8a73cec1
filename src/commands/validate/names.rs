//! What Kubernetes takes for a name, a label, an annotation and a key.
//!
//! Source: `pkg/util/validation/validation.go` and `pkg/api/validation/objectmeta.go` of
//! `k8s.io/apimachinery` 0.34.

/// A rule for one kind of text.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Whether a text keeps it.
    pub holds: fn(&str) -> bool,
    /// What it demands.
    pub expected: &'static str,
}

/// Names of Secrets and classes.
pub const SUBDOMAIN: Rule = Rule {
    holds: is_subdomain,
    expected: "at most 253 lower-case letters, digits, hyphens and dots, such as app-tls, with a letter or digit at \
               both ends and beside each dot",
};
/// Names of namespaces.
pub const LABEL: Rule = Rule {
    holds: is_label,
    expected: "at most 63 lower-case letters, digits and hyphens, such as chat, with a letter or digit at both ends",
};
/// Keys in a Secret's data.
pub const DATA_KEY: Rule = Rule {
    holds: is_data_key,
    expected: "at most 253 letters, digits, hyphens, underscores and dots, such as tls.crt, but neither . nor .. \
               at the start",
};
/// Names of labels.
pub const QUALIFIED_NAME: Rule = Rule {
    holds: is_qualified_name,
    expected: "a name such as app or example.com/app: at most 63 letters, digits, hyphens, underscores and dots, with \
               a letter or digit at both ends",
};
/// Names of annotations. The case of their prefix does not matter.
pub const ANNOTATION_NAME: Rule = Rule {
    holds: |name| is_qualified_name(&name.to_lowercase()),
    ..QUALIFIED_NAME
};
/// Values of labels.
pub const LABEL_VALUE: Rule = Rule {
    holds: is_label_value,
    expected: "nothing, or at most 63 letters, digits, hyphens, underscores and dots, with a letter or digit at both \
               ends",
};

/// The same rules as patterns of JSON Schema.
pub mod patterns {
    /// [`SUBDOMAIN`](super::SUBDOMAIN), but for its length
    pub const SUBDOMAIN: &str =
        "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
    /// [`QUALIFIED_NAME`](super::QUALIFIED_NAME)
    pub const QUALIFIED_NAME: &str = "^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?\
                                      [A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$";
    /// [`ANNOTATION_NAME`](super::ANNOTATION_NAME)
    pub const ANNOTATION_NAME: &str = "^([A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?(\\.[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*/)?\
                                       [A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$";
    /// [`LABEL_VALUE`](super::LABEL_VALUE)
    pub const LABEL_VALUE: &str = "^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$";
}

/// Lower-case letters, digits and hyphens, with a letter or digit at both ends.
fn is_part(text: &str) -> bool {
    let end = |byte: Option<&u8>| {
        byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    let bytes = text.as_bytes();
    end(bytes.first())
        && end(bytes.last())
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-')
}

fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_part)
}

fn is_label(text: &str) -> bool {
    text.len() <= 63 && is_part(text)
}

fn is_data_key(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text != "."
        && !text.starts_with("..")
        && text.bytes().all(is_word_byte)
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)
}

fn is_qualified_name(text: &str) -> bool {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    prefix.is_none_or(is_subdomain) && !name.is_empty() && is_label_value(name)
}

fn is_label_value(text: &str) -> bool {
    let ends = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    text.len() <= 63 && ends(bytes.first()) && ends(bytes.last()) && text.bytes().all(is_word_byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_judged_as_the_api_server_judges_them() {
        let (long63, long64) = ("a".repeat(63), "a".repeat(64));
        let (long253, long254) = ("a".repeat(253), "a".repeat(254));
        let with_prefix = format!("{long253}/{long63}");
        let long_prefix = format!("{long254}/a");
        let long_name = format!("a.b/{long64}");
        for (rule, good, bad) in [
            (
                SUBDOMAIN,
                &["a", "0", "kv-openai-secret", "a.b-c.d", "a--b", &long253][..],
                &[
                    "", "A", "a_b", "-a", "a-", ".a", "a.", "a..b", "a.-b", "a b", "a/b", "é",
                    &long254,
                ][..],
            ),
            (
                LABEL,
                &["a", "0-a", &long63],
                &["", "a.b", "A", "-a", &long64],
            ),
            (
                DATA_KEY,
                &[
                    "a",
                    "OPENAI_API_KEY",
                    "tls.crt",
                    ".dockerconfigjson",
                    "-",
                    "_",
                    "a..b",
                    &long253,
                ],
                &[
                    "", ".", "..", "..a", "...", "a b", "a/b", "é", "a:b", &long254,
                ],
            ),
            (
                QUALIFIED_NAME,
                &[
                    "a",
                    "A",
                    "a_b.c-D",
                    "example.com/Name",
                    "a/b",
                    &long63,
                    &with_prefix,
                ],
                &[
                    "",
                    "/a",
                    "a/",
                    "a/b/c",
                    "-a",
                    "a-",
                    "Example.com/a",
                    "a_b/c",
                    "a b",
                    &long64,
                    &long_prefix,
                    &long_name,
                ],
            ),
            (
                ANNOTATION_NAME,
                &["Example.com/Name", "a"],
                &["", "a_b/c", "a/b/c", "a b"],
            ),
            (
                LABEL_VALUE,
                &["", "a", "A.b_c-9", &long63],
                &["-a", "a-", "a b", "a/b", "é", &long64],
            ),
        ] {
            for text in good {
                assert!((rule.holds)(text), "{text} should be {}", rule.expected);
            }
            for text in bad {
                assert!(
                    !(rule.holds)(text),
                    "{text} should not be {}",
                    rule.expected
                );
            }
        }
    }
}
