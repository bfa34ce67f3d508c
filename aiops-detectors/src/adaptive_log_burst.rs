//! Log bursts against a baseline that knows the time of day: the default log detector.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aiops_core::{
    BoxError, Detector, DetectorError, Evaluation, EventKind, Identity, ServiceName, Severity, Tick, time,
};
use async_trait::async_trait;

use crate::burst::board::{Board, SavedBoard, Step};
use crate::burst::report::{self, start_of};
use crate::log_state::{Kept, PARTS, Part, part_of, read_all};
use crate::scorer::{ScorerStateError, restore, save};
use crate::source::LogSource;

/// Its name, the alertname of its events, and what its saved bytes say they are.
const NAME: &str = "AdaptiveLogBurst";
/// Between two evaluations: the window slides by it.
const EVERY: Duration = Duration::from_secs(60);
/// How long a minute waits for its lines: most collectors ship within it.
const GRACE: Duration = Duration::from_secs(60);
/// What is counted at the first start, and caught up after a restart: twelve windows, twice what a verdict
/// needs.
const LOOKBACK: Duration = Duration::from_secs(3_600);
/// Services that are watched at the most.
const MAX_SERVICES: usize = 10_000;

/// Watches the error lines of services with a [`BurstTest`](crate::BurstTest) each: windows of five
/// minutes that slide by one, of event time.
///
/// - A minute is counted once it is over by the grace; lines that come later are counted a window later,
///   once, and judge their own window alone.
/// - A service that a successful count leaves out wrote 0 lines. What a failed count leaves unknown is
///   caught up when it is less than a window; else it stays unknown, and so does the window after it.
/// - A burst is seen from its first window until three whole windows are below, or for an hour: then it
///   is the service's level. `detected_at` is the start of its first window, so its fingerprint never moves.
/// - An event carries the newest five minutes that fired: `score` is `-log10` of the probability; `z`,
///   `peak` and `ratio` stand beside it. It is critical below 1e-12 from ten times the baseline.
#[derive(Debug)]
pub struct AdaptiveLogBurst<S> {
    source: S,
    severity: Severity,
    grace: Duration,
    lookback: Duration,
    board: Mutex<Board<ServiceName>>,
}

impl<S: LogSource> AdaptiveLogBurst<S> {
    /// Watches every service that the source ever counts lines of.
    #[must_use]
    pub fn new(source: S) -> Self {
        let board = Mutex::new(Board::new("service", MAX_SERVICES));
        Self { source, severity: Severity::Warning, grace: GRACE, lookback: LOOKBACK, board }
    }

    /// Watches these services from the start: they are seen as normal before their first line.
    #[must_use]
    pub fn services(self, services: impl IntoIterator<Item = impl Into<ServiceName>>) -> Self {
        services.into_iter().for_each(|service| self.board().name(service.into()));
        self
    }

    /// The severity of events that are not critical; warning unless set.
    #[must_use]
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// How long a minute waits for its lines; 60 s unless set.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// What is counted at the first start and caught up after a restart; an hour unless set. Each five
    /// minutes of it are one count of the source.
    #[must_use]
    pub fn lookback(mut self, lookback: Duration) -> Self {
        self.lookback = lookback;
        self
    }

    /// Services at the most, 10,000 unless set; lines of further ones are refused and counted.
    #[must_use]
    pub fn max_services(self, max: usize) -> Self {
        self.board().set_max(max);
        self
    }

    /// Services that are tracked now. One that wrote nothing for a week is not, unless it was named.
    #[must_use]
    pub fn tracked(&self) -> usize {
        self.board().len()
    }

    /// The state of all services as versioned bytes. [`LogState`](crate::LogState) keeps it in parts that
    /// a state store takes.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        save(NAME, &self.board().saved(1, |_| 0).pop())
    }

    /// Takes saved state back, in place of what is known now.
    ///
    /// # Errors
    /// Bytes that do not read, of another version, or that no detector can have saved: it stays as it was.
    pub fn restore(&self, bytes: &[u8]) -> Result<(), ScorerStateError> {
        let saved: SavedBoard<ServiceName> = restore(NAME, bytes)?;
        saved.check().map_err(|why| ScorerStateError { scorer: NAME, source: why.into() })?;
        self.board().restore(vec![saved]);
        Ok(())
    }

    fn board(&self) -> MutexGuard<'_, Board<ServiceName>> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn count(&self, step: Step) -> Result<BTreeMap<ServiceName, u64>, DetectorError> {
        let (from, to) = step.minutes();
        let counts = self.source.count(start_of(from), start_of(to)).await.map_err(|error| {
            if error.is_retryable() {
                DetectorError::retryable(NAME, error)
            } else {
                DetectorError::permanent(NAME, error)
            }
        })?;
        let mut by_service = BTreeMap::new();
        for count in counts.into_iter().filter(|count| count.count > 0) {
            *by_service.entry(count.service).or_default() += count.count;
        }
        Ok(by_service)
    }
}

#[async_trait]
impl<S: LogSource> Detector for AdaptiveLogBurst<S> {
    fn name(&self) -> &str {
        NAME
    }

    fn every(&self) -> Duration {
        EVERY
    }

    async fn evaluate(&self, tick: Tick) -> Result<Evaluation, DetectorError> {
        let end = time::minus(tick.now, self.grace).as_second().div_euclid(60);
        // Nothing is counted before 1970.
        let end = u32::try_from(end.max(0)).unwrap_or(u32::MAX);
        let lookback = u32::try_from(self.lookback.as_secs() / 60).unwrap_or(u32::MAX);
        loop {
            let Some(step) = self.board().plan(end, lookback) else { break };
            match self.count(step).await {
                Ok(counts) => self.board().take(step, &counts),
                Err(error) => {
                    self.board().failed();
                    return Err(error);
                }
            }
        }
        let board = self.board();
        let read_to = board.read_to.map_or(tick.now, start_of).min(tick.now);
        let sighting = |(service, track): (&ServiceName, _)| {
            let identity = Identity::new(EventKind::LogBurst, service.clone(), NAME);
            report::sighting(identity, track, |identity, burst| {
                report::event(identity, burst, NAME, self.severity, read_to)
            })
        };
        Ok(board.tracks().iter().map(sighting).collect())
    }
}

impl<S: LogSource> Kept for AdaptiveLogBurst<S> {
    fn kept_as(&self) -> &'static str {
        NAME
    }

    fn save_parts(&self) -> Vec<Part> {
        self.board().saved(PARTS, part_of).iter().map(|board| Part::of(NAME, board, board.is_empty())).collect()
    }

    fn restore_parts(&self, parts: Vec<(usize, Vec<u8>)>) -> Vec<(usize, BoxError)> {
        let read = |bytes: &[u8]| {
            let board: SavedBoard<ServiceName> = Part::read(NAME, bytes)?;
            board.check()?;
            Ok(board)
        };
        let (boards, errors) = read_all(parts, read);
        self.board().restore(boards);
        errors
    }
}
