//! Getting a notice to people: a chain of channels, each with a deadline, and a retry of what no
//! channel took.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;

use super::receipts::Receipts;
use super::{Notice, NoticeKind, Notifier, Receipt};
use crate::error::error_chain;
use crate::incident_log::{IncidentEntry, IncidentRecord};
use crate::lock::lock;
use crate::names::IncidentId;
use crate::observer::PipelineEvent;
use crate::plugin::guarded;
use crate::stage::{Measured, StageParts, ended};
use crate::time::{plus, since};

/// A channel that takes longer is as good as down.
pub(crate) const NOTIFY_DEADLINE: Duration = Duration::from_secs(10);
/// How long a channel that hung is asked last.
const LATE_FOR: Duration = Duration::from_secs(60);
/// Notices that wait for a channel to come back; beyond it the oldest are dropped, with an error.
const WAITING: usize = 1_000;

/// Which channels get a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum NoticeDelivery {
    /// The first channel that takes it, in the order given: the others are its fallback.
    #[default]
    FirstThatTakesIt,
    /// Every channel.
    Every,
}

/// The channels of a pipeline.
///
/// Notices of one incident go out one after the other, those of different incidents beside each
/// other. What no channel took is kept, bounded, and tried again before the incident's next notice
/// and at each [`retry`](Self::retry).
#[derive(Debug)]
pub(crate) struct Fanout {
    channels: Vec<Arc<dyn Notifier>>,
    delivery: NoticeDelivery,
    deadline: Duration,
    receipts: Receipts,
    lanes: Mutex<BTreeMap<IncidentId, Lane>>,
    /// By channel: until when it is asked last, since it hung.
    late: Mutex<BTreeMap<usize, Timestamp>>,
}

/// The notices of one incident that are not out yet.
#[derive(Debug, Default)]
struct Lane {
    notices: VecDeque<Notice>,
    busy: bool,
}

impl Fanout {
    pub(crate) fn new(
        channels: Vec<Arc<dyn Notifier>>,
        delivery: NoticeDelivery,
        deadline: Duration,
        saved: Option<Arc<crate::stage::Saved>>,
    ) -> Self {
        let receipts = Receipts::new(saved);
        Self { channels, delivery, deadline, receipts, lanes: Mutex::default(), late: Mutex::default() }
    }

    /// Sends a notice, after those of its incident that are still waiting; whether it is out or being sent.
    pub(crate) async fn send(&self, notice: Notice, parts: &StageParts) -> bool {
        let incident = notice.incident_id.clone();
        self.keep([notice]);
        self.flush(&incident, parts).await
    }

    /// Tries again what no channel took.
    pub(crate) async fn retry(&self, parts: &StageParts) {
        let waiting: Vec<IncidentId> = lock(&self.lanes).keys().cloned().collect();
        for incident in waiting {
            if !self.flush(&incident, parts).await {
                // No channel works: the others would only wait in vain as well.
                return;
            }
        }
    }

