//! The figures equal an independent implementation's to 1e-9, and nothing that cannot be measured is a number.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside #[test]

mod figures;
mod limits;
