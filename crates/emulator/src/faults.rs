//! Faults: what goes wrong, with whom, and how often. Set by tests and the control API, asked for
//! by each service just before it would answer.

use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

mod effect;

pub(crate) use effect::{Asked, Verbatim, interpose};
pub use effect::{Effect, RecordedAnswer};

/// The services that can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    Vault,
    Entra,
    /// The Instance Metadata Service.
    Imds,
    /// The token proxy of an AKS cluster.
    #[serde(rename = "tokenProxy")]
    TokenProxy,
}

/// Which requests a fault meets; an absent field means any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    pub service: Service,
    /// A vault's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<String>,
    /// An object in a vault: `secrets/NAME`, `keys/NAME`, `certificates/NAME`, or a whole
    /// collection such as `secrets`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// A tenant, for Entra ID and the token proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// A client id, for Entra ID, the token proxy and IMDS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Key Vault only: meet requests without a good token too. Otherwise the challenge is answered
    /// as usual, and a fault that is counted down is not used up by it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unauthenticated: bool,
}

impl Target {
    fn service(service: Service) -> Self {
        Self {
            service,
            vault: None,
            object: None,
            tenant: None,
            client: None,
            unauthenticated: false,
        }
    }

    /// Every request to every vault.
    pub fn any_vault() -> Self {
        Self::service(Service::Vault)
    }

    /// Every request to one vault.
    pub fn vault(name: impl Into<String>) -> Self {
        Self {
            vault: Some(name.into()),
            ..Self::any_vault()
        }
    }

    /// Every request to Entra ID.
    pub fn entra() -> Self {
        Self::service(Service::Entra)
    }

    /// Every request to IMDS.
    pub fn imds() -> Self {
        Self::service(Service::Imds)
    }

    /// Every request to the AKS token proxy.
    pub fn token_proxy() -> Self {
        Self::service(Service::TokenProxy)
    }

    /// Only one object (`secrets/NAME`) or collection (`secrets`).
    #[must_use]
    pub fn object(mut self, path: impl Into<String>) -> Self {
        self.object = Some(path.into());
        self
    }

    /// Only one tenant.
    #[must_use]
    pub fn tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenant = Some(tenant.into());
        self
    }

    /// Only one client id.
    #[must_use]
    pub fn client(mut self, client: impl Into<String>) -> Self {
        self.client = Some(client.into());
        self
    }

    /// Also requests that carry no good token.
    #[must_use]
    pub fn unauthenticated(mut self) -> Self {
        self.unauthenticated = true;
        self
    }

    fn meets(&self, subject: &Subject<'_>) -> bool {
        let fits = |wanted: &Option<String>, found: Option<&str>| {
            wanted
                .as_deref()
                .is_none_or(|wanted| found.is_some_and(|f| f.eq_ignore_ascii_case(wanted)))
        };
        let object_fits = self.object.as_deref().is_none_or(|wanted| {
            subject.object.is_some_and(|found| {
                found.eq_ignore_ascii_case(wanted)
                    || (!wanted.contains('/') && found.split('/').next() == Some(wanted))
            })
        });
        self.service == subject.service
            && fits(&self.vault, subject.vault)
            && fits(&self.tenant, subject.tenant)
            && fits(&self.client, subject.client)
            && object_fits
            && (subject.service != Service::Vault || subject.authenticated || self.unauthenticated)
    }
}

/// A request, as far as faults care.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) service: Service,
    pub(crate) vault: Option<&'a str>,
    /// `secrets/NAME` or `secrets`.
    pub(crate) object: Option<&'a str>,
    pub(crate) tenant: Option<&'a str>,
    pub(crate) client: Option<&'a str>,
    pub(crate) authenticated: bool,
}

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// With which requests.
    pub target: Target,
    /// What happens to them.
    pub effect: Effect,
    /// How many requests it happens to; absent until it is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
}

#[derive(Debug, Default)]
struct Schedule {
    next: u64,
    faults: Vec<(u64, Fault)>,
}

/// An emulator's faults; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    schedule: Arc<Mutex<Schedule>>,
}

