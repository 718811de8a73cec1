//! [`Object`], one entry of a class's `objects`: what to get from the vault and how it becomes a file.
//!
//! [`crate::class::parameters`] reads the entries (their YAML is [`yaml`]'s matter), [`crate::class::plan`] turns
//! them into what will be fetched.

pub mod yaml;

use std::num::NonZeroU32;

use thiserror::Error;

use crate::class::file_mode::FileMode;
use crate::class::object::yaml::Fields;
use crate::class::property::Property;
use crate::class::property::fields::{
    FILE_PERMISSION, MAX_NAME, MAX_PATH, OBJECT_ALIAS, OBJECT_ENCODING, OBJECT_FORMAT, OBJECT_NAME,
    OBJECT_TYPE, OBJECT_VERSION, OBJECT_VERSION_HISTORY,
};
use crate::rendering::{Encoding, Format};
use crate::text::excerpt::Excerpt;

/// One thing in a vault that becomes one file, or one file per version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Whether it is a secret, a key or a certificate.
    pub kind: ObjectKind,
    /// `objectName`
    pub name: ObjectName,
    /// `objectVersion`
    pub version: ObjectVersion,
    /// Where the file goes: `objectAlias`, else `objectName`.
    pub path: FilePath,
    /// `filePermission`, where the entry has one.
    pub mode: Option<FileMode>,
    /// `objectVersionHistory`, where it asks for more than one version.
    pub history: Option<NonZeroU32>,
    /// `objectFormat`
    pub format: Format,
    /// `objectEncoding`
    pub encoding: Encoding,
}

/// `objectType`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ObjectKind {
    /// `secret`: the value of a secret, and a certificate with its private key.
    Secret,
    /// `key`: the public half of a key.
    Key,
    /// `cert`: a certificate without its private key.
    Certificate,
}

impl ObjectKind {
    /// The kind that a class spells so.
    fn from_word(word: &str) -> Option<Self> {
        [Self::Secret, Self::Key, Self::Certificate]
            .into_iter()
            .find(|kind| kind.as_str() == word)
    }

    /// As the class spells it, which is also how object ids begin.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Key => "key",
            Self::Certificate => "cert",
        }
    }

    /// As the Azure CLI and Key Vault's permissions spell it.
    pub fn azure_name(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            other => other.as_str(),
        }
    }
}

/// `objectVersion`
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ObjectVersion {
    /// The newest: the parameter is empty, absent, or the word `latest`.
    Latest,
    Exact(ObjectName),
}

impl ObjectVersion {
    /// The version that a class spells so.
    fn new(text: &str) -> Option<Self> {
        match text {
            "" | "latest" => Some(Self::Latest),
            version => ObjectName::new(version).map(Self::Exact),
        }
    }
}

/// A name or version that can stand in a Key Vault URL as it is: 1 to 127 letters, digits and hyphens.
/// The client libraries do not escape names, so one that has a `/` or a `%` in it would reach another
/// object.
///
/// Source: "About keys, secrets, and certificates", section "Objects, identifiers, and versioning".
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectName(String);

impl ObjectName {
    /// The name, if Key Vault allows it.
    pub fn new(name: &str) -> Option<Self> {
        let fits = (1..=MAX_NAME).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        fits.then(|| Self(name.to_owned()))
    }

    /// The name as the class has it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A relative path in the volume, in the form that the driver accepts: no empty, `.` or `..` element.
///
/// Source: the driver's `pkg/util/fileutil/writer.go` (its `Validate`) and `atomic_writer.go`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FilePath(String);

impl FilePath {
    /// The path, made clean (`./a`, `a//b` and `a/` lose what means nothing).
    pub fn new(path: &str) -> Result<Self, &'static str> {
        if path.starts_with('/') {
            return Err("it is absolute");
        }
        if path.contains("..") {
            return Err("it contains \"..\"");
        }
        if path.chars().any(char::is_control) {
            return Err("it has a control character");
        }
        let elements: Vec<_> = path
            .split('/')
            .filter(|e| !e.is_empty() && *e != ".")
            .collect();
        if elements.is_empty() {
            return Err("it names no file");
        }
        if elements.iter().any(|element| element.len() > 255) {
            return Err("a part of it is longer than 255 bytes");
        }
        let path = elements.join("/");
        if path.len() > MAX_PATH {
            Err("it is longer than 4096 bytes")
        } else {
            Ok(Self(path))
        }
    }

