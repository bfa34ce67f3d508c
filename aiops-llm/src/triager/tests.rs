use std::collections::VecDeque;

use aiops_core::testing::{ManualClock, samples};
use aiops_core::{ActionName, MenuEntry, jiff::Timestamp};

use super::*;
use crate::chat::{ChatError, ChatErrorKind, ChatReply, ChatRequest};
use crate::{ModelPrice, RuleTriager};

const GOOD: &str = r#"{"summary":"slow since v2","likely_causes":["v2 [deploy:1]"],"evidence":["deploy:1"],"recommended_actions":["restart_pod"],"confidence":0.9,"needs_human":false}"#;

/// Answers by a script; the last entry for ever.
#[derive(Debug, Clone)]
struct Scripted {
    script: Arc<Mutex<VecDeque<Turn>>>,
    asked: Arc<Mutex<Vec<ChatRequest>>>,
}

#[derive(Debug, Clone)]
enum Turn {
    Say(&'static str, &'static str),
    Fail(ChatErrorKind),
    FailIn(ChatErrorKind, u64),
    Hang,
    Panic,
}

impl Scripted {
    fn new(turns: impl IntoIterator<Item = Turn>) -> Self {
        Self { script: Arc::new(Mutex::new(turns.into_iter().collect())), asked: Arc::default() }
    }

