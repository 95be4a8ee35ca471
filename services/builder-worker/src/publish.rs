//! `publish` of the built-in recipe: the scripts and the pack of `npm publish` in a folder, then check, note the
//! integrity in the permit, upload that tarball, and the scripts that come after it.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use packline_domain::PackageName;
use packline_npm::{Access, Client};
use packline_recipe::{Limits, Phase};
use semver::Version;
use serde_json::{Map, Value};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::{
    document::Document,
    entry::Findings,
    guard::{Input, View},
    look::Look,
    manifest::{self, Manifest, Tarball},
    npm::Npm,
    pack,
    phase::{Command, Failure, Runner, verdict},
    publish_config::PublishConfig,
    script::{Context, Event, Script, Toolchain},
    tag,
    upload::{Request, Upload},
};

/// How many lines a check says that are no reason to refuse.
const WARNINGS: usize = 20;

/// The most bytes of what npm sends beside the tarball.
const DOCUMENT_LIMIT: u64 = 64 * 1024 * 1024;
/// The most bytes of a tarball that is only looked into.
const LATEST_LIMIT: u64 = 512 * 1024 * 1024;
/// The longest that a look at the user's registry may take.
const LATEST: Duration = Duration::from_secs(60);

/// The permit of the build, and the fuse.
pub trait Permits: Sync {
    /// Notes in the permit what is about to be published; false when it is not ours any more, or is being withdrawn.
    fn note(&self, integrity: &str) -> impl Future<Output = bool> + Send;

    /// Returns once the fuse leaves a quarter of CLAIM, and that time; `None` when the build is to end.
    fn spare(&self) -> impl Future<Output = Option<Duration>> + Send;
}

/// What one build publishes.
pub struct Publish<'a> {
    /// The package.
    pub name: &'a PackageName,
    /// How to call npm.
    pub npm: &'a Npm,
    /// The phase that this is.
    pub phase: &'a Phase,
    /// Where a folder to pack in is made.
    pub beside: PathBuf,
    /// The package's folder, as commands see it.
    pub package: &'a Path,
    /// The same, as this process reads it.
    pub look: Look,
    /// Whether npm is to see the workspace that the package is a member of.
    pub as_member: bool,
    /// What npm is to see as the root's `package.json` while it packs.
    pub root_manifest: Option<String>,
    /// Whether its script `prepare` ran in a phase of its own: each script runs once in a build.
    pub is_prepared: bool,
    /// Its `package.json` as the phases found it.
    pub manifest: &'a Manifest,
    /// What its `publishConfig` may decide.
    pub publish_config: PublishConfig,
    /// What a request to a registry needs.
    pub access: &'a (dyn Fn(&str) -> Result<Access, Failure> + Sync),
    /// The registry that the user of this worker installs from.
    pub users_registry: String,
    /// What npm tells scripts, asked once.
    pub toolchain: &'a OnceCell<Toolchain>,
    /// The commit of the workspace.
    pub commit: Option<String>,
    /// What earlier attempts may have published.
    pub earlier: &'a [String],
}

/// What the registry has now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// The version.
    pub version: String,
    /// The integrity of its tarball.
    pub integrity: String,
}

/// What was packed.
struct Packed {
    /// Goes away with what is in it.
    folder: TempDir,
    tarball: Arc<Tarball>,
    document: Document,
}

