//! The stall alarm: work could start or be taken, and nothing moves.
//!
//! Decided from what the leader sees, on its own monotonic clock; a new leader looks for as long as the first.

use std::time::Duration;

use packline_domain::{
    PackageName, Timestamp,
    answer::{Stall, Stalled},
    text::counted,
};

/// How long nothing may move.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Time on the leader's monotonic clock, from any fixed point.
type Instant = Duration;

/// How things stand after what could be started was.
#[derive(Clone, Debug, Default)]
pub(crate) struct Look {
    /// How many packages are ready although builds are started, a permit and a slot are free; else 0.
    pub(crate) startable: usize,
    /// The serial of the last build that was started.
    pub(crate) serial: u64,
    /// Whether nothing may be decided before the broker has stored what was.
    pub(crate) congested: bool,
    /// Builds that are handed out and not taken, while builds are started and a worker has a free slot.
    pub(crate) untaken: Option<Untaken>,
}

/// Builds that are handed out and not taken.
#[derive(Clone, Debug)]
pub(crate) struct Untaken {
    pub(crate) builds: usize,
    /// What the one is for that was granted first, and how long ago that was.
    pub(crate) oldest: PackageName,
    pub(crate) age: Duration,
}

/// What is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Nothing has moved for [`PATIENCE`].
    Began(String),
    /// It moves again, or there is nothing left that could.
    Ended(String),
}

/// Remembers since when nothing has moved. Each stall is told once, and once that it is over.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    /// Since when something could start and nothing has, with the serial of the last build then.
    idle: Option<(Instant, u64)>,
    stalled: Option<Stalled>,
}

impl Alarm {
    /// The stall under way.
    pub(crate) fn stalled(&self) -> Option<&Stalled> {
        self.stalled.as_ref()
    }

    /// Looks at how things stand now.
    pub(crate) fn look(&mut self, now: Instant, at: Timestamp, look: &Look) -> Option<News> {
        self.idle = match self.idle {
            _ if look.startable == 0 => None,
            Some((since, serial)) if serial == look.serial => Some((since, serial)),
            _ => Some((now, look.serial)),
        };
        let not_started = self.idle.map(|(since, _)| now.saturating_sub(since)).filter(|idle| *idle >= PATIENCE);
        let not_taken = look.untaken.as_ref().filter(|untaken| untaken.age >= PATIENCE);
        let stalled = match (not_started, not_taken) {
            (Some(idle), _) => Some((Stall::NotStarted, idle, not_started_text(look))),
            (None, Some(untaken)) => Some((Stall::NotTaken, untaken.age, not_taken_text(untaken))),
            (None, None) => None,
        };
        match (&self.stalled, stalled) {
            (None, None) => None,
            (Some(told), Some((kind, ..))) if told.kind == kind => None,
            (told, Some((kind, age, text))) => {
                // One that turns into the other has lasted since it began.
                let since = told.as_ref().map_or_else(|| before(at, age), |told| told.since);
                self.stalled = Some(Stalled { since, kind, text: text.clone() });
                Some(News::Began(text))
            }
            (Some(told), None) => {
                let lasted = at.since(told.since).as_secs();
                self.stalled = None;
                Some(News::Ended(format!("the stall is over after {lasted} s")))
            }
        }
    }
}

fn not_started_text(look: &Look) -> String {
    let cause = if look.congested {
        "; the broker does not store what earlier commits are to send: look at the streams BUILDS, STATUS and EVENTS"
    } else {
        ""
    };
    format!(
        "stalled: {} {} ready, a permit and a slot are free, and nothing has started for {} s{cause}",
        counted(look.startable, "package"),
        if look.startable == 1 { "is" } else { "are" },
        PATIENCE.as_secs(),
    )
}

fn not_taken_text(untaken: &Untaken) -> String {
    format!(
        "stalled: {} {} handed out, first that of {}, workers have free slots, and none has taken it for {} s; \
         look at the consumer builders of BUILDS and at what the workers may read",
        counted(untaken.builds, "build"),
        if untaken.builds == 1 { "is" } else { "are" },
        untaken.oldest,
        PATIENCE.as_secs(),
    )
}

