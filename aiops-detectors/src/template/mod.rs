//! Templates of log lines: a stateless fingerprint of each line, groups learned by evidence.

mod alias;
mod batch;
mod evidence;
mod fingerprint;
mod hash;
mod known;
mod lru;
mod mask;
mod miner;
mod record;
mod slots;
mod state;
mod table;
#[cfg(test)]
mod tests;
mod tokens;
mod windows;

pub use self::fingerprint::{InvalidLineFingerprint, LineFingerprint, fingerprint_line, mask_line};
pub(crate) use self::hash::{HashedMap, hash};
pub use self::miner::{DEFAULT_TEMPLATES, GroupCount, Observed, TemplateGroup, TemplateMiner};
pub use self::state::TemplateStateError;
