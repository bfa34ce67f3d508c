//! The catalogue is held against the handlers both ways, before the first report.
#![allow(clippy::unwrap_used)]

use aiops_core::doctor::Check;
use aiops_core::{ActionHandler, Applied, Inspection, MemoryProbe, Precondition, handler_fn};
use aiops_remediate::{ActionCatalogue, Dispatcher, DispatcherBuilder, Policy};

fn handler(name: &str) -> impl ActionHandler {
    handler_fn(
        name,
        |_| async { Ok(Inspection::Ready { precondition: Precondition::default() }) },
        |_, _| async { Ok(Applied::new("done")) },
    )
}

fn dispatcher(actions: &[&str]) -> DispatcherBuilder {
    let entry =
        |name: &&str| format!("  - {{name: {name}, owner: shop, blast_radius: pod, requires_approval: false}}\n");
    let text = format!("actions:\n{}", actions.iter().map(entry).collect::<String>());
    let catalogue = ActionCatalogue::from_yaml(if actions.is_empty() { "actions: []\n" } else { &text }, "a.yaml");
    Dispatcher::builder(catalogue.unwrap(), Policy::default())
}

fn told(dispatcher: DispatcherBuilder) -> Vec<String> {
    dispatcher.build().unwrap().check_up().iter().map(Check::to_string).collect()
}

#[test]
fn catalogue_and_handlers_that_fit_are_one_line() {
    let fitting =
        dispatcher(&["restart_pod", "drain_node"]).handler(handler("drain_node")).handler(handler("restart_pod"));
    assert_eq!(told(fitting), ["ok    catalogue: 2 actions, each with its handler"]);
}

#[test]
fn an_action_without_a_handler_fails_and_a_handler_without_an_entry_warns() {
    let apart =
        dispatcher(&["restart_pod", "drain_node"]).handler(handler("drain_node")).handler(handler("Restart_pod"));
    assert_eq!(
        told(apart),
        [
            "FAIL  catalogue: action restart_pod has no handler; give the dispatcher one, or take the entry out: until then every report of it escalates",
            "warn  catalogue: handler Restart_pod has no entry; add the entry, or leave the handler out: it never runs",
        ]
    );
}

#[test]
fn a_precondition_needs_a_probe() {
    let text = "actions:\n  - name: restart_pod\n    owner: shop\n    blast_radius: pod\n    requires_approval: false\n    precondition: {probe: errors, above: 5}\n";
    let with = || {
        let catalogue = ActionCatalogue::from_yaml(text, "a.yaml").unwrap();
        Dispatcher::builder(catalogue, Policy::default()).handler(handler("restart_pod"))
    };
    let lines = told(with());
    assert!(
        lines[0].starts_with("FAIL  catalogue: action restart_pod has a precondition, and there is no probe; "),
        "{lines:?}"
    );
    assert_eq!(told(with().probe(MemoryProbe::default())), ["ok    catalogue: 1 actions, each with its handler"]);
}
