//! The Tempo client against a double with Tempo's limits and ways. No real Tempo was at hand: the double is written
//! from its documentation and source.
#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside `#[test]`

use std::time::Duration;

use aiops_detectors::client::{ClientErrorKind, Endpoint, Tempo, reqwest};
use aiops_detectors::jiff::Timestamp;
use aiops_detectors::testing::check_sample_source;
use aiops_detectors::{Sample, SampleSource};
use proptest::prelude::*;

mod http_double;
use http_double::{Double, Reply, Request};

/// 2026-11-25 00:00 UTC.
const START: i64 = 1_795_564_800;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(START + second).unwrap()
}

fn tempo(double: &Double) -> Tempo {
    Tempo::new(Endpoint::new(&double.url, reqwest::Client::new()).unwrap().retries(0))
}

async fn answering(status: u16, body: &str) -> (Tempo, Double) {
    let body = body.to_owned();
    let double = Double::start(move |_, _| Reply::Body(status, body.clone())).await;
    (tempo(&double), double)
}

fn number(request: &Request, name: &str) -> i64 {
    request.parameter(name).unwrap().parse().unwrap()
}

/// One series with a sample each minute: the minute, so that the first is left out as every zero is.
fn metrics(request: &Request, longest: i64) -> Reply {
    let (from, to) = (number(request, "start"), number(request, "end"));
    if to - from > longest {
        return Reply::Body(
            400,
            format!("range specified by start and end exceeds {longest}s. received start={from} end={to}"),
        );
    }
    let minutes = (from.div_euclid(60)..=to.div_euclid(60)).filter(|minute| minute * 60 >= START - 600);
    let samples = minutes.map(|minute| {
        let value = minute - START / 60;
        let value = if value == 0 { String::new() } else { format!(r#","value":{value}"#) };
        format!(r#"{{"timestampMs":"{}"{value}}}"#, minute * 60_000)
    });
    let samples = samples.collect::<Vec<_>>().join(",");
    let labels =
        r#"[{"key":"resource.service.name","value":{"stringValue":"cart"}},{"key":"code","value":{"intValue":"500"}}]"#;
    Reply::ok(format!(r#"{{"series":[{{"labels":{labels},"samples":[{samples}]}}],"metrics":{{}}}}"#))
}

/// What a double of Tempo's search does beside answering, one way of writing each; those of metrics and refusals
/// stand in the tests below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quirk {
    /// Everything is said.
    None,
    /// A start or end with a fraction of a second is refused.
    WholeSeconds,
    /// Leading zeros of ids are lost (`left_pad_trace_ids` is off).
    ShortIds,
    /// What is zero or empty is left out, with no traces even `traces`.
    EmptyLeftOut,
    /// Spans come in `spanSet`.
    SpanSet,
    /// Spans come in `spanSets`.
    SpanSets,
    /// A search by tags has neither.
    NoSpans,
    /// The first so many that were found, which are others each time.
    FirstFound,
}

/// Three traces that take 0, 1 and 2 ms, in the order in which they are found the `nth` time.
fn found(quirk: Quirk, nth: usize, request: &Request) -> Reply {
    let of = |name: &str| request.parameter(name).unwrap();
    if quirk == Quirk::WholeSeconds && ["start", "end"].iter().any(|name| of(name).parse::<i64>().is_err()) {
        return Reply::Body(400, "invalid start: strconv.ParseInt: invalid syntax".to_owned());
    }
    if of("q").contains("nothing") {
        return Reply::ok(if quirk == Quirk::EmptyLeftOut { "{}" } else { r#"{"traces":[],"metrics":{}}"# });
    }
    let trace = |number: usize| {
        let id = if quirk == Quirk::ShortIds { format!("{number:x}") } else { format!("{number:032x}") };
        let duration = match number {
            0 if quirk == Quirk::EmptyLeftOut => String::new(),
            _ => format!(r#","durationMs":{number}"#),
        };
        let set = r#"{"spans":[{"spanID":"3c","durationNanos":"5"}],"matched":1}"#;
        let spans = match quirk {
            Quirk::SpanSets => format!(r#","spanSets":[{set}]"#),
            Quirk::NoSpans => String::new(),
            _ => format!(r#","spanSet":{set}"#),
        };
        format!(r#"{{"traceID":"{id}","startTimeUnixNano":"{START}000000000"{duration}{spans}}}"#)
    };
    let first = if quirk == Quirk::FirstFound { nth } else { 0 };
    let traces: Vec<String> =
        (0..3).map(|place| trace((first + place) % 3)).take(of("limit").parse().unwrap()).collect();
    Reply::ok(format!(r#"{{"traces":[{}],"metrics":{{"inspectedBytes":"9007199254740993"}}}}"#, traces.join(",")))
}

#[tokio::test]
async fn a_search_gives_the_same_traces_with_every_quirk() {
    for quirk in [
        Quirk::None,
        Quirk::WholeSeconds,
        Quirk::ShortIds,
        Quirk::EmptyLeftOut,
        Quirk::SpanSet,
        Quirk::SpanSets,
        Quirk::NoSpans,
        Quirk::FirstFound,
    ] {
        let double = Double::start(move |nth, request| found(quirk, nth, request)).await;
        let (tempo, from, to) = (tempo(&double), at(0) + Duration::from_millis(1), at(60));
        let mut traces = tempo.search("{ status = error }", from, to, 20).await.unwrap();
        traces.sort_by_key(|trace| trace.duration);
        let seen: Vec<(&str, u128)> =
            traces.iter().map(|trace| (trace.trace_id.as_str(), trace.duration.as_millis())).collect();
        let ids = [0, 1, 2].map(|number| format!("{number:032x}"));
        assert_eq!(seen, [(ids[0].as_str(), 0), (&ids[1], 1), (&ids[2], 2)], "{quirk:?}");
        let spans = usize::from(quirk != Quirk::NoSpans);
        assert!(traces.iter().all(|trace| trace.spans.len() == spans && trace.start == at(0)), "{quirk:?}");
        assert!(tempo.search("{ nothing }", from, to, 20).await.unwrap().is_empty(), "{quirk:?}");
        // A bound cuts what was found first, whichever that is.
        let one = tempo.search("{}", from, to, 1).await.unwrap();
        let other = tempo.search("{}", from, to, 1).await.unwrap();
        assert_eq!((one.len(), one == other), (1, quirk != Quirk::FirstFound), "{quirk:?}");
    }
}

#[tokio::test]
async fn a_range_that_is_too_long_is_read_in_halves() {
    for longest in [i64::MAX, 600] {
        let double = Double::start(move |_, request| metrics(request, longest)).await;
        let source = tempo(&double).range("{ status = error } | rate() by (resource.service.name)");
        check_sample_source(&source, at(0), at(7_200)).await.unwrap();
        let series = source.read(at(0), at(7_200)).await.unwrap().series;
        assert_eq!(series[0].labels["resource.service.name"], "cart");
        assert_eq!(series[0].labels["code"], "500");
        let wanted: Vec<Sample> = (0..120).map(|minute| Sample { at: at(minute * 60), value: minute as f64 }).collect();
        assert_eq!(series[0].samples, wanted, "{longest}");
    }
    let double = Double::start(|_, request| metrics(request, -1)).await;
    assert!(!tempo(&double).range("{}").read(at(0), at(7_200)).await.unwrap_err().is_retryable());
}

#[tokio::test]
async fn a_partial_answer_is_unknown() {
    for (status, partial) in [
        (r#""status":"PARTIAL","message":"2 of 5 blocks failed","#, Some("2 of 5 blocks failed")),
        (r#""status":1,"#, Some("")),
        (r#""status":"COMPLETE","#, None),
        (r#""status":0,"#, None),
        ("", None),
    ] {
        let (tempo, _double) = answering(200, &format!("{{{status}\"series\":[]}}")).await;
        let answer = tempo.query_range("{} | rate()", at(0), at(60), Duration::from_secs(60)).await.unwrap();
        assert_eq!(answer.partial.as_deref(), partial, "{status}");
        let read = tempo.range("{} | rate()").read(at(0), at(60)).await;
        assert_eq!(read.is_err(), partial.is_some(), "{status}");
    }
}

#[tokio::test]
async fn traces_are_read_in_every_form_of_a_search() {
    let span = r#"{"spanID":"3c","startTimeUnixNano":"1795564800000000001","durationNanos":"5","attributes":[{"key":"status","value":{"stringValue":"error"}},{"key":"retries","value":{"intValue":"2"}},{"key":"ok","value":{"boolValue":false}}]}"#;
    let set = format!(r#"{{"spans":[{span}],"matched":1}}"#);
    let trace = |more: &str| {
        format!(
            r#"{{"traceID":"9bc","rootServiceName":"web","rootTraceName":"GET /","startTimeUnixNano":"1795564800000000000","durationMs":611{more}}}"#
        )
    };
    for (body, spans) in [
        (format!(r#"{{"traces":[{}],"metrics":{{}}}}"#, trace("")), 0),
        (format!(r#"{{"traces":[{}]}}"#, trace(&format!(r#","spanSet":{set}"#))), 1),
        (format!(r#"{{"traces":[{}]}}"#, trace(&format!(r#","spanSets":[{set},{set}]"#))), 2),
        (format!(r#"{{"traces":[{}]}}"#, trace(&format!(r#","spanSet":{set},"spanSets":[{set}]"#))), 1),
    ] {
        let (tempo, _double) = answering(200, &body).await;
        let traces = tempo.search("{ status = error }", at(0), at(60), 20).await.unwrap();
        assert_eq!(traces[0].trace_id, "000000000000000000000000000009bc");
        assert_eq!((traces[0].root_service.as_str(), traces[0].duration), ("web", Duration::from_millis(611)));
        assert_eq!(traces[0].spans.len(), spans);
        if let Some(span) = traces[0].spans.first() {
            assert_eq!((span.span_id.as_str(), span.duration), ("000000000000003c", Duration::from_nanos(5)));
            let attributes: Vec<(&str, &str)> =
                span.attributes.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            assert_eq!(attributes, [("ok", "false"), ("retries", "2"), ("status", "error")]);
        }
    }
    // Nothing found: what is empty is left out.
    for body in [r#"{"metrics":{"inspectedBytes":"0"}}"#, r#"{"traces":null}"#, "{}"] {
        let (tempo, _double) = answering(200, body).await;
        assert!(tempo.search("{}", at(0), at(60), 20).await.unwrap().is_empty(), "{body}");
    }
    // A root span that has not come in, and a start of zero.
    let (tempo, _double) = answering(200, r#"{"traces":[{"traceID":"1"}]}"#).await;
    let traces = tempo.search("{}", at(0), at(60), 20).await.unwrap();
    assert_eq!((traces[0].root_name.as_str(), traces[0].start), ("", Timestamp::UNIX_EPOCH));
}

#[tokio::test]
async fn a_search_asks_for_whole_seconds_around_the_range() {
    let double = Double::start(|_, request| {
        assert_eq!((number(request, "start"), number(request, "end")), (START, START + 61));
        assert_eq!(number(request, "limit"), 7);
        Reply::ok("{}")
    })
    .await;
    let half = Duration::from_millis(500);
    tempo(&double).search("{}", at(0) + half, at(60) + half, 7).await.unwrap();
}

#[tokio::test]
async fn refusals_are_read_from_plain_text() {
    for (status, text, kind, retryable) in [
        (400, "invalid TraceQL query: parse error at line 1", ClientErrorKind::Refused, false),
        (400, "range specified by start and end exceeds 168h0m0s", ClientErrorKind::TooLarge, false),
        (401, "no org id", ClientErrorKind::Unauthorized, false),
        (429, "job queue full", ClientErrorKind::Throttled, true),
        (504, "context deadline exceeded", ClientErrorKind::Deadline, true),
        (502, "<html>bad gateway</html>", ClientErrorKind::Unavailable, true),
        (200, "<html>sign in</html>", ClientErrorKind::Malformed, true),
    ] {
        let (tempo, _double) = answering(status, text).await;
        let error = tempo.search("{", at(0), at(60), 20).await.unwrap_err();
        assert_eq!((error.kind, error.is_retryable()), (kind, retryable), "{text}");
        assert!(!error.to_string().contains("<html>"), "{error}");
    }
}

#[test]
fn bodies_that_are_none_are_told_and_break_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let whole = r#"{"series":[{"labels":[{"key":"a","value":{"doubleValue":0.5}}],"samples":[{"timestampMs":"1795564800000","value":"NaN"}]}]}"#;
    proptest!(ProptestConfig::with_cases(48), |(cut in 0..whole.len(), other in "\\PC{0,6}")| {
        let (changed, _one) = runtime.block_on(answering(200, &format!("{}{other}{}", &whole[..cut], &whole[cut..])));
        // Whatever it is, it is an answer or an error.
        let _ = runtime.block_on(changed.range("{}").read(at(0), at(60)));
        let (short, _two) = runtime.block_on(answering(200, &whole[..cut]));
        let read = runtime.block_on(short.range("{}").read(at(0), at(60)));
        prop_assert!(read.is_err());
    });
    for body in [
        r#"{"series":[{"samples":[{"timestampMs":"soon"}]}]}"#,
        r#"{"series":[{"samples":[{"timestampMs":"99999999999999999999"}]}]}"#,
        r#"{"series":[{"samples":[{"timestampMs":"1","value":"much"}]}]}"#,
    ] {
        let (tempo, _double) = runtime.block_on(answering(200, body));
        assert!(runtime.block_on(tempo.range("{}").read(at(0), at(60))).is_err(), "{body}");
    }
}

/// Examples of Tempo's documentation, as they stand there.
#[tokio::test]
#[ignore = "needs AIOPS_DATA"]
async fn documented_bodies_are_read() {
    let data = std::env::var("AIOPS_DATA")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data").to_owned());
    let read = |name: &str| std::fs::read_to_string(format!("{data}/../services/fixtures/{name}")).unwrap();
    let (tempo, _double) = answering(200, &read("tempo_docs_search_tags.json")).await;
    let traces = tempo.search("{}", at(0), at(60), 20).await.unwrap();
    assert_eq!((traces[0].trace_id.as_str(), traces[0].spans.len()), ("0000000000000000d6e9329d67b6146a", 0));
    let (tempo, _double) = answering(200, &read("tempo_docs_search_traceql.json")).await;
    let traces = tempo.search("{}", at(0), at(60), 20).await.unwrap();
    assert_eq!(traces[0].spans[0].duration, Duration::from_nanos(446_979_497));
    assert_eq!(traces[0].spans[0].attributes["status"], "error");
}
