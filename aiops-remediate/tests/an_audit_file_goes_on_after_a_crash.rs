//! The audit log in a file: what was acknowledged is there, a torn last line is cut and reported, a changed file
//! is refused, and the chain goes on over restarts and over files.
#![allow(clippy::unwrap_used)] // helpers outside `#[test]`

mod common;

use std::fs;

use aiops_core::Redactor;
use aiops_remediate::{AuditEntry, AuditError, AuditLog, FileAudit, KillSwitch, verify, verify_after};
use common::{at, scratch};

async fn write(log: &FileAudit, reason: &str) {
    let entry = AuditEntry::kill_switch(&KillSwitch::on("ops", reason, at(0)), &Redactor::default());
    log.append(entry).await.unwrap();
}

#[tokio::test]
async fn the_chain_goes_on_over_restarts() {
    let path = scratch("audit-restart.jsonl");
    for start in 0..3 {
        let log = FileAudit::open(&path).unwrap();
        assert_eq!((log.torn(), log.end().sequence), (None, start));
        write(&log, "again").await;
        assert_eq!(log.end(), verify(&fs::read(&path).unwrap()[..]).unwrap().end);
    }
}

#[tokio::test]
async fn a_torn_last_line_is_cut_off_at_every_byte() {
    let path = scratch("audit-torn.jsonl");
    let log = FileAudit::open(&path).unwrap();
    write(&log, "first").await;
    let whole = fs::read(&path).unwrap();
    write(&log, "second").await;
    drop(log);
    let both = fs::read(&path).unwrap();
    for cut in 0..both.len() {
        fs::write(&path, &both[..cut]).unwrap();
        let log = FileAudit::open(&path).unwrap();
        let kept = if cut < whole.len() { 0 } else { whole.len() };
        let torn = log.torn().map(|torn| (torn.line, torn.bytes));
        assert_eq!(torn, (cut != kept).then(|| (if kept == 0 { 1 } else { 2 }, cut - kept)));
        write(&log, "third").await;
        drop(log);
        let text = fs::read(&path).unwrap();
        assert_eq!(text[..kept], both[..kept]);
        assert_eq!(verify(&text[..]).unwrap().records, if kept == 0 { 1 } else { 2 });
    }
}

#[tokio::test]
async fn nobody_goes_on_writing_to_a_changed_file() {
    let path = scratch("audit-changed.jsonl");
    let log = FileAudit::open(&path).unwrap();
    for reason in ["first", "second", "third"] {
        write(&log, reason).await;
    }
    drop(log);
    let changed = fs::read_to_string(&path).unwrap().replace("second", "sec0nd");
    fs::write(&path, &changed).unwrap();
    let error = FileAudit::open(&path).unwrap_err();
    assert!(matches!(&error, AuditError::Broken { source, .. } if source.line == 2), "{error}");
    assert!(!error.is_retryable());
    assert_eq!(fs::read_to_string(&path).unwrap(), changed, "the evidence stays as it is");
}

#[tokio::test]
async fn a_second_holder_of_the_file_is_refused() {
    let path = scratch("audit-second.jsonl");
    let _first = FileAudit::open(&path).unwrap();
    let error = FileAudit::open(&path).unwrap_err();
    assert!(error.is_retryable());
    assert!(aiops_core::error_chain(&error).ends_with("audit-second.jsonl: another process has it open"), "{error}");
}

#[tokio::test]
async fn the_chain_goes_on_in_the_next_file() {
    let (old, new) = (scratch("audit-1.jsonl"), scratch("audit-2.jsonl"));
    let log = FileAudit::open(&old).unwrap();
    write(&log, "old").await;
    let end = log.end();
    drop(log);
    let log = FileAudit::open_after(&new, end.clone()).unwrap();
    write(&log, "new").await;
    drop(log);
    let verified = verify_after(&fs::read(&new).unwrap()[..], end.clone()).unwrap();
    assert_eq!((verified.records, verified.end.sequence), (1, 2));
    // Opened again it needs the same end, and without it is no chain of its own.
    assert_eq!(FileAudit::open_after(&new, end).unwrap().end(), verified.end);
    assert!(matches!(FileAudit::open(&new), Err(AuditError::Broken { source, .. }) if source.line == 1));
}
