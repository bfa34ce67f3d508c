//! From YAML to a checked policy.

use std::time::Duration;

use aiops_core::jiff::tz::TimeZone;

use super::freeze::{DAY, DAYS, Freeze, bit};
use super::{HealthGuard, LoopGuard, Mode, Policy};
use crate::catalogue::{BlastRadius, action_name, probed};
use crate::store::{Budget, BudgetScope};
use crate::yaml::{ConfigError, Node, Reader, quoted};

const KEYS: [&str; 12] = [
    "mode",
    "threshold",
    "max_blast_radius",
    "max_age",
    "max_actions",
    "freeze",
    "loop_guard",
    "budgets",
    "max_open",
    "health",
    "approval_time",
    "target_wait",
];

/// A group that was unhealthy is trusted again after so long.
const QUIET: Duration = Duration::from_secs(10 * 60);

/// More than anyone plans or guards by hand.
const MAX_COUNT: u32 = 1_000;

pub(super) fn policy(text: &str, file: &str) -> Result<Policy, ConfigError> {
    let (mut reader, root) = Reader::open(file, text, "`mode: shadow`, which keeps every default")?;
    let mut policy = Policy::default();
    if let Some(top) = reader.fields(&root, "", &KEYS, true) {
        let modes = [Mode::Shadow, Mode::Active].map(|mode| (mode.as_str(), mode));
        if let Some(mode) = top.get("mode").and_then(|(node, path)| reader.one_of(node, &path, "mode", &modes)) {
            policy.mode = mode;
        }
        if let Some(share) = top.get("threshold").and_then(|(node, path)| reader.share(node, &path)) {
            policy.threshold = share;
        }
        let radii = BlastRadius::ALL.map(|radius| (radius.as_str(), radius));
        let ceiling = top.get("max_blast_radius");
        if let Some(radius) = ceiling.and_then(|(node, path)| reader.one_of(node, &path, "blast radius", &radii)) {
            policy.max_blast_radius = radius;
        }
        if let Some(age) = top.get("max_age").and_then(|(node, path)| reader.duration(node, &path, "15m")) {
            policy.max_age = Some(age);
        }
        if let Some(max) = top.get("max_actions").and_then(|(node, path)| reader.count(node, &path, MAX_COUNT, 3)) {
            policy.max_actions = Some(max);
        }
        if let Some((node, path)) = top.get("freeze") {
            let items = reader.items(node, &path, "a list such as [{from: 22:00, to: 06:00, tz: Europe/Berlin}]");
            policy.freeze = items
                .unwrap_or_default()
                .into_iter()
                .filter_map(|(node, path)| freeze(&mut reader, node, &path))
                .collect();
        }
        if let Some((node, path)) = top.get("loop_guard") {
            policy.loop_guard = loop_guard(&mut reader, node, &path);
        }
        if let Some((node, path)) = top.get("budgets") {
            let items = reader.items(node, &path, "a list such as [{scope: overall, max: 10, per: 1h}]");
            let items = items.unwrap_or_default();
            policy.budgets = items.into_iter().filter_map(|(node, path)| budget(&mut reader, node, &path)).collect();
        }
        if let Some(max) = top.get("max_open").and_then(|(node, path)| reader.count(node, &path, MAX_COUNT, 5)) {
            policy.max_open = Some(max);
        }
        if let Some((node, path)) = top.get("health") {
            let items = reader.items(node, &path, "a list such as [{probe: unhealthy_share, above: 0.3}]");
            let items = items.unwrap_or_default();
            policy.health = items.into_iter().filter_map(|(node, path)| health(&mut reader, node, &path)).collect();
        }
        if let Some(time) = top.get("approval_time").and_then(|(node, path)| reader.duration(node, &path, "30m")) {
            policy.approval_time = time;
        }
        if let Some(wait) = top.get("target_wait").and_then(|(node, path)| reader.duration(node, &path, "30s")) {
            policy.target_wait = wait;
        }
    }
    reader.close()?;
    Ok(policy)
}

fn budget(reader: &mut Reader, node: &Node, path: &str) -> Option<Budget> {
    let fields = reader.fields(node, path, &["scope", "action", "blast_radius", "max", "per"], false)?;
    let words = ["overall", "action", "target", "blast_radius"].map(|word| (word, word));
    let scope = reader.required(&fields, "scope", "scope: overall");
    let scope = scope.and_then(|(node, path)| reader.one_of(node, &path, "scope of a budget", &words));
    let action = fields.get("action").map(|(node, path)| (node.spot, path.clone(), action_name(reader, node, &path)));
    let radii = BlastRadius::ALL.map(|radius| (radius.as_str(), radius));
    let radius = fields.get("blast_radius");
    let radius =
        radius.map(|(node, path)| (node.spot, path.clone(), reader.one_of(node, &path, "blast radius", &radii)));
    for (spot, path, word) in [
        action.as_ref().map(|(spot, path, _)| (*spot, path, "action")),
        radius.as_ref().map(|(spot, path, _)| (*spot, path, "blast_radius")),
    ]
    .into_iter()
    .flatten()
    {
        if scope.is_some_and(|scope| scope != word) {
            let problem = format!("a budget of scope {} takes no {word}", scope.unwrap_or_default());
            reader.note(spot, path, problem, format!("remove {word}, or write scope: {word}"));
        }
    }
    let max = reader.required(&fields, "max", "max: 10");
    let max = max.and_then(|(node, path)| reader.count(node, &path, MAX_COUNT, 10));
    let per = reader.required(&fields, "per", "per: 1h");
    let per = per.and_then(|(node, path)| reader.duration(node, &path, "1h"));
    let scope = match scope? {
        "action" => BudgetScope::Action(match action {
            Some((_, _, name)) => Some(name?),
            None => None,
        }),
        "target" => BudgetScope::Target,
        "blast_radius" => BudgetScope::BlastRadius(match radius {
            Some((_, _, radius)) => Some(radius?),
            None => None,
        }),
        _ => BudgetScope::Overall,
    };
    Some(Budget::new(scope, max?, per?))
}

