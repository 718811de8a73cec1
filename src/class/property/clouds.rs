//! The names of clouds. What they mean is [`crate::class::cloud`]'s matter.

use crate::class::property::Spelling;

/// The cloud of classes that name none, where the operator names none either.
pub const DEFAULT: &str = PUBLIC;
/// Microsoft's public cloud.
pub const PUBLIC: &str = "AzurePublicCloud";
/// The cloud of the US Government.
pub const US_GOVERNMENT: &str = "AzureUSGovernmentCloud";
/// The cloud in China that 21Vianet runs.
pub const CHINA: &str = "AzureChinaCloud";
/// An Azure Stack, with endpoints of its own.
pub const STACK: &str = "AzureStackCloud";

/// How clouds are spelled, with the short names of go-autorest.
pub const SPELLINGS: &[Spelling] = &[
    Spelling {
        word: PUBLIC,
        others: &["AzurePublic", "AzureCloud"],
    },
    Spelling {
        word: US_GOVERNMENT,
        others: &["AzureUSGovernment"],
    },
    Spelling {
        word: CHINA,
        others: &["AzureChina"],
    },
    Spelling::new(STACK),
];

/// The names of all clouds, for a message: `A, B or C`.
pub fn all_names() -> String {
    let names: Vec<_> = SPELLINGS.iter().map(|spelling| spelling.word).collect();
    match names.split_last() {
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}
