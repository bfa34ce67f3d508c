//! The store in Redis, for several processes.

mod finding;
mod link;
mod records;

use std::time::Duration;

use ::redis::Client;
use ::redis::aio::{ConnectionManager, ConnectionManagerConfig};
use aiops_core::Response;
use aiops_core::time::plus;
use async_trait::async_trait;
use jiff::Timestamp;

pub use self::finding::RedisFinding;
use self::link::{Link, unavailable};
use self::records::{
    HeldBy, after, approval, approvals, entries, held, json, marks, milliseconds, news, sortable, step_of,
};
use super::book::{OPEN_MAX, refused};
use super::*;

/// How long a call may take: far shorter than the deadline of an action.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How long one try to connect may take.
const CONNECT: Duration = Duration::from_secs(1);
/// How often a reservation is decided anew, since another process was faster.
const ATTEMPTS: usize = 32;
const OPENING: &str = "open the store";

/// Keeps everything in one Redis, for several processes.
///
/// Each call is one script, or a look, a decision, and a script that writes only if nothing has changed since
/// ([`StoreError::Contended`] when others were faster 32 times). All keys of one prefix share a hash tag, so that
/// a cluster keeps them together. Locks end by the server's clock and carry tokens of one counter, which begins
/// at the server's time, so that it does not go back when the server loses its memory. A lock that is lost is
/// granted again, and the journal fences the one before.
///
/// A call takes at most 2 s ([`timeout`](Self::timeout)) and is [`StoreError::Unavailable`] then; what it asked
/// for may have been done. The connection comes back by itself.
///
/// # What the server must be set to
/// `appendonly yes` and `appendfsync always`, or a crash of the server loses answers that rest on it, and with
/// them the promise that what began never begins again; `maxmemory-policy noeviction`. A failover to a replica
/// loses what was not copied yet (`WAIT` does not help a script that was answered). [`findings`](Self::findings)
/// tells what is not so.
///
/// Bounded as [`MemoryStore`](super::MemoryStore) is, to about 200 MB; what is forgotten is counted
/// (`aiops_remediate_store_forgotten_total`).
pub struct RedisStore {
    link: Link,
    findings: Vec<RedisFinding>,
    /// One reservation of this process at a time, so that only other processes are in its way.
    turn: tokio::sync::Mutex<()>,
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { link, findings, turn: _ } = self;
        f.debug_struct("RedisStore").field("tag", &link.tag()).field("findings", findings).finish_non_exhaustive()
    }
}

