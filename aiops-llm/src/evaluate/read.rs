//! Reading recorded incidents: what cannot be read is named and costs itself only.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use aiops_core::ActionMenu;

use super::RecordedIncident;

/// Bytes of one file at the most.
const MAX_FILE: u64 = 64 << 20;
/// Bytes of one incident at the most: a context holds some dozens of items.
const MAX_LINE: usize = 1 << 20;
/// Incidents of a set at the most.
const MAX_INCIDENTS: usize = 10_000;
/// Characters of a name at the most.
const MAX_NAME: usize = 80;
/// The file of the menu in a folder.
const MENU: &str = "menu.json";
/// Recorded replies lie in the same folder.
const CASSETTE: &str = "cassette";

/// Recorded incidents, the menu that their triager picks from, and what could not be read.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct IncidentSet {
    /// The incidents, by file name, in the order of their lines.
    pub incidents: Vec<RecordedIncident>,
    /// The menu: `menu.json`, a list of `{"name", "description", "evidence"}`. Without one every name is known.
    pub menu: Option<ActionMenu>,
    /// Lines and files that are left out.
    pub faults: Vec<IncidentFault>,
}

/// A folder that holds no incidents.
#[derive(Debug, thiserror::Error)]
#[error("{folder} cannot be read")]
pub struct OpenError {
    /// The folder.
    pub folder: String,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// A line or a file that is left out.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{file}{}: {problem}", .line.map_or_else(String::new, |line| format!(", line {line}")))]
#[non_exhaustive]
pub struct IncidentFault {
    /// The file.
    pub file: String,
    /// The line, counted from 1; none where it is the whole file.
    pub line: Option<usize>,
    /// Why.
    #[source]
    pub problem: IncidentProblem,
}

/// What is wrong with a line or a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IncidentProblem {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Io(String),
    /// It is longer than is read.
    #[error("has more than {max} bytes")]
    TooLong {
        /// How many are read.
        max: u64,
    },
    /// It is no incident, or no menu.
    #[error("is not what is expected: {0}")]
    Json(String),
    /// The name is none.
    #[error("name {0:?} must be 1 to {MAX_NAME} letters, digits, '.', '_' and '-'")]
    Name(String),
    /// An incident before has the same name.
    #[error("name {0:?} is taken by an incident before")]
    SameName(String),
    /// A cause that everything or nothing matches.
    #[error("expected.causes[{index}] has no keyword, or an empty one")]
    NoKeyword {
        /// Which cause, counted from 0.
        index: usize,
    },
    /// An action both helps and harms.
    #[error("action {0:?} is both acceptable and forbidden")]
    BothWays(String),
    /// An action that helps is not on the menu, so that no triager can name it.
    #[error("acceptable action {0:?} is not on the menu")]
    NotOnTheMenu(String),
    /// Two context items have one id.
    #[error("context item {0:?} is there twice")]
    SameItem(String),
    /// There are more incidents than are read.
    #[error("there are more than {MAX_INCIDENTS} incidents: this one and those after it are left out")]
    TooMany,
}

impl IncidentSet {
    /// Reads `menu.json` and every `*.jsonl` of a folder but those that begin with `cassette`; folders in it are not
    /// looked into. At most 10,000 incidents of at most 1 MiB each.
    ///
    /// # Errors
    /// [`OpenError`]: the folder cannot be read. What is wrong within it is among the set's faults.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self, OpenError> {
        let folder = folder.as_ref();
        let failed = |source| OpenError { folder: folder.display().to_string(), source };
        let mut paths = Vec::new();
        for entry in fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.extension().is_some_and(|extension| extension == "jsonl") && !name.starts_with(CASSETTE) {
                paths.push(path);
            }
        }
        paths.sort();
        let mut set = Self::default();
        let menu = folder.join(MENU);
        if menu.exists() {
            let shown = menu.display().to_string();
            let read = whole(&menu).and_then(|bytes| {
                serde_json::from_slice(&bytes).map_err(|error| IncidentProblem::Json(error.to_string()))
            });
            match read {
                Ok(menu) => set.menu = Some(menu),
                Err(problem) => set.faults.push(IncidentFault { file: shown, line: None, problem }),
            }
        }
        for path in paths {
            let shown = path.display().to_string();
            match whole(&path) {
                Ok(bytes) => set.add(&shown, &bytes),
                Err(problem) => set.faults.push(IncidentFault { file: shown, line: None, problem }),
            }
        }
        Ok(set)
    }

    /// Adds the lines of one file; blank ones are passed over.
    pub fn add(&mut self, file: &str, bytes: &[u8]) {
        let mut names: BTreeSet<String> = self.incidents.iter().map(|incident| incident.name.clone()).collect();
        let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
        for (line, number) in bytes.split(|byte| *byte == b'\n').zip(1..) {
            if line.trim_ascii().is_empty() {
                continue;
            }
            let full = self.incidents.len() >= MAX_INCIDENTS;
            let read = if full { Err(IncidentProblem::TooMany) } else { incident(line, &names, self.menu.as_ref()) };
            match read {
                Ok(incident) => {
                    names.insert(incident.name.clone());
                    self.incidents.push(incident);
                }
                Err(problem) => {
                    self.faults.push(IncidentFault { file: file.to_owned(), line: Some(number), problem });
                    if full {
                        return;
                    }
                }
            }
        }
    }
}

fn whole(path: &Path) -> Result<Vec<u8>, IncidentProblem> {
    let failed = |error: io::Error| IncidentProblem::Io(error.to_string());
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE { Err(IncidentProblem::TooLong { max: MAX_FILE }) } else { Ok(bytes) }
}

fn incident(
    line: &[u8],
    names: &BTreeSet<String>,
    menu: Option<&ActionMenu>,
) -> Result<RecordedIncident, IncidentProblem> {
    if line.len() > MAX_LINE {
        return Err(IncidentProblem::TooLong { max: MAX_LINE as u64 });
    }
    let incident: RecordedIncident =
        serde_json::from_slice(line).map_err(|error| IncidentProblem::Json(error.to_string()))?;
    let name = &incident.name;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(plain) {
        return Err(IncidentProblem::Name(aiops_core::text::clip(name, MAX_NAME)));
    }
    if names.contains(name) {
        return Err(IncidentProblem::SameName(name.clone()));
    }
    let expected = &incident.expected;
    let blank = |keyword: &String| keyword.split('|').any(|word| word.trim().is_empty());
    for (index, cause) in expected.causes.iter().flatten().enumerate() {
        if cause.required.is_empty() || cause.required.iter().chain(&cause.forbidden).any(blank) {
            return Err(IncidentProblem::NoKeyword { index });
        }
    }
    if let Some(action) = expected.acceptable_actions.iter().find(|name| expected.forbidden_actions.contains(name)) {
        return Err(IncidentProblem::BothWays(action.clone()));
    }
    let unknown = |name: &&String| menu.is_some_and(|menu| menu.get(name).is_none());
    if let Some(action) = expected.acceptable_actions.iter().find(unknown) {
        return Err(IncidentProblem::NotOnTheMenu(action.clone()));
    }
    let mut ids = BTreeSet::new();
    if let Some(item) = incident.context.items.iter().find(|item| !ids.insert(item.id.as_str())) {
        return Err(IncidentProblem::SameItem(item.id.clone()));
    }
    Ok(incident)
}
