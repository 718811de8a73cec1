use tonic::Code;

use super::token::federated_credential;
use super::*;
use crate::azure::credential::refusal::{EntraRefusal, ImdsRefusal};
use crate::azure::credential::token_proxy::{API_SERVER, TokenProxyError};
use crate::azure::credential::{TokenError, TokenService};
use crate::azure::vault::VaultError;
use crate::azure::vault::refusal::{Operation, VaultRefusal};
use crate::class::file_mode::FileMode;
use crate::class::identity::{IdentityId, IdentityName};
use crate::class::object::{FilePath, ObjectKind, ObjectName, ObjectVersion};
use crate::class::plan::Fetch;
use crate::transport::Refusal;
use crate::transport::TransportError;

fn asked() -> Asked {
    Asked {
        vault: "kv1".into(),
        host: "kv1.vault.azure.net".into(),
        tenant: "t1".into(),
        identity: IdentityName {
            kind: "managed identity",
            id: IdentityId::ClientId("e502213f-1f15-4f03-9fb4-b546f51aafe9".into()),
        },
        chooses_tenant: false,
        claims: None,
    }
}

fn refusal(status: u16, code: &str, inner: &str, message: &str) -> VaultError {
    let body = serde_json::json!({
        "error": { "code": code, "message": message, "innererror": { "code": inner } }
    });
    let body = body.to_string().into();
    let refusal = Refusal {
        host: "kv1.vault.azure.net".into(),
        status,
        retry_after: None,
        body,
    };
    VaultError::Refused(Box::new(VaultRefusal::read(&refusal, Operation::Get)))
}

fn failed(name: &str, error: VaultError) -> ObjectFailure {
    let fetch = Fetch {
        kind: ObjectKind::Secret,
        name: ObjectName::new(name).unwrap(),
        version: ObjectVersion::Latest,
        history: None,
        rendering: crate::rendering::Rendering::default(),
        path: FilePath::new(name).unwrap(),
        mode: FileMode::new(0o644).unwrap(),
        id: format!("secret/{name}"),
    };
    ObjectFailure {
        fetch,
        problem: error.into(),
    }
}

fn explain(failure: Failure) -> Explanation {
    Explanation::of(&CallError::Mount(Box::new(MountError {
        asked: asked(),
        failure,
    })))
}

#[test]
fn what_took_the_time_is_what_the_fix_is_about() {
    let after = Duration::from_secs(25);
    let rendering = |work| explain(Failure::Rendering { after, work });
    let unread = |has_begun| Explanation::of(&CallError::Unread { after, has_begun });
    for (explanation, is_about_others, fix) in [
        (rendering(Work::Waiting), true, "the kubelet tries again"),
        (rendering(Work::Pem), false, "spread the certificates"),
        (rendering(Work::Pfx), false, "10000 iterations"),
        (unread(false), true, "the kubelet tries again"),
        (unread(true), false, "spread the objects"),
    ] {
        assert_eq!(explanation.reason, Reason::Timeout);
        assert_eq!(
            explanation.cause.contains("other mounts"),
            is_about_others,
            "{explanation}"
        );
        assert!(explanation.fix.contains(fix), "{explanation}");
    }
}

#[test]
fn a_refusal_by_access_policy_says_who_asked_and_what_to_run() {
    let text = "The user, group or application 'appid=e502213f-1f15-4f03-9fb4-b546f51aafe9;oid=301f31b4-678d;\
                iss=https://sts.windows.net/t/' does not have secrets get permission on key vault 'kv1'.";
    let error = refusal(403, "Forbidden", "AccessDenied", text);
    assert_eq!(
        explain(Failure::Objects(vec![failed("X", error)])).to_string(),
        "[KV_ACCESS_DENIED] Key Vault \"kv1\" refused \"get\" on secret \"X\" to client e502213f… (managed \
         identity): its access policies do not allow it (az keyvault set-policy replaces an identity's permissions, so \
         the fix repeats those that it has). Fix: az keyvault set-policy --name kv1 --object-id 301f31b4-678d \
         --secret-permissions get $(az keyvault show --name kv1 --query \
         \"properties.accessPolicies[?objectId=='301f31b4-678d'].permissions.secrets[]\" --output tsv)"
    );
}

