//! Faults planted on purpose, to see that the simulator finds them: a rule that can be broken
//! without any check noticing is a rule that nobody guards.
//!
//! Where a rule stands, its mutant stands beside it: one call of [`planted`]. That is `false`
//! at compile time unless the feature `mutants` is on, which only the simulator turns on, and
//! which does not build without debug assertions.

#[cfg(all(feature = "mutants", not(debug_assertions)))]
compile_error!("planted faults are for the simulator, never for a release build");

macro_rules! mutants {
    ($($(#[doc = $what:literal])+ $name:ident in $part:literal breaks $promise:literal seen by $check:literal,)+) => {
        /// A fault that can be planted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Mutant {
            $($(#[doc = $what])+ $name,)+
        }

        impl Mutant {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// What is wrong with it.
            pub const fn what(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($what),+),)+
                }
            }

            /// Where it is planted: in the log, the engine or the ledger.
            pub const fn part(self) -> &'static str {
                match self {
                    $(Self::$name => $part,)+
                }
            }

            /// What is no longer true with it: a promise of the engine, or a law.
            pub const fn breaks(self) -> &'static str {
                match self {
                    $(Self::$name => $promise,)+
                }
            }

            /// The check that must find it: what its problems begin with.
            pub const fn check(self) -> &'static str {
                match self {
                    $(Self::$name => $check,)+
                }
            }
        }
    };
}

mutants! {
    /// The version that a commit expects of a stream is not checked.
    VersionUnchecked in "log" breaks "G2" seen by "log",
    /// A commit that begins a stream is taken although the stream is there.
    NewUnchecked in "log" breaks "G2" seen by "G2",
    /// An idempotency key that is taken can be taken again.
    ClaimUnchecked in "log" breaks "G5" seen by "G5",
    /// Of a commit only those appends are written that expect something of their stream.
    HalfCommitWritten in "log" breaks "law 1" seen by "G1",
    /// What was written is answered before it is synced.
    SyncSkipped in "log" breaks "G1" seen by "G1",
    /// A refusal is told before that is synced on which it rests.
    RefusedTooEarly in "log" breaks "G1" seen by "G1",
    /// A page of the log may end in the middle of a commit.
    HalfCommitRead in "log" breaks "G6" seen by "G6",
    /// A subscriber goes on one position too far.
    PositionSkipped in "log" breaks "G6" seen by "G6",
    /// The lease of a node that is dead never runs out.
    LeaseNeverEnds in "log" breaks "G1" seen by "G1",
    /// "It is not known whether it happened" is told as "nothing happened".
    UnknownIsNothing in "log" breaks "G5" seen by "G5",

    /// The caller is told that a run is accepted before it is durable.
    AcceptedTooEarly in "engine" breaks "G1" seen by "G1",
    /// Whoever accepts a run looks its key up first, and the commit no longer refuses it.
    ClaimOutsideCommit in "engine" breaks "G5" seen by "G5",
    /// The claim of a run is given its window when the run begins, not when it ends.
    ClaimEndsEarly in "engine" breaks "G5" seen by "G5",
    /// Another request under the same key is given the answer of the first.
    OtherRequestAnswered in "engine" breaks "G5" seen by "G5",
    /// Steps begin before the turn that asks for them is durable.
    EffectBeforeIntent in "engine" breaks "G3" seen by "G3",
    /// The key of an effect names the attempt.
    KeyOfAttempt in "engine" breaks "G3" seen by "G3",
    /// Whoever takes a run up does again what is recorded.
    RecordedStepAgain in "engine" breaks "G2" seen by "G2",
    /// An owner goes on although another one has claimed the run.
    EpochUnchecked in "engine" breaks "G2" seen by "log",
    /// A turn that met a conflict is sent again behind whatever is there now.
    TurnForced in "engine" breaks "G2" seen by "log",
    /// Only steps with a result are undone.
    UnfinishedNotUndone in "engine" breaks "G4" seen by "G4",
    /// What was done first is undone first.
    OldestUndoneFirst in "engine" breaks "G4" seen by "G4",
    /// A run that was being undone when its node died is ended as it stands.
    UndoForgotten in "engine" breaks "G4" seen by "G4",
    /// A compensation is recorded before it is performed.
    UndoRecordedFirst in "engine" breaks "G4" seen by "G4",
    /// A subscriber's checkpoint is written before the events are handled.
    CheckpointFirst in "engine" breaks "G6" seen by "G6",
    /// The wake-up of a waiting run does not know of its timers.
    TimerForgotten in "engine" breaks "G7" seen by "G1",
    /// The wake-up of a run is cleared when it fails, not when all is undone.
    WakeUpCleared in "engine" breaks "G7" seen by "log",
    /// Whoever takes a run over does not see that it was cancelled.
    CancelForgotten in "engine" breaks "G7" seen by "G7",
    /// Signals that nobody took are gone when a run continues as new.
    SignalDropped in "engine" breaks "G7" seen by "G7",
    /// A message that comes twice counts twice.
    MessageTwice in "engine" breaks "G7" seen by "G7",
    /// Code goes on with a run that took a patch which it does not have.
    PatchUnchecked in "engine" breaks "G8" seen by "G8",
    /// The parent is not told how its child ended.
    ParentNotTold in "engine" breaks "G1" seen by "G1",
    /// A run that gives up leaves no dead letter.
    DeadLetterMissing in "engine" breaks "law 3" seen by "log",

    /// A transfer is posted to one side only.
    OneSideOnly in "ledger" breaks "books" seen by "books",
    /// What is held counts as available.
    HeldIsAvailable in "ledger" breaks "books" seen by "books",
    /// A hold that is gone is released once more.
    HoldReleasedTwice in "ledger" breaks "books" seen by "books",
    /// Stock is reserved that is not there.
    StockUnchecked in "ledger" breaks "books" seen by "books",
    /// After a version conflict the same decision is sent with the newer version.
    ConflictResent in "ledger" breaks "books" seen by "books",
}

#[cfg(feature = "mutants")]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
}

/// Is this fault planted where this code runs?
#[cfg(feature = "mutants")]
pub fn planted(mutant: Mutant) -> bool {
    PLANTED.get() == Some(mutant)
}

/// Is this fault planted where this code runs?
#[cfg(not(feature = "mutants"))]
#[inline]
pub const fn planted(_: Mutant) -> bool {
    false
}

/// Runs `work`, which stays on this thread, with a fault in it.
#[cfg(feature = "mutants")]
pub fn with<T>(mutant: Mutant, work: impl FnOnce() -> T) -> T {
    struct Lift;
    impl Drop for Lift {
        fn drop(&mut self) {
            PLANTED.set(None);
        }
    }
    PLANTED.set(Some(mutant));
    let _lift = Lift;
    work()
}
