//! Turns, runs, sagas, timers, messages and dead letters.
