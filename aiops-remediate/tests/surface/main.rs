//! The HTTP surface: what it shows, what it takes from whom, and what it does with what it should not get.
#![cfg(feature = "server")]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside `#[test]`

mod abuse;
mod api;
#[path = "../common/mod.rs"]
mod common;
#[cfg(all(feature = "client", feature = "sqlite"))]
mod load;
mod pages;
mod site;
#[cfg(feature = "client")]
mod slack;
