//! Attempts until there is a report or no more of them.

use std::time::Duration;

use aiops_core::plugin::{Fault, guarded};
use aiops_core::time::{plus, since};
use aiops_core::{Fingerprint, TriageReport, TriageRequest, text};
use jiff::Timestamp;
use tracing::Instrument;

use super::{Answer, AskError, LlmTriager, Spent};
use crate::chat::{ChatError, ChatErrorKind, ChatReply, ChatRequest, Usage, span};
use crate::check::{self, Violation};
use crate::prompt::{EvidenceTooLarge, Hide};
use crate::reply::{ReplyError, read_reply};

/// Wait before the second attempt, doubled before each further one, up to the longest.
const BACKOFF: Duration = Duration::from_millis(500);
const LONGEST_BACKOFF: Duration = Duration::from_secs(8);
/// A provider may ask for a longer wait: the report comes from the fallback then.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Characters of a reply that was no report, for a person.
const UNREAD: usize = 2_000;

/// What was wrong with an answer.
enum Unusable {
    Reply(ReplyError),
    Violation(Violation),
}

impl LlmTriager {
    pub(super) fn request(&self, user: String, timeout: Duration) -> ChatRequest {
        let mut request = ChatRequest::new(self.system.as_str(), user)
            .max_output_tokens(self.settings.max_output_tokens)
            .timeout(timeout);
        request.schema.clone_from(&self.schema);
        request
    }

