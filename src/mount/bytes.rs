//! What one mount takes of the bytes that all share, and how much of it goes on at once.

use std::pin::pin;

use futures::FutureExt as _;
use futures::future::{Fuse, FusedFuture as _};
use futures::stream::{FuturesUnordered, StreamExt as _};

use crate::azure::vault::{Contents, MAX_LISTED, VaultObject};
use crate::class::plan::Fetch;
use crate::rendering::Encoding;
use crate::shares::{Account, Weight as _};

/// The most objects of one mount that are wanted at a time, and the most versions of one history: more than may be under
/// way to one vault by default, so that none waits for this.
const SIDE_BY_SIDE: usize = 352;
/// What an answer takes at least until it is a value. Taken before it is asked for.
pub(super) const ANSWER: usize = 4 << 10;
/// What an object takes while it is wanted, without its value.
const WANTED: usize = 8 << 10;
/// The hashes of all that are listed.
const LIST: usize = 112 << 10;
/// One version that is listed.
pub(super) const LISTED: usize = 128;
/// What a file takes beside its path and contents.
pub(super) const FILE: usize = 512;

/// Starts all of these, as many side by side as there are bytes for, and hands over what becomes of each. The first error
/// ends the others, with the requests that are under way.
pub(super) async fn side_by_side<T, F: Future, E>(
    account: &Account,
    items: impl Iterator<Item = T>,
    start: impl Fn(T) -> F,
    mut ended: impl FnMut(F::Output) -> Result<(), E>,
) -> Result<(), E> {
    let mut items = items.peekable();
    let mut under_way = FuturesUnordered::new();
    let mut bytes = pin!(Fuse::terminated());
    loop {
        let has_room = under_way.len() < SIDE_BY_SIDE;
        if bytes.is_terminated() && has_room && items.peek().is_some() {
            bytes.set(account.take(WANTED).fuse());
        }
        tokio::select! {
            biased;
            held = &mut bytes, if !bytes.is_terminated() => {
                // No `async` block, which would store the future twice.
                let next = items.next();
                under_way.extend(next.map(|item| start(item).inspect(move |_| drop(held))));
            }
            Some(result) = under_way.next() => ended(result)?,
            else => return Ok(()),
        }
    }
}

/// What an object takes until it is files: a copy of its value, and more of them where it is turned into something else.
pub(super) fn needed(object: &VaultObject, fetch: &Fetch) -> usize {
    let is_plain = match &object.contents {
        Contents::Secret { kid, .. } => kid.is_none() && fetch.rendering.encoding == Encoding::Utf8,
        Contents::Key(_) | Contents::Certificate(_) => false,
    };
    let copies = if is_plain { 1 } else { 4 };
    FILE + copies * object.weight()
}

/// What a list of versions takes while it is read: those that are wanted, and a hash of each that is looked at.
pub(super) fn list_weight(fetch: &Fetch) -> usize {
    let wanted = fetch
        .most_listed()
        .map_or(MAX_LISTED, |most| most.get() as usize);
    LIST + wanted.min(MAX_LISTED) * LISTED
}