fn health(reader: &mut Reader, node: &Node, path: &str) -> Option<HealthGuard> {
    let keys = ["probe", "above", "below", "resume", "quiet", "actions"];
    let fields = reader.fields(node, path, &keys, false)?;
    let (probe, stop) = probed(reader, node, path, &fields)?;
    let resume = match fields.get("resume") {
        None => stop.value(),
        Some((node, path)) => {
            let resume = reader.number(node, &path)?;
            if stop.is_beyond(resume) {
                let problem = "the guard would resume where it stops";
                reader.note(node.spot, &path, problem, "write a number on the healthy side of the limit");
                return None;
            }
            resume
        }
    };
    let quiet = match fields.get("quiet") {
        None => QUIET,
        Some((node, path)) => reader.duration(node, &path, "10m")?,
    };
    let mut actions = Vec::new();
    if let Some((node, path)) = fields.get("actions") {
        for (node, path) in reader.items(node, &path, "a list of actions, such as [drain_node]")? {
            actions.push(action_name(reader, node, &path)?);
        }
    }
    Some(HealthGuard::new(probe, stop).resume(resume, quiet).actions(actions))
}

fn loop_guard(reader: &mut Reader, node: &Node, path: &str) -> Option<LoopGuard> {
    let fields = reader.fields(node, path, &["max", "per"], false)?;
    let max = reader.required(&fields, "max", "max: 3");
    let max = max.and_then(|(node, path)| reader.count(node, &path, MAX_COUNT, 3));
    let per = reader.required(&fields, "per", "per: 1h");
    let per = per.and_then(|(node, path)| reader.duration(node, &path, "1h"));
    Some(LoopGuard { max: max?, per: per? })
}

fn freeze(reader: &mut Reader, node: &Node, path: &str) -> Option<Freeze> {
    let fields = reader.fields(node, path, &["from", "to", "tz", "days"], false)?;
    let from = reader.required(&fields, "from", "from: 22:00");
    let from = from.and_then(|(node, path)| clock(reader, node, &path, DAY - 1));
    let to = reader.required(&fields, "to", "to: 06:00");
    let to = to.and_then(|(node, path)| {
        let to = clock(reader, node, &path, DAY)?;
        if from == Some(to) {
            reader.note(
                node.spot,
                &path,
                "the window ends when it begins",
                "write from: 00:00 and to: 24:00 for a day",
            );
            return None;
        }
        Some(to)
    });
    let zone = match fields.get("tz") {
        None => Some(TimeZone::UTC),
        Some((node, path)) => zone(reader, node, &path),
    };
    let days = match fields.get("days") {
        None => Some(DAYS.iter().fold(0, |days, (_, day)| days | bit(*day))),
        Some((node, path)) => days(reader, node, &path),
    };
    Some(Freeze { from: from?, to: to?, zone: zone?, days: days? })
}

/// A time of day in minutes, at most `max`.
fn clock(reader: &mut Reader, node: &Node, path: &str, max: u16) -> Option<u16> {
    let help = if max < DAY { "write a time from 00:00 to 23:59" } else { "write a time from 00:00 to 24:00" };
    let text = reader.text(node, path, "a time such as 22:00")?;
    let two = |digits: &str| {
        let ok = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        ok.then(|| digits.parse::<u16>().ok()).flatten()
    };
    let minutes = text.split_once(':').and_then(|(hour, minute)| Some((two(hour)?, two(minute)?)));
    match minutes {
        Some((hour, minute)) if minute < 60 && hour * 60 + minute <= max => Some(hour * 60 + minute),
        _ => {
            reader.note(node.spot, path, format!("{} is no time of day", quoted(&text)), help);
            None
        }
    }
}

fn zone(reader: &mut Reader, node: &Node, path: &str) -> Option<TimeZone> {
    let text = reader.text(node, path, "an IANA zone such as Europe/Berlin")?;
    let zone = TimeZone::get(&text).ok();
    if zone.is_none() {
        let help = "write an IANA zone such as Europe/Berlin, America/New_York or UTC";
        reader.note(node.spot, path, format!("unknown time zone {}", quoted(&text)), help);
    }
    zone
}

fn days(reader: &mut Reader, node: &Node, path: &str) -> Option<u8> {
    let items = reader.items(node, path, "a list of days, such as [sat, sun]")?;
    let wanted = items.len();
    let found: Vec<_> = items.into_iter().filter_map(|(node, path)| reader.one_of(node, &path, "day", &DAYS)).collect();
    (found.len() == wanted).then(|| found.into_iter().fold(0, |days, day| days | bit(day)))
}
