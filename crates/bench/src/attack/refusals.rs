//! Attacks by what Azure answers to the attacker.

use std::collections::BTreeMap;
use std::time::Duration;

use azure_emulator::{Effect, Emulator, Permissions, Target};
use futures::future::{BoxFuture, FutureExt as _};

use super::attempt::{Attack, Course};
use super::class::{ATTACKER, ATTACKERS, Class, SECRET, VICTIMS, client_id};
use super::scene::Scene;
use super::victim::Victim;
use crate::failure::Failure;
use crate::pod::NODE;

/// All of them.
pub fn attacks() -> Vec<Box<dyn Attack>> {
    vec![
        Box::new(Throttled),
        Box::new(Rejected),
        Box::new(Headers),
        Box::new(Memories),
    ]
}

/// 429 for what the attacker asks on the victim's vault, where it has no rights.
struct Throttled;

impl Throttled {
    /// Several identities can be one attacker's.
    const IDENTITIES: usize = 3;
    const OBJECTS: usize = 50;
}

impl Attack for Throttled {
    fn name(&self) -> &'static str {
        "429 for the attacker"
    }

    fn what(&self) -> &'static str {
        "Three identities ask the victim's vault for 50 objects each, and get 429"
    }

    fn victim(&self) -> Victim {
        Victim::Visited
    }

    fn prepare(&self, azure: &Emulator) {
        for number in 0..Self::IDENTITIES {
            let attackers = Target::vault(VICTIMS).client(client_id(number));
            azure.faults().always(attackers, Effect::throttle());
        }
    }

    fn attack<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, ()> {
        let pods = (0..Self::IDENTITIES).map(|number| {
            Class::new(ATTACKER)
                .vault(VICTIMS)
                .workload(&scene.azure, &client_id(number))
                .secrets((0..Self::OBJECTS).map(|number| format!("secret-{number}")))
                .pod()
        });
        scene.mount_forever(pods).boxed()
    }
}

/// 401 of the attacker's vault for the node's identity, whose token nobody can renew, since IMDS is away.
struct Rejected;

impl Rejected {
    const TENANT: &str = "5f1ed00d-97dd-4c3b-bf8a-31c785e24c67";
    const MOUNTS: usize = 5;
}

impl Attack for Rejected {
    fn name(&self) -> &'static str {
        "401 for the node's identity"
    }

    fn what(&self) -> &'static str {
        "Mounts as the node's identity from a vault of another tenant, which does not take its token, while IMDS is away"
    }

    fn victim(&self) -> Victim {
        Victim::OnNode
    }

    fn course(&self) -> Course {
        Course::Before
    }

    fn prepare(&self, azure: &Emulator) {
        azure.entra().add_tenant(Self::TENANT);
        azure.vault(ATTACKERS).set_tenant(Self::TENANT);
    }

    fn setting(&self, azure: &Emulator) {
        azure.faults().always(Target::imds(), Effect::Drop);
    }

    fn attack<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, ()> {
        let pod = Class::new(ATTACKER).managed(NODE).pod();
        let pods = std::iter::repeat_n(pod, Self::MOUNTS);
        scene.mount_all(1, pods).boxed()
    }
}

/// An answer with a megabyte of headers, on a connection that the victim has too.
struct Headers;

impl Headers {
    const OBJECT: &str = "headers";
}

impl Attack for Headers {
    fn name(&self) -> &'static str {
        "1 MB of headers"
    }

    fn what(&self) -> &'static str {
        "The attacker's vault, which the victim mounts from, answers the attacker with 1 MB of headers"
    }

    fn victim(&self) -> Victim {
        Victim::Visitor
    }

    fn prepare(&self, azure: &Emulator) {
        let vault = azure.vault(ATTACKERS);
        vault.set_secret(Self::OBJECT, "value");
        // Headers of a size that is usual, so that only their sum is not.
        let headers = (0..128).map(|number| (format!("x-{number}"), "h".repeat(8 * 1024)));
        let answer = Effect::Answer {
            status: 200,
            body: "{}".to_owned(),
            content_type: "application/json".to_owned(),
            headers: headers.collect::<BTreeMap<_, _>>(),
        };
        let object = Target::vault(ATTACKERS).object(format!("secrets/{}", Self::OBJECT));
        azure.faults().always(object, answer);
        // So that the victim's requests are under way when the connection breaks off.
        let slow = Target::vault(ATTACKERS).object(format!("secrets/{SECRET}"));
        azure
            .faults()
            .always(slow, Effect::delay(Duration::from_millis(20)));
    }

    fn attack<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, ()> {
        let class = Class::new(ATTACKER)
            .workload(&scene.azure, &client_id(1))
            .secrets([Self::OBJECT]);
        scene.mount_forever([class.pod()]).boxed()
    }
}

/// Values of the attacker's own vault, as many as are kept for outages.
struct Memories;

impl Memories {
    const SECRETS: usize = 160;
    const SIZE: usize = 20 * 1024;
    const MOUNTS: usize = 6;

    fn secret(mount: usize, number: usize) -> String {
        format!("memory-{mount}-{number}")
    }
}

impl Attack for Memories {
    fn name(&self) -> &'static str {
        "--stale-if-error pushed out"
    }

    fn what(&self) -> &'static str {
        "Six mounts of 160 values of 20 KB from the attacker's vault, while the victim's is out of order"
    }

    fn course(&self) -> Course {
        Course::Before
    }

    fn flags(&self, _folder: &std::path::Path) -> Result<Vec<String>, Failure> {
        Ok(vec!["--stale-if-error=1h".to_owned()])
    }

    fn kept(&self) -> u64 {
        // The default of --cache-max-bytes.
        16 * 1024 * 1024
    }

    fn prepare(&self, azure: &Emulator) {
        let vault = azure.vault(ATTACKERS);
        vault.grant(&client_id(1), Permissions::read());
        for mount in 0..Self::MOUNTS {
            for number in 0..Self::SECRETS {
                vault.set_secret(&Self::secret(mount, number), "v".repeat(Self::SIZE));
            }
        }
    }

    fn setting(&self, azure: &Emulator) {
        azure
            .faults()
            .always(Target::vault(VICTIMS), Effect::error(503));
    }

    fn attack<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, ()> {
        let class = Class::new(ATTACKER).workload(&scene.azure, &client_id(1));
        let pods = (0..Self::MOUNTS).map(move |mount| {
            let names = (0..Self::SECRETS).map(|number| Self::secret(mount, number));
            class.clone().secrets(names).pod()
        });
        scene.mount_all(1, pods).boxed()
    }
}
