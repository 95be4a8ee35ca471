//! One version on its way to the registry: looked for, put, and looked for again.
//!
//! A version counts when the registry shows its integrity, and whose it is is decided by that alone. So a request
//! whose answer was lost, and one that came twice, do no harm.

use std::time::{Duration, Instant};

use packline_domain::Outcome;
use packline_npm::{Access, Client, Kind, Packument, Refusal, Unusable};
use packline_recipe::{Limits, Phase};

use crate::{
    guard::{Input, PhaseEnd, boottime_millis},
    phase::{Command, Failure, Runner, verdict},
    publish::{Done, Permits},
    put,
};

/// Seconds between looks for what the registry says it has stored.
const LOOK_AGAIN: [u64; 4] = [1, 2, 4, 8];
/// Seconds between looks for what the registry says was published before.
const LOOK_FOR_TAKEN: [u64; 2] = [1, 2];
/// The longest that a look may take.
const LOOK: Duration = Duration::from_secs(60);
/// What a look may take although the time of the phase is over: it decides what came of a request.
const LAST_LOOK: Duration = Duration::from_secs(5);
/// How much later than the helper gives up its request the guard ends it: only the helper says how far it got.
const HELPER: Duration = Duration::from_secs(5);
/// The wait before a busy registry is asked again that says nothing of one.
const BUSY: Duration = Duration::from_secs(5);
/// The shortest such wait, also where the registry names a time that is past.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);

/// What is uploaded.
pub(crate) struct Upload<'a> {
    /// The registry.
    pub(crate) access: &'a Access,
    /// Who asks.
    pub(crate) user_agent: &'a str,
    pub(crate) name: &'a str,
    /// As the registry spells it.
    pub(crate) version: &'a str,
    pub(crate) integrity: &'a str,
    /// The SHA-1 in hex, which is all that old registries show.
    pub(crate) shasum: &'a str,
    /// What earlier attempts may have published.
    pub(crate) earlier: &'a [String],
    pub(crate) phase: &'a Phase,
    /// When the phase began.
    pub(crate) started: Instant,
}

/// What goes into the request.
pub(crate) struct Request {
    pub(crate) tarball: std::path::PathBuf,
    /// The document for the registry and the tag.
    pub(crate) document: String,
}

