//! The promises of understanding: measured on data, and told as short stories.

use std::sync::LazyLock;

use futures::FutureExt;
use steadfast_core::{Currency, Money};

use super::{Matter::Transfer, *};

mod amounts_as_written;

/// Reading the tables takes longer than reading a message.
static RULES: LazyLock<Rules> = LazyLock::new(Rules::new);

fn measure(files: &[&str]) -> Report {
    let mut report = Report::default();
    for file in files {
        let path = format!("{}/data/{file}.jsonl", env!("CARGO_MANIFEST_DIR"));
        let rows = std::fs::read_to_string(&path).expect("the data is in the repository");
        let measured =
            evaluate(&*RULES, &rows, &Context::default()).now_or_never().expect("rules never wait");
        report.merge(measured.expect("well-formed rows"));
    }
    report
}

fn changed(amount: Amount) -> Answer {
    Answer::Change(Box::new(Slots { amount, ..Slots::default() }))
}

fn read(text: &str, context: Context) -> Understood {
    RULES.read(text, &context).expect("a short text")
}

fn pesos(whole: i64) -> Amount {
    Amount::Exact(Money::new(whole * 100, Currency::MXN).expect("in range"))
}

fn words(text: &str) -> Recipient {
    Recipient::Words(text.to_owned())
}

#[test]
fn nine_of_ten_intents_are_right_and_no_amount_is_wrong() {
    for files in [
        ["banking_es/dev", "banking_es/amounts_dev"],
        ["own_es/judge", "own_es/amounts"],
        ["own_en/judge", "own_en/amounts"],
    ] {
        let report = measure(&files);
        assert_eq!(report.wrong_amounts, [], "{files:?}");
        assert!(report.intents.per_mille() >= 900, "{files:?}\n{report}");
        assert!(report.amounts_read.per_mille() >= 970, "{files:?}\n{report}");
        assert_eq!(report.amounts_asked.per_mille(), 1_000, "{files:?}\n{report}");
        assert!(report.slot_recipients.per_mille() >= 900, "{files:?}\n{report}");
    }
}

#[test]
fn a_report_prints_and_becomes_json() {
    let report = measure(&["banking_es/dev"]);
    assert!(report.to_string().contains("intents           136 of 136"), "{report}");
    let json = serde_json::to_value(&report).expect("a report is JSON");
    assert_eq!(json["by_intent"]["transfer"]["of"], 8);
    assert_eq!(json["wrong_amounts"], serde_json::json!([]));
}

#[test]
fn a_bad_row_is_named_by_its_line() {
    let rows = "\n{\"text\":\"hola\",\"intent\":\"nothing\"}";
    let failed = evaluate(&*RULES, rows, &Context::default()).now_or_never().expect("rules never wait");
    assert!(failed.expect_err("no such intent").to_string().starts_with("line 2 "));
}

#[test]
fn a_transfer_says_who_how_much_and_between_which_accounts() {
    let said = read("Pásale $1,250.50 a mi mamá desde mi cuenta de ahorro", Context::default());
    assert_eq!((said.language, said.intent), (Language::Es, Intent::Transfer));
    assert_eq!(said.slots.recipient, Some(words("mi mamá")));
    assert_eq!(said.slots.amount.exact().map(Money::minor), Some(125_050));
    assert_eq!((said.slots.from, said.slots.to), (Some(AccountKind::Savings), None));

    let said = read("move 2,000 pesos from checking to my savings account", Context::default());
    assert_eq!((said.language, said.intent), (Language::En, Intent::Transfer));
    assert_eq!((said.slots.from, said.slots.to), (Some(AccountKind::Checking), Some(AccountKind::Savings)));
    assert_eq!(said.slots.amount, pesos(2_000));

    let said = read("manda 80 pesos a 0321 8000 0118 3597 18", Context::default());
    let clabe = Recipient::Clabe { digits: "032180000118359718".into(), valid: false };
    assert_eq!((said.slots.recipient, said.slots.amount), (Some(clabe), pesos(80)));

    let said = read("send 20 pesos to ana-savings", Context::default());
    assert_eq!(said.slots.recipient, Some(words("ana-savings")));
}

