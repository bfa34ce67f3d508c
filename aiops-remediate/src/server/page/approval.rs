//! One approval: exactly what would run, and a person's word on it.

use axum::extract::{Request, State};

use super::html::{Html, segment as encoded};
use super::{Page, fact, page, see};
use crate::server::Shared;
use crate::server::authorise::Access;
use crate::server::decide::ApprovalView;
use crate::server::gate::{Problem, Segment, segment};
use crate::store::Approval;

/// The form, as its token knows it.
fn form(id: &str) -> String {
    format!("approval {id}")
}

pub(in crate::server) async fn approval(State(inner): State<Shared>, id: Segment, request: Request) -> Page {
    let (person, _) = inner.reader(request).await?;
    let approval = inner.approval(&segment(id, "approval")?).await?;
    let view = ApprovalView::from(&approval);
    let mut html = Html::default();
    html.raw("<p>Of <a href=\"../../page/incidents/").segment(&view.incident_id).raw("\">incident ");
    html.text(&view.incident_id).raw("</a>. It is <strong>").raw(view.state).raw("</strong>");
    if let Some(by) = &view.decided_by {
        html.raw(" by ").text(by);
    }
    if let Some(at) = &view.settled_at {
        html.raw(" since ").text(at);
    }
    if let Some(reason) = view.reason.as_deref().filter(|reason| !reason.is_empty()) {
        html.raw(": ").text(reason);
    }
    html.raw(".</p><h2>What would run</h2><dl>");
    fact(&mut html, "Action", &view.action);
    let spec = inner.catalogue.as_ref().map(aiops_core::Live::load);
    if let Some(spec) = spec.as_ref().and_then(|catalogue| catalogue.get(&view.action)) {
        fact(&mut html, "Owner", &spec.owner);
        fact(&mut html, "Affects at most one", spec.blast_radius.as_str());
        if let Some(runbook) = &spec.runbook {
            fact(&mut html, "Runbook", runbook);
        }
    }
    for (name, value) in &view.target {
        fact(&mut html, name, value);
    }
    fact(&mut html, "Service", &view.service);
    for (name, value) in &view.parameters {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        fact(&mut html, &format!("Parameter {name}"), &text);
    }
    html.raw("</dl><h2>The state that it rests on</h2>");
    if view.observed.is_empty() {
        html.raw("<p>None was observed.</p>");
    } else {
        html.raw("<p>In another one it does not run.</p><dl>");
        for (name, value) in &view.observed {
            fact(&mut html, name, value);
        }
        html.raw("</dl>");
    }
    html.raw("<h2>Keys</h2><dl>");
    fact(&mut html, "Episode", &view.fingerprint);
    fact(&mut html, "Digest", &view.digest);
    fact(&mut html, "Asked for", &view.asked_at);
    fact(&mut html, "Expires", &view.expires_at);
    html.raw("</dl>");
    if approval.state.is_pending() {
        let token = form(&view.id);
        for grant in [true, false] {
            forms(&mut html, &approval, grant, |html| inner.token(html, &person, &token));
        }
    }
    let title = format!("{} on {}", view.action, approval.request.target);
    Ok(page(&title, "../../", &html))
}

/// A grant needs no reason, a refusal tells one.
fn forms(html: &mut Html, approval: &Approval, grant: bool, token: impl FnOnce(&mut Html)) {
    html.raw("<form method=\"post\" action=\"../../page/approvals/").segment(approval.id.as_str()).raw("\">");
    token(html);
    html.raw("<input type=\"hidden\" name=\"incident_id\" value=\"").value(approval.incident_id.as_str());
    html.raw("\"><input type=\"hidden\" name=\"digest\" value=\"").value(&approval.digest).raw("\">");
    html.raw(if grant {
        "<button class=\"good\" name=\"decision\" value=\"approve\">Approve exactly this</button></form>"
    } else {
        "<label>Why not <input type=\"text\" name=\"reason\" maxlength=\"300\" autocomplete=\"off\"></label> \
         <button class=\"bad\" name=\"decision\" value=\"reject\">Reject</button></form>"
    });
}

pub(in crate::server) async fn decide(State(inner): State<Shared>, id: Segment, request: Request) -> Page {
    let (person, parts, body) = inner.enter(request, Access::Decide).await?;
    let id = segment(id, "approval")?;
    let fields = inner.form(&person, &parts, body, &form(&id)).await?;
    let refusal = match fields.get("decision") {
        "approve" => None,
        "reject" => Some(fields.get("reason")),
        _ => return Err(Problem::malformed("decision is approve or reject").into()),
    };
    let seen = (fields.get("incident_id"), fields.get("digest"));
    inner.decide(&id, &person, seen, refusal).await?;
    Ok(see(&format!("../../page/approvals/{}", encoded(&id))))
}
