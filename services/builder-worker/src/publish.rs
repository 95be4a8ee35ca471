//! `publish` of the built-in recipe: the scripts and the pack of `npm publish` in a folder, then check, note the
//! integrity in the permit, look, publish that tarball, and the scripts that come after it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use packline_domain::PackageName;
use packline_recipe::{Limits, Phase};
use semver::Version;

use crate::{
    entry::Findings,
    guard::PhaseEnd,
    log::Printed,
    manifest::{Manifest, Tarball},
    npm::{self, Npm, Published, Standing},
    phase::{Command, Failure, Runner, verdict},
};

/// How many lines a check says that are no reason to refuse.
const WARNINGS: usize = 20;

/// What `npm publish` runs when the version is there.
const AFTER: [&str; 2] = ["publish", "postpublish"];

/// Seconds between looks for what npm says it has published.
const LOOK_AGAIN: [u64; 4] = [1, 2, 4, 8];

/// Writes to the permit of the build what it is about to publish.
pub trait Permits: Sync {
    /// Notes an integrity; false when the permit is not ours any more, or is being withdrawn.
    fn note(&self, integrity: &str) -> impl Future<Output = bool> + Send;
}

/// What one build publishes.
pub struct Publish<'a> {
    /// The package.
    pub name: &'a PackageName,
    /// How to call npm.
    pub npm: &'a Npm,
    /// The phase that this is.
    pub phase: &'a Phase,
    /// Where the tarball goes; empty.
    pub folder: PathBuf,
    /// Where npm's configuration with the token goes, in a folder of a name that no build can know.
    pub private: PathBuf,
    /// Its `package.json` as the phases found it.
    pub manifest: &'a Manifest,
    /// Of the registry.
    pub token: Option<&'a str>,
    /// What earlier attempts may have published.
    pub earlier: &'a [String],
}

/// npm with the token, run where no build has written.
struct WithToken<'a> {
    npm: Npm,
    folder: &'a Path,
}

/// What the registry has now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// The version.
    pub version: String,
    /// The integrity of its tarball.
    pub integrity: String,
}

