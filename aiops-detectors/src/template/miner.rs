//! The online miner: counts masked lines and merges them into groups.

use std::sync::Arc;

use jiff::Timestamp;

use super::alias::{Aliases, Rank, rank};
use super::batch::Waiting;
use super::evidence::Evidence;
use super::fingerprint::{LineFingerprint, Settled};
use super::hash::{HashedMap, hash};
use super::lru::Lru;
use super::record;
use super::slots::{General, Generalised};
use super::table::Table;
use super::windows::Windows;

/// Masked lines that are kept unless the host says otherwise (facts 3.4): far more than one service has
/// kinds of lines, and a few megabytes.
pub const DEFAULT_TEMPLATES: usize = 10_000;
/// Longest sample, in bytes.
const MAX_SAMPLE: usize = 1024;
/// Bytes of templates and samples at the most, and the share of one masked line: a cap of lines alone
/// would let long lines take 50 MB.
const MAX_TEXT: usize = 12 << 20;
const MIN_TEXT: usize = 64 << 10;
/// Places for evidence and steps of the alias map for each masked line that is kept (facts 3.4).
const PER_TEMPLATE: usize = 8;
/// More general templates that one line may make, each from the one before.
const MAX_STEPS: usize = 64;

/// What one line was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Observed {
    /// What kind of line: stateless, see [`fingerprint_line`](crate::fingerprint_line).
    pub fingerprint: LineFingerprint,
    /// Whether nothing was known of this fingerprint before.
    pub new: bool,
}

/// One group of lines.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TemplateGroup {
    /// The group: the most general fingerprint.
    pub fingerprint: LineFingerprint,
    /// Its text, with `*` for what varies.
    pub template: Arc<str>,
    /// One line of it, at most 1 kB; foreign text. Empty where the miner keeps none.
    pub sample: String,
    /// Lines counted.
    pub count: u64,
}

/// Lines of one group in one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupCount {
    /// The group.
    pub group: LineFingerprint,
    /// Its lines.
    pub count: u64,
}

/// What is known of one masked line and is asked for on every such line.
#[derive(Debug, Default)]
pub(super) struct Counted {
    pub(super) fingerprint: u64,
    pub(super) count: u64,
    /// Whether it was met since the bound looked at it.
    pub(super) again: bool,
}

/// What is asked for less often.
#[derive(Debug)]
struct Entry {
    key: u64,
    sample: Box<str>,
}

/// A masked line that is to be kept.
#[derive(Debug)]
pub(super) struct NewLine {
    pub(super) key: u64,
    pub(super) fingerprint: LineFingerprint,
    pub(super) count: u64,
    pub(super) sample: Box<str>,
    pub(super) protected: bool,
}

/// Finds the templates of log lines, one line at a time, with one setting for every system.
///
/// Each line has a stateless [`LineFingerprint`]; what is learned is only which fingerprints are one group
/// ([`resolve`](Self::resolve)). Groups only ever join, and a fingerprint given out stays valid.
///
/// Memory is bounded: of the masked lines the least recently used goes first, those met only once before
/// those met again; each drop is counted as `aiops_template_dropped_total`.
///
/// ```
/// let mut miner = aiops_detectors::TemplateMiner::default();
/// let first = miner.observe(b"order 17 paid by card");
/// let second = miner.observe(b"order 18 paid by card");
/// assert!(first.new && !second.new);
/// assert_eq!(first.fingerprint, second.fingerprint);
/// assert_eq!(&*miner.groups()[0].template, "order * paid by card");
/// ```
#[derive(Debug)]
pub struct TemplateMiner {
    pub(super) capacity: usize,
    /// The line at hand, and its template where it is new.
    pub(super) masked: Vec<u8>,
    /// Lines that are counted together.
    pub(super) waiting: Vec<Waiting>,
    pub(super) settled: Settled,
    pub(super) counted: Table<Counted>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    lru: Lru,
    /// Template and number of entries of each fingerprint that has any.
    pub(super) live: HashedMap<u64, (Arc<str>, u32)>,
    /// Templates that were made by merging.
    pub(super) general: HashedMap<u64, Arc<str>>,
    pub(super) aliases: Aliases,
    evidence: Evidence,
    pub(super) windows: Windows,
    /// Bytes of templates and samples, and how many are allowed.
    text: usize,
    max_text: usize,
    pub(super) samples: bool,
    /// How often groups joined.
    joined: u64,
    pub(super) lines: u64,
    pub(super) evicted: u64,
}

