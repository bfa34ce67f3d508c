//! Arguments of a program: fixed texts in which values of the target stand.

use aiops_core::{Target, text};

use super::CommandError;

/// Bytes of one value: a fully qualified domain name.
const LONGEST_VALUE: usize = 253;

/// One argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Argument(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Fixed(String),
    Value(String),
}

impl Argument {
    /// Reads `--pod={pod}`; `{{` and `}}` are braces that stand for themselves.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn new(template: &str) -> Result<Self, String> {
        let fault = |why: &str| format!("argument {:?}: {why}", text::clip(template, 80));
        if template.contains('\0') {
            return Err(fault("a zero byte cannot stand in an argument"));
        }
        let (mut parts, mut fixed, mut rest) = (Vec::new(), String::new(), template);
        while let Some(at) = rest.find(['{', '}']) {
            fixed.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                fixed.push_str(brace);
                rest = after;
                continue;
            }
            let end = if brace == "{" { rest.find('}') } else { None };
            let end = end.ok_or_else(|| fault("a single brace; write it twice for the sign itself"))?;
            let name = &rest[..end];
            if name.is_empty() || name.contains('{') {
                return Err(fault("between braces stands the name of one part of the target"));
            }
            if !fixed.is_empty() {
                parts.push(Part::Fixed(std::mem::take(&mut fixed)));
            }
            parts.push(Part::Value(name.to_owned()));
            rest = &rest[end + 1..];
        }
        fixed.push_str(rest);
        if !fixed.is_empty() || parts.is_empty() {
            parts.push(Part::Fixed(fixed));
        }
        Ok(Self(parts))
    }

    /// The argument for a target.
    ///
    /// # Errors
    /// A part that the target lacks, or one that cannot stand in an argument.
    pub(super) fn fill(&self, target: &Target) -> Result<String, CommandError> {
        let mut filled = String::new();
        for part in &self.0 {
            match part {
                Part::Fixed(text) => filled.push_str(text),
                Part::Value(name) => filled.push_str(value(target, name)?),
            }
        }
        Ok(filled)
    }
}

/// Letters, digits, `.`, `_`, `-` and `:`; none that begins an option, and no way up in a path. No label needs more
/// that names a pod, a node, a region or a service.
fn value<'t>(target: &'t Target, name: &str) -> Result<&'t str, CommandError> {
    let refused = |why| CommandError::Target { part: text::clip(name, 80), why };
    let value = target.get(name).ok_or_else(|| refused("is missing"))?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b':');
    if value.is_empty() {
        Err(refused("is empty"))
    } else if value.len() > LONGEST_VALUE {
        Err(refused("is longer than 253 bytes"))
    } else if !value.bytes().all(plain) {
        Err(refused("holds other signs than letters, digits, . _ - :"))
    } else if value.starts_with(['-', '.']) || value.contains("..") {
        Err(refused("begins like an option or leads up in a path"))
    } else {
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str, value: &str) -> Result<String, String> {
        let target = Target::new([("pod", value)]);
        Argument::new(template)?.fill(&target).map_err(|error| error.to_string())
    }

    #[test]
    fn a_value_stands_in_its_argument_and_nowhere_else() {
        assert_eq!(filled("--pod={pod}.x", "cart-1").unwrap(), "--pod=cart-1.x");
        assert_eq!(filled("{{pod}}", "cart-1").unwrap(), "{pod}");
        assert_eq!(filled("", "cart-1").unwrap(), "");
        // No shell reads it, and an argument stays one argument.
        for bad in ["$(reboot)", "a b", "a;b", "a\nb", "a/b", "-rf", ".hidden", "a..b", "", "ä", "a\0b", "`x`", "*"] {
            assert!(filled("--pod={pod}", bad).is_err(), "{bad:?}");
        }
        assert!(filled("--pod={pod}", &"a".repeat(254)).is_err());
    }

    #[test]
    fn a_template_that_cannot_be_filled_is_found_out_at_once() {
        for bad in ["{", "}", "{pod", "a{}", "{a{b}", "a\0"] {
            assert!(Argument::new(bad).is_err(), "{bad:?}");
        }
        let error = filled("{node}", "x").unwrap_err();
        assert_eq!(error, "part \"node\" of the target is missing");
    }
}
