//! A model server that a test scripts: one answer for each request, in the wire format of any adapter, with the
//! faults of real servers.
#![allow(dead_code)] // each test file uses a part of it

use std::sync::{Arc, LazyLock, Mutex};

use aiops_llm::ChatModel;
use aiops_llm::adapters::reqwest::Client;
use aiops_llm::adapters::{Anthropic, ModelEndpoint, Ollama, OpenAiChat, OpenAiResponses};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The key that [`Format::model`] sends.
pub(crate) const KEY: &str = "sk-s3cret-k3y";

/// A server at `url`, over one HTTP client for all tests: reading the machine's roots takes its time.
pub(crate) fn endpoint(url: &str) -> ModelEndpoint {
    static CLIENT: LazyLock<Client> = LazyLock::new(Client::new);
    ModelEndpoint::new(url).unwrap().with_client(CLIENT.clone())
}

/// A wire format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Messages,
    Chat,
    Responses,
    Ollama,
}

impl Format {
    pub(crate) const ALL: [Self; 4] = [Self::Messages, Self::Chat, Self::Responses, Self::Ollama];

    /// The adapter of this format for a server at `url`.
    pub(crate) fn model(self, url: &str) -> Arc<dyn ChatModel> {
        let endpoint = endpoint(url);
        match self {
            Self::Messages => Arc::new(Anthropic::new(endpoint.header("x-api-key", KEY).unwrap(), "the-model")),
            Self::Chat => Arc::new(OpenAiChat::new(endpoint.bearer(KEY).unwrap(), "the-model")),
            Self::Responses => Arc::new(OpenAiResponses::new(endpoint.bearer(KEY).unwrap(), "the-model")),
            Self::Ollama => Arc::new(Ollama::new(endpoint.bearer(KEY).unwrap(), "the-model")),
        }
    }

    /// The path of a request.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Messages => "/v1/messages",
            Self::Chat => "/chat/completions",
            Self::Responses => "/responses",
            Self::Ollama => "/api/chat",
        }
    }

    /// An answer of this text that ended by itself, with what current servers say besides.
    pub(crate) fn whole(self, text: &str) -> Value {
        self.ended(text, self.word(End::Whole))
    }

    /// The format's word for how a reply ended.
    pub(crate) fn word(self, end: End) -> &'static str {
        match (self, end) {
            (Self::Messages, End::Whole) => "end_turn",
            (Self::Messages, End::Limit) => "max_tokens",
            (Self::Messages, End::Refusal) => "refusal",
            (Self::Chat | Self::Ollama, End::Whole) => "stop",
            (Self::Chat | Self::Ollama, End::Limit) => "length",
            (Self::Responses, End::Whole) => "completed",
            (Self::Responses, End::Limit) => "max_output_tokens",
            (_, End::Refusal) => "content_filter",
        }
    }

    /// An answer of this text that ended for this reason.
    pub(crate) fn ended(self, text: &str, reason: &str) -> Value {
        match self {
            Self::Messages => json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "the-model-7",
                "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": text}],
                "stop_reason": reason, "stop_sequence": null, "stop_details": null,
                "usage": {"input_tokens": 100, "output_tokens": 50, "cache_creation_input_tokens": 20,
                    "cache_read_input_tokens": 30, "output_tokens_details": {"thinking_tokens": 10},
                    "service_tier": "standard", "inference_geo": null}}),
            Self::Chat => json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "the-model-7",
                "service_tier": "on_demand", "choices": [{"index": 0, "finish_reason": reason, "logprobs": null,
                    "message": {"role": "assistant", "content": text, "refusal": null, "reasoning_content": "hm"}}],
                "usage": {"prompt_tokens": 150, "completion_tokens": 50, "total_tokens": 200,
                    "prompt_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 20},
                    "completion_tokens_details": {"reasoning_tokens": 10}}}),
            Self::Responses => {
                let completed = reason == "completed";
                json!({"id": "resp_1", "object": "response", "model": "the-model-7", "error": null,
                    "status": if completed { "completed" } else { "incomplete" },
                    "incomplete_details": if completed { Value::Null } else { json!({"reason": reason}) },
                    "output": [{"type": "reasoning", "summary": []}, {"type": "message", "role": "assistant",
                        "content": [{"type": "output_text", "text": text, "annotations": []}]}],
                    "usage": {"input_tokens": 150, "output_tokens": 50, "total_tokens": 200,
                        "input_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 20},
                        "output_tokens_details": {"reasoning_tokens": 10}}})
            }
            Self::Ollama => json!({"model": "the-model-7", "created_at": "2026-11-27T10:00:00Z",
                "message": {"role": "assistant", "content": text, "thinking": "hm"}, "done": true, "done_reason": reason,
                "total_duration": 1, "prompt_eval_count": 150, "eval_count": 50}),
        }
    }

    /// An error as this format words it.
    pub(crate) fn error(self, kind: &str, code: Option<&str>, message: &str) -> Value {
        match self {
            Self::Messages => json!({"type": "error", "request_id": "req_1",
                "error": {"type": kind, "message": message, "details": code.map(|code| json!({"error_code": code}))}}),
            Self::Chat | Self::Responses => {
                json!({"error": {"message": message, "type": kind, "param": null, "code": code}})
            }
            Self::Ollama => json!({"error": message}),
        }
    }
}

