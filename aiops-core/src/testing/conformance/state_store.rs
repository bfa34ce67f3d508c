//! The suite of [`StateStore`].

use std::sync::Arc;

use super::{PATIENCE, answered, poll_once, within};
use crate::store::{StateError, StateStore, Versioned};
use crate::testing::{Violation, ensure};

const SWAPS: &str = "`save` with the version that was loaded replaces the value in one step";
const CONFLICT: &str = "`save` with another version is a `Conflict` and changes nothing";
const GROWS: &str = "the version starts at 1 and grows with each save of the key";
const LASTS: &str = "once `save` returns, a new process loads the value";
const KEYS: &str = "keys are any text up to 512 bytes, and no two meet";
const VALUES: &str = "values are any bytes up to a few MiB";
const CONCURRENT: &str = "of concurrent saves with one version exactly one wins";
const DROPPED: &str = "dropping a `save` leaves the old or the new value";
const SHARED: &str = "of concurrent saves through several handles none is lost";
const ABSENT: &str = "a key that was never saved holds nothing";

/// A few MiB, the largest value that the contract names.
const LARGE: usize = 3 << 20;
/// Writers that race for one version.
const WRITERS: u8 = 8;

/// Checks a store. `open` opens the same store again, as a second process would; for a store in
/// memory it clones the handle. The suite writes under keys that begin with `conformance/`, which
/// must not exist.
///
/// # Errors
/// The first line of the contract of [`StateStore`] that does not hold.
pub async fn check_state_store(open: impl Fn() -> Arc<dyn StateStore>) -> Result<(), Violation> {
    compare_and_swap(&open).await?;
    odd_keys(&*open()).await?;
    odd_values(&open).await?;
    one_winner(&open).await?;
    dropped_save(&open).await
}

/// Checks a store that several processes share: [`check_state_store`], and writers that race through
/// handles of their own, as replicas do.
///
/// # Errors
/// The first line of the contract of [`StateStore`] that does not hold.
pub async fn check_shared_state_store(open: impl Fn() -> Arc<dyn StateStore>) -> Result<(), Violation> {
    check_state_store(&open).await?;
    no_update_is_lost(&open).await
}

async fn load(store: &dyn StateStore, key: &str, line: &'static str) -> Result<Option<Versioned>, Violation> {
    answered(line, line, &format!("load of {key:?}"), store.load(key)).await
}

async fn save(
    store: &dyn StateStore,
    key: &str,
    bytes: &[u8],
    expected: u64,
    line: &'static str,
) -> Result<u64, Violation> {
    answered(line, line, &format!("save of {key:?}"), store.save(key, bytes.to_vec(), expected)).await
}

async fn conflicts(store: &dyn StateStore, key: &str, expected: u64) -> Result<(), Violation> {
    let before = load(store, key, CONFLICT).await?;
    let outcome = within(PATIENCE, CONFLICT, "save", store.save(key, b"intruder".to_vec(), expected)).await?;
    ensure(matches!(outcome, Err(StateError::Conflict { .. })), CONFLICT, || {
        format!("saving version {expected} over {:?} gave {outcome:?}", before.as_ref().map(|v| v.version))
    })?;
    let after = load(store, key, CONFLICT).await?;
    ensure(before == after, CONFLICT, || format!("the value changed from {before:?} to {after:?}"))
}

async fn compare_and_swap(open: &impl Fn() -> Arc<dyn StateStore>) -> Result<(), Violation> {
    const KEY: &str = "conformance/swap";
    let store = open();
    let absent = load(&*store, KEY, ABSENT).await?;
    ensure(absent.is_none(), ABSENT, || format!("{KEY:?} holds {absent:?}"))?;
    conflicts(&*store, KEY, 1).await?;

    let first = save(&*store, KEY, b"one", 0, SWAPS).await?;
    ensure(first == 1, GROWS, || format!("the first save gave version {first}"))?;
    conflicts(&*store, KEY, 0).await?;
    let second = save(&*store, KEY, b"two", first, SWAPS).await?;
    ensure(second > first, GROWS, || format!("version {second} after {first}"))?;
    conflicts(&*store, KEY, first).await?;
    conflicts(&*store, KEY, second + 1).await?;

    let again = load(&*open(), KEY, LASTS).await?;
    let wanted = Some(Versioned { bytes: b"two".to_vec(), version: second });
    ensure(again == wanted, LASTS, || format!("opened again, it holds {again:?} instead of {wanted:?}"))
}

