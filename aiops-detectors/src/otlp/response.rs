//! What is answered to the sender of a request, in the encoding of the request (OTLP 1.10, "OTLP/HTTP Response").

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, Response, StatusCode};
use serde_json::json;

use super::decoded::{OtlpEncoding, OtlpTally};

pub(super) const PROTOBUF: &str = "application/x-protobuf";
pub(super) const JSON: &str = "application/json";

/// The three signals, with the name of what is rejected in a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OtlpSignal {
    Metrics,
    Logs,
    Traces,
}

impl OtlpSignal {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Logs => "logs",
            Self::Traces => "traces",
        }
    }

    fn rejected(self) -> &'static str {
        match self {
            Self::Metrics => "rejectedDataPoints",
            Self::Logs => "rejectedLogRecords",
            Self::Traces => "rejectedSpans",
        }
    }
}

fn response(status: StatusCode, encoding: OtlpEncoding, body: Vec<u8>) -> Response<Body> {
    let content_type = match encoding {
        OtlpEncoding::Protobuf => PROTOBUF,
        OtlpEncoding::Json => JSON,
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// 200, with what was refused. A sender logs each message that it gets: there is one only where something was
/// refused, or where nobody can tell whom the items are from, or where they came too late to be of use.
pub(super) fn success(signal: OtlpSignal, encoding: OtlpEncoding, tally: &OtlpTally) -> Response<Body> {
    let rejected = tally.rejected();
    let told = rejected > 0 || tally.without_service > 0 || tally.late > 0;
    let message = if told { tally.to_string() } else { String::new() };
    let body = match encoding {
        OtlpEncoding::Json if message.is_empty() => b"{}".to_vec(),
        // int64 is text in proto3's JSON.
        OtlpEncoding::Json => {
            let partial = json!({ signal.rejected(): rejected.to_string(), "errorMessage": message });
            json!({ "partialSuccess": partial }).to_string().into_bytes()
        }
        OtlpEncoding::Protobuf if message.is_empty() => Vec::new(),
        OtlpEncoding::Protobuf => {
            let mut partial = Vec::new();
            if rejected > 0 {
                put_number(&mut partial, 1, rejected);
            }
            put_bytes(&mut partial, 2, message.as_bytes());
            let mut body = Vec::new();
            put_bytes(&mut body, 1, &partial);
            body
        }
    };
    response(StatusCode::OK, encoding, body)
}

/// A `google.rpc.Status`, whose code goes with that of HTTP.
pub(super) fn failure(
    status: StatusCode,
    encoding: OtlpEncoding,
    message: &str,
    retry_after: Option<u32>,
) -> Response<Body> {
    // google/rpc/code.proto.
    let code: u8 = match status {
        StatusCode::UNAUTHORIZED => 16,
        StatusCode::FORBIDDEN => 7,
        StatusCode::TOO_MANY_REQUESTS => 8,
        StatusCode::SERVICE_UNAVAILABLE => 14,
        _ => 3,
    };
    let body = match encoding {
        OtlpEncoding::Json => json!({ "code": code, "message": message }).to_string().into_bytes(),
        OtlpEncoding::Protobuf => {
            let mut body = Vec::new();
            put_number(&mut body, 1, code.into());
            put_bytes(&mut body, 2, message.as_bytes());
            body
        }
    };
    let mut response = response(status, encoding, body);
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    response
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A varint field.
fn put_number(out: &mut Vec<u8>, field: u64, value: u64) {
    put_varint(out, field << 3);
    put_varint(out, value);
}

/// A field of bytes, text or a message.
fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_varint(out, field << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}