#[test]
fn every_refusal_of_the_vault_has_its_reason_and_code() {
    for (status, code, inner, reason, grpc) in [
        (
            403,
            "Forbidden",
            "AccessDenied",
            Reason::KvAccessDenied,
            Code::PermissionDenied,
        ),
        (
            403,
            "Forbidden",
            "ForbiddenByRbac",
            Reason::KvRbacDenied,
            Code::PermissionDenied,
        ),
        (
            403,
            "Forbidden",
            "ForbiddenByFirewall",
            Reason::KvFirewallDenied,
            Code::PermissionDenied,
        ),
        (
            403,
            "Forbidden",
            "SecretDisabled",
            Reason::KvObjectDisabled,
            Code::FailedPrecondition,
        ),
        (
            403,
            "Forbidden",
            "ForbiddenByPolicy",
            Reason::KvForbidden,
            Code::PermissionDenied,
        ),
        (
            404,
            "SecretNotFound",
            "",
            Reason::KvObjectNotFound,
            Code::NotFound,
        ),
        (
            401,
            "Unauthorized",
            "",
            Reason::KvTokenRejected,
            Code::Unauthenticated,
        ),
        (
            429,
            "Throttled",
            "",
            Reason::KvThrottled,
            Code::FailedPrecondition,
        ),
        (
            500,
            "InternalServerError",
            "",
            Reason::KvUnavailable,
            Code::FailedPrecondition,
        ),
        (
            503,
            "ServiceUnavailable",
            "",
            Reason::KvUnavailable,
            Code::FailedPrecondition,
        ),
        (
            302,
            "",
            "",
            Reason::KvUnexpectedAnswer,
            Code::FailedPrecondition,
        ),
        (
            400,
            "BadParameter",
            "",
            Reason::KvBadParameter,
            Code::InvalidArgument,
        ),
    ] {
        let explanation = explain(Failure::Whole(refusal(status, code, inner, "words")));
        assert_eq!(
            (explanation.reason, explanation.reason.code()),
            (reason, grpc),
            "{status} {inner}"
        );
        assert!(!explanation.fix.is_empty());
    }
}

/// Each cloud has a private DNS zone of its own.
#[test]
fn the_private_dns_zone_is_the_clouds() {
    for (host, zone) in [
        ("kv1.vault.azure.net", "privatelink.vaultcore.azure.net"),
        (
            "kv1.vault.usgovcloudapi.net",
            "privatelink.vaultcore.usgovcloudapi.net",
        ),
        ("kv1.vault.azure.cn", "privatelink.vaultcore.azure.cn"),
        ("kv1.keys.example", "ZONE"),
    ] {
        let error = MountError {
            asked: Asked {
                host: host.into(),
                ..asked()
            },
            failure: Failure::Whole(refusal(403, "Forbidden", "ForbiddenByConnection", "words")),
        };
        let text = Explanation::of(&CallError::Mount(Box::new(error))).fix;
        assert!(text.contains(&format!("--zone-name {zone} ")), "{text}");
    }
}

#[test]
fn what_a_proxy_says_is_told_from_what_the_vault_says() {
    for (status, code, words) in [
        (403, "", "something that is not Key Vault answered"),
        (404, "", "something that is not Key Vault answered"),
        (409, "Conflict", "Fix: Key Vault itself answered"),
    ] {
        let explanation = explain(Failure::Whole(refusal(status, code, "", "words")));
        assert_eq!(explanation.reason, Reason::KvUnexpectedAnswer, "{status}");
        assert!(explanation.to_string().contains(words), "{explanation}");
    }
}

#[test]
fn an_old_vaults_denial_has_no_inner_code() {
    let text = "The user, group or application 'appid=a;oid=b' does not have secrets get permission on key vault 'kv1'.";
    let explanation = explain(Failure::Whole(refusal(403, "Forbidden", "", text)));
    assert_eq!(explanation.reason, Reason::KvAccessDenied);
}

