//! The API's description, OpenAPI 3.1. Schemas come from the types that are read and written.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use super::Shared;
use super::decide::{ApprovalList, ApprovalView, Grant, Refusal};
use super::gate::typed;
use super::incidents::IncidentList;
use super::review::Judgement;
use super::switch::{SetSwitch, SwitchView};

pub(super) async fn serve(State(inner): State<Shared>) -> Response {
    typed(StatusCode::OK, "application/json", inner.description.clone())
}

fn generator() -> SchemaSettings {
    SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    })
}

/// Both directions: what is read, what is written.
struct Schemas {
    read: SchemaGenerator,
    written: SchemaGenerator,
}

/// One operation.
struct Operation {
    summary: &'static str,
    access: Option<&'static str>,
    parameters: Vec<Value>,
    body: Option<Value>,
    answer: Value,
    problems: &'static [u16],
    links: Map<String, Value>,
}

fn in_path(name: &str, what: &str, schema: Value) -> Value {
    json!({"name": name, "in": "path", "required": true, "description": what, "schema": schema})
}

fn in_query(name: &str, what: &str, schema: Value) -> Value {
    json!({"name": name, "in": "query", "required": false, "description": what, "schema": schema})
}

impl Operation {
    fn new(summary: &'static str, access: Option<&'static str>, answer: Value, problems: &'static [u16]) -> Self {
        Self { summary, access, parameters: Vec::new(), body: None, answer, problems, links: Map::new() }
    }

    fn parameter(mut self, parameter: Value) -> Self {
        self.parameters.push(parameter);
        self
    }

    fn body(mut self, schema: Value) -> Self {
        self.body = Some(schema);
        self
    }

    /// What can be asked next with what the answer holds: parameters, and the body if there is one.
    fn link(mut self, operation: &str, parameters: Value, body: Value) -> Self {
        let mut link = json!({"operationId": operation, "parameters": parameters});
        if !body.is_null() {
            link["requestBody"] = body;
        }
        self.links.insert(operation.to_owned(), link);
        self
    }

    /// The same of an approval that stands at this place of the answer.
    fn approval_links(self, place: &str) -> Self {
        let field = |name: &str| format!("$response.body#{place}/{name}");
        let (id, seen) =
            (json!({"id": field("id")}), json!({"incident_id": field("incident_id"), "digest": field("digest")}));
        self.link("get_v1_approvals_id", id.clone(), Value::Null)
            .link("post_v1_approvals_id_approve", id.clone(), seen.clone())
            .link("post_v1_approvals_id_reject", id, seen)
    }

    fn value(self) -> Value {
        let content = |schema: &Value| json!({"application/json": {"schema": schema}});
        let mut responses = Map::new();
        let mut answer = json!({"description": "As asked.", "content": content(&self.answer)});
        if !self.links.is_empty() {
            answer["links"] = Value::Object(self.links);
        }
        responses.insert("200".to_owned(), answer);
        let problem = json!({"$ref": "#/components/schemas/Problem"});
        let asked: &[u16] = if self.access.is_some() { &[401, 403, 503] } else { &[] };
        let read: &[u16] = if self.body.is_some() { &[400, 408, 413, 415] } else { &[] };
        for status in asked.iter().chain(read).chain(self.problems) {
            let answer = json!({"description": said(*status), "content": content(&problem)});
            responses.insert(status.to_string(), answer);
        }
        let mut operation = json!({"summary": self.summary, "responses": responses});
        if !self.parameters.is_empty() {
            operation["parameters"] = json!(self.parameters);
        }
        if let Some(body) = self.body {
            operation["requestBody"] = json!({"required": true, "content": content(&body)});
        }
        match self.access {
            Some(access) => {
                operation["description"] = json!(format!("The host's authoriser is asked for: {access}."));
                operation["security"] = json!([{ "host": [] }]);
            }
            None => operation["security"] = json!([]),
        }
        operation
    }
}

/// A name for programs: `get_v1_approvals_id`.
fn operation_id(method: &str, path: &str) -> String {
    let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    std::iter::once(method).chain(words).collect::<Vec<_>>().join("_")
}

fn said(status: u16) -> &'static str {
    match status {
        400 => "The body or a parameter does not read.",
        401 => "The host does not know who asks.",
        403 => "Whoever asks may not, or the request comes from another site.",
        404 => "There is none.",
        408 => "The body did not come in time.",
        409 => "Settled before, expired, or not what was shown: another incident or digest.",
        413 => "The body is too long.",
        415 => "The body is not of this type.",
        _ => "The store, a log or the authoriser does not answer now.",
    }
}

