//! How far the run is, on standard error.

use std::io::Write;
use std::time::{Duration, Instant};

/// Between two redraws of the bar.
const REDRAW: Duration = Duration::from_millis(100);
/// Between two lines where there is no terminal.
const LINE: Duration = Duration::from_secs(5);
/// Cells of the bar.
const WIDTH: usize = 20;
/// Longest line: a longer one would wrap, and a wrapped one cannot be redrawn.
const LONGEST: usize = 78;

/// A bar on a terminal, a line every five seconds elsewhere.
pub(crate) struct Progress<'a> {
    to: &'a mut dyn Write,
    terminal: bool,
    total: u64,
    done: u64,
    started: Instant,
    shown: Instant,
    drawn: bool,
}

impl std::fmt::Debug for Progress<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Progress").field("done", &self.done).field("total", &self.total).finish_non_exhaustive()
    }
}

impl<'a> Progress<'a> {
    /// Over files of `total` bytes.
    pub(crate) fn new(to: &'a mut dyn Write, terminal: bool, total: u64) -> Self {
        let now = Instant::now();
        Self { to, terminal, total, done: 0, started: now, shown: now, drawn: false }
    }

    /// A file is done, or given up.
    pub(crate) fn file_done(&mut self, bytes: u64) {
        self.done += bytes;
    }

    /// `read` bytes of the file in work have been read.
    pub(crate) fn tick(&mut self, name: &str, read: u64) {
        let every = if self.terminal { REDRAW } else { LINE };
        if self.shown.elapsed() < every {
            return;
        }
        self.shown = Instant::now();
        let done = (self.done + read).min(self.total);
        let line = line(done, self.total, self.started.elapsed(), name);
        // A progress that cannot be shown is none of the run's business.
        let _ = if self.terminal { write!(self.to, "\r\x1b[K{line}") } else { writeln!(self.to, "{line}") };
        let _ = self.to.flush();
        self.drawn = self.terminal;
    }

    /// Makes room for other output.
    pub(crate) fn clear(&mut self) {
        if std::mem::take(&mut self.drawn) {
            let _ = write!(self.to, "\r\x1b[K");
            let _ = self.to.flush();
        }
    }

    /// A line for a person, above the bar.
    pub(crate) fn say(&mut self, line: &str) {
        self.clear();
        let _ = writeln!(self.to, "backtest: {line}");
    }
}

fn line(done: u64, total: u64, elapsed: Duration, name: &str) -> String {
    let share = if total == 0 { 0.0 } else { done as f64 / total as f64 };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 0 to WIDTH
    let full = ((share * WIDTH as f64) as usize).min(WIDTH);
    let (mb, seconds) = (done as f64 / 1e6, elapsed.as_secs_f64().max(1e-3));
    let rate = mb / seconds;
    let left = if rate > 0.0 { (total as f64 / 1e6 - mb) / rate } else { 0.0 };
    let bar = format!("{}{}", "#".repeat(full), "-".repeat(WIDTH - full));
    let total = total as f64 / 1e6;
    let line = format!("[{bar}] {:3.0} % of {total:.0} MB, {rate:.0} MB/s, {left:.0} s left: {name}", 100.0 * share);
    aiops_core::text::clip(&line, LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_how_fast_and_how_long() {
        let line = |name: &str| line(250_000_000, 1_000_000_000, Duration::from_secs(2), name);
        assert_eq!(line("a.csv"), "[#####---------------]  25 % of 1000 MB, 125 MB/s, 6 s left: a.csv");
        assert_eq!(line(&"long".repeat(50)).chars().count(), LONGEST);
    }
}