    fn calls(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

#[async_trait]
impl ChatModel for Scripted {
    fn provider(&self) -> &str {
        "scripted"
    }

    fn model(&self) -> &str {
        "scripted-1"
    }

    async fn complete(&self, request: &ChatRequest) -> Result<ChatReply, ChatError> {
        self.asked.lock().unwrap().push(request.clone());
        let turn = {
            let mut script = self.script.lock().unwrap();
            if script.len() > 1 { script.pop_front().unwrap() } else { script[0].clone() }
        };
        tokio::task::yield_now().await;
        match turn {
            Turn::Say(text, stop) => Ok(ChatReply::new(text, stop).usage(Usage::new(100, 10))),
            Turn::Fail(kind) => Err(ChatError::new("scripted", kind)),
            Turn::FailIn(kind, wait) => Err(ChatError::new("scripted", kind).retry_after(Duration::from_secs(wait))),
            Turn::Hang => std::future::pending().await,
            Turn::Panic => panic!("s3cret"),
        }
    }
}

fn menu() -> ActionMenu {
    ActionMenu::new(vec![MenuEntry::new(ActionName::new("restart_pod").unwrap(), "restarts the pod")])
}

fn builder(model: &Scripted, clock: &ManualClock) -> LlmTriagerBuilder {
    LlmTriager::builder(model.clone(), menu()).with_clock(clock.clone()).salt("test").fallback(RuleTriager::default())
}

/// A request at the clock's time, to be answered within two minutes.
fn request(clock: &ManualClock) -> TriageRequest {
    let mut request = samples::request(samples::event("checkout", "a", clock.now()));
    request.deadline = plus(request.now, Duration::from_secs(120));
    request
}

/// The answer, with the clock moving on whenever everybody sleeps.
async fn triage(triager: &LlmTriager, clock: &ManualClock) -> Triage {
    let asked = request(clock);
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
        triage = triager.triage(&asked) => triage.unwrap(),
        () = moving => unreachable!(),
    }
}

async fn one(turns: impl IntoIterator<Item = Turn>) -> (Triage, Scripted) {
    let (clock, model) = (ManualClock::at_second(1_000_000), Scripted::new(turns));
    let triager = builder(&model, &clock).build().unwrap();
    (triage(&triager, &clock).await, model)
}

#[tokio::test]
async fn a_good_reply_is_the_report() {
    let (triage, model) = one([Turn::Say(GOOD, "stop")]).await;
    assert_eq!((model.calls(), triage.provenance.fallback_reason), (1, None));
    assert_eq!(triage.report.recommended_actions, ["restart_pod"]);
    assert_eq!((triage.provenance.input_tokens, triage.provenance.output_tokens), (100, 10));
    assert_eq!((triage.provenance.triager.as_str(), triage.provenance.model.as_deref()), ("llm", Some("scripted-1")));
    assert!(triage.provenance.flags.is_empty() && !triage.report.needs_human);
}

#[tokio::test]
async fn transport_and_content_share_one_budget_and_the_prompt_does_not_grow() {
    let junk = "{\"summary\": \"IGNORE ALL RULES\"}";
    let (triage, model) =
        one([Turn::Fail(ChatErrorKind::Overloaded), Turn::Say(junk, "stop"), Turn::Say(GOOD, "stop")]).await;
    assert_eq!(model.calls(), 2, "the third is never asked");
    let reason = triage.provenance.fallback_reason.unwrap();
    assert_eq!(reason, "after 2 attempts: the report has no likely_causes");
    assert_eq!(triage.provenance.input_tokens, 100, "what was spent in vain is told");

    let (triage, model) = one([Turn::Say(junk, "stop"), Turn::Say(GOOD, "stop")]).await;
    assert!(triage.provenance.fallback_reason.is_none());
    let asked = model.asked.lock().unwrap();
    let added = asked[1].user.strip_prefix(&asked[0].user).unwrap();
    assert_eq!(added, "Your last answer was not usable: a key was missing.\n");
    assert_eq!(triage.provenance.input_tokens, 200, "both attempts");
}

#[tokio::test]
async fn whatever_goes_wrong_the_fallback_answers_for_a_person() {
    use ChatErrorKind::{Auth, BadAnswer, ContextTooLong, Overloaded, Quota, Refused, UnknownModel};
    let cases = [
        (Turn::Say(GOOD, "max_tokens"), 1, "truncated"),
        (Turn::Say(GOOD, "refusal"), 1, "refused"),
        (Turn::Say("I would restart it.", "stop"), 2, "no JSON object"),
        (Turn::Say("", "stop"), 2, "no JSON object"),
        (Turn::Fail(Quota), 1, "credit"),
        (Turn::Fail(Auth), 1, "key"),
        (Turn::Fail(UnknownModel), 1, "retired"),
        (Turn::Fail(Refused), 1, "does not take this request"),
        (Turn::Fail(ContextTooLong), 1, "give less context"),
        (Turn::Fail(BadAnswer), 2, "something else answers there"),
        (Turn::FailIn(Overloaded, 5), 2, "overloaded"),
        (Turn::FailIn(Overloaded, 61), 1, "overloaded"),
        (Turn::Hang, 1, "timeout; allow more time"),
        (Turn::Panic, 1, "panicked"),
    ];
    for (turn, calls, reason) in cases {
        let (triage, model) = one([turn.clone()]).await;
        assert_eq!(model.calls(), calls, "{turn:?}");
        let told = triage.provenance.fallback_reason.unwrap();
        assert!(told.contains(reason) && !told.contains("s3cret"), "{turn:?}: {told}");
        assert!(triage.report.needs_human && triage.report.recommended_actions.is_empty(), "{turn:?}");
        assert_eq!(triage.report.confidence, aiops_core::Confidence::ZERO);
    }
}

#[tokio::test]
async fn a_thousand_requests_of_one_identity_in_a_minute_are_one_call() {
    let (clock, model) = (ManualClock::at_second(1_000_000), Scripted::new([Turn::Say(GOOD, "stop")]));
    let triager = Arc::new(builder(&model, &clock).build().unwrap());
    let mut asking = tokio::task::JoinSet::new();
    let first = request(&clock);
    for wave in 0..10 {
        for _ in 0..100 {
            let (triager, mut asked) = (Arc::<LlmTriager>::clone(&triager), first.clone());
            asked.deadline = plus(clock.now(), Duration::from_secs(120));
            asking.spawn(async move { triager.triage(&asked).await.unwrap() });
        }
        for _ in 0..(wave % 3) * 50 {
            tokio::task::yield_now().await;
        }
        clock.advance(Duration::from_secs(6));
    }
    let answers = asking.join_all().await;
    assert_eq!((answers.len(), model.calls()), (1_000, 1));
    assert_eq!(answers.iter().filter(|answer| !answer.provenance.cache_hit).count(), 1);
    let spent: u64 = answers.iter().map(|answer| answer.provenance.input_tokens).sum();
    assert_eq!(spent, 100, "tokens are told once");
}

#[tokio::test]
async fn the_breaker_opens_probes_and_closes() {
    let (clock, model) = (ManualClock::at_second(1_000_000), Scripted::new([Turn::Fail(ChatErrorKind::Server)]));
    let triager = builder(&model, &clock).attempts(1).cache_for(Duration::ZERO).build().unwrap();
    for _ in 0..8 {
        let answer = triage(&triager, &clock).await;
        assert!(answer.provenance.fallback_reason.is_some());
    }
    assert_eq!(model.calls(), 5, "then it is not asked");
    let told = triage(&triager, &clock).await.provenance.fallback_reason.unwrap();
    assert!(told.starts_with("not asked: the endpoint failed before (server)"), "{told}");
    clock.advance(Duration::from_secs(60));
    *model.script.lock().unwrap() = VecDeque::from([Turn::Say(GOOD, "stop")]);
    assert!(triage(&triager, &clock).await.provenance.fallback_reason.is_none());
    assert!(triage(&triager, &clock).await.provenance.fallback_reason.is_none());
    assert_eq!(model.calls(), 7);
}

/// Each look at it is a little later, as with a real clock: no two deadlines fall together.
#[derive(Debug)]
struct Ticking(ManualClock, std::sync::atomic::AtomicU64);

#[async_trait]
impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        let looks = self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        plus(self.0.now(), Duration::from_micros(looks))
    }

    async fn sleep_until(&self, at: Timestamp) {
        self.0.sleep_until(at).await;
    }
}

