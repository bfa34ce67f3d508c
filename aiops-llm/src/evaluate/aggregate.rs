//! Sums over scores.

use std::collections::{BTreeMap, BTreeSet};

use aiops_core::calibration::Judged;

use super::report::{ActionCounts, Cost, Escalation, Latency, Share, TagRow};
use super::{ActionScore, Answered, IncidentSet, RecordedIncident, Score};

pub(super) fn is_own(score: &Score) -> bool {
    score.answered == Answered::Triager
}

pub(super) fn is_fallback(score: &Score) -> bool {
    matches!(score.answered, Answered::Fallback { .. })
}

/// Confidence and truth of the triager's own answers, once for each incident: repeats are not independent, and would
/// make intervals too narrow.
pub(super) fn judged(scores: &[Score]) -> Vec<Judged> {
    let own = scores.iter().filter(|score| is_own(score) && score.repeat == 1);
    own.filter_map(|score| Some(Judged::new(score.confidence, score.first_cause?))).collect()
}

pub(super) fn actions(scores: &[Score]) -> ActionCounts {
    let mut counts = ActionCounts::default();
    for score in scores {
        *match score.actions {
            ActionScore::Nothing => &mut counts.nothing,
            ActionScore::Acceptable => &mut counts.acceptable,
            ActionScore::Unwanted => &mut counts.unwanted,
            ActionScore::Forbidden => &mut counts.forbidden,
            ActionScore::Unknown => &mut counts.unknown,
        } += 1;
    }
    counts
}

fn by_name(set: &IncidentSet) -> BTreeMap<&str, &RecordedIncident> {
    set.incidents.iter().map(|incident| (incident.name.as_str(), incident)).collect()
}

/// Of the answers to incidents where something helps and no person is needed, those by which it would be done.
pub(super) fn helped(set: &IncidentSet, scores: &[Score]) -> Share {
    let incidents = by_name(set);
    let can_help = |score: &&Score| {
        let expected = incidents.get(score.incident.as_str()).map(|incident| &incident.expected);
        expected.is_some_and(|it| !it.acceptable_actions.is_empty() && it.should_escalate != Some(true))
    };
    Share::of(scores.iter().filter(can_help).map(Score::helps))
}

pub(super) fn escalation(scores: &[Score]) -> Escalation {
    let mut counts = Escalation::default();
    for score in scores {
        match (score.escalates, score.should_escalate) {
            (true, Some(true)) => counts.right += 1,
            (true, Some(false)) => counts.needless += 1,
            (false, Some(true)) => counts.missed += 1,
            (false, Some(false)) => counts.left_alone += 1,
            (_, None) => {}
        }
    }
    counts
}

pub(super) fn agreement(scores: &[Score], repeats: u32) -> Share {
    if repeats < 2 {
        return Share::new(0, 0);
    }
    let same = |group: &[Score]| {
        let key = |score: &Score| {
            let actions: BTreeSet<String> = score.recommended.iter().cloned().collect();
            (score.first_cause, score.any_cause, actions, score.escalates)
        };
        group.windows(2).all(|pair| key(&pair[0]) == key(&pair[1]))
    };
    Share::of(scores.chunk_by(|one, next| one.incident == next.incident).map(same))
}

pub(super) fn flags(scores: &[Score]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for flag in scores.iter().filter_map(|score| score.provenance.as_ref()).flat_map(|it| &it.flags) {
        *counts.entry(flag.clone()).or_default() += 1;
    }
    counts
}

pub(super) fn latency(scores: &[Score]) -> Option<Latency> {
    let mut seconds: Vec<f64> = scores.iter().map(|score| score.seconds).collect();
    seconds.sort_by(f64::total_cmp);
    // The smallest that so many hundredths do not exceed.
    let at = |hundredths: usize| seconds.get((seconds.len() * hundredths).div_ceil(100).saturating_sub(1)).copied();
    Some(Latency { median: at(50)?, p95: at(95)?, max: at(100)? })
}

pub(super) fn cost(scores: &[Score]) -> Cost {
    let mut sum = Cost::default();
    for provenance in scores.iter().filter_map(|score| score.provenance.as_ref()) {
        sum.input_tokens = sum.input_tokens.saturating_add(provenance.input_tokens);
        sum.output_tokens = sum.output_tokens.saturating_add(provenance.output_tokens);
        match provenance.cost_dollars {
            Some(dollars) => sum.dollars += dollars,
            None if provenance.input_tokens > 0 || provenance.output_tokens > 0 => sum.unpriced += 1,
            None => {}
        }
    }
    sum
}

pub(super) fn tags(set: &IncidentSet, scores: &[Score]) -> Vec<TagRow> {
    let incidents = by_name(set);
    let mut groups: BTreeMap<&str, Vec<&Score>> = BTreeMap::new();
    for score in scores {
        for tag in incidents.get(score.incident.as_str()).into_iter().flat_map(|incident| &incident.tags) {
            groups.entry(tag).or_default().push(score);
        }
    }
    let row = |(tag, scores): (&str, Vec<&Score>)| TagRow {
        tag: tag.to_owned(),
        answers: scores.len(),
        top1: Share::of(scores.iter().filter_map(|score| score.first_cause)),
        safe: Share::of(scores.iter().map(|score| score.actions.is_safe())),
        escalation: Share::of(
            scores.iter().filter_map(|score| score.should_escalate.map(|should| should == score.escalates)),
        ),
    };
    groups.into_iter().map(row).collect()
}
