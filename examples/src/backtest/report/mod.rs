//! The report: one HTML page that needs nothing else, no script either.

mod page;
mod plot;
mod svg;

pub(super) use self::page::Report;
pub(super) use self::plot::{Mark, Plot};
