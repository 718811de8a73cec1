//! [`SetPolicy`], the one command of the Azure CLI that the demo follows to the letter: if the
//! provider's message names a wrong vault, identity or permission, its fix does not fix anything.

/// `az keyvault set-policy --name VAULT --object-id ID --secret-permissions PERMISSION... $(...)`, where the inner
/// command repeats the permissions that there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetPolicy {
    /// The command itself.
    pub command: String,
    /// `--name`.
    pub vault: String,
    /// `--object-id`.
    pub object_id: String,
    /// `--secret-permissions`.
    pub secret_permissions: Vec<String>,
}

impl SetPolicy {
    /// The command at the end of a message's line, if it is there with all that it needs.
    pub fn in_message(message: &str) -> Option<Self> {
        let start = message.find("az keyvault set-policy ")?;
        let command = message[start..].lines().next()?.trim_end();
        let words: Vec<_> = command.split(' ').collect();
        let list = |flag: &str| {
            let at = words.iter().position(|word| *word == flag)?;
            let values = words[at + 1..]
                .iter()
                .take_while(|word| !word.starts_with(['-', '$']));
            Some(values.map(|word| (*word).to_owned()).collect::<Vec<_>>())
        };
        let single = |flag| list(flag)?.into_iter().next();
        Some(Self {
            command: command.to_owned(),
            vault: single("--name")?,
            object_id: single("--object-id")?,
            secret_permissions: list("--secret-permissions")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_in_a_message() {
        let command = "az keyvault set-policy --name v --object-id o --secret-permissions get list $(az keyvault show \
                       --name v --output tsv)";
        let found = SetPolicy::in_message(&format!("error: denied. Fix: {command}\nmore\n"));
        let expected = SetPolicy {
            command: command.to_owned(),
            vault: "v".to_owned(),
            object_id: "o".to_owned(),
            secret_permissions: vec!["get".to_owned(), "list".to_owned()],
        };
        assert_eq!(found, Some(expected));
        assert_eq!(
            SetPolicy::in_message("az keyvault set-policy --name v"),
            None
        );
        assert_eq!(SetPolicy::in_message("denied"), None);
    }
}
