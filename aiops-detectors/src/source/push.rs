//! Samples that the host pushes: a bounded buffer that never blocks the pusher by itself.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aiops_core::time;
use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Notify;

use super::{Labels, Sample, SampleSource, Series, SeriesBatch, SourceError};

/// A sample so far ahead will not become due by waiting: it would keep its place for good. Longer than any
/// evaluation delay.
const WRONG_CLOCK: Duration = Duration::from_secs(86_400);

/// The buffer takes no more until a detector reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("push buffer is full; its detector is behind")]
pub struct Full;

#[derive(Debug)]
struct Shared {
    name: String,
    capacity: usize,
    buffer: Mutex<VecDeque<(Labels, Sample)>>,
    room: Notify,
}

/// A bounded buffer of pushed samples, drained by the detector that reads it. Clones share it.
///
/// ```
/// use aiops_detectors::{PushSource, Sample};
/// let source = PushSource::new("queue", 1);
/// let sample = Sample { at: jiff::Timestamp::UNIX_EPOCH, value: 3.0 };
/// assert!(source.offer(Default::default(), sample).is_ok());
/// assert!(source.offer(Default::default(), sample).is_err(), "full, and the request path did not wait");
/// ```
#[derive(Debug, Clone)]
pub struct PushSource {
    shared: Arc<Shared>,
}

impl PushSource {
    /// A buffer of at most `capacity` samples (at least one).
    pub fn new(name: impl Into<String>, capacity: usize) -> Self {
        let (capacity, buffer) = (capacity.max(1), Mutex::default());
        Self { shared: Arc::new(Shared { name: name.into(), capacity, buffer, room: Notify::new() }) }
    }

    fn buffer(&self) -> MutexGuard<'_, VecDeque<(Labels, Sample)>> {
        self.shared.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(feature = "otlp")]
    pub(crate) fn is_full(&self) -> bool {
        self.buffer().len() >= self.shared.capacity
    }

    fn put(&self, labels: Labels, sample: Sample) -> Result<(), (Labels, Sample)> {
        let mut buffer = self.buffer();
        if buffer.len() >= self.shared.capacity {
            return Err((labels, sample));
        }
        buffer.push_back((labels, sample));
        Ok(())
    }

    /// Takes a sample if there is room; never waits. A refused one is counted as
    /// `aiops_push_refused_total`.
    ///
    /// # Errors
    /// [`Full`]: the sample was not taken.
    pub fn offer(&self, labels: Labels, sample: Sample) -> Result<(), Full> {
        self.put(labels, sample).map_err(|_| {
            metrics::counter!("aiops_push_refused_total", "source" => self.shared.name.clone()).increment(1);
            Full
        })
    }

    /// Takes a sample, and waits for room. Dropping the future takes nothing.
    pub async fn send(&self, labels: Labels, sample: Sample) {
        let mut waiting = (labels, sample);
        loop {
            let room = self.shared.room.notified();
            tokio::pin!(room);
            // Registered before the look, so that room made in between is not missed.
            room.as_mut().enable();
            match self.put(waiting.0, waiting.1) {
                Ok(()) => return,
                Err(refused) => waiting = refused,
            }
            room.await;
        }
    }
}

#[async_trait]
impl SampleSource for PushSource {
    fn name(&self) -> &str {
        &self.shared.name
    }

    /// Drains what was pushed with `at < to`, also what is older than `from`: a late sample is the
    /// detector's to judge, as is one from a wrong clock, a day or more ahead. What is less ahead stays.
    async fn read(&self, _from: Timestamp, to: Timestamp) -> Result<SeriesBatch, SourceError> {
        let wrong_from = time::plus(to, WRONG_CLOCK);
        let drained: Vec<(Labels, Sample)> = {
            let mut buffer = self.buffer();
            let is_due = |sample: &Sample| sample.at < to || sample.at >= wrong_from;
            let (due, ahead) = buffer.drain(..).partition::<VecDeque<_>, _>(|(_, sample)| is_due(sample));
            *buffer = ahead;
            due.into()
        };
        self.shared.room.notify_waiters();
        let mut series: BTreeMap<Labels, Vec<Sample>> = BTreeMap::new();
        for (labels, sample) in drained {
            series.entry(labels).or_default().push(sample);
        }
        Ok(SeriesBatch::new(series.into_iter().map(|(labels, samples)| Series::new(labels, samples)).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(seconds: i64) -> Sample {
        Sample { at: Timestamp::from_second(seconds).unwrap(), value: 1.0 }
    }

    #[tokio::test]
    async fn a_waiting_sender_gets_room_when_the_detector_reads() {
        let source = PushSource::new("s", 1);
        source.offer(Labels::new(), sample(1)).unwrap();
        let sender = tokio::spawn({
            let source = source.clone();
            async move { source.send(Labels::new(), sample(2)).await }
        });
        tokio::task::yield_now().await;
        let to = Timestamp::from_second(10).unwrap();
        let first = source.read(to, to).await.unwrap();
        sender.await.unwrap();
        let second = source.read(to, to).await.unwrap();
        assert_eq!([first.series[0].samples.len(), second.series[0].samples.len()], [1, 1]);
        assert!(source.read(to, to).await.unwrap().series.is_empty(), "drained");
    }

    #[tokio::test]
    async fn what_is_ahead_stays() {
        let source = PushSource::new("s", 9);
        source.offer(Labels::new(), sample(5)).unwrap();
        source.offer(Labels::new(), sample(20)).unwrap();
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        assert_eq!(source.read(at(0), at(10)).await.unwrap().series[0].samples, [sample(5)]);
        assert_eq!(source.read(at(10), at(30)).await.unwrap().series[0].samples, [sample(20)]);
    }

    #[tokio::test]
    async fn a_wrong_clock_does_not_fill_the_buffer() {
        // Milliseconds taken for seconds.
        let source = PushSource::new("s", 1);
        source.offer(Labels::new(), sample(5_000)).unwrap();
        let at = |second| Timestamp::from_second(second).unwrap();
        assert!(source.read(at(0), at(10)).await.unwrap().series.is_empty(), "it may become due");
        source.read(at(10), at(6_000)).await.unwrap();
        source.offer(Labels::new(), sample(5_000_000)).unwrap();
        assert_eq!(source.read(at(6_000), at(6_010)).await.unwrap().series[0].samples, [sample(5_000_000)]);
        assert!(source.offer(Labels::new(), sample(6_005)).is_ok());
    }
}
