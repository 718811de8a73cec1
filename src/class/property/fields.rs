//! The fields that an entry of `objects` can have, each in one row. A new one is a row here, a member of
//! [`Object`](crate::class::object::Object), and what is done with it.

use crate::class::property::{Shape, Spelling};

/// Key Vault's, of names and of versions.
///
/// Source: "Azure Key Vault keys, secrets and certificates overview", section "Objects, identifiers and versioning".
pub const MAX_NAME: usize = 127;
/// Linux' `PATH_MAX`.
pub const MAX_PATH: usize = 4096;

properties! {
    /// The fields of an entry.
    FIELDS, NAMES:

    OBJECT_NAME = "objectName" {
        description: "The object's name in the vault.",
        shape: Shape::Pattern("^\\s*[0-9A-Za-z-]{1,127}\\s*$"),
        max: Some(MAX_NAME),
        needed: true,
        example: "OPENAI-API-KEY",
        expected: "1 to 127 letters, digits and hyphens, such as DB-PASSWORD",
        fix: "write the name that it has in the vault, without the vault and the version",
    }
    OBJECT_TYPE = "objectType" {
        description: "secret: a secret's value, or a certificate with its private key. key: the public half of a key. \
                      cert: a certificate without its private key.",
        shape: Shape::Words(&["secret", "key", "cert"]),
        needed: true,
        example: "secret",
        expected: "secret, key or cert",
        fix: "write objectType: secret (also for a certificate with its private key), key or cert",
    }
    OBJECT_ALIAS = "objectAlias" {
        description: "The file's path in the volume, instead of objectName.",
        shape: Shape::Path { pattern: "^(?!\\s*/)(?!.*\\.\\.)", max: MAX_PATH },
        max: Some(MAX_PATH),
        default: "`objectName`",
        example: "openai/api-key",
        expected: "a relative path such as app/password",
        fix: "write a path below the volume in objectAlias, such as app/password",
    }
    OBJECT_VERSION = "objectVersion" {
        description: "The version's ID; empty or latest for the newest.",
        shape: Shape::Pattern("^\\s*[0-9A-Za-z-]{0,127}\\s*$"),
        max: Some(MAX_NAME),
        default: "the newest",
        example: "c566f968d4c39b0588ed9ac26c2d5e57",
        expected: "the 32 characters of a version's id, or nothing for the newest",
        fix: "write the version's id alone, or take objectVersion out for the newest",
    }
    OBJECT_VERSION_HISTORY = "objectVersionHistory" {
        description: "How many versions to get, each as a file: NAME/0, the newest, NAME/1, and so on.",
        shape: Shape::Digits { pattern: "^\\s*([-+]?(0|[1-9][0-9]*))?\\s*$", quoted: false },
        default: "0",
        example: "2",
        expected: "a whole number of versions in decimal digits, such as 3",
        fix: "write a number such as objectVersionHistory: 3",
    }
    OBJECT_FORMAT = "objectFormat" {
        description: "Of a certificate with its private key: PEM, or the PFX file as it is.",
        shape: Shape::Spelled(&[Spelling::new("pem"), Spelling::new("pfx")]),
        default: "pem",
        example: "pfx",
        expected: "pem or pfx",
        fix: "write objectFormat: pem or pfx",
    }
    OBJECT_ENCODING = "objectEncoding" {
        description: "What a secret's value is decoded from before it is written.",
        shape: Shape::Spelled(&[Spelling::new("utf-8"), Spelling::new("hex"), Spelling::new("base64")]),
        default: "utf-8",
        example: "base64",
        expected: "utf-8, hex or base64",
        fix: "write objectEncoding: utf-8, hex or base64",
    }
    FILE_PERMISSION = "filePermission" {
        description: "The file's mode in octal digits, such as \"0400\"; the driver's default where it is empty.",
        shape: Shape::Digits { pattern: "^\\s*(0*[0-7]{1,3})?\\s*$", quoted: true },
        default: "the driver's, 0644",
        example: "\"0400\"",
        expected: "octal digits from 0000 to 0777, such as \"0400\"",
        fix: "write octal digits in quotes, such as filePermission: \"0400\"",
    }
}
