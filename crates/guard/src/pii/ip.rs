//! Public IP addresses. Private ones say nothing about anybody outside.

use std::{net::IpAddr, ops::Range};

use super::{digits::Run, near};

const VERSION_WORDS: [&str; 2] = ["version", "release"];

/// May the digits at `at` be of an address? One has points or colons soon.
pub(super) fn may_be(bytes: &[u8], at: usize) -> bool {
    let window = &bytes[at.saturating_sub(5)..bytes.len().min(at + 12)];
    let marks = |mark| memchr::memchr_iter(mark, window).count();
    marks(b'.') > 1 || marks(b':') > 1
}

pub(super) fn find(text: &str, run: &Run) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let part = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    let from = run.start().saturating_sub(39);
    let start = bytes[from..run.start()].iter().rposition(|it| !part(it)).map_or(from, |at| from + at + 1);
    let to = bytes.len().min(run.start() + 45);
    let mut end = bytes[start..to].iter().position(|it| !part(it)).map_or(to, |at| start + at);
    while end > start && matches!(bytes[end - 1], b':' | b'.') {
        end -= 1;
    }
    let mut token = text.get(start..end)?;
    if token.len() < 7 || !near::begins(text, start) {
        return None;
    }
    if let Some((address, port)) = token.split_once(':')
        && address.contains('.')
        && port.bytes().all(|it| it.is_ascii_digit())
    {
        (token, end) = (address, start + address.len());
    }
    let address: IpAddr = token.parse().ok()?;
    let public = match address {
        IpAddr::V4(v4) => {
            let shared = v4.octets()[0] == 100 && (64..128).contains(&v4.octets()[1]);
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_broadcast()
                || v4.octets()[0] == 0
                || shared)
        }
        IpAddr::V6(v6) => {
            !(v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_multicast()
                || v6.is_unique_local()
                || v6.is_unicast_link_local())
        }
    };
    let version = address.is_ipv4() && near::said(text, start, &VERSION_WORDS);
    (public && !version && near::ends(text, end)).then_some(start..end)
}
