//! Reading what a model wrote: raw text and a stop reason in, a report or the reason why not out.
//!
//! Nothing is repaired: a reply that was cut off, refused or broken, or that could be read in two
//! ways, is no report. `stop` says whether the reply is whole, `candidate` finds the one JSON object
//! in it, `fields` takes the report out of the object.

mod candidate;
mod error;
mod fields;
mod stop;

use aiops_core::TriageReport;

pub use error::ReplyError;

/// A report has some hundred tokens; the longest reply that the default limits of providers allow
/// is far below.
const MAX_BYTES: usize = 64 << 10;

/// Reads a model's reply.
///
/// `stop_reason` is the provider's word for why the model stopped, in any spelling of the Messages
/// API (`end_turn`, `max_tokens`, `refusal` …) or of Chat Completions and its relatives (`stop`,
/// `length`, `content_filter` …). A reply without one, or with one that is not known, is not
/// trusted to be whole.
///
/// The text is read where it holds exactly one JSON object, alone, in a fence or in prose.
///
/// ```
/// use aiops_llm::reply::{ReplyError, read_reply};
/// let text = r#"Here is my report:
/// {"summary": "the pool is exhausted", "likely_causes": ["deploy v2"],
///  "recommended_actions": ["restart_pod"], "confidence": 0.8, "needs_human": false}"#;
/// assert_eq!(read_reply(text, Some("end_turn"))?.recommended_actions, ["restart_pod"]);
/// assert!(matches!(read_reply(text, Some("length")), Err(ReplyError::Truncated { .. })));
/// assert!(matches!(read_reply("restart it", Some("stop")), Err(ReplyError::NoJson)));
/// # Ok::<(), ReplyError>(())
/// ```
///
/// # Errors
/// [`ReplyError`], which says what is wrong. The stop reason is looked at first, so that a reply that
/// was cut off is told as such, also where its text happens to be complete.
pub fn read_reply(text: &str, stop_reason: Option<&str>) -> Result<TriageReport, ReplyError> {
    stop::check(stop_reason)?;
    if text.len() > MAX_BYTES {
        return Err(ReplyError::TooLong { bytes: text.len(), max: MAX_BYTES });
    }
    fields::report(candidate::only(text)?)
}

/// Reads a report that stands alone, as a host keeps it in a file: the same rules, without a stop
/// reason and without prose around it.
///
/// # Errors
/// [`ReplyError`], which names the field.
pub fn read_report(json: &str) -> Result<TriageReport, ReplyError> {
    if json.len() > MAX_BYTES {
        return Err(ReplyError::TooLong { bytes: json.len(), max: MAX_BYTES });
    }
    fields::report(candidate::whole(json)?)
}
