//! Merging by evidence: a place in a template is variable once enough different words were seen there,
//! all else being equal (facts 3.3).

use super::alias::Rank;
use super::hash::{HashedMap, hash};
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
const NEVER: [&[u8]; 48] = [
    b"true",
    b"false",
    b"null",
    b"nil",
    b"none",
    b"on",
    b"off",
    b"yes",
    b"no",
    b"get",
    b"put",
    b"post",
    b"delete",
    b"head",
    b"patch",
    b"options",
    b"up",
    b"down",
    b"ok",
    b"error",
    b"fail",
    b"failed",
    b"success",
    b"start",
    b"stop",
    b"started",
    b"stopped",
    b"enabled",
    b"disabled",
    b"open",
    b"opened",
    b"closed",
    b"close",
    b"begin",
    b"end",
    b"enter",
    b"exit",
    b"in",
    b"out",
    b"read",
    b"write",
    b"trace",
    b"debug",
    b"info",
    b"warn",
    b"warning",
    b"critical",
    b"fatal",
];
/// Words that announce a name.
const NAMES: [&[u8]; 36] = [
    b"user",
    b"username",
    b"login",
    b"host",
    b"hostname",
    b"for",
    b"from",
    b"by",
    b"to",
    b"domain",
    b"service",
    b"process",
    b"session",
    b"client",
    b"server",
    b"peer",
    b"node",
    b"interface",
    b"device",
    b"file",
    b"package",
    b"module",
    b"name",
    b"job",
    b"task",
    b"thread",
    b"key",
    b"tag",
    b"topic",
    b"queue",
    b"table",
    b"container",
    b"pod",
    b"image",
    b"ruser",
    b"account",
];

fn is_one_of(words: &[&[u8]], token: &str) -> bool {
    words.iter().any(|word| word.eq_ignore_ascii_case(token.as_bytes()))
}

/// A template that became general, and what it covers.
#[derive(Debug)]
pub(super) struct Generalised {
    pub(super) template: String,
    pub(super) members: Vec<Rank>,
}

/// A template with one of the words of a place, and how many different words that one takes.
#[derive(Debug, Clone, Copy)]
struct Member {
    fingerprint: u64,
    letters: u16,
    need: u8,
}

/// One place of a template, whatever word stands there.
#[derive(Debug, Default)]
struct Slot {
    /// The first word seen; most places never see another.
    first: Option<Member>,
    /// One for each further word, up to the largest need together.
    more: Vec<Member>,
    sibling: bool,
    /// Words up to this need are variable here; 0 for none.
    level: u8,
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
    /// Each is to be taken in as well. The places that went are counted into `dropped`.
    pub(super) fn take(&mut self, template: &str, rank: Rank, dropped: &mut u64) -> Vec<Generalised> {
        let mut made = Vec::new();
        let all = tokens(template);
        let ids: Vec<u64> = all.iter().enumerate().map(|(place, token)| id(place, token)).collect();
        let whole = sum(&ids);
        if let Some(slot) = self.touch(whole) {
            slot.sibling = true;
            made.extend(slot.ripe(|| template.to_owned()));
        }
        let mut lettered = all.iter().filter(|token| has_letter(token));
        // One other word must stay.
        if lettered.next().is_none() || lettered.next().is_none() {
            return made;
        }
        for (place, token) in all.iter().enumerate().take(MAX_TOKENS - 1) {
            if !has_letter(token) || is_one_of(&NEVER, token) {
                continue;
            }
            let again = stands_again(&all, place);
            if again.is_some_and(|other| other < place && all[other] == *token) {
                continue; // The same place as that of the word before.
            }
            let without = || leave_out(&all, place);
            let key = match again {
                None => whole.wrapping_sub(ids[place]).wrapping_add(id(place, "*")),
                Some(_) => key(&without()),
            };
            let need = if is_named(&all, place) { need(token).min(NAMED) } else { need(token) };
            let slot = self.slot(key, dropped);
            if slot.add(Member { fingerprint: rank.1, letters: rank.0, need }) {
                made.extend(slot.ripe(without));
            }
        }
        made
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
        self.first.iter().chain(&self.more)
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
        if self.more.len() + 1 >= usize::from(PLAIN) {
            // Whatever stands here is variable by now: only the newest member is to be told.
            self.more.pop();
        }
        self.more.push(member);
        true
    }

    /// The general template and its members, once there is enough evidence: of the words that take `n`
    /// different ones or fewer there are `n`. Which members these are depends on no order.
    fn ripe(&mut self, template: impl FnOnce() -> String) -> Option<Generalised> {
        let known = usize::from(SIBLING) * usize::from(self.sibling);
        let enough = |need: u8| {
            let members = self.members().filter(|member| member.need <= need).count();
            members > 0 && members + known >= usize::from(need)
        };
        let level = [PLAIN, CAPITALS, MASKED_TAIL, DASHED, DOTTED].into_iter().find(|need| enough(*need))?;
        let grown = level > self.level;
        self.level = self.level.max(level);
        let told = if grown { 0 } else { self.more.len() };
        let members: Vec<Rank> = self
            .members()
            .skip(told)
            .filter(|member| member.need <= self.level)
            .map(|member| (member.letters, member.fingerprint))
            .collect();
        (!members.is_empty()).then(|| Generalised { template: template(), members })
    }
}

/// Whether the word before the place announces a name; `key=value` does not.
fn is_named(all: &[&str], place: usize) -> bool {
    for token in all[..place].iter().rev() {
        if *token == "=" {
            return false;
        }
        if has_letter(token) {
            return is_one_of(&NAMES, token);
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

/// Whether a word stands inside another token that has more than letters: `SAM` in `config/SAM`, not `port`
/// in `report`.
fn stands_in(token: &str, other: &str) -> bool {
    other.len() > token.len()
        && token.len() >= REPEATED
        && find(other.as_bytes(), token.as_bytes()).is_some()
        && other.bytes().any(|byte| byte.is_ascii_punctuation())
}

/// Where the word of a place stands once more.
fn stands_again(all: &[&str], place: usize) -> Option<usize> {
    let token = all[place];
    if token.len() < REPEATED {
        return None;
    }
    (0..all.len()).find(|at| *at != place && (all[*at] == token || stands_in(token, all[*at])))
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
