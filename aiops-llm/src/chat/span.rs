//! A span around each call of a model, named by OpenTelemetry's conventions for generative AI.

use tracing::{Span, field};

use super::{ChatError, ChatModel, ChatReply, ChatRequest};

/// A host that wants these spans and nothing else of debug level names this target.
const TARGET: &str = "aiops_llm::gen_ai";

/// The span of one attempt. It holds no text of prompt or reply. A bridge to OpenTelemetry takes its name from
/// `otel.name`.
pub(crate) fn of(model: &dyn ChatModel, request: &ChatRequest) -> Span {
    let (provider, name) = (model.provider(), model.model());
    tracing::debug_span!(
        target: TARGET,
        "chat",
        otel.name = format!("chat {name}"),
        otel.kind = "client",
        otel.status_code = field::Empty,
        gen_ai.operation.name = "chat",
        gen_ai.provider.name = provider,
        gen_ai.request.model = name,
        gen_ai.request.max_tokens = request.max_output_tokens,
        gen_ai.output.type = request.schema.as_ref().map_or("text", |_| "json"),
        gen_ai.response.model = field::Empty,
        gen_ai.response.finish_reasons = field::Empty,
        gen_ai.usage.input_tokens = field::Empty,
        gen_ai.usage.output_tokens = field::Empty,
        error.type = field::Empty,
    )
}

/// What came of it.
pub(crate) fn record(span: &Span, outcome: &Result<ChatReply, ChatError>) {
    let usage = match outcome {
        Ok(reply) => {
            if let Some(model) = &reply.model {
                span.record("gen_ai.response.model", model.as_str());
            }
            // A list, by the convention: one for each choice.
            if let Some(reason) = &reply.stop_reason {
                span.record("gen_ai.response.finish_reasons", field::debug([reason]));
            }
            reply.usage
        }
        Err(error) => {
            span.record("error.type", error.kind.as_str());
            span.record("otel.status_code", "ERROR");
            error.usage
        }
    };
    span.record("gen_ai.usage.input_tokens", usage.input_tokens);
    span.record("gen_ai.usage.output_tokens", usage.output_tokens);
}
