//! [`Attack`], what somebody does who may create pods in one namespace, or what is sick around the node.

use std::path::Path;

use azure_emulator::Emulator;
use futures::future::{BoxFuture, FutureExt as _, ready};

use super::scene::Scene;
use super::victim::Victim;
use crate::failure::Failure;

/// When the victim mounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// While the attack goes on, which it would without an end.
    Endless,
    /// While the attack goes on, until it is done.
    Finite,
    /// When the attack is done.
    Before,
}

/// One attack. Its mounts may fail: what counts is the victim.
pub trait Attack {
    /// A few words, for the table.
    fn name(&self) -> &'static str;

    /// What is done, in a sentence.
    fn what(&self) -> &'static str;

    /// Who suffers from it.
    fn victim(&self) -> Victim {
        Victim::Apart
    }

    /// When the victim mounts.
    fn course(&self) -> Course {
        Course::Endless
    }

    /// Flags of the provider, which may name files that are written to the folder.
    fn flags(&self, _folder: &Path) -> Result<Vec<String>, Failure> {
        Ok(Vec::new())
    }

    /// The most files that the provider may have open.
    fn open_files(&self) -> Option<u32> {
        None
    }

    /// Bytes that the operator asks the provider to keep, on top of what it needs.
    fn kept(&self) -> u64 {
        0
    }

    /// Whether names must be looked up as in production.
    fn needs_own_network(&self) -> bool {
        false
    }

    /// What there is in Azure before.
    fn prepare(&self, _azure: &Emulator) {}

    /// What is out of order from before the attack on. The victim has mounted once.
    fn setting(&self, _azure: &Emulator) {}

    fn attack<'a>(&'a self, scene: &'a Scene) -> BoxFuture<'a, ()>;

    /// What else must hold when it is over, or why it does not.
    fn promise<'a>(&'a self, _scene: &'a Scene) -> BoxFuture<'a, Result<(), String>> {
        ready(Ok(())).boxed()
    }
}
