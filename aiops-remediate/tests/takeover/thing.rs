//! An object outside of the store, which several processes act on, and the handlers that do.

use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use aiops_core::{ActionError, ActionHandler, ActionRequest, Applied, Inspection, Outcome, Precondition};
use aiops_remediate::parameters;
use async_trait::async_trait;

/// Longer than anything takes here.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A folder with the object (its uid, and the newest token that changed it), and with what became of it.
#[derive(Debug, Clone)]
pub(crate) struct Thing {
    pub(crate) folder: PathBuf,
}

impl Thing {
    /// The first one.
    pub(crate) fn new(folder: PathBuf) -> Self {
        fs::write(folder.join("object"), "uid-1\t0").unwrap();
        Self { folder }
    }

    /// Looks at uid and token, and puts others in their place, while nobody else can.
    fn with<T>(&self, look: impl FnOnce(&str, u64) -> (T, Option<(String, u64)>)) -> T {
        let mut file = OpenOptions::new().read(true).write(true).open(self.folder.join("object")).unwrap();
        file.lock().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        let (uid, token) = text.split_once('\t').unwrap();
        let (found, changed) = look(uid, token.parse().unwrap());
        if let Some((uid, token)) = changed {
            file.set_len(0).unwrap();
            file.rewind().unwrap();
            file.write_all(format!("{uid}\t{token}").as_bytes()).unwrap();
        }
        found
    }

    pub(crate) fn uid(&self) -> String {
        self.with(|uid, _| (uid.to_owned(), None))
    }

    /// Somebody who knows nothing of the dispatcher puts another object in its place.
    pub(crate) fn replace(&self) {
        self.with(|_, token| ((), Some(("uid-of-somebody".to_owned(), token))));
    }

    /// Changes it: for no older token, and only if it is the object that was seen.
    fn change(&self, request: &ActionRequest, seen: &Precondition) -> Result<String, String> {
        let (token, seen) = (request.fencing_token, seen.get("uid").unwrap_or_default());
        self.with(|uid, newest| {
            if token < newest {
                self.note("refused", &format!("{token}\told token"));
                return (Err(format!("token {token} is older than {newest}")), None);
            }
            if seen != uid {
                self.note("refused", &format!("{token}\tanother object"));
                return (Err(format!("it is {uid} by now, not {seen}")), None);
            }
            self.note("changes", &format!("{token}\t{}\t{uid}\t{seen}", request.key()));
            let new = format!("{uid}+{}", request.action);
            (Ok(new.clone()), Some((new, token)))
        })
    }

    /// Adds a line to one of its files.
    pub(crate) fn note(&self, file: &str, line: &str) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.folder.join(file)).unwrap();
        file.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    pub(crate) fn lines(&self, file: &str) -> Vec<String> {
        let text = fs::read_to_string(self.folder.join(file)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// What is being executed, once its handler stays.
    pub(crate) fn inside(&self, action: &str) -> Option<ActionRequest> {
        let text = fs::read_to_string(self.folder.join(format!("inside-{action}"))).ok()?;
        Some(serde_json::from_str(&text).unwrap())
    }

    /// Lets a handler go on that stays.
    pub(crate) fn go(&self, action: &str) {
        fs::write(self.folder.join(format!("go-{action}")), "").unwrap();
    }

    fn stay(&self, request: &ActionRequest) {
        let (draft, inside) = (self.folder.join("draft"), self.folder.join(format!("inside-{}", request.action)));
        fs::write(&draft, serde_json::to_string(request).unwrap()).unwrap();
        fs::rename(draft, inside).unwrap();
        let (go, began) = (self.folder.join(format!("go-{}", request.action)), Instant::now());
        while !go.exists() && began.elapsed() < LONG {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Whether a handler stays inside its action until it is let go.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Stay {
    No,
    /// The change is still to come.
    Before,
    /// The change is done.
    After,
}

/// Replaces the object. Like a call that is on its way, it cannot be called back: it ends whether the dispatcher
/// waits for it or not.
#[derive(Debug)]
pub(crate) struct Replace {
    pub(crate) name: &'static str,
    pub(crate) thing: Thing,
    /// The process.
    pub(crate) by: String,
    pub(crate) stay: Stay,
}

#[async_trait]
impl ActionHandler for Replace {
    fn name(&self) -> &str {
        self.name
    }

    async fn inspect(&self, request: &ActionRequest) -> Result<Inspection, ActionError> {
        let uid = self.thing.uid();
        let again = parameters::observed(request);
        self.thing.note("looks", &format!("{}\t{}\t{}", self.by, self.name, again.is_some()));
        if again.is_some_and(|seen| seen.get("uid") != Some(&uid)) {
            return Ok(Inspection::AlreadyDone { proof: uid });
        }
        Ok(Inspection::Ready { precondition: Precondition::new([("uid", uid)]) })
    }

    async fn execute(&self, request: &ActionRequest, seen: &Precondition) -> Result<Applied, ActionError> {
        let (thing, asked, seen, stay) = (self.thing.clone(), request.clone(), seen.clone(), self.stay);
        let call = tokio::task::spawn_blocking(move || {
            if stay == Stay::Before {
                thing.stay(&asked);
            }
            let changed = thing.change(&asked, &seen);
            if stay == Stay::After {
                thing.stay(&asked);
            }
            changed
        });
        let changed = call.await.map_err(|error| ActionError::unknown(request, "replace it", error))?;
        changed.map(Applied::new).map_err(|why| ActionError::before(request, "replace it", why))
    }

    async fn verify(&self, _: &ActionRequest, _: &Applied) -> Result<Outcome, ActionError> {
        self.thing.note("verified", &self.by);
        Ok(Outcome::Helped)
    }
}
