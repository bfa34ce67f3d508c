//! From YAML to checked entries.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use aiops_core::{ActionName, ContextKind};

use super::command::CommandSpec;
use super::condition::{Condition, Limit};
use super::spec::{ActionSpec, BlastRadius, strange};
use crate::yaml::{ConfigError, Fields, Node, Reader, Spot, quoted};

const KEYS: [&str; 14] = [
    "name",
    "owner",
    "blast_radius",
    "requires_approval",
    "runbook",
    "max_replicas",
    "cooldown",
    "min_confidence",
    "evidence",
    "precondition",
    "verify",
    "next",
    "target",
    "command",
];

/// An entry that is right, as the help of findings shows it.
const EXAMPLE: &str =
    "`actions:` and below it `  - {name: restart_pod, owner: team-shop, blast_radius: pod, requires_approval: false}`";

/// No cluster of a reader of this file runs more replicas of one deployment.
const MAX_REPLICAS: u32 = 10_000;

/// Kubernetes refuses longer label names (63, and a prefix of 253 with its slash).
const MAX_LABEL: usize = 317;

pub(super) fn specs(text: &str, file: &str) -> Result<Vec<ActionSpec>, ConfigError> {
    let (mut reader, root) = Reader::open(file, text, EXAMPLE)?;
    let mut specs = Vec::new();
    if let Some(top) = reader.fields(&root, "", &["actions"], true)
        && let Some((actions, path)) = reader.required(&top, "actions", "actions:")
        && let Some(items) = reader.items(actions, &path, EXAMPLE)
    {
        let (mut lines, mut nexts) = (HashMap::new(), Vec::new());
        for (item, path) in items {
            specs.extend(spec(&mut reader, item, &path, &mut lines, &mut nexts));
        }
        for (name, spot, path) in nexts {
            if !lines.contains_key(&name) {
                let problem = format!("no action {} in this catalogue", quoted(name.as_str()));
                reader.note(spot, &path, problem, "add the action, or name another one");
            }
        }
    }
    reader.close()?;
    Ok(specs)
}

fn spec(
    reader: &mut Reader,
    node: &Node,
    path: &str,
    lines: &mut HashMap<ActionName, u32>,
    nexts: &mut Vec<(ActionName, Spot, String)>,
) -> Option<ActionSpec> {
    let fields = reader.fields(node, path, &KEYS, false)?;
    let name = reader.required(&fields, "name", "name: restart_pod").and_then(|(node, path)| {
        let name = action_name(reader, node, &path)?;
        match lines.entry(name.clone()) {
            Entry::Vacant(free) => {
                free.insert(node.spot.line);
            }
            Entry::Occupied(first) => {
                let problem = format!("duplicate action {}, first on line {}", quoted(name.as_str()), first.get());
                reader.note(node.spot, &path, problem, "rename or remove one of the two");
            }
        }
        Some(name)
    });
    let owner = reader.required(&fields, "owner", "owner: team-shop");
    let owner = owner.and_then(|(node, path)| reader.text(node, &path, "the team that answers for it"));
    let radii = BlastRadius::ALL.map(|radius| (radius.as_str(), radius));
    let blast_radius = reader
        .required(&fields, "blast_radius", "blast_radius: pod")
        .and_then(|(node, path)| reader.one_of(node, &path, "blast radius", &radii));
    let requires_approval = reader
        .required(&fields, "requires_approval", "requires_approval: true")
        .and_then(|(node, path)| reader.boolean(node, &path));
    let runbook =
        fields.get("runbook").and_then(|(node, path)| reader.text(node, &path, "https://runbooks.example/restart-pod"));
    let max_replicas = fields.get("max_replicas").and_then(|(node, path)| reader.count(node, &path, MAX_REPLICAS, 20));
    let cooldown = fields.get("cooldown").and_then(|(node, path)| reader.duration(node, &path, "10m"));
    let min_confidence = fields.get("min_confidence").and_then(|(node, path)| reader.share(node, &path));
    let evidence = fields.get("evidence").and_then(|(node, path)| {
        let kinds = ["deploy", "log", "alert", "slo"].map(|kind| (kind, kind));
        reader.one_of(node, &path, "kind of evidence", &kinds)
    });
    let precondition = fields.get("precondition").and_then(|(node, path)| condition(reader, node, &path));
    let verify = fields.get("verify").and_then(|(node, path)| condition(reader, node, &path));
    let next = fields.get("next").and_then(|(node, path)| {
        let name = action_name(reader, node, &path)?;
        nexts.push((name.clone(), node.spot, path));
        Some(name)
    });
    let target = fields.get("target").map(|(node, path)| target(reader, node, &path)).unwrap_or_default();
    let command = fields.get("command").and_then(|(node, path)| command(reader, node, &path));
    Some(ActionSpec {
        name: name?,
        owner: owner?,
        blast_radius: blast_radius?,
        requires_approval: requires_approval?,
        runbook,
        max_replicas,
        cooldown,
        min_confidence,
        evidence: evidence.map(kind),
        precondition,
        verify,
        next,
        target,
        command,
    })
}