#[test]
fn a_purchase_says_what_and_how_many() {
    let three = Quantity::Exact(3.try_into().expect("not zero"));
    for (text, product, quantity) in [
        ("Quiero comprar la cafetera Oster", "cafetera Oster", Quantity::Missing),
        ("agrega al carrito y paga los audífonos Sony", "audífonos Sony", Quantity::Missing),
        ("me llevo el iPhone 15 de 128", "iPhone 15 de 128", Quantity::Missing),
        ("dame tres cuadernos por favor", "cuadernos", three),
        ("buy 3 notebooks please", "notebooks", three),
        ("cómprame 0 platos", "platos", Quantity::Unclear),
        ("cómprame -2 platos", "platos", Quantity::Unclear),
        ("compra dos o tres camisas", "camisas", Quantity::Unclear),
        ("cómprame una docena de platos", "platos", Quantity::Unclear),
    ] {
        let said = read(text, Context::default());
        assert_eq!(said.intent, Intent::BuyProduct, "{text}");
        assert_eq!((said.slots.product.as_deref(), said.slots.quantity), (Some(product), quantity), "{text}");
    }
}

#[test]
fn orders_and_counts_are_found() {
    for (text, order) in [
        ("rastrea la orden 45821", Some("45821")),
        ("en qué va mi pedido #A-3321?", Some("A-3321")),
        ("¿Dónde viene mi pedido?", None),
    ] {
        assert_eq!(read(text, Context::default()).slots.order.as_deref(), order, "{text}");
    }
    for (text, count) in
        [("quiero ver las últimas 20 transacciones", 20), ("mis últimos cinco movimientos", 5)]
    {
        let slots = read(text, Context::default()).slots;
        assert_eq!(slots.count.map(std::num::NonZeroU32::get), Some(count), "{text}");
        assert_eq!(slots.amount, Amount::Missing, "{text}");
    }
}

#[test]
fn a_message_is_in_its_own_language_and_else_in_the_sessions() {
    let english = Context { language: Language::En, ..Context::default() };
    assert_eq!(read("¿cuánto tengo?", english).language, Language::Es);
    assert_eq!(read("ok", english).language, Language::En);
    assert_eq!(read("ok", Context::default()).language, Language::Es);
    assert_eq!(read("refund", Context::default()).intent, Intent::RefundCancel);
}

#[test]
fn an_answer_fills_what_was_asked() {
    use Answer::{Account, Choice, Confirmed, Product, Unclear};
    let two = Quantity::Exact(2.try_into().expect("not zero"));
    for (asked, text, answer) in [
        (Expecting::Confirmation(Transfer), "sí", Confirmed(true)),
        (Expecting::Confirmation(Transfer), "claro", Confirmed(true)),
        (Expecting::Confirmation(Transfer), "dale", Confirmed(true)),
        (Expecting::Confirmation(Transfer), "va", Confirmed(true)),
        (Expecting::Confirmation(Transfer), "go ahead", Confirmed(true)),
        (Expecting::Confirmation(Transfer), "yes", Confirmed(true)),
        (Expecting::Confirmation(Transfer), "no", Confirmed(false)),
        (Expecting::Confirmation(Transfer), "mejor no", Confirmed(false)),
        (Expecting::Confirmation(Transfer), "cancela", Confirmed(false)),
        (Expecting::Confirmation(Transfer), "cancela la operación", Confirmed(false)),
        (Expecting::Confirmation(Transfer), "cancel it please", Confirmed(false)),
        (Expecting::Confirmation(Transfer), "¿sí?", Unclear),
        (Expecting::Confirmation(Transfer), "mejor 300", changed(pesos(300))),
        (Expecting::Confirmation(Transfer), "sí, pero que sean 300 pesos", changed(pesos(300))),
        (Expecting::Amount, "300", Answer::Amount(pesos(300))),
        (Expecting::Amount, "que sean quinientos pesos", Answer::Amount(pesos(500))),
        (
            Expecting::Amount,
            "12.345",
            Answer::Amount(Amount::Ambiguous { reason: super::Unclear::Separator }),
        ),
        (Expecting::Amount, "mmm", Unclear),
        (Expecting::Recipient, "a luis", Answer::Recipient(words("luis"))),
        (Expecting::Recipient, "Luis García", Answer::Recipient(words("Luis García"))),
        (Expecting::Recipient, "to my mom", Answer::Recipient(words("my mom"))),
        (Expecting::Recipient, "a mi cuenta de ahorro", Answer::Recipient(words("mi cuenta de ahorro"))),
        (Expecting::Product, "la licuadora Oster", Product("licuadora Oster".into())),
        (Expecting::Quantity, "dos", Answer::Quantity(two)),
        (Expecting::Quantity, "quiero 2", Answer::Quantity(two)),
        (Expecting::Quantity, "cero", Answer::Quantity(Quantity::Unclear)),
        (Expecting::Choice(3), "el primero", Choice(1)),
        (Expecting::Choice(3), "the second one", Choice(2)),
        (Expecting::Choice(3), "opción 3", Choice(3)),
        (Expecting::Choice(3), "el último", Choice(3)),
        (Expecting::Choice(3), "4", Unclear),
        (Expecting::Choice(3), "el primero o el segundo", Unclear),
        (Expecting::Choice(3), "la azul", Answer::Words("azul".into())),
        (Expecting::Account, "la de ahorro", Account(AccountKind::Savings)),
        (Expecting::Account, "from checking", Account(AccountKind::Checking)),
        (Expecting::Account, "ana-savings", Answer::Words("ana-savings".into())),
    ] {
        let said = read(text, Context::default().expecting(asked));
        assert_eq!(said.answer, Some(answer), "{asked:?}: {text}");
    }
}

