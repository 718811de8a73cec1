//! [`Azure`], the emulated Azure that everything is measured against: one vault, and everything that pods of the
//! bench mount from it, and everyone as whom they do.

use std::time::Duration;

use azure_emulator::{DEFAULT_TENANT, Effect, Emulator, ManagedIdentity, Settings, Target};

use crate::failure::Failure;
use crate::pod::{self, BIG, BIG_ONES, HISTORIES, HISTORY, NODE, Secrets, VAULT};

/// The most objects of a pod, and the most pods.
pub const MOST: usize = 1000;

/// An emulator with everything in it.
#[derive(Debug)]
pub struct Azure {
    emulator: Emulator,
}

impl Azure {
    /// Starts one. It answers at once.
    pub async fn start(settings: Settings) -> Result<Self, Failure> {
        let emulator = Emulator::start(settings).await?;
        let vault = emulator.vault(VAULT);
        vault.allow_everyone();
        for number in 0..MOST {
            vault.set_secret(
                &Secrets::Usual.name(number),
                format!("the value of {number}"),
            );
            emulator
                .entra()
                .application(DEFAULT_TENANT, &pod::client_id(number))
                .with_service_account(pod::NAMESPACE, &pod::name(number));
        }
        for number in 0..HISTORIES {
            for version in 0..HISTORY {
                let value = format!("the value of {number} in version {version}");
                vault.set_secret(&Secrets::Histories.name(number), value);
            }
        }
        for number in 0..BIG_ONES {
            let value = format!("{number:0>BIG$}");
            vault.set_secret(&Secrets::Big.name(number), value);
        }
        emulator
            .imds()
            .assign(ManagedIdentity::user_assigned(NODE, NODE));
        Ok(Self { emulator })
    }

    /// Moves vault, Entra ID and IMDS to where every answer takes this time.
    pub fn set_latency(&self, latency: Duration) {
        let faults = self.emulator.faults();
        faults.clear();
        if !latency.is_zero() {
            for target in [
                Target::any_vault().unauthenticated(),
                Target::entra(),
                Target::imds(),
            ] {
                faults.always(target, Effect::delay(latency));
            }
        }
    }

    /// Has the vault answer the next request with 429.
    pub fn throttle_once(&self) {
        let faults = self.emulator.faults();
        faults.next(1, Target::any_vault(), Effect::throttle());
    }

    /// The emulator itself.
    pub fn emulator(&self) -> &Emulator {
        &self.emulator
    }

    /// Ends it, so that another one can listen where it does.
    pub async fn stop(self) {
        self.emulator.stop().await;
    }
}
