//! A person at the pages of the embedded service, in a real browser: with the mouse, by keyboard alone, and looking at
//! what somebody else wrote.
#![cfg(all(feature = "client", feature = "embedded"))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)] // helpers outside `#[test]`

mod browser;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aiops_core::jiff::Timestamp;
use aiops_core::{CancellationToken, IncidentLog, IncidentQuery, MemoryIncidentLog, VirtualClock};
use aiops_examples::embedded::{Embedded, Staff, embedded};
use aiops_remediate::Dispatcher;
use aiops_remediate::sim::Cluster;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use browser::{Browser, ENTER};
use serde_json::{Value, json};
use tower::ServiceExt;

const TOKEN: &str = "aiops-test-token";
/// What an alert's label says to a page that would take it for markup.
const EVIL: &str = "<img src=x onerror=\"document.title='taken'\"><script>alert('taken')</script>";
/// The button that approves, as the style sheet has it.
const GREEN: [u8; 3] = [0x1a, 0x7f, 0x37];

/// The service on a port, whose time stands still until a test moves it.
struct Service {
    app: Router,
    url: String,
    clock: VirtualClock,
    cluster: Cluster,
    dispatcher: Arc<Dispatcher>,
    incidents: Arc<MemoryIncidentLog>,
    shutdown: CancellationToken,
}

impl Service {
    async fn start() -> Self {
        let clock = VirtualClock::new("2026-11-25T03:00:00Z".parse::<Timestamp>().unwrap());
        let staff = Staff::new(&[("ada".to_owned(), "secret1".to_owned())]);
        let Embedded { app, pipeline, cluster, dispatcher, incidents } =
            embedded(&staff, TOKEN, clock.clone()).unwrap();
        let shutdown = CancellationToken::new();
        tokio::spawn(pipeline.run(shutdown.clone()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let served = app.clone();
        tokio::spawn(async move { axum::serve(listener, served).await });
        Self { app, url, clock, cluster, dispatcher, incidents, shutdown }
    }

    async fn send(&self, request: Request<Body>) -> String {
        let response = self.app.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = String::from_utf8(to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec()).unwrap();
        assert_eq!(status, StatusCode::OK, "{body}");
        body
    }

    /// An alert about a pod, and the pipeline works until somebody has to approve.
    async fn alert(&self, name: &str, pod: &str) {
        let labels = json!({"alertname": name, "service": "cart", "namespace": "shop", "pod": pod});
        let at = aiops_core::Clock::now(&self.clock);
        let alert = json!({"status": "firing", "labels": labels, "annotations": {}, "startsAt": at, "endsAt": at,
            "fingerprint": "509ae98a84c549f2"});
        let body = json!({"version": "4", "status": "firing", "alerts": [alert]});
        let request = Request::post("/intake/alertmanager")
            .header("authorization", format!("Bearer {TOKEN}"))
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()));
        self.send(request.unwrap()).await;
        self.until("an approval", async || !self.dispatcher.approvals().await.unwrap().is_empty()).await;
    }

    async fn until(&self, what: &str, mut so: impl AsyncFnMut() -> bool) {
        for _ in 0..600 {
            for _ in 0..200 {
                tokio::task::yield_now().await;
            }
            if so().await {
                return;
            }
            self.clock.advance(Duration::from_secs(1));
        }
        panic!("{what} did not come within ten minutes");
    }

    /// What was done to the cluster, once the action ended.
    async fn acted(&self) -> Vec<String> {
        let executed = async || {
            let incidents = self.incidents.query(&IncidentQuery::default()).await.unwrap();
            format!("{incidents:?}").contains("disposition: Executed")
        };
        self.until("the end of an action", executed).await;
        assert_eq!(self.dispatcher.approvals().await.unwrap(), []);
        self.cluster.effects().into_iter().map(|effect| effect.what).collect()
    }

    /// Each report's verdict with its note, as the service's audit has them, the oldest first.
    async fn verdicts(&self) -> Vec<(Value, Value, Value)> {
        let request = Request::get("/aiops/v1/review").header("cookie", "session=secret1").body(Body::empty());
        let review: Value = serde_json::from_str(&self.send(request.unwrap()).await).unwrap();
        let verdict = |item: &Value| ["verdict", "by", "note"].map(|name| item["verdict"][name].clone()).into();
        review["items"].as_array().unwrap().iter().map(verdict).collect()
    }
}

/// Nothing of what a page shows ran, and none of it became an element.
async fn is_text_only(browser: &Browser) {
    assert_eq!(browser.dialogue().await, None);
    assert_ne!(browser.title().await, "taken");
    assert_eq!(browser.run("return document.querySelectorAll('script, img, [onerror]').length").await, 0);
}

