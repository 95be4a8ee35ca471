//! A log as a person reads it: phases that passed in one line each, the one that failed or runs open.

use packline_domain::{
    LogEntry, Outcome,
    message::{PhaseReport, PhaseStatus},
    text::published,
};

use crate::operator::{clean::Cleaner, shown::counted};

/// How a log is shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Style {
    /// With the colours of the build, and our own.
    pub(super) colours: bool,
    /// All phases with their lines.
    pub(super) open: bool,
    /// The lines of this phase, and nothing else.
    pub(super) only: Option<String>,
}

/// Takes the messages of one log, and says what is shown of them.
pub(super) struct Folded {
    style: Style,
    cleaner: Cleaner,
    /// Whether what comes now happens now.
    live: bool,
    phase: Option<Phase>,
    /// The phases there were.
    pub(super) phases: Vec<String>,
    /// How the build ended, once that is known.
    pub(super) over: Option<Outcome>,
}

struct Phase {
    name: String,
    lines: usize,
    /// What is not shown yet.
    kept: Vec<String>,
    /// Whether its lines are shown.
    open: bool,
}

impl Folded {
    pub(super) fn new(style: Style) -> Self {
        let cleaner = Cleaner::new(style.colours);
        Self { style, cleaner, live: false, phase: None, phases: Vec::new(), over: None }
    }

    /// What is shown of the next message.
    pub(super) fn take(&mut self, entry: &LogEntry, body: &[u8]) -> Vec<String> {
        match entry {
            LogEntry::Began { phase } => {
                let mut shown = self.enter(phase);
                if self.live {
                    shown.extend(self.open());
                }
                shown
            }
            LogEntry::Lines { phase } => {
                let mut shown = self.enter(phase);
                for line in body.split(|byte| *byte == b'\n') {
                    let line = self.cleaner.line(line);
                    let Some(phase) = &mut self.phase else { continue };
                    phase.lines += 1;
                    if phase.open { shown.push(line) } else { phase.kept.push(line) }
                }
                shown
            }
            LogEntry::Ended(report) => {
                let mut shown = self.enter(&report.name);
                shown.extend(self.leave(report));
                shown
            }
            LogEntry::Over { outcome, private } => {
                let mut shown = self.open();
                self.over = Some(*outcome);
                let why = self.cleaner.line(body);
                let (mark, colour) = if *outcome == Outcome::Published { ("✓", GREEN) } else { ("✗", RED) };
                let why = if why.is_empty() { String::new() } else { format!(": {why}") };
                let word = outcome_word(*outcome, *private);
                shown.extend(self.word(&format!("{mark} {word}{why}"), colour));
                self.phase = None;
                shown
            }
        }
    }

    /// All of the past is said: what runs is shown with all its lines.
    pub(super) fn go_live(&mut self) -> Vec<String> {
        self.live = true;
        self.open()
    }

    /// So many messages are not there.
    pub(super) fn missing(&mut self, count: u64) -> Vec<String> {
        let mut shown = self.open();
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        shown.extend(
            self.word(&format!("… {} of the log not stored, or not kept any more", counted(count, "piece")), DIM),
        );
        shown
    }

    fn enter(&mut self, name: &str) -> Vec<String> {
        if self.phase.as_ref().is_some_and(|phase| phase.name == name) {
            return Vec::new();
        }
        // A phase whose end is not said was broken off.
        let mut shown = self.open();
        self.phases.push(name.to_owned());
        self.phase = Some(Phase { name: name.to_owned(), lines: 0, kept: Vec::new(), open: false });
        let wanted = self.style.only.as_ref().is_none_or(|only| only == name);
        if wanted && (self.style.open || self.style.only.is_some()) {
            shown.extend(self.open());
        }
        shown
    }

