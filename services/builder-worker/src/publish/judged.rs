//! Whether the code that `package.json` names is in what was packed.

use std::sync::Arc;

use packline_npm::Client;

use crate::{
    entry::Findings,
    manifest::Tarball,
    phase::{Failure, Runner},
};

use super::{LATEST, LATEST_LIMIT, Publish, WARNINGS, blocking, packed::Packed, user_agent};

impl Publish<'_> {
    /// Looks for the code that `package.json` names.
    pub(super) async fn judge(&self, runner: &mut Runner, packed: &Packed) -> Result<Judged, Failure> {
        let checked = Arc::clone(&packed.tarball);
        let found = blocking(move || Ok(checked.check())).await?;
        for warning in found.warnings.iter().take(WARNINGS) {
            runner.say(&self.phase.name, warning);
        }
        let mut refused = found.clone();
        if !found.missing.is_empty()
            && let Some(latest) = self.check_latest(runner, packed).await?
        {
            refused.forgive(&latest);
        }
        Ok(Judged { found, refused })
    }

    /// What is missing in the newest version at the user's registry; `None` where that cannot be had.
    async fn check_latest(&self, runner: &mut Runner, packed: &Packed) -> Result<Option<Findings>, Failure> {
        let access = (self.access)(&self.users_registry)?;
        let registry = access.registry();
        let says = format!("code is missing in the tarball; looking whether {}@latest at {registry} has it", self.name);
        runner.say(&self.phase.name, &says);
        let to = packed.folder.path().join("latest.tgz");
        let download = async {
            let client = Client::new(&access, &user_agent()).map_err(|unusable| unusable.to_string())?;
            let found = client.look(self.name.as_str(), LATEST).await.map_err(|refusal| refusal.message)?;
            let latest = found.and_then(|found| {
                let latest = found.tags.get("latest")?;
                found.versions.get(latest)?.tarball.clone()
            });
            match latest {
                Some(url) => {
                    let downloaded = client.download(&url, &to, LATEST_LIMIT, LATEST).await;
                    downloaded.map(|()| true).map_err(|refusal| refusal.message)
                }
                None => Ok(false),
            }
        };
        match runner.unless_stopped(download).await {
            None => return Err(Failure::killed()),
            Some(Ok(true)) => {}
            Some(Ok(false)) => return Ok(None),
            Some(Err(why)) => {
                runner.say(&self.phase.name, &why);
                return Ok(None);
            }
        }
        match blocking(move || Tarball::check_any(&to)).await {
            Ok(findings) => Ok(Some(findings)),
            Err(failure) if failure.retry => Err(failure),
            Err(_) => Ok(None),
        }
    }
}

/// What a look for code has found in a tarball.
pub(super) struct Judged {
    found: Findings,
    /// The same without what was so before.
    refused: Findings,
}

impl Judged {
    pub(super) fn is_refused(&self) -> bool {
        self.refused.refusal().is_some()
    }

    /// Refuses a tarball without the code that its `package.json` names, unless that was so before.
    pub(super) fn settle(&self, say: impl Fn(&str), warnings: &mut Vec<String>) -> Result<(), Failure> {
        warnings.extend(self.found.warnings.iter().take(WARNINGS).cloned());
        if let Some(refusal) = self.refused.refusal() {
            return Err(Failure::permanent(refusal));
        }
        let lacking = self.found.missing.iter().take(WARNINGS);
        for warning in lacking.map(|missing| format!("{missing}, as in the version that is published")) {
            say(&warning);
            warnings.push(warning);
        }
        Ok(())
    }
}
