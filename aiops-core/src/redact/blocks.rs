//! Secrets with a frame of their own: private keys in PEM, passwords in addresses.

use super::bytes::{BASE64, BLANK, is, run};
use super::kind::Kind;
use super::scan::{Hit, MARKER};

const BEGIN: &[u8] = b"-----BEGIN ";
const DASHES: &[u8] = b"-----";
/// `ENCRYPTED PRIVATE KEY`, `PGP PRIVATE KEY BLOCK` and their like.
const LABEL: usize = 40;
/// Below this a word behind a key whose end is missing is prose.
const BASE64_LINE: usize = 24;

/// The block that begins at `at`: to its end line, or to where its base64 ends.
pub(super) fn private_key(bytes: &[u8], at: usize) -> Option<Hit> {
    let label = at + BEGIN.len();
    if !bytes[at..].starts_with(BEGIN) {
        return None;
    }
    let label_end = label + find(&bytes[label..bytes.len().min(label + LABEL)], DASHES)?;
    find(&bytes[label..label_end], b"PRIVATE KEY")?;
    let body = label_end + DASHES.len();
    // What follows the next dashes is the end of this key, or the begin of another.
    let end = find(&bytes[body..], DASHES).and_then(|next| {
        let after = body + next + DASHES.len();
        let line = &bytes[after..bytes.len().min(after + LABEL)];
        let close = line.starts_with(b"END ").then(|| find(line, DASHES)).flatten()?;
        Some(after + close + DASHES.len())
    });
    Some(Hit::new(at, end.unwrap_or_else(|| base64_lines(bytes, body)), Kind::PrivateKey))
}

/// Where the lines of base64 from `at` on end, line breaks written as such or as `\n`.
fn base64_lines(bytes: &[u8], body: usize) -> usize {
    let mut end = body;
    loop {
        let mut at = end;
        loop {
            match bytes.get(at) {
                Some(byte) if is(*byte, BLANK) => at += 1,
                Some(b'\\') if matches!(bytes.get(at + 1), Some(b'n' | b'r')) => at += 2,
                _ => break,
            }
        }
        let word = run(bytes, at, BASE64);
        // The first word may be cut short, a later one is prose then.
        if word - at < if end == body { 1 } else { BASE64_LINE } {
            return end;
        }
        end = word;
    }
}

/// The place of `wanted` in `bytes`.
pub(super) fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let first = *wanted.first()?;
    let mut from = 0;
    loop {
        from += bytes.get(from..)?.iter().position(|byte| *byte == first)?;
        if bytes[from..].starts_with(wanted) {
            return Some(from);
        }
        from += 1;
    }
}

/// A user and a password are no longer than this.
const USERINFO: usize = 256;

/// The password of `scheme://user:password@host`, `at` the colon of the scheme.
pub(super) fn url_password(bytes: &[u8], at: usize) -> Option<Hit> {
    let start = at + 3;
    if !bytes[at..].starts_with(b"://") {
        return None;
    }
    let near = &bytes[start..bytes.len().min(start + USERINFO)];
    let over = |byte: &u8| is(*byte, BLANK) || matches!(byte, b'"' | b'\'' | b'`' | b'<' | b'>' | b'\\' | b'[');
    let near = &near[..near.iter().position(over).unwrap_or(near.len())];
    let authority = near.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(near.len());
    let colon = near[..authority].iter().position(|byte| *byte == b':')?;
    let port = near[colon + 1..authority].iter().all(u8::is_ascii_digit);
    // A password with an unescaped slash is taken as well, a port is none.
    let sign = match near[..authority].iter().rposition(|byte| *byte == b'@') {
        Some(sign) => sign,
        None if port => return None,
        None => near.iter().position(|byte| *byte == b'@')?,
    };
    let (from, to) = (start + colon + 1, start + sign);
    (colon < sign && from < to && !bytes[from..].starts_with(MARKER)).then_some(Hit::new(from, to, Kind::UrlPassword))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(text: &str, hit: Option<Hit>) -> String {
        hit.map_or_else(|| text.to_owned(), |hit| format!("{}#{}", &text[..hit.start], &text[hit.end..]))
    }

    #[test]
    fn private_keys_end_where_they_end() {
        let begin = "-----BEGIN RSA PRIVATE KEY-----";
        let line = "MIIEowIBAAKCAQEAxyzxyzxyzxyzxyzxyzxyz";
        let end = "-----END RSA PRIVATE KEY-----";
        for (text, expected) in [
            (format!("{begin}\n{line}\nab==\n{end} refused"), "# refused"),
            (format!("{begin}\\n{line}\\nab==\\n{end}\\n\""), "#\\n\""),
            (format!("{begin}\n{line}\n{line} was refused"), "# was refused"),
            (format!("{begin} MIIEabcd"), "#"),
            (format!("{begin}\\"), "#\\"),
        ] {
            assert_eq!(left(&text, private_key(text.as_bytes(), 0)), expected, "{text}");
        }
        for text in ["-----BEGIN CERTIFICATE-----\nabc", "-----BEGIN", "-----BEGIN PRIVATE KEY"] {
            assert!(private_key(text.as_bytes(), 0).is_none(), "{text}");
        }
    }

    #[test]
    fn passwords_in_addresses_are_told_from_ports() {
        for (text, expected) in [
            ("x://u:p@h/", "x://u:#@h/"),
            ("x://:p@h", "x://:#@h"),
            ("x://u:p@q@h/a@b", "x://u:#@h/a@b"),
            ("x://u:p/q@h", "x://u:#@h"),
            ("x://h:80/a@b", "x://h:80/a@b"),
            ("x://h/a:b@c", "x://h/a:b@c"),
            ("x://u:[REDACTED:a]@h", "x://u:[REDACTED:a]@h"),
            ("x://u@h", "x://u@h"),
            ("x://u:@h", "x://u:@h"),
        ] {
            assert_eq!(left(text, url_password(text.as_bytes(), 1)), expected);
        }
    }
}
