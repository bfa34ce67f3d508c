//! Spans to span records.

use aiops_core::time as clock;

use super::decoded::{
    MalformedOtlp, OtlpBatch, OtlpEncoding, OtlpFault, OtlpSettings, OtlpTally, Producer, raw_body, take, time,
    trace_id, walk,
};
use super::message::{Span, Status};
use super::raw::Raw;
use super::text::clip;
use crate::source::SpanRecord;

/// Names of `SpanKind`, from 0 on, and the value of the label `span.kind`.
const KINDS: [&str; 6] = [
    "SPAN_KIND_UNSPECIFIED",
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
];
/// Names of `StatusCode`, from 0 on.
const CODES: [&str; 3] = ["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"];
const ERROR: usize = 2;

/// The spans of a request to `/v1/traces`. A span failed where its status says so. Its labels are its
/// attributes, those of the resource that the settings name, `span.kind` (`server`, `client`, …), and
/// `status.message` where it failed and says why.
///
/// # Errors
/// [`MalformedOtlp`] where what stands around the spans is broken; a broken span refuses only itself.
pub fn decode_spans(
    body: &[u8],
    encoding: OtlpEncoding,
    settings: &OtlpSettings,
) -> Result<OtlpBatch<SpanRecord>, MalformedOtlp> {
    let (mut items, mut tally) = (Vec::new(), OtlpTally::default());
    walk(raw_body(body, encoding)?, settings, &mut tally, |producer, raw, tally| {
        take(&mut items, settings, tally, |tally| record(producer, raw, settings, tally).map(Some));
    })?;
    Ok(OtlpBatch { items, tally })
}

fn record(
    producer: &Producer,
    raw: Raw<'_>,
    settings: &OtlpSettings,
    tally: &mut OtlpTally,
) -> Result<SpanRecord, OtlpFault> {
    let span: Span<'_> = raw.read()?;
    let start = time(&span.start_time_unix_nano).ok_or(OtlpFault::NoTime)?;
    let end = time(&span.end_time_unix_nano).ok_or(OtlpFault::NoTime)?;
    if end < start {
        return Err(OtlpFault::EndsBeforeStart);
    }
    let id = trace_id(&span.trace_id).ok_or(OtlpFault::TraceId)?;
    let status: Status<'_> = span.status.0.map_or(Ok(Status::default()), Raw::read)?;
    let failed = status.code.among(&CODES) == Some(ERROR);
    let (service, mut labels) = producer.of_item(span.attributes, settings, tally)?;
    if let Some(kind) = span.kind.among(&KINDS).filter(|kind| *kind > 0).and_then(|kind| KINDS.get(kind)) {
        labels.insert("span.kind".to_owned(), kind.trim_start_matches("SPAN_KIND_").to_ascii_lowercase());
    }
    if failed && !status.message.0.is_empty() {
        let (message, cut) = clip(&status.message.0, settings.max_label_bytes);
        tally.cut += u64::from(cut);
        labels.insert("status.message".to_owned(), message);
    }
    let (operation, cut) = clip(&span.name.0, settings.max_label_bytes);
    tally.cut += u64::from(cut);
    let mut record = SpanRecord::new(end, service, operation, clock::since(end, start)).error(failed).trace_id(id);
    record.labels = labels;
    Ok(record)
}
