//! The store on a real server: the contract, several nodes, broken connections, crashes.

mod contract;
mod server;
