//! The lines of a log expression, as a source for detectors.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;

use aiops_core::{ServiceName, text, time};
use async_trait::async_trait;
use jiff::Timestamp;

use super::{LogOrder, Loki};
use crate::client::error::{ClientError, ClientErrorKind};
use crate::source::{Labels, LogBatch, LogLine, LogSource, ServiceCount, SourceError};

/// Entries of one query: Loki refuses more than 5,000 unless it is configured otherwise.
const PAGE: usize = 5_000;
/// Lines of one read: two hundred a second for five minutes, three times over.
const DEFAULT_MAX_LINES: usize = 200_000;
/// Loki 3 finds out the service of each stream and gives it this label.
const DEFAULT_SERVICE_LABEL: &str = "service_name";
/// Characters of the expression that make the source's name.
const NAME_CHARS: usize = 100;
/// A range shorter than this is not asked for in parts.
const SHORTEST: i128 = 1_000_000_000;

/// The lines that a log expression gives, and how many there are of each service; see [`Loki::logs`].
///
/// Where Loki says that an answer would be too large (entries, series, range, bytes), it is asked in smaller
/// pages or for shorter ranges, counted as `aiops_loki_narrowed_total`. Lines beyond the bound of one read are
/// counted by the batch, the newest first.
#[derive(Debug, Clone)]
pub struct LokiSource {
    loki: Loki,
    expression: String,
    name: String,
    service_label: String,
    max_lines: usize,
}

impl Loki {
    /// A source of the lines of a log expression: a selector with or without filters, such as
    /// `{level="error"}` or `{namespace="shop"} | json | level="error"`.
    pub fn logs(&self, expression: impl Into<String>) -> LokiSource {
        let expression = expression.into();
        LokiSource {
            loki: self.clone(),
            name: text::clip(&expression, NAME_CHARS),
            expression,
            service_label: DEFAULT_SERVICE_LABEL.to_owned(),
            max_lines: DEFAULT_MAX_LINES,
        }
    }
}

type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, ClientError>> + Send + 'a>>;

impl LokiSource {
    /// Its name in errors and metrics; the expression unless set.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The label that names the service; `service_name` unless set, as Loki 3 has it.
    #[must_use]
    pub fn service_label(mut self, label: impl Into<String>) -> Self {
        self.service_label = label.into();
        self
    }

    /// Lines of one read at the most; 200,000 unless set.
    #[must_use]
    pub fn max_lines(mut self, lines: usize) -> Self {
        self.max_lines = lines;
        self
    }

    fn narrowed(&self) {
        metrics::counter!("aiops_loki_narrowed_total", "source" => self.name.clone()).increment(1);
    }

    fn service(&self, labels: &Labels) -> ServiceName {
        labels.get(&self.service_label).map(String::as_str).unwrap_or_default().into()
    }

