//! The parameters that a class can have, each in one row. A new one is a row here, a member of
//! [`Parameters`](crate::class::parameters::Parameters), and what is done with it.

use crate::class::property::{Owner, Shape, clouds};

/// Key Vault's.
///
/// Source: "Azure Key Vault keys, secrets and certificates overview", section "Objects, identifiers and versioning".
const MAX_VAULT: usize = 24;
/// A tenant's ID has 36, and a domain name at most 253 (RFC 1035, section 3.1).
pub const MAX_TENANT: usize = 253;
/// A client ID has 36; see docs/decisions/0009 for who writes others.
pub const MAX_CLIENT_ID: usize = 128;
/// A resource ID in Azure Resource Manager: its fixed parts, a resource group of 90 and a name of 128 are 380.
///
/// Source: "Naming rules and restrictions for Azure resources", Microsoft.Resources and Microsoft.ManagedIdentity.
pub const MAX_RESOURCE_ID: usize = 1024;
/// Linux' `PATH_MAX`, without the end of the text.
const MAX_PATH: usize = 4095;

const VAULT: &str = "^\\s*[0-9A-Za-z-]{3,24}\\s*$";
const VAULT_OR_NOTHING: &str = "^\\s*([0-9A-Za-z-]{3,24})?\\s*$";
const TENANT: &str = "^\\s*([0-9A-Za-z][0-9A-Za-z.-]{0,252})?\\s*$";
const OFF: &str = "^\\s*(0|f|F|false|FALSE|False)?\\s*$";

const NAME_THE_VAULT: &str =
    "write the vault's name, without its domain: az keyvault list --query \"[].name\"";
const NAME_THE_TENANT: &str =
    "write the vault's tenant: az keyvault show --name VAULT --query properties.tenantId";
const TRUE_OR_FALSE: &str = "\"true\" or \"false\"";

properties! {
    /// The parameters of a class.
    PARAMETERS, NAMES:

    KEYVAULT_NAME = "keyvaultName" {
        description: "The vault's name, without its domain.",
        shape: Shape::Pattern(VAULT),
        max: Some(MAX_VAULT),
        needed: true,
        example: "ai-chat-kv-1763873634",
        expected: "3 to 24 letters, digits and hyphens, such as ai-chat-kv",
        fix: NAME_THE_VAULT,
    }
    TENANT_ID = "tenantID" {
        description: "The vault's tenant in Entra ID: its ID or one of its domains.",
        shape: Shape::Pattern(TENANT),
        max: Some(MAX_TENANT),
        needed: true,
        example: "42ddc44e-97dd-4c3b-bf8a-31c785e24c67",
        expected: "the tenant of the vault, such as 42ddc44e-97dd-4c3b-bf8a-31c785e24c67",
        fix: NAME_THE_TENANT,
    }
    OBJECTS = "objects" {
        description: "What to get, as YAML in a text: array: with a list of entries. Write `objects: |` and the YAML \
                      below it. An entry is described by $defs/object.",
        shape: Shape::Yaml("array:\n  - |\n    objectName: DB-PASSWORD\n    objectType: secret\n"),
        needed: true,
    }
    CLIENT_ID = "clientID" {
        description: "The client ID of the workload identity, or of the identity that AKS binds.",
        max: Some(MAX_CLIENT_ID),
        example: "e502213f-1f15-4f03-9fb4-b546f51aafe9",
        expected: "a client ID such as e502213f-1f15-4f03-9fb4-b546f51aafe9",
        fix: "write the client ID: az ad app list --display-name NAME --query \"[].appId\"",
    }
    USE_VM_MANAGED_IDENTITY = "useVMManagedIdentity" {
        description: "Whether to ask as the node's managed identity.",
        shape: Shape::Switch,
        default: "false",
        example: "true",
        expected: TRUE_OR_FALSE,
        fix: "write useVMManagedIdentity: \"true\" or useVMManagedIdentity: \"false\"",
    }
    USER_ASSIGNED_IDENTITY_ID = "userAssignedIdentityID" {
        description: "Which of the node's user-assigned identities: its client ID, objectID: and its object ID, or its \
                      resource ID. Empty for the system-assigned one.",
        max: Some(MAX_RESOURCE_ID),
        example: "e502213f-1f15-4f03-9fb4-b546f51aafe9",
        expected: "a client ID such as e502213f-1f15-4f03-9fb4-b546f51aafe9, objectID: and an object ID, or a \
                   resource ID such as /subscriptions/…/userAssignedIdentities/NAME",
        fix: "write the identity's client ID: az identity show --name NAME --resource-group GROUP --query clientId",
    }
    USE_AZURE_TOKEN_PROXY = "useAzureTokenProxy" {
        description: "Whether AKS binds the identity of clientID (identity binding).",
        shape: Shape::Switch,
        default: "false",
        example: "true",
        expected: TRUE_OR_FALSE,
        fix: "write useAzureTokenProxy: \"true\" or useAzureTokenProxy: \"false\"",
    }
    FAILOVER_KEYVAULT_NAME = "failoverKeyvaultName" {
        description: "A vault with the same objects, asked when the first one is out of order.",
        shape: Shape::Pattern(VAULT_OR_NOTHING),
        max: Some(MAX_VAULT),
        example: "ai-chat-kv-northeurope",
        expected: "nothing, or 3 to 24 letters, digits and hyphens",
        fix: NAME_THE_VAULT,
        owner: Owner::Ours,
    }
    CLOUD_NAME = "cloudName" {
        description: "The Azure cloud; AzurePublicCloud where neither the class nor the operator says another.",
        shape: Shape::Spelled(clouds::SPELLINGS),
        default: "`--cloud-name`",
        example: "AzureChinaCloud",
        fix: "leave cloudName out for AzurePublicCloud",
    }
    CLOUD_ENV_FILE_NAME = "cloudEnvFileName" {
        description: "For AzureStackCloud: the file with its endpoints, in a folder that the operator allows.",
        max: Some(MAX_PATH),
        default: "`--cloud-env-file`",
        example: "/etc/kubernetes/azurestackcloud.json",
    }
    OLD_TENANT_ID = "tenantId" {
        description: "An old spelling of tenantID.",
        shape: Shape::Pattern(TENANT),
        max: Some(MAX_TENANT),
        deprecated: true,
    }
    USE_POD_IDENTITY = "usePodIdentity" {
        description: "Was for pod identity, which was retired in September 2023. Use clientID (workload identity).",
        shape: Shape::Pattern(OFF),
        expected: TRUE_OR_FALSE,
        fix: "write usePodIdentity: \"true\" or usePodIdentity: \"false\"",
        deprecated: true,
    }
}
