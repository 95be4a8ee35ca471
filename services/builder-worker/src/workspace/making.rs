//! Finding a layer, waiting for whoever makes it, or making it.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use packline_domain::Outcome;
use packline_layers::{Begin, Draft, Key, Layer, Store};

use crate::{
    phase::{Failure, Runner},
    phases::Fix,
    table::Build,
    worker::Worker,
};

use super::root::empty;

/// With a maker that shows no sign of life.
const LEAST_TIMEOUT: Duration = Duration::from_secs(5);

/// Who needs a layer.
#[derive(Clone, Copy)]
pub(crate) struct Needs<'a> {
    pub(crate) store: &'a Store,
    pub(crate) worker: &'a Worker,
    pub(crate) build: &'a Build,
    /// The phase, for the log.
    pub(crate) phase: &'a str,
    /// What may help where the layer cannot be made.
    pub(crate) fix: Option<&'a Fix<'a>>,
}

/// A layer, and whether this build made it.
pub(crate) struct Found {
    pub(crate) layer: Layer,
    pub(crate) is_new: bool,
}

impl Needs<'_> {
    /// The layer of `key`; `what` names it for people. `make` fills a draft, below the guard of the build. A failure of
    /// the layer's own is remembered for a while, and is permanent for each package that needs it meanwhile.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(crate) async fn layer(
        &self,
        key: &Key,
        what: &str,
        runner: &mut Runner,
        make: impl AsyncFnOnce(&mut Runner, &mut Draft) -> Result<(), Failure>,
    ) -> Result<Found, Failure> {
        self.check_failed(key, what).await?;
        let mut is_said = false;
        let mut draft = loop {
            match self.blocking(key, Store::begin).await? {
                Begin::Found(layer) => return Ok(Found { layer, is_new: false }),
                // Another build may have failed since the last look.
                Begin::Make(draft) => match self.check_failed(key, what).await {
                    Ok(()) => break draft,
                    Err(failed) => {
                        drop_draft(draft).await;
                        return Err(failed);
                    }
                },
                Begin::Busy => {}
            }
            if !is_said {
                runner.say(self.phase, &format!("waiting for another build, which makes {what}"));
                is_said = true;
            }
            self.set_waiting_for(Some(what));
            let waited = self.wait(key, runner).await;
            self.set_waiting_for(None);
            waited?;
            self.check_failed(key, what).await?;
        };
        match make(runner, &mut draft).await {
            Ok(()) => {}
            Err(failure) if is_own(&failure) => {
                let reason = format!("{what} failed: {}", failure.error);
                let (package, build) = self.package_and_build();
                let remembered = self.blocking(key, move |store, key| {
                    store.remember_failure(key, &reason, SystemTime::now())?;
                    store.note_failed_package(key, &package, &build)
                });
                remembered.await?;
                drop_draft(draft).await;
                return Err(Failure { error: format!("{what} failed: {}", failure.error), retry: false, ..failure });
            }
            Err(failure) => {
                drop_draft(draft).await;
                return Err(failure);
            }
        }
        let finished = tokio::task::spawn_blocking(move || draft.finish()).await;
        let layer = finished.map_err(io::Error::other).flatten().map_err(|error| machine(&error))?;
        Ok(Found { layer, is_new: true })
    }

    /// Runs the fix of the phase where filling the draft failed, and empties it: it is to be filled again. Others wait
    /// meanwhile.
    ///
    /// # Errors
    /// The failure, where no fix was run; or that of the fix.
    pub(crate) async fn fix(&self, failure: Failure, draft: &mut Draft, runner: &mut Runner) -> Result<(), Failure> {
        let is_fixed = match self.fix {
            Some(fix) => fix.run(runner, &failure).await?,
            None => false,
        };
        if !is_fixed {
            return Err(failure);
        }
        draft.note(Vec::new());
        let folders = [draft.path(), draft.work()];
        let emptied = tokio::task::spawn_blocking(move || folders.iter().try_for_each(|folder| empty(folder))).await;
        emptied.map_err(io::Error::other).flatten().map_err(|error| machine(&error))
    }

    /// Refuses what failed a moment ago, unless somebody asked for this package again since. A build may look more than
    /// once.
    async fn check_failed(&self, key: &Key, what: &str) -> Result<(), Failure> {
        let Some(failed) = self.blocking(key, |store, key| store.failed(key, SystemTime::now())).await? else {
            return Ok(());
        };
        let (package, build) = self.package_and_build();
        if self.build.order.attempt == 1 && failed.failed_before(&package, &build) {
            tracing::info!(package, "trying {what} again, although it failed");
            return self.blocking(key, Store::forget_failure).await;
        }
        self.blocking(key, move |store, key| store.note_failed_package(key, &package, &build)).await?;
        Err(Failure::permanent(failed.reason))
    }

    /// The package that is built, and in which build.
    fn package_and_build(&self) -> (String, String) {
        let order = &self.build.order;
        (order.package_name.to_string(), order.build_id.to_string())
    }

    /// Has the heartbeat say it.
    fn set_waiting_for(&self, what: Option<&str>) {
        self.build.set_waiting_for(what);
        self.worker.changed.notify_one();
    }

    async fn wait(&self, key: &Key, runner: &mut Runner) -> Result<(), Failure> {
        let stop = Arc::new(AtomicBool::new(false));
        let waiting = self.blocking(key, {
            let stop = Arc::clone(&stop);
            // The fuse of a worker that is frozen has blown by then, so no process makes the layer.
            let timeout = self.build.life.claim().max(LEAST_TIMEOUT);
            move |store, key| store.wait(key, &stop, timeout)
        });
        match runner.unless_stopped(waiting).await {
            Some(waited) => waited.map(drop),
            None => {
                stop.store(true, Ordering::Relaxed);
                Err(Failure::killed())
            }
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        key: &Key,
        work: impl FnOnce(&Store, &Key) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Failure> {
        let (store, key) = (self.store.clone(), key.clone());
        let done = tokio::task::spawn_blocking(move || work(&store, &key)).await;
        done.map_err(io::Error::other).flatten().map_err(|error| machine(&error))
    }
}

async fn drop_draft(draft: Draft) {
    let _ = tokio::task::spawn_blocking(move || drop(draft)).await;
}

/// Whether something failed by its own fault: not by this machine's, and nobody stopped the build.
pub(crate) fn is_own(failure: &Failure) -> bool {
    !failure.killed && matches!(failure.outcome, Outcome::Failed | Outcome::TimedOut)
}

/// The cache folder cannot be used.
pub(crate) fn machine(error: &io::Error) -> Failure {
    Failure::infrastructure(format!("the cache of this machine failed: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_or_takes_too_long_does_so_by_its_own_fault() {
        let timed_out = Failure { outcome: Outcome::TimedOut, ..Failure::own("") };
        for own in [Failure::own(""), Failure::permanent(""), timed_out] {
            assert!(is_own(&own), "{own:?}");
            assert!(!is_own(&Failure { killed: true, ..own }));
        }
        for other in [Failure::infrastructure(""), Failure::killed()] {
            assert!(!is_own(&other), "{other:?}");
        }
    }
}
