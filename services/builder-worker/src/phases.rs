//! The phases of one build, in order: skipped, run, fixed and run again, published.

mod fix;
mod workspace;

use std::{
    collections::BTreeMap,
    fs, io,
    path::Path,
    sync::{Arc, OnceLock, atomic::AtomicU32},
    time::Instant,
};

use packline_domain::phase::{CACHED, PhaseReport, Tests};
use packline_recipe::{PUBLISH, Phase, Step, When};
use tempfile::TempDir;

use packline_npm::Settings;

use crate::{
    folder::BuildFolder,
    log::Journal,
    look::Look,
    manifest::Manifest,
    npm::{self, Npm},
    package_manager::{self, PackageManager},
    permit::{self, Noted},
    phase::{self, Command, Failure, Runner},
    publish::Publish,
    registry,
    table::Build,
    test_script,
    worker::Worker,
    workspace::Stack,
};

pub(crate) use fix::Fix;
use workspace::Place;

/// The script of the package's own tests.
const TEST: &str = "test";
/// The variable that names npm's settings of the user.
const USERCONFIG: &str = "npm_config_userconfig";

/// How a build ended.
#[derive(Default)]
pub(crate) struct Ended {
    pub(crate) reports: Vec<PhaseReport>,
    pub(crate) failure: Option<(Option<String>, Failure)>,
    pub(crate) fix_attempts: Arc<AtomicU32>,
    pub(crate) version: Option<String>,
    pub(crate) integrity: Option<String>,
    /// What somebody should look at although it fails nothing.
    pub(crate) warnings: Vec<String>,
    /// Nothing was published, because the package is private.
    pub(crate) private: bool,
    /// What stands for the tests of the package, where it has none of its own.
    pub(crate) tests: Option<Tests>,
}

/// Whether a build may not start, or not go on.
pub(crate) fn is_ended(build: &Build) -> bool {
    build.life.is_blown() || build.killed().is_some()
}

/// The phases of one build, under way.
pub(crate) struct Phases<'a> {
    pub(crate) worker: &'a Worker,
    pub(crate) build: &'a Build,
    pub(crate) folder: &'a BuildFolder,
    /// What the build sees; `None` in isolated mode.
    pub(crate) stack: Option<Stack>,
    /// Empty where the package has no `package.json`.
    pub(crate) manifest: &'a Manifest,
    /// `None` where this machine has no npm and nobody named a registry.
    pub(crate) npm: Option<&'a Npm>,
    /// The manager of the workspace; `None` in isolated mode, and where there is no npm.
    pub(crate) package_manager: Option<&'a PackageManager>,
    /// PATH as it is without what the workspace asks for.
    pub(crate) own_path: String,
    /// npm's own settings, for the user that runs this worker.
    pub(crate) settings: &'a Settings,
    pub(crate) runner: &'a mut Runner,
    pub(crate) journal: &'a Journal,
    /// A `lint` that says no is a warning.
    pub(crate) lint_warns: bool,
    /// What the root of the workspace has for the tests of a package that has none.
    pub(crate) root_tests: Option<Tests>,
    /// Whether the script `prepare` of the package has run.
    pub(crate) is_prepared: bool,
    pub(crate) ended: &'a mut Ended,
}

