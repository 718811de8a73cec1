//! [`Claims`], what a service account token says about itself: shown when Entra ID does not accept it,
//! because a federated credential must name exactly these.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use crate::sensitive::Sensitive;

/// The claims that Entra ID compares with a federated credential. Not secret: they name the cluster and
/// the service account. Read without checking the signature, for messages only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// `iss`, the cluster.
    pub issuer: String,
    /// `sub`, such as `system:serviceaccount:NAMESPACE:NAME`.
    pub subject: String,
}

#[derive(Deserialize)]
struct Payload {
    iss: String,
    sub: String,
}

impl Claims {
    /// The claims of a token, if it is a JSON Web Token that has them.
    pub fn of(token: &Sensitive) -> Option<Self> {
        let payload = token.expose_str()?.split('.').nth(1)?;
        let json = URL_SAFE_NO_PAD.decode(payload).ok()?;
        let Payload { iss, sub } = serde_json::from_slice(&json).ok()?;
        Some(Self {
            issuer: iss,
            subject: sub,
        })
    }
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
        };
        assert_eq!(Claims::of(&token), Some(expected));
        for token in ["", "a", "a.b.c", "a.e30.c"] {
            assert_eq!(Claims::of(&token.to_owned().into()), None, "{token}");
        }
    }
}
