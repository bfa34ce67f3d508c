//! One view's past residuals, and how rare a new one is among them.

use serde::{Deserialize, Serialize};

/// Bins, four for each doubling of the residual (a quantile is off by at most an eighth, and by much less
/// between bins that are well filled): 40 doublings, twelve decimal orders between the smallest residual told from 0 and the largest.
const BINS: usize = 160;
/// Bins lie within this on either side of 1: four for each of the 2,046 exponents, and room to move.
const LARGEST_BASE: i32 = 8_192;
/// Bins whose counts are summed, so that a quantile is found in steps of these.
const BLOCK: usize = 16;
/// [`bin`]'s bits of the smallest normal number, and of the largest finite one.
const LEAST_BITS: i32 = 1 << 2;
const MOST_BITS: i32 = (2047 << 2) - 1;
/// Bins left free above a residual that did not fit.
const HEADROOM: i32 = 8;
/// Residuals before one is judged: below, a 90th percentile rests on one or two of them.
const MIN_RESIDUALS: u32 = 20;

/// The quantiles that the tail is drawn through.
const LEVELS: [f64; 4] = [0.5, 0.9, 0.98, 0.998];
/// Decades of surprise at these: `-log10(1 - level)`.
const DECADES: [f64; 4] = [0.301, 1.0, 1.699, 2.699];

/// Residuals worth of belief in the slope that the body of the distribution gives, for the decades from
/// q90 to q98 and from there to q99.8, which rest on 8 % and 2 % of the residuals (facts of the design:
/// without it F1 0.565 for 0.619).
const BELIEF: [f64; 2] = [500.0, 600.0];
/// That slope, in slopes of the body: between a normal tail (1.4) and an exponential one (2).
const BODY_TO_TAIL: f64 = 1.75;
/// How much faster than between q98 and q99.8 the residual may grow per decade beyond: 1 is an
/// exponential tail, and a heavier one is believed as far as the data show it to grow.
const HEAVIEST: f64 = 1.5;
/// A tail without body (flat and sparse series) grows by at least this share of q99.8 per decade.
const BODILESS: f64 = 0.3;

/// From here on a residual enters its own past only as large as this surprise...
const CLIPPED_AT: f64 = 3.5;
/// ...while no more than this share of the past was clipped: what recurs is learned as it is.
const CLIPPED_SHARE: f64 = 0.02;
/// Clipped residuals that a short past may hold whatever its length.
const CLIPPED_LEAST: f64 = 3.0;

/// Largest surprise in decades.
const LARGEST: f64 = 20.0;

/// The absolute residuals of one view, as a histogram that forgets by halving.
#[derive(Debug, Clone)]
pub(super) struct Past {
    /// First those below the first bin, then one count for each bin.
    counts: [u16; BINS + 1],
    /// Sums of each [`BLOCK`] bins.
    blocks: [u16; BINS / BLOCK],
    state: State,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct State {
    /// The bin of residual 1 is `-base`.
    base: i32,
    total: u32,
    clipped: u32,
    /// An odd count is halved up and down in turns.
    round_up: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SavedPast {
    counts: Vec<u16>,
    state: State,
}

/// The tail as straight lines of residual over decades.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tail {
    /// Residuals at [`DECADES`].
    knots: [f64; 4],
    /// Residual for each decade: below the second knot, between the knots, beyond the last.
    slopes: [f64; 4],
    floor: f64,
}

impl Tail {
    /// Through four quantiles of `total` residuals; what is below `floor` never has more than one decade.
    fn through(quantiles: [f64; 4], total: f64, floor: f64) -> Self {
        let [q50, q90, q98, q998] = quantiles;
        let bodiless = q90 - q50 <= floor;
        let belief = if bodiless { [0.0, 0.0] } else { BELIEF };
        let body = ((q90 - q50) / (DECADES[1] - DECADES[0])).max(floor);
        let blend =
            |seen: f64, believed: f64, weight: f64| (total * seen.max(floor) + weight * believed) / (total + weight);
        let upper = blend((q98 - q90) / (DECADES[2] - DECADES[1]), BODY_TO_TAIL * body, belief[0]);
        let tail = blend(q998 - q98, upper, belief[1]);
        let k98 = q90 + (DECADES[2] - DECADES[1]) * upper;
        let k998 = k98 + tail;
        let beyond = upper.max(tail) * (tail / upper).clamp(1.0, HEAVIEST);
        let beyond = if bodiless { beyond.max(BODILESS * k998) } else { beyond };
        Self { knots: [q50, q90, k98, k998], slopes: [body, upper, tail, beyond], floor }
    }

