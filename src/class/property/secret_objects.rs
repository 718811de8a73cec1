//! The fields of `spec.secretObjects`, the driver's own part of a class.

use crate::class::property::{Owner, Shape};

properties! {
    /// The fields of an entry of `secretObjects`.
    FIELDS, NAMES:

    SECRET_NAME = "secretName" {
        description: "The Secret's name.",
        needed: true,
        example: "kv-openai-secret",
        owner: Owner::Driver,
    }
    TYPE = "type" {
        description: "The Secret's type, such as Opaque or kubernetes.io/tls.",
        needed: true,
        example: "Opaque",
        owner: Owner::Driver,
    }
    DATA = "data" {
        description: "Which files become which keys.",
        shape: Shape::List,
        needed: true,
        owner: Owner::Driver,
    }
    LABELS = "labels" {
        description: "The Secret's labels.",
        shape: Shape::Map,
        owner: Owner::Driver,
    }
    ANNOTATIONS = "annotations" {
        description: "The Secret's annotations.",
        shape: Shape::Map,
        owner: Owner::Driver,
    }
}

properties! {
    /// The fields of an entry of `data`.
    DATA_FIELDS, DATA_NAMES:

    OBJECT_NAME = "objectName" {
        description: "The file: an entry's objectAlias or else its objectName; with an objectVersionHistory followed by \
                      /0, the newest, /1, and so on.",
        needed: true,
        example: "OPENAI-API-KEY",
        owner: Owner::Driver,
    }
    KEY = "key" {
        description: "The key in the Secret.",
        needed: true,
        example: "OPENAI_API_KEY",
        owner: Owner::Driver,
    }
}