impl Upload<'_> {
    /// Looks whether the version is there, and puts it where it is not; whether it was not. `request` is asked for
    /// what to send, and told the versions that are there.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(crate) async fn run(
        &self,
        runner: &mut Runner,
        permits: &impl Permits,
        request: impl FnOnce(Option<&Packument>) -> Result<Request, Failure>,
    ) -> Result<(Done, bool), Failure> {
        let found = self.look(runner).await?;
        if let Some(done) = self.standing(found.as_ref())? {
            runner.say(&self.phase.name, &format!("{} {} is there already, published by us", self.name, self.version));
            return Ok((done, false));
        }
        let request = request(found.as_ref())?;
        loop {
            let Some(refusal) = self.put(runner, permits, &request).await? else {
                return self.shown(runner).await.map(|done| (done, true));
            };
            match refusal.kind {
                Kind::Permanent => return Err(refused(refusal)),
                Kind::Busy { wait } => {
                    let wait = as_told(wait);
                    if wait >= self.left() {
                        return Err(refused(refusal));
                    }
                    runner.say(&self.phase.name, &format!("{}; waiting {} s", refusal.message, wait.as_secs()));
                    runner.pause(wait).await;
                }
                // Perhaps it arrived, and only the answer did not; or another attempt of ours was first.
                Kind::Exists | Kind::Unavailable | Kind::NoAnswer => {
                    let found = self.look(runner).await?;
                    return match self.standing(found.as_ref())? {
                        Some(done) => Ok(self.with_newness(done)),
                        None => Err(refused(refusal)),
                    };
                }
                Kind::Taken => {
                    return match self.look_repeatedly(runner, &LOOK_FOR_TAKEN).await? {
                        Some(done) => Ok(self.with_newness(done)),
                        None => Err(Failure::permanent(format!(
                            "{}; it is not there now, so it was unpublished: raise the version",
                            refusal.message
                        ))),
                    };
                }
            }
        }
    }

    /// What stands at the registry, and whether this build has put it there.
    fn with_newness(&self, done: Done) -> (Done, bool) {
        let is_new = done.integrity == self.integrity;
        (done, is_new)
    }

    /// What the registry has of the package; waits as told where it is busy.
    async fn look(&self, runner: &mut Runner) -> Result<Option<Packument>, Failure> {
        let client = Client::new(self.access, self.user_agent).map_err(unusable)?;
        loop {
            let look = client.look(self.name, LOOK.min(self.left().max(LAST_LOOK)));
            let Some(looked) = runner.unless_stopped(look).await else { return Err(Failure::killed()) };
            let refusal = match looked {
                Ok(found) => return Ok(found),
                Err(refusal) => refusal,
            };
            match refusal.kind {
                Kind::Busy { wait } => {
                    let wait = as_told(wait);
                    if wait >= self.left() {
                        return Err(refused(refusal));
                    }
                    runner.pause(wait).await;
                }
                _ => return Err(refused(refusal)),
            }
        }
    }

    /// What the registry has of this version, where it is ours.
    fn standing(&self, found: Option<&Packument>) -> Result<Option<Done>, Failure> {
        let Some(there) = found.and_then(|found| found.versions.get(self.version)) else { return Ok(None) };
        let known = self.earlier.iter().map(String::as_str).chain([self.integrity]);
        let ours = match &there.integrity {
            Some(_) => known.into_iter().find(|known| there.has_integrity(known)),
            None => (there.shasum.as_deref() == Some(self.shasum)).then_some(self.integrity),
        };
        if let Some(integrity) = ours {
            return Ok(Some(Done { version: self.version.to_owned(), integrity: integrity.to_owned() }));
        }
        Err(Failure::permanent(format!(
            "version {} is at the registry already, with other contents; raise the version",
            self.version
        )))
    }

    /// The same of what was put just now: some registries show it a moment later.
    async fn shown(&self, runner: &mut Runner) -> Result<Done, Failure> {
        self.look_repeatedly(runner, &LOOK_AGAIN).await?.ok_or_else(|| {
            let registry = self.access.registry();
            Failure::infrastructure(format!("{registry} took {}, and the registry does not have it", self.version))
        })
    }

    /// Looks until the version is there, with these pauses in seconds.
    async fn look_repeatedly(&self, runner: &mut Runner, pauses: &[u64]) -> Result<Option<Done>, Failure> {
        for pause in pauses.iter().copied().map(Some).chain([None]) {
            let looked = match self.look(runner).await {
                // The next look may find the registry at work again.
                Err(failure) if failure.outcome == Outcome::Infrastructure && pause.is_some() => None,
                looked => looked?,
            };
            if let Some(done) = self.standing(looked.as_ref())? {
                return Ok(Some(done));
            }
            if let Some(pause) = pause {
                runner.pause(Duration::from_secs(pause)).await;
            }
        }
        Ok(None)
    }

    /// Makes the request, below the guard, once there is time enough on the fuse.
    async fn put(
        &self,
        runner: &mut Runner,
        permits: &impl Permits,
        request: &Request,
    ) -> Result<Option<Refusal>, Failure> {
        let Some(spare) = permits.spare().await else { return Err(Failure::killed()) };
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let order = put::Order {
            access: self.access.clone(),
            user_agent: self.user_agent.to_owned(),
            name: self.name.to_owned(),
            version: self.version.to_owned(),
            document: request.document.clone(),
            tarball: request.tarball.clone(),
            integrity: self.integrity.to_owned(),
            ordered_at: boottime_millis(),
            still_millis: millis(spare),
            timeout_millis: millis(self.left()),
        };
        let mut line = serde_json::to_string(&order)
            .map_err(|error| Failure::infrastructure(format!("failed to write the request: {error}")))?;
        line.push('\n');
        let limits = Limits { timeout: self.left() + HELPER, silence: None, ..self.phase.limits.clone() };
        let command = Command {
            argv: vec![crate::guard::OWN_PROGRAM.to_owned(), crate::PUT.to_owned()],
            input: Some(Input(line)),
            spare,
            capture: true,
            logged: false,
            ..Command::new(&self.phase.name, limits.clone())
        };
        let (end, printed) = runner.command(command).await?;
        let answer = printed.captured.lines().next_back().and_then(|line| serde_json::from_str(line).ok());
        match (&end, answer) {
            (PhaseEnd::Exited { status: 0 }, Some(put::Answer { refusal })) => Ok(refusal),
            (PhaseEnd::Exited { .. } | PhaseEnd::TimedOut, _) => {
                let failed = verdict(&end, &printed, &limits, false).err().map(|failure| failure.error);
                let message = format!("the request broke off: {}", failed.unwrap_or_default());
                Ok(Some(Refusal { kind: Kind::NoAnswer, message }))
            }
            (end, _) => verdict(end, &printed, &limits, false).map(|()| None),
        }
    }

    /// Of the time of the phase.
    fn left(&self) -> Duration {
        self.phase.limits.timeout.saturating_sub(self.started.elapsed())
    }
}

/// How long a busy registry is left alone.
fn as_told(wait: Option<Duration>) -> Duration {
    wait.unwrap_or(BUSY).max(SHORTEST_WAIT)
}

/// What settings that allow no request mean for the build.
pub(crate) fn unusable(unusable: Unusable) -> Failure {
    Failure::infrastructure(unusable.to_string())
}

/// What a refusal means for the build.
pub(crate) fn refused(refusal: Refusal) -> Failure {
    match refusal.kind {
        Kind::Permanent => Failure::permanent(refusal.message),
        _ => Failure::infrastructure(refusal.message),
    }
}
