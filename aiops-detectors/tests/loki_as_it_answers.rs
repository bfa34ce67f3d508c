//! The Loki client against a double with Loki's limits and ways, each by name. No real Loki was at hand: the double
//! is written from its documentation and source (services that answer are in `real_servers`).
#![cfg(feature = "client")]
#![allow(clippy::unwrap_used, clippy::panic)] // helpers outside `#[test]`

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aiops_core::{Detector, error_chain};
use aiops_detectors::client::{ClientErrorKind, Endpoint, LogOrder, Loki, LokiSource, reqwest};
use aiops_detectors::jiff::Timestamp;
use aiops_detectors::testing::check_log_source;
use aiops_detectors::{LogBurst, LogSource, ServiceCount};
use proptest::prelude::*;

mod http_double;
use http_double::{Double, Reply, Request};

/// 2026-11-25 00:00 UTC.
const START: i128 = 1_795_564_800_000_000_000;
const SECOND: i128 = 1_000_000_000;

/// What a double does beside answering; see services that were read about, not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quirk {
    None,
    /// `"result": null` where there is nothing.
    NullResult,
    /// Entries with structured metadata as a third element, and warnings beside the data.
    CategorizedLabels,
    /// More entries than this at a time are refused with 400 and text.
    MaxEntries(usize),
    /// More series than this are refused with 400 and text.
    MaxSeries(usize),
    /// Ranges of more seconds than this are refused with 400 and text.
    MaxRange(i128),
    /// The first so many requests are refused by the query queue: 429 and text.
    Throttles(usize),
    /// 401 and text: the tenant is missing.
    NoTenant,
    /// 504 and text.
    Timeout,
    /// 499 and text: whoever asked, or a proxy before it, went away.
    Cancelled,
}

#[derive(Debug, Clone)]
struct Entry {
    at: i128,
    service: &'static str,
    text: String,
}

fn entry(at: i128, service: &'static str, text: impl Into<String>) -> Entry {
    Entry { at: START + at, service, text: text.into() }
}

fn number(request: &Request, name: &str) -> Option<i128> {
    request.parameter(name)?.parse().ok()
}

/// The range of `count_over_time(… [5m])` in nanoseconds.
fn range(expression: &str) -> i128 {
    let inside = &expression[expression.rfind('[').unwrap() + 1..expression.rfind(']').unwrap()];
    let digits = inside.find(|c: char| !c.is_ascii_digit()).unwrap();
    let unit = match &inside[digits..] {
        "h" => 3_600 * SECOND,
        "m" => 60 * SECOND,
        "s" => SECOND,
        "ms" => SECOND / 1_000,
        "ns" => 1,
        other => panic!("{other:?} is no unit of LogQL"),
    };
    inside[..digits].parse::<i128>().unwrap() * unit
}

fn bad(text: &str) -> Reply {
    Reply::Body(400, text.to_owned())
}

fn answer(quirk: Quirk, entries: &[Entry], request: &Request) -> Reply {
    let expression = request.parameter("query").unwrap();
    let counts = expression.starts_with("sum by");
    if request.target.contains("/query_range") {
        streams(quirk, entries, request)
    } else if counts {
        vector(quirk, entries, request, &expression)
    } else {
        bad("log queries are not supported as an instant query type, please change your query to a range query type")
    }
}

