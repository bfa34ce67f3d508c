//! What the command line says.

use std::fmt;
use std::path::PathBuf;

/// How the program is called.
pub const USAGE: &str = "usage: three_services detection|triage|remediation --bus nats://HOST:PORT|redis://HOST:PORT|\
kafka://HOST:PORT [--state redis://HOST:PORT [--replica NAME]] [--prefix PREFIX] [--incident DIR]";

/// The longest name of a replica or prefix of names: servers bound the names of streams and keys.
const LONGEST_NAME: usize = 60;

/// One of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Sees the recorded incident and announces it.
    Detection,
    /// Writes the report.
    Triage,
    /// Decides what would be done.
    Remediation,
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Detection => "detection",
            Self::Triage => "triage",
            Self::Remediation => "remediation",
        })
    }
}

/// The command line, read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Arguments {
    /// Which service.
    pub service: Service,
    /// The URL of the bus.
    pub bus: String,
    /// The URL of the Redis in which replicas of one service share what they know.
    pub state: Option<String>,
    /// This process's name among the replicas of its service.
    pub replica: Option<String>,
    /// What all names on the servers begin with.
    pub prefix: String,
    /// A recorded incident in the layout of the PetShop data set; the first built-in one where there is none.
    pub incident: Option<PathBuf>,
}

impl Arguments {
    /// Reads the arguments behind the program's name. A URL is not repeated in an error, since it may hold a password.
    ///
    /// # Errors
    /// One line that says what is wrong with them, and how the program is called.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        Self::read(arguments.into_iter()).map_err(|fault| format!("{fault}; {USAGE}"))
    }

    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut service, mut bus, mut state, mut replica, mut prefix, mut incident) =
            (None, None, None, None, None, None);
        while let Some(argument) = arguments.next() {
            let place = match argument.as_str() {
                "--bus" => &mut bus,
                "--state" => &mut state,
                "--replica" => &mut replica,
                "--prefix" => &mut prefix,
                "--incident" => &mut incident,
                option if option.starts_with('-') => return Err(format!("unexpected {option:?}")),
                _ if service.is_some() => return Err(format!("unexpected {argument:?}")),
                name => {
                    service = Some(match name {
                        "detection" => Service::Detection,
                        "triage" => Service::Triage,
                        "remediation" => Service::Remediation,
                        _ => return Err(format!("there is no service {name:?}")),
                    });
                    continue;
                }
            };
            let value = arguments.next().filter(|value| !value.is_empty() && !value.starts_with("--"));
            let value = value.ok_or_else(|| format!("{argument} needs a value"))?;
            if place.replace(value).is_some() {
                return Err(format!("{argument} is there twice"));
            }
        }
        let service = service.ok_or("no service is named")?;
        let bus = bus.ok_or("--bus is missing")?;
        if !["nats", "redis", "kafka"].iter().any(|scheme| names_a_host(&bus, scheme)) {
            return Err("--bus is no nats://, redis:// or kafka:// URL".to_owned());
        }
        if state.as_ref().is_some_and(|url| !names_a_host(url, "redis")) {
            return Err("--state is no redis:// URL".to_owned());
        }
        if replica.is_some() && state.is_none() {
            return Err("--replica needs --state: replicas share what they know there".to_owned());
        }
        for (option, name) in [("--replica", &replica), ("--prefix", &prefix)] {
            if name.as_ref().is_some_and(|name| !is_name(name)) {
                return Err(format!("{option} is at most {LONGEST_NAME} letters, digits, -, _ and ."));
            }
        }
        let prefix = prefix.unwrap_or_default();
        Ok(Self { service, bus, state, replica, prefix, incident: incident.map(PathBuf::from) })
    }

    /// What keys on the state server begin with.
    pub(super) fn keys(&self, what: &str) -> String {
        format!("{}three-services-{what}", self.prefix)
    }
}

fn names_a_host(url: &str, scheme: &str) -> bool {
    let rest = url.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://"));
    rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_alphanumeric() || "[:".contains(c)))
}

fn is_name(name: &str) -> bool {
    name.len() <= LONGEST_NAME && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        Arguments::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_whole_line_is_read_in_any_order() {
        let line = "--bus nats://h:1 triage --state redis://:secret@h:2/0 --replica pod-1 --prefix eu. --incident d/e";
        let read = parse(line).unwrap();
        assert_eq!((read.service, read.bus.as_str()), (Service::Triage, "nats://h:1"));
        assert_eq!((read.replica.as_deref(), read.prefix.as_str()), (Some("pod-1"), "eu."));
        assert_eq!((read.state.as_deref(), read.incident), (Some("redis://:secret@h:2/0"), Some(PathBuf::from("d/e"))));
        let least = parse("detection --bus kafka://h:1").unwrap();
        assert_eq!((least.prefix.as_str(), least.state, least.incident), ("", None, None));
    }

    #[test]
    fn nonsense_is_one_line_that_says_what_is_wrong() {
        for (line, wanted) in [
            ("", "no service is named"),
            ("detection", "--bus is missing"),
            ("detect --bus nats://h:1", "there is no service \"detect\""),
            ("triage remediation --bus nats://h:1", "unexpected \"remediation\""),
            ("triage --buss nats://h:1", "unexpected \"--buss\""),
            ("triage --bus", "--bus needs a value"),
            ("triage --bus --state", "--bus needs a value"),
            ("triage --bus nats://h:1 --bus nats://h:1", "--bus is there twice"),
            ("triage --bus http://user:secret@h:1", "--bus is no nats://, redis:// or kafka:// URL"),
            ("triage --bus nats://", "--bus is no nats://, redis:// or kafka:// URL"),
            ("triage --bus nats://h:1 --state nats://h:1", "--state is no redis:// URL"),
            ("triage --bus nats://h:1 --replica a", "--replica needs --state"),
            ("triage --bus nats://h:1 --prefix a*b", "--prefix is at most 60 letters"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.starts_with(wanted), "{line:?}: {error}");
            assert!(error.contains("usage: three_services") && !error.contains('\n') && !error.contains("secret"));
        }
    }
}
