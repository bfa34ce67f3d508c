//! Putting a command handler together.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aiops_core::{ActionName, Clock, Outcome, Redactor, SystemClock};

use super::template::Argument;
use super::{CheckExit, CommandHandler, ExecuteExit, Program};
use crate::catalogue::CommandSpec;

/// Shorter than the dispatcher's time for `execute`, and its time for `inspect`.
const DEADLINE: Duration = Duration::from_secs(25);
/// Bytes kept of each output: a proof, a reason or 64 facts, and room for talk.
const CAP: usize = 64 * 1024;

/// A handler that cannot work: every fault, with what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("command handler cannot be built: {}", .0.join("; "))]
pub struct InvalidCommand(Vec<String>);

impl InvalidCommand {
    /// The faults.
    #[must_use]
    pub fn faults(&self) -> &[String] {
        &self.0
    }
}

/// A program as it is given.
#[derive(Debug)]
struct Given(PathBuf, Vec<String>);

/// Builds a [`CommandHandler`].
#[must_use]
pub struct CommandBuilder {
    name: String,
    execute: Given,
    check: Option<Given>,
    verify: Option<Given>,
    compensate: Option<Given>,
    directory: PathBuf,
    environment: BTreeMap<String, String>,
    deadline: Duration,
    cap: usize,
    check_exits: BTreeMap<u8, CheckExit>,
    execute_exits: BTreeMap<u8, ExecuteExit>,
    verify_exits: BTreeMap<u8, Outcome>,
    redactor: Redactor,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for CommandBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandBuilder")
            .field("name", &self.name)
            .field("execute", &self.execute)
            .finish_non_exhaustive()
    }
}

fn given(program: impl Into<PathBuf>, arguments: impl IntoIterator<Item = impl Into<String>>) -> Given {
    Given(program.into(), arguments.into_iter().map(Into::into).collect())
}

impl CommandBuilder {
    pub(super) fn new(name: String, program: PathBuf) -> Self {
        Self {
            name,
            execute: Given(program, Vec::new()),
            check: None,
            verify: None,
            compensate: None,
            directory: PathBuf::from("/"),
            environment: BTreeMap::new(),
            deadline: DEADLINE,
            cap: CAP,
            check_exits: [(0, CheckExit::Ready), (10, CheckExit::AlreadyDone), (20, CheckExit::Blocked)].into(),
            execute_exits: [(0, ExecuteExit::Applied), (20, ExecuteExit::Refused)].into(),
            verify_exits: [(0, Outcome::Helped), (10, Outcome::NoEffect), (20, Outcome::Worse), (30, Outcome::Unknown)]
                .into(),
            redactor: Redactor::default(),
            clock: Arc::new(SystemClock),
        }
    }

    pub(super) fn of(action: &str, command: &CommandSpec) -> Self {
        let split = |words: &Vec<String>| match words.split_first() {
            Some((program, arguments)) => given(program, arguments),
            None => Given(PathBuf::new(), Vec::new()),
        };
        let built = Self::new(action.to_owned(), PathBuf::new());
        Self {
            execute: split(&command.execute),
            check: Some(split(&command.check)),
            verify: command.verify.as_ref().map(split),
            compensate: command.compensate.as_ref().map(split),
            directory: command.directory.as_ref().map_or(built.directory, PathBuf::from),
            deadline: command.deadline.unwrap_or(built.deadline),
            ..built
        }
    }

    /// The program's arguments. `{name}` is the value of that part of the target, `{{` and `}}` are braces.
    pub fn arguments(mut self, arguments: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.execute.1 = arguments.into_iter().map(Into::into).collect();
        self
    }

    /// The program that reads the state and changes nothing. There is no handler without one: what does not look
    /// first acts twice.
    pub fn check(
        mut self,
        program: impl Into<PathBuf>,
        arguments: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        self.check = Some(given(program, arguments));
        self
    }

    /// The program that says whether it helped; `check` is asked where there is none.
    pub fn verify(
        mut self,
        program: impl Into<PathBuf>,
        arguments: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        self.verify = Some(given(program, arguments));
        self
    }

