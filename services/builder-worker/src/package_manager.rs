//! How the package manager of a workspace is called: its commands, and what it is told.

mod lock;
mod settings;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use packline_workspace::Manager;
use semver::Version;

use crate::{npm::Npm, programs::Programs};

/// The scripts that an install runs in a folder that it installs, in their order.
pub(crate) const OF_INSTALL: [&str; 5] = ["preinstall", "install", "postinstall", "prepublish", PREPARE];
/// The last script of an install, and one of a publish.
pub(crate) const PREPARE: &str = "prepare";

/// What Yarn leaves at the root: what it knows of its install, and its lock file.
const OF_YARN: [&str; 3] = [".yarn/install-state.gz", ".yarn/build-state.yml", "yarn.lock"];
/// The same where packages are loaded from archives.
const OF_PNP: [&str; 5] = [".yarn/cache", ".yarn/unplugged", ".pnp.cjs", ".pnp.loader.mjs", ".pnp.data.json"];

/// The package manager of a workspace, in the version that builds are to use.
#[derive(Clone, Debug)]
pub(crate) struct PackageManager {
    manager: Manager,
    version: Version,
    /// That of Node.
    node: Version,
    npm: Npm,
    /// The names of the packages of the workspace itself.
    own: Vec<String>,
    /// Where Yarn writes that a package may be loaded from an archive.
    is_pnp: bool,
}

/// The scripts of a publish.
pub(crate) struct OfPublish {
    /// Before the tarball is packed.
    pub(crate) before: &'static [&'static str],
    /// When it is packed.
    pub(crate) after_pack: &'static [&'static str],
    /// When the version is at the registry.
    pub(crate) after: &'static [&'static str],
}

impl PackageManager {
    /// `npm` has the registry and the folders of this build, `own` are the names of the workspace's packages.
    pub(crate) fn new(manager: Manager, programs: &Programs, npm: Npm, own: Vec<String>, is_pnp: bool) -> Self {
        Self { manager, version: programs.manager.clone(), node: programs.node.clone(), npm, own, is_pnp }
    }

    /// Which manager it is.
    pub(crate) fn manager(&self) -> Manager {
        self.manager
    }

    /// Its version.
    pub(crate) fn version(&self) -> &Version {
        &self.version
    }

    /// The version of Node that runs it.
    pub(crate) fn node(&self) -> &Version {
        &self.node
    }

    /// Where packages are installed from.
    pub(crate) fn registry(&self) -> &str {
        &self.npm.registry
    }

    /// Installs a workspace, or a member that has a lock file of its own: just what that says where it is frozen. It only
    /// reads, and takes minutes, so the manager itself tries again where an answer of the registry was cut off.
    pub(crate) fn install(&self, is_frozen: bool) -> Vec<String> {
        let store = self.store();
        match self.manager {
            Manager::Npm => self.npm.install_workspace(is_frozen),
            Manager::Pnpm => {
                let frozen = if is_frozen { "--frozen-lockfile" } else { "--no-frozen-lockfile" };
                words(&["pnpm", "install", frozen, "--reporter=append-only"])
            }
            Manager::YarnClassic => {
                let mut command = words(&["yarn", "install", "--non-interactive", "--no-progress"]);
                command.extend(is_frozen.then(|| "--frozen-lockfile".to_owned()));
                command.push(format!("--cache-folder={}", store.display()));
                command
            }
            Manager::YarnBerry => words(&["yarn", "install", if is_frozen { "--immutable" } else { "--no-immutable" }]),
        }
    }

    /// Runs a script of a member, in its folder.
    pub(crate) fn run(&self, script: &str) -> Vec<String> {
        match self.manager {
            // npm need not find out that it is a member: that takes longer with each one, and one that npm does not
            // understand would fail the scripts of all.
            Manager::Npm => self.npm.run(script),
            _ => self.run_at_root(script),
        }
    }

    /// Runs a script of the root, in its folder.
    pub(crate) fn run_at_root(&self, script: &str) -> Vec<String> {
        match self.manager {
            Manager::Npm => self.npm.command(&["run", script]),
            Manager::Pnpm => self.pnpm(&["run", script]),
            Manager::YarnClassic | Manager::YarnBerry => words(&["yarn", "run", script]),
        }
    }

    /// Runs a script of a package, in its folder, and not those that `pre` and `post` before its name name.
    pub(crate) fn run_only(&self, script: &str) -> Vec<String> {
        match self.manager {
            Manager::Pnpm => self.pnpm(&["--config.enable-pre-post-scripts=false", "run", script]),
            // Yarn runs them for no script, or for each one.
            _ => self.run(script),
        }
    }