    /// Lines of each service in `[from, to)`. A range vector is open at its start and closed at its end.
    fn counts(&self, from: Timestamp, to: Timestamp) -> Pending<'_, BTreeMap<ServiceName, u64>> {
        Box::pin(async move {
            let nanos = to.as_nanosecond() - from.as_nanosecond();
            if nanos <= 0 {
                return Ok(BTreeMap::new());
            }
            let (label, lines) = (&self.service_label, &self.expression);
            let expression = format!("sum by ({label}) (count_over_time({lines} [{}]))", range(nanos));
            let last = time::minus(to, std::time::Duration::from_nanos(1));
            match self.loki.query(&expression, last).await {
                Ok(series) => {
                    let mut counts = BTreeMap::new();
                    for series in series {
                        let count = series.samples.last().map_or(0.0, |sample| sample.value);
                        if count.is_finite() && count > 0.0 {
                            *counts.entry(self.service(&series.labels)).or_default() += count.round() as u64;
                        }
                    }
                    Ok(counts)
                }
                Err(error) if error.kind == ClientErrorKind::TooLarge && nanos > SHORTEST => {
                    self.narrowed();
                    let middle = half(from, to);
                    let mut counts = self.counts(from, middle).await?;
                    for (service, count) in self.counts(middle, to).await? {
                        *counts.entry(service).or_default() += count;
                    }
                    Ok(counts)
                }
                Err(error) => Err(error),
            }
        })
    }

    /// Appends the lines of `[from, to)`, oldest first, until there are enough; whether that is all of them.
    fn fetch<'a>(&'a self, from: Timestamp, to: Timestamp, lines: &'a mut Vec<LogLine>) -> Pending<'a, bool> {
        Box::pin(async move {
            let (mut start, mut page, mut whole) = (from, PAGE, true);
            // Entries at `start` that were read with the page before.
            let mut seen: BTreeSet<(Labels, String)> = BTreeSet::new();
            while start < to {
                if lines.len() >= self.max_lines {
                    return Ok(false);
                }
                let answer = self.loki.streams(&self.expression, start, to, page, LogOrder::OldestFirst).await;
                let streams = match answer {
                    Ok(streams) => streams,
                    Err(error) if error.kind == ClientErrorKind::TooLarge => {
                        self.narrowed();
                        if error.reason.contains("max entries") && page > 1 {
                            page /= 2;
                            continue;
                        }
                        if to.as_nanosecond() - start.as_nanosecond() <= SHORTEST {
                            return Err(error);
                        }
                        let middle = half(start, to);
                        let before = lines.len();
                        whole &= self.fetch(start, middle, lines).await?;
                        drop_seen(lines, before, start, &seen);
                        return Ok(self.fetch(middle, to, lines).await? && whole);
                    }
                    Err(error) => return Err(error),
                };
                let entries = streams.iter().map(|stream| stream.entries.len()).sum::<usize>();
                let newest = streams.iter().filter_map(|stream| stream.entries.iter().map(|(at, _)| *at).max()).max();
                let before = lines.len();
                for stream in streams {
                    let service = self.service(&stream.labels);
                    for (at, text) in stream.entries {
                        let mut line = LogLine::new(at, service.clone(), text);
                        line.labels = stream.labels.clone();
                        lines.push(line);
                    }
                }
                drop_seen(lines, before, start, &seen);
                lines[before..].sort_by_key(|line| line.at);
                let Some(newest) = newest.filter(|_| entries >= page) else { return Ok(whole) };
                if newest == start && lines.len() == before {
                    // A whole page of one nanosecond, all of it known: what else is there cannot be asked for.
                    whole = false;
                    start = time::plus(newest, std::time::Duration::from_nanos(1));
                    seen.clear();
                    continue;
                }
                if newest > start {
                    seen.clear();
                }
                let at_newest = lines.iter().rev().take_while(|line| line.at == newest);
                seen.extend(at_newest.map(|line| (line.labels.clone(), line.text.clone())));
                start = newest;
            }
            Ok(whole)
        })
    }
}

/// Drops lines at `start` that were read before.
fn drop_seen(lines: &mut Vec<LogLine>, from: usize, start: Timestamp, seen: &BTreeSet<(Labels, String)>) {
    let mut place = 0;
    lines.retain(|line| {
        place += 1;
        place <= from || line.at != start || !seen.contains(&(line.labels.clone(), line.text.clone()))
    });
}

fn half(from: Timestamp, to: Timestamp) -> Timestamp {
    let middle = from.as_nanosecond() + (to.as_nanosecond() - from.as_nanosecond()) / 2;
    // Between two times there is a time.
    Timestamp::from_nanosecond(middle).unwrap_or(from)
}

/// A length in LogQL's largest unit that holds it.
fn range(nanos: i128) -> String {
    let units = [("h", 3_600_000_000_000), ("m", 60_000_000_000), ("s", 1_000_000_000), ("ms", 1_000_000)];
    let unit = units.into_iter().find(|(_, size)| nanos % size == 0);
    unit.map_or_else(|| format!("{nanos}ns"), |(unit, size)| format!("{}{unit}", nanos / size))
}

#[async_trait]
impl LogSource for LokiSource {
    fn name(&self) -> &str {
        &self.name
    }

    async fn read(&self, from: Timestamp, to: Timestamp) -> Result<LogBatch, SourceError> {
        let mut lines = Vec::new();
        let whole = self.fetch(from, to, &mut lines).await.map_err(|error| error.of_source(&self.name))?;
        lines.truncate(self.max_lines);
        let mut batch = LogBatch::new(lines);
        if !whole {
            // How many are missing only a count can say; at least one is.
            let all: u64 =
                self.counts(from, to).await.map_err(|error| error.of_source(&self.name))?.into_values().sum();
            batch.cut = all.saturating_sub(batch.lines.len() as u64).max(1);
        }
        Ok(batch)
    }

    async fn count(&self, from: Timestamp, to: Timestamp) -> Result<Vec<ServiceCount>, SourceError> {
        let counts = self.counts(from, to).await.map_err(|error| error.of_source(&self.name))?;
        Ok(counts.into_iter().map(|(service, count)| ServiceCount::new(service, count)).collect())
    }
}
