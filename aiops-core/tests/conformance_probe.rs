//! The probe suite passes the bundled probe and catches broken ones.

use aiops_core::jiff::Timestamp;
use aiops_core::testing::check_probe;
use aiops_core::{DataState, MemoryProbe, Probe, ProbeError, ProbeQuery, Reading};
use async_trait::async_trait;

fn question(what: &str) -> ProbeQuery {
    ProbeQuery::new(what, Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH)
}

#[tokio::test(start_paused = true)]
async fn the_bundled_probe_passes() {
    let probe = MemoryProbe::default();
    probe.set("nodes_ready", 3.0);
    check_probe(&probe, question("nodes_ready"), question("no_such")).await.unwrap();
}

#[derive(Debug)]
struct Broken(fn(&ProbeQuery) -> Reading);

#[async_trait]
impl Probe for Broken {
    async fn read(&self, query: &ProbeQuery) -> Result<Reading, ProbeError> {
        Ok(self.0(query))
    }
}

#[tokio::test(start_paused = true)]
async fn broken_probes_are_caught() {
    fn nothing_as_zero(query: &ProbeQuery) -> Reading {
        Reading::ok(if query.what == "known" { 3.0 } else { 0.0 }, query.now)
    }
    fn value_beside_no_data(query: &ProbeQuery) -> Reading {
        let mut reading = Reading::ok(3.0, query.now);
        if query.what != "known" {
            reading.state = DataState::Stale;
        }
        reading
    }
    fn infinite(query: &ProbeQuery) -> Reading {
        let mut reading = Reading::ok(3.0, query.now);
        reading.value = Some(f64::INFINITY);
        reading
    }
    fn from_the_future(query: &ProbeQuery) -> Reading {
        Reading::ok(3.0, aiops_core::time::plus(query.now, std::time::Duration::from_secs(1)))
    }
    for (read, line) in [
        (nothing_as_zero as fn(&ProbeQuery) -> Reading, "never 0"),
        (value_beside_no_data, "never the last one"),
        (infinite, "finite"),
        (from_the_future, "when the number was true"),
    ] {
        let violation = check_probe(&Broken(read), question("known"), question("unknown")).await.unwrap_err();
        assert!(violation.contract.contains(line), "{violation}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hanging_probe_is_caught() {
    #[derive(Debug)]
    struct Hangs;

    #[async_trait]
    impl Probe for Hangs {
        async fn read(&self, _: &ProbeQuery) -> Result<Reading, ProbeError> {
            std::future::pending().await
        }
    }
    let violation = check_probe(&Hangs, question("known"), question("unknown")).await.unwrap_err();
    assert!(violation.contract.contains("deadline"), "{violation}");
}
