//! The weekly review: what passed the threshold, verdicts, and how far confidence can be trusted.

use aiops_core::{Verdict, text};
use axum::extract::{Request, State};

use super::html::Html;
use super::svg::reliability;
use super::{Page, page, see};
use crate::review::ModelReview;
use crate::server::Shared;
use crate::server::authorise::Access;
use crate::server::gate::{Problem, Segment, segment};
use crate::server::review::days;

/// Reports on one page; the newest.
const LISTED: usize = 200;

/// The form, as its token knows it.
fn form(number: &str) -> String {
    format!("verdict {number}")
}

pub(in crate::server) async fn review(State(inner): State<Shared>, request: Request) -> Page {
    let (person, parts) = inner.reader(request).await?;
    let report = inner.report(days(parts.uri.query())?).await?;
    let verdicts = report.verdicts();
    let mut html = Html::default();
    html.raw("<p>From ").text(&report.from.to_string()).raw(" to ").text(&report.to.to_string()).raw(": ");
    html.count(report.items.len()).raw(" reports passed the threshold; ").count(verdicts.right).raw(" right, ");
    html.count(verdicts.wrong).raw(" wrong, ").count(verdicts.unclear).raw(" unclear, ").count(verdicts.open);
    html.raw(" without a verdict.</p>");
    if report.bad_lines > 0 {
        html.raw("<p class=\"banner\">Lines of the audit could not be used: ").text(&report.bad_lines.to_string());
        html.raw(". Verify the audit.</p>");
    }
    for model in &report.models {
        calibration(&mut html, model);
    }
    html.raw("<h2>Reports</h2>");
    if report.items.len() > LISTED {
        html.raw("<p>The newest ").count(LISTED).raw(" are shown.</p>");
    }
    for item in report.items.iter().rev().take(LISTED) {
        let number = item.number.to_string();
        html.raw("<section id=\"report-").text(&number).raw("\"><h3>").text(&number).raw(". ");
        html.text(&item.alertname).raw(" on ").text(&item.service).raw("</h3><p>").text(&item.summary);
        html.raw("</p><p>")
            .text(&item.at.to_string())
            .raw(", confidence ")
            .text(&text::number(item.confidence.value()));
        html.raw(", by ").text(item.model.as_deref().unwrap_or(&item.triager)).raw(", ");
        html.raw(item.disposition.as_ref().map_or("not answered", |disposition| disposition.as_str()));
        html.raw(". <a href=\"../page/incidents/").segment(item.incident_id.as_str()).raw("\">Incident</a></p>");
        if !item.causes.is_empty() {
            html.raw("<ol>");
            for cause in &item.causes {
                html.raw("<li>").text(cause);
            }
            html.raw("</ol>");
        }
        for step in &item.steps {
            html.raw("<p>").text(&step.action).raw(": ").text(&step.reason).raw("</p>");
        }
        if let Some(verdict) = &item.verdict {
            html.raw("<p>Verdict: <strong>").raw(verdict.verdict.as_str()).raw("</strong> by ").text(&verdict.by);
            html.raw(" at ").text(&verdict.at.to_string());
            if !verdict.note.is_empty() {
                html.raw(": ").text(&verdict.note);
            }
            html.raw("</p>");
        }
        html.raw("<form method=\"post\" action=\"../page/review/").segment(&number).raw("\">");
        inner.token(&mut html, &person, &form(&number));
        html.raw("<label>Note <input type=\"text\" name=\"note\" maxlength=\"1000\" autocomplete=\"off\"></label> ");
        html.raw("<button class=\"good\" name=\"verdict\" value=\"right\">Right</button> ");
        html.raw("<button class=\"bad\" name=\"verdict\" value=\"wrong\">Wrong</button> ");
        html.raw("<button name=\"verdict\" value=\"unclear\">Unclear</button></form></section>");
    }
    Ok(page("Review", "../", &html))
}

fn calibration(html: &mut Html, model: &ModelReview) {
    html.raw("<h2>Calibration of ").text(model.model.as_deref().unwrap_or(&model.triager));
    if let Some(version) = &model.prompt_version {
        html.raw(", prompt ").text(version);
    }
    html.raw("</h2>");
    match (&model.calibration, &model.no_calibration) {
        (Some(calibration), _) => {
            html.raw("<figure>").add(&reliability(&calibration.reliability)).raw("<figcaption>");
            html.count(calibration.correct)
                .raw(" of ")
                .count(calibration.cases)
                .raw(" right; across: confidence, up: share right; expected calibration error ");
            html.text(&text::number(calibration.ece.value)).raw("</figcaption></figure><p>");
            html.text(&calibration.advice.to_string()).raw("</p>");
        }
        (None, Some(why)) => {
            html.raw("<p>").text(why).raw("</p>");
        }
        (None, None) => {}
    }
}

pub(in crate::server) async fn judge(State(inner): State<Shared>, number: Segment, request: Request) -> Page {
    let (person, parts, body) = inner.enter(request, Access::Judge).await?;
    let number = segment(number, "report")?;
    let fields = inner.form(&person, &parts, body, &form(&number)).await?;
    let verdicts = [Verdict::Right, Verdict::Wrong, Verdict::Unclear];
    let verdict = verdicts.into_iter().find(|verdict| verdict.as_str() == fields.get("verdict"));
    let verdict = verdict.ok_or_else(|| Problem::malformed("verdict is right, wrong or unclear"))?;
    let judged = inner.judge(&number, &person, verdict, fields.get("note")).await?;
    Ok(see(&format!("../../page/review#report-{}", judged.number)))
}