impl Default for TemplateMiner {
    fn default() -> Self {
        Self::new(DEFAULT_TEMPLATES)
    }
}

impl TemplateMiner {
    /// A miner that keeps at most `capacity` masked lines (at least two).
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        // Places are counted in 32 bits.
        let capacity = capacity.clamp(2, 1 << 24);
        Self {
            capacity,
            masked: Vec::new(),
            waiting: Vec::new(),
            settled: Settled::default(),
            counted: Table::default(),
            entries: Vec::new(),
            free: Vec::new(),
            lru: Lru::new(capacity),
            live: HashedMap::default(),
            general: HashedMap::default(),
            aliases: Aliases::default(),
            evidence: Evidence::new(capacity * PER_TEMPLATE),
            windows: Windows::default(),
            text: 0,
            max_text: (MAX_TEXT / DEFAULT_TEMPLATES * capacity).clamp(MIN_TEXT, MAX_TEXT),
            samples: true,
            joined: 0,
            lines: 0,
            evicted: 0,
        }
    }

    /// Keeps no line as a sample: nothing of a line stays but its masked form.
    #[must_use]
    pub fn without_samples(mut self) -> Self {
        self.samples = false;
        self
    }

    /// Counts one record: a line, or several of which the first counts (see
    /// [`mask_line`](crate::mask_line)). Any bytes will do. For many see [`observe_all`](Self::observe_all).
    pub fn observe(&mut self, record: &[u8]) -> Observed {
        record::masked(record, &mut self.masked);
        let key = hash(&self.masked);
        self.count_known(key).unwrap_or_else(|| self.take_new(key, record))
    }

    /// Counts a line whose masked form is kept.
    #[inline]
    pub(super) fn count_known(&mut self, key: u64) -> Option<Observed> {
        self.lines += 1;
        let counted = self.counted.get_mut(key)?;
        counted.count += 1;
        counted.again = true;
        Some(Observed { fingerprint: LineFingerprint(counted.fingerprint), new: false })
    }

    /// Takes in the masked line at hand, which is not kept.
    pub(super) fn take_new(&mut self, key: u64, record: &[u8]) -> Observed {
        self.settled.settle(&self.masked);
        let fingerprint = LineFingerprint::of_masked(&self.settled.text);
        let new = !self.knows(fingerprint);
        let sample = if self.samples { clipped(record) } else { Box::default() };
        self.insert(NewLine { key, fingerprint, count: 1, sample, protected: false });
        self.learn(fingerprint);
        Observed { fingerprint, new }
    }

    /// As [`observe`](Self::observe), counted also in the window of the time at which the line was written.
    ///
    /// Windows are five minutes long and begin at their multiples; the newest twelve are kept. Lines of
    /// windows that are gone, and fingerprints beyond the capacity in one window, are not counted there.
    pub fn observe_at(&mut self, record: &[u8], at: Timestamp) -> Observed {
        let observed = self.observe(record);
        self.windows.observe(observed.fingerprint, at, self.capacity);
        observed
    }

    /// Lines of each group in the window of a time, by the groups as they are now, most lines first.
    #[must_use]
    pub fn counts(&self, at: Timestamp) -> Vec<GroupCount> {
        let mut groups: HashedMap<u64, u64> = HashedMap::default();
        for (fingerprint, count) in self.windows.of(at) {
            *groups.entry(self.resolve(fingerprint).0).or_default() += count;
        }
        let mut all: Vec<GroupCount> =
            groups.into_iter().map(|(group, count)| GroupCount { group: LineFingerprint(group), count }).collect();
        all.sort_by(|a, b| b.count.cmp(&a.count).then(a.group.cmp(&b.group)));
        all
    }

    /// Whether anything is known of a fingerprint.
    #[must_use]
    pub fn knows(&self, fingerprint: LineFingerprint) -> bool {
        self.live.contains_key(&fingerprint.0)
            || self.general.contains_key(&fingerprint.0)
            || self.aliases.contains(fingerprint)
    }

    /// The group of a fingerprint: itself where nothing more general is known. Resolving twice changes
    /// nothing.
    #[must_use]
    pub fn resolve(&self, fingerprint: LineFingerprint) -> LineFingerprint {
        self.aliases.resolve(fingerprint)
    }

    /// Grows whenever groups joined: what was resolved before may resolve higher since.
    pub(crate) fn joined(&self) -> u64 {
        self.joined
    }

    /// The text of a group or of a single fingerprint, while it is kept.
    #[must_use]
    pub fn template(&self, fingerprint: LineFingerprint) -> Option<Arc<str>> {
        let live = || self.live.get(&fingerprint.0).map(|(template, _)| template);
        self.general.get(&fingerprint.0).or_else(live).map(Arc::<str>::clone)
    }

    /// All groups, those of most lines first. Lines of masked lines that went at the bound are not in it,
    /// see [`evicted`](Self::evicted).
    #[must_use]
    pub fn groups(&self) -> Vec<TemplateGroup> {
        // Of each group the lines, and its largest masked line.
        let mut groups: HashedMap<u64, (u64, (&Counted, &str))> = HashedMap::default();
        for (counted, sample, _) in self.kept() {
            let group = self.resolve(LineFingerprint(counted.fingerprint));
            let (count, largest) = groups.entry(group.0).or_insert((0, (counted, sample)));
            *count += counted.count;
            if (counted.count, largest.1) > (largest.0.count, sample) {
                *largest = (counted, sample);
            }
        }
        let mut all: Vec<TemplateGroup> = groups
            .into_iter()
            .map(|(group, (count, (largest, sample)))| {
                let fingerprint = LineFingerprint(group);
                let template =
                    self.template(fingerprint).or_else(|| self.template(LineFingerprint(largest.fingerprint)));
                let template = template.unwrap_or_else(|| Arc::from(sample));
                TemplateGroup { fingerprint, template, sample: sample.to_owned(), count }
            })
            .collect();
        all.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.template.cmp(&b.template)));
        all
    }

    /// Lines observed, also those before a restart.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// Lines of masked lines that went at the bound: with the counts of the groups they make up
    /// [`lines`](Self::lines).
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Masked lines that are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.counted.len()
    }

    /// Whether no line was observed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.counted.len() == 0
    }

    /// What is kept, the next to go first, with its sample and whether it is protected.
    pub(super) fn kept(&self) -> impl Iterator<Item = (&Counted, &str, bool)> {
        self.lru.iter().filter_map(|(place, protected)| {
            let entry = self.entries.get(place as usize)?;
            Some((self.counted.get(entry.key)?, &*entry.sample, protected))
        })
    }

    /// Keeps a line of the settled template.
    pub(super) fn insert(&mut self, line: NewLine) {
        let NewLine { key, fingerprint, count, sample, protected } = line;
        if let Some(counted) = self.counted.get_mut(key) {
            counted.count += count; // A saved state that has it twice.
            return;
        }
        self.text += sample.len() + self.settled.text.len();
        while self.counted.len() >= self.capacity || (self.text > self.max_text && self.counted.len() > 0) {
            let (entries, counted) = (&self.entries, &mut self.counted);
            let again = |place: u32| {
                let entry = entries.get(place as usize).and_then(|entry| counted.get_mut(entry.key));
                entry.is_some_and(|counted| std::mem::take(&mut counted.again))
            };
            let Some(oldest) = self.lru.oldest(again) else { break };
            self.evict(oldest);
        }
        self.live.entry(fingerprint.0).or_insert_with(|| (Arc::from(&*self.settled.text), 0)).1 += 1;
        let entry = Entry { key, sample };
        let place = match self.free.pop() {
            Some(place) => {
                self.entries[place as usize] = entry;
                place
            }
            None => {
                self.entries.push(entry);
                u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX)
            }
        };
        self.counted.or_insert_with(key, || Counted { fingerprint: fingerprint.0, count, again: false });
        self.lru.add(place, protected);
    }

    fn evict(&mut self, place: u32) {
        self.lru.remove(place);
        self.free.push(place);
        let entry = &mut self.entries[place as usize];
        self.text = self.text.saturating_sub(std::mem::take(&mut entry.sample).len());
        let Some(counted) = self.counted.remove(entry.key) else { return };
        self.evicted += counted.count;
        if let Some((template, entries)) = self.live.get_mut(&counted.fingerprint) {
            self.text = self.text.saturating_sub(template.len());
            *entries -= 1;
            if *entries == 0 {
                self.live.remove(&counted.fingerprint);
            }
        }
        metrics::counter!("aiops_template_dropped_total", "what" => "template").increment(1);
    }

    /// Takes the settled template into the evidence, and the more general ones that follow from it.
    pub(super) fn learn(&mut self, fingerprint: LineFingerprint) {
        let mut todo: Vec<(String, Rank)> = Vec::new();
        let mut rank = rank(&self.settled.text, fingerprint);
        let mut places = 0;
        for _ in 0..MAX_STEPS {
            let kept = |fingerprint: u64| self.general.contains_key(&fingerprint);
            for Generalised { general, members } in self.evidence.take(&self.settled, rank, kept, &mut places) {
                let (text, key) = match general {
                    General::Named(root) => {
                        self.join_all(&members, root);
                        continue;
                    }
                    General::New(text, key) => (text, key),
                };
                self.settled.settle(text.as_bytes());
                let fingerprint = LineFingerprint::of_masked(&self.settled.text);
                let root = super::alias::rank(&self.settled.text, fingerprint);
                self.evidence.name(key, root);
                self.join_all(&members, root);
                if !self.general.contains_key(&fingerprint.0) {
                    let text = self.settled.text.clone();
                    self.make_general(fingerprint, &text);
                    todo.push((text, root));
                }
            }
            let Some((text, next)) = todo.pop() else { break };
            self.settled.take(&text);
            rank = next;
        }
        if places > 0 {
            dropped("place", places);
        }
    }

    fn join_all(&mut self, members: &[Rank], root: Rank) {
        for member in members {
            self.joined += u64::from(self.aliases.join(*member, root));
        }
        if self.aliases.len() > self.alias_bound() {
            let before = self.aliases.len();
            let (live, general) = (&self.live, &self.general);
            self.aliases.retain(|step| live.contains_key(&step.0) || general.contains_key(&step.0));
            dropped("alias", (before - self.aliases.len()) as u64);
        }
    }

    pub(super) fn alias_bound(&self) -> usize {
        self.capacity * PER_TEMPLATE
    }

    /// Keeps the text of a template made by merging. Beyond twice the capacity those without lines go.
    pub(super) fn make_general(&mut self, fingerprint: LineFingerprint, text: &str) {
        if self.general.len() >= 2 * self.capacity {
            let before = self.general.len();
            let used: std::collections::HashSet<u64> =
                self.live.keys().map(|member| self.aliases.resolve(LineFingerprint(*member)).0).collect();
            self.general.retain(|fingerprint, _| used.contains(fingerprint));
            dropped("group", (before - self.general.len()) as u64);
        }
        self.general.insert(fingerprint.0, Arc::from(text));
    }
}

/// Counts what a bound dropped.
pub(super) fn dropped(what: &'static str, how_many: u64) {
    metrics::counter!("aiops_template_dropped_total", "what" => what).increment(how_many);
}

/// The beginning of a record as text.
fn clipped(record: &[u8]) -> Box<str> {
    let record = &record[..record.len().min(MAX_SAMPLE)];
    if let Ok(text) = std::str::from_utf8(record) {
        return text.trim_end().into();
    }
    let text = String::from_utf8_lossy(record);
    let mut end = text.len().min(MAX_SAMPLE);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].trim_end().into()
}
