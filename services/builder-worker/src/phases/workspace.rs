//! The steps of the built-in recipe that differ in workspace mode.

use std::sync::Arc;

use packline_recipe::Phase;

use crate::{
    phase::Failure,
    registry,
    workspace::{self, Means, Needs},
};

use super::Phases;

/// The phase that builds.
const BUILD: &str = "build";

impl Phases<'_> {
    /// False where nothing had to be done.
    pub(super) async fn install(&mut self, phase: &Phase, exit_code: &mut Option<i32>) -> Result<bool, Failure> {
        let Some(npm) = self.npm else {
            return Err(Failure::infrastructure("this machine has no npm to install by"));
        };
        if self.stack.is_none() {
            return self.run_and_fix(phase, &npm.command(&["install"]), exit_code).await.map(|()| true);
        }
        let (env, _settings) = self.env(phase).await?;
        let Self { worker, build, settings, runner, folder, stack: Some((stack, member)), .. } = self else {
            return Ok(false);
        };
        let toolchain = runner.toolchain(&worker.toolchain, &folder.beside()).await?;
        let means = Means { npm, toolchain, phase, env: &env };
        let (name, store) = (build.order.package_name.as_str(), stack.store.clone());
        let needs = Needs { store: &store, package: name, attempt: build.order.attempt, phase: &phase.name };
        let workspace = Arc::clone(&stack.workspace);
        let Some(member) = workspace.member(*member) else { return Ok(false) };
        let mut is_new = workspace::install(stack, member, &means, &needs, runner).await?;
        if !npm.ignore_scripts {
            is_new |= workspace::root::install_scripts(stack, &means, &needs, runner).await?;
        }
        let access = registry::access(&worker.config, settings, &npm.registry)?;
        workspace::lay(stack, member, folder, &access, &needs, runner).await?;
        runner.view = Some(stack.view(folder));
        Ok(is_new)
    }

    /// The script of the root that builds the package in this phase.
    pub(super) fn root_build(&self, phase: &Phase) -> Option<String> {
        let (stack, member) = self.stack.as_ref().filter(|_| phase.name == BUILD)?;
        let member = stack.workspace.member(*member)?;
        workspace::root::builds(&stack.workspace, member, &self.worker.recipe.workspace())
    }

    /// False where it was built already.
    pub(super) async fn build_by_root(&mut self, phase: &Phase, script: &str) -> Result<bool, Failure> {
        let Some(npm) = self.npm else { return Err(Failure::infrastructure("this machine has no npm to build by")) };
        let (env, _settings) = self.env(phase).await?;
        let Self { worker, build, runner, folder, stack: Some((stack, _)), .. } = self else { return Ok(false) };
        let toolchain = runner.toolchain(&worker.toolchain, &folder.beside()).await?;
        let means = Means { npm, toolchain, phase, env: &env };
        let (name, store) = (build.order.package_name.as_str(), stack.store.clone());
        let needs = Needs { store: &store, package: name, attempt: build.order.attempt, phase: &phase.name };
        let is_new = workspace::root::build(stack, script, &means, &needs, runner).await?;
        runner.view = Some(stack.view(folder));
        Ok(is_new)
    }

    /// Runs the package's own install scripts.
    pub(super) async fn prepare(&mut self, phase: &Phase, exit_code: &mut Option<i32>) -> Result<(), Failure> {
        let Some(npm) = self.npm else {
            return Err(Failure::infrastructure("this machine has no npm to run scripts by"));
        };
        for script in workspace::SCRIPTS.into_iter().filter(|script| self.manifest.has_script(script)) {
            self.run_and_fix(phase, &npm.run(script), exit_code).await?;
        }
        Ok(())
    }
}
