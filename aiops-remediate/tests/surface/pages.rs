//! What people see: encoded, without scripts, usable by keyboard, and the same words as the API's.

use std::sync::Arc;

use aiops_core::{
    Confidence, ContextFinding, ContextKind, DetectionEvent, EventKind, IncidentEntry, IncidentId, IncidentLog,
    IncidentRecord, Provenance, Responder, RuleVerdict, Severity, Signal, Step, Target, Triage, TriageContext,
    TriageReport, TriageRequest, Triaged, Trust,
};
use aiops_remediate::server::SeriesReader;
use aiops_remediate::server::axum::http::StatusCode;
use jiff::Timestamp;

use crate::common::acts::{on_pod, report};
use crate::common::at;
use crate::site::{Host, Reply, token};

/// Headers that every page has, and markup that none has.
fn sound(reply: &Reply) {
    let policy = reply.header("content-security-policy");
    for part in ["default-src 'none'", "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains("script-src"));
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(reply.header(name), value);
    }
    assert_eq!(reply.header("content-type"), "text/html; charset=utf-8");
    let body = reply.body.to_lowercase();
    for markup in ["<script", "<img", "<iframe", " style=", "http-equiv"] {
        assert!(!body.contains(markup), "{markup} in {body}");
    }
    // No handler of an event in any tag of ours: everything else is encoded.
    for tag in body.split('<').skip(1).map(|tag| tag.split('>').next().unwrap_or_default()) {
        // Every second part stands in quotes.
        let parts: Vec<&str> = tag.split('"').collect();
        assert!(parts.len() % 2 == 1 && !tag.contains('\''), "<{tag}>");
        assert!(parts.iter().step_by(2).all(|bare| !bare.contains(" on")), "<{tag}>");
        // Addresses lead into this site: no scheme, no other host. What goes back in a hidden field is no address.
        for name in ["href=", "action=", "src="] {
            let addresses = parts.windows(2).filter(|pair| pair[0].ends_with(name)).map(|pair| pair[1]);
            addresses.for_each(|address| assert!(!address.contains(':') && !address.starts_with("//"), "<{tag}>"));
        }
    }
}

#[tokio::test]
async fn a_person_approves_on_the_page() {
    let host = Host::new();
    let approval = host.waiting(1, "asked").await;
    let first = host.get("ada", "/page").await;
    sound(&first);
    let link = format!("page/approvals/{}", approval.id);
    assert!(first.body.contains(&format!("href=\"{link}\"")), "{}", first.body);
    let page = format!("/{link}");
    let shown = host.get("ada", &page).await;
    sound(&shown);
    for text in ["asked", "cart-1", "version", "v1", &approval.digest, "Approve exactly this", "pending"] {
        assert!(shown.body.contains(text), "{text}");
    }
    let token = token(&shown.body, &page);
    let fields = [
        ("token", token.as_str()),
        ("incident_id", approval.incident_id.as_str()),
        ("digest", &approval.digest),
        ("decision", "approve"),
    ];
    let decided = host.form("ada", &page, &fields).await;
    assert_eq!(decided.status, StatusCode::SEE_OTHER, "{}", decided.body);
    assert_eq!(decided.header("location"), format!("../../page/approvals/{}", approval.id));
    let settled = host.get("ada", &page).await;
    assert!(settled.body.contains("<strong>approved</strong> by ada") && !settled.body.contains("<form"));
    // Posted again, as by a reload.
    let again = host.form("ada", &page, &fields).await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    sound(&again);
    host.site.tick(&host.dispatcher, 2).await;
    assert_eq!(host.site.effects(), ["asked"]);
}

#[tokio::test]
async fn a_person_refuses_judges_and_stops_on_pages() {
    let host = Host::new();
    let approval = host.waiting(1, "asked").await;
    let page = format!("/page/approvals/{}", approval.id);
    let form = token(&host.get("ada", &page).await.body, &page);
    let fields = [
        ("token", form.as_str()),
        ("incident_id", approval.incident_id.as_str()),
        ("digest", &approval.digest),
        ("decision", "reject"),
        ("reason", "<b>no</b>"),
    ];
    assert_eq!(host.form("ada", &page, &fields).await.status, StatusCode::SEE_OTHER);
    let settled = host.get("ada", &page).await;
    sound(&settled);
    assert!(settled.body.contains("rejected") && settled.body.contains("&lt;b&gt;no&lt;/b&gt;"), "{}", settled.body);

    let review = host.get("ada", "/page/review").await;
    sound(&review);
    assert!(review.body.contains("the pod hangs"));
    let number = review.body.split("id=\"report-").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let form = token(&review.body, &format!("../page/review/{number}"));
    let path = format!("/page/review/{number}");
    let judged = host.form("ada", &path, &[("token", &form), ("verdict", "right"), ("note", "it did")]).await;
    assert_eq!(
        (judged.status, judged.header("location")),
        (StatusCode::SEE_OTHER, &*format!("../../page/review#report-{number}"))
    );
    let review = host.get("ada", "/page/review").await;
    sound(&review);
    assert!(review.body.contains("<strong>right</strong> by ada"), "{}", review.body);
    assert!(review.body.contains("Calibration of"), "{}", review.body);

    let form = token(&host.get("ada", "/page").await.body, "page/kill-switch");
    let stopped =
        host.form("ada", "/page/kill-switch", &[("token", &form), ("on", "yes"), ("reason", "by hand")]).await;
    assert_eq!((stopped.status, stopped.header("location")), (StatusCode::SEE_OTHER, "../page"));
    let first = host.get("ada", "/page").await;
    sound(&first);
    assert!(first.body.contains("The kill switch is on") && first.body.contains("Let policies decide again"));
}

