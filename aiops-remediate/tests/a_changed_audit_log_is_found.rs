//! Whoever changes a byte of an audit log, or leaves out, adds or swaps lines, is found, with the line.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside `#[test]`

mod common;

use std::io::BufReader;

use aiops_core::{Disposition, Plan, Redactor, Response};
use aiops_remediate::{
    AuditChain, AuditEntry, AuditError, AuditKind, AuditReader, Broken, ChainEnd, ChainFault, KillSwitch,
    MAX_AUDIT_LINE, ReportRecord, Verified, verify, verify_after, verify_pinned,
};
use common::{at, event, triaged};
use proptest::prelude::*;

fn entry(number: u64) -> AuditEntry {
    let redactor = Redactor::default();
    if number.is_multiple_of(2) {
        return AuditEntry::kill_switch(&KillSwitch::on("ops", format!("reason \"{number}\" é"), at(0)), &redactor);
    }
    let triaged = triaged(event(number, "cart", &[("pod", "cart-1")], at(0)), &["restart_pod"]);
    let response = Response::new(triaged.incident_id.clone(), Disposition::Executed, Plan::default(), at(1));
    AuditEntry::decision(&ReportRecord::new(triaged, Plan::default(), at(0)).response(Some(response)), &redactor)
}

/// The lines of a chain with so many records, each with its end.
fn lines(records: u64) -> Vec<String> {
    let mut chain = AuditChain::default();
    (0..records)
        .map(|number| {
            let line = chain.next(&entry(number)).unwrap();
            chain.advance(&line);
            line.text
        })
        .collect()
}

fn check(lines: &[String]) -> Result<Verified, Broken> {
    verify(lines.concat().as_bytes())
}

fn broken_at(lines: &[String]) -> (u64, ChainFault) {
    let broken = check(lines).unwrap_err();
    (broken.line, broken.fault)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn one_changed_byte_is_found_in_its_line(place in any::<prop::sample::Index>(), change in 1_u8..) {
        let lines = lines(5);
        let mut text = lines.concat().into_bytes();
        let at = place.index(text.len());
        text[at] ^= change;
        let broken = verify(&text[..]).unwrap_err();
        let line = 1 + lines.concat().as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() as u64;
        prop_assert_eq!(broken.line, line);
    }

    #[test]
    fn one_byte_left_out_or_added_is_found(place in any::<prop::sample::Index>(), byte: u8, adds: bool) {
        let mut text = lines(5).concat().into_bytes();
        let at = place.index(text.len());
        if adds { text.insert(at, byte) } else { text.remove(at); }
        prop_assert!(verify(&text[..]).is_err());
    }

    #[test]
    fn a_line_left_out_swapped_or_copied_is_found(one in 0_usize..6, two in 0_usize..6) {
        let all = lines(6);
        if one < 5 {
            let mut without = all.clone();
            without.remove(one);
            let (line, fault) = broken_at(&without);
            prop_assert_eq!(line, one as u64 + 1);
            let named = matches!(fault, ChainFault::Order { after, found } if after == one as u64 && found == after + 2);
            prop_assert!(named, "{}", fault);
        }
        if one != two {
            let mut swapped = all.clone();
            swapped.swap(one, two);
            prop_assert_eq!(broken_at(&swapped).0, one.min(two) as u64 + 1);
        }
        let mut copied = all.clone();
        copied.insert(one, all[two].clone());
        prop_assert!(check(&copied).is_err());
    }

    #[test]
    fn a_line_of_another_chain_is_found(place in 0_usize..6) {
        // It has a place and a good hash of its own, but not this chain's past.
        let mut chain = AuditChain::after(ChainEnd::new(place as u64, "f".repeat(64)));
        let foreign = chain.next(&entry(9)).unwrap();
        chain.advance(&foreign);
        let mut all = lines(6);
        all[place] = foreign.text;
        let (line, fault) = broken_at(&all);
        prop_assert_eq!(line, place as u64 + 1);
        prop_assert!(matches!(fault, ChainFault::Order { .. }), "{}", fault);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>, cut in any::<prop::sample::Index>()) {
        let _ = verify(&bytes[..]);
        let mut text = lines(3).concat().into_bytes();
        let at = cut.index(text.len());
        text.splice(at..at, bytes);
        let found = AuditReader::new(&text[..]).count();
        prop_assert!(found <= text.len());
    }
}

#[test]
fn a_whole_chain_holds_and_says_where_it_ends() {
    assert_eq!(check(&[]).unwrap().end, ChainEnd::start());
    let lines = lines(4);
    let verified = check(&lines).unwrap();
    assert_eq!((verified.records, verified.end.sequence), (4, 4));
    assert!(lines[3].contains(&format!("\"hash\":\"{}\"}}", verified.end.hash)));
    // A reader that gives one byte at a time reads the same.
    assert_eq!(verify(BufReader::with_capacity(1, lines.concat().as_bytes())).unwrap(), verified);
}