    /// Decades of surprise of a residual.
    fn decades(&self, residual: f64) -> f64 {
        let [q50, q90, k98, k998] = self.knots;
        let along = |knot: usize, from: f64, slope: f64| DECADES[knot] + (residual - from) / slope;
        let decades = if residual <= q90 {
            along(0, q50, self.slopes[0]).clamp(0.0, 1.0)
        } else if residual <= k98 {
            along(1, q90, self.slopes[1])
        } else if residual <= k998 {
            along(2, k98, self.slopes[2])
        } else {
            along(3, k998, self.slopes[3])
        };
        let decades = if residual <= self.floor { decades.min(1.0) } else { decades };
        decades.min(LARGEST)
    }

    /// The residual at so many decades, 2.699 or more.
    pub(super) fn residual_at(&self, decades: f64) -> f64 {
        self.knots[3] + (decades - DECADES[3]) * self.slopes[3]
    }
}

impl Default for Past {
    fn default() -> Self {
        Self { counts: [0; BINS + 1], blocks: [0; BINS / BLOCK], state: State::default() }
    }
}

impl Past {
    /// A past of residuals that were all 0.
    pub(super) fn zeros(count: u16) -> Self {
        let mut past = Self::default();
        past.counts[0] = count;
        past.state.total = u32::from(count);
        past
    }

    /// The surprise of a residual (0 or more, finite) by the past, into which it then goes; and the tail
    /// it was judged by, once there is enough.
    pub(super) fn observe(&mut self, residual: f64, floor: f64, memory: u32) -> (f64, Option<Tail>) {
        if self.state.total < MIN_RESIDUALS {
            self.push(residual, memory);
            return (0.0, None);
        }
        let total = f64::from(self.state.total);
        let tail = Tail::through(self.quantiles(), total, floor);
        let decades = tail.decades(residual);
        let room = f64::from(self.state.clipped) < (CLIPPED_SHARE * total).max(CLIPPED_LEAST);
        if decades > CLIPPED_AT && room {
            self.state.clipped += 1;
            self.push(tail.residual_at(CLIPPED_AT), memory);
        } else {
            self.push(residual, memory);
        }
        (decades, Some(tail))
    }

    fn push(&mut self, residual: f64, memory: u32) {
        let place = self.place(residual);
        self.counts[place] += 1;
        if place > 0 {
            self.blocks[(place - 1) / BLOCK] += 1;
        }
        self.state.total += 1;
        // Between three quarters and one and a half memories: on average one.
        if self.state.total > memory + memory / 2 {
            self.halve();
        }
    }

    fn halve(&mut self) {
        let mut up = self.state.round_up;
        let mut total = 0;
        for count in &mut self.counts {
            let odd = *count % 2;
            *count = *count / 2 + odd * u16::from(up);
            up ^= odd == 1;
            total += u32::from(*count);
        }
        self.sum_blocks();
        self.state.round_up = up;
        self.state.total = total;
        self.state.clipped /= 2;
    }