/// The programs of an action, each a list that begins with its path.
fn command(reader: &mut Reader, node: &Node, path: &str) -> Option<CommandSpec> {
    const KEYS: [&str; 6] = ["check", "execute", "verify", "compensate", "directory", "deadline"];
    let fields = reader.fields(node, path, &KEYS, false)?;
    let check = reader.required(&fields, "check", "check: [/opt/scripts/look, \"{pod}\"]");
    let check = check.and_then(|(node, path)| words(reader, node, &path));
    let execute = reader.required(&fields, "execute", "execute: [/opt/scripts/restart, \"{pod}\"]");
    let execute = execute.and_then(|(node, path)| words(reader, node, &path));
    let verify = fields.get("verify").and_then(|(node, path)| words(reader, node, &path));
    let compensate = fields.get("compensate").and_then(|(node, path)| words(reader, node, &path));
    let directory = fields.get("directory").and_then(|(node, path)| reader.text(node, &path, "/opt/scripts"));
    let deadline = fields.get("deadline").and_then(|(node, path)| reader.duration(node, &path, "20s"));
    Some(CommandSpec { check: check?, execute: execute?, verify, compensate, directory, deadline })
}

/// A program's path and its arguments.
fn words(reader: &mut Reader, node: &Node, path: &str) -> Option<Vec<String>> {
    let example = "a program's absolute path and its arguments, such as [/opt/scripts/look, \"{pod}\"]";
    let items = reader.items(node, path, example)?;
    let wanted = items.len();
    let words: Vec<String> = items.into_iter().filter_map(|(item, path)| reader.text(item, &path, example)).collect();
    (words.len() == wanted).then_some(words)
}

/// A probe, and one limit.
fn condition(reader: &mut Reader, node: &Node, path: &str) -> Option<Condition> {
    let fields = reader.fields(node, path, &["probe", "above", "below"], false)?;
    let (probe, limit) = probed(reader, node, path, &fields)?;
    Some(Condition::new(probe, limit))
}

/// What a probe is asked, and the one limit of its number.
pub(crate) fn probed(reader: &mut Reader, node: &Node, path: &str, fields: &Fields<'_>) -> Option<(String, Limit)> {
    let probe = reader.required(fields, "probe", "probe: pool_saturation");
    let probe =
        probe.and_then(|(node, path)| reader.text(node, &path, "what the probe is asked, such as pool_saturation"));
    let above = fields.get("above").map(|(node, path)| reader.number(node, &path).map(Limit::Above));
    let below = fields.get("below").map(|(node, path)| reader.number(node, &path).map(Limit::Below));
    let limit = match (above, below) {
        (Some(limit), None) | (None, Some(limit)) => limit?,
        (None, None) => {
            reader.note(node.spot, path, "there is no limit", "add `above: 0.9` or `below: 0.9`");
            return None;
        }
        (Some(_), Some(_)) => {
            reader.note(node.spot, path, "there are two limits", "remove above or below");
            return None;
        }
    };
    Some((probe?, limit))
}

fn kind(name: &str) -> ContextKind {
    match name {
        "deploy" => ContextKind::Deploy,
        "log" => ContextKind::Log,
        "alert" => ContextKind::Alert,
        "slo" => ContextKind::Slo,
        other => ContextKind::Other(other.to_owned()),
    }
}

pub(crate) fn action_name(reader: &mut Reader, node: &Node, path: &str) -> Option<ActionName> {
    let text = reader.text(node, path, "a name such as restart_pod")?;
    let valid = ActionName::new(text.as_str());
    if valid.is_err() {
        let folded: String = text
            .trim()
            .chars()
            .map(|c| if matches!(c, '-' | ' ' | '.') { '_' } else { c.to_ascii_lowercase() })
            .collect();
        let (odd, help) = match ActionName::new(folded) {
            Ok(folded) => (String::new(), format!("write {folded}")),
            Err(_) => (
                strange(&text),
                "write a lower-case letter, then up to 63 of a-z, 0-9 and _, such as restart_pod".to_owned(),
            ),
        };
        reader.note(node.spot, path, format!("invalid action name {}{odd}", quoted(&text)), help);
    }
    valid.ok()
}

fn target(reader: &mut Reader, node: &Node, path: &str) -> Vec<String> {
    let example = "a list of label names, such as [cluster, namespace, pod]";
    let mut labels: Vec<String> = Vec::new();
    for (item, path) in reader.items(node, path, example).unwrap_or_default() {
        let Some(label) = reader.text(item, &path, "a label name, such as namespace") else { continue };
        if label.len() > MAX_LABEL || label.chars().any(|c| c.is_whitespace() || c.is_control()) {
            reader.note(
                item.spot,
                &path,
                format!("{} is no label name", quoted(&label)),
                "write one such as namespace",
            );
        } else if labels.contains(&label) {
            reader.note(item.spot, &path, format!("duplicate label {}", quoted(&label)), "remove one of the two");
        } else {
            labels.push(label);
        }
    }
    labels
}
