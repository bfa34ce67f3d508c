//! Strict YAML for files that people write: every fault at once, each with its place.
//!
//! This module owns the YAML parser; no type of it leaves the crate. `tree` makes a spanned tree of
//! the text, `reader` takes typed values out of it and collects findings.

mod finding;
mod reader;
mod similar;
mod tree;

pub use finding::{ConfigError, Finding};
pub(crate) use finding::{file_text, quoted};
pub(crate) use reader::{Fields, Reader};
pub(crate) use tree::{Node, Spot};
