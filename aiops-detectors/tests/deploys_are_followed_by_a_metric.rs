//! A deploy log that is fed from a metric knows when deploys began and ended.
#![allow(clippy::unwrap_used, clippy::single_range_in_vec_init)] // helpers; deploys are ranges

use std::time::Duration;

use aiops_core::{Deploy, DeployLog, Detector, Tick};
use aiops_detectors::jiff::Timestamp;
use aiops_detectors::{DeployMetric, Labels, MemorySource, Sample, Series};
use proptest::prelude::*;

const STEP: i64 = 30;

fn at(step: i64) -> Timestamp {
    Timestamp::from_second(1_795_564_800 + step * STEP).unwrap()
}

/// A series that says 1 in the steps of `runs`, and is there in `known`.
fn series(labels: &[(&str, &str)], known: std::ops::Range<i64>, runs: &[std::ops::Range<i64>]) -> Series {
    let labels: Labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let value = |step: i64| f64::from(u8::from(runs.iter().any(|runs| runs.contains(&step))));
    Series::new(labels, known.map(|step| Sample { at: at(step), value: value(step) }).collect())
}

async fn follow(source: MemorySource, steps: impl Iterator<Item = i64>) -> DeployLog {
    let log = DeployLog::default();
    let deploys = DeployMetric::new(source, log.clone());
    for step in steps {
        let seen = deploys.evaluate(Tick::new(at(step), at(step + 1))).await.unwrap();
        assert!(seen.sightings.is_empty());
    }
    log
}

fn times(log: &DeployLog, service: &str) -> Vec<(Option<Timestamp>, Option<Timestamp>)> {
    let mut times: Vec<_> =
        log.deploys(&service.into()).iter().map(|deploy: &Deploy| (deploy.started, deploy.completed)).collect();
    times.sort();
    times
}

#[tokio::test]
async fn each_deploy_begins_and_ends_once_however_often_it_is_read() {
    let source = || {
        MemorySource::new(
            "deploy_in_progress",
            vec![
                series(&[("service", "cart"), ("version", "1.4"), ("cluster", "a")], 0..200, &[10..20, 90..95]),
                series(&[("service", "cart"), ("cluster", "b")], 0..200, &[15..30]),
                series(&[("service", "web")], 0..200, &[150..500]),
                series(&[], 0..200, &[5..10]),
            ],
        )
    };
    for every in [1, 3, 60] {
        let log = follow(source(), (1..=200).filter(|step| step % every == 0)).await;
        // Both clusters are one deploy, from the first that began to the last that ended.
        let cart = [(Some(at(10)), Some(at(30))), (Some(at(90)), Some(at(95)))];
        assert_eq!(times(&log, "cart"), cart, "every {every}");
        assert_eq!(times(&log, "web"), [(Some(at(150)), None)], "it still runs");
        assert_eq!(
            log.deploys(&"cart".into()).iter().filter(|deploy| deploy.version.as_deref() == Some("1.4")).count(),
            2
        );
    }
}

#[tokio::test]
async fn a_deploy_whose_job_died_has_no_end_and_the_next_one_is_another() {
    let dead = series(&[("service", "cart")], 0..20, &[10..20]);
    let next = series(&[("service", "cart"), ("run", "2")], 300..320, &[305..310]);
    let log = follow(MemorySource::new("d", vec![dead, next]), 1..=320).await;
    assert_eq!(times(&log, "cart"), [(Some(at(10)), None), (Some(at(305)), Some(at(310)))]);
}

#[tokio::test]
async fn a_deploy_that_runs_at_the_start_is_known() {
    let running = series(&[("service", "cart")], 0..500, &[190..210]);
    let log = follow(MemorySource::new("d", vec![running]), 200..=220).await;
    assert_eq!(times(&log, "cart"), [(Some(at(190)), Some(at(210)))]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn two_replicas_tell_the_same_deploys(flips in prop::collection::vec(1i64..12, 1..20), other in 2i64..9) {
        let (mut runs, mut step) = (Vec::new(), 0);
        for pair in flips.chunks_exact(2) {
            runs.push(step + pair[0]..step + pair[0] + pair[1]);
            step += pair[0] + pair[1];
        }
        let source = || MemorySource::new("d", vec![series(&[("service", "cart")], 0..250, &runs)]);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let read = |every: i64| runtime.block_on(follow(source(), (1..=250).filter(|step| step % every == 0 || *step == 250)));
        let ids = |log: &DeployLog| log.deploys(&"cart".into());
        prop_assert_eq!(ids(&read(1)), ids(&read(other)));
        let deploys = times(&read(1), "cart");
        // Those next to each other are one.
        prop_assert!(deploys.iter().all(|(started, ended)| ended.is_none_or(|ended| started.unwrap() + Duration::from_secs(STEP as u64) <= ended)));
    }
}