fn before(at: Timestamp, age: Duration) -> Timestamp {
    let millis = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(at.as_millis().saturating_sub(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packages that could start, the serial of the last build, for how many seconds nobody took an order.
    type Seen = (usize, u64, Option<u64>);
    /// What it is, what is seen at each of these seconds, what is told at which.
    type Case = (&'static str, &'static [(u64, Seen)], &'static [(u64, &'static str)]);

    const NOTHING: Seen = (0, 7, None);
    const STANDS: Seen = (3, 7, None);

    fn look((startable, serial, untaken): Seen) -> Look {
        let untaken = untaken.map(|age| Untaken {
            builds: 2,
            oldest: "@acme/core".parse().unwrap(),
            age: Duration::from_secs(age),
        });
        Look { startable, serial, congested: false, untaken }
    }

    /// What the alarm tells at each of these seconds.
    fn told(steps: &[(u64, Seen)]) -> Vec<(u64, &'static str)> {
        let mut alarm = Alarm::default();
        let mut told = Vec::new();
        for (second, seen) in steps {
            let at = Timestamp::from_millis(1_000_000 + i64::try_from(*second).unwrap() * 1000);
            match alarm.look(Duration::from_secs(*second), at, &look(*seen)) {
                Some(News::Began(text)) => {
                    let stalled = alarm.stalled().unwrap();
                    assert_eq!(stalled.text, text);
                    told.push((*second, if stalled.kind == Stall::NotStarted { "not started" } else { "not taken" }));
                }
                Some(News::Ended(_)) => {
                    assert_eq!(alarm.stalled(), None);
                    told.push((*second, "over"));
                }
                None => {}
            }
        }
        told
    }

    #[test]
    fn a_stall_is_told_once_after_thirty_seconds_and_once_that_it_is_over() {
        let cases: &[Case] = &[
            ("nothing to do", &[(0, NOTHING), (100, NOTHING)], &[]),
            ("29 s are none", &[(0, STANDS), (29, STANDS), (29, NOTHING)], &[]),
            (
                "30 s are one",
                &[(0, STANDS), (29, STANDS), (30, STANDS), (31, STANDS), (99, STANDS)],
                &[(30, "not started")],
            ),
            (
                "a start counts anew",
                &[(0, STANDS), (20, (3, 8, None)), (49, (3, 8, None)), (50, (3, 8, None))],
                &[(50, "not started")],
            ),
            (
                "no room counts anew",
                &[(0, STANDS), (20, NOTHING), (21, STANDS), (50, STANDS), (51, STANDS)],
                &[(51, "not started")],
            ),
            (
                "a start ends it",
                &[(0, STANDS), (30, STANDS), (40, (2, 8, None)), (69, (2, 8, None))],
                &[(30, "not started"), (40, "over")],
            ),
            ("a pause ends it", &[(0, STANDS), (30, STANDS), (40, NOTHING)], &[(30, "not started"), (40, "over")]),
            (
                "and a second one is told",
                &[(0, STANDS), (30, STANDS), (40, NOTHING), (41, STANDS), (71, STANDS)],
                &[(30, "not started"), (40, "over"), (71, "not started")],
            ),
            (
                "an order that nobody takes",
                &[(0, (0, 7, Some(29))), (1, (0, 7, Some(30))), (2, (0, 7, Some(31))), (3, NOTHING)],
                &[(1, "not taken"), (3, "over")],
            ),
            (
                "both are one",
                &[(0, (3, 7, Some(0))), (30, (3, 7, Some(30))), (40, (0, 7, Some(40))), (50, NOTHING)],
                &[(30, "not started"), (40, "not taken"), (50, "over")],
            ),
        ];
        for (what, steps, expected) in cases {
            assert_eq!(told(steps), *expected, "{what}");
        }
    }

    #[test]
    fn it_says_since_when_and_what_does_not_move() {
        let mut alarm = Alarm::default();
        let at = |seconds: i64| Timestamp::from_millis(1_000_000 + seconds * 1000);
        let untaken = look((0, 7, Some(31)));
        assert!(alarm.look(Duration::from_secs(50), at(50), &untaken).is_some());
        let stalled = alarm.stalled().unwrap().clone();
        assert_eq!(stalled.since, at(19));
        assert!(stalled.text.contains("2 builds are handed out, first that of @acme/core"), "{}", stalled.text);
        let congested = Look { startable: 1, congested: true, ..Look::default() };
        assert!(alarm.look(Duration::from_secs(60), at(60), &congested).is_some(), "nothing waits to be taken");
        alarm.look(Duration::from_secs(90), at(90), &congested);
        let text = &alarm.stalled().unwrap().text;
        assert!(text.contains("1 package is ready") && text.contains("the broker does not store"), "{text}");
    }
}
