//! What the HTML pages of the programs share: one file that needs nothing else, no script either.

pub(crate) mod axis;

use std::io::{self, Write};

const STYLE: &str = include_str!("style.css");

/// Begins a page with its heading.
///
/// # Errors
/// Those of the writer.
pub(crate) fn begin(out: &mut dyn Write, title: &str) -> io::Result<()> {
    let title = escape(title);
    writeln!(out, "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">")?;
    writeln!(out, "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">")?;
    writeln!(out, "<title>{title}</title>\n<style>\n{STYLE}</style>\n<main>")?;
    writeln!(out, "<h1>{title}</h1>")
}

/// Ends it.
///
/// # Errors
/// Those of the writer.
pub(crate) fn end(out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "</main>\n</html>")
}

/// Lines as a list.
///
/// # Errors
/// Those of the writer.
pub(crate) fn items(out: &mut dyn Write, lines: &[String]) -> io::Result<()> {
    writeln!(out, "<ul>")?;
    lines.iter().try_for_each(|line| writeln!(out, "<li>{}</li>", escape(line)))?;
    writeln!(out, "</ul>")
}

/// Text that may stand in HTML, also in a quoted attribute.
pub(crate) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}
