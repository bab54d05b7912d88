use std::sync::Arc;

use http::StatusCode;
use steadfast_core::{Coded as _, Failure};
use steadfast_models::{
    Caller, Rejected,
    serve::{Gate, token},
};
use steadfast_server::Edge;

/// Who may call models: whoever has a token of this node.
pub(crate) fn gate(edge: Edge) -> Gate {
    Arc::new(move |headers| {
        let token = token(headers).ok_or_else(missing)?;
        let principal = edge.principal(token).map_err(|error| refuse(error.failure()))?;
        Ok(Caller { tenant: principal.tenant, user: Some(principal.user.into()), key: None })
    })
}

fn missing() -> Rejected {
    refuse(Failure::refused(
        "auth.missing",
        "send one token, as `Authorization: Bearer TOKEN` or `x-api-key: TOKEN`: get it with `steadfast token`",
    ))
}

fn refuse(failure: Failure) -> Rejected {
    Rejected::new(failure, StatusCode::UNAUTHORIZED)
}
