//! One incident over three processes, on a real server: it has one trace id in all three.
#![allow(clippy::unwrap_used)]
#![allow(clippy::panic, clippy::print_stdout)] // helpers outside #[test]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use aiops_core::error_chain;
use aiops_examples::three_services::serve;
use rustix::process::{Pid, Signal, kill_process};

/// The arguments of the child, one a line.
const ARGUMENTS: &str = "AIOPS_THREE_SERVICES_TEST_ARGUMENTS";
/// The recording fires within seconds; an overloaded machine takes longer.
const DEADLINE: Duration = Duration::from_secs(60);

/// Not a test by itself: the process of one service.
#[tokio::test]
async fn child() {
    let Ok(arguments) = std::env::var(ARGUMENTS) else { return };
    let say = |line: &str| println!("line {line}");
    let code = match serve(arguments.lines().map(str::to_owned), say).await {
        Ok(()) => 0,
        Err(error) => {
            println!("line error {}", error_chain(&*error));
            2
        }
    };
    std::io::stdout().flush().unwrap();
    std::process::exit(code);
}

struct Process {
    child: Child,
    lines: Receiver<String>,
}

impl Process {
    fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(ARGUMENTS, arguments.join("\n"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // The test runner has begun the first line.
                if let Some((_, line)) = line.split_once("line ") {
                    let _ = sender.send(line.to_owned());
                }
            }
        });
        Self { child, lines }
    }

    /// The next line that holds `wanted`.
    fn line_with(&self, wanted: &str) -> String {
        let began = Instant::now();
        loop {
            let left = DEADLINE.saturating_sub(began.elapsed());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| panic!("no line with {wanted:?}"));
            if line.contains(wanted) {
                return line;
            }
        }
    }

    /// Whether it ends well when it is told to.
    fn ends_well(self, signal: Signal) -> bool {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        self.code() == Some(0)
    }

    /// Its exit code, once it ends by itself.
    fn code(mut self) -> Option<i32> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            if began.elapsed() > DEADLINE {
                return None;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn trace(line: &str) -> &str {
    let id = line.strip_prefix("trace ").and_then(|rest| rest.split(' ').next()).unwrap();
    assert_eq!(id.len(), 32, "{line}");
    id
}

/// The three services with these URLs: what an incident went through, and that each process ends well.
fn one_incident_has_one_trace(bus: &str, state: Option<&str>) {
    let prefix = format!("trio{}.", std::process::id());
    let start = |service: &str, replica: &str| {
        let mut arguments = vec![service, "--bus", bus, "--prefix", &prefix];
        if let Some(state) = state {
            arguments.extend(["--state", state, "--replica", replica]);
        }
        let process = Process::start(&arguments);
        process.line_with(&format!("{service} runs"));
        process
    };
    let (triage, remediation, detection) =
        (start("triage", "one"), start("remediation", "two"), start("detection", "three"));
    let lines = [detection.line_with("announced"), triage.line_with("reported"), remediation.line_with("answered")];
    for line in &lines {
        println!("{line}");
    }
    let traces: BTreeSet<&str> = lines.iter().map(|line| trace(line)).collect();
    assert_eq!(traces.len(), 1, "{lines:#?}");
    let spans: BTreeSet<&str> = lines.iter().map(|line| line.split(' ').nth(3).unwrap()).collect();
    assert_eq!(spans.len(), 3, "{lines:#?}");
    assert!(detection.ends_well(Signal::TERM));
    assert!(triage.ends_well(Signal::INT));
    assert!(remediation.ends_well(Signal::TERM));
}

#[test]
#[ignore = "needs nats: .ci/services up nats"]
fn one_incident_has_one_trace_over_nats() {
    one_incident_has_one_trace(&std::env::var("NATS_URL").unwrap(), None);
}

#[test]
#[ignore = "needs redis: .ci/services up redis"]
fn one_incident_has_one_trace_over_redis() {
    let url = std::env::var("REDIS_URL").unwrap();
    one_incident_has_one_trace(&url, Some(&url));
}

#[test]
#[ignore = "needs kafka: .ci/services up kafka"]
fn one_incident_has_one_trace_over_kafka() {
    one_incident_has_one_trace(&std::env::var("KAFKA_URL").unwrap(), None);
}

#[test]
fn nonsense_is_told_in_one_line() {
    let process = Process::start(&["detection", "--bus", "smtp://127.0.0.1:1"]);
    let line = process.line_with("error");
    assert!(line.starts_with("error --bus is no nats://, redis:// or kafka:// URL; usage: three_services"), "{line}");
    assert_eq!(process.code(), Some(2));
}
