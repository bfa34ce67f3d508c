//! The triager that asks a model.

mod ask;
mod builder;
mod error;
mod preview;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aiops_core::time::{minus, plus, since};
use aiops_core::{
    ActionMenu, Clock, Placeholders, Provenance, Redactor, Triage, TriageError, TriageReport, TriageRequest, Triager,
    error_chain,
};
use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Semaphore;

pub use self::builder::LlmTriagerBuilder;
pub use self::error::{AskError, InvalidTriager};
pub use self::preview::TriagePreview;
use crate::chat::{ChatModel, OutputSchema, Usage};
use crate::check::Flag;
use crate::fallback::for_a_person;
use crate::limits::{Breaker, Budget, Flight, Landed, Prices, Spending};

/// Before a triage must be over its attempts are, so that they are counted and others learn of them.
const SETTLE: Duration = Duration::from_millis(100);

/// Asks a model for the report of an incident, within limits of time, tokens and money.
///
/// - The prompt holds rules and the menu, then the evidence: encoded, cut at the borders of items within a budget of
///   bytes, everything told that is not shown.
/// - At most two attempts for one report, transport failures and unusable answers together. A correction names what
///   was wrong and never repeats what the model wrote, so a prompt does not grow.
/// - Requests for the same identity, context, menu, prompt and model share one answer for ten minutes, also while it
///   is being made.
/// - A breaker stops asking after five failures in a minute or three timeouts in a row, and tries one request a
///   minute later; 15 minutes later where the key, the credit or the model is wrong. [`reset`](Self::reset) closes it.
/// - A report is cleaned of links and of what does not show, and checked against its context: what it cites and quotes
///   must be there. What is odd stands in [`Provenance::flags`], and asks for a person where it matters.
/// - Whatever goes wrong, the fallback answers at once if there is one, without actions, with confidence 0, for a
///   person; else it is an error.
///
/// ```
/// use aiops_core::ActionMenu;
/// use aiops_llm::{LlmTriager, RuleTriager};
/// # use aiops_llm::{ChatError, ChatModel, ChatReply, ChatRequest};
/// # #[derive(Debug)] struct Model;
/// # #[async_trait::async_trait]
/// # impl ChatModel for Model {
/// #     fn provider(&self) -> &str { "p" }
/// #     fn model(&self) -> &str { "m" }
/// #     async fn complete(&self, _: &ChatRequest) -> Result<ChatReply, ChatError> { Ok(ChatReply::default()) }
/// # }
/// # fn model() -> Model { Model }
/// let triager = LlmTriager::builder(model(), ActionMenu::default()).fallback(RuleTriager::default()).build()?;
/// # Ok::<(), aiops_llm::InvalidTriager>(())
/// ```
pub struct LlmTriager {
    model: Arc<dyn ChatModel>,
    menu: ActionMenu,
    system: String,
    /// Of rules and menu.
    version: String,
    schema: Option<Arc<OutputSchema>>,
    fallback: Option<Arc<dyn Triager>>,
    settings: Settings,
    prices: Prices,
    redactor: Redactor,
    names: Placeholders,
    clock: Arc<dyn Clock>,
    salt: String,
    breaker: Mutex<Breaker>,
    spending: Spending,
    flight: Flight<Answer, Arc<AskError>>,
    places: Semaphore,
}

/// What a host may set.
#[derive(Debug, Clone)]
struct Settings {
    budget: Budget,
    max_evidence_bytes: usize,
    max_output_tokens: u32,
    attempts: u32,
    timeout: Duration,
    reserve: Duration,
    ttl: Duration,
}

/// A report and what it took.
#[derive(Debug, Clone)]
struct Answer {
    report: TriageReport,
    flags: Vec<Flag>,
    model: Option<String>,
}

/// What all attempts of one report took together.
#[derive(Debug, Clone, Default)]
struct Spent {
    usage: Usage,
    /// None once an attempt had no known price.
    cost: Option<f64>,
    attempts: u32,
    /// The last reply that was no report, cleaned and cut.
    unread: Option<String>,
}

