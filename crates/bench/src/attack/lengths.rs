//! Attacks on memory: texts without a bound that are kept, or are quoted.

use azure_emulator::{Effect, Emulator, Target};
use futures::future::{BoxFuture, FutureExt as _};
use serde_json::json;

use super::attempt::{Attack, Course};
use super::class::{ATTACKER, ATTACKERS, Class, client_id};
use super::scene::Scene;

/// A text that no service takes, though a class may have it.
const LONG: usize = 1024 * 1024;

/// All of them.
pub fn attacks() -> Vec<Box<dyn Attack>> {
    vec![
        Box::new(ClientSecrets { is_known: true }),
        Box::new(ClientSecrets { is_known: false }),
        Box::new(Refused),
        Box::new(Assertions),
        Box::new(EndlessId),
    ]
}

/// One client secret of a megabyte, of as many tenants as there are mounts.
struct ClientSecrets {
    /// Whether each tenant has the application, and its secret is this.
    is_known: bool,
}

impl ClientSecrets {
    const MOUNTS: usize = 300;
    /// A Secret's name and its other key need some room in the megabyte that Kubernetes gives.
    const SECRET: usize = LONG - 1024;
    /// An emulator that keeps hundreds of megabytes would be another attack.
    const KNOWN: usize = 100;

    fn tenant(number: usize) -> String {
        format!("{number:08x}-7e4a-4c3b-bf8a-31c785e24c67")
    }
}

impl Attack for ClientSecrets {
    fn name(&self) -> &'static str {
        if self.is_known {
            "client secrets of 1 MB"
        } else {
            "client secrets of 1 MB, refused"
        }
    }

    fn what(&self) -> &'static str {
        "300 mounts one after the other, each with a nodePublishSecretRef of 1 MB and another tenant"
    }

    fn course(&self) -> Course {
        Course::Finite
    }

    fn prepare(&self, azure: &Emulator) {
        if self.is_known {
            let secret = "s".repeat(Self::SECRET);
            for number in 0..Self::KNOWN {
                azure
                    .entra()
                    .application(&Self::tenant(number), &client_id(1))
                    .with_secret(&secret);
            }
        }
    }

    fn attack<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, ()> {
        let secret = "s".repeat(Self::SECRET);
        let pods = (0..Self::MOUNTS).map(move |number| {
            Class::new(ATTACKER)
                .principal(&Self::tenant(number), &client_id(1), &secret)
                .pod()
        });
        scene.mount_all(1, pods).boxed()
    }
}

/// As many identities as are kept, none of which Entra ID knows, all of ordinary length.
struct Refused;

impl Refused {
    const IDENTITIES: usize = 2_000;
    /// A service account's token has about a thousand bytes, and may have some more.
    const TOKEN: usize = 4_000;
}

impl Attack for Refused {
    fn name(&self) -> &'static str {
        "refused identities"
    }

    fn what(&self) -> &'static str {
        "2,000 mounts, each with another identity of ordinary length that Entra ID refuses"
    }

    fn course(&self) -> Course {
        Course::Finite
    }

    fn attack<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, ()> {
        let pods = (0..Self::IDENTITIES).map(|number| {
            let token = jwt(number, Self::TOKEN);
            Class::new(ATTACKER)
                .assertion(&client_id(number), &token)
                .pod()
        });
        scene.mount_all(8, pods).boxed()
    }
}

/// Tokens of a megabyte, which pods give themselves in their `volumeAttributes`.
struct Assertions;

impl Assertions {
    const MOUNTS: usize = 100;
}

impl Attack for Assertions {
    fn name(&self) -> &'static str {
        "tokens of 1 MB"
    }

    fn what(&self) -> &'static str {
        "100 mounts with a token of 1 MB in volumeAttributes, where the driver gives none"
    }

    fn course(&self) -> Course {
        Course::Finite
    }

    fn attack<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, ()> {
        let pods = (0..Self::MOUNTS).map(|number| {
            let token = jwt(number, LONG);
            Class::new(ATTACKER).assertion(&client_id(1), &token).pod()
        });
        scene.mount_all(1, pods).boxed()
    }
}

/// A text in the form of a token, of about this length.
fn jwt(number: usize, length: usize) -> String {
    let claims = "c".repeat(length);
    format!("eyJhbGciOiJSUzI1NiJ9.{claims}.{number}")
}

/// A vault whose refusals name a caller without an end.
struct EndlessId;

impl EndlessId {
    const OBJECTS: usize = 200;
    const AT_ONCE: usize = 2;
    /// Enough for memory, and not so much that only the emulator and TLS are measured.
    const LENGTH: usize = 256 * 1024;
}

impl Attack for EndlessId {
    fn name(&self) -> &'static str {
        "endless appid= in refusals"
    }

    fn what(&self) -> &'static str {
        "Two pods mount 200 objects from a vault whose refusals of 256 KB are the caller's name"
    }

    fn prepare(&self, azure: &Emulator) {
        let id = "a".repeat(Self::LENGTH);
        let message = format!("The user, group or application 'appid={id}");
        let body = json!({ "error": {
            "code": "Forbidden",
            "message": message,
            "innererror": { "code": "AccessDenied" },
        } });
        let effect = Effect::json(403, &body);
        azure.faults().always(Target::vault(ATTACKERS), effect);
    }

    fn attack<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, ()> {
        let class = Class::new(ATTACKER)
            .workload(&scene.azure, &client_id(1))
            .secrets((0..Self::OBJECTS).map(|number| format!("secret-{number}")));
        scene
            .mount_forever(vec![class.pod(); Self::AT_ONCE])
            .boxed()
    }
}
