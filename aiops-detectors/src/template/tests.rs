use jiff::Timestamp;

use super::{LineFingerprint, Observed, TemplateMiner, fingerprint_line};

/// SplitMix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let bits = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// A line that no other equals: words of letters alone.
fn noise(state: &mut u64) -> String {
    let mut word = || (0..8).map(|_| char::from(b'g' + (random(state) % 20) as u8)).collect::<String>();
    format!("{} {} {} said {}", word(), word(), word(), word())
}

fn names(miner: &mut TemplateMiner, lines: &[&str]) -> Vec<LineFingerprint> {
    lines.iter().map(|line| miner.observe(line.as_bytes()).fingerprint).collect()
}

const SHOPS: [&str; 6] =
    ["lost shop.a again", "lost shop.b again", "lost shop.c again", "lost it again", "no more", "lost shop.d again"];

#[test]
fn enough_different_words_in_one_place_make_a_group() {
    let mut miner = TemplateMiner::default();
    let prints = names(&mut miner, &SHOPS);
    let groups: Vec<_> = prints.iter().map(|print| miner.resolve(*print)).collect();
    assert_eq!((groups[0], groups[0], groups[0]), (groups[1], groups[2], groups[5]));
    assert_eq!(miner.template(groups[0]).as_deref(), Some("lost * again"));
    assert_ne!(groups[0], groups[3], "a plain word takes more evidence");
    assert_eq!(miner.groups()[0].count, 4);
    assert_eq!(groups[0], fingerprint_line(b"lost 17 again"), "named as by anyone who sees the general line");
}

#[test]
fn many_at_once_are_what_they_are_one_by_one() {
    let mut state = 1;
    let lines: Vec<String> = (0..1_000)
        .map(|at| match at % 3 {
            0 => noise(&mut state),
            1 => format!("order {at} of shop.{} paid", char::from(b'a' + at as u8 % 5)),
            _ => format!("known {} here\n  at shop.pay(Pay.java:{at})", "g".repeat(4 + at % 40)),
        })
        .collect();
    for count in [0, 1, 31, 32, 33, 1_000] {
        // So few places that lines go while others wait.
        let (mut one, mut many) = (TemplateMiner::new(20), TemplateMiner::new(20));
        let lines = lines[..count].iter().map(String::as_bytes);
        let expected: Vec<Observed> = lines.clone().map(|line| one.observe(line)).collect();
        let mut observed = Vec::new();
        many.observe_all(lines, &mut observed);
        assert_eq!(observed, expected);
        assert_eq!(many.save(), one.save(), "{count} lines");
    }
}

#[test]
fn a_value_counts_as_evidence_before_and_after_the_words() {
    let lines = ["lost 17 again", "lost shop.a again", "no more"];
    for order in [[0, 1, 2], [1, 0, 2], [2, 1, 0]] {
        let mut miner = TemplateMiner::default();
        names(&mut miner, &order.map(|at| lines[at]));
        let group = |at: usize| miner.resolve(fingerprint_line(lines[at].as_bytes()));
        assert_eq!(group(0), group(1), "{order:?}");
        assert_ne!(group(0), group(2), "{order:?}");
    }
}

#[test]
fn a_flood_that_never_repeats_evicts_itself() {
    let (mut miner, mut state) = (TemplateMiner::new(100), 1);
    for _ in 0..3 {
        for at in 0..30 {
            let word = char::from(b'g' + at).to_string().repeat(4);
            miner.observe(format!("known {word} here, {word}").as_bytes());
        }
    }
    for _ in 0..5_000 {
        assert!(miner.observe(noise(&mut state).as_bytes()).new);
    }
    let known: u64 = miner.groups().iter().filter(|group| group.template.starts_with("known")).map(|g| g.count).sum();
    assert_eq!(known, 90);
    assert_eq!((miner.len(), miner.lines()), (100, 5_090));
    let kept: u64 = miner.groups().iter().map(|group| group.count).sum();
    assert_eq!(kept + miner.evicted(), miner.lines());
    assert!(miner.aliases.len() <= 801 && miner.general.len() <= 200);
}

#[test]
fn many_names_of_one_group_do_not_grow_it() {
    let (mut miner, mut state) = (TemplateMiner::new(50), 1);
    let mut last = None;
    for _ in 0..3_000 {
        let name = format!("{}.{}", noise(&mut state).replace(' ', ""), "shop");
        last = Some(miner.observe(format!("user {name} gone").as_bytes()).fingerprint);
    }
    assert!(miner.aliases.len() <= 401, "{}", miner.aliases.len());
    assert_eq!(last.map(|print| miner.resolve(print)), Some(fingerprint_line(b"user 1 gone")));
}

