//! `packline add`: a package is announced by hand.

use anyhow::Context;
use packline_broker::{Broker, BucketName, Message, StreamName, topology};
use packline_domain::{
    Announcement, PackageName, PackagePath,
    answer::Why,
    record::{LEADER, Leader},
};
use packline_service::Unusable;
use serde_json::{Map, Value, json};

use super::{
    ask::{self, ask, package},
    connection::Connection,
    records::Records,
    send::store,
    wait::{self, leader_of},
};

/// What is announced
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "Examples:
  packline add acme/core
  packline add acme/app --priority 100 --needs acme/core --field ref=v2")]
pub(crate) struct Settings {
    /// acme/core or @acme/core
    #[arg(value_parser = package)]
    package: PackageName,
    /// Higher goes first
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    priority: i64,
    /// Package that has to be published first; may be given again
    #[arg(long, value_name = "PACKAGE", value_parser = package)]
    needs: Vec<PackageName>,
    /// Package that is built first where it can be, and need not be published; may be given again
    #[arg(long, value_name = "PACKAGE", value_parser = package)]
    after: Vec<PackageName>,
    /// Chooses the phases of a recipe
    #[arg(long, default_value = "unknown")]
    category: String,
    /// Its folder in the workspace, `.` for the root; packages/<unscoped name> where it is left out
    #[arg(long)]
    path: Option<PackagePath>,
    /// The catalogue's own identity of it
    #[arg(long)]
    id: Option<String>,
    /// A field of your own, passed on to the worker: NAME=TEXT, or NAME=JSON; may be given again
    #[arg(long, value_name = "NAME=VALUE", value_parser = field)]
    field: Vec<(String, Value)>,
    #[command(flatten)]
    wait: wait::Settings,
    #[command(flatten)]
    connection: Connection,
}

fn field(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("a field is NAME=VALUE")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    Ok((name.to_owned(), value))
}

impl Settings {
    fn package(&self) -> Result<Value, Unusable> {
        let mut package = json!({
            "schema": packline_domain::SCHEMA,
            "name": self.package,
            "priority": self.priority,
            "dependencies": self.needs,
            "category": self.category,
        });
        if let (Some(fields), false) = (package.as_object_mut(), self.after.is_empty()) {
            fields.insert("buildAfter".into(), json!(self.after));
        }
        let fields = package.as_object_mut().into_iter();
        for all in fields {
            self.fill(all)?;
        }
        let read = Announcement::parse(package.to_string().as_bytes());
        match (read.refused.first(), read.packages.as_slice()) {
            (Some(refused), _) => Err(Unusable(refused.reason.clone())),
            (None, [one]) if one.name == self.package && read.reported_through.is_none() => {
                match one.ignored_fields().into_iter().next() {
                    Some((_, why)) => Err(Unusable(why)),
                    None => Ok(package),
                }
            }
            (None, _) => Err(Unusable("this is read as a poll: --field packages cannot be announced by hand".into())),
        }
    }

    fn fill(&self, all: &mut Map<String, Value>) -> Result<(), Unusable> {
        if let Some(id) = &self.id {
            all.insert("id".into(), json!(id));
        }
        if let Some(path) = &self.path {
            all.insert("path".into(), json!(path));
        }
        for (name, value) in &self.field {
            if all.insert(name.clone(), value.clone()).is_some() {
                return Err(Unusable(format!("--field {name} is said twice, or has an option of its own")));
            }
        }
        Ok(())
    }
}

/// Announces it, and waits until it is queued.
pub(crate) async fn run(settings: &Settings) -> anyhow::Result<()> {
    let package = settings.package()?;
    let broker = settings.connection.open().await?;
    let sequence = store(&broker, StreamName::Packages, Message::json(topology::packages_new(), &package)).await?;
    if settings.wait.no_wait {
        return crate::say(&format!("announced {}: {sequence} of {}", settings.package, StreamName::Packages.as_str()));
    }
    settings.wait.bounded(async |waiting| applied(&broker, sequence, waiting).await).await?;
    let why = ask(&broker, topology::WHY, &settings.package).await.context("queued, and nobody says how it stands")?;
    let why: Why = ask::read(why, topology::WHY)?;
    match (why.state.map(|state| state.for_people(why.is_private())), why.reasons.first()) {
        (Some(state), Some(first)) => crate::say(&format!("{} is {state}: {}", settings.package, first.text)),
        _ => anyhow::bail!("{} was announced and is not in the queue; see `nats stream view DEAD`", settings.package),
    }
}

/// Waits until the leader has applied `PACKAGES` so far.
async fn applied(broker: &Broker, sequence: u64, waiting: &mut wait::Waiting) -> anyhow::Result<()> {
    let stream = StreamName::Packages.as_str();
    let created = broker.stream_state(StreamName::Packages).await.context("failed to look at PACKAGES")?.created;
    let mut leader = Records::<Leader>::follow(broker, BucketName::Orchestrator, LEADER);
    loop {
        waiting.wait(async || leader_of(broker).await, leader.changed()).await?;
        let position = leader.values.get(LEADER).and_then(|leader| leader.positions.get(stream));
        if position.is_some_and(|position| position.created == created && position.sequence >= sequence) {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        settings: Settings,
    }

    fn announced(arguments: &[&str]) -> Result<Value, String> {
        let line = Line::try_parse_from([&["add", "acme/core"], arguments].concat()).map_err(|e| e.to_string())?;
        line.settings.package().map_err(|unusable| unusable.to_string())
    }

    #[test]
    fn a_path_is_announced_and_one_of_another_shape_is_refused_however_it_is_given() {
        assert_eq!(announced(&["--path", "src/core"]).unwrap()["path"], json!("src/core"));
        assert_eq!(announced(&["--field", "path=src/core"]).unwrap()["path"], json!("src/core"));
        assert_eq!(announced(&[]).unwrap().get("path"), None);
        for wrong in [["--path", "../x"], ["--field", "path=../x"]] {
            let why = announced(&wrong).unwrap_err();
            assert!(why.contains("`../x` is not the path of a package"), "{why}");
        }
        assert!(announced(&["--field", "path=7"]).unwrap_err().contains("`path` is a string"));
    }
}
