//! What npm tells every script: asked of npm itself, once, by a script that writes down its environment.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use serde::Deserialize;
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::{manifest, npm::Npm};

use super::SETTING;

/// Bytes of the largest answer.
const ANSWER: u64 = 1024 * 1024;

/// Stays what it is below a guard, whatever is asked.
const TEMPORARY: &str = "TMPDIR";

/// Where npm finds out which file has the settings.
const USERCONFIG_VARIABLE: &str = "npm_config_userconfig";

/// Stands in the settings that npm is asked with; nothing is asked of it.
const REGISTRY: &str = "http://127.0.0.1:9/packline";

/// Places in what npm told that are others for each script. No variable holds a zero byte.
const HOME: &str = "\0home\0";
const FOLDER: &str = "\0folder\0";
const CACHE: &str = "\0cache\0";
const USERCONFIG: &str = "\0userconfig\0";
const OF_REGISTRY: &str = "\0registry\0";

/// The script's name, and the program that it is.
const NAME: &str = "packline";
const PROGRAM: &str = "require('fs').writeFileSync('told.json', \
                       JSON.stringify({ env: process.env, node: process.version }))";

/// What npm tells every script on this machine. Ask for it once, and keep it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    exported: BTreeMap<String, String>,
    programs: String,
    node_version: String,
    finds_programs: bool,
}

/// What each npm on this machine tells every script, by the PATH on which it is found.
#[derive(Debug, Default)]
pub struct Toolchains(Mutex<HashMap<String, Arc<OnceCell<Arc<Toolchain>>>>>);

impl Toolchains {
    /// What the first npm on this PATH tells scripts, once somebody has asked it.
    pub(crate) fn on(&self, path: &str) -> Arc<OnceCell<Arc<Toolchain>>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(path.to_owned()).or_default())
    }
}

/// What the script wrote down.
#[derive(Deserialize)]
pub(super) struct Told {
    pub(super) env: BTreeMap<String, String>,
    pub(super) node: String,
}

/// How npm is asked: a command, which writes its answer to a file.
#[derive(Debug)]
pub struct Question {
    /// npm with its arguments.
    pub argv: Vec<String>,
    /// Its whole environment.
    pub env: BTreeMap<String, String>,
    npm: Npm,
    /// Goes away with what is in it.
    place: TempDir,
}

impl Question {
    fn write(base: &BTreeMap<String, String>, scratch: &Path) -> io::Result<Self> {
        // npm speaks of folders as the kernel does.
        let place = tempfile::tempdir_in(scratch.canonicalize()?)?;
        let root = place.path();
        let npm = Npm {
            registry: REGISTRY.to_owned(),
            scopes: Vec::new(),
            in_workspace: false,
            ignore_scripts: false,
            userconfig: root.join("npmrc"),
            cache: root.join("cache"),
        };
        fs::create_dir(root.join("package"))?;
        fs::create_dir(root.join("home"))?;
        let manifest = serde_json::json!({
            "name": NAME, "version": "1.0.0", "scripts": {NAME: "node tell.js"}, "directories": {"bin": NAME},
        });
        fs::create_dir(root.join("package").join(NAME))?;
        fs::write(root.join("package").join(NAME).join("program"), "")?;
        fs::write(root.join("package/package.json"), manifest.to_string())?;
        fs::write(root.join("package/tell.js"), PROGRAM)?;
        fs::write(&npm.userconfig, npm.settings())?;
        let mut env: BTreeMap<String, String> =
            base.iter().filter(|(name, _)| !is_settings(name)).map(|(n, v)| (n.clone(), v.clone())).collect();
        env.insert("HOME".to_owned(), root.join("home").display().to_string());
        env.insert(USERCONFIG_VARIABLE.to_owned(), npm.userconfig.display().to_string());
        Ok(Self { argv: ["npm", "run", NAME].map(str::to_owned).to_vec(), env, npm, place })
    }

    /// Where npm is started.
    pub fn folder(&self) -> PathBuf {
        self.place.path().join("package")
    }

    fn answer(&self, base: &BTreeMap<String, String>) -> Result<Toolchain, String> {
        let told = manifest::read_plain(&self.folder().join("told.json"), ANSWER)
            .map_err(|error| format!("its answer cannot be read: {error}"))?;
        let told: Told =
            serde_json::from_slice(&told).map_err(|error| format!("its answer is not understood: {error}"))?;
        let mut given = self.env.clone();
        given.extend(base.get_key_value(TEMPORARY).map(|(name, value)| (name.clone(), value.clone())));
        // That is one of the settings.
        given.remove(USERCONFIG_VARIABLE);
        Ok(Toolchain::of(told, &given, &self.npm, self.place.path()))
    }
}