    /// Shows what was kept of the current phase, and from now on each of its lines.
    fn open(&mut self) -> Vec<String> {
        let hidden =
            |phase: &&mut Phase| !phase.open && self.style.only.as_ref().is_none_or(|only| *only == phase.name);
        let Some(phase) = self.phase.as_mut().filter(hidden) else { return Vec::new() };
        phase.open = true;
        let kept = std::mem::take(&mut phase.kept);
        let head = format!("▶ {}", phase.name);
        self.word(&head, BOLD).into_iter().chain(kept).collect()
    }

    fn leave(&mut self, report: &PhaseReport) -> Vec<String> {
        self.cleaner = Cleaner::new(self.style.colours);
        let failed = !matches!(report.status, PhaseStatus::Passed | PhaseStatus::Skipped) && !report.warning;
        let mut shown = if failed { self.open() } else { Vec::new() };
        let Some(phase) = self.phase.take() else { return shown };
        let name = &phase.name;
        let took = format!("{:.1} s", report.seconds);
        let lines = counted(phase.lines, "line");
        let exit = report.exit_code.map(|code| format!(", exit status {code}")).unwrap_or_default();
        let reason = report.reason.as_ref().map(|reason| self.cleaner.line(reason.as_bytes()));
        // A worker of an earlier release says why as a line alone.
        let why = phase.kept.last().cloned().unwrap_or_default();
        shown.extend(match report.status {
            PhaseStatus::Passed => self.word(&format!("✓ {name} {took}, {lines}"), GREEN),
            PhaseStatus::Skipped => match reason {
                Some(reason) => self.word(&format!("- {name} skipped ({reason})"), DIM),
                None if why.is_empty() => self.word(&format!("- {name} skipped"), DIM),
                None => self.word(&format!("- {name} {why}"), DIM),
            },
            PhaseStatus::Failed if report.warning => {
                self.word(&format!("! {name} failed{exit}, {took}, {lines}; a warning"), YELLOW)
            }
            PhaseStatus::Failed => self.word(&format!("✗ {name} failed{exit}, {took}, {lines}"), RED),
            PhaseStatus::TimedOut => self.word(&format!("✗ {name} timed out, {took}, {lines}"), RED),
            PhaseStatus::Killed => self.word(&format!("✗ {name} killed, {took}, {lines}"), RED),
        });
        shown
    }

