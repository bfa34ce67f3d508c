//! Watches of the double.

use std::sync::Arc;

use aiops_remediate::kubernetes::kube::client::Body;
use http::Response;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::call::Call;
use super::double::{Double, State};

impl Double {
    /// Events after the version that is asked for, as soon as there are any; then the server ends the watch.
    pub(crate) async fn watch(&self, call: &Call) -> Response<Body> {
        let since: u64 = call.query["resourceVersion"].parse().unwrap();
        if self.state(|state| state.server.silent) {
            std::future::pending::<()>().await;
        }
        loop {
            let changed = self.state(|state| Arc::<Notify>::clone(&state.changed));
            let changed = changed.notified();
            let lines = self.state(|state| state.events(call, since));
            if !lines.is_empty() {
                return Response::builder().status(200).body(Body::from(lines.into_bytes())).unwrap();
            }
            changed.await;
        }
    }
}

impl State {
    fn events(&self, call: &Call, since: u64) -> String {
        if since < self.forgotten {
            let message = format!("too old resource version: {since} ({})", self.forgotten);
            let status =
                json!({"kind": "Status", "status": "Failure", "reason": "Expired", "message": message, "code": 410});
            return format!("{}\n", json!({"type": "ERROR", "object": status}));
        }
        let here = |object: &Value| call.namespace.is_empty() || object["metadata"]["namespace"] == *call.namespace;
        let seen = |(version, _, plural, object): &&(u64, &'static str, String, Value)| {
            *version > since && *plural == call.plural && here(object)
        };
        let events = self.history.iter().filter(seen);
        events.map(|(_, kind, _, object)| format!("{}\n", json!({"type": kind, "object": object}))).collect()
    }

    /// Forgets what happened so far, as a server does after five minutes.
    pub(crate) fn forget(&mut self) {
        self.history.clear();
        self.forgotten = self.version;
        self.changed.notify_waiters();
    }
}
