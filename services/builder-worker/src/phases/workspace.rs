//! What a phase does, in workspace mode and in isolated mode.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicU32},
};

use packline_domain::phase::Tests;
use packline_npm::Settings;
use packline_recipe::{PUBLISH, Phase, RootBuild, RootTest, Step};
use packline_workspace::Member;

use crate::{
    folder::BuildFolder,
    look::Look,
    npm::Npm,
    package_manager::{PREPARE, PackageManager},
    phase::{Failure, Runner},
    registry,
    table::Build,
    worker::Worker,
    workspace::{self, Built, Means, Needs, Siblings, Stack, is_own},
};

use super::{Fix, Phases, TEST, command};

/// The phase that builds.
const BUILD: &str = "build";

impl<'a> Phases<'a> {
    /// Runs a phase once; false where nothing had to be done.
    pub(super) async fn step(
        &mut self,
        phase: &Phase,
        env: &BTreeMap<String, String>,
        exit_code: &mut Option<i32>,
    ) -> Result<bool, Failure> {
        match &phase.step {
            Step::Run(argv) => self.run_command(phase, argv, env, exit_code).await?,
            Step::Install if self.stack.is_some() => return self.install(phase, env).await,
            Step::Install => {
                let install = self.npm()?.command(&["install"]);
                self.run_command(phase, &install, env, exit_code).await?;
            }
            Step::Prepare => {
                let package_manager = self.package_manager()?;
                for script in self.scripts_of_install(package_manager) {
                    self.run_command(phase, &package_manager.run_of_install(script, false), env, exit_code).await?;
                    self.is_prepared |= script == PREPARE;
                }
            }
            Step::Publish => {
                if let Some(stack) = &mut self.stack {
                    stack.show_to_pack(self.folder, self.runner).await?;
                }
                self.publish(phase, env).await?;
            }
        }
        Ok(true)
    }

    /// The scripts of the package that an install runs.
    pub(super) fn scripts_of_install(&self, package_manager: &PackageManager) -> Vec<&'static str> {
        package_manager.scripts_of_install(false, |script| self.manifest.has_script(script))
    }

    async fn run_command(
        &mut self,
        phase: &Phase,
        argv: &[String],
        env: &BTreeMap<String, String>,
        exit_code: &mut Option<i32>,
    ) -> Result<(), Failure> {
        let done;
        (done, *exit_code) = command(self.runner, phase, argv, env).await;
        done
    }

    fn npm(&self) -> Result<&'a Npm, Failure> {
        self.npm.ok_or_else(no_npm)
    }

    fn package_manager(&self) -> Result<&'a PackageManager, Failure> {
        self.package_manager.ok_or_else(no_npm)
    }

    /// Adds to the stack what the workspace's manager installs, and what siblings have published.
    async fn install(&mut self, phase: &Phase, env: &BTreeMap<String, String>) -> Result<bool, Failure> {
        let ignores_scripts = self.npm()?.ignore_scripts;
        let folder = self.folder;
        self.on_stack(phase, env, async |stack, means, needs, runner| {
            // A second install adds nothing.
            if stack.has_siblings {
                return Ok(false);
            }
            let workspace = Arc::clone(&stack.workspace);
            let Some(member) = workspace.member(stack.member) else { return Ok(false) };
            let mut is_new = workspace::install(stack, member, means, needs, runner).await?;
            if !ignores_scripts {
                is_new |= workspace::root::install_scripts(stack, means, needs, runner).await?;
            }
            let unbuilt = workspace::lay(stack, member, folder, means.access, needs, runner).await?;
            is_new |= !unbuilt.is_empty();
            if !unbuilt.is_empty() {
                stack.show(folder, runner).await?;
            }
            for id in unbuilt {
                let Some(sibling) = workspace.member(id) else { continue };
                workspace::build_private(stack, sibling, means, runner).await?;
            }
            Ok(is_new)
        })
        .await
    }

    /// What of the root comes before the package's own part of this phase.
    pub(super) fn root_step(&self, phase: &Phase, phases: &[Phase]) -> Result<Option<RootStep>, Failure> {
        let Some(stack) = &self.stack else { return Ok(None) };
        let Some(member) = stack.workspace.member(stack.member) else { return Ok(None) };
        let options = self.worker.recipe.workspace();
        if phase.name == BUILD {
            let script = workspace::root::builds(&stack.workspace, member, &options).map_err(Failure::permanent)?;
            return Ok(script.map(RootStep::Build));
        }
        let has_tests = phases.iter().any(|phase| phase.name == TEST);
        let is_gate = phase.name == if has_tests { TEST } else { PUBLISH };
        if !is_gate || options.root_test != RootTest::Gate || stack.root_tests().is_none() || is_root(member) {
            return Ok(None);
        }
        let build = workspace::root::script(stack.workspace.manifest(), &options).map_err(Failure::permanent)?;
        Ok(Some(RootStep::Test { build: build.filter(|_| options.root_build != RootBuild::Never) }))
    }

    /// False where it was done already.
    pub(super) async fn step_of_root(&mut self, phase: &Phase, step: &RootStep) -> Result<bool, Failure> {
        // That of `publish` would hold the token.
        let env = self.env_without_token(phase);
        let done = self.on_stack(phase, &env, async |stack, means, needs, runner| match step {
            RootStep::Build(script) => workspace::root::build(stack, script, means, needs, runner).await,
            RootStep::Test { build } => workspace::root::test(stack, build.as_deref(), means, needs, runner).await,
        });
        let done = done.await;
        if let RootStep::Test { .. } = step
            && self.ended.tests == Some(Tests::RootNotRun)
        {
            match &done {
                Ok(_) => self.ended.tests = Some(Tests::RootPassed),
                Err(failure) if is_own(failure) => self.ended.tests = Some(Tests::RootFailed),
                Err(_) => {}
            }
        }
        done
    }

    /// Lets `work` add layers to the stack. Commands see them from then on.
    async fn on_stack(
        &mut self,
        phase: &Phase,
        env: &BTreeMap<String, String>,
        work: impl AsyncFnOnce(&mut Stack, &Means<'_>, &Needs<'_>, &mut Runner) -> Result<bool, Failure>,
    ) -> Result<bool, Failure> {
        let tried = Arc::clone(&self.ended.fix_attempts);
        let Self {
            worker,
            settings,
            build,
            runner,
            folder,
            package_manager: Some(package_manager),
            stack: Some(stack),
            ..
        } = self
        else {
            return Err(no_npm());
        };
        let place = Place { worker, settings, build, folder, package_manager, phase, env, tried: &tried };
        let is_new = place.work(stack, runner, work).await?;
        stack.show(folder, runner).await?;
        Ok(is_new)
    }

    /// Keeps what the build left in the package's folder for those that need the package.
    pub(super) async fn keep_output(&mut self) {
        let Some(stack) = &mut self.stack else { return };
        let workspace = Arc::clone(&stack.workspace);
        let Some(member) = workspace.member(stack.member) else { return };
        let name = self.build.order.package_name.as_str();
        let built = match (&self.ended.version, &self.ended.integrity) {
            (Some(version), Some(integrity)) if !self.manifest.private => Built::Published { name, version, integrity },
            _ if self.manifest.private => match stack.private(member, self.worker, self.build).await {
                Ok(built) => built,
                Err(failure) => return tracing::warn!(error = failure.error, "the output of a build is not kept"),
            },
            _ => return,
        };
        if let Err(error) = stack.gather(self.folder, member.real_folder()).await {
            return tracing::warn!(%error, "the output of a build is not kept");
        }
        workspace::keep(&stack.store, &built, &self.folder.upper(), member.real_folder()).await;
    }
}

