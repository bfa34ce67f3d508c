//! Placeholder crate root.

pub mod reply;
