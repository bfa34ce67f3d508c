//! Samples in memory: for recorded data, backtests and tests.

use async_trait::async_trait;
use jiff::Timestamp;

use super::{SampleSource, Series, SeriesBatch, SourceError};

/// Recorded series; reading a range again gives the same samples.
#[derive(Debug, Clone, Default)]
pub struct MemorySource {
    name: String,
    series: Vec<Series>,
}

impl MemorySource {
    /// A source over recorded series.
    pub fn new(name: impl Into<String>, series: Vec<Series>) -> Self {
        Self { name: name.into(), series }
    }

    /// The recorded series.
    #[must_use]
    pub fn series(&self) -> &[Series] {
        &self.series
    }
}

#[async_trait]
impl SampleSource for MemorySource {
    fn name(&self) -> &str {
        &self.name
    }

    async fn read(&self, from: Timestamp, to: Timestamp) -> Result<SeriesBatch, SourceError> {
        let cut = |series: &Series| {
            let samples = series.samples.iter().filter(|sample| from <= sample.at && sample.at < to);
            Series::new(series.labels.clone(), samples.copied().collect())
        };
        let series: Vec<Series> = self.series.iter().map(cut).filter(|series| !series.samples.is_empty()).collect();
        Ok(SeriesBatch::new(series))
    }
}