    /// Where a residual is counted; moves the bins when it does not fit.
    fn place(&mut self, residual: f64) -> usize {
        if residual < f64::MIN_POSITIVE {
            return 0;
        }
        let bin = bin(residual);
        if bin < self.state.base && self.counts[1..].iter().all(|count| *count == 0) {
            self.state.base = bin - BINS as i32 + HEADROOM;
        }
        let place = bin - self.state.base;
        if place >= BINS as i32 {
            self.raise(place - BINS as i32 + 1 + HEADROOM);
        } else if place < 0 && !self.lower(-place) {
            return 0;
        }
        usize::try_from(bin - self.state.base + 1).unwrap_or(0).min(BINS)
    }

    /// Moves the bins up: what is below the first then counts as too small to tell.
    fn raise(&mut self, by: i32) {
        let lost = usize::try_from(by).unwrap_or(BINS).min(BINS);
        let small: u32 = self.counts[..=lost].iter().map(|count| u32::from(*count)).sum();
        self.counts.copy_within(lost + 1.., 1);
        self.counts[BINS + 1 - lost..].fill(0);
        self.counts[0] = u16::try_from(small).unwrap_or(u16::MAX);
        self.state.base += by;
        self.sum_blocks();
    }

    /// Moves the bins down if the ones at the top are empty.
    fn lower(&mut self, by: i32) -> bool {
        let Ok(free) = usize::try_from(by) else { return false };
        if free >= BINS || self.counts[BINS + 1 - free..].iter().any(|count| *count > 0) {
            return false;
        }
        self.counts.copy_within(1..=BINS - free, free + 1);
        self.counts[1..=free].fill(0);
        self.state.base -= by;
        self.sum_blocks();
        true
    }

    /// The residuals at [`LEVELS`].
    fn quantiles(&self) -> [f64; 4] {
        let ranks = LEVELS.map(|level| level * f64::from(self.state.total));
        let mut quantiles = [0.0; 4];
        let mut below = u32::from(self.counts[0]);
        let mut level = ranks.iter().filter(|rank| **rank <= f64::from(below)).count();
        for (block, sum) in self.blocks.iter().enumerate() {
            let upto = below + u32::from(*sum);
            if level == LEVELS.len() {
                break;
            }
            if ranks[level] > f64::from(upto) {
                below = upto;
                continue;
            }
            let first = 1 + block * BLOCK;
            for (count, place) in self.counts[first..first + BLOCK].iter().zip(first..) {
                let upto = below + u32::from(*count);
                while level < LEVELS.len() && *count > 0 && ranks[level] <= f64::from(upto) {
                    let within = (ranks[level] - f64::from(below)) / f64::from(*count);
                    quantiles[level] = self.value(place, within);
                    level += 1;
                }
                below = upto;
            }
        }
        quantiles
    }

    fn sum_blocks(&mut self) {
        for (block, counts) in self.blocks.iter_mut().zip(self.counts[1..].chunks_exact(BLOCK)) {
            *block = counts.iter().sum();
        }
    }

    /// The residual so far within a bin.
    fn value(&self, place: usize, within: f64) -> f64 {
        let Some(bin) = i32::try_from(place).ok().and_then(|place| place.checked_sub(1)).filter(|bin| *bin >= 0) else {
            return 0.0;
        };
        let low = edge(bin + self.state.base);
        low + (edge(bin + 1 + self.state.base) - low) * within
    }

    pub(super) fn save(&self) -> SavedPast {
        SavedPast { counts: self.counts.to_vec(), state: self.state }
    }

