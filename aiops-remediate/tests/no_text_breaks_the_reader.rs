//! Whatever a file holds, it loads or is answered with findings whose places lie in the text.
#![allow(clippy::unwrap_used)]

use aiops_remediate::{ActionCatalogue, ConfigError, Policy};
use proptest::prelude::*;

const GOOD: &str = "x-a: &a {owner: shop, blast_radius: pod}\nactions:\n  - {<<: *a, name: restart_pod, requires_approval: false}\n  - name: drain\n    owner: \"é\"\n    blast_radius: node\n    requires_approval: true\n    cooldown: 10m\n    target: [node]\n";

fn piece() -> impl Strategy<Value = String> {
    let tokens = [
        "actions:",
        "\n",
        "\n  ",
        "\n    ",
        "- ",
        "{",
        "}",
        "[",
        "]",
        ", ",
        ": ",
        "name",
        "owner",
        "freeze",
        "<<",
        "*a",
        "&a ",
        "|",
        ">-",
        "\"",
        "'",
        "#",
        "---",
        "...",
        "? ",
        "!!str ",
        "%YAML 1.2",
        "~",
        "10m",
        "0.7",
        "\t",
        "é",
        "\u{feff}",
        "\u{0}",
        "\r\n",
        "\\x",
        "mode: ",
        "loop_guard: ",
        "from: 22:00",
    ];
    prop_oneof![
        6 => prop::sample::select(tokens.to_vec()).prop_map(str::to_owned),
        1 => any::<String>(),
        1 => (0..GOOD.len(), 0..GOOD.len()).prop_map(|(from, to)| {
            GOOD.chars().skip(from.min(to)).take(from.abs_diff(to)).collect()
        }),
    ]
}

fn check(text: &str, outcome: Result<(), ConfigError>) -> Result<(), TestCaseError> {
    let Err(error) = outcome else { return Ok(()) };
    prop_assert!(!error.findings().is_empty());
    let lines = text.lines().count() + 2;
    for finding in error.findings() {
        prop_assert!((1..=lines).contains(&(finding.line as usize)), "{finding}");
        prop_assert!(finding.column >= 1 && finding.column as usize <= text.chars().count() + 2, "{finding}");
        prop_assert!(!finding.problem.is_empty() && !finding.help.is_empty(), "{finding}");
        prop_assert!(!finding.to_string().chars().any(|c| c.is_control()), "{finding:?}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn a_text_loads_or_is_answered(pieces in prop::collection::vec(piece(), 0..24)) {
        let text = pieces.concat();
        check(&text, ActionCatalogue::from_yaml(&text, "f").map(|_| ()))?;
        check(&text, Policy::from_yaml(&text, "f").map(|_| ()))?;
    }

    #[test]
    fn a_good_text_with_a_wound_loads_or_is_answered(at in 0..GOOD.len(), cut in 0usize..6, piece in piece()) {
        let text: String = GOOD.chars().take(at).chain(piece.chars()).chain(GOOD.chars().skip(at + cut)).collect();
        check(&text, ActionCatalogue::from_yaml(&text, "f").map(|_| ()))?;
    }
}
