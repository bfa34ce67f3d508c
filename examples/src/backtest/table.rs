//! The figures as lines of text.

use std::io::{self, Write};

use super::args::Options;
use super::figures::{Figures, cells, columns};

/// Least width of a column of figures.
const LEAST_WIDTH: usize = 8;
/// Width of a delay, the longest of all figures.
const DELAY_WIDTH: usize = 14;

/// The table, a line as soon as its file is done.
pub(super) struct Table<'a> {
    options: &'a Options,
    name_width: usize,
    scorer_width: usize,
    columns: Vec<String>,
}

impl<'a> Table<'a> {
    /// For series of these names.
    pub(super) fn new(options: &'a Options, names: &[String]) -> Self {
        let longest = |names: &[String]| names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        let scorer_width = if options.scorers.len() > 1 { 2 + longest(&options.scorers) } else { 0 };
        let columns = columns(options.labels, options.alerts_per_week);
        Self { options, name_width: longest(names).max("total of 99999".len()), scorer_width, columns }
    }

    /// The first line.
    ///
    /// # Errors
    /// Those of the writer.
    pub(super) fn header(&self, out: &mut dyn Write) -> io::Result<()> {
        let scorer = if self.scorer_width > 0 { "  scorer" } else { "" };
        self.row(out, "series", scorer, &self.columns)
    }

    /// The line of a series and scorer.
    ///
    /// # Errors
    /// Those of the writer.
    pub(super) fn line(&self, out: &mut dyn Write, name: &str, scorer: &str, figures: &Figures) -> io::Result<()> {
        let scorer = if self.scorer_width > 0 { format!("  {scorer}") } else { String::new() };
        let cells = cells(figures, self.options.labels, self.options.alerts_per_week);
        self.row(out, name, &scorer, &cells)
    }

    fn row(&self, out: &mut dyn Write, name: &str, scorer: &str, cells: &[String]) -> io::Result<()> {
        write!(out, "{name:<0$}{scorer:<1$}", self.name_width, self.scorer_width)?;
        for (cell, column) in cells.iter().zip(&self.columns) {
            let width = if column == "delay" { DELAY_WIDTH } else { LEAST_WIDTH.max(column.len()) };
            write!(out, "  {cell:>width$}")?;
        }
        writeln!(out)
    }
}
