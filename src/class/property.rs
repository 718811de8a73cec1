//! [`Property`], everything that is known of one parameter of a class or one field of an entry: its name, its
//! shape, what a message expects, how to put it right, what the documentation says.
//!
//! The tables ([`parameters`], [`fields`], [`secret_objects`], with the names of [`clouds`]) are the one place where
//! a name is written. The reading of classes, `provider-azure-rs validate`, the JSON Schema and
//! `docs/reference/parameters.md` all come from them.

/// Defines a constant for each property, the table of all of them in the order of need, and their names.
macro_rules! properties {
    (
        $(#[$about:meta])* $table:ident, $names:ident:
        $( $id:ident = $name:literal { $($member:ident: $value:expr),+ $(,)? } )+
    ) => {
        $(
            #[doc = concat!("`", $name, "`")]
            pub const $id: $crate::class::property::Property = $crate::class::property::Property {
                name: $name,
                $($member: $value,)+
                ..$crate::class::property::Property::DEFAULT
            };
        )+
        $(#[$about])*
        pub const $table: &[&$crate::class::property::Property] = &[$( &$id ),+];
        pub const $names: &[&str] = &[$( $name ),+];
    };
}

pub mod clouds;
pub mod fields;
pub mod parameters;
pub mod secret_objects;

/// A parameter of a class, or a field of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Property {
    /// As the class spells it.
    pub name: &'static str,
    /// For users, in whole sentences.
    pub description: &'static str,
    /// What it may look like.
    pub shape: Shape,
    /// The maximum number of bytes, without the spaces around it; none where the shape is as good as one.
    pub max: Option<usize>,
    /// Whether a class cannot do without it.
    pub needed: bool,
    /// What holds without it, in Markdown; empty where there is nothing to say.
    pub default: &'static str,
    /// A value as one writes it; may be empty.
    pub example: &'static str,
    /// What a message says was expected; empty where the refusal has words of its own.
    pub expected: &'static str,
    /// How to put a wrong value right; empty where that depends on the value.
    pub fix: &'static str,
    /// Our version that had it first.
    pub since: &'static str,
    /// Whether it should be written no longer.
    pub deprecated: bool,
    /// Whose it is.
    pub owner: Owner,
}

/// Whose a property is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The Go provider's, with the meaning that it has there.
    GoProvider,
    /// This provider's alone.
    Ours,
    /// The Secrets Store CSI Driver's.
    Driver,
}

/// What a value may look like. Patterns are those of JSON Schema, and allow the spaces around a value that are
/// removed from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Text,
    /// A text that the pattern matches.
    Pattern(&'static str),
    /// Digits, which YAML may take for a number.
    Digits {
        /// What they look like as a text.
        pattern: &'static str,
        /// Whether they should be in quotes, since a number loses its leading zeros.
        quoted: bool,
    },
    /// A relative path.
    Path {
        /// What it looks like.
        pattern: &'static str,
        /// The maximum number of bytes.
        max: usize,
    },
    /// YAML in a text, such as this.
    Yaml(&'static str),
    /// On or off, in the spellings of Go's `strconv.ParseBool`.
    Switch,
    /// One of these words, in this case.
    Words(&'static [&'static str]),
    /// One of these words, in any case.
    Spelled(&'static [Spelling]),
    /// A map from texts to texts.
    Map,
    List,
}

/// A word that counts in any case, and what else means the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spelling {
    pub word: &'static str,
    /// What else means the same, in any case.
    pub others: &'static [&'static str],
}

impl Spelling {
    /// A word without other spellings.
    pub const fn new(word: &'static str) -> Self {
        Self { word, others: &[] }
    }

    /// The word that this text spells, among these.
    pub fn find(spellings: &[Self], text: &str) -> Option<&'static str> {
        let same = |word: &&str| word.eq_ignore_ascii_case(text);
        spellings
            .iter()
            .find(|spelling| same(&spelling.word) || spelling.others.iter().any(same))
            .map(|spelling| spelling.word)
    }
}

impl Property {
    /// The version of what was there from the start.
    pub const FIRST: &str = "0.1.0";

    /// What a row of a table has without saying so.
    pub const DEFAULT: Self = Self {
        name: "",
        description: "",
        shape: Shape::Text,
        max: None,
        needed: false,
        default: "",
        example: "",
        expected: "",
        fix: "",
        since: Self::FIRST,
        deprecated: false,
        owner: Owner::GoProvider,
    };

    /// Whether a text is longer than it may be.
    pub fn is_too_long(&self, text: &str) -> bool {
        self.max.is_some_and(|max| text.len() > max)
    }

    /// The words that it can be; none where it is no matter of words.
    pub fn words(&self) -> Vec<&'static str> {
        match self.shape {
            Shape::Words(words) => words.to_vec(),
            Shape::Spelled(spellings) => spellings.iter().map(|spelling| spelling.word).collect(),
            _ => Vec::new(),
        }
    }

    /// The word that this text spells.
    pub fn word(&self, text: &str) -> Option<&'static str> {
        match self.shape {
            Shape::Words(words) => words.iter().find(|word| **word == text).copied(),
            Shape::Spelled(spellings) => Spelling::find(spellings, text),
            _ => None,
        }
    }
}
