//! Personal text: e-mail addresses, payment cards, IBANs; network addresses and telephone numbers on request.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::bytes::{
    ALNUM, CAPITAL, DASH, DIGIT, DOT, HEX, LETTER, PERCENT, UNDERSCORE, UPPER, at as byte_at, ends_word, is, run,
    short_run, starts_word,
};
use super::kind::Kind;
use super::scan::Hit;

/// RFC 5321: 64 before the `@`, 255 behind it.
const LOCAL: usize = 64;
const DOMAIN: usize = 255;
const LOCAL_BYTE: u16 = ALNUM | DOT | DASH | UNDERSCORE | PERCENT;

/// Endings of file and unit names, which are no top level domains that people write mail to.
const NO_DOMAINS: [&str; 34] = [
    "cfg", "conf", "css", "device", "dll", "exe", "gz", "html", "jar", "java", "js", "json", "jsx", "lock", "log",
    "mjs", "mount", "path", "php", "png", "py", "rb", "rpm", "scope", "service", "slice", "socket", "svg", "target",
    "tgz", "timer", "ts", "xml", "yaml",
];

/// The address around the `@` at `at`.
pub(super) fn email(bytes: &[u8], floor: usize, at: usize) -> Option<Hit> {
    let is_local = |byte: u8| is(byte, LOCAL_BYTE) || byte == b'+';
    let lowest = floor.max(at.saturating_sub(LOCAL));
    let mut start = at;
    while start > lowest && is_local(bytes[start - 1]) {
        start -= 1;
    }
    while start < at && !is(bytes[start], ALNUM) {
        start += 1;
    }
    let local = &bytes[start..at];
    // `git@host:` is an address of a repository, `//user@host` of a server.
    if local.is_empty() || local == b"git" || bytes[floor..start].ends_with(b"//") {
        return None;
    }
    let mut end = short_run(bytes, at + 1, ALNUM | DASH | DOT, DOMAIN);
    while end > at && !is(bytes[end - 1], ALNUM) {
        end -= 1;
    }
    let domain = bytes.get(at + 1..end)?;
    let dot = domain.iter().rposition(|byte| *byte == b'.')?;
    let top = &domain[dot + 1..];
    let is_top = (2..=24).contains(&top.len()) && top.iter().all(|byte| is(*byte, LETTER));
    let labels = domain.split(|byte| *byte == b'.').all(|label| !label.is_empty() && label[0] != b'-');
    let known = NO_DOMAINS.iter().any(|name| top.eq_ignore_ascii_case(name.as_bytes()));
    (is_top && labels && !known && ends_word(bytes, end)).then_some(Hit::new(start, end, Kind::Email))
}

/// Digits of cards, with the groups that they are printed in.
const GROUPS: [&[usize]; 3] = [&[4, 4, 4, 4], &[4, 6, 5], &[4, 6, 4]];

/// The card that begins at the digit `at`.
pub(super) fn card(bytes: &[u8], floor: usize, at: usize) -> Option<Hit> {
    let first = short_run(bytes, at, DIGIT, 20);
    let mut digits = [0_u8; 19];
    let (end, count) = match first - at {
        13..=19 => {
            digits[..first - at].copy_from_slice(&bytes[at..first]);
            (first, first - at)
        }
        4 => GROUPS.iter().find_map(|groups| grouped(bytes, at, groups, &mut digits))?,
        _ => return None,
    };
    let joined = at > floor && matches!(bytes[at - 1], b'.' | b'-' | b'_' | b'/') || !starts_word(bytes, floor, at);
    let more =
        byte_at(bytes, end, ALNUM | UNDERSCORE | DASH) || byte_at(bytes, end, DOT) && byte_at(bytes, end + 1, DIGIT);
    (!joined && !more && is_card(&digits[..count])).then_some(Hit::new(at, end, Kind::Card))
}

fn grouped(bytes: &[u8], at: usize, groups: &[usize], digits: &mut [u8; 19]) -> Option<(usize, usize)> {
    let sign = *bytes.get(at + groups[0])?;
    if !matches!(sign, b' ' | b'-') {
        return None;
    }
    let (mut from, mut count) = (at, 0);
    for (place, size) in groups.iter().enumerate() {
        if place > 0 {
            if bytes.get(from) != Some(&sign) {
                return None;
            }
            from += 1;
        }
        if run(bytes, from, DIGIT) - from != *size {
            return None;
        }
        digits[count..count + size].copy_from_slice(&bytes[from..from + size]);
        (from, count) = (from + size, count + size);
    }
    Some((from, count))
}