#[test]
fn a_cut_end_is_found_by_the_hash_that_was_kept_elsewhere() {
    let lines = lines(4);
    let kept = check(&lines).unwrap().end.hash;
    let cut = lines[..3].concat();
    assert_eq!(verify(cut.as_bytes()).unwrap().records, 3, "from the file alone it cannot be noticed");
    let pinned = |text: &str| verify_pinned(text.as_bytes(), ChainEnd::start(), &kept).unwrap().1;
    assert_eq!(pinned(&cut), None);
    assert_eq!(pinned(&lines.concat()), Some(4));
}

#[test]
fn a_chain_goes_on_in_the_next_file() {
    let lines = lines(4);
    let first = check(&lines[..2]).unwrap();
    let rest = lines[2..].concat();
    let second = verify_after(rest.as_bytes(), first.end).unwrap();
    assert_eq!((second.records, second.end.sequence), (2, 4));
    assert!(matches!(verify(rest.as_bytes()).unwrap_err().fault, ChainFault::Order { after: 0, found: 3 }));
}

#[test]
fn a_torn_an_unreadable_and_an_endless_line_are_named() {
    let mut all = lines(3);
    all[2].truncate(40);
    assert!(matches!(broken_at(&all), (3, ChainFault::Torn { bytes: 40 })));
    all[1] = "{\"aiops_audit\":1}\n".to_owned();
    let (line, fault) = broken_at(&all);
    assert_eq!(
        (line, fault.to_string().as_str()),
        (2, "it is no record: missing field `sequence` at line 1 column 17")
    );
    all[1] = "x".repeat(3 * MAX_AUDIT_LINE) + "\n";
    assert!(matches!(broken_at(&all), (2, ChainFault::TooLong)));
    let newer = lines(1)[0].replace("\"aiops_audit\":1", "\"aiops_audit\":2");
    assert_eq!(
        aiops_core::error_chain(&check(&[newer]).unwrap_err()),
        "line 1 does not hold: it is no record: it has version 2, this program reads version 1"
    );
}

#[test]
fn reading_goes_on_after_a_fault_which_is_told_once() {
    let mut all = lines(7);
    all[2] = "no record\n".to_owned();
    all.remove(4);
    let read: Vec<_> = AuditReader::new(all.concat().as_bytes()).collect();
    let faults: Vec<u64> = read.iter().filter_map(|read| read.as_ref().err().map(|broken| broken.line)).collect();
    // The line after the unreadable one is taken at its word; the one after the gap is not.
    assert_eq!(faults, [3, 5]);
    let records: Vec<u64> = read.iter().flatten().map(|record| record.sequence).collect();
    assert_eq!(records, [1, 2, 4, 7]);
}

#[test]
fn what_is_too_long_loses_its_inputs_or_is_refused() {
    let chain = AuditChain::default();
    let mut entry = entry(1);
    entry.inputs = Some("x".repeat(MAX_AUDIT_LINE).into());
    let line = chain.next(&entry).unwrap();
    assert!(line.text.contains("\"inputs\":{\"bytes\":1048578,\"left_out\":\"too long\","), "{}", line.text);
    assert_eq!(verify(line.text.as_bytes()).unwrap().records, 1);
    entry.reason = Some("y".repeat(MAX_AUDIT_LINE));
    assert!(matches!(chain.next(&entry), Err(AuditError::TooLong { bytes, .. }) if bytes > MAX_AUDIT_LINE));
}

#[test]
fn no_secret_enters_and_the_inputs_can_be_read_back() {
    let mut triaged = triaged(event(1, "cart", &[], at(0)), &["restart_pod"]);
    triaged.report.summary = "login failed: password=hunter2".to_owned();
    triaged.provenance.input_tokens = 1_200;
    triaged.provenance.unread_reply = Some("Authorization: Bearer abcdefghijklmnop1234567890".to_owned());
    let reason = "mail jane@example.org".to_owned();
    let plan = Plan::new(
        vec![aiops_core::Step::new("restart_pod", None, aiops_core::Decision::Deny, reason.clone())],
        vec![aiops_core::RuleVerdict::new("age", false, reason.clone()).input("who", reason.clone())],
    );
    let response = Response::new(triaged.incident_id.clone(), Disposition::Escalated { reason }, plan.clone(), at(1));
    let record = ReportRecord::new(triaged.clone(), plan, at(0)).response(Some(response.clone()));
    let entries = [
        AuditEntry::decision(&record, &Redactor::default()),
        AuditEntry::answer(&triaged, &response, &Redactor::default()),
        AuditEntry::kill_switch(&KillSwitch::on("jane", "password=hunter2", at(0)), &Redactor::default()),
    ];
    for entry in &entries {
        let text = AuditChain::default().next(entry).unwrap().text;
        for secret in ["hunter2", "abcdefghijklmnop1234567890", "jane@example.org"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
    let read: aiops_core::Triaged = serde_json::from_value(entries[0].inputs.clone().unwrap()).unwrap();
    assert_eq!(read.report.summary, "login failed: password=[REDACTED:password]");
    assert_eq!((&read.event, read.provenance.input_tokens), (&triaged.event, 1_200));
    assert_eq!(AuditKind::from("host_own"), AuditKind::Other("host_own".to_owned()));
}
