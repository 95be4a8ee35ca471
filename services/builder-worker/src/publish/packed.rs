//! What is packed, by the package manager and by npm.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use semver::Version;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    document::Document,
    guard::{Input, View},
    manifest::{self, Manifest, Tarball},
    npm::Npm,
    pack,
    package_manager::PackageManager,
    phase::{Command, Failure, Runner, verdict},
};

use super::{DOCUMENT_LIMIT, Publish, blocking};

/// What was packed.
pub(super) struct Packed {
    /// Goes away with what is in it.
    pub(super) folder: TempDir,
    pub(super) tarball: Arc<Tarball>,
    pub(super) document: Document,
}

impl Publish<'_> {
    /// Packs what the manager's own publish would send.
    pub(super) async fn pack(&self, runner: &mut Runner, started: Instant) -> Result<Packed, Failure> {
        let folder = tempfile::tempdir_in(&self.beside)
            .and_then(|folder| {
                // npm looks for a project from where it runs upwards, and finds this one: not what the build left.
                fs::write(folder.path().join("package.json"), "{}")?;
                Ok(folder)
            })
            .map_err(|error| unmade(&error))?;
        let npm = Npm { registry: pack::REGISTRY.to_owned(), ..self.npm.apart(folder.path()) };
        let packs = self.packs()?;
        let manifest = Manifest::of_folder(&self.look, &packs, self.name).map_err(Failure::permanent)?;
        check_version(&manifest)?;
        let (look, looked) = (self.look.clone(), packs.clone());
        for link in blocking(move || Ok(look.not_packed(&looked))).await? {
            runner.say(&self.phase.name, &link);
        }
        let of_manager = match self.package_manager {
            Some(package_manager) => Some(self.pack_by(package_manager, folder.path(), runner, started).await?),
            None => None,
        };
        // In its folder npm knows that a package is a member of a workspace, whose ignore files then count.
        let as_member = self.as_member && packs.as_os_str().is_empty() && of_manager.is_none();
        let cwd = if as_member { self.package } else { folder.path() };
        let packs = match &of_manager {
            Some(tarball) => tarball.display().to_string(),
            None if as_member => ".".to_owned(),
            None => self.package.join(packs).display().to_string(),
        };
        let mut command = npm.command(&[
            "publish",
            &packs,
            // They have their own turns, and no part of the package may run beside npm's request.
            "--ignore-scripts",
            "--dry-run=false",
            "--provenance=false",
            // Asked for by npm where it would be wrong to take `latest`; the right one comes with the request.
            "--tag=packline",
            "--noproxy=127.0.0.1",
        ]);
        // npm reads this of what it packs alone.
        if let Some(access) = self.config(&manifest).get("access").and_then(Value::as_str)
            && !manifest.publish_config.contains_key("access")
        {
            command.push(format!("--access={access}"));
        }
        let order = pack::Order { npm: command, folder: folder.path().to_owned() };
        let line = serde_json::to_string(&order).unwrap_or_default() + "\n";
        let view = self.view_of_npm(runner, &folder.path().join("root")).map_err(|error| unmade(&error))?;
        let mut env = self.phase.env.clone();
        if of_manager.is_some() {
            // npm passes the tarball on, and need not run on the Node of the workspace.
            env.insert("PATH".to_owned(), self.own_path.to_owned());
        }
        let command = Command {
            env: &env,
            argv: vec![crate::guard::OWN_PROGRAM.to_owned(), crate::PACK.to_owned()],
            input: Some(Input(line)),
            cwd: Some(cwd),
            view,
            ..self.bare(started)
        };
        let (end, printed) = runner.command(command).await?;
        verdict(&end, &printed, &self.phase.limits, true)?;
        let (name, place) = (self.name.clone(), folder.path().to_owned());
        let (tarball, document) = blocking(move || {
            let tarball = Tarball::read(&place.join(pack::TARBALL), &name)?;
            if let Some(unresolved) = tarball.unresolved() {
                return Err(format!(
                    "the packed package.json has {unresolved}, which means nothing outside of the workspace; a version is \
                     needed"
                ));
            }
            let text = manifest::read_plain(&place.join(pack::DOCUMENT), DOCUMENT_LIMIT)
                .map_err(|error| format!("the document that npm sends cannot be read: {error}"))?;
            let document = Document::parse(&text, name.as_str())?;
            if document.dist().integrity != tarball.integrity {
                return Err("npm sent another tarball than it says".to_owned());
            }
            Ok((tarball, document))
        })
        .await?;
        Ok(Packed { folder, tarball: Arc::new(tarball), document })
    }

    /// Has the manager pack the package into an empty folder; the tarball. What is in it, nobody else says.
    async fn pack_by(
        &self,
        package_manager: &PackageManager,
        place: &Path,
        runner: &mut Runner,
        started: Instant,
    ) -> Result<PathBuf, Failure> {
        let empty = place.join("packed");
        fs::create_dir(&empty).map_err(|error| unmade(&error))?;
        let command = Command { argv: package_manager.pack(&empty.join(pack::TARBALL)), ..self.bare(started) };
        let (end, printed) = runner.command(command).await?;
        verdict(&end, &printed, &self.phase.limits, true)?;
        blocking(move || {
            let made =
                fs::read_dir(&empty).and_then(|made| made.map(|one| Ok(one?.path())).collect::<io::Result<Vec<_>>>());
            let mut made = made.map_err(|error| format!("the packed tarball cannot be read: {error}"))?;
            match made.pop() {
                Some(tarball) if made.is_empty() => Ok(tarball),
                last => Err(format!("packing made {} files instead of one tarball", made.len() + last.iter().len())),
            }
        })
        .await
    }

    /// The folder that is packed, in the package's: that itself, or the one that `publishConfig.directory` names.
    fn packs(&self) -> Result<PathBuf, Failure> {
        let Some(directory) = self.manifest.publish_config.get("directory") else { return Ok(PathBuf::new()) };
        let shown = directory.to_string();
        let named = directory.as_str().unwrap_or(&shown);
        let is_below = directory.is_string()
            && Path::new(named).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if is_below && self.look.has_folder(Path::new(named)) {
            return Ok(Path::new(named).components().filter(|part| *part != Component::CurDir).collect());
        }
        Err(Failure::permanent(format!(
            "publishConfig.directory is a folder in the package, such as `dist`; `{}` is none",
            named.escape_debug()
        )))
    }

    /// The view of the build, over whose layers this layer of npm's own lies; `None` where there is no view.
    fn view_of_npm(&self, runner: &Runner, layer: &Path) -> io::Result<Option<View>> {
        let (Some(view), Some(manifest)) = (&runner.view, self.root_manifest.as_ref().filter(|_| self.as_member))
        else {
            return Ok(None);
        };
        fs::create_dir(layer)?;
        fs::write(layer.join("package.json"), manifest)?;
        let mut view = view.clone();
        view.lower.insert(0, layer.to_owned());
        Ok(Some(view))
    }
}

fn unmade(error: &io::Error) -> Failure {
    Failure::infrastructure(format!("failed to make a folder to pack in: {error}"))
}

/// npm refuses what is no version, too, but in words alone.
fn check_version(manifest: &Manifest) -> Result<(), Failure> {
    let text = manifest.version.as_deref().unwrap_or_default();
    match Version::parse(text.trim().trim_start_matches(['=', 'v']).trim_start()) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::permanent(format!("the version `{}` is none: {error}", text.escape_debug()))),
    }
}