/// ISO/IEC 7812: the issuer's first digits with its lengths, and Luhn's check digit.
fn is_card(digits: &[u8]) -> bool {
    let head = |n: usize| digits[..n].iter().fold(0_u32, |all, digit| all * 10 + u32::from(digit - b'0'));
    let known = match digits.len() {
        13 | 19 => head(1) == 4 && digits.len() == 13 || head(2) == 62,
        14 => matches!(head(2), 36 | 38 | 39) || (300..=305).contains(&head(3)),
        15 => matches!(head(2), 34 | 37),
        16 => {
            head(1) == 4
                || (51..=55).contains(&head(2))
                || (2221..=2720).contains(&head(4))
                || head(4) == 6011
                || (644..=659).contains(&head(3))
                || (3528..=3589).contains(&head(4))
                || head(2) == 62
        }
        17 | 18 => head(2) == 62,
        _ => false,
    };
    let luhn = || {
        let sum: u32 = digits.iter().rev().enumerate().fold(0, |sum, (place, digit)| {
            let digit = u32::from(digit - b'0');
            let doubled = digit * 2;
            sum + if place % 2 == 0 { digit } else { doubled - if doubled > 9 { 9 } else { 0 } }
        });
        sum.is_multiple_of(10)
    };
    // Zeros throughout pass Luhn and are no card.
    known && digits[1..].iter().any(|digit| *digit != digits[0]) && luhn()
}

/// The length of a country's IBAN, from the IBAN registry (SWIFT, release 99).
const LENGTHS: [(&[u8; 2], usize); 78] = [
    (b"AD", 24),
    (b"AE", 23),
    (b"AL", 28),
    (b"AT", 20),
    (b"AZ", 28),
    (b"BA", 20),
    (b"BE", 16),
    (b"BG", 22),
    (b"BH", 22),
    (b"BI", 27),
    (b"BR", 29),
    (b"BY", 28),
    (b"CH", 21),
    (b"CR", 22),
    (b"CY", 28),
    (b"CZ", 24),
    (b"DE", 22),
    (b"DJ", 27),
    (b"DK", 18),
    (b"DO", 28),
    (b"EE", 20),
    (b"EG", 29),
    (b"ES", 24),
    (b"FI", 18),
    (b"FK", 18),
    (b"FO", 18),
    (b"FR", 27),
    (b"GB", 22),
    (b"GE", 22),
    (b"GI", 23),
    (b"GL", 18),
    (b"GR", 27),
    (b"GT", 28),
    (b"HR", 21),
    (b"HU", 28),
    (b"IE", 22),
    (b"IL", 23),
    (b"IQ", 23),
    (b"IS", 26),
    (b"IT", 27),
    (b"JO", 30),
    (b"KW", 30),
    (b"KZ", 20),
    (b"LB", 28),
    (b"LC", 32),
    (b"LI", 21),
    (b"LT", 20),
    (b"LU", 20),
    (b"LV", 21),
    (b"LY", 25),
    (b"MC", 27),
    (b"MD", 24),
    (b"ME", 22),
    (b"MK", 19),
    (b"MN", 20),
    (b"MR", 27),
    (b"MT", 31),
    (b"MU", 30),
    (b"NI", 28),
    (b"NL", 18),
    (b"NO", 15),
    (b"PK", 24),
    (b"PL", 28),
    (b"PS", 29),
    (b"PT", 25),
    (b"QA", 29),
    (b"RO", 24),
    (b"RS", 22),
    (b"SA", 24),
    (b"SE", 24),
    (b"SI", 19),
    (b"SK", 24),
    (b"SM", 27),
    (b"TN", 24),
    (b"TR", 26),
    (b"UA", 29),
    (b"VA", 22),
    (b"XK", 20),
];

/// The first three bytes of all IBANs.
pub(super) fn heads(mut add: impl FnMut([u8; 3])) {
    for ([a, b], _) in LENGTHS {
        (b'0'..=b'9').for_each(|digit| add([*a, *b, digit]));
    }
}

/// The IBAN that begins at `at`, with or without a blank behind each four.
pub(super) fn iban(bytes: &[u8], floor: usize, at: usize) -> Option<Hit> {
    let country: &[u8; 2] = bytes.get(at..at + 2)?.try_into().ok()?;
    if !two_digits(bytes, at + 2) || !starts_word(bytes, floor, at) {
        return None;
    }
    let (_, length) = LENGTHS.iter().find(|(name, _)| *name == country)?;
    let mut text = [0_u8; 34];
    let (mut from, mut count) = (at, 0);
    let spaced = bytes.get(at + 4) == Some(&b' ');
    while count < *length {
        if spaced && count > 0 && count % 4 == 0 {
            if bytes.get(from) != Some(&b' ') {
                return None;
            }
            from += 1;
        }
        let byte = *bytes.get(from).filter(|byte| is(**byte, CAPITAL))?;
        text[count] = byte;
        (from, count) = (from + 1, count + 1);
    }
    let rest = text[4..*length].iter().chain(&text[..4]);
    let remainder = rest.fold(0_u32, |remainder, byte| {
        if is(*byte, UPPER) {
            (remainder * 100 + u32::from(byte - b'A') + 10) % 97
        } else {
            (remainder * 10 + u32::from(byte - b'0')) % 97
        }
    });
    (remainder == 1 && ends_word(bytes, from)).then_some(Hit::new(at, from, Kind::Iban))
}

fn two_digits(bytes: &[u8], at: usize) -> bool {
    byte_at(bytes, at, DIGIT) && byte_at(bytes, at + 1, DIGIT)
}

