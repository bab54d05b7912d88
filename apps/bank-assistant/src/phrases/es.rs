use super::{day, list, money, name};
use crate::{
    proposal::Proposal,
    told::{AccountLine, AmountWrong, MovementLine, OrderLine, ProductLine, Told},
    understand::{Intent, Language::Es, Unclear},
};

pub(super) fn say(told: &Told) -> String {
    match told {
        Told::Balance { accounts } if accounts.is_empty() => "No tienes cuentas todavía.".into(),
        Told::Balance { accounts } => accounts.iter().map(account).collect::<Vec<_>>().join("\n"),
        Told::Movements { movements } if movements.is_empty() => "Todavía no hay movimientos.".into(),
        Told::Movements { movements } => {
            format!("Tus últimos movimientos:{}", movements.iter().map(movement).collect::<String>())
        }
        Told::Products { products } if products.is_empty() => "No encontré productos.".into(),
        Told::Products { products } => {
            format!("Esto tenemos:{}", products.iter().map(product).collect::<String>())
        }
        Told::Stock { product } if product.stock == 0 => {
            format!("{} está agotado.", name(&product.name, Es))
        }
        Told::Stock { product } => format!(
            "Sí hay {}: quedan {}, a {} cada uno.",
            name(&product.name, Es),
            product.stock,
            money(product.price)
        ),
        Told::Orders { orders } if orders.is_empty() => "No tienes compras.".into(),
        Told::Orders { orders } => {
            format!("Tus compras más recientes:{}", orders.iter().map(order).collect::<String>())
        }
        Told::Greeting => "¡Hola! ¿En qué te ayudo?".into(),
        Told::Help => HELP.into(),
        Told::OutOfScope => format!("De eso no sé. {HELP}"),
        Told::Unsupported { intent } => unsupported(*intent).into(),
        Told::AskAmount { why, .. } => ask_amount(*why).into(),
        Told::AskRecipient { unknown: Some(words), .. } => format!(
            "No conozco a «{words}» entre tus contactos. ¿A quién le envío? Puedes agregarlo en tus contactos."
        ),
        Told::AskRecipient { choices, .. } if choices.is_empty() => "¿A quién le envío?".into(),
        Told::AskRecipient { choices, .. } => format!("¿A quién: {}?", list(choices, "o")),
        Told::AskProduct { unknown: Some(words), .. } => {
            format!("No encontré «{words}». ¿Qué producto quieres?")
        }
        Told::AskProduct { choices, .. } if choices.is_empty() => "¿Qué producto quieres?".into(),
        Told::AskProduct { choices, .. } => {
            format!("¿Cuál de estos?{}", choices.iter().map(product).collect::<String>())
        }
        Told::AskQuantity { product, .. } => {
            format!("¿Cuántas piezas de {} quieres?", name(&product.name, Es))
        }
        Told::Confirm { proposal, unclear, .. } => {
            let sorry = if *unclear { "No te entendí: responde sí o no, o di qué cambiar. " } else { "" };
            format!("{sorry}{} ¿Confirmas?", propose(proposal))
        }
        Told::Transferred { proposal, .. } | Told::Purchased { proposal, .. } => done(proposal),
        Told::Refused { code, details, proposal } => match refused(code, details, proposal.as_ref()) {
            Some(why) => format!("{why} No se movió dinero."),
            None => format!("No se pudo hacer ({code}). Revisa tus movimientos antes de pedirlo otra vez."),
        },
        Told::Cancelled => "Cancelado. No se movió dinero.".into(),
        Told::Expired => "Se acabó el tiempo para confirmar. No se movió dinero; pídelo otra vez.".into(),
        Told::Changed => "La solicitud cambió después de que la viste. Revisa la última y confírmala.".into(),
        Told::NothingPending => "No hay nada por confirmar. ¿Qué necesitas?".into(),
        Told::Stopped => {
            "La solicitud se detuvo antes de terminar. Revisa tus movimientos antes de pedirla otra vez."
                .into()
        }
    }
}

const HELP: &str = "Puedo decirte tu saldo y tus movimientos, enviar dinero a tus contactos, buscar y comprar \
                    productos, y decirte cómo van tus compras.";

fn kind(account: &str) -> &str {
    match account {
        "checking" => "Cuenta de cheques",
        "savings" => "Ahorro",
        other => other,
    }
}

fn product(line: &ProductLine) -> String {
    format!("\n• {} ({}), quedan {}", name(&line.name, Es), money(line.price), line.stock)
}

fn account(line: &AccountLine) -> String {
    let held = if line.available == line.balance {
        String::new()
    } else {
        format!(" (saldo {})", money(line.balance))
    };
    format!("{}: {} disponibles{held}.", kind(&line.name), money(line.available))
}

