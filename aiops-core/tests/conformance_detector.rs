//! The detector suite passes the bundled adaptors and fakes and catches broken detectors.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use aiops_core::jiff::Timestamp;
use aiops_core::testing::{ScriptedDetector, Violation, check_detector};
use aiops_core::{
    BoxError, DataState, DetectionEvent, Detector, DetectorError, Evaluation, EventKind, Identity, IdentityScheme,
    Severity, Sighting, Signal, SystemClock, Tick, detector_fn,
};
use async_trait::async_trait;

const EVERY: Duration = Duration::from_secs(30);

fn ticks() -> Vec<Tick> {
    let at = |second: i64| Timestamp::from_second(1_000_000_000 + second).unwrap();
    (0..3).map(|index| Tick::new(at(index * 30), at(index * 30 + 30))).collect()
}

fn firing(at: Timestamp) -> DetectionEvent {
    DetectionEvent::builder(EventKind::MetricAnomaly, "checkout", Severity::Warning, at, "test")
        .alertname("Slow")
        .label("cluster", "eu")
        .signal(Signal::new(2.0).expected(1.0).band(0.5, 1.5).score(4.0).threshold(3.0))
        .build()
}

fn identity() -> Identity {
    Identity::new(EventKind::MetricAnomaly, "checkout", "Slow")
}

async fn check(detector: impl Detector) -> Result<(), Violation> {
    check_detector(&detector, &IdentityScheme::default(), ticks()).await
}

#[tokio::test(start_paused = true)]
async fn the_bundled_detectors_pass() {
    let sees = |tick: Tick| async move {
        Ok::<_, BoxError>(Evaluation::new(vec![
            Sighting::Firing(Box::new(firing(tick.now))),
            Sighting::Normal(Identity::new(EventKind::LogBurst, "checkout", "Slow")),
            Sighting::Unknown(Identity::new(EventKind::MetricAnomaly, "cart", "Slow"), DataState::NoData),
        ]))
    };
    check(detector_fn("closure", EVERY, sees)).await.unwrap();
    let at = ticks()[0].now;
    check(ScriptedDetector::new("script", EVERY).then_firing(firing(at)).then_firing(firing(at))).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn two_clusters_are_one_identity_unless_the_scheme_says_otherwise() {
    let both = |tick: Tick| async move {
        let mut us = firing(tick.now);
        us.labels.insert("cluster".to_owned(), "us".to_owned());
        Ok(Evaluation::new(vec![Sighting::Firing(Box::new(firing(tick.now))), Sighting::Firing(Box::new(us))]))
    };
    let detector = detector_fn("both", EVERY, both);
    check_detector(&detector, &IdentityScheme::with_labels(["cluster"]), ticks()).await.unwrap();
    let violation = check(detector).await.unwrap_err();
    assert!(violation.contract.contains("one sighting for each identity"), "{violation}");
}

type See = fn(Tick) -> Vec<Sighting>;

#[tokio::test(start_paused = true)]
async fn broken_detectors_are_caught() {
    fn changed(tick: Tick, change: impl Fn(&mut DetectionEvent)) -> Vec<Sighting> {
        let mut event = firing(tick.now);
        change(&mut event);
        vec![Sighting::Firing(Box::new(event))]
    }
    let broken: [(See, &str); 11] = [
        (|tick| [changed(tick, |_| {}), vec![Sighting::Normal(identity())]].concat(), "one sighting"),
        (|tick| changed(tick, |event| event.signal.score = Some(f64::INFINITY)), "non-finite"),
        (|tick| changed(tick, |event| event.signal.band.as_mut().unwrap().low = f64::NAN), "non-finite"),
        (|tick| changed(tick, |event| event.episode_id = Some("ep-1".into())), "must not fill in"),
        (|tick| changed(tick, |event| event.incident_id = Some("inc-1".into())), "must not fill in"),
        (|tick| changed(tick, |event| event.repeats = 7), "must not fill in"),
        (|tick| changed(tick, |event| event.fingerprint = firing(Timestamp::MIN).fingerprint), "must not fill in"),
        (|tick| changed(tick, |event| event.status = aiops_core::Status::Resolved), "sees now"),
        (|_| vec![Sighting::Firing(Box::new(firing(aiops_core::Clock::now(&SystemClock))))], "reads no clock"),
        (|tick| changed(tick, |event| event.observed_at = Some(ticks()[2].deadline)), "reads no clock"),
        (|_| vec![Sighting::Unknown(identity(), DataState::Ok)], "nothing can be said"),
    ];
    for (see, line) in broken {
        let detector = detector_fn("broken", EVERY, move |tick| async move { Ok(Evaluation::new(see(tick))) });
        let violation = check(detector).await.unwrap_err();
        assert!(violation.contract.contains(line), "{line}: {violation}");
    }
}

/// Fails in the ways that a list of sightings cannot show.
#[derive(Debug)]
struct Broken {
    fault: Fault,
    busy: std::sync::atomic::AtomicBool,
}

#[derive(Debug, PartialEq)]
enum Fault {
    Nameless,
    NeverAsked,
    Hangs,
    StaysBusyAfterADrop,
}

#[async_trait]
impl Detector for Broken {
    fn name(&self) -> &str {
        if self.fault == Fault::Nameless { "" } else { "broken" }
    }

    fn every(&self) -> Duration {
        if self.fault == Fault::NeverAsked { Duration::ZERO } else { EVERY }
    }

    async fn evaluate(&self, _: Tick) -> Result<Evaluation, DetectorError> {
        match self.fault {
            Fault::Hangs => std::future::pending().await,
            Fault::StaysBusyAfterADrop if self.busy.swap(true, std::sync::atomic::Ordering::SeqCst) => {
                return Err(DetectorError::retryable("broken", "still evaluating"));
            }
            Fault::StaysBusyAfterADrop => {
                tokio::task::yield_now().await;
                self.busy.store(false, std::sync::atomic::Ordering::SeqCst);
            }
            _ => {}
        }
        Ok(Evaluation::default())
    }
}

#[tokio::test(start_paused = true)]
async fn detectors_that_hang_or_stay_broken_are_caught() {
    for (fault, line) in [
        (Fault::Nameless, "name"),
        (Fault::NeverAsked, "longer than nothing"),
        (Fault::Hangs, "before its deadline"),
        (Fault::StaysBusyAfterADrop, "stay usable"),
    ] {
        let violation = check(Broken { fault, busy: false.into() }).await.unwrap_err();
        assert!(violation.contract.contains(line), "{line}: {violation}");
    }
}
