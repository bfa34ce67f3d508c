//! What was seen in each place of the templates, and whether it is enough.

use std::num::NonZeroU8;

use super::alias::Rank;
use super::table::Table;

/// Different words that make a place variable, by the most word-like of them; measured on the LogHub
/// development half (facts 3.3: plain words merged earlier lose more groups than they win).
pub(super) const DOTTED: u8 = 3;
pub(super) const DASHED: u8 = 4;
pub(super) const MASKED_TAIL: u8 = 5;
pub(super) const CAPITALS: u8 = 6;
pub(super) const PLAIN: u8 = 12;
/// What the sibling with a star there counts: the masker saw a value in the same place.
const SIBLING: u8 = 2;

/// Templates that are one group.
#[derive(Debug)]
pub(super) struct Generalised {
    pub(super) general: General,
    pub(super) members: Vec<Rank>,
}

/// The more general template of a group.
#[derive(Debug)]
pub(super) enum General {
    /// One that was named before.
    Named(Rank),
    /// The text of one that was not, and the place to name, see [`Slots::name`].
    New(String, u64),
}

/// A template with one of the words of a place, and how many different words that one takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    pub(super) fingerprint: u64,
    pub(super) letters: u16,
    pub(super) need: NonZeroU8,
}

/// One place of a template, whatever word stands there.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// The first word seen, which has a need; most places never see another. Its parts stand here one by
    /// one, so that a slot takes 24 bytes.
    fingerprint: u64,
    more: Option<Box<More>>,
    letters: u16,
    need: Option<NonZeroU8>,
    /// Words up to this need are variable here; 0 for none.
    level: u8,
    pub(super) sibling: bool,
}

/// What a place has that saw more than one word.
#[derive(Debug, Default)]
struct More {
    /// One for each further word, up to the largest need together.
    members: Vec<Member>,
    /// The template with a star there, once it was made.
    general: Option<Rank>,
}

/// The places of templates by their keys. At most `capacity`, those not met for long go first.
#[derive(Debug)]
pub(super) struct Slots {
    young: Table<Slot>,
    old: Table<Slot>,
    capacity: usize,
}

impl Slots {
    pub(super) fn new(capacity: usize) -> Self {
        Self { young: Table::default(), old: Table::default(), capacity: capacity.max(2) }
    }

    /// What the general template of a place is called.
    pub(super) fn name(&mut self, key: u64, general: Rank) {
        let Self { young, old, .. } = self;
        let slot = match old.remove(key) {
            Some(slot) => Some(young.or_insert_with(key, || slot)),
            None => young.get_mut(key),
        };
        if let Some(slot) = slot {
            slot.more.get_or_insert_default().general = Some(general);
        }
    }

    /// Asks for the slots of keys: memory that is asked for together comes together.
    pub(super) fn ask_for(&self, keys: impl Iterator<Item = u64>) {
        std::hint::black_box(keys.filter(|key| self.young.is_home(*key) | self.old.is_home(*key)).count());
    }

    /// The slot of a key, known or new. The slots that went for it are counted into `dropped`.
    pub(super) fn slot(&mut self, key: u64, dropped: &mut u64) -> &mut Slot {
        if self.young.len() >= self.capacity / 2 {
            *dropped += self.old.len() as u64;
            self.old.clear();
            std::mem::swap(&mut self.old, &mut self.young);
        }
        let old = &mut self.old;
        self.young.or_insert_with(key, || old.remove(key).unwrap_or_default())
    }
}

impl Slot {
    fn members(&self) -> impl Iterator<Item = Member> {
        let Self { fingerprint, letters, .. } = *self;
        let first = self.need.map(|need| Member { fingerprint, letters, need });
        first.into_iter().chain(self.more.iter().flat_map(|more| more.members.iter().copied()))
    }

    fn len(&self) -> usize {
        usize::from(self.need.is_some()) + self.more.as_ref().map_or(0, |more| more.members.len())
    }

    /// Takes a member in, unless it is in already.
    pub(super) fn add(&mut self, member: Member) -> bool {
        if self.members().any(|known| known.fingerprint == member.fingerprint) {
            return false;
        }
        if self.need.is_none() {
            let Member { fingerprint, letters, need } = member;
            (self.fingerprint, self.letters, self.need) = (fingerprint, letters, Some(need));
            return true;
        }
        let members = &mut self.more.get_or_insert_default().members;
        if members.len() + 1 >= usize::from(PLAIN) {
            // Whatever stands here is variable by now: only the newest member is to be told.
            members.pop();
        }
        members.push(member);
        true
    }

    /// The general template and its members, once there is enough evidence: of the words that take `n`
    /// different ones or fewer there are `n`. Which members these are depends on no order.
    pub(super) fn ripe(
        &mut self,
        key: u64,
        kept: impl Fn(u64) -> bool,
        template: impl FnOnce() -> String,
    ) -> Option<Generalised> {
        let known = usize::from(SIBLING) * usize::from(self.sibling);
        let words = self.len();
        if words + known < usize::from(DOTTED) {
            return None; // Too few for any level, as in most places.
        }
        let enough = |need: u8| {
            let members = self.members().filter(|member| member.need.get() <= need).count();
            members > 0 && members + known >= usize::from(need)
        };
        let level = [PLAIN, CAPITALS, MASKED_TAIL, DASHED, DOTTED].into_iter().find(|need| enough(*need))?;
        let grown = level > self.level;
        self.level = self.level.max(level);
        let told = if grown { 0 } else { words.saturating_sub(1) };
        let members: Vec<Rank> = self
            .members()
            .skip(told)
            .filter(|member| member.need.get() <= self.level)
            .map(|member| (member.letters, member.fingerprint))
            .collect();
        if members.is_empty() {
            return None;
        }
        let named = self.more.as_ref().and_then(|more| more.general).filter(|general| kept(general.1));
        let general = named.map_or_else(|| General::New(template(), key), General::Named);
        Some(Generalised { general, members })
    }
}