    /// Whether anything waits.
    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.lanes).is_empty()
    }

    /// What waits, for the state that outlives the process.
    pub(crate) fn waiting(&self) -> Vec<Notice> {
        lock(&self.lanes).values().flat_map(|lane| lane.notices.iter().cloned()).collect()
    }

    /// Adds notices behind those that wait already.
    pub(crate) fn keep(&self, notices: impl IntoIterator<Item = Notice>) {
        let mut lanes = lock(&self.lanes);
        for notice in notices {
            lanes.entry(notice.incident_id.clone()).or_default().notices.push_back(notice);
            if lanes.values().map(|lane| lane.notices.len()).sum::<usize>() > WAITING {
                drop_oldest(&mut lanes);
            }
        }
    }

    /// Drops what waits and is not being sent: another process tells it.
    pub(crate) fn forget(&self) {
        lock(&self.lanes).retain(|_, lane| lane.busy);
    }

    /// Sends what waits of one incident, in order; whether all of it is out or being sent.
    async fn flush(&self, incident: &IncidentId, parts: &StageParts) -> bool {
        let Some(turn) = Turn::take(&self.lanes, incident) else { return true };
        while let Some(notice) = turn.front() {
            if !self.send_one(&notice, parts).await {
                return false;
            }
            turn.sent();
        }
        true
    }

    /// One notice through the chain; whether a channel took it.
    async fn send_one(&self, notice: &Notice, parts: &StageParts) -> bool {
        let mut taken = false;
        for place in self.order(parts.clock.now()) {
            if taken && self.delivery == NoticeDelivery::FirstThatTakesIt {
                break;
            }
            let channel = &self.channels[place];
            if let Some(receipt) = self.ask(place, notice, parts).await {
                taken = true;
                metrics::counter!("aiops_notify_sent_total", "channel" => channel.channel().to_owned()).increment(1);
                if receipt != Receipt::default() {
                    self.receipts.put(channel.channel(), &notice.incident_id, &receipt).await;
                }
                parts.tell(&PipelineEvent::Noticed { channel: channel.channel(), notice });
                let entry = IncidentEntry::Notified {
                    channel: channel.channel().to_owned(),
                    notice: Box::new(notice.kind.clone()),
                };
                let service = notice.service().clone();
                parts.append(IncidentRecord::new(notice.incident_id.clone(), service, notice.at, entry)).await;
            }
        }
        if matches!(notice.kind, NoticeKind::Announced { .. }) {
            ended(Measured::Detection, taken);
            if taken {
                parts.took(Measured::Detection, since(parts.clock.now(), notice.at));
            }
        }
        if !taken {
            metrics::counter!("aiops_notify_unsent_total").increment(1);
            tracing::error!(incident = notice.incident_id.as_str(), "no channel took the notice; it is tried again");
        }
        taken
    }

    async fn ask(&self, place: usize, notice: &Notice, parts: &StageParts) -> Option<Receipt> {
        let channel = &self.channels[place];
        let previous = self.receipts.find(channel.channel(), &notice.incident_id).await;
        let now = parts.clock.now();
        let answer =
            guarded(&*parts.clock, plus(now, self.deadline), async { channel.notify(notice, previous.as_ref()).await })
                .await;
        let (why, error) = match answer {
            Ok(Ok(receipt)) => return Some(receipt),
            Ok(Err(error)) => ("error", error_chain(&error)),
            Err(fault) => {
                lock(&self.late).insert(place, plus(parts.clock.now(), LATE_FOR));
                (fault.label(), fault.to_string())
            }
        };
        tracing::warn!(channel = channel.channel(), error, "channel did not take the notice");
        metrics::counter!("aiops_notify_failed_total", "channel" => channel.channel().to_owned(), "why" => why)
            .increment(1);
        None
    }

    /// The channels as the host ordered them; those that hung a moment ago come last, so that a storm
    /// of incidents does not wait for the same deadline again and again.
    fn order(&self, now: Timestamp) -> Vec<usize> {
        let late = lock(&self.late);
        let is_late = |place: &usize| late.get(place).is_some_and(|until| *until > now);
        let mut order: Vec<usize> = (0..self.channels.len()).collect();
        order.sort_by_key(is_late);
        order
    }
}

fn drop_oldest(lanes: &mut BTreeMap<IncidentId, Lane>) {
    // The front of a busy lane is being sent.
    let idle = lanes.iter().filter(|(_, lane)| !lane.busy);
    let oldest = idle.min_by_key(|(_, lane)| lane.notices.front().map(|notice| notice.at)).map(|(id, _)| id.clone());
    let Some(incident) = oldest else { return };
    if let Some(lane) = lanes.get_mut(&incident) {
        lane.notices.pop_front();
        if lane.notices.is_empty() {
            lanes.remove(&incident);
        }
        metrics::counter!("aiops_notify_dropped_total").increment(1);
        tracing::error!(incident = incident.as_str(), "too many notices wait for a channel; dropped the oldest");
    }
}

/// The right to send the notices of one incident; given back on drop, also when the sender's future
/// is dropped in mid-send.
struct Turn<'a> {
    lanes: &'a Mutex<BTreeMap<IncidentId, Lane>>,
    incident: &'a IncidentId,
}

impl<'a> Turn<'a> {
    fn take(lanes: &'a Mutex<BTreeMap<IncidentId, Lane>>, incident: &'a IncidentId) -> Option<Self> {
        let mut all = lock(lanes);
        let lane = all.get_mut(incident).filter(|lane| !lane.busy)?;
        lane.busy = true;
        Some(Self { lanes, incident })
    }

    fn front(&self) -> Option<Notice> {
        lock(self.lanes).get(self.incident).and_then(|lane| lane.notices.front().cloned())
    }

    fn sent(&self) {
        if let Some(lane) = lock(self.lanes).get_mut(self.incident) {
            lane.notices.pop_front();
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut lanes = lock(self.lanes);
        if let Some(lane) = lanes.get_mut(self.incident) {
            lane.busy = false;
            if lane.notices.is_empty() {
                lanes.remove(self.incident);
            }
        }
    }
}
