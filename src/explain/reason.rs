//! [`Reason`], the stable words for causes, and what there is to say about each.
//!
//! This table is the source of `docs/errors.md` and of `provider-azure-rs explain`.

use tonic::Code;

/// Defines [`Reason`] and all that is known of each. The comment on a reason is its meaning for users, too.
macro_rules! reasons {
    ($($group:literal { $(
        #[doc = $meaning:literal]
        $name:ident = $word:literal, $code:ident, $look:literal;
    )+ })+) => {
        /// A stable word for a cause, for people to search for and for alerts to match.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $($( #[doc = $meaning] $name, )+)+
        }

        impl Reason {
            /// All of them, in groups that have names.
            pub const GROUPS: &[(&str, &[Self])] = &[$( ($group, &[$( Self::$name ),+]) ),+];

            pub fn as_str(self) -> &'static str {
                match self { $($( Self::$name => $word, )+)+ }
            }

            /// The gRPC code that goes with it. Why which: docs/decisions/0004.
            pub fn code(self) -> Code {
                match self { $($( Self::$name => Code::$code, )+)+ }
            }

            /// What it means, in a sentence.
            pub fn meaning(self) -> &'static str {
                match self { $($( Self::$name => $meaning.trim_ascii(), )+)+ }
            }

            /// What to look at, and what to do.
            pub fn remedy(self) -> &'static str {
                match self { $($( Self::$name => $look, )+)+ }
            }
        }
    };
}

