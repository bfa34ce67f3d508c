//! From a provider's refusal to the kind of failure that it is.
//!
//! Decided by status and code, never by a message: providers reword those. Sources: the error tables of the
//! Messages API and of OpenAI's API, llama.cpp's `server` and Ollama's API documentation. There is one exception: a
//! request that is too long has no code at most providers, so that a refusal is looked at for their words for it.

use std::time::Duration;

use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use serde::Deserialize;
use serde_json::Value;

use super::endpoint::ModelEndpoint;
use crate::{ChatError, ChatErrorKind};

/// A longer wait is no wait: the report is wanted within a minute.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Codes that say what happened whatever the status is: first `details.error_code`, then `code`, then `type`.
const CODES: [(&str, ChatErrorKind); 26] = [
    ("insufficient_quota", ChatErrorKind::Quota),
    ("credit_balance_exhausted", ChatErrorKind::Quota),
    ("billing_hard_limit_reached", ChatErrorKind::Quota),
    ("billing_not_active", ChatErrorKind::Quota),
    ("billing_error", ChatErrorKind::Quota),
    ("enforced_spend_limit_reached", ChatErrorKind::Quota),
    ("contract_spend_limit_reached", ChatErrorKind::Quota),
    ("ramp_limit_exceeded", ChatErrorKind::RateLimited),
    ("rate_limit_exceeded", ChatErrorKind::RateLimited),
    ("rate_limit_error", ChatErrorKind::RateLimited),
    ("slow_down", ChatErrorKind::Overloaded),
    ("server_is_overloaded", ChatErrorKind::Overloaded),
    ("overloaded_error", ChatErrorKind::Overloaded),
    ("unavailable_error", ChatErrorKind::Overloaded),
    ("invalid_api_key", ChatErrorKind::Auth),
    ("authentication_error", ChatErrorKind::Auth),
    ("permission_error", ChatErrorKind::Auth),
    ("model_not_found", ChatErrorKind::UnknownModel),
    ("not_found_error", ChatErrorKind::UnknownModel),
    ("context_length_exceeded", ChatErrorKind::ContextTooLong),
    ("exceed_context_size_error", ChatErrorKind::ContextTooLong),
    ("request_too_large", ChatErrorKind::ContextTooLong),
    ("content_filter", ChatErrorKind::Filtered),
    ("content_policy_violation", ChatErrorKind::Filtered),
    ("timeout_error", ChatErrorKind::Timeout),
    ("api_error", ChatErrorKind::Server),
];

/// How providers say that a request is too long, in small letters. Words that are missing here leave the error what its
/// status says.
const TOO_LONG: [&str; 11] = [
    // Anthropic: "prompt is too long: 208310 tokens > 200000 maximum", and with the reply's tokens "input length and
    // `max_tokens` exceed context limit: 190000 + 20000 > 200000" (bodies in bolt.diy issue 401 and exe.dev issue 62).
    "prompt is too long",
    "exceed context limit",
    // OpenAI, vLLM, DeepSeek, OpenRouter: "This model's maximum context length is 16384 tokens. However, you requested
    // 122946 tokens" (vllm issue 20409, fast-agent issue 621).
    "maximum context length",
    // vLLM: "The decoder prompt (length 5000) is longer than the maximum model length of 4096".
    "maximum model length",
    // OpenAI: "Your input exceeds the context window of this model".
    "exceeds the context window",
    // Bedrock: "Input is too long for requested model."
    "input is too long",
    // Gemini: "The input token count (1196265) exceeds the maximum number of tokens allowed (1048575)".
    "exceeds the maximum number of tokens",
    // xAI: "This model's maximum prompt length is 131072 but the request contains 537812 tokens".
    "maximum prompt length",
    // Groq: "Please reduce the length of the messages or completion".
    "reduce the length of the messages",
    // Ollama: "prompt too long; exceeded max context length by 12 tokens".
    "max context length",
    // Text Generation Inference: "`inputs` tokens + `max_new_tokens` must be <= 4096".
    "`inputs` tokens",
];

