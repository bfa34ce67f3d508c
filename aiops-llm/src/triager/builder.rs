//! Builds an [`LlmTriager`].

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aiops_core::{ActionMenu, Clock, Placeholders, Redactor, StateStore, SystemClock, Triager};
use tokio::sync::Semaphore;

use super::{InvalidTriager, LlmTriager, Settings};
use crate::chat::ChatModel;
use crate::limits::{Breaker, Budget, Flight, Prices, Spending};
use crate::prompt;
use crate::schema::{bounded_report_schema, report_schema};

/// Builds an [`LlmTriager`].
#[derive(Debug)]
#[must_use]
pub struct LlmTriagerBuilder {
    model: Arc<dyn ChatModel>,
    menu: ActionMenu,
    fallback: Option<Arc<dyn Triager>>,
    settings: Settings,
    prices: Prices,
    redactor: Redactor,
    names: Placeholders,
    at_once: usize,
    bounded: bool,
    clock: Arc<dyn Clock>,
    salt: Option<String>,
    account: Option<(Arc<dyn StateStore>, String)>,
}

impl LlmTriagerBuilder {
    pub(super) fn new(model: Arc<dyn ChatModel>, menu: ActionMenu) -> Self {
        Self {
            model,
            menu,
            fallback: None,
            settings: Settings {
                budget: Budget::default(),
                max_evidence_bytes: prompt::MAX_EVIDENCE,
                max_output_tokens: 4_096,
                attempts: 2,
                timeout: Duration::from_secs(30),
                reserve: Duration::from_secs(2),
                ttl: Duration::from_secs(600),
            },
            prices: Prices::default(),
            redactor: Redactor::default(),
            names: Placeholders::default(),
            at_once: 2,
            bounded: false,
            clock: Arc::new(SystemClock),
            salt: None,
            account: None,
        }
    }

    /// Who answers where the model does not. Its actions are dropped: what rules and no model recommend is for a
    /// person.
    pub fn fallback(mut self, fallback: impl Triager) -> Self {
        self.fallback = Some(Arc::new(fallback));
        self
    }

    /// Tokens and money that may be used.
    pub fn budget(mut self, budget: Budget) -> Self {
        self.settings.budget = budget;
        self
    }

    /// Counts what is used in a store, under the name of an account: for replicas that share one budget, and for
    /// a budget that a restart does not give again. A store that does not answer within 2 s is not waited for: then
    /// each replica goes by what it knows, and pays in what it used once the store is back.
    pub fn account(mut self, store: impl StateStore, name: impl Into<String>) -> Self {
        self.account = Some((Arc::new(store), name.into()));
        self
    }

    /// What tokens cost. Without the model's price the cost of a report is unknown.
    pub fn prices(mut self, prices: Prices) -> Self {
        self.prices = prices;
        self
    }

    /// What takes secrets out of prompts and reports (default: all of [`Redactor::default`]'s kinds).
    pub fn redactor(mut self, redactor: Redactor) -> Self {
        self.redactor = redactor;
        self
    }

    /// Names of the infrastructure that the provider is not told: a prompt has placeholders for them, and the report
    /// has the names again.
    pub fn placeholders(mut self, names: Placeholders) -> Self {
        self.names = names;
        self
    }

    /// Bytes of evidence in a prompt at the most (default 16 KiB, some 5,000 tokens).
    pub fn max_evidence_bytes(mut self, bytes: usize) -> Self {
        self.settings.max_evidence_bytes = bytes;
        self
    }

    /// Tokens of a reply at the most, thoughts included (default 4,096).
    pub fn max_output_tokens(mut self, tokens: u32) -> Self {
        self.settings.max_output_tokens = tokens;
        self
    }

    /// Attempts for one report (default 2), for failures of transport and of content together.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.settings.attempts = attempts;
        self
    }

    /// How long one report may take, all attempts together (default 30 s).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.settings.timeout = timeout;
        self
    }

    /// How much of the request's own deadline is kept for the fallback (default 2 s).
    pub fn reserve(mut self, reserve: Duration) -> Self {
        self.settings.reserve = reserve;
        self
    }

    /// How long an answer serves others with the same question (default 10 min).
    pub fn cache_for(mut self, ttl: Duration) -> Self {
        self.settings.ttl = ttl;
        self
    }

    /// Requests at a time (default 2).
    pub fn at_once(mut self, requests: usize) -> Self {
        self.at_once = requests;
        self
    }

    /// Bounds on lengths in the schema, for local servers whose small models go on for ever otherwise; the Messages API
    /// refuses them.
    pub fn bounded_schema(mut self) -> Self {
        self.bounded = true;
        self
    }

    /// Another clock.
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// What makes the marks around evidence unguessable; from the system's randomness unless set. Equal salts make
    /// equal prompts, which recorded replies need.
    pub fn salt(mut self, salt: impl Into<String>) -> Self {
        self.salt = Some(salt.into());
        self
    }

    /// The triager.
    ///
    /// # Errors
    /// [`InvalidTriager`]: a menu that no schema holds, or a setting that is 0.
    pub fn build(self) -> Result<LlmTriager, InvalidTriager> {
        let settings = self.settings;
        let zero = [
            ("max_evidence_bytes", settings.max_evidence_bytes == 0),
            ("max_output_tokens", settings.max_output_tokens == 0),
            ("attempts", settings.attempts == 0),
            ("timeout", settings.timeout.is_zero()),
            ("at_once", self.at_once == 0),
        ];
        if let Some((setting, _)) = zero.into_iter().find(|(_, zero)| *zero) {
            return Err(InvalidTriager::Zero { setting });
        }
        let schema = if self.bounded { bounded_report_schema(&self.menu)? } else { report_schema(&self.menu)? };
        let system = prompt::system(&self.menu);
        // Two hashers of the standard library are seeded by the system: 128 bits.
        let random = || format!("{:016x}{:016x}", RandomState::new().hash_one(0), RandomState::new().hash_one(1));
        let spending = self.account.map_or_else(Spending::default, |(store, name)| {
            Spending::shared(store, &name, Arc::<dyn Clock>::clone(&self.clock))
        });
        Ok(LlmTriager {
            model: self.model,
            menu: self.menu,
            version: prompt::version(&system),
            system,
            schema: Some(Arc::new(schema)),
            fallback: self.fallback,
            settings,
            prices: self.prices,
            redactor: self.redactor,
            names: self.names,
            clock: self.clock,
            salt: self.salt.unwrap_or_else(random),
            breaker: Mutex::new(Breaker::default()),
            spending,
            flight: Flight::default(),
            places: Semaphore::new(self.at_once.min(Semaphore::MAX_PERMITS)),
        })
    }
}
