//! The bank as its clients see it.

mod bodies;
mod conversations;
mod customers;
mod house;
mod purchases;
mod transfers;
mod views;