reasons! {
    "The call and the class" {
        /// The call is not one that a driver makes.
        InvalidRequest = "INVALID_REQUEST", InvalidArgument,
            "The driver and its version: its attributes, secrets and permission must be JSON as driver v1.1 \
            and later send it, with names as long as Kubernetes allows.";
        /// A parameter of the class is invalid.
        InvalidParameter = "INVALID_PARAMETER", InvalidArgument,
            "The message names the parameter, what was expected and what was found; of a value that is too long, the \
            maximum and the length. `provider-azure-rs validate CLASS.yaml` says the same with line and column, before anything is deployed. A pod's \
            volumeAttributes override the class's parameters.";
        /// Two objects want one path.
        PathConflict = "PATH_CONFLICT", InvalidArgument,
            "Give one of them another objectAlias. A certificate may write NAME.crt and NAME.key too, and a \
            history the folder NAME.";
        /// The class names no identity.
        IdentityMissing = "IDENTITY_MISSING", InvalidArgument,
            "Set clientID (workload identity), userAssignedIdentityID or useVMManagedIdentity (the node's), \
            or give the volume a nodePublishSecretRef (service principal).";
        /// No rule of the provider's policy allows it.
        PolicyDenied = "POLICY_DENIED", PermissionDenied,
            "The message has what was asked for, the rule that comes nearest, and the fields of it that do not \
            fit. Either the class means another vault, identity or object, or the platform team adds it to the \
            file of the provider's --policy.";
        /// The driver sends no token of the audience that the identity needs.
        TokenAudienceMissing = "TOKEN_AUDIENCE_MISSING", InvalidArgument,
            "Add the audience to tokenRequests of the CSIDriver object secrets-store.csi.k8s.io; the message \
            has the command. With the driver's Helm chart: \
            tokenRequests[0].audience=api://AzureADTokenExchange (in the US Government's cloud \
            api://AzureADTokenExchangeUSGov, in China's api://AzureADTokenExchangeChina).";
        /// The files are larger than the driver takes.
        AnswerTooLarge = "ANSWER_TOO_LARGE", FailedPrecondition,
            "Split the class over several volumes, or raise the driver's --max-call-recv-msg-size and then \
            --max-answer-size here.";
    }
    "The node's identity" {
        /// The node does not have the identity.
        IdentityNotAssigned = "IDENTITY_NOT_ASSIGNED", FailedPrecondition,
            "Assign it to the node pool's scale set (az vmss identity assign), or set userAssignedIdentityID \
            to one that the node has: az aks show --query identityProfile.kubeletidentity.clientId.";
        /// The node has several identities and the class names none.
        IdentityAmbiguous = "IDENTITY_AMBIGUOUS", FailedPrecondition,
            "Set userAssignedIdentityID to the client ID of one of them.";
        /// IMDS cannot be reached.
        ImdsUnreachable = "IMDS_UNREACHABLE", FailedPrecondition,
            "IMDS is at 169.254.169.254:80, and answers Azure's machines only. Usual reasons: the provider's \
            pod has no hostNetwork where the network plugin keeps pods away from it, a NetworkPolicy, a node \
            outside Azure. Workload identity needs no IMDS.";
        /// IMDS answers and gives no token.
        ImdsFailed = "IMDS_FAILED", FailedPrecondition,
            "It is updated from time to time, and the kubelet tries again. If it lasts, look at what answers \
            for 169.254.169.254 on the node.";
        /// IMDS is asked for as many tokens as it allows.
        ImdsThrottled = "IMDS_THROTTLED", FailedPrecondition,
            "The limit is 20 a second and 5 at once, for all programs of the machine together. This provider stays \
            below it; look for what else on the node asks for tokens.";
    }
    "Entra ID" {
        /// Entra ID knows no such application in the tenant (AADSTS700016).
        EntraAppNotFound = "ENTRA_APP_NOT_FOUND", Unauthenticated,
            "Correct clientID (the client ID, not the object ID) or tenantID: az ad sp show --id CLIENT-ID. If the \
            identity was deleted, create it again, with its rights.";
        /// Entra ID knows no such tenant (AADSTS90002).
        EntraTenantNotFound = "ENTRA_TENANT_NOT_FOUND", Unauthenticated,
            "Set tenantID to the vault's tenant: az keyvault show --name VAULT --query properties.tenantId.";
        /// The tenant does not know Key Vault of that cloud (AADSTS500011).
        EntraResourceNotFound = "ENTRA_RESOURCE_NOT_FOUND", Unauthenticated,
            "Set cloudName to the cloud of the tenant and of the vault.";
        /// No federated credential matches the pod's token (AADSTS70021, 70025, 700211 to 700213, 7002137, 7002138).
        EntraNoFederatedCredential = "ENTRA_NO_FEDERATED_CREDENTIAL", Unauthenticated,
            "The message has the command that adds one, with the issuer and the subject of the token that was \
            presented: az identity federated-credential create. Where only the case of the subject differs \
            (AADSTS7002138), it corrects the one that there is: az identity federated-credential update. Either takes \
            some seconds until Entra ID knows it everywhere.";
        /// The pod's token has expired, or clocks differ (AADSTS700024).
        EntraTokenExpired = "ENTRA_TOKEN_EXPIRED", Unauthenticated,
            "Check the clocks of the nodes (timedatectl). The kubelet renews the token by itself.";
        /// The client secret is wrong or has expired (AADSTS7000215, AADSTS7000222).
        EntraBadClientSecret = "ENTRA_BAD_CLIENT_SECRET", Unauthenticated,
            "Put a new one into the Secret that nodePublishSecretRef names: az ad app credential reset --id \
            CLIENT-ID --append. It is the secret's value that is needed, not its ID.";
        /// Entra ID refuses for another reason.
        EntraRefused = "ENTRA_REFUSED", Unauthenticated,
            "The message has the fix for what concerns the cluster's issuer and its keys (AADSTS7000272, AADSTS50166), \
            or a policy of the tenant (AADSTS700223, AADSTS700238). Otherwise look its AADSTS code up at \
            https://login.microsoftonline.com/error.";
        /// Entra ID asks for fewer requests.
        EntraThrottled = "ENTRA_THROTTLED", FailedPrecondition,
            "The kubelet tries again by itself. Each identity is asked for once per hour or so; many pods \
            that are restarted all the time ask more often.";
        /// Entra ID answers with errors of its own making.
        EntraUnavailable = "ENTRA_UNAVAILABLE", FailedPrecondition,
            "The kubelet tries again by itself; see https://azure.status.microsoft.";
        /// Entra ID cannot be reached.
        EntraUnreachable = "ENTRA_UNREACHABLE", FailedPrecondition,
            "Check the way from the nodes to login.microsoftonline.com:443: DNS, NetworkPolicy, firewall, \
            HTTPS_PROXY.";
    }
    "The AKS token proxy (identity binding)" {
        /// The AKS token proxy cannot be reached, or not even found.
        TokenProxyUnreachable = "TOKEN_PROXY_UNREACHABLE", FailedPrecondition,
            "Check that identity binding is enabled in the cluster (az aks identity-binding list), and \
            --token-proxy-url and --sni-name where they are set.";
        /// The AKS token proxy refuses.
        TokenProxyRefused = "TOKEN_PROXY_REFUSED", Unauthenticated,
            "Bind the identity to the cluster (az aks identity-binding create), and let the service account \
            use it by a ClusterRole.";
        /// The AKS token proxy answers and gives no token.
        TokenProxyFailed = "TOKEN_PROXY_FAILED", FailedPrecondition,
            "The kubelet tries again by itself; if it lasts, look at the API server.";
    }
    "Key Vault" {
        /// The vault's access policies do not allow it.
        KvAccessDenied = "KV_ACCESS_DENIED", PermissionDenied,
            "The message has the command, with the object ID that the vault saw: az keyvault set-policy. That \
            command replaces an identity's permissions, so it repeats those that are there.";
        /// The vault's role assignments do not allow it.
        KvRbacDenied = "KV_RBAC_DENIED", PermissionDenied,
            "The message has a command for each role that is missing: az role assignment create. The table below \
            says which role reads what. A new assignment takes up to ten minutes.";
        /// The vault's firewall does not allow it.
        KvFirewallDenied = "KV_FIREWALL_DENIED", PermissionDenied,
            "With a private endpoint: link its private DNS zone to the cluster's network, so that the vault's name \
            leads to a private address on the nodes (the step `vault: DNS` of doctor). Without one: let the nodes' \
            subnet or outgoing address in, az keyvault network-rule add.";
        /// The object is disabled.
        KvObjectDisabled = "KV_OBJECT_DISABLED", FailedPrecondition,
            "Enable it, or take it out of the class: az keyvault secret set-attributes --enabled true.";
        /// The vault refuses, and not for its access policies, roles or firewall.
        KvForbidden = "KV_FORBIDDEN", PermissionDenied,
            "The message has the vault's own sentence. Look for a network security perimeter, an Azure Policy, or a \
            vault or subscription that is disabled or being recovered: az keyvault show --query properties, az monitor \
            activity-log list.";
        /// The vault has no such object or version.
        KvObjectNotFound = "KV_OBJECT_NOT_FOUND", NotFound,
            "Correct objectName, objectType or objectVersion. A deleted one can be recovered: az keyvault \
            secret list-deleted, then recover.";
        /// The certificate has been asked for and is not issued yet.
        KvCertificatePending = "KV_CERTIFICATE_PENDING", FailedPrecondition,
            "See what its request waits for: az keyvault certificate pending show. A certificate that a CA has \
            signed outside Key Vault is merged: az keyvault certificate pending merge.";
        /// The object's value cannot become the file that the class asks for.
        KvObjectUnusable = "KV_OBJECT_UNUSABLE", FailedPrecondition,
            "The message says what is wrong with it: an encoding, a content type, a certificate that cannot \
            be read.";
        /// A Kubernetes Secret is to have the key of a certificate whose key may not be exported (doctor only).
        KvKeyNotExportable = "KV_KEY_NOT_EXPORTABLE", FailedPrecondition,
            "Take the key out of secretObjects, or issue a new version of the certificate under a policy with \
            exportable: true. A mount goes on without the file, since the driver does not tell a provider of \
            secretObjects.";
        /// The vault refuses the request itself, such as a name that it does not allow (HTTP status 400).
        KvBadParameter = "KV_BAD_PARAMETER", InvalidArgument,
            "Correct objectName or objectVersion of the object that the message names. If it is about the version of \
            the API, the vault is an Azure Stack Hub's: set cloudName: AzureStackCloud.";
        /// The vault does not take the token, also after a fresh one was asked for (AKV10032 among others).
        KvTokenRejected = "KV_TOKEN_REJECTED", Unauthenticated,
            "AKV10032: the token is of another tenant. Set tenantID to the vault's tenant; a managed identity has to be \
            of that tenant. AKV10022: it is for another audience, so correct cloudName. AKV10046: the vault does not \
            know a new signing key yet, and the kubelet tries again by itself. AKV10000: a proxy took the token away.";
        /// The vault asks for fewer requests, and the mount has no time to wait.
        KvThrottled = "KV_THROTTLED", FailedPrecondition,
            "4,000 requests in 10 s per vault and region, over all nodes. The kubelet tries again by itself. \
            If it lasts: set --cache-ttl, or spread objects over vaults.";
        /// The vault answers with errors of its own making.
        KvUnavailable = "KV_UNAVAILABLE", FailedPrecondition,
            "The kubelet tries again by itself; see https://azure.status.microsoft.";
        /// The vault's host has no address.
        KvHostNotFound = "KV_HOST_NOT_FOUND", FailedPrecondition,
            "Correct keyvaultName or cloudName; with a private endpoint, link its private DNS zone to the \
            cluster's network.";
        /// The vault cannot be reached.
        KvUnreachable = "KV_UNREACHABLE", FailedPrecondition,
            "Check the way from the nodes to VAULT.vault.azure.net:443: DNS, NetworkPolicy, firewall, \
            HTTPS_PROXY. The message has the address that was tried, and whether it is a private one.";
        /// The vault answers with something that is not Key Vault's.
        KvUnexpectedAnswer = "KV_UNEXPECTED_ANSWER", FailedPrecondition,
            "A proxy or a firewall may answer in its place, often with a page in HTML; look at what does from the \
            nodes.";
    }
    "Everywhere" {
        /// A server's certificate is not accepted.
        TlsNotTrusted = "TLS_NOT_TRUSTED", FailedPrecondition,
            "If a proxy or firewall inspects TLS, give its CA with --ca-file or SSL_CERT_FILE; a changed \
            file is read again within a minute, without a restart. Else check the node's clock and what answers for \
            that host.";
        /// Time ran out.
        Timeout = "TIMEOUT", FailedPrecondition,
            "The message names who was being waited for, and the phase: DNS, TCP, the proxy, TLS or the \
            answer.";
        /// The provider is stopping.
        ShuttingDown = "SHUTTING_DOWN", Unavailable,
            "The driver calls again at once and reaches the provider that takes over.";
        /// A bug.
        Internal = "INTERNAL", Internal,
            "Report it with the provider's log around this moment.";
    }
}

