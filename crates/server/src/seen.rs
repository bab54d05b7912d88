//! Tokens that were found good of late.
//!
//! To verify one takes longer than all else that a node does with a small request, and most
//! come again with the next one. What a token says never changes, so only its time is looked
//! at again. Bad ones are not remembered.

use std::{
    num::NonZeroUsize,
    sync::{Mutex, MutexGuard, PoisonError},
};

use lru::LruCache;
use steadfast_core::World;

use crate::{NodeKey, TokenError, token::Good};

/// So many tokens, of at most 2 KiB each.
const MOST: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1_023);

pub(crate) struct Seen(Mutex<LruCache<Box<str>, Good>>);

impl Default for Seen {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(MOST)))
    }
}

impl Seen {
    /// What the token says, if it is good now.
    pub(crate) fn verify(&self, token: &str, key: &NodeKey, world: &World) -> Result<Good, TokenError> {
        let seen = self.lock().get(token).cloned();
        if let Some(good) = seen {
            return good.at(world.now()).map(|()| good);
        }
        let good = key.read(token)?;
        good.at(world.now())?;
        self.lock().put(token.into(), good.clone());
        Ok(good)
    }
    fn lock(&self) -> MutexGuard<'_, LruCache<Box<str>, Good>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use steadfast_core::{Principal, Role, TenantId, secret::Secret};

    use super::*;

    #[test]
    fn a_token_that_was_seen_is_good_for_as_long_as_it_says_and_no_other_is() {
        let (world, clock) = World::manual(1);
        let key = NodeKey::new(&Secret::new([7; 32]));
        let ana = Principal { tenant: TenantId::default(), user: "ana".into(), role: Role::User };
        let token = key.mint(&ana, Duration::from_secs(60), &world).expect("a name");
        let seen = Seen::default();
        for _ in 0..2 {
            let good = seen.verify(&token, &key, &world).expect("good");
            assert_eq!(good.principal, ana);
            let changed = format!("{token}A");
            assert_eq!(seen.verify(&changed, &key, &world).unwrap_err(), TokenError::Invalid);
            clock.advance(Duration::from_secs(29));
        }
        clock.advance(Duration::from_secs(2));
        assert_eq!(seen.verify(&token, &key, &world).unwrap_err(), TokenError::Expired);
        clock.jump(steadfast_core::Time::from_micros(0));
        assert_eq!(seen.verify(&token, &key, &world).unwrap_err(), TokenError::NotYet);
    }
}
