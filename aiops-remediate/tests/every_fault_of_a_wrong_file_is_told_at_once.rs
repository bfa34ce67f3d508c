//! Wrong catalogues and policies, and the text that each is answered with. The number of faults
//! stands in the first line of a file; `AIOPS_BLESS=1` writes the texts anew.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use aiops_remediate::{ActionCatalogue, ConfigError, Policy};

#[test]
fn wrong_files_are_answered_with_their_golden_texts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let bless = std::env::var_os("AIOPS_BLESS").is_some();
    let mut count = 0;
    let mut wrong = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        count += 1;
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let error = match name.split_once('_').unwrap() {
            ("catalogue", _) => ActionCatalogue::from_yaml(&text, &name).err(),
            ("policy", _) => Policy::from_yaml(&text, &name).err(),
            _ => panic!("{name}: neither a catalogue nor a policy"),
        };
        let said = error.as_ref().map(ConfigError::to_string).unwrap_or_default() + "\n";
        let golden = path.with_extension("txt");
        if bless {
            fs::write(&golden, &said).unwrap();
        }
        let faults: usize =
            text.lines().next().and_then(|line| line.strip_prefix("# faults: ")).unwrap().parse().unwrap();
        let found = error.map_or(0, |error| error.findings().len());
        if found != faults || fs::read_to_string(&golden).unwrap_or_default() != said {
            wrong.push(format!("{name}: {found} of {faults} faults\n{said}"));
        }
    }
    assert!(count >= 25, "{count} files");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