impl Toolchain {
    /// Asks the npm that is on PATH of `base`, an environment of builds, in a new folder below `scratch`. `run` starts
    /// it, to its end.
    ///
    /// # Errors
    /// One line that says why npm did not answer.
    pub async fn ask(
        base: &BTreeMap<String, String>,
        scratch: &Path,
        run: impl AsyncFnOnce(&Question) -> Result<(), String>,
    ) -> Result<Self, String> {
        let failed = |why: String| format!("npm did not say what it tells scripts: {why}");
        let question = Question::write(base, scratch).map_err(|error| failed(error.to_string()))?;
        run(&question).await.and_then(|()| question.answer(base)).map_err(failed)
    }

    /// What npm added to the environment that it was given, with marks for what is not so for all scripts.
    pub(super) fn of(told: Told, given: &BTreeMap<String, String>, npm: &Npm, root: &Path) -> Self {
        let shown = |path: &Path| path.display().to_string();
        let folder = root.join("package");
        let marks = [
            (shown(&root.join("home")), HOME),
            (shown(&folder), FOLDER),
            (shown(&npm.cache), CACHE),
            (shown(&npm.userconfig), USERCONFIG),
            (format!("{REGISTRY}/"), OF_REGISTRY),
        ];
        let marked = |value: &str| marks.iter().fold(value.to_owned(), |value, (text, mark)| value.replace(text, mark));
        let base = given.get("PATH").map_or("", String::as_str);
        let path = told.env.get("PATH").map_or("", String::as_str);
        let programs = path.strip_prefix(&bins(&folder)).and_then(|path| path.strip_suffix(base)).unwrap_or(":");
        let told_to_all = told.env.iter().filter(|(name, value)| !is_of_one(name) && given.get(*name) != Some(value));
        Self {
            exported: told_to_all.map(|(name, value)| (name.clone(), marked(value))).collect(),
            programs: programs.trim_matches(':').to_owned(),
            finds_programs: told.env.contains_key("npm_package_bin_program"),
            node_version: told.node.trim_start_matches('v').to_owned(),
        }
    }

    /// The version of npm, empty where it does not say it.
    pub fn npm_version(&self) -> &str {
        self.exported.get("npm_config_npm_version").map_or("", String::as_str)
    }

    /// The version of the Node that npm runs in, without a `v`.
    pub fn node_version(&self) -> &str {
        &self.node_version
    }

    /// Whether this npm looks for programs in `directories.bin` when it reads a package to pack it.
    pub(super) fn finds_programs(&self) -> bool {
        self.finds_programs
    }

    /// What npm tells under this name, unless that is nothing; not for what differs from script to script.
    pub(super) fn exported_as_is(&self, name: &str) -> Option<&str> {
        self.exported.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The variables for a script in `folder`.
    pub(super) fn exported(&self, npm: &Npm, folder: &str, home: &str) -> BTreeMap<String, String> {
        let marks = [
            (HOME, home.to_owned()),
            (FOLDER, folder.to_owned()),
            (CACHE, npm.cache.display().to_string()),
            (USERCONFIG, npm.userconfig.display().to_string()),
            (OF_REGISTRY, format!("{}/", npm.registry)),
        ];
        let filled = |value: &str| marks.iter().fold(value.to_owned(), |value, (mark, text)| value.replace(mark, text));
        self.exported.iter().map(|(name, value)| (name.clone(), filled(value))).collect()
    }

    /// PATH for a script in `folder`: the programs of its dependencies, those of npm, and those of the build.
    pub(super) fn path(&self, folder: &Path, base: Option<&str>) -> String {
        let parts = [bins(folder), self.programs.clone(), base.unwrap_or_default().to_owned()];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(":")
    }
}

/// `node_modules/.bin` of a folder and of all above it.
fn bins(folder: &Path) -> String {
    let all = folder.ancestors().map(|folder| folder.join("node_modules/.bin").display().to_string());
    all.collect::<Vec<_>>().join(":")
}

/// What a build may set that changes npm's settings.
fn is_settings(name: &str) -> bool {
    const OTHERS: [&str; 6] = ["EDITOR", "VISUAL", "NODE_OPTIONS", "PREFIX", "DESTDIR", "TMPDIR"];
    name.to_lowercase().starts_with(SETTING) || OTHERS.contains(&name)
}

/// What npm says of one script and one package, and what shells set by themselves.
fn is_of_one(name: &str) -> bool {
    const NAMES: [&str; 7] = ["PATH", "PWD", "OLDPWD", "SHLVL", "_", "PHASE", "npm_command"];
    NAMES.contains(&name) || name.starts_with("npm_package_") || name.starts_with("npm_lifecycle_")
}