async fn odd_keys(store: &dyn StateStore) -> Result<(), Violation> {
    // Separators, escapes, case, blanks, text beyond ASCII, and names that file systems treat
    // specially; the long ones differ only at their end.
    let long = format!("conformance/{}", "k".repeat(499));
    let mut keys: Vec<String> =
        ["", "a", "A", "/a", "../a", ".", "a b", "a.20b", "a%20b", "a|b", "a:b", "*", "é", "e\u{301}"]
            .iter()
            .map(|end| format!("conformance/keys/{end}"))
            .collect();
    keys.extend([format!("{long}1"), format!("{long}2"), "conformance/keys/nul\0".to_owned()]);
    for key in &keys {
        save(store, key, key.as_bytes(), 0, KEYS).await?;
    }
    for key in &keys {
        let found = load(store, key, KEYS).await?.map(|value| value.bytes);
        ensure(found.as_deref() == Some(key.as_bytes()), KEYS, || {
            format!("{key:?} holds {:?}", found.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
        })?;
    }
    Ok(())
}

async fn odd_values(open: &impl Fn() -> Arc<dyn StateStore>) -> Result<(), Violation> {
    let every_byte: Vec<u8> = (0..=u8::MAX).cycle().take(LARGE).collect();
    for (key, bytes) in [("conformance/empty", Vec::new()), ("conformance/large", every_byte)] {
        save(&*open(), key, &bytes, 0, VALUES).await?;
        let found = load(&*open(), key, VALUES).await?.map(|value| value.bytes);
        ensure(found.as_ref() == Some(&bytes), VALUES, || {
            format!("{} bytes came back as {:?}", bytes.len(), found.map(|found| found.len()))
        })?;
    }
    Ok(())
}

async fn one_winner(open: &impl Fn() -> Arc<dyn StateStore>) -> Result<(), Violation> {
    const KEY: &str = "conformance/race";
    // One handle, since a folder may belong to one process alone.
    let store = open();
    let mut version = 0;
    for round in 0..4 {
        let mut race = tokio::task::JoinSet::new();
        for writer in 0..WRITERS {
            let store = Arc::clone(&store);
            race.spawn(async move { store.save(KEY, vec![round, writer], version).await });
        }
        let mut winners = Vec::new();
        while let Some(outcome) = within(PATIENCE, CONCURRENT, "a concurrent save", race.join_next()).await? {
            match outcome {
                Ok(Ok(won)) => winners.push(won),
                Ok(Err(StateError::Conflict { .. })) => {}
                other => return Err(Violation::new(CONCURRENT, format!("a loser got {other:?}, not a conflict"))),
            }
        }
        ensure(winners.len() == 1, CONCURRENT, || format!("{} of {WRITERS} won", winners.len()))?;
        version = winners[0];
    }
    Ok(())
}

/// Each writer counts one number up, through a handle of its own.
async fn no_update_is_lost(open: &impl Fn() -> Arc<dyn StateStore>) -> Result<(), Violation> {
    const KEY: &str = "conformance/shared";
    const STEPS: u64 = 16;
    let count = |found: &Option<Versioned>| match found {
        Some(found) => String::from_utf8_lossy(&found.bytes).parse().unwrap_or(u64::MAX),
        None => 0,
    };
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..WRITERS {
        let store = open();
        writers.spawn(async move {
            for _ in 0..STEPS {
                loop {
                    let found = store.load(KEY).await?;
                    let (next, version) = (count(&found).saturating_add(1), found.map_or(0, |found| found.version));
                    match store.save(KEY, next.to_string().into_bytes(), version).await {
                        Err(StateError::Conflict { .. }) => {}
                        outcome => break outcome.map(drop)?,
                    }
                }
            }
            Ok::<(), StateError>(())
        });
    }
    while let Some(outcome) = within(PATIENCE, SHARED, "a race of writers", writers.join_next()).await? {
        let outcome = outcome.map_err(|error| Violation::new(SHARED, error.to_string()))?;
        outcome.map_err(|error| Violation::new(SHARED, crate::error_chain(&error)))?;
    }
    let (counted, wanted) = (count(&load(&*open(), KEY, SHARED).await?), u64::from(WRITERS) * STEPS);
    ensure(counted == wanted, SHARED, || format!("{wanted} updates through {WRITERS} handles came to {counted}"))
}

async fn dropped_save(open: &impl Fn() -> Arc<dyn StateStore>) -> Result<(), Violation> {
    const KEY: &str = "conformance/dropped";
    let store = open();
    let version = save(&*store, KEY, b"old", 0, DROPPED).await?;
    let _ = poll_once(store.save(KEY, b"new".to_vec(), version)).await;
    let found = load(&*store, KEY, DROPPED).await?.map(|value| value.bytes);
    let whole = matches!(found.as_deref(), Some(b"old" | b"new"));
    ensure(whole, DROPPED, || format!("it holds {found:?}"))?;
    // Whatever it was, the store goes on: load, save. A dropped save may still be under way.
    for _ in 0..3 {
        let current = load(&*store, KEY, DROPPED).await?.map_or(0, |value| value.version);
        match within(PATIENCE, DROPPED, "save", store.save(KEY, b"next".to_vec(), current)).await? {
            Err(StateError::Conflict { .. }) => {}
            outcome => {
                return outcome.map(|_| ()).map_err(|e| Violation::new(DROPPED, crate::error_chain(&e)));
            }
        }
    }
    Err(Violation::new(DROPPED, "after it, no save gets through"))
}
