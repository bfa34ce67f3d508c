//! "Did you mean": which of the known words was probably meant.

/// Longer words are not compared: no key or value of ours comes near.
const MAX_CHARS: usize = 64;

/// Of a known word that is short for the given one, at least so many letters.
const MIN_SHORT: usize = 3;

/// The known word nearest to `word`, if it is near enough to be meant: the case, the blanks and
/// hyphens aside, at most a third of its letters differ, or it is short for it (`saturday`, `sat`).
pub(crate) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let plain = |text: &str| -> Vec<char> {
        text.trim().chars().map(|c| if matches!(c, '-' | ' ') { '_' } else { c.to_ascii_lowercase() }).collect()
    };
    if word.chars().nth(MAX_CHARS).is_some() {
        return None;
    }
    let word = plain(word);
    let near = |candidate: &str| {
        let plain = plain(candidate);
        let short = plain.len() >= MIN_SHORT && word.starts_with(&plain);
        let distance = distance(&word, &plain);
        (short || distance <= 1.max(candidate.len() / 3)).then_some(distance)
    };
    let found = known.into_iter().filter_map(|candidate| Some((near(candidate)?, candidate)));
    found.min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}

/// Optimal string alignment: inserted, removed and replaced letters, and neighbours that changed
/// places, count one each.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut row = vec![i + 1];
        for j in 0..b.len() {
            let mut cost = (last[j] + usize::from(a[i] != b[j])).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                cost = cost.min(before[j - 1] + 1);
            }
            row.push(cost);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant_and_nothing_else() {
        let known = ["name", "owner", "blast_radius", "requires_approval"];
        for (word, meant) in [
            ("nmae", Some("name")),
            ("Owner", Some("owner")),
            ("blast-radius", Some("blast_radius")),
            ("require_approval", Some("requires_approval")),
            ("owner_of_it", Some("owner")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), meant, "{word}");
        }
        assert_eq!(nearest(&"n".repeat(100_000), known), None);
    }
}
