//! Attacks on what there are few places for: the resolver, and IMDS.

use std::net::Ipv4Addr;
use std::time::Duration;

use azure_emulator::{Effect, Emulator, Target};
use futures::future::{BoxFuture, FutureExt as _, join_all};
use tokio::net::UdpSocket;

use super::attempt::Attack;
use super::class::{ATTACKER, Class, client_id};
use super::scene::Scene;
use super::victim::Victim;

/// All of them.
pub fn attacks() -> Vec<Box<dyn Attack>> {
    vec![Box::new(Lookups), Box::new(Identities)]
}

/// Names of vaults that the resolver never hears of.
struct Lookups;

impl Lookups {
    const NAMES: usize = 600;
    /// More callers than one, since a connection takes 512 calls at once.
    const CALLERS: usize = 3;

    async fn ask(scene: &Scene) -> Result<(), crate::failure::Failure> {
        // Hears everything and says nothing. Where the port is taken, somebody else does.
        let _nameserver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 53)).await;
        let mut drivers = Vec::new();
        for _ in 0..Self::CALLERS {
            drivers.push(scene.provider.connect().await?);
        }
        let class = Class::new(ATTACKER).workload(&scene.azure, &client_id(1));
        let asking = (0..Self::NAMES).map(|number| {
            let mut driver = drivers[number % Self::CALLERS].clone();
            let pod = class.clone().vault(&format!("dead-{number}")).pod();
            async move {
                loop {
                    _ = driver.mount(&pod).await;
                    tokio::task::yield_now().await;
                }
            }
        });
        join_all(asking).await;
        Ok(())
    }
}

impl Attack for Lookups {
    fn name(&self) -> &'static str {
        "600 names that DNS never answers"
    }

    fn what(&self) -> &'static str {
        "600 mounts of vaults for whose names the nameserver has no answer, not even that there is none"
    }

    fn victim(&self) -> Victim {
        Victim::Newcomers
    }

    fn needs_own_network(&self) -> bool {
        true
    }

    fn attack<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, ()> {
        // Without a connection there is no attack; the provider has ended.
        Self::ask(scene).map(drop).boxed()
    }
}

/// Identities that the node does not have, and an IMDS that thinks about each of them.
struct Identities;

impl Identities {
    const IDENTITIES: usize = 300;
    const THOUGHT: Duration = Duration::from_millis(200);
}

impl Attack for Identities {
    fn name(&self) -> &'static str {
        "300 identities that IMDS refuses"
    }

    fn what(&self) -> &'static str {
        "300 mounts as identities that the node does not have, for each of which IMDS takes 200 ms"
    }

    fn victim(&self) -> Victim {
        Victim::NewOnNode
    }

    fn prepare(&self, azure: &Emulator) {
        for number in 0..Self::IDENTITIES {
            let attackers = Target::imds().client(client_id(number));
            azure
                .faults()
                .always(attackers, Effect::delay(Self::THOUGHT));
        }
    }

    fn attack<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, ()> {
        let pods = (0..Self::IDENTITIES)
            .map(|number| Class::new(ATTACKER).managed(&client_id(number)).pod());
        scene.mount_forever(pods).boxed()
    }
}