/// The document.
pub(super) fn document() -> Value {
    let mut schemas = Schemas {
        read: generator().for_deserialize().into_generator(),
        written: generator().for_serialize().into_generator(),
    };
    let Schemas { read, written } = &mut schemas;
    let (grant, refusal) = (json!(read.subschema_for::<Grant>()), json!(read.subschema_for::<Refusal>()));
    let (judgement, set) = (json!(read.subschema_for::<Judgement>()), json!(read.subschema_for::<SetSwitch>()));
    let (approval, approvals) =
        (json!(written.subschema_for::<ApprovalView>()), json!(written.subschema_for::<ApprovalList>()));
    let incidents = json!(written.subschema_for::<IncidentList>());
    let incident = json!(written.subschema_for::<aiops_core::Incident>());
    let switch = json!(written.subschema_for::<SwitchView>());
    let alive = json!({"type": "object", "required": ["status"], "properties": {"status": {"const": "ok"}}});
    let report = json!({
        "type": "object",
        "required": ["from", "to", "items", "models", "records", "left_out", "bad_lines", "bad"],
        "properties": {
            "from": {"type": "string", "format": "date-time"},
            "to": {"type": "string", "format": "date-time"},
            "items": {"type": "array", "items": {"$ref": "#/components/schemas/ReviewItem"}},
            "models": {"type": "array", "items": {"type": "object"}},
            "records": {"type": "integer", "minimum": 0},
            "left_out": {"type": "integer", "minimum": 0},
            "bad_lines": {"type": "integer", "minimum": 0},
            "bad": {"type": "array", "items": {"type": "object"}},
        },
    });
    let item = json!({"$ref": "#/components/schemas/ReviewItem"});

    let text = || json!({"type": "string", "minLength": 1});
    let count = || json!({"type": "integer", "minimum": 0});
    let id = || in_path("id", "The approval's name.", text());
    let days = json!({"type": "integer", "minimum": 1, "maximum": 366, "default": 7});
    let limit = json!({"type": "integer", "minimum": 1, "maximum": 200, "default": 50});
    let state = json!({"enum": ["open", "resolved"]});
    let decide: &[u16] = &[404, 409];
    let operations = [
        ("/health", "get", Operation::new("Whether this process answers.", None, alive.clone(), &[])),
        ("/ready", "get", Operation::new("Whether the store answers.", None, alive, &[503])),
        ("/openapi.json", "get", Operation::new("This document.", None, json!({"type": "object"}), &[])),
        (
            "/v1/approvals",
            "get",
            Operation::new("What waits, the oldest first.", Some("read"), approvals, &[])
                .approval_links("/approvals/0"),
        ),
        (
            "/v1/approvals/{id}",
            "get",
            Operation::new("One approval, settled or not.", Some("read"), approval.clone(), &[404])
                .parameter(id())
                .approval_links(""),
        ),
        (
            "/v1/approvals/{id}/approve",
            "post",
            Operation::new("Grants exactly what was shown, once.", Some("decide"), approval.clone(), decide)
                .parameter(id())
                .body(grant),
        ),
        (
            "/v1/approvals/{id}/reject",
            "post",
            Operation::new("Refuses what was shown; the plan stops.", Some("decide"), approval, decide)
                .parameter(id())
                .body(refusal),
        ),
        (
            "/v1/incidents",
            "get",
            Operation::new("Incidents with their timelines, the newest first.", Some("read"), incidents, &[400])
                .parameter(in_query(
                    "service",
                    "Only of this service; may come more than once.",
                    json!({"type": "string"}),
                ))
                .parameter(in_query("state", "Only in this state.", state))
                .parameter(in_query("limit", "At most so many.", limit))
                .link("get_v1_incidents_id", json!({"id": "$response.body#/incidents/0/incident_id"}), Value::Null),
        ),
        (
            "/v1/incidents/{id}",
            "get",
            Operation::new("One incident with its timeline.", Some("read"), incident, &[404]).parameter(in_path(
                "id",
                "The incident's name.",
                text(),
            )),
        ),
        (
            "/v1/review",
            "get",
            Operation::new("What passed the threshold, and calibration.", Some("read"), report, &[400, 404])
                .parameter(in_query("days", "So far back.", days))
                .link(
                    "post_v1_review_number_verdict",
                    json!({"number": "$response.body#/items/0/number"}),
                    Value::Null,
                ),
        ),
        (
            "/v1/review/{number}/verdict",
            "post",
            Operation::new("A word on a report; of several the last one counts.", Some("judge"), item, &[404])
                .parameter(in_path("number", "The number of the report's decision in the audit.", count()))
                .body(judgement),
        ),
        ("/v1/kill-switch", "get", Operation::new("How it stands.", Some("read"), switch.clone(), &[])),
        (
            "/v1/kill-switch",
            "put",
            Operation::new("Stops every action of all processes, or no longer.", Some("switch"), switch, &[]).body(set),
        ),
    ];
    let mut paths = Map::new();
    for (path, method, operation) in operations {
        let entry = paths.entry(path).or_insert_with(|| json!({}));
        entry[method] = operation.value();
        entry[method]["operationId"] = json!(operation_id(method, path));
    }
    let mut components = schemas.read.take_definitions(true);
    components.extend(schemas.written.take_definitions(true));
    components.insert("Problem".to_owned(), problem());
    components.insert("ReviewItem".to_owned(), review_item());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "aiops remediation",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Approvals, incidents, review and kill switch. Mounted by a host, which says who may do what.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"host": {"type": "http", "scheme": "bearer", "description": "Whatever the host's authoriser takes."}},
        },
    })
}

fn problem() -> Value {
    json!({
        "type": "object",
        "required": ["error"],
        "properties": {"error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": {"type": "string"},
                "message": {"type": "string"},
                "approval": {"$ref": "#/components/schemas/ApprovalView"},
            },
        }},
    })
}

fn review_item() -> Value {
    json!({
        "type": "object",
        "required": ["number", "report", "at", "incident_id", "event_id", "service", "alertname", "triager",
            "confidence", "summary", "causes", "steps"],
        "properties": {
            "number": {"type": "integer", "minimum": 0},
            "report": {"type": "string"},
            "at": {"type": "string", "format": "date-time"},
            "incident_id": {"type": "string"},
            "event_id": {"type": "string"},
            "service": {"type": "string"},
            "alertname": {"type": "string"},
            "triager": {"type": "string"},
            "model": {"type": ["string", "null"]},
            "confidence": {"type": "number", "minimum": 0, "maximum": 1},
            "summary": {"type": "string"},
            "causes": {"type": "array", "items": {"type": "string"}},
            "steps": {"type": "array", "items": {"type": "object"}},
            "disposition": {"type": ["object", "null"]},
            "approval": {"type": ["string", "null"]},
            "verdict": {"type": ["object", "null"]},
        },
    })
}
