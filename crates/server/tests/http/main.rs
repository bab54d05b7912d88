//! The router as its clients see it.

mod access;
mod answers;
mod bad_input;
mod house;
mod problems;
mod serving;
mod webhook;
