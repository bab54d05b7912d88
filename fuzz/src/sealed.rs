//! What is signed or sealed: nobody else can make it, and no changed byte passes.

use std::{sync::LazyLock, time::Duration};

use steadfast_core::{
    Principal, Role, TenantId, World,
    principal::check_name,
    secret::{Keyring, Secret},
};
use steadfast_log::{Cipher as _, Plain};
use steadfast_server::NodeKey;

use crate::told;

static WORLD: LazyLock<World> = LazyLock::new(|| World::manual(1).0);
static KEY: LazyLock<NodeKey> = LazyLock::new(|| NodeKey::new(&Secret::new([7; 32])));
static RING: LazyLock<Keyring> = LazyLock::new(|| Keyring::new("k", &Secret::new([8; 32]), WORLD.clone()));

/// Access tokens and the cursors of lists, both signed by the node.
pub(crate) fn token(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    match KEY.verify(text, &WORLD) {
        Ok(principal) => {
            assert_eq!(check_name("user", &principal.user), Ok(()));
            assert!(KEY.verify(&flipped(text), &WORLD).is_err(), "a changed token passes");
        }
        Err(error) => told::text(&error.to_string()),
    }
    let user = Principal { tenant: TenantId::default(), user: text.to_owned(), role: Role::User };
    let minted = KEY.mint(&user, Duration::from_secs(60), &WORLD);
    assert_eq!(minted.is_ok(), check_name("user", text).is_ok());
    if let Ok(minted) = minted {
        assert_eq!(KEY.verify(&minted, &WORLD), Ok(user));
    }
    match KEY.unseal("list", text) {
        Ok(place) => assert_eq!(KEY.seal("list", &place), text),
        Err(problem) => told::problem(&problem),
    }
    let sealed = KEY.seal("list", text);
    assert_eq!(KEY.unseal("list", &sealed).ok().as_deref(), Some(text));
    assert!(KEY.unseal("another", &sealed).is_err() && KEY.unseal("list", &flipped(&sealed)).is_err());
}

/// With another first letter.
fn flipped(text: &str) -> String {
    let first = if text.starts_with('A') { "B" } else { "A" };
    text.chars().next().map_or_else(String::new, |letter| text.replacen(letter, first, 1))
}

/// The text of a file that holds a key.
pub(crate) fn key(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Some(key) = Secret::from_hex(text) else {
        assert!(text.trim().len() != 64 || !text.trim().bytes().all(|byte| byte.is_ascii_hexdigit()));
        return;
    };
    let digits = hex::encode(key.reveal());
    assert!(digits.eq_ignore_ascii_case(text.trim()));
    assert!(Secret::from_hex(&digits) == Some(key));
}

/// The stored form of a payload.
pub(crate) fn payload(data: &[u8]) {
    let scope = b"scope";
    for (cipher, plain) in [(&*RING as &dyn steadfast_log::Cipher, false), (&Plain, true)] {
        let stored = cipher.encrypt(scope, data);
        assert_eq!(cipher.decrypt(scope, &stored).expect("what was sealed opens"), data);
        match cipher.decrypt(scope, data) {
            Ok(opened) if plain => assert_eq!(cipher.encrypt(scope, &opened), data),
            Ok(_) => assert_eq!(data.first(), Some(&0), "nobody else can seal"),
            Err(error) => told::text(&error.to_string()),
        }
    }
    let mut sealed = RING.encrypt(scope, data);
    let changed = sealed.len() - 1 - data.len() % sealed.len().min(16);
    sealed[changed] ^= 1;
    assert!(RING.decrypt(scope, &sealed).is_err(), "a changed byte passes");
}
