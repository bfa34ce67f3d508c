//! Whether a reply is whole, by the provider's word for why the model stopped.

use aiops_core::text;

use super::ReplyError;

/// Longer stop reasons are cut where they are shown.
const SHOWN: usize = 40;

/// Messages API; Chat Completions; Responses API; Text Generation Inference.
const WHOLE: [&str; 5] = ["end_turn", "stop", "stop_sequence", "completed", "eos_token"];
const TRUNCATED: [&str; 5] =
    ["max_tokens", "length", "model_context_window_exceeded", "max_output_tokens", "incomplete"];
const REFUSED: [&str; 2] = ["refusal", "content_filter"];
const UNFINISHED: [&str; 4] = ["tool_use", "tool_calls", "function_call", "pause_turn"];

pub(super) fn check(reason: Option<&str>) -> Result<(), ReplyError> {
    // Some servers send an empty one for none.
    let Some(word) = reason.filter(|word| !word.is_empty()) else { return Err(ReplyError::NoStopReason) };
    let reason = text::clip(word, SHOWN);
    match word {
        word if WHOLE.contains(&word) => Ok(()),
        word if TRUNCATED.contains(&word) => Err(ReplyError::Truncated { reason }),
        word if REFUSED.contains(&word) => Err(ReplyError::Refused { reason }),
        word if UNFINISHED.contains(&word) => Err(ReplyError::Unfinished { reason }),
        _ => Err(ReplyError::UnknownStopReason { reason }),
    }
}
