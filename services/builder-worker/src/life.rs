//! One name of this worker in the bucket `workers`, from its first heartbeat until its fuse blows.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::watch;

use crate::guard::boottime_millis;

/// CLAIM before any leader has written one.
const FIRST_CLAIM: Duration = Duration::from_secs(30);

/// A name, and until when the leader is sure not to count it as lost.
#[derive(Debug)]
pub(crate) struct Life {
    /// `<host>-<random>`, without dots.
    pub(crate) name: String,
    /// On CLOCK_BOOTTIME, in milliseconds; 0 before the first confirmed heartbeat. Guards follow it.
    fuse: watch::Sender<u64>,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    /// CLAIM that the next heartbeat names.
    claim: Duration,
    /// When the last confirmed heartbeat was sent, and the CLAIM that it named.
    confirmed: Option<(u64, Duration)>,
    /// Once blown it stays blown.
    blown: bool,
}

impl Life {
    /// A life under a new name. `claim` is that of the one before.
    pub(crate) fn new(host: &str, claim: Option<Duration>) -> Self {
        let state = State { claim: claim.unwrap_or(FIRST_CLAIM), confirmed: None, blown: false };
        let name = format!("{host}-{:08x}", fastrand::u32(..));
        Self { name, fuse: watch::Sender::new(0), state: Mutex::new(state) }
    }

    /// CLAIM that the next heartbeat obeys.
    pub(crate) fn claim(&self) -> Duration {
        self.state().claim
    }

    /// Obeys this CLAIM from the next heartbeat on; whether it is another one than before.
    pub(crate) fn obey(&self, claim: Duration) -> bool {
        let claim = claim.max(Duration::from_millis(100));
        std::mem::replace(&mut self.state().claim, claim) != claim
    }

    /// A heartbeat that names `claim` is sent at `sent`. The leader may count by a shorter one as soon as it is stored,
    /// confirmed or not: so does the fuse from now on.
    pub(crate) fn send(&self, sent: u64, claim: Duration) {
        self.fuse.send_if_modified(|fuse| {
            let blows = sent + millis(claim * 3 / 4);
            let is_later = *fuse > blows;
            if is_later {
                *fuse = blows;
            }
            is_later
        });
    }

    /// A heartbeat that was sent at `sent` and named `claim` was confirmed. It comes too late for a life
    /// that is over.
    pub(crate) fn confirm(&self, sent: u64, claim: Duration) {
        let mut state = self.state();
        if state.blown || self.is_over(&state) {
            return;
        }
        state.confirmed = Some((sent, claim));
        self.fuse.send_replace(sent + millis(claim * 3 / 4));
    }

    /// The fuse, for a guard.
    pub(crate) fn fuse(&self) -> watch::Receiver<u64> {
        self.fuse.subscribe()
    }

    /// How long until the fuse blows; `None` before the first confirmed heartbeat.
    pub(crate) fn left(&self) -> Option<Duration> {
        let fuse = *self.fuse.borrow();
        (fuse != 0).then(|| Duration::from_millis(fuse.saturating_sub(boottime_millis())))
    }

    /// A quarter of CLAIM, where the fuse leaves more than that: time enough to begin what nobody can take back.
    pub(crate) fn spare(&self) -> Option<Duration> {
        let spare = self.claim() / 4;
        self.left().is_some_and(|left| left > spare).then_some(spare)
    }

    /// Whether three quarters of CLAIM have passed since the last confirmed heartbeat was sent.
    pub(crate) fn is_blown(&self) -> bool {
        let mut state = self.state();
        state.blown |= self.is_over(&state);
        state.blown
    }

    /// Whether a heartbeat was confirmed within half of CLAIM: only then orders are taken.
    pub(crate) fn is_fresh(&self) -> bool {
        let state = self.state();
        !state.blown
            && state.confirmed.is_some_and(|(sent, claim)| boottime_millis().saturating_sub(sent) < millis(claim / 2))
    }

    fn is_over(&self, state: &State) -> bool {
        state.confirmed.is_some() && boottime_millis() >= *self.fuse.borrow()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The host's name as part of a key: no dots.
pub(crate) fn host() -> String {
    let name = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).take(60).collect();
    let plain = plain.trim_matches('-');
    if plain.is_empty() { "worker".to_owned() } else { plain.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_begins_with_a_confirmed_heartbeat_and_ends_for_ever() {
        let life = Life::new("host", Some(Duration::from_millis(400)));
        assert!(!life.is_fresh() && !life.is_blown() && life.left().is_none());
        life.confirm(boottime_millis(), life.claim());
        assert!(life.is_fresh() && !life.is_blown());
        let long_ago = Life::new("host", Some(Duration::from_millis(400)));
        long_ago.confirm(boottime_millis() - 250, long_ago.claim());
        assert!(!long_ago.is_fresh() && !long_ago.is_blown());
        long_ago.confirm(boottime_millis() - 350, long_ago.claim());
        assert!(long_ago.is_blown());
        long_ago.confirm(boottime_millis(), long_ago.claim());
        assert!(long_ago.is_blown() && !long_ago.is_fresh());
    }

    #[test]
    fn there_is_time_to_spare_until_a_quarter_of_claim_before_the_fuse() {
        let life = Life::new("host", Some(Duration::from_secs(60)));
        assert_eq!(life.spare(), None, "no heartbeat is confirmed");
        life.confirm(boottime_millis() - 29_000, life.claim());
        assert_eq!(life.spare(), Some(Duration::from_secs(15)), "it blows in 16 s");
        life.confirm(boottime_millis() - 31_000, life.claim());
        assert_eq!(life.spare(), None, "it blows in 14 s");
    }

    #[test]
    fn a_heartbeat_counts_with_the_claim_that_it_named() {
        let life = Life::new("host", Some(Duration::from_secs(30)));
        life.confirm(boottime_millis(), life.claim());
        assert!(life.obey(Duration::from_secs(3)));
        assert!(!life.obey(Duration::from_secs(3)), "nothing new");
        assert!(life.left().unwrap() > Duration::from_secs(20));
        life.send(boottime_millis(), life.claim());
        assert!(life.left().unwrap() < Duration::from_secs(3), "stored before it is confirmed");
        life.confirm(boottime_millis(), life.claim());
        assert!(life.left().unwrap() < Duration::from_secs(3));
        assert!(life.obey(Duration::from_secs(30)));
        life.send(boottime_millis(), life.claim());
        assert!(life.left().unwrap() < Duration::from_secs(3), "a longer one counts when it is confirmed");
    }
}
