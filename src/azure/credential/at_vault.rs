//! [`AtVault`], an identity's credential at one vault, which may reject tokens that others take.

use std::sync::Arc;

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind;
use parking_lot::Mutex;

use super::tokens::{Digest, Step};
use super::{Credential, TokenError, TokenService, sha256};
use crate::transport::{Phase, TokenHolder};

/// The most tokens of an identity that one vault's rejections are remembered of. There are two at a time.
const MAX_REJECTED: usize = 4;

/// An identity's credential at one vault. Clones share everything.
#[derive(Clone, Debug)]
pub struct AtVault {
    credential: Credential,
    rejections: Arc<Mutex<Rejections>>,
    /// The vault's own, since any vault may reject tokens, an attacker's too.
    step: Arc<Step>,
}

/// What one vault has rejected.
#[derive(Debug, Default)]
struct Rejections {
    /// The tokens that it does not take, the latest last.
    tokens: Vec<Digest>,
    /// Whether it has taken none since.
    are_latest: bool,
}

impl AtVault {
    /// At a vault that has rejected no token.
    pub fn new(credential: Credential) -> Self {
        Self {
            credential,
            rejections: Arc::default(),
            step: Arc::default(),
        }
    }

    /// The credential at any vault.
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// The service that a token for this scope is waited for from now, and what goes on while it is connected to.
    pub fn pending(&self, scope: &str) -> Option<(TokenService, Option<Phase>)> {
        let inner = &self.credential.0;
        let pending = inner.tokens.is_awaited(scope, &self.rejected());
        pending.then(|| (inner.source.service(), inner.source.connecting()))
    }

    /// Whether the identity has proved who it is: whether there is a token for it that the vault has not rejected, and the
    /// vault has not rejected the last one that it got.
    pub fn is_proved(&self) -> bool {
        let rejected = {
            let rejections = self.rejections.lock();
            if rejections.are_latest {
                return false;
            }
            rejections.tokens.clone()
        };
        self.credential.0.tokens.are_there_but(&rejected)
    }

    /// A token for this scope: one that the vault has not rejected, if there is one.
    pub async fn token(&self, scope: &str) -> Result<AccessToken, TokenError> {
        self.credential.token_without(scope, &self.rejected()).await
    }

    fn rejected(&self) -> Vec<Digest> {
        self.rejections.lock().tokens.clone()
    }
}

#[async_trait]
impl TokenHolder for AtVault {
    async fn rejected(&self, scope: &str, token: &str) -> bool {
        let digest = sha256(token.as_bytes());
        {
            let mut rejections = self.rejections.lock();
            rejections.are_latest = true;
            rejections.tokens.retain(|other| *other != digest);
            if rejections.tokens.len() == MAX_REJECTED {
                rejections.tokens.remove(0);
            }
            rejections.tokens.push(digest);
        }
        self.credential
            .replace(scope, &self.rejected(), &self.step)
            .await
    }

    fn accepted(&self, token: &str) {
        let mut rejections = self.rejections.lock();
        rejections.are_latest = false;
        if !rejections.tokens.is_empty() {
            let digest = sha256(token.as_bytes());
            rejections.tokens.retain(|other| *other != digest);
        }
    }

    fn is_replaced(&self, scope: &str, token: &str) -> bool {
        let rejected = self.rejected();
        !rejected.is_empty()
            && rejected.contains(&sha256(token.as_bytes()))
            && self.credential.0.tokens.has_other(scope, &rejected)
    }
}

#[async_trait]
impl TokenCredential for AtVault {
    async fn get_token(
        &self,
        scopes: &[&str],
        _: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        self.token(&scopes.join(" "))
            .await
            .map_err(|error| azure_core::Error::new(ErrorKind::Credential, error))
    }
}
