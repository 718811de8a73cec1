//! [`Budget`], how many bytes all calls may hold at once, and what one namespace may have of them.
//!
//! Each call has an [`Account`], and everything that it holds is [`Held`] there. It takes bytes before it needs them, and
//! waits while there are none.
//!
//! - *Never above*: nothing is given that is not free.
//! - *Never stuck*: the most that one call may hold is kept back for one call, the owner: the oldest that waits for bytes and
//!   could get none otherwise. It owns them until it ends, or until it waits for something else, such as a vault, while another
//!   call waits for bytes.
//! - *A newcomer finds some*: a namespace may hold at most as many bytes as it leaves free; of its oldest call only that
//!   call's own bytes count.
//!
//! What is free goes to the owner first, then to the namespace that holds least, and in it to the oldest call. A call that
//! waits for more than its namespace could have even if nobody else there held any gets it as the owner, and nobody waits
//! behind it meanwhile.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::Namespace;

/// What is kept back changes hands only where this part of all else stays free.
const FOR_NEWCOMERS: usize = 32;

/// How many calls that wait are looked at in each namespace: those that hold most are among the oldest, and looking at all of
/// them would take milliseconds.
const CANDIDATES: usize = 16;

/// How many bytes all calls may hold. Clones share everything.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Mutex<State>>);

/// What is held now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// The bytes that there are.
    pub total: usize,
    /// Those that are held.
    pub held: usize,
    /// How many calls wait for some.
    pub waiting: usize,
}

/// One call's, which ends when this is dropped. What is still held there then, such as an answer on its way, is held until
/// it is dropped itself.
#[derive(Debug)]
pub struct Account(Arc<Opened>);

#[derive(Debug)]
struct Opened {
    budget: Budget,
    /// When it was opened, as a number that grows.
    age: Age,
}

/// Bytes, until this is dropped.
#[derive(Debug)]
#[must_use]
pub struct Held {
    account: Arc<Opened>,
    bytes: usize,
    /// Whether they are those of a request that has been read.
    is_request: bool,
}

/// Bytes that no account holds, but its namespace: of what several calls have together.
#[derive(Debug)]
#[must_use]
pub struct Shared {
    budget: Budget,
    namespace: Namespace,
    bytes: usize,
}

type Age = u64;

#[derive(Debug)]
struct State {
    total: usize,
    /// The most that one call may hold, and that is kept back for one of them.
    most: usize,
    held: usize,
    /// The part of it held by calls that have ended; it comes back soon.
    left: usize,
    /// The call that what is kept back is for.
    owner: Option<Age>,
    /// Counts accounts and those that wait, so that they have an order.
    clock: u64,
    accounts: BTreeMap<Age, Sum>,
    namespaces: BTreeMap<Namespace, Line>,
}

/// What one account holds.
#[derive(Debug)]
struct Sum {
    namespace: Namespace,
    held: usize,
    has_ended: bool,
}

/// What one namespace holds and waits for.
#[derive(Debug, Default)]
struct Line {
    held: usize,
    /// The part of it that is requests which have been read.
    of_requests: usize,
    accounts: BTreeSet<Age>,
    waiting: BTreeMap<Position, Waiter>,
}

/// The age of an account, and when it began to wait.
type Position = (Age, u64);

#[derive(Debug)]
struct Waiter {
    bytes: usize,
    sender: oneshot::Sender<()>,
}

