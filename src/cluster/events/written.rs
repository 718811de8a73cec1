//! [`Written`], an event that the API server has, and what it is told of it.

use bytes::Bytes;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use crate::cluster::event::PodEvent;
use crate::cluster::queue::Waiting;
use crate::shares::Weight;
use crate::text::excerpt::cut;

/// Who the events are by, for `kubectl describe` and for those who select events.
pub(super) const CONTROLLER: &str = "provider-azure-rs";
/// What is done about the pod, in a word that machines read.
const ACTION: &str = "RotateSecrets";
/// The most bytes of a pod's name in that of an event, which gets a dot and sixteen digits more.
const MAX_NAME: usize = 253 - 17;
/// With exactly six digits after the point, as `MicroTime` of `meta/v1` is read.
const MICRO_TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");

/// An event that the API server has.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) name: String,
    /// When it was told first.
    pub(super) first: OffsetDateTime,
    /// How often it was told.
    pub(super) count: u32,
}

impl Weight for Written {
    fn weight(&self) -> usize {
        // Its key is there twice, with names as long as the longest that is usual.
        self.name.len() + size_of::<Self>() + 2 * 256
    }
}

impl Written {
    /// What waits, told so often since then. Its name is one that no other event has.
    pub(super) fn new(waiting: &Waiting, first: OffsetDateTime, count: u32) -> Self {
        // What is cut may end in what no part of a name ends in.
        let begin = cut(&waiting.event.pod.name, MAX_NAME).trim_end_matches(['-', '.']);
        Self {
            name: format!("{begin}.{:016x}", waiting.number),
            first,
            count,
        }
    }
}

/// `Event` of `events.k8s.io/v1`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata<'a>,
    #[serde(rename = "eventTime")]
    time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    series: Option<Series>,
    reporting_controller: &'static str,
    reporting_instance: &'a str,
    action: &'static str,
    reason: &'static str,
    regarding: Reference<'a>,
    note: &'a str,
    r#type: &'static str,
}

#[derive(Serialize)]
struct Metadata<'a> {
    namespace: &'a str,
    name: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reference<'a> {
    api_version: &'static str,
    kind: &'static str,
    namespace: &'a str,
    name: &'a str,
    uid: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Series {
    count: u32,
    last_observed_time: String,
}

#[derive(Serialize)]
struct Patch {
    series: Series,
}

/// A new event by this instance, as JSON. One that was told before, such as one that has expired, is one that goes on.
pub(super) fn created(
    event: &PodEvent,
    written: &Written,
    last: OffsetDateTime,
    instance: &str,
) -> Bytes {
    let pod = &event.pod;
    // A series has two at least.
    let series = (written.count > 1).then(|| Series::new(written.count, last));
    json(&Event {
        api_version: "events.k8s.io/v1",
        kind: "Event",
        metadata: Metadata {
            namespace: &pod.namespace,
            name: &written.name,
        },
        time: micro_time(written.first),
        series,
        reporting_controller: CONTROLLER,
        reporting_instance: instance,
        action: ACTION,
        reason: event.reason.as_str(),
        regarding: Reference {
            api_version: "v1",
            kind: "Pod",
            namespace: &pod.namespace,
            name: &pod.name,
            uid: &pod.uid,
        },
        note: event.note.as_str(),
        r#type: event.reason.kind(),
    })
}

/// What makes an event one that was told so often, and last then: a JSON Merge Patch.
pub(super) fn refreshed(count: u32, last: OffsetDateTime) -> Bytes {
    json(&Patch {
        series: Series::new(count, last),
    })
}

impl Series {
    fn new(count: u32, last: OffsetDateTime) -> Self {
        Self {
            // It is an `int32` there.
            count: count.min(i32::MAX.unsigned_abs()),
            last_observed_time: micro_time(last),
        }
    }
}

fn json(value: &impl Serialize) -> Bytes {
    // Texts and numbers always are JSON.
    serde_json::to_vec(value).unwrap_or_default().into()
}

fn micro_time(time: OffsetDateTime) -> String {
    time.to_offset(time::UtcOffset::UTC)
        .format(MICRO_TIME)
        .unwrap_or_default()
}
