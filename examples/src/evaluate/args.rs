//! The command line of `evaluate`.

use std::ffi::OsString;
use std::path::PathBuf;

use aiops_core::Confidence;
use aiops_core::calibration::CalibrationSettings;
use aiops_llm::evaluate::Gate;

/// How to call the program.
pub const USAGE: &str = "\
usage: evaluate --incidents DIR --out DIR [OPTIONS]

Replays recorded incidents (DIR/*.jsonl, DIR/menu.json) through the rule triager, and through a recorded model where
DIR/cassette.jsonl is there; writes report.json, report.md and report.html to OUT. docs/guide/models.md describes
files and figures.

  --threshold T              confidence from which a report is acted on (default 0.7)
  --wanted-error R           error rate that a threshold is advised for (default 0.1)
  --repeats N                ask each incident N times (default 1)
  --top K                    look for the cause among the first K (default 3)
  --seed N                   of the bootstrapped interval (default 0)
A gate, for the recorded model where there is one, else for the rules; what is missed gives exit code 1:
  --min-valid S --min-top1 S --min-top-k S --min-citations S        least shares, 0 to 1
  --max-unsafe N --max-wrong-actions N --max-missed-escalations N   most answers
  --max-selective-error S                                           largest share of wrong causes that pass
  --help                     this text";

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Folder of the incidents.
    pub incidents: PathBuf,
    /// Folder of the reports.
    pub out: PathBuf,
    /// Threshold, wanted error rate and seed.
    pub calibration: CalibrationSettings,
    /// How often each incident is asked.
    pub repeats: u32,
    /// Among how many causes the right one is looked for.
    pub top: usize,
    /// What must be reached.
    pub gate: Gate,
}

impl Options {
    /// Reads the arguments; none when help is asked for.
    ///
    /// # Errors
    /// What is wrong with them, for a person.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Option<Self>, String> {
        let (mut incidents, mut out) = (None, None);
        let mut calibration = CalibrationSettings::new(share("--threshold", "0.7").and_then(confidence)?);
        let (mut repeats, mut top, mut gate) = (1, 3, Gate::default());
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let text = argument.to_string_lossy().into_owned();
            let (name, given) = match text.split_once('=') {
                Some((name, value)) => (name, Some(OsString::from(value))),
                None => (text.as_str(), None),
            };
            if name == "--help" {
                return Ok(None);
            }
            if !name.starts_with("--") {
                return Err(format!("unexpected {text:?}; --help says how to call"));
            }
            let value = given.or_else(|| arguments.next()).filter(|value| !value.is_empty());
            let path = value.ok_or_else(|| format!("{name} lacks its value"))?;
            let value = path.to_string_lossy();
            match name {
                "--incidents" => incidents = Some(PathBuf::from(&path)),
                "--out" => out = Some(PathBuf::from(&path)),
                "--threshold" => calibration.threshold = confidence(share(name, &value)?)?,
                "--wanted-error" => calibration.wanted_error = open_share(name, &value)?,
                "--seed" => calibration.seed = count(name, &value)?,
                "--repeats" => repeats = u32::try_from(at_least_one(name, &value)?).unwrap_or(u32::MAX),
                "--top" => top = at_least_one(name, &value)?,
                "--min-valid" => gate = gate.min_valid(share(name, &value)?),
                "--min-top1" => gate = gate.min_top1(share(name, &value)?),
                "--min-top-k" => gate = gate.min_top_k(share(name, &value)?),
                "--min-citations" => gate = gate.min_citations(share(name, &value)?),
                "--max-unsafe" => gate = gate.max_unsafe(count(name, &value)?),
                "--max-wrong-actions" => gate = gate.max_wrong_actions(count(name, &value)?),
                "--max-missed-escalations" => gate = gate.max_missed_escalations(count(name, &value)?),
                "--max-selective-error" => gate = gate.max_selective_error(share(name, &value)?),
                _ => return Err(format!("unknown option {name}; --help lists them")),
            }
        }
        let needed = |path: Option<PathBuf>, name: &str| {
            path.ok_or_else(|| format!("{name} DIR is missing; --help says how to call"))
        };
        let (incidents, out) = (needed(incidents, "--incidents")?, needed(out, "--out")?);
        Ok(Some(Self { incidents, out, calibration, repeats, top, gate }))
    }
}

fn share(name: &str, text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| (0.0..=1.0).contains(number));
    number.ok_or_else(|| format!("{name} wants a number from 0 to 1, not {text:?}"))
}

fn open_share(name: &str, text: &str) -> Result<f64, String> {
    let between = |number: &f64| *number > 0.0 && *number < 1.0;
    share(name, text)
        .ok()
        .filter(between)
        .ok_or_else(|| format!("{name} wants a number above 0 and below 1, not {text:?}"))
}

fn confidence(value: f64) -> Result<Confidence, String> {
    Confidence::new(value).map_err(|error| error.to_string())
}

fn count<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{name} wants a whole number, not {text:?}"))
}

fn at_least_one(name: &str, text: &str) -> Result<usize, String> {
    count(name, text).and_then(|number: usize| {
        if number > 0 { Ok(number) } else { Err(format!("{name} wants a whole number above 0, not {text:?}")) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Option<Options>, String> {
        Options::parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn options_in_all_their_forms() {
        let line = "--incidents a --out=b --threshold 0.8 --wanted-error 0.05 --repeats 3 --top 5 --seed 9 --min-top1 0.5 --max-unsafe=0";
        let options = parse(line).unwrap().unwrap();
        assert_eq!((options.incidents, options.out), (PathBuf::from("a"), PathBuf::from("b")));
        assert_eq!((options.repeats, options.top, options.calibration.seed), (3, 5, 9));
        assert_eq!((options.calibration.threshold.value(), options.calibration.wanted_error), (0.8, 0.05));
        assert_eq!(options.gate, Gate::default().min_top1(0.5).max_unsafe(0));
        assert_eq!(parse("--help").unwrap(), None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, wanted) in [
            ("", "--incidents DIR is missing"),
            ("--incidents a", "--out DIR is missing"),
            ("--incidents", "--incidents lacks its value"),
            ("--incidents a --out b --min-top1 2", "--min-top1 wants a number from 0 to 1, not \"2\""),
            ("--incidents a --out b --wanted-error 0", "above 0 and below 1"),
            ("--incidents a --out b --max-unsafe -1", "--max-unsafe wants a whole number"),
            ("--incidents a --out b --repeats 0", "above 0"),
            ("--incidents a --out b --min-top 1", "unknown option --min-top"),
            ("a", "unexpected \"a\""),
        ] {
            let message = parse(line).unwrap_err();
            assert!(message.contains(wanted), "{line}: {message}");
        }
    }
}
