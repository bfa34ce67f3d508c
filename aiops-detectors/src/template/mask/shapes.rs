//! Values that are longer than a word: each function gives where the value that begins at a place ends.

use super::class::{BLANK, DIGIT, HEX, LETTER, PATH_END, RUN, SEPARATOR, WORD, at, class, is};

/// End of the digits from a place.
fn digits(line: &[u8], from: usize) -> usize {
    let mut end = from;
    while is(line, end, DIGIT) {
        end += 1;
    }
    end
}

/// End of a number of `low` to `high` digits.
fn number(line: &[u8], from: usize, low: usize, high: usize) -> Option<usize> {
    let end = digits(line, from);
    (low..=high).contains(&(end - from)).then_some(end)
}

/// `3:04`, `15:04:05`, `15:04:05.123`, `15:04:05,123`.
fn time_of_day(line: &[u8], from: usize) -> Option<usize> {
    let hour = number(line, from, 1, 2)?;
    if at(line, hour) != b':' {
        return None;
    }
    let mut end = number(line, hour + 1, 2, 2)?;
    if at(line, end) == b':'
        && let Some(second) = number(line, end + 1, 2, 2)
    {
        end = second;
        if matches!(at(line, end), b'.' | b',' | b':') && is(line, end + 1, DIGIT) {
            end = digits(line, end + 1);
        }
    }
    Some(end)
}

/// `Z`, `+02:00`, ` -0700`, ` UTC`, ` PDT` where one follows.
fn zone(line: &[u8], from: usize) -> usize {
    if at(line, from) == b'Z' && (!is(line, from + 1, WORD) || at(line, from + 1) == b'_') {
        return from + 1;
    }
    let start = if at(line, from) == b' ' { from + 1 } else { from };
    if matches!(at(line, start), b'+' | b'-')
        && let Some(hours) = number(line, start + 1, 2, 4)
    {
        let minutes = (at(line, hours) == b':').then(|| number(line, hours + 1, 2, 2)).flatten();
        return minutes.unwrap_or(hours);
    }
    let mut end = start;
    while end < start + 5 && at(line, end).is_ascii_uppercase() {
        end += 1;
    }
    let word = &line[start.min(line.len())..end.min(line.len())];
    let known = word == b"UTC" || ((3..=4).contains(&word.len()) && word.last() == Some(&b'T'));
    if known && start > from && !is(line, end, WORD) { end } else { from }
}

fn month(word: &[u8]) -> bool {
    const MONTHS: [&[u8]; 12] =
        [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];
    word.len() == 3 && MONTHS.iter().any(|month| word.eq_ignore_ascii_case(month))
}

fn weekday(word: &[u8]) -> bool {
    const DAYS: [&[u8]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];
    DAYS.contains(&word)
}

/// Three letters that no further letter follows.
fn short_word(line: &[u8], from: usize) -> &[u8] {
    if is(line, from + 3, WORD) { &[] } else { line.get(from..from + 3).unwrap_or(&[]) }
}

/// One or two blanks (a day below 10 is padded).
fn blanks(line: &[u8], from: usize) -> Option<usize> {
    (at(line, from) == b' ' && from < line.len()).then_some(())?;
    Some(if at(line, from + 1) == b' ' { from + 2 } else { from + 1 })
}

/// `2005-08-04`, `2005/8/4`, `04/Aug/2005`, `04-08-2005`, `04 Aug 2005`.
fn date(line: &[u8], from: usize) -> Option<usize> {
    let first = number(line, from, 1, 4)?;
    let mark = at(line, first);
    // A digit or a month; behind a blank, a month alone.
    if !matches!(mark, b'-' | b'/' | b'.' | b' ') || !is(line, first + 1, if mark == b' ' { LETTER } else { WORD }) {
        return None;
    }
    let second = match number(line, first + 1, 1, 2) {
        Some(end) if mark != b' ' => end,
        _ if month(short_word(line, first + 1)) => first + 4,
        _ => return None,
    };
    if at(line, second) != mark {
        return None;
    }
    let third = number(line, second + 1, 1, 4)?;
    let long = |start: usize, end: usize| end - start == 4;
    (long(from, first) != long(second + 1, third) && !is(line, third, LETTER) || at(line, third) == b'T')
        .then_some(third)
}

