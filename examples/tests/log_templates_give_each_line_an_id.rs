//! `log_templates` writes one id for each line of the input, in its order, from plain and gzipped files.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::path::{Path, PathBuf};

use aiops_examples::log_templates::{Console, Options, run};

fn ids(files: Vec<PathBuf>, folder: &Path) -> (u64, Vec<String>, String, String) {
    let options = Options { group_ids: Some(folder.join("ids")), files };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let failed = run(&options, Console { out: &mut out, err: &mut err, terminal: false }).unwrap();
    let ids = std::fs::read_to_string(folder.join("ids")).unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (failed, ids.lines().map(str::to_owned).collect(), text(out), text(err))
}

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("aiops-log-templates-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn each_line_has_one_id_resolved_at_the_end() {
    let folder = folder("ids");
    let mut text = String::from("job 1 done\n\njob 2 done\n");
    for name in ["a.x", "b.y", "c.z"] {
        text += &format!("lost {name} again\n");
    }
    std::fs::write(folder.join("plain.log"), &text).unwrap();
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gz.write_all(b"job 3 done\n\tat frame\n").unwrap();
    std::fs::write(folder.join("more.log.gz"), gz.finish().unwrap()).unwrap();

    let files = vec![folder.join("plain.log"), folder.join("more.log.gz")];
    let (failed, ids, out, _) = ids(files, &folder);
    assert_eq!((failed, ids.len()), (0, 8));
    assert!(ids.iter().all(|id| id.len() == 16), "{ids:?}");
    assert_eq!((&ids[0], &ids[0]), (&ids[2], &ids[6]));
    assert_ne!(ids[0], ids[1]);
    assert_eq!((&ids[3], &ids[3]), (&ids[4], &ids[5]), "merged by the third");
    assert_ne!(ids[6], ids[7], "each line is a record of its own");
    assert!(out.starts_with("8 lines, 4 templates\n"), "{out}");
    assert!(out.contains("job * done") && out.contains("job 1 done"), "{out}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_file_that_is_missing_is_told_and_the_others_are_read() {
    let folder = folder("missing");
    std::fs::write(folder.join("a.log"), "one\n").unwrap();
    let (failed, ids, _, err) = ids(vec![folder.join("none.log"), folder.join("a.log")], &folder);
    assert_eq!((failed, ids.len()), (1, 1));
    assert!(err.contains("none.log"), "{err}");
    std::fs::remove_dir_all(folder).unwrap();
}