impl Faults {
    /// From now on until it is removed. Gives the fault's number.
    pub fn always(&self, target: Target, effect: Effect) -> u64 {
        self.add(Fault {
            target,
            effect,
            times: None,
        })
    }

    /// For the next `times` requests that it meets. Gives the fault's number.
    pub fn next(&self, times: u32, target: Target, effect: Effect) -> u64 {
        self.add(Fault {
            target,
            effect,
            times: Some(times),
        })
    }

    /// Adds a fault. Gives its number.
    pub fn add(&self, fault: Fault) -> u64 {
        let mut schedule = self.schedule.lock();
        schedule.next += 1;
        let number = schedule.next;
        schedule.faults.push((number, fault));
        number
    }

    /// Removes a fault; false when it was not there (any more).
    pub fn remove(&self, number: u64) -> bool {
        let mut schedule = self.schedule.lock();
        let before = schedule.faults.len();
        schedule.faults.retain(|(other, _)| *other != number);
        schedule.faults.len() != before
    }

    /// Removes all faults.
    pub fn clear(&self) {
        self.schedule.lock().faults.clear();
    }

    /// The faults that are in force, with their numbers and what is left of their counts.
    pub fn list(&self) -> Vec<(u64, Fault)> {
        self.schedule.lock().faults.clone()
    }

    /// The effects that a request meets: all delays, and the first of the others. Each that is
    /// taken is counted down.
    pub(crate) fn take(&self, subject: &Subject<'_>) -> Vec<Effect> {
        let mut schedule = self.schedule.lock();
        let mut taken = Vec::new();
        let mut answered = false;
        schedule.faults.retain_mut(|(_, fault)| {
            let delays = matches!(fault.effect, Effect::Delay { .. });
            if !fault.target.meets(subject) || (!delays && answered) || fault.times == Some(0) {
                return fault.times != Some(0);
            }
            answered |= !delays;
            taken.push(fault.effect.clone());
            if let Some(times) = &mut fault.times {
                *times -= 1;
            }
            fault.times != Some(0)
        });
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(object: &'static str, authenticated: bool) -> Subject<'static> {
        Subject {
            service: Service::Vault,
            vault: Some("kv1"),
            object: Some(object),
            tenant: None,
            client: Some("me"),
            authenticated,
        }
    }

    #[test]
    fn targets() {
        let cases = [
            (Target::any_vault(), true),
            (Target::vault("KV1"), true),
            (Target::vault("kv2"), false),
            (Target::vault("kv1").object("secrets/a"), true),
            (Target::vault("kv1").object("secrets"), true),
            (Target::vault("kv1").object("secrets/b"), false),
            (Target::vault("kv1").object("keys"), false),
            (Target::vault("kv1").client("me"), true),
            (Target::vault("kv1").client("you"), false),
            (Target::entra(), false),
            (Target::imds(), false),
        ];
        for (target, met) in cases {
            assert_eq!(target.meets(&subject("secrets/a", true)), met, "{target:?}");
        }
    }

    #[test]
    fn the_challenge_uses_no_fault_up_unless_it_is_meant() {
        assert!(!Target::any_vault().meets(&subject("secrets/a", false)));
        let both = Target::any_vault().unauthenticated();
        assert!(both.meets(&subject("secrets/a", false)));
        assert!(both.meets(&subject("secrets/a", true)));
    }

    #[test]
    fn counted_faults_end_and_only_one_answer_is_taken() {
        let faults = Faults::default();
        let throttle = Effect::throttle();
        let delay = Effect::Delay { milliseconds: 1 };
        faults.next(1, Target::any_vault(), throttle.clone());
        faults.next(1, Target::any_vault(), Effect::Hang);
        let number = faults.always(Target::any_vault(), delay.clone());
        let subject = subject("secrets/a", true);
        assert_eq!(faults.take(&subject), [throttle, delay.clone()]);
        assert_eq!(faults.take(&subject), [Effect::Hang, delay.clone()]);
        assert_eq!(faults.take(&subject), [delay]);
        assert!(faults.remove(number));
        assert!(!faults.remove(number));
        assert_eq!(faults.list(), []);
    }
}
