//! Reads incidents in the layout of the PetShop data set: metrics around faults that were injected
//! into a web shop of some forty nodes.
//!
//! `<scenario>/graph.csv` (who calls whom), `<scenario>/noissue/metrics.csv` (two days without a fault),
//! `<scenario>/<split>/<issue>/metrics.csv` (the rows around one fault) and `…/target.json` (the truth).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Longest file that is read; the data set's largest has 3 MB.
const MAX_BYTES: u64 = 64 << 20;
/// Bad rows whose reason is kept; further ones are only counted.
const MAX_BAD_ROWS: usize = 20;

/// What is watched of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// Mean latency in seconds.
    Latency,
    /// Share of requests that succeeded, in percent.
    Availability,
}

/// Rows of one metrics file.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// Samples by node and metric: unix seconds and value, in the order of the rows.
    pub series: BTreeMap<(String, Metric), Vec<(i64, f64)>>,
    /// The times of the rows.
    pub times: Vec<i64>,
    /// Cells without a number: the node had no traffic then.
    pub empty_cells: usize,
    /// Rows that could not be read, with place and reason.
    pub bad_rows: Vec<String>,
    /// How many there were.
    pub bad: usize,
}

/// One recorded incident and what its shop looks like without a fault.
#[derive(Debug, Clone)]
pub struct Incident {
    /// `low_traffic/train/issue_0`.
    pub name: String,
    /// Who calls whom.
    pub calls: Vec<(String, String)>,
    /// Two days without a fault.
    pub healthy: Metrics,
    /// The rows around the fault.
    pub around: Metrics,
    /// `target.json` as it stands, unread.
    truth: Option<String>,
}

/// The incidents that are built in: two latency faults at low traffic, two of latency and two of
/// availability at high traffic.
///
/// # Errors
/// None in practice: a test reads them all.
pub fn embedded() -> Result<Vec<Incident>, String> {
    macro_rules! incident {
        ($scenario:literal, $issue:literal) => {
            Incident::read(
                concat!($scenario, "/train/", $issue),
                include_str!(concat!("../data/petshop/", $scenario, "/graph.csv")),
                include_str!(concat!("../data/petshop/", $scenario, "/noissue/metrics.csv")),
                include_str!(concat!("../data/petshop/", $scenario, "/train/", $issue, "/metrics.csv")),
                Some(include_str!(concat!("../data/petshop/", $scenario, "/train/", $issue, "/target.json"))),
            )
        };
    }
    Ok(vec![
        incident!("low_traffic", "issue_0")?,
        incident!("low_traffic", "issue_2")?,
        incident!("high_traffic", "issue_1")?,
        incident!("high_traffic", "issue_5")?,
        incident!("high_traffic", "issue_6")?,
        incident!("high_traffic", "issue_3")?,
    ])
}

impl Incident {
    /// Reads an incident's folder.
    ///
    /// # Errors
    /// A file that is missing or holds nothing that can be used, by its path and line.
    pub fn load(folder: &Path) -> Result<Self, String> {
        let folder = folder.canonicalize().map_err(|error| format!("{}: {error}", folder.display()))?;
        if !folder.is_dir() {
            return Err(format!("{}: not a folder; give one that holds metrics.csv", folder.display()));
        }
        let scenario = folder.parent().and_then(Path::parent);
        let scenario = scenario.ok_or_else(|| format!("{}: not an incident's folder", folder.display()))?;
        let name = folder.strip_prefix(scenario.parent().unwrap_or(scenario)).unwrap_or(&folder);
        let (around, target) = (folder.join("metrics.csv"), folder.join("target.json"));
        let (graph, healthy) = (scenario.join("graph.csv"), scenario.join("noissue/metrics.csv"));
        // Only for the last line of the output: whatever is wrong with it stops nothing.
        let truth = text_of(&target).ok();
        Ok(Self {
            name: name.display().to_string(),
            calls: read_graph(&graph.display().to_string(), &text_of(&graph)?)?,
            healthy: read_metrics(&healthy.display().to_string(), &text_of(&healthy)?)?,
            around: read_metrics(&around.display().to_string(), &text_of(&around)?)?,
            truth,
        })
    }

    fn read(name: &str, graph: &str, healthy: &str, around: &str, truth: Option<&str>) -> Result<Self, String> {
        Ok(Self {
            name: name.to_owned(),
            calls: read_graph("graph.csv", graph)?,
            healthy: read_metrics("noissue/metrics.csv", healthy)?,
            around: read_metrics("metrics.csv", around)?,
            truth: truth.map(str::to_owned),
        })
    }

    /// The node with the fault. To be asked when all is done: nothing may depend on it.
    #[must_use]
    pub fn truth(&self) -> Option<String> {
        let target: Value = serde_json::from_str(self.truth.as_deref()?).ok()?;
        target["root_cause"]["node"].as_str().map(str::to_owned)
    }
}

fn text_of(path: &PathBuf) -> Result<String, String> {
    let say = |error: std::io::Error| format!("{}: {error}", path.display());
    let bytes = std::fs::metadata(path).map_err(say)?.len();
    if bytes > MAX_BYTES {
        return Err(format!("{}: {bytes} bytes, at most {MAX_BYTES} are read", path.display()));
    }
    std::fs::read_to_string(path).map_err(say)
}