impl fmt::Debug for LlmTriager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LlmTriager")
            .field("model", &self.model)
            .field("actions", &self.menu.entries().len())
            .field("prompt_version", &self.version)
            .field("fallback", &self.fallback)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl LlmTriager {
    /// A triager that asks `model` and lets it pick from `menu`.
    pub fn builder(model: impl ChatModel, menu: ActionMenu) -> LlmTriagerBuilder {
        LlmTriagerBuilder::new(Arc::new(model), menu)
    }

    /// Forgets earlier failures: after a key or a credit was mended.
    pub fn reset(&self) {
        self.breaker().answered();
        metrics::gauge!("aiops_llm_breaker_open", "provider" => self.model.provider().to_owned()).set(0.0);
    }

    fn breaker(&self) -> std::sync::MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What requests share an answer by.
    fn key(&self, request: &TriageRequest) -> String {
        let identity = request.event.identity().key();
        let digest = request.context.digest();
        format!("{identity}|{digest}|{}|{}|{}", self.version, self.model.provider(), self.model.model())
    }

    /// One answer, another's or a new one.
    async fn answer(
        &self,
        request: &TriageRequest,
        deadline: Timestamp,
        spent: &mut Spent,
    ) -> Result<(Answer, bool), Arc<AskError>> {
        let key = self.key(request);
        match self.flight.board(&key, self.settings.ttl, || self.clock.now()).await {
            Landed::Answer(answer) => {
                metrics::counter!("aiops_llm_cache_hits_total").increment(1);
                Ok((answer, true))
            }
            Landed::Failure(error) => Err(error),
            Landed::Yours(pilot) => {
                let outcome = self.ask(request, minus(deadline, SETTLE), spent).await.map_err(Arc::new);
                pilot.land(outcome.clone(), self.clock.now());
                outcome.map(|answer| (answer, false))
            }
        }
    }

    fn provenance(&self, spent: &Spent, started: Timestamp) -> Provenance {
        let mut provenance = Provenance::new(self.name());
        provenance.model = Some(self.model.model().to_owned());
        provenance.prompt_version = Some(self.version.clone());
        provenance.input_tokens = spent.usage.input_tokens;
        provenance.output_tokens = spent.usage.output_tokens;
        provenance.cost_dollars = spent.cost;
        provenance.latency = since(self.clock.now(), started);
        provenance
    }

    async fn fall_back(
        &self,
        request: &TriageRequest,
        reason: &str,
        asked: Provenance,
        unread: Option<String>,
    ) -> Result<Triage, TriageError> {
        let Some(fallback) = &self.fallback else {
            return Err(TriageError::permanent(self.name(), reason.to_owned()));
        };
        metrics::counter!("aiops_triage_fallback_total", "triager" => self.name().to_owned()).increment(1);
        tracing::warn!(incident = %request.incident_id, reason, "the fallback triager answers");
        let mut triage = for_a_person(fallback.triage(request).await?, reason);
        triage.provenance.unread_reply = unread;
        // What was spent in vain was spent.
        triage.provenance.input_tokens += asked.input_tokens;
        triage.provenance.output_tokens += asked.output_tokens;
        triage.provenance.cost_dollars = asked.cost_dollars;
        triage.provenance.latency = asked.latency;
        Ok(triage)
    }
}

#[async_trait]
impl Triager for LlmTriager {
    fn name(&self) -> &str {
        "llm"
    }

    async fn triage(&self, request: &TriageRequest) -> Result<Triage, TriageError> {
        let started = self.clock.now();
        let mut spent = Spent::default();
        let deadline = minus(request.deadline, self.settings.reserve).min(plus(started, self.settings.timeout));
        let asked =
            aiops_core::plugin::guarded(&*self.clock, deadline, self.answer(request, deadline, &mut spent)).await;
        let reason = match asked {
            Ok(Ok((answer, cache_hit))) => {
                let mut provenance = self.provenance(&spent, started);
                provenance.cache_hit = cache_hit;
                provenance.model = answer.model.or(provenance.model);
                provenance.flags = answer.flags.iter().map(|flag| flag.as_str().to_owned()).collect();
                return Ok(Triage::new(answer.report, provenance));
            }
            Ok(Err(error)) => {
                let why = error.as_str();
                metrics::counter!("aiops_llm_failures_total", "why" => why).increment(1);
                error_chain(&*error)
            }
            Err(fault) => {
                metrics::counter!("aiops_llm_failures_total", "why" => fault.label()).increment(1);
                format!("the model {}", fault.plain())
            }
        };
        let asked = self.provenance(&spent, started);
        self.fall_back(request, &reason, asked, spent.unread).await
    }
}

#[cfg(test)]
mod tests;