    /// The program that takes back what a failed `execute` did in part.
    pub fn compensate(
        mut self,
        program: impl Into<PathBuf>,
        arguments: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        self.compensate = Some(given(program, arguments));
        self
    }

    /// Where the programs run, an absolute path; `/` unless set.
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = directory.into();
        self
    }

    /// One variable of the programs' environment, which is empty otherwise: also without `PATH`.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    /// The longest that one program may run (25 s unless set); `execute` ends with its request's deadline at the
    /// latest.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Bytes that are kept of each output (64 KiB unless set); what is beyond is read and counted.
    pub fn max_output(mut self, bytes: usize) -> Self {
        self.cap = bytes;
        self
    }

    /// What an exit code of `check` says.
    pub fn check_exit(mut self, code: u8, says: CheckExit) -> Self {
        self.check_exits.insert(code, says);
        self
    }

    /// What an exit code of `execute` says.
    pub fn execute_exit(mut self, code: u8, says: ExecuteExit) -> Self {
        self.execute_exits.insert(code, says);
        self
    }

    /// What an exit code of `verify` says.
    pub fn verify_exit(mut self, code: u8, says: Outcome) -> Self {
        self.verify_exits.insert(code, says);
        self
    }

    /// What is taken out of the programs' words (default: the rules of core's redactor).
    pub fn redactor(mut self, redactor: Redactor) -> Self {
        self.redactor = redactor;
        self
    }

    /// Another clock than the system's, for deadlines.
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// The handler. It must be used inside a tokio runtime with its I/O driver on.
    ///
    /// # Errors
    /// All faults at once: a name that no catalogue has, no `check`, a path that is not absolute or leads to no
    /// program, a directory that is none, an argument that does not read, a variable that cannot stand.
    pub fn build(self) -> Result<CommandHandler, InvalidCommand> {
        let mut faults = Vec::new();
        if let Err(error) = ActionName::new(&self.name) {
            faults.push(error.to_string());
        }
        if self.check.is_none() {
            faults.push("there is no check; name the program that reads the state".to_owned());
        }
        let execute = program(self.execute, &mut faults);
        let mut other = |given: Option<Given>| given.and_then(|given| program(given, &mut faults));
        let (check, verify, compensate) = (other(self.check), other(self.verify), other(self.compensate));
        if !self.directory.is_absolute() || !self.directory.is_dir() {
            faults.push(format!("{} is no directory by its absolute path", self.directory.display()));
        }
        for (name, value) in &self.environment {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                faults.push(format!("variable {name:?} cannot stand in an environment"));
            }
        }
        if self.cap == 0 || self.deadline.is_zero() {
            faults.push("max_output and deadline must be more than 0".to_owned());
        }
        match (execute, check) {
            (Some(execute), Some(check)) if faults.is_empty() => Ok(CommandHandler {
                name: self.name,
                check,
                execute,
                verify,
                compensate,
                directory: self.directory,
                environment: self.environment,
                deadline: self.deadline,
                cap: self.cap,
                check_exits: self.check_exits,
                execute_exits: self.execute_exits,
                verify_exits: self.verify_exits,
                redactor: self.redactor,
                clock: self.clock,
            }),
            _ => Err(InvalidCommand(faults)),
        }
    }
}

fn program(Given(path, arguments): Given, faults: &mut Vec<String>) -> Option<Program> {
    let before = faults.len();
    if let Err(why) = runs(&path) {
        faults.push(format!("{} {why}", path.display()));
    }
    let mut read = Vec::new();
    for argument in arguments {
        match Argument::new(&argument) {
            Ok(argument) => read.push(argument),
            Err(fault) => faults.push(fault),
        }
    }
    (faults.len() == before).then_some(Program { path, arguments: read })
}

fn runs(path: &Path) -> Result<(), String> {
    if !path.is_absolute() {
        return Err("is no absolute path; a search path could lead elsewhere".to_owned());
    }
    let file = path.metadata().map_err(|error| format!("cannot be looked at: {error}"))?;
    if file.is_file() && file.permissions().mode() & 0o111 != 0 {
        Ok(())
    } else {
        Err("is no file that can be executed".to_owned())
    }
}
