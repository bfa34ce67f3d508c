//! Two processes over one store in Redis: the object that they act on, and a process that is stopped or killed.

pub(crate) mod holder;
pub(crate) mod thing;
