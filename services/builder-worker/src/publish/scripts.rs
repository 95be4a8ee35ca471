//! The scripts of a publish, run as the package manager runs them.

use std::time::Instant;

use serde_json::Value;

use crate::{
    package_manager::{PREPARE, PackageManager},
    phase::{Command, Failure, Runner, verdict},
    script::{Context, Event, Script},
};

use super::Publish;

impl Publish<'_> {
    /// The scripts before the pack; `package.json` as npm reads it before `prepack`.
    pub(super) async fn scripts_before_pack(&self, runner: &mut Runner, started: Instant) -> Result<Value, Failure> {
        if let Some(package_manager) = self.package_manager {
            let before = package_manager.scripts_of_publish().before.iter();
            self.scripts_of_manager(
                package_manager,
                before.filter(|script| **script != PREPARE || !self.is_prepared),
                runner,
                started,
            )
            .await?;
            return self.read();
        }
        // npm reads `package.json` as often: each script may have changed it.
        self.script(runner, Event::PrepublishOnly, &self.read()?, started).await?;
        let to_pack = self.read()?;
        self.script(runner, Event::Prepack, &to_pack, started).await?;
        if !self.is_prepared {
            self.script(runner, Event::Prepare, &self.read()?, started).await?;
        }
        Ok(to_pack)
    }

    /// The scripts after the pack; `to_pack` is what [`Self::scripts_before_pack`] answered.
    pub(super) async fn scripts_after_pack(
        &self,
        runner: &mut Runner,
        integrity: &str,
        to_pack: &Value,
        started: Instant,
    ) -> Result<(), Failure> {
        match self.package_manager {
            Some(package_manager) => {
                self.scripts_of_manager(
                    package_manager,
                    package_manager.scripts_of_publish().after_pack.iter(),
                    runner,
                    started,
                )
                .await
            }
            None => self.script(runner, Event::Postpack { integrity }, to_pack, started).await,
        }
    }

    /// The scripts for a version that is published. Whatever comes of them, it is.
    pub(super) async fn scripts_after_publish(&self, runner: &mut Runner, started: Instant) -> Result<(), Failure> {
        if let Some(package_manager) = self.package_manager {
            return self
                .scripts_of_manager(package_manager, package_manager.scripts_of_publish().after.iter(), runner, started)
                .await;
        }
        let manifest = self.read()?;
        self.script(runner, Event::Publish, &manifest, started).await?;
        self.script(runner, Event::Postpublish, &manifest, started).await
    }

    /// Scripts that the manager runs itself, where the package has them; they see no token.
    async fn scripts_of_manager(
        &self,
        package_manager: &PackageManager,
        scripts: impl Iterator<Item = &&'static str>,
        runner: &mut Runner,
        started: Instant,
    ) -> Result<(), Failure> {
        for script in scripts {
            if self.npm.ignore_scripts || !has_script(&self.read()?, script) {
                continue;
            }
            let command = Command { argv: package_manager.run_only(script), ..self.bare(started) };
            let (end, printed) = runner.command(command).await?;
            verdict(&end, &printed, &self.phase.limits, false)
                .map_err(|failure| Failure { error: format!("{script}: {}", failure.error), ..failure })?;
        }
        Ok(())
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
        if !has_script(manifest, name) {
            return Ok(());
        }
        let mut base = runner.env.clone();
        base.extend(self.phase.env.clone());
        let toolchain = runner.toolchain(self.toolchains, &self.beside).await?;
        let context = Context { folder: self.package, base: &base, npm: self.npm, toolchain: &toolchain };
        let Some(script) = Script::new(manifest, event, &context) else { return Ok(()) };
        for line in script.banner.iter().filter(|line| !line.is_empty()) {
            runner.say(&self.phase.name, line);
        }
        let command = Command { argv: script.argv, env: &script.env, ..self.bare(started) };
        let (end, printed) = runner.command(command).await?;
        verdict(&end, &printed, &self.phase.limits, false)
            .map_err(|failure| Failure { error: format!("{name}: {}", failure.error), ..failure })
    }
}

fn has_script(manifest: &Value, name: &str) -> bool {
    manifest.get("scripts").is_some_and(|scripts| scripts.get(name).is_some_and(Value::is_string))
}
