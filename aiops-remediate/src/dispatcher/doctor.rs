//! Whether catalogue and handlers belong together.

use aiops_core::doctor::Check;

use super::Dispatcher;

const ABOUT: &str = "catalogue";

impl Dispatcher {
    /// Holds the catalogue against the handlers, both ways, and its preconditions against the probe, without touching
    /// anything. One check for each that has no counterpart, else one that all is well; for a host's start, where no
    /// report has come yet.
    #[must_use]
    pub fn check_up(&self) -> Vec<Check> {
        let catalogue = self.catalogue.load();
        let mut checks = Vec::new();
        for spec in catalogue.specs() {
            let name = spec.name.as_str();
            if !self.handlers.contains_key(name) {
                let advice = "give the dispatcher one, or take the entry out: until then every report of it escalates";
                checks.push(Check::fail(ABOUT, &format!("action {name} has no handler"), advice));
            }
            if spec.precondition.is_some() && self.probe.is_none() {
                let says = format!("action {name} has a precondition, and there is no probe");
                checks.push(Check::fail(
                    ABOUT,
                    &says,
                    "give the dispatcher one: until then every report of it escalates",
                ));
            }
        }
        let mut strangers: Vec<&String> = self.handlers.keys().filter(|name| catalogue.get(name).is_none()).collect();
        strangers.sort();
        for name in strangers {
            let says = format!("handler {name} has no entry");
            checks.push(Check::warn(ABOUT, &says, "add the entry, or leave the handler out: it never runs"));
        }
        let actions = catalogue.specs().len();
        if actions == 0 {
            checks.push(Check::warn(ABOUT, "it has no action", "add one: until then every report goes to a person"));
        }
        if checks.is_empty() {
            checks.push(Check::ok(ABOUT, &format!("{actions} actions, each with its handler")));
        }
        checks
    }
}
