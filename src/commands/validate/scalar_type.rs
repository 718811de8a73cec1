//! The type that Kubernetes gives a scalar without quotes.
//!
//! `kubectl` and Helm read YAML 1.1, where `yes` and `0x10` are no text, and the API server refuses
//! anything else than text under `spec.parameters`.
//!
//! Source: `resolve.go` of `sigs.k8s.io/yaml/goyaml.v2`; a date becomes text there.

use crate::commands::validate::placed_yaml::{Content, Node};

/// What a node is, for a message; `None` for text.
pub fn instead_of_text(node: &Node) -> Option<&'static str> {
    match &node.content {
        Content::Scalar(scalar) if scalar.plain => not_text(&scalar.text),
        Content::Scalar(_) => None,
        Content::Sequence(_) => Some("a list"),
        Content::Mapping(_) => Some("a map"),
    }
}

/// What the scalar is, for a message; `None` for text.
fn not_text(scalar: &str) -> Option<&'static str> {
    match scalar {
        "" | "~" | "null" | "Null" | "NULL" => Some("nothing"),
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" | "n"
        | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            Some("a boolean")
        }
        _ if is_number(scalar) => Some("a number"),
        _ => None,
    }
}

fn is_number(scalar: &str) -> bool {
    let unsigned = scalar.strip_prefix(['-', '+']).unwrap_or(scalar);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(scalar, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    if !unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return false;
    }
    let digits = unsigned.replace('_', "");
    let radix = |prefix: [&str; 2], radix: u32| {
        prefix.iter().any(|prefix| {
            digits.strip_prefix(prefix).is_some_and(|digits| {
                !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix))
            })
        })
    };
    radix(["0x", "0X"], 16) || radix(["0b", "0B"], 2) || radix(["0o", "0O"], 8) || is_float(&digits)
}

/// `^(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`
fn is_float(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let mantissa = match mantissa.split_once('.') {
        Some((whole, part)) => digits(whole) && digits(part) && mantissa.len() > 1,
        None => digits(mantissa) && !mantissa.is_empty(),
    };
    let exponent = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        digits(exponent) && !exponent.is_empty()
    });
    mantissa && exponent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_have_the_types_of_yaml_1_1() {
        for (scalar, kind) in [
            ("true", Some("a boolean")),
            ("yes", Some("a boolean")),
            ("Off", Some("a boolean")),
            ("tRUE", None),
            ("~", Some("nothing")),
            ("", Some("nothing")),
            ("0", Some("a number")),
            ("-12", Some("a number")),
            ("0644", Some("a number")),
            ("1_000", Some("a number")),
            ("0x1F", Some("a number")),
            ("0b101", Some("a number")),
            ("1e3", Some("a number")),
            ("1.", Some("a number")),
            (".5", Some("a number")),
            (".inf", Some("a number")),
            ("12345678901234567890123456789012", Some("a number")),
            ("kv1", None),
            ("1.2.3", None),
            ("1e", None),
            ("0x", None),
            (".", None),
            ("e3", None),
            ("2026-01-01", None),
            ("42ddc44e-97dd-4c3b-bf8a-31c785e24c67", None),
        ] {
            assert_eq!(not_text(scalar), kind, "{scalar}");
        }
    }
}
