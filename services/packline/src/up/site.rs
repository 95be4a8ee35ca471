//! The workspace that `packline up` works on, and the folder in it that is kept.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, TryLockError},
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    sync::Mutex,
    time::{Duration, Instant},
};

use anyhow::Context;
use packline_domain::Package;
use packline_local::registry::{HeldVersions, Source};
use packline_packages_api::{
    scan::{self, Found},
    store::{Entry, Status, Store},
};
use packline_service::Unusable;
use serde::{Deserialize, Serialize};

use super::verdict::Held;

/// How long a port may stay taken by what an earlier start has left; its parts die with it.
const SETTLE: Duration = Duration::from_secs(3);

/// A workspace, held by one `packline up` at a time.
pub(super) struct Site {
    pub(super) workspace: PathBuf,
    pub(super) home: PathBuf,
    /// The versions that are in the workspace or its catalogue.
    pub(super) held: HeldVersions,
    _lock: File,
}

/// The ports of the last start: what a person has put into a shell goes on working.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ports {
    pub(super) broker: Option<u16>,
    pub(super) registry: Option<u16>,
}

impl Site {
    /// Makes `.packline` in the workspace where there is none, and takes it.
    ///
    /// # Errors
    /// [`Unusable`] when the folder cannot be used, or another has it.
    pub(super) fn open(workspace: &Path) -> Result<Self, Unusable> {
        let shown = workspace.display();
        let workspace = fs::canonicalize(workspace).map_err(|error| {
            Unusable(format!("--workspace {shown}: {error}; it names the folder of a workspace, or of one package"))
        })?;
        let home = workspace.join(".packline");
        let unable = |error: std::io::Error| {
            Unusable(format!("{} must be a folder that can be written: {error}", home.display()))
        };
        fs::create_dir_all(home.join("logs")).map_err(unable)?;
        fs::write(home.join(".gitignore"), "*\n").map_err(unable)?;
        let lock = File::create(home.join("lock")).map_err(unable)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { workspace, home, held: HeldVersions::default(), _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                Err(Unusable(format!("another `packline up` runs on {shown}; stop it first, with Ctrl-C")))
            }
            Err(TryLockError::Error(error)) => Err(unable(error)),
        }
    }

    /// The database of the catalogue.
    pub(super) fn database(&self) -> PathBuf {
        self.home.join("catalogue.db")
    }

    /// Where each program logs.
    pub(super) fn logs(&self) -> PathBuf {
        self.home.join("logs")
    }

    /// Takes what the workspace holds into the catalogue; answers with it what the catalogue says is
    /// published as it stands here, each with whether it is private.
    ///
    /// # Errors
    /// When it is no workspace, or the database cannot be written.
    pub(super) fn scan(&self) -> anyhow::Result<(Found, BTreeMap<String, bool>)> {
        let found = scan::scan(&self.workspace)?;
        // Before anybody else hears of them.
        self.held.renew(Source::Workspace, found.packages.iter().map(named));
        let database = self.database();
        let store = Store::open(&database).with_context(|| format!("failed to open {}", database.display()))?;
        let all = store.list(None, "", u32::MAX).with_context(|| format!("failed to read {}", database.display()))?;
        self.held.renew(Source::Catalogue, all.iter().map(|entry| named(&entry.package)));
        store.merge(&found.packages).with_context(|| format!("failed to write {}", database.display()))?;
        let published = store.list(Some(Status::Published), "", u32::MAX);
        let published = published.with_context(|| format!("failed to read {}", database.display()))?;
        let of = |entry: Entry| (entry.package.name.to_string(), entry.is_private());
        Ok((found, published.into_iter().map(of).collect()))
    }

    /// Looks at the workspace again and again. What cannot be read for a moment, because somebody is writing
    /// it, is read the next time.
    ///
    /// # Errors
    /// When looking itself ends, which is a fault of ours.
    pub(super) async fn look_again(&self, every: Duration, held: &Mutex<Held>) -> anyhow::Error {
        let mut said = BTreeSet::new();
        loop {
            tokio::time::sleep(every).await;
            let looked = tokio::task::block_in_place(|| self.scan());
            let lines = match looked {
                Ok((found, published)) => {
                    super::lock(held).renew(Held::of(&found, published, crate::now()));
                    found.notes
                }
                Err(error) => vec![format!("the workspace cannot be read now: {}", super::with_causes(&error))],
            };
            for line in &lines {
                if !said.contains(line)
                    && let Err(error) = crate::say(line)
                {
                    return error;
                }
            }
            said = lines.into_iter().collect();
        }
    }

    fn ports_file(&self) -> PathBuf {
        self.home.join("ports.json")
    }

    /// The ports of the last start, as far as nobody else has them now.
    pub(super) async fn ports(&self) -> Ports {
        let kept = fs::read(self.ports_file()).ok().and_then(|text| serde_json::from_slice::<Ports>(&text).ok());
        let kept = kept.unwrap_or_default();
        Ports { broker: free(kept.broker).await, registry: free(kept.registry).await }
    }

    /// Keeps the ports for the next start.
    ///
    /// # Errors
    /// When they cannot be written.
    pub(super) fn keep_ports(&self, ports: Ports) -> anyhow::Result<()> {
        let text = serde_json::to_vec(&ports).context("failed to write the ports")?;
        fs::write(self.ports_file(), text).with_context(|| format!("failed to write {}", self.ports_file().display()))
    }
}

/// A package with the version that it is known in.
pub(crate) fn named(package: &Package) -> (&str, Option<&str>) {
    (package.name.as_str(), package.extra.get("version").and_then(serde_json::Value::as_str))
}

async fn free(port: Option<u16>) -> Option<u16> {
    let port = port?;
    let give_up = Instant::now() + SETTLE;
    while TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err() {
        if Instant::now() >= give_up {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Some(port)
}
