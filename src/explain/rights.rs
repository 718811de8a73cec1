//! [`Right`], what it takes to read one kind of object: the least built-in role and the permission of access policies.
//!
//! This table is the source of the commands in messages and of the table in `docs/errors.md`.

use crate::azure::vault::refusal::Operation;
use crate::class::object::ObjectKind;

/// What it takes to read one kind of object.
#[derive(Clone, Copy, Debug)]
pub struct Right {
    pub kind: ObjectKind,
    /// What of such an object is read, for people.
    pub read: &'static str,
    /// The built-in role that allows the least. Its actions allow lists of versions too.
    pub role: &'static str,
    /// The data action that the role is for.
    pub action: &'static str,
    /// The member of an access policy's `permissions`; with `get`, and `list` for a history.
    pub permissions: &'static str,
}

/// All kinds.
///
/// Source: "Azure built-in roles for Security": Key Vault Secrets User has `secrets/getSecret` and
/// `secrets/readMetadata`; Key Vault Reader has `*/read`, among them `keys/read` (the public half) and
/// `certificates/read`, and no value of a secret. Key Vault Crypto User may sign and decrypt besides, and Key Vault
/// Certificate User reads the values of secrets.
pub const RIGHTS: [Right; 3] = [
    Right {
        kind: ObjectKind::Secret,
        read: "its value; a certificate with its private key is a secret too",
        role: "Key Vault Secrets User",
        action: "Microsoft.KeyVault/vaults/secrets/getSecret/action",
        permissions: "secrets",
    },
    Right {
        kind: ObjectKind::Key,
        read: "its public half",
        role: "Key Vault Reader",
        action: "Microsoft.KeyVault/vaults/keys/read",
        permissions: "keys",
    },
    Right {
        kind: ObjectKind::Certificate,
        read: "the certificate without its key",
        role: "Key Vault Reader",
        action: "Microsoft.KeyVault/vaults/certificates/read",
        permissions: "certificates",
    },
];

/// What some objects are denied: the kinds in the table's order, and whether their versions are to be listed too.
#[derive(Debug)]
pub(super) struct Missing(Vec<(Right, bool)>);

impl Missing {
    /// What these were denied.
    pub(super) fn of(denied: &[(ObjectKind, Operation)]) -> Self {
        let of_kind = |right: Right| {
            let mut denied = denied.iter().filter(|(kind, _)| *kind == right.kind);
            let first = denied.next()?.1;
            let lists = first == Operation::List || denied.any(|(_, op)| *op == Operation::List);
            Some((right, lists))
        };
        Self(RIGHTS.into_iter().filter_map(of_kind).collect())
    }

    /// The command that adds them to the identity's access policy. `set-policy` replaces what a kind of object had, so
    /// what is there is named again; it takes a permission twice as it takes it once.
    ///
    /// Source: `set_policy` in azure-cli's module `keyvault`.
    pub(super) fn set_policy(&self, vault: &str, object_id: &str) -> String {
        let mut command = format!("az keyvault set-policy --name {vault} --object-id {object_id}");
        for (right, lists) in &self.0 {
            let (flag, permissions) = (right.kind.azure_name(), right.permissions);
            let added = if *lists { "get list" } else { "get" };
            command = format!(
                "{command} --{flag}-permissions {added} $(az keyvault show --name {vault} --query \
                 \"properties.accessPolicies[?objectId=='{object_id}'].permissions.{permissions}[]\" --output tsv)"
            );
        }
        command
    }

    /// The commands that assign the roles, one after the other.
    pub(super) fn assign_roles(&self, vault: &str, object_id: &str) -> String {
        let mut roles: Vec<_> = self.0.iter().map(|(right, _)| right.role).collect();
        roles.dedup();
        let commands: Vec<_> = roles
            .iter()
            .map(|role| {
                format!(
                    "az role assignment create --role \"{role}\" --assignee-object-id {object_id} \
                     --assignee-principal-type ServicePrincipal --scope \"$(az keyvault show --name {vault} --query id \
                     --output tsv)\""
                )
            })
            .collect();
        commands.join(" && ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_is_assigned_once() {
        let get = |kind| (kind, Operation::Get);
        let (secret, key) = (ObjectKind::Secret, ObjectKind::Key);
        let certificate = ObjectKind::Certificate;
        for (denied, roles) in [
            (vec![get(secret)], vec!["Key Vault Secrets User"]),
            (vec![get(key), get(key)], vec!["Key Vault Reader"]),
            (vec![get(certificate), get(key)], vec!["Key Vault Reader"]),
            (
                vec![get(certificate), get(secret), get(key)],
                vec!["Key Vault Secrets User", "Key Vault Reader"],
            ),
        ] {
            let commands = Missing::of(&denied).assign_roles("kv1", "o");
            let found: Vec<_> = commands
                .split(" && ")
                .filter_map(|command| command.split('"').nth(1))
                .collect();
            assert_eq!(found, roles, "{commands}");
        }
    }

    #[test]
    fn a_policy_keeps_what_it_has() {
        let denied = [
            (ObjectKind::Certificate, Operation::Get),
            (ObjectKind::Secret, Operation::Get),
            (ObjectKind::Secret, Operation::List),
        ];
        assert_eq!(
            Missing::of(&denied).set_policy("kv1", "o"),
            "az keyvault set-policy --name kv1 --object-id o \
             --secret-permissions get list $(az keyvault show --name kv1 --query \
             \"properties.accessPolicies[?objectId=='o'].permissions.secrets[]\" --output tsv) \
             --certificate-permissions get $(az keyvault show --name kv1 --query \
             \"properties.accessPolicies[?objectId=='o'].permissions.certificates[]\" --output tsv)"
        );
    }
}
