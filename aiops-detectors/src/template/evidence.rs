//! Merging by evidence: a place in a template is variable once enough different words were seen there,
//! all else being equal (facts 3.3).

use std::num::NonZeroU8;

use super::alias::Rank;
use super::hash::{HashedMap, hash};
use super::known::Known;
use super::mask::STAR;
use super::tokens::{MAX_TOKENS, tokens};

/// Different words that make a place variable, by the most word-like of them; measured on the LogHub
/// development half (facts 3.3: plain words merged earlier lose more groups than they win).
const DOTTED: u8 = 3;
const DASHED: u8 = 4;
const MASKED_TAIL: u8 = 5;
const CAPITALS: u8 = 6;
const PLAIN: u8 = 12;
/// The same behind a word that announces a name.
const NAMED: u8 = 4;
/// What the sibling with a star there counts: the masker saw a value in the same place.
const SIBLING: u8 = 2;
/// Shorter words stand in other words by chance.
const REPEATED: usize = 3;

/// Words that say what happened: never variable.
static NEVER: Known<48> = Known::new([
    "true", "false", "null", "nil", "none", "on", "off", "yes", "no", "get", "put", "post", "delete", "head", "patch",
    "options", "up", "down", "ok", "error", "fail", "failed", "success", "start", "stop", "started", "stopped",
    "enabled", "disabled", "open", "opened", "closed", "close", "begin", "end", "enter", "exit", "in", "out", "read",
    "write", "trace", "debug", "info", "warn", "warning", "critical", "fatal",
]);
/// Words that announce a name.
static NAMES: Known<36> = Known::new([
    "user",
    "username",
    "login",
    "host",
    "hostname",
    "for",
    "from",
    "by",
    "to",
    "domain",
    "service",
    "process",
    "session",
    "client",
    "server",
    "peer",
    "node",
    "interface",
    "device",
    "file",
    "package",
    "module",
    "name",
    "job",
    "task",
    "thread",
    "key",
    "tag",
    "topic",
    "queue",
    "table",
    "container",
    "pod",
    "image",
    "ruser",
    "account",
]);

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
    /// The text of one that was not, and the place to name, see [`Evidence::name`].
    New(String, u64),
}

/// A template with one of the words of a place, and how many different words that one takes.
#[derive(Debug, Clone, Copy)]
struct Member {
    fingerprint: u64,
    letters: u16,
    need: NonZeroU8,
}

/// One place of a template, whatever word stands there.
#[derive(Debug, Default)]
struct Slot {
    /// The first word seen; most places never see another.
    first: Option<Member>,
    more: Option<Box<More>>,
    sibling: bool,
    /// Words up to this need are variable here; 0 for none.
    level: u8,
}

/// What a place has that saw more than one word.
#[derive(Debug, Default)]
struct More {
    /// One for each further word, up to the largest need together.
    members: Vec<Member>,
    /// The template with a star there, once it was made.
    general: Option<Rank>,
}

/// What was seen in the places of templates. At most `capacity` places, those not met for long go first.
#[derive(Debug)]
pub(super) struct Evidence {
    young: HashedMap<u64, Slot>,
    old: HashedMap<u64, Slot>,
    capacity: usize,
}

impl Evidence {
    pub(super) fn new(capacity: usize) -> Self {
        Self { young: HashedMap::default(), old: HashedMap::default(), capacity: capacity.max(2) }
    }

    /// Takes in a template that was not known; the more general ones that it makes, or is covered by.
    /// Each new one is to be named and taken in as well. `kept` tells whether the text of a general one
    /// is. The places that went are counted into `dropped`.
    pub(super) fn take(
        &mut self,
        template: &str,
        rank: Rank,
        kept: impl Fn(u64) -> bool,
        dropped: &mut u64,
    ) -> Vec<Generalised> {
        let mut made = Vec::new();
        let all = tokens(template);
        let ids: Vec<u64> = all.iter().enumerate().map(|(place, token)| id(place, token)).collect();
        let whole = sum(&ids);
        // Also where no word was seen yet: one that comes later is to meet its sibling.
        let slot = self.slot(whole, dropped);
        slot.sibling = true;
        made.extend(slot.ripe(whole, &kept, || template.to_owned()));
        let lettered: Vec<usize> = (0..all.len()).filter(|place| has_letter(all[*place])).collect();
        // One other word must stay.
        if lettered.len() < 2 {
            return made;
        }
        let mixed: Vec<usize> = lettered.iter().copied().filter(|place| is_mixed(all[*place])).collect();
        for &place in lettered.iter().take_while(|place| **place < MAX_TOKENS - 1) {
            let token = all[place];
            if NEVER.has(token.as_bytes()) {
                continue;
            }
            let again = stands_again(&all, place, &lettered, &mixed);
            if again.is_some_and(|other| other < place && all[other] == token) {
                continue; // The same place as that of the word before.
            }
            let without = || leave_out(&all, place);
            let key = match again {
                None => whole.wrapping_sub(ids[place]).wrapping_add(id(place, "*")),
                Some(_) => key(&without()),
            };
            let need = if is_named(&all, place) { need(token).min(NAMED) } else { need(token) };
            let Some(need) = NonZeroU8::new(need) else { continue };
            let slot = self.slot(key, dropped);
            if slot.add(Member { fingerprint: rank.1, letters: rank.0, need }) {
                made.extend(slot.ripe(key, &kept, without));
            }
        }
        made
    }

    /// What the general template of a place is called.
    pub(super) fn name(&mut self, key: u64, general: Rank) {
        if let Some(slot) = self.touch(key) {
            slot.more.get_or_insert_default().general = Some(general);
        }
    }

