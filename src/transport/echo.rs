//! What was sent as a secret and comes back in a refusal: a proxy may show the request to whoever it refuses.

use std::collections::HashSet;
use std::ops::Range;

use azure_core::http::Request;
use azure_core::http::headers::AUTHORIZATION;
use azure_core::http::request::Body;
use bytes::Bytes;
use url::form_urlencoded;

/// A part of a secret of so many bytes is left out; less of one may be chance.
const PART: usize = 16;
/// What is shorter is no secret worth the name, and would be found in any text.
const MIN_SECRET: usize = 8;

/// The body without the secrets that the request had, nor parts of them, also where they are percent-encoded, escaped
/// as in JSON or broken over lines.
pub(super) fn without_secrets(body: Bytes, request: &Request) -> Bytes {
    let secrets = secrets(request);
    if secrets.is_empty() || body.is_empty() {
        return body;
    }
    let characters = characters(&body);
    let plain: Vec<u8> = characters.iter().map(|character| character.byte).collect();
    let mut is_secret = vec![false; body.len()];
    let mut found = false;
    for secret in &secrets {
        for range in parts(&plain, secret.as_bytes()) {
            found = true;
            let (first, last) = (&characters[range.start], &characters[range.end - 1]);
            is_secret[first.start..last.end].fill(true);
        }
    }
    if !found {
        return body;
    }
    let mut kept = Vec::with_capacity(body.len());
    for (index, byte) in body.iter().enumerate() {
        if !is_secret[index] {
            kept.push(*byte);
        } else if index == 0 || !is_secret[index - 1] {
            kept.extend_from_slice("…".as_bytes());
        }
    }
    kept.into()
}

/// The token, and what proves the identity to a service that gives one.
fn secrets(request: &Request) -> Vec<String> {
    let mut secrets = Vec::new();
    if let Some(header) = request.headers().get_optional_str(&AUTHORIZATION) {
        let token = header.split_once(' ').map_or(header, |(_, token)| token);
        secrets.push(token.to_owned());
    }
    if let Body::Bytes(form) = request.body() {
        let form = form_urlencoded::parse(form);
        let proofs = form.filter(|(name, _)| name == "client_assertion" || name == "client_secret");
        secrets.extend(proofs.map(|(_, value)| value.into_owned()));
    }
    secrets.retain(|secret| secret.len() >= MIN_SECRET);
    secrets
}

/// A byte of a text, and where it stands there.
struct Character {
    byte: u8,
    start: usize,
    end: usize,
}

/// What the text says, without white space and escapes of it, and with `%2E` and `\u002e` for what they are.
fn characters(text: &[u8]) -> Vec<Character> {
    let mut characters = Vec::with_capacity(text.len());
    let mut start = 0;
    while let Some(rest) = text.get(start..).filter(|rest| !rest.is_empty()) {
        if let Some(character) = escaped(rest) {
            let end = start + ESCAPED;
            if !character.is_whitespace() {
                let bytes = character.encode_utf8(&mut [0; 4]).as_bytes().to_vec();
                characters.extend(bytes.iter().map(|byte| Character {
                    byte: *byte,
                    start,
                    end,
                }));
            }
            start = end;
            continue;
        }
        let (byte, length) = match *rest {
            [b'%', high, low, ..] => match (hex(high), hex(low)) {
                (Some(high), Some(low)) => (Some(high * 16 + low), 3),
                _ => (Some(b'%'), 1),
            },
            [b'\\', b'n' | b'r' | b't', ..] => (None, 2),
            // Before a slash or a quotation mark.
            [b'\\', ..] => (None, 1),
            [byte, ..] if byte.is_ascii_whitespace() => (None, 1),
            [byte, ..] => (Some(byte), 1),
            [] => break,
        };
        let end = start + length;
        let byte = byte.filter(|byte| !byte.is_ascii_whitespace());
        characters.extend(byte.map(|byte| Character { byte, start, end }));
        start = end;
    }
    characters
}

/// The bytes of an escape of JSON such as `\u002e`.
const ESCAPED: usize = 6;

/// What such an escape at the start of the text stands for.
fn escaped(text: &[u8]) -> Option<char> {
    let digits = text.get(..ESCAPED)?.strip_prefix(b"\\u")?;
    let mut digits = digits.iter().map(|digit| hex(*digit));
    let code = digits.try_fold(0, |code, digit| Some(code * 16 + u32::from(digit?)))?;
    // A half of a pair stands for nothing.
    char::from_u32(code)
}

