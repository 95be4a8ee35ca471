//! Questions: how soon the leader answers, at rest and under load, and how long its answers are.

use std::{fmt, time::Instant};

use anyhow::Context;
use packline_broker::topology;
use serde::Serialize;

use super::{Bed, Settings, bed::name, busy::Busy, quantiles::Quantiles};

/// How soon questions are answered.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Questions {
    idle: Vec<Answers>,
    busy: Vec<Answers>,
    queued: u32,
    builds_per_second: f64,
}

/// The answers to one question.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answers {
    question: &'static str,
    /// From before it was asked to its answer.
    round_trip: Quantiles,
    /// The longest answer.
    max_bytes: usize,
}

pub(super) async fn measure(settings: &Settings) -> anyhow::Result<Questions> {
    let idle = {
        let bed = Bed::at_rest(settings).await?;
        answers(&bed, settings).await.context("on the idle line")?
    };
    let busy = Busy::make(settings).await?;
    let answers = answers(&busy.bed, settings).await.context("under load")?;
    let (_, builds_per_second) = busy.end().await?;
    Ok(Questions { idle, busy: answers, queued: settings.queued, builds_per_second })
}

async fn answers(bed: &Bed, settings: &Settings) -> anyhow::Result<Vec<Answers>> {
    let mut all = [
        (topology::STATE, Vec::new(), 0),
        (topology::QUEUE, Vec::new(), 0),
        (topology::WHY, Vec::new(), 0),
        (topology::HISTORY, Vec::new(), 0),
    ];
    for round in 0..settings.rounds {
        // Some of these wait, some are built.
        let package = name(round.wrapping_mul(7919) % settings.queued.max(1));
        for (question, millis, longest) in &mut all {
            let body = match *question {
                topology::STATE => String::new(),
                topology::QUEUE => r#"{"limit": 200}"#.to_owned(),
                _ => package.clone(),
            };
            let began = Instant::now();
            let answer = bed.broker.ask(question, body).await.with_context(|| format!("{question} has no answer"))?;
            millis.push(began.elapsed().as_secs_f64() * 1000.0);
            *longest = answer.len().max(*longest);
        }
    }
    let answers = all.into_iter().map(|(question, millis, max_bytes)| Answers {
        question,
        round_trip: Quantiles::of(millis),
        max_bytes,
    });
    Ok(answers.collect())
}

impl fmt::Display for Questions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "questions: from asking to the answer")?;
        for (when, answers) in [("idle", &self.idle), ("busy", &self.busy)] {
            for Answers { question, round_trip, max_bytes } in answers {
                writeln!(f, "  {when}: {question:<21} {round_trip}, up to {max_bytes} bytes")?;
            }
        }
        writeln!(f, "  busy: {} packages queued, {:.0} builds/s meanwhile", self.queued, self.builds_per_second)
    }
}