impl Budget {
    /// So many bytes for all, of which one call holds `most`. There are half as many more as that at least.
    pub fn new(total: usize, most: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            total: total.max(most + most / 2),
            most,
            held: 0,
            left: 0,
            owner: None,
            clock: 0,
            accounts: BTreeMap::new(),
            namespaces: BTreeMap::new(),
        })))
    }

    /// An account for a call of a pod in this namespace.
    pub fn open(&self, namespace: &Namespace) -> Account {
        let mut state = self.0.lock();
        let age = state.tick();
        state.line(namespace).accounts.insert(age);
        let sum = Sum {
            namespace: namespace.clone(),
            held: 0,
            has_ended: false,
        };
        state.accounts.insert(age, sum);
        drop(state);
        Account(Arc::new(Opened {
            budget: self.clone(),
            age,
        }))
    }

    /// What is held now.
    pub fn load(&self) -> Load {
        let state = self.0.lock();
        let lines = state.namespaces.values();
        let ages = lines.flat_map(|line| line.waiting.keys().map(|(age, _)| age));
        Load {
            total: state.total,
            held: state.held,
            waiting: ages.collect::<BTreeSet<_>>().len(),
        }
    }

    fn give_back(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.0.lock();
        change(&mut state);
        state.give();
    }
}

impl Account {
    /// One of a budget that has no end, for what is no call of a driver.
    pub fn unbounded() -> Self {
        Budget::new(usize::MAX / 4, usize::MAX / 8).open(&Namespace::default())
    }

    /// Waits for so many bytes more, which are at most what one call may hold: nothing that a call may ask for is larger. What
    /// is dropped while it waits has lost its turn.
    pub async fn take(&self, bytes: usize) -> Held {
        let (bytes, (position, receiver)) = {
            let mut state = self.state().lock();
            let bytes = bytes.min(state.most);
            if state.take_at_once(self.0.age, bytes, |first| self.0.age < first) {
                return self.held(bytes);
            }
            (bytes, state.wait(self.0.age, bytes))
        };
        let mut waiting = Waiting {
            account: self,
            bytes,
            position: Some(position),
        };
        // The sender goes only by being used.
        _ = receiver.await;
        waiting.position = None;
        self.held(bytes)
    }

    /// So many bytes for what other calls have too, if they are free now.
    pub fn try_share(&self, bytes: usize) -> Option<Shared> {
        let mut state = self.state().lock();
        let namespace = state.accounts.get(&self.0.age)?.namespace.clone();
        // What is kept back for one call is for what ends with it.
        if state.of_namespace(&namespace) + bytes > state.common().saturating_sub(bytes) {
            return None;
        }
        state.line(&namespace).held += bytes;
        state.held += bytes;
        state.give();
        Some(Shared {
            budget: self.0.budget.clone(),
            namespace,
            bytes,
        })
    }

    /// So many bytes for a request, at once: it is there already. Nothing if its namespace's requests would hold more than is
    /// free.
    pub fn admit(&self, bytes: usize) -> Option<Held> {
        let mut state = self.state().lock();
        let fits = state.fits(self.0.age, bytes) || state.fits_as_owner(self.0.age, bytes);
        let free = state.common();
        let namespace = state.accounts.get(&self.0.age)?.namespace.clone();
        let line = state.line(&namespace);
        if !fits && line.of_requests + bytes > free.saturating_sub(bytes) {
            return None;
        }
        line.of_requests += bytes;
        state.took(self.0.age, bytes);
        state.give();
        let mut held = self.held(bytes);
        held.is_request = true;
        Some(held)
    }

    /// Whether it waits for bytes.
    pub fn is_waiting(&self) -> bool {
        self.state().lock().waits(self.0.age)
    }

    fn state(&self) -> &Mutex<State> {
        &self.0.budget.0
    }

    fn held(&self, bytes: usize) -> Held {
        Held {
            account: Arc::clone(&self.0),
            bytes,
            is_request: false,
        }
    }
}

impl Held {
    pub fn nothing(account: &Account) -> Self {
        account.held(0)
    }

    /// Gives back what is more than so many.
    pub fn shrink_to(&mut self, bytes: usize) {
        let freed = self.bytes.saturating_sub(bytes);
        if freed == 0 {
            return;
        }
        self.bytes -= freed;
        let (age, is_request) = (self.account.age, self.is_request);
        self.account
            .budget
            .give_back(|state| state.free(age, freed, is_request));
    }

