//! The default scorer at its default threshold on the recorded series, against its bars; with `--nocapture`
//! the tables of docs/ACCURACY.md, all scorers side by side.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod nab;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use aiops_detectors::backtest::{EventCounts, EventScorer, skipped};
use aiops_detectors::{CsvReader, DEFAULT_SCORER, Sample, Scorer, scorer_by_name, scorer_names};

/// Thresholds that leave-one-domain-out chooses from, in tenths of a decade.
const THRESHOLDS: std::ops::RangeInclusive<u32> = 20..=50;

fn data(folder: &str) -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let data = std::env::var_os("AIOPS_DATA").map_or_else(default, PathBuf::from).join(folder);
    assert!(data.is_dir(), "no folder {}", data.display());
    data
}

struct Recorded {
    /// `domain/file`.
    name: String,
    times: Vec<String>,
    /// None for a row that says nothing.
    samples: Vec<Option<Sample>>,
    labelled: Vec<bool>,
}

impl Recorded {
    fn domain(&self) -> String {
        self.name.split('/').next().unwrap().to_owned()
    }
}

/// The series of `root/domain/file.csv`, sorted.
fn recorded(root: &Path) -> Vec<Recorded> {
    let folders = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    let mut files: Vec<PathBuf> =
        folders.flat_map(|folder| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path())).collect();
    files.sort();
    files.iter().map(|file| read(file, file.strip_prefix(root).unwrap())).collect()
}

fn read(file: &Path, name: &Path) -> Recorded {
    let mut rows = CsvReader::new(BufReader::new(File::open(file).unwrap())).unwrap();
    let name = name.to_str().unwrap().to_owned();
    let mut recorded = Recorded { name, times: Vec::new(), samples: Vec::new(), labelled: Vec::new() };
    while let Some(row) = rows.next_row().unwrap() {
        recorded.times.push(row.timestamp.into_owned());
        recorded.samples.push(row.sample.ok());
        recorded.labelled.push(row.label.is_some_and(|label| label.parse().is_ok_and(|label: f64| label > 0.0)));
    }
    recorded
}

/// The size of the statistic for each row, 0 for a row that says nothing.
fn scores(series: &Recorded, scorer: &dyn Scorer) -> Vec<f64> {
    let mut scorer = scorer.fresh();
    let mut score =
        |sample: &Option<Sample>| sample.map_or(0.0, |sample| scorer.observe(sample.at, sample.value).statistic.abs());
    series.samples.iter().map(&mut score).collect()
}

fn alerts(scores: &[f64], threshold: f64) -> Vec<bool> {
    scores.iter().map(|score| *score >= threshold).collect()
}

fn events(series: &Recorded, scores: &[f64], threshold: f64) -> EventCounts {
    let mut events = EventScorer::default();
    let first = usize::try_from(skipped(scores.len() as u64)).unwrap();
    for (labelled, alert) in series.labelled.iter().zip(alerts(scores, threshold)).skip(first) {
        events.push(*labelled, alert, None);
    }
    events.finish()
}

/// What a threshold gives, for each domain.
type ByDomain<T> = BTreeMap<String, T>;

fn event_counts(all: &[(&Recorded, Vec<f64>)], threshold: f64) -> ByDomain<EventCounts> {
    let mut domains = ByDomain::<EventCounts>::new();
    for (series, scores) in all {
        domains.entry(series.domain()).or_default().merge(&events(series, scores, threshold));
    }
    domains
}

fn nab_gains(all: &[(&Recorded, Vec<f64>)], windows: &nab::Windows, threshold: f64) -> ByDomain<nab::Gain> {
    let mut domains = ByDomain::<nab::Gain>::new();
    for (series, scores) in all {
        let gain = nab::gain(&series.times, &alerts(scores, threshold), &windows[&series.name]);
        domains.entry(series.domain()).or_default().add(gain);
    }
    domains
}

fn all_events(domains: &ByDomain<EventCounts>, but: Option<&str>) -> EventCounts {
    let mut sum = EventCounts::default();
    domains.iter().filter(|(domain, _)| Some(domain.as_str()) != but).for_each(|(_, counts)| sum.merge(counts));
    sum
}

