//! Merging by evidence: a place in a template is variable once enough different words were seen there,
//! all else being equal (facts 3.3).

use std::num::NonZeroU8;

use super::alias::Rank;
use super::fingerprint::Settled;
use super::hash::{OF_BYTE, hash};
use super::known::Known;
use super::mask::STAR;
use super::slots::{CAPITALS, DASHED, DOTTED, Generalised, MASKED_TAIL, Member, PLAIN, Slots};
use super::tokens::{MAX_TOKENS, Token, tokens};

/// Different words that make a place variable behind a word that announces a name.
const NAMED: u8 = 4;
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

/// What was seen in the places of templates.
#[derive(Debug)]
pub(super) struct Evidence {
    slots: Slots,
    /// Of the template that is taken in: what each token adds to its key, the places of the tokens with
    /// letters, of those the mixed ones, and what may prove variable.
    ids: Vec<u64>,
    lettered: Vec<usize>,
    mixed: Vec<usize>,
    places: Vec<Place>,
}

/// A token that may prove variable.
#[derive(Debug, Clone, Copy)]
struct Place {
    at: usize,
    /// The key of the template without it.
    key: u64,
    need: NonZeroU8,
}

impl Evidence {
    /// Keeps at most so many places.
    pub(super) fn new(capacity: usize) -> Self {
        let slots = Slots::new(capacity);
        Self { slots, ids: Vec::new(), lettered: Vec::new(), mixed: Vec::new(), places: Vec::new() }
    }

    /// Takes in a template that was not known; the more general ones that it makes, or is covered by.
    /// Each new one is to be named and taken in as well. `kept` tells whether the text of a general one
    /// is. The places that went are counted into `dropped`.
    pub(super) fn take(
        &mut self,
        template: &Settled,
        rank: Rank,
        kept: impl Fn(u64) -> bool,
        dropped: &mut u64,
    ) -> Vec<Generalised> {
        let Self { slots, ids, lettered, mixed, places } = self;
        let mut made = Vec::new();
        let Settled { text, tokens: all, .. } = template;
        ids.clear();
        ids.extend(all.iter().enumerate().map(|(place, token)| id(place, token.hash)));
        let whole = sum(ids);
        lettered.clear();
        lettered.extend((0..all.len()).filter(|place| all[*place].has_letter()));
        mixed.clear();
        mixed.extend(lettered.iter().copied().filter(|place| all[*place].is_mixed()));
        let template = Template { text, all, ids, whole, lettered, mixed, twice: &Twice::among(all, lettered) };
        places.clear();
        // One other word must stay.
        if lettered.len() >= 2 {
            places.extend(lettered.iter().filter_map(|place| template.place(*place)));
        }
        slots.ask_for(places.iter().map(|place| place.key).chain([whole]));
        // Also where no word was seen yet: one that comes later is to meet its sibling.
        let slot = slots.slot(whole, dropped);
        slot.sibling = true;
        made.extend(slot.ripe(whole, &kept, || text.clone()));
        for Place { at, key, need } in places.iter().copied() {
            let slot = slots.slot(key, dropped);
            if slot.add(Member { fingerprint: rank.1, letters: rank.0, need }) {
                made.extend(slot.ripe(key, &kept, || template.leave_out(at)));
            }
        }
        made
    }

    /// What the general template of a place is called.
    pub(super) fn name(&mut self, key: u64, general: Rank) {
        self.slots.name(key, general);
    }
}

/// A template that is looked at place by place.
struct Template<'a> {
    text: &'a str,
    all: &'a [Token],
    ids: &'a [u64],
    /// The sum of the ids.
    whole: u64,
    lettered: &'a [usize],
    mixed: &'a [usize],
    twice: &'a Twice,
}

