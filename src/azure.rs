//! Everything that is asked of Azure, and what is shared between mounts of what came: tokens ([`credential`]), the
//! vaults and their objects ([`vault`]), how much may be asked and when ([`limiter`], [`retry`]), and what is kept
//! ([`cache`]).

pub mod cache;
pub mod credential;
pub mod limiter;
pub mod retry;
pub mod vault;