fn movement(line: &MovementLine) -> String {
    format!("\n{}  {}  ({})", day(line.time), money(line.amount), line.with)
}

fn order(line: &OrderLine) -> String {
    let status = match line.status.as_str() {
        "completed" => "entregada y pagada",
        "failed" | "dead" | "cancelled" | "killed" => "no se hizo",
        _ => "en proceso",
    };
    format!("\n• {}  {}  ({})", day(line.created), status, line.id)
}

fn propose(proposal: &Proposal) -> String {
    match proposal {
        Proposal::Transfer { from, name, amount, .. } => {
            format!("Voy a enviar {} a {name} desde {from}.", money(*amount))
        }
        Proposal::Purchase { name: product, quantity, total, from, .. } => {
            format!("Voy a comprar {quantity} × {} por {} desde {from}.", name(product, Es), money(*total))
        }
    }
}

fn done(proposal: &Proposal) -> String {
    match proposal {
        Proposal::Transfer { name, amount, .. } => format!("Listo: enviaste {} a {name}.", money(*amount)),
        Proposal::Purchase { name: product, quantity, total, .. } => {
            format!("Listo: compraste {quantity} × {} por {}.", name(product, Es), money(*total))
        }
    }
}

fn ask_amount(why: Option<AmountWrong>) -> &'static str {
    match why {
        None => "¿Cuánto?",
        Some(AmountWrong::NotPositive) => "El monto debe ser mayor que cero. ¿Cuánto?",
        Some(AmountWrong::NoAccount) => {
            "No tienes una cuenta así en esa moneda. ¿Cuánto, en una moneda de tus cuentas?"
        }
        Some(AmountWrong::Unclear(reason)) => match reason {
            Unclear::Separator => {
                "No sé si el punto o la coma separa miles o centavos. ¿Cuánto es, por ejemplo 12,345.00?"
            }
            Unclear::TooPrecise => "El monto lleva a lo más dos decimales. ¿Cuánto es exactamente?",
            Unclear::Several => "Leo más de un monto. ¿Cuál es?",
            Unclear::Approximate => "Necesito el monto exacto. ¿Cuánto?",
            Unclear::Relative => "Dime el monto en números. ¿Cuánto?",
            Unclear::Currency => "¿En qué moneda, y cuánto?",
            Unclear::OutOfRange => "Ese monto es demasiado grande. ¿Cuánto?",
            Unclear::NotUnderstood => "No entendí el monto. ¿Cuánto, por ejemplo 1,250.50?",
        },
    }
}

fn unsupported(intent: Intent) -> &'static str {
    match intent {
        Intent::PayService => "Aquí todavía no se pagan servicios. Puedo enviar dinero a tus contactos.",
        Intent::RefundCancel => "No puedo deshacer algo ya terminado. Pide la devolución al vendedor.",
        Intent::BlockCard | Intent::ReportFraud => {
            "Eso no lo puedo hacer yo. Llama ahora mismo al número al reverso de tu tarjeta."
        }
        Intent::ChangePin => "Las claves no se cambian por este medio, ni se piden nunca por aquí.",
        _ => "Por aquí no hay personas conectadas. Llama al número al reverso de tu tarjeta.",
    }
}

fn refused(code: &str, details: &serde_json::Value, proposal: Option<&Proposal>) -> Option<String> {
    let available = || serde_json::from_value(details.get("available")?.clone()).ok().map(money);
    Some(match code {
        "insufficient_funds" => match available() {
            Some(available) => {
                format!("No alcanza: tienes {available} disponibles. Prueba con un monto menor.")
            }
            None => "No alcanza el saldo. Prueba con un monto menor.".into(),
        },
        "out_of_stock" => {
            let left = details.get("stock").and_then(serde_json::Value::as_u64).unwrap_or(0);
            match (left, proposal) {
                (0, Some(Proposal::Purchase { name: product, .. })) => {
                    format!("Ya no hay {}.", name(product, Es))
                }
                (0, _) => "Ya no hay.".into(),
                (left, _) => format!("Solo quedan {left}. Pide menos."),
            }
        }
        "price_changed" => "El precio cambió. Pídelo otra vez para ver el nuevo.".into(),
        "limit_exceeded" => "Pasa del límite de la cuenta. Prueba con un monto menor o más tarde.".into(),
        "transfer.clabe_unsupported" => {
            "Todavía no envío a CLABE de otros bancos; solo a tus contactos.".into()
        }
        "transfer.same_account" => "Es la misma cuenta. Elige otra.".into(),
        "account.not_found" | "account.no_default" => "No tienes una cuenta así para esta operación.".into(),
        "money.out_of_range" => "El monto es demasiado grande.".into(),
        "customer.inactive" => "Por ahora no puedes pagar ni comprar. Pregunta al banco por qué.".into(),
        // Anything else may have gone wrong half-way.
        _ => return None,
    })
}