#[test]
fn long_lines_are_kept_within_a_bound_of_bytes() {
    let (mut miner, mut state) = (TemplateMiner::default(), 1);
    for _ in 0..4_000 {
        // One long word: what costs is the text, not the evidence.
        miner.observe(noise(&mut state).replace(' ', "_").repeat(120).as_bytes());
    }
    assert!(miner.len() < 3_000, "{}", miner.len());
}

#[test]
fn a_restart_knows_what_was_known() {
    let mut miner = TemplateMiner::default();
    let at = Timestamp::UNIX_EPOCH;
    let prints: Vec<_> = SHOPS.iter().map(|line| miner.observe_at(line.as_bytes(), at).fingerprint).collect();
    miner.observe(b"ids 1 2 3 4");
    let saved = miner.save();
    let mut again = TemplateMiner::default();
    again.restore(&saved).unwrap();
    assert_eq!(again.save(), saved);
    assert_eq!((again.groups(), again.counts(at)), (miner.groups(), miner.counts(at)));
    for print in prints {
        assert_eq!(again.resolve(print), miner.resolve(print));
    }
    for line in SHOPS.iter().chain(&["ids 7 8 9 1 2 3"]) {
        assert!(!again.observe(line.as_bytes()).new, "{line}");
    }
    assert!(again.observe(b"never seen").new);
    assert!(!again.observe(b"lost shop.d again").new);
}

#[test]
fn state_that_was_changed_or_cut_is_refused_and_changes_nothing() {
    let mut miner = TemplateMiner::default();
    names(&mut miner, &SHOPS);
    let saved = miner.save();
    let mut wrong: Vec<Vec<u8>> = (0..saved.len()).step_by(7).map(|at| saved[..at].to_vec()).collect();
    wrong.extend((0..saved.len()).step_by(11).map(|at| {
        let mut bytes = saved.clone();
        bytes[at] ^= 1;
        bytes
    }));
    wrong.push(String::from_utf8_lossy(&saved).replacen(" 1 ", " 2 ", 1).into_bytes());
    for bytes in wrong {
        assert!(miner.restore(&bytes).is_err() && miner.merge(&bytes).is_err());
    }
    assert_eq!(miner.save(), saved);
}

#[test]
fn two_machines_agree_after_they_joined() {
    let lines: Vec<String> = ["a.x", "b.x", "c.x", "d.x", "e.x", "f.x"]
        .iter()
        .flat_map(|name| [format!("lost {name} again"), format!("found {name} at {name}"), "same".to_owned()])
        .collect();
    let (mut odd, mut even) = (TemplateMiner::default(), TemplateMiner::default());
    for (at, line) in lines.iter().enumerate() {
        if at / 3 % 2 == 0 {
            even.observe(line.as_bytes())
        } else {
            odd.observe(line.as_bytes())
        };
    }
    let (from_odd, from_even) = (odd.save(), even.save());
    odd.merge(&from_even).unwrap();
    even.merge(&from_odd).unwrap();
    for line in &lines {
        let print = fingerprint_line(line.as_bytes());
        assert_eq!(odd.resolve(print), even.resolve(print), "{line}");
    }
    let once = odd.save();
    odd.merge(&from_even).unwrap();
    assert_eq!(odd.save(), once);
}

#[test]
fn counts_are_told_by_window_and_group() {
    let mut miner = TemplateMiner::default();
    let at = |minute: i64| Timestamp::from_second(minute * 60).unwrap();
    for (minute, line) in [(0, "job 1"), (4, "job 2"), (4, "other"), (5, "job 3"), (1, "job 4")] {
        miner.observe_at(line.as_bytes(), at(minute));
    }
    let counts: Vec<u64> = miner.counts(at(2)).iter().map(|count| count.count).collect();
    assert_eq!(counts, [3, 1], "a late line counts in its own window");
    assert_eq!(miner.counts(at(2))[0].group, fingerprint_line(b"job 9"));
    assert_eq!(miner.counts(at(5)).len(), 1);
    miner.observe_at(b"job 5", at(5 * 20));
    assert!(miner.counts(at(999)).is_empty());
    for window in 0..20 {
        miner.observe_at(b"job 6", at(5 * (30 + window)));
    }
    assert!(miner.counts(at(2)).is_empty(), "twelve windows are kept");
    miner.observe_at(b"job 7", at(2));
    assert!(miner.counts(at(2)).is_empty());
}