/// How a reply ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Whole,
    Limit,
    Refusal,
}

/// What a client sent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    /// Path and query as sent.
    pub(crate) target: String,
    /// The head as sent.
    pub(crate) head: String,
    /// The body as sent.
    pub(crate) text: String,
}

impl Request {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let pair = |line: &'_ str| line.split_once(": ").map(|(key, _)| key.eq_ignore_ascii_case(name)) == Some(true);
        self.head.lines().find(|line| pair(line)).and_then(|line| line.split_once(": ")).map(|(_, value)| value)
    }

    /// The body.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }
}

/// What it answers.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// Status, header lines and body.
    Of(u16, Vec<(&'static str, &'static str)>, String),
    /// Announces the whole body and closes after half of it.
    Cut(String),
    /// Closes without an answer.
    Close,
    /// Does not answer while the test runs.
    Hang,
}

impl Answer {
    /// 200 and this body.
    pub(crate) fn ok(body: impl ToString) -> Self {
        Self::of(200, body)
    }

    /// This status and body.
    pub(crate) fn of(status: u16, body: impl ToString) -> Self {
        Self::Of(status, vec![("content-type", "application/json")], body.to_string())
    }

    /// The same with one more header.
    pub(crate) fn header(mut self, name: &'static str, value: &'static str) -> Self {
        if let Self::Of(_, headers, _) = &mut self {
            headers.push((name, value));
        }
        self
    }
}

type Script = dyn Fn(usize, &Request) -> Answer + Send + Sync;

/// The server; it ends with the test's runtime.
pub(crate) struct Double {
    /// Where it listens.
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Double {
    /// Starts one on a free port; the script gets the number of the request, from 0.
    pub(crate) async fn start(script: impl Fn(usize, &Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::<Mutex<Vec<Request>>>::default();
        let (seen, script): (_, Arc<Script>) = (Arc::clone(&requests), Arc::new(script));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&seen), Arc::clone(&script)));
            }
        });
        Self { url, requests }
    }

    /// One that always answers this.
    pub(crate) async fn answering(answer: Answer) -> Self {
        Self::start(move |_, _| answer.clone()).await
    }

    /// What was asked so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// What was asked last.
    pub(crate) fn last(&self) -> Request {
        self.requests().last().unwrap().clone()
    }
}

/// One request a connection.
async fn serve(mut stream: TcpStream, seen: Arc<Mutex<Vec<Request>>>, script: Arc<Script>) {
    let Some(request) = read(&mut stream).await else { return };
    let answer = {
        let mut seen = seen.lock().unwrap();
        seen.push(request.clone());
        script(seen.len() - 1, &request)
    };
    let (status, headers, body, sent) = match &answer {
        Answer::Of(status, headers, body) => (*status, headers.clone(), body, body.len()),
        Answer::Cut(body) => (200, Vec::new(), body, body.len() / 2),
        Answer::Close => return,
        Answer::Hang => std::future::pending().await,
    };
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head =
        format!("HTTP/1.1 {status} Some\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n", body.len());
    // A client that has enough may be gone.
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(&body.as_bytes()[..sent]).await;
    let _ = stream.shutdown().await;
}

async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut request = Request { target: head.lines().next()?.split(' ').nth(1)?.to_owned(), head, text: String::new() };
    let length: usize = request.header("content-length").map_or(0, |text| text.parse().unwrap());
    while bytes.len() < end + 4 + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    request.text = String::from_utf8_lossy(&bytes[end + 4..]).into_owned();
    Some(request)
}
