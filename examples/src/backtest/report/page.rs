//! The page around the pictures.

use std::io::{self, Write};

use super::super::figures::{Figures, cells, columns};
use super::super::series::Lane;
use super::plot::Plot;
use super::svg;
use crate::page::{begin, end, escape, items};

/// Pictures at the most: a page must open. Those of the series with the most alerts are kept.
const MAX_PICTURES: usize = 100;

/// Figures and pictures of a run.
#[derive(Debug)]
pub(in super::super) struct Report {
    /// Name and threshold of each scorer.
    lanes: Vec<(&'static str, f64)>,
    labels: bool,
    alerts_per_week: f64,
    series: Vec<Series>,
    pictures: Vec<Picture>,
}

#[derive(Debug)]
struct Series {
    name: String,
    /// The cells of each scorer.
    cells: Vec<Vec<String>>,
}

#[derive(Debug)]
struct Picture {
    /// Its place among the series.
    place: usize,
    alerts: u64,
    svg: String,
}

impl Report {
    /// An empty report.
    pub(in super::super) fn new(lanes: &[Lane], labels: bool, alerts_per_week: f64) -> Self {
        let lanes = lanes.iter().map(|lane| (lane.scorer.name(), lane.threshold)).collect();
        Self { lanes, labels, alerts_per_week, series: Vec::new(), pictures: Vec::new() }
    }

    /// One more series.
    pub(in super::super) fn push(&mut self, name: &str, figures: &[Figures], plot: &Plot) {
        let place = self.series.len();
        let cells = figures.iter().map(|figures| self.cells(figures)).collect();
        self.series.push(Series { name: name.to_owned(), cells });
        let alerts = figures.iter().map(|figures| figures.alerts).max().unwrap_or(0);
        if self.pictures.len() >= MAX_PICTURES {
            // Of those with the fewest alerts the last one goes.
            let Some(least) = (0..self.pictures.len()).rev().min_by_key(|at| self.pictures[*at].alerts) else { return };
            if self.pictures[least].alerts >= alerts {
                return;
            }
            self.pictures.remove(least);
        }
        if let Some(svg) = svg::draw(plot, &self.lanes) {
            self.pictures.push(Picture { place, alerts, svg });
        }
    }

    /// Writes the page. `totals`: one for each scorer; `summary` and `faults`: lines for a person.
    ///
    /// # Errors
    /// Those of the writer.
    pub(in super::super) fn write(
        &self,
        out: &mut dyn Write,
        totals: &[Figures],
        summary: &[String],
        faults: &[String],
    ) -> io::Result<()> {
        let count = self.series.len();
        begin(out, &format!("Backtest of {count} series"))?;
        let totals = totals.iter().map(|total| self.cells(total)).collect();
        self.table(out, "all series", &[Series { name: format!("total of {count}"), cells: totals }])?;
        items(out, summary)?;
        if !faults.is_empty() {
            writeln!(out, "<details><summary>Rows that could not be scored</summary>")?;
            items(out, faults)?;
            writeln!(out, "</details>")?;
        }
        writeln!(out, "<h2>Series</h2>")?;
        self.table(out, "series", &self.series)?;
        writeln!(out, "<h2>Pictures</h2>\n{}", legend())?;
        if self.pictures.len() < count {
            writeln!(out, "<p>{} of {count} series: those with the most alerts.</p>", self.pictures.len())?;
        }
        for Picture { place, svg, .. } in &self.pictures {
            let Series { name, cells } = &self.series[*place];
            writeln!(out, "<section id=\"s{place}\">\n<h3>{}</h3>", escape(name))?;
            for ((scorer, threshold), cells) in self.lanes.iter().zip(cells) {
                let columns = columns(self.labels, self.alerts_per_week);
                let figures = columns.iter().zip(cells).skip(2).filter(|(_, cell)| *cell != "-");
                let figures: Vec<_> = figures.map(|(name, cell)| format!("{name} <b>{}</b>", escape(cell))).collect();
                let threshold = aiops_core::text::number(*threshold);
                writeln!(out, "<p class=\"f\">{scorer} at {threshold}: {}</p>", figures.join(" · "))?;
            }
            writeln!(out, "{svg}\n</section>")?;
        }
        end(out)
    }

    fn cells(&self, figures: &Figures) -> Vec<String> {
        cells(figures, self.labels, self.alerts_per_week)
    }

    /// A row for each series and scorer.
    fn table(&self, out: &mut dyn Write, first: &str, series: &[Series]) -> io::Result<()> {
        let several = self.lanes.len() > 1;
        write!(out, "<div class=\"w\"><table>\n<tr><th>{first}</th><th>scorer</th>")?;
        for column in columns(self.labels, self.alerts_per_week) {
            write!(out, "<th class=\"r\">{}</th>", escape(&column))?;
        }
        writeln!(out, "</tr>")?;
        for (place, one) in series.iter().enumerate() {
            let name = escape(&one.name);
            let pictured = first == "series" && self.pictures.iter().any(|picture| picture.place == place);
            for (lane, ((scorer, _), cells)) in self.lanes.iter().zip(&one.cells).enumerate() {
                let class = if several && lane == 0 { " class=\"top\"" } else { "" };
                let name = if lane > 0 { "" } else { &name };
                match pictured && lane == 0 {
                    true => write!(out, "<tr{class}><td><a href=\"#s{place}\">{name}</a></td><td>{scorer}</td>")?,
                    false => write!(out, "<tr{class}><td>{name}</td><td>{scorer}</td>")?,
                }
                for cell in cells {
                    write!(out, "<td class=\"r\">{}</td>", escape(cell))?;
                }
                writeln!(out, "</tr>")?;
            }
        }
        writeln!(out, "</table></div>")
    }
}

fn legend() -> String {
    let swatch = |class: &str, shape: &str, text: &str| {
        format!("<span><svg width=\"26\" height=\"14\"><{shape} class=\"{class}\"/></svg> {text}</span>")
    };
    let parts = [
        swatch("v", "path d=\"M1 9L9 4L17 10L25 5\"", "value"),
        swatch("b", "rect width=\"26\" height=\"14\"", "expected band (first scorer, at its own threshold)"),
        swatch("l", "rect width=\"26\" height=\"14\"", "labelled"),
        swatch("a", "circle cx=\"13\" cy=\"7\" r=\"4\"", "alert (first scorer)"),
        swatch("sa", "path d=\"M13 14V1\"", "score that alerts"),
        swatch("t", "path d=\"M0 7H26\"", "threshold; scores are cut at three times of it"),
    ];
    format!("<p class=\"legend\">{}</p>", parts.join(" "))
}