    /// So many of these by themselves, or all if there are fewer.
    pub fn split(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self {
            account: Arc::clone(&self.account),
            bytes,
            is_request: self.is_request,
        }
    }

    /// How many they are.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes what is missing of so many, if it is free. Says whether they are there.
    pub fn try_grow_to(&mut self, bytes: usize) -> bool {
        debug_assert!(!self.is_request, "a request does not grow");
        let missing = bytes.saturating_sub(self.bytes);
        let account = &self.account;
        // What one already has a part of comes before what it waits for besides.
        let there = missing == 0 || {
            let mut state = account.budget.0.lock();
            state.take_at_once(account.age, missing, |first| account.age <= first)
        };
        if there {
            self.bytes = self.bytes.max(bytes);
        }
        there
    }

    /// Holds these too, of the same account.
    pub fn add(&mut self, mut other: Self) {
        debug_assert_eq!(self.is_request, other.is_request);
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let Self {
            budget,
            namespace,
            bytes,
        } = self;
        budget.give_back(|state| {
            state.held -= *bytes;
            state.line(namespace).held -= *bytes;
            state.tidy(namespace);
        });
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let age = self.0.age;
        self.0.budget.give_back(|state| state.end(age));
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.budget.0.lock().forget(self.age);
    }
}

impl State {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn line(&mut self, namespace: &Namespace) -> &mut Line {
        self.namespaces.entry(namespace.clone()).or_default()
    }

    fn someone_waits(&self) -> bool {
        self.namespaces
            .values()
            .any(|line| !line.waiting.is_empty())
    }

    /// The call that what is kept back is for.
    fn owner(&self) -> Option<(Age, &Sum)> {
        let age = self.owner?;
        Some((age, self.accounts.get(&age)?))
    }

    /// What is free for all, without what the owner may still need.
    fn common(&self) -> usize {
        self.common_beside(self.owner().map(|(_, owner)| owner))
    }

    /// What would be free for all beside this owner.
    fn common_beside(&self, owner: Option<&Sum>) -> usize {
        let kept_back = self
            .most
            .saturating_sub(owner.map_or(0, |owner| owner.held));
        self.total.saturating_sub(self.held + kept_back)
    }

    /// What a namespace holds, without what is kept back for the owner anyway.
    fn of_namespace(&self, namespace: &Namespace) -> usize {
        self.of_namespace_beside(namespace, self.owner().map(|(_, owner)| owner))
    }

    fn of_namespace_beside(&self, namespace: &Namespace, owner: Option<&Sum>) -> usize {
        let of_line = self.namespaces.get(namespace).map_or(0, |line| line.held);
        match owner {
            Some(owner) if owner.namespace == *namespace => of_line - owner.held.min(self.most),
            _ => of_line,
        }
    }

    fn waits(&self, age: Age) -> bool {
        let account = self.accounts.get(&age);
        let line = account.and_then(|account| self.namespaces.get(&account.namespace));
        let range = (age, 0)..=(age, u64::MAX);
        line.is_some_and(|line| line.waiting.range(range).next().is_some())
    }

    /// Whether this call may own what is kept back: there is as much as it may still need. If another one owns it, which does
    /// not wait for bytes, what that has leaves this one's namespace its share and newcomers some.
    fn may_own(&self, age: Age) -> bool {
        let Some(account) = self.accounts.get(&age) else {
            return false;
        };
        let needed = self.most.saturating_sub(account.held);
        if account.has_ended || self.total - self.held + self.left < needed {
            return false;
        }
        self.owner().is_none_or(|(_, owner)| {
            let common = self.common_beside(Some(account));
            let others = self.of_namespace_beside(&account.namespace, Some(account));
            let for_newcomers = (self.total - self.most) / FOR_NEWCOMERS;
            // What the owner has counts from then on: a little of it keeps nobody back.
            common >= for_newcomers && common + owner.held.min(for_newcomers) >= others
        })
    }

