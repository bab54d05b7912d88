use axum::http::Method;
use serde_json::json;
use steadfast_core::Role;

use super::{Chooser, OPERATOR, What, Wish};
use crate::calls::{Call, Sent};

impl Chooser<'_> {
    /// Contacts, standing and imports: what is wanted is wanted again with the same end.
    pub(super) fn people(&self) -> Wish {
        let (me, other) = self.two();
        let plain = |call| self.http(call, What::Try);
        match self.below(8) {
            0 | 1 => {
                let body = json!({ "name": format!("Friend {}", self.below(3)), "user": other });
                plain(Call::post(me, "/api/v1/bank/contacts", body))
            }
            2 | 3 => {
                let path = format!("/api/v1/bank/contacts?name=Friend%20{}", self.below(3));
                plain(Call { method: Method::DELETE, ..Call::get(me, path) })
            }
            4 => self.standing("deactivate"),
            5 | 6 => self.standing("activate"),
            _ => self.import(),
        }
    }

    fn standing(&self, what: &str) -> Wish {
        // The others are always let in: something must go on.
        let path = format!("/api/v1/bank/customers/marta/{what}");
        let call = Call { sent: Sent::Nothing, ..Call::post(OPERATOR, path, json!(null)) };
        self.http(call.role(Role::Operator), What::Try)
    }

    fn import(&self) -> Wish {
        let number = self.below(4);
        let body = if self.once_in(2) {
            json!({ "kind": "accounts", "lines": [{ "number": 1, "fields": {
                "user": format!("new-{number}"), "name": "checking", "currency": "MXN", "balance": "12.50",
            } }] })
        } else {
            json!({ "kind": "transactions", "lines": [{ "number": 1, "fields": {
                "id": format!("old-{number}"), "from": "ana-checking", "to": "luis-checking",
                "amount": "1.25", "currency": "MXN",
            } }] })
        };
        let call = Call::post(OPERATOR, "/api/v1/bank/imports", body);
        self.http(call.role(Role::Admin), What::Try)
    }
}
