//! A page as it is written: markup comes from the program alone, and whatever else is shown is encoded.

use std::fmt::Write;

use aiops_core::Channel;

/// A piece of a page. Only texts of the program itself are markup, which their type says.
#[derive(Debug, Default)]
pub(super) struct Html(String);

impl Html {
    /// Markup.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Foreign text, shown: nothing in it is markup, a link, or unseen.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.0.push_str(&Channel::Html.encode(text));
        self
    }

    /// Foreign text in the quotes of a value that goes back as it is.
    pub(super) fn value(&mut self, text: &str) -> &mut Self {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                '`' => self.0.push_str("&#96;"),
                c => self.0.push(c),
            }
        }
        self
    }

    /// One segment of an address.
    pub(super) fn segment(&mut self, text: &str) -> &mut Self {
        self.0.push_str(&segment(text));
        self
    }

    /// A number of a picture.
    pub(super) fn number(&mut self, number: f64) -> &mut Self {
        // Writing into a string does not fail.
        let _ = write!(self.0, "{number:.1}");
        self
    }

    /// A count.
    pub(super) fn count(&mut self, count: usize) -> &mut Self {
        let _ = write!(self.0, "{count}");
        self
    }

    /// Another piece.
    pub(super) fn add(&mut self, other: &Self) -> &mut Self {
        self.0.push_str(&other.0);
        self
    }

    pub(super) fn into_text(self) -> String {
        self.0
    }
}

/// Text as one segment of an address: letters, digits, `-` and `_` stay. A dot does not: two of them lead up.
pub(super) fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_never_markup() {
        let bad = "\"><script>alert(1)</script><a href='javascript:x'>`&=";
        for html in [
            Html::default().text(bad).0.clone(),
            Html::default().value(bad).0.clone(),
            Html::default().segment(bad).0.clone(),
        ] {
            assert!(!html.contains(['<', '>', '"', '\'', '`']), "{html}");
        }
        assert_eq!(segment("../a b"), "%2E%2E%2Fa%20b");
    }
}