impl Phases<'_> {
    /// Runs them until one fails. A failure comes with its phase, where it has one.
    pub(crate) async fn run(&mut self, phases: &[Phase]) -> Result<(), (Option<String>, Failure)> {
        let first = phases.first().map_or("", |phase| phase.name.as_str());
        for left_out in &self.folder.left_out {
            match self.stack {
                Some(_) => self.runner.say(first, left_out),
                None => self.runner.say(first, &format!("left out of the copy: {left_out}")),
            }
        }
        // `skips` leaves the built-in publish out; only a command of one's own may publish a private package.
        let own_publish = |phase: &Phase| phase.name == PUBLISH && matches!(phase.step, Step::Run(_));
        self.ended.private = self.manifest.private && !phases.iter().any(own_publish);
        for phase in phases {
            if is_ended(self.build) {
                return Err((None, Failure::killed()));
            }
            let of_root = self.root_step(phase, phases);
            let skipped = self.skips(phase);
            if let Some(why) = skipped.as_ref().filter(|_| matches!(of_root, Ok(None))) {
                self.runner.say(&phase.name, &format!("skipped: {why}"));
                self.report(phase::skipped(&phase.name, why));
                continue;
            }
            self.build.set_phase(Some(&phase.name));
            self.worker.changed.notify_one();
            self.journal.began(&phase.name);
            let started = Instant::now();
            let done_by_root = match of_root {
                Ok(Some(step)) => self.step_of_root(phase, &step).await,
                none => none.map(|_| false),
            };
            let mut exit_code = None;
            let made = match (done_by_root, &skipped) {
                (Ok(_), None) => self.run_and_fix(phase, &mut exit_code).await,
                (done_by_root, _) => done_by_root,
            };
            if let Ok(false) = made {
                self.runner.say(&phase.name, "skipped: the cache of this machine has what it would make");
                self.report(phase::skipped(&phase.name, CACHED));
                continue;
            }
            let (report, done) = phase::settle(&phase.name, started, exit_code, made.map(drop), self.lint_warns);
            self.report(report);
            self.ended.warnings.extend(done.map_err(|failure| (Some(phase.name.clone()), failure))?);
        }
        self.keep_output().await;
        Ok(())
    }

    fn report(&mut self, report: PhaseReport) {
        self.journal.ended(&report);
        self.ended.reports.push(report);
    }

    fn skips(&mut self, phase: &Phase) -> Option<String> {
        if phase.when == Some(When::Script(TEST.to_owned()))
            && let Some(why) = self.skips_test()
        {
            return Some(why);
        }
        match (&phase.when, &phase.step) {
            (Some(When::Script(script)), _) if !self.manifest.has_script(script) => {
                Some(format!("package.json has no script {script}"))
            }
            (Some(When::File(file)), _) if !self.look().has(Path::new(file)) => {
                Some(format!("the package has no {file}"))
            }
            (_, Step::Publish) if self.manifest.private => Some("package.json says private".to_owned()),
            (_, Step::Prepare) if self.stack.is_none() => {
                Some("in isolated mode npm install runs these scripts".to_owned())
            }
            (_, Step::Prepare) if self.npm.is_some_and(|npm| npm.ignore_scripts) => {
                Some("the settings of the workspace say ignore-scripts".to_owned())
            }
            (_, Step::Prepare)
                if self
                    .package_manager
                    .is_none_or(|package_manager| self.scripts_of_install(package_manager).is_empty()) =>
            {
                Some("package.json has no scripts of an install".to_owned())
            }
            _ => None,
        }
    }

    /// The package's folder, as it is now.
    fn look(&self) -> Look {
        match &self.stack {
            Some(stack) => stack.look(self.folder, &self.build.order.package_path),
            None => Look::Folder(self.folder.package.clone()),
        }
    }

    /// Where the package has no test, the result says what stands for it.
    fn skips_test(&mut self) -> Option<String> {
        let script = self.manifest.script(TEST);
        let why = match script {
            Some(script) if test_script::is_test(script) => return None,
            Some(_) => test_script::NO_TEST,
            None => "package.json has no script test",
        };
        self.ended.tests = self.root_tests.or(script.map(|_| Tests::NoTest));
        let of_root = self.root_tests.map(|tests| format!("; {tests}")).unwrap_or_default();
        Some(format!("{why}{of_root}"))
    }

    /// Runs a phase; where it fails and has a fix, runs that and the phase again, as often as the build may. False
    /// where nothing had to be done.
    async fn run_and_fix(&mut self, phase: &Phase, exit_code: &mut Option<i32>) -> Result<bool, Failure> {
        let (env, _settings) = self.env(phase).await?;
        let (most, tried) = (self.worker.recipe.max_fix_attempts(), Arc::clone(&self.ended.fix_attempts));
        let fix = Fix { phase, env: &env, most, tried: &tried };
        loop {
            let done = self.step(phase, &env, exit_code).await;
            let Err(failure) = &done else { return done };
            // What has an integrity may be in the registry already.
            let is_sent = phase.step == Step::Publish && self.ended.integrity.is_some();
            if is_sent || !fix.run(self.runner, failure).await? {
                return done;
            }
        }
    }

    /// What the commands of a phase find in their environment beside that of the build, where they publish nothing.
    pub(super) fn env_without_token(&self, phase: &Phase) -> BTreeMap<String, String> {
        let mut env = phase.env.clone();
        // npm reads its variables in any case.
        let is_configured = env.keys().any(|name| name.eq_ignore_ascii_case(USERCONFIG));
        if let Some(npm) = self.npm.filter(|_| !is_configured) {
            env.insert(USERCONFIG.to_owned(), npm.userconfig.display().to_string());
        }
        env
    }

    /// The same for all phases, and the folder of the settings of `publish`, which lasts as long as that.
    async fn env(&mut self, phase: &Phase) -> Result<(BTreeMap<String, String>, Option<TempDir>), Failure> {
        let mut env = self.env_without_token(phase);
        let mut of_publish = None;
        let publishes = phase.name == PUBLISH && matches!(phase.step, Step::Run(_));
        let registry = self.npm.map(|npm| npm.registry.as_str()).filter(|_| publishes);
        let token = registry.and_then(|registry| registry::token(&self.worker.config, self.settings, registry));
        if let Some(token) = token {
            env.insert("NPM_TOKEN".to_owned(), token.to_owned());
        }
        let configured = phase.env.keys().any(|name| name.eq_ignore_ascii_case(USERCONFIG));
        if let Some(npm) = self.npm.filter(|_| publishes && !configured) {
            let folder = self
                .settings_of_publish(npm, token.is_some())
                .map_err(|error| Failure::infrastructure(format!("failed to write npm's settings: {error}")))?;
            env.insert(USERCONFIG.to_owned(), folder.path().join("npmrc").display().to_string());
            of_publish = Some(folder);
        }
        if publishes && !permit::confirm(self.worker, self.build, self.ended.integrity.as_deref()).await {
            return Err(Failure::killed());
        }
        Ok((env, of_publish))
    }

    /// In a folder of a name that no build can know: a pipe or a link in place of the file would be written to.
    fn settings_of_publish(&self, npm: &Npm, with_token: bool) -> io::Result<TempDir> {
        let folder = tempfile::tempdir_in(self.folder.beside())?;
        let token = if with_token { "${NPM_TOKEN}" } else { "none" };
        fs::write(folder.path().join("npmrc"), npm.settings() + &npm::auth(&npm.registry, token))?;
        Ok(folder)
    }

    async fn publish(&mut self, phase: &Phase, env: &BTreeMap<String, String>) -> Result<(), Failure> {
        let look = self.look();
        let Self {
            worker,
            build,
            folder,
            stack,
            manifest,
            npm: Some(npm),
            package_manager,
            own_path,
            settings,
            runner,
            ended,
            ..
        } = self
        else {
            return Err(Failure::infrastructure("this machine has no npm to publish by"));
        };
        let (config, order) = (&worker.config, &build.order);
        let publish = Publish {
            name: &order.package_name,
            npm,
            package_manager: package_manager.filter(|package_manager| package_manager.packs()),
            own_path,
            phase,
            beside: folder.beside(),
            package: &folder.package,
            look,
            // npm refuses a workspace of which it does not understand one member.
            as_member: stack.as_ref().is_some_and(|stack| stack.workspace.left_out().is_empty()),
            root_manifest: stack.as_ref().and_then(Stack::manifest_of_one),
            is_prepared: self.is_prepared,
            manifest,
            publish_config: config.publish_config,
            access: &|registry| registry::access(config, settings, registry),
            users_registry: settings.registry(order.package_name.scope()),
            toolchains: &worker.toolchains,
            commit: folder.commit.clone(),
            earlier: &order.integrities,
        };
        let noted = Noted { worker, build, integrity: OnceLock::new() };
        let tried = Arc::clone(&ended.fix_attempts);
        let by_root = async |runner: &mut Runner| match (stack, package_manager) {
            (Some(stack), Some(package_manager)) => {
                let place = Place { worker, settings, build, folder, package_manager, phase, env, tried: &tried };
                place.build_by_root_at_last(stack, runner).await
            }
            _ => Ok(None),
        };
        let done = publish.run(runner, &noted, by_root, &mut ended.warnings).await;
        // Said whatever came of it: the registry may have stored it all the same.
        ended.integrity = noted.integrity.into_inner();
        let done = done?;
        (ended.version, ended.integrity) = (Some(done.version), Some(done.integrity));
        Ok(())
    }
}

/// Runs a command of a phase; how it ended, and its exit status.
async fn command(
    runner: &mut Runner,
    phase: &Phase,
    argv: &[String],
    env: &BTreeMap<String, String>,
) -> (Result<(), Failure>, Option<i32>) {
    let npm = package_manager::is_itself(argv);
    let command = Command { argv: argv.to_vec(), env, ..Command::new(&phase.name, phase.limits.clone()) };
    match runner.command(command).await {
        Ok((end, printed)) => (phase::verdict(&end, &printed, &phase.limits, npm), phase::exit_code(&end)),
        Err(lost) => (Err(lost.into()), None),
    }
}