    /// The path, relative to the volume.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why an entry of `objects` is refused. The message names the field; [`crate::class::parameters`] adds which
/// entry it is.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ObjectError {
    /// A field has a value that it cannot have.
    #[error("{}: expected {}, found {found}", field.name, field.expected)]
    Field {
        field: &'static Property,
        /// What was there, quoted.
        found: String,
    },
    /// A field's value is longer than it may be.
    #[error("{}: expected at most {} bytes, found {found}", field.name, field.max.unwrap_or_default())]
    TooLong {
        field: &'static Property,
        /// How many bytes it has.
        found: usize,
    },
    /// The file cannot go there.
    #[error("{}: expected {}, found {found}: {problem}", field.name, OBJECT_ALIAS.expected)]
    Path {
        /// The field that gives the path.
        field: &'static Property,
        /// The path, quoted.
        found: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Two fields that do not go together.
    #[error("{}: {found} goes with objectType secret only, found objectType {kind}", field.name)]
    SecretsOnly {
        field: &'static Property,
        /// Its value, quoted.
        found: String,
        /// The entry's `objectType`.
        kind: &'static str,
    },
}

impl ObjectError {
    /// The name of the field that it is about.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Field { field, .. }
            | Self::TooLong { field, .. }
            | Self::Path { field, .. }
            | Self::SecretsOnly { field, .. } => field.name,
        }
    }
}

impl Object {
    /// Types one entry, or says everything that is wrong with it.
    pub fn from_fields(fields: &Fields) -> Result<Self, Vec<ObjectError>> {
        let mut reader = Reader {
            fields,
            problems: Vec::new(),
        };
        // Everything is read before anything is given up.
        let name = reader.read(&OBJECT_NAME, ObjectName::new);
        let kind = reader.read(&OBJECT_TYPE, ObjectKind::from_word);
        let version = reader.read(&OBJECT_VERSION, ObjectVersion::new);
        let mode = reader.read(&FILE_PERMISSION, |text| match text {
            "" => Some(None),
            text => FileMode::from_octal(text).map(Some),
        });
        let history = reader.read(&OBJECT_VERSION_HISTORY, history);
        let format = reader.read(&OBJECT_FORMAT, format);
        let encoding = reader.read(&OBJECT_ENCODING, encoding);
        reader.secrets_only(kind, encoding);
        let path = reader.path(name.as_ref());
        let object = || {
            Some(Self {
                kind: kind?,
                name: name?,
                version: version?,
                path: path?,
                mode: mode?,
                history: history?,
                format: format?,
                encoding: encoding?,
            })
        };
        match object() {
            Some(object) if reader.problems.is_empty() => Ok(object),
            _ => Err(reader.problems),
        }
    }

    /// The id that the driver shows in the `SecretProviderClassPodStatus`: `secret/NAME`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.kind.as_str(), self.name.as_str())
    }
}

/// Reads the fields of one entry and notes what cannot be.
struct Reader<'a> {
    fields: &'a Fields,
    problems: Vec<ObjectError>,
}

impl<'a> Reader<'a> {
    fn read<T>(
        &mut self,
        field: &'static Property,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.bounded(field)?;
        let value = parse(text);
        if value.is_none() {
            self.problems.push(ObjectError::Field {
                field,
                found: Excerpt(text).to_string(),
            });
        }
        value
    }