#[test]
fn a_request_of_its_own_replaces_the_question() {
    for (asked, text, intent) in [
        (Expecting::Confirmation(Transfer), "bloquea mi tarjeta", Intent::BlockCard),
        (Expecting::Confirmation(Transfer), "transfiere 200 pesos a Ana", Intent::Transfer),
        (Expecting::Amount, "¿cuál es mi saldo?", Intent::CheckBalance),
        (Expecting::Amount, "transfiere mejor 200 pesos a Ana López", Intent::Transfer),
        (Expecting::Recipient, "send 300 pesos to Luis", Intent::Transfer),
        (Expecting::Recipient, "quiero hablar con un asesor", Intent::HumanAgent),
        (Expecting::Product, "muéstrame mis movimientos", Intent::ListTransactions),
        (Expecting::Quantity, "mejor quiero ver mis últimos 5 movimientos", Intent::ListTransactions),
        (Expecting::Choice(3), "me robaron la tarjeta", Intent::BlockCard),
        (Expecting::Account, "ya no, mejor dime cuál es mi saldo", Intent::CheckBalance),
        (Expecting::Amount, "no, cancela", Intent::Deny),
        (Expecting::Recipient, "mejor no", Intent::Deny),
        (Expecting::Choice(2), "ninguno", Intent::Deny),
    ] {
        let said = read(text, Context::default().expecting(asked));
        assert_eq!((said.intent, said.answer), (intent, None), "{asked:?}: {text}");
    }
}

#[test]
fn nothing_but_a_plain_yes_confirms() {
    for text in [
        "sí, a Luis 500",
        "no sí",
        "sí no",
        "sí?",
        "¿seguro?",
        "sí, pero no",
        "claro que no",
        "no claro",
        "va a llover",
        "yes but 300",
        "yes or no?",
        "ok cancel",
        "sure not",
        "si me cobran comisión no",
        "sí, pero a Juan",
        "confirmar no",
        "",
        "...",
        "👍👎",
        "si fuera",
        "okay wait",
        "sí, espera",
    ] {
        let said = read(text, Context::default().expecting(Expecting::Confirmation(Transfer)));
        assert_ne!(said.answer, Some(Answer::Confirmed(true)), "{text}");
    }
}

