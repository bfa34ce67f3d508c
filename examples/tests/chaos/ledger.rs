//! What the processes have done, in files that outlive them: a line is written at once or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

#[derive(Debug, Clone)]
pub(crate) struct Ledger(PathBuf);

impl Ledger {
    pub(crate) fn of(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// Adds a line to one of the files.
    pub(crate) fn note(&self, file: &str, line: &str) -> std::io::Result<()> {
        let mut file = OpenOptions::new().create(true).append(true).open(self.0.join(format!("{file}.log")))?;
        file.write_all(format!("{line}\n").as_bytes())
    }

    fn lines(&self, file: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.0.join(format!("{file}.log"))).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    pub(crate) fn read(&self) -> Account {
        let mut account = Account::default();
        for line in self.lines("announced") {
            let (incident, service) = line.split_once(' ').unwrap();
            account.pages += 1;
            account.announced.insert(incident.to_owned());
            account.services.insert(service.to_owned());
        }
        account.taken.extend(self.lines("taken"));
        for line in self.lines("answered") {
            let (incident, disposition) = line.split_once(' ').unwrap();
            account.dispositions.entry(incident.to_owned()).or_default().insert(disposition.to_owned());
        }
        for key in self.lines("acted") {
            *account.acted.entry(key).or_default() += 1;
        }
        account
    }
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) pages: usize,
    pub(crate) announced: BTreeSet<String>,
    pub(crate) services: BTreeSet<String>,
    /// Incidents whose detection the bus took.
    pub(crate) taken: BTreeSet<String>,
    pub(crate) dispositions: BTreeMap<String, BTreeSet<String>>,
    /// How often, by the key of the request.
    pub(crate) acted: BTreeMap<String, usize>,
}

impl Account {
    /// Incidents of these that have no disposition.
    pub(crate) fn open(&self, incidents: &BTreeSet<String>) -> Vec<String> {
        incidents.iter().filter(|incident| !self.dispositions.contains_key(*incident)).cloned().collect()
    }

    /// Incidents with more than one disposition, and which.
    pub(crate) fn with_several(&self) -> Vec<String> {
        let several = self.dispositions.iter().filter(|(_, dispositions)| dispositions.len() > 1);
        several.map(|(incident, dispositions)| format!("{incident}: {dispositions:?}")).collect()
    }

    /// Requests that ran more than once.
    pub(crate) fn twice(&self) -> Vec<String> {
        self.acted.iter().filter(|(_, times)| **times > 1).map(|(key, _)| key.clone()).collect()
    }
}