impl Publish<'_> {
    /// Publishes; does nothing where an attempt of ours has done it before.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn run(&self, runner: &mut Runner, permits: &impl Permits) -> Result<Done, Failure> {
        let started = Instant::now();
        // `npm pack` itself runs `prepack`, `prepare` and `postpack`.
        self.script(runner, "prepublishOnly", started).await?;
        let tarball = self.pack(runner, started).await?;
        let text = tarball.manifest.version.clone().unwrap_or_default();
        let version = Version::parse(&text)
            .map_err(|error| Failure::permanent(format!("the version `{}` is none: {error}", text.escape_debug())))?;
        npm::check_publish_config(&tarball.manifest.publish_config, &self.npm.registry).map_err(Failure::permanent)?;
        let unwritten = |error| Failure::infrastructure(format!("failed to write npm's settings: {error}"));
        // Removed when it goes out of scope, too: a failure leaves no token behind.
        let private = tempfile::tempdir_in(&self.private).map_err(unwritten)?;
        let npm = self.npm.apart(private.path());
        fs::write(&npm.userconfig, npm::npmrc(&self.npm.registry, self.token)).map_err(unwritten)?;
        // npm looks for a project from where it runs upwards, and finds this one: not what the build left.
        fs::write(private.path().join("package.json"), "{}").map_err(unwritten)?;
        let with_token = WithToken { npm, folder: private.path() };
        self.check(runner, &with_token, started, &tarball).await?;
        if !permits.note(&tarball.integrity).await {
            return Err(Failure::killed());
        }
        let put = self.put(runner, &with_token, started, &tarball, &version).await;
        // No code of the package is alive beside a token.
        let is_gone = private.close().is_ok();
        let (done, is_new) = put?;
        if is_new && is_gone {
            self.tell(runner, started).await;
        } else if is_new {
            runner.say(
                &self.phase.name,
                "warning: a folder with the token is not gone: publish and postpublish do not run",
            );
        }
        Ok(done)
    }

    /// One script of the package, where it has it; it sees no token.
    async fn script(&self, runner: &mut Runner, script: &str, started: Instant) -> Result<(), Failure> {
        if !self.manifest.has_script(script) {
            return Ok(());
        }
        let mut command = vec!["run", script];
        // `npm run publish` by itself runs `prepublish` and `postpublish` around it.
        if script == "publish" {
            command.push("--ignore-scripts");
        }
        let (end, printed) = self.npm(runner, self.npm, None, &command, started).await?;
        verdict(&end, &printed, &self.phase.limits, false)
            .map_err(|failure| Failure { error: format!("{script}: {}", failure.error), ..failure })
    }

    /// The scripts for a version that is published. Whatever comes of them, it is.
    async fn tell(&self, runner: &mut Runner, started: Instant) {
        for script in AFTER {
            if let Err(failure) = self.script(runner, script, started).await {
                runner.say(&self.phase.name, &format!("warning: {}; the version is published", failure.first_line()));
                return;
            }
        }
    }

    async fn pack(&self, runner: &mut Runner, started: Instant) -> Result<Arc<Tarball>, Failure> {
        let folder = format!("--pack-destination={}", self.folder.display());
        let (end, printed) = self.npm(runner, self.npm, None, &["pack", &folder, "--dry-run=false"], started).await?;
        verdict(&end, &printed, &self.phase.limits, true)?;
        let (folder, name) = (self.folder.clone(), self.name.clone());
        blocking(move || Tarball::read(&only_tarball(&folder)?, &name)).await.map(Arc::new)
    }

    /// Refuses a tarball without the code that its `package.json` names, unless that was so before.
    async fn check(
        &self,
        runner: &mut Runner,
        npm: &WithToken<'_>,
        started: Instant,
        tarball: &Arc<Tarball>,
    ) -> Result<(), Failure> {
        let checked = Arc::clone(tarball);
        let mut findings = blocking(move || Ok(checked.check())).await?;
        for warning in findings.warnings.iter().take(WARNINGS) {
            runner.say(&self.phase.name, warning);
        }
        if findings.missing.is_empty() {
            return Ok(());
        }
        let found = findings.clone();
        if let Some(published) = self.check_published(runner, npm, started).await? {
            findings.forgive(&published);
        }
        match findings.refusal() {
            Some(refusal) => Err(Failure::permanent(refusal)),
            None => {
                for missing in found.missing.iter().take(WARNINGS) {
                    runner.say(&self.phase.name, &format!("{missing}, as in the version that is published"));
                }
                Ok(())
            }
        }
    }

    /// What is missing in the version that the registry has as `latest`; `None` where that cannot be had.
    async fn check_published(
        &self,
        runner: &mut Runner,
        npm: &WithToken<'_>,
        started: Instant,
    ) -> Result<Option<Findings>, Failure> {
        let folder = npm.folder.join("published");
        fs::create_dir(&folder)
            .map_err(|error| Failure::infrastructure(format!("failed to make a folder: {error}")))?;
        let (latest, to) = (format!("{}@latest", self.name), format!("--pack-destination={}", folder.display()));
        runner.say(&self.phase.name, &format!("code is missing in the tarball; looking whether {latest} has it"));
        let (end, printed) = self
            .npm_private(runner, npm, &["pack", &latest, &to, "--ignore-scripts", "--dry-run=false"], started)
            .await?;
        match verdict(&end, &printed, &self.phase.limits, true) {
            Ok(()) => {}
            Err(failure) if failure.killed => return Err(failure),
            Err(_) => return Ok(None),
        }
        match blocking(move || Tarball::check_any(&only_tarball(&folder)?)).await {
            Ok(findings) => Ok(Some(findings)),
            Err(failure) if failure.retry => Err(failure),
            Err(_) => Ok(None),
        }
    }

    /// Looks whether the version is there, and publishes it where it is not; whether it was not.
    async fn put(
        &self,
        runner: &mut Runner,
        npm: &WithToken<'_>,
        started: Instant,
        tarball: &Tarball,
        version: &Version,
    ) -> Result<(Done, bool), Failure> {
        let (end, printed) =
            self.npm_private(runner, npm, &["view", self.name.as_str(), "versions", "--json"], started).await?;
        let published = match answer(&end, &printed, &self.phase.limits)? {
            true => npm::viewed_versions(&printed.captured),
            false => Published::default(),
        };
        if published.has(version)
            && let Some(done) = self.there(runner, npm, started, tarball, version).await?
        {
            runner.say(&self.phase.name, &format!("{} {version} is there already, published by us", self.name));
            return Ok((done, false));
        }
        let configured = tarball.manifest.publish_config.get("tag").and_then(|tag| tag.as_str());
        let tag = npm::tag(version, &published, configured).map(|tag| format!("--tag={tag}"));
        let path = only_tarball(&self.folder).map_err(Failure::permanent)?.display().to_string();
        let arguments: Vec<&str> = ["publish", &path].into_iter().chain(tag.as_deref()).collect();
        let (end, printed) = self.npm_private(runner, npm, &arguments, started).await?;
        let failed = match verdict(&end, &printed, &self.phase.limits, true) {
            // npm's word is not enough for a promise that others build on.
            Ok(()) => {
                return match self.shown(runner, npm, started, tarball, version).await? {
                    Some(done) => Ok((done, true)),
                    None => Err(Failure::infrastructure(format!(
                        "npm says that {version} is published, and the registry does not have it"
                    ))),
                };
            }
            Err(failure) if failure.killed || !matches!(end, PhaseEnd::Exited { .. }) => return Err(failure),
            Err(failure) => failure,
        };
        // Perhaps it arrived, and only the answer did not.
        match self.there(runner, npm, started, tarball, version).await {
            Ok(Some(done)) => Ok((done, true)),
            Err(foreign) if !foreign.retry || foreign.killed => Err(foreign),
            Ok(None) | Err(_) => Err(failed),
        }
    }

    /// What the registry has of this version, where it is ours.
    async fn there(
        &self,
        runner: &mut Runner,
        npm: &WithToken<'_>,
        started: Instant,
        tarball: &Tarball,
        version: &Version,
    ) -> Result<Option<Done>, Failure> {
        let which = format!("{}@{version}", self.name);
        let (end, printed) =
            self.npm_private(runner, npm, &["view", &which, "dist.integrity", "--json"], started).await?;
        let there = answer(&end, &printed, &self.phase.limits)?;
        let found = npm::viewed_integrity(&printed.captured).filter(|_| there);
        match npm::standing(found, &tarball.integrity, self.earlier) {
            Standing::Absent => Ok(None),
            Standing::Ours(integrity) => Ok(Some(Done { version: version.to_string(), integrity })),
            Standing::Foreign(_) => Err(Failure::permanent(format!(
                "version {version} is at the registry already, with other contents; raise the version"
            ))),
        }
    }

    /// The same of what was published just now: some registries show it a moment later.
    async fn shown(
        &self,
        runner: &mut Runner,
        npm: &WithToken<'_>,
        started: Instant,
        tarball: &Tarball,
        version: &Version,
    ) -> Result<Option<Done>, Failure> {
        for pause in LOOK_AGAIN {
            if let Some(done) = self.there(runner, npm, started, tarball, version).await? {
                return Ok(Some(done));
            }
            runner.pause(Duration::from_secs(pause)).await;
        }
        self.there(runner, npm, started, tarball, version).await
    }

    async fn npm_private(
        &self,
        runner: &mut Runner,
        npm: &WithToken<'_>,
        arguments: &[&str],
        started: Instant,
    ) -> Result<(PhaseEnd, Printed), Failure> {
        self.npm(runner, &npm.npm, Some(npm.folder), arguments, started).await
    }

    /// One npm command within what is left of the phase's time.
    async fn npm(
        &self,
        runner: &mut Runner,
        npm: &Npm,
        cwd: Option<&Path>,
        arguments: &[&str],
        started: Instant,
    ) -> Result<(PhaseEnd, Printed), Failure> {
        let timeout = self.phase.limits.timeout.saturating_sub(started.elapsed());
        let limits = Limits { timeout, ..self.phase.limits.clone() };
        let argv = npm.command(arguments);
        let (phase, env) = (&self.phase.name, &self.phase.env);
        let command = Command { phase, argv, limits: &limits, env, capture: true, cwd };
        Ok(runner.command(command).await?)
    }
}

/// Reads elsewhere; what is wrong with what is read is wrong for ever.
async fn blocking<T: Send + 'static>(read: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(read).await {
        Ok(read) => read.map_err(Failure::permanent),
        Err(error) => Err(Failure::infrastructure(format!("reading the tarball was broken off: {error}"))),
    }
}

/// Whether `npm view` found what it was asked for.
fn answer(end: &PhaseEnd, printed: &Printed, limits: &Limits) -> Result<bool, Failure> {
    match verdict(end, printed, limits, true) {
        Ok(()) => Ok(true),
        Err(_) if printed.code.as_deref() == Some("E404") => Ok(false),
        Err(failure) => Err(failure),
    }
}

fn only_tarball(folder: &Path) -> Result<PathBuf, String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("the packed tarball cannot be read: {error}"))?;
    let tarballs: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "tgz"))
        .collect();
    match <[PathBuf; 1]>::try_from(tarballs) {
        Ok([tarball]) => Ok(tarball),
        Err(found) => Err(format!("npm pack left {} tarballs instead of one", found.len())),
    }
}