    pub(super) fn restore(saved: SavedPast) -> Result<Self, aiops_core::BoxError> {
        let counts: [u16; BINS + 1] =
            saved.counts.try_into().map_err(|counts: Vec<u16>| format!("{} bins, not {}", counts.len(), BINS + 1))?;
        let total: u32 = counts.iter().map(|count| u32::from(*count)).sum();
        let state = State { total, ..saved.state };
        let sound = (-LARGEST_BASE..=LARGEST_BASE).contains(&state.base) && total < u32::from(u16::MAX);
        if !sound {
            return Err("a past of residuals that no series gives".into());
        }
        let mut past = Self { counts, state, ..Self::default() };
        past.sum_blocks();
        Ok(past)
    }
}

/// The bin of a positive normal number: four equal parts of each doubling.
fn bin(residual: f64) -> i32 {
    // Exponent and the two leading bits of the mantissa: 14 bits.
    let bits = (residual.to_bits() >> 50) as i32;
    bits - (1023 << 2)
}

/// Where a bin begins: the bits that [`bin`] takes, put back.
fn edge(bin: i32) -> f64 {
    f64::from_bits(u64::from((bin + (1023 << 2)).clamp(LEAST_BITS, MOST_BITS).unsigned_abs()) << 50)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_residual_lies_within_its_bin(residual in 1e-200f64..1e200) {
            let bin = bin(residual);
            prop_assert!(edge(bin) <= residual && residual < edge(bin + 1), "{residual} in {bin}");
        }

        #[test]
        fn quantiles_are_those_of_the_residuals_within_a_bin(residuals in prop::collection::vec(1e-3f64..1e3, 50..400)) {
            let mut past = Past::default();
            for residual in &residuals {
                past.push(*residual, 6_000);
            }
            let mut sorted = residuals;
            sorted.sort_by(f64::total_cmp);
            for (level, found) in LEVELS.iter().zip(past.quantiles()) {
                let rank = (level * sorted.len() as f64).ceil() as usize - 1;
                prop_assert!((found / sorted[rank] - 1.0).abs() <= 0.25, "{level}: {found}, {}", sorted[rank]);
            }
        }
    }

    #[test]
    fn decades_are_minus_log10_of_the_share_beyond() {
        // An exponential tail with one decade each 10.
        let mut past = Past::default();
        for index in 0..6_000 {
            past.push(-10.0 * ((f64::from(index) + 0.5) / 6_000.0).log10(), 6_000);
        }
        for wanted in [1.0, 2.0, 3.0, 4.0, 6.0] {
            let (found, _) = past.clone().observe(10.0 * wanted, 1e-9, 6_000);
            assert!((found / wanted - 1.0).abs() < 0.1, "{wanted}: {found}");
        }
    }

    #[test]
    fn what_recurs_is_learned_and_one_glitch_is_not() {
        let mut past = Past::default();
        for index in 0..2_000 {
            past.push(1.0 + f64::from(index % 10), 6_000);
        }
        let (first, _) = past.clone().observe(1_000.0, 1e-9, 6_000);
        assert!(first > 5.0, "{first}");
        past.observe(1_000.0, 1e-9, 6_000);
        assert!(past.observe(1_000.0, 1e-9, 6_000).0 > 5.0, "one glitch was learned");
        for index in 0..4_000 {
            past.observe(if index % 20 == 0 { 1_000.0 } else { 5.0 }, 1e-9, 6_000);
        }
        let (recurring, _) = past.observe(1_000.0, 1e-9, 6_000);
        assert!(recurring < 3.0, "{recurring}");
    }

    #[test]
    fn halving_keeps_the_shape_and_bounds_the_total() {
        let mut past = Past::default();
        for index in 0..50_000 {
            past.push(1.0 + f64::from(index % 100), 600);
            assert!(past.state.total <= 901);
        }
        let [median, q90, ..] = past.quantiles();
        assert!((median / 50.0 - 1.0).abs() < 0.2 && (q90 / 90.0 - 1.0).abs() < 0.2, "{median} {q90}");
    }

    #[test]
    fn bins_follow_a_series_that_changes_its_scale() {
        for scale in [1e-12, 1e12, 1e25] {
            let mut past = Past::default();
            for (times, size) in [(300, 1.0), (12_000, scale)] {
                for index in 0..times {
                    past.push(size * (1.0 + f64::from(index % 10)), 600);
                }
            }
            let [median, ..] = past.quantiles();
            assert!((median / (5.0 * scale)).log2().abs() < 1.0, "{scale}: {median}");
        }
    }
}
