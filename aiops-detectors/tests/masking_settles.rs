//! Masked lines stay as they are when masked again, and the miner gives the fingerprint that the stateless
//! function gives, whatever the lines are made of.
#![allow(clippy::unwrap_used)]

use aiops_detectors::{TemplateMiner, fingerprint_line, mask_line};
use proptest::prelude::*;

/// What lines are made of: words, values of every kind and the marks that join them.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,8}",
        "[A-Z][a-zA-Z]{0,8}",
        "-?[0-9]{1,6}(\\.[0-9]{1,4})?",
        "0x[0-9a-f]{1,10}",
        "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}",
        "10(\\.[0-9]{1,3}){3}(:[0-9]{2,5})?",
        "[0-9a-f]{0,4}(:[0-9a-f]{1,4}){2,7}::?",
        "[0-9a-f]{2}([:-][0-9a-f]{2}){5}",
        "20[0-9]{2}-[01][0-9]-[0-3][0-9][T ][0-9]{2}:[0-9]{2}:[0-9]{2}([.,][0-9]{3})?Z?",
        "(Thu )?(Aug|nov) {1,2}[0-9]{1,2},?( 20[0-9]{2})?",
        "[.~]{0,2}(/[a-z0-9.]{1,6}){1,4}(\\?[a-z]=[0-9]&x=y)?",
        "(https?|s3|hdfs)://[a-z0-9.]{1,8}(/[a-z0-9]{1,4}){0,3}",
        "[0-9]{1,4} ?(B|KB|MB|ms|%|secs)",
        "(password|token|Authorization)[=:] ?[\"']?[A-Za-z0-9]{1,6}",
        "[ .:,/_@+~#|x\\\\<>()\\[\\]{}\"'*=-]{1,4}",
        "\\*|…|\t|\u{e9}|\n  at a\\.b\\(C\\.java:7\\)",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn masking_twice_is_masking_once(pieces in prop::collection::vec(piece(), 0..12)) {
        let line = pieces.concat();
        let once = mask_line(line.as_bytes());
        prop_assert_eq!(mask_line(once.as_bytes()), once.clone(), "{:?}", line);
        let mut miner = TemplateMiner::default();
        prop_assert_eq!(miner.observe(line.as_bytes()).fingerprint, fingerprint_line(once.as_bytes()));
    }

    #[test]
    fn any_bytes_mask_to_what_stays(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let once = mask_line(&bytes);
        prop_assert_eq!(mask_line(once.as_bytes()), once);
    }
}
