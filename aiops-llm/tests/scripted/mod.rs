//! A model that answers by a script, and a triager around it in virtual time.
#![allow(dead_code)] // each test file uses a part of it

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aiops_core::testing::{ManualClock, samples};
use aiops_core::{ActionMenu, ActionName, Clock, MenuEntry, Triage, TriageRequest, Triager, time};
use aiops_llm::{
    ChatError, ChatErrorKind, ChatModel, ChatReply, ChatRequest, LlmTriager, LlmTriagerBuilder, RuleTriager, Usage,
};

pub(crate) const GOOD: &str = r#"{"summary":"slow since v2","likely_causes":["v2 [deploy:1]"],"evidence":["deploy:1"],"recommended_actions":["restart_pod"],"confidence":0.9,"needs_human":false}"#;

pub(crate) type Turn = Result<ChatReply, (ChatErrorKind, &'static str)>;

/// Answers by a script, the last entry for ever; without one it hangs.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scripted {
    script: Arc<Mutex<VecDeque<Turn>>>,
    asked: Arc<Mutex<Vec<ChatRequest>>>,
}

impl Scripted {
    pub(crate) fn new(turns: impl IntoIterator<Item = Turn>) -> Self {
        Self { script: Arc::new(Mutex::new(turns.into_iter().collect())), ..Self::default() }
    }

    pub(crate) fn asked(&self) -> Vec<ChatRequest> {
        self.asked.lock().unwrap().clone()
    }
}

#[async_trait::async_trait]
impl ChatModel for Scripted {
    fn provider(&self) -> &str {
        "scripted"
    }

    fn model(&self) -> &str {
        "scripted-1"
    }

    async fn complete(&self, request: &ChatRequest) -> Result<ChatReply, ChatError> {
        self.asked.lock().unwrap().push(request.clone());
        tokio::task::yield_now().await;
        let turn = {
            let mut script = self.script.lock().unwrap();
            if script.len() > 1 { script.pop_front() } else { script.front().cloned() }
        };
        match turn {
            Some(Ok(reply)) => Ok(reply),
            Some(Err((kind, reason))) => Err(ChatError::new("scripted", kind).reason(reason).usage(Usage::new(7, 0))),
            None => std::future::pending().await,
        }
    }
}

pub(crate) fn say(text: &str) -> Turn {
    Ok(ChatReply::new(text, "stop").usage(Usage::new(100, 10)))
}

pub(crate) fn cut(text: &str) -> Turn {
    Ok(ChatReply::new(text, "max_tokens").usage(Usage::new(100, 4_096)))
}

pub(crate) fn menu() -> ActionMenu {
    ActionMenu::new(vec![MenuEntry::new(ActionName::new("restart_pod").unwrap(), "restarts the pod")])
}

pub(crate) fn clock() -> ManualClock {
    ManualClock::at_second(1_000_000)
}

pub(crate) fn builder(model: &Scripted, clock: &ManualClock) -> LlmTriagerBuilder {
    LlmTriager::builder(model.clone(), menu()).with_clock(clock.clone()).salt("test").fallback(RuleTriager::default())
}

pub(crate) fn request(clock: &ManualClock) -> TriageRequest {
    let mut request = samples::request(samples::event("checkout", "a", clock.now()));
    request.deadline = time::plus(request.now, Duration::from_secs(120));
    request
}

/// The answer, with the clock moving on whenever everybody sleeps.
pub(crate) async fn ask(triager: &LlmTriager, clock: &ManualClock, request: &TriageRequest) -> Triage {
    let moving = async {
        loop {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            if let Some(at) = clock.next_wake() {
                clock.set(at.max(clock.now()));
            }
        }
    };
    tokio::select! {
        biased;
        triage = triager.triage(request) => triage.unwrap(),
        () = moving => unreachable!(),
    }
}

pub(crate) async fn one(turns: impl IntoIterator<Item = Turn>) -> (Triage, Vec<ChatRequest>) {
    let (clock, model) = (clock(), Scripted::new(turns));
    let triage = ask(&builder(&model, &clock).build().unwrap(), &clock, &request(&clock)).await;
    (triage, model.asked())
}

pub(crate) fn reason(triage: &Triage) -> &str {
    triage.provenance.fallback_reason.as_deref().unwrap_or_default()
}
