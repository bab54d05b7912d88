//! The promises of the engine, each attacked by name, on the in-memory log and paused time.

mod beside;
mod children;
mod claims;
mod compensation;
mod context;
mod explain;
mod generations;
mod house;
mod large;
mod limits;
mod messages;
mod outside;
mod overtaken;
mod poison;
mod react;
mod recovery;
mod replay;
mod steps;
mod through;
mod two_nodes;
mod undo_letters;
mod unknown;