/// What a provider says of its error, as far as it is read.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Problem {
    #[serde(default)]
    error: Option<Value>,
    #[serde(default)]
    request_id: Option<Value>,
    /// Beside no `error`: vLLM before 0.11, Bedrock.
    #[serde(default)]
    message: Option<Value>,
}

impl Problem {
    /// Of a body that may be anything: a CDN's page has none.
    pub(super) fn read(body: &[u8]) -> Self {
        serde_json::from_slice(body).unwrap_or_default()
    }

    /// Of an answer of status 200, where it holds an error.
    pub(super) fn within(body: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(body).ok().filter(|problem| problem.error.is_some())
    }

    /// An error that is a value of an answer.
    pub(super) fn of(error: Value) -> Self {
        Self { error: Some(error), ..Self::default() }
    }

    /// Its codes, the most exact first.
    fn codes(&self) -> impl Iterator<Item = &str> {
        let places = ["/details/error_code", "/code", "/type"];
        places
            .into_iter()
            .filter_map(|place| self.error.as_ref()?.pointer(place)?.as_str())
            .filter(|code| is_code(code))
    }

    /// A status that stands in the error itself (llama.cpp, gateways).
    fn status(&self) -> Option<u16> {
        self.error.as_ref()?.get("code")?.as_u64().and_then(|code| code.try_into().ok())
    }

    fn kind(&self, status: Option<u16>) -> ChatErrorKind {
        let known = |code: &str| CODES.iter().find(|(known, _)| *known == code).map(|(_, kind)| *kind);
        match self.codes().find_map(known).unwrap_or_else(|| of_status(status.or_else(|| self.status()))) {
            ChatErrorKind::Refused if self.says_too_long() => ChatErrorKind::ContextTooLong,
            kind => kind,
        }
    }

    fn says_too_long(&self) -> bool {
        let within = self.error.as_ref().map(|error| error.get("message").unwrap_or(error));
        let message = within.or(self.message.as_ref()).and_then(Value::as_str).unwrap_or_default().to_lowercase();
        TOO_LONG.iter().any(|words| message.contains(words))
    }

    /// The error that this is, of an answer with this status, or of one that had status 200 (`None`).
    pub(super) fn into_error(self, endpoint: &ModelEndpoint, provider: &str, status: Option<u16>) -> ChatError {
        let mut error = ChatError::new(provider, self.kind(status));
        error.status = status;
        error.reason = self.codes().find_map(|code| endpoint.word(code)).unwrap_or_default();
        error.request_id = self.request_id.as_ref().and_then(|id| endpoint.word(id.as_str()?));
        error
    }
}

/// A word that a program made, not a sentence that may hold anything.
fn is_code(word: &str) -> bool {
    (1..=64).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

fn of_status(status: Option<u16>) -> ChatErrorKind {
    match status {
        Some(401 | 403) => ChatErrorKind::Auth,
        Some(402) => ChatErrorKind::Quota,
        Some(404) => ChatErrorKind::UnknownModel,
        Some(408 | 504) => ChatErrorKind::Timeout,
        Some(409) => ChatErrorKind::Server,
        Some(413) => ChatErrorKind::ContextTooLong,
        Some(429) => ChatErrorKind::RateLimited,
        Some(503 | 529) => ChatErrorKind::Overloaded,
        // A redirect is not followed: something else answers there.
        Some(300..=399) => ChatErrorKind::BadAnswer,
        // Not implemented there, so not later either.
        Some(400..=499 | 501) => ChatErrorKind::Refused,
        _ => ChatErrorKind::Server,
    }
}

/// What the headers of an answer say about asking again, and its id.
pub(super) fn with_headers(mut error: ChatError, endpoint: &ModelEndpoint, headers: &HeaderMap) -> ChatError {
    error.retry_after = retry_after(headers);
    error.should_retry = match word(headers, "x-should-retry") {
        Some("true") => Some(true),
        Some("false") => Some(false),
        _ => None,
    };
    error.request_id = request_id(endpoint, headers).or(error.request_id);
    error
}

/// The provider's id of the request: Anthropic's, OpenAI's, Azure's header.
pub(super) fn request_id(endpoint: &ModelEndpoint, headers: &HeaderMap) -> Option<String> {
    let names = ["request-id", "x-request-id", "apim-request-id"];
    endpoint.word(names.into_iter().find_map(|name| word(headers, name))?)
}

fn word<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim).filter(|word| !word.is_empty())
}

