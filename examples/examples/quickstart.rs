//! A whole incident on one machine, with no server, key or network.
//!
//! `cargo run --example quickstart [-- [--json] [DIR]]`: recorded incidents of a web shop through
//! detection, triage by rules, and a plan. `DIR` is one incident in the layout of the PetShop data set;
//! without it the built-in ones run. `--json` prints one object a line. Exit code 2 where something
//! cannot be read.
//!
//! With `--features model` triage asks a model that options or the environment name (`--help` lists them), and the
//! rules answer where it does not.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use aiops_examples::petshop::{self, Incident};
use aiops_examples::quickstart::{Outcome, Timeline};

const USAGE: &str = "usage: quickstart [--json] [DIR]   (DIR holds metrics.csv, see examples/data/petshop)";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            let _ = writeln!(io::stderr(), "quickstart: {message}");
            ExitCode::from(2)
        }
    }
}

/// Who triages: a model that options or the environment name.
#[cfg(feature = "model")]
mod triage {
    use std::env::ArgsOs;

    use aiops_examples::model::{ModelArguments, ModelSettings, OPTIONS};
    use aiops_examples::petshop::Incident;
    use aiops_examples::quickstart::{Outcome, run_with};

    pub(super) const HELP: &str = OPTIONS;

    pub(super) struct Arguments(ModelArguments);

    pub(super) struct Triage(ModelSettings);

    impl Arguments {
        pub(super) fn new() -> Self {
            Self(ModelArguments::default())
        }

        pub(super) fn takes(&mut self, option: &str, rest: &mut ArgsOs) -> Result<bool, String> {
            self.0.takes(option, || rest.next()?.into_string().ok())
        }

        pub(super) fn triage(self) -> Result<Triage, String> {
            self.0.settings(|name| std::env::var(name).ok()).map(Triage)
        }
    }

    impl Triage {
        pub(super) async fn outcome(&self, incident: &Incident) -> Result<Outcome, String> {
            run_with(incident, |menu, clock| self.0.triager(menu, clock)).await
        }
    }
}

/// Who triages: the rules.
#[cfg(not(feature = "model"))]
mod triage {
    use std::env::ArgsOs;

    use aiops_examples::petshop::Incident;
    use aiops_examples::quickstart::{Outcome, run};

    pub(super) const HELP: &str = "Built with `--features model`, it asks a model in place of the rules.";

    pub(super) struct Arguments;

    pub(super) struct Triage;

    impl Arguments {
        pub(super) fn new() -> Self {
            Self
        }

        pub(super) fn takes(&mut self, option: &str, _: &mut ArgsOs) -> Result<bool, String> {
            let asks = ["--provider", "--model", "--url"].contains(&option);
            if asks { Err(format!("{option} names a model: build with `--features model`")) } else { Ok(false) }
        }

        pub(super) fn triage(self) -> Result<Triage, String> {
            Ok(Triage)
        }
    }

    impl Triage {
        pub(super) async fn outcome(&self, incident: &Incident) -> Result<Outcome, String> {
            run(incident).await
        }
    }
}

async fn run() -> Result<(), String> {
    let (mut json, mut folder, mut asked) = (false, None, triage::Arguments::new());
    let mut arguments = std::env::args_os();
    arguments.next();
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--help" | "-h") => return Err(format!("{USAGE}\n\n{}", triage::HELP)),
            Some("--json") => json = true,
            Some(option) if asked.takes(option, &mut arguments)? => {}
            Some(other) if other.starts_with("--") => return Err(format!("unexpected {other:?}; {USAGE}")),
            _ if folder.is_some() => return Err(format!("more than one folder; {USAGE}")),
            _ => folder = Some(PathBuf::from(argument)),
        }
    }
    let triage = asked.triage()?;
    let incidents = match &folder {
        None => petshop::embedded()?,
        Some(folder) => vec![Incident::load(folder)?],
    };
    let stdout = io::stdout();
    let colours = stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let mut out = BufWriter::new(stdout.lock());
    for incident in &incidents {
        let outcome = triage.outcome(incident).await?;
        let log = write_log(incident, &outcome)?;
        match print(&mut out, &outcome, json, Timeline { colours }, &log) {
            // The reader of a pipe went away: there is nobody to tell.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            written => written.map_err(|error| error.to_string())?,
        }
    }
    Ok(())
}

fn print(out: &mut dyn Write, outcome: &Outcome, json: bool, timeline: Timeline, log: &Path) -> io::Result<()> {
    for record in &outcome.records {
        if json {
            writeln!(out, "{record}")?;
        } else {
            if record["type"] == "summary" {
                writeln!(out, "logs      {}", log.display())?;
            }
            timeline.write(out, record)?;
        }
    }
    out.flush()
}

/// All records of the run, one a line.
fn write_log(incident: &Incident, outcome: &Outcome) -> Result<PathBuf, String> {
    let folder = std::env::temp_dir().join("aiops-quickstart");
    let name: String = incident.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let path = folder.join(format!("{name}.jsonl"));
    let write = || -> io::Result<()> {
        std::fs::create_dir_all(&folder)?;
        let mut file = BufWriter::new(File::create(&path)?);
        for record in &outcome.records {
            writeln!(file, "{record}")?;
        }
        file.flush()
    };
    write().map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}
