//! The real binary, on a free port and in a folder of its own: killed, raced, misused.

#![allow(clippy::print_stderr, reason = "long tests say how far they are, and their seed")]

mod bench;
mod books;
mod canary;
mod chaos;
mod chat;
mod clients;
mod crashes;
mod docs;
mod durable;
mod failures;
mod faults;
mod formats;
mod http;
mod keys;
mod kill;
mod models;
mod money;
mod node;
mod paid;
mod recovery;
mod stop;
mod stores;
mod talker;
mod talks;
mod verbs;
mod walk;
