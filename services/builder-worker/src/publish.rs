//! `publish` of the built-in recipe: the scripts and the pack of `npm publish` in a folder, then check, note the
//! integrity in the permit, upload that tarball, and the scripts that come after it.

mod judged;
mod packed;
mod scripts;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use packline_domain::PackageName;
use packline_npm::Access;
use packline_recipe::{Limits, Phase};
use semver::Version;
use serde_json::{Map, Value};

use crate::{
    look::Look,
    manifest::Manifest,
    npm::Npm,
    pack,
    package_manager::PackageManager,
    phase::{Command, Failure, Runner},
    publish_config::{self, PublishConfig},
    script::Toolchains,
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
    /// The manager of the workspace, where that packs by its own rules.
    pub(crate) package_manager: Option<&'a PackageManager>,
    /// PATH on which the npm of this worker and its Node are found, whatever the workspace asks for.
    pub own_path: &'a str,
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
    pub toolchains: &'a Toolchains,
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
        let to_pack = self.scripts_before_pack(runner, started).await?;
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
        self.scripts_after_pack(runner, integrity, &to_pack, started).await?;
        let (tarball, version) = (Arc::clone(&packed.tarball), packed.document.version().to_owned());
        let mut config = self.config(&tarball.manifest);
        if self.package_manager.is_some_and(PackageManager::applies_publish_config) {
            publish_config::remove_applied(&mut config);
        }
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
        if is_new && let Err(failure) = self.scripts_after_publish(runner, started).await {
            let warning = format!("{}; the version is published", failure.first_line());
            runner.say(&self.phase.name, &format!("warning: {warning}"));
            warnings.push(warning);
        }
        Ok(done)
    }

    /// `package.json` as it is now.
    fn read(&self) -> Result<Value, Failure> {
        Manifest::json_of_folder(&self.look).map_err(Failure::permanent)
    }

    /// The `publishConfig` of what is packed. A folder in the package has that of the package below its own.
    fn config(&self, packed: &Manifest) -> Map<String, Value> {
        let own = &self.manifest.publish_config;
        let mut config = if own.contains_key("directory") { own.clone() } else { Map::new() };
        config.extend(packed.publish_config.clone());
        config
    }

    /// A command within what is left of the phase's time, without a program.
    fn bare(&self, started: Instant) -> Command<'_> {
        let timeout = self.phase.limits.timeout.saturating_sub(started.elapsed());
        let limits = Limits { timeout, ..self.phase.limits.clone() };
        Command { env: &self.phase.env, capture: true, ..Command::new(&self.phase.name, limits) }
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
