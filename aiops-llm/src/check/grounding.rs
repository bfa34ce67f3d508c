//! Whether a report says what its context says.

use std::collections::BTreeSet;

use aiops_core::{TriageReport, TriageRequest};

use super::Flag;
use super::words;

/// What a report may refer to.
pub(crate) struct Context {
    ids: BTreeSet<String>,
    /// The prompt's evidence as plain text, blanks folded.
    text: String,
    numbers: Vec<f64>,
}

impl Context {
    /// The context of a request as the model saw it: lines of JSON.
    pub(crate) fn new(request: &TriageRequest, prompt: &str) -> Self {
        let mut ids: BTreeSet<String> = request.context.items.iter().map(|item| item.id.clone()).collect();
        let mut text = String::with_capacity(prompt.len());
        for line in prompt.lines() {
            match serde_json::from_str::<serde_json::Value>(line) {
                Ok(value) => {
                    ids.extend(value["id"].as_str().map(str::to_owned));
                    for key in ["text", "service", "at"] {
                        text.push_str(value[key].as_str().unwrap_or_default());
                        text.push(' ');
                    }
                }
                Err(_) => {
                    text.push_str(line);
                    text.push(' ');
                }
            }
        }
        let text = folded(&text);
        let numbers = numbers_of(&text);
        Self { ids, text, numbers }
    }

    fn says(&self, quotation: &str) -> bool {
        let wanted = folded(quotation);
        // A model may leave out the middle, or end with a full stop of its own.
        wanted
            .split(['…', '*'])
            .flat_map(|part| part.split("..."))
            .map(|part| part.trim().trim_end_matches(['.', ',', '!', '?']))
            .filter(|part| !part.is_empty())
            .all(|part| self.text.contains(part))
    }

    /// Whether a word stands in the context with nothing before or after it that would make it another one.
    fn has_word(&self, word: &str) -> bool {
        self.text.match_indices(word).any(|(at, _)| {
            let (before, after) = (&self.text[..at], &self.text[at + word.len()..]);
            let mut next = after.chars();
            let dot_digit = next.clone().next() == Some('.') && next.nth(1).is_some_and(|c| c.is_ascii_digit());
            !before.ends_with(|c: char| c.is_alphanumeric() || c == '.')
                && !after.starts_with(char::is_alphanumeric)
                && !dot_digit
        })
    }

    /// Whether a number stands in the context, or becomes one of it by rounding to the digits shown.
    fn knows(&self, word: &str) -> bool {
        let lower = word.to_lowercase();
        if self.has_word(&lower) {
            return true;
        }
        // A time of day stands within a timestamp; of these and of versions nothing is rounded.
        if words::is_time(word) || words::is_version(word) {
            return words::is_time(word) && self.text.contains(&lower);
        }
        let digits: String = word.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
        let Ok(number) = digits.trim_end_matches('.').parse::<f64>() else { return false };
        let decimals = digits.split_once('.').map_or(0, |(_, after)| after.len());
        let half = 0.5 * 10f64.powi(-i32::try_from(decimals).unwrap_or(9));
        let near = |known: f64| (known - number).abs() <= half * (1.0 + 1e-9);
        // A ratio may be told as a percentage.
        self.numbers.iter().any(|known| near(*known) || near(known * 100.0))
    }
}

/// Lower case, blanks folded.
fn folded(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

/// The numbers that words begin with: `0.12`, and the 6 of `6m`, but not the 99 of `p99`.
fn numbers_of(text: &str) -> Vec<f64> {
    let number = |word: &str| {
        let end = word.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(word.len());
        word[..end].trim_end_matches('.').parse().ok()
    };
    text.split(|c: char| !c.is_alphanumeric() && c != '.').filter_map(number).collect()
}

/// Adds what the context does not support; removes evidence ids that it does not have.
pub(super) fn check(report: &mut TriageReport, context: &Context, flags: &mut Vec<Flag>) {
    let own = |id: &str| id.strip_prefix("ev:").unwrap_or(id).to_owned();
    let mut ids: Vec<String> = report.evidence.iter().map(|id| own(id)).collect();
    for cause in &report.likely_causes {
        ids.extend(words::cited(cause).into_iter().map(own));
    }
    let cited = ids.len();
    ids.retain(|id| context.ids.contains(id));
    if ids.len() < cited {
        flags.push(Flag::UnknownEvidence);
    }
    if ids.is_empty() && !(report.likely_causes.is_empty() && report.recommended_actions.is_empty()) {
        flags.push(Flag::NoEvidence);
    }
    // What is cited in a cause counts as evidence: a policy looks there.
    let mut seen = BTreeSet::new();
    ids.retain(|id| seen.insert(id.clone()));
    report.evidence = ids;
    let texts = std::iter::once(&report.summary).chain(&report.likely_causes);
    for text in texts {
        if words::quoted(text).iter().any(|quotation| !context.says(quotation)) {
            flags.push(Flag::UnsupportedQuotation);
        }
        if words::exact(text).iter().any(|word| !context.knows(word)) {
            flags.push(Flag::UnsupportedNumber);
        }
        if words::names(text).iter().any(|name| !context.text.contains(&name.to_lowercase())) {
            flags.push(Flag::UnsupportedName);
        }
    }
}
