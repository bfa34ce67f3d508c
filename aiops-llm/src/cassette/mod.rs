//! Replies of a model kept in a file, so that what was asked once can be asked again without the model.
//!
//! A [`Recorder`] stands in front of a model and writes one line for each reply; a [`Cassette`] gives the replies
//! again to equal requests. Secrets are taken out of requests and replies before they are written. Prompts are
//! equal only where the triager has a fixed [`salt`](crate::LlmTriagerBuilder::salt); a request that answers from
//! the triager's own cache ([`cache_for`](crate::LlmTriagerBuilder::cache_for)) is neither recorded nor replayed.

mod entry;
mod error;
mod miss;
mod record;
mod replay;

pub use self::error::{CassetteError, CassetteFault};
pub use self::miss::{CassetteMiss, Difference, FirstLine};
pub use self::record::Recorder;
pub use self::replay::Cassette;

#[cfg(test)]
mod tests;