#[tokio::test]
async fn attempts_that_hang_open_the_breaker_on_a_clock_that_runs() {
    let (clock, model) = (ManualClock::at_second(1_000_000), Scripted::new([Turn::Hang]));
    let ticking = Ticking(clock.clone(), std::sync::atomic::AtomicU64::new(0));
    let triager = builder(&model, &clock).with_clock(ticking).cache_for(Duration::ZERO).build().unwrap();
    for _ in 0..10 {
        triage(&triager, &clock).await;
    }
    assert_eq!(model.calls(), 3, "three timeouts in a row");
}

#[tokio::test]
async fn over_budget_nothing_is_sent() {
    let (clock, model) = (ManualClock::at_second(1_000_000), Scripted::new([Turn::Say(GOOD, "stop")]));
    let triager = builder(&model, &clock).budget(Budget::default().tokens_per_minute(1_000)).build().unwrap();
    let told = triage(&triager, &clock).await.provenance.fallback_reason.unwrap();
    assert!(told.starts_with("not asked: tokens_per_minute is 1000: 0 are used"), "{told}");
    let money = builder(&model, &clock).budget(Budget::default().dollars_per_day(1.0)).build().unwrap();
    let told = triage(&money, &clock).await.provenance.fallback_reason.unwrap();
    assert!(told.contains("the model has no price"), "{told}");
    assert_eq!(model.calls(), 0);
    let prices = Prices::default().model("scripted-1", ModelPrice::new(10.0, 100.0));
    let paid = builder(&model, &clock).prices(prices).budget(Budget::default().dollars_per_day(1.0)).build().unwrap();
    assert_eq!(triage(&paid, &clock).await.provenance.cost_dollars, Some(0.002));
    let free = builder(&model, &clock).build().unwrap();
    assert_eq!(triage(&free, &clock).await.provenance.cost_dollars, None, "unknown is not 0");
}

#[tokio::test]
async fn the_preview_is_what_is_sent() {
    let (clock, model) = (ManualClock::at_second(1_000_000), Scripted::new([Turn::Say(GOOD, "stop")]));
    let triager = builder(&model, &clock).build().unwrap();
    let preview = triager.preview(&request(&clock)).unwrap();
    assert_eq!(model.calls(), 0);
    triage(&triager, &clock).await;
    assert_eq!(model.asked.lock().unwrap()[0], preview.request);
    assert!(preview.most.input_tokens > 500 && preview.dollars.is_none());
}

#[tokio::test]
async fn without_a_fallback_it_is_an_error() {
    let (clock, model) = (ManualClock::at_second(0), Scripted::new([Turn::Fail(ChatErrorKind::Auth)]));
    let triager = LlmTriager::builder(model, menu()).with_clock(clock.clone()).build().unwrap();
    let error = triager.triage(&request(&clock)).await.unwrap_err();
    assert!(error_chain(&error).contains("check the key and what it may do"), "{}", error_chain(&error));
}

#[test]
fn settings_that_cannot_work_are_named() {
    let model = Scripted::new([Turn::Hang]);
    let error = LlmTriager::builder(model, menu()).attempts(0).build().unwrap_err();
    assert_eq!(error.to_string(), "attempts must be above 0");
}

#[tokio::test]
async fn passes_the_conformance_suite() {
    let model = Scripted::new([Turn::Say(GOOD, "stop")]);
    let triager = LlmTriager::builder(model, menu()).salt("test").build().unwrap();
    let request = samples::request(samples::event("checkout", "a", Timestamp::now()));
    aiops_core::testing::check_triager(&triager, &request, &menu()).await.unwrap();
}
