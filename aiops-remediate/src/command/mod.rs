//! Actions by the scripts that a team already has.
//!
//! A [`CommandHandler`] runs fixed programs, each with a list of arguments that people wrote down. No shell reads
//! them. Into an argument only parts of the target come, checked: letters, digits, `.`, `_`, `-` and `:`, at most 253
//! of them, none that begins like an option. The environment is empty but for what the builder puts in, the working
//! directory is fixed, what is written is kept up to a bound, and at the deadline the program is killed with
//! everything in its process group. What it leaves running in its group is killed at its own end as well.
//!
//! Every program finds one JSON object on its standard input: the fields of
//! [`ActionRequest`], `command` (`check`, `execute`, `verify` or `compensate`), and for
//! `execute` the state that was `observed`. It may ignore it.
//!
//! | program | its exit code says | and it writes |
//! |---|---|---|
//! | `check` | 0 ready, 10 done already, 20 blocked | ready: the observed state, a line `name=value` for each fact; else the proof or the reason |
//! | `execute` | 0 done, 20 refused and nothing changed | the proof, one line |
//! | `verify` | 0 helped, 10 no effect, 20 worse, 30 unknown | |
//! | `compensate` | 0 taken back, 20 there was nothing to take back | what was taken back, one line |
//!
//! Any other code, or a signal, is a failure: of `execute` its effect is then unknown. Codes can be given other
//! meanings. Of standard error the first line is told to people, redacted.
//!
//! `check` must read the real state, change nothing, and find out that the target belongs to the `service` of its
//! input: else it answers blocked. Before `execute` it is asked once more, and what it observed must be the same.
//! The time between the two is the script's own to guard, by what it finds under `observed`.

mod builder;
mod run;
mod template;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aiops_core::time::plus;
use aiops_core::{
    ActionError, ActionHandler, ActionRequest, Applied, BoxError, Clock, Compensation, Inspection, Outcome,
    Precondition, Redactor, text,
};
use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::json;

pub use self::builder::{CommandBuilder, InvalidCommand};
use self::run::{Capture, Ended, Invocation, run};
use self::template::Argument;
use crate::catalogue::ActionSpec;
use crate::parameters::observed;

/// Characters of a proof, a reason or a line of an error.
const LINE: usize = 300;
/// Facts of an observed state.
const MOST_FACTS: usize = 64;
/// Bytes of a fact's name.
const LONGEST_NAME: usize = 64;
/// Characters of a fact's value.
const LONGEST_FACT: usize = 512;

/// Why a program gave no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// An argument cannot be made of the target.
    #[error("part {part:?} of the target {why}")]
    Target {
        /// Which part.
        part: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The program could not be started; nothing ran.
    #[error("could not start {program}")]
    NotStarted {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// It did not end in time, and was killed with its process group; or the time was over before it began.
    #[error("ended at its deadline, {deadline}")]
    Late {
        /// The deadline.
        deadline: Timestamp,
    },
    /// It ended with a code that means nothing else, or by a signal.
    #[error("{command} ended with {}: {said}", ended(*.code, *.signal))]
    Failed {
        /// Which of the handler's programs.
        command: &'static str,
        /// Its exit code, unless a signal ended it.
        code: Option<i32>,
        /// The signal, where one ended it.
        signal: Option<i32>,
        /// The first line of its standard error, redacted; may be empty.
        said: String,
    },
    /// What `check` wrote is no observed state.
    #[error("check wrote no observed state in line {line}: {why}")]
    Facts {
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Right before it was to run, the state was not the observed one.
    #[error("the state is no longer the observed one: {now}")]
    Changed {
        /// What it is.
        now: String,
    },
    /// The program says that it changed nothing, and why.
    #[error("refused: {reason}")]
    Refused {
        /// In the program's words.
        reason: String,
    },
    /// The process was lost from sight: its end is not known.
    #[error("the process was lost from sight")]
    Lost {
        /// Why.
        #[source]
        source: BoxError,
    },
}

fn ended(code: Option<i32>, signal: Option<i32>) -> String {
    match (code, signal) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no exit code".to_owned(),
    }
}

/// What an exit code of `check` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckExit {
    /// The action may run in the state that was written.
    Ready,
    /// The wanted state is there.
    AlreadyDone,
    /// It must not run.
    Blocked,
}