/// All network addresses of a text.
pub(super) fn addresses(bytes: &[u8], hits: &mut Vec<Hit>) {
    let part = |byte: u8| is(byte, HEX | DOT) || byte == b':';
    let mut at = 0;
    while at < bytes.len() {
        if !part(bytes[at]) || at > 0 && is(bytes[at - 1], ALNUM | UNDERSCORE | DOT) {
            at += 1;
            continue;
        }
        let end = at + bytes[at..].iter().position(|byte| !part(*byte)).unwrap_or(bytes.len() - at);
        if let Some(length) = address(&bytes[at..end.min(at + 46)])
            && !byte_at(bytes, at + length, ALNUM | UNDERSCORE)
        {
            hits.push(Hit::new(at, at + length, Kind::Ip));
        }
        at = end.max(at + 1);
    }
}

/// The bytes that an address at the head of a word takes: with a port or a full stop behind it, too.
fn address(word: &[u8]) -> Option<usize> {
    let word = std::str::from_utf8(word).ok()?;
    let whole = word.trim_end_matches(['.', ':']);
    if whole.matches(':').count() >= 2 && whole.parse::<Ipv6Addr>().is_ok_and(|found| !found.is_unspecified()) {
        return Some(whole.len());
    }
    let four = &whole[..whole.find(':').unwrap_or(whole.len())];
    four.parse::<Ipv4Addr>().is_ok().then_some(four.len())
}

/// All telephone numbers of a text: `+`, 8 to 15 digits (E.164), single blanks, dashes, dots or brackets between.
pub(super) fn telephones(bytes: &[u8], hits: &mut Vec<Hit>) {
    let mut at = 0;
    while let Some(plus) = bytes[at..].iter().position(|byte| *byte == b'+').map(|n| at + n) {
        let (mut end, mut digits, mut signs) = (plus + 1, 0, 0);
        let mut last = plus + 1;
        while let Some(byte) = bytes.get(end) {
            match byte {
                b'0'..=b'9' => (digits, signs, last) = (digits + 1, 0, end + 1),
                b' ' | b'-' | b'.' | b'(' | b')' if signs < 2 => signs += 1,
                _ => break,
            }
            end += 1;
        }
        let begins = plus == 0 || !is(bytes[plus - 1], ALNUM);
        if begins && (8..=15).contains(&digits) && byte_at(bytes, plus + 1, DIGIT) && ends_word(bytes, last) {
            hits.push(Hit::new(plus, last, Kind::Phone));
        }
        at = end.max(plus + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_people_are_told_from_units_and_files() {
        let found = |text: &str| email(text.as_bytes(), 0, text.find('@').unwrap_or(0)).map(|hit| (hit.start, hit.end));
        assert_eq!(found("to jane.doe+x@mail.example.org, now"), Some((3, 30)));
        assert_eq!(found("a@b.io."), Some((0, 6)));
        for text in
            ["getty@tty1.service", "git@github.com:a/b", "https://u@host.org/", "Bar@1a2b3c", "x@2.0.1", "@a.io"]
        {
            assert_eq!(found(text), None, "{text}");
        }
    }

    #[test]
    fn cards_pass_luhn_and_their_issuer() {
        // Numbers that issuers and gateways publish for tests.
        for text in
            ["4111111111111111", "5555 5555 5555 4444", "3782-822463-10005", "6011111111111117", "30569309025904"]
        {
            assert_eq!(card(text.as_bytes(), 0, 0).map(|hit| hit.end), Some(text.len()), "{text}");
        }
        for text in ["4111111111111112", "0000000000000000", "1234567890123452", "4111111111111111x", "4111 1111 1111"]
        {
            assert!(card(text.as_bytes(), 0, 0).is_none(), "{text}");
        }
    }

    #[test]
    fn ibans_pass_their_check() {
        for text in ["GB82WEST12345698765432", "DE89 3704 0044 0532 0130 00", "NO9386011117947"] {
            assert_eq!(iban(text.as_bytes(), 0, 0).map(|hit| hit.end), Some(text.len()), "{text}");
        }
        for text in ["GB82WEST12345698765433", "XX82WEST12345698765432", "DE89 3704 0044", "GB82WEST123456987654321"] {
            assert_eq!(iban(text.as_bytes(), 0, 0).map(|hit| hit.end), None, "{text}");
        }
    }

    #[test]
    fn network_addresses_and_telephones_are_found() {
        let text = b"10.0.0.1:80 fe80::1, 1.2.3 v1.2.3.4.5 12:30:15 (192.168.1.1). +49 30 1234567 +1";
        let mut hits = Vec::new();
        addresses(text, &mut hits);
        telephones(text, &mut hits);
        let found: Vec<&str> = hits.iter().map(|hit| std::str::from_utf8(&text[hit.start..hit.end]).unwrap()).collect();
        assert_eq!(found, ["10.0.0.1", "fe80::1", "192.168.1.1", "+49 30 1234567"]);
    }
}
