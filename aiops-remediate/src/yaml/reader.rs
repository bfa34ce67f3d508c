//! Takes typed values out of a tree and collects what is wrong with it.
//!
//! Every reader answers `None` after it noted a finding, so that a caller goes on and finds the rest.

use std::rc::Rc;
use std::time::Duration;

use aiops_core::{Confidence, time};

use super::finding::{ConfigError, Finding, MAX_BYTES, MAX_FINDINGS, quoted};
use super::similar::nearest;
use super::tree::{Kind, Node, Pair, Spot, parse};

/// Names and addresses are shorter; aliases could make a long text be read and copied many times.
const MAX_TEXT: usize = 512;

/// Reads one file and collects its findings.
#[derive(Debug)]
pub(crate) struct Reader {
    file: String,
    findings: Vec<Finding>,
    omitted: usize,
}

/// The keys of one map.
#[derive(Debug)]
pub(crate) struct Fields<'n> {
    path: String,
    spot: Spot,
    pairs: &'n [Pair],
}

impl<'n> Fields<'n> {
    /// The value of a key that may be absent, with its path.
    pub(crate) fn get(&self, key: &str) -> Option<(&'n Node, String)> {
        let pair = self.pairs.iter().find(|pair| &*pair.key == key)?;
        Some((&*pair.value, join(&self.path, key)))
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// What a value is, for a person.
fn kind(node: &Node) -> String {
    match &node.kind {
        Kind::List(_) => "a list".to_owned(),
        Kind::Map(_) => "a map".to_owned(),
        Kind::Scalar { text, .. } => quoted(text),
    }
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

/// What plain text would be to a YAML reader that guesses types; `None` where it is text.
fn guessed(text: &str) -> Option<&'static str> {
    match text {
        _ if is_null(text) => Some("nothing"),
        "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => Some("a boolean"),
        _ if text.bytes().any(|byte| byte.is_ascii_digit()) && text.parse::<f64>().is_ok() => Some("a number"),
        _ => None,
    }
}

impl Reader {
    /// The tree of a text that is called `file`.
    ///
    /// # Errors
    /// The faults of the text; an empty one is told to hold `example`.
    pub(crate) fn open(file: &str, text: &str, example: &str) -> Result<(Self, Rc<Node>), ConfigError> {
        let mut reader = Self { file: file.to_owned(), findings: Vec::new(), omitted: 0 };
        if text.len() > MAX_BYTES {
            let problem = format!("the file has more than {MAX_BYTES} bytes");
            reader.note(Spot::START, "", problem, "split it, or remove what is not needed");
            return Err(reader.error());
        }
        let (root, faults) = parse(text);
        for fault in faults {
            reader.note(fault.spot, "", fault.problem, fault.help);
        }
        // `---` alone, or `null`, is a value that says nothing.
        let says_nothing = |root: &Rc<Node>| matches!(&root.kind, Kind::Scalar { text, plain: true } if is_null(text));
        match root.filter(|root| !says_nothing(root)) {
            Some(root) => Ok((reader, root)),
            None if reader.findings.is_empty() => {
                reader.note(Spot::START, "", "the file is empty", format!("write {example}"));
                Err(reader.error())
            }
            None => Err(reader.error()),
        }
    }

    /// Nothing, or all findings.
    ///
    /// # Errors
    /// What was found.
    pub(crate) fn close(self) -> Result<(), ConfigError> {
        if self.findings.is_empty() { Ok(()) } else { Err(self.error()) }
    }

    fn error(mut self) -> ConfigError {
        self.findings.sort_by_key(|finding| (finding.line, finding.column));
        ConfigError::Invalid { findings: self.findings, omitted: self.omitted }
    }

    pub(crate) fn note(&mut self, spot: Spot, key: &str, problem: impl Into<String>, help: impl Into<String>) {
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(Finding::new(&self.file, spot, key, problem.into(), help.into()));
        } else {
            self.omitted += 1;
        }
    }

    /// A map with no keys but the known ones; with `scratch`, keys that begin with `x-` are read over.
    pub(crate) fn fields<'n>(
        &mut self,
        node: &'n Node,
        path: &str,
        known: &[&str],
        scratch: bool,
    ) -> Option<Fields<'n>> {
        let Kind::Map(pairs) = &node.kind else {
            let help = format!("write a map with the keys {}", known.join(", "));
            if self.is_nothing(node, path, &help) {
                return None;
            }
            self.note(node.spot, path, format!("{} where a map is expected", kind(node)), help);
            return None;
        };
        for pair in pairs {
            if known.contains(&&*pair.key) || (scratch && pair.key.starts_with("x-")) {
                continue;
            }
            if self.findings.len() == MAX_FINDINGS {
                // Spares the search for what was meant.
                self.omitted += 1;
                continue;
            }
            let help = match nearest(&pair.key, known.iter().copied()) {
                Some(meant) => format!("did you mean {}?", quoted(meant)),
                None => format!("the known keys are {}", known.join(", ")),
            };
            self.note(pair.spot, path, format!("unknown key {}", quoted(&pair.key)), help);
        }
        Some(Fields { path: path.to_owned(), spot: node.spot, pairs })
    }

    /// The value of a key that must be there; `example` is a line that would be right.
    pub(crate) fn required<'n>(&mut self, fields: &Fields<'n>, key: &str, example: &str) -> Option<(&'n Node, String)> {
        let found = fields.get(key);
        if found.is_none() {
            self.note(fields.spot, &fields.path, format!("missing {key}"), format!("add a line such as `{example}`"));
        }
        found
    }

    /// The items of a list that is not empty, each with its path.
    pub(crate) fn items<'n>(&mut self, node: &'n Node, path: &str, example: &str) -> Option<Vec<(&'n Node, String)>> {
        let help = format!("write {example}");
        match &node.kind {
            Kind::List(items) if !items.is_empty() => {
                Some(items.iter().enumerate().map(|(index, item)| (&**item, format!("{path}[{index}]"))).collect())
            }
            Kind::List(_) => {
                self.note(node.spot, path, "the list is empty", help);
                None
            }
            _ if self.is_nothing(node, path, &help) => None,
            _ => {
                self.note(node.spot, path, format!("{} where a list is expected", kind(node)), help);
                None
            }
        }
    }

    /// Notes a key without a value.
    fn is_nothing(&mut self, node: &Node, path: &str, help: &str) -> bool {
        let nothing = matches!(&node.kind, Kind::Scalar { text, plain: true } if is_null(text));
        if nothing {
            self.note(node.spot, path, "there is no value", format!("{help}, or remove the key"));
        }
        nothing
    }

    /// The text of a scalar, quoted or not, that is not nothing.
    fn scalar<'n>(&mut self, node: &'n Node, path: &str, help: &str) -> Option<(&'n str, bool)> {
        match &node.kind {
            _ if self.is_nothing(node, path, help) => None,
            Kind::Scalar { text, .. } if text.len() > MAX_TEXT => {
                self.note(node.spot, path, format!("{} has more than {MAX_TEXT} bytes", quoted(text)), "shorten it");
                None
            }
            Kind::Scalar { text, plain } => Some((text, *plain)),
            _ => {
                self.note(node.spot, path, format!("{} where one value is expected", kind(node)), help);
                None
            }
        }
    }

    /// Text that is not blank.
    pub(crate) fn text(&mut self, node: &Node, path: &str, example: &str) -> Option<String> {
        let (text, plain) = self.scalar(node, path, &format!("write {example}"))?;
        if let Some(other) = guessed(text).filter(|_| plain) {
            let help = format!("write {example}, or \"{text}\" if it is meant as text");
            self.note(node.spot, path, format!("{} is {other}, not text", quoted(text)), help);
            return None;
        }
        if text.trim().is_empty() {
            self.note(node.spot, path, "the text is blank", format!("write {example}"));
            return None;
        }
        Some(text.to_owned())
    }

    /// Notes quotes around what is meant as no text.
    fn is_text(&mut self, node: &Node, path: &str, text: &str) {
        self.note(node.spot, path, format!("{} is text", quoted(text)), format!("write {text}, without quotes"));
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&mut self, node: &Node, path: &str) -> Option<bool> {
        match self.scalar(node, path, "write true or false")? {
            ("true", true) => Some(true),
            ("false", true) => Some(false),
            (text @ ("true" | "false"), false) => {
                self.is_text(node, path, text);
                None
            }
            (text, _) => {
                let help = match text.to_ascii_lowercase().as_str() {
                    "yes" | "on" | "true" | "y" => "write true",
                    "no" | "off" | "false" | "n" => "write false",
                    _ => "write true or false",
                };
                self.note(node.spot, path, format!("{} is neither true nor false", quoted(text)), help);
                None
            }
        }
    }

    /// A whole number in `1..=max`.
    pub(crate) fn count(&mut self, node: &Node, path: &str, max: u32, example: u32) -> Option<u32> {
        let expected = format!("write a whole number from 1 to {max}, such as {example}");
        let (text, plain) = self.scalar(node, path, &expected)?;
        match text.parse::<u32>() {
            Ok(_) if !plain => {
                self.is_text(node, path, text);
            }
            // A sign or a leading zero would be read otherwise elsewhere (YAML 1.1: octal).
            Ok(count) if (1..=max).contains(&count) && count.to_string() == text => return Some(count),
            _ => self.note(node.spot, path, format!("{} is no whole number from 1 to {max}", quoted(text)), expected),
        }
        None
    }

    /// A number in `0..=1`.
    pub(crate) fn share(&mut self, node: &Node, path: &str) -> Option<Confidence> {
        let expected = "write a number from 0 to 1, such as 0.7";
        let (text, plain) = self.scalar(node, path, expected)?;
        match text.parse::<f64>().ok().map(Confidence::new) {
            Some(Ok(_)) if !plain => {
                self.is_text(node, path, text);
                None
            }
            Some(Ok(share)) => Some(share),
            _ => {
                self.note(node.spot, path, format!("{} is no number from 0 to 1", quoted(text)), expected);
                None
            }
        }
    }

    /// A finite number.
    pub(crate) fn number(&mut self, node: &Node, path: &str) -> Option<f64> {
        let expected = "write a number, such as 0.9";
        let (text, plain) = self.scalar(node, path, expected)?;
        match text.parse::<f64>() {
            Ok(_) if !plain => {
                self.is_text(node, path, text);
                None
            }
            Ok(number) if number.is_finite() => Some(number),
            _ => {
                self.note(node.spot, path, format!("{} is no number", quoted(text)), expected);
                None
            }
        }
    }

    /// A duration that is not zero, such as `10m`.
    pub(crate) fn duration(&mut self, node: &Node, path: &str, example: &str) -> Option<Duration> {
        let expected = format!("write a number with a unit (ms, s, m, h, d), such as {example}");
        let (text, _) = self.scalar(node, path, &expected)?;
        let (problem, help) = match time::parse_human(text) {
            Ok(duration) if duration > Duration::ZERO => return Some(duration),
            Ok(_) => (format!("{} is no time at all", quoted(text)), expected),
            Err(_) if text.starts_with('-') => (format!("{} is negative", quoted(text)), expected),
            Err(_) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                (format!("{} has no unit", quoted(text)), format!("write {text}s for seconds, or {text}m for minutes"))
            }
            Err(_) => (format!("{} is no duration", quoted(text)), expected),
        };
        self.note(node.spot, path, problem, help);
        None
    }

    /// One of a few words.
    pub(crate) fn one_of<T: Copy>(&mut self, node: &Node, path: &str, what: &str, words: &[(&str, T)]) -> Option<T> {
        let all = words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
        let (text, _) = self.scalar(node, path, &format!("write one of {all}"))?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let help = match nearest(text, words.iter().map(|(word, _)| *word)) {
            Some(meant) => format!("did you mean {meant}? ({all})"),
            None => format!("write one of {all}"),
        };
        self.note(node.spot, path, format!("unknown {what} {}", quoted(text)), help);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The findings of a reader on the value of `k`.
    fn found<T>(text: &str, read: impl FnOnce(&mut Reader, &Node) -> Option<T>) -> String {
        let (mut reader, root) = Reader::open("f.yaml", text, "k: 1").unwrap();
        let fields = reader.fields(&root, "", &["k"], true).unwrap();
        let (node, _) = fields.get("k").unwrap();
        let value = read(&mut reader, node);
        assert_eq!(value.is_some(), reader.findings.is_empty());
        reader.close().map(|()| String::new()).unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn wrong_types_say_what_would_be_right() {
        let count = |text: &str| found(text, |reader, node| reader.count(node, "k", 100, 20));
        assert_eq!(count("k: 20"), "");
        assert_eq!(count("k: \"20\""), "f.yaml:1:4: k: \"20\" is text; write 20, without quotes");
        for wrong in ["0", "-1", "2.5", "twenty", "+20", "020", "101", "1e1"] {
            let expected = format!(
                "f.yaml:1:4: k: \"{wrong}\" is no whole number from 1 to 100; write a whole number from 1 to 100, such as 20"
            );
            assert_eq!(count(&format!("k: {wrong}")), expected);
        }
        let boolean = |text: &str| found(text, |reader, node| reader.boolean(node, "k"));
        assert_eq!(boolean("k: false"), "");
        assert_eq!(boolean("k: yes"), "f.yaml:1:4: k: \"yes\" is neither true nor false; write true");
        assert_eq!(boolean("k: 'true'"), "f.yaml:1:4: k: \"true\" is text; write true, without quotes");
        assert_eq!(boolean("k:"), "f.yaml:1:2: k: there is no value; write true or false, or remove the key");
        let share = |text: &str| found(text, |reader, node| reader.share(node, "k"));
        assert_eq!(share("k: 0.7"), "");
        for wrong in ["1.5", ".nan", "nan", "inf", "-0.1", "x"] {
            assert!(share(&format!("k: {wrong}")).contains("is no number from 0 to 1"), "{wrong}");
        }
        let text = |text: &str| found(text, |reader, node| reader.text(node, "k", "a name"));
        assert_eq!(text("k: no"), "");
        let number = "f.yaml:1:4: k: \"12\" is a number, not text; write a name, or \"12\" if it is meant as text";
        assert_eq!(text("k: 12"), number);
        assert_eq!(text("k: [a]"), "f.yaml:1:4: k: a list where one value is expected; write a name");
        assert_eq!(text("k: ' '"), "f.yaml:1:4: k: the text is blank; write a name");
    }

    #[test]
    fn findings_are_bounded_and_counted() {
        let text: String = (0..2_000).map(|index| format!("key{index}: 1\n")).collect();
        let (mut reader, root) = Reader::open("f.yaml", &text, "").unwrap();
        reader.fields(&root, "", &["k"], true);
        let error = reader.close().unwrap_err();
        assert_eq!(error.findings().len(), 1_000);
        assert!(error.to_string().ends_with("\nand 1000 more"));
    }
}
