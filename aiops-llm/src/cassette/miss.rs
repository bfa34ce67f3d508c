//! In what a request differs from those that were recorded.

use std::fmt;

use super::entry::Asked;

/// Characters of a line that are shown.
const SHOWN: usize = 100;

/// A request that was not recorded, and in what the nearest recorded one differs.
///
/// It shows text of prompts, without secrets and cut: a cassette is a tool of tests and evaluations.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cassette {cassette} has no such request: the nearest one differs in {}", joined(.differences))]
#[non_exhaustive]
pub struct CassetteMiss {
    /// The file.
    pub cassette: String,
    /// In what the nearest recorded request differs, at least one.
    pub differences: Vec<Difference>,
}

fn joined(differences: &[Difference]) -> String {
    differences.iter().map(Difference::to_string).collect::<Vec<_>>().join("; ")
}

/// One part of a request that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Difference {
    /// Rules and menu.
    System(FirstLine),
    /// The evidence. A first line that differs is that of the marks: another salt, event or incident.
    User(FirstLine),
    /// The shape of the answer: its name, then its text.
    Schema(FirstLine),
    /// The limit of the reply.
    MaxOutputTokens {
        /// In the recorded request.
        recorded: u32,
        /// In this one.
        asked: u32,
    },
    /// The limit of time, in milliseconds.
    TimeoutMs {
        /// In the recorded request.
        recorded: u64,
        /// In this one.
        asked: u64,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(line) => write!(f, "system, {line}"),
            Self::User(line) => write!(f, "user, {line}"),
            Self::Schema(line) => write!(f, "schema, {line}"),
            Self::MaxOutputTokens { recorded, asked } => {
                write!(f, "limits, max_output_tokens: recorded {recorded}, asked {asked}")
            }
            Self::TimeoutMs { recorded, asked } => {
                write!(f, "limits, timeout: recorded {recorded} ms, asked {asked} ms")
            }
        }
    }
}

/// The first line in which two texts differ; empty where one of them has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FirstLine {
    /// Its number, counted from 1.
    pub line: usize,
    /// In the recorded request, cut.
    pub recorded: String,
    /// In this one, cut.
    pub asked: String,
}

impl fmt::Display for FirstLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: recorded {:?}, asked {:?}", self.line, self.recorded, self.asked)
    }
}

/// The differences to the nearest of the recorded requests: the fewest parts, then the longest equal beginning of
/// the evidence. None where nothing is recorded.
pub(super) fn nearest<'a>(asked: &Asked, recorded: impl Iterator<Item = &'a Asked>) -> Option<Vec<Difference>> {
    let measured = recorded.map(|recorded| {
        let differences = differences(recorded, asked);
        let equal = recorded.user.bytes().zip(asked.user.bytes()).take_while(|(a, b)| a == b).count();
        (differences.len(), std::cmp::Reverse(equal), differences)
    });
    measured.min_by_key(|(parts, equal, _)| (*parts, *equal)).map(|(_, _, differences)| differences)
}

fn differences(recorded: &Asked, asked: &Asked) -> Vec<Difference> {
    let schema = |asked: &Asked| asked.schema.as_ref().map_or(String::new(), |it| format!("{}\n{}", it.name, it.json));
    let (max_recorded, max_asked) = (recorded.max_output_tokens, asked.max_output_tokens);
    let (ms_recorded, ms_asked) = (recorded.timeout_ms, asked.timeout_ms);
    [
        first_line(&recorded.system, &asked.system).map(Difference::System),
        first_line(&recorded.user, &asked.user).map(Difference::User),
        first_line(&schema(recorded), &schema(asked)).map(Difference::Schema),
        (max_recorded != max_asked).then_some(Difference::MaxOutputTokens { recorded: max_recorded, asked: max_asked }),
        (ms_recorded != ms_asked).then_some(Difference::TimeoutMs { recorded: ms_recorded, asked: ms_asked }),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn first_line(recorded: &str, asked: &str) -> Option<FirstLine> {
    if recorded == asked {
        return None;
    }
    let (mut recorded, mut asked) = (recorded.split('\n'), asked.split('\n'));
    let mut line = 1;
    loop {
        let (one, other) = (recorded.next(), asked.next());
        if one != other || one.is_none() {
            let (one, other) = around(one.unwrap_or_default(), other.unwrap_or_default());
            return Some(FirstLine { line, recorded: one, asked: other });
        }
        line += 1;
    }
}

/// Both from a little before the first character that differs: lines of JSON begin alike.
fn around(one: &str, other: &str) -> (String, String) {
    const BEFORE: usize = 30;
    let equal = one.chars().zip(other.chars()).take_while(|(a, b)| a == b).count();
    let from = if equal > SHOWN / 2 { equal - BEFORE } else { 0 };
    let cut = |text: &str| {
        let text: String = text.chars().skip(from).collect();
        let shown = aiops_core::text::clip(&text, SHOWN);
        if from > 0 { format!("…{shown}") } else { shown }
    };
    (cut(one), cut(other))
}