/// A time of day, a zone and a year where they follow a date.
fn after_date(line: &[u8], date: usize) -> usize {
    let mark = at(line, date);
    let time = (matches!(mark, b'T' | b' ' | b'_' | b',' | b':' | b'-') && date < line.len())
        .then(|| time_of_day(line, if mark == b',' && at(line, date + 1) == b' ' { date + 2 } else { date + 1 }))
        .flatten();
    time.map_or(date, |end| zone(line, end))
}

/// A date that begins with a number, with the time behind it.
pub(super) fn timestamp(line: &[u8], from: usize) -> Option<usize> {
    Some(after_date(line, date(line, from)?))
}

/// `Thu Aug 04 15:31:25 PDT 2005`, its parts that have a month and a day, `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(super) fn dated_words(line: &[u8], from: usize) -> Option<usize> {
    let mut start = from;
    let mut word = short_word(line, from);
    let day_named = weekday(word);
    if day_named {
        start = blanks(line, if at(line, from + 3) == b',' { from + 4 } else { from + 3 })?;
        if is(line, start, DIGIT) {
            return timestamp(line, start);
        }
        word = short_word(line, start);
    }
    if !month(word) {
        return None;
    }
    let day = number(line, blanks(line, start + 3)?, 1, 2)?;
    if is(line, day, WORD) {
        return None;
    }
    let year = |from: usize| {
        let start = if at(line, from) == b',' { from + 1 } else { from };
        let end = (at(line, start) == b' ').then(|| number(line, start + 1, 4, 4)).flatten();
        end.filter(|end| !is(line, *end, WORD) && at(line, *end) != b':').unwrap_or(from)
    };
    let end = after_date(line, year(day));
    Some(year(end))
}

/// Groups of the longest such value, a SHA-256 in pairs. A bound is needed, or `a:a:a:…` is looked through
/// from each of its letters.
const MAX_GROUPS: usize = 32;

/// An IPv6 address or a MAC address: groups of hexadecimal digits joined by colons.
pub(super) fn hex_groups(line: &[u8], from: usize) -> Option<usize> {
    let (mut end, mut groups, mut pairs, mut empty, mut digit) = (from, 0, 0, false, false);
    // Where an address ended that what follows it may not be part of: `fe80::1::close`.
    let mut whole = None;
    loop {
        let start = end;
        while end - start < 5 && is(line, end, HEX) {
            digit |= is(line, end, DIGIT);
            end += 1;
        }
        match end - start {
            0 if empty || groups == 0 => {}
            0 | 5 => return whole,
            _ if groups == MAX_GROUPS => return whole,
            length => {
                groups += 1;
                pairs += usize::from(length == 2);
            }
        }
        if at(line, end) != b':' {
            break;
        }
        if groups > 0 && is_address(groups, pairs, empty, digit) {
            whole = Some(end);
        }
        if at(line, end + 1) == b':' {
            empty = true;
            end += 2;
        } else if is(line, end + 1, HEX) {
            end += 1;
        } else {
            break;
        }
    }
    if groups == 0 || !is_address(groups, pairs, empty, digit) || is(line, end, WORD) && at(line, end) != b'_' {
        return whole;
    }
    // An IPv4 address inside, a zone, a prefix length.
    while matches!(at(line, end), b'.' | b'%' | b'/') && is(line, end + 1, WORD) {
        end += 1;
        while is(line, end, WORD) {
            end += 1;
        }
    }
    Some(end)
}

/// Groups of hexadecimal digits: six pairs or more, four groups, or fewer around `::`; a digit in them.
fn is_address(groups: usize, pairs: usize, empty: bool, digit: bool) -> bool {
    pairs == groups && groups >= 6 || (empty || groups >= 4) && digit
}

/// 8-4-4-4-12 hexadecimal digits.
fn uuid(line: &[u8], from: usize) -> Option<usize> {
    let mut end = from;
    for (at, length) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        if at > 0 {
            if line.get(end) != Some(&b'-') {
                return None;
            }
            end += 1;
        }
        if !(end..end + length).all(|place| is(line, place, HEX)) {
            return None;
        }
        end += length;
    }
    Some(end)
}