impl RedisStore {
    /// Connects to `redis://host:port/db`. All processes of one deployment take the same prefix, which names its
    /// keys.
    ///
    /// # Errors
    /// An address that does not read or a server that does not answer ([`StoreError::Unavailable`]); a prefix that
    /// is empty or holds braces ([`StoreError::Refused`]).
    pub async fn connect(url: &str, prefix: &str) -> Result<Self, StoreError> {
        let client = Client::open(url).map_err(|error| unavailable(OPENING, error))?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(TIMEOUT))
            .set_number_of_retries(1);
        let manager = tokio::time::timeout(TIMEOUT, ConnectionManager::new_with_config(client, config)).await;
        let manager = manager.map_err(|error| unavailable(OPENING, error))?;
        Self::with_manager(manager.map_err(|error| unavailable(OPENING, error))?, prefix).await
    }

    /// Uses a connection of the host, with its TLS and credentials. It must not serve blocking commands.
    ///
    /// # Errors
    /// A prefix that is empty or holds braces ([`StoreError::Refused`]); a server that does not run the script
    /// ([`StoreError::Unavailable`]).
    pub async fn with_manager(manager: ConnectionManager, prefix: &str) -> Result<Self, StoreError> {
        if prefix.is_empty() || prefix.contains(['{', '}']) {
            return refused("name keys with prefix", format!("{prefix:?}"), "it is empty or holds braces");
        }
        let link = Link::new(manager, prefix, TIMEOUT);
        link.call(OPENING, "kill_switch", &[]).await?;
        let findings = finding::findings(link.manager(), TIMEOUT).await;
        Ok(Self { link, findings, turn: tokio::sync::Mutex::default() })
    }

    /// How long a call may take, instead of 2 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.link.timeout = timeout;
        self
    }

    /// What the server's settings lack, as they were when this connected.
    #[must_use]
    pub fn findings(&self) -> &[RedisFinding] {
        &self.findings
    }

    /// Reads the marks, decides, and takes what is missing if nothing has changed; none where it has.
    async fn try_reserve(&self, reservation: &Reservation) -> Result<Option<Reserved>, StoreError> {
        const DOING: &str = "reserve";
        let since = reservation.since().unwrap_or(Timestamp::MIN).as_microsecond().to_string();
        let steps = reservation.runs.iter().map(|(run, _)| step_of(run)).collect::<Result<Vec<_>, _>>()?;
        let report = reservation.runs.first().map_or("", |(run, _)| run.report.as_str());
        let mut asked = vec![since.as_str(), report];
        asked.extend(steps.iter().map(String::as_str));
        let mut answer = self.link.call(DOING, "read_marks", &asked).await?;
        let (version, others) = (answer.text()?, answer.number::<i64>()?);
        let marks = marks(answer)?;
        let crowded = usize::try_from(others).ok().and_then(|others| reservation.crowded(others));
        if let Some(reason) = crowded.or_else(|| reservation.refusal(&marks)) {
            return Ok(Some(Reserved::Refused { reason }));
        }
        let mut taken = vec![version, report.to_owned()];
        for run in reservation.missing(&marks) {
            taken.extend([step_of(&run)?, run.at.as_microsecond().to_string(), json(&run)?]);
        }
        if taken.len() == 2 {
            return Ok(Some(Reserved::Granted));
        }
        let taken: Vec<&str> = taken.iter().map(String::as_str).collect();
        match self.link.call(DOING, "take_marks", &taken).await?.text()?.as_str() {
            "taken" => Ok(Some(Reserved::Granted)),
            "closed" => Ok(Some(Reservation::closed())),
            _ => Ok(None),
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl RemediationStore for RedisStore {
    async fn kill_switch(&self) -> Result<KillSwitch, StoreError> {
        let switch = self.link.call("read the kill switch", "kill_switch", &[]).await?.next();
        switch.map_or_else(|| Ok(KillSwitch::default()), |switch| link::parse("kill_switch", "switch", &switch))
    }

    async fn set_kill_switch(&self, switch: KillSwitch) -> Result<(), StoreError> {
        self.link.call("set the kill switch", "set_kill_switch", &[&json(&switch)?]).await.map(drop)
    }

    async fn snapshot(&self, query: &SnapshotQuery) -> Result<Snapshot, StoreError> {
        let since = query.since.as_microsecond().to_string();
        let mut answer = self.link.call("read marks", "snapshot", &[query.episode.as_str(), &since]).await?;
        let mut snapshot = Snapshot::default();
        if let Some(switch) = answer.next() {
            snapshot.kill_switch = link::parse("kill_switch", "switch", &switch)?;
        }
        snapshot.resolved_at = answer.next().map(|at| after("resolved", query.episode.as_str(), &at)).transpose()?;
        for _ in 0..answer.number::<usize>()? / 2 {
            let (name, guard) = (answer.text()?, answer.text()?);
            let guard = link::parse("guards", &name, &guard)?;
            snapshot.guards.insert(name, guard);
        }
        snapshot.runs = marks(answer)?;
        snapshot.runs.retain(|run| query.wants(run));
        Ok(snapshot)
    }

    async fn resolve(&self, episode: &EpisodeKey, at: Timestamp) -> Result<(), StoreError> {
        let arguments = [episode.as_str(), &sortable(at)];
        self.link.call("note the end of an episode", "resolve", &arguments).await.map(drop)
    }

    async fn set_guard(&self, name: &str, state: &GuardState) -> Result<(), StoreError> {
        let guard = if state.tripped_at.is_some() { json(state)? } else { String::new() };
        let arguments = [name, &state.bad_at.as_microsecond().to_string(), &guard];
        self.link.call("note a guard", "set_guard", &arguments).await.map(drop)
    }

    async fn reserve(&self, reservation: &Reservation) -> Result<Reserved, StoreError> {
        let decide = async {
            let _turn = self.turn.lock().await;
            for _ in 0..ATTEMPTS {
                if let Some(reserved) = self.try_reserve(reservation).await? {
                    return Ok(reserved);
                }
            }
            Err(StoreError::Contended { doing: "reserve", attempts: ATTEMPTS })
        };
        self.link.within("reserve", decide).await
    }

    async fn give_back(&self, lease: &Lease, run: &Run) -> Result<bool, StoreError> {
        let place = format!("{}|{}|", run.action, run.target);
        let arguments = [&*lease.key, &lease.token.to_string(), &step_of(run)?, run.report.as_str(), &place];
        Ok(self.link.call("give a mark back", "give_back", &arguments).await?.text()? == "yes")
    }

    async fn open_report(&self, record: &ReportRecord) -> Result<Opened, StoreError> {
        const DOING: &str = "open a report";
        let id = record.id.as_str();
        let (response, disposition) = match &record.response {
            Some(response) => (news(response)?, json(&response.disposition)?),
            None => Default::default(),
        };
        let arguments = [id, &json(record)?, &response, &disposition];
        let mut answer = self.link.call(DOING, "open_report", &arguments).await?;
        match answer.text()?.as_str() {
            "new" => Ok(Opened::New),
            "open" => Ok(Opened::Known(None)),
            "closed" => Ok(Opened::Known(Some(link::parse("closed", id, &answer.text()?)?))),
            _ => Err(unavailable(DOING, format!("{OPEN_MAX} reports are open; call recover"))),
        }
    }

    async fn close_report(&self, id: &ReportId, response: &Response) -> Result<bool, StoreError> {
        let arguments = [id.as_str(), &news(response)?, &json(&response.disposition)?];
        match self.link.call("close a report", "close_report", &arguments).await?.text()?.as_str() {
            "now" => Ok(true),
            "before" => Ok(false),
            _ => refused("close report", id, "it was never opened"),
        }
    }

    async fn open_reports(&self) -> Result<Vec<ReportRecord>, StoreError> {
        let mut answer = self.link.call("list open reports", "open_reports", &[]).await?;
        let mut reports = Vec::new();
        while !answer.is_empty() {
            reports.push(link::parse("report", "", &answer.text()?)?);
        }
        Ok(reports)
    }

    async fn open_report_of(&self, id: &ReportId) -> Result<Option<ReportRecord>, StoreError> {
        let record = self.link.call("read a report", "open_report_of", &[id.as_str()]).await?.next();
        record.map(|record| link::parse("report", id.as_str(), &record)).transpose()
    }

    async fn untold(&self) -> Result<Vec<ReportRecord>, StoreError> {
        let mut answer = self.link.call("list what was not told", "untold", &[]).await?;
        let mut reports = Vec::new();
        while !answer.is_empty() {
            let record: ReportRecord = link::parse("untold", "", &answer.text()?)?;
            let response = link::parse("untold_answer", record.id.as_str(), &answer.text()?)?;
            reports.push(record.response(Some(response)));
        }
        Ok(reports)
    }

    async fn note_told(&self, id: &ReportId) -> Result<(), StoreError> {
        self.link.call("note that people were told", "note_told", &[id.as_str()]).await.map(drop)
    }

    async fn acquire(&self, key: &str, holder: &str, now: Timestamp, ttl: Duration) -> Result<Acquired, StoreError> {
        let until = plus(now, ttl);
        let by = json(&HeldBy { holder: holder.to_owned(), since: now, until })?;
        let mut answer = self.link.call("take a lock", "acquire", &[key, &milliseconds(ttl), &by]).await?;
        if answer.text()? == "granted" {
            return Ok(Acquired::Granted(Lease::new(key, holder, answer.number()?, now, until)));
        }
        let lease = held(key, &answer.text()?)?;
        let left = Duration::from_millis(answer.number::<i64>()?.try_into().unwrap_or(0));
        Ok(Acquired::Held { holder: lease.holder, until: plus(now, left) })
    }

    async fn renew(&self, lease: &Lease, now: Timestamp, ttl: Duration) -> Result<Option<Lease>, StoreError> {
        let mut renewed = lease.clone();
        renewed.until = plus(now, ttl);
        let by = json(&HeldBy { holder: lease.holder.clone(), since: lease.since, until: renewed.until })?;
        let arguments = [&*lease.key, &lease.token.to_string(), &milliseconds(ttl), &by];
        match self.link.call("renew a lock", "renew", &arguments).await?.text()?.as_str() {
            "renewed" => Ok(Some(renewed)),
            // It lasts longer already.
            "longer" => Ok(Some(lease.clone())),
            _ => Ok(None),
        }
    }

    async fn release(&self, lease: &Lease) -> Result<bool, StoreError> {
        let arguments = [&*lease.key, &lease.token.to_string()];
        Ok(self.link.call("release a lock", "release", &arguments).await?.text()? == "yes")
    }

    async fn force_release(&self, key: &str) -> Result<Option<Lease>, StoreError> {
        let taken = self.link.call("take a lock away", "force_release", &[key]).await?.next();
        taken.map(|lease| held(key, &lease)).transpose()
    }

    async fn leases(&self, now: Timestamp) -> Result<Vec<Lease>, StoreError> {
        let mut answer = self.link.call("list locks", "leases", &[]).await?;
        let mut leases = Vec::new();
        while !answer.is_empty() {
            let (key, value, left) = (answer.text()?, answer.text()?, answer.number::<i64>()?);
            let mut lease = held(&key, &value)?;
            lease.until = plus(now, Duration::from_millis(left.try_into().unwrap_or(0)));
            leases.push(lease);
        }
        leases.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(leases)
    }

    async fn begin(&self, entry: &JournalEntry) -> Result<Begun, StoreError> {
        let key = entry.key();
        let arguments = [
            key.as_str(),
            entry.report.as_str(),
            &entry.at.to_string(),
            &json(entry)?,
            &json(&entry.state)?,
            &entry.token.to_string(),
        ];
        let mut answer = self.link.call("begin a step", "begin", &arguments).await?;
        let (at, state) = match answer.text()?.as_str() {
            "new" => return Ok(Begun::New),
            "closed" => return refused("begin step", key, "its report is closed"),
            "past" => {
                let past = answer.text()?;
                let (at, state) = link::halves("past", key.as_str(), &past)?;
                (at.to_owned(), state.to_owned())
            }
            _ => (answer.text()?, answer.text()?),
        };
        let end = match link::parse("step_state", key.as_str(), &state)? {
            JournalState::Ended(end) => Some(end),
            _ => None,
        };
        Ok(Begun::Exists { at: at.parse().map_err(|error| link::corrupt("step_at", key.as_str(), error))?, end })
    }

    async fn advance(&self, key: &StepKey, token: u64, state: &JournalState, _: Timestamp) -> Result<(), StoreError> {
        let ended = if matches!(state, JournalState::Ended(_)) { "1" } else { "0" };
        let arguments = [key.as_str(), &token.to_string(), &json(state)?, ended];
        let mut answer = self.link.call("advance a step", "advance", &arguments).await?;
        match answer.text()?.as_str() {
            "done" => Ok(()),
            "fenced" => Err(StoreError::Fenced { key: key.to_string(), token, newest: answer.number()? }),
            "ended" => refused("advance step", key, "it has ended"),
            _ => refused("advance step", key, "it never began"),
        }
    }

    async fn take_over(&self, key: &StepKey, token: u64) -> Result<Option<JournalEntry>, StoreError> {
        let mut answer = self.link.call("take a step over", "take_over", &[key.as_str(), &token.to_string()]).await?;
        match answer.text()?.as_str() {
            "taken" => Ok(entries(answer)?.pop()),
            "fenced" => Err(StoreError::Fenced { key: key.to_string(), token, newest: answer.number()? }),
            _ => Ok(None),
        }
    }

    async fn unfinished(&self) -> Result<Vec<JournalEntry>, StoreError> {
        let mut entries = entries(self.link.call("list unfinished steps", "unfinished", &[]).await?)?;
        entries.sort_by(|a, b| (a.at, &a.report, a.index).cmp(&(b.at, &b.report, b.index)));
        Ok(entries)
    }

    async fn steps_of(&self, report: &ReportId) -> Result<Vec<JournalEntry>, StoreError> {
        entries(self.link.call("list a report's steps", "steps_of", &[report.as_str()]).await?)
    }

    async fn open_approval(&self, asked: &Approval) -> Result<ApprovalOpened, StoreError> {
        let arguments =
            [asked.id.as_str(), asked.report.as_str(), &asked.index.to_string(), &asked.place(), &json(asked)?];
        let mut answer = self.link.call("ask for an approval", "open_approval", &arguments).await?;
        match answer.text()?.as_str() {
            "new" => Ok(ApprovalOpened::New),
            "known" => Ok(ApprovalOpened::Known(Box::new(approval(&mut answer)?))),
            "occupied" => Ok(ApprovalOpened::Occupied(Box::new(approval(&mut answer)?))),
            _ => refused("ask for approval of a step of", &asked.report, "the report is closed"),
        }
    }

    async fn settle_approval(&self, id: &ApprovalId, state: &ApprovalState) -> Result<Settled, StoreError> {
        if state.is_pending() {
            return refused("settle approval", id, "pending is no end");
        }
        let arguments = [id.as_str(), &json(state)?];
        let mut answer = self.link.call("settle an approval", "settle_approval", &arguments).await?;
        match answer.text()?.as_str() {
            "now" => Ok(Settled::Now(Box::new(approval(&mut answer)?))),
            "before" => Ok(Settled::Before(Box::new(approval(&mut answer)?))),
            _ => refused("settle approval", id, "there is none of this name"),
        }
    }

    async fn note_asked(&self, id: &ApprovalId, at: Timestamp) -> Result<(), StoreError> {
        let arguments = [id.as_str(), &at.to_string()];
        self.link.call("note that people were asked", "note_asked", &arguments).await.map(drop)
    }

    async fn note_reminder(&self, id: &ApprovalId, at: Timestamp) -> Result<bool, StoreError> {
        let arguments = [id.as_str(), &at.to_string()];
        Ok(self.link.call("note a reminder", "note_reminder", &arguments).await?.text()? == "yes")
    }

    async fn approval(&self, id: &ApprovalId) -> Result<Option<Approval>, StoreError> {
        let mut answer = self.link.call("read an approval", "approval", &[id.as_str()]).await?;
        if answer.is_empty() { Ok(None) } else { approval(&mut answer).map(Some) }
    }

    async fn approvals_of(&self, report: &ReportId) -> Result<Vec<Approval>, StoreError> {
        let answer = self.link.call("list a report's approvals", "approvals_of", &[report.as_str()]).await?;
        let mut asked = approvals(answer)?;
        asked.sort_by_key(|approval| approval.index);
        Ok(asked)
    }

    async fn pending_approvals(&self) -> Result<Vec<Approval>, StoreError> {
        let mut pending = approvals(self.link.call("list approvals", "pending_approvals", &[]).await?)?;
        pending.sort_by(|a, b| (a.asked_at, &a.id).cmp(&(b.asked_at, &b.id)));
        Ok(pending)
    }
}