    /// A line of our own; none where only the lines of a phase are wanted.
    fn word(&self, text: &str, colour: &str) -> Option<String> {
        match (&self.style.only, self.style.colours) {
            (Some(_), _) => None,
            (None, true) => Some(format!("{colour}{text}\x1b[0m")),
            (None, false) => Some(text.to_owned()),
        }
    }
}

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[31m";
const YELLOW: &str = "\x1b[33m";

/// `published`, `timed out`, …
pub(super) fn outcome_word(outcome: Outcome, private: bool) -> &'static str {
    match outcome {
        Outcome::Published => published(private),
        Outcome::Failed => "failed",
        Outcome::TimedOut => "timed out",
        Outcome::Cancelled => "cancelled",
        Outcome::Infrastructure => "failed for want of its machine",
        Outcome::Returned => "handed back unfinished",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn began(phase: &str) -> LogEntry {
        LogEntry::Began { phase: phase.into() }
    }

    fn lines(phase: &str) -> LogEntry {
        LogEntry::Lines { phase: phase.into() }
    }

    fn ended(name: &str, status: PhaseStatus, exit_code: Option<i32>) -> LogEntry {
        LogEntry::Ended(PhaseReport { exit_code, seconds: 1.23, ..PhaseReport::new(name, status) })
    }

    /// A build whose test fails.
    fn build() -> Vec<(LogEntry, &'static str)> {
        vec![
            (began("install"), ""),
            (lines("install"), "one\ntwo"),
            (lines("install"), "three"),
            (ended("install", PhaseStatus::Passed, Some(0)), ""),
            (lines("lint"), "skipped: package.json has no script lint"),
            (ended("lint", PhaseStatus::Skipped, None), ""),
            (began("test"), ""),
            (lines("test"), "\x1b[31mnot ok\x1b[0m"),
            (ended("test", PhaseStatus::Failed, Some(1)), ""),
            (LogEntry::Over { outcome: Outcome::Failed, private: false }, "test: ended with status 1"),
        ]
    }

    fn shown(style: Style, live_from: usize) -> Vec<String> {
        let mut folded = Folded::new(style);
        let mut shown = Vec::new();
        for (at, (entry, body)) in build().into_iter().enumerate() {
            if at == live_from {
                shown.extend(folded.go_live());
            }
            shown.extend(folded.take(&entry, body.as_bytes()));
        }
        shown
    }

    #[test]
    fn what_passed_is_one_line_and_what_failed_is_open() {
        assert_eq!(
            shown(Style::default(), 99),
            [
                "✓ install 1.2 s, 3 lines",
                "- lint skipped: package.json has no script lint",
                "▶ test",
                "not ok",
                "✗ test failed, exit status 1, 1.2 s, 1 line",
                "✗ failed: test: ended with status 1",
            ]
        );
    }

    #[test]
    fn why_a_phase_was_skipped_is_said_and_a_failure_that_is_a_warning_is_one_line() {
        let skipped = |reason: &str| {
            let reason = Some(reason.to_owned());
            LogEntry::Ended(PhaseReport { reason, ..PhaseReport::new("install", PhaseStatus::Skipped) })
        };
        let of = |entries: &[(LogEntry, &str)]| -> Vec<String> {
            let mut folded = Folded::new(Style::default());
            entries.iter().flat_map(|(entry, body)| folded.take(entry, body.as_bytes())).collect()
        };
        assert_eq!(of(&[(skipped("cached"), "")]), ["- install skipped (cached)"]);
        let waits = (lines("install"), "waits for another build that installs the same");
        assert_eq!(of(&[waits, (skipped("cached"), "")]), ["- install skipped (cached)"]);
        assert_eq!(of(&[(skipped("a\x1b[2Jb"), "")]), ["- install skipped (ab)"]);
        let warning = PhaseReport {
            exit_code: Some(1),
            seconds: 1.23,
            warning: true,
            ..PhaseReport::new("lint", PhaseStatus::Failed)
        };
        let lint = [(began("lint"), ""), (lines("lint"), "one\ntwo"), (LogEntry::Ended(warning), "")];
        assert_eq!(of(&lint), ["! lint failed, exit status 1, 1.2 s, 2 lines; a warning"]);
    }

    #[test]
    fn what_runs_is_shown_line_by_line_and_all_where_that_is_wanted() {
        let live = shown(Style::default(), 2);
        assert_eq!(live.get(..5).unwrap(), ["▶ install", "one", "two", "three", "✓ install 1.2 s, 3 lines"]);
        let open = shown(Style { open: true, ..Style::default() }, 99);
        assert_eq!(open.get(..5), live.get(..5));
    }

    #[test]
    fn of_one_phase_its_lines_alone_are_shown() {
        let only = |phase: &str| shown(Style { only: Some(phase.into()), ..Style::default() }, 99);
        assert_eq!(only("install"), ["one", "two", "three"]);
        assert_eq!(only("test"), ["not ok"]);
        assert_eq!(only("none"), Vec::<String>::new());
    }

    #[test]
    fn a_phase_that_was_broken_off_is_open() {
        let mut folded = Folded::new(Style { colours: true, ..Style::default() });
        let mut shown = folded.take(&began("test"), b"");
        shown.extend(folded.take(&lines("test"), b"\x1b[31mred\x1b[0m"));
        assert!(shown.is_empty());
        shown.extend(folded.missing(2));
        let missing = "\x1b[2m… 2 pieces of the log not stored, or not kept any more\x1b[0m";
        assert_eq!(shown, ["\x1b[1m▶ test\x1b[0m", "\x1b[31mred\x1b[0m", missing]);
    }
}
