use super::{day, list, money, name};
use crate::{
    proposal::Proposal,
    told::{AccountLine, AmountWrong, MovementLine, OrderLine, ProductLine, Told},
    understand::{Intent, Language::En, Unclear},
};

pub(super) fn say(told: &Told) -> String {
    match told {
        Told::Balance { accounts } if accounts.is_empty() => "You have no accounts yet.".into(),
        Told::Balance { accounts } => accounts.iter().map(account).collect::<Vec<_>>().join("\n"),
        Told::Movements { movements } if movements.is_empty() => "There are no movements yet.".into(),
        Told::Movements { movements } => {
            format!("Your latest movements:{}", movements.iter().map(movement).collect::<String>())
        }
        Told::Products { products } if products.is_empty() => "I found no products.".into(),
        Told::Products { products } => {
            format!("This is what we have:{}", products.iter().map(product).collect::<String>())
        }
        Told::Stock { product } if product.stock == 0 => {
            format!("{} is sold out.", name(&product.name, En))
        }
        Told::Stock { product } => format!(
            "{} is in stock: {} left, {} each.",
            name(&product.name, En),
            product.stock,
            money(product.price)
        ),
        Told::Orders { orders } if orders.is_empty() => "You have no purchases.".into(),
        Told::Orders { orders } => {
            format!("Your latest purchases:{}", orders.iter().map(order).collect::<String>())
        }
        Told::Greeting => "Hello! What can I do for you?".into(),
        Told::Help => HELP.into(),
        Told::OutOfScope => format!("I cannot help with that. {HELP}"),
        Told::Unsupported { intent } => unsupported(*intent).into(),
        Told::AskAmount { why, .. } => ask_amount(*why).into(),
        Told::AskRecipient { unknown: Some(words), .. } => format!(
            "“{words}” is not among your contacts. To whom shall I send it? You can add them to your contacts."
        ),
        Told::AskRecipient { choices, .. } if choices.is_empty() => "To whom shall I send it?".into(),
        Told::AskRecipient { choices, .. } => format!("To whom: {}?", list(choices, "or")),
        Told::AskProduct { unknown: Some(words), .. } => {
            format!("I found no “{words}”. Which product would you like?")
        }
        Told::AskProduct { choices, .. } if choices.is_empty() => "Which product would you like?".into(),
        Told::AskProduct { choices, .. } => {
            format!("Which of these?{}", choices.iter().map(product).collect::<String>())
        }
        Told::AskQuantity { product, .. } => {
            format!("How many pieces of {} would you like?", name(&product.name, En))
        }
        Told::Confirm { proposal, unclear, .. } => {
            let sorry = if *unclear { "I did not get that: say yes or no, or what to change. " } else { "" };
            format!("{sorry}{} Do you confirm?", propose(proposal))
        }
        Told::Transferred { proposal, .. } | Told::Purchased { proposal, .. } => done(proposal),
        Told::Refused { code, details, proposal } => match refused(code, details, proposal.as_ref()) {
            Some(why) => format!("{why} No money moved."),
            None => format!("It could not be done ({code}). Look at your movements before you ask again."),
        },
        Told::Cancelled => "Cancelled. No money moved.".into(),
        Told::Expired => "The time to confirm is over. No money moved; ask again.".into(),
        Told::Changed => {
            "The request was changed after you saw it. Look at the latest one and confirm that.".into()
        }
        Told::NothingPending => "There is nothing to confirm. What do you need?".into(),
        Told::Stopped => {
            "The request was stopped before its end. Look at your movements before you ask again.".into()
        }
    }
}

const HELP: &str = "I can tell you your balance and movements, send money to your contacts, find and buy products, \
                    and tell you how your purchases are going.";

fn kind(account: &str) -> &str {
    match account {
        "checking" => "Checking account",
        "savings" => "Savings",
        other => other,
    }
}

fn product(line: &ProductLine) -> String {
    format!("\n• {} ({}), {} left", name(&line.name, En), money(line.price), line.stock)
}

fn account(line: &AccountLine) -> String {
    let held = if line.available == line.balance {
        String::new()
    } else {
        format!(" (balance {})", money(line.balance))
    };
    format!("{}: {} available{held}.", kind(&line.name), money(line.available))
}

