//! What of a line is kept and shown: neither a secret nor a text that an outsider wrote.

use std::borrow::Cow;

use aiops_core::Redactor;

/// The longest text that is shown.
const LONGEST: usize = 300;
/// A word this long with this many changes from small to capital letters, and capitals side by side, is no
/// name that people gave: camel case has a hump in seven letters, random letters have one in four.
const RANDOM_LENGTH: usize = 16;
const RANDOM_HUMP: usize = 6;
/// What a redactor puts in the place of a secret, up to the kind.
const MARKER: &str = "[REDACTED:";

/// The line with `*` in place of each secret, as masked lines have what varies: lines that differ in a secret alone
/// are one kind, also where the secret is made of words.
pub(super) fn without_secrets<'l>(line: &'l str, redactor: &Redactor) -> Cow<'l, str> {
    let redacted = redactor.redact(line);
    if redacted.found.is_empty() {
        return redacted.text;
    }
    let mut pieces = redacted.text.split(MARKER);
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        out.push('*');
        out.push_str(piece.split_once(']').map_or(piece, |(_, behind)| behind));
    }
    Cow::Owned(out)
}

/// A masked text as it may be shown: cut, printable, and `*` in place of a word of random letters, which is a secret
/// that nothing names.
///
/// So it is for sentences between double quotes: that is where a request's own text stands, which an outsider
/// writes. A secret that is a plain word in a plain sentence is not told from one.
pub(super) fn shown(masked: &str) -> String {
    let masked = &*without_quoted(masked);
    let mut out = String::with_capacity(masked.len());
    let mut rest = masked;
    while !rest.is_empty() {
        let run = rest.find(|c| !is_run(c)).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(run);
        out.push_str(if word.split('=').any(is_random) { "*" } else { word });
        let other = behind.find(is_run).unwrap_or(behind.len());
        let (between, next) = behind.split_at(other);
        out.push_str(between);
        rest = next;
    }
    aiops_core::text::clip(&out, LONGEST)
}

/// Quoted text of more than one word as `"*"`, also where the closing quote is missing.
fn without_quoted(masked: &str) -> Cow<'_, str> {
    let sentence = |piece: &str| piece.trim().contains(char::is_whitespace);
    if !masked.split('"').skip(1).step_by(2).any(sentence) {
        return Cow::Borrowed(masked);
    }
    let pieces = masked.split('"').enumerate();
    let pieces: Vec<&str> =
        pieces.map(|(at, piece)| if at % 2 == 1 && sentence(piece) { "*" } else { piece }).collect();
    Cow::Owned(pieces.join("\""))
}

fn is_run(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_+/=*.-".contains(c)
}

fn is_random(word: &str) -> bool {
    let pairs = |one: fn(&u8) -> bool| {
        word.as_bytes().windows(2).filter(|pair| one(&pair[0]) && pair[1].is_ascii_uppercase()).count()
    };
    word.len() >= RANDOM_LENGTH
        && pairs(u8::is_ascii_lowercase) * RANDOM_HUMP >= word.len()
        && pairs(u8::is_ascii_uppercase) > 0
}

/// Words that tell of the end of a process.
const GRAVE: [&str; 8] =
    ["fatal", "panic", "panicked", "oom", "oomkilled", "outofmemory", "outofmemoryerror", "segfault"];

/// Whether a line tells of the end of a process: FATAL, a panic, out of memory.
pub(super) fn is_grave(masked: &str) -> bool {
    let lower = masked.to_ascii_lowercase();
    if lower.contains("out of memory") {
        return true;
    }
    let mut before = "";
    lower.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| {
        let grave = GRAVE.contains(&word) && !["non", "not", "no"].contains(&before);
        before = word;
        grave
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::mask_line;

    /// As a line is kept and shown.
    fn seen(line: &str) -> String {
        shown(&mask_line(without_secrets(line, &Redactor::default()).as_bytes()))
    }

    #[test]
    fn keys_of_common_systems_are_not_shown() {
        let keys = [
            "AKIAIOSFODNN7EXAMPLE",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "ghp_abcdefghijklmnopqrstuvwxyzABCDEF0123",
            "xoxb-123456789012-abcdefghijkl",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
            "sk-proj-abcdefghijklmnop",
            "AIzaSyDabcdefghijklmnopqrstuvwxyz123456",
        ];
        for key in keys {
            for line in [format!("key {key} refused"), format!("url?k={key}&n=1"), format!("[\"{key}\"]")] {
                let text = seen(&line);
                let part = key.get(..5).unwrap_or(key);
                assert!(!text.contains(part), "{line}: {text}");
            }
        }
        for line in ["Cookie: session=abcdefgh; theme=dark", "got -----BEGIN RSA PRIVATE KEY----- MIIEabcd"] {
            let text = seen(line);
            assert!(!text.contains("abcd"), "{text}");
        }
        assert_eq!(seen("login password=hunter token: abc ok"), "login password=* token: * ok");
    }

    #[test]
    fn a_line_without_a_secret_is_what_it_was_and_one_with_a_marker_too() {
        for line in ["timeout of order 7", "by [REDACTED:email] from *", ""] {
            assert!(
                matches!(without_secrets(line, &Redactor::default()), Cow::Borrowed(same) if same == line),
                "{line}"
            );
        }
        let both = "by [REDACTED:email] with password=hunter, end";
        assert_eq!(without_secrets(both, &Redactor::default()), "by * with password=*, end");
    }

    #[test]
    fn the_end_of_a_process_is_told_by_its_words() {
        for line in [
            "FATAL: no space",
            "thread 'main' panicked at src",
            "panic: nil map",
            "java.lang.OutOfMemoryError",
            "oom-kill: task",
            "Out of memory: Killed process",
            "[fatal] x",
        ] {
            assert!(is_grave(line), "{line}");
        }
        for line in ["a non-fatal fault", "room is full", "no panic", "fatality", "memory is low"] {
            assert!(!is_grave(line), "{line}");
        }
    }

    #[test]
    fn words_stay() {
        for line in [
            "java.net.SocketTimeoutException: Read timed out",
            "HttpRequestMethodNotSupportedException in OrderController",
            "getUserByIdFromTheDb fetchHttpUrlAndRetry",
            "task-runner eyJ sk-x",
            "checksum of [x] is not (y)",
            "\u{e9}t\u{e9} \u{2013} \u{fc}ber",
        ] {
            assert_eq!(shown(line), line);
        }
        assert_eq!(shown(&"word ".repeat(100)).chars().count(), LONGEST);
    }
}