impl Reason {
    /// Who can fix it.
    pub fn owner(self) -> &'static str {
        match self {
            Self::InvalidParameter
            | Self::PathConflict
            | Self::IdentityMissing
            | Self::AnswerTooLarge => "the class's author",
            Self::PolicyDenied => "the platform team",
            Self::InvalidRequest | Self::TokenAudienceMissing => "the driver's operator",
            Self::IdentityNotAssigned
            | Self::IdentityAmbiguous
            | Self::ImdsUnreachable
            | Self::ImdsFailed
            | Self::ImdsThrottled => "the nodes' operator",
            Self::EntraAppNotFound
            | Self::EntraTenantNotFound
            | Self::EntraResourceNotFound
            | Self::EntraNoFederatedCredential
            | Self::EntraTokenExpired
            | Self::EntraBadClientSecret
            | Self::EntraRefused
            | Self::KvTokenRejected => "the identity's owner",
            Self::TokenProxyUnreachable | Self::TokenProxyRefused | Self::TokenProxyFailed => {
                "the cluster's operator"
            }
            Self::KvAccessDenied | Self::KvRbacDenied | Self::KvForbidden => "the vault's owner",
            Self::KvObjectNotFound
            | Self::KvObjectDisabled
            | Self::KvObjectUnusable
            | Self::KvBadParameter => "the secret's owner",
            Self::KvCertificatePending | Self::KvKeyNotExportable => "the certificate's owner",
            Self::KvFirewallDenied
            | Self::KvHostNotFound
            | Self::KvUnreachable
            | Self::KvUnexpectedAnswer
            | Self::EntraUnreachable
            | Self::TlsNotTrusted
            | Self::Timeout => "the network's operator",
            Self::KvThrottled
            | Self::KvUnavailable
            | Self::EntraThrottled
            | Self::EntraUnavailable
            | Self::ShuttingDown => "no one has to, since it is tried again",
            Self::Internal => "this project",
        }
    }

    /// The page of `docs/runbooks/` that goes on from here, which is also the page of its alert.
    pub fn runbook(self) -> Option<&'static str> {
        Some(match self {
            Self::KvAccessDenied
            | Self::KvRbacDenied
            | Self::KvFirewallDenied
            | Self::KvForbidden
            | Self::PolicyDenied => "access-denied",
            Self::IdentityNotAssigned
            | Self::IdentityAmbiguous
            | Self::TokenAudienceMissing
            | Self::TokenProxyRefused
            | Self::EntraAppNotFound
            | Self::EntraTenantNotFound
            | Self::EntraResourceNotFound
            | Self::EntraNoFederatedCredential
            | Self::EntraTokenExpired
            | Self::EntraBadClientSecret
            | Self::EntraRefused
            | Self::KvTokenRejected => "identity",
            Self::InvalidParameter
            | Self::PathConflict
            | Self::IdentityMissing
            | Self::AnswerTooLarge
            | Self::KvObjectNotFound
            | Self::KvObjectDisabled
            | Self::KvObjectUnusable
            | Self::KvBadParameter
            | Self::KvCertificatePending
            | Self::KvKeyNotExportable => "class-mistakes",
            Self::KvThrottled | Self::EntraThrottled | Self::ImdsThrottled => "throttling",
            Self::KvUnavailable
            | Self::KvUnreachable
            | Self::KvHostNotFound
            | Self::KvUnexpectedAnswer
            | Self::EntraUnavailable
            | Self::EntraUnreachable
            | Self::ImdsFailed
            | Self::ImdsUnreachable
            | Self::TokenProxyUnreachable
            | Self::TokenProxyFailed
            | Self::TlsNotTrusted
            | Self::Timeout => "vault-outage",
            Self::Internal | Self::InvalidRequest => "upgrade-and-rollback",
            // Its caller has asked again already.
            Self::ShuttingDown => return None,
        })
    }
}
