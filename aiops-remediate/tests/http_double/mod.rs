//! An HTTP/1.1 server that a test scripts: one answer for each request, with the faults of real ones.
#![allow(dead_code)] // each test file uses a part of it

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What a client sent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    /// `GET` or `POST`.
    pub(crate) method: String,
    /// Path and query as sent.
    pub(crate) target: String,
    /// Header lines, lower case.
    pub(crate) head: String,
    /// The body.
    pub(crate) body: String,
}

/// What it answers.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// Status and body.
    Body(u16, String),
    /// Status, one more header line, and body.
    WithHeader(u16, &'static str, String),
    /// The body without its length, until the connection closes.
    Unannounced(String),
    /// Announces the whole body and closes after half of it.
    Cut(String),
    /// Closes without an answer.
    Close,
    /// Does not answer.
    Hang,
}

impl Reply {
    /// 200 and this body.
    pub(crate) fn ok(body: impl Into<String>) -> Self {
        Self::Body(200, body.into())
    }
}

type Script = dyn Fn(usize, &Request) -> Reply + Send + Sync;

/// The server; it ends with the test's runtime.
pub(crate) struct Double {
    /// Where it listens.
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Double {
    /// Starts one on a free port; the script gets the number of the request, from 0.
    pub(crate) async fn start(script: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::<Mutex<Vec<Request>>>::default();
        let (seen, script): (_, Arc<Script>) = (Arc::clone(&requests), Arc::new(script));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&seen), Arc::clone(&script)));
            }
        });
        Self { url, requests }
    }

    /// What was asked so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

/// One request a connection.
async fn serve(mut stream: TcpStream, seen: Arc<Mutex<Vec<Request>>>, script: Arc<Script>) {
    let Some(request) = read(&mut stream).await else { return };
    let reply = {
        let mut seen = seen.lock().unwrap();
        seen.push(request.clone());
        script(seen.len() - 1, &request)
    };
    let (status, header, body) = match &reply {
        Reply::Body(status, body) => (*status, "x-double: 1", body.as_str()),
        Reply::WithHeader(status, header, body) => (*status, *header, body.as_str()),
        Reply::Unannounced(body) | Reply::Cut(body) => (200, "x-double: 1", body.as_str()),
        Reply::Close => return,
        Reply::Hang => {
            tokio::time::sleep(Duration::from_secs(3_600)).await;
            return;
        }
    };
    let length = match reply {
        Reply::Unannounced(_) => String::new(),
        _ => format!("content-length: {}\r\n", body.len()),
    };
    let sent = if matches!(reply, Reply::Cut(_)) { &body[..body.len() / 2] } else { body };
    let answer = format!("HTTP/1.1 {status} Some\r\nconnection: close\r\n{header}\r\n{length}\r\n{sent}");
    // A client that has enough may be gone.
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

async fn read(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let lower = head.to_lowercase();
    let length: usize =
        lower.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |text| text.parse().unwrap());
    while bytes.len() < end + 4 + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let mut first = head.lines().next()?.split(' ');
    Some(Request {
        method: first.next()?.to_owned(),
        target: first.next()?.to_owned(),
        body: String::from_utf8_lossy(&bytes[end + 4..]).into_owned(),
        head: lower,
    })
}

/// Moves the time on by `wait` once somebody sleeps for just that.
pub(crate) async fn pass(clock: &aiops_core::testing::ManualClock, wait: Duration) {
    use aiops_core::Clock;
    let until = aiops_core::time::plus(clock.now(), wait);
    while clock.next_wake() != Some(until) {
        tokio::task::yield_now().await;
    }
    clock.advance(wait);
}
