//! Any bytes as log records: no panic, masks that stay, a miner whose figures add up.
#![no_main]

use aiops_detectors::{TemplateMiner, fingerprint_line, mask_line};
use libfuzzer_sys::fuzz_target;

/// Longest masked record (facts of the masker: what is behind it is not read).
const MAX_MASK: usize = 4096;
/// So few that the bound is met.
const CAPACITY: usize = 8;

fuzz_target!(|bytes: &[u8]| {
    let once = mask_line(bytes);
    assert!(once.len() <= MAX_MASK);
    assert_eq!(mask_line(once.as_bytes()), once);

    let mut miner = TemplateMiner::new(CAPACITY);
    let mut lines = 0;
    for line in bytes.split(|byte| *byte == b'\n').chain([bytes]) {
        let print = miner.observe(line).fingerprint;
        assert_eq!(print, fingerprint_line(line));
        let group = miner.resolve(print);
        assert_eq!(miner.resolve(group), group);
        lines += 1;
    }
    let kept: u64 = miner.groups().iter().map(|group| group.count).sum();
    assert_eq!((miner.lines(), kept + miner.evicted()), (lines, lines));
    assert!(miner.len() <= CAPACITY);

    // Beyond no bound, a restart knows the same groups.
    let mut roomy = TemplateMiner::default();
    for line in bytes.split(|byte| *byte == b'\n') {
        roomy.observe(line);
    }
    let saved = roomy.save();
    let mut again = TemplateMiner::default();
    assert!(again.restore(&saved).is_ok() && again.merge(&saved).is_ok());
    for line in bytes.split(|byte| *byte == b'\n') {
        let print = fingerprint_line(line);
        assert_eq!(again.resolve(print), roomy.resolve(print));
    }
    assert!(miner.restore(&saved).is_ok());
    let _ = miner.restore(bytes);
});