    /// Packs the package in whose folder it is started; the tarball is the only file in the folder of `to` then. Scripts of
    /// the package are not run, but for those that [`Self::scripts_of_publish`] leaves to the pack.
    pub(crate) fn pack(&self, to: &Path) -> Vec<String> {
        let shown = to.display().to_string();
        let folder = to.parent().unwrap_or(Path::new("")).display().to_string();
        match self.manager {
            Manager::Npm => self.npm.command(&["pack", "--ignore-scripts", "--pack-destination", &folder]),
            Manager::Pnpm => self.pnpm(&["--config.ignore-scripts=true", "pack", "--pack-destination", &folder]),
            Manager::YarnClassic => {
                words(&["yarn", "pack", "--ignore-scripts", "--non-interactive", "--filename", &shown])
            }
            Manager::YarnBerry => words(&["yarn", "pack", "--out", &shown]),
        }
    }

    /// A command of pnpm in a workspace, in whose settings it starts no install and no other version of itself or of Node.
    fn pnpm(&self, arguments: &[&str]) -> Vec<String> {
        // Until version 10 the file of settings goes before the environment.
        let over_file: &[&str] = match self.version.major {
            ..11 => &[
                "--config.verify-deps-before-run=false",
                "--config.manage-package-manager-versions=false",
                "--config.use-node-version=",
            ],
            _ => &[],
        };
        words(&[&["pnpm"], over_file, arguments].concat())
    }

    /// Whether the manager packs by rules of its own.
    pub(crate) fn packs(&self) -> bool {
        self.manager != Manager::Npm
    }

    /// Whether it puts fields of `publishConfig` into the published `package.json`.
    pub(crate) fn applies_publish_config(&self) -> bool {
        matches!(self.manager, Manager::Pnpm | Manager::YarnBerry)
    }

    /// The scripts of a publish, in the order in which the manager runs them.
    pub(crate) fn scripts_of_publish(&self) -> OfPublish {
        match self.manager {
            Manager::Npm | Manager::Pnpm => OfPublish {
                before: &["prepublishOnly", "prepublish", "prepack", PREPARE],
                after_pack: &["postpack"],
                after: &["publish", "postpublish"],
            },
            Manager::YarnClassic => OfPublish {
                before: &["prepublish", PREPARE, "prepublishOnly", "prepack"],
                after_pack: &["postpack"],
                after: &["publish", "postpublish"],
            },
            // Its pack cannot be kept from `prepack` and `postpack`.
            Manager::YarnBerry => OfPublish { before: &["prepublish"], after_pack: &[], after: &[] },
        }
    }

    /// Those of these scripts that an install runs in a folder that it installs, in their order. Run each by
    /// [`Self::run_of_install`].
    pub(crate) fn scripts_of_install(&self, is_root: bool, has: impl Fn(&str) -> bool) -> Vec<&'static str> {
        let all: &[&str] = match (self.manager, is_root) {
            (Manager::Npm, _) | (Manager::YarnClassic, true) => &OF_INSTALL,
            (Manager::Pnpm, _) => &["preinstall", "install", "postinstall", "preprepare", PREPARE, "postprepare"],
            (Manager::YarnClassic, false) | (Manager::YarnBerry, _) => &["preinstall", "install", "postinstall"],
        };
        // npm and the older Yarn run the first and the third around the second.
        let is_run_by_another = |script: &str| {
            matches!(self.manager, Manager::Npm | Manager::YarnClassic)
                && matches!(script, "preinstall" | "postinstall")
                && has("install")
        };
        all.iter().copied().filter(|script| has(script) && !is_run_by_another(script)).collect()
    }

    /// Runs such a script, in the folder of the root or of a member.
    pub(crate) fn run_of_install(&self, script: &str, is_root: bool) -> Vec<String> {
        match (self.manager, is_root) {
            (Manager::Npm, true) => self.run_at_root(script),
            _ => self.run_only(script),
        }
    }

    /// What all commands of a build find in their environment for the manager.
    pub(crate) fn env(&self) -> BTreeMap<String, String> {
        let store = self.store().display().to_string();
        let set: Vec<(&str, String)> = match self.manager {
            Manager::Npm => Vec::new(),
            Manager::Pnpm => {
                // It starts no install, and no other version of itself or of Node.
                let of_all =
                    [("verify_deps_before_run", "false"), ("update_notifier", "false"), ("store_dir", &*store)];
                let (prefix, of_version) = match self.version.major {
                    ..11 => (
                        "npm_config",
                        [("manage_package_manager_versions", "false"), ("package_manager_strict", "false")],
                    ),
                    _ => ("pnpm_config", [("pm_on_fail", "ignore"), ("runtime_on_fail", "ignore")]),
                };
                let all = of_all.into_iter().chain(of_version);
                let mut env: BTreeMap<String, String> =
                    all.map(|(name, value)| (format!("{prefix}_{name}"), value.to_owned())).collect();
                // pnpm 10 reads this name too, and thinks more of it than of the file of settings, in scripts as well.
                env.insert("pnpm_config_verify_deps_before_run".to_owned(), "false".to_owned());
                return env;
            }
            Manager::YarnClassic => {
                vec![("YARN_CACHE_FOLDER", store), ("YARN_DISABLE_SELF_UPDATE_CHECK", "true".to_owned())]
            }
            Manager::YarnBerry => vec![
                ("YARN_GLOBAL_FOLDER", store),
                ("YARN_ENABLE_TELEMETRY", "false".to_owned()),
                ("YARN_NPM_REGISTRY_SERVER", self.npm.registry.clone()),
            ],
        };
        set.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// What is kept of an install beside `node_modules`, at the root. Where the sources have a lock file, it lies over this
    /// one.
    pub(crate) fn leaves(&self) -> Vec<&'static str> {
        match self.manager {
            Manager::YarnBerry if self.is_pnp => [&OF_YARN[..], &OF_PNP].concat(),
            Manager::YarnBerry => OF_YARN.to_vec(),
            Manager::Pnpm => vec!["pnpm-lock.yaml"],
            Manager::Npm | Manager::YarnClassic => Vec::new(),
        }
    }

    /// What the manager keeps of what it has downloaded.
    fn store(&self) -> PathBuf {
        let name = match self.manager {
            Manager::Npm => return self.npm.cache.clone(),
            Manager::Pnpm => "pnpm",
            Manager::YarnClassic => "yarn-classic",
            Manager::YarnBerry => "yarn",
        };
        self.npm.cache.join(name)
    }
}

