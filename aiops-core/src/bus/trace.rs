//! W3C trace context: one trace for each incident, over all processes.
//!
//! The ids are functions of the incident and of what is done for it, so that replicas agree on them and
//! a process that was started anew goes on with the same trace, without a store and without randomness.

use std::fmt;

use sha1::{Digest, Sha1};

use crate::names::IncidentId;

/// Longest `tracestate` that is carried on; the standard asks for at least so much (section 3.3.1.5).
const MAX_STATE: usize = 512;

/// The place in a trace, as [W3C trace context](https://www.w3.org/TR/trace-context/) has it.
///
/// ```
/// use aiops_core::{IncidentId, TraceContext};
/// let announced = TraceContext::of_incident(&IncidentId::new("inc-1"), "event-1");
/// let triaged = TraceContext::parse(&announced.traceparent(), None)?.child("triage");
/// assert_eq!(triaged.trace_id(), announced.trace_id());
/// assert_ne!(triaged.span_id(), announced.span_id());
/// # Ok::<(), aiops_core::InvalidTraceparent>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    flags: u8,
    state: Option<String>,
}

/// A `traceparent` that does not read: the standard asks to begin a new trace.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("traceparent {found:?} {why}")]
pub struct InvalidTraceparent {
    found: String,
    why: &'static str,
}

impl TraceContext {
    /// The trace of an incident, at one thing that is done for it, which `part` names (an event's id).
    #[must_use]
    pub fn of_incident(incident: &IncidentId, part: &str) -> Self {
        let trace_id = digest(&["incident", incident.as_str()]);
        let root = Self { trace_id, span_id: [0; 8], flags: 1, state: None };
        root.child(part)
    }

    /// Reads `traceparent` of version 00, or of a later one as far as version 00 goes, and `tracestate`
    /// where it comes with it. A `tracestate` beyond 512 bytes is left out.
    ///
    /// # Errors
    /// A `traceparent` that is not of the form, or holds ids of zeros only.
    pub fn parse(traceparent: &str, tracestate: Option<&str>) -> Result<Self, InvalidTraceparent> {
        let invalid = |why| InvalidTraceparent { found: crate::text::clip(traceparent, 80), why };
        let mut parts = traceparent.split('-');
        let mut part = || parts.next().unwrap_or_default();
        let (version, trace_id, span_id, flags) = (part(), part(), part(), part());
        let malformed = || invalid("is not of the form 00-<32 hex digits>-<16 hex digits>-<2 hex digits>");
        let [version] = hex(version).ok_or_else(malformed)?;
        if version == 0xff || (version == 0 && parts.next().is_some()) {
            return Err(malformed());
        }
        let [flags] = hex(flags).ok_or_else(malformed)?;
        let trace_id: [u8; 16] = hex(trace_id).ok_or_else(malformed)?;
        let span_id: [u8; 8] = hex(span_id).ok_or_else(malformed)?;
        if trace_id == [0; 16] || span_id == [0; 8] {
            return Err(invalid("holds an id of zeros"));
        }
        let carried = |state: &&str| !state.is_empty() && state.len() <= MAX_STATE && state.is_ascii();
        Ok(Self { trace_id, span_id, flags: flags & 1, state: tracestate.filter(carried).map(str::to_owned) })
    }

    /// What is done because of this, and is named `part` among that.
    #[must_use]
    pub fn child(&self, part: &str) -> Self {
        let mut span_id: [u8; 8] = digest(&["span", &self.trace_id(), &self.span_id(), part]);
        if span_id == [0; 8] {
            span_id[7] = 1;
        }
        Self { span_id, ..self.clone() }
    }

    /// 32 lower-case hex digits.
    #[must_use]
    pub fn trace_id(&self) -> String {
        Hex(&self.trace_id).to_string()
    }

    /// 16 lower-case hex digits.
    #[must_use]
    pub fn span_id(&self) -> String {
        Hex(&self.span_id).to_string()
    }

    /// The value of `traceparent`.
    #[must_use]
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-{}", Hex(&self.trace_id), Hex(&self.span_id), Hex(&[self.flags]))
    }

    /// The value of `tracestate`, as it came.
    #[must_use]
    pub fn tracestate(&self) -> Option<&str> {
        self.state.as_deref()
    }
}

/// The first bytes of the SHA-1 of parts.
fn digest<const N: usize>(parts: &[&str]) -> [u8; N] {
    let mut sha = Sha1::new();
    for part in parts {
        sha.update(part.as_bytes());
        sha.update([0]);
    }
    let mut head = [0; N];
    head.iter_mut().zip(sha.finalize()).for_each(|(to, from)| *to = from);
    head
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Bytes of exactly so many lower-case hex digits.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the standard.
    const EXAMPLE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn reads_and_writes_the_standard_form() {
        let read = TraceContext::parse(EXAMPLE, Some("congo=t61rcWkgMzE")).unwrap();
        assert_eq!(read.traceparent(), EXAMPLE);
        assert_eq!((read.trace_id().as_str(), read.span_id().as_str()), (&EXAMPLE[3..35], &EXAMPLE[36..52]));
        let child = read.child("triage");
        assert_eq!((child.trace_id(), child.tracestate()), (read.trace_id(), Some("congo=t61rcWkgMzE")));
        assert_ne!(child.span_id(), read.child("remediation").span_id());
        assert_eq!(TraceContext::parse(EXAMPLE, Some(&"a".repeat(513))).unwrap().tracestate(), None);
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let later = TraceContext::parse(&format!("cc{}-what-comes", &EXAMPLE[2..]), None).unwrap();
        assert_eq!(later.traceparent(), EXAMPLE);
    }

    #[test]
    fn what_does_not_read_is_an_error() {
        let zeros = |at: std::ops::Range<usize>| {
            let mut text = EXAMPLE.to_owned();
            text.replace_range(at.clone(), &"0".repeat(at.len()));
            text
        };
        for text in [
            "",
            "00",
            "00-4bf9-00f067aa0ba902b7-01",
            &EXAMPLE.to_uppercase(),
            &format!("{EXAMPLE}-more"),
            &format!("ff{}", &EXAMPLE[2..]),
            &EXAMPLE.replace("01", "0é"),
            &zeros(3..35),
            &zeros(36..52),
        ] {
            let error = TraceContext::parse(text, None).unwrap_err();
            assert!(error.to_string().starts_with("traceparent"), "{error}");
        }
    }
}
