//! Amazon's signatures, reckoned again from what came (Signature Version 4), to see that
//! whoever signed did it right. Nothing of Amazon's own is used.

use hex::encode;
use sha2::{Digest as _, Sha256};

use crate::Seen;

/// The signature that this request must have, as `secret` makes it. Nothing if it is not
/// signed at all.
pub fn expected(seen: &Seen, secret: &str) -> Option<String> {
    let header = |name: &str| seen.headers.get(name).and_then(|value| value.to_str().ok());
    let rest = header("authorization")?.strip_prefix("AWS4-HMAC-SHA256 ")?;
    let part = |name: &str| rest.split(", ").find_map(|it| it.strip_prefix(name)?.strip_prefix('='));
    let scope = part("Credential")?.split_once('/')?.1;
    let names = part("SignedHeaders")?;
    let mut canonical = format!("POST\n{}\n\n", twice_encoded(&seen.path));
    for name in names.split(';') {
        canonical.extend([name, ":", header(name)?.trim(), "\n"]);
    }
    canonical.extend(["\n", names, "\n", &encode(Sha256::digest(&seen.body))]);
    signature(secret, header("x-amz-date")?, scope, &canonical)
}

/// Does it have the signature that `secret` makes?
pub fn is_right(seen: &Seen, secret: &str) -> bool {
    let authorization = seen.headers.get("authorization").and_then(|value| value.to_str().ok());
    let given = authorization.and_then(|it| it.rsplit_once("Signature=")).map(|it| it.1.to_owned());
    given.is_some() && given == expected(seen, secret)
}

fn signature(secret: &str, date: &str, scope: &str, canonical: &str) -> Option<String> {
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", encode(Sha256::digest(canonical)));
    if !date.starts_with(scope.split('/').next()?) {
        return None;
    }
    let key = scope.split('/').fold(format!("AWS4{secret}").into_bytes(), |key, part| hmac(&key, part));
    Some(encode(hmac(&key, &text)))
}

/// A path whose segments are encoded once more.
fn twice_encoded(path: &str) -> String {
    path.replace('%', "%25")
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    const BLOCK: usize = 64;
    let mut block = [0; BLOCK];
    if key.len() > BLOCK {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let inner = Sha256::new().chain_update(block.map(|byte| byte ^ 0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(block.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amazons_published_example_is_signed_as_published() {
        // The case `get-vanilla` of the test suite for Signature Version 4.
        let empty = encode(Sha256::digest(""));
        let canonical = format!(
            "GET\n/\n\nhost:example.amazonaws.com\nx-amz-date:20150830T123600Z\n\nhost;x-amz-date\n{empty}"
        );
        let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        let scope = "20150830/us-east-1/service/aws4_request";
        assert_eq!(
            signature(secret, "20150830T123600Z", scope, &canonical).as_deref(),
            Some("5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31")
        );
    }
}
