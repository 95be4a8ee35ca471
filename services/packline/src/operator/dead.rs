//! `packline dead`: what was refused, and why; sent again once the cause is mended.

use anyhow::{Context, bail};
use clap::Subcommand;
use packline_broker::{Broker, Followed, From, Message, Stored, StreamName};
use packline_service::Unusable;
use serde_json::{Value, json};

use super::{
    connection::Connection,
    send::store,
    shown::{ago, columns, counted, plain},
};
use crate::say;

/// Of a reason in the list.
const SHOWN: usize = 100;

/// What to do with dead letters
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
A dead letter is kept for 30 days, also when it was sent again: what is refused once more is a new one. --delete takes
it away once it is stored where it came from.

Examples:
  packline dead list
  packline dead show 17
  packline dead show 17 --raw | jq '.priority = 1' | nats pub packages.new
  packline dead send 17 18 --delete")]
pub(crate) struct Settings {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Clone, Debug)]
enum What {
    /// List them, oldest first
    List(List),
    /// Show one with its reason and its body
    Show(Show),
    /// Publish the bodies again where they came from
    Send(Send),
}

/// Which
#[derive(clap::Args, Clone, Debug)]
struct List {
    /// Only those of dead.<KIND>: packages, control, results, catalogue, …
    #[arg(long)]
    kind: Option<String>,
    /// The newest so many
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 50)]
    limit: usize,
    /// Print a JSON object for each
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Which
#[derive(clap::Args, Clone, Debug)]
struct Show {
    /// Its sequence in DEAD
    sequence: u64,
    /// Print its body, byte for byte, and nothing else
    #[arg(long, conflicts_with = "json")]
    raw: bool,
    /// Print it as a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Which, and what becomes of them
#[derive(clap::Args, Clone, Debug)]
struct Send {
    /// Their sequences in DEAD
    #[arg(required = true, value_name = "SEQUENCE")]
    sequences: Vec<u64>,
    /// Take each away once it is sent
    #[arg(long)]
    delete: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Does it.
pub(crate) async fn run(settings: &Settings) -> anyhow::Result<()> {
    match &settings.what {
        What::List(list) => self::list(list).await,
        What::Show(show) => self::show(show).await,
        What::Send(send) => self::send(send).await,
    }
}

/// A dead letter as it is kept.
struct Letter(Stored);

impl Letter {
    /// The one of this sequence.
    async fn of(broker: &Broker, sequence: u64) -> anyhow::Result<Self> {
        let found = broker.stored(StreamName::Dead, sequence).await.context("failed to read DEAD")?;
        match found.filter(|found| found.sequence == sequence) {
            Some(found) => Ok(Self(found)),
            None => bail!("there is no dead letter {sequence}, or no more; `packline dead list` shows those that are"),
        }
    }

    fn kind(&self) -> &str {
        self.0.subject.rsplit('.').next().unwrap_or_default()
    }

    fn reason(&self) -> &str {
        self.0.header("Reason").unwrap_or_default()
    }

    fn source(&self) -> &str {
        self.0.header("Source-Subject").unwrap_or_default()
    }

    /// The size of what was refused, where only its beginning is kept.
    fn cut(&self) -> Option<&str> {
        self.0.header("Size").filter(|_| self.0.header("SHA-256").is_some())
    }

    fn object(&self) -> Value {
        let body = &self.0.payload;
        let body = serde_json::from_slice(body).unwrap_or_else(|_| json!(String::from_utf8_lossy(body)));
        json!({
            "sequence": self.0.sequence,
            "kind": self.kind(),
            "at": self.0.stored_at,
            "reason": self.reason(),
            "sourceSubject": self.source(),
            "sourceSequence": self.0.header("Source-Sequence").and_then(|text| text.parse::<u64>().ok()),
            "bytes": self.cut().and_then(|size| size.parse().ok()).unwrap_or(self.0.payload.len()),
            "cut": self.cut().is_some(),
            "sha256": self.0.header("SHA-256"),
            "body": body,
        })
    }