fn movement(line: &MovementLine) -> String {
    format!("\n{}  {}  ({})", day(line.time), money(line.amount), line.with)
}

fn order(line: &OrderLine) -> String {
    let status = match line.status.as_str() {
        "completed" => "handed over and paid",
        "failed" | "dead" | "cancelled" | "killed" => "was not done",
        _ => "under way",
    };
    format!("\n• {}  {}  ({})", day(line.created), status, line.id)
}

fn propose(proposal: &Proposal) -> String {
    match proposal {
        Proposal::Transfer { from, name, amount, .. } => {
            format!("I am about to send {} to {name} from {from}.", money(*amount))
        }
        Proposal::Purchase { name: product, quantity, total, from, .. } => {
            format!("I am about to buy {quantity} × {} for {} from {from}.", name(product, En), money(*total))
        }
    }
}

fn done(proposal: &Proposal) -> String {
    match proposal {
        Proposal::Transfer { name, amount, .. } => format!("Done: you sent {} to {name}.", money(*amount)),
        Proposal::Purchase { name: product, quantity, total, .. } => {
            format!("Done: you bought {quantity} × {} for {}.", name(product, En), money(*total))
        }
    }
}

fn ask_amount(why: Option<AmountWrong>) -> &'static str {
    match why {
        None => "How much?",
        Some(AmountWrong::NotPositive) => "The amount must be above zero. How much?",
        Some(AmountWrong::NoAccount) => {
            "You have no such account in that currency. How much, in a currency of your accounts?"
        }
        Some(AmountWrong::Unclear(reason)) => match reason {
            Unclear::Separator => {
                "I cannot tell whether the point or comma separates thousands or cents. How much is it, as in 12,345.00?"
            }
            Unclear::TooPrecise => "An amount has at most two decimals. How much is it exactly?",
            Unclear::Several => "I read more than one amount. Which is it?",
            Unclear::Approximate => "I need the exact amount. How much?",
            Unclear::Relative => "Tell me the amount in numbers. How much?",
            Unclear::Currency => "In which currency, and how much?",
            Unclear::OutOfRange => "That amount is too large. How much?",
            Unclear::NotUnderstood => "I did not understand the amount. How much, as in 1,250.50?",
        },
    }
}

fn unsupported(intent: Intent) -> &'static str {
    match intent {
        Intent::PayService => "Bills cannot be paid here yet. I can send money to your contacts.",
        Intent::RefundCancel => "I cannot undo what is finished. Ask the seller for a refund.",
        Intent::BlockCard | Intent::ReportFraud => {
            "I cannot do that. Call the number on the back of your card right now."
        }
        Intent::ChangePin => {
            "PINs and passwords are not changed here, and you are never asked for them here."
        }
        _ => "There is nobody here but me. Call the number on the back of your card.",
    }
}

fn refused(code: &str, details: &serde_json::Value, proposal: Option<&Proposal>) -> Option<String> {
    let available = || serde_json::from_value(details.get("available")?.clone()).ok().map(money);
    Some(match code {
        "insufficient_funds" => match available() {
            Some(available) => {
                format!("It is not enough: you have {available} available. Try a smaller amount.")
            }
            None => "The balance is not enough. Try a smaller amount.".into(),
        },
        "out_of_stock" => {
            let left = details.get("stock").and_then(serde_json::Value::as_u64).unwrap_or(0);
            match (left, proposal) {
                (0, Some(Proposal::Purchase { name: product, .. })) => {
                    format!("{} is sold out.", name(product, En))
                }
                (0, _) => "It is sold out.".into(),
                (left, _) => format!("Only {left} left. Ask for fewer."),
            }
        }
        "price_changed" => "The price has changed. Ask again to see the new one.".into(),
        "limit_exceeded" => "It is over the account's limit. Try a smaller amount, or later.".into(),
        "transfer.clabe_unsupported" => {
            "I cannot send to a CLABE of another bank yet; only to your contacts.".into()
        }
        "transfer.same_account" => "It is the same account. Choose another.".into(),
        "account.not_found" | "account.no_default" => "You have no such account for this.".into(),
        "money.out_of_range" => "The amount is too large.".into(),
        "customer.inactive" => "You cannot pay or buy at present. Ask the bank why.".into(),
        // Anything else may have gone wrong half-way.
        _ => return None,
    })
}
