//! The bank: a double-entry ledger, holds, a marketplace and the purchase run.