/// Calibration needs some verdicts before there is a picture.
#[tokio::test]
async fn calibration_is_a_picture() {
    let host = Host::new();
    for number in 0..40 {
        host.dispatcher.respond(&report(number, &["first"]), at(0)).await.unwrap();
    }
    let review = host.get("ada", "/v1/review").await.json();
    for (place, item) in review["items"].as_array().unwrap().iter().enumerate() {
        let path = format!("/v1/review/{}/verdict", item["number"]);
        let verdict = if place % 4 == 0 { "wrong" } else { "right" };
        host.json("POST", "ada", &path, &serde_json::json!({"verdict": verdict})).await;
    }
    let page = host.get("ada", "/page/review").await;
    sound(&page);
    assert!(page.body.contains("class=\"plot\"") && page.body.contains("30 of 40 right"), "{}", page.body);
    assert!(!page.body.contains("NaN"));
}

/// The series that a host reads for the picture.
#[derive(Debug)]
struct Metrics;

#[async_trait::async_trait]
impl SeriesReader for Metrics {
    async fn series(
        &self,
        event: &DetectionEvent,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<(Timestamp, f64)>, aiops_core::BoxError> {
        assert!(from < event.detected_at && event.detected_at < to);
        if event.service.as_str() == "down" {
            return Err("no route to the metrics".into());
        }
        Ok((0..100)
            .map(|step| (aiops_core::time::plus(from, std::time::Duration::from_secs(step * 60)), step as f64))
            .collect())
    }
}

#[tokio::test]
async fn an_incident_shows_series_report_evidence_plan_and_timeline() {
    let host = Host::with(|surface| surface.series(Arc::new(Metrics)));
    let approval = host.waiting(1, "asked").await;
    let page = host.get("bob", &format!("/page/incidents/{}", approval.incident_id)).await;
    sound(&page);
    let body = &page.body;
    assert!(body.contains("<svg class=\"spark\"") && body.contains("from 0 to 99"), "{body}");
    assert!(body.contains("class=\"mark\"") && body.contains("class=\"expected\""), "{body}");
    for text in
        ["the pod hangs", "require_approval", "<time>", "awaiting_approval", "Waiting for approval", " rules</summary>"]
    {
        assert!(body.contains(text), "{text}: {body}");
    }
    assert!(body.contains(&format!("../../page/approvals/{}", approval.id)));
    // A reader that fails costs the picture of the series, not the page: the events' own values are shown.
    let triaged = crate::common::triaged(crate::common::event(9, "down", &[], at(0)), &[]);
    let id = triaged.incident_id.clone();
    host.happened(triaged, None).await;
    let page = host.get("bob", &format!("/page/incidents/{id}")).await;
    assert!(page.body.contains("<svg class=\"spark\"") && page.body.contains("from 1 to 9"), "{}", page.body);
}

const EVIL: [&str; 6] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    "javascript:alert(1)//https://evil.example/x",
    "</title></svg></form><iframe src=//evil.example>",
    "\u{202e}\u{0}{{7*7}}`${alert(1)}`&lt;script&gt;",
];

