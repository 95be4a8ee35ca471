//! When `--once` is over, and what it says then: pure decisions over records and what the workspace holds.

use std::collections::BTreeMap;

use packline_domain::{Mode, Timestamp, record::Control, text::published};
use packline_packages_api::scan::Found;

use crate::view::{board::Board, standing::Standing, standings::Standings};

/// A version that is not built after so many polls will not be: the last of them began after the first had shown.
const POLLS: u32 = 3;

/// What the workspace holds, as it was looked at last.
#[derive(Clone, Debug, Default)]
pub(super) struct Held {
    /// Its packages, each with its version where it names one.
    pub(super) versions: BTreeMap<String, Option<String>>,
    /// Folders that should be packages and were not understood.
    pub(super) left_out: Vec<String>,
    /// Those that are published by the word of the catalogue, each with whether it is private: the queue forgets what
    /// was published long ago.
    pub(super) published: BTreeMap<String, bool>,
    /// Since when it holds just these.
    pub(super) since: Timestamp,
}

impl Held {
    /// As a scan found it at `now`.
    pub(super) fn of(found: &Found, published: BTreeMap<String, bool>, now: Timestamp) -> Self {
        let version = |extra: &serde_json::Map<String, serde_json::Value>| {
            extra.get("version").and_then(serde_json::Value::as_str).map(str::to_owned)
        };
        let packages = found.packages.iter();
        Self {
            versions: packages.map(|package| (package.name.to_string(), version(&package.extra))).collect(),
            left_out: found.left_out.iter().map(packline_workspace::shown).collect(),
            published,
            since: now,
        }
    }

    /// Takes in what a later scan found.
    pub(super) fn renew(&mut self, newer: Self) {
        let since = if newer.versions == self.versions { self.since } else { newer.since };
        *self = Self { since, ..newer };
    }

    /// The version of a package, where it names one.
    fn version(&self, name: &str) -> Option<&str> {
        self.versions.get(name)?.as_deref()
    }

    /// Those that are not published, or in another version than the one that stands here.
    pub(super) fn missing(&self, board: &Board) -> Vec<&str> {
        let standings = Standings::of(board);
        let is_missing = |name: &&str| match standings.get(name) {
            Some(standing) => !standing.is_published_as(self.version(name)),
            None => !self.published.contains_key(*name),
        };
        self.versions.keys().map(String::as_str).filter(is_missing).collect()
    }

    /// What can be said when none is missing.
    pub(super) fn all_done(&self, board: &Board) -> String {
        let standings = Standings::of(board);
        let is_private = |name: &&String| match standings.get(name) {
            Some(standing) => matches!(standing, Standing::Published { private: true, .. }),
            None => self.published.get(*name).is_some_and(|private| *private),
        };
        let (all, private) = (self.versions.len(), self.versions.keys().filter(is_private).count());
        let what = published(private == all && all > 0);
        match (all, all - private) {
            (1, _) => format!("The package is {what}."),
            (_, public) if public == 0 || public == all => format!("All {all} packages are {what}."),
            (_, public) => {
                format!("All {all} packages are done: {public} {}, {private} {}.", published(false), published(true))
            }
        }
    }

    /// Those that are published in another version than the one that stands here.
    fn outdated(&self, board: &Board) -> Vec<(String, Standing)> {
        let standings = Standings::of(board);
        let published = |name: &&str| matches!(standings.get(name), Some(Standing::Published { .. }));
        let outdated = self.missing(board).into_iter().filter(published);
        outdated.filter_map(|name| Some((name.to_owned(), standings.get(name)?.clone()))).collect()
    }
}

/// Waits for versions that were found too late for the poll before: the next one brings them.
#[derive(Debug, Default)]
pub(super) struct Patience {
    judged: Option<Timestamp>,
    outdated: Vec<(String, Standing)>,
    polls: u32,
}

impl Patience {
    /// Whether this poll has not been judged yet.
    pub(super) fn is_news(&self, poll: Timestamp) -> bool {
        self.judged != Some(poll)
    }

