//! Access tokens: JSON Web Tokens in the shape of Entra ID's version 1.0 tokens, signed with a key
//! that only this emulator has. Clients must not look into them; Key Vault does.

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use ring::hmac;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::identifier;

/// Key Vault's own application, which it takes for an audience too (a recorded AKV10022).
const KEY_VAULT: &str = "cfa8b339-82a2-471a-a3c9-0fc0be7a4093";

/// The tenants of Microsoft that every vault names beside its own (an AKV10032 in the tests of
/// azure-sdk-for-net).
const MICROSOFTS_TENANTS: [&str; 4] = [
    "f8cdef31-a31e-4b4a-93e4-5f571e91255a",
    "e2d54eb5-3869-4f70-8578-dee5fc7331f4",
    "33e01921-4d64-4f8c-a055-5bdaffd5e33d",
    "975f013f-7f24-47e8-a7d3-abc4752bf346",
];

/// What a token is issued for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grant<'a> {
    pub(crate) issuer_host: &'a str,
    pub(crate) tenant: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) object_id: &'a str,
    /// The `aud` claim.
    pub(crate) resource: &'a str,
    /// How the client showed who it is: 1 for a secret, 2 for an assertion or a managed identity.
    pub(crate) authentication: u8,
    /// The resource id of a managed identity.
    pub(crate) resource_id: Option<&'a str>,
    /// The resource id of the machine that it is used on.
    pub(crate) machine: Option<&'a str>,
}

/// A token and its times in seconds since 1970.
#[derive(Clone, Debug)]
pub(crate) struct Issued {
    pub(crate) token: String,
    pub(crate) not_before: i64,
    pub(crate) expires: i64,
    pub(crate) lifetime: i64,
}

/// Who a good token stands for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Caller {
    #[serde(rename = "appid")]
    pub(crate) client_id: String,
    #[serde(rename = "oid")]
    pub(crate) object_id: String,
    #[serde(rename = "iss")]
    pub(crate) issuer: String,
    /// The resource of a managed identity, and the machine that uses it.
    pub(crate) xms_mirid: Option<String>,
    pub(crate) xms_az_rid: Option<String>,
}

impl Caller {
    /// As Key Vault's refusals tell it.
    pub(crate) fn described(&self) -> String {
        let mut text = format!(
            "appid={};oid={};iss={}",
            self.client_id, self.object_id, self.issuer
        );
        for (name, id) in [
            ("xms_mirid", &self.xms_mirid),
            ("xms_az_rid", &self.xms_az_rid),
        ] {
            if let Some(id) = id {
                let _ = write!(text, ";{name}={id}");
            }
        }
        text
    }
}

/// Why Key Vault does not take a token: in its own words where they start with a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rejection(pub(crate) String);

#[derive(Debug, Deserialize)]
struct Claims {
    aud: String,
    nbf: i64,
    exp: i64,
    tid: String,
    #[serde(flatten)]
    caller: Caller,
}

struct Secret {
    id: String,
    key: hmac::Key,
}

impl Secret {
    fn new() -> Self {
        Self {
            id: URL_SAFE_NO_PAD.encode(identifier::random::<20>()),
            key: hmac::Key::new(hmac::HMAC_SHA256, &identifier::random::<32>()),
        }
    }
}

/// Signs tokens and checks them.
pub(crate) struct Signer {
    secret: Mutex<Secret>,
    lifetime: Mutex<Duration>,
    clock: Arc<Clock>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").finish_non_exhaustive()
    }
}

impl Signer {
    pub(crate) fn new(lifetime: Duration, clock: Arc<Clock>) -> Self {
        Self {
            secret: Mutex::new(Secret::new()),
            lifetime: Mutex::new(lifetime),
            clock,
        }
    }

    /// Another key: every token issued before is refused.
    pub(crate) fn renew(&self) {
        *self.secret.lock() = Secret::new();
    }

    pub(crate) fn set_lifetime(&self, lifetime: Duration) {
        *self.lifetime.lock() = lifetime;
    }

