//! Pages for people: plain HTML, forms and pictures, without scripts.

mod approval;
mod html;
mod incident;
mod review;
mod svg;
mod tokens;

use std::collections::HashMap;

use aiops_core::{IncidentEntry, IncidentQuery, IncidentRecord, IncidentState};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::LOCATION;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

pub(super) use self::approval::{approval, decide};
use self::html::Html;
pub use self::incident::SeriesReader;
pub(super) use self::incident::incident;
pub(super) use self::review::{judge, review};
pub(super) use self::tokens::Tokens;
use super::authorise::{Access, Person};
use super::gate::{Problem, mark, typed};
use super::{Inner, Shared};

/// Incidents on the first page.
const LISTED: usize = 50;
/// Fields of a form.
const FIELDS: usize = 20;
/// The form of the kill switch, as its token knows it.
const SWITCH: &str = "kill switch";

/// A problem, told on a page.
pub(super) struct PageProblem(Problem);

impl From<Problem> for PageProblem {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<crate::store::StoreError> for PageProblem {
    fn from(error: crate::store::StoreError) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for PageProblem {
    fn into_response(self) -> Response {
        let status = self.0.status;
        let mut html = Html::default();
        html.raw("<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Not done</title><main><h1>Not done</h1><p>")
            .text(&self.0.message)
            .raw("</p></main></html>");
        let mut response = typed(status, "text/html; charset=utf-8", html.into_text());
        mark(&mut response, status);
        response
    }
}

/// What a page answers.
pub(super) type Page = Result<Response, PageProblem>;

/// A whole page. `up` leads from the page to where `page` is.
fn page(title: &str, up: &'static str, content: &Html) -> Response {
    let mut html = Html::default();
    html.raw("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">")
        .raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>")
        .text(title)
        .raw("</title><link rel=\"stylesheet\" href=\"")
        .raw(up)
        .raw("page/style.css\"></head><body><a class=\"skip\" href=\"#main\">To the content</a><nav aria-label=\"Pages\"><a href=\"")
        .raw(up)
        .raw("page\">Incidents and approvals</a> · <a href=\"")
        .raw(up)
        .raw("page/review\">Review</a></nav><main id=\"main\"><h1>")
        .text(title)
        .raw("</h1>")
        .add(content)
        .raw("</main></body></html>");
    typed(StatusCode::OK, "text/html; charset=utf-8", html.into_text())
}

/// To another page, which a reload does not post again.
fn see(place: &str) -> Response {
    let mut response = typed(StatusCode::SEE_OTHER, "text/plain", Body::empty());
    // Segments are encoded: what stands in them can stand in a header.
    if let Ok(place) = HeaderValue::from_str(place) {
        response.headers_mut().insert(LOCATION, place);
    }
    response
}

pub(super) async fn style() -> Response {
    typed(StatusCode::OK, "text/css; charset=utf-8", include_str!("style.css"))
}

/// The fields of a form.
struct Form(HashMap<String, String>);

impl Form {
    fn get(&self, name: &str) -> &str {
        self.0.get(name).map(String::as_str).unwrap_or_default()
    }
}

impl Inner {
    /// A form that this person was shown, by its token.
    async fn form(&self, person: &Person, parts: &Parts, body: Body, form: &str) -> Result<Form, Problem> {
        let bytes = self.body(parts, body, "application/x-www-form-urlencoded").await?;
        let pairs = form_urlencoded::parse(&bytes).take(FIELDS);
        let fields = Form(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect());
        if self.tokens.holds(fields.get("token"), person.name(), form, self.clock.now()) {
            return Ok(fields);
        }
        metrics::counter!("aiops_surface_forged_total").increment(1);
        let message = "the form is too old, or not from this page; go back, reload the page and try again";
        Err(Problem::new(StatusCode::FORBIDDEN, "token", message))
    }

    /// The hidden field with the token.
    fn token(&self, html: &mut Html, person: &Person, form: &str) {
        let token = self.tokens.make(person.name(), form, self.clock.now());
        html.raw("<input type=\"hidden\" name=\"token\" value=\"").value(&token).raw("\">");
    }
}

/// One row of a list of names and values.
fn fact(html: &mut Html, name: &str, value: &str) {
    html.raw("<dt>").text(name).raw("</dt><dd>").text(value).raw("</dd>");
}

pub(super) async fn index(State(inner): State<Shared>, request: Request) -> Page {
    let (person, _) = inner.reader(request).await?;
    let mut html = Html::default();
    switch(&inner, &mut html, &person).await?;
    html.raw("<h2>Waiting for approval</h2>");
    let approvals = inner.dispatcher.approvals().await?;
    if approvals.is_empty() {
        html.raw("<p>Nothing.</p>");
    } else {
        html.raw("<table><thead><tr><th>Action<th>Target<th>Service<th>Expires</tr></thead><tbody>");
        for approval in &approvals {
            html.raw("<tr><td><a href=\"page/approvals/").segment(approval.id.as_str()).raw("\">");
            html.text(approval.request.action.as_str()).raw("</a><td>").text(&approval.request.target.to_string());
            html.raw("<td>").text(approval.request.service.as_str()).raw("<td>");
            html.text(&approval.expires_at.to_string()).raw("</tr>");
        }
        html.raw("</tbody></table>");
    }
    html.raw("<h2>Incidents</h2>");
    let incidents = inner.incidents(&IncidentQuery::default().limit(LISTED)).await?;
    if incidents.is_empty() {
        html.raw("<p>None.</p>");
    } else {
        html.raw("<table><thead><tr><th>Since<th>Services<th>State<th>What</tr></thead><tbody>");
        for incident in &incidents {
            let first = incident.records.first();
            html.raw("<tr><td><a href=\"page/incidents/").segment(incident.incident_id.as_str()).raw("\">");
            html.text(&first.map(|record| record.at.to_string()).unwrap_or_default()).raw("</a><td>");
            let services: Vec<&str> = incident.services.iter().map(|service| service.as_str()).collect();
            html.text(&aiops_core::text::clip(&services.join(", "), 200)).raw("<td>");
            html.raw(if incident.state == IncidentState::Open { "open" } else { "resolved" }).raw("<td>");
            // Whoever was told may have been told first: what it is stands in the event.
            let is_event = |record: &&IncidentRecord| matches!(record.entry, IncidentEntry::Announced { .. });
            let what = incident.records.iter().find(is_event).or(first);
            html.text(&what.map(|record| record.entry.line()).unwrap_or_default()).raw("</tr>");
        }
        html.raw("</tbody></table>");
    }
    Ok(page("Incidents and approvals", "", &html))
}

/// How the kill switch stands, and the form that sets it.
async fn switch(inner: &Inner, html: &mut Html, person: &Person) -> Result<(), Problem> {
    let switch = inner.store.kill_switch().await?;
    if switch.on {
        html.raw("<p class=\"banner\" role=\"status\"><strong>The kill switch is on: no action runs.</strong> Set by ");
        html.text(&switch.by).raw(" at ").text(&switch.at.to_string()).raw(": ").text(&switch.reason).raw("</p>");
    }
    html.raw("<details><summary>Kill switch: ").raw(if switch.on { "on" } else { "off" });
    html.raw("</summary><form method=\"post\" action=\"page/kill-switch\">");
    inner.token(html, person, SWITCH);
    html.raw("<p><label>Why <input type=\"text\" name=\"reason\" required maxlength=\"300\" autocomplete=\"off\"></label></p>");
    html.raw(if switch.on {
        "<button name=\"on\" value=\"no\">Let policies decide again</button>"
    } else {
        "<button class=\"bad\" name=\"on\" value=\"yes\">Stop every action</button>"
    });
    html.raw("</form></details>");
    Ok(())
}

pub(super) async fn set_switch(State(inner): State<Shared>, request: Request) -> Page {
    let (person, parts, body) = inner.enter(request, Access::Switch).await?;
    let form = inner.form(&person, &parts, body, SWITCH).await?;
    let on = match form.get("on") {
        "yes" => true,
        "no" => false,
        _ => return Err(Problem::malformed("on is yes or no").into()),
    };
    inner.set_switch(&person, on, form.get("reason")).await?;
    Ok(see("../page"))
}
