//! Any bytes as Alertmanager's list of alerts, as its webhook, and as steps of rollouts: no panic, every request has an
//! answer, and what is kept is bounded.
#![no_main]

use std::cell::RefCell;

use aiops_core::{DeployLog, LogNotifier, Pipeline};
use aiops_detectors::client::AlertmanagerAlert;
use aiops_detectors::server::axum::Router;
use aiops_detectors::server::axum::body::Body;
use aiops_detectors::server::axum::http::Request;
use aiops_detectors::server::{AlertIntake, AllowEveryone, DeployIntake};
use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

/// More than a body of libFuzzer's has alerts.
const ROOM: usize = 4_096;

/// Both routers of a pipeline that reads nothing: for one input, as its buffer fills.
fn routers() -> (Pipeline, Router) {
    let pipeline = Pipeline::builder().intake(ROOM).notify(LogNotifier).build().unwrap();
    let alerts = AlertIntake::new(pipeline.intake(), AllowEveryone).router();
    (pipeline, alerts.merge(DeployIntake::new(DeployLog::new(4), AllowEveryone).router()))
}

thread_local! {
    static RUNTIME: RefCell<Runtime> = RefCell::new(Builder::new_current_thread().enable_time().build().unwrap());
}

fuzz_target!(|bytes: &[u8]| {
    let _ = AlertmanagerAlert::from_list_body(bytes);
    RUNTIME.with_borrow(|runtime| {
        let (_pipeline, router) = routers();
        for path in ["/alertmanager", "/deploys"] {
            let request = Request::post(path).header("content-type", "application/json");
            let request = request.body(Body::from(bytes.to_vec())).unwrap();
            let status = runtime.block_on(router.clone().oneshot(request)).unwrap().status();
            assert!([200, 400, 413, 422, 503].contains(&status.as_u16()), "{status}");
        }
    });
});
