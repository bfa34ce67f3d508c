//! One program from its start to the end of all that it started.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::pin::pin;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aiops_core::Clock;
use aiops_core::time::plus;
use jiff::Timestamp;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::net::unix::pipe;
use tokio::task::JoinHandle;

use super::CommandError;

/// After the program's end its pipes are read on for so long: whatever left its group may hold them open for ever.
const LINGER: Duration = Duration::from_secs(1);
/// Read at a time.
const CHUNK: usize = 8 * 1024;

/// What is started, and how.
#[derive(Debug)]
pub(super) struct Invocation<'a> {
    pub(super) program: &'a Path,
    pub(super) arguments: Vec<String>,
    pub(super) directory: &'a Path,
    pub(super) environment: &'a BTreeMap<String, String>,
    pub(super) input: Vec<u8>,
    /// Bytes kept of each of the two outputs.
    pub(super) cap: usize,
}

/// What became of it.
#[derive(Debug)]
pub(super) struct Ended {
    /// None where a signal ended it.
    pub(super) code: Option<i32>,
    pub(super) signal: Option<i32>,
    pub(super) output: Capture,
    pub(super) errors: Capture,
}

/// The head of an output.
#[derive(Debug, Default)]
pub(super) struct Capture {
    pub(super) kept: Vec<u8>,
    /// Bytes read and dropped.
    pub(super) dropped: u64,
}

/// Runs a program in a process group of its own, and ends the whole group with it: at the program's own end, at the
/// deadline, and where the caller gives up.
pub(super) async fn run(
    invocation: Invocation<'_>,
    clock: &dyn Clock,
    deadline: Timestamp,
) -> Result<Ended, CommandError> {
    let Invocation { program, arguments, directory, environment, input, cap } = invocation;
    let not_started =
        |source: io::Error| CommandError::NotStarted { program: program.display().to_string(), source: source.into() };
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(environment)
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(not_started)?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let mut leash = Leash::new(child)?;
    let stdin = stdin.map(|pipe| pipe::Sender::from_owned_fd(OwnedFd::from(pipe))).transpose();
    let stdout = stdout.map(|pipe| pipe::Receiver::from_owned_fd(OwnedFd::from(pipe))).transpose();
    let stderr = stderr.map(|pipe| pipe::Receiver::from_owned_fd(OwnedFd::from(pipe))).transpose();
    let lost = |source: io::Error| CommandError::Lost { source: source.into() };
    let (stdin, stdout, stderr) = (stdin.map_err(lost)?, stdout.map_err(lost)?, stderr.map_err(lost)?);

    let (mut output, mut errors) = (Capture::default(), Capture::default());
    let status = {
        let mut streams = pin!(async {
            tokio::join!(feed(stdin, &input), output.fill(stdout, cap), errors.fill(stderr, cap));
        });
        let mut late = pin!(clock.sleep_until(deadline));
        let mut drained = false;
        let status = loop {
            tokio::select! {
                biased;
                status = &mut leash.ended => break status,
                () = &mut streams, if !drained => drained = true,
                () = &mut late => return Err(CommandError::Late { deadline }),
            }
        };
        if !drained {
            let until = plus(clock.now(), LINGER).min(deadline);
            tokio::select! {
                biased;
                () = streams => {}
                () = clock.sleep_until(until) => {}
            }
        }
        status
    };
    let status = match status {
        Ok(status) => status.map_err(lost)?,
        Err(join) => return Err(CommandError::Lost { source: join.into() }),
    };
    Ok(Ended { code: status.code(), signal: status.signal(), output, errors })
}

/// Holds a process group; whoever lets go of it ends the group.
#[derive(Debug)]
struct Leash {
    /// None once its leader was reaped: the number may be another group's then.
    group: Arc<Mutex<Option<Pid>>>,
    ended: JoinHandle<io::Result<ExitStatus>>,
}

impl Leash {
    fn new(mut child: Child) -> Result<Self, CommandError> {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let Some(pid) = pid else {
            // No system gives such a number.
            let _ = child.kill();
            return Err(CommandError::Lost { source: "the program has no process number".into() });
        };
        let group = Arc::new(Mutex::new(Some(pid)));
        let shared = Arc::clone(&group);
        let ended = tokio::task::spawn_blocking(move || {
            // Seen, but not reaped yet: its number stays its own until the rest of the group is gone.
            let seen = loop {
                match waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT) {
                    Err(Errno::INTR) => {}
                    // A host that has the system reap its children: the number may be another group's by now.
                    other => break other.is_ok(),
                }
            };
            let mut group = shared.lock().unwrap_or_else(PoisonError::into_inner);
            *group = None;
            if seen {
                let _ = kill_process_group(pid, Signal::KILL);
            }
            child.wait()
        });
        Ok(Self { group, ended })
    }
}

impl Drop for Leash {
    fn drop(&mut self) {
        let group = self.group.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pid) = *group {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

/// Writes the input; a program that does not read it is none the worse for it.
async fn feed(pipe: Option<pipe::Sender>, input: &[u8]) {
    let Some(pipe) = pipe else { return };
    let mut rest = input;
    while !rest.is_empty() && pipe.writable().await.is_ok() {
        match pipe.try_write(rest) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(_) => return,
        }
    }
}

impl Capture {
    /// Reads to the end, and keeps the first `cap` bytes, so that a program that writes more is not held up.
    async fn fill(&mut self, pipe: Option<pipe::Receiver>, cap: usize) {
        let Some(pipe) = pipe else { return };
        let mut chunk = [0; CHUNK];
        while pipe.readable().await.is_ok() {
            match pipe.try_read(&mut chunk) {
                Ok(0) => return,
                Ok(read) => {
                    let kept = read.min(cap.saturating_sub(self.kept.len()));
                    self.kept.extend_from_slice(&chunk[..kept]);
                    self.dropped = self.dropped.saturating_add((read - kept) as u64);
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(_) => return,
            }
        }
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.kept).into_owned()
    }

    /// The first line that is not empty, safe to show.
    pub(super) fn first_line(&self, max: usize) -> String {
        let text = self.text();
        let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        aiops_core::text::clip(line, max)
    }
}