    /// Makes the oldest call that waits the owner, of those that wait among the first in their namespaces and may be. Says
    /// whether there is another one now.
    fn appoint(&mut self) -> bool {
        if self.owner.is_some_and(|owner| self.waits(owner)) {
            return false;
        }
        let lines = self.namespaces.values();
        let firsts = lines.filter_map(|line| {
            let first = line.waiting.keys().next().map(|(age, _)| *age);
            let ages = std::iter::successors(first, |age| {
                let mut younger = line.waiting.range((age + 1, 0)..);
                younger.next().map(|((age, _), _)| *age)
            });
            ages.take(CANDIDATES).find(|age| self.may_own(*age))
        });
        let next = firsts.min();
        self.owner = next.or(self.owner);
        next.is_some()
    }

    /// Whether this account may have so many bytes more as the owner, which it is from then on. If there is one, it has
    /// to wait for its turn.
    fn fits_as_owner(&mut self, age: Age, bytes: usize) -> bool {
        if self.owner().is_some() || !self.may_own(age) {
            return false;
        }
        self.owner = Some(age);
        let fits = self.fits(age, bytes);
        self.owner = self.owner.filter(|_| fits);
        fits
    }

    /// Whether this account may have so many bytes more.
    fn fits(&self, age: Age, bytes: usize) -> bool {
        let Some(account) = self.accounts.get(&age) else {
            return false;
        };
        let free = self.total.saturating_sub(self.held);
        if self.owner == Some(age) && account.held + bytes <= self.most && bytes <= free {
            return true;
        }
        let line = self.namespaces.get(&account.namespace);
        let is_first = line.is_some_and(|line| line.accounts.first() == Some(&age));
        let of_those = if is_first {
            account.held
        } else {
            self.of_namespace(&account.namespace)
        };
        of_those + bytes <= self.common().saturating_sub(bytes)
    }

    /// The one that waits before all others of its namespace.
    fn first_waiting(&self, namespace: &Namespace) -> Option<(Position, &Waiter)> {
        let line = self.namespaces.get(namespace)?;
        // What there would be if the namespace held nothing. Half of it is the most that it may have.
        let all = self.common() + self.of_namespace(namespace);
        let mut waiting = line.waiting.iter();
        let (position, waiter) = waiting.find(|((age, _), waiter)| {
            let own = self.accounts.get(age).map_or(0, |account| account.held);
            self.owner == Some(*age) || 2 * (own + waiter.bytes) <= all
        })?;
        Some((*position, waiter))
    }

    /// The account that waits before all others of this one's namespace, perhaps this one.
    fn first_beside(&self, age: Age) -> Option<Age> {
        let account = self.accounts.get(&age)?;
        let ((first, _), _) = self.first_waiting(&account.namespace)?;
        Some(first)
    }

    /// Takes them, if they fit and come before those of the account that waits first in the namespace, if one does.
    fn take_at_once(
        &mut self,
        age: Age,
        bytes: usize,
        come_before: impl FnOnce(Age) -> bool,
    ) -> bool {
        let is_served = self.owner == Some(age) && !self.waits(age);
        let are_next = is_served || self.first_beside(age).is_none_or(come_before);
        let taken = are_next && (self.fits(age, bytes) || self.fits_as_owner(age, bytes));
        if taken {
            self.took(age, bytes);
            self.give();
        }
        taken
    }

    /// Gives what is free to those whose turn it is: after all that changes whose turn it is, which also what is taken does.
    fn give(&mut self) {
        if !self.someone_waits() {
            return;
        }
        loop {
            while let Some(sender) = self.next() {
                // One that has gone meanwhile gives it back itself.
                _ = sender.send(());
            }
            if !self.appoint() {
                return;
            }
        }
    }

