//! Any bytes as an answer of a model's server, in every wire format, and as the text of a report: no panic, nothing
//! longer than it came, and no key of ours in what is shown.
#![no_main]

use std::sync::LazyLock;

use aiops_llm::adapters::{Anthropic, InvalidEndpoint, ModelEndpoint, Ollama, OpenAiChat, OpenAiResponses, StructuredMode};
use aiops_llm::reply::{read_reply, read_report};
use aiops_llm::{ChatError, ChatReply};
use libfuzzer_sys::fuzz_target;

/// Short, so that it is found.
const KEY: &str = "k3y!";
/// Beside 200; all formats read an error in the same way.
const ERRORS: [u16; 4] = [302, 400, 429, 529];

struct Models {
    anthropic: [Anthropic; 2],
    chat: OpenAiChat,
    responses: OpenAiResponses,
    ollama: Ollama,
}

static MODELS: LazyLock<Option<Models>> = LazyLock::new(|| models().ok());

fn models() -> Result<Models, InvalidEndpoint> {
    let endpoint = ModelEndpoint::new("http://127.0.0.1:9")?.bearer(KEY)?;
    let anthropic = Anthropic::new(endpoint.clone(), "m");
    Ok(Models {
        anthropic: [anthropic.clone(), anthropic.structured(StructuredMode::ForcedTool)],
        chat: OpenAiChat::new(endpoint.clone(), "m"),
        responses: OpenAiResponses::new(endpoint.clone(), "m"),
        ollama: Ollama::new(endpoint, "m"),
    })
}

fn check(answer: Result<ChatReply, ChatError>, bytes: &[u8]) {
    match answer {
        Ok(reply) => {
            assert!(reply.text.len() <= bytes.len(), "a text longer than the answer");
            let shown = format!("{reply:?}");
            assert!(!shown.contains(KEY), "{shown}");
            let report = read_reply(&reply.text, reply.stop_reason.as_deref());
            assert!(report.is_err() || (0.0..=1.0).contains(&report.map_or(2.0, |report| report.confidence.value())));
        }
        Err(error) => {
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains(KEY), "{shown}");
            assert!(error.reason.chars().count() <= 100 && error.retry_after.is_none());
        }
    }
}

fuzz_target!(|body: &[u8]| {
    let Some(models) = MODELS.as_ref() else { panic!("the endpoint is valid") };
    for anthropic in &models.anthropic {
        check(anthropic.read_answer(200, body), body);
    }
    check(models.chat.read_answer(200, body), body);
    check(models.responses.read_answer(200, body), body);
    check(models.ollama.read_answer(200, body), body);
    for status in ERRORS {
        let answer = models.chat.read_answer(status, body);
        assert!(answer.is_err(), "a reply with status {status}");
        check(answer, body);
    }
    if let Ok(text) = std::str::from_utf8(body) {
        let _ = (read_report(text), read_reply(text, Some("stop")));
    }
});
