//! What a phase does, in workspace mode and in isolated mode.

use std::{collections::BTreeMap, sync::Arc};

use packline_domain::phase::Tests;
use packline_recipe::{Phase, RootTest, Step};

use crate::{
    npm::Npm,
    phase::{Failure, Runner},
    registry,
    workspace::{self, Built, Means, Needs, Stack},
};

use super::{Phases, TEST};

/// The last script of an install, and one of a publish.
const PREPARE: &str = "prepare";
/// The phase that builds.
const BUILD: &str = "build";

/// What the root of the workspace does for a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RootStep {
    /// This script builds the package.
    Build(String),
    /// Its tests go before what is published.
    Test,
}

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
                let npm = self.npm()?;
                for script in workspace::SCRIPTS.into_iter().filter(|script| self.manifest.has_script(script)) {
                    self.run_command(phase, &npm.run(script), env, exit_code).await?;
                    self.is_prepared |= script == PREPARE;
                }
            }
            Step::Publish => {
                if let Some((stack, _)) = &self.stack {
                    self.runner.view = Some(stack.view_to_pack(self.folder));
                }
                self.publish(phase).await?;
            }
        }
        Ok(true)
    }

    async fn run_command(
        &mut self,
        phase: &Phase,
        argv: &[String],
        env: &BTreeMap<String, String>,
        exit_code: &mut Option<i32>,
    ) -> Result<(), Failure> {
        let done;
        (done, *exit_code) = self.command(phase, argv, env).await;
        done
    }

    fn npm(&self) -> Result<&'a Npm, Failure> {
        self.npm.ok_or_else(|| Failure::infrastructure("this machine has no npm"))
    }

    /// Adds to the stack what the workspace's manager installs, and what siblings have published.
    async fn install(&mut self, phase: &Phase, env: &BTreeMap<String, String>) -> Result<bool, Failure> {
        let ignores_scripts = self.npm()?.ignore_scripts;
        let folder = self.folder;
        self.on_stack(phase, env, async |stack, member, means, needs, runner| {
            let workspace = Arc::clone(&stack.workspace);
            let Some(member) = workspace.member(member) else { return Ok(false) };
            let mut is_new = workspace::install(stack, member, means, needs, runner).await?;
            if !ignores_scripts {
                is_new |= workspace::root::install_scripts(stack, means, needs, runner).await?;
            }
            let unbuilt = workspace::lay(stack, member, folder, means.access, needs, runner).await?;
            is_new |= !unbuilt.is_empty();
            for id in unbuilt {
                let Some(sibling) = workspace.member(id) else { continue };
                workspace::build_private(stack, sibling, folder, means, runner).await?;
            }
            Ok(is_new)
        })
        .await
    }

    /// What the root does in this phase for the package.
    pub(super) fn root_step(&self, phase: &Phase) -> Option<RootStep> {
        let (stack, member) = self.stack.as_ref()?;
        let options = self.worker.recipe.workspace();
        match phase.name.as_str() {
            BUILD => {
                let member = stack.workspace.member(*member)?;
                workspace::root::builds(&stack.workspace, member, &options).map(RootStep::Build)
            }
            TEST => (options.root_test == RootTest::Gate && self.root_tests.is_some()).then_some(RootStep::Test),
            _ => None,
        }
    }

    /// False where it was done already.
    pub(super) async fn step_of_root(&mut self, phase: &Phase, step: &RootStep) -> Result<bool, Failure> {
        let (env, _settings) = self.env(phase).await?;
        let options = self.worker.recipe.workspace();
        let done = self.on_stack(phase, &env, async |stack, _, means, needs, runner| match step {
            RootStep::Build(script) => workspace::root::build(stack, script, means, needs, runner).await,
            RootStep::Test => workspace::root::test(stack, &options, means, needs, runner).await,
        });
        let done = done.await;
        if *step == RootStep::Test && done.as_ref().map_or_else(|failure| !failure.killed, |_| true) {
            let tests = if done.is_ok() { Tests::RootPassed } else { Tests::RootFailed };
            self.root_tests = Some(tests);
            // Of a package with tests of its own, theirs are told.
            if self.ended.tests.is_some() {
                self.ended.tests = Some(tests);
            }
        }
        done
    }

    /// Lets `work` add layers to the stack. Commands see them from then on.
    async fn on_stack(
        &mut self,
        phase: &Phase,
        env: &BTreeMap<String, String>,
        work: impl AsyncFnOnce(
            &mut Stack,
            packline_workspace::MemberId,
            &Means<'_>,
            &Needs<'_>,
            &mut Runner,
        ) -> Result<bool, Failure>,
    ) -> Result<bool, Failure> {
        let Self { worker, settings, build, runner, folder, npm: Some(npm), stack: Some((stack, member)), .. } = self
        else {
            return Err(Failure::infrastructure("this machine has no npm"));
        };
        let toolchain = runner.toolchain(&worker.toolchain, &folder.beside()).await?;
        let access = registry::access(&worker.config, settings, &npm.registry)?;
        let means = Means { npm, access: &access, toolchain, phase, env };
        let (name, store) = (build.order.package_name.as_str(), stack.store.clone());
        let needs = Needs { store: &store, package: name, attempt: build.order.attempt, phase: &phase.name };
        let is_new = work(stack, *member, &means, &needs, runner).await?;
        runner.view = Some(stack.view(folder));
        Ok(is_new)
    }

    /// Keeps what the build left in the package's folder for those that need the package.
    pub(super) async fn keep_output(&self) {
        let Some((stack, member)) = &self.stack else { return };
        let Some(member) = stack.workspace.member(*member) else { return };
        let name = self.build.order.package_name.as_str();
        let built = match (&self.ended.version, &self.ended.integrity) {
            (Some(version), Some(integrity)) if !self.manifest.private => Built::Published { name, version, integrity },
            _ if self.manifest.private => match stack.private(member).await {
                Ok(built) => built,
                Err(failure) => return tracing::warn!(error = failure.error, "the output of a build is not kept"),
            },
            _ => return,
        };
        workspace::keep(&stack.store, &built, &self.folder.upper(), member.real_folder()).await;
    }
}