#[test]
fn every_refusal_of_an_identity_has_its_reason() {
    let entra = |status, code: u32| {
        let body = format!(
            r#"{{"error":"e","error_description":"AADSTS{code}: words","error_codes":[{code}]}}"#
        );
        let refusal = Refusal {
            host: "login".into(),
            status,
            retry_after: None,
            body: body.into(),
        };
        TokenError::Entra(EntraRefusal::read(&refusal))
    };
    let imds = |status, text: &str| {
        let body = format!(r#"{{"error":"invalid_request","error_description":"{text}"}}"#);
        let refusal = Refusal {
            host: "imds".into(),
            status,
            retry_after: None,
            body: body.into(),
        };
        TokenError::Imds(ImdsRefusal::read(&refusal))
    };
    let timeout = |service| TokenError::Timeout {
        service,
        after: std::time::Duration::from_secs(20),
        phase: crate::transport::Phase::Answer,
    };
    for (error, reason, words) in [
        (
            entra(400, 700_016),
            Reason::EntraAppNotFound,
            "az ad sp show --id e502213f",
        ),
        (
            entra(400, 90_002),
            Reason::EntraTenantNotFound,
            "az keyvault show --name kv1",
        ),
        (
            entra(400, 70_021),
            Reason::EntraNoFederatedCredential,
            "federated-credential create",
        ),
        (
            entra(400, 700_211),
            Reason::EntraNoFederatedCredential,
            "--audiences api://AzureADTokenExchange",
        ),
        (entra(401, 700_024), Reason::EntraTokenExpired, "clocks"),
        (
            entra(401, 7_000_215),
            Reason::EntraBadClientSecret,
            "AADSTS7000215",
        ),
        (entra(429, 90_055), Reason::EntraThrottled, "kubelet"),
        (entra(503, 90_033), Reason::EntraUnavailable, "kubelet"),
        (
            imds(400, "Identity not found"),
            Reason::IdentityNotAssigned,
            "the identity isn't assigned to this resource",
        ),
        (
            imds(400, "Multiple user assigned identities exist"),
            Reason::IdentityAmbiguous,
            "userAssignedIdentityID",
        ),
        (imds(500, "x"), Reason::ImdsFailed, "HTTP status 500"),
        (
            timeout(TokenService::Imds),
            Reason::Timeout,
            "IMDS gave no token within 20 s",
        ),
        (
            TokenError::Unreadable {
                service: TokenService::Entra,
            },
            Reason::EntraUnavailable,
            "no token",
        ),
    ] {
        let explanation = explain(Failure::Whole(VaultError::Token(Box::new(error))));
        assert_eq!(explanation.reason, reason);
        assert!(
            explanation.to_string().contains(words),
            "{explanation} should contain {words}"
        );
    }
}

#[test]
fn every_refusal_of_the_token_proxy_has_its_reason() {
    let refused = |status, body: &str| {
        let refusal = Refusal {
            host: "proxy".into(),
            status,
            retry_after: None,
            body: body.to_owned().into(),
        };
        TokenError::TokenProxy(EntraRefusal::read(&refusal))
    };
    let unmatched = r#"{"error_description":"AADSTS700213: No match","error_codes":[700213]}"#;
    let unknown = r#"{"error_description":"AADSTS700016: Not found","error_codes":[700016]}"#;
    let host = || API_SERVER.to_owned();
    let dns = || TransportError::Dns {
        temporary: false,
        host: host(),
        problem: "unknown".into(),
    };
    let certificate = || TransportError::Certificate {
        host: host(),
        problem: "it is for another host".into(),
    };
    let reached = |source| TokenError::Transport {
        service: TokenService::TokenProxy,
        source,
    };
    for (error, reason, words) in [
        (
            refused(401, unmatched),
            Reason::EntraNoFederatedCredential,
            "az aks identity-binding create",
        ),
        (
            refused(400, unknown),
            Reason::EntraAppNotFound,
            "az ad sp show",
        ),
        (
            refused(403, "no"),
            Reason::TokenProxyRefused,
            "use-managed-identity on resource e502213f-1f15",
        ),
        (refused(403, "{}"), Reason::TokenProxyRefused, "no more"),
        (
            refused(503, ""),
            Reason::TokenProxyFailed,
            "HTTP status 503",
        ),
        (refused(429, ""), Reason::TokenProxyFailed, "kubelet"),
        (
            reached(dns()),
            Reason::TokenProxyUnreachable,
            "the AKS token proxy gave no token: kubernetes.default",
        ),
        (
            reached(certificate()),
            Reason::TlsNotTrusted,
            "--token-proxy-ca-file",
        ),
        (
            TokenError::NoTokenProxy(TokenProxyError::NoClusterId),
            Reason::TokenProxyUnreachable,
            "--sni-name",
        ),
        (
            TokenError::NoTokenProxy(TokenProxyError::ApiServer(dns())),
            Reason::TokenProxyUnreachable,
            "identity binding enabled",
        ),
        (
            TokenError::NoTokenProxy(TokenProxyError::ApiServer(certificate())),
            Reason::TlsNotTrusted,
            "--token-proxy-ca-file",
        ),
        (
            TokenError::NoTokenProxy(TokenProxyError::Ca {
                path: "/ca.crt".into(),
                problem: "none".into(),
            }),
            Reason::TlsNotTrusted,
            "the certificates in /ca.crt",
        ),
    ] {
        let explanation = explain(Failure::Whole(VaultError::Token(Box::new(error))));
        assert_eq!(explanation.reason, reason, "{explanation}");
        assert!(
            explanation.to_string().contains(words),
            "{explanation} should contain {words}"
        );
    }
}

#[test]
fn the_audiences_that_are_sent_already_stay() {
    let alone = token_requests("api://AzureADTokenExchange", "none");
    assert!(
        alone.ends_with(
            r#"--type merge --patch '{"spec":{"tokenRequests":[{"audience":"api://AzureADTokenExchange"}]}}'"#
        ),
        "{alone}"
    );
    let beside = token_requests("api://AKSIdentityBinding", "\"vault\"");
    assert!(
        beside.ends_with(
            r#"--type json --patch '[{"op":"add","path":"/spec/tokenRequests/-","value":{"audience":"api://AKSIdentityBinding"}}]'"#
        ),
        "{beside}"
    );
}

#[test]
fn several_objects_are_named_in_one_answer() {
    let mut failures = vec![
        failed("a", refusal(404, "SecretNotFound", "", "gone")),
        failed("b", refusal(403, "Forbidden", "SecretDisabled", "off")),
    ];
    let text = explain(Failure::Objects(failures)).to_string();
    assert!(
        text.contains("has no secret \"a\"; also failed: secret \"b\" [KV_OBJECT_DISABLED]. Fix:"),
        "{text}"
    );
    failures = (0..500)
        .map(|n| failed(&format!("n{n}"), refusal(404, "SecretNotFound", "", "gone")))
        .collect();
    let text = explain(Failure::Objects(failures)).to_string();
    assert!(
        text.contains("secret \"n10\" and 489 more") && text.len() < 1000,
        "{text}"
    );
}

#[test]
fn a_forged_claim_does_not_become_a_command() {
    let claims = crate::class::assertion::Claims {
        issuer: "https://o/$(reboot)".into(),
        subject: "system:serviceaccount:n:a".into(),
        audience: Some("api://x;reboot".into()),
    };
    let text = federated_credential(
        &Asked {
            claims: Some(claims),
            ..asked()
        },
        "create",
    );
    assert!(
        text.contains("--subject system:serviceaccount:n:a") && !text.contains("reboot"),
        "{text}"
    );
}

/// The kubelet takes these codes for work that may still be under way, and keeps the volume's folder; driver v1.6.0 then
/// takes that for a volume that has just been mounted, and the pod starts without its files (docs/decisions/0004).
#[test]
fn no_failure_looks_to_the_kubelet_as_if_it_were_under_way() {
    for reason in Reason::GROUPS.iter().flat_map(|(_, reasons)| *reasons) {
        let under_way = matches!(
            reason.code(),
            Code::Cancelled
                | Code::DeadlineExceeded
                | Code::Unavailable
                | Code::ResourceExhausted
                | Code::Aborted
        );
        assert_eq!(under_way, *reason == Reason::ShuttingDown, "{reason:?}");
    }
}