    fn touch(&mut self, key: u64) -> Option<&mut Slot> {
        if let Some(slot) = self.old.remove(&key) {
            self.young.insert(key, slot);
        }
        self.young.get_mut(&key)
    }

    fn slot(&mut self, key: u64, dropped: &mut u64) -> &mut Slot {
        if self.young.len() >= self.capacity / 2 {
            *dropped += self.old.len() as u64;
            self.old = std::mem::take(&mut self.young);
        }
        if let Some(slot) = self.old.remove(&key) {
            self.young.insert(key, slot);
        }
        self.young.entry(key).or_default()
    }
}

impl Slot {
    fn members(&self) -> impl Iterator<Item = &Member> {
        self.first.iter().chain(self.more.iter().flat_map(|more| &more.members))
    }

    /// Takes a member in, unless it is in already.
    fn add(&mut self, member: Member) -> bool {
        if self.members().any(|known| known.fingerprint == member.fingerprint) {
            return false;
        }
        if self.first.is_none() {
            self.first = Some(member);
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
    fn ripe(&mut self, key: u64, kept: impl Fn(u64) -> bool, template: impl FnOnce() -> String) -> Option<Generalised> {
        let known = usize::from(SIBLING) * usize::from(self.sibling);
        let enough = |need: u8| {
            let members = self.members().filter(|member| member.need.get() <= need).count();
            members > 0 && members + known >= usize::from(need)
        };
        let level = [PLAIN, CAPITALS, MASKED_TAIL, DASHED, DOTTED].into_iter().find(|need| enough(*need))?;
        let grown = level > self.level;
        self.level = self.level.max(level);
        let told = if grown { 0 } else { self.members().count().saturating_sub(1) };
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

/// Whether the word before the place announces a name; `key=value` does not.
fn is_named(all: &[&str], place: usize) -> bool {
    for token in all[..place].iter().rev() {
        if *token == "=" {
            return false;
        }
        if has_letter(token) {
            return NAMES.has(token.as_bytes());
        }
        if token.as_bytes().contains(&STAR) {
            return false;
        }
    }
    false
}

fn has_letter(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_alphabetic() || byte >= 0x80) && text != "…"
}

/// What a token adds to the key of a template that has it at a place.
fn id(place: usize, token: &str) -> u64 {
    // The place turns the bits, so that two words that change places make another template.
    (hash(token.as_bytes()) ^ place as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(place as u32 % 63)
}

fn sum(ids: &[u64]) -> u64 {
    ids.iter().fold(ids.len() as u64, |sum, id| sum.wrapping_add(*id))
}

/// The key of a template in the evidence.
fn key(template: &str) -> u64 {
    let all = tokens(template);
    sum(&all.iter().enumerate().map(|(place, token)| id(place, token)).collect::<Vec<_>>())
}

/// Whether a token has more than letters and digits.
fn is_mixed(token: &str) -> bool {
    token.bytes().any(|byte| byte.is_ascii_punctuation())
}

/// Whether a word stands inside another token that has more than letters: `SAM` in `config/SAM`, not `port`
/// in `report`.
fn stands_in(token: &str, other: &str) -> bool {
    other.len() > token.len()
        && token.len() >= REPEATED
        && is_mixed(other)
        && find(other.as_bytes(), token.as_bytes()).is_some()
}

/// Where the word of a place stands once more, among the tokens with letters and those that are mixed.
fn stands_again(all: &[&str], place: usize, lettered: &[usize], mixed: &[usize]) -> Option<usize> {
    let token = all[place];
    if token.len() < REPEATED {
        return None;
    }
    let same = lettered.iter().copied().find(|at| *at != place && all[*at] == token);
    let inside = mixed.iter().copied().find(|at| stands_in(token, all[*at]));
    same.into_iter().chain(inside).min()
}

/// The template with a star for a token, and wherever the same word stands again.
fn leave_out(all: &[&str], place: usize) -> String {
    let token = all[place];
    let mut out = String::new();
    for (at, other) in all.iter().enumerate() {
        if at == place || (*other == token && token.len() >= REPEATED) {
            out.push('*');
            continue;
        }
        let mut rest = *other;
        if stands_in(token, other) {
            while let Some(found) = find(rest.as_bytes(), token.as_bytes()) {
                out.push_str(&rest[..found]);
                out.push('*');
                rest = &rest[found + token.len()..];
            }
        }
        out.push_str(rest);
    }
    out
}

/// Where a word stands in a short text; a searcher of the standard library takes longer to set up than
/// this to find. The place is a character's beginning, since the word begins with one.
fn find(text: &[u8], word: &[u8]) -> Option<usize> {
    let (first, last) = (*word.first()?, text.len().checked_sub(word.len())?);
    (0..=last).find(|at| text[*at] == first && text[*at..*at + word.len()] == *word)
}

/// How many different words it takes, by the shape of this one.
fn need(token: &str) -> u8 {
    let bytes = token.as_bytes();
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == STAR || byte >= 0x80;
    let joined =
        |marks: &[u8]| bytes.windows(3).any(|three| word(three[0]) && marks.contains(&three[1]) && word(three[2]));
    if matches!(bytes.first(), Some(b'"' | b'\'')) || joined(b"._/\\$@~") {
        DOTTED
    } else if bytes.contains(&b'-') {
        DASHED
    } else if bytes.last() == Some(&STAR) {
        MASKED_TAIL
    } else if bytes.iter().skip(1).any(u8::is_ascii_uppercase) {
        CAPITALS
    } else {
        PLAIN
    }
}
