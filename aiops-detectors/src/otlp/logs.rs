//! Log records to log lines.

use jiff::Timestamp;

use super::decoded::{
    MalformedOtlp, OtlpBatch, OtlpEncoding, OtlpFault, OtlpSettings, OtlpTally, Producer, raw_body, take, time,
    trace_id, walk,
};
use super::field::{Choice, Chosen};
use super::message::LogRecord;
use super::raw::Raw;
use super::text::{clip, text_of};
use crate::source::LogLine;

/// How bad a log record says it is: the six ranges of OpenTelemetry's severity numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OtlpSeverity {
    /// 1 to 4.
    Trace,
    /// 5 to 8.
    Debug,
    /// 9 to 12.
    Info,
    /// 13 to 16.
    Warn,
    /// 17 to 20.
    Error,
    /// 21 to 24.
    Fatal,
}

impl OtlpSeverity {
    const ALL: [Self; 6] = [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error, Self::Fatal];

    /// The value of the label `severity`: lower case, as in `error`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }

    /// By the number or its name, otherwise by the sender's own word for it.
    fn of(number: &Choice<'_>, text: &str) -> Option<Self> {
        let by_number = match &number.0 {
            Chosen::Number(number) => usize::try_from(*number).ok().filter(|number| (1..=24).contains(number)),
            Chosen::Name(_) => None,
        };
        if let Some(number) = by_number {
            return Self::ALL.get((number - 1) / 4).copied();
        }
        let name = if let Chosen::Name(name) = &number.0 { name } else { text };
        let word = name.trim_start_matches("SEVERITY_NUMBER_").trim_end_matches(|c: char| c.is_ascii_digit());
        Some(match word.to_ascii_lowercase().as_str() {
            "trace" => Self::Trace,
            "debug" => Self::Debug,
            "info" | "information" | "notice" => Self::Info,
            "warn" | "warning" => Self::Warn,
            "error" | "err" => Self::Error,
            "fatal" | "critical" | "crit" | "alert" | "emerg" | "emergency" | "panic" => Self::Fatal,
            _ => return None,
        })
    }
}

/// A log line and how bad it says it is, where it does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OtlpLogLine {
    /// The line; its labels are the record's attributes, those of the resource that the settings name,
    /// `severity`, and `trace_id` where it belongs to a trace.
    pub line: LogLine,
    /// By the severity number, otherwise by the severity's text.
    pub severity: Option<OtlpSeverity>,
}

/// The log lines of a request to `/v1/logs`. A record without a time has that at which it was observed,
/// and otherwise `received`. A body that is no string is written as JSON; one that is missing gives way to
/// the name of the event.
///
/// # Errors
/// [`MalformedOtlp`] where what stands around the records is broken; a broken record refuses only itself.
///
/// ```
/// use aiops_detectors::jiff::Timestamp;
/// use aiops_detectors::otlp::{OtlpEncoding, OtlpSettings, decode_logs};
/// let body = br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[
///     {"timeUnixNano":"1795132800000000000","severityNumber":17,"body":{"stringValue":"no connection"}}]}]}]}"#;
/// let batch = decode_logs(body, OtlpEncoding::Json, &OtlpSettings::default(), Timestamp::UNIX_EPOCH)?;
/// assert_eq!(batch.items[0].line.text, "no connection");
/// assert_eq!(batch.tally.without_service, 1);
/// # Ok::<(), aiops_detectors::otlp::MalformedOtlp>(())
/// ```
pub fn decode_logs(
    body: &[u8],
    encoding: OtlpEncoding,
    settings: &OtlpSettings,
    received: Timestamp,
) -> Result<OtlpBatch<OtlpLogLine>, MalformedOtlp> {
    let (mut items, mut tally) = (Vec::new(), OtlpTally::default());
    walk(raw_body(body, encoding)?, settings, &mut tally, |producer, raw, tally| {
        take(&mut items, settings, tally, |tally| line(producer, raw, settings, received, tally).map(Some));
    })?;
    Ok(OtlpBatch { items, tally })
}

fn line(
    producer: &Producer,
    raw: Raw<'_>,
    settings: &OtlpSettings,
    received: Timestamp,
    tally: &mut OtlpTally,
) -> Result<OtlpLogLine, OtlpFault> {
    let record: LogRecord<'_> = raw.read()?;
    let body = text_of(record.body, settings.max_line_bytes)?.filter(|(text, _)| !text.is_empty());
    let (text, cut) = body.unwrap_or_else(|| clip(&record.event_name.0, settings.max_line_bytes));
    if text.is_empty() {
        return Err(OtlpFault::Empty);
    }
    let at = time(&record.time_unix_nano).or_else(|| time(&record.observed_time_unix_nano)).unwrap_or(received);
    let severity = OtlpSeverity::of(&record.severity_number, &record.severity_text.0);
    let (service, mut labels) = producer.of_item(record.attributes, settings, tally)?;
    if let Some(severity) = severity {
        labels.insert("severity".to_owned(), severity.as_str().to_owned());
    }
    if let Some(id) = trace_id(&record.trace_id) {
        labels.insert("trace_id".to_owned(), id);
    }
    tally.cut += u64::from(cut);
    let mut line = LogLine::new(at, service, text);
    line.labels = labels;
    Ok(OtlpLogLine { line, severity })
}
