//! How much of what a build prints goes to its log. Pure: the time comes in.

use std::{collections::VecDeque, fmt, time::Duration};

use bytesize::ByteSize;

/// In no second more.
pub const LINES_A_SECOND: usize = 2000;
/// In the log of one build: 64 MB.
pub const MAX_BYTES: u64 = 64_000_000;

const SECOND: Duration = Duration::from_secs(1);

/// Why lines are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// They came too fast.
    Rate,
    /// The broker takes less than is printed.
    Broker,
    /// The log is full.
    Size,
}

/// Lines that were left out. Said in the log, by one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Of which phase; of the log that is full, the last.
    pub phase: String,
    /// Why.
    pub why: Why,
    /// How many.
    pub lines: u64,
    /// Their bytes, line ends included.
    pub bytes: u64,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lines, bytes, why, .. } = self;
        let plural = if *lines == 1 { "line" } else { "lines" };
        write!(f, "[packline] {lines} {plural} ({}) left out: ", ByteSize(*bytes).display().si())?;
        match why {
            Why::Rate => write!(f, "more than {LINES_A_SECOND} lines in a second"),
            Why::Broker => f.write_str("the broker did not take them"),
            Why::Size => write!(f, "the log of a build has at most {}", ByteSize(MAX_BYTES).display().si()),
        }
    }
}

/// What to do with some lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Passed {
    /// Say this first.
    pub before: Option<Cut>,
    /// So many bytes go to the log, of whole lines with their ends; 0: none of the lines.
    pub keep: usize,
}

/// The limits of one build's log.
#[derive(Debug, Default)]
pub struct Limiter {
    /// Lines that passed, and when, not longer than a second ago.
    recent: VecDeque<(Duration, usize)>,
    passed: u64,
    /// What is being left out now.
    stretch: Option<Cut>,
    /// What is left out because the log is full.
    over: Option<Cut>,
}

impl Limiter {
    /// Takes lines, the last without its end. `room`: whether the broker keeps up.
    pub fn take(&mut self, now: Duration, room: bool, phase: &str, text: &[u8]) -> Passed {
        let free = self.free(now, room);
        let why = if room { Why::Rate } else { Why::Broker };
        let before = self.stretch.take_if(|cut| free > 0 || cut.phase != phase || cut.why != why);
        let (mut keep, mut kept) = (0, 0);
        for line in text.split(|byte| *byte == b'\n') {
            let size = line.len() + 1;
            let bytes = size as u64;
            if self.over.is_some() || self.passed + bytes > MAX_BYTES {
                count(&mut self.over, phase, Why::Size, bytes);
            } else if kept < free {
                (keep, kept) = (keep + size, kept + 1);
                self.passed += bytes;
            } else {
                count(&mut self.stretch, phase, why, bytes);
            }
        }
        if kept > 0 {
            self.recent.push_back((now, kept));
        }
        Passed { before, keep }
    }

    /// What is to be said at the end of a phase.
    pub fn phase_over(&mut self) -> Option<Cut> {
        self.stretch.take()
    }

    /// What is to be said at the end of the build.
    pub fn build_over(&mut self) -> Option<Cut> {
        self.over.take()
    }

    /// How many lines may pass now. After lines were left out half of a second's must be free again: else a
    /// word on those that are missing would follow every few lines.
    fn free(&mut self, now: Duration, room: bool) -> usize {
        while self.recent.front().is_some_and(|(at, _)| now.saturating_sub(*at) >= SECOND) {
            self.recent.pop_front();
        }
        let recent: usize = self.recent.iter().map(|(_, lines)| lines).sum();
        let free = LINES_A_SECOND.saturating_sub(recent);
        let enough = if self.stretch.is_some() { LINES_A_SECOND / 2 } else { 1 };
        if room && free >= enough { free } else { 0 }
    }
}

