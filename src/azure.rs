//! Everything that is asked of Azure, and what is shared between mounts of what came: tokens ([`credential`]), the
//! vaults and their objects ([`vault`]), how much may be asked and when ([`limiter`], [`retry`]), and which mounts share what
//! is read ([`reads`]).

pub mod credential;
pub mod limiter;
pub mod reads;
pub mod retry;
#[cfg(test)]
mod sdk;
pub mod vault;
