use steadfast_core::Role;

use super::{Chooser, OPERATOR, What, Wish};
use crate::calls::Call;

/// What users look at: their own things.
const OWN: [&str; 9] = [
    "/api/v1/runs?workflow=saga&limit=3",
    "/api/v1/runs?status=parked&label=by:sim",
    "/api/v1/dead-letters",
    "/api/v1/bank/accounts",
    "/api/v1/bank/transactions?limit=5",
    "/api/v1/bank/products?limit=5",
    "/api/v1/bank/products/cafe-chiapas",
    "/api/v1/bank/contacts",
    "/healthz",
];
/// What operators look at besides.
const ALL: [&str; 4] =
    ["/api/v1/events?limit=20&wait=2", "/api/v1/events?last=10", "/api/v1/breakers", "/metrics"];

impl Chooser<'_> {
    pub(super) fn look(&self) -> Wish {
        if let Some(run) = self.one(&self.notes.runs()).filter(|_| self.once_in(3)) {
            let what = self.one(&["", "/events?limit=2", "/explain"]).copied().unwrap_or_default();
            return self.http(Call::get("ana", format!("/api/v1/runs/{run}{what}")), What::Look);
        }
        let call = if self.once_in(3) {
            Call::get(OPERATOR, self.one(&ALL).copied().unwrap_or_default()).role(Role::Operator)
        } else {
            Call::get(self.user(), self.one(&OWN).copied().unwrap_or_default())
        };
        self.http(call, What::Look)
    }

    /// The open dead letters: what there is to replay.
    pub(crate) fn letters(&self) -> Wish {
        let call = Call::get(OPERATOR, "/api/v1/dead-letters?status=open&limit=50");
        self.http(call.role(Role::Operator), What::Look)
    }
}