/// What an exit code of `execute` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExecuteExit {
    /// It was done.
    Applied,
    /// It was not, and it is certain that nothing changed.
    Refused,
}

/// One program with its arguments.
#[derive(Debug, Clone)]
struct Program {
    path: PathBuf,
    arguments: Vec<Argument>,
}

/// Runs a team's own programs as one action. See the [module](self).
///
/// ```
/// use aiops_remediate::command::CommandHandler;
/// # #[cfg(unix)] {
/// let handler = CommandHandler::builder("clear_queue", "/bin/true")
///     .arguments(["--queue={queue}", "--yes"])
///     .check("/bin/true", ["--queue={queue}"])
///     .env("LANG", "C.UTF-8")
///     .build()?;
/// # let _ = handler; }
/// # Ok::<(), aiops_remediate::command::InvalidCommand>(())
/// ```
pub struct CommandHandler {
    name: String,
    check: Program,
    execute: Program,
    verify: Option<Program>,
    compensate: Option<Program>,
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

impl fmt::Debug for CommandHandler {
    /// Values of the environment may be secrets: only names are shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommandHandler")
            .field("name", &self.name)
            .field("execute", &self.execute)
            .field("check", &self.check)
            .field("directory", &self.directory)
            .field("environment", &self.environment.keys())
            .finish_non_exhaustive()
    }
}

impl CommandHandler {
    /// A handler of this action by this program, an absolute path.
    pub fn builder(action: impl Into<String>, program: impl Into<PathBuf>) -> CommandBuilder {
        CommandBuilder::new(action.into(), program.into())
    }

    /// A handler of an action by the programs that the catalogue names for it; none where it names none. What must not
    /// stand in that file, such as secrets, the builder takes from the host. A catalogue that is read anew changes no
    /// handler.
    ///
    /// ```
    /// use aiops_remediate::ActionCatalogue;
    /// use aiops_remediate::command::CommandHandler;
    /// let text = r#"
    /// actions:
    ///   - name: restart_pod
    ///     owner: team-shop
    ///     blast_radius: pod
    ///     requires_approval: false
    ///     command:
    ///       check: [/bin/true]
    ///       execute: [/bin/echo, restart, "{namespace}", "{pod}"]
    /// "#;
    /// let catalogue = ActionCatalogue::from_yaml(text, "actions.yaml")?;
    /// for builder in catalogue.specs().iter().filter_map(CommandHandler::of) {
    ///     let handler = builder.env("REGION", "eu").build()?;
    /// }
    /// # Ok::<(), aiops_core::BoxError>(())
    /// ```
    #[must_use]
    pub fn of(spec: &ActionSpec) -> Option<CommandBuilder> {
        spec.command.as_ref().map(|command| CommandBuilder::of(spec.name.as_str(), command))
    }

    async fn call(
        &self,
        command: &'static str,
        program: &Program,
        request: &ActionRequest,
        observed: Option<&Precondition>,
    ) -> Result<Ended, CommandError> {
        let arguments = program.arguments.iter().map(|argument| argument.fill(&request.target));
        let invocation = Invocation {
            program: &program.path,
            arguments: arguments.collect::<Result<_, _>>()?,
            directory: &self.directory,
            environment: &self.environment,
            input: input(command, request, observed),
            cap: self.cap,
        };
        // A check after the deadline of `execute`, to verify or to recover, has its own time.
        let own = plus(self.clock.now(), self.deadline);
        let deadline = if command == "execute" { own.min(request.deadline) } else { own };
        let answer = run(invocation, &*self.clock, deadline).await;
        let end = match &answer {
            Ok(ended) => {
                let dropped = ended.output.dropped.saturating_add(ended.errors.dropped);
                metrics::counter!("aiops_command_output_dropped_total").increment(dropped);
                if ended.code == Some(0) { "ok" } else { "other" }
            }
            Err(CommandError::Late { .. }) => "late",
            Err(CommandError::NotStarted { .. }) => "not_started",
            Err(_) => "lost",
        };
        metrics::counter!("aiops_command_runs_total", "action" => self.name.clone(), "command" => command, "end" => end)
            .increment(1);
        answer
    }