fn empty(quirk: Quirk, kind: &str) -> Reply {
    let result = if quirk == Quirk::NullResult { "null" } else { "[]" };
    Reply::ok(format!(r#"{{"status":"success","data":{{"resultType":"{kind}","result":{result},"stats":{{}}}}}}"#))
}

fn vector(quirk: Quirk, entries: &[Entry], request: &Request, expression: &str) -> Reply {
    let (to, length) = (number(request, "time").unwrap(), range(expression));
    if matches!(quirk, Quirk::MaxRange(seconds) if length > seconds * SECOND) {
        return bad("the query time range exceeds the limit (query length: 5m0s, limit: 1m0s)");
    }
    let mut counts = std::collections::BTreeMap::<&str, u64>::new();
    for entry in entries.iter().filter(|entry| to - length < entry.at && entry.at <= to) {
        *counts.entry(entry.service).or_default() += 1;
    }
    if matches!(quirk, Quirk::MaxSeries(most) if counts.len() > most) {
        return bad("maximum of series (500) reached for a single query");
    }
    if counts.is_empty() {
        return empty(quirk, "vector");
    }
    let series = counts.into_iter().map(|(service, count)| {
        format!(r#"{{"metric":{{"service_name":"{service}"}},"value":[{},"{count}"]}}"#, to / SECOND)
    });
    let series = series.collect::<Vec<_>>().join(",");
    Reply::ok(format!(
        r#"{{"status":"success","data":{{"resultType":"vector","result":[{series}],"stats":{{"summary":{{}}}}}}}}"#
    ))
}

fn streams(quirk: Quirk, entries: &[Entry], request: &Request) -> Reply {
    let (from, to) = (number(request, "start").unwrap(), number(request, "end").unwrap());
    let limit = number(request, "limit").map_or(100, |limit| usize::try_from(limit).unwrap());
    if matches!(quirk, Quirk::MaxEntries(most) if limit > most) {
        return bad("max entries limit per query exceeded, limit > max_entries_limit_per_query (10000 > 5000)");
    }
    if matches!(quirk, Quirk::MaxRange(seconds) if to - from > seconds * SECOND) {
        return bad("the query time range exceeds the limit (query length: 5m0s, limit: 1m0s)");
    }
    let forward = request.parameter("direction").as_deref() == Some("forward");
    let mut found: Vec<&Entry> = entries.iter().filter(|entry| from <= entry.at && entry.at < to).collect();
    found.sort_by_key(|entry| if forward { entry.at } else { -entry.at });
    found.truncate(limit);
    if found.is_empty() {
        return empty(quirk, "streams");
    }
    let categorized = quirk == Quirk::CategorizedLabels;
    let mut by_service = std::collections::BTreeMap::<&str, Vec<String>>::new();
    for entry in found {
        let text = serde_json::to_string(&entry.text).unwrap();
        let more = if categorized { r#",{"structuredMetadata":{"trace_id":"0a"}}"# } else { "" };
        by_service.entry(entry.service).or_default().push(format!("[\"{}\",{text}{more}]", entry.at));
    }
    let streams = by_service.into_iter().map(|(service, entries)| {
        format!(r#"{{"stream":{{"service_name":"{service}","level":"error"}},"values":[{}]}}"#, entries.join(","))
    });
    let warnings = if categorized { r#""warnings":["a shard was slow"],"# } else { "" };
    Reply::ok(format!(
        r#"{{"status":"success",{warnings}"data":{{"resultType":"streams","result":[{}],"stats":{{}}}}}}"#,
        streams.collect::<Vec<_>>().join(",")
    ))
}

async fn double(quirk: Quirk, entries: Vec<Entry>) -> Double {
    Double::start(move |nth, request| match quirk {
        Quirk::Throttles(first) if nth < first => {
            Reply::WithHeader(429, "Retry-After: 0", "too many outstanding requests".to_owned())
        }
        Quirk::NoTenant if !request.head.contains("x-scope-orgid") => Reply::Body(401, "no org id".to_owned()),
        Quirk::Cancelled => Reply::Body(499, "The request was cancelled by the client.".to_owned()),
        Quirk::Timeout => Reply::Body(504, "request timed out, decrease the duration of the request".to_owned()),
        _ => answer(quirk, &entries, request),
    })
    .await
}

fn loki(double: &Double) -> Loki {
    Loki::new(Endpoint::new(&double.url, reqwest::Client::new()).unwrap())
}

fn errors(double: &Double) -> LokiSource {
    loki(double).logs(r#"{level="error"}"#)
}

fn at(nanos: i128) -> Timestamp {
    Timestamp::from_nanosecond(START + nanos).unwrap()
}

/// Three hundred lines of two services, one a second.
fn recorded() -> Vec<Entry> {
    let service = |second| if second % 3 == 0 { "cart" } else { "web" };
    (0..300).map(|second| entry(second * SECOND, service(second), format!("failed {second}"))).collect()
}

#[tokio::test]
async fn lines_and_counts_keep_the_contract_under_every_limit() {
    for quirk in [
        Quirk::None,
        Quirk::NullResult,
        Quirk::CategorizedLabels,
        Quirk::MaxEntries(7),
        Quirk::MaxSeries(1),
        Quirk::MaxRange(10),
        Quirk::Throttles(1),
    ] {
        let double = double(quirk, recorded()).await;
        let source = errors(&double);
        // A second holds one line: what is refused for two services passes second by second.
        check_log_source(&source, at(20 * SECOND), at(40 * SECOND))
            .await
            .unwrap_or_else(|broken| panic!("{quirk:?}: {broken}"));
        let lines = source.read(at(0), at(300 * SECOND)).await.unwrap().lines;
        let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts, recorded().iter().map(|entry| entry.text.as_str()).collect::<Vec<_>>(), "{quirk:?}");
        assert_eq!(lines[0].service, "cart");
        assert_eq!(lines[0].labels["level"], "error");
    }
}

#[tokio::test]
async fn a_range_includes_its_start_and_not_its_end() {
    let entries = vec![entry(0, "a", "first"), entry(60 * SECOND - 1, "a", "last"), entry(60 * SECOND, "a", "next")];
    let double = double(Quirk::None, entries).await;
    let (from, to) = (at(0), at(60 * SECOND));
    assert_eq!(errors(&double).count(from, to).await.unwrap(), [ServiceCount::new("a", 2)]);
    let texts: Vec<String> =
        errors(&double).read(from, to).await.unwrap().lines.into_iter().map(|line| line.text).collect();
    assert_eq!(texts, ["first", "last"]);
}

#[tokio::test]
async fn nothing_is_zero_and_an_error_is_unknown() {
    for quirk in [Quirk::None, Quirk::NullResult] {
        let double = double(quirk, Vec::new()).await;
        assert_eq!(errors(&double).count(at(0), at(SECOND)).await.unwrap(), []);
        assert_eq!(errors(&double).read(at(0), at(SECOND)).await.unwrap().lines, []);
    }
    // The field report's detector learned nothing from quiet windows, and would have taken errors for them.
    let quiet = double(Quirk::NullResult, Vec::new()).await;
    let detector = LogBurst::new(errors(&quiet));
    let tick = aiops_core::Tick::new(at(600 * SECOND), at(630 * SECOND));
    detector.evaluate(tick).await.unwrap();
    let broken = double(Quirk::Timeout, recorded()).await;
    let detector = LogBurst::new(LokiSource::clone(&errors(&broken)));
    assert!(detector.evaluate(tick).await.is_err());
}

#[tokio::test]
async fn refusals_are_read_from_plain_text() {
    let no_tenant = double(Quirk::NoTenant, recorded()).await;
    let error = errors(&no_tenant).count(at(0), at(SECOND)).await.unwrap_err();
    assert!(error_chain(&error).contains("not authorized, status 401: no org id"), "{}", error_chain(&error));
    assert!(!error.is_retryable());
    let endpoint = Endpoint::new(&no_tenant.url, reqwest::Client::new()).unwrap().tenant("shop").unwrap();
    assert_eq!(Loki::new(endpoint).logs("{}").count(at(0), at(SECOND)).await.unwrap().len(), 1);

    let sound = double(Quirk::None, recorded()).await;
    let error = loki(&sound).query(r#"{level="error"}"#, at(0)).await.unwrap_err();
    assert_eq!((error.kind, error.status), (ClientErrorKind::Refused, Some(400)));
    assert!(error.reason.starts_with("log queries are not supported"), "{error}");

    for quirk in [Quirk::Timeout, Quirk::Cancelled] {
        let late = double(quirk, recorded()).await;
        let error = loki(&late).query("sum by (x) (count_over_time({}[5m]))", at(0)).await.unwrap_err();
        assert_eq!(error.kind, ClientErrorKind::Deadline, "{quirk:?}");
    }

    let busy = double(Quirk::Throttles(usize::MAX), recorded()).await;
    let endpoint = Endpoint::new(&busy.url, reqwest::Client::new()).unwrap().retries(0);
    let error = Loki::new(endpoint).query("sum by (x) (count_over_time({}[5m]))", at(0)).await.unwrap_err();
    assert_eq!((error.kind, error.is_retryable()), (ClientErrorKind::Throttled, true));
}

#[tokio::test]
async fn lines_beyond_the_bound_are_counted() {
    let double = double(Quirk::MaxEntries(50), recorded()).await;
    let batch = errors(&double).max_lines(120).read(at(0), at(300 * SECOND)).await.unwrap();
    assert_eq!((batch.lines.len(), batch.cut), (120, 180));
    assert_eq!(batch.lines[119].text, "failed 119");
}

#[tokio::test]
async fn more_lines_in_a_nanosecond_than_a_page_holds_are_counted() {
    let mut entries: Vec<Entry> = (0..9).map(|line| entry(SECOND, "a", format!("same time {line}"))).collect();
    entries.push(entry(2 * SECOND, "a", "later"));
    let double = double(Quirk::MaxEntries(4), entries).await;
    let batch = errors(&double).read(at(0), at(10 * SECOND)).await.unwrap();
    assert_eq!((batch.lines.len(), batch.cut), (5, 5));
    assert_eq!(batch.lines[4].text, "later");
}

#[tokio::test]
async fn newest_lines_come_first_where_they_are_asked_for() {
    let double = double(Quirk::None, recorded()).await;
    let streams = loki(&double).streams("{}", at(0), at(300 * SECOND), 2, LogOrder::NewestFirst).await.unwrap();
    let texts: Vec<&str> =
        streams.iter().flat_map(|stream| stream.entries.iter().map(|(_, text)| text.as_str())).collect();
    assert_eq!(texts, ["failed 299", "failed 298"]);
}

#[test]
fn bodies_that_are_none_are_told_and_break_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let body = Arc::new(Mutex::new(String::new()));
    let shown = Arc::<Mutex<String>>::clone(&body);
    let double = runtime.block_on(Double::start(move |_, _| Reply::ok(shown.lock().unwrap().clone())));
    let source = errors(&double);
    let whole = r#"{"status":"success","data":{"resultType":"streams","result":[{"stream":{"a":"b"},"values":[["1795564800000000000","x"]]}]}}"#;
    proptest!(ProptestConfig::with_cases(64), |(cut in 0..whole.len(), other in "\\PC{0,6}")| {
        *body.lock().unwrap() = format!("{}{other}{}", &whole[..cut], &whole[cut..]);
        // Whatever it is, it is an answer or an error.
        let _ = runtime.block_on(source.read(at(0), at(SECOND)));
        *body.lock().unwrap() = whole[..cut].to_owned();
        prop_assert!(runtime.block_on(source.read(at(0), at(SECOND))).is_err());
    });
    for text in [
        r#"{"status":"success","data":{"resultType":"streams","result":[{"stream":{},"values":[["soon","x"]]}]}}"#,
        r#"{"status":"success","data":{"resultType":"streams","result":[{"stream":{},"values":[[1,"x"]]}]}}"#,
        r#"{"status":"success","data":{"resultType":"matrix","result":[{"stream":{},"values":[]}]}}"#,
    ] {
        *body.lock().unwrap() = text.to_owned();
        assert!(runtime.block_on(source.read(at(0), at(SECOND))).is_err(), "{text}");
    }
}

/// Examples of Loki's documentation and texts of its source, as they stand there.
#[tokio::test]
#[ignore = "needs AIOPS_DATA"]
async fn documented_bodies_are_read() {
    let data = std::env::var("AIOPS_DATA")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data").to_owned());
    let read = |name: &str| std::fs::read_to_string(format!("{data}/../services/fixtures/{name}")).unwrap();
    let of = async |status: u16, name: &str| {
        let body = read(name);
        let double = Double::start(move |_, _| Reply::Body(status, body.clone())).await;
        (loki(&double), double)
    };
    let (loki, _double) = of(200, "loki_docs_query_vector.json").await;
    assert_eq!(loki.query("x", at(0)).await.unwrap().len(), 3);
    let (loki, _double) = of(200, "loki_docs_query_range_matrix.json").await;
    let series = loki.query_range("x", at(0), at(SECOND), Duration::from_secs(1)).await.unwrap();
    assert_eq!(series[1].samples[2].value, 660.693_333_333_333_4);
    let (loki, _double) = of(200, "loki_docs_query_range_streams.json").await;
    let streams = loki.streams("{}", at(0), at(SECOND), 100, LogOrder::NewestFirst).await.unwrap();
    assert_eq!((streams[0].labels["job"].as_str(), streams[0].entries[1].1.as_str()), ("varlogs", "bar"));
    for (status, name, kind) in [
        (400, "loki_src_error_400_instant_log_query.txt", ClientErrorKind::Refused),
        (400, "loki_src_error_400_max_entries.txt", ClientErrorKind::TooLarge),
        (401, "loki_src_error_401_no_org_id.txt", ClientErrorKind::Unauthorized),
    ] {
        let (loki, _double) = of(status, name).await;
        assert_eq!(loki.query("x", at(0)).await.unwrap_err().kind, kind, "{name}");
    }
}