/// Were it markup after all, the browser would refuse to run it.
async fn scripts_are_refused(browser: &Browser) {
    let planted = "const refused = [], done = arguments[0];
        document.addEventListener('securitypolicyviolation', event => {
            refused.push(event.violatedDirective);
            if (new Set(refused).size === 3) done(refused.sort());
        });
        const script = document.createElement('script');
        script.textContent = \"document.title = 'taken'\";
        const holder = document.createElement('div');
        holder.innerHTML = '<img src=x onerror=\"document.title = `taken`\">';
        holder.setAttribute('onclick', \"document.title = 'taken'\");
        document.body.append(script, holder);
        holder.click();";
    let refused = browser.run_until(planted).await;
    for directive in ["img-src", "script-src-attr", "script-src-elem"] {
        assert!(refused.as_array().unwrap().contains(&json!(directive)), "{refused}");
    }
    assert_eq!((browser.dialogue().await, browser.title().await == "taken"), (None, false));
}

/// Writes what the window shows to a file, and looks whether something is on it.
async fn picture(browser: &Browser, name: &str) -> Vec<[u8; 3]> {
    let (png, file) = (browser.screenshot().await, Path::new(env!("CARGO_TARGET_TMPDIR")).join(name));
    std::fs::write(&file, &png).unwrap();
    let (width, pixels) = browser::png::pixels(&png);
    let other = pixels.iter().filter(|pixel| **pixel != pixels[0]).count();
    println!("{}: {width} x {}, {other} pixels are not background", file.display(), pixels.len() / width);
    let colours: BTreeSet<_> = pixels.iter().collect();
    assert!(colours.len() > 10 && other * 100 > pixels.len(), "{} colours, {other} pixels", colours.len());
    pixels
}

#[tokio::test]
#[ignore = "needs chromium: .ci/services up chromium"]
async fn a_person_decides_and_judges_with_the_mouse() {
    let service = Service::start().await;
    let browser = Browser::open(1_100, 1_000).await;
    service.alert("PodHangs", "cart-1").await;
    browser.go(&format!("{}/login", service.url)).await;
    browser.click("//input[@name='secret']").await;
    browser.press("secret1").await;
    browser.follow("//button").await;
    assert_eq!(browser.url().await, format!("{}/aiops/page", service.url));
    picture(&browser, "page-index.png").await;
    browser.follow("//a[contains(@href, 'page/incidents/')]").await;
    assert!(browser.text().await.contains("cart does not answer its probes"));
    picture(&browser, "page-incident.png").await;
    browser.follow("//a[contains(@href, 'page/approvals/')]").await;
    assert!(browser.text().await.contains("cart-1"));
    let shown = picture(&browser, "page-approval.png").await;
    assert!(shown.iter().filter(|pixel| **pixel == GREEN).count() > 500, "the style sheet was not taken");
    assert!(service.cluster.effects().is_empty());
    browser.follow("//button[@value='approve']").await;
    assert!(browser.text().await.contains("It is approved by ada"), "{}", browser.text().await);
    assert_eq!(service.acted().await, ["delete pod shop/cart-1 uid-1"]);
    browser.follow("//nav/a[text()='Review']").await;
    browser.click("//section//input[@name='note']").await;
    browser.press("it did hang").await;
    browser.follow("//section//button[@value='right']").await;
    assert!(browser.text().await.contains("Verdict: right by ada"));
    assert_eq!(service.verdicts().await, [(json!("right"), json!("ada"), json!("it did hang"))]);
    assert_eq!(service.cluster.effects().len(), 1);
    picture(&browser, "page-review.png").await;
    browser.close().await;
    service.shutdown.cancel();
}

/// From the login on.
#[tokio::test]
#[ignore = "needs chromium: .ci/services up chromium"]
async fn a_person_decides_and_judges_by_keyboard_alone() {
    let service = Service::start().await;
    let browser = Browser::open(1_100, 1_000).await;
    service.alert("PodHangs", "cart-2").await;
    browser.go(&format!("{}/login", service.url)).await;
    browser.tab_to("//input[@name='secret']").await;
    browser.press("secret1").await;
    browser.tab_to("//button").await;
    browser.enter().await;
    browser.tab_to("//a[@class='skip']").await;
    browser.press(ENTER).await;
    browser.tab_to("//a[contains(@href, 'page/incidents/')]").await;
    browser.enter().await;
    browser.tab_to("//a[contains(@href, 'page/approvals/')]").await;
    browser.enter().await;
    browser.tab_to("//button[@value='approve']").await;
    browser.enter().await;
    assert!(browser.text().await.contains("It is approved by ada"), "{}", browser.text().await);
    assert_eq!(service.acted().await, ["delete pod shop/cart-2 uid-2"]);
    browser.tab_to("//nav/a[text()='Review']").await;
    browser.enter().await;
    browser.tab_to("//section//input[@name='note']").await;
    browser.press("it was the node").await;
    browser.tab_to("//section//button[@value='wrong']").await;
    browser.enter().await;
    assert!(browser.text().await.contains("Verdict: wrong by ada"));
    assert_eq!(service.verdicts().await, [(json!("wrong"), json!("ada"), json!("it was the node"))]);
    assert_eq!(service.cluster.effects().len(), 1);
    browser.close().await;
    service.shutdown.cancel();
}

#[tokio::test]
#[ignore = "needs chromium: .ci/services up chromium"]
async fn what_others_wrote_is_text_in_a_browser() {
    let service = Service::start().await;
    service.alert(EVIL, "cart-1").await;
    // As narrow as a telephone allows it to be.
    let browser = Browser::open(500, 900).await;
    browser.go(&format!("{}/login", service.url)).await;
    browser.click("//input[@name='secret']").await;
    browser.press("secret1").await;
    browser.enter().await;
    let incident = browser.run("return document.querySelector('a[href*=\"page/incidents/\"]').href").await;
    let approval = browser.run("return document.querySelector('a[href*=\"page/approvals/\"]').href").await;
    let review = json!(format!("{}/aiops/page/review", service.url));
    let mut shown = Vec::new();
    for (number, page) in [json!(browser.url().await), incident, approval, review].iter().enumerate() {
        browser.go(page.as_str().unwrap()).await;
        is_text_only(&browser).await;
        shown.push(browser.text().await.contains("onerror"));
        let wide = browser.run("return document.documentElement.scrollWidth - window.innerWidth").await;
        assert!(wide.as_i64().unwrap() <= 0, "{page} is {wide} pixels wider than the window");
        picture(&browser, &format!("page-narrow-{number}.png")).await;
        scripts_are_refused(&browser).await;
    }
    // An approval shows what would run, and no label but those of its target.
    assert_eq!(shown, [true, true, false, true]);
    browser.close().await;
    service.shutdown.cancel();
}
