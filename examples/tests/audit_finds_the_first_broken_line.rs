//! The program `audit`: whole chains, rotated ones, broken ones, and ones that were cut at their end.
#![allow(clippy::unwrap_used)] // helpers outside `#[test]`

use aiops_core::Redactor;
use aiops_core::jiff::Timestamp;
use aiops_examples::audit::check;
use aiops_remediate::{AuditChain, AuditEntry, KillSwitch};

/// A chain of three records, and the hashes of its lines.
fn lines() -> (Vec<String>, Vec<String>) {
    let mut chain = AuditChain::default();
    let mut hashes = Vec::new();
    let lines = ["one", "two", "three"].map(|reason| {
        let switch = KillSwitch::on("ops", reason, Timestamp::UNIX_EPOCH);
        let line = chain.next(&AuditEntry::kill_switch(&switch, &Redactor::default())).unwrap();
        chain.advance(&line);
        hashes.push(line.end.hash.clone());
        line.text
    });
    (lines.to_vec(), hashes)
}

fn says(files: &[&str], expect: Option<&str>) -> (bool, String) {
    let name = |at: usize| format!("{}.jsonl", at + 1);
    let files = files.iter().enumerate().map(|(at, text)| (name(at), text.as_bytes())).collect();
    let checked = check(files, expect).unwrap();
    (checked.holds, checked.line)
}

#[test]
fn a_whole_chain_gives_its_length_and_its_last_hash() {
    let (lines, hashes) = lines();
    let whole = lines.concat();
    let last = format!("ok: records 3 last {}", hashes[2]);
    assert_eq!(says(&[&whole], None), (true, last.clone()));
    assert_eq!(says(&[&lines[0], &lines[1..].concat()], None), (true, last.clone()));
    assert_eq!(says(&[&whole], Some(&hashes[1])), (true, format!("{last} expected 2 after it 1")));
    assert_eq!(
        says(&[&lines[0], &lines[1..].concat()], Some(&hashes[0])),
        (true, format!("{last} expected 1 after it 2"))
    );
}

#[test]
fn the_first_broken_line_is_named() {
    let (lines, hashes) = lines();
    let changed = lines.concat().replace("two", "2wo");
    let line = "broken: 1.jsonl: line 2 does not hold: its hash is not that of its text: the line was changed";
    assert_eq!(says(&[&changed], None), (false, line.to_owned()));
    let line = "broken: 2.jsonl: line 1 does not hold: it does not follow record 1: lines were left out, added or swapped (it is record 3)";
    assert_eq!(says(&[&lines[0], &lines[2]], None), (false, line.to_owned()));
    let line = "broken: 1.jsonl: line 3 does not hold: it is cut short after 9 bytes";
    assert_eq!(says(&[&(lines[..2].concat() + &lines[2][..9])], None), (false, line.to_owned()));
    let (holds, line) = says(&[&lines[..2].concat()], Some(&hashes[2]));
    assert!(!holds && line.ends_with("the chain was cut or written anew"), "{line}");
}

#[test]
fn what_is_no_hash_is_an_error() {
    let files = vec![("a".to_owned(), &b""[..])];
    let error = check(files, Some("ABC")).unwrap_err();
    assert_eq!(error, "--expect \"ABC\" is no hash: 64 characters of 0-9 and a-f");
}
