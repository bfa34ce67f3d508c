//! What a provider says about a model's days.

use std::time::Duration;

use aiops_core::jiff::Timestamp;
use serde_json::Value;

use super::anthropic::Anthropic;
use super::exchange::{self, Wire};
use crate::ChatError;

/// A question of some hundred bytes.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Providers give at least this much notice.
pub(crate) const NOTICE_DAYS: f64 = 60.0;

/// What a provider says about a model. Each part may be missing: servers that speak its format need not know it.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct ModelLifecycle {
    /// The id that the asked one stands for.
    pub id: Option<String>,
    /// `active`, `deprecated` or `retired`, or a word of later.
    pub state: Option<String>,
    /// When it stops answering.
    pub retires_at: Option<Timestamp>,
    /// Whether the provider holds it to a schema.
    pub structured_outputs: Option<bool>,
    /// Tokens that it reads at the most.
    pub max_input_tokens: Option<u64>,
}

impl ModelLifecycle {
    fn of(model: &Value) -> Self {
        let text = |place| model.pointer(place).and_then(Value::as_str);
        Self {
            id: text("/id").map(|id| aiops_core::text::clip(id, 100)),
            state: text("/lifecycle").map(|state| aiops_core::text::clip(state, 40)),
            retires_at: text("/retires_at").and_then(|at| at.parse().ok()),
            structured_outputs: model.pointer("/capabilities/structured_outputs/supported").and_then(Value::as_bool),
            max_input_tokens: model.pointer("/max_input_tokens").and_then(Value::as_u64),
        }
    }

    /// Days until it stops answering; negative where it has.
    #[must_use]
    pub fn days_left(&self, now: Timestamp) -> Option<f64> {
        Some(self.retires_at?.duration_since(now).as_secs_f64() / 86_400.0)
    }
}

impl Anthropic {
    /// What the provider says about this model: for a check when a service starts, and once a day. The days left
    /// stand in the gauge `aiops_llm_model_retires_in_days`; 60 and less are warned of.
    ///
    /// # Errors
    /// As [`complete`](crate::ChatModel::complete); `UnknownModel` for one that is retired or never was, and for a
    /// server that has no such list.
    pub async fn lifecycle(&self, now: Timestamp) -> Result<ModelLifecycle, ChatError> {
        let model = exchange::look_up(self, &["v1", "models", crate::ChatModel::model(self)], TIMEOUT).await?;
        let lifecycle = ModelLifecycle::of(&model);
        if let Some(days) = lifecycle.days_left(now) {
            let (provider, model) = (self.provider().to_owned(), crate::ChatModel::model(self).to_owned());
            if days <= NOTICE_DAYS {
                tracing::warn!(provider, model, days, "the model retires soon");
            }
            metrics::gauge!("aiops_llm_model_retires_in_days", "provider" => provider, "model" => model).set(days);
        }
        Ok(lifecycle)
    }
}
