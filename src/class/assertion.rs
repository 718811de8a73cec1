//! [`Claims`], what a service account token says about itself: shown when Entra ID does not accept it,
//! because a federated credential must name exactly these.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;

use crate::text::sensitive::Sensitive;

/// The claims that Entra ID compares with a federated credential. Not secret: they name the cluster and
/// the service account. Read without checking the signature, for messages only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// `iss`, the cluster.
    pub issuer: String,
    /// `sub`, such as `system:serviceaccount:NAMESPACE:NAME`.
    pub subject: String,
    /// `aud`, such as `api://AzureADTokenExchange`; the first of several.
    pub audience: Option<String>,
}

#[derive(Deserialize)]
struct Payload {
    iss: String,
    sub: String,
    #[serde(default)]
    aud: Option<Audience>,
}

/// One audience or several (RFC 7519, section 4.1.3).
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    /// Each of them.
    pub fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(audience) => vec![audience],
            Self::Several(audiences) => audiences,
        }
    }
}

impl Claims {
    /// The claims of a token, if it is a JSON Web Token that has them.
    pub fn of(token: &Sensitive) -> Option<Self> {
        let Payload { iss, sub, aud } = payload(token)?;
        Some(Self {
            issuer: iss,
            subject: sub,
            audience: aud.and_then(|aud| aud.into_vec().into_iter().next()),
        })
    }
}

/// When a token expires (`exp`), if it is a JSON Web Token that says so. Read without checking the
/// signature: what it decides is only how long something that the token has earned is kept.
pub fn expiry(token: &Sensitive) -> Option<OffsetDateTime> {
    #[derive(Deserialize)]
    struct Expiry {
        exp: f64,
    }
    let Expiry { exp } = payload(token)?;
    // A NumericDate may have a fraction (RFC 7519, section 2), and one beyond all calendars is none.
    #[expect(clippy::cast_possible_truncation, reason = "it saturates")]
    OffsetDateTime::from_unix_timestamp(exp as i64).ok()
}

/// What a token says, if it is a JSON Web Token that says all of `T`. Read without checking the signature.
pub fn payload<T: DeserializeOwned>(token: &Sensitive) -> Option<T> {
    let payload = token.expose_str()?.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_read_where_there_are_some() {
        let payload = URL_SAFE_NO_PAD
            .encode(r#"{"iss":"https://oidc/","sub":"system:serviceaccount:n:a","aud":["x"]}"#);
        let token = Sensitive::from(format!("e30.{payload}.c2ln"));
        let expected = Claims {
            issuer: "https://oidc/".into(),
            subject: "system:serviceaccount:n:a".into(),
            audience: Some("x".into()),
        };
        assert_eq!(Claims::of(&token), Some(expected));
        for token in ["", "a", "a.b.c", "a.e30.c"] {
            assert_eq!(Claims::of(&token.to_owned().into()), None, "{token}");
        }
    }

    #[test]
    fn the_expiry_is_read_where_there_is_one() {
        let token = |payload: &str| {
            let payload = URL_SAFE_NO_PAD.encode(payload);
            Sensitive::from(format!("e30.{payload}.c2ln"))
        };
        let expected = OffsetDateTime::from_unix_timestamp(1_800_000_000).ok();
        assert_eq!(expiry(&token(r#"{"exp":1800000000,"aud":"x"}"#)), expected);
        assert_eq!(expiry(&token(r#"{"exp":1800000000.9}"#)), expected);
        for payload in ["{}", r#"{"exp":"soon"}"#, r#"{"exp":9e99}"#, "[]"] {
            assert_eq!(expiry(&token(payload)), None, "{payload}");
        }
    }
}
