//! What a sentence refers to: ids, quotations, numbers, names, links.

/// The ids in brackets, as in `[log:1, deploy:2]`: words of a kind, a colon and a number.
pub(super) fn cited(text: &str) -> Vec<&str> {
    let mut ids = Vec::new();
    for part in text.split('[').skip(1) {
        let Some((inner, _)) = part.split_once(']') else { continue };
        ids.extend(inner.split([',', ';', ' ']).map(str::trim).filter(|word| is_id(word)));
    }
    ids
}

/// `kind:number`, after an `ev:` where a model adds one.
pub(super) fn is_id(word: &str) -> bool {
    let Some((kind, number)) = word.rsplit_once(':') else { return false };
    !kind.is_empty()
        && kind.bytes().all(|b| b.is_ascii_lowercase() || matches!(b, b'_' | b':' | b'-'))
        && !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit())
}

/// Texts between double quotes, straight or curved, or backquotes, of at least two words or four characters: shorter
/// ones are emphasis.
pub(super) fn quoted(text: &str) -> Vec<&str> {
    const MARKS: [(char, char); 3] = [('"', '"'), ('`', '`'), ('\u{201c}', '\u{201d}')];
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((at, open)) = rest.char_indices().find(|(_, c)| MARKS.iter().any(|(open, _)| open == c)) {
        let after = &rest[at + open.len_utf8()..];
        let close = MARKS.iter().find(|(mark, _)| *mark == open).map_or(open, |(_, close)| *close);
        let Some(end) = after.find(close) else { break };
        let inner = after[..end].trim();
        if inner.chars().count() >= 4 {
            found.push(inner);
        }
        rest = &after[end + close.len_utf8()..];
    }
    found
}

/// Words with a digit that claim something exact: a number with a unit or a percent sign, a version, a time. Bare
/// counts and what stands in a citation are no claims.
pub(super) fn exact(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut words = plain_words(text).peekable();
    while let Some(word) = words.next() {
        if !word.contains(|c: char| c.is_ascii_digit()) || is_id(word) {
            continue;
        }
        let bare = word.bytes().all(|b| b.is_ascii_digit());
        let unit = words.peek().is_some_and(|next| UNITS.contains(next));
        let fraction = word.contains('.') && word.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        if (!bare || unit) && (fraction || unit || ends_in_unit(word) || is_version(word) || is_time(word)) {
            found.push(word);
        }
    }
    found
}

const UNITS: [&str; 20] = [
    "%", "ms", "s", "sec", "seconds", "min", "minutes", "h", "hours", "B", "KB", "MB", "GB", "TB", "KiB", "MiB", "GiB",
    "percent", "rps", "req/s",
];

fn ends_in_unit(word: &str) -> bool {
    let digits = word.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == '%' || c == '/');
    digits.len() < word.len()
        && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        && UNITS.contains(&&word[digits.len()..])
}

/// `v2`, `v1.2.3`, `1.2.3`.
pub(super) fn is_version(word: &str) -> bool {
    let digits = word.strip_prefix('v').unwrap_or(word);
    let dotted =
        digits.bytes().all(|b| b.is_ascii_digit() || b == b'.') && digits.starts_with(|c: char| c.is_ascii_digit());
    dotted && (digits.len() < word.len() || digits.matches('.').count() >= 2)
}

/// `12:03`, `2026-11-25T12:03:00Z`.
pub(super) fn is_time(word: &str) -> bool {
    word.bytes().all(|b| b.is_ascii_digit() || matches!(b, b':' | b'-' | b'T' | b'Z' | b'.'))
        && word.matches([':', '-']).count() >= 1
        && word.starts_with(|c: char| c.is_ascii_digit())
}

/// Words that can only be names of things that run: `payments-db`, `cart-7f9c4d-x2x1z`, `db01.prod.example`: letters
/// with a hyphen and a digit, or with an underscore or a dot inside.
pub(super) fn names(text: &str) -> Vec<&str> {
    plain_words(text)
        .filter(|word| {
            let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/');
            let letters = word.contains(|c: char| c.is_ascii_alphabetic());
            let digit = word.contains(|c: char| c.is_ascii_digit());
            let joined = (word.contains('-') && digit) || word.contains('_') || (word.contains('.') && digit);
            letters && joined && word.chars().all(inner) && !is_version(word) && !ends_in_unit(word)
        })
        .collect()
}

/// Words without the punctuation around them; ids in brackets are left out.
fn plain_words(text: &str) -> impl Iterator<Item = &str> {
    let edge = |c: char| !c.is_alphanumeric() && c != '%';
    text.split(|c: char| {
        c.is_whitespace() || matches!(c, ',' | ';' | '(' | ')' | '[' | ']' | '"' | '`' | '=' | '\u{201c}' | '\u{201d}')
    })
    .map(move |word| word.trim_start_matches(edge).trim_end_matches(edge))
    .filter(|word| !word.is_empty() && !is_id(word))
}

/// The text with each link replaced, and how many there were.
pub(super) fn without_links(text: &str) -> (String, usize) {
    const SCHEMES: [&str; 9] = ["http:", "https:", "ftp:", "file:", "data:", "javascript:", "mailto:", "ssh:", "www."];
    let (mut out, mut links) = (String::with_capacity(text.len()), 0);
    for piece in text.split_inclusive(char::is_whitespace) {
        let word = piece.trim_end();
        let lower = word.to_ascii_lowercase();
        let scheme = SCHEMES.iter().filter_map(|scheme| begins_link(&lower, scheme)).min();
        match scheme.or_else(|| {
            let other = |c: &(usize, char)| !c.1.is_ascii_alphanumeric() && !matches!(c.1, '+' | '.' | '-');
            lower
                .find("://")
                .map(|at| lower[..at].char_indices().rev().find(other).map_or(0, |(at, before)| at + before.len_utf8()))
        }) {
            Some(at) => {
                links += 1;
                // What stands before it stays, but for the marks of markdown and of chat links.
                out.push_str(word[..at].trim_end_matches(['(', '<', '[', ']', '!']));
                out.push_str(if out.is_empty() || out.ends_with(char::is_whitespace) {
                    "(link removed)"
                } else {
                    " (link removed)"
                });
                out.push_str(&piece[word.len()..]);
            }
            None => out.push_str(piece),
        }
    }
    (out, links)
}

/// Where a link of this scheme begins in a word: at its start or after a character that no scheme has, and with
/// something behind it.
fn begins_link(word: &str, scheme: &str) -> Option<usize> {
    word.match_indices(scheme).map(|(at, _)| at).find(|at| {
        let before = word[..*at].chars().next_back();
        let after = &word[at + scheme.len()..];
        let slashes = !matches!(scheme, "http:" | "https:" | "ftp:" | "file:" | "ssh:") || after.starts_with('/');
        before.is_none_or(|c| !c.is_ascii_alphanumeric()) && !after.is_empty() && slashes
    })
}
