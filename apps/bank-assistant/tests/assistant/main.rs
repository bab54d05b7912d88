//! Conversations from the first word to the last reply, on the in-memory log.

mod attacks;
mod crashes;
mod house;
mod talks;
