//! What tokens cost: the host's table, since prices change and models come and go.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::chat::Usage;

/// Tokens that a price stands for.
const PER: f64 = 1_000_000.0;

/// One model's prices in US dollars for a million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelPrice {
    /// Tokens read.
    pub input: f64,
    /// Tokens written, thoughts included.
    pub output: f64,
    /// Tokens read from the provider's prompt cache; as `input` where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_read: Option<f64>,
    /// Tokens put into it; as `input` where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<f64>,
}

impl ModelPrice {
    /// Prices of tokens read and written, without a prompt cache.
    #[must_use]
    pub fn new(input: f64, output: f64) -> Self {
        Self { input, output, cache_read: None, cache_write: None }
    }

    /// What these tokens cost, in US dollars.
    #[must_use]
    pub fn cost(&self, usage: Usage) -> f64 {
        let plain = usage.input_tokens.saturating_sub(usage.cache_read_tokens.saturating_add(usage.cache_write_tokens));
        let sum = plain as f64 * self.input
            + usage.cache_read_tokens as f64 * self.cache_read.unwrap_or(self.input)
            + usage.cache_write_tokens as f64 * self.cache_write.unwrap_or(self.input)
            + usage.output_tokens as f64 * self.output;
        sum / PER
    }
}

/// Prices by model id, as configured. A model that is not in it has no known cost, which is not 0.
///
/// ```
/// use aiops_llm::{ModelPrice, Prices, Usage};
/// let prices: Prices = serde_json::from_str(r#"{"small-1": {"input": 0.25, "output": 1.25}}"#)?;
/// assert_eq!(prices.cost("small-1", Usage::new(2_000, 400)), Some(0.001));
/// assert_eq!(prices.cost("large-1", Usage::new(2_000, 400)), None);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Prices {
    models: BTreeMap<String, ModelPrice>,
}

impl Prices {
    /// Adds a model's prices.
    #[must_use]
    pub fn model(mut self, id: impl Into<String>, price: ModelPrice) -> Self {
        self.models.insert(id.into(), price);
        self
    }

    /// What these tokens of a model cost in US dollars; none where the model has no price, or one that is no
    /// number of at least 0.
    #[must_use]
    pub fn cost(&self, model: &str, usage: Usage) -> Option<f64> {
        self.models.get(model).map(|price| price.cost(usage)).filter(|cost| cost.is_finite() && *cost >= 0.0)
    }
}
