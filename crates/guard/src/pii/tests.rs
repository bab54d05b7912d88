use proptest::prelude::*;

use super::*;

fn detector() -> Detector {
    Detector::new(Kind::ALL, &["Project Falcon".into()], &[r"EMP-\d{5}".into()]).expect("good patterns")
}

fn found(text: &str) -> Vec<(Kind, &str)> {
    detector().find(text).into_iter().map(|span| (span.kind, &text[span.range])).collect()
}

/// Texts in which what stands between «» is of that kind.
const HAVE: &[(Kind, &[&str])] = &[
    (
        Kind::Email,
        &[
            "write to «ana.lopez+x@mail.example.mx».",
            "«bob@example.com», «carol@sub.example.co.uk»",
            "correo=«ana%40correo.example»&x=1",
            "«juan punto perez08 arroba ejemplo punto com punto mx» por favor",
            "I am «john dot smith at example dot com» ok",
            "«ana (at) example.com»",
            "<«ana@example.com»>",
            "{\\\"mail\\\":\\\"x\\n«bob@example.com»\\\"}",
            "ana@ «b\u{200b}ob@example.com»",
            "«josé@ejemplo.mx»",
        ],
    ),
    (
        Kind::Card,
        &[
            "pay with «4111 1111 1111 1111» now",
            "«4111111111111111»",
            "«5500-0000-0000-0004» x",
            "«4111.1111.1111.1111».",
            "«3782 822463 10005»",
            "«4111\u{200b}1111\u{200b}1111\u{200b}1111»",
            "«４１１１１１１１１１１１１１１１»",
            "«41111111\n11111111»",
            "card 12 «4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1».",
            "卡号«4111111111111111»",
            "{\"card\":«4111111111111111»}",
            "first 2024 then «6011 1111 1111 1117»",
        ],
    ),
    (
        Kind::Iban,
        &["to «GB82 WEST 1234 5698 7654 32»,", "«DE89370400440532013000»", "«gb82west12345698765432»"],
    ),
    (
        Kind::Clabe,
        &["a la CLABE «032180000118359719» hoy", "«032 180 00011835971 9»", "«032-180-000118359719»"],
    ),
    (
        Kind::Curp,
        &["Mi CURP es «KENM870608MPLSDQ19» y", "curp:«kenm870608mplsdq19»", "«KENM-870608-MPLSDQ19»"],
    ),
    (
        Kind::Rfc,
        &[
            "RFC «AABM840910S9A»;",
            "«ABC840910S92»",
            "mi rfc «aabm840910s9a»",
            "rfc «AABM-840910-S9A»",
            "«ÑAB840910XX1»",
        ],
    ),
    (Kind::Ssn, &["my SSN is «125-17-4954».", "social security 125174954 no, ssn «125 17 4954»"]),
    (Kind::Ip, &["from «46.64.136.33»:8080", "«2001:db8::ff00:42:8329»", "\"ip\":\"«46.64.136.33»\""]),
    (
        Kind::Phone,
        &[
            "«+52 55 0331 2039»",
            "mi cel es «3343772910»",
            "«33-0205-0946»",
            "«(55) 7432 8029»",
            "call «541-714-1388» or «(602)272-9781»",
            "«+1-903-140-4508x769»",
            "«+41 (0)96 471 07 95»",
            "phone: «0490 75 40 81»",
            "«+523353760025»",
        ],
    ),
    (
        Kind::Secret,
        &[
            "key «sk-proj-abcDEF1234567890abcdef» x",
            "«AKIAIOSFODNN7EXAMPLE»",
            "Authorization: Bearer «abcdef0123456789ABCDEF»",
            "token «eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc-DEF_123»",
            "«-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----»",
            "postgres://app:«hunter2»@db/x",
            "«ghp_0123456789abcdefghijABCDEFGHIJ012345»",
        ],
    ),
    (Kind::Custom, &["about «project falcon» and «EMP-12345»"]),
];

#[test]
fn what_is_personal_is_found_in_the_forms_that_people_write() {
    for (kind, texts) in HAVE {
        for marked in *texts {
            let text = marked.replace(['«', '»'], "");
            let wanted: Vec<_> =
                marked.split('«').skip(1).map(|it| it.split('»').next().unwrap_or_default()).collect();
            let got = found(&text);
            let of_kind: Vec<_> = got.iter().filter(|it| it.0 == *kind).map(|it| it.1).collect();
            let texts: Vec<_> = of_kind.clone();
            if marked.contains("125174954 no") {
                assert!(texts.contains(&"125 17 4954"), "{marked}: {got:?}");
                continue;
            }
            assert_eq!(texts, wanted, "{marked}: {got:?}");
            assert_eq!(got.len(), wanted.len(), "{marked}: {got:?}");
        }
    }
}

