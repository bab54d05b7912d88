//! Keys: the node's own, which signs tokens, and those that open what is stored.

use std::path::Path;

use steadfast_core::{
    Failure, Principal, Role, TenantId, World,
    canonical::Hash,
    config::{ConfigError, Problem, SecretSource, environment},
    defaults::ACCESS_TOKEN,
    secret::{Keyring, Secret},
};
use steadfast_server::NodeKey;

use crate::config::StoreSection;

/// A user, or whoever operates the node.
pub(crate) fn principal(user: Option<&str>) -> Principal {
    let (user, role) = match user {
        Some(user) => (user, Role::User),
        None => ("operator", Role::Admin),
    };
    Principal { tenant: TenantId::default(), user: user.to_owned(), role }
}

/// A token signed with the node's key at this place.
pub(crate) fn sign(key: &Path, principal: &Principal) -> anyhow::Result<String> {
    if !key.exists() {
        let message = format!(
            "there is no node key at {}: start the server there once, or name its store with --store",
            key.display()
        );
        return Err(Failure::refused("key.missing", message).into());
    }
    let world = World::system();
    let key = NodeKey::load_or_create(key, &world)?;
    Ok(key.mint(principal, ACCESS_TOKEN, &world)?)
}

/// The configured keys, if there are any.
pub(crate) fn ring(section: &StoreSection, world: &World) -> Result<Option<Keyring>, ConfigError> {
    let Some(source) = &section.key else {
        if section.old_keys.is_empty() {
            return Ok(None);
        }
        let message = "there are keys of earlier times, and none of today: name it here";
        return Err(ConfigError { problems: vec![Problem::about("store.key", message)] });
    };
    let (id, key) = read_key("store.key", source)?;
    let mut ring = Keyring::new(id, &key, world.clone());
    for source in &section.old_keys {
        let (id, key) = read_key("store.old_keys", source)?;
        ring.add(id, &key);
    }
    Ok(Some(ring))
}

/// A key and its id, which is a hash of it: the same key has the same id wherever it stands.
fn read_key(name: &str, source: &SecretSource) -> Result<(String, Secret<[u8; 32]>), ConfigError> {
    let wrong = |message| ConfigError {
        problems: vec![Problem { code: "config.secret", ..Problem::about(name, message) }],
    };
    let text = source.read(&environment()).map_err(|error| wrong(error.to_string()))?;
    let key = Secret::from_hex(text.reveal())
        .ok_or_else(|| wrong("expected 64 hex digits; make them with `openssl rand -hex 32`".to_owned()))?;
    let id = Hash::of_parts(&[b"key id", key.reveal()]).to_string();
    Ok((id[..16].to_owned(), key))
}

/// The keys that open what people wrote.
pub(crate) fn words_ring(section: &StoreSection, key: &NodeKey, world: &World) -> anyhow::Result<Keyring> {
    const NODE: &str = "node";
    let Some(mut ring) = ring(section, world)? else {
        return Ok(Keyring::new(NODE, key.words(), world.clone()));
    };
    ring.add(NODE, key.words());
    Ok(ring)
}
