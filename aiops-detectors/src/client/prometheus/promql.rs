//! PromQL with placeholders, filled so that no value can be more than a value.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

/// An expression whose placeholders cannot be filled safely.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expression {name:?}: ${placeholder} {fault}")]
#[non_exhaustive]
pub struct InvalidTemplate {
    /// The name of the expression.
    pub name: String,
    /// The placeholder, without its `$`.
    pub placeholder: String,
    fault: &'static str,
}

/// A label that a placeholder stands for is not among those given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the expression needs the label {0:?}")]
pub(crate) struct MissingLabel(String);

/// An expression in parts: text, and the labels between the texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Vec<Part>,
    rest: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    /// What stands before the placeholder.
    text: String,
    label: String,
    /// What the value is quoted by.
    quote: char,
}

impl Template {
    /// Reads `$name`; a `$` before anything else is itself.
    pub(crate) fn new(name: &str, expression: String) -> Result<Self, InvalidTemplate> {
        let (mut parts, mut text, mut quote, mut matcher) = (Vec::new(), String::new(), None, ' ');
        let mut rest = expression.as_str();
        while let Some(character) = rest.chars().next() {
            rest = &rest[character.len_utf8()..];
            let placeholder = if character == '$' { label(rest) } else { "" };
            if !placeholder.is_empty() {
                let refuse =
                    |fault| InvalidTemplate { name: name.to_owned(), placeholder: placeholder.to_owned(), fault };
                let quote = match quote {
                    None => return Err(refuse("stands outside of quotes")),
                    Some('`') => return Err(refuse("stands in backquotes, where nothing can be quoted")),
                    Some(_) if matcher != '=' => {
                        return Err(refuse("stands in a pattern, not in the value of = or !="));
                    }
                    Some(quote) => quote,
                };
                parts.push(Part { text: std::mem::take(&mut text), label: placeholder.to_owned(), quote });
                rest = &rest[placeholder.len()..];
                continue;
            }
            text.push(character);
            match quote {
                Some('"' | '\'') if character == '\\' => {
                    // What is escaped ends no text.
                    if let Some(next) = rest.chars().next() {
                        text.push(next);
                        rest = &rest[next.len_utf8()..];
                    }
                }
                Some(open) if open == character => (quote, matcher) = (None, ' '),
                Some(_) => {}
                None if matches!(character, '"' | '\'' | '`') => quote = Some(character),
                // The last sign before the quote: `=~` and `!~` are patterns.
                None if !character.is_whitespace() => matcher = character,
                None => {}
            }
        }
        Ok(Self { parts, rest: text })
    }

    /// The expression with the values of `labels`, each quoted.
    pub(crate) fn filled(&self, labels: &BTreeMap<String, String>) -> Result<String, MissingLabel> {
        let mut expression = String::new();
        for Part { text, label, quote } in &self.parts {
            let value = labels.get(label).ok_or_else(|| MissingLabel(label.clone()))?;
            expression.push_str(text);
            expression.push_str(&quoted(value, *quote));
        }
        expression.push_str(&self.rest);
        Ok(expression)
    }
}

/// The name of a label at the start of a text; empty where there is none.
fn label(text: &str) -> &str {
    let end = text.find(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    let name = &text[..end.unwrap_or(text.len())];
    if name.starts_with(|first: char| first.is_ascii_digit()) { "" } else { name }
}

/// A value as it may stand between quotes of this kind. Escaping the other kind is an error of syntax.
pub(crate) fn quoted(value: &str, quote: char) -> String {
    let mut text = String::with_capacity(value.len());
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            _ if character == quote => text.extend(['\\', quote]),
            '\n' => text.push_str("\\n"),
            _ => text.push(character),
        }
    }
    text
}

/// A duration in PromQL's units from days down to milliseconds: `1d`, `1h4m`, `0s`.
pub(crate) fn duration(span: Duration) -> String {
    let mut rest = span.as_millis();
    let mut text = String::new();
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
        if rest >= size {
            let _ = write!(text, "{}{unit}", rest / size);
            rest %= size;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_value_stays_a_value() {
        let template = Template::new("n", r#"up{job="$job", path!='$path'}"#.to_owned()).unwrap();
        let hostile = labels(&[("job", "x\"} or vector(1) #"), ("path", "a'\\\n\"$job")]);
        assert_eq!(template.filled(&hostile).unwrap(), r#"up{job="x\"} or vector(1) #", path!='a\'\\\n"$job'}"#);
        assert_eq!(template.filled(&labels(&[("job", "x")])), Err(MissingLabel("path".to_owned())));
    }

    #[test]
    fn a_placeholder_stands_in_an_equality_only() {
        for (expression, fault) in [
            ("rate(x[$range])", "outside of quotes"),
            ("$metric", "outside of quotes"),
            (r#"up{job=~"$job"}"#, "in a pattern"),
            (r#"up{job!~ "$job.*"}"#, "in a pattern"),
            (r#"label_replace(up, "$to", "a", "", "")"#, "in a pattern"),
            ("up{job=`$job`}", "in backquotes"),
            (r#"up{a="\"", job=~"$job"}"#, "in a pattern"),
        ] {
            let error = Template::new("n", expression.to_owned()).unwrap_err();
            assert!(error.to_string().contains(fault), "{expression}: {error}");
        }
        for expression in [r#"up{job=~"web$", a="$5", b="x\"$"}"#, "up", "", r#"up{job = "$a-$b", c='$a'}"#] {
            Template::new("n", expression.to_owned()).unwrap();
        }
        let none = Template::new("n", r#"up{job=~"web$", a="$5"}"#.to_owned()).unwrap();
        assert_eq!(none.filled(&BTreeMap::new()).unwrap(), r#"up{job=~"web$", a="$5"}"#);
    }

    #[test]
    fn durations_are_those_of_rule_names() {
        let of = |seconds| duration(Duration::from_secs(seconds));
        assert_eq!([300, 1_800, 3_600, 3_840, 86_400, 345_600].map(of), ["5m", "30m", "1h", "1h4m", "1d", "4d"]);
        assert_eq!(duration(Duration::from_millis(1_500)), "1s500ms");
        assert_eq!(of(0), "0s");
    }
}
