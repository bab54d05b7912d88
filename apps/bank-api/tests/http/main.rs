//! The bank as its clients see it.

mod house;
mod purchases;
mod transfers;
mod views;
