//! The store over a restart.

use std::collections::VecDeque;

use aiops_core::{BoxError, ServiceName};
use serde::{Deserialize, Serialize};

use super::service::SavedService;
use super::{ErrorLogs, MAX_MISSED, Times, dropped, locked};
use crate::log_state::{Kept, PARTS, Part, part_of, read_all};

/// What its saved bytes say they are.
const NAME: &str = "ErrorLogs";

/// One part: services, or the times.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Saved {
    Services(Vec<(ServiceName, SavedService)>),
    Times { began: u32, missed: VecDeque<(u32, u32)> },
}

fn read(bytes: &[u8]) -> Result<Saved, BoxError> {
    let saved: Saved = Part::read(NAME, bytes)?;
    match &saved {
        Saved::Services(services) => services.iter().try_for_each(|(_, service)| service.check())?,
        Saved::Times { missed, .. } if missed.iter().any(|(from, to)| from >= to) => {
            return Err("a range of minutes ends before it begins".into());
        }
        Saved::Times { .. } => {}
    }
    Ok(saved)
}

impl Kept for ErrorLogs {
    fn kept_as(&self) -> &'static str {
        NAME
    }

    fn save_parts(&self) -> Vec<Part> {
        let mut parts: Vec<Part> = Vec::with_capacity(PARTS + 1);
        for shard in &self.store.shards {
            let services: Vec<_> = locked(shard).iter().map(|(name, logs)| (name.clone(), logs.saved())).collect();
            let empty = services.is_empty();
            parts.push(Part::of(NAME, &Saved::Services(services), empty));
        }
        let Times { began, missed, .. } = locked(&self.store.times).clone();
        parts.push(Part::of(NAME, &Saved::Times { began, missed }, false));
        parts
    }

    fn restore_parts(&self, parts: Vec<(usize, Vec<u8>)>) -> Vec<(usize, BoxError)> {
        let (saved, mut errors) = read_all(parts, read);
        for part in saved {
            match part {
                Saved::Times { began, mut missed } => {
                    missed.truncate(MAX_MISSED);
                    let mut times = locked(&self.store.times);
                    (times.began, times.missed) = (began, missed);
                }
                Saved::Services(services) => {
                    for (service, saved) in services {
                        let part = part_of(&service);
                        match saved.restored(self.store.max_groups) {
                            Ok(logs) => self.put(service, logs),
                            Err(error) => errors.push((part, error.into())),
                        }
                    }
                }
            }
        }
        errors
    }
}

impl ErrorLogs {
    fn put(&self, service: ServiceName, logs: super::ServiceLogs) {
        if service.is_empty() {
            return dropped("no_service", 1);
        }
        let mut shard = self.shard(&service);
        match shard.get_mut(&service) {
            Some(known) => *known = logs,
            None => self.add(&mut shard, service, logs),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::*;
    use crate::source::LogLine;

    type Change = fn(&mut Value);

    fn refused(part: Value) -> Option<String> {
        let logs = ErrorLogs::new(Timestamp::UNIX_EPOCH);
        let errors = logs.restore_parts(vec![(7, Part::of(NAME, &part, false).into_bytes())]);
        assert_eq!(errors.is_empty(), logs.services() > 0);
        errors.first().map(|(_, why)| aiops_core::error_chain(&**why))
    }

    #[test]
    fn state_that_no_store_saved_is_refused_with_its_reason() {
        let logs = ErrorLogs::new(Timestamp::UNIX_EPOCH);
        logs.push(&LogLine::new(Timestamp::UNIX_EPOCH, "cart", "failed"), Timestamp::UNIX_EPOCH);
        let saved = logs.of(&"cart".into(), |logs| serde_json::to_value(logs.saved()).unwrap_or_default());
        let services = |change: Change| {
            let mut saved = saved.clone().unwrap_or_default();
            change(&mut saved);
            refused(json!({"services": [["cart", saved]]}))
        };
        assert_eq!(services(|_| {}), None);
        let odd: [(Change, &str); 4] = [
            (|saved| saved["known"][0][1]["first"] = json!(9), "first seen"),
            (|saved| saved["since"] = json!(9), "first seen"),
            (|saved| saved["miner"] = json!("nonsense"), "aiops-templates"),
            (|saved| saved["counts"] = json!([[1, "x", 1]]), "16 lower-case hex digits"),
        ];
        for (change, why) in odd {
            let found = services(change).unwrap_or_default();
            assert!(found.contains(why), "{why}: {found}");
        }
        let times = refused(json!({"times": {"began": 1, "missed": [[5, 5]]}})).unwrap_or_default();
        assert!(times.contains("ends before it begins"), "{times}");
    }
}
