//! Planted bugs: each is one place where the code does the wrong thing, in a build that asks for it with
//! `--cfg sim_mutant="NAME"`. The simulation must find each of them; `.ci/mutants` tries all.
//!
//! `--cfg sim_mutant="any"` has all of them in one build, and the environment variable `SIM_MUTANT` names the
//! one that is there. Without the flag there is none, and no check for one.

/// Whether this bug is planted.
#[cfg(not(sim_mutant = "any"))]
macro_rules! mutant {
    ($name:tt) => {
        cfg!(sim_mutant = $name)
    };
}

/// Whether this bug is planted.
#[cfg(sim_mutant = "any")]
macro_rules! mutant {
    ($name:tt) => {
        $crate::mutant::picked($name)
    };
}

pub(crate) use mutant;

/// Whether the environment names this bug.
#[cfg(sim_mutant = "any")]
pub(crate) fn picked(name: &str) -> bool {
    use std::sync::LazyLock;
    static PICKED: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("SIM_MUTANT").ok());
    PICKED.as_deref() == Some(name)
}