    /// A field's text, unless it is too long.
    fn bounded(&mut self, field: &'static Property) -> Option<&'a str> {
        let text = self.fields.get(field.name);
        if field.is_too_long(text) {
            let found = text.len();
            self.problems.push(ObjectError::TooLong { field, found });
            return None;
        }
        Some(text)
    }

    /// Where the file goes. A name that has been refused is not refused again as a path.
    fn path(&mut self, name: Option<&ObjectName>) -> Option<FilePath> {
        let (field, path) = match self.bounded(&OBJECT_ALIAS)? {
            "" => (&OBJECT_NAME, name?.as_str()),
            alias => (&OBJECT_ALIAS, alias),
        };
        FilePath::new(path)
            .map_err(|problem| {
                self.problems.push(ObjectError::Path {
                    field,
                    found: Excerpt(path).to_string(),
                    problem,
                });
            })
            .ok()
    }

    /// Refuses what means something for secrets alone.
    fn secrets_only(&mut self, kind: Option<ObjectKind>, encoding: Option<Encoding>) {
        let Some(kind) = kind.filter(|kind| *kind != ObjectKind::Secret) else {
            return;
        };
        // The Go provider compares with `pfx` in lower case here, and lets `PFX` pass without a
        // meaning; a class that has it works, so it stays accepted.
        let pfx = self.fields.get(OBJECT_FORMAT.name) == "pfx";
        let encoded = encoding.is_some() && !self.fields.get(OBJECT_ENCODING.name).is_empty();
        for (field, refused) in [(&OBJECT_FORMAT, pfx), (&OBJECT_ENCODING, encoded)] {
            if refused {
                self.problems.push(ObjectError::SecretsOnly {
                    field,
                    found: Excerpt(self.fields.get(field.name)).to_string(),
                    kind: kind.as_str(),
                });
            }
        }
    }
}

fn format(text: &str) -> Option<Format> {
    if text.is_empty() {
        return Some(Format::Pem);
    }
    match OBJECT_FORMAT.word(text)? {
        "pem" => Some(Format::Pem),
        "pfx" => Some(Format::Pfx),
        _ => None,
    }
}

fn encoding(text: &str) -> Option<Encoding> {
    if text.is_empty() {
        return Some(Encoding::Utf8);
    }
    match OBJECT_ENCODING.word(text)? {
        "utf-8" => Some(Encoding::Utf8),
        "hex" => Some(Encoding::Hex),
        "base64" => Some(Encoding::Base64),
        _ => None,
    }
}

/// How many versions `objectVersionHistory` asks for; `None` inside for one, which needs no list.
///
/// The Go provider reads a YAML number into 32 bits: 0, 1 and negative ones mean one version. What YAML
/// would read in another base (`010`, `0x3`), or as a fraction, is refused instead of guessed at.
#[allow(
    clippy::option_option,
    reason = "refused, one version, and several are three things"
)]
fn history(text: &str) -> Option<Option<NonZeroU32>> {
    if text.is_empty() {
        return Some(None);
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let leading_zero = digits.len() > 1 && digits.starts_with('0');
    if leading_zero || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: i32 = text.parse().ok()?;
    Some(
        u32::try_from(count)
            .ok()
            .filter(|count| *count > 1)
            .and_then(NonZeroU32::new),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(fields: &[(&str, &str)]) -> Result<Object, Vec<ObjectError>> {
        Object::from_fields(
            &fields
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect(),
        )
    }

    #[test]
    fn an_entry_is_typed() {
        let typed = object(&[
            ("objectName", "OPENAI-API-KEY"),
            ("objectType", "secret"),
            ("objectAlias", "./app//key/"),
            ("objectVersion", "0123456789abcdef0123456789abcdef"),
            ("filePermission", "0400"),
        ])
        .unwrap();
        assert_eq!(typed.path.as_str(), "app/key");
        assert_eq!(typed.id(), "secret/OPENAI-API-KEY");
        assert_eq!(typed.mode.map(FileMode::bits), Some(0o400));
        assert!(matches!(typed.version, ObjectVersion::Exact(_)));
    }

    #[test]
    fn the_newest_version_has_three_spellings() {
        for version in [None, Some(""), Some("latest")] {
            let mut fields = vec![("objectName", "a"), ("objectType", "secret")];
            fields.extend(version.map(|version| ("objectVersion", version)));
            assert_eq!(object(&fields).unwrap().version, ObjectVersion::Latest);
        }
    }

    #[test]
    fn a_history_is_a_whole_number() {
        for (text, expected) in [
            ("", Some(None)),
            ("0", Some(None)),
            ("1", Some(None)),
            ("-5", Some(None)),
            ("2", Some(NonZeroU32::new(2))),
            ("+3", Some(NonZeroU32::new(3))),
            ("2147483647", Some(NonZeroU32::new(2_147_483_647))),
            ("2147483648", None),
            ("010", None),
            ("0x3", None),
            ("2.0", None),
            ("1e1", None),
            ("1_0", None),
            ("many", None),
            ("-", None),
        ] {
            assert_eq!(history(text), expected, "{text}");
        }
    }

    #[test]
    fn format_and_encoding_are_spelled_in_any_case() {
        let typed = |format: &str, encoding: &str| {
            let fields = [
                ("objectName", "a"),
                ("objectType", "secret"),
                ("objectFormat", format),
                ("objectEncoding", encoding),
            ];
            let object = object(&fields).unwrap();
            (object.format, object.encoding)
        };
        assert_eq!(typed("", ""), (Format::Pem, Encoding::Utf8));
        assert_eq!(typed("PEM", "UTF-8"), (Format::Pem, Encoding::Utf8));
        assert_eq!(typed("Pfx", "Base64"), (Format::Pfx, Encoding::Base64));
        assert_eq!(typed("pfx", "HEX"), (Format::Pfx, Encoding::Hex));
        for (field, value, accepted) in [
            ("objectFormat", "pfx", false),
            ("objectFormat", "PFX", true),
            ("objectFormat", "pem", true),
            ("objectEncoding", "utf-8", false),
            ("objectEncoding", "base64", false),
        ] {
            for kind in ["key", "cert"] {
                let object = object(&[("objectName", "a"), ("objectType", kind), (field, value)]);
                assert_eq!(object.is_ok(), accepted, "{kind} {field} {value}");
            }
        }
    }

    #[test]
    fn what_cannot_be_is_refused_with_the_field_named() {
        let long = "a".repeat(128);
        for (field, value, message) in [
            ("objectName", "", "objectName: expected 1 to 127 letters"),
            ("objectName", "../keys/k", "objectName: "),
            ("objectName", "%2e%2e/keys/k", "objectName: "),
            ("objectName", "a b", "objectName: "),
            ("objectName", "a\0", "objectName: "),
            ("objectName", "ключ", "objectName: "),
            ("objectName", &long, "objectName: "),
            (
                "objectType",
                "",
                "objectType: expected secret, key or cert, found \"\"",
            ),
            ("objectType", "Secret", "objectType: "),
            ("objectType", "secrets", "objectType: "),
            ("objectVersion", "../x", "objectVersion: "),
            ("objectVersion", "a?b", "objectVersion: "),
            (
                "filePermission",
                "0o644",
                "filePermission: expected octal digits",
            ),
            ("filePermission", "1777", "filePermission: "),
            ("filePermission", "rw", "filePermission: "),
            (
                "objectAlias",
                "/etc/passwd",
                "objectAlias: expected a relative path",
            ),
            ("objectAlias", "../x", "contains \"..\""),
            ("objectAlias", "a/../../x", "contains \"..\""),
            ("objectAlias", "..\\x", "contains \"..\""),
            ("objectAlias", "..data", "contains \"..\""),
            ("objectAlias", "a\0b", "control character"),
            ("objectAlias", "a\nb", "control character"),
            ("objectAlias", "./", "names no file"),
            ("objectAlias", &"a".repeat(256), "longer than 255"),
            (
                "objectAlias",
                &"a/".repeat(3000),
                "at most 4096 bytes, found 6000",
            ),
        ] {
            let fields: Vec<_> = [("objectName", "a"), ("objectType", "secret")]
                .into_iter()
                .filter(|(name, _)| *name != field)
                .chain([(field, value)])
                .collect();
            let errors = object(&fields).unwrap_err();
            assert_eq!(errors.len(), 1, "{errors:?}");
            let error = errors[0].to_string();
            assert!(error.contains(message), "{error} should contain {message}");
        }
    }

    #[test]
    fn everything_that_is_wrong_with_an_entry_is_said_once() {
        let fields = |fields: &[(&str, &str)]| -> Vec<&'static str> {
            let errors = object(fields).unwrap_err();
            errors.iter().map(ObjectError::field).collect()
        };
        assert_eq!(fields(&[]), ["objectName", "objectType"]);
        assert_eq!(
            fields(&[
                ("objectName", "a/b"),
                ("objectType", "key"),
                ("objectFormat", "pfx"),
                ("objectEncoding", "rot13"),
                ("filePermission", "rw"),
                ("objectAlias", "/x"),
            ]),
            [
                "objectName",
                "filePermission",
                "objectEncoding",
                "objectFormat",
                "objectAlias"
            ]
        );
    }
}
