//! [`Repeat`], everything that is measured while a [`Work`](super::work::Work) is done once.

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::requests::Requests;

/// What one repeat cost.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Repeat {
    /// How many mounts it was.
    pub mounts: u32,
    /// Until the last of them.
    #[serde(rename = "milliseconds", serialize_with = "milliseconds")]
    pub time: Duration,
    /// The mount in the middle, by the time that each took.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "milliseconds_if_any"
    )]
    pub middle: Option<Duration>,
    /// CPU time of the provider; absent where its process is not known, or has done something besides.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "milliseconds_if_any"
    )]
    pub cpu: Option<Duration>,
    /// What Azure was asked.
    pub requests: Requests,
    /// Requests to the vault, if each object were asked for once in each interval.
    pub least_requests: u32,
    /// Memory in bytes before the first mount; absent where there was one before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<u64>,
    /// The most memory in bytes since the process was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak: Option<u64>,
    /// Memory in bytes after a while in which nothing was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub later: Option<u64>,
    /// What bare requests took just after it.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "milliseconds_if_any"
    )]
    pub floor: Option<Duration>,
    /// What the same provider took without shared reads just after it.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "milliseconds_if_any"
    )]
    pub unshared: Option<Duration>,
}

impl Repeat {
    /// The same mounts by bare requests: only their time is known.
    pub fn bare(mounts: u32, time: Duration) -> Self {
        Self {
            mounts,
            time,
            ..Self::default()
        }
    }
}

fn milliseconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64() * 1e3)
}

#[expect(clippy::ref_option, reason = "serde hands the field over by reference")]
fn milliseconds_if_any<S: Serializer>(
    time: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    milliseconds(&time.unwrap_or_default(), serializer)
}
