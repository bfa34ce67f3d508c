//! What may go wrong in a world.

macro_rules! faults {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// A kind of fault. Each world has some of them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Fault { $($(#[doc = $doc])* $name,)* }

        impl Fault {
            pub(crate) const ALL: [Self; [$(stringify!($name)),*].len()] = [$(Self::$name),*];
        }
    };
}

faults! {
    /// A process' futures are dropped at their k-th poll; it starts again later.
    Crash,
    /// A process stands still for longer than a lock lasts, and goes on as if nothing had been.
    Pause,
    /// A process' clock is set forward.
    ClockForward,
    /// A process' clock is set back.
    ClockBack,
    /// A delivery is lost; the bus delivers again later.
    Dropped,
    /// A message is delivered to two processes.
    Duplicated,
    /// Messages overtake each other.
    Reordered,
    /// A message takes minutes.
    Delayed,
    /// The store does not get what a process asks.
    RequestsLost,
    /// The store does what a process asks, and its answers are lost.
    AnswersLost,
    /// The store fails and has done nothing.
    ErrorBefore,
    /// The store fails and has done it.
    ErrorAfter,
    /// The store takes seconds to minutes.
    SlowStore,
    /// The machine stops; the store loses what it had acknowledged and not synced.
    LostWrites,
    /// The model never answers: no report comes.
    ModelHangs,
    /// The model's report comes when it is stale.
    ModelLate,
    /// The model recommends what nobody may do.
    ModelHostile,
    /// `execute` has its effect, and does not return in time.
    TimeoutButDone,
    /// `execute` fails and has changed nothing.
    FailsBefore,
    /// `execute` fails and has changed something.
    FailsAfter,
    /// A handler panics, before or after its effect.
    Panics,
    /// `inspect` fails or hangs.
    InspectFails,
    /// Two people decide at once, or one decides while the episode ends.
    ApprovalRace,
    /// Somebody who may not, or who is late, tries to approve.
    ApprovalAbuse,
    /// The episode ends while its report is open.
    ResolvedBetween,
    /// The audit log takes no entry, or does not say that it did.
    AuditFails,
    /// The audit log takes minutes.
    SlowAudit,
    /// The kill switch is set and taken back.
    KillSwitch,
    /// A person takes a lock away.
    ForcedRelease,
    /// The object is replaced by somebody else between `inspect` and `execute`.
    ObjectReplaced,
    /// The probe does not answer.
    ProbeFails,
}