    pub(crate) fn issue(&self, grant: &Grant<'_>) -> Issued {
        let now = self.clock.unix();
        let lifetime = i64::try_from(self.lifetime.lock().as_secs()).unwrap_or(i64::MAX / 2);
        // Entra ID dates tokens back by five minutes, for clocks that are behind.
        let not_before = now - 300;
        let expires = now + lifetime;
        let mut claims = json!({
            "aud": grant.resource,
            "iss": issuer(grant.issuer_host, grant.tenant),
            "iat": not_before,
            "nbf": not_before,
            "exp": expires,
            "appid": grant.client_id,
            "appidacr": grant.authentication.to_string(),
            "idp": issuer(grant.issuer_host, grant.tenant),
            "idtyp": "app",
            "oid": grant.object_id,
            "sub": grant.object_id,
            "tid": grant.tenant,
            "uti": identifier::guid(),
            "ver": "1.0",
        });
        if let Some(id) = grant.resource_id {
            claims["xms_mirid"] = Value::from(id);
        }
        if let Some(id) = grant.machine {
            claims["xms_az_rid"] = Value::from(id);
        }
        let secret = self.secret.lock();
        let header = json!({ "typ": "JWT", "alg": "HS256", "kid": secret.id, "x5t": secret.id });
        let signed = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header.to_string()),
            URL_SAFE_NO_PAD.encode(claims.to_string())
        );
        let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&secret.key, signed.as_bytes()));
        Issued {
            token: format!("{signed}.{signature}"),
            not_before,
            expires,
            lifetime,
        }
    }

    /// `resources` are the audiences that are accepted, without a trailing slash.
    pub(crate) fn verify(
        &self,
        token: &str,
        resources: &[String],
        tenant: &str,
        issuer_host: &str,
    ) -> Result<Caller, Rejection> {
        let reject = |text: String| Err(Rejection(text));
        let malformed = || Rejection("The token is not a JSON Web Token.".to_owned());
        let (signed, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
        let (header, payload) = signed.split_once('.').ok_or_else(malformed)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| malformed())?;
        let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| malformed())?;
        if hmac::verify(&self.secret.lock().key, signed.as_bytes(), &signature).is_err() {
            return reject(format!(
                "AKV10046: Unable to resolve the key used for signature validation. \
                 EncodedJwtHeader: '{header}'."
            ));
        }
        let claims: Claims = serde_json::from_slice(&payload).map_err(|_| malformed())?;
        let audience = claims.aud.strip_suffix('/').unwrap_or(&claims.aud);
        if !resources
            .iter()
            .any(|resource| resource.eq_ignore_ascii_case(audience))
        {
            return reject(format!(
                "AKV10022: Invalid audience. Expected {} or {KEY_VAULT}, found: {}.",
                resources.first().map_or("", String::as_str),
                claims.aud
            ));
        }
        let expected = issuer(issuer_host, tenant);
        if !claims.tid.eq_ignore_ascii_case(tenant) {
            let mut expected = vec![expected];
            expected.extend(MICROSOFTS_TENANTS.map(|tenant| issuer(issuer_host, tenant)));
            return reject(format!(
                "AKV10032: Invalid issuer. Expected one of {}, found {}.",
                expected.join(", "),
                claims.caller.issuer
            ));
        }
        let now = self.clock.unix();
        if now >= claims.exp {
            return reject("[TokenExpired] Error validating token: 'S2S12086'.".to_owned());
        }
        if now < claims.nbf {
            return reject("Token not yet valid.".to_owned());
        }
        Ok(claims.caller)
    }
}

/// The `iss` claim of a tenant's tokens.
pub(crate) fn issuer(host: &str, tenant: &str) -> String {
    format!("https://{host}/{tenant}/")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: &str = "42ddc44e-97dd-4c3b-bf8a-31c785e24c67";
    const GRANT: Grant<'_> = Grant {
        issuer_host: "sts.windows.net",
        tenant: TENANT,
        client_id: "client",
        object_id: "object",
        resource: "https://vault.azure.net",
        authentication: 1,
        resource_id: None,
        machine: None,
    };

    #[test]
    fn what_a_vault_takes_and_refuses() {
        let clock = Arc::new(Clock::default());
        let signer = Signer::new(Duration::from_secs(60), clock.clone());
        let token = signer.issue(&GRANT).token;
        let with_slash = signer
            .issue(&Grant {
                resource: "https://vault.azure.net/",
                ..GRANT
            })
            .token;
        let china = signer
            .issue(&Grant {
                resource: "https://vault.azure.cn",
                ..GRANT
            })
            .token;
        let forged = Signer::new(Duration::from_secs(60), clock.clone())
            .issue(&GRANT)
            .token;
        let mine = ["https://vault.azure.net".to_owned()];
        let code = |token: &str, tenant: &str| {
            signer
                .verify(token, &mine, tenant, "sts.windows.net")
                .map(|caller| caller.object_id)
                .map_err(|rejection| rejection.0.split([':', ' ']).next().unwrap().to_owned())
        };
        let refused = |code: &str| Err(code.to_owned());
        assert_eq!(code(&token, TENANT), Ok("object".to_owned()));
        assert_eq!(code(&with_slash, TENANT), Ok("object".to_owned()));
        assert_eq!(code(&china, TENANT), refused("AKV10022"));
        assert_eq!(code(&token, "other"), refused("AKV10032"));
        assert_eq!(code("abc", TENANT), refused("The"));
        assert_eq!(code(&forged, TENANT), refused("AKV10046"));
        clock.advance(Duration::from_secs(61));
        assert_eq!(code(&token, TENANT), refused("[TokenExpired]"));
        clock.reset();
        signer.renew();
        assert_eq!(code(&token, TENANT), refused("AKV10046"));
    }
}
