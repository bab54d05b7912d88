use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use steadfast_core::{Principal, TenantId};

type User = (TenantId, String);

/// How many connections each user has.
#[derive(Debug, Clone)]
pub(super) struct Places {
    taken: Arc<Mutex<HashMap<User, u32>>>,
    each: u32,
}

/// One of a user's connections; dropping it makes room.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    user: User,
}

impl Places {
    pub(super) fn new(each: NonZeroU32) -> Self {
        Self { taken: Arc::default(), each: each.get() }
    }
    /// One more, unless the user has all there are for one.
    pub(super) fn take(&self, principal: &Principal) -> Option<Place> {
        let user = (principal.tenant.clone(), principal.user.clone());
        let mut taken = self.lock();
        let count = taken.entry(user.clone()).or_default();
        if *count >= self.each {
            return None;
        }
        *count += 1;
        drop(taken);
        Some(Place { places: self.clone(), user })
    }
    fn lock(&self) -> MutexGuard<'_, HashMap<User, u32>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        if let Some(count) = taken.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use steadfast_core::Role;

    use super::*;

    #[test]
    fn users_of_one_name_in_two_tenants_have_places_of_their_own_and_nothing_is_kept_of_who_left() {
        let principal = |tenant: &str| Principal {
            tenant: tenant.parse().expect("a tenant"),
            user: "ana".into(),
            role: Role::User,
        };
        let places = Places::new(NonZeroU32::MIN);
        let (one, other) = (places.take(&principal("one")), places.take(&principal("other")));
        assert!(one.is_some() && other.is_some());
        assert!(places.take(&principal("one")).is_none());
        drop(one);
        let again = places.take(&principal("one"));
        assert!(again.is_some());
        drop((again, other));
        assert!(places.lock().is_empty());
    }
}
