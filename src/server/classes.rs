//! [`Classes`], what mounts under way have together of the classes that they are for: a Deployment's pods bring one class,
//! which may have thousands of entries, and wait at one vault.
//!
//! A text, or what was read of one, is here while one mount has it. It is known by its digest and its namespace, whose bytes it
//! takes.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use ring::digest::{Context, SHA256};

use crate::class::plan::Fetch;
use crate::class::request::Request;
use crate::shares::{Account, Shared};

/// The classes of mounts under way.
#[derive(Debug, Default)]
pub struct Classes {
    texts: Known<Arc<String>>,
    entries: Known<Entries>,
}

/// What is read of a class's `objects`.
#[derive(Debug)]
pub struct Entries {
    /// What is fetched.
    pub fetches: Arc<[Fetch]>,
    /// What is accepted and probably not meant.
    pub warnings: Vec<String>,
}

/// What several mounts have.
#[derive(Debug)]
pub struct Common<T> {
    value: T,
    _bytes: Shared,
}

/// A text that several mounts have.
pub type Text = Common<Arc<String>>;

/// All that decides what is read of `objects`, and the namespace that has it, as a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

#[derive(Debug)]
struct Known<T>(Mutex<HashMap<Digest, Weak<Common<T>>>>);

impl Digest {
    /// Of a call's.
    pub fn of(request: &Request) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(&request.default_mode.bits().to_be_bytes());
        let texts = [&request.pod.namespace, &*request.objects];
        for text in texts.into_iter().chain(&request.unknown) {
            context.update(&text.len().to_be_bytes());
            context.update(text.as_bytes());
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        Self(digest)
    }
}

impl Classes {
    /// The text of another mount in the place of the request's own, if one has the same.
    pub fn find_text(&self, digest: Digest, request: &mut Request) -> Option<Arc<Text>> {
        let known = self.texts.get(digest)?;
        request.objects = Arc::clone(&known.value);
        Some(known)
    }

    /// Lets others have the request's text, if there are bytes for that.
    pub fn keep_text(
        &self,
        digest: Digest,
        request: &Request,
        account: &Account,
    ) -> Option<Arc<Text>> {
        let bytes = account.try_share(request.objects.len())?;
        Some(self.texts.put(digest, Arc::clone(&request.objects), bytes))
    }

    /// What another mount has read, if one has read the same.
    pub fn find(&self, digest: Digest) -> Option<Arc<Common<Entries>>> {
        self.entries.get(digest)
    }

    /// Lets others have what was read, if there are bytes for that.
    pub fn keep(
        &self,
        digest: Digest,
        entries: Entries,
        bytes: usize,
        account: &Account,
    ) -> Option<Arc<Common<Entries>>> {
        let bytes = account.try_share(bytes)?;
        Some(self.entries.put(digest, entries, bytes))
    }
}

impl<T> Common<T> {
    /// What they have.
    pub fn value(&self) -> &T {
        &self.value
    }
}

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Known<T> {
    fn get(&self, digest: Digest) -> Option<Arc<Common<T>>> {
        self.0.lock().get(&digest)?.upgrade()
    }

    fn put(&self, digest: Digest, value: T, bytes: Shared) -> Arc<Common<T>> {
        let common = Arc::new(Common {
            value,
            _bytes: bytes,
        });
        let mut known = self.0.lock();
        known.retain(|_, common| common.strong_count() > 0);
        known.insert(digest, Arc::downgrade(&common));
        common
    }
}
