//! [`Attributes`], whether and when an object is meant to be used. A vault serves it all the same, unless it is
//! disabled.

use time::OffsetDateTime;

/// What a vault keeps beside one version of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// `enabled`
    pub enabled: bool,
    /// `nbf`
    pub not_before: Option<OffsetDateTime>,
    /// `exp`
    pub expires: Option<OffsetDateTime>,
}

impl Attributes {
    /// What is odd about an object that is served now.
    pub fn oddity(&self, now: OffsetDateTime) -> Option<&'static str> {
        if !self.enabled {
            Some("is disabled")
        } else if self.expires.is_some_and(|expires| expires <= now) {
            Some("has expired")
        } else if self.not_before.is_some_and(|start| start > now) {
            Some("is not valid yet")
        } else {
            None
        }
    }
}
