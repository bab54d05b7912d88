use serde_json::json;

use super::{Chooser, What, Wish};
use crate::calls::Call;

/// The first is bought by hand, too; of the last there is one.
pub(crate) const PRODUCTS: [&str; 4] =
    ["chocolate-mesa", "cafe-chiapas", "telescopio-luna", "alebrije-unico"];

impl Chooser<'_> {
    pub(super) fn transfer(&self) -> Wish {
        let (from, to) = self.two();
        // Now and then more than anyone may pay.
        let most = if self.once_in(8) { 4_000_000 } else { 400_000 };
        let amount = i64::try_from(1 + self.below(most)).unwrap_or(1);
        let body = json!({ "to": to, "amount": { "minor": amount, "currency": "MXN" }, "memo": "thanks" });
        let call = Call::post(from, "/api/v1/bank/transfers", body).keyed(&self.key);
        self.http(call, What::Transfer { from, to: to.into(), amount })
    }

    pub(super) fn purchase(&self) -> Wish {
        let product = self.one(&PRODUCTS).copied().unwrap_or(PRODUCTS[0]);
        let body = json!({ "product": product, "quantity": 1 + self.below(2) });
        let mut call = Call::post(self.user(), "/api/v1/bank/purchases", body).keyed(&self.key);
        if self.once_in(3) {
            call = call.with("prefer", "wait=5");
        }
        self.http(call, What::Purchase)
    }
}
