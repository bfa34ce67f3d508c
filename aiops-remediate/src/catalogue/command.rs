//! The programs of an action that is done by scripts.

use std::time::Duration;

/// The programs that an action is done by, as `command::CommandHandler` (feature `command`) runs them: each an absolute
/// path, then its arguments, in which `{name}` is the value of that part of the target.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommandSpec {
    /// Reads the state and changes nothing.
    pub check: Vec<String>,
    /// Acts.
    pub execute: Vec<String>,
    /// Says whether it helped; `check` is asked where there is none.
    pub verify: Option<Vec<String>>,
    /// Takes back what a failed `execute` did in part.
    pub compensate: Option<Vec<String>>,
    /// Where they run, an absolute path; `/` unless set.
    pub directory: Option<String>,
    /// The longest that one of them may run; 25 s unless set.
    pub deadline: Option<Duration>,
}
