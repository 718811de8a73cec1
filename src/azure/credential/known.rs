//! [`Known`], the credentials that are worth keeping: those that have had a token.
//!
//! Whatever a class says is an identity, and anyone can write thousands of them. So one is kept once the service that
//! knows it has given a token, it is weighed, and the namespace that uses it pays. Until then it lives as long as a
//! mount or a request for its token needs it, and all who want it meanwhile share it. One that is refused is remembered
//! until it may be asked for again.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use azure_core::credentials::AccessToken;
use parking_lot::{Mutex, MutexGuard};

use crate::azure::credential::{Credential, IdentityKey, Inner, TokenError};
use crate::observe::metrics::{Cache, CacheMetrics, Metrics};
use crate::os::clock::Clock;
use crate::shares::{Kept, Namespace, Weight};

/// The most bytes of credentials that have a token. One has 6 to 10 KB, as its tokens are long. The kubelet renews each
/// pod's assertion within the hour, which makes a new one, so that 250 pods have 500.
const MAX_BYTES: usize = 8 << 20;
/// The most bytes of credentials that were refused a moment ago.
const MAX_REFUSED_BYTES: usize = 512 << 10;
/// What a credential weighs beside its proof and its tokens: names, the limiter, the clients of the SDK.
const FIXED: usize = 3 << 10;
/// How often it is looked whether a refused one may be asked for again.
const STEP: Duration = Duration::from_secs(5);

/// The credentials that are kept.
#[derive(Debug)]
pub(super) struct Known {
    state: Mutex<State>,
    clock: Clock,
    metrics: CacheMetrics,
}

#[derive(Debug)]
struct State {
    /// Those that have had a token.
    proved: Kept<IdentityKey, Weighed>,
    /// Those that have not, and that may not be asked for again at once.
    refused: Kept<IdentityKey, Weighed>,
    /// Those that somebody uses for the first time.
    new: HashMap<IdentityKey, Weak<Inner>>,
    /// Whether somebody looks after those that were refused.
    is_swept: bool,
}

#[derive(Debug)]
struct Weighed {
    credential: Credential,
    bytes: usize,
}

impl Weight for Weighed {
    fn weight(&self) -> usize {
        self.bytes
    }
}

/// Where a credential is kept, for which namespace, and by which key.
pub(super) struct Keeping {
    pub(super) known: Weak<Known>,
    pub(super) namespace: Namespace,
    pub(super) key: IdentityKey,
}

impl Known {
    pub(super) fn new(clock: Clock, metrics: &Metrics) -> Self {
        let state = State {
            proved: Kept::new(MAX_BYTES),
            refused: Kept::new(MAX_REFUSED_BYTES),
            new: HashMap::new(),
            is_swept: false,
        };
        Self {
            state: Mutex::new(state),
            clock,
            metrics: metrics.weighed_cache(Cache::Credentials, MAX_BYTES),
        }
    }

    /// The credential that there is, or the one that is made now.
    pub(super) fn get_or_build(
        &self,
        namespace: &Namespace,
        key: &IdentityKey,
        build: impl FnOnce() -> Result<Credential, TokenError>,
    ) -> Result<Credential, TokenError> {
        let mut state = self.lock();
        if let Some(credential) = state.get(namespace, key) {
            return Ok(credential);
        }
        let credential = build()?;
        state.new.retain(|_, new| new.strong_count() > 0);
        let new = Arc::downgrade(&credential.0);
        state.new.insert(key.clone(), new);
        Ok(credential)
    }

    /// A request for a token of this one has ended.
    fn ended(self: &Arc<Self>, keeping: &Keeping, inner: &Arc<Inner>, token: Option<&AccessToken>) {
        let bytes = inner.weight() + token.map_or(0, |token| token.token.secret().len());
        let weighed = Weighed {
            credential: Credential(Arc::clone(inner)),
            bytes,
        };
        match token {
            Some(_) => self.prove(keeping, weighed),
            None => self.refuse(keeping, weighed),
        }
    }

    fn prove(&self, keeping: &Keeping, weighed: Weighed) {
        let now = self.clock.now();
        let mut state = self.lock();
        state.new.remove(&keeping.key);
        state.refused.remove(&keeping.key);
        // Nobody gets those any more.
        state.proved.retain(|_, known| {
            known
                .credential
                .0
                .source
                .proof_end()
                .is_none_or(|end| now < end)
        });
        let key = keeping.key.clone();
        let gone = state.proved.put(&keeping.namespace, key, weighed);
        self.metrics.evicted(gone.len());
        self.metrics.size(state.proved.len(), state.proved.bytes());
    }

    /// One that has had a token stays where it is.
    fn refuse(self: &Arc<Self>, keeping: &Keeping, weighed: Weighed) {
        let mut state = self.lock();
        let is_known = state.proved.get(&keeping.namespace, &keeping.key).is_some()
            || state
                .refused
                .get(&keeping.namespace, &keeping.key)
                .is_some();
        if is_known {
            return;
        }
        let key = keeping.key.clone();
        state.refused.put(&keeping.namespace, key, weighed);
        if !std::mem::replace(&mut state.is_swept, true) {
            tokio::spawn(Self::sweep(Arc::downgrade(self)));
        }
    }

    /// Lets go of refused credentials that may be asked for again, for as long as there are any: one timer for all.
    async fn sweep(known: Weak<Self>) {
        loop {
            tokio::time::sleep(STEP).await;
            let Some(known) = known.upgrade() else {
                return;
            };
            let refused: Vec<_> = {
                let state = known.lock();
                let refused = state.refused.iter();
                refused
                    .map(|(key, weighed)| (key.clone(), weighed.credential.clone()))
                    .collect()
            };
            let mut state = known.lock();
            for (key, credential) in &refused {
                if !credential.0.must_wait() {
                    state.refused.remove(key);
                }
            }
            if state.refused.len() == 0 {
                state.is_swept = false;
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

impl State {
    fn get(&mut self, namespace: &Namespace, key: &IdentityKey) -> Option<Credential> {
        let kept = self.proved.get(namespace, key);
        let kept = kept.or_else(|| self.refused.get(namespace, key));
        if let Some(kept) = kept {
            return Some(kept.credential.clone());
        }
        self.new.get(key)?.upgrade().map(Credential)
    }
}

impl Keeping {
    /// A request for a token of the credential that belongs here has ended.
    pub(super) fn ended(&self, inner: &Arc<Inner>, token: Option<&AccessToken>) {
        if let Some(known) = self.known.upgrade() {
            known.ended(self, inner, token);
        }
    }
}

impl Inner {
    /// What it weighs with the tokens that it has.
    pub(super) fn weight(&self) -> usize {
        FIXED + self.source.proof_length() + self.tokens.weight()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_of_250_pods_fits() {
        const PODS: usize = 250;
        let (assertion, token, overhead) = (1500, 2500, 512);
        assert!(2 * PODS * (FIXED + assertion + token + overhead) < MAX_BYTES);
    }
}