/// In a compound `from..end`, a value of a known kind behind one name, which stays: `node-10.0.0.1`,
/// `job_2026-11-27T05:43:04Z`.
pub(super) fn behind_name(line: &[u8], from: usize, end: usize) -> Option<(usize, usize)> {
    let mut name = from;
    while name < end && is(line, name, LETTER) {
        name += 1;
    }
    if name == from {
        return None;
    }
    // Behind `_`, which is part of the name, a `-` is a sign.
    let start = if is(line, name, DIGIT) || line[name - 1] == b'_' { name } else { name + 1 };
    // Hexadecimal digits may begin with letters.
    let part = line[from..name].iter().rposition(|byte| *byte == b'_').map_or(from, |at| from + at + 1);
    let hex = if start > name { start } else { part };
    if let Some(end) = uuid(line, hex) {
        return Some((hex, end));
    }
    let number = start + usize::from(matches!(at(line, start), b'-' | b'+'));
    if !is(line, number, DIGIT) {
        return None;
    }
    if let Some(end) = timestamp(line, number) {
        return Some((start, end));
    }
    if at(line, end) == b':' {
        for start in [hex, start] {
            if let Some(end) = hex_groups(line, start) {
                return Some((start, end));
            }
        }
    }
    let joined = line[name..end].iter().any(|byte| class(*byte) & SEPARATOR != 0);
    (joined && line[number..end].iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')).then_some((start, end))
}

/// Behind `scheme://`: up to a blank, a quote or a bracket, without the punctuation of a sentence.
pub(super) fn url_end(line: &[u8], from: usize) -> usize {
    let mut end = from;
    while end < line.len() && (matches!(line[end], b';' | b':') || class(line[end]) & PATH_END == 0) {
        end += 1;
    }
    while end > from && matches!(line[end - 1], b'.' | b',' | b';' | b':') {
        end -= 1;
    }
    end
}

/// A path: up to a blank, `, ; :`, a quote or a bracket; a query reaches to the blank or quote.
pub(super) fn path_end(line: &[u8], from: usize) -> usize {
    let mut end = from;
    while end < line.len() && class(line[end]) & PATH_END == 0 {
        end += 1;
        if line[end - 1] == b'?' {
            while end < line.len() && class(line[end]) & BLANK == 0 && !matches!(line[end], b'"' | b'\'' | b'`') {
                end += 1;
            }
            return end;
        }
    }
    while end > from + 1 && line[end - 1] == b'.' {
        end -= 1;
    }
    end
}

/// Parts that make words joined by slashes a path: with one slash or more, this many slashes and dots.
const PATH_JOINTS: usize = 3;

/// A path that begins with a name: `Device/Volume/Users/x.dat`, `com.shop.cart/.ui.Basket`.
pub(super) fn joined_path(line: &[u8], from: usize) -> Option<usize> {
    let mut end = from;
    let mut joints = 0;
    while let Some(&byte) = line.get(end) {
        let class = class(byte);
        if class & RUN == 0 && !(byte == b'/' && is(line, end + 1, RUN)) {
            break;
        }
        joints += usize::from(matches!(byte, b'/' | b'.'));
        end += 1;
    }
    while end > from && line[end - 1] == b'.' {
        end -= 1;
        joints -= 1;
    }
    (joints >= PATH_JOINTS).then_some(end)
}

/// Whether a name ends like a host's: in a domain that is in use for hosts alone, or in one of a
/// country below another.
pub(super) fn is_host_name(name: &[u8]) -> bool {
    const DOMAINS: [&[u8]; 9] = [b"com", b"net", b"org", b"edu", b"gov", b"local", b"localdomain", b"internal", b"lan"];
    const COUNTRIES: [&[u8]; 20] = [
        b"au", b"br", b"ca", b"ch", b"cn", b"de", b"es", b"eu", b"fr", b"hk", b"jp", b"kr", b"nl", b"pl", b"ru", b"se",
        b"tw", b"uk", b"us", b"za",
    ];
    let Some(dot) = name.iter().rposition(|byte| *byte == b'.') else { return false };
    let (before, label) = (&name[..dot], &name[dot + 1..]);
    !before.is_empty() && (DOMAINS.contains(&label) || before.contains(&b'.') && COUNTRIES.contains(&label))
}