    /// What is published where it came from.
    fn again(&self) -> anyhow::Result<Message> {
        let (sequence, subject) = (self.0.sequence, self.source());
        if let Some(size) = self.cut() {
            bail!(
                "{sequence} cannot be sent again: of its {size} bytes only the first {} are kept",
                self.0.payload.len()
            );
        }
        // A pattern or somebody else's subject is no place where it came from.
        if StreamName::of(subject).is_none_or(|stream| stream == StreamName::Dead) || subject.contains(['*', '>', ' '])
        {
            bail!("{sequence} cannot be sent again: it came from `{}`, which no part takes", plain(subject));
        }
        Ok(Message::new(subject, self.0.payload.clone()))
    }
}

async fn list(settings: &List) -> anyhow::Result<()> {
    let broker = settings.connection.open().await?;
    let mut follow = broker.follow(StreamName::Dead, StreamName::Dead.subject(), From::Sequence(0));
    let mut letters = std::collections::VecDeque::new();
    let mut count = 0;
    while let Followed::Message(message) = follow.next().await.context("failed to read DEAD")? {
        let letter = Letter(message);
        if settings.kind.as_deref().is_none_or(|kind| kind == letter.kind()) {
            count += 1;
            letters.push_back(letter);
        }
        if letters.len() > settings.limit {
            letters.pop_front();
        }
    }
    if settings.json {
        return letters.iter().try_for_each(|letter| say(&letter.object().to_string()));
    }
    if count == 0 {
        return say("no dead letter is like that, or there is none");
    }
    say(&columns(["DEAD", "AGE", "KIND", "CAME FROM", "BYTES", "REASON"], letters.iter().map(row)))?;
    let more = count - letters.len();
    if more > 0 {
        say(&format!("… and {} that came before; -n shows more", counted(more, "dead letter")))
    } else {
        Ok(())
    }
}

fn row(letter: &Letter) -> [String; 6] {
    let mut reason: String = letter.reason().chars().take(SHOWN).collect();
    if reason.len() < letter.reason().len() {
        reason.push('…');
    }
    [
        letter.0.sequence.to_string(),
        ago(letter.0.stored_at),
        letter.kind().to_owned(),
        letter.source().to_owned(),
        letter.cut().map_or_else(|| letter.0.payload.len().to_string(), str::to_owned),
        reason,
    ]
}

async fn show(settings: &Show) -> anyhow::Result<()> {
    let broker = settings.connection.open().await?;
    let letter = Letter::of(&broker, settings.sequence).await?;
    if settings.raw {
        use std::io::Write;
        let mut out = std::io::stdout().lock();
        return out.write_all(&letter.0.payload).and_then(|()| out.flush()).context("nobody reads what is said");
    }
    if settings.json {
        return say(&letter.object().to_string());
    }
    let source = letter.0.header("Source-Sequence").map(|sequence| format!(", message {sequence}")).unwrap_or_default();
    let body = match serde_json::from_slice::<Value>(&letter.0.payload) {
        Ok(value) => serde_json::to_string_pretty(&value)?,
        Err(_) => String::from_utf8_lossy(&letter.0.payload).into_owned(),
    };
    let cut = letter.cut().map(|size| format!("\n… of {size} bytes only these are kept")).unwrap_or_default();
    let body = body.lines().map(plain).collect::<Vec<_>>().join("\n");
    say(&format!(
        "dead letter {} of dead.{}, {}\nreason     {}\ncame from  {}{source}\n\n{body}{cut}",
        letter.0.sequence,
        letter.kind(),
        ago(letter.0.stored_at),
        plain(letter.reason()),
        plain(letter.source()),
    ))
}

/// All, or where one cannot be sent none.
async fn send(settings: &Send) -> anyhow::Result<()> {
    let broker = settings.connection.open().await?;
    let mut sequences = settings.sequences.clone();
    sequences.sort_unstable();
    sequences.dedup();
    if sequences.len() < settings.sequences.len() {
        return Err(Unusable("a sequence is named twice".into()).into());
    }
    let mut letters = Vec::new();
    for sequence in sequences {
        let letter = Letter::of(&broker, sequence).await?;
        let message = letter.again().context("nothing was sent")?;
        letters.push((letter, message));
    }
    for (letter, message) in letters {
        let (sequence, subject) = (letter.0.sequence, message.subject.clone());
        let stream = StreamName::of(&subject).with_context(|| format!("no stream takes {subject}"))?;
        let stored = store(&broker, stream, message).await?;
        say(&format!("{sequence} is sent again to {subject}: {stored} of {}", stream.as_str()))?;
        if settings.delete {
            broker.delete_stored(StreamName::Dead, sequence).await.context("it is sent, and not deleted")?;
        }
    }
    Ok(())
}
