//! Calls wait in a queue, and one thread at a time answers them: all that waited while the disk was busy go
//! into the next transaction together, so that many callers share one sync.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, ErrorCode};
use tokio::sync::oneshot;

use super::forget::Forgetting;
use super::{Fault, StoreError};

/// Calls of one transaction at most: at about 30 µs a call, 8 ms that a caller waits for the others.
const BATCH: usize = 256;
/// Calls that wait at most; beyond it the disk is not keeping up, and more are refused.
const WAITING_MAX: usize = 10_000;

/// Does the work of one call inside of the transaction; says whether it is to be kept, and who is told.
type Job = Box<dyn FnOnce(&Connection) -> (bool, Tell) + Send>;
/// Tells the caller, once the transaction is on disk, or why it is not.
type Tell = Box<dyn FnOnce(Option<Lost>) + Send>;

/// A transaction that was not committed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the transaction was not committed: {0}")]
struct Lost(Arc<rusqlite::Error>);

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    /// Whether a thread is answering.
    answered: bool,
}

pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    connection: Mutex<(Connection, Forgetting)>,
    file: String,
}

impl Queue {
    pub(super) fn new(connection: Connection, file: String) -> Self {
        let connection = Mutex::new((connection, Forgetting::default()));
        Self { waiting: Mutex::default(), connection, file }
    }

    /// Does the work in a transaction, and answers once that is on disk. A dropped future leaves it done or
    /// not done.
    pub(super) async fn call<A: Send + 'static>(
        self: &Arc<Self>,
        doing: &'static str,
        work: impl FnOnce(&Connection) -> Result<A, Fault> + Send + 'static,
    ) -> Result<A, StoreError> {
        let (sender, told) = oneshot::channel();
        let file = self.file.clone();
        let job: Job = Box::new(move |connection| {
            let answer = work(connection);
            let kept = answer.is_ok();
            let tell: Tell = Box::new(move |lost| {
                let answer = match (answer, lost) {
                    // What an answer rests on may have been part of the transaction; its own failure is not.
                    (Ok(_) | Err(Fault::Store(_)), Some(lost)) => {
                        Err(StoreError::Unavailable { doing, source: Box::new(lost) })
                    }
                    (answer, _) => answer.map_err(|fault| fault.into_store(doing, &file)),
                };
                drop(sender.send(answer));
            });
            (kept, tell)
        });
        if self.push(job, doing)? {
            let answering = Answering(Some(Arc::clone(self)));
            drop(tokio::task::spawn_blocking(move || answering.run()));
        }
        let ended = |_| StoreError::Unavailable { doing, source: "the call ended without an answer".into() };
        told.await.map_err(ended)?
    }

    /// Says whether the caller must start a thread that answers.
    fn push(&self, job: Job, doing: &'static str) -> Result<bool, StoreError> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.jobs.len() >= WAITING_MAX {
            let source = format!("{WAITING_MAX} calls wait for the disk").into();
            return Err(StoreError::Unavailable { doing, source });
        }
        waiting.jobs.push_back(job);
        Ok(!std::mem::replace(&mut waiting.answered, true))
    }

    fn next_batch(&self) -> Vec<Job> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let count = waiting.jobs.len().min(BATCH);
        let batch: Vec<Job> = waiting.jobs.drain(..count).collect();
        waiting.answered = !batch.is_empty();
        batch
    }

    fn answer(&self, batch: Vec<Job>) -> (Vec<Tell>, Option<Lost>) {
        let mut guard = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let (connection, forgetting) = &mut *guard;
        forgetting.count(batch.len());
        let mut tells = Vec::with_capacity(batch.len());
        let committed = in_transaction(connection, |connection| {
            for job in batch {
                run(connection, "SAVEPOINT call")?;
                // A panic loses its own call, which is told when its answer is dropped, and no other one.
                let kept = match catch_unwind(AssertUnwindSafe(|| job(connection))) {
                    Ok((kept, tell)) => {
                        tells.push(tell);
                        kept
                    }
                    Err(_) => {
                        metrics::counter!("aiops_invariant_broken_total", "where" => "sqlite").increment(1);
                        tracing::error!("a call of the remediation store panicked; nothing of it was written");
                        false
                    }
                };
                if !kept {
                    run(connection, "ROLLBACK TO call")?;
                }
                run(connection, "RELEASE call")?;
            }
            forgetting.forget(connection)
        });
        match committed {
            Ok(()) => {
                forgetting.committed();
                (tells, None)
            }
            Err(error) => (tells, Some(Lost(Arc::new(error)))),
        }
    }
}

fn run(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute([]).map(drop)
}

/// Commits what `work` did, or takes all of it back.
fn in_transaction(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    // One that a panic left open.
    if !connection.is_autocommit() {
        run(connection, "ROLLBACK")?;
    }
    run(connection, "BEGIN IMMEDIATE")?;
    let done = work(connection).and_then(|()| run(connection, "COMMIT"));
    // A full disk may have ended the transaction already.
    if done.is_err() && !connection.is_autocommit() {
        run(connection, "ROLLBACK")?;
    }
    done
}

/// The thread that answers. Dropped before its end, it lets go of those who wait and makes room for the next.
struct Answering(Option<Arc<Queue>>);

impl Answering {
    fn run(mut self) {
        let Some(queue) = self.0.clone() else { return };
        let mut batch = queue.next_batch();
        while !batch.is_empty() {
            let (tells, lost) = queue.answer(batch);
            batch = queue.next_batch();
            if batch.is_empty() {
                // Before anyone is told, who may open the file again at once.
                self.0 = None;
                drop(queue);
                tells.into_iter().for_each(|tell| tell(lost.clone()));
                return;
            }
            tells.into_iter().for_each(|tell| tell(lost.clone()));
        }
        self.0 = None;
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let Some(queue) = self.0.take() else { return };
        let mut waiting = queue.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.answered = false;
        waiting.jobs.clear();
    }
}

impl Fault {
    fn into_store(self, doing: &'static str, file: &str) -> StoreError {
        let error = match self {
            Self::Store(error) => return error,
            Self::Encode(error) => return StoreError::Unavailable { doing, source: Box::new(error) },
            Self::Sql(error) => error,
        };
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                StoreError::Damaged { file: file.to_owned(), source: Box::new(error) }
            }
            _ => StoreError::Unavailable { doing, source: Box::new(error) },
        }
    }
}

#[allow(clippy::missing_fields_in_debug)] // a connection and calls have nothing to show
impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("file", &self.file).finish()
    }
}
