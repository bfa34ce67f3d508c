//! Conformance suites of this crate's traits, each of which gives the first broken line of the contract; and
//! failpoints, at which a process dies in a test.

mod audit_log;
mod failpoints;
mod store;

pub use self::audit_log::check_audit_log;
pub use self::failpoints::{
    FailAction, FailingAudit, FailingAuthoriser, FailingHandler, FailingProbe, FailingStore, Failpoints, OneFailpoint,
    Side,
};
pub use self::store::{check_remediation_store, check_remediation_store_lasts};
