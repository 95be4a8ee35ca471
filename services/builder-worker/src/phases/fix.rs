//! The fix of a phase: runs where the phase failed, before it runs again.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU32, Ordering},
};

use packline_recipe::Phase;

use crate::phase::{Failure, Runner};

use super::command;

/// How a build fixes one of its phases.
pub(crate) struct Fix<'a> {
    pub(super) phase: &'a Phase,
    pub(super) env: &'a BTreeMap<String, String>,
    /// Of a whole build.
    pub(super) most: u32,
    /// In all phases of the build.
    pub(super) tried: &'a AtomicU32,
}

impl Fix<'_> {
    /// Runs it, where it may help and the build may still try; true where the phase is to run again.
    ///
    /// # Errors
    /// Where the fix fails so that the phase need not run again.
    pub(crate) async fn run(&self, runner: &mut Runner, failure: &Failure) -> Result<bool, Failure> {
        let Self { phase, env, most, tried } = *self;
        let Some(fix) = phase.fix.as_ref().filter(|_| failure.may_be_fixed()) else { return Ok(false) };
        // Nobody else counts meanwhile.
        let attempt = tried.load(Ordering::Relaxed) + 1;
        if attempt > most {
            runner.say(&phase.name, &format!("not fixed: a build may try that {most} times"));
            return Ok(false);
        }
        tried.store(attempt, Ordering::Relaxed);
        let reason = failure.first_line();
        runner.say(&phase.name, &format!("{reason}; fix {attempt} of {most}: {}", fix.join(" ")));
        let again = match command(runner, phase, fix, env).await.0 {
            Ok(()) => "fixed; running the phase again".to_owned(),
            // Whether that is enough, the phase knows.
            Err(failure) if failure.may_be_fixed() => {
                format!("the fix {}; running the phase again", failure.first_line())
            }
            Err(failure) => return Err(Failure { error: format!("its fix {}", failure.error), ..failure }),
        };
        runner.say(&phase.name, &again);
        Ok(true)
    }
}