/// Whether an error code that a command prints is the word of a package manager, and not that of a script.
pub(crate) fn is_itself(argv: &[String]) -> bool {
    const OF_NPM: [&str; 6] = ["install", "i", "ci", "pack", "publish", "view"];
    const OF_OTHERS: [&str; 4] = ["install", "i", "pack", "publish"];
    let mut words = argv.iter().map(String::as_str);
    let program = words.next();
    let command = words.find(|word| !word.starts_with('-'));
    command.is_some_and(|command| match program {
        Some("npm") => OF_NPM.contains(&command),
        Some("pnpm" | "yarn") => OF_OTHERS.contains(&command),
        _ => false,
    })
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn package_manager(manager: Manager, version: &str) -> PackageManager {
        let npm = Npm {
            registry: "http://127.0.0.1:4873".into(),
            scopes: vec!["@acme".into()],
            in_workspace: true,
            ignore_scripts: false,
            userconfig: "/s/npmrc".into(),
            cache: "/s/cache".into(),
        };
        let node = Version::new(22, 0, 0);
        PackageManager {
            manager,
            version: version.parse().unwrap(),
            node,
            npm,
            own: vec!["@acme/core".into()],
            is_pnp: false,
        }
    }

    #[test]
    fn pnpm_is_told_by_the_names_that_its_version_reads() {
        let env = |version: &str| package_manager(Manager::Pnpm, version).env();
        assert_eq!(env("10.34.9").get("npm_config_manage_package_manager_versions").map(String::as_str), Some("false"));
        assert_eq!(env("11.28.0").get("pnpm_config_pm_on_fail").map(String::as_str), Some("ignore"));
        for (version, prefix) in [
            ("9.15.0", "npm_config_"),
            ("10.0.0", "npm_config_"),
            ("11.0.0", "pnpm_config_"),
            ("12.0.0", "pnpm_config_"),
        ] {
            let env = env(version);
            let of_all = "pnpm_config_verify_deps_before_run";
            assert!(env.keys().all(|name| name.starts_with(prefix) || name == of_all), "{version}: {env:?}");
            assert_eq!(env.get(&format!("{prefix}verify_deps_before_run")).map(String::as_str), Some("false"));
        }
    }

    #[test]
    fn only_what_a_manager_does_itself_is_its_word() {
        let pnpm = package_manager(Manager::Pnpm, "10.0.0");
        let npm = ["npm", "ci"].map(str::to_owned).to_vec();
        for own in [pnpm.install(true), pnpm.pack(Path::new("/x/a.tgz")), npm] {
            assert!(is_itself(&own), "{own:?}");
        }
        let tool = ["tool", "install"].map(str::to_owned).to_vec();
        for other in [pnpm.run("install-all"), pnpm.run("build"), tool, Vec::new()] {
            assert!(!is_itself(&other), "{other:?}");
        }
    }

    #[test]
    fn no_script_of_an_install_is_run_twice() {
        let all = ["preinstall", "install", "postinstall", "prepublish", "prepare"];
        let of = |manager, has: &[&str]| {
            package_manager(manager, "1.0.0").scripts_of_install(false, |script| has.contains(&script))
        };
        assert_eq!(of(Manager::Npm, &all), ["install", "prepublish", "prepare"]);
        assert_eq!(of(Manager::Npm, &["preinstall", "postinstall"]), ["preinstall", "postinstall"]);
        assert_eq!(of(Manager::Pnpm, &all), ["preinstall", "install", "postinstall", "prepare"]);
        assert_eq!(of(Manager::YarnBerry, &all), ["preinstall", "install", "postinstall"]);
        assert_eq!(of(Manager::YarnClassic, &all), ["install"]);
        assert!(of(Manager::Pnpm, &["build"]).is_empty());
        let run = package_manager(Manager::Pnpm, "10.0.0").run_of_install("install", false);
        assert!(
            run.contains(&"--config.enable-pre-post-scripts=false".to_owned()),
            "pnpm runs each by itself: {run:?}"
        );
    }
}
