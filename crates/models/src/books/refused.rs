//! Why a call may not be paid for, in words and figures.

use http::StatusCode;
use steadfast_core::Failure;

use super::Prospect;
use crate::{
    budget::ledger::{Figures, Refused},
    rejected::Rejected,
};

pub(super) fn unrecorded() -> Rejected {
    let message = "what is spent cannot be written down at present, so nothing may be spent: \
        see that the disk of the data folder has room and can be written";
    let failure = Failure { nothing_happened: true, ..Failure::internal("budget.unrecorded", message) };
    Rejected::new(failure.retryable(), StatusCode::SERVICE_UNAVAILABLE)
}

pub(super) fn unpriced(of: &Prospect<'_>) -> Rejected {
    let (model, provider) = (steadfast_core::shown(of.model, 80), of.provider);
    let message = format!(
        "a limit holds for this call, and nobody knows what provider {provider} takes for {model:?}: add \
         [models.prices.{model:?}] with input and output in dollars for a million tokens, such as input = \"2.50\""
    );
    Rejected::new(Failure::refused("budget.unpriced", message), StatusCode::PAYMENT_REQUIRED)
}

pub(super) fn dearer(member: &'static str) -> Rejected {
    let message = format!(
        "a limit holds for this call, and `{member}` asks for a tariff that may cost more than the prices that \
         limits know: leave it out, or ask for the usual one"
    );
    let rejected = Rejected::new(Failure::refused("budget.tariff", message), StatusCode::BAD_REQUEST);
    Rejected { param: Some(member.into()), ..rejected }
}

pub(super) fn unpriced_audio(of: &Prospect<'_>) -> Rejected {
    let model = steadfast_core::shown(of.model, 80);
    let message = format!(
        "a limit holds for this call, and the sound or film in it may cost more than the text that the price of \
         {model:?} is for: leave it out, or, if it costs the same, say audio_as_input = true in \
         [models.prices.{model:?}]"
    );
    Rejected::new(Failure::refused("budget.tariff", message), StatusCode::BAD_REQUEST)
}

/// The figures, for people and for programs.
fn exceeded(figures: &Figures) -> Failure {
    let Figures { name, value, limit, spent, reserved, asked, ends_in } = figures;
    let ends = ends_in.map(|it| it.as_secs());
    let again = match ends {
        Some(seconds) => format!("; it begins anew in {} h {} min", seconds / 3_600, seconds % 3_600 / 60),
        None => String::new(),
    };
    let message = format!(
        "limit {name:?} of ${limit} for {value:?} does not allow this call: ${spent} are spent, ${reserved} \
         reserved, and it may cost ${asked}{again}"
    );
    let figures = serde_json::json!({
        "budget": name, "of": value, "limit_usd": limit, "spent_usd": spent, "reserved_usd": reserved,
        "asked_usd": asked, "ends_in_seconds": ends,
    });
    Failure::refused("budget.exceeded", message).with_data(figures)
}

pub(super) fn over_budget(refused: Refused) -> Rejected {
    match refused {
        Refused::Unrecorded => unrecorded(),
        Refused::Exceeded(figures) => Rejected {
            again: figures.ends_in,
            ..Rejected::new(exceeded(&figures), StatusCode::PAYMENT_REQUIRED)
        },
    }
}

/// Why an attempt is not made, in words.
pub(crate) fn unaffordable(refused: &Refused) -> String {
    match refused {
        Refused::Exceeded(figures) => exceeded(figures).message,
        Refused::Unrecorded => unrecorded().failure.message,
    }
}
