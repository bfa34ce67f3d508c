//! Which files are read, and where their scores go.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// One file to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Input {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Its path below the folder given, or its name: where its scores go, and how it is shown.
    pub(super) relative: PathBuf,
}

/// The files to read, each folder's sorted by path; all files given; what cannot be read.
///
/// Folders are walked to the bottom for `*.csv`; a linked folder below is not followed, `out` is left out.
#[must_use]
pub(super) fn inputs(paths: &[PathBuf], out: Option<&Path>) -> (Vec<Input>, Given, Vec<String>) {
    let is_written = out.is_some();
    let out = out.and_then(|out| fs::canonicalize(out).ok());
    let (mut found, mut given, mut errors) = (Vec::<Input>::new(), Given::default(), Vec::new());
    for path in paths {
        let mut files = Vec::new();
        match fs::metadata(path) {
            Err(error) => errors.push(format!("{}: {error}", path.display())),
            Ok(meta) if meta.is_dir() => {
                walk(path, out.as_deref(), &mut files, &mut errors);
                if files.is_empty() {
                    errors.push(format!("{}: no *.csv in this folder", path.display()));
                }
                files.sort();
            }
            Ok(_) => files.push(path.clone()),
        }
        for file in files {
            given.0.extend(fs::canonicalize(&file).ok());
            let relative = match file.strip_prefix(path) {
                Ok(below) if !below.as_os_str().is_empty() => below.to_owned(),
                _ => PathBuf::from(file.file_name().unwrap_or(file.as_os_str())),
            };
            match found.iter().find(|other| other.relative == relative) {
                Some(other) if same(&other.path, &file) => {}
                Some(other) if is_written => {
                    let (other, file) = (other.path.display(), file.display());
                    errors.push(format!("{file}: its scores would replace those of {other}; run it by itself"));
                }
                _ => found.push(Input { path: file, relative }),
            }
        }
    }
    (found, given, errors)
}

fn walk(folder: &Path, out: Option<&Path>, files: &mut Vec<PathBuf>, errors: &mut Vec<String>) {
    let is_out = out.is_some_and(|out| fs::canonicalize(folder).is_ok_and(|folder| folder == out));
    if is_out {
        return;
    }
    let failed = |error: io::Error| format!("{}: {error}", folder.display());
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => return errors.push(failed(error)),
    };
    for entry in entries {
        let entry = match entry.and_then(|entry| Ok((entry.path(), entry.file_type()?))) {
            Ok(entry) => entry,
            Err(error) => {
                errors.push(failed(error));
                continue;
            }
        };
        match entry {
            (path, kind) if kind.is_dir() => walk(&path, out, files, errors),
            (path, _) if path.extension().is_some_and(|end| end.eq_ignore_ascii_case("csv")) && !path.is_dir() => {
                files.push(path);
            }
            _ => {}
        }
    }
}

/// All files that were given, also those that are not read: nothing is written over them.
#[derive(Debug, Default)]
pub(super) struct Given(BTreeSet<PathBuf>);

impl Given {
    /// Whether a given file lies there.
    pub(super) fn holds(&self, path: &Path) -> bool {
        fs::canonicalize(path).is_ok_and(|path| self.0.contains(&path))
    }

    /// Refuses to write scores where a given file lies.
    ///
    /// # Errors
    /// Which one.
    pub(super) fn spare(&self, input: &Input, out: &Path) -> Result<(), String> {
        let place = out.join(&input.relative);
        if !self.holds(&place) {
            return Ok(());
        }
        Err(format!("{}: its scores would replace {}, which was given", input.path.display(), place.display()))
    }
}

/// Whether two paths are one file.
fn same(one: &Path, other: &Path) -> bool {
    one == other || matches!((fs::canonicalize(one), fs::canonicalize(other)), (Ok(one), Ok(other)) if one == other)
}