fn hex(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

/// Where parts of the secret stand in the text, one after the other. Costs time by the length of both alone, whatever is in
/// them.
fn parts(text: &[u8], secret: &[u8]) -> Vec<Range<usize>> {
    let length = PART.min(secret.len());
    let of_secret: HashSet<_> = secret.windows(length).collect();
    let mut found: Vec<Range<usize>> = Vec::new();
    for (start, part) in text.windows(length).enumerate() {
        if !of_secret.contains(part) {
            continue;
        }
        match found.last_mut() {
            Some(last) if start <= last.end => last.end = start + length,
            _ => found.push(start..start + length),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use azure_core::http::{Method, Url};

    use super::*;

    const TOKEN: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJodHRwczovL3ZhdWx0In0.c2lnbmF0dXJlLW9mLWl0_-Q";

    fn request() -> Request {
        let url = Url::parse("https://kv1.vault.azure.net/secrets/S").unwrap();
        let mut request = Request::new(url, Method::Get);
        request.insert_header(AUTHORIZATION, format!("Bearer {TOKEN}"));
        request
    }

    fn left(body: &str, request: &Request) -> String {
        let body = without_secrets(body.to_owned().into(), request);
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[test]
    fn what_was_sent_as_a_token_is_left_out_in_whatever_shape() {
        let request = request();
        let lines = |width| {
            let bytes = TOKEN.as_bytes().chunks(width);
            bytes.map(|line| std::str::from_utf8(line).unwrap().to_owned())
        };
        let encoded = TOKEN.bytes().map(|byte| format!("%{byte:02x}"));
        let encoded = encoded.collect::<Vec<_>>().concat();
        let escaped = TOKEN.bytes().map(|byte| format!("\\u{byte:04X}"));
        let escaped = escaped.collect::<Vec<_>>().concat();
        for (echo, expected) in [
            (TOKEN.to_owned(), "…"),
            (TOKEN[30..80].to_owned(), "…"),
            (lines(5).collect::<Vec<_>>().join("\n"), "…"),
            (lines(7).collect::<Vec<_>>().join("\\r\\n\\t"), "…"),
            (TOKEN.replace('.', "%2E"), "…"),
            (encoded, "…"),
            (TOKEN.replace('.', "\\u002e"), "…"),
            (escaped, "…"),
            (format!("{}\\n{}", &TOKEN[..40], &TOKEN[40..]), "…"),
            (TOKEN[3..19].to_owned(), "…"),
            (format!("{TOKEN}{TOKEN}"), "…"),
            (format!("{TOKEN} and {TOKEN}"), "… and …"),
        ] {
            let body = format!("{{\"error\":{{\"message\":\"bad 'Bearer {echo}' sent\"}}}}");
            let kept = format!("{{\"error\":{{\"message\":\"bad 'Bearer {expected}' sent\"}}}}");
            assert_eq!(left(&body, &request), kept);
        }
    }

    #[test]
    fn all_else_stays() {
        let request = request();
        for text in [
            "",
            "%",
            "%4",
            "%zz \\",
            "größe \\n 100 %",
            "eyJ0eXAi",
            "\\u12 \\u00zz \\ud800 \\u",
            "\u{0}",
        ] {
            assert_eq!(left(text, &request), text);
        }
        assert_eq!(
            without_secrets(Bytes::from_static(b"\xff%\xff"), &request).as_ref(),
            b"\xff%\xff"
        );
    }

    #[test]
    fn a_secret_that_repeats_itself_is_found_once() {
        let text = vec![b'a'; 100_000];
        assert_eq!(parts(&text, &text[..16_384]), vec![0..100_000]);
        assert_eq!(parts(b"xabababy", b"abababab"), Vec::<Range<usize>>::new());
        assert_eq!(parts(b"xababababy", b"abababab"), vec![1..9]);
    }

    #[test]
    fn what_proves_an_identity_is_left_out() {
        let url = Url::parse("https://login.test/t/oauth2/v2.0/token").unwrap();
        let mut request = Request::new(url, Method::Post);
        request.set_body("client_id=my-client-id&client_secret=ab~8Q%2Bxyz%3D0123&scope=s");
        for (body, expected) in [
            ("bad ab~8Q+xyz=0123.", "bad …."),
            (
                "bad client_secret=ab~8Q%2Bxyz%3D0123&scope=s",
                "bad client_secret=…&scope=s",
            ),
            (
                "bad client_secret=ab%7E8Q%2bxyz%3d0123&scope=s",
                "bad client_secret=…&scope=s",
            ),
            ("bad my-client-id", "bad my-client-id"),
        ] {
            assert_eq!(left(body, &request), expected);
        }
        let url = Url::parse("https://login.test/").unwrap();
        assert!(secrets(&Request::new(url, Method::Post)).is_empty());
    }
}