/// What of the root comes before a phase of a package.
pub(super) enum RootStep {
    /// This script, which builds the package.
    Build(String),
    /// Its tests, on what a script of it builds.
    Test { build: Option<String> },
}

/// Where layers are made for a build.
pub(super) struct Place<'a> {
    pub(super) worker: &'a Worker,
    pub(super) settings: &'a Settings,
    pub(super) build: &'a Build,
    pub(super) folder: &'a BuildFolder,
    pub(super) package_manager: &'a PackageManager,
    pub(super) phase: &'a Phase,
    pub(super) env: &'a BTreeMap<String, String>,
    /// The fixes of the build so far.
    pub(super) tried: &'a AtomicU32,
}

impl Place<'_> {
    async fn work<T>(
        &self,
        stack: &mut Stack,
        runner: &mut Runner,
        work: impl AsyncFnOnce(&mut Stack, &Means<'_>, &Needs<'_>, &mut Runner) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let Self { worker, settings, build, package_manager, phase, env, tried, .. } = *self;
        let access = registry::access(&worker.config, settings, package_manager.registry())?;
        let means = Means { package_manager, access: &access, phase, env };
        let store = stack.store.clone();
        let fix = Fix { phase, env, most: worker.recipe.max_fix_attempts(), tried };
        let needs = Needs { store: &store, worker, build, phase: &phase.name, fix: Some(&fix) };
        work(stack, &means, &needs, runner).await
    }

    /// Runs the root build for a package that lacks code although it was built, where it was not run for this package
    /// yet; the package's folder as it is then.
    ///
    /// # Errors
    /// See [`Failure`]; not where the root build fails.
    pub(super) async fn build_by_root_at_last(
        &self,
        stack: &mut Stack,
        runner: &mut Runner,
    ) -> Result<Option<Look>, Failure> {
        let options = self.worker.recipe.workspace();
        let is_ours = |member: &Member| !is_root(member) && !member.manifest().is_private();
        if options.root_build != RootBuild::Auto
            || stack.root_build == Some(Siblings::Published)
            || !stack.workspace.member(stack.member).is_some_and(is_ours)
        {
            return Ok(None);
        }
        let script = workspace::root::script(stack.workspace.manifest(), &options).map_err(Failure::permanent)?;
        let Some(script) = script else { return Ok(None) };
        let says = format!(
            "the tarball lacks code that package.json names; running the script {script} of the root, and packing again"
        );
        runner.say(&self.phase.name, &says);
        let built = self.work(stack, runner, async |stack, means, needs, runner| match stack.root_build {
            None => workspace::root::build(stack, &script, means, needs, runner).await.map(drop),
            Some(_) => workspace::root::build_on_published(stack, &script, means, needs, runner).await,
        });
        match built.await {
            Ok(_) => {}
            Err(failure) if is_own(&failure) => {
                runner.say(&self.phase.name, &format!("warning: {}", failure.first_line()));
                return Ok(None);
            }
            Err(failure) => return Err(failure),
        }
        stack.show_to_pack(self.folder, runner).await?;
        Ok(Some(stack.look(self.folder, &self.build.order.package_path)))
    }
}

fn no_npm() -> Failure {
    Failure::infrastructure("this machine has no npm")
}

fn is_root(member: &Member) -> bool {
    member.real_folder().as_os_str().is_empty()
}
