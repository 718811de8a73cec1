//! [`AllowedUsers`], who may call besides the provider's own user.

use std::fmt;

/// Users by their numbers. Root alone, where nothing else is said: the driver runs as root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedUsers(Vec<u32>);

impl Default for AllowedUsers {
    fn default() -> Self {
        Self(vec![0])
    }
}

impl AllowedUsers {
    /// These users and no others.
    pub fn new(uids: Vec<u32>) -> Self {
        Self(uids)
    }

    /// This user too.
    pub(super) fn and(mut self, uid: u32) -> Self {
        if !self.allows(uid) {
            self.0.push(uid);
        }
        self
    }

    /// Whether this user may call.
    pub(super) fn allows(&self, uid: u32) -> bool {
        self.0.contains(&uid)
    }

    /// The mode of a socket that belongs to `owner`. The kernel lets nobody but its owner and root connect
    /// to a socket of mode 0600, so one that others may call is open to all, and each caller is asked who
    /// it is.
    pub(super) fn socket_mode(&self, owner: u32) -> u32 {
        if self.0.iter().all(|uid| [0, owner].contains(uid)) {
            0o600
        } else {
            0o666
        }
    }
}

impl fmt::Display for AllowedUsers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uids: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&uids.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_and_the_owner_need_no_open_socket() {
        let usual = AllowedUsers::default().and(1000);
        assert_eq!(usual, AllowedUsers(vec![0, 1000]));
        assert_eq!(usual.socket_mode(1000), 0o600);
        assert_eq!(usual.and(1001).socket_mode(1000), 0o666);
    }

    #[test]
    fn who_is_not_named_may_not_call() {
        let one = AllowedUsers::new(vec![1000]).and(1001);
        assert!(one.allows(1000) && one.allows(1001));
        assert!(!one.allows(0) && !one.allows(1002));
    }
}
