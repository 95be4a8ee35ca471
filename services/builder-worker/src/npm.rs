//! The built-in recipe for npm packages: its phases, its flags, and what npm's error codes mean.

use std::path::{Path, PathBuf};

use packline_recipe::{Limits, PUBLISH, Phase, Step, When};

/// What all npm commands of one build are told.
#[derive(Clone, Debug)]
pub struct Npm {
    /// Where to install from and publish to, without a slash at the end.
    pub registry: String,
    /// The scopes (`@acme`) that come from there, too, whatever other settings say.
    pub scopes: Vec<String>,
    /// A configuration file that is not the user's own.
    pub userconfig: PathBuf,
    /// Kept from build to build.
    pub cache: PathBuf,
    /// Whether npm sees the workspace that the package belongs to, with its settings.
    pub in_workspace: bool,
    /// Whether the settings of the workspace switch scripts off that nobody asked for by name.
    pub ignore_scripts: bool,
}

impl Npm {
    /// An npm command. Nothing of the user's own settings reaches it, and of a project's only those of the workspace
    /// that it is to see. Retrying is left to the orchestrator: npm itself would hold a slot for minutes.
    pub fn command(&self, arguments: &[&str]) -> Vec<String> {
        let mut command: Vec<String> = ["npm"].iter().chain(arguments).map(|&argument| argument.to_owned()).collect();
        command.push(format!("--registry={}/", self.registry));
        command.extend(self.scopes.iter().map(|scope| format!("--{scope}:registry={}/", self.registry)));
        command.push(format!("--userconfig={}", self.userconfig.display()));
        command.push(format!("--cache={}", self.cache.display()));
        if !self.in_workspace {
            command.push("--workspaces=false".to_owned());
        }
        let flags = ["--no-update-notifier", "--no-audit", "--no-fund", "--fetch-retries=0", "--loglevel=warn"];
        command.extend(flags.map(str::to_owned));
        command
    }

    /// Installs a workspace, or a member that has a lock file of its own. It only reads, and takes minutes, so npm itself
    /// tries again where an answer of the registry was cut off.
    pub fn install_workspace(&self, locked: bool) -> Vec<String> {
        let mut command = self.command(&[if locked { "ci" } else { "install" }]);
        command.push("--fetch-retries=2".to_owned());
        command
    }

    /// Runs a script of a member, in its folder. npm need not find out that it is one: that takes longer with each
    /// member, and one that npm does not understand would fail the scripts of all.
    pub(crate) fn run(&self, script: &str) -> Vec<String> {
        self.command(&["run", script, "--workspaces=false"])
    }

    /// The same as a file of settings, for the npm of a recipe's commands and of scripts.
    pub fn settings(&self) -> String {
        let registry = &self.registry;
        let of_scopes: String = self.scopes.iter().map(|scope| format!("{scope}:registry={registry}/\n")).collect();
        let workspaces = if self.in_workspace { "" } else { "workspaces=false\n" };
        // In quotes npm reads it as JSON.
        let cache = serde_json::Value::from(self.cache.display().to_string());
        format!(
            "registry={registry}/\n{of_scopes}cache={cache}\n{workspaces}update-notifier=false\naudit=false\n\
             fund=false\nfetch-retries=0\nloglevel=warn\n"
        )
    }

    /// The same with `npmrc` and cache in this folder: what builds left in theirs is not believed.
    #[must_use]
    pub fn apart(&self, folder: &Path) -> Self {
        Self { userconfig: folder.join(crate::pack::USERCONFIG), cache: folder.join("cache"), ..self.clone() }
    }

    /// The built-in recipe in isolated mode.
    pub fn phases(&self) -> Vec<Phase> {
        built_in([("install", Step::Install)], &["build", "lint", "test"], |script| self.command(&["run", script]))
    }
}

/// The built-in recipe in workspace mode; `run` is the command that runs a script of the package.
pub fn workspace_phases(run: impl Fn(&str) -> Vec<String>) -> Vec<Phase> {
    let before = [("install", Step::Install), ("prepare", Step::Prepare)];
    built_in(before, &["build", "typecheck", "lint", "test"], run)
}

/// Steps, then scripts where the package has them, then `publish`.
fn built_in<const N: usize>(
    before: [(&str, Step); N],
    scripts: &[&str],
    run: impl Fn(&str) -> Vec<String>,
) -> Vec<Phase> {
    let before = before.into_iter().map(|(name, step)| phase(name, step));
    let scripts = scripts.iter().map(|&script| {
        let when = Some(When::Script(script.to_owned()));
        Phase { when, ..phase(script, Step::Run(run(script))) }
    });
    before.chain(scripts).chain([phase(PUBLISH, Step::Publish)]).collect()
}

fn phase(name: &str, step: Step) -> Phase {
    let (name, env) = (name.to_owned(), std::collections::BTreeMap::new());
    Phase { name, step, when: None, limits: Limits::default(), fix: None, env }
}

/// The line of npm's settings that has the token for one registry; as npm reads it, `${NAME}` is a variable.
pub fn auth(registry: &str, token: &str) -> String {
    let place = registry.split_once(':').map_or(registry, |(_, place)| place);
    format!("{place}/:_authToken={token}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npm() -> Npm {
        Npm {
            registry: "http://127.0.0.1:4873".into(),
            scopes: vec!["@acme".into()],
            in_workspace: false,
            ignore_scripts: false,
            userconfig: "/s/npmrc".into(),
            cache: "/s/cache".into(),
        }
    }

    #[test]
    fn every_command_names_the_registry_for_the_scope_too() {
        let command = npm().command(&["install"]);
        assert_eq!(command[..2], ["npm", "install"]);
        for flag in
            ["--registry=http://127.0.0.1:4873/", "--@acme:registry=http://127.0.0.1:4873/", "--workspaces=false"]
        {
            assert!(command.iter().any(|argument| argument == flag), "{flag}");
        }
    }

    #[test]
    fn scripts_are_run_only_where_they_are_there() {
        let phases = npm().phases();
        let named: Vec<_> = phases.iter().map(|phase| (phase.name.as_str(), phase.when.is_some())).collect();
        assert_eq!(named, [("install", false), ("build", true), ("lint", true), ("test", true), ("publish", false)]);
        let phases = workspace_phases(|script| vec!["pnpm".into(), "run".into(), script.into()]);
        let steps: Vec<_> = phases.iter().map(|phase| (phase.name.as_str(), &phase.when, &phase.step)).collect();
        let when = |script: &str| Some(When::Script(script.to_owned()));
        let run = |script: &str| Step::Run(vec!["pnpm".into(), "run".into(), script.into()]);
        assert_eq!(
            steps,
            [
                ("install", &None, &Step::Install),
                ("prepare", &None, &Step::Prepare),
                ("build", &when("build"), &run("build")),
                ("typecheck", &when("typecheck"), &run("typecheck")),
                ("lint", &when("lint"), &run("lint")),
                ("test", &when("test"), &run("test")),
                ("publish", &None, &Step::Publish),
            ]
        );
    }
}
