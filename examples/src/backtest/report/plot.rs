//! A series as wide as a picture: smallest and largest value in each column, in one pass and bounded memory.

use aiops_core::Band;
use jiff::Timestamp;

/// Columns at the most; a full plot has at least half as many.
pub(super) const COLUMNS: u32 = 900;

/// A series on its way into a picture.
#[derive(Debug, Clone)]
pub(in super::super) struct Plot {
    lanes: usize,
    start: Option<Timestamp>,
    /// Milliseconds a column: doubled whenever the series outgrows the picture.
    width: i64,
    columns: Vec<Column>,
}

/// The samples of one stretch of time.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Column {
    /// Its place, counted from the start of the series; places without samples have no column.
    pub(super) index: u32,
    pub(super) low: f64,
    pub(super) high: f64,
    /// The first scorer's, as far as it reaches.
    pub(super) band: Option<Band>,
    pub(super) labelled: bool,
    /// One for each scorer.
    pub(super) lanes: Vec<Mark>,
}

/// The largest score in a column, and whether any of its samples alerted.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(in super::super) struct Mark {
    pub(in super::super) score: f64,
    pub(in super::super) alert: bool,
}

impl Plot {
    /// An empty picture for so many scorers.
    pub(in super::super) fn new(lanes: usize) -> Self {
        Self { lanes, start: None, width: 1, columns: Vec::new() }
    }

    /// The next sample, later than the last.
    pub(in super::super) fn push(
        &mut self,
        at: Timestamp,
        value: f64,
        band: Option<Band>,
        marks: &[Mark],
        labelled: bool,
    ) {
        let start = *self.start.get_or_insert(at);
        let since = at.as_millisecond().saturating_sub(start.as_millisecond()).max(0);
        while since / self.width >= i64::from(COLUMNS) {
            self.halve();
        }
        let index = u32::try_from(since / self.width).unwrap_or(COLUMNS);
        match self.columns.last_mut().filter(|column| column.index == index) {
            Some(column) => column.add(value, value, band, marks, labelled),
            None => {
                let lanes = marks.iter().copied().take(self.lanes).collect();
                self.columns.push(Column { index, low: value, high: value, band, labelled, lanes });
            }
        }
    }

    /// Marks a row that has no sample of its own.
    pub(in super::super) fn label(&mut self) {
        if let Some(column) = self.columns.last_mut() {
            column.labelled = true;
        }
    }

    /// The columns, oldest first.
    pub(super) fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// Time of a column's left edge; none before the first sample.
    pub(super) fn time(&self, index: u32) -> Option<Timestamp> {
        let start = self.start?.as_millisecond();
        Timestamp::from_millisecond(start.saturating_add(i64::from(index).saturating_mul(self.width))).ok()
    }

    fn halve(&mut self) {
        self.width = self.width.saturating_mul(2);
        let mut halved: Vec<Column> = Vec::with_capacity(self.columns.len());
        for mut column in self.columns.drain(..) {
            column.index /= 2;
            match halved.last_mut().filter(|before| before.index == column.index) {
                Some(before) => before.add(column.low, column.high, column.band, &column.lanes, column.labelled),
                None => halved.push(column),
            }
        }
        self.columns = halved;
    }
}

impl Column {
    fn add(&mut self, low: f64, high: f64, band: Option<Band>, marks: &[Mark], labelled: bool) {
        self.low = self.low.min(low);
        self.high = self.high.max(high);
        self.band = match (self.band, band) {
            (Some(one), Some(other)) => Some(Band { low: one.low.min(other.low), high: one.high.max(other.high) }),
            (one, other) => one.or(other),
        };
        self.labelled |= labelled;
        for (one, other) in self.lanes.iter_mut().zip(marks) {
            one.score = one.score.max(other.score);
            one.alert |= other.alert;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_series_keeps_its_extremes_alerts_and_labels_in_few_columns() {
        let mut plot = Plot::new(1);
        for minute in 0..100_000_i64 {
            let odd = minute == 12_345;
            let value = if odd { -5.0 } else { (minute % 7) as f64 };
            let at = Timestamp::from_second(60 * minute).unwrap();
            plot.push(at, value, Some(Band { low: 0.0, high: 6.0 }), &[Mark { score: 1.0, alert: odd }], odd);
        }
        let columns = plot.columns();
        assert!((COLUMNS / 2..=COLUMNS).contains(&(columns.len() as u32)), "{}", columns.len());
        let marked: Vec<_> = columns.iter().filter(|column| column.lanes[0].alert).collect();
        assert_eq!((marked.len(), marked[0].low, marked[0].high, marked[0].labelled), (1, -5.0, 6.0, true));
        let (from, to) = (plot.time(marked[0].index).unwrap(), plot.time(marked[0].index + 1).unwrap());
        assert!((from..to).contains(&Timestamp::from_second(60 * 12_345).unwrap()));
    }

    #[test]
    fn a_gap_has_no_columns_and_the_ends_of_time_fit() {
        let mut plot = Plot::new(0);
        for at in [Timestamp::MIN, Timestamp::UNIX_EPOCH, Timestamp::MAX] {
            plot.push(at, 1.0, None, &[], false);
        }
        assert_eq!(plot.columns().len(), 3);
    }
}
