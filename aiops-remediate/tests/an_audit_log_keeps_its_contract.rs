//! The bundled logs pass the suite, and the suite finds logs that break their contract.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use aiops_core::Redactor;
use aiops_remediate::testing::check_audit_log;
use aiops_remediate::{AuditChain, AuditEntry, AuditError, AuditLog, FileAudit, KillSwitch, MemoryAudit, verify};
use async_trait::async_trait;
use common::{at, scratch};

#[tokio::test]
async fn the_bundled_logs_pass() {
    let memory = Arc::new(MemoryAudit::default());
    check_audit_log(Arc::<MemoryAudit>::clone(&memory), || memory.text().into_bytes()).await.unwrap();

    let path = scratch("conformance-audit.jsonl");
    let file: Arc<dyn AuditLog> = Arc::new(FileAudit::open(&path).unwrap());
    check_audit_log(Arc::new(Arc::clone(&file)), || std::fs::read(&path).unwrap()).await.unwrap();
    // A second run, on a log that holds records already.
    check_audit_log(file, || std::fs::read(&path).unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_log_in_memory_keeps_the_last_lines() {
    let log = MemoryAudit::new(2);
    for number in 0..5 {
        let switch = KillSwitch::on("ops", format!("{number}"), at(number));
        log.append(AuditEntry::kill_switch(&switch, &Redactor::default())).await.unwrap();
    }
    let text = log.text();
    assert_eq!(text.lines().count(), 2);
    assert!(text.contains("\"sequence\":4") && text.contains("\"sequence\":5"), "{text}");
    assert_eq!(verify(text.as_bytes()).unwrap_err().line, 1);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Forgets,
    Refuses,
    SwapsTwo,
    SkipsANumber,
    SharesAPlace,
    Rewrites,
    RedactsTwice,
    WritesInTwoParts,
}

/// A log in memory with one fault.
#[derive(Debug)]
struct Faulty {
    fault: Fault,
    lines: Mutex<(AuditChain, Vec<String>)>,
    count: AtomicU64,
}

impl Faulty {
    fn text(&self) -> Vec<u8> {
        self.lines.lock().unwrap().1.concat().into_bytes()
    }
}

#[async_trait]
impl AuditLog for Faulty {
    async fn append(&self, mut entry: AuditEntry) -> Result<(), AuditError> {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        match self.fault {
            Fault::Forgets if count == 3 => return Ok(()),
            Fault::Refuses if count == 3 => {
                return Err(AuditError::Unwritable { kind: "test".to_owned(), why: "no".to_owned() });
            }
            Fault::RedactsTwice => entry.reason = entry.reason.map(|reason| reason.replace("entry", "[REDACTED]")),
            _ => {}
        }
        let chain = self.lines.lock().unwrap().0.clone();
        if self.fault == Fault::SharesAPlace {
            tokio::task::yield_now().await;
        }
        let line = if self.fault == Fault::SharesAPlace { chain } else { self.lines.lock().unwrap().0.clone() };
        let line = line.next(&entry)?;
        let mut text = line.text.clone();
        if self.fault == Fault::SkipsANumber && count == 2 {
            self.lines.lock().unwrap().0.advance(&line);
            text = self.lines.lock().unwrap().0.next(&entry)?.text;
        }
        if self.fault == Fault::WritesInTwoParts {
            let (one, two) = text.split_at(text.len() / 2);
            self.lines.lock().unwrap().1.push(one.to_owned());
            tokio::task::yield_now().await;
            self.lines.lock().unwrap().1.push(two.to_owned());
            self.lines.lock().unwrap().0.advance(&line);
            return Ok(());
        }
        let mut lines = self.lines.lock().unwrap();
        if self.fault == Fault::Rewrites && count == 4 {
            // The whole chain anew, without its first line.
            let entries: Vec<AuditEntry> = aiops_remediate::AuditReader::new(lines.1.concat().as_bytes())
                .map(|record| record.unwrap().entry)
                .skip(1)
                .chain([entry])
                .collect();
            *lines = Default::default();
            for entry in entries {
                let line = lines.0.next(&entry)?;
                lines.0.advance(&line);
                lines.1.push(line.text);
            }
            return Ok(());
        }
        lines.0.advance(&line);
        lines.1.push(text);
        if self.fault == Fault::SwapsTwo && count == 3 {
            lines.1.swap(2, 3);
        }
        Ok(())
    }
}

#[tokio::test]
async fn the_suite_finds_each_fault() {
    for (fault, contract) in [
        (Fault::Forgets, "once `append` returns `Ok`"),
        (Fault::Refuses, "an entry of every kind is taken"),
        (Fault::SwapsTwo, "nothing is changed or removed"),
        (Fault::SkipsANumber, "entries make one chain"),
        (Fault::SharesAPlace, "entries make one chain"),
        (Fault::Rewrites, "nothing is changed or removed"),
        (Fault::RedactsTwice, "appends at the same time"),
        (Fault::WritesInTwoParts, "entries make one chain"),
    ] {
        let log = Arc::new(Faulty { fault, lines: Mutex::default(), count: AtomicU64::new(0) });
        let violation = check_audit_log(Arc::<Faulty>::clone(&log), || log.text()).await.unwrap_err();
        assert!(violation.contract.starts_with(contract), "{fault:?}: {violation}");
    }
}
