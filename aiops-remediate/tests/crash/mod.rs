//! A world whose processes die: what outlives them, and how one starts over what another left.

pub(crate) mod hand;
pub(crate) mod scenarios;
pub(crate) mod world;
