//! Faults that users of other libraries reported with models, one test each; the numbers are those of the
//! project's list. `wire` holds what an adapter, the schema or the reader of replies must do, `triager` what stands above.
#![allow(clippy::unwrap_used)]
#![cfg(feature = "client-no-provider")]

#[path = "../model_double/mod.rs"]
mod model_double;
#[path = "../scripted/mod.rs"]
mod scripted;
mod triager;
mod wire;