#[test]
fn something_else_than_was_proposed_is_a_change() {
    let change = |matter: Matter, text: &str| {
        let said = read(text, Context::default().expecting(Expecting::Confirmation(matter)));
        match said.answer {
            Some(Answer::Change(slots)) => *slots,
            other => panic!("{text}: {other:?}"),
        }
    };
    let recipient = |name: &str| Some(Recipient::Words(name.into()));
    for (text, to, amount) in [
        ("mejor a Marta", "Marta", Amount::Missing),
        ("no, a marta", "marta", Amount::Missing),
        ("sí, pero a Juan", "Juan", Amount::Missing),
        ("better to Marta", "Marta", Amount::Missing),
    ] {
        let slots = change(Matter::Transfer, text);
        assert_eq!((slots.recipient, slots.amount), (recipient(to), amount), "{text}");
    }
    assert_eq!(change(Matter::Transfer, "mejor desde mi ahorro").from, Some(AccountKind::Savings));

    let count = |n: u32| Quantity::Exact(n.try_into().expect("not zero"));
    for (text, quantity) in [
        ("make it two", count(2)),
        ("que sean 3", count(3)),
        ("mejor dos", count(2)),
        ("no, tres", count(3)),
        ("sí, pero 2 o 3", Quantity::Unclear),
    ] {
        let slots = change(Matter::Purchase, text);
        assert_eq!((slots.product, slots.quantity), (None, quantity), "{text}");
    }
    for (text, product) in [
        ("quiero dos cafés de chiapas", "cafés de chiapas"),
        ("mejor quiero dos cafés de chiapas", "cafés de chiapas"),
    ] {
        let said = read(text, Context::default().expecting(Expecting::Confirmation(Matter::Purchase)));
        let slots = match said.answer {
            Some(Answer::Change(slots)) => *slots,
            None => said.slots,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!((slots.product.as_deref(), slots.quantity), (Some(product), count(2)), "{text}");
    }
    for text in ["mmm no sé", "espera tantito", "¿seguro?", "hmm"] {
        for matter in [Matter::Transfer, Matter::Purchase] {
            let said = read(text, Context::default().expecting(Expecting::Confirmation(matter)));
            let answer = said.answer;
            assert!(
                !matches!(answer, Some(Answer::Change(_) | Answer::Confirmed(true))),
                "{text}: {answer:?}"
            );
        }
    }
}

#[test]
fn what_shall_not_be_done_is_no_request() {
    for text in [
        "No le mandes 200 a Luis",
        "no transfieras nada a luis",
        "no quiero transferir 500 a marta",
        "don't send 200 to Luis",
        "do not transfer 500 to marta",
        "I don't want to send money to luis",
    ] {
        assert_eq!(read(text, Context::default()).intent, Intent::Deny, "{text}");
    }
}

#[test]
fn of_all_our_sentences_only_the_yeses_confirm() {
    #[derive(serde::Deserialize)]
    struct Row {
        text: String,
        intent: Intent,
    }
    let mut yes = Vec::new();
    for file in ["banking_es/dev", "own_es/examples", "own_es/judge", "own_en/examples", "own_en/judge"] {
        let path = format!("{}/data/{file}.jsonl", env!("CARGO_MANIFEST_DIR"));
        let rows = std::fs::read_to_string(path).expect("the data is in the repository");
        for row in rows.lines().map(|line| serde_json::from_str::<Row>(line).expect("a row")) {
            let said = read(&row.text, Context::default().expecting(Expecting::Confirmation(Transfer)));
            let confirmed = said.answer == Some(Answer::Confirmed(true));
            assert!(!confirmed || row.intent == Intent::Confirm, "{}", row.text);
            if row.intent == Intent::Confirm {
                yes.push((confirmed, row.text));
            }
        }
    }
    let heard = yes.iter().filter(|(confirmed, _)| *confirmed).count();
    assert!(heard * 10 >= yes.len() * 9, "{heard} of {}: {yes:?}", yes.len());
}

#[test]
fn a_text_that_is_too_long_is_refused() {
    let failure = RULES.read(&"a".repeat(TEXT_CHARS_MAX + 1), &Context::default()).expect_err("too long");
    assert_eq!(failure.code, "assistant.text_too_long");
    assert!(failure.nothing_happened && !failure.retryable);
}
