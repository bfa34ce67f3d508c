//! Merging by evidence: a place in a template is variable once enough different words were seen there,
//! all else being equal (facts 3.3).

use std::collections::HashSet;

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
const NEVER: [&str; 48] = [
    "true", "false", "null", "nil", "none", "on", "off", "yes", "no", "get", "put", "post", "delete", "head", "patch",
    "options", "up", "down", "ok", "error", "fail", "failed", "success", "start", "stop", "started", "stopped",
    "enabled", "disabled", "open", "opened", "closed", "close", "begin", "end", "enter", "exit", "in", "out", "read",
    "write", "trace", "debug", "info", "warn", "warning", "critical", "fatal",
];
/// Words that announce a name.
const NAMES: [&str; 36] = [
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
];

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
    /// One for each word seen, up to the largest need.
    members: Vec<Member>,
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
    never: HashSet<&'static str>,
    names: HashSet<&'static str>,
}

impl Evidence {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            young: HashedMap::default(),
            old: HashedMap::default(),
            capacity: capacity.max(2),
            never: NEVER.into(),
            names: NAMES.into(),
        }
    }

    /// Takes in a template that was not known; the more general ones that it makes, or is covered by.
    /// Each is to be taken in as well. The places that went are counted into `dropped`.
    pub(super) fn take(&mut self, template: &str, rank: Rank, dropped: &mut u64) -> Vec<Generalised> {
        let mut made = Vec::new();
        let key = hash(template.as_bytes());
        if let Some(slot) = self.touch(key) {
            slot.sibling = true;
            made.extend(slot.ripe(|| template.to_owned()));
        }
        let all = tokens(template);
        let mut lettered = all.iter().filter(|token| has_letter(token));
        // One other word must stay.
        if lettered.next().is_none() || lettered.next().is_none() {
            return made;
        }
        let mut without = String::with_capacity(template.len());
        let mut seen = Vec::new();
        for (place, token) in all.iter().enumerate().take(MAX_TOKENS - 1) {
            if !has_letter(token) || self.never.contains(token.to_ascii_lowercase().as_str()) {
                continue;
            }
            leave_out(&all, place, &mut without);
            let key = hash(without.as_bytes());
            if seen.contains(&key) || !has_letter(&without) {
                continue;
            }
            seen.push(key);
            let need = if self.is_named(&all, place) { need(token).min(NAMED) } else { need(token) };
            let slot = self.slot(key, dropped);
            if slot.add(Member { fingerprint: rank.1, letters: rank.0, need }) {
                made.extend(slot.ripe(|| without.clone()));
            }
        }
        made
    }

    /// Whether the word before the place announces a name; `key=value` does not.
    fn is_named(&self, all: &[&str], place: usize) -> bool {
        for token in all[..place].iter().rev() {
            if *token == "=" {
                return false;
            }
            if has_letter(token) {
                return self.names.contains(token.to_ascii_lowercase().as_str());
            }
            if token.as_bytes().contains(&STAR) {
                return false;
            }
        }
        false
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
    /// Takes a member in, unless it is in already or nothing could be learned from one more.
    fn add(&mut self, member: Member) -> bool {
        if self.members.iter().any(|known| known.fingerprint == member.fingerprint) {
            return false;
        }
        if self.members.len() >= usize::from(PLAIN) {
            // Whatever stands here is variable: the newest member alone is told.
            self.members.pop();
        }
        self.members.reserve_exact(usize::from(self.members.is_empty()));
        self.members.push(member);
        true
    }

    /// The general template and its members, once there is enough evidence: of the words that take `n`
    /// different ones or fewer there are `n`. Which members these are depends on no order.
    fn ripe(&mut self, template: impl FnOnce() -> String) -> Option<Generalised> {
        let known = usize::from(SIBLING) * usize::from(self.sibling);
        let enough = |need: u8| {
            let members = self.members.iter().filter(|member| member.need <= need).count();
            members > 0 && members + known >= usize::from(need)
        };
        let level = [PLAIN, CAPITALS, MASKED_TAIL, DASHED, DOTTED].into_iter().find(|need| enough(*need))?;
        let grown = level > self.level;
        self.level = self.level.max(level);
        let newest = self.members.last().filter(|member| member.need <= self.level);
        let told: &[Member] = if grown { &self.members } else { newest.map_or(&[], std::slice::from_ref) };
        let members: Vec<Rank> = told
            .iter()
            .filter(|member| member.need <= self.level)
            .map(|member| (member.letters, member.fingerprint))
            .collect();
        (!members.is_empty()).then(|| Generalised { template: template(), members })
    }
}

fn has_letter(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_alphabetic() || byte >= 0x80) && text != "…"
}

/// The template with a star for a token, and wherever the same word stands again.
fn leave_out(all: &[&str], place: usize, out: &mut String) {
    let token = all[place];
    out.clear();
    for (at, other) in all.iter().enumerate() {
        if at == place {
            out.push('*');
        } else if token.len() >= REPEATED && other.len() >= token.len() && other.contains(token) {
            let mut pieces = other.split(token);
            out.push_str(pieces.next().unwrap_or_default());
            for piece in pieces {
                out.push('*');
                out.push_str(piece);
            }
        } else {
            out.push_str(other);
        }
    }
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
