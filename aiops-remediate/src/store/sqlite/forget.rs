//! What is old is forgotten, and counted.

use rusqlite::Connection;

use crate::store::book::{GUARDS_KEPT, MARKS_KEPT, PAST_KEPT, SETTLED_KEPT, UNTOLD_KEPT, forgotten};

/// Calls between two looks for what is old: by so many records a table may be longer than its bound.
const EVERY: usize = 256;

/// What is forgotten, by its name in the metric: the statement, and how many records stay. Numbers of the
/// others than `untold`, `mark` and `guard` have no holes but at their end.
const RULES: [(&str, &str, usize); 7] = [
    (
        "report",
        "DELETE FROM reports WHERE closed <= (SELECT max(closed) FROM reports WHERE closed IS NOT NULL) - ?1",
        PAST_KEPT,
    ),
    (
        "untold",
        "DELETE FROM untold WHERE number <= (SELECT number FROM untold ORDER BY number DESC LIMIT 1 OFFSET ?1)",
        UNTOLD_KEPT,
    ),
    ("step", "DELETE FROM steps WHERE past <= (SELECT max(past) FROM steps WHERE past IS NOT NULL) - ?1", PAST_KEPT),
    (
        "approval",
        "DELETE FROM approvals WHERE past <= (SELECT max(past) FROM approvals WHERE past IS NOT NULL) - ?1",
        SETTLED_KEPT,
    ),
    ("resolved", "DELETE FROM episodes WHERE number <= (SELECT max(number) FROM episodes) - ?1", MARKS_KEPT),
    (
        "mark",
        "DELETE FROM marks WHERE number <= (SELECT number FROM marks ORDER BY number DESC LIMIT 1 OFFSET ?1)",
        MARKS_KEPT,
    ),
    (
        "guard",
        "DELETE FROM guards WHERE bad_us <= (SELECT bad_us FROM guards ORDER BY bad_us DESC LIMIT 1 OFFSET ?1)",
        GUARDS_KEPT,
    ),
];

#[derive(Debug, Default)]
pub(super) struct Forgetting {
    calls: usize,
    /// What this transaction forgot, until it is on disk.
    gone: Vec<(&'static str, usize)>,
}

impl Forgetting {
    pub(super) fn count(&mut self, calls: usize) {
        self.calls = self.calls.saturating_add(calls);
        self.gone.clear();
    }

    /// Forgets, if enough calls came since the last time.
    pub(super) fn forget(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        if self.calls < EVERY {
            return Ok(());
        }
        self.calls = 0;
        for (what, sql, kept) in RULES {
            let count = connection.prepare_cached(sql)?.execute([kept])?;
            self.gone.push((what, count));
        }
        Ok(())
    }

    pub(super) fn committed(&mut self) {
        for (what, count) in self.gone.drain(..) {
            (0..count).for_each(|_| forgotten(what));
        }
    }
}
