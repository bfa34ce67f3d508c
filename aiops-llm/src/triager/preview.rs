//! What would be sent, without sending it.

use aiops_core::TriageRequest;

use super::LlmTriager;
use crate::chat::{ChatRequest, Usage};
use crate::prompt::EvidenceTooLarge;

/// The exact request that a triage would send, and what it may cost.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TriagePreview {
    /// The request: what stands in it would leave the house.
    pub request: ChatRequest,
    /// The most that it may take: a third of its bytes as tokens, and the whole reply.
    pub most: Usage,
    /// The most that it may cost in US dollars, where the model has a price.
    pub dollars: Option<f64>,
    /// Of rules and menu.
    pub prompt_version: String,
}

impl LlmTriager {
    /// What a triage of `request` would send first.
    ///
    /// # Errors
    /// [`EvidenceTooLarge`], which names the budget.
    pub fn preview(&self, request: &TriageRequest) -> Result<TriagePreview, EvidenceTooLarge> {
        let user = self.evidence(request)?;
        let chat = self.request(user, self.settings.timeout);
        let most = self.most(&chat);
        let dollars = self.prices.cost(self.model.model(), most);
        Ok(TriagePreview { request: chat, most, dollars, prompt_version: self.version.clone() })
    }
}
