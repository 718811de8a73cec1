//! Attacks on the processor: what a class or an object costs to read.

use std::fs;
use std::path::Path;

use azure_emulator::{Emulator, NewSecret};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::future::{BoxFuture, FutureExt as _};

use super::attempt::Attack;
use super::class::{ATTACKER, ATTACKERS, Class, VICTIM, client_id};
use super::scene::Scene;
use crate::failure::{Failure, cannot};

/// How many of an attacker's pods mount at once.
const AT_ONCE: usize = 2;

/// All of them.
pub fn attacks() -> Vec<Box<dyn Attack>> {
    vec![
        Box::new(Yaml { is_denied: false }),
        Box::new(Yaml { is_denied: true }),
        Box::new(Pfx),
        Box::new(Patterns),
    ]
}

/// `objects` whose entries are maps of aliases and merge keys.
struct Yaml {
    /// Whether a policy denies the attacker everything.
    is_denied: bool,
}

impl Yaml {
    const ENTRIES: usize = 240;

    /// An entry of about 200 bytes, in which each of eight maps merges the one before three times.
    fn entry() -> String {
        let mut entry = "  - |\n    a: &a {x: y}\n".to_owned();
        for (inner, outer) in ('a'..='h').zip('b'..='i') {
            let merged = format!("    {outer}: &{outer} {{<<: [*{inner}, *{inner}, *{inner}]}}\n");
            entry.push_str(&merged);
        }
        entry
    }
}

impl Attack for Yaml {
    fn name(&self) -> &'static str {
        if self.is_denied {
            "YAML aliases, denied by the policy"
        } else {
            "YAML aliases"
        }
    }

    fn what(&self) -> &'static str {
        "Two pods mount a class of 50 KB whose objects are merge keys and aliases"
    }

    fn flags(&self, folder: &Path) -> Result<Vec<String>, Failure> {
        if !self.is_denied {
            return Ok(Vec::new());
        }
        let rule = format!("- name: victims\n  namespaces: [{VICTIM}]\n  vaults: [\"*\"]\n");
        policy(folder, &rule)
    }

    fn attack<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, ()> {
        let objects = format!("array:\n{}", Self::entry().repeat(Self::ENTRIES));
        let class = Class::new(ATTACKER)
            .workload(&scene.azure, &client_id(1))
            .with("objects", objects);
        let pods = vec![class.pod(); AT_ONCE];
        scene.mount_forever(pods).boxed()
    }
}

/// Writes a policy of these rules, and says which flag names it.
fn policy(folder: &Path, rules: &str) -> Result<Vec<String>, Failure> {
    let path = folder.join("policy.yaml");
    fs::write(&path, format!("rules:\n{rules}")).map_err(cannot("write a policy"))?;
    Ok(vec![format!("--policy={}", path.display())])
}

/// PFX files that ask for as much key derivation as one may.
struct Pfx;

impl Pfx {
    const FILES: usize = 200;
    /// Just under the eight million blocks that one file was allowed at first.
    const ITERATIONS: u32 = 7_900_000;

    fn secret(number: usize) -> String {
        format!("pfx-{number}")
    }

    /// A PFX file (RFC 7292 section 4) with nothing in it but an integrity check that fails, after so many iterations.
    fn file() -> Vec<u8> {
        const DATA: &[u8] = &[0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7, 1];
        const SHA256: &[u8] = &[0x06, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0];
        let nothing = der(0x30, &[&[]]);
        let content = der(0xa0, &[&der(0x04, &[&nothing])]);
        let contents = der(0x30, &[DATA, &content]);
        let algorithm = der(0x30, &[SHA256]);
        let digest = der(0x30, &[&algorithm, &der(0x04, &[&[7; 32]])]);
        let salt = der(0x04, &[&[7; 8]]);
        let iterations = der(0x02, &[&Self::ITERATIONS.to_be_bytes()]);
        let integrity = der(0x30, &[&digest, &salt, &iterations]);
        der(0x30, &[&[0x02, 1, 3], &contents, &integrity])
    }
}

/// An element in DER with this tag, of at most 255 bytes.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = u8::try_from(content.len()).expect("the file is short");
    let head: &[u8] = if length < 128 {
        &[tag, length]
    } else {
        &[tag, 0x81, length]
    };
    [head, &content].concat()
}

impl Attack for Pfx {
    fn name(&self) -> &'static str {
        "PFX iterations"
    }

    fn what(&self) -> &'static str {
        "Two pods mount 200 certificates whose PFX files take millions of iterations to check"
    }

    fn prepare(&self, azure: &Emulator) {
        let vault = azure.vault(ATTACKERS);
        for number in 0..Self::FILES {
            let value = STANDARD.encode(Self::file());
            let name = Self::secret(number);
            // Only a certificate's secret has one.
            let key = format!("https://{ATTACKERS}.vault.azure.net/keys/{name}/0");
            let secret = NewSecret::new(value)
                .content_type("application/x-pkcs12")
                .kid(key);
            vault.set_secret_with(&name, secret);
        }
    }

    fn attack<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, ()> {
        let class = Class::new(ATTACKER)
            .workload(&scene.azure, &client_id(1))
            .secrets((0..Self::FILES).map(Self::secret));
        let pods = vec![class.pod(); AT_ONCE];
        scene.mount_forever(pods).boxed()
    }
}

/// A class with all objects that it may have, beside a policy with many patterns.
struct Patterns;

impl Patterns {
    const OBJECTS: usize = 5_000;
    const PATTERNS: usize = 300;
    const AT_ONCE: usize = 4;
}

impl Attack for Patterns {
    fn name(&self) -> &'static str {
        "policy of 300 patterns"
    }

    fn what(&self) -> &'static str {
        "Four pods mount 5,000 objects each, which a policy of 300 patterns denies"
    }

    fn flags(&self, folder: &Path) -> Result<Vec<String>, Failure> {
        let patterns: Vec<String> = (0..Self::PATTERNS)
            .map(|number| format!("\"secret/*-a-*-of-{number}\""))
            .collect();
        let patterns = patterns.join(", ");
        let rules = format!(
            "- name: victims\n  namespaces: [{VICTIM}]\n  vaults: [\"*\"]\n\
             - name: many\n  namespaces: [{ATTACKER}]\n  vaults: [\"*\"]\n  objects: [{patterns}]\n"
        );
        policy(folder, &rules)
    }

    fn attack<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, ()> {
        let class = Class::new(ATTACKER)
            .workload(&scene.azure, &client_id(1))
            .secrets((0..Self::OBJECTS).map(|number| format!("b-a-{number}-a-a-a-a-a-of-x")));
        let pods = vec![class.pod(); Self::AT_ONCE];
        scene.mount_forever(pods).boxed()
    }
}