fn count(cut: &mut Option<Cut>, phase: &str, why: Why, bytes: u64) {
    let cut = cut.get_or_insert_with(|| Cut { phase: phase.to_owned(), why, lines: 0, bytes: 0 });
    phase.clone_into(&mut cut.phase);
    cut.lines += 1;
    cut.bytes += bytes;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many lines of four bytes.
    fn text(lines: usize) -> Vec<u8> {
        vec!["abc"; lines].join("\n").into_bytes()
    }

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn cut(phase: &str, why: Why, lines: u64) -> Cut {
        Cut { phase: phase.into(), why, lines, bytes: 4 * lines }
    }

    #[test]
    fn no_second_has_more_than_2000_lines_whatever_comes() {
        let mut limiter = Limiter::default();
        let mut kept: Vec<(u64, usize)> = Vec::new();
        let (mut came, mut said) = (0, 0);
        for step in 0..2000_u64 {
            let lines = usize::try_from(step * 7919 % 97).unwrap();
            let passed = limiter.take(millis(step * 5), true, "test", &text(lines + 1));
            kept.push((step * 5, passed.keep / 4));
            came += lines as u64 + 1;
            said += passed.before.map_or(0, |cut| cut.lines);
        }
        said += limiter.phase_over().map_or(0, |cut| cut.lines);
        for (at, _) in &kept {
            let second = kept.iter().filter(|(when, _)| (*at..at + 1000).contains(when));
            assert!(second.map(|(_, lines)| lines).sum::<usize>() <= LINES_A_SECOND);
        }
        let kept: usize = kept.iter().map(|(_, lines)| lines).sum();
        assert_eq!(kept as u64 + said, came, "each line is kept or counted");
        assert!(kept >= 9 * 1800, "{kept} in ten seconds");
    }

    #[test]
    fn each_stretch_that_is_cut_is_said_once_at_its_end() {
        let mut limiter = Limiter::default();
        assert_eq!(limiter.take(millis(0), true, "test", &text(2500)), Passed { before: None, keep: 8000 });
        for at in 1..10 {
            assert_eq!(limiter.take(millis(at * 100), true, "test", &text(100)), Passed::default());
        }
        let before = Some(cut("test", Why::Rate, 1400));
        assert_eq!(limiter.take(millis(1000), true, "test", &text(1)), Passed { before, keep: 4 });
        assert_eq!(limiter.phase_over(), None);
        limiter.take(millis(1001), true, "test", &text(2000));
        assert_eq!(limiter.phase_over(), Some(cut("test", Why::Rate, 1)));
    }

    #[test]
    fn what_the_broker_does_not_take_is_left_out_and_counted() {
        let mut limiter = Limiter::default();
        assert_eq!(limiter.take(millis(0), false, "build", &text(5)), Passed::default());
        assert_eq!(limiter.take(millis(9), false, "build", &text(2)), Passed::default());
        let before = Some(cut("build", Why::Broker, 7));
        assert_eq!(limiter.take(millis(10), true, "build", &text(1)), Passed { before, keep: 4 });
        limiter.take(millis(11), false, "build", b"");
        let before = Some(Cut { phase: "build".into(), why: Why::Broker, lines: 1, bytes: 1 });
        assert_eq!(limiter.take(millis(12), true, "test", b""), Passed { before, keep: 1 });
    }

    #[test]
    fn a_log_that_is_full_stays_so_and_says_how_much_is_missing_at_the_end() {
        let mut limiter = Limiter::default();
        let line = vec![b'x'; 999_999];
        for at in 0..64 {
            assert_eq!(limiter.take(millis(at * 10), true, "build", &line).keep, 1_000_000);
        }
        assert_eq!(limiter.take(millis(700), true, "test", &line), Passed::default());
        assert_eq!(limiter.take(millis(5000), true, "test", b"short\n"), Passed::default());
        assert_eq!(limiter.phase_over(), None);
        let over = limiter.build_over().unwrap();
        assert_eq!((over.lines, over.bytes, over.why), (3, 1_000_007, Why::Size));
        assert_eq!(over.to_string(), "[packline] 3 lines (1.0 MB) left out: the log of a build has at most 64.0 MB");
        assert_eq!(
            cut("a", Why::Rate, 1).to_string(),
            "[packline] 1 line (4 B) left out: more than 2000 lines in a second"
        );
    }
}
