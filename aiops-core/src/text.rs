//! Foreign text made safe to show: text from a model, a log or a label is data wherever it appears.
//! [`Channel`](crate::Channel) encodes it for the place where it is shown.

pub use crate::channel::plain;

/// Removes control, bidirectional and invisible characters and folds line breaks to one blank.
///
/// What is removed: C0 and C1 controls (so ANSI and OSC sequences lose their escape), zero-width
/// and bidirectional marks, variation selectors and the tag block (OWASP LLM Top 10 2026, LLM01).
///
/// ```
/// assert_eq!(aiops_core::text::printable("a\u{1b}[31mb\u{200b}\nc"), "a[31mb c");
/// ```
#[must_use]
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => {
                if !out.ends_with(' ') {
                    out.push(' ');
                }
            }
            c if is_hidden(c) => {}
            c => out.push(c),
        }
    }
    out
}

/// Whether a character is a control, or shows nothing, or changes how its neighbours are shown.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// At most `max` characters of [`printable`] text, ended by `…` where something was cut.
///
/// ```
/// assert_eq!(aiops_core::text::clip("abcdef", 4), "abc…");
/// ```
#[must_use]
pub fn clip(text: &str, max: usize) -> String {
    // A hostile text may be megabytes long: only what can be shown is looked at.
    let head: String = text.chars().take(max.saturating_mul(4).saturating_add(4)).collect();
    let shown = printable(&head);
    if shown.chars().count() <= max && head.len() == text.len() {
        return shown;
    }
    let mut cut: String = shown.chars().take(max.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// A number with at most four significant digits, as a person would write it.
///
/// ```
/// assert_eq!(aiops_core::text::number(0.037_721), "0.03772");
/// assert_eq!(aiops_core::text::number(1234.56), "1235");
/// assert_eq!(aiops_core::text::number(12.0), "12");
/// ```
#[must_use]
pub fn number(value: f64) -> String {
    if !value.is_finite() {
        return "unknown".to_owned();
    }
    if value == 0.0 {
        return "0".to_owned();
    }
    let magnitude = value.abs().log10().floor();
    if !(-5.0..9.0).contains(&magnitude) {
        return format!("{value:.3e}");
    }
    // The range above makes the cast exact.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let decimals = (3.0 - magnitude).clamp(0.0, 9.0) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_without_reading_it_all() {
        let text = "x".repeat(5_000_000);
        assert_eq!(clip(&text, 10), "xxxxxxxxx…");
    }

    #[test]
    fn invisible_text_is_removed() {
        assert_eq!(printable("restart\u{e0041}_\u{202e}pod\u{feff}"), "restart_pod");
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(number(f64::NAN), "unknown");
        assert_eq!(number(1e-9), "1.000e-9");
        assert_eq!(number(-3.0), "-3");
        assert_eq!(number(100.0), "100");
    }
}