impl Publish<'_> {
    /// Publishes; does nothing where an attempt of ours has done it before. Where code is missing in what is packed,
    /// `build` may still build it, and answers the package's folder if it did. What is no reason to fail goes to
    /// `warnings`.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn run(
        mut self,
        runner: &mut Runner,
        permits: &impl Permits,
        build: impl AsyncFnOnce(&mut Runner) -> Result<Option<Look>, Failure>,
        warnings: &mut Vec<String>,
    ) -> Result<Done, Failure> {
        let mut started = Instant::now();
        // npm reads `package.json` as often: each script may have changed it.
        self.script(runner, Event::PrepublishOnly, &self.read()?, started).await?;
        let to_pack = self.read()?;
        self.script(runner, Event::Prepack, &to_pack, started).await?;
        if !self.is_prepared {
            self.script(runner, Event::Prepare, &self.read()?, started).await?;
        }
        let mut packed = self.pack(runner, started).await?;
        let mut judged = self.judge(runner, &packed).await?;
        if judged.is_refused() {
            let built = Instant::now();
            if let Some(look) = build(runner).await? {
                started += built.elapsed();
                self.look = look;
                packed = self.pack(runner, started).await?;
                judged = self.judge(runner, &packed).await?;
            }
        }
        let integrity = &packed.tarball.integrity;
        self.script(runner, Event::Postpack { integrity }, &to_pack, started).await?;
        let (tarball, version) = (Arc::clone(&packed.tarball), packed.document.version().to_owned());
        let config = self.config(&tarball.manifest);
        let registry = self.publish_config.check(&config, &self.npm.registry, warnings)?;
        let registry = registry.unwrap_or_else(|| self.npm.registry.clone());
        let parsed = Version::parse(&version)
            .map_err(|error| Failure::permanent(format!("the version `{version}` is none: {error}")))?;
        let configured = tag::configured(&config)?;
        judged.settle(|warning| runner.say(&self.phase.name, warning), warnings)?;
        if !permits.note(&tarball.integrity).await {
            return Err(Failure::killed());
        }
        let access = (self.access)(&registry)?;
        let upload = Upload {
            access: &access,
            user_agent: &user_agent(),
            name: self.name.as_str(),
            version: &version,
            integrity: &tarball.integrity,
            shasum: &packed.document.dist().shasum.clone(),
            earlier: self.earlier,
            phase: self.phase,
            started,
        };
        let names_commit = tarball.names_commit();
        let request = |found: Option<&packline_npm::Packument>| {
            let tag = tag::choose(&parsed, found, configured.as_deref());
            packed.document.set_commit(names_commit, self.commit.as_deref());
            let document = packed.document.to_registry(&registry, self.name.as_str(), &tag);
            let document =
                document.map_err(|error| Failure::infrastructure(format!("failed to write the request: {error}")))?;
            Ok(Request { tarball: packed.folder.path().join(pack::TARBALL), document })
        };
        let (done, is_new) = upload.run(runner, permits, request).await?;
        if is_new && let Err(failure) = self.tell(runner, started).await {
            let warning = format!("{}; the version is published", failure.first_line());
            runner.say(&self.phase.name, &format!("warning: {warning}"));
            warnings.push(warning);
        }
        Ok(done)
    }

    /// The scripts for a version that is published. Whatever comes of them, it is.
    async fn tell(&self, runner: &mut Runner, started: Instant) -> Result<(), Failure> {
        let manifest = self.read()?;
        self.script(runner, Event::Publish, &manifest, started).await?;
        self.script(runner, Event::Postpublish, &manifest, started).await
    }

    /// `package.json` as it is now.
    fn read(&self) -> Result<Value, Failure> {
        Manifest::json_of_folder(&self.look).map_err(Failure::permanent)
    }

    /// One script, where the package has it, as npm runs it; it sees no token.
    async fn script(
        &self,
        runner: &mut Runner,
        event: Event<'_>,
        manifest: &Value,
        started: Instant,
    ) -> Result<(), Failure> {
        let name = event.name();
        if !manifest.get("scripts").is_some_and(|scripts| scripts.get(name).is_some_and(Value::is_string)) {
            return Ok(());
        }
        let mut base = runner.env.clone();
        base.extend(self.phase.env.clone());
        let toolchain = runner.toolchain(self.toolchain, &self.beside).await?;
        let context = Context { folder: self.package, base: &base, npm: self.npm, toolchain };
        let Some(script) = Script::new(manifest, event, &context) else { return Ok(()) };
        for line in script.banner.iter().filter(|line| !line.is_empty()) {
            runner.say(&self.phase.name, line);
        }
        let command = Command { argv: script.argv, env: &script.env, ..self.bare(started) };
        let (end, printed) = runner.command(command).await?;
        verdict(&end, &printed, &self.phase.limits, false)
            .map_err(|failure| Failure { error: format!("{name}: {}", failure.error), ..failure })
    }

    /// Packs what `npm publish` would send.
    async fn pack(&self, runner: &mut Runner, started: Instant) -> Result<Packed, Failure> {
        let unmade = |error: io::Error| Failure::infrastructure(format!("failed to make a folder to pack in: {error}"));
        let folder = tempfile::tempdir_in(&self.beside)
            .and_then(|folder| {
                // npm looks for a project from where it runs upwards, and finds this one: not what the build left.
                fs::write(folder.path().join("package.json"), "{}")?;
                Ok(folder)
            })
            .map_err(unmade)?;
        let npm = Npm { registry: pack::REGISTRY.to_owned(), ..self.npm.apart(folder.path()) };
        let packs = self.packs()?;
        let manifest = Manifest::of_folder(&self.look, &packs, self.name).map_err(Failure::permanent)?;
        check_version(&manifest)?;
        let (look, looked) = (self.look.clone(), packs.clone());
        for link in blocking(move || Ok(look.not_packed(&looked))).await? {
            runner.say(&self.phase.name, &link);
        }
        // In its folder npm knows that a package is a member of a workspace, whose ignore files then count.
        let as_member = self.as_member && packs.as_os_str().is_empty();
        let cwd = if as_member { self.package } else { folder.path() };
        let packs = if as_member { ".".to_owned() } else { self.package.join(packs).display().to_string() };
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
        let view = self.view_of_npm(runner, &folder.path().join("root")).map_err(unmade)?;
        let command = Command {
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

    /// The `publishConfig` of what is packed. A folder in the package has that of the package below its own.
    fn config(&self, packed: &Manifest) -> Map<String, Value> {
        let own = &self.manifest.publish_config;
        let mut config = if own.contains_key("directory") { own.clone() } else { Map::new() };
        config.extend(packed.publish_config.clone());
        config
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

    /// Looks for the code that `package.json` names.
    async fn judge(&self, runner: &mut Runner, packed: &Packed) -> Result<Judged, Failure> {
        let checked = Arc::clone(&packed.tarball);
        let found = blocking(move || Ok(checked.check())).await?;
        for warning in found.warnings.iter().take(WARNINGS) {
            runner.say(&self.phase.name, warning);
        }
        let mut refused = found.clone();
        if !found.missing.is_empty()
            && let Some(latest) = self.check_latest(runner, packed).await?
        {
            refused.forgive(&latest);
        }
        Ok(Judged { found, refused })
    }

    /// What is missing in the newest version at the user's registry; `None` where that cannot be had.
    async fn check_latest(&self, runner: &mut Runner, packed: &Packed) -> Result<Option<Findings>, Failure> {
        let access = (self.access)(&self.users_registry)?;
        let registry = access.registry();
        let says = format!("code is missing in the tarball; looking whether {}@latest at {registry} has it", self.name);
        runner.say(&self.phase.name, &says);
        let to = packed.folder.path().join("latest.tgz");
        let download = async {
            let client = Client::new(&access, &user_agent()).map_err(|unusable| unusable.to_string())?;
            let found = client.look(self.name.as_str(), LATEST).await.map_err(|refusal| refusal.message)?;
            let latest = found.and_then(|found| {
                let latest = found.tags.get("latest")?;
                found.versions.get(latest)?.tarball.clone()
            });
            match latest {
                Some(url) => {
                    let downloaded = client.download(&url, &to, LATEST_LIMIT, LATEST).await;
                    downloaded.map(|()| true).map_err(|refusal| refusal.message)
                }
                None => Ok(false),
            }
        };
        match runner.unless_stopped(download).await {
            None => return Err(Failure::killed()),
            Some(Ok(true)) => {}
            Some(Ok(false)) => return Ok(None),
            Some(Err(why)) => {
                runner.say(&self.phase.name, &why);
                return Ok(None);
            }
        }
        match blocking(move || Tarball::check_any(&to)).await {
            Ok(findings) => Ok(Some(findings)),
            Err(failure) if failure.retry => Err(failure),
            Err(_) => Ok(None),
        }
    }

    /// A command within what is left of the phase's time, without a program.
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

    fn bare(&self, started: Instant) -> Command<'_> {
        let timeout = self.phase.limits.timeout.saturating_sub(started.elapsed());
        let limits = Limits { timeout, ..self.phase.limits.clone() };
        Command { env: &self.phase.env, capture: true, ..Command::new(&self.phase.name, limits) }
    }
}

/// What a look for code has found in a tarball.
struct Judged {
    found: Findings,
    /// The same without what was so before.
    refused: Findings,
}

impl Judged {
    fn is_refused(&self) -> bool {
        self.refused.refusal().is_some()
    }

    /// Refuses a tarball without the code that its `package.json` names, unless that was so before.
    fn settle(&self, say: impl Fn(&str), warnings: &mut Vec<String>) -> Result<(), Failure> {
        warnings.extend(self.found.warnings.iter().take(WARNINGS).cloned());
        if let Some(refusal) = self.refused.refusal() {
            return Err(Failure::permanent(refusal));
        }
        let lacking = self.found.missing.iter().take(WARNINGS);
        for warning in lacking.map(|missing| format!("{missing}, as in the version that is published")) {
            say(&warning);
            warnings.push(warning);
        }
        Ok(())
    }
}

/// npm refuses what is no version, too, but in words alone.
fn check_version(manifest: &Manifest) -> Result<(), Failure> {
    let text = manifest.version.as_deref().unwrap_or_default();
    match Version::parse(text.trim().trim_start_matches(['=', 'v']).trim_start()) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::permanent(format!("the version `{}` is none: {error}", text.escape_debug()))),
    }
}

/// What the worker says that it is.
pub(crate) fn user_agent() -> String {
    format!("packline/{}", env!("CARGO_PKG_VERSION"))
}

/// Reads elsewhere; what is wrong with what is read is wrong for ever.
async fn blocking<T: Send + 'static>(read: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(read).await {
        Ok(read) => read.map_err(Failure::permanent),
        Err(error) => Err(Failure::infrastructure(format!("reading the tarball was broken off: {error}"))),
    }
}
