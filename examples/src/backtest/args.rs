//! The command line of `backtest`.

use std::ffi::OsString;
use std::path::PathBuf;

use aiops_detectors::{DEFAULT_SCORER, scorer_by_name, scorer_names};

/// How to call the program.
pub const USAGE: &str = "\
usage: backtest [OPTIONS] PATH...

Runs scorers over CSV files (columns timestamp, value and perhaps label; folders: every *.csv below) and says
what they would have told. docs/guide/backtest.md describes input, output and figures.

  --scorer NAME          a scorer; may be given again, or as a list with commas
  --threshold T          alert from this statistic on, in place of the scorer's default (one scorer only)
  --labels               score the alerts against the label column
  --alerts-per-week N    suggest a threshold for so many alerts a week and series (default 1)
  --scores OUT           write OUT/<path below the folder given>: timestamp,score,alert for every row
                         (several scorers: OUT/<scorer>/<path>)
  --report OUT.html      write one page with figures and pictures
  --help                 this text, and the scorers";

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Names of scorers, each once.
    pub scorers: Vec<String>,
    /// In place of the default threshold.
    pub threshold: Option<f64>,
    /// Whether to score against labels.
    pub labels: bool,
    /// Alerts a week and series that are wanted.
    pub alerts_per_week: f64,
    /// Folder of the scores.
    pub scores: Option<PathBuf>,
    /// File of the report.
    pub report: Option<PathBuf>,
    /// Files and folders.
    pub paths: Vec<PathBuf>,
}

impl Options {
    /// Reads the arguments; none when help is asked for.
    ///
    /// # Errors
    /// What is wrong with them, for a person.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Option<Self>, String> {
        let mut options = Self {
            scorers: Vec::new(),
            threshold: None,
            labels: false,
            alerts_per_week: 1.0,
            scores: None,
            report: None,
            paths: Vec::new(),
        };
        let mut arguments = arguments.into_iter();
        let mut only_paths = false;
        while let Some(argument) = arguments.next() {
            let text = argument.to_string_lossy().into_owned();
            if only_paths || !text.starts_with("--") {
                options.paths.push(argument.into());
                continue;
            }
            let (name, mut given) = match text.split_once('=') {
                Some((name, value)) => (name, Some(OsString::from(value))),
                None => (text.as_str(), None),
            };
            let mut value = || {
                let value = given.take().or_else(|| arguments.next()).filter(|value| !value.is_empty());
                value.ok_or_else(|| format!("{name} lacks its value"))
            };
            match name {
                "--" => only_paths = true,
                "--help" => return Ok(None),
                "--labels" => options.labels = true,
                "--scorer" => options.add_scorers(&value()?.to_string_lossy())?,
                "--threshold" => options.threshold = Some(positive(name, &value()?)?),
                "--alerts-per-week" => options.alerts_per_week = positive(name, &value()?)?,
                "--scores" => options.scores = Some(value()?.into()),
                "--report" => options.report = Some(value()?.into()),
                _ => return Err(format!("unknown option {name}; --help lists them")),
            }
            if given.is_some() {
                return Err(format!("{name} takes no value"));
            }
        }
        if options.scorers.is_empty() {
            options.scorers.push(DEFAULT_SCORER.to_owned());
        }
        if options.paths.is_empty() {
            return Err("no file or folder given; --help says how to call".to_owned());
        }
        if options.threshold.is_some() && options.scorers.len() > 1 {
            return Err("--threshold goes with one scorer: each has a measure of its own".to_owned());
        }
        Ok(Some(options))
    }

    fn add_scorers(&mut self, list: &str) -> Result<(), String> {
        for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            if scorer_by_name(name).is_none() {
                return Err(format!("no scorer {name:?}; there are {}", known()));
            }
            if !self.scorers.iter().any(|other| other == name) {
                self.scorers.push(name.to_owned());
            }
        }
        Ok(())
    }
}

fn positive(name: &str, value: &OsString) -> Result<f64, String> {
    let text = value.to_string_lossy();
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| format!("{name} wants a number above 0, not {text:?}"))
}

/// The scorers, the default one marked.
#[must_use]
pub fn known() -> String {
    let mark = |name: &str| if name == DEFAULT_SCORER { format!("{name} (default)") } else { name.to_owned() };
    scorer_names().map(mark).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Options>, String> {
        Options::parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn options_in_all_their_forms() {
        let options =
            parse("a --scorer mad,ewma --scorer=mad --labels --alerts-per-week 0.5 --scores out -- --b").unwrap();
        let options = options.unwrap();
        assert_eq!(options.scorers, ["mad", "ewma"]);
        assert_eq!(options.paths, [PathBuf::from("a"), PathBuf::from("--b")]);
        assert_eq!((options.labels, options.alerts_per_week, options.scores), (true, 0.5, Some(PathBuf::from("out"))));
        assert_eq!(parse("a").unwrap().unwrap().scorers, [DEFAULT_SCORER]);
        assert_eq!(parse("--help"), Ok(None));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, wanted) in [
            ("", "no file or folder"),
            ("a --scorer nope", "no scorer \"nope\"; there are"),
            ("a --scorer", "--scorer lacks its value"),
            ("a --threshold 0", "a number above 0, not \"0\""),
            ("a --threshold 3 --scorer mad,ewma", "one scorer"),
            ("a --labels=yes", "--labels takes no value"),
            ("a --lables", "unknown option --lables"),
        ] {
            let message = parse(line).unwrap_err();
            assert!(message.contains(wanted), "{line}: {message}");
        }
    }
}