    async fn look(&self, request: &ActionRequest) -> Result<Inspection, CommandError> {
        let ended = self.call("check", &self.check, request, None).await?;
        Ok(match meaning(&self.check_exits, &ended) {
            Some(CheckExit::Ready) => Inspection::Ready { precondition: facts(&ended.output)? },
            Some(CheckExit::AlreadyDone) => {
                Inspection::AlreadyDone { proof: self.said(&ended.output, "check says so") }
            }
            Some(CheckExit::Blocked) => Inspection::Blocked { reason: self.said(&ended.output, "no reason given") },
            None => return Err(self.failed("check", &ended)),
        })
    }

    fn failed(&self, command: &'static str, ended: &Ended) -> CommandError {
        CommandError::Failed { command, code: ended.code, signal: ended.signal, said: self.said(&ended.errors, "") }
    }

    /// A program's own words, for people.
    fn said(&self, capture: &Capture, nothing: &str) -> String {
        let line = text::clip(&self.redactor.redact(&capture.first_line(4 * LINE)).text, LINE);
        if line.is_empty() { nothing.to_owned() } else { line }
    }
}

/// What a program finds on its standard input.
fn input(command: &str, request: &ActionRequest, seen: Option<&Precondition>) -> Vec<u8> {
    let mut input = json!(request);
    input["command"] = json!(command);
    if let Some(seen) = seen.cloned().or_else(|| observed(request)) {
        input["observed"] = json!(seen);
    }
    let mut line = input.to_string().into_bytes();
    line.push(b'\n');
    line
}

fn meaning<T: Copy>(exits: &BTreeMap<u8, T>, ended: &Ended) -> Option<T> {
    exits.get(&u8::try_from(ended.code?).ok()?).copied()
}

/// Lines `name=value`; empty ones are left out.
fn facts(output: &Capture) -> Result<Precondition, CommandError> {
    let text = output.text();
    let mut facts = BTreeMap::new();
    for (at, line) in text.lines().enumerate() {
        let refused = |why| CommandError::Facts { line: at + 1, why };
        if line.trim().is_empty() {
            continue;
        }
        let (name, value) = line.split_once('=').ok_or_else(|| refused("it has no `=`"))?;
        let (name, value) = (name.trim(), value.trim());
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(plain) {
            return Err(refused("a name has up to 64 letters, digits, _ - ."));
        }
        if value.chars().count() > LONGEST_FACT || value.chars().any(text::is_hidden) {
            return Err(refused("a value has up to 512 characters, all of them visible"));
        }
        if facts.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(refused("the name stood there before"));
        }
        if facts.len() > MOST_FACTS {
            return Err(refused("there are more than 64 facts"));
        }
    }
    if output.dropped > 0 {
        return Err(CommandError::Facts { line: text.lines().count(), why: "the output was cut" });
    }
    Ok(Precondition::new(facts))
}

#[async_trait]
impl ActionHandler for CommandHandler {
    fn name(&self) -> &str {
        &self.name
    }

    async fn inspect(&self, request: &ActionRequest) -> Result<Inspection, ActionError> {
        self.look(request).await.map_err(|error| ActionError::before(request, "check the target", error))
    }