    fn took(&mut self, age: Age, bytes: usize) {
        if let Some(account) = self.accounts.get_mut(&age) {
            account.held += bytes;
            if account.has_ended {
                self.left += bytes;
            }
            let namespace = account.namespace.clone();
            self.held += bytes;
            self.line(&namespace).held += bytes;
        }
    }

    fn wait(&mut self, age: Age, bytes: usize) -> (Position, oneshot::Receiver<()>) {
        let (sender, receiver) = oneshot::channel();
        let position = (age, self.tick());
        if let Some(account) = self.accounts.get(&age) {
            let namespace = account.namespace.clone();
            let waiter = Waiter { bytes, sender };
            self.line(&namespace).waiting.insert(position, waiter);
            // It may be the owner, or become it.
            self.give();
        }
        (position, receiver)
    }

    /// Takes bytes for the one whose turn it is.
    fn next(&mut self) -> Option<oneshot::Sender<()>> {
        let owner = self.owner().and_then(|(age, account)| {
            let line = self.namespaces.get(&account.namespace)?;
            let mut waiting = line.waiting.range((age, 0)..=(age, u64::MAX));
            // In its order: what is small would take the room of what is large for ever.
            let (position, waiter) = waiting.next()?;
            let fits = self.fits(age, waiter.bytes);
            fits.then(|| (account.namespace.clone(), *position))
        });
        let (namespace, position) = owner.or_else(|| {
            let lines = self.namespaces.iter().filter_map(|(namespace, line)| {
                let (position, waiter) = self.first_waiting(namespace)?;
                self.fits(position.0, waiter.bytes)
                    .then_some((line.held, position, namespace))
            });
            let (_, position, namespace) = lines.min()?;
            Some((namespace.clone(), position))
        })?;
        let waiter = self.line(&namespace).waiting.remove(&position)?;
        self.took(position.0, waiter.bytes);
        Some(waiter.sender)
    }

    fn free(&mut self, age: Age, bytes: usize, is_request: bool) {
        let Some(account) = self.accounts.get_mut(&age) else {
            return;
        };
        account.held -= bytes;
        if account.has_ended {
            self.left -= bytes;
        }
        let namespace = account.namespace.clone();
        self.held -= bytes;
        let line = self.line(&namespace);
        line.held -= bytes;
        if is_request {
            line.of_requests -= bytes;
        }
        self.tidy(&namespace);
    }

    /// The call has ended: another one may own what is kept back, if this did.
    fn end(&mut self, age: Age) {
        self.owner = self.owner.filter(|owner| *owner != age);
        if let Some(account) = self.accounts.get_mut(&age) {
            account.has_ended = true;
            self.left += account.held;
            let namespace = account.namespace.clone();
            self.line(&namespace).accounts.remove(&age);
            self.tidy(&namespace);
        }
    }

    /// Nothing is held there any more.
    fn forget(&mut self, age: Age) {
        if let Some(account) = self.accounts.remove(&age) {
            self.tidy(&account.namespace);
        }
    }

    /// Forgets a namespace that has nothing.
    fn tidy(&mut self, namespace: &Namespace) {
        let line = self.namespaces.get(namespace);
        let is_idle = |line: &Line| line.accounts.is_empty() && line.held == 0;
        if line.is_some_and(is_idle) {
            self.namespaces.remove(namespace);
        }
    }
}

/// Bytes that are waited for, unless they have come.
struct Waiting<'a> {
    account: &'a Account,
    bytes: usize,
    position: Option<Position>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let Some(position) = self.position else {
            return;
        };
        let (age, bytes) = (self.account.0.age, self.bytes);
        self.account.0.budget.give_back(|state| {
            let Some(account) = state.accounts.get(&age) else {
                return;
            };
            let namespace = account.namespace.clone();
            if state.line(&namespace).waiting.remove(&position).is_none() {
                // They had come, and nobody was there to take them.
                state.free(age, bytes, false);
            }
        });
    }
}