#[test]
fn what_only_looks_like_it_is_left_alone() {
    for text in [
        "trace 28d7d3b5-a12f-4acc-a3e1-c41afad9890b span 1712788801002",
        "guía de rastreo 893504477118390187 del pedido 90521",
        "transfer ok id=1747636691612 saldo=56,165.78",
        "el cargo de 5,256.37 en la tarjeta terminación 4821",
        "on 2026-11-22 at 10:30:45 or 22/11/2026, 2026-11-22T10:30:45Z",
        "4111 1111 1111 1112",
        "10.0.0.5, 127.0.0.1, 192.168.1.1, ::1, fe80::1, version 1.2.3.4",
        "order 5512345678",
        "total 100 200 300",
        "desk-lamp, sk-learn-is-a-library-for-people",
        "@john and me@home, a@b",
        "we met at the dot com boom",
        "https://example.com:8080/a@b",
        "sha 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "std::collections::HashMap a::b 12::34",
        "ABC991399XYZ and GB82 WEST 1234 5698 7654 33",
    ] {
        assert_eq!(found(text), [], "{text}");
    }
}

#[test]
fn only_the_kinds_asked_for_are_found_and_patterns_are_checked() {
    let only = Detector::new([Kind::Card], &[], &[]).expect("good");
    let text = "bob@example.com 4111111111111111 sk-proj-abcDEF1234567890abcdef";
    let kinds: Vec<_> = only.find(text).iter().map(|it| it.kind).collect();
    assert_eq!(kinds, [Kind::Card]);
    for wrong in ["(", "x*"] {
        assert!(Detector::new(Kind::ALL, &[], &[wrong.into()]).is_err());
    }
    assert!(Detector::new(Kind::ALL, &[String::new()], &[]).is_err());
}

fn sound(text: &str, spans: &[Span]) {
    let mut last = 0;
    for Span { range, .. } in spans {
        assert!(range.start >= last && range.end > range.start, "{text:?}: {spans:?}");
        assert!(
            text.is_char_boundary(range.start) && text.is_char_boundary(range.end),
            "{text:?}: {spans:?}"
        );
        last = range.end;
    }
}

proptest! {
    #[test]
    fn any_text_is_read_without_harm(text in "\\PC{0,200}") {
        sound(&text, &detector().find(&text));
    }

    #[test]
    fn pieces_of_what_is_looked_for_in_any_order_do_no_harm(
        pieces in prop::collection::vec(prop_oneof![
            Just("@"), Just("."), Just("4111"), Just(" "), Just("1"), Just("+"), Just("("), Just(")"), Just("-"),
            Just("é"), Just("\u{200b}"), Just("１"), Just("sk-"), Just("eyJ"), Just("://"), Just("GB82"), Just("AABM"),
            Just("840910"), Just(" at "), Just(" dot "), Just(" arroba "), Just("a"), Just("\\u0040"), Just("\\n"),
            Just("::"), Just("-----BEGIN PRIVATE KEY-----"), Just("-----END "), Just("x"), Just("%40"), Just("\u{ff20}"),
            Just("12345678901234567890123456789012345678901234567890"), Just("Ñ"), Just("(at)"),
        ], 0..30),
    ) {
        let text = pieces.concat();
        sound(&text, &detector().find(&text));
    }

    #[test]
    fn a_card_is_found_in_any_grouping_of_fours_wherever_it_stands(
        seed in prop::collection::vec(0..10_u8, 14), separator in "[ .\n-]?", before in "[a-z ,:]{0,9}[ :,]", after in "[ ,;a-z]{0,1}",
    ) {
        let mut digits = vec![4];
        digits.extend(&seed);
        let check = (0..10).find(|check| super::card::luhn(&[&digits[..], &[*check]].concat())).expect("one of ten");
        digits.push(check);
        let card = digits.chunks(4).map(|four| four.iter().map(u8::to_string).collect::<String>()).collect::<Vec<_>>().join(&separator);
        let text = format!("{before}{card}{}", if after.trim().is_empty() { "" } else { " x" });
        let spans = detector().find(&text);
        let is_card = spans.iter().any(|span| text[span.range.clone()].contains(&card));
        prop_assert!(is_card, "{:?} {:?}", text, spans);
    }
}
