//! Text of others: bytes that cannot be printed ([`sensitive`]), and what of foreign text a message may show
//! ([`excerpt`], [`json`]).

pub mod excerpt;
pub mod json;
pub mod sensitive;
