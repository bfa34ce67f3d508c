//! A model's replies to recorded incidents, kept so that `evaluate` needs no model.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aiops_core::error_chain;
use aiops_llm::cassette::Recorder;
use aiops_llm::evaluate::{Evaluation, IncidentSet};
use serde::Serialize;

use crate::evaluate::settings::{FILE, TriagerSettings};
use crate::evaluate::{CASSETTE, table};
use crate::incidents;
use crate::model::{ModelArguments, ModelSettings};

/// How to call the program, before the options of the model.
pub const USAGE: &str = "\
usage: record --incidents DIR [--only NAME,NAME…] [--out DIR] [OPTIONS]

Asks a model about recorded incidents (DIR/*.jsonl, DIR/menu.json), all or those that are named, and keeps what it
answers in OUT/cassette.jsonl, with the limits that it was asked with in OUT/triager.json, so that
`evaluate --incidents OUT` needs no model. Without --out it writes beside the incidents; to another folder the incidents
and the menu are copied.";

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Folder of the incidents.
    pub incidents: PathBuf,
    /// Folder of the recording.
    pub out: Option<PathBuf>,
    /// Names of the incidents; all if none.
    pub only: Vec<String>,
    /// The model.
    pub model: ModelArguments,
}

impl Options {
    /// Reads the arguments; none when help is asked for.
    ///
    /// # Errors
    /// What is wrong with them, for a person.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let name = argument.as_str();
            if name == "--help" {
                return Ok(None);
            }
            if options.model.takes(name, || arguments.next())? {
                continue;
            }
            if !["--incidents", "--out", "--only"].contains(&name) {
                return Err(format!("unexpected {name:?}; --help says how to call"));
            }
            let value = arguments.next().ok_or_else(|| format!("{name} lacks its value"))?;
            match name {
                "--incidents" => options.incidents = value.into(),
                "--out" => options.out = Some(value.into()),
                _ => options.only.extend(value.split(',').map(str::to_owned)),
            }
        }
        if options.incidents.as_os_str().is_empty() {
            return Err("--incidents DIR is missing; --help says how to call".to_owned());
        }
        Ok(Some(options))
    }
}

/// Records, and writes the figures of the answers to `out`.
///
/// # Errors
/// Files that cannot be read or written, an incident that there is not, settings that cannot be; as a line for a
/// person. A model that fails costs that answer only, and is told in the figures.
pub async fn run(
    incidents: &Path,
    only: &[String],
    to: &Path,
    model: &ModelSettings,
    out: &mut dyn Write,
) -> Result<(), String> {
    let mut set = IncidentSet::open(incidents).map_err(|error| error_chain(&error))?;
    if let Some(fault) = set.faults.first() {
        return Err(fault.to_string());
    }
    if let Some(unknown) = only.iter().find(|name| !set.incidents.iter().any(|incident| incident.name == **name)) {
        return Err(format!("{}: no incident is named {unknown:?}", incidents.display()));
    }
    set.incidents.retain(|incident| only.is_empty() || only.contains(&incident.name));
    if set.incidents.is_empty() {
        return Err(format!("{} holds no incident", incidents.display()));
    }
    let settings = TriagerSettings {
        bounded: model.bounded,
        max_evidence_bytes: model.max_evidence,
        max_output_tokens: model.max_output,
        timeout_seconds: Some(model.timeout.as_secs()),
    };
    let failed = |error: io::Error| format!("could not write to {}: {error}", to.display());
    fs::create_dir_all(to).map_err(failed)?;
    // The same folder under another name must not lose the incidents that are not recorded.
    if fs::canonicalize(to).map_err(failed)? != fs::canonicalize(incidents).map_err(failed)? {
        let file = File::create(to.join("incidents.jsonl")).map_err(failed)?;
        incidents::write(&set.incidents, BufWriter::new(file)).map_err(failed)?;
        if let Some(menu) = &set.menu {
            json(&to.join("menu.json"), menu)?;
        }
    }
    json(&to.join(FILE), &settings)?;
    let cassette = to.join(CASSETTE);
    // A recorder adds to the end: replies to other prompts would stay for ever.
    File::create(&cassette).map_err(failed)?;
    let recorder = Recorder::to_file(model.adapter.model(), &cassette).map_err(|error| error_chain(&error))?;
    let triager =
        settings.triager(recorder, set.menu.clone().unwrap_or_default()).map_err(|error| error_chain(&error))?;
    let evaluation = Evaluation::default().limit(model.timeout + Duration::from_secs(5));
    table(&evaluation.run(&triager, &set).await, out).map_err(|error| error.to_string())
}

fn json(path: &Path, value: &impl Serialize) -> Result<(), String> {
    let text = serde_json::to_string_pretty(value).map_err(io::Error::from);
    let written = text.and_then(|text| fs::write(path, text + "\n"));
    written.map_err(|error| format!("could not write {}: {error}", path.display()))
}
