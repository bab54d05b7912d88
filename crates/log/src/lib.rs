//! The one log: types, trait, in-memory store and conformance suite.
