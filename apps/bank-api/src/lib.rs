//! The bank over HTTP.
