//! Conversations over real sockets, with good clients and bad ones.

mod ending;
mod handshake;
mod house;
mod limits;
mod messages;
mod protocol;
mod raw;