    fn hide(&self) -> Hide<'_> {
        Hide { secrets: &self.redactor, names: &self.names }
    }

    /// The part of the prompt that is about this incident.
    pub(super) fn evidence(&self, request: &TriageRequest) -> Result<String, EvidenceTooLarge> {
        crate::prompt::user(request, &self.salt, self.settings.max_evidence_bytes, self.hide())
    }

    /// Attempts until `deadline`, a moment before the caller stops waiting: an attempt that runs out of time must be
    /// counted as such, by the breaker too, and not be dropped half-way.
    pub(super) async fn ask(
        &self,
        request: &TriageRequest,
        deadline: Timestamp,
        spent: &mut Spent,
    ) -> Result<Answer, AskError> {
        let evidence = self.evidence(request)?;
        // Closed only when the triager is gone.
        let _place = self.places.acquire().await.map_err(|_| AskError::Panicked)?;
        let mut correction = String::new();
        loop {
            spent.attempts += 1;
            let last = spent.attempts >= self.settings.attempts;
            let chat = self.request(format!("{evidence}{correction}"), self.settings.timeout);
            let attempts = spent.attempts;
            match self.attempt(&chat, request, deadline, spent).await? {
                Ok(reply) => {
                    let unusable = match self.read(&reply, request, &evidence) {
                        Ok(answer) => return Ok(answer),
                        Err(unusable) => unusable,
                    };
                    // A person may want to see what the model did write.
                    spent.unread = Some(text::clip(&self.redactor.redact(&reply.text).text, UNREAD));
                    correction = match unusable {
                        Unusable::Reply(source) if last || !source.is_retryable() => {
                            return Err(AskError::Reply { attempts, source });
                        }
                        Unusable::Violation(source) if last => return Err(AskError::Violation { attempts, source }),
                        Unusable::Reply(error) => correction_of(error.as_str(), error.place()),
                        Unusable::Violation(violation) => correction_of(violation.as_str(), None),
                    };
                }
                Err(source) => {
                    let wait = self.wait_after(&source, request, attempts);
                    let again = plus(self.clock.now(), wait);
                    if last || !source.is_retryable() || wait > LONGEST_WAIT || again >= deadline {
                        return Err(AskError::Chat { attempts, source });
                    }
                    self.clock.sleep_until(again).await;
                }
            }
        }
    }

    /// One attempt within the breaker and the budget, and what it took.
    async fn attempt(
        &self,
        chat: &ChatRequest,
        request: &TriageRequest,
        deadline: Timestamp,
        spent: &mut Spent,
    ) -> Result<Result<ChatReply, ChatError>, AskError> {
        let started = self.clock.now();
        self.breaker().admit(started)?;
        let most = self.most(chat);
        let cost = self.prices.cost(self.model.model(), most);
        let service = request.event.service.as_str();
        let reservation = self.spending.reserve(&self.settings.budget, service, most.total(), cost, started).await?;
        let until = plus(started, chat.timeout).min(deadline);
        let span = span::of(&*self.model, chat);
        let asked = self.model.complete(chat).instrument(span.clone());
        let outcome = guarded(&*self.clock, until, asked).await;
        let now = self.clock.now();
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(Fault::Panicked(_)) => {
                span.record("error.type", "panic");
                return Err(AskError::Panicked);
            }
            Err(_) => Err(ChatError::new(self.model.provider(), ChatErrorKind::Timeout)),
        };
        span::record(&span, &outcome);
        let usage = match &outcome {
            Ok(reply) => reply.usage,
            Err(error) => error.usage,
        };
        spent.usage = spent.usage.plus(usage);
        let cost = self.prices.cost(self.model.model(), usage);
        if cost.is_none() && usage.total() > 0 {
            metrics::counter!("aiops_llm_unpriced_total", "model" => self.model.model().to_owned()).increment(1);
        }
        spent.cost =
            if attempts_before(spent) == 0 { cost } else { spent.cost.zip(cost).map(|(one, other)| one + other) };
        // An attempt that ran out of time may have been served and billed: what was reserved for it stays taken.
        if !matches!(&outcome, Err(error) if error.kind == ChatErrorKind::Timeout && usage == Usage::default()) {
            reservation.settle(usage, cost).await;
        }
        let open = {
            let mut breaker = self.breaker();
            match &outcome {
                Ok(_) => breaker.answered(),
                Err(error) if breaker.failed(error, now) => {
                    metrics::counter!("aiops_llm_breaker_opened_total", "provider" => self.model.provider().to_owned())
                        .increment(1);
                    tracing::warn!(provider = self.model.provider(), why = error.kind.as_str(), "the breaker opens");
                }
                Err(_) => {}
            }
            breaker.is_open()
        };
        metrics::gauge!("aiops_llm_breaker_open", "provider" => self.model.provider().to_owned()).set(if open {
            1.0
        } else {
            0.0
        });
        self.record(&outcome, usage, since(now, started));
        Ok(outcome)
    }

    /// Metrics by OpenTelemetry's conventions for generative AI.
    fn record(&self, outcome: &Result<ChatReply, ChatError>, usage: Usage, took: Duration) {
        let (provider, model) = (self.model.provider().to_owned(), self.model.model().to_owned());
        let error = outcome.as_ref().err().map_or("", |error| error.kind.as_str());
        metrics::histogram!("gen_ai.client.operation.duration", "gen_ai.operation.name" => "chat", "gen_ai.provider.name" => provider.clone(), "gen_ai.request.model" => model.clone(), "error.type" => error)
            .record(took.as_secs_f64());
        for (kind, tokens) in [("input", usage.input_tokens), ("output", usage.output_tokens)] {
            metrics::histogram!("gen_ai.client.token.usage", "gen_ai.operation.name" => "chat", "gen_ai.provider.name" => provider.clone(), "gen_ai.request.model" => model.clone(), "gen_ai.token.type" => kind)
                .record(tokens as f64);
        }
    }

    /// The most that a request may take, before it is sent.
    pub(super) fn most(&self, chat: &ChatRequest) -> Usage {
        /// A token of English or JSON has four bytes; of ids and of other languages fewer.
        const BYTES: usize = 3;
        let schema = chat.schema.as_ref().map_or(0, |schema| schema.json().len());
        let bytes = chat.system.len() + chat.user.len() + schema;
        Usage::new((bytes / BYTES) as u64, u64::from(chat.max_output_tokens))
    }

    fn read(&self, reply: &ChatReply, request: &TriageRequest, evidence: &str) -> Result<Answer, Unusable> {
        let mut report: TriageReport =
            read_reply(&reply.text, reply.stop_reason.as_deref()).map_err(Unusable::Reply)?;
        check::bounds(&report).map_err(Unusable::Violation)?;
        let flags = check::examine(&mut report, request, &self.menu, evidence, &self.redactor);
        for flag in &flags {
            metrics::counter!("aiops_llm_flags_total", "flag" => flag.as_str()).increment(1);
        }
        report.summary = self.names.restore(&report.summary);
        report.likely_causes.iter_mut().for_each(|cause| *cause = self.names.restore(cause));
        Ok(Answer { report, flags, model: reply.model.clone() })
    }

    /// As the providers' own libraries wait, with a jitter that comes from the incident.
    fn wait_after(&self, error: &ChatError, request: &TriageRequest, attempt: u32) -> Duration {
        let backoff = BACKOFF.saturating_mul(1 << (attempt - 1).min(8)).min(LONGEST_BACKOFF);
        let hash = Fingerprint::of_raw(&format!("{}|{attempt}", request.incident_id));
        let share = hash.as_str().get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok()).unwrap_or_default();
        error.retry_after.unwrap_or_else(|| backoff.mul_f64(1.0 - 0.25 * f64::from(share) / 256.0))
    }
}

fn attempts_before(spent: &Spent) -> u32 {
    spent.attempts.saturating_sub(1)
}

/// A fixed text for each fault, with the place where there is one: nothing that a model wrote goes back into a prompt.
fn correction_of(fault: &str, place: Option<(usize, usize)>) -> String {
    if let Some((line, column)) = place {
        return format!("Your last answer was not usable: its JSON was broken at line {line}, column {column}.\n");
    }
    let fixed = match fault {
        "no_json" | "broken_json" | "several_objects" | "not_an_object" => {
            "Your last answer was not usable: it must be one JSON object and nothing else.\n"
        }
        "duplicate_key" => "Your last answer was not usable: a key stood in it twice.\n",
        "echoed_schema" => "Your last answer was not usable: it was the schema, not a report that follows it.\n",
        "missing_field" => "Your last answer was not usable: a key was missing.\n",
        "wrong_type" => {
            "Your last answer was not usable: a value had the wrong type, or confidence was not from 0 to 1.\n"
        }
        _ => "Your last answer was not usable: it was too long, or a text in it was empty.\n",
    };
    fixed.to_owned()
}