    async fn execute(&self, request: &ActionRequest, precondition: &Precondition) -> Result<Applied, ActionError> {
        if request.dry_run {
            return Ok(Applied::new(format!("dry run: would run {}", self.execute.path.display())));
        }
        let before = |error| ActionError::before(request, "run the program", error);
        let now = match self.look(request).await.map_err(before)? {
            Inspection::Ready { precondition: now } if now == *precondition => None,
            Inspection::Ready { precondition: now } => Some(text::clip(&format!("{:?}", json!(now)), LINE)),
            Inspection::AlreadyDone { proof } => Some(format!("done already: {proof}")),
            Inspection::Blocked { reason } => Some(format!("blocked: {reason}")),
            _ => Some("of a kind that is not known".to_owned()),
        };
        if let Some(now) = now {
            return Err(before(CommandError::Changed { now }));
        }
        let deadline = request.deadline;
        if self.clock.now() >= deadline {
            return Err(before(CommandError::Late { deadline }));
        }
        let ended = match self.call("execute", &self.execute, request, Some(precondition)).await {
            Ok(ended) => ended,
            Err(error @ (CommandError::Target { .. } | CommandError::NotStarted { .. })) => return Err(before(error)),
            Err(error) => return Err(ActionError::unknown(request, "run the program", error)),
        };
        match meaning(&self.execute_exits, &ended) {
            Some(ExecuteExit::Applied) => Ok(Applied::new(self.said(&ended.output, "the program says so"))),
            Some(ExecuteExit::Refused) => {
                Err(before(CommandError::Refused { reason: self.said(&ended.output, "no reason given") }))
            }
            None => Err(ActionError::unknown(request, "run the program", self.failed("execute", &ended))),
        }
    }

    /// By the program `verify`; without one by `check`: done already = helped, ready = no effect.
    async fn verify(&self, request: &ActionRequest, _applied: &Applied) -> Result<Outcome, ActionError> {
        let before = |error| ActionError::before(request, "verify the effect", error);
        let Some(verify) = &self.verify else {
            return Ok(match self.look(request).await.map_err(before)? {
                Inspection::AlreadyDone { .. } => Outcome::Helped,
                Inspection::Ready { .. } => Outcome::NoEffect,
                _ => Outcome::Unknown,
            });
        };
        let ended = self.call("verify", verify, request, None).await.map_err(before)?;
        meaning(&self.verify_exits, &ended).ok_or_else(|| before(self.failed("verify", &ended)))
    }

    async fn compensate(&self, request: &ActionRequest) -> Result<Compensation, ActionError> {
        let Some(compensate) = &self.compensate else { return Ok(Compensation::None) };
        let unknown = |error| ActionError::unknown(request, "take the effect back", error);
        let ended = self.call("compensate", compensate, request, None).await.map_err(unknown)?;
        match ended.code {
            Some(0) => Ok(Compensation::Done(self.said(&ended.output, "taken back"))),
            Some(20) => Ok(Compensation::None),
            _ => Err(unknown(self.failed("compensate", &ended))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Precondition, String> {
        let output = Capture { kept: text.as_bytes().to_vec(), dropped: 0 };
        facts(&output).map_err(|error| error.to_string())
    }

    #[test]
    fn an_observed_state_is_lines_of_names_and_values() {
        let state = of("\nuid = 7\nowner=a=b\n").unwrap();
        assert_eq!((state.get("uid"), state.get("owner")), (Some("7"), Some("a=b")));
        assert_eq!(of("").unwrap(), Precondition::default());
        for (bad, why) in [
            ("uid", "line 1: it has no `=`"),
            ("a=1\n\na=2", "line 3: the name stood there before"),
            ("a b=1", "line 1: a name has"),
            ("a=\u{202e}", "line 1: a value has"),
        ] {
            let error = of(bad).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        let cut = Capture { kept: b"a=1".to_vec(), dropped: 9 };
        assert!(facts(&cut).unwrap_err().to_string().ends_with("the output was cut"));
    }
}
