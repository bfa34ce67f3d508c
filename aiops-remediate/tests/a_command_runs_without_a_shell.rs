//! Actions by a team's own programs: what they are given, what they say, and that nothing of them outlives them.
#![cfg(all(feature = "command", unix))]
#![allow(clippy::unwrap_used)]
#![allow(clippy::panic)] // helpers outside #[test]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aiops_core::testing::{ActionCase, ManualClock, check_action_handler};
use aiops_core::{
    ActionError, ActionHandler, ActionRequest, Applied, Clock, Compensation, IncidentId, Inspection, Outcome,
    Precondition, Target, error_chain,
};
use aiops_remediate::ActionCatalogue;
use aiops_remediate::command::{CheckExit, CommandBuilder, CommandHandler, ExecuteExit};
use common::{at, event, name};

const SHELL: &str = "/bin/sh";

/// A directory that one test has for itself.
fn place() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("command-{}-{number}", std::process::id()));
    let _ = fs::remove_dir_all(&place);
    fs::create_dir_all(&place).unwrap();
    place
}

/// A script, given to the shell as a file: a file that was just written cannot always be run.
fn script(place: &Path, name: &str, text: &str) -> String {
    let path = place.join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A handler whose `check` is ready and whose `execute` is this script.
fn handler(place: &Path, execute: &str) -> CommandBuilder {
    let (check, execute) = (script(place, "check.sh", "echo uid=7"), script(place, "execute.sh", execute));
    CommandHandler::builder("restart_pod", SHELL)
        .arguments([execute.as_str(), "{pod}"])
        .check(SHELL, [check])
        .directory(place)
        .env("PATH", "/usr/bin:/bin")
}

fn request_on(pod: &str) -> ActionRequest {
    let event = event(1, "cart", &[], at(0));
    let target = Target::new([("pod", pod)]);
    let deadline = "2099-01-01T00:00:00Z".parse().unwrap();
    ActionRequest::new(
        name("restart_pod"),
        target,
        event.service,
        event.fingerprint,
        IncidentId::new("inc-1"),
        deadline,
    )
    .dry_run(false)
}

fn seen() -> Precondition {
    Precondition::new([("uid", "7")])
}

/// The catalogue names the programs; the target fills the arguments.
#[tokio::test]
async fn a_catalogue_names_the_programs() {
    let place = place();
    let check = script(&place, "check.sh", "echo uid=7");
    let execute = script(&place, "execute.sh", r#"echo "$PWD $REGION $*""#);
    let directory = place.display();
    let text = format!(
        r#"
actions:
  - {{name: scale_deployment, owner: shop, blast_radius: pod, requires_approval: false}}
  - name: restart_pod
    owner: shop
    blast_radius: pod
    requires_approval: false
    command:
      check: [{SHELL}, "{check}"]
      execute: [{SHELL}, "{execute}", "--pod", "{{pod}}"]
      directory: {directory}
      deadline: 20s
"#
    );
    let catalogue = ActionCatalogue::from_yaml(&text, "actions.yaml").unwrap();
    let mut builders = catalogue.specs().iter().filter_map(CommandHandler::of);
    let handler = builders.next().unwrap().env("REGION", "eu").build().unwrap();
    assert!(builders.next().is_none());
    assert_eq!(handler.name(), "restart_pod");
    assert_eq!(executed(&handler).await.unwrap().proof, format!("{directory} eu --pod cart-1"));

    // What the builder would not take is told there.
    let text = text.replace(&format!("directory: {directory}"), "directory: here");
    let catalogue = ActionCatalogue::from_yaml(&text, "actions.yaml").unwrap();
    let error = catalogue.specs().iter().find_map(CommandHandler::of).unwrap().build().unwrap_err();
    assert_eq!(error.faults(), ["here is no directory by its absolute path"]);
}

async fn executed(handler: &CommandHandler) -> Result<Applied, ActionError> {
    handler.execute(&request_on("cart-1"), &seen()).await
}

fn case() -> ActionCase {
    let place = place();
    fs::write(place.join("revision"), "1").unwrap();
    let check = script(
        &place,
        "look.sh",
        r#"case "$(cat)" in *'"service":"cart"'*) ;; *) echo "it belongs to cart"; exit 20 ;; esac
if [ -e "done-$1" ]; then echo "$1 was restarted"; exit 10; fi
echo "revision=$(cat revision)""#,
    );
    let execute = script(&place, "act.sh", r#": > "done-$1"; echo x >> effects; echo "restarted $1""#);
    let handler = CommandHandler::builder("restart_pod", SHELL)
        .arguments([execute.as_str(), "{pod}"])
        .check(SHELL, [check.as_str(), "{pod}"])
        .directory(&place)
        .env("PATH", "/usr/bin:/bin")
        .build()
        .unwrap();
    let outside = place.clone();
    ActionCase::new(
        handler,
        request_on("cart-1"),
        move || fs::read_to_string(outside.join("effects")).unwrap_or_default(),
        move || fs::write(place.join("revision"), "2").unwrap(),
    )
}

#[tokio::test]
async fn it_keeps_the_contract_of_a_handler() {
    check_action_handler(case).await.unwrap();
}

#[tokio::test]
async fn a_program_gets_its_arguments_its_environment_and_the_request_and_nothing_else() {
    let place = place();
    let execute = r#"env > env; for argument in "$@"; do echo "<$argument>"; done > arguments; cat > input; pwd"#;
    let handler = handler(&place, execute)
        .arguments([place.join("execute.sh").to_str().unwrap(), "--pod={pod}", "$(id) `id`; *", ""])
        .env("REGION", "eu west; x")
        .build()
        .unwrap();
    let applied = executed(&handler).await.unwrap();
    assert_eq!(Path::new(&applied.proof), place.canonicalize().unwrap());
    let read = |file: &str| fs::read_to_string(place.join(file)).unwrap();
    assert_eq!(read("arguments"), "<--pod=cart-1>\n<$(id) `id`; *>\n<>\n");
    let variables = read("env");
    let mut variables: Vec<&str> = variables.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    // The shell adds these itself.
    variables.retain(|name| !matches!(*name, "PWD" | "OLDPWD" | "SHLVL" | "_"));
    variables.sort_unstable();
    assert_eq!(variables, ["PATH", "REGION"]);
    let input: serde_json::Value = serde_json::from_str(&read("input")).unwrap();
    assert_eq!(input["command"], "execute");
    assert_eq!(input["target"]["pod"], "cart-1");
    assert_eq!(input["service"], "cart");
    assert_eq!(input["observed"]["uid"], "7");

    // A target that cannot stand in an argument: nothing ran.
    fs::remove_file(place.join("arguments")).unwrap();
    let error = handler.execute(&request_on("-rf"), &seen()).await.unwrap_err();
    assert!(error.nothing_changed);
    assert!(!place.join("arguments").exists());
}

#[tokio::test]
async fn exit_codes_say_what_became_of_it() {
    let place = place();
    for (exit, nothing_changed, why) in [
        (20, true, "refused: not now"),
        (1, false, "execute ended with exit code 1: no such pod password=[REDACTED:password]"),
        (137, false, "exit code 137"),
    ] {
        let text = format!("echo 'not now'; echo 'no such pod password=hunter2' >&2; exit {exit}");
        let handler = handler(&place, &text).build().unwrap();
        let error = executed(&handler).await.unwrap_err();
        let text = error_chain(&error);
        assert_eq!(error.nothing_changed, nothing_changed, "{text}");
        assert!(text.contains(why), "{text}");
    }
    let killed = handler(&place, "kill -9 $$").build().unwrap();
    let error = executed(&killed).await.unwrap_err();
    assert!(error_chain(&error).contains("signal 9") && !error.nothing_changed);
    // Another meaning.
    let lenient = handler(&place, "exit 3").execute_exit(3, ExecuteExit::Applied).build().unwrap();
    assert_eq!(executed(&lenient).await.unwrap(), Applied::new("the program says so"));

    for (exit, outcome) in [(0, Outcome::Helped), (10, Outcome::NoEffect), (20, Outcome::Worse), (30, Outcome::Unknown)]
    {
        let verify = script(&place, "verify.sh", &format!("exit {exit}"));
        let handler = handler(&place, "true").verify(SHELL, [verify]).build().unwrap();
        let found = handler.verify(&request_on("cart-1"), &Applied::new("x")).await.unwrap();
        assert_eq!(found, outcome, "{exit}");
    }
    let compensate = script(&place, "back.sh", "echo 'uncordoned n1'");
    let handler = handler(&place, "true").compensate(SHELL, [compensate]).build().unwrap();
    let back = handler.compensate(&request_on("cart-1")).await.unwrap();
    assert_eq!(back, Compensation::Done("uncordoned n1".to_owned()));
}

#[tokio::test]
async fn check_says_what_is_there() {
    let place = place();
    let inspected = async |text: &str| {
        let handler = handler(&place, "true").check_exit(7, CheckExit::Blocked);
        let handler = handler.check(SHELL, [script(&place, "other.sh", text)]).build().unwrap();
        handler.inspect(&request_on("cart-1")).await.map_err(|error| error_chain(&error))
    };
    let ready = Inspection::Ready { precondition: Precondition::new([("uid", "7"), ("owner", "cart")]) };
    assert_eq!(inspected("echo uid=7; echo owner=cart; echo talk >&2").await, Ok(ready));
    let done = Inspection::AlreadyDone { proof: "uid 8".to_owned() };
    assert_eq!(inspected("echo uid 8; exit 10").await, Ok(done));
    let blocked = Inspection::Blocked { reason: "not ours".to_owned() };
    assert_eq!(inspected("echo not ours; exit 20").await, Ok(blocked.clone()));
    assert_eq!(inspected("echo not ours; exit 7").await, Ok(blocked));
    assert!(inspected("echo talk").await.unwrap_err().contains("line 1: it has no `=`"));
    assert!(inspected("exit 1").await.unwrap_err().contains("check ended with exit code 1"));
}

#[tokio::test]
async fn a_state_that_changed_since_it_was_observed_stops_it() {
    let place = place();
    let handler = handler(&place, "echo x > effect").build().unwrap();
    let stale = Precondition::new([("uid", "6")]);
    let error = handler.execute(&request_on("cart-1"), &stale).await.unwrap_err();
    assert!(error.nothing_changed && error_chain(&error).contains("no longer the observed one"));
    let dry = handler.execute(&request_on("cart-1").dry_run(true), &seen()).await.unwrap();
    assert_eq!(dry.proof, "dry run: would run /bin/sh");
    assert!(!place.join("effect").exists());
}

#[tokio::test]
async fn what_it_writes_is_kept_up_to_a_bound_and_does_not_hold_it_up() {
    let place = place();
    let text = "echo first; head -c 10000000 /dev/zero | tr '\\0' x; head -c 3000000 /dev/zero >&2";
    let handler = handler(&place, text).max_output(1_000).build().unwrap();
    assert_eq!(executed(&handler).await.unwrap().proof, "first");
}

/// Yields until a file is there, and reads the process number in it.
async fn number_in(file: &Path) -> u32 {
    loop {
        if let Ok(text) = fs::read_to_string(file)
            && let Some(number) = text.strip_suffix('\n')
        {
            return number.parse().unwrap();
        }
        tokio::task::yield_now().await;
    }
}

/// Yields until a process has ended, whether or not anybody has reaped it.
async fn gone(number: u32) {
    let runs = || {
        let stat = fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
    };
    while runs() {
        tokio::task::yield_now().await;
    }
}

const FOREVER: &str = "sleep 1000 & echo $! > child.tmp; mv child.tmp child; sleep 1000";

#[tokio::test]
async fn at_its_deadline_the_whole_group_is_killed() {
    let place = place();
    let clock = ManualClock::new(at(0));
    let handler = handler(&place, FOREVER).with_clock(clock.clone()).deadline(Duration::from_secs(60)).build().unwrap();
    let act = async { executed(&handler).await.unwrap_err() };
    let pass = async {
        let number = number_in(&place.join("child")).await;
        clock.advance(Duration::from_secs(60));
        number
    };
    let (error, child) = tokio::join!(act, pass);
    assert!(!error.nothing_changed && error_chain(&error).contains("ended at its deadline"));
    gone(child).await;

    // The deadline of the request comes first where it is nearer.
    fs::remove_file(place.join("child")).unwrap();
    let mut request = request_on("cart-1");
    request.deadline = aiops_core::time::plus(clock.now(), Duration::from_secs(5));
    let act = async { handler.execute(&request, &seen()).await.unwrap_err() };
    let pass = async {
        let number = number_in(&place.join("child")).await;
        clock.advance(Duration::from_secs(5));
        number
    };
    let (error, child) = tokio::join!(act, pass);
    assert!(error_chain(&error).contains("ended at its deadline"));
    gone(child).await;

    // Nothing begins when its time is over.
    fs::remove_file(place.join("child")).unwrap();
    request.deadline = clock.now();
    let error = handler.execute(&request, &seen()).await.unwrap_err();
    assert!(error.nothing_changed && error_chain(&error).contains("ended at its deadline"));
    assert!(!place.join("child").exists());
}

#[tokio::test]
async fn whoever_gives_up_ends_the_whole_group() {
    let place = place();
    let handler = handler(&place, FOREVER).build().unwrap();
    let file = place.join("child");
    let child = tokio::select! {
        _ = executed(&handler) => panic!("it sleeps for a long time"),
        number = number_in(&file) => number,
    };
    gone(child).await;
}

#[tokio::test]
async fn what_it_leaves_running_ends_with_it() {
    let place = place();
    let handler = handler(&place, "sleep 1000 & echo $!").build().unwrap();
    let applied = executed(&handler).await.unwrap();
    gone(applied.proof.parse().unwrap()).await;
}

#[tokio::test]
async fn faults_are_told_at_once() {
    let builder = CommandHandler::builder("Restart Pod", "restart").arguments(["{pod"]).directory("nowhere");
    let error = builder.env("A=B", "x").build().unwrap_err();
    let text = error.to_string();
    for part in ["there is no check", "restart is no absolute path", "single brace", "nowhere is no directory", "A=B"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(error.faults().len(), 6, "{text}");
    let place = place();
    let plain = script(&place, "plain.sh", "true");
    let error = CommandHandler::builder("x", &plain).check("/nowhere/check", ["a"]).build().unwrap_err();
    assert!(error.to_string().contains(&format!("{plain} is no file that can be executed")), "{error}");
    let secret = handler(&place, "true").env("TOKEN", "s3cret").build().unwrap();
    assert!(!format!("{secret:?}").contains("s3cret"));
}
