//! What a process says about itself over HTTP.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, ensure};
use nom_openmetrics::parser::prometheus;
use packline_testkit::process::Process;
use packline_tests::PATIENCE;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Where a process says that it answers; of its children's lines, its own comes first.
async fn address(process: &Process) -> anyhow::Result<String> {
    let marker = "/livez, /readyz and /metrics on http://";
    let since = Instant::now();
    loop {
        let printed = process.printed();
        let line = printed.split_inclusive('\n').find(|line| line.contains(marker) && line.ends_with('\n'));
        if let Some((_, address)) = line.and_then(|line| line.split_once(marker)) {
            return Ok(address.trim().to_owned());
        }
        ensure!(since.elapsed() < PATIENCE && process.is_running(), "{printed}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Asks a process that serves `HTTP_ADDR` for a path; status and body.
///
/// # Errors
/// When it does not answer.
pub(crate) async fn get(process: &Process, path: &str) -> anyhow::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address(process).await?).await?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").with_context(|| format!("no HTTP: {answer}"))?;
    if path == "/metrics" {
        let is_text = head.to_ascii_lowercase().contains("content-type: text/plain; version=0.0.4");
        ensure!(is_text, "{head}");
    }
    Ok((head.split(' ').nth(1).context("no status")?.parse()?, body.to_owned()))
}

/// A metric, labels, and what the samples with these labels add up to.
pub(crate) type Sum<'a> = (&'a str, &'a [(&'a str, &'a str)], f64);

/// One line of `/metrics`; of a histogram each bucket, the sum and the count is one.
#[derive(Debug)]
pub(crate) struct Sample {
    /// The name as it is written, also `…_bucket`, `…_sum` and `…_count`.
    pub(crate) metric: String,
    /// Values by label.
    pub(crate) labels: BTreeMap<String, String>,
    value: f64,
}

/// What `/metrics` says, read as Prometheus reads it.
#[derive(Debug)]
pub(crate) struct Scraped {
    /// All samples.
    pub(crate) samples: Vec<Sample>,
    /// As it came.
    pub(crate) text: String,
}

impl Scraped {
    /// What this process says now.
    ///
    /// # Errors
    /// As [`get`]; and when what it says is not in the text format of Prometheus.
    pub(crate) async fn by(process: &Process) -> anyhow::Result<Self> {
        let (status, text) = get(process, "/metrics").await?;
        ensure!(status == 200, "{status}: {text}");
        // Prometheus ignores empty lines, its grammar here does not know them.
        let lines: String = text.lines().filter(|line| !line.is_empty()).map(|line| format!("{line}\n")).collect();
        let (_, families) = prometheus(&lines).map_err(|error| anyhow!("{error}"))?;
        let samples = families.iter().flat_map(|family| &family.samples).map(|sample| Sample {
            metric: sample.name().to_owned(),
            labels: sample.labels().iter().map(|label| (label.name.to_owned(), label.value.clone())).collect(),
            value: sample.number(),
        });
        Ok(Self { samples: samples.collect(), text })
    }

    /// Scrapes until it is so.
    ///
    /// # Errors
    /// When it is not within [`PATIENCE`]; and as [`Self::by`].
    pub(crate) async fn until(process: &Process, what: &str, so: impl Fn(&Self) -> bool) -> anyhow::Result<Self> {
        let since = Instant::now();
        loop {
            let said = Self::by(process).await?;
            if so(&said) {
                return Ok(said);
            }
            ensure!(since.elapsed() < PATIENCE, "{what}\n{}", said.text);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The sum of the samples of a metric that have these labels; of a histogram, how many were observed.
    /// None where there is no such sample.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let has = |sample: &&Sample| {
            labels.iter().all(|(label, value)| sample.labels.get(*label).is_some_and(|found| found == value))
        };
        let is = |sample: &&Sample| sample.metric == name || sample.metric == format!("{name}_count");
        self.samples.iter().filter(is).filter(has).map(|sample| sample.value).reduce(|sum, value| sum + value)
    }

    /// Of a histogram, what all that was observed adds up to.
    pub(crate) fn total(&self, name: &str) -> f64 {
        self.samples.iter().filter(|sample| sample.metric == format!("{name}_sum")).map(|sample| sample.value).sum()
    }

    /// Whether a metric has samples with these labels, and this sum of them.
    pub(crate) fn is(&self, name: &str, labels: &[(&str, &str)], expected: f64) -> bool {
        self.value(name, labels).is_some_and(|value| (value - expected).abs() < f64::EPSILON)
    }

    /// Whether the samples of a metric add up to more than this.
    pub(crate) fn is_over(&self, name: &str, least: f64) -> bool {
        self.value(name, &[]).is_some_and(|value| value > least)
    }

    /// Each metric has samples with these labels, and this sum of them.
    ///
    /// # Panics
    /// Where one has not.
    pub(crate) fn shows(&self, all: &[Sum<'_>]) {
        for (name, labels, expected) in all {
            assert!(self.is(name, labels, *expected), "{name} {labels:?} is not {expected}:\n{}", self.text);
        }
    }
}
