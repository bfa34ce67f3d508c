//! Conformance suites of this crate's traits. Each gives the first broken line of the contract.

mod audit_log;
mod store;

pub use self::audit_log::check_audit_log;
pub use self::store::{check_remediation_store, check_remediation_store_lasts};
