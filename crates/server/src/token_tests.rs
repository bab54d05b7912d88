use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use steadfast_core::Time;

use super::*;

const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

fn key() -> NodeKey {
    NodeKey::new(&Secret::new([7; 32]))
}

fn ana() -> Principal {
    Principal { tenant: TenantId::default(), user: "ana".into(), role: Role::User }
}

fn claims(world: &World) -> Value {
    let now = world.now().seconds();
    json!({
        "iss": "steadfast", "aud": "steadfast-api", "sub": "ana", "tenant": "default",
        "role": "user", "exp": now + 60, "iat": now, "nbf": now,
        "jti": "0190f5a0-8c5e-7c3b-9d43-0f6a2b1c4d5e",
    })
}

/// Signed with the node's own key, whatever it says.
fn signed(header: &str, claims: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature =
        jsonwebtoken::crypto::sign(message.as_bytes(), &key().encoding, Algorithm::HS256).expect("signs");
    format!("{message}.{signature}")
}

#[test]
fn a_minted_token_speaks_for_its_principal_until_it_expires() {
    let (world, clock) = World::manual(1);
    let token = key().mint(&ana(), Duration::from_secs(60), &world).expect("a name");
    assert_eq!(key().verify(&token, &world), Ok(ana()));
    clock.advance(Duration::from_secs(59));
    assert_eq!(key().verify(&token, &world), Ok(ana()));
    clock.advance(Duration::from_secs(1));
    assert_eq!(key().verify(&token, &world), Err(TokenError::Expired));
    clock.jump(Time::from_micros(0));
    assert_eq!(key().verify(&token, &world), Err(TokenError::NotYet));
}

#[test]
fn a_token_of_another_key_or_with_a_changed_byte_is_refused() {
    let (world, _) = World::manual(1);
    let token = key().mint(&ana(), Duration::from_secs(60), &world).expect("a name");
    let other = NodeKey::new(&Secret::new([8; 32]));
    assert_eq!(other.verify(&token, &world), Err(TokenError::Invalid));
    for place in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).expect("ascii");
        assert!(key().verify(&changed, &world).is_err(), "byte {place}");
    }
    assert!(key().mint(&Principal { user: "a\0b".into(), ..ana() }, Duration::MAX, &world).is_err());
}

#[test]
fn a_header_may_say_nothing_but_the_one_algorithm_and_the_type() {
    let (world, _) = World::manual(1);
    let body = claims(&world).to_string();
    for fine in [HEADER, r#"{"typ":"JWT","alg":"HS256"}"#, r#"{"alg":"HS256"}"#] {
        assert_eq!(key().verify(&signed(fine, &body), &world), Ok(ana()), "{fine}");
    }
    for wrong in [
        r#"{"typ":"JWT"}"#,
        r#"{"alg":"none"}"#,
        r#"{"alg":"NONE"}"#,
        r#"{"alg":""}"#,
        r#"{"alg":null}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"alg":"hs256"}"#,
        r#"{"alg":"HS512"}"#,
        r#"{"alg":"RS256"}"#,
        r#"{"alg":"HS256","alg":"HS256"}"#,
        r#"{"alg":"HS256","typ":"JWT","typ":"JWT"}"#,
        r#"{"alg":"HS256","typ":"JOSE"}"#,
        r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
        r#"{"alg":"HS256","crit":["exp"]}"#,
        r#"{"alg":"HS256","kid":"../../../../dev/null"}"#,
        r#"{"alg":"HS256","kid":["a"]}"#,
        r#"{"alg":"HS256","jku":"https://example.com"}"#,
        r#"{"alg":"HS256","jwk":{"kty":"oct","k":"AAAA"}}"#,
        r#"{"alg":"HS256","x5c":["AAAA"]}"#,
        r#"{"alg":"HS256","x5u":"https://example.com"}"#,
        r#"{"alg":"HS256","zip":"DEF"}"#,
        r#"{"alg":"HS256","b64":false}"#,
        r#"[{"alg":"HS256"}]"#,
        "HS256",
        "",
    ] {
        let verified = key().verify(&signed(wrong, &body), &world);
        assert_eq!(verified, Err(TokenError::Invalid), "{wrong}");
    }
}

#[test]
fn every_claim_is_required_once_and_with_its_type() {
    let (world, _) = World::manual(1);
    let good = claims(&world);
    assert_eq!(key().verify(&signed(HEADER, &good.to_string()), &world), Ok(ana()));
    for name in good.as_object().expect("object").keys() {
        let mut less = good.clone();
        less.as_object_mut().expect("object").remove(name);
        let without = signed(HEADER, &less.to_string());
        assert_eq!(key().verify(&without, &world), Err(TokenError::Invalid), "no {name}");
        let member = format!(",\"{name}\":{}}}", good[name]);
        let twice = signed(HEADER, &good.to_string().replacen('}', &member, 1));
        assert_eq!(key().verify(&twice, &world), Err(TokenError::Invalid), "two {name}");
    }
    let now = world.now().seconds();
    for (name, value, error) in [
        ("exp", json!(now), TokenError::Invalid),
        ("exp", json!(now + 60).to_string().into(), TokenError::Invalid),
        ("exp", json!(1e30), TokenError::Invalid),
        ("exp", json!(true), TokenError::Invalid),
        ("exp", Value::Null, TokenError::Invalid),
        ("nbf", json!(now + 1), TokenError::NotYet),
        ("nbf", json!({}), TokenError::Invalid),
        ("iat", json!(now + 1), TokenError::NotYet),
        ("iat", json!(now + 60), TokenError::Invalid),
        ("iss", json!("Steadfast"), TokenError::Invalid),
        ("aud", json!("other"), TokenError::Invalid),
        ("aud", json!([]), TokenError::Invalid),
        ("aud", json!(["steadfast-api"]), TokenError::Invalid),
        ("sub", json!("a\u{0}na"), TokenError::Invalid),
        ("sub", json!(""), TokenError::Invalid),
        ("sub", json!("@run"), TokenError::Invalid),
        ("role", json!("root"), TokenError::Invalid),
        ("tenant", json!("a/b"), TokenError::Invalid),
        ("jti", json!(1), TokenError::Invalid),
        ("extra", json!(1), TokenError::Invalid),
    ] {
        let mut changed = good.clone();
        changed[name] = value.clone();
        let verified = key().verify(&signed(HEADER, &changed.to_string()), &world);
        assert_eq!(verified, Err(error), "{name} = {value}");
    }
}

#[test]
fn what_is_not_three_clean_segments_is_refused() {
    let (world, _) = World::manual(1);
    let token = signed(HEADER, &claims(&world).to_string());
    let (message, signature) = token.rsplit_once('.').expect("segments");
    let public = format!("{message}.");
    for wrong in [
        String::new(),
        ".".into(),
        "..".into(),
        message.into(),
        public,
        format!("{token}."),
        format!("{token}.AAAA"),
        format!(".{token}"),
        format!("{token}="),
        format!(" {token}"),
        format!("{token}\n"),
        format!("{message}.{}", &signature[..signature.len() - 2]),
        format!("{message}.{}", "A".repeat(43)),
        token.replace('.', ".."),
        format!("{token}{}", "A".repeat(4_000)),
    ] {
        assert_eq!(key().verify(&wrong, &world), Err(TokenError::Invalid), "{wrong}");
    }
}