/// How long to wait, at most a minute: `retry-after-ms`, else `retry-after` in seconds or as a date, which is
/// held against the answer's own `date`, whatever clock this machine has.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let millis = word(headers, "retry-after-ms").and_then(|text| text.parse::<f64>().ok()).map(|millis| millis / 1e3);
    let seconds = millis.or_else(|| {
        let text = word(headers, RETRY_AFTER.as_str())?;
        text.parse::<f64>().ok().or_else(|| {
            let until = httpdate::parse_http_date(text).ok()?;
            let now = httpdate::parse_http_date(word(headers, DATE.as_str())?).ok()?;
            Some(until.duration_since(now).unwrap_or_default().as_secs_f64())
        })
    })?;
    // Neither negative nor no number; what is too large for a duration is capped all the same.
    (seconds >= 0.0).then(|| Duration::from_secs_f64(seconds.min(MAX_RETRY_AFTER.as_secs_f64())))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn error(status: u16, body: &Value) -> ChatError {
        let endpoint = ModelEndpoint::new("http://h").unwrap().bearer("s3cret").unwrap();
        Problem::read(body.to_string().as_bytes()).into_error(&endpoint, "p", Some(status))
    }

    #[test]
    fn the_most_exact_code_decides() {
        let kind = |status, body: Value| error(status, &body).kind;
        let openai = |code: &str, kind: &str| json!({"error": {"code": code, "type": kind, "message": "m"}});
        assert_eq!(kind(429, openai("rate_limit_exceeded", "requests")), ChatErrorKind::RateLimited);
        assert_eq!(kind(429, openai("credit_balance_exhausted", "insufficient_quota")), ChatErrorKind::Quota);
        assert_eq!(kind(429, openai("rate_limit_exceeded", "insufficient_quota")), ChatErrorKind::RateLimited);
        let anthropic = |status, kind_of, code: &str| {
            kind(status, json!({"type": "error", "error": {"type": kind_of, "details": {"error_code": code}}}))
        };
        assert_eq!(anthropic(429, "rate_limit_error", ""), ChatErrorKind::RateLimited);
        assert_eq!(anthropic(429, "rate_limit_error", "enforced_spend_limit_reached"), ChatErrorKind::Quota);
        assert_eq!(anthropic(400, "invalid_request_error", "contract_spend_limit_reached"), ChatErrorKind::Quota);
        assert_eq!(anthropic(529, "overloaded_error", "x"), ChatErrorKind::Overloaded);
    }

    #[test]
    fn a_body_of_any_shape_leaves_the_status() {
        for (status, kind) in [
            (302, ChatErrorKind::BadAnswer),
            (400, ChatErrorKind::Refused),
            (401, ChatErrorKind::Auth),
            (402, ChatErrorKind::Quota),
            (403, ChatErrorKind::Auth),
            (404, ChatErrorKind::UnknownModel),
            (408, ChatErrorKind::Timeout),
            (409, ChatErrorKind::Server),
            (413, ChatErrorKind::ContextTooLong),
            (422, ChatErrorKind::Refused),
            (429, ChatErrorKind::RateLimited),
            (500, ChatErrorKind::Server),
            (501, ChatErrorKind::Refused),
            (502, ChatErrorKind::Server),
            (503, ChatErrorKind::Overloaded),
            (504, ChatErrorKind::Timeout),
            (529, ChatErrorKind::Overloaded),
        ] {
            for body in [json!("<html>"), json!([1]), json!({"error": "a sentence"}), json!({"error": {"type": 7}})] {
                let error = error(status, &body);
                assert_eq!(
                    (error.kind, error.status, error.reason.as_str()),
                    (kind, Some(status), ""),
                    "{status} {body}"
                );
            }
        }
    }

    #[test]
    fn a_request_that_is_too_long_is_known_by_the_words_of_each_provider() {
        let said = |message: &str, kind: &str, code: Value| json!({"message": message, "type": kind, "param": null, "code": code});
        let vllm = "This model's maximum context length is 16384 tokens. However, you requested 122946 tokens (112946 in the messages, 10000 in the completion). Please reduce the length of the messages or completion.";
        for body in [
            json!({"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 208310 tokens > 200000 maximum"}, "request_id": "req_011CVQe1dLrGNMJyE1ghG1av"}),
            json!({"type": "error", "error": {"type": "invalid_request_error", "message": "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease input length or `max_tokens` and try again"}}),
            json!({"object": "error", "message": vllm, "type": "BadRequestError", "param": null, "code": 400}),
            json!({"error": said(vllm, "BadRequestError", json!(400))}),
            json!({"error": said(vllm, "invalid_request_error", json!("invalid_request_error"))}),
            json!({"error": said("m", "invalid_request_error", json!("context_length_exceeded"))}),
            json!({"error": {"code": 400, "message": "request (9031 tokens) exceeds the available context size (4096 tokens), try increasing it", "type": "exceed_context_size_error"}}),
            json!({"error": said("Your input exceeds the context window of this model. Please adjust your input and try again.", "invalid_request_error", json!(null))}),
            json!({"message": "Input is too long for requested model."}),
            json!({"error": "prompt too long; exceeded max context length by 12 tokens"}),
        ] {
            let error = error(400, &body);
            assert_eq!(error.kind, ChatErrorKind::ContextTooLong, "{body}");
            assert!(!error.is_retryable() && !error.kind.is_configuration());
            assert!(!error.to_string().contains("122946"), "the message itself is not kept: {error}");
        }
        // A refusal of another kind stays one, and no words turn a wrong key into a long request.
        let setting = json!({"error": said("max_tokens must be at least 1, got -186.", "BadRequestError", json!(400))});
        assert_eq!(error(400, &setting).kind, ChatErrorKind::Refused);
        assert_eq!(error(401, &json!({"error": {"message": "prompt is too long"}})).kind, ChatErrorKind::Auth);
        assert_eq!(error(500, &json!({"error": {"message": "prompt is too long"}})).kind, ChatErrorKind::Server);
    }

    #[test]
    fn of_the_body_only_a_code_is_kept() {
        let body = json!({"error": {"code": "bad key s3cret", "type": "invalid_request_error", "message": "s3cret"},
            "request_id": "req_1"});
        let said = error(400, &body);
        assert_eq!((said.reason.as_str(), said.request_id.as_deref()), ("invalid_request_error", Some("req_1")));
        let said = error(400, &json!({"error": {"code": "s3cret", "type": "s3cret"}, "request_id": "s3cret"}));
        assert!(!format!("{said} {said:?}").contains("s3cret"), "{said:?}");
    }

    #[test]
    fn waits_are_read_in_every_form_and_capped() {
        let wait = |pairs: &[(&'static str, &'static str)]| {
            let headers = pairs.iter().map(|(name, value)| {
                (reqwest::header::HeaderName::from_static(name), reqwest::header::HeaderValue::from_static(value))
            });
            retry_after(&headers.collect())
        };
        let seconds = |seconds| Some(Duration::from_secs_f64(seconds));
        assert_eq!(wait(&[("retry-after", "7")]), seconds(7.0));
        assert_eq!(wait(&[("retry-after", "1.5")]), seconds(1.5));
        assert_eq!(wait(&[("retry-after", "7"), ("retry-after-ms", "250")]), seconds(0.25));
        assert_eq!(wait(&[("retry-after", "3600")]), seconds(60.0));
        assert_eq!(wait(&[("retry-after", "1e300")]), seconds(60.0));
        let date = [("date", "Fri, 27 Nov 2026 10:00:00 GMT"), ("retry-after", "Fri, 27 Nov 2026 10:00:05 GMT")];
        assert_eq!(wait(&date), seconds(5.0));
        assert_eq!(wait(&[date[0], ("retry-after", "Fri, 27 Nov 2026 09:00:00 GMT")]), seconds(0.0));
        for nothing in ["", "soon", "-1", "NaN", "Fri, 27 Nov 2026 10:00:05 GMT"] {
            assert_eq!(wait(&[("retry-after", nothing)]), None, "{nothing}");
        }
    }
}
