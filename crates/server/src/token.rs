//! Access tokens: JWTs signed by this node, for this node.
//!
//! The format invites mistakes, so little of it is accepted: one algorithm, a header of
//! `alg` and `typ` and nothing else, exactly the claims below with their types, and no
//! leeway. What a header may otherwise say (which key, which algorithm, what is critical)
//! is the attacker's choice and therefore refused.

use std::fmt;

use aws_lc_rs::hmac;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use steadfast_core::{
    Coded, Fault, Principal, Role, TenantId, Time, World, canonical::Hash, principal::check_name,
    secret::Secret,
};

const ISSUER: &str = "steadfast";
const AUDIENCE: &str = "steadfast-api";
/// Longer tokens are not looked at; ours have about 400 bytes.
const TOKEN_BYTES_MAX: usize = 2_048;

/// Why a token was not accepted. What was wrong with it is not told in more detail: whoever
/// has a right to a token needs no help with making one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a token of this node.
    #[error("the token was not issued by this node, or was changed: get one with `steadfast token`")]
    Invalid,
    /// It was good once.
    #[error("the token has expired: get another one with `steadfast token`")]
    Expired,
    /// Its time has not come, by this node's clock.
    #[error("the token is not valid yet: compare the clocks of the two machines")]
    NotYet,
}

impl Coded for TokenError {
    fn code(&self) -> &'static str {
        match self {
            Self::Invalid => "token.invalid",
            Self::Expired => "token.expired",
            Self::NotYet => "token.not_yet_valid",
        }
    }
    fn fault(&self) -> Fault {
        Fault::Caller
    }
}

/// Seconds since the epoch throughout.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    tenant: TenantId,
    role: Role,
    exp: i64,
    iat: i64,
    nbf: i64,
    jti: uuid::Uuid,
}

/// What a good token says.
#[derive(Debug, Clone)]
pub(crate) struct Good {
    /// Who it speaks for.
    pub(crate) principal: Principal,
    /// From when on it is good.
    pub(crate) from: Time,
    /// It is good no longer from then on.
    pub(crate) until: Time,
}

impl Good {
    /// Is it good now?
    pub(crate) fn at(&self, now: Time) -> Result<(), TokenError> {
        if self.until <= now {
            return Err(TokenError::Expired);
        }
        if now < self.from { Err(TokenError::NotYet) } else { Ok(()) }
    }
}

/// The key that signs this node's tokens.
#[derive(Clone)]
pub struct NodeKey {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
    cursors: hmac::Key,
    words: Secret<[u8; 32]>,
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[node key]")
    }
}

impl NodeKey {
    /// From 32 random bytes.
    pub fn new(secret: &Secret<[u8; 32]>) -> Self {
        // Signature and algorithm are checked by the library, claims by us: it has its own
        // clock and forgives types that we do not.
        let mut validation = Validation::new(Algorithm::HS256);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.reveal()), b"cursors");
        Self {
            encoding: EncodingKey::from_secret(secret.reveal()),
            decoding: DecodingKey::from_secret(secret.reveal()),
            validation,
            cursors: hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()),
            words: Secret::new(Hash::of_parts(&[b"words".as_slice(), secret.reveal()]).0),
        }
    }

    /// What people's words are sealed with where no key is configured for it; of another use
    /// than tokens, so another key.
    pub const fn words(&self) -> &Secret<[u8; 32]> {
        &self.words
    }

    /// What cursors are signed with; of another use than tokens, so of another key.
    pub(crate) fn cursors(&self) -> &hmac::Key {
        &self.cursors
    }

    /// A token for `principal`, valid from now for `ttl` (whole seconds).
    ///
    /// # Errors
    /// When the user's name breaks the rule for names, which no token of ours may.
    pub fn mint(
        &self,
        principal: &Principal,
        ttl: std::time::Duration,
        world: &World,
    ) -> Result<String, steadfast_core::principal::InvalidName> {
        check_name("user", &principal.user)?;
        let now = world.now();
        let claims = Claims {
            iss: ISSUER.into(),
            aud: AUDIENCE.into(),
            sub: principal.user.clone(),
            tenant: principal.tenant.clone(),
            role: principal.role,
            exp: now.after(ttl).seconds(),
            iat: now.seconds(),
            nbf: now.seconds(),
            jti: world.uuid(),
        };
        #[expect(clippy::expect_used, reason = "the claims are JSON and HMAC takes any key")]
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding)
            .expect("plain claims are signed");
        Ok(token)
    }

    /// Who the token speaks for.
    pub fn verify(&self, token: &str, world: &World) -> Result<Principal, TokenError> {
        let good = self.read(token)?;
        good.at(world.now())?;
        Ok(good.principal)
    }

    /// What a token says, at whatever time.
    pub(crate) fn read(&self, token: &str) -> Result<Good, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Invalid);
        }
        let read = jsonwebtoken::decode::<Claims>(token, &self.decoding, &self.validation)
            .map_err(|_| TokenError::Invalid)?;
        let mut plain = Header::new(Algorithm::HS256);
        plain.typ.clone_from(&read.header.typ);
        let typ = read.header.typ.as_deref().unwrap_or("JWT");
        if read.header != plain || !typ.eq_ignore_ascii_case("JWT") {
            return Err(TokenError::Invalid);
        }
        let claims = read.claims;
        let ours = claims.iss == ISSUER && claims.aud == AUDIENCE && claims.exp > claims.iat;
        if !ours || check_name("user", &claims.sub).is_err() {
            return Err(TokenError::Invalid);
        }
        let principal = Principal { tenant: claims.tenant, user: claims.sub, role: claims.role };
        let at = |seconds: i64| Time::from_micros(seconds.saturating_mul(1_000_000));
        Ok(Good { principal, from: at(claims.nbf.max(claims.iat)), until: at(claims.exp) })
    }
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