impl<'a> Template<'a> {
    fn token(&self, place: usize) -> &'a [u8] {
        self.all[place].of(self.text).as_bytes()
    }

    /// What is to be asked of the token of a place; none where it is never variable, or was asked for where
    /// the same word stands before.
    fn place(&self, at: usize) -> Option<Place> {
        if at >= MAX_TOKENS - 1 || NEVER.has(self.token(at)) {
            return None;
        }
        let again = self.stands_again(at);
        if again.is_some_and(|other| other < at && self.is_equal(other, at)) {
            return None;
        }
        let key = if again.is_some() { self.key_without_all(at) } else { self.key_without(at) };
        let need = need(&self.all[at], self.token(at));
        let need = if self.is_named(at) { need.min(NAMED) } else { need };
        Some(Place { at, key, need: NonZeroU8::new(need)? })
    }

    #[inline]
    fn is_equal(&self, one: usize, other: usize) -> bool {
        self.all[one].hash == self.all[other].hash && self.token(one) == self.token(other)
    }

    /// Whether the word of a place stands inside another token that has more than letters: `SAM` in
    /// `config/SAM`, not `port` in `report`.
    fn stands_in(&self, place: usize, other: usize) -> bool {
        let (word, other_token) = (&self.all[place], &self.all[other]);
        word.len() >= REPEATED
            && other_token.is_mixed()
            && word.may_stand_in(other_token)
            && find(self.token(other), self.token(place)).is_some()
    }

    /// Where the word of a place stands once more, among the tokens with letters and those that are mixed.
    fn stands_again(&self, place: usize) -> Option<usize> {
        if self.all[place].len() < REPEATED {
            return None;
        }
        let same = || self.lettered.iter().copied().find(|at| *at != place && self.is_equal(*at, place));
        let same = if self.twice.may_be(self.all[place].hash) { same() } else { None };
        let word = &self.all[place];
        let inside =
            self.mixed.iter().copied().find(|at| word.may_stand_in(&self.all[*at]) && self.stands_in(place, *at));
        same.into_iter().chain(inside).min()
    }

    /// Whether the word before the place announces a name; `key=value` does not.
    fn is_named(&self, place: usize) -> bool {
        for (at, token) in self.all[..place].iter().enumerate().rev() {
            if token.has_letter() {
                return NAMES.has(self.token(at));
            }
            if token.has_star() || self.token(at) == b"=" {
                return false;
            }
        }
        false
    }

    /// The key of the template with a star for a token.
    fn key_without(&self, place: usize) -> u64 {
        self.whole.wrapping_sub(self.ids[place]).wrapping_add(id(place, OF_BYTE[usize::from(STAR)]))
    }

    /// The key of the template with a star for a token, and wherever the same word stands again: its tokens
    /// are those of this one but for the stars in them.
    fn key_without_all(&self, place: usize) -> u64 {
        let mut key = self.whole;
        let mut starred = String::new();
        for at in 0..self.all.len() {
            if self.is_equal(at, place) || self.stands_in(place, at) {
                if self.makes_quotes(at) {
                    return key_of(&self.leave_out(place));
                }
                starred.clear();
                self.push_without(place, at, &mut starred);
                key = key.wrapping_sub(self.ids[at]).wrapping_add(id(at, hash(starred.as_bytes())));
            }
        }
        key
    }

    /// Whether a star in the token of a place may make other tokens of the text than it has: where the
    /// token is quoted, or stands behind a quote, which quotes nothing before a letter.
    fn makes_quotes(&self, at: usize) -> bool {
        let behind = at > 0 && matches!(self.token(at - 1).last(), Some(b'"' | b'\''));
        behind || self.all[at].has_quote()
    }

    /// The template with a star for a token, and wherever the same word stands again.
    fn leave_out(&self, place: usize) -> String {
        let mut out = String::with_capacity(self.text.len());
        for at in 0..self.all.len() {
            self.push_without(place, at, &mut out);
        }
        out
    }

    /// Writes one token of the template without the word of a place.
    fn push_without(&self, place: usize, at: usize, out: &mut String) {
        if at == place || self.all[place].len() >= REPEATED && self.is_equal(at, place) {
            out.push('*');
            return;
        }
        let (word, mut rest) = (self.token(place), self.all[at].of(self.text));
        if self.stands_in(place, at) {
            while let Some(found) = find(rest.as_bytes(), word) {
                out.push_str(&rest[..found]);
                out.push('*');
                rest = &rest[found + word.len()..];
            }
        }
        out.push_str(rest);
    }
}