fn all_gains(domains: &ByDomain<nab::Gain>, but: Option<&str>) -> nab::Gain {
    let mut sum = nab::Gain::default();
    domains.iter().filter(|(domain, _)| Some(domain.as_str()) != but).for_each(|(_, gain)| sum.add(*gain));
    sum
}

/// For each domain, the place of the threshold that is best on all the others: the middle one of equals.
fn chosen_without<T>(by_threshold: &[ByDomain<T>], value: impl Fn(&ByDomain<T>, &str) -> f64) -> Vec<(String, usize)> {
    let choose = |domain: &String| {
        let values: Vec<f64> = by_threshold.iter().map(|domains| value(domains, domain)).collect();
        let best = values.iter().copied().fold(f64::MIN, f64::max);
        let places: Vec<usize> = (0..values.len()).filter(|place| values[*place] == best).collect();
        (domain.clone(), places[places.len() / 2])
    };
    by_threshold[0].keys().map(choose).collect()
}

#[test]
#[ignore = "needs AIOPS_DATA"]
fn the_default_scorer_reaches_its_bars_on_recorded_series() {
    let (monitoring, nab_folder) = (data("cloud-monitoring"), data("nab"));
    let (labelled, windowed) = (recorded(&monitoring), recorded(&nab_folder.join("data")));
    let windows = nab::windows(&nab_folder);
    println!("| scorer | F1 | precision | recall | false/1,000 | NAB |\n|---|---:|---:|---:|---:|---:|");
    // The others are there for the tables, and take minutes without optimisation.
    for name in scorer_names().filter(|name| *name == DEFAULT_SCORER || !cfg!(debug_assertions)) {
        let scorer = scorer_by_name(name).unwrap();
        let threshold = scorer.default_threshold();
        let of_events: Vec<_> = labelled.iter().map(|series| (series, scores(series, &*scorer))).collect();
        let of_windows: Vec<_> = windowed.iter().map(|series| (series, scores(series, &*scorer))).collect();
        let events = event_counts(&of_events, threshold);
        let total = all_events(&events, None);
        let gains = nab_gains(&of_windows, &windows, threshold);
        let nab = all_gains(&gains, None).score();
        let (precision, recall) = (total.precision(), total.recall());
        let false_alarms = total.false_per_thousand();
        println!("| `{name}` | {:.3} | {precision:.3} | {recall:.3} | {false_alarms:.2} | {nab:.1} |", total.f1());
        if name != DEFAULT_SCORER {
            continue;
        }
        println!("\nleave one domain out, threshold chosen on the others:");
        let thresholds: Vec<f64> = THRESHOLDS.map(|tenths| f64::from(tenths) / 10.0).collect();
        let swept: Vec<_> = thresholds.iter().map(|threshold| event_counts(&of_events, *threshold)).collect();
        let mut left_out = EventCounts::default();
        for (domain, place) in chosen_without(&swept, |domains, domain| all_events(domains, Some(domain)).f1()) {
            left_out.merge(&swept[place][&domain]);
            let (alone, others) = (events[&domain].f1(), all_events(&events, Some(&domain)).f1());
            println!(
                "| {domain} | {:.1} | {:.3} | {alone:.3} | {others:.3} |",
                thresholds[place],
                swept[place][&domain].f1()
            );
        }
        println!(
            "F1 over the domains left out: {:.3}, false/1,000 {:.2}",
            left_out.f1(),
            left_out.false_per_thousand()
        );
        let swept: Vec<_> = thresholds.iter().map(|threshold| nab_gains(&of_windows, &windows, *threshold)).collect();
        let mut left_out = nab::Gain::default();
        for (domain, place) in chosen_without(&swept, |domains, domain| all_gains(domains, Some(domain)).score()) {
            left_out.add(swept[place][&domain]);
            let (alone, others) = (gains[&domain].score(), all_gains(&gains, Some(&domain)).score());
            println!(
                "| {domain} | {:.1} | {:.1} | {alone:.1} | {others:.1} |",
                thresholds[place],
                swept[place][&domain].score()
            );
        }
        println!("NAB over the domains left out: {:.1}\n", left_out.score());
        assert!(total.f1() >= 0.60 && false_alarms <= 0.5, "F1 {}, false/1,000 {false_alarms}", total.f1());
        assert!(nab >= 62.0, "NAB {nab}");
    }
}