/// Each field that comes from logs, labels or a model holds the text, on every page.
#[tokio::test]
async fn no_text_of_a_log_a_label_or_a_model_becomes_markup() {
    for evil in EVIL {
        let host = Host::new();
        let mut event = on_pod(1, evil, 0);
        (event.service, event.source) = (evil.into(), evil.to_owned());
        event.kind = EventKind::Other(evil.to_owned());
        event.severity = Severity::Critical;
        event.signal = Signal::new(9.0).expected(1.0).unit(evil).with(evil, evil);
        for (name, value) in [("alertname", evil), (evil, evil), ("namespace", evil)] {
            event.labels.insert(name.to_owned(), value.to_owned());
        }
        let finding = ContextFinding::new(ContextKind::Log, Trust::External, evil).service(evil);
        let context = TriageContext::assemble(vec![finding], vec![]);
        let cited = context.items[0].id.clone();
        let text = TriageReport::new(evil)
            .likely_causes([evil, evil])
            .recommended_actions(["asked"])
            .confidence(Confidence::new(0.9).unwrap())
            .evidence([cited.as_str(), evil])
            .needs_human(false);
        let incident = IncidentId::new(evil);
        let request = TriageRequest::new(incident.clone(), event.clone(), context, at(0), at(0));
        let mut provenance = Provenance::new(evil);
        (provenance.model, provenance.prompt_version) = (Some(evil.to_owned()), Some(evil.to_owned()));
        let triaged = Triaged::new(&request, Triage::new(text, provenance), at(0));
        let mut response = host.dispatcher.respond(&triaged, at(0)).await.unwrap();
        response.disposition = aiops_core::Disposition::Escalated { reason: evil.to_owned() };
        let mut step = Step::new(evil, Some(Target::new([(evil, evil)])), aiops_core::Decision::Deny, evil);
        step.rules = vec![RuleVerdict::new(evil, false, evil).input(evil, evil.to_owned())];
        response.plan.steps.push(step);
        host.happened(triaged, Some(response)).await;
        let told =
            IncidentEntry::Notified { channel: evil.to_owned(), notice: Box::new(aiops_core::NoticeKind::Resolved) };
        host.log.append(IncidentRecord::new(incident, evil.into(), at(1), told)).await.unwrap();
        let switch = host.json("PUT", "ada", "/v1/kill-switch", &serde_json::json!({"on": true, "reason": evil})).await;
        assert_eq!(switch.status, StatusCode::OK);

        let first = host.get("ada", "/page").await;
        sound(&first);
        let mut links = first.body.split("href=\"page/incidents/").skip(1).map(|rest| rest.split('"').next().unwrap());
        let link = links.next().unwrap().to_owned();
        let page = host.get("ada", &format!("/page/incidents/{link}")).await;
        assert_eq!(page.status, StatusCode::OK, "{link}");
        sound(&page);
        assert!(page.body.contains("Context that it cites") && page.body.contains("not in the context"));
        sound(&host.get("ada", "/page/review").await);
        for approval in host.dispatcher.approvals().await.unwrap() {
            sound(&host.get("ada", &format!("/page/approvals/{}", approval.id)).await);
        }
        // What is JSON is taken for nothing else.
        let listed = host.get("ada", "/v1/incidents").await;
        assert_eq!(listed.header("content-type"), "application/json");
        assert_eq!(listed.header("x-content-type-options"), "nosniff");
        let missing = host.get("ada", &format!("/page/incidents/{}", "%3Cscript%3E")).await;
        assert_eq!(missing.status, StatusCode::NOT_FOUND);
        sound(&missing);
    }
}

/// An approval whose request holds what a workload may set: the target's own check keeps out what hides.
#[tokio::test]
async fn what_would_run_is_shown_encoded() {
    let host = Host::new();
    let triaged = crate::common::triaged(on_pod(1, "<b>\"x' onclick=y", 0), &["asked"]);
    host.dispatcher.respond(&triaged, at(0)).await.unwrap();
    let approval = host.dispatcher.approvals().await.unwrap().remove(0);
    let page = host.get("ada", &format!("/page/approvals/{}", approval.id)).await;
    sound(&page);
    assert!(page.body.contains("&lt;b&gt;&quot;x&#39; onclick&#61;y"), "{}", page.body);
}

/// Every control is a link, a button or a labelled field, in the order of the text, with a way past the links.
#[tokio::test]
async fn pages_are_used_by_keyboard() {
    let host = Host::new();
    let approval = host.waiting(1, "asked").await;
    for path in ["/page".to_owned(), format!("/page/approvals/{}", approval.id), "/page/review".to_owned()] {
        let page = host.get("ada", &path).await.body;
        assert!(page.contains("<html lang=\"en\">") && page.contains("<title>"), "{path}");
        assert!(page.contains("class=\"skip\" href=\"#main\"") && page.contains("id=\"main\""), "{path}");
        assert!(!page.contains("tabindex=\"1\""));
        for field in page.split("<input").skip(1) {
            let hidden = field.starts_with(" type=\"hidden\"");
            assert!(hidden || field.starts_with(" type=\"text\""), "{field}");
        }
        assert_eq!(page.matches("<input type=\"text\"").count(), page.matches("<label>").count(), "{path}");
        assert_eq!(page.matches("<button").count(), page.matches("</button>").count(), "{path}");
    }
    let style = host.get("", "/page/style.css").await;
    assert_eq!(style.header("content-type"), "text/css; charset=utf-8");
    assert!(style.body.contains(":focus-visible") && !style.body.contains("url("));
}
