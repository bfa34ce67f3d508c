//! A browser that a test drives: the W3C's WebDriver protocol over HTTP, to `.ci/services up chromium`.

pub(crate) mod png;

use std::time::Duration;

use aiops_detectors::client::reqwest;
use serde_json::{Value, json};

/// Keys as WebDriver names them.
const TAB: &str = "\u{E004}";
pub(crate) const ENTER: &str = "\u{E007}";
/// Under which an answer names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// A browser that hangs fails its test.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often, and after what time each, it is asked whether another page came.
const TURNS: u32 = 1_200;
const TURN: Duration = Duration::from_millis(50);

fn of_services(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: .ci/services up chromium"))
}

/// A window of a browser with a profile of its own.
#[derive(Debug)]
pub(crate) struct Browser {
    http: reqwest::Client,
    session: String,
}

impl Browser {
    /// A window of so many pixels.
    pub(crate) async fn open(width: u32, height: u32) -> Self {
        let http = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
        let (size, driver) = (format!("--window-size={width},{height}"), of_services("CHROMEDRIVER_URL"));
        let arguments = ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", &size];
        let options = json!({"binary": of_services("CHROMIUM"), "args": arguments});
        let wanted = json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}});
        let mut browser = Self { http, session: format!("{driver}/session") };
        let opened = browser.ask("POST", "", &wanted).await.unwrap();
        browser.session = format!("{}/{}", browser.session, opened["sessionId"].as_str().unwrap());
        browser
    }

    /// The value of an answer, or what is wrong by its code.
    async fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let request = self.http.request(method.parse().unwrap(), format!("{}{path}", self.session));
        // A command without a body has none.
        let request = if body.is_null() { request } else { request.body(body.to_string()) };
        let answer: Value = serde_json::from_str(&request.send().await.unwrap().text().await.unwrap()).unwrap();
        match answer["value"]["error"].as_str() {
            Some(code) => Err(format!("{code}: {}", answer["value"]["message"])),
            None => Ok(answer["value"].clone()),
        }
    }

    async fn done(&self, path: &str, body: Value) -> Value {
        self.ask("POST", path, &body).await.unwrap_or_else(|error| panic!("{path} {body}: {error}"))
    }

    async fn told(&self, path: &str) -> String {
        let value = self.ask("GET", path, &Value::Null).await.unwrap_or_else(|error| panic!("{path}: {error}"));
        value.as_str().unwrap().to_owned()
    }

    pub(crate) async fn go(&self, url: &str) {
        self.done("/url", json!({"url": url})).await;
    }

    pub(crate) async fn url(&self) -> String {
        self.told("/url").await
    }

    pub(crate) async fn title(&self) -> String {
        self.told("/title").await
    }

    /// What a dialogue of a script says, if there is one.
    pub(crate) async fn dialogue(&self) -> Option<String> {
        match self.ask("GET", "/alert/text", &Value::Null).await {
            Ok(text) => Some(text.to_string()),
            Err(error) if error.starts_with("no such alert") => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// The text of the whole page, as a person sees it.
    pub(crate) async fn text(&self) -> String {
        self.run("return document.body.innerText").await.as_str().unwrap().to_owned()
    }

    /// Runs the driver's own script, which no page may forbid.
    pub(crate) async fn run(&self, script: &str) -> Value {
        self.done("/execute/sync", json!({"script": script, "args": []})).await
    }

    /// As [`run`](Self::run), until the script calls its argument.
    pub(crate) async fn run_until(&self, script: &str) -> Value {
        self.done("/execute/async", json!({"script": script, "args": []})).await
    }

    /// Clicks on what an XPath finds first, which leads to another page.
    pub(crate) async fn follow(&self, xpath: &str) {
        self.run("window.isLeft = true").await;
        self.click(xpath).await;
        self.arrive().await;
    }

    /// Presses Enter on what has the focus, which leads to another page.
    pub(crate) async fn enter(&self) {
        self.run("window.isLeft = true").await;
        self.press(ENTER).await;
        self.arrive().await;
    }

    /// Neither a click nor a key waits for the page that it leads to. Between two pages there is none to ask.
    async fn arrive(&self) {
        let script = "return !window.isLeft && document.readyState === 'complete'";
        for _ in 0..TURNS {
            let there = self.ask("POST", "/execute/sync", &json!({"script": script, "args": []})).await;
            if there.is_ok_and(|there| there == true) {
                return;
            }
            tokio::time::sleep(TURN).await;
        }
        panic!("no other page came after {}", self.url().await);
    }

    /// Clicks, as with a mouse, on what an XPath finds first.
    pub(crate) async fn click(&self, xpath: &str) {
        let found = self.done("/element", json!({"using": "xpath", "value": xpath})).await;
        self.done(&format!("/element/{}/click", found[ELEMENT].as_str().unwrap()), json!({})).await;
    }

    /// Presses keys, one after the other, whatever has the focus.
    pub(crate) async fn press(&self, keys: &str) {
        let press = |key: char| ["keyDown", "keyUp"].map(|what| json!({"type": what, "value": key.to_string()}));
        let actions: Vec<Value> = keys.chars().flat_map(press).collect();
        self.done("/actions", json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})).await;
    }

    /// Presses Tab until an XPath finds what has the focus, which has to be seen.
    pub(crate) async fn tab_to(&self, xpath: &str) {
        let expression = json!(xpath);
        let here = format!(
            "const found = document.evaluate({expression}, document, null, XPathResult.FIRST_ORDERED_NODE_TYPE, null);
             const focus = document.activeElement, box = focus.getBoundingClientRect();
             const seen = getComputedStyle(focus).outlineStyle !== 'none' && box.width > 0 && box.left >= 0;
             return found.singleNodeValue === focus ? (seen ? 'seen' : 'unseen') : 'elsewhere'"
        );
        for _ in 0..60 {
            self.press(TAB).await;
            match self.run(&here).await.as_str() {
                Some("seen") => return,
                Some("unseen") => panic!("{xpath}: nobody sees that it has the focus"),
                _ => {}
            }
        }
        panic!("{xpath} is not reached by Tab in {}", self.url().await);
    }

    /// What the window shows, as a PNG.
    pub(crate) async fn screenshot(&self) -> Vec<u8> {
        png::from_base64(&self.told("/screenshot").await)
    }

    /// Ends the browser. What a test that failed leaves open ends with the driver.
    pub(crate) async fn close(self) {
        self.ask("DELETE", "", &Value::Null).await.unwrap();
    }
}