/// A header of node names, then one row for each caller with 1 where it calls the column's node.
fn read_graph(file: &str, text: &str) -> Result<Vec<(String, String)>, String> {
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let (_, header) = lines.next().ok_or_else(|| format!("{file}:1: empty; a header of node names is expected"))?;
    let names: Vec<&str> = header.split(',').skip(1).collect();
    let mut calls = Vec::new();
    for (index, line) in lines {
        let mut cells = line.split(',');
        let caller = cells.next().unwrap_or_default();
        let cells: Vec<&str> = cells.collect();
        if cells.len() != names.len() {
            return Err(format!("{file}:{}: {} cells, the header has {}", index + 1, cells.len() + 1, names.len() + 1));
        }
        for (name, cell) in names.iter().zip(cells) {
            let calls_it: f64 = cell
                .trim()
                .parse()
                .map_err(|_| format!("{file}:{}: {cell:?} in column {name:?} is no number", index + 1))?;
            if calls_it > 0.0 {
                calls.push((caller.to_owned(), (*name).to_owned()));
            }
        }
    }
    Ok(calls)
}

/// Three rows of headers (node, metric, statistic), the name of the time column, then rows of numbers.
fn read_metrics(file: &str, text: &str) -> Result<Metrics, String> {
    let mut lines = text.lines().enumerate();
    let mut header = |first: &str| -> Result<Vec<String>, String> {
        let (index, line) = lines.next().ok_or_else(|| format!("{file}: ends before the row {first:?}"))?;
        let mut cells = line.split(',').map(|cell| cell.trim().to_owned());
        match cells.next() {
            Some(cell) if cell == first => Ok(cells.collect()),
            cell => Err(format!("{file}:{}: {:?} where {first:?} is expected", index + 1, cell.unwrap_or_default())),
        }
    };
    let (nodes, metrics, statistics) = (header("microservice")?, header("metric")?, header("statistic")?);
    header("unix_timestamp")?;
    if metrics.len() != nodes.len() || statistics.len() != nodes.len() {
        return Err(format!(
            "{file}:2: header rows of {}, {} and {} cells",
            nodes.len(),
            metrics.len(),
            statistics.len()
        ));
    }
    let columns: Vec<(usize, (String, Metric))> = (0..nodes.len())
        .filter_map(|column| {
            let metric = match (metrics[column].as_str(), statistics[column].as_str()) {
                ("latency", "Average") => Metric::Latency,
                ("availability", "Average") => Metric::Availability,
                _ => return None,
            };
            Some((column, (nodes[column].clone(), metric)))
        })
        .collect();
    if columns.is_empty() {
        return Err(format!("{file}:2: no column of latency or availability with statistic Average"));
    }

    let mut read = Metrics::default();
    for (index, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        let place = format!("{file}:{}", index + 1);
        let mut bad = |reason: String| {
            read.bad += 1;
            if read.bad_rows.len() < MAX_BAD_ROWS {
                read.bad_rows.push(format!("{place}: {reason}"));
            }
        };
        let cells: Vec<&str> = line.split(',').collect();
        if cells.len() != nodes.len() + 1 {
            bad(format!("{} cells, the header has {}", cells.len(), nodes.len() + 1));
            continue;
        }
        // Some files write the time as a float.
        let Some(at) = cells[0].trim().parse::<f64>().ok().filter(|at| at.is_finite() && (0.0..1e11).contains(at))
        else {
            bad(format!("{:?} is no unix time", cells[0]));
            continue;
        };
        #[allow(clippy::cast_possible_truncation)] // Whole seconds below 1e11.
        let at = at as i64;
        if read.times.last().is_some_and(|last| *last >= at) {
            bad(format!("time {at} is not after the row before"));
            continue;
        }
        read.times.push(at);
        for (column, key) in &columns {
            match cells[column + 1].trim().parse::<f64>() {
                Ok(value) if value.is_finite() => {
                    read.series.entry(key.clone()).or_default().push((at, value));
                }
                _ => read.empty_cells += 1,
            }
        }
    }
    if read.times.is_empty() {
        return Err(format!("{file}: no row with samples"));
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "microservice,web,web,db\nmetric,latency,availability,requests\nstatistic,Average,Average,Sum\nunix_timestamp,,,\n";

    #[test]
    fn rows_that_do_not_read_are_named_and_the_rest_goes_on() {
        let text = format!("{HEAD}300,0.5,100,7\n600.0,,nan,7\nsoon,1,1,1\n900,1\n600,1,1,1\n1200,0.7,99,7\n");
        let read = read_metrics("m.csv", &text).unwrap();
        assert_eq!(read.series[&("web".to_owned(), Metric::Latency)], [(300, 0.5), (1200, 0.7)]);
        assert_eq!((read.empty_cells, read.bad), (2, 3));
        assert_eq!(
            read.bad_rows,
            [
                "m.csv:7: \"soon\" is no unix time",
                "m.csv:8: 2 cells, the header has 4",
                "m.csv:9: time 600 is not after the row before"
            ]
        );
    }

    #[test]
    fn what_is_no_metrics_file_says_where_and_why() {
        for (text, wanted) in [
            ("", "m.csv: ends before the row \"microservice\""),
            ("time,web\n", "m.csv:1: \"time\" where \"microservice\" is expected"),
            (HEAD, "m.csv: no row with samples"),
            (
                "microservice,a\nmetric,cpu\nstatistic,Sum\nunix_timestamp,\n1,1\n",
                "m.csv:2: no column of latency or availability with statistic Average",
            ),
        ] {
            assert_eq!(read_metrics("m.csv", text).unwrap_err(), wanted);
        }
        assert_eq!(
            read_graph("g.csv", ",a,b\na,0.0,1.0\nb,x,0\n").unwrap_err(),
            "g.csv:3: \"x\" in column \"a\" is no number"
        );
    }

    #[test]
    fn the_row_calls_the_column() {
        assert_eq!(read_graph("g.csv", ",a,b\na,0.0,1.0\nb,0.0,0.0\n").unwrap(), [("a".to_owned(), "b".to_owned())]);
    }
}
