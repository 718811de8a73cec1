//! Foreign JSON in the words of a message that must not quote it.

use serde_json::Value;

/// The type of a JSON value, for a message that must not quote it.
pub fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

/// Where text stops being JSON. The library's own message may quote the text, so only its place is
/// used.
pub fn json_problem(text: &str, error: &serde_json::Error) -> String {
    if text.trim().is_empty() {
        "an empty text".to_owned()
    } else {
        format!(
            "text that is not JSON from line {} column {}",
            error.line(),
            error.column()
        )
    }
}