/// The key of a template.
fn key_of(template: &str) -> u64 {
    let mut all = Vec::new();
    tokens(template, &mut all);
    sum(&all.iter().enumerate().map(|(place, token)| id(place, token.hash)).collect::<Vec<_>>())
}

/// Which tokens may stand twice, by a few bits of their hashes.
#[derive(Debug, Default)]
struct Twice {
    once: [u64; 8],
    twice: [u64; 8],
}

impl Twice {
    fn among(all: &[Token], lettered: &[usize]) -> Self {
        let mut seen = Self::default();
        for (group, bit) in lettered.iter().map(|place| Self::place(all[*place].hash)) {
            seen.twice[group] |= seen.once[group] & bit;
            seen.once[group] |= bit;
        }
        seen
    }

    fn may_be(&self, hash: u64) -> bool {
        let (group, bit) = Self::place(hash);
        self.twice[group] & bit != 0
    }

    fn place(hash: u64) -> (usize, u64) {
        ((hash >> 6 & 7) as usize, 1 << (hash & 63))
    }
}

/// What a token adds to the key of a template that has it at a place.
fn id(place: usize, token: u64) -> u64 {
    // The place turns the bits, so that two words that change places make another template.
    (token ^ place as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(place as u32 % 63)
}

fn sum(ids: &[u64]) -> u64 {
    ids.iter().fold(ids.len() as u64, |sum, id| sum.wrapping_add(*id))
}

/// Where a word stands in a short text; a searcher of the standard library takes longer to set up than
/// this to find. The place is a character's beginning, since the word begins with one.
fn find(text: &[u8], word: &[u8]) -> Option<usize> {
    let (first, last) = (*word.first()?, text.len().checked_sub(word.len())?);
    (0..=last).find(|at| text[*at] == first && text[*at..*at + word.len()] == *word)
}

/// How many different words it takes, by the shape of this one.
fn need(token: &Token, bytes: &[u8]) -> u8 {
    if token.is_mixed() {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == STAR || byte >= 0x80;
        let joint = |byte: u8| matches!(byte, b'.' | b'_' | b'/' | b'\\' | b'$' | b'@' | b'~');
        let joined = bytes.windows(3).any(|three| joint(three[1]) && word(three[0]) && word(three[2]));
        if matches!(bytes.first(), Some(b'"' | b'\'')) || joined {
            return DOTTED;
        }
        if bytes.contains(&b'-') {
            return DASHED;
        }
        if bytes.last() == Some(&STAR) {
            return MASKED_TAIL;
        }
    }
    if token.has_capital() && bytes.iter().skip(1).any(u8::is_ascii_uppercase) { CAPITALS } else { PLAIN }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_without_a_word_is_that_of_the_text_without_it() {
        const PIECES: [&str; 16] = [
            "abc",
            "'abc'",
            "x.abc",
            "'x.abc'",
            "'",
            "\"",
            " ",
            " ",
            "abc-d",
            "(",
            "*",
            "!",
            "xabcabcy/",
            "é",
            "it.",
            "…",
        ];
        let (mut state, mut all, mut asked) = (1u64, Vec::new(), 0);
        for _ in 0..5_000 {
            let mut text = String::new();
            for _ in 0..8 {
                state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1);
                text += PIECES[(state >> 60) as usize];
            }
            tokens(&text, &mut all);
            let ids: Vec<u64> = all.iter().enumerate().map(|(place, token)| id(place, token.hash)).collect();
            let lettered: Vec<usize> = (0..all.len()).filter(|place| all[*place].has_letter()).collect();
            let mixed: Vec<usize> = lettered.iter().copied().filter(|place| all[*place].is_mixed()).collect();
            let (lettered, mixed) = (lettered.as_slice(), mixed.as_slice());
            let twice = &Twice::among(&all, lettered);
            let template = Template { text: &text, all: &all, ids: &ids, whole: sum(&ids), lettered, mixed, twice };
            assert_eq!(template.whole, key_of(&text));
            for place in lettered.iter().copied().filter(|place| template.stands_again(*place).is_some()) {
                assert_eq!(template.key_without_all(place), key_of(&template.leave_out(place)), "{text:?} at {place}");
                asked += 1;
            }
        }
        assert!(asked > 1_000, "{asked}");
    }
}