    /// Whether it is over, when nothing was left to do after this poll.
    pub(super) fn is_over(&mut self, poll: Timestamp, held: &Held, board: &Board) -> bool {
        let outdated = held.outdated(board);
        self.polls = if outdated == self.outdated { self.polls + 1 } else { 1 };
        (self.judged, self.outdated) = (Some(poll), outdated);
        self.outdated.is_empty() || self.polls >= POLLS
    }
}

/// Who has halted the line, and how it goes on; `None` while it runs.
pub(super) fn halted(control: &Control, broker: &str) -> Option<String> {
    let how = match control.mode {
        Mode::Running | Mode::Draining | Mode::Drained => return None,
        Mode::Paused => "paused",
        Mode::Stopped => "stopped",
    };
    let plain = |text: &String| text.chars().filter(|char| !char.is_control()).collect::<String>();
    let by = control.origin.by.as_ref().map(|by| format!(" by {}", plain(by))).unwrap_or_default();
    let why = control.origin.reason.as_ref().map(|why| format!(" ({})", plain(why))).unwrap_or_default();
    Some(format!("The line is {how}{by}{why}; it goes on with: nats -s {broker} pub control.resume ''"))
}

/// What can be done about packages that failed; `None` where none did.
pub(super) fn remedy(missing: &[&str], board: &Board, broker: &str) -> Option<String> {
    let standings = Standings::of(board);
    let failed = |name: &&&str| matches!(standings.get(name), Some(Standing::Failed { .. }));
    missing.iter().find(failed)?;
    Some(format!(
        "What failed is built again when its version is raised, or, while `packline up` runs, with: \
         nats -s {broker} pub control.requeue '{{\"all\":\"failed\"}}'"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use packline_domain::control::{Command, Origin};
    use serde_json::{Value, json};

    const BROKER: &str = "nats://127.0.0.1:4222";

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn held(versions: &[(&str, Option<&str>)]) -> Held {
        let owned = |(name, version): &(&str, Option<&str>)| ((*name).to_owned(), version.map(str::to_owned));
        Held { versions: versions.iter().map(owned).collect(), ..Held::default() }
    }

    fn board(packages: &[(&str, Value)]) -> Board {
        let mut board = Board::default();
        for (name, state) in packages {
            let mut record = json!({ "package": { "name": name }, "arrival": 1, "commit": 1,
                "queuedAt": at(0), "announcedAt": at(0) });
            record.as_object_mut().unwrap().extend(state.as_object().unwrap().clone());
            board.note(&format!("queue.{name}"), Some(record.to_string().as_bytes())).unwrap();
        }
        board
    }

    fn published(version: Option<&str>) -> Value {
        version.map_or(json!({ "state": "published" }), |version| json!({ "state": "published", "version": version }))
    }

    #[test]
    fn published_is_what_is_published_in_the_version_of_the_workspace_where_both_are_known() {
        let held = held(&[("a", Some("1.1.0")), ("b", Some("1.0.0")), ("c", None), ("d", Some("1.0.0")), ("e", None)]);
        let board = board(&[
            ("a", published(Some("1.0.0"))),
            ("b", published(Some("1.0.0"))),
            ("c", published(Some("1.0.0"))),
            ("d", published(None)),
            ("f", json!({ "state": "failed", "error": "" })),
        ]);
        assert_eq!(held.missing(&board), ["a", "e"]);
    }

    #[test]
    fn what_the_queue_has_forgotten_is_published_where_the_catalogue_says_so() {
        let mut held = held(&[("a", Some("1.0.0")), ("b", Some("1.0.0")), ("c", Some("1.0.0"))]);
        held.published = ["a", "c"].map(|name| (name.to_owned(), false)).into();
        let board = board(&[("c", json!({ "state": "queued" }))]);
        assert_eq!(held.missing(&board), ["b", "c"], "what is in the queue is as the queue says");
    }

    #[test]
    fn what_is_private_is_built_and_not_published() {
        let private = json!({ "state": "published", "version": "1.0.0", "private": true });
        let done = |all: &[(&str, Value)]| {
            let names: Vec<_> = all.iter().map(|(name, _)| (*name, Some("1.0.0"))).collect();
            held(&names).all_done(&board(all))
        };
        let public = || published(Some("1.0.0"));
        assert_eq!(done(&[("a", public())]), "The package is published.");
        assert_eq!(done(&[("a", private.clone())]), "The package is built (private).");
        assert_eq!(done(&[("a", public()), ("b", public())]), "All 2 packages are published.");
        assert_eq!(done(&[("a", private.clone()), ("b", private.clone())]), "All 2 packages are built (private).");
        assert_eq!(
            done(&[("a", public()), ("b", public()), ("c", private.clone())]),
            "All 3 packages are done: 2 published, 1 built (private)."
        );
        let mut held = held(&[("a", Some("1.0.0")), ("b", Some("1.0.0"))]);
        held.published = [("a".to_owned(), true), ("b".to_owned(), true)].into();
        assert_eq!(
            held.all_done(&board(&[("b", public())])),
            "All 2 packages are done: 1 published, 1 built (private)."
        );
        assert_eq!(held.all_done(&board(&[])), "All 2 packages are built (private).");
    }

    #[test]
    fn a_version_found_too_late_for_a_poll_is_waited_for_as_long_as_a_poll_can_bring_it() {
        let held = held(&[("a", Some("1.1.0"))]);
        let (old, new) = (board(&[("a", published(Some("1.0.0")))]), board(&[("a", published(Some("1.1.0")))]));
        let mut patience = Patience::default();
        assert!(!patience.is_over(at(5), &held, &old));
        assert!(!patience.is_news(at(5)) && patience.is_news(at(10)));
        assert!(patience.is_over(at(10), &held, &new));
        let mut patience = Patience::default();
        let decided = [5, 10, 15].map(|poll| patience.is_over(at(poll), &held, &old));
        assert_eq!(decided, [false, false, true], "a build that publishes another version would go on for ever");
    }

    #[test]
    fn only_another_version_or_package_is_a_change_of_what_the_workspace_holds() {
        let mut now = held(&[("a", Some("1.0.0"))]);
        now.renew(Held { since: at(5), ..held(&[("a", Some("1.0.0"))]) });
        assert_eq!(now.since, at(0));
        now.renew(Held { since: at(10), ..held(&[("a", Some("1.0.1"))]) });
        assert_eq!((now.since, now.version("a")), (at(10), Some("1.0.1")));
    }

    #[test]
    fn who_halted_the_line_is_said_with_the_command_that_lets_it_go_on() {
        let control = |mode: &str, origin: Value| -> Control {
            let mut record = json!({ "mode": mode, "maxConcurrent": 4, "since": at(0), "complete": true });
            record.as_object_mut().unwrap().extend(origin.as_object().unwrap().clone());
            serde_json::from_value(record).unwrap()
        };
        let paused = control("paused", json!({ "by": "ops\u{1b}[2J", "reason": "the disk is full" }));
        assert_eq!(
            halted(&paused, BROKER).unwrap(),
            "The line is paused by ops[2J (the disk is full); it goes on with: \
             nats -s nats://127.0.0.1:4222 pub control.resume ''"
        );
        assert!(halted(&control("stopped", json!({})), BROKER).unwrap().starts_with("The line is stopped; it goes on"));
        assert_eq!(halted(&control("running", json!({})), BROKER), None);
    }

    #[test]
    fn the_remedy_for_what_failed_is_a_command_that_the_orchestrator_takes() {
        let board = board(&[("a", json!({ "state": "failed", "error": "" })), ("b", json!({ "state": "queued" }))]);
        assert_eq!(remedy(&["b"], &board, BROKER), None);
        let line = remedy(&["a", "b"], &board, BROKER).unwrap();
        let body = line.split('\'').nth(1).unwrap();
        assert_eq!(Command::parse("requeue", body.as_bytes()), Ok((Command::RequeueFailed, Origin::default())));
    }
}
