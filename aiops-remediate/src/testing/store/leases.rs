//! Locks: one holder, growing tokens, an end.

use std::time::Duration;

use aiops_core::testing::{Violation, ensure};
use jiff::Timestamp;

use super::answer;
use super::sample::at;
use crate::store::{Acquired, Lease, RemediationStore};

const ONE: &str = "`acquire` is granted while nobody holds the key or the holder's time is over";
const TOKENS: &str = "each granted lease of any key carries a greater token than all before it";
const OWN: &str = "`renew` and `release` touch only what still carries the lease's own token";
const ENDS: &str = "a lease ends at the latest with its time to live";
const RENEWED: &str = "`renew` makes a lock last until `now + ttl`, if it is still this lease's and not over";
const LISTS: &str = "`leases` gives the locks that are held, sorted by key";
const FORCED: &str = "`force_release` takes a lock away from whoever holds it";

/// Long enough that a busy machine is not late by a quarter of it, short enough to wait for.
const TTL: Duration = Duration::from_secs(4);

struct Bench<'a, P> {
    store: &'a dyn RemediationStore,
    pass: &'a P,
    now: Timestamp,
    last_token: u64,
}

impl<P: AsyncFn(Duration)> Bench<'_, P> {
    /// Lets so many quarters of the time to live pass.
    async fn quarters(&mut self, count: u32) {
        let by = TTL / 4 * count;
        self.now = aiops_core::time::plus(self.now, by);
        (self.pass)(by).await;
    }

    async fn granted(&mut self, key: &str, holder: &str, when: &str) -> Result<Lease, Violation> {
        match answer("acquire", self.store.acquire(key, holder, self.now, TTL)).await? {
            Acquired::Granted(lease) => {
                let before = std::mem::replace(&mut self.last_token, lease.token);
                ensure(lease.token > before, TOKENS, || format!("{} after {before}", lease.token))?;
                let longest = aiops_core::time::plus(self.now, TTL);
                ensure(lease.until <= longest, ENDS, || format!("{} is later than {longest}", lease.until))?;
                let whose = (lease.key.as_str(), lease.holder.as_str());
                ensure(whose == (key, holder), ONE, || format!("{whose:?} instead of {:?}", (key, holder)))?;
                Ok(lease)
            }
            held => Err(Violation::new(ONE, format!("{when}: {held:?}"))),
        }
    }

    async fn held(&self, key: &str, by: &str, line: &'static str, when: &str) -> Result<(), Violation> {
        match answer("acquire", self.store.acquire(key, "intruder", self.now, TTL)).await? {
            Acquired::Held { holder, .. } if holder == by => Ok(()),
            other => Err(Violation::new(line, format!("{when}: {other:?}, and {by} holds it"))),
        }
    }

    async fn release(&self, lease: &Lease, wanted: bool, when: &str) -> Result<(), Violation> {
        let released = answer("release", self.store.release(lease)).await?;
        ensure(released == wanted, OWN, || format!("{when}: release said {released}"))
    }

    async fn renew(&self, lease: &Lease) -> Result<Option<Lease>, Violation> {
        answer("renew", self.store.renew(lease, self.now, TTL)).await
    }

    async fn listed(&self, wanted: &[&str], when: &str) -> Result<(), Violation> {
        let leases = answer("leases", self.store.leases(self.now)).await?;
        let keys: Vec<&str> = leases.iter().map(|lease| lease.key.as_str()).collect();
        ensure(keys == wanted, LISTS, || format!("{when}: {keys:?} instead of {wanted:?}"))
    }
}

pub(super) async fn check(store: &dyn RemediationStore, pass: &impl AsyncFn(Duration)) -> Result<(), Violation> {
    let mut bench = Bench { store, pass, now: at(0), last_token: 0 };
    own_token(&mut bench).await?;
    renewal(&mut bench).await?;
    force(&mut bench).await
}

async fn own_token<P: AsyncFn(Duration)>(bench: &mut Bench<'_, P>) -> Result<(), Violation> {
    let first = bench.granted("b", "one", "a fresh key").await?;
    bench.held("b", "one", ONE, "it was just granted").await?;
    let other = bench.granted("a", "two", "another key").await?;
    bench.listed(&["a", "b"], "two are held").await?;
    let forged = Lease::new("b", "two", other.token, other.since, other.until);
    bench.release(&forged, false, "with another lease's token").await?;
    let renewed = bench.renew(&forged).await?;
    ensure(renewed.is_none(), OWN, || format!("with another lease's token renew gave {renewed:?}"))?;
    bench.held("b", "one", OWN, "another lease's token came by").await?;
    bench.release(&first, true, "its own").await?;
    bench.release(&first, false, "again").await?;
    bench.granted("b", "three", "it was released").await?;
    bench.release(&first, false, "after another took it").await?;
    bench.held("b", "three", OWN, "an earlier holder released it").await?;
    bench.quarters(5).await;
    bench.listed(&[], "all ended").await
}

async fn renewal<P: AsyncFn(Duration)>(bench: &mut Bench<'_, P>) -> Result<(), Violation> {
    let first = bench.granted("renewed", "one", "a fresh key").await?;
    let left_alone = bench.granted("ending", "two", "a fresh key").await?;
    bench.quarters(2).await;
    let Some(renewed) = bench.renew(&first).await? else {
        return Err(Violation::new(RENEWED, "at half of its time it gave none"));
    };
    let kept = renewed.token == first.token && renewed.until > first.until;
    ensure(kept, RENEWED, || format!("{first:?} became {renewed:?}"))?;
    bench.quarters(3).await;
    bench.held("renewed", "one", RENEWED, "past its first end").await?;
    bench.listed(&["renewed"], "one was renewed").await?;
    let late = bench.renew(&left_alone).await?;
    ensure(late.is_none(), RENEWED, || format!("after its end it gave {late:?}"))?;
    bench.quarters(4).await;
    let next = bench.granted("renewed", "three", "past its last end").await?;
    let late = bench.renew(&renewed).await?;
    ensure(late.is_none(), OWN, || format!("after another took it renew gave {late:?}"))?;
    bench.release(&renewed, false, "after another took it").await?;
    bench.release(&next, true, "its own").await
}

async fn force<P: AsyncFn(Duration)>(bench: &mut Bench<'_, P>) -> Result<(), Violation> {
    let first = bench.granted("forced", "one", "a fresh key").await?;
    let taken = answer("force_release", bench.store.force_release("forced")).await?;
    let token = taken.as_ref().map(|lease| (lease.token, lease.holder.as_str()));
    ensure(token == Some((first.token, "one")), FORCED, || format!("it gave {taken:?}"))?;
    let again = answer("force_release", bench.store.force_release("forced")).await?;
    ensure(again.is_none(), FORCED, || format!("a second time it gave {again:?}"))?;
    bench.granted("forced", "two", "it was taken away").await?;
    bench.release(&first, false, "after it was taken away").await?;
    bench.held("forced", "two", OWN, "the one before released it").await
}
