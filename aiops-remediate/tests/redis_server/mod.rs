//! Redis servers of the tests: the one that all share, and such as one test stops or empties.
#![allow(dead_code)]

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::Client;

pub(crate) fn shared_url() -> String {
    std::env::var("REDIS_URL").unwrap()
}

/// A prefix that no other test has, nor an earlier run on the same server.
pub(crate) fn fresh(test: &str) -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    format!("{test}-{}-{now}-{number}", std::process::id())
}

/// A server of one test, in a folder that it keeps over restarts.
pub(crate) struct Server {
    pub(crate) child: Child,
    folder: PathBuf,
    port: u16,
    settings: Vec<&'static str>,
}

impl Server {
    pub(crate) fn start(test: &str, settings: &[&'static str]) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("redis-{test}"));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Self::spawn(&folder, port, settings);
        Self { child, folder, port, settings: settings.to_vec() }
    }

    fn spawn(folder: &PathBuf, port: u16, settings: &[&str]) -> Child {
        let child = Command::new(std::env::var("REDIS_SERVER").unwrap())
            .env("LD_LIBRARY_PATH", std::env::var("REDIS_LIBRARIES").unwrap())
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""])
            .arg("--dir")
            .arg(folder)
            .args(settings)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed() < Duration::from_secs(30), "redis does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        child
    }

    /// Kills the server as a crash does, and starts it again.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn start_again(&mut self) {
        self.child = Self::spawn(&self.folder, self.port, &self.settings);
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    pub(crate) async fn command(&self, words: &[&str]) {
        let mut connection = Client::open(self.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.exec_async(&mut connection).await.unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) const KEPT: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];
