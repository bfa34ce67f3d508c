//! The pass over a text: bytes and triples of bytes at which a scanner is asked.

use std::sync::LazyLock;

use super::bytes::{ALNUM, LETTER, at as byte_at, is, run};
use super::kind::{Kind, Kinds};
use super::{assigned, blocks, personal, tokens};

/// How a marker begins.
pub(super) const MARKER: &[u8] = b"[REDACTED:";
/// The longest name of a kind.
pub(super) const LONGEST_NAME: usize = 40;

/// A piece of a text that is not to be shown: byte range and kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) kind: Kind,
}

impl Hit {
    pub(super) fn new(start: usize, end: usize, kind: Kind) -> Self {
        Self { start, end, kind }
    }
}

/// Bits by the hash of three bytes: whether a scanner is to be asked where they stand.
struct Heads([u64; 1 << (HASH_BITS - 6)]);

const HASH_BITS: usize = 18;

fn hash(bytes: [u8; 3]) -> usize {
    let key = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]);
    (key.wrapping_mul(0x9E37_79B1) >> (32 - HASH_BITS)) as usize
}

impl Heads {
    fn has(&self, bytes: [u8; 3]) -> bool {
        let place = hash(bytes);
        self.0[place >> 6] >> (place & 63) & 1 == 1
    }
}

static HEADS: LazyLock<Heads> = LazyLock::new(|| {
    let mut heads = Heads([0; 1 << (HASH_BITS - 6)]);
    let mut add = |bytes: [u8; 3]| heads.0[hash(bytes) >> 6] |= 1 << (hash(bytes) & 63);
    tokens::heads(&mut add);
    personal::heads(&mut add);
    for head in [b"---", b"[RE", b"Bea", b"bea", b"BEA", b"Bas", b"bas", b"BAS"] {
        add(*head);
    }
    (0..=255).filter(|byte| is(*byte, LETTER)).for_each(|byte| add([b'-', b'-', byte]));
    heads
});

/// What a single byte asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asks {
    Nothing,
    Digit,
    Sign,
    At,
    Quote,
    Tilde,
    Escape,
}

const ASKS: [Asks; 256] = {
    let mut table = [Asks::Nothing; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b'0'..=b'9' => Asks::Digit,
            b'=' | b':' | b'>' => Asks::Sign,
            b'@' => Asks::At,
            b'"' | b'\'' => Asks::Quote,
            b'~' => Asks::Tilde,
            b'\\' | b'%' | b'[' => Asks::Escape,
            _ => Asks::Nothing,
        };
        byte += 1;
    }
    table
};

/// The end of the marker that begins at `at`.
pub(super) fn marker(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?.strip_prefix(MARKER)?;
    let name = rest.iter().take(LONGEST_NAME + 1).position(|byte| !is_name_byte(*byte))?;
    (name > 0 && rest[name] == b']').then_some(at + MARKER.len() + name + 1)
}

pub(super) fn is_name_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_')
}

/// All that is to be redacted and that a scanner finds before `until`, by its place; no two overlap, and none reaches
/// into a marker.
pub(super) fn scan(bytes: &[u8], until: usize, kinds: Kinds, hits: &mut Vec<Hit>) {
    let heads = &*HEADS;
    // Nothing before it is looked at: the end of what was redacted last.
    let mut floor = 0;
    // Behind an escape such as `\n` a word begins although a letter stands before it.
    let mut escaped = 0;
    let mut at = 0;
    let mut found = Vec::new();
    while at < until {
        let byte = bytes[at];
        let asks = ASKS[usize::from(byte)];
        let head = at + 2 < bytes.len() && heads.has([byte, bytes[at + 1], bytes[at + 2]]);
        if byte == b'['
            && head
            && let Some(end) = marker(bytes, at)
        {
            (at, floor) = (end, end);
            continue;
        }
        if head {
            found.extend(at_head(bytes, floor, at));
        }
        if found.is_empty() {
            match asks {
                Asks::Nothing => {}
                Asks::Digit => found.extend(personal::card(bytes, floor, at)),
                Asks::Sign => at_sign(bytes, floor, at, &mut found),
                Asks::At => found.extend(personal::email(bytes, floor, at)),
                Asks::Quote => found.extend(assigned::quotation(bytes, floor, at)),
                Asks::Tilde => found.extend(tokens::azure(bytes, floor, at)),
                Asks::Escape => escaped = escape(bytes, at),
            }
        }
        // Within a word nothing begins.
        let mut next = if is(byte, ALNUM) { run(bytes, at + 1, ALNUM) } else { at + 1 };
        if at < escaped {
            next = next.min(escaped);
        }
        for hit in found.drain(..).filter(|hit| kinds.has(hit.kind)) {
            if hit.start < hit.end && hit.start >= floor {
                hits.push(hit);
                (next, floor, escaped) = (hit.end, hit.end, 0);
            }
        }
        at = next;
    }
}

/// The end of the escape that begins at `at`; `at` where none does. What [`starts_word`] looks back for.
///
/// [`starts_word`]: super::bytes::starts_word
fn escape(bytes: &[u8], at: usize) -> usize {
    match bytes[at] {
        b'%' => at + 3,
        b'\\' => at + if bytes.get(at + 1) == Some(&b'u') { 6 } else { 2 },
        _ => {
            let parameters = bytes[at + 1..].iter().take(12).take_while(|byte| byte.is_ascii_digit() || **byte == b';');
            at + 2 + parameters.count()
        }
    }
}

fn at_head(bytes: &[u8], floor: usize, at: usize) -> Option<Hit> {
    match bytes[at] {
        b'-' => blocks::private_key(bytes, at).or_else(|| {
            let flag = byte_at(bytes, at + 1, super::bytes::DASH) && byte_at(bytes, at + 2, LETTER);
            flag.then(|| assigned::flag(bytes, floor, at)).flatten()
        }),
        b'b' | b'B' => assigned::scheme(bytes, floor, at),
        _ => tokens::find(bytes, floor, at).or_else(|| personal::iban(bytes, floor, at)),
    }
}

fn at_sign(bytes: &[u8], floor: usize, at: usize, found: &mut Vec<Hit>) {
    if bytes[at] == b':' {
        let hit = if byte_at(bytes, at + 1, ALNUM) {
            tokens::telegram(bytes, floor, at)
        } else {
            blocks::url_password(bytes, at)
        };
        if let Some(hit) = hit {
            found.push(hit);
            return;
        }
    }
    assigned::at_sign(bytes, floor, at, found);
}
