//! What of a masked line is shown: the masker keeps words, and some secrets are made of words.

use std::borrow::Cow;

/// The longest text that is shown.
const LONGEST: usize = 300;
/// What keys and tokens of common systems begin with.
const PREFIXES: [&str; 20] = [
    "AKIA",
    "ASIA",
    "AIza",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "xoxa-",
    "xoxb-",
    "xoxp-",
    "xoxs-",
    "sk-",
    "sk_live",
    "sk_test",
    "rk_live",
    "eyJ",
    "hvs.",
];
/// Everything behind these is one.
const HEADERS: [&str; 2] = ["cookie:", "-----begin"];
/// A word this long with this many changes from small to capital letters, and capitals side by side, is no
/// name that people gave: camel case has a hump in seven letters, random letters have one in four.
const RANDOM_LENGTH: usize = 16;
const RANDOM_HUMP: usize = 6;

/// A masked text as it may be shown: cut, printable, and `*` in place of what looks like a key.
///
/// So it is for sentences between double quotes: that is where a request's own text stands, which an outsider
/// writes. A secret that is a plain word in a plain sentence is not told from one.
pub(super) fn shown(masked: &str) -> String {
    let masked = &*without_quoted(masked);
    let mut out = String::with_capacity(masked.len());
    let lower = masked.to_ascii_lowercase();
    let end = HEADERS.iter().filter_map(|header| lower.find(header).map(|at| at + header.len())).min();
    let mut rest = &masked[..end.unwrap_or(masked.len())];
    while !rest.is_empty() {
        let run = rest.find(|c| !is_run(c)).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(run);
        out.push_str(if is_key(word) { "*" } else { word });
        let other = behind.find(is_run).unwrap_or(behind.len());
        let (between, next) = behind.split_at(other);
        out.push_str(between);
        rest = next;
    }
    if end.is_some() {
        out.push_str(" *");
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

fn is_key(word: &str) -> bool {
    let begins = |text: &str| PREFIXES.iter().any(|prefix| text.starts_with(prefix) && text.len() > prefix.len() + 3);
    let pairs = |text: &str, one: fn(&u8) -> bool| {
        text.as_bytes().windows(2).filter(|pair| one(&pair[0]) && pair[1].is_ascii_uppercase()).count()
    };
    let random = |text: &str| {
        text.len() >= RANDOM_LENGTH
            && pairs(text, u8::is_ascii_lowercase) * RANDOM_HUMP >= text.len()
            && pairs(text, u8::is_ascii_uppercase) > 0
    };
    word.split('=').any(|value| random(value) || value.split('/').any(begins))
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

    #[test]
    fn keys_of_common_systems_are_not_shown() {
        let keys = [
            "AKIAIOSFODNN7EXAMPLE",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "ghp_abcdefghijklmnopqrstuvwxyzABCDEF0123",
            "xoxb-123456789012-abcdefghijkl",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
            "sk-proj-abcdefghijklmnop",
            "AIzaSyDabcdefghijklmnopqrstuvwxyz1234567",
        ];
        for key in keys {
            for line in [format!("key {key} refused"), format!("url?k={key}&n=1"), format!("[\"{key}\"]")] {
                let text = shown(&mask_line(line.as_bytes()));
                let part = key.get(..5).unwrap_or(key);
                assert!(!text.contains(part), "{line}: {text}");
            }
        }
        for line in ["Cookie: session=abcdefgh; theme=dark", "got -----BEGIN RSA PRIVATE KEY----- MIIEabcd"] {
            let text = shown(&mask_line(line.as_bytes()));
            assert!(!text.contains("abcd") && !text.contains("RSA"), "{text}");
        }
        assert_eq!(shown(&mask_line(b"login password=hunter token: abc ok")), "login password=* token: * ok");
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
